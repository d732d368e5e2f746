"""p(ŷ, h | x) in closed form, where the latent states can be listed.

The noisy units sum out of every latent state by themselves, so for the list of latent states ℓ_k

    log Z(x) = log Σ_k exp(−F(ℓ_k | x)),        p(ℓ_k | x) = exp(−F(ℓ_k | x)) / Z(x).

Without pairwise terms the two layers are independent, and nothing needs listing: log Z(x) is the
sum of their log-partitions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from latentlabels.model.pairwise import Fields, PairwiseCRF

LARGEST_LATENT_LIST = 4096
LARGEST_TABLE = 2**18


def is_tractable(crf: PairwiseCRF) -> bool:
    """Whether log Z(x) is cheap.

    That is, without pairwise terms, or with at most 4,096 latent states and 2¹⁸ noisy logits an
    example.
    """
    states = crf.latent.configurations_count
    return not crf.pairwise or (
        states <= LARGEST_LATENT_LIST and states * crf.noisy.size <= LARGEST_TABLE
    )


def log_partition(crf: PairwiseCRF, fields: Fields) -> Tensor:
    """log Z(x) of a tractable model for a batch of fields, (batch,)."""
    if not crf.pairwise:
        return crf.latent.log_partition(fields.latent) + crf.noisy.log_partition(fields.noisy)
    return torch.logsumexp(_log_weights(crf, fields, _latent_states(crf, fields)), -1)


def latent_mean(crf: PairwiseCRF, fields: Fields) -> Tensor:
    """E[ŷ, h | x] of a tractable model for a batch of fields, (batch, latent)."""
    if not crf.pairwise:
        return crf.latent.mean(fields.latent)
    states = _latent_states(crf, fields)
    return torch.softmax(_log_weights(crf, fields, states), -1) @ states


def _latent_states(crf: PairwiseCRF, fields: Fields) -> Tensor:
    return crf.latent.configurations().to(fields.latent)  # (states, latent)


def _log_weights(crf: PairwiseCRF, fields: Fields, states: Tensor) -> Tensor:
    """−F(ℓ_k | x), (batch, states)."""
    # Term by term: f_y may be shared by the batch, and is then summed out once.
    noisy_logits = fields.noisy[:, None] + states @ crf.weight  # (batch or 1, states, noisy)
    return fields.latent @ states.T + crf.noisy.log_partition(noisy_logits)
