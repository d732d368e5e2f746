"""Do chains mix? Potential scale reduction, effective sample size, and chains that are stuck.

All of them look at draws of several chains of the same law, in the order in which they were drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

STUCK_CHANCE: Final = 1e-6
"""A unit is stuck that independent draws would leave where it is with a smaller chance."""
LARGEST_R_HAT: Final = 1.1
LARGEST_STUCK: Final = 0.01


class ChainWarning(UserWarning):
    """Chains do not mix; the message says what to do."""


@dataclass(frozen=True)
class ChainHealth:
    """How chains fare, at worst.

    Attributes:
        r_hat: the largest potential scale reduction of a unit; one where chains agree.
        effective: the least effective sample size of a unit, as a share of the draws.
        stuck: share of chains with a unit that does not move, though others of its row do.
    """

    r_hat: float
    effective: float
    stuck: float

    @property
    def is_good(self) -> bool:
        """Whether chains give samples of the model rather than of where they began."""
        return self.r_hat <= LARGEST_R_HAT and self.stuck <= LARGEST_STUCK

    def told(self) -> str:
        """The figures in a sentence, and what to do about chains in bad health."""
        return (
            f"Chains do not mix: R-hat is {self.r_hat:.2f} (at most {LARGEST_R_HAT} is good), a "
            f"unit's effective sample size as low as {self.effective:.1%} of its draws, and "
            f"{self.stuck:.1%} of the chains are stuck. Let them run longer (sweeps), or keep "
            "weights smaller: lower crf_learning_rate, raise weight_decay, or take fewer hidden "
            "units."
        )


def chain_health(draws: Tensor) -> ChainHealth:
    """How the chains of some rows fare.

    Args:
        draws: states of 0 and 1 or means, (rows, chains, sweeps, units); at least two chains of at
            least four sweeps.
    """
    return ChainHealth(
        float(split_r_hat(draws).max()),
        float(effective_sample_size(draws).min()) / (draws.shape[1] * draws.shape[2]),
        float(stuck_units(draws).any(-1).double().mean()),
    )


def split_r_hat(draws: Tensor) -> Tensor:
    """R̂ of chains cut into halves: the root of pooled over within-chain variance.

        R̂² = (n − 1)/n + B / (n W)

    with W the mean variance of a half, n its length and B/n the variance of the halves' means. It
    is one where nothing varies, and infinite where halves are constant and differ.

    Args:
        draws: (..., chains, sweeps, units), at least four sweeps.

    Returns:
        (..., units).

    Source: Gelman and Rubin (1992); Gelman et al., Bayesian Data Analysis (2013), section 11.4.
    """
    length = draws.shape[-2] // 2
    halves = torch.cat([draws[..., :length, :], draws[..., -length:, :]], -3).double()
    within = halves.var(-2).mean(-2)
    between = halves.mean(-2).var(-2)
    ratio = torch.where((within == 0) & (between == 0), 0.0, between / within)
    constant = (within == 0) & (between == 0)
    return torch.where(constant, 1.0, ((length - 1) / length + ratio).sqrt())


def effective_sample_size(draws: Tensor) -> Tensor:
    """How many independent draws would give a mean as precise, over all chains.

        n m / (1 + 2 Σ_t ρ_t)

    for m chains of n draws. The autocorrelations ρ_t of all chains together, which count it against
    them where chains differ, are summed while sums of two that follow each other are above zero.

    Args:
        draws: (..., chains, sweeps, units).

    Returns:
        (..., units); all draws where nothing varies.

    Source: Geyer (1992), initial positive sequence; Gelman et al. (2013), section 11.5.
    """
    chains, sweeps = draws.shape[-3:-1]
    centred = draws.double() - draws.double().mean(-2, keepdim=True)
    spectrum = torch.fft.rfft(centred, n=2 * sweeps, dim=-2)
    covariance = torch.fft.irfft(spectrum.abs().square(), n=2 * sweeps, dim=-2)[..., :sweeps, :]
    covariance = (covariance / sweeps).mean(-3)  # (..., lags, units)
    within = covariance[..., 0, :] * sweeps / (sweeps - 1)
    means = draws.double().mean(-2)
    between = means.var(-2) if chains > 1 else torch.zeros_like(within)
    pooled = within * (sweeps - 1) / sweeps + between
    correlation = 1 - (within.unsqueeze(-2) - covariance) / pooled.unsqueeze(-2)
    pairs = correlation[..., : sweeps - sweeps % 2, :].unflatten(-2, (-1, 2)).sum(-2)
    positive = (pairs > 0).cumprod(-2)
    time = 2 * (pairs * positive).sum(-2) - 1
    total = float(chains * sweeps)
    return torch.where(pooled > 0, total / time.clamp(min=1 / total), total)


def stuck_units(draws: Tensor) -> Tensor:
    """Units that stay where they are for all sweeps, though their row's other chains move.

    Independent draws of a unit that is on with chance p, as it is over all chains, would agree in n
    sweeps with chance pⁿ + (1 − p)ⁿ.

    Args:
        draws: states of 0 and 1, (..., chains, sweeps, units).

    Returns:
        Booleans (..., chains, units).
    """
    sweeps = draws.shape[-2]
    constant = (draws == draws[..., :1, :]).all(-2)
    on = draws.double().mean((-3, -2)).unsqueeze(-2)
    return constant & (on**sweeps + (1 - on) ** sweeps < STUCK_CHANCE)
