"""Which changes are accepted: by hand, and by draws from probabilities that are right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from latentlabels.errors import LatentLabelsError
from latentlabels.evaluation.acceptance import RISKS, Precision, acceptance_for

Array = NDArray[np.float64]


def draws(world: str, random: np.random.Generator, count: int) -> tuple[Array, Array]:
    """Confidences and probabilities of being right; what reaches 0.95 are 65, 20 and 65 in 100."""
    if world == "most are sure":
        confidence = 0.5 + 0.5 * random.beta(0.8, 0.35, count)
    else:
        confidence = random.uniform(0.5, 1, count)
    p = np.where(confidence > 0.7, 0.97, 0.7) if world == "wrong confidences" else confidence
    return confidence, p


def test_by_hand() -> None:
    """Of 40 the surest 30 are right, and the others wrong.

    Had 9 in 10 been right, 12 right ones of 12 would have a probability of 0.28, which passes, and
    so does all up to 30 of 32, of 0.37, which does not; 30 of 31 has 0.17.
    """
    confidence = np.linspace(0.99, 0.6, 40)
    right = np.arange(40) < 30
    found = acceptance_for(0.9, confidence, right, np.ones(40, dtype=bool))
    assert found.added == confidence[30]
    assert found.removed is None
    # Each fold is judged by the others, whose 31st is the same change or its neighbour.
    assert found.of_added.changes == 40
    assert found.of_added.right == 30
    assert found.of_added.accepted in (30, 31, 32)
    assert found.of_removed == Precision(right=0, accepted=0, changes=0)
    assert found.overall == found.of_added
    assert found.accepts(True, confidence[30])
    assert not found.accepts(True, confidence[31])
    assert not found.accepts(False, 1.0), "there is none to judge removals by"


def test_the_interval_is_exact() -> None:
    """Of none wrong in n the lower end is 0.025 ** (1 / n); of many, two standard errors."""
    assert Precision(50, 50, 60).interval == pytest.approx((0.025 ** (1 / 50), 1))
    many = Precision(9_500, 10_000, 20_000)
    error = (0.95 * 0.05 / 10_000) ** 0.5
    assert many.interval == pytest.approx((0.95 - 1.96 * error, 0.95 + 1.96 * error), abs=3e-4)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.booleans()), max_size=80),
    st.floats(0.05, 0.95),
)
def test_what_is_accepted_reaches_what_is_wanted(
    changes: list[tuple[int, bool, bool]], wanted: float
) -> None:
    confidence = np.array([sure / 10 for sure, _, _ in changes])
    right, on = (np.array([change[k] for change in changes], dtype=bool) for k in (1, 2))
    found = acceptance_for(wanted, confidence, right, on)
    for kind, threshold, judged in (
        (True, found.added, found.of_added),
        (False, found.removed, found.of_removed),
    ):
        own, hits = confidence[on == kind], right[on == kind]
        assert judged.changes == len(own)
        assert (threshold is None) == (judged.accepted == 0)
        if threshold is not None:
            assert judged.estimate >= wanted
            assert hits[own >= threshold].mean() >= wanted
            assert 0 <= judged.interval[0] <= judged.estimate <= judged.interval[1] <= 1


def test_few_changes_are_not_enough_however_right() -> None:
    """0.95 ** 24 is below 0.3, 0.95 ** 23 is not; ten folds of 26 leave 24 at most, of 25 23."""
    for count, reached in ((25, False), (26, True)):
        every = np.ones(count, dtype=bool)
        found = acceptance_for(0.95, np.full(count, 0.99), every, every)
        assert (found.added is not None) == reached
    few = acceptance_for(0.95, np.full(17, 0.99), every[:17], every[:17])
    assert few.told().startswith("no change is accepted: 17 changes on held-out verified rows are")
    assert "precision" not in few.as_json()
    assert found.told().startswith("100.0% of accepted changes are right (95 % interval 6")
    assert found.as_json()["added"]["threshold"] == 0.99


@pytest.mark.parametrize("world", ["most are sure", "few are sure", "wrong confidences"])
@pytest.mark.parametrize(("changes", "sets"), [(50, 200), (200, 150), (1000, 60)])
def test_new_changes_are_as_precise_as_wanted(world: str, changes: int, sets: int) -> None:
    """Of many held-out sets, all within three standard errors.

    True precision falls short no more often than the risk of the test. Where most sets accept
    something it is on average what is wanted, and lies in the interval as often as that says; where
    next to all do, it is on average what is told. The lowest threshold that reaches 0.95 on the
    changes that chose it fails here.
    """
    random = np.random.default_rng(changes)
    confidence, p = draws(world, random, 200_000)
    order = np.argsort(-confidence)
    precision = np.cumsum(p[order]) / np.arange(1, len(order) + 1)
    true, told, covered = [], [], []
    for _ in range(sets):
        held, chance = draws(world, random, changes)
        right = random.random(changes) < chance
        found = acceptance_for(0.95, held, right, np.ones(changes, dtype=bool))
        if found.added is not None:
            true.append(precision[np.count_nonzero(confidence >= found.added) - 1])
            low, high = found.of_added.interval
            covered.append(low <= true[-1] <= high)
            told.append(found.of_added.estimate)
    short, wrong = np.array(true) < 0.95, (1 - np.array(true)).sum() / sets
    assert short.sum() / sets <= RISKS[0] + 3 * (RISKS[0] * (1 - RISKS[0]) / sets) ** 0.5
    assert wrong <= 0.05
    if len(true) < sets / 2:
        return
    assert np.mean(true) >= 0.95 - 3 * np.std(true) / len(true) ** 0.5
    assert np.mean(covered) >= 0.95 - 3 * (0.05 * 0.95 / len(true)) ** 0.5
    off = np.array(told) - true
    if len(true) >= 0.95 * sets:
        assert abs(off.mean()) <= 3 * off.std() / len(off) ** 0.5


@pytest.mark.parametrize(
    ("wanted", "message"),
    [(95.0, "got 95. Did you mean 0.95"), (0.0, "got 0"), (1.0, "got 1"), (np.nan, "got nan")],
)
def test_a_precision_that_is_none_is_refused(wanted: float, message: str) -> None:
    nothing = np.zeros(0)
    with pytest.raises(LatentLabelsError, match=message):
        acceptance_for(wanted, nothing, nothing.astype(bool), nothing.astype(bool))
