"""The noise model learns which examples' classes are to be trusted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.special import softmax, xlogy
from tests.baselines.problems import accuracy_of, class_problem, linear, recovery_of

from latentlabels.baselines.noise_types import (
    FittedNoiseTypes,
    NoiseTypes,
    confusions,
    joint_posterior,
    random_noise,
    types_of,
)
from latentlabels.baselines.problem import Problem
from latentlabels.network.examples import Examples, Vectors

CONFUSING = torch.tensor([[0.0, 1.0, 0.0], [0.75, 0.0, 0.25], [0.5, 0.5, 0.0]])
CHANNELS = torch.stack([torch.eye(3), random_noise(3), CONFUSING])


def test_the_e_step_is_bayes_over_class_and_type() -> None:
    outputs = torch.linspace(-1, 2, 12).reshape(2, 6)
    found = joint_posterior(outputs, torch.eye(3)[[1, 2]], CHANNELS).numpy()
    for row, given in enumerate((1, 2)):
        clean, types = softmax(outputs[row, :3].numpy()), softmax(outputs[row, 3:].numpy())
        joint = np.zeros((3, 3))
        for c in range(3):
            for z in range(3):
                joint[c, z] = clean[c] * types[z] * float(CHANNELS[z, c, given])
        np.testing.assert_allclose(found[row], joint / joint.sum(), atol=1e-6)


@pytest.mark.parametrize("counts", [(40, 8, 1, 2, 0), (40, 7, 6, 0, 1), (40, 9, 6, 4, 0)])
def test_confusing_classes_are_those_of_the_largest_likelihood(counts: tuple[int, ...]) -> None:
    wrong = np.array(counts[1:], dtype=float)
    likelihoods = {}
    for kept in range(1, 5):
        among = np.isin(np.arange(4), np.argsort(-wrong)[:kept])
        confusing = np.where(among, wrong, 0) / wrong[among].sum()
        likelihoods[kept] = xlogy(wrong, np.where(among, confusing, 1 / 4)).sum(), confusing
    expected = max(likelihoods.values(), key=lambda pair: float(pair[0]))[1]
    pairs = torch.eye(5)
    pairs[0] = torch.tensor(counts)
    found = confusions(pairs)
    np.testing.assert_allclose(found[0].numpy(), [0, *expected], atol=1e-6)
    # A class that is never mistaken.
    torch.testing.assert_close(found[1], random_noise(5)[1])


def test_verified_rows_show_their_type() -> None:
    clean, given = torch.eye(3)[[0, 0, 0, 1]], torch.eye(3)[[0, 1, 2, 2]]
    expected = torch.eye(3)[[0, 2, 1, 1]]
    torch.testing.assert_close(types_of(clean, given, CONFUSING), expected)


def test_noise_that_hangs_on_the_example_is_told_from_none() -> None:
    problem, truth, swapping = _swapped_on_one_side(rows=1500, verified=60, nuisances=20)
    fitted = NoiseTypes().fit(problem, 0, warm_up=2.0)
    assert isinstance(fitted, FittedNoiseTypes)
    swap = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    torch.testing.assert_close(fitted.channels[2, :2], swap)
    # The verified rows alone are too few for so many inputs, and given classes alone are wrong.
    assert fitted.history.best_epoch >= 2
    assert accuracy_of(fitted, problem, truth) > 0.95
    assert recovery_of(fitted, truth) > 0.95
    none = fitted.outputs(np.arange(1500))[:, 3:].softmax(-1)[:, 0].numpy()
    assert np.mean((none > 0.5) == ~swapping) > 0.95


def test_verified_rows_are_needed() -> None:
    problem, _ = class_problem(np.eye(3), rows=60)
    assert NoiseTypes().refuses(problem) is not None
    problem, _ = class_problem(np.eye(3), rows=60, verified=6)
    assert NoiseTypes().refuses(problem) is None


def _swapped_on_one_side(
    rows: int, verified: int, nuisances: int
) -> tuple[Problem, NDArray[np.int64], NDArray[np.bool_]]:
    """Two of three classes are called each other nine times in ten, on one side of an input.

    Returns:
        The problem, the true classes, and the rows whose class is mostly swapped.
    """
    problem, truth = class_problem(np.eye(3), rows=rows, verified=verified)
    random = np.random.default_rng(1)

    def inputs(x: Examples) -> tuple[Vectors, NDArray[np.bool_]]:
        corners = x.batch(np.arange(len(x))).numpy()
        side = random.random(len(x)) < 0.5
        # A linear network knows a class on one side by inputs of its own.
        columns = [corners, corners * side[:, None], random.normal(size=(len(x), nuisances))]
        return Vectors(np.concatenate(columns, 1).astype(np.float32)), side

    x, side = inputs(problem.rows.x)
    held, _ = inputs(problem.validation.x)
    swapping = side & (truth < 2)
    given = np.where(swapping & (random.random(rows) < 0.9), 1 - truth, truth)
    return (
        replace(
            problem,
            rows=replace(problem.rows, x=x, noisy=csr_array(np.eye(3, dtype=np.float32)[given])),
            validation=replace(problem.validation, x=held),
            network=linear(6 + nuisances),
        ),
        truth,
        swapping,
    )
