"""Networks trained on given targets, and what they say of rows held out."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from tests.baselines.problems import class_problem, linear

from latentlabels.baselines.held_out import fit_targets, out_of_sample
from latentlabels.baselines.problem import Problem
from latentlabels.network.examples import Vectors


def test_rows_held_out_are_not_seen() -> None:
    # More columns of noise than rows: any targets can be memorised, and none predicted.
    problem, _ = class_problem(np.eye(2), rows=100)
    random = np.random.default_rng(2)
    problem = _on(problem, random.normal(size=(100, 400)).astype(np.float32))
    problem = replace(problem, training=replace(problem.training, epochs=5))
    classes = torch.from_numpy(random.integers(2, size=100))
    targets = torch.eye(2)[classes]
    told = replace(problem.validation, clean=csr_array(targets.numpy()))
    seen = fit_targets(replace(problem, validation=told), targets, 0).cleaned(np.arange(100))
    assert torch.equal(seen.argmax(1), classes)
    right = (out_of_sample(problem, targets, 0).argmax(1) == classes).float().mean()
    # Five standard errors around chance.
    assert abs(float(right) - 0.5) <= 5 * 0.05


def test_held_out_rows_are_told_where_something_can_be_learnt() -> None:
    problem, truth = class_problem(np.eye(3), rows=120)
    problem = replace(problem, training=replace(problem.training, epochs=5))
    targets = torch.eye(3)[torch.from_numpy(truth)]
    found = out_of_sample(problem, targets, 0)
    assert (found.argmax(1).numpy() == truth).mean() > 0.97
    torch.testing.assert_close(found.sum(1), torch.ones(120))


def test_a_constant_example_has_the_weighted_mean_of_the_targets() -> None:
    # Batches of sixty: the weighted mean of a batch of few rows is another one on average.
    problem, _ = class_problem(np.eye(3), rows=660)
    problem = _on(problem, np.ones((660, 1), np.float32))
    problem = replace(problem, training=replace(problem.training, batch_size=60, epochs=30))
    targets = torch.eye(3)[torch.arange(600) % 3]
    weights = torch.tensor([1.0, 2.0, 5.0])[torch.arange(600) % 3]
    epochs = count()
    fitted = fit_targets(
        problem,
        targets,
        0,
        chosen=np.arange(60, 660),
        weights=weights,
        # All epochs score the same on a constant: the last is to be kept.
        scored_by=lambda *_: float(next(epochs)),
    )
    expected = (weights[:, None] * targets).sum(0) / weights.sum()
    torch.testing.assert_close(fitted.predict(torch.ones(1, 1))[0], expected, atol=0.05, rtol=0)


def _on(problem: Problem, x: NDArray[np.float32]) -> Problem:
    """The problem with other examples, which validate by their noisy labels."""
    rows = replace(problem.rows, x=Vectors(x))
    held = replace(rows, clean=rows.noisy, verified=np.ones(len(x), bool))
    return replace(problem, rows=rows, validation=held, network=linear(x.shape[1]))
