"""Diagnostics of chains whose law, autocorrelation and faults are known."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from latentlabels.model.pairwise import PairwiseCRF, Potentials
from latentlabels.model.units import Bernoulli
from latentlabels.sampling.diagnostics import (
    LARGEST_R_HAT,
    LARGEST_WEIGHT,
    ChainHealth,
    chain_health,
    effective_sample_size,
    largest_weights,
    split_r_hat,
    stuck_units,
)

ROWS, CHAINS, SWEEPS, UNITS = 5, 20, 400, 4


def switching(stay: float, *, rows: int = ROWS, sweeps: int = SWEEPS, seed: int = 0) -> Tensor:
    """Bits that stay as they are with a chance and are else drawn anew: ρ_t = stay^t."""
    generator = torch.Generator().manual_seed(seed)
    shape = (rows, CHAINS, UNITS)
    state = (torch.rand(shape, generator=generator) < 0.5).double()
    states = []
    for _ in range(sweeps):
        fresh = (torch.rand(shape, generator=generator) < 0.5).double()
        state = torch.where(torch.rand(shape, generator=generator) < stay, state, fresh)
        states.append(state)
    return torch.stack(states, 2)


@pytest.mark.parametrize("stay", [0.0, 0.5, 0.9])
def test_effective_sample_size_of_known_autocorrelation(stay: float) -> None:
    """Σ ρ_t = stay / (1 − stay), so of n draws (1 − stay) / (1 + stay) count.

    Where a sum of noisy autocorrelations is cut varies; over 20 units its mean is within a tenth.
    """
    found = effective_sample_size(switching(stay)) / (ROWS * CHAINS * SWEEPS)
    assert found.mean() == pytest.approx((1 - stay) / (1 + stay), rel=0.1)


def test_effective_sample_size_is_that_of_means() -> None:
    """The variance of a mean over all draws, measured over rows, is the unit's over the size."""
    draws = switching(0.7, rows=400, sweeps=60)
    means = draws.mean((1, 2))
    measured = 0.25 / means.var(0)
    # The variance of a variance of 400 means: a relative standard error of √(2/399), for 4 units.
    found = effective_sample_size(draws) / 400
    allowed = 5 * (2 / 399 / UNITS) ** 0.5
    assert float(found.mean()) == pytest.approx(float(measured.mean()), rel=allowed)


@given(st.floats(-3, 3), st.floats(0.1, 3))
def test_r_hat_is_the_root_of_pooled_over_within(shift: float, scale: float) -> None:
    """Of two constant offsets: B/n is their variance, W that of the draws."""
    length = 50
    noise = torch.tensor([-1.0, 1.0]).repeat(length) * scale  # both halves have mean zero
    draws = torch.stack([noise, noise + shift])[None, :, :, None]
    within = scale**2 * length / (length - 1)
    between = torch.tensor([0, 0, shift, shift]).var()
    expected = ((length - 1) / length + between / within) ** 0.5
    assert_close(split_r_hat(draws)[0], expected.double(), rtol=1e-5, atol=0)


def test_chains_that_mix_are_in_good_health() -> None:
    health = chain_health(switching(0.2))
    assert health.is_good
    assert 1 <= health.r_hat < 1.02
    assert health.effective > 0.4
    assert health.stuck == 0.0


def test_chains_that_hardly_move_are_not() -> None:
    """Each flips a few times in 400 sweeps, so halves of chains differ."""
    health = chain_health(switching(0.99))
    assert not health.is_good
    assert health.r_hat > LARGEST_R_HAT
    assert health.effective < 0.02


def test_few_chains_that_mix_are_not_called_ill() -> None:
    """Of two chains of 40 sweeps, the worst of hundreds of units."""
    generator = torch.Generator().manual_seed(0)
    draws = (torch.rand(8, 2, 40, 300, generator=generator) < 0.5).double()
    assert chain_health(draws).is_good


