"""Noise put in on purpose has the rates that are asked for, and touches nothing else."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom, norm

from latentlabels.auxiliary.transition import symmetric_transition
from latentlabels.data.noise import CIFAR10_CLASSES, flip_labels, patrini_transition
from latentlabels.errors import LabelError

STANDARD_ERRORS = 5
TEN_CLASSES = arrays(np.int64, st.integers(0, 60), elements=st.integers(0, 9))
SEEDS = st.integers(0, 2**32 - 1)
RATES = st.floats(0, 1)
# As CIFAR-10 numbers them.
TAKEN_FOR = {9: 1, 2: 0, 4: 7, 3: 5, 5: 3}


def assert_frequencies(classes: NDArray[np.int64], transition: NDArray[np.float64]) -> None:
    """No count is less likely, binomially, than five standard errors are in a normal law."""
    noisy = flip_labels(classes, transition, seed=7)
    for clean, row in enumerate(transition):
        counts = np.bincount(noisy[classes == clean], minlength=len(row))
        draws = counts.sum()
        tail = np.minimum(binom.cdf(counts, draws, row), binom.sf(counts - 1, draws, row))
        assert (tail >= norm.sf(STANDARD_ERRORS)).all(), (clean, counts / draws, row)


@pytest.mark.parametrize(
    "transition",
    [
        patrini_transition(0.3),
        patrini_transition(1.0),
        symmetric_transition(10, 0.45),
        np.array([[0.7, 0.1, 0.2], [0.0, 0.001, 0.999]]),
        np.array([[0.25, 0.75]]),
    ],
    ids=["patrini", "all mistaken", "symmetric", "more noisy classes", "one class"],
)
def test_frequencies_are_the_transition(transition: NDArray[np.float64]) -> None:
    classes = np.tile(np.arange(len(transition)), 20_000)
    assert_frequencies(classes, transition)


def test_a_wrong_transition_is_noticed() -> None:
    """The comparison above tells rates apart that differ by a fiftieth."""
    classes = np.tile(np.arange(10), 20_000)
    noisy = flip_labels(classes, patrini_transition(0.3), seed=7)
    mistaken = (noisy != classes)[np.isin(classes, list(TAKEN_FOR))]
    tail = binom.sf(mistaken.sum() - 1, len(mistaken), 0.28)
    assert tail < norm.sf(STANDARD_ERRORS)


@given(TEN_CLASSES, SEEDS)
def test_without_noise_no_class_changes(classes: NDArray[np.int64], seed: int) -> None:
    for transition in (patrini_transition(0), symmetric_transition(10, 0), np.eye(10)):
        assert np.array_equal(flip_labels(classes, transition, seed=seed), classes)


@given(TEN_CLASSES, RATES, SEEDS)
def test_only_paired_classes_are_mistaken(
    classes: NDArray[np.int64], rate: float, seed: int
) -> None:
    before = classes.copy()
    noisy = flip_labels(classes, patrini_transition(rate), seed=seed)
    assert np.array_equal(classes, before)
    assert all(
        after in (clean, TAKEN_FOR.get(clean, clean))
        for clean, after in zip(classes.tolist(), noisy.tolist(), strict=True)
    )


@given(TEN_CLASSES, SEEDS)
def test_at_rate_one_every_paired_class_is_mistaken(classes: NDArray[np.int64], seed: int) -> None:
    expected = [TAKEN_FOR.get(clean, clean) for clean in classes.tolist()]
    assert flip_labels(classes, patrini_transition(1), seed=seed).tolist() == expected


@given(TEN_CLASSES, TEN_CLASSES, RATES, SEEDS)
def test_a_row_does_not_depend_on_the_others(
    classes: NDArray[np.int64], more: NDArray[np.int64], rate: float, seed: int
) -> None:
    transition = symmetric_transition(10, rate)
    together = flip_labels(np.concatenate([classes, more]), transition, seed=seed)
    alone = flip_labels(classes, transition, seed=seed)
    assert np.array_equal(together[: len(classes)], alone)


@given(st.data(), st.integers(1, 6), st.integers(1, 6), SEEDS)
def test_what_has_no_probability_never_happens(
    data: st.DataObject, clean: int, noisy: int, seed: int
) -> None:
    weights = data.draw(arrays(np.int64, (clean, noisy), elements=st.integers(0, 3)))
    weights[:, data.draw(st.integers(0, noisy - 1))] += 1
    transition = weights / weights.sum(1, keepdims=True)
    classes = data.draw(arrays(np.int64, 30, elements=st.integers(0, clean - 1)))
    drawn = flip_labels(classes, transition, seed=seed)
    assert (transition[classes, drawn] > 0).all()


def test_seeds_give_different_noise() -> None:
    classes = np.zeros(1000, np.int64)
    transition = symmetric_transition(2, 0.5)
    one, other = (flip_labels(classes, transition, seed=seed) for seed in (1, 2))
    assert not np.array_equal(one, other)


def test_patrini_by_the_names() -> None:
    transition = patrini_transition(0.25)
    mistakes = {
        (CIFAR10_CLASSES[clean], CIFAR10_CLASSES[noisy]): transition[clean, noisy]
        for clean, noisy in np.argwhere(transition)
        if clean != noisy
    }
    assert mistakes == {
        ("truck", "automobile"): 0.25,
        ("bird", "airplane"): 0.25,
        ("deer", "horse"): 0.25,
        ("cat", "dog"): 0.25,
        ("dog", "cat"): 0.25,
    }
    assert np.allclose(transition.sum(1), 1)
    assert np.allclose(1 - np.diag(transition).mean(), 0.125)


@pytest.mark.parametrize("rate", [-0.1, 1.1, math.nan])
def test_a_rate_is_a_probability(rate: float) -> None:
    with pytest.raises(LabelError, match="from 0 to 1, got"):
        patrini_transition(rate)


@pytest.mark.parametrize(
    ("classes", "transition", "message"),
    [
        ([0], [1.0], r"got the shape \(1,\)"),
        ([0], np.zeros((0, 2)), r"got the shape \(0, 2\)"),
        ([0], [[0.5, 0.5], [0.5, 0.4]], r"row 1 \(from 0\) is \[0.5, 0.4\]"),
        ([0], [[1.5, -0.5]], r"row 0 \(from 0\)"),
        ([0], [[math.nan, 1.0]], r"row 0 \(from 0\)"),
        ([0, 2], np.eye(2), "row 1 has the class 2"),
        ([0, 1, -1], np.eye(2), "row 2 has the class -1"),
        ([0.5], np.eye(2), "whole numbers"),
        ([[0]], np.eye(2), "whole numbers"),
    ],
)
def test_what_cannot_be_flipped_is_refused(
    classes: list[int], transition: ArrayLike, message: str
) -> None:
    with pytest.raises(LabelError, match=message):
        flip_labels(np.array(classes), transition)
