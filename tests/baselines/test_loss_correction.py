"""The corrected losses find classes that are mostly called another."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from tests.baselines.problems import accuracy_of, class_problem, recovery_of, tag_problem

from latentlabels.baselines.loss_correction import Direction, LossCorrection, backward_corrected
from latentlabels.baselines.transition import FittedTransition
from latentlabels.model.units import Categorical

MOSTLY_ANOTHER = np.array([[1, 0, 0], [0.8, 0.2, 0], [0, 0, 1.0]])


def test_the_backward_loss_is_cross_entropy_on_average() -> None:
    transition = np.array([[0.7, 0.2, 0.1], [0.5, 0.4, 0.1], [0.0, 0.1, 0.9]])
    logits = torch.tensor([[1.0, -0.5, 2.0]]).expand(3, 3)
    inverse = torch.tensor(np.linalg.inv(transition), dtype=torch.float32)
    found = backward_corrected(Categorical(3), logits, torch.eye(3), inverse).numpy()
    plain = -log_softmax(logits[0].numpy())
    np.testing.assert_allclose(found, np.linalg.inv(transition) @ plain, rtol=1e-4)
    np.testing.assert_allclose(transition @ found, plain, rtol=1e-4)


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_a_given_transition_is_undone(direction: Direction) -> None:
    problem, truth = class_problem(MOSTLY_ANOTHER)
    fitted = LossCorrection(direction, MOSTLY_ANOTHER).fit(problem, 0)
    assert accuracy_of(fitted, problem, truth) > 0.95
    assert recovery_of(fitted, truth) > 0.95


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_the_transition_is_estimated(direction: Direction) -> None:
    problem, truth = class_problem(MOSTLY_ANOTHER, rows=1000, spread=0.02)
    fitted = LossCorrection(direction).fit(problem, 0, quantile=0.97)
    assert isinstance(fitted, FittedTransition)
    # Five standard errors of the frequencies in the smallest class, seen in nine tenths of rows.
    margin = 5 * np.sqrt(0.8 * 0.2 / (0.9 * np.bincount(truth).min()))
    np.testing.assert_allclose(fitted.transition.numpy(), MOSTLY_ANOTHER, atol=margin)
    assert accuracy_of(fitted, problem, truth) > 0.95


def test_verified_rows_are_taken_at_their_word() -> None:
    # Nothing is told by the given classes, so all that is learnt comes from the verified rows.
    problem, truth = class_problem(np.full((3, 3), 1 / 3), verified=60)
    fitted = LossCorrection("forward", np.full((3, 3), 1 / 3)).fit(problem, 0)
    assert accuracy_of(fitted, problem, truth) > 0.95


def test_what_cannot_be_corrected_is_refused() -> None:
    tags, _ = tag_problem(missing=0.1, wrong=0.1, rows=60)
    assert LossCorrection("forward").refuses(tags) is not None
    problem, _ = class_problem(MOSTLY_ANOTHER, rows=60)
    assert LossCorrection("forward").refuses(problem) is None
    with pytest.raises(ValueError, match="with an inverse"):
        LossCorrection("backward", np.full((3, 3), 1 / 3)).fit(problem, 0)
    with pytest.raises(ValueError, match=r"needs the shape \(3, 3\)"):
        LossCorrection("forward", np.eye(2)).fit(problem, 0)
