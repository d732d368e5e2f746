"""Do chains mix? Potential scale reduction, effective sample size, and chains that are stuck.

All of them look at draws of several chains of the same law, in the order in which they were drawn.
Chains that weights hold fast may look healthy, so weights are looked at too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from latentlabels.errors import shown
from latentlabels.model.pairwise import Fields, PairwiseCRF

STUCK_CHANCE: Final = 1e-6
"""A unit is stuck that independent draws would leave where it is with a smaller chance."""
LARGEST_R_HAT: Final = 1.1
LARGEST_STUCK: Final = 0.01
LARGEST_WEIGHT: Final = 32 * math.log(2)
"""Against a larger weight a random number of 32 bits never draws a unit's other state."""

Names = Mapping[str, Sequence[Any]]
"""The names of the clean and of the noisy units."""


class ChainWarning(UserWarning):
    """Chains do not mix; the message says what to do."""


@dataclass(frozen=True)
class LargestWeight:
    """The largest weight of one block of the energy.

    Attributes:
        block: W, W′, a, b or c.
        units: the numbers of the units it joins or acts on, by their kind: clean, hidden or noisy.
        value: the weight; of a and b, which every row has its own of, the mean magnitude.
    """

    block: str
    units: dict[str, int]
    value: float

    def named(self, names: Names) -> dict[str, Any]:
        """The units by their names, where they have some."""
        return {
            kind: names[kind][number] if kind in names else number
            for kind, number in self.units.items()
        }

    def told(self, names: Names) -> str:
        """It in words."""
        named = self.named(names).items()
        units = " and ".join(
            f"{kind} {shown(str(name)) if kind in names else name}" for kind, name in named
        )
        return f"{self.block} is {self.value:.1f} for {units}"


@dataclass(frozen=True)
class ChainHealth:
    """How chains fare, at worst.

    Attributes:
        r_hat: the largest potential scale reduction of a unit; one where chains agree.
        effective: the least effective sample size of a unit, as a share of the draws.
        stuck: share of chains with a unit that does not move, though others of its row do.
        weight: the largest magnitude of a weight.
    """

    r_hat: float
    effective: float
    stuck: float
    weight: float = 0.0

    @property
    def is_good(self) -> bool:
        """Whether chains give samples of the model rather than of where they began."""
        mix = self.r_hat <= LARGEST_R_HAT and self.stuck <= LARGEST_STUCK
        return mix and self.weight <= LARGEST_WEIGHT

    def told(self, largest: Sequence[LargestWeight] = (), names: Names | None = None) -> str:
        """The figures in words, and what to do about chains in bad health.

        Args:
            largest: the largest weight of each block, the largest of them first.
            names: of the clean and the noisy units.
        """
        figures = (
            f"R-hat is {self.r_hat:.2f} (at most {LARGEST_R_HAT} is good), a unit's effective "
            f"sample size as low as {self.effective:.1%} of its draws, and {self.stuck:.1%} of the "
            "chains are stuck."
        )
        away = [of for of in largest if abs(of.value) > LARGEST_WEIGHT]
        told = "; ".join(of.told(names or {}) for of in away or largest[:1])
        if away:
            return (
                f"Weights have run away: {told}. Beyond {LARGEST_WEIGHT:.0f} no chain moves "
                f"against one. {figures} Fit anew with a lower crf_learning_rate (W, W′, c) or "
                "learning_rate (a, b), or a higher weight_decay."
            )
        return (
            f"Chains do not mix: {figures} {f'The largest weight: {told}. ' if told else ''}Let "
            "them run longer (sweeps), or keep weights smaller: lower crf_learning_rate, raise "
            "weight_decay, or take fewer hidden units."
        )


@torch.no_grad()
def largest_weights(crf: PairwiseCRF, fields: Fields) -> tuple[LargestWeight, ...]:
    """The largest weight of each block that there is, the largest of them first.

    Args:
        crf: the model.
        fields: its fields for some rows.
    """
    clean = crf.clean.size
    blocks = {
        ("W", "clean", "noisy"): crf.clean_noisy,
        ("W′", "hidden", "noisy"): crf.hidden_noisy,
        ("a", "clean"): fields.latent[:, :clean].abs().mean(0),
        ("b", "noisy"): fields.noisy.abs().mean(0),
        ("c", "hidden"): crf.hidden_bias,
    }
    largest = []
    for (block, *kinds), weights in blocks.items():
        if weights.numel():
            place = torch.unravel_index(weights.abs().argmax(), weights.shape)
            units = dict(zip(kinds, map(int, place), strict=True))
            largest.append(LargestWeight(block, units, float(weights[place])))
    return tuple(sorted(largest, key=lambda of: -abs(of.value)))


