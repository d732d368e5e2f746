"""Dawid and Skene's posterior weighs annotators by what each of them confuses."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_array
from tests.baselines.problems import accuracy_of, class_problem, recovery_of

from latentlabels.baselines.dawid_skene import DawidSkene, aggregated
from latentlabels.baselines.plain import CrossEntropy
from latentlabels.baselines.problem import Problem
from latentlabels.data.labels import LabelSpace, Vocabulary
from latentlabels.errors import MissingPackageError

Confusion = NDArray[np.float64]

GOOD = np.full((3, 3), 0.025) + 0.925 * np.eye(3)
# Calls the third class the first one, as three of five do: the votes are wrong together.
MISTAKEN = np.array([[0.96, 0.02, 0.02], [0.02, 0.96, 0.02], [0.78, 0.02, 0.2]])
ANNOTATORS = [GOOD, GOOD, MISTAKEN, MISTAKEN, MISTAKEN]


def test_the_posterior_is_that_of_the_annotators_true_confusion() -> None:
    problem, truth, answers = _annotated(ANNOTATORS)
    likelihood = np.prod([c[:, a].T for c, a in zip(ANNOTATORS, answers, strict=True)], 0)
    exact = likelihood / likelihood.sum(1, keepdims=True)
    found = aggregated(problem)
    # 600 rows tell the 15 entries of interest to about 0.03; most posteriors are far from a tie.
    assert np.abs(found - exact).mean() < 0.01
    assert np.mean(found.argmax(1) == exact.argmax(1)) > 0.98
    votes = problem.given(problem.all_noisy()).argmax(1).numpy()
    right, best = np.mean(votes == truth), np.mean(exact.argmax(1) == truth)
    fitted = DawidSkene().fit(problem, 0)
    assert recovery_of(fitted, truth) > (right + best) / 2 > right + 0.05
    assert accuracy_of(fitted, problem, truth) > 0.98
    assert accuracy_of(CrossEntropy().fit(problem, 0), problem, truth) < 0.9


def test_the_posterior_is_a_fixed_point_of_em() -> None:
    problem, _, answers = _annotated(ANNOTATORS, rows=200)
    posterior = aggregated(problem).astype(float)
    confusion = np.array([[posterior[a == k].sum(0) for k in range(3)] for a in answers])
    confusion /= confusion.sum(1, keepdims=True)
    joint = posterior.mean(0) * np.prod(
        [c[a] for c, a in zip(confusion, answers, strict=True)], axis=0
    )
    again = joint / joint.sum(1, keepdims=True)
    # EM stops where a step gains less than 1e-5 of a nat an answer.
    assert np.abs(again - posterior).mean() < 2e-3


def test_verified_rows_keep_their_class_and_teach_the_confusion() -> None:
    alone, truth, _ = _annotated([GOOD, MISTAKEN, MISTAKEN])
    taught, _, _ = _annotated([GOOD, MISTAKEN, MISTAKEN], verified=200)
    fitted = DawidSkene().fit(taught, 0)
    np.testing.assert_array_equal(fitted.cleaned(np.arange(200)), np.eye(3)[truth[:200]])
    rest = np.arange(200, len(truth))
    right = np.mean(fitted.cleaned(rest).argmax(1).numpy() == truth[rest])
    assert right > np.mean(aggregated(alone)[rest].argmax(1) == truth[rest]) + 0.05


def test_a_class_of_no_clean_name_is_no_answer() -> None:
    problem, _, _ = _annotated([GOOD] * 3, rows=100)
    silent = Vocabulary(("class 0", "unsure"), exclusive=True)
    unsure = np.tile([0.0, 1.0], (100, 1))
    widened = replace(
        problem,
        noisy=LabelSpace((*problem.noisy.columns, "silent"), (*problem.noisy.vocabularies, silent)),
        rows=replace(problem.rows, noisy=_sparse(np.hstack([problem.all_noisy(), unsure]))),
    )
    np.testing.assert_allclose(aggregated(widened), aggregated(problem))


def test_a_row_without_answers_has_the_classes_frequencies() -> None:
    problem, _, _ = _annotated([GOOD] * 3, rows=100)
    noisy = problem.all_noisy().numpy()
    noisy[7] = 0.0
    found = aggregated(replace(problem, rows=replace(problem.rows, noisy=_sparse(noisy))))
    np.testing.assert_allclose(found[7], np.delete(found, 7, 0).mean(0), atol=1e-6)
    np.testing.assert_allclose(found.sum(1), 1.0, atol=1e-6)


def test_it_is_for_the_classes_of_several_annotators() -> None:
    assert DawidSkene().refuses(_annotated([GOOD, GOOD], rows=60)[0]) is None
    assert "several annotators" in str(DawidSkene().refuses(class_problem(GOOD, rows=60)[0]))


def test_without_crowd_kit_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "crowdkit.aggregation", None)
    with pytest.raises(
        MissingPackageError, match=r"crowd-kit: pip install 'latentlabels\[peers\]'"
    ):
        DawidSkene().fit(_annotated([GOOD, GOOD], rows=60)[0], 0)


def _annotated(
    confusions: Sequence[Confusion], *, rows: int = 600, verified: int = 0
) -> tuple[Problem, NDArray[np.int64], list[NDArray[np.int64]]]:
    """Classes that several annotators gave by their confusion, the truth, and their answers.

    Args:
        confusions: of each annotator, C[c, n] = p(answer n | class c).
        rows: training rows.
        verified: how many of them are verified.
    """
    problem, truth = class_problem(np.eye(3), rows=rows, verified=verified)
    random = np.random.default_rng(1)
    answers = [np.array([random.choice(3, p=own[true]) for true in truth]) for own in confusions]
    names = tuple(f"annotator {a}" for a in range(len(confusions)))
    noisy = LabelSpace(names, problem.clean.vocabularies * len(confusions))
    given = _sparse(np.hstack([np.eye(3)[own] for own in answers]))
    return replace(problem, noisy=noisy, rows=replace(problem.rows, noisy=given)), truth, answers


def _sparse(states: NDArray[np.floating]) -> csr_array:
    return csr_array(states.astype(np.float32))
