"""What a label is: an exponential family over vectors of zeros and ones, whatever its kind."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from latentlabels.model.units import Bernoulli, Categorical, Joint, Units

# The largest number that 24 random bits give.
JUST_BELOW_ONE = 1 - 2**-24

kinds = st.recursive(
    st.builds(Bernoulli, st.integers(0, 3)) | st.builds(Categorical, st.integers(1, 4)),
    lambda parts: st.builds(Joint, st.lists(parts, min_size=1, max_size=3)),
    max_leaves=3,
)


@st.composite
def layers(draw: st.DrawFn, largest: float = 20.0) -> tuple[Units, Tensor]:
    """A kind of label, and natural parameters for it."""
    units = draw(kinds)
    number = st.floats(-largest, largest)
    logits = draw(st.lists(number, min_size=units.size, max_size=units.size))
    return units, torch.tensor(logits, dtype=torch.float64)


def assert_equal(found: Tensor, expected: Tensor) -> None:
    """Up to the rounding of float64 sums of a few dozen terms of size up to 100."""
    assert_close(found, expected, rtol=1e-12, atol=1e-12)


@given(layers())
def test_log_partition_sums_over_all_states(layer: tuple[Units, Tensor]) -> None:
    units, logits = layer
    log_sum = torch.logsumexp(units.configurations() @ logits, 0)
    assert_equal(units.log_partition(logits), log_sum)


@given(layers())
def test_mean_is_the_derivative_of_the_log_partition(layer: tuple[Units, Tensor]) -> None:
    units, logits = layer
    logits.requires_grad_()
    (derivative,) = torch.autograd.grad(units.log_partition(logits).sum(), logits)
    assert_equal(units.mean(logits), derivative)


@given(layers())
def test_probabilities_sum_to_one_and_give_the_mean(layer: tuple[Units, Tensor]) -> None:
    units, logits = layer
    states = units.configurations()
    probability = units.log_probability(logits, states).exp()
    assert_equal(probability.sum(), torch.tensor(1.0).double())
    assert_equal(probability @ states, units.mean(logits))


@given(kinds)
def test_configurations_are_the_states_and_nothing_else_is(units: Units) -> None:
    listed = units.configurations()
    assert listed.shape == (units.configurations_count, units.size)
    assert len(set(map(tuple, listed.tolist()))) == len(listed)
    every_vector = torch.tensor(list(itertools.product((0.0, 1.0), repeat=units.size)))
    are_states = units.are_states(every_vector)
    assert are_states.sum() == units.configurations_count
    assert units.are_states(listed).all()
    for nearly in (0.5, 2.0, -1.0, torch.nan):
        assert units.size == 0 or not units.are_states(torch.full((units.size,), nearly))


@given(layers())
def test_mode_is_the_most_probable_state(layer: tuple[Units, Tensor]) -> None:
    units, logits = layer
    mode = units.mode(units.mean(logits))
    assert mode.dtype == torch.bool
    assert units.are_states(mode)
    best = units.log_probability(logits, units.configurations()).max()
    # Means that round to the same number hide a difference of about 1e-15 / 1e-9 between logits.
    assert units.log_probability(logits, mode.double()) >= best - 1e-6


@given(layers(largest=15.0))
def test_logits_of_inverts_the_mean(layer: tuple[Units, Tensor]) -> None:
    units, logits = layer
    mean = units.mean(logits)
    assert_equal(units.mean(units.logits_of(mean)), mean)


@given(layers(), st.data())
def test_draws_are_states_in_the_type_of_the_logits(
    layer: tuple[Units, Tensor], data: st.DataObject
) -> None:
    units, logits = layer
    numbers = st.floats(0, JUST_BELOW_ONE, width=32)
    drawn = data.draw(st.lists(numbers, min_size=units.draws, max_size=units.draws))
    for dtype in (torch.float32, torch.float64):
        state = units.sample(logits.to(dtype), torch.tensor(drawn))
        assert state.dtype == dtype
        assert state.shape == logits.shape
        assert units.are_states(state)


@given(layers(largest=5.0))
def test_a_state_is_drawn_by_its_share_of_the_unit_interval(layer: tuple[Units, Tensor]) -> None:
    """Of evenly spaced numbers, an interval of length p holds p of them, give or take one."""
    units, logits = layer
    grid = 1000
    numbers = (torch.arange(grid) + 0.5) / grid
    drawn = units.sample(logits.expand(grid, -1), numbers[:, None].expand(-1, units.draws))
    # Every unit is on in one interval, for all of a layer's numbers being the same.
    assert ((drawn.sum(0) - grid * units.mean(logits)).abs() <= 1 + 1e-3).all()


IMPOSSIBLE = float("-inf")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("number", [0.0, JUST_BELOW_ONE])
@pytest.mark.parametrize(
    ("units", "certain"),
    [
        (Bernoulli(3), [1, 0, 1]),
        (Categorical(3), [1, 0, 0]),
        (Categorical(3), [0, 1, 0]),
        (Categorical(3), [0, 0, 1]),
        (Joint([Categorical(2), Bernoulli(2)]), [0, 1, 1, 0]),
    ],
)
def test_neither_the_first_nor_the_last_number_draws_what_is_impossible(
    units: Units, certain: list[int], number: float, dtype: torch.dtype
) -> None:
    state = torch.tensor(certain, dtype=dtype)
    logits = torch.where(state == 1, 200.0, IMPOSSIBLE).to(dtype)
    assert_close(units.mean(logits), state)
    assert_close(units.sample(logits, torch.full((units.draws,), number)), state)


@pytest.mark.parametrize(
    ("number", "chosen"), [(0.0, 0), (0.249, 0), (0.25, 1), (0.5, 2), (0.75, 3), (0.999, 3)]
)
def test_classes_divide_the_unit_interval_in_order(number: float, chosen: int) -> None:
    state = Categorical(4).sample(torch.zeros(4), torch.tensor([number]))
    assert state.argmax() == chosen


def test_logits_that_overflow_a_plain_exponential_are_no_trouble() -> None:
    for units in (Bernoulli(2), Categorical(2)):
        logits = torch.tensor([1e4, -1e4])
        assert_close(units.log_partition(logits), torch.tensor(1e4))
        assert_close(units.mean(logits), torch.tensor([1.0, 0.0]))


def test_joint_is_its_parts_side_by_side() -> None:
    parts = [Bernoulli(2), Categorical(3), Joint([Categorical(2)])]
    joint = Joint(parts)
    assert (joint.size, joint.draws, joint.configurations_count) == (7, 4, 24)
    assert [part for part, _ in joint.split(torch.zeros(5, 7))] == parts
    assert [tuple(columns.shape) for _, columns in joint.split(torch.zeros(5, 7))] == [
        (5, 2),
        (5, 3),
        (5, 2),
    ]


def test_units_of_the_same_kind_and_size_are_equal() -> None:
    assert Joint([Bernoulli(2), Categorical(3)]) == Joint((Bernoulli(2), Categorical(3)))
    other: Units = Categorical(2)
    assert Bernoulli(2) != other
    assert len({Joint([Bernoulli(1)]), Joint([Bernoulli(1)])}) == 1


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        (Bernoulli, -1),
        (Bernoulli, 2.0),
        (Bernoulli, True),
        (Categorical, 0),
        (Categorical, "3"),
    ],
)
def test_a_count_that_is_none_is_refused(kind: type[Bernoulli | Categorical], count: Any) -> None:
    with pytest.raises(ValueError, match=f"{kind.__name__} units need a whole number.*{count!r}"):
        kind(count)
