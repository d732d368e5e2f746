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
from latentlabels.model.schedule import Sampler
from latentlabels.sampling.chains import pack_bits
from latentlabels.sampling.fused import run_fused
from latentlabels.sampling.rounding import LARGEST_ERROR, as_bfloat16, bfloat16_error, on_grid
from latentlabels.sampling.uniforms import Uniforms

NOISY_LAYER = 0
LATENT_LAYER = 1
FEWEST_WEIGHTS = 4096
"""Below, a product in bfloat16 is no quicker than one in float32."""


class GibbsRun(NamedTuple):
    """Where a run of sweeps ended, and what it saw.

    Attributes:
        latent: the state of the latent layer, (rows, chains, latent): what a persistent chain
            keeps.
        noisy: the noisy layer of the last sweep, (rows, chains, noisy).
        latent_mean: E[ŷ, h | y] at that noisy layer, (rows, chains, latent).
        average: `latent_mean` averaged over chains and over the sweeps after burn-in, (rows,
            latent); zero where they all are burn-in.
        packed: `latent`, one bit a unit, as `chains.pack_bits` packs.
    """

    latent: Tensor
    noisy: Tensor
    latent_mean: Tensor
    average: Tensor
    packed: Tensor


def run_gibbs(
    crf: PairwiseCRF,
    fields: Fields,
    latent: Tensor,
    uniforms: Uniforms,
    done: Tensor,
    *,
    sweeps: int,
    burn_in: int = 0,
    sampler: Sampler = "auto",
) -> GibbsRun:
    """Run every chain of every row for some sweeps.

    Args:
        crf: the model.
        fields: its fields for the rows.
        latent: the chains' latent states, (rows, chains, latent).
        uniforms: the chains' random numbers.
        done: sweeps that each row's chains have done before, (rows,): where in their random numbers
            they go on.
        sweeps: sweeps to run, at least one.
        burn_in: how many of them `average` leaves out.
        sampler: what draws, see `chosen_products`.

    Raises:
        ValueError: no sweep, or bfloat16 products for something else than float32 on the CPU.
    """
    if sweeps < 1:
        raise ValueError(f"A run of Gibbs sampling takes at least one sweep, got {sweeps}.")
    fields = fields.detach()
    weight = crf.weight.detach()
    products = chosen_products(sampler, weight, latent)
    if products is None:
        return run_reference(crf, fields, latent, uniforms, done, sweeps=sweeps, burn_in=burn_in)
    rounded = as_bfloat16(weight) if products == torch.bfloat16 else on_grid(weight)
    return GibbsRun(
        *run_fused(crf, rounded, fields, latent, uniforms, done, sweeps=sweeps, burn_in=burn_in)
    )


def chosen_products(sampler: Sampler, weight: Tensor, latent: Tensor) -> torch.dtype | None:
    """The type of the fused path's products, or None for the reference.

    The fused path serves float32 on the CPU. There "auto" takes bfloat16 where the processor
    multiplies it and the weights bear it (`bfloat16_error`), and float32 elsewhere.

    Args:
        sampler: what is asked for.
        weight: V, (latent, noisy).
        latent: the chains' states.

    Raises:
        ValueError: bfloat16 products for something else than float32 on the CPU.
    """
    can_fuse = latent.device.type == "cpu" and latent.dtype == weight.dtype == torch.float32
    if sampler == "bfloat16":
        if not can_fuse:
            raise ValueError(
                f"The sampler 'bfloat16' is for float32 on the CPU, got {latent.dtype} on "
                f"{latent.device}. Choose 'auto'."
            )
        return torch.bfloat16
    if sampler == "reference" or not can_fuse:
        return None
    serves = sampler == "auto" and weight.numel() >= FEWEST_WEIGHTS and _multiplies_bfloat16()
    return torch.bfloat16 if serves and bfloat16_error(weight) <= LARGEST_ERROR else torch.float32


def _multiplies_bfloat16() -> bool:
    """Whether this processor has instructions for it; without, torch makes do at a loss."""
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, bool)() for name in names)


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
    weight = on_grid(crf.weight) if latent.dtype == torch.float32 else crf.weight
    transposed = weight.T.contiguous()
    total = torch.zeros_like(latent[:, 0])
    # A caller's autocast would round the sums.
    with torch.autocast(latent.device.type, enabled=False):
        for sweep in range(sweeps):
            numbers = uniforms.draw(done + sweep, NOISY_LAYER, crf.noisy.draws)
            noisy = crf.noisy.sample(fields.noisy + latent @ weight, numbers)
            logits = fields.latent + noisy @ transposed
            numbers = uniforms.draw(done + sweep, LATENT_LAYER, crf.latent.draws)
            latent = crf.latent.sample(logits, numbers)
            mean = crf.latent.mean(logits)
            if sweep >= burn_in:
                total += mean.mean(1)
    average = total / max(1, sweeps - burn_in)
    return GibbsRun(latent, noisy, mean, average, pack_bits(latent))