def test_chains_in_two_modes_are_stuck() -> None:
    """A quarter never leaves its first state, while the units are on in half of all draws."""
    draws = switching(0.0)
    draws[:, : CHAINS // 4, :, 1] = (torch.arange(CHAINS // 4) % 2).double()[:, None]
    health = chain_health(draws)
    assert health.stuck == pytest.approx(0.25)
    assert not health.is_good
    stuck = stuck_units(draws)
    assert stuck[:, : CHAINS // 4, 1].all()
    assert stuck.sum() == ROWS * CHAINS // 4


def test_a_chain_stuck_in_the_rare_state_is_stuck() -> None:
    """One of twenty is on for ever, in a unit that is else on in a tenth of the draws."""
    generator = torch.Generator().manual_seed(0)
    draws = (torch.rand(ROWS, CHAINS, 50, UNITS, generator=generator) < 0.1).double()
    draws[:, 0, :, 2] = 1.0
    stuck = stuck_units(draws)
    assert stuck[:, 0, 2].all()
    assert stuck.sum() == ROWS


def test_all_chains_apart_for_ever_have_no_within_variance() -> None:
    draws = (torch.arange(CHAINS) % 2).double()[None, :, None, None].expand(1, -1, 40, 1)
    health = chain_health(draws)
    assert health.r_hat == float("inf")
    assert health.stuck == 1.0


def test_a_unit_that_is_always_off_is_no_fault() -> None:
    draws = switching(0.0)
    draws[..., 0] = 0.0
    health = chain_health(draws)
    assert health.is_good
    assert split_r_hat(draws)[0] == 1
    assert effective_sample_size(draws)[0] == ROWS * CHAINS * SWEEPS


def test_rare_units_are_not_taken_for_stuck() -> None:
    """On in a hundredth of the draws, a unit stays off for 40 sweeps in two chains of three."""
    generator = torch.Generator().manual_seed(0)
    draws = (torch.rand(50, CHAINS, 40, UNITS, generator=generator) < 0.01).double()
    assert not stuck_units(draws).any()


def test_the_largest_weight_of_each_block_is_named() -> None:
    crf = PairwiseCRF(Bernoulli(3), Bernoulli(2), 2)
    with torch.no_grad():
        for parameter in crf.parameters():
            parameter.zero_()
        crf.clean_noisy[1, 2] = -300.0
        crf.hidden_noisy[0, 1] = 40.0
        crf.hidden_bias[1] = 2.0
    # Of a and b every row has its own: what counts is what is large in most of them.
    clean = torch.tensor([[30.0, 5.0], [0.0, -5.0], [0.0, 5.0], [0.0, -5.0]])
    fields = crf.fields(Potentials(clean, torch.zeros(4, 3)))
    largest = largest_weights(crf, fields)
    assert [(of.block, of.value) for of in largest] == [
        ("W", -300.0),
        ("W′", 40.0),
        ("a", 7.5),
        ("c", 2.0),
        ("b", 0.0),
    ]
    assert largest[0].units == {"clean": 1, "noisy": 2}
    names = {"clean": ["cat", "dog"], "noisy": ["kitty", "blue", "puppy"]}
    told = ChainHealth(1.0, 1.0, 0.0, 300.0).told(largest, names)
    assert (
        "run away: W is -300.0 for clean 'dog' and noisy 'puppy'; W′ is 40.0 for hidden 0" in told
    )
    assert "lower crf_learning_rate" in told
    assert not ChainHealth(1.0, 1.0, 0.0, 300.0).is_good
    assert ChainHealth(1.0, 1.0, 0.0, LARGEST_WEIGHT).is_good
    slow = ChainHealth(2.0, 0.1, 0.0, 7.5).told(largest[2:], names)
    assert "do not mix" in slow
    assert "The largest weight: a is 7.5 for clean 'cat'. Let them run longer" in slow


def test_a_layer_without_units_has_no_weight() -> None:
    crf = PairwiseCRF(Bernoulli(3), Bernoulli(2))
    assert {of.block for of in largest_weights(crf, crf.fields())} == {"W", "a", "b"}
