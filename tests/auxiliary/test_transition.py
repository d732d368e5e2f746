"""Transition matrices, turned round by Bayes' rule, given or counted."""

from __future__ import annotations

import re
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.monte_carlo import STANDARD_ERRORS
from tests.small_pairs import pairs_of, rare_classes

from latentlabels.auxiliary.transition import (
    LEAST_PROBABILITY,
    count_transition,
    given_transition,
    is_applicable,
    symmetric_transition,
)
from latentlabels.errors import LabelError
from latentlabels.model.posterior import Auxiliary
from latentlabels.model.units import Bernoulli, Categorical, Joint, Units

Doubles = NDArray[np.float64]

NOISY, CLEAN = Categorical(3), Categorical(2)
TABLE = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])
PRIOR = np.array([0.8, 0.2])


def bayes(tables: list[Doubles], prior: Doubles, *given: int) -> Doubles:
    """p(ŷ | y₁, y₂, …) of annotators who do not know each other."""
    joint: Doubles = prior * np.prod([t[:, y] for t, y in zip(tables, given, strict=True)], axis=0)
    return np.asarray(joint / joint.sum())


def assert_follows_bayes(auxiliary: Auxiliary, tables: list[Doubles], prior: Doubles) -> None:
    """For everything the annotators may say; to float32's rounding."""
    for said in product(*(range(table.shape[1]) for table in tables)):
        state = np.concatenate([np.eye(t.shape[1])[y] for t, y in zip(tables, said, strict=True)])
        found = auxiliary.clean_mean(torch.from_numpy(state).float())
        np.testing.assert_allclose(found, bayes(tables, prior, *said), atol=1e-6)


def test_by_hand() -> None:
    """p(first | y = 3rd) = 0.8 · 0.1 / (0.8 · 0.1 + 0.2 · 0.6) = 0.4."""
    auxiliary = given_transition(TABLE, NOISY, CLEAN, prior=PRIOR)
    assert auxiliary.clean_mean(torch.tensor([0.0, 0, 1])).tolist() == pytest.approx([0.4, 0.6])
    assert auxiliary.kind == "transition"


def test_a_given_matrix_follows_bayes_rule() -> None:
    assert_follows_bayes(given_transition(TABLE, NOISY, CLEAN, prior=PRIOR), [TABLE], PRIOR)


def test_without_a_prior_every_class_is_as_likely() -> None:
    assert_follows_bayes(given_transition(TABLE, NOISY, CLEAN), [TABLE], np.array([0.5, 0.5]))


def test_annotators_have_a_matrix_each() -> None:
    tables = [TABLE, np.array([[0.9, 0.1], [0.2, 0.8]]), TABLE[::-1]]
    noisy = Joint([Categorical(3), Categorical(2), Categorical(3)])
    auxiliary = given_transition(tables, noisy, CLEAN, prior=PRIOR)
    assert_follows_bayes(auxiliary, tables, PRIOR)


def test_an_impossible_label_is_very_unlikely_and_finite() -> None:
    auxiliary = given_transition(np.eye(3), Categorical(3), Categorical(3))
    assert auxiliary.weight.isfinite().all()
    mean = auxiliary.clean_mean(torch.eye(3))
    wrong = mean[~torch.eye(3).bool()]
    np.testing.assert_allclose(wrong, LEAST_PROBABILITY, rtol=1e-4)


@given(st.integers(1, 8), st.floats(0, 1))
def test_symmetric_noise_is_spread_evenly(classes: int, noise: float) -> None:
    table = symmetric_transition(classes, noise)
    np.testing.assert_allclose(table.sum(1), 1.0)
    if classes > 1:
        np.testing.assert_allclose(np.diag(table), 1 - noise)
        np.testing.assert_allclose(table[~np.eye(classes, dtype=bool)], noise / (classes - 1))


