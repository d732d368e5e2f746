"""Weights on their grid: sums are exact whatever the order, and what bfloat16 costs is bounded."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from latentlabels.sampling.gibbs import chosen_products
from latentlabels.sampling.rounding import (
    LARGEST_ERROR,
    as_bfloat16,
    bfloat16_error,
    on_grid,
)

LATENT, NOISY = 6, 8


def normal(*shape: int, seed: int, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@given(
    st.integers(0, 2**32 - 1),
    st.floats(-20.0, 20.0),
    st.sampled_from([torch.float32, torch.bfloat16]),
)
def test_sums_are_exact_in_any_order(seed: int, magnitude: float, dtype: torch.dtype) -> None:
    """Added one by one in float32, as in float64, where sums of these numbers need no rounding."""
    weight = normal(300, 40, seed=seed, scale=2.0**magnitude)
    weight[normal(300, 40, seed=seed + 1) < -1] *= 100
    rounded = (as_bfloat16(weight) if dtype == torch.bfloat16 else on_grid(weight)).float()
    order = torch.randperm(300, generator=torch.Generator().manual_seed(seed))
    exact = rounded.double().sum(0)
    one_by_one = torch.zeros(40)
    for unit in order:
        one_by_one += rounded[unit]
    assert torch.equal(one_by_one.double(), exact)
    assert torch.equal((torch.ones(1, 300) @ rounded)[0].double(), exact)


@given(st.integers(0, 2**32 - 1), st.floats(-20.0, 20.0))
def test_rounding_to_the_grid_changes_little(seed: int, magnitude: float) -> None:
    """By half a step, which is 2^-23 of the largest sum of sizes, or twice that."""
    weight = normal(50, 40, seed=seed, scale=2.0**magnitude)
    largest = max(weight.abs().sum(0).max(), weight.abs().sum(1).max())
    assert ((on_grid(weight) - weight).abs() <= largest * 2.0**-23).all()
    assert torch.equal(on_grid(on_grid(weight)), on_grid(weight))


def test_no_weights_and_no_units_stay_as_they_are() -> None:
    for weight in (torch.zeros(3, 4), torch.zeros(0, 4), torch.zeros(3, 0)):
        assert torch.equal(on_grid(weight), weight)
        assert bfloat16_error(weight) == 0.0


def test_weights_of_one_sign_are_refused_where_they_add_up() -> None:
    """Rounding shifts each the same way, and the sum is large where it is rounded."""
    weight = torch.full((273, 1000), 0.1)
    state = (torch.arange(1000) < 537).float()[None]
    exact = (state.double() @ weight.double().T)[0]
    short = (state.bfloat16() @ as_bfloat16(weight).T)[0].double()
    assert (short - exact).abs().max() > LARGEST_ERROR
    assert bfloat16_error(weight) > LARGEST_ERROR


def test_the_tiniest_weights_stay_numbers() -> None:
    for tiny in (1e-39, 1e-32, 1e-20):
        assert torch.isfinite(on_grid(torch.tensor([[tiny, 0.0]]))).all()


def states(units: int) -> Tensor:
    return ((torch.arange(2**units)[:, None] >> torch.arange(units)) & 1).double()


def law(logits: Tensor, drawn: Tensor) -> Tensor:
    """p(state) of independent bits, (conditions, states)."""
    on, off = (torch.nn.functional.logsigmoid(sign * logits)[:, None] for sign in (1, -1))
    return (on * drawn + off * (1 - drawn)).sum(-1).exp()


def stationary_marginals(weight: Tensor, bias: Tensor, *, rounded: bool) -> Tensor:
    """Of both layers' units, by listing all states: the law that a sweep leaves as it is.

    Args:
        weight: (latent, noisy), float64.
        bias: of the latent and the noisy units, (latent + noisy,).
        rounded: whether weights and their sums are bfloat16.
    """
    latent, noisy = states(LATENT), states(NOISY)
    to_noisy, to_latent = latent @ weight, noisy @ weight.T
    if rounded:
        short = as_bfloat16(weight.float())
        to_noisy = (latent.bfloat16() @ short).double()
        to_latent = (noisy.bfloat16() @ short.T).double()
    given_latent = law(bias[LATENT:] + to_noisy, noisy)
    given_noisy = law(bias[:LATENT] + to_latent, latent)
    long = torch.linalg.matrix_power(given_latent @ given_noisy, 2**12)
    of_latent = torch.full((len(latent),), 1 / len(latent)).double() @ long
    return torch.cat([of_latent @ latent, of_latent @ given_latent @ noisy])


def bias_of_bfloat16(scale: float, seed: int) -> tuple[float, float]:
    """What bfloat16 does to the worst marginal of a random model, and to a logit by the formula."""
    weight = normal(LATENT, NOISY, seed=seed, scale=scale).double()
    # Half of the units are on, where a logit moves its probability most.
    centre = -torch.cat([weight.sum(1), weight.sum(0)]) / 2
    bias = centre + normal(LATENT + NOISY, seed=seed + 1).double()
    plain, short = (stationary_marginals(weight, bias, rounded=r) for r in (False, True))
    return float((short - plain).abs().max()), bfloat16_error(weight.float())


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0, 3.0, 4.0])
def test_bfloat16_moves_a_marginal_by_half_the_error_of_a_logit_at_most(scale: float) -> None:
    """One conditional moves by a quarter of it; chains hand it on, which may double that.

    So where "auto" takes bfloat16, no marginal is off by more than a hundredth.
    """
    for seed in range(10):
        moved, error = bias_of_bfloat16(scale, seed)
        assert 0 < moved <= error / 2
        assert error > LARGEST_ERROR or moved <= 0.01


def test_weights_too_large_for_bfloat16_move_a_marginal_by_more_and_are_refused() -> None:
    moved, error = max(bias_of_bfloat16(6.0, seed) for seed in range(20))
    assert moved > 0.01
    assert error > LARGEST_ERROR
    weight = normal(80, 90, seed=0, scale=6.0)
    assert chosen_products("auto", weight, torch.zeros(1, 1, 80)) == torch.float32
