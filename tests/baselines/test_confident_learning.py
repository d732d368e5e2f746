"""Confident learning by cleanlab leaves out the rows whose class is wrong."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from tests.baselines.problems import accuracy_of, class_problem, recovery_of, tag_problem

from latentlabels.baselines.confident_labels import ConfidentLabels
from latentlabels.baselines.confident_learning import ConfidentLearning, Corrected
from latentlabels.baselines.held_out import out_of_sample
from latentlabels.baselines.problem import Baseline, Problem
from latentlabels.errors import MissingPackageError

NOISE = np.array([[0.9, 0.1, 0.0], [0.3, 0.7, 0.0], [0.0, 0.3, 0.7]])
VERIFIED = 40


@dataclass
class Example:
    """A problem, its true classes or labels, and what came of it."""

    problem: Problem
    truth: NDArray[Any]
    fitted: Corrected


@pytest.fixture(scope="module")
def classes() -> Example:
    return _example(ConfidentLearning(), *class_problem(NOISE, rows=400, verified=VERIFIED))


@pytest.fixture(scope="module")
def labels() -> Example:
    drawn = tag_problem(missing=0.3, wrong=0.1, rows=240, verified=VERIFIED)
    return _example(ConfidentLabels(), *drawn)


def test_rows_called_wrongly_are_the_rows_left_out(classes: Example) -> None:
    mistaken = classes.problem.rows.noisy.toarray().argmax(1) != classes.truth
    _assert_found(classes.fitted.wrong[VERIFIED:, 0].numpy(), mistaken[VERIFIED:])
    assert accuracy_of(classes.fitted, classes.problem, classes.truth) > 0.97
    assert recovery_of(classes.fitted, classes.truth) > 0.95


def test_labels_given_wrongly_are_turned_round(labels: Example) -> None:
    mistaken = labels.problem.all_noisy().bool().numpy() != labels.truth
    _assert_found(labels.fitted.wrong[VERIFIED:].numpy(), mistaken[VERIFIED:])
    assert accuracy_of(labels.fitted, labels.problem, labels.truth) > 0.95
    assert recovery_of(labels.fitted, labels.truth) > 0.95


def test_issues_are_the_confident_counts_off_the_diagonal() -> None:
    problem, truth = class_problem(NOISE, rows=120, spread=0.4)
    example = _example(ConfidentLearning(), problem, truth, "confident_learning")
    problem, given = example.problem, problem.rows.noisy.toarray().argmax(1)
    p = out_of_sample(problem, problem.all_read_as_clean(), 0).double().numpy()
    threshold = np.array([p[given == k, k].mean() for k in range(3)])
    confident = np.where(p >= threshold, p, -1)
    expected = (confident.max(1) > 0) & (confident.argmax(1) != given) & (p.argmax(1) != given)
    np.testing.assert_array_equal(example.fitted.wrong[:, 0].numpy(), expected)
    assert expected.any()


def test_verified_rows_keep_their_labels() -> None:
    # The truth of the first rows is turned round: the others contradict it, and do not prevail.
    for baseline, (problem, truth) in (
        (ConfidentLearning(), class_problem(np.eye(2), rows=120, verified=12)),
        (ConfidentLabels(), tag_problem(missing=0.0, wrong=0.0, rows=120, verified=12)),
    ):
        turned = problem.all_clean().numpy()
        turned[:12] = 1 - turned[:12]
        rows = replace(problem.rows, clean=csr_array(turned))
        found = _example(baseline, replace(problem, rows=rows), truth).fitted
        torch.testing.assert_close(found.labels[:12], torch.from_numpy(turned[:12]))
        assert not found.wrong[:12].any()


def test_a_kept_label_decides_and_a_wrong_one_counts_for_nothing(labels: Example) -> None:
    rows = np.arange(50, 100)
    network, cleaned = labels.fitted.network.cleaned(rows), labels.fitted.cleaned(rows)
    kept = ~labels.fitted.wrong[rows]
    given = labels.problem.all_noisy()[rows]
    torch.testing.assert_close(cleaned[~kept], network[~kept])
    torch.testing.assert_close(cleaned[kept], (given[kept] + network[kept]) / 2)


def test_a_class_and_a_label_that_nothing_is_called_do_no_harm() -> None:
    never = np.array([[0.8, 0.2, 0.0], [0.2, 0.8, 0.0], [0.5, 0.5, 0.0]])
    found = _example(ConfidentLearning(), *class_problem(never, rows=150))
    assert recovery_of(found.fitted, found.truth) > 0.6  # two classes of three
    nothing = _example(ConfidentLabels(), *tag_problem(missing=1.0, wrong=0.0, rows=100))
    assert not nothing.fitted.wrong.any()


def test_one_is_for_classes_and_one_for_labels() -> None:
    classes, _ = class_problem(NOISE, rows=60)
    tags, _ = tag_problem(missing=0.3, wrong=0.1, rows=60)
    assert ConfidentLearning().refuses(classes) is None
    assert ConfidentLabels().refuses(tags) is None
    assert ConfidentLearning().refuses(tags) is not None
    assert ConfidentLabels().refuses(classes) is not None


@pytest.mark.parametrize("baseline", [ConfidentLearning(), ConfidentLabels()])
def test_without_cleanlab_it_says_what_to_install(
    baseline: Baseline, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("cleanlab.classification", "cleanlab.multilabel_classification.filter"):
        monkeypatch.setitem(sys.modules, name, None)
    problem, _ = class_problem(NOISE, rows=60)
    with pytest.raises(MissingPackageError, match=r"cleanlab: pip install 'latentlabels\[peers\]'"):
        baseline.fit(problem, 0, **baseline.choices[0])


def _example(
    baseline: Baseline,
    problem: Problem,
    truth: NDArray[Any],
    filter_by: str = "prune_by_noise_rate",
) -> Example:
    """Six networks are trained each time: a few epochs do for a linear one."""
    problem = replace(problem, training=replace(problem.training, epochs=5, learning_rate=0.1))
    fitted = baseline.fit(problem, 0, filter_by=filter_by)
    assert isinstance(fitted, Corrected)
    return Example(problem, truth, fitted)


def _assert_found(found: NDArray[np.bool_], mistaken: NDArray[np.bool_]) -> None:
    """Most of what was found is a mistake, and of the mistakes was found; by chance it is 0.2."""
    assert np.mean(mistaken[found]) > 0.9
    assert np.mean(found[mistaken]) > 0.75
