"""Gold loss correction learns from few verified rows that two classes are called each other."""

from __future__ import annotations

import numpy as np
import torch
from tests.baselines.problems import accuracy_of, class_problem

from latentlabels.baselines.gold import GoldLossCorrection, gold_transition
from latentlabels.baselines.transition import FittedTransition

SWAPPED = np.array([[0.1, 0.9, 0], [0.9, 0.1, 0], [0, 0, 1.0]])


def test_the_transition_is_the_mean_prediction_of_each_verified_class() -> None:
    predictions = torch.tensor([[0.6, 0.4, 0.0], [0.2, 0.2, 0.6], [0.1, 0.1, 0.8]])
    clean = torch.eye(3)[[0, 0, 2]]
    found = gold_transition(predictions, clean, torch.eye(3))
    expected = torch.tensor([[0.4, 0.3, 0.3], [0.0, 1.0, 0.0], [0.1, 0.1, 0.8]])
    torch.testing.assert_close(found, expected)


def test_swapped_classes_are_put_right() -> None:
    # Verified rows fill a quarter of each batch: cross entropy would follow the given classes.
    problem, truth = class_problem(SWAPPED, rows=1000, verified=60, spread=0.02)
    fitted = GoldLossCorrection().fit(problem, 0)
    assert isinstance(fitted, FittedTransition)
    # Five standard errors of the frequencies in the smallest class, seen in nine tenths of rows.
    margin = 5 * np.sqrt(0.9 * 0.1 / (0.9 * np.bincount(truth[60:]).min()))
    np.testing.assert_allclose(fitted.transition.numpy(), SWAPPED, atol=margin)
    assert accuracy_of(fitted, problem, truth) > 0.95


def test_verified_rows_are_taken_at_their_word() -> None:
    # Nothing is told by the given classes, so all that is learnt comes from the verified rows.
    problem, truth = class_problem(np.full((3, 3), 1 / 3), verified=60)
    assert accuracy_of(GoldLossCorrection().fit(problem, 0), problem, truth) > 0.95


def test_rows_of_both_kinds_are_needed() -> None:
    for verified in (0, 60):
        problem, _ = class_problem(SWAPPED, rows=60, verified=verified)
        assert GoldLossCorrection().refuses(problem) is not None
    problem, _ = class_problem(SWAPPED, rows=60, verified=6)
    assert GoldLossCorrection().refuses(problem) is None
