"""Which changes are accepted: by hand, and by draws from probabilities that are right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentlabels.errors import LatentLabelsError
from latentlabels.evaluation.acceptance import Precision, acceptance_for


def test_by_hand() -> None:
    """Added: 3 of 3 right above 0.8 makes (3 + 1) / (3 + 2); a wrong one more makes 4 / 6."""
    confidence = np.array([0.9, 0.95, 0.8, 0.7, 0.99, 0.6])
    right = np.array([True, True, True, False, False, True])
    on = np.array([True, True, True, True, False, False])
    found = acceptance_for(0.8, confidence, right, on)
    assert (found.added, found.removed) == (0.8, None)
    assert found.of_added == Precision(right=3, accepted=3, changes=4)
    assert found.of_added.estimate == 0.8
    assert found.of_removed == Precision(right=0, accepted=0, changes=2)
    assert found.overall == Precision(right=3, accepted=3, changes=6)
    assert found.accepts(True, 0.8)
    assert not found.accepts(True, 0.79)
    assert not found.accepts(False, 1.0), "the surest removal was wrong"
    assert acceptance_for(0.6, confidence, right, on).added == 0.7


def test_the_interval_is_that_of_the_beta_distribution() -> None:
    """With no change at all, uniform; with many, the estimate ± two standard errors."""
    low, high = Precision(0, 0, 5).interval
    assert (low, high) == pytest.approx((0.025, 0.975))
    many = Precision(9_500, 10_000, 20_000)
    error = (0.95 * 0.05 / 10_000) ** 0.5
    assert many.interval == pytest.approx((0.95 - 1.96 * error, 0.95 + 1.96 * error), abs=2e-4)


@given(
    st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.booleans()), max_size=80),
    st.floats(0.05, 0.95),
)
def test_what_is_accepted_reaches_what_is_wanted_and_nothing_more_would(
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
        taken = np.array([found.accepts(kind, sure) for sure in own], dtype=bool)
        assert (judged.accepted, judged.changes) == (taken.sum(), len(own))
        assert judged.right == hits[taken].sum()
        if threshold is not None:
            assert judged.estimate >= wanted
        for lower in own[~taken]:
            more = own >= lower
            assert (hits[more].sum() + 1) / (more.sum() + 2) < wanted


def test_few_changes_are_not_enough_however_right() -> None:
    """17 of 17 make 18 / 19, which is below 0.95, and 18 of 18 make 19 / 20."""
    for count, reached in ((17, False), (18, True)):
        every = np.ones(count, dtype=bool)
        found = acceptance_for(0.95, np.full(count, 0.99), every, every)
        assert (found.added is not None) == reached
    few = acceptance_for(0.95, np.full(17, 0.99), every[:17], every[:17])
    assert few.told().startswith("no change is accepted: of 17 changes on held-out verified rows")
    assert "precision" not in few.as_json()
    assert found.told().startswith("95.0% of accepted changes are right (95 % interval 8")
    assert found.as_json()["added"]["threshold"] == 0.99


def test_new_changes_are_as_precise_as_wanted() -> None:
    """Where confidence is true: within five standard errors of 0.9, over 400 held-out changes."""
    random = np.random.default_rng(0)
    held, new = random.random((2, 20_000))
    held = held[:400]
    found = acceptance_for(0.9, held, random.random(400) < held, np.ones(400, dtype=bool))
    taken = np.array([found.accepts(True, sure) for sure in new])
    precision = (random.random(20_000) < new)[taken].mean()
    assert precision == pytest.approx(0.9, abs=5 * (0.09 / found.of_added.accepted) ** 0.5)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [(95.0, "got 95. Did you mean 0.95"), (0.0, "got 0"), (1.0, "got 1"), (np.nan, "got nan")],
)
def test_a_precision_that_is_none_is_refused(wanted: float, message: str) -> None:
    nothing = np.zeros(0)
    with pytest.raises(LatentLabelsError, match=message):
        acceptance_for(wanted, nothing, nothing.astype(bool), nothing.astype(bool))
