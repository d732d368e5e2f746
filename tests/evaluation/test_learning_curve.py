"""Learning curves: one that is known is found, and intervals hold what they say they hold."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import norm

from latentlabels.errors import LatentLabelsError
from latentlabels.evaluation.acceptance import INTERVAL
from latentlabels.evaluation.learning_curve import (
    EXPONENTS,
    MOST,
    LearningCurve,
    covariance_of_rows,
    variance_of_fits,
)

SIZES = (20, 40, 80, 160)
ROWS = 240
SIMULATIONS = 200


def power_law(rows: float, s: float, u: float, c: float) -> float:
    """a − b n^−c with s at ROWS, and u of what is missing there still to come."""
    return s + u * (1 - s) * (1 - float((rows / ROWS) ** -c))


def curve_of(scores: NDArray[np.float64], deviation: float, **more: int) -> LearningCurve:
    covariance = deviation**2 * np.eye(len(SIZES))
    known = {"rows": ROWS, "available": 100 * ROWS, "freedom": 6, **more}
    return LearningCurve(
        "map", sizes=SIZES, scores=tuple(map(float, scores)), covariance=covariance, **known
    )


@pytest.mark.parametrize("c", [0.3, 0.7, 1.1])
@pytest.mark.parametrize("u", [0.2, 0.6])
def test_a_power_law_is_recovered(u: float, c: float) -> None:
    """Without noise what is left is the grid: half a step of c moves f(8 N) by at most ∂f/∂c / 2.

    Of a, which c trades with, as much again.
    """
    scores = np.array([power_law(n, 0.7, u, c) for n in SIZES])
    curve = curve_of(scores, 1e-5)
    step = EXPONENTS[1] - EXPONENTS[0]
    slope = u * 0.3 * np.log(MOST) * MOST**-c
    for n in (ROWS, 2 * ROWS, MOST * ROWS):
        assert curve.expected(n).mean == pytest.approx(
            power_law(n, 0.7, u, c), abs=slope * step + 1e-3
        )
    noisy = curve_of(scores, 1e-2)
    widths = [of.expected(MOST * ROWS) for of in (curve, noisy)]
    assert widths[0].high - widths[0].low < (widths[1].high - widths[1].low) / 3


def drawn_law(random: np.random.Generator) -> tuple[float, float, float]:
    """Any of those under which the smallest fit is not worse than nothing."""
    while True:
        law = random.uniform(0.4, 0.9), random.uniform(0, 1), random.uniform(0.1, 1.5)
        if power_law(SIZES[0], *law) > 0:
            return law


def simulated(random: np.random.Generator, law: tuple[float, float, float]) -> LearningCurve:
    """Rows that are right or wrong: some are harder than others, and fits differ by luck."""
    folds = np.array_split(random.permutation(ROWS), 3)
    fold = np.empty(ROWS, dtype=int)
    for number, rows in enumerate(folds):
        fold[rows] = number
    luck = 0.01 * random.normal(size=(3, len(SIZES)))
    share = np.clip(np.array([power_law(n, *law) for n in SIZES]) + luck, 0, 1)[fold]
    hardness = random.normal(size=(ROWS, 1))
    drawn = np.sqrt(0.7) * hardness + np.sqrt(0.3) * random.normal(size=share.shape)
    right = norm.cdf(drawn) < share
    return LearningCurve.measured(
        lambda rows: right[rows].mean(0), folds, SIZES, measure="accuracy", available=10 * ROWS
    )


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Over curves drawn from where curves may be; three standard errors of a share are left."""
    random = np.random.default_rng(0)
    held = np.zeros(3)
    for _ in range(SIMULATIONS):
        law = drawn_law(random)
        curve = simulated(random, law)
        truths = [power_law(n, *law) for n in (ROWS, 2 * ROWS, MOST * ROWS)]
        told = [curve.expected(ROWS), curve.gain(ROWS), curve.gain((MOST - 1) * ROWS)]
        come = [truths[0], truths[1] - truths[0], truths[2] - truths[0]]
        held += [of.low <= it <= of.high for of, it in zip(told, come, strict=True)]
    tolerance = 3 * np.sqrt(INTERVAL * (1 - INTERVAL) / SIMULATIONS)
    assert (held / SIMULATIONS >= INTERVAL - tolerance).all()


SHARES = st.floats(0, 1)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(SHARES, min_size=len(SIZES), max_size=len(SIZES)),
    st.floats(0, 0.3),
    st.integers(SIZES[0], MOST * ROWS),
    st.integers(SIZES[0], MOST * ROWS),
)
def test_more_rows_never_make_it_worse(
    scores: list[float], deviation: float, one: int, other: int
) -> None:
    curve = curve_of(np.array(scores), deviation)
    few, many = (curve.expected(rows) for rows in sorted((one, other)))
    for lower, higher in zip(vars(few).values(), vars(many).values(), strict=True):
        assert 0 <= lower <= higher + 1e-12
    assert few.low - 1e-12 <= few.mean <= few.high + 1e-12
    assert many.high <= 1 + 1e-12
    json.dumps(curve.as_json(), allow_nan=False)


def test_the_curve_ends_where_nothing_is_known_any_more() -> None:
    curve = curve_of(np.array([0.5, 0.6, 0.65, 0.7]), 0.02)
    for rows in (SIZES[0] - 1, MOST * ROWS + 1):
        with pytest.raises(LatentLabelsError, match="from 20 verified rows to 1,920"):
            curve.expected(rows)
    with pytest.raises(LatentLabelsError, match="got 2,000"):
        curve.gain(2000 - ROWS)


def test_steps_end_with_the_rows_there_are() -> None:
    scores = np.array([0.5, 0.6, 0.65, 0.7])
    assert curve_of(scores, 0.02).steps == [240, 720, 1680]
    assert curve_of(scores, 0.02, available=600).steps == [240, 360]
    every = curve_of(scores, 0.02, available=ROWS)
    assert every.steps == []
    assert every.told().endswith("with 240: there are no other rows")
    assert "; 240 more: +" in curve_of(scores, 0.02).told()


def test_the_jackknife_finds_the_covariance_of_means() -> None:
    """Of 20 groups' variance: a relative standard error of √(2 / 19), five of which are left."""
    random = np.random.default_rng(0)
    values = random.normal(size=(2000, 2)) @ np.array([[1.0, 0.5], [0.0, 1.0]])
    found = covariance_of_rows(lambda rows: values[rows].mean(0), 2000, 0)
    np.testing.assert_allclose(found * 2000, np.cov(values.T), atol=5 * np.sqrt(2 / 19) * 1.25)
    assert found[0, 1] > 0
    certain = covariance_of_rows(lambda _: np.ones(2), 50, 0)
    np.testing.assert_allclose(certain, 1 / 50**2)


def test_what_fits_differ_by_is_neither_fold_nor_size() -> None:
    folds, sizes = np.array([[0.1], [0.0], [-0.2]]), np.array([0.5, 0.6, 0.7, 0.8])
    variance, freedom = variance_of_fits(folds + sizes)
    assert variance == pytest.approx(0, abs=1e-30)
    assert freedom == (3 - 1) * (4 - 1)
    random = np.random.default_rng(0)
    found = [variance_of_fits(0.02 * random.normal(size=(3, 4)))[0] for _ in range(2000)]
    assert np.mean(found) == pytest.approx(0.02**2 / 3, rel=5 * np.sqrt(2 / 6 / 2000))
