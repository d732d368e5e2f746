"""Plans: how α falls, and what a Gibbs run may be."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from itertools import pairwise
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentlabels.model.schedule import AlphaSchedule, GibbsSchedule

heights = st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)).map(sorted)
lengths = st.floats(1e-3, 1e6)


@given(heights, lengths)
def test_alpha_goes_from_start_to_end(ends: list[float], epochs: float) -> None:
    end, start = ends
    alpha = AlphaSchedule(start, end, epochs)
    assert alpha.at(0) == start
    assert alpha.at(epochs) == alpha.at(2 * epochs) == pytest.approx(end, abs=1e-9 * start)


@given(heights, lengths, st.lists(st.floats(0, 1e7), min_size=2))
def test_alpha_never_rises(ends: list[float], epochs: float, times: list[float]) -> None:
    end, start = ends
    alpha = AlphaSchedule(start, end, epochs)
    values = [alpha.at(time) for time in sorted(times)]
    assert all(later <= earlier * (1 + 1e-12) for earlier, later in pairwise(values))


def test_alpha_falls_linearly_within_epochs_too() -> None:
    paper = AlphaSchedule(start=40.0, end=5.0, epochs=11)
    assert paper.at(5.5) == pytest.approx((40.0 + 5.0) / 2)
    assert paper.at(1) - paper.at(2) == pytest.approx(35.0 / 11)


def test_no_fall_starts_at_the_end() -> None:
    assert AlphaSchedule(start=8.0, end=1.0, epochs=0).at(0) == 1.0


@pytest.mark.parametrize(
    ("start", "end", "epochs"),
    [
        (1.0, 2.0, 5),
        (1.0, -0.1, 5),
        (1.0, 0.5, -1),
        (nan, 0.0, 1),
        (inf, 1.0, 5),
        (1.0, 0.5, inf),
    ],
)
def test_an_alpha_that_rises_is_negative_or_endless_is_refused(
    start: float, end: float, epochs: float
) -> None:
    with pytest.raises(ValueError, match=f"alpha falls.*start={start}, end={end}, epochs={epochs}"):
        AlphaSchedule(start, end, epochs)


@pytest.mark.parametrize(
    "plan",
    [{"chains": 0}, {"sweeps": 0}, {"sweeps": 5, "burn_in": 5}, {"burn_in": -1}],
    ids=str,
)
def test_a_run_without_chains_or_sweeps_is_refused(plan: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="at least one chain and more sweeps than burn-in"):
        GibbsSchedule(**plan)


def test_plans_are_values() -> None:
    assert GibbsSchedule() == GibbsSchedule(chains=50, sweeps=100, burn_in=0)
    with pytest.raises(FrozenInstanceError):
        GibbsSchedule().sweeps = 1  # type: ignore[misc]