def test_counting_is_bayes_rule_on_smoothed_counts() -> None:
    """Two annotators, five pairs, each row with 2 counts more, spread as its columns are."""
    clean = np.array([0, 0, 0, 1, 1])
    said = np.array([[0, 0], [0, 0], [2, 1], [2, 1], [2, 0]])
    noisy = Joint([Categorical(3), Categorical(2)])
    pairs = pairs_of(
        noisy,
        Categorical(3),
        np.concatenate([np.eye(3)[said[:, 0]], np.eye(2)[said[:, 1]]], 1),
        np.eye(3)[clean],
    )
    first = np.array([[2, 0, 1], [0, 0, 2], [0, 0, 0]]) + 2 * np.array([3, 1, 4]) / 8
    second = np.array([[2, 1], [1, 1], [0, 0]]) + 2 * np.array([4, 3]) / 7
    prior = np.array([3.5, 2.5, 0.5])
    tables = [counts / counts.sum(1, keepdims=True) for counts in (first, second)]
    found = count_transition(pairs, smoothing=2.0)
    assert_follows_bayes(found, tables, prior / prior.sum())


def test_counts_approach_the_matrix_they_were_drawn_from() -> None:
    """Each cell is a binomial frequency, off by what smoothing adds and five standard errors."""
    count = 20_000
    generator = np.random.default_rng(0)
    clean = generator.choice(2, count, p=PRIOR)
    noisy = (generator.random(count)[:, None] > TABLE.cumsum(1)[clean, :2]).sum(1)
    found = count_transition(pairs_of(NOISY, CLEAN, np.eye(3)[noisy], np.eye(2)[clean]))
    rows = np.bincount(clean)[:, None]
    allowed = STANDARD_ERRORS * np.sqrt(TABLE * (1 - TABLE) / rows) + 1 / rows
    assert (abs(found.weight.exp().numpy() - TABLE) <= allowed).all()


@pytest.mark.parametrize("count", [6, 60, 600])
def test_rare_and_absent_classes_do_not_blow_up(count: int) -> None:
    """A class that no pair has is as rare as half a count, and says what everybody says."""
    found = count_transition(rare_classes(count))
    assert found.weight.abs().max() <= -np.log(LEAST_PROBABILITY) + 1e-3
    assert found.bias[3].exp().item() == pytest.approx(0.5 / (count + 2), rel=1e-5)
    overall = rare_classes(count).noisy.sum(0) + 1
    np.testing.assert_allclose(found.weight[3].exp(), overall / overall.sum(), rtol=1e-5)
    # Noisy classes that never came bear on no class: the two of them say the same.
    assert torch.equal(found.weight[:, 2], found.weight[:, 4])


@pytest.mark.parametrize(
    ("noisy", "clean", "applicable"),
    [
        (Categorical(3), Categorical(2), True),
        (Joint([Categorical(3), Categorical(4)]), Categorical(2), True),
        (Joint([Categorical(3), Bernoulli(4)]), Categorical(2), False),
        (Bernoulli(3), Categorical(2), False),
        (Categorical(3), Bernoulli(2), False),
        (Categorical(3), Joint([Categorical(2)]), False),
    ],
)
def test_only_classes_have_a_transition(noisy: Units, clean: Units, applicable: bool) -> None:
    assert is_applicable(noisy, clean) == applicable
    if not applicable:
        message = f"joins classes to classes, these labels are {noisy} and {clean}"
        with pytest.raises(LabelError, match=re.escape(message)):
            given_transition(np.eye(2), noisy, clean)


@pytest.mark.parametrize(
    ("table", "prior", "message"),
    [
        (TABLE.T, None, r"needs? transition matrices of the shapes \[\(2, 3\)\]"),
        (TABLE, [0.2, 0.3, 0.5], r"a prior of \(2,\), got .* and \(3,\)"),
        (TABLE * 2, None, "probabilities that sum to one"),
        (TABLE - [[0.2, 0, -0.2]], None, "probabilities that sum to one"),
        (TABLE, [0.5, 0.6], "probabilities that sum to one"),
        (TABLE * np.nan, None, "probabilities that sum to one"),
    ],
    ids=["turned", "other prior", "too much", "negative", "prior too much", "not a number"],
)
def test_what_is_no_transition_is_refused(
    table: Doubles, prior: list[float] | None, message: str
) -> None:
    with pytest.raises(LabelError, match=message):
        given_transition(table, NOISY, CLEAN, prior=prior)


def test_one_matrix_for_several_annotators_is_refused() -> None:
    with pytest.raises(LabelError, match="matrices of the shapes"):
        given_transition([TABLE], Joint([NOISY, NOISY]), CLEAN)
