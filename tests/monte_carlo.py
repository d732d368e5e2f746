"""Draws and averages held against enumerated values, those of sound and of broken samplers alike.

A mean of independent estimates may be five standard errors away. Of counts, the same is said with
the binomial law itself, which holds for rare states too: neither tail may be less likely than a
normal law's beyond five standard errors.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.stats import binom, norm
from torch import Tensor

from latentlabels.model.exact import ExactJoint

STANDARD_ERRORS = 5
TAIL = float(norm.sf(STANDARD_ERRORS))


def assert_draws_follow(joint: ExactJoint, latent: Tensor, noisy: Tensor) -> None:
    """Independent draws of both layers have the enumerated law.

    That goes for whole states, for single units, and for pairs of units across the layers.

    Args:
        joint: the law.
        latent: draws of the latent layer, (draws, latent).
        noisy: the same draws' noisy layer, (draws, noisy).
    """
    in_latent = (latent[:, None].to(joint.latent) == joint.latent).all(-1)
    in_noisy = (noisy[:, None].to(joint.noisy) == joint.noisy).all(-1)
    assert in_latent.any(1).all(), "a draw is no state of the latent layer"
    assert in_noisy.any(1).all(), "a draw is no state of the noisy layer"
    counts = in_latent.double().T @ in_noisy.double()  # (latent states, noisy states)
    probability = joint.log_probability.exp().detach()
    for what, of_latent, of_noisy in (
        ("state", torch.eye(len(joint.latent)), torch.eye(len(joint.noisy))),
        ("clean or hidden unit", joint.latent, torch.ones(len(joint.noisy), 1)),
        ("noisy unit", torch.ones(len(joint.latent), 1), joint.noisy),
        ("pair of units", joint.latent, joint.noisy),
    ):
        left, right = of_latent.double().T, of_noisy.double()
        assert_counts(left @ counts @ right, left @ probability @ right, len(latent), what)


def assert_counts(counts: Tensor, probability: Tensor, draws: int, what: str) -> None:
    """How often events happened in independent draws fits how probable they are."""
    happened = counts.round().numpy()
    chance = probability.clamp(0, 1).numpy()
    # The chance of a count as far out as this one, on its own side.
    tail = np.minimum(binom.cdf(happened, draws, chance), binom.sf(happened - 1, draws, chance))
    worst = np.unravel_index(tail.argmin(), tail.shape)
    assert tail[worst] >= TAIL, (
        f"{what} {tuple(map(int, worst))}: {happened[worst] / draws:.5f} of {draws} draws, "
        f"enumerated {chance[worst]:.5f}, which has chance {tail[worst]:.1e}"
    )


def assert_mean(estimates: Tensor, expected: Tensor, *, rounding: float = 0.0) -> None:
    """The mean of independent estimates is within five standard errors, measured over them.

    Args:
        estimates: (estimates, ...).
        expected: (...).
        rounding: what the estimates' number type may add.
    """
    mean = estimates.double().mean(0)
    standard_error = estimates.double().std(0) / len(estimates) ** 0.5
    distance = (mean - expected.double()).abs()
    allowed = STANDARD_ERRORS * standard_error + rounding
    assert (distance <= allowed).all(), (
        f"off by {(distance / standard_error).max():.1f} standard errors, at most {distance.max()}"
    )


def distance_to_equilibrium(joint: ExactJoint, sweeps: int) -> float:
    """Total variation between the model and the law after some sweeps, from the worst start.

    The noisy layer makes a Markov chain, y → ℓ → y′. The latent layer is drawn from p(ℓ | y), so
    both layers together are as far from the model as the noisy one is. That is first drawn from
    the start, in whatever way, and then makes a step in each of the other sweeps.
    """
    probability = joint.log_probability.exp().detach()  # (latent states, noisy states)
    of_noisy = probability.sum(0)
    latent_given_noisy = probability / of_noisy
    noisy_given_latent = probability / probability.sum(1, keepdim=True)
    step = latent_given_noisy.T @ noisy_given_latent  # (from, to)
    law = torch.linalg.matrix_power(step, sweeps - 1)
    return float(0.5 * (law - of_noisy).abs().sum(1).max())
