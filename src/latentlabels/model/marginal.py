"""p(ŷ, h | x) in closed form, where the latent states can be listed.

The noisy units sum out of every latent state by themselves, so for the list of latent states ℓ_k

    log Z(x) = log Σ_k exp(−F(ℓ_k | x)),        p(ℓ_k | x) = exp(−F(ℓ_k | x)) / Z(x).
"""

from __future__ import annotations

import torch
from torch import Tensor

from latentlabels.model.pairwise import Fields, PairwiseCRF

LARGEST_LATENT_LIST = 4096
LARGEST_TABLE = 2**18


def is_tractable(crf: PairwiseCRF) -> bool:
    """Whether listing the latent states is cheap.

    That is, at most 4,096 of them, and 2¹⁸ noisy logits an example.
    """
    states = crf.latent.configurations_count
    return states <= LARGEST_LATENT_LIST and states * crf.noisy.size <= LARGEST_TABLE


class LatentMarginal:
    """p(ŷ, h | x) of a CRF by listing every latent state.

    Args:
        crf: the model.
        fields: its fields for a batch.
    """

    def __init__(self, crf: PairwiseCRF, fields: Fields) -> None:
        self.states = crf.latent.configurations().to(fields.latent)  # (states, latent)
        # F(ℓ | x) term by term: f_y may be shared by the batch, and is then summed out once.
        noisy_logits = (
            fields.noisy[:, None] + self.states @ crf.weight
        )  # (batch or 1, states, noisy)
        noisy_part = crf.noisy.log_partition(noisy_logits)
        self.log_weights = fields.latent @ self.states.T + noisy_part  # (batch, states)

    def log_partition(self) -> Tensor:
        """log Z(x), (batch,)."""
        return torch.logsumexp(self.log_weights, -1)

    def mean(self) -> Tensor:
        """E[ŷ, h | x], (batch, latent)."""
        return torch.softmax(self.log_weights, -1) @ self.states
