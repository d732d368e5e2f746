"""Label propagation follows the data from a few verified rows, against any noisy label."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.semi_supervised import LabelSpreading
from tests.baselines.problems import accuracy_of, class_problem, recovery_of, tag_problem

from latentlabels.baselines.label_propagation import Graph, LabelPropagation, spread
from latentlabels.baselines.problem import Problem
from latentlabels.network.examples import Examples, Vectors


def test_shares_are_the_limit_in_closed_form() -> None:
    x = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    classes = np.full(40, -1)
    classes[:6] = [0, 1, 3, 0, 1, 3]
    found = spread(Graph(x, 6), classes, 4, 0.8)
    distance = np.linalg.norm(x[:, None] - x[None], axis=-1) + np.diag(np.full(40, np.inf))
    near = distance <= np.sort(distance, 1)[:, 5:6]
    weights = (near | near.T).astype(float)
    degree = weights.sum(1)
    start = np.where(classes[:, None] == np.arange(4), 1.0, 0.0)
    limit = np.linalg.solve(np.eye(40) - 0.8 * weights / np.sqrt(np.outer(degree, degree)), start)
    np.testing.assert_allclose(found, limit / limit.sum(1, keepdims=True), atol=1e-4)


def test_new_examples_are_predicted_as_scikit_learn_does() -> None:
    # All rows being verified and keeping their class, only the step to new examples is left.
    problem, _ = class_problem(np.eye(3), rows=90, verified=90, spread=0.7)
    fitted = LabelPropagation().fit(problem, 0, neighbours=7, alpha=1e-6)
    x, new = problem.features(), problem.validation.x.batch(np.arange(30))
    theirs = LabelSpreading(kernel="knn", n_neighbors=7, alpha=1e-6)
    theirs.fit(_standard(x, x), problem.all_clean().argmax(1).numpy())
    expected = torch.from_numpy(theirs.predict_proba(_standard(new, x)))
    torch.testing.assert_close(fitted.predict(new).double(), expected, atol=1e-4, rtol=0)


def test_classes_follow_the_moons_from_one_verified_row_each() -> None:
    problem, truth = class_problem(np.array([[0.0, 1.0], [1.0, 0.0]]))
    problem = _on_moons(problem, truth)
    for settings in LabelPropagation().choices:
        fitted = LabelPropagation().fit(problem, 0, **settings)
        assert accuracy_of(fitted, problem, truth) == recovery_of(fitted, truth) == 1.0


def test_each_label_spreads_alone() -> None:
    problem, _ = tag_problem(missing=0.5, wrong=0.5, rows=200, verified=40)
    fitted = LabelPropagation().fit(problem, 0, neighbours=10, alpha=0.9)
    graph = Graph(_standard(problem.features(), problem.features()).numpy(), 10)
    states = problem.all_clean()[:, 1].numpy().astype(int)
    states[40:] = -1
    torch.testing.assert_close(
        fitted.cleaned(np.arange(200))[:, 1].double(),
        torch.from_numpy(spread(graph, states, 2, 0.9)[:, 1]),
        atol=1e-4,
        rtol=0,
    )


def test_labels_are_found_that_noisy_ones_say_nothing_of() -> None:
    problem, truth = tag_problem(missing=0.5, wrong=0.5, verified=60)
    fitted = LabelPropagation().fit(problem, 0, neighbours=10, alpha=0.9)
    assert accuracy_of(fitted, problem, truth) > 0.95


def test_rows_out_of_reach_have_the_verified_rows_frequencies() -> None:
    near, far = np.arange(6)[:, None], 1000 + np.arange(6)[:, None]
    graph = Graph(np.concatenate([near, far]).astype(np.float32), 2)
    classes = np.array([0, 0, 1, -1, -1, -1] + 6 * [-1])
    found = spread(graph, classes, 3, 0.9)
    np.testing.assert_allclose(found[6:], np.tile([2 / 3, 1 / 3, 0], (6, 1)))
    assert (found[:6, 2] == 0).all()


def test_it_refuses_what_it_cannot_start_from() -> None:
    problem, _ = class_problem(np.eye(2), rows=40)
    assert "verified" in str(LabelPropagation().refuses(problem))
    problem, _ = class_problem(np.eye(2), rows=40, verified=5)
    assert LabelPropagation().refuses(problem) is None
    images = replace(problem, rows=replace(problem.rows, x=_NoVectors()))
    assert "vectors" in str(LabelPropagation().refuses(images))


class _NoVectors(Examples):
    def __len__(self) -> int:
        raise AssertionError

    def take(self, rows: NDArray[np.intp]) -> _NoVectors:
        raise AssertionError

    def batch(self, rows: NDArray[np.int64], visit: int | None = None) -> torch.Tensor:
        raise AssertionError


def _standard(x: torch.Tensor, of: torch.Tensor) -> torch.Tensor:
    return (x - of.mean(0)) / of.std(0, correction=0)


def _on_moons(problem: Problem, truth: NDArray[np.int64]) -> Problem:
    """Each class on a half-circle that the other reaches into; the first row of each verified."""
    angle = np.pi * np.random.default_rng(0).random(len(truth))
    x = np.stack([np.cos(angle), np.sin(angle)], 1)
    x[truth == 1] = [1.0, 0.4] - x[truth == 1]
    verified = np.zeros(len(truth), bool)
    verified[[np.argmax(truth == 0), np.argmax(truth == 1)]] = True
    clean = csr_array(np.where(verified[:, None], np.eye(2)[truth], 0).astype(np.float32))
    rows = replace(problem.rows, x=Vectors(x.astype(np.float32)), clean=clean, verified=verified)
    return replace(problem, rows=rows)
