"""p(ŷ | x): exact where the latent states can be listed, elsewhere by Gibbs sampling.

The samples are averaged as conditional means, not as draws.
"""

from __future__ import annotations

import torch
from torch import Tensor

from latentlabels.model.marginal import is_tractable, latent_mean
from latentlabels.model.pairwise import Fields, PairwiseCRF
from latentlabels.model.schedule import GibbsSchedule
from latentlabels.sampling.gibbs import run_gibbs
from latentlabels.sampling.uniforms import Purpose, Uniforms

# Not "auto": a model predicts the same on every machine.
PREDICTION = GibbsSchedule(chains=10, sweeps=60, burn_in=20, sampler="float32")


@torch.no_grad()
def clean_marginals(
    crf: PairwiseCRF,
    fields: Fields,
    rows: Tensor,
    *,
    schedule: GibbsSchedule = PREDICTION,
    seed: int = 0,
) -> Tensor:
    """E[ŷ | x], the noisy and hidden units summed out.

    Args:
        crf: the model.
        fields: its fields for the batch.
        rows: row numbers that key the random numbers, (batch,).
        schedule: of the chains, where they are needed.
        seed: of the chains, below 2³².

    Returns:
        (batch, clean).
    """
    if is_tractable(crf):
        return latent_mean(crf, fields)[:, : crf.clean.size]
    uniforms = Uniforms(seed, Purpose.PREDICTION, rows, schedule.chains)
    never = torch.zeros_like(rows)
    # Chains start from the latent layer's own fields, as if no noisy unit were on.
    numbers = Uniforms(seed, Purpose.START, rows, schedule.chains).draw(never, 0, crf.latent.draws)
    start = crf.latent.sample(fields.per_chain().latent, numbers)
    run = run_gibbs(
        crf,
        fields,
        start,
        uniforms,
        never,
        sweeps=schedule.sweeps,
        burn_in=schedule.burn_in,
        sampler=schedule.sampler,
    )
    return run.average[:, : crf.clean.size]
