"""Block Gibbs sampling: the torch reference for any device, and the choice of the fused CPU path.

One sweep of a chain draws the noisy layer given the latent one, then the latent layer given the
noisy one; each half is factorial, so it is one matrix product, one mean and one comparison with
uniform numbers.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from latentlabels.model.pairwise import Fields, PairwiseCRF
from latentlabels.sampling.kernels import run_fused
from latentlabels.sampling.uniforms import Uniforms

NOISY_LAYER = 0
LATENT_LAYER = 1


class GibbsRun(NamedTuple):
    """Where a run of sweeps ended, and what it saw.

    Attributes:
        latent: the state of the latent layer, (rows, chains, latent): what a persistent chain
            keeps.
        noisy: the noisy layer of the last sweep, (rows, chains, noisy).
        latent_mean: E[ŷ, h | y] at that noisy layer, (rows, chains, latent).
        average: `latent_mean` averaged over chains and over the sweeps after burn-in, (rows,
            latent).
    """

    latent: Tensor
    noisy: Tensor
    latent_mean: Tensor
    average: Tensor


def run_gibbs(
    crf: PairwiseCRF,
    fields: Fields,
    latent: Tensor,
    uniforms: Uniforms,
    done: Tensor,
    *,
    sweeps: int,
    burn_in: int = 0,
) -> GibbsRun:
    """Run every chain of every row for some sweeps.

    It takes the fused path where that serves: float32 on the CPU.

    Args:
        crf: the model.
        fields: its fields for the rows.
        latent: the chains' latent states, (rows, chains, latent).
        uniforms: the chains' random numbers.
        done: sweeps that each row's chains have done before, (rows,): where in their random numbers
            they go on.
        sweeps: sweeps to run, more than `burn_in`.
        burn_in: sweeps that `average` leaves out.
    """
    fields = fields.detach()
    if latent.device.type == "cpu" and fields.latent.dtype == latent.dtype == torch.float32:
        return GibbsRun(
            *run_fused(crf, fields, latent, uniforms, done, sweeps=sweeps, burn_in=burn_in)
        )
    return run_reference(crf, fields, latent, uniforms, done, sweeps=sweeps, burn_in=burn_in)


@torch.no_grad()
def run_reference(
    crf: PairwiseCRF,
    fields: Fields,
    latent: Tensor,
    uniforms: Uniforms,
    done: Tensor,
    *,
    sweeps: int,
    burn_in: int,
) -> GibbsRun:
    """What `run_gibbs` does, in plain torch: any device, any floating type."""
    fields = fields.per_chain()
    weight = crf.weight
    transposed = weight.T.contiguous()
    total = torch.zeros_like(latent[:, 0])
    for sweep in range(sweeps):
        numbers = uniforms.draw(done + sweep, NOISY_LAYER, crf.noisy.draws)
        noisy = crf.noisy.sample(fields.noisy + latent @ weight, numbers)
        logits = fields.latent + noisy @ transposed
        numbers = uniforms.draw(done + sweep, LATENT_LAYER, crf.latent.draws)
        latent = crf.latent.sample(logits, numbers)
        if sweep >= burn_in:
            mean = crf.latent.mean(logits)
            total += mean.mean(1)
    return GibbsRun(latent, noisy, mean, total / (sweeps - burn_in))