def chain_health(draws: Tensor) -> ChainHealth:
    """How the chains of some rows fare.

    Args:
        draws: states of 0 and 1 or means, (rows, chains, sweeps, units); at least two chains of at
            least four sweeps.
    """
    rows, chains, sweeps, _ = draws.shape
    return ChainHealth(
        float(split_r_hat(draws).max()),
        float(effective_sample_size(draws).min()) / (rows * chains * sweeps),
        float(stuck_units(draws).any(-1).double().mean()),
    )


def split_r_hat(draws: Tensor) -> Tensor:
    """R̂ of chains cut into halves: the root of pooled over within-chain variance.

        R̂² = (n − 1)/n + B / (n W)

    with W the mean variance of a half, n its length and B/n the variance of the halves' means. It
    is one where nothing varies, and infinite where halves are constant and differ. Rows have laws
    of their own: W and B are means over rows, for few chains of one row tell little.

    Args:
        draws: (rows, chains, sweeps, units), at least four sweeps.

    Returns:
        (units,).

    Source: Gelman and Rubin (1992); Gelman et al., Bayesian Data Analysis (2013), section 11.4.
    """
    length = draws.shape[2] // 2
    halves = torch.cat([draws[:, :, :length], draws[:, :, -length:]], 1).double()
    within = halves.var(2).mean((0, 1))
    between = halves.mean(2).var(1).mean(0)
    r_hat = ((length - 1) / length + between / within).sqrt()
    return torch.where((within == 0) & (between == 0), 1.0, r_hat)


def effective_sample_size(draws: Tensor) -> Tensor:
    """How many independent draws would give means as precise, over all chains of all rows.

        rows · m · n / (1 + 2 Σ_t ρ_t)

    for m chains of n draws, with ρ_t = 1 − V_t / (2 σ²), V_t the mean square of differences t draws
    apart and σ² = (n − 1)/n W + B/n the variance over all chains of a row. Autocorrelations are
    summed while sums of two that follow each other are above zero. V_t, W and B are means over
    rows.

    Args:
        draws: (rows, chains, sweeps, units), at least two chains.

    Returns:
        (units,); all draws where nothing varies.

    Source: Geyer (1992), initial positive sequence; Gelman et al. (2013), section 11.5.
    """
    sweeps = draws.shape[2]
    states = draws.double()
    means = states.mean(2)
    variance = states.var(2, correction=0).mean((0, 1)) + means.var(1).mean(0)
    correlation = 1 - _variogram(states - means.unsqueeze(2)) / (2 * variance)
    pairs = correlation[: sweeps - sweeps % 2].unflatten(0, (-1, 2)).sum(1)
    time = 2 * (pairs * (pairs > 0).cumprod(0)).sum(0) - 1
    total = float(draws[..., 0].numel())
    return torch.where(variance > 0, total / time.clamp(min=1 / total), total)


def _variogram(centred: Tensor) -> Tensor:
    """Mean square of differences of draws by their distance, (sweeps, units).

    The products of a square come from a Fourier transform, its squares from running sums.
    """
    sweeps = centred.shape[2]
    spectrum = torch.fft.rfft(centred, n=2 * sweeps, dim=2).abs().square()
    products = torch.fft.irfft(spectrum, n=2 * sweeps, dim=2)[:, :, :sweeps].mean((0, 1))
    running = centred.square().mean((0, 1)).cumsum(0)
    without_last = running.flip(0)
    without_first = running[-1] - torch.cat([torch.zeros_like(running[:1]), running[:-1]])
    apart = torch.arange(sweeps, device=centred.device)[:, None]
    variogram: Tensor = (without_last + without_first - 2 * products) / (sweeps - apart)
    return variogram


def stuck_units(draws: Tensor) -> Tensor:
    """Units that stay where they are for all sweeps, though their row's other chains move.

    Independent draws of a unit that is on with chance p, as it is over all chains, would all be on
    in n sweeps with chance pⁿ, and all off with (1 − p)ⁿ.

    Args:
        draws: states of 0 and 1, (..., chains, sweeps, units).

    Returns:
        Booleans (..., chains, units).
    """
    sweeps = draws.shape[-2]
    constant = (draws == draws[..., :1, :]).all(-2)
    on = draws.double().mean((-3, -2)).unsqueeze(-2)
    chance = torch.where(draws[..., 0, :] > 0, on, 1 - on) ** sweeps
    return constant & (chance < STUCK_CHANCE)
