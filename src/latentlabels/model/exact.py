"""The trusted twin: everything by listing every state of both layers, one example at a time.

Slow and plain on purpose. It spells out eq. 2 term by term and uses none of the closed forms that
it is there to check.

Source: Vahdat (2017), eq. 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from latentlabels.model.pairwise import PairwiseCRF, Potentials


@dataclass(frozen=True)
class ExactJoint:
    """log p(y, ŷ, h | x) for one example, over all states.

    Attributes:
        noisy: the noisy states, (noisy states, noisy).
        clean: ŷ of each latent state, (latent states, clean).
        hidden: h of each latent state, (latent states, hidden).
        log_partition: log Z(x), a scalar.
        log_probability: (latent states, noisy states).
    """

    noisy: Tensor
    clean: Tensor
    hidden: Tensor
    log_partition: Tensor
    log_probability: Tensor

    @property
    def latent(self) -> Tensor:
        """ℓ = (ŷ, h) of each latent state, (latent states, latent)."""
        return torch.cat([self.clean, self.hidden], -1)

    def log_likelihood(self, noisy: Tensor, clean: Tensor | None = None) -> Tensor:
        """log p(y | x) or, with clean labels, log p(y, ŷ | x), for one row of labels; a scalar."""
        chosen = self.log_probability[:, (self.noisy == noisy).all(-1)]
        if clean is not None:
            chosen = chosen[(self.clean == clean).all(-1)]
        return torch.logsumexp(chosen.flatten(), 0)

    def posterior(self, noisy: Tensor) -> Tensor:
        """p(ŷ, h | y, x) of each latent state for one row of noisy labels, (latent states,)."""
        chosen = self.log_probability[:, (self.noisy == noisy).all(-1)].squeeze(-1)
        return torch.softmax(chosen, 0)

    def latent_probability(self) -> Tensor:
        """p(ŷ, h | x) of each latent state, (latent states,)."""
        return self.log_probability.exp().sum(1)

    def noisy_probability(self) -> Tensor:
        """p(y | x) of each noisy state, (noisy states,)."""
        return self.log_probability.exp().sum(0)


def exact_joint(crf: PairwiseCRF, potentials: Potentials, row: int = 0) -> ExactJoint:
    """List p(y, ŷ, h | x) for one row of a batch, differentiably.

    Args:
        crf: the model, small enough that both layers can be listed.
        potentials: what the network says of the batch.
        row: which example of the batch.
    """
    dtype = crf.clean_bias.dtype
    noisy = crf.noisy.configurations().to(dtype)
    latent = crf.latent.configurations().to(dtype)
    clean, hidden = latent.split([crf.clean.size, crf.hidden.size], -1)
    clean_potential = crf.clean_bias + potentials.clean[row]
    noisy_potential: Tensor = crf.noisy_bias
    if potentials.noisy is not None:
        noisy_potential = noisy_potential + potentials.noisy[row]
    energy = (
        -(clean @ clean_potential)[:, None]
        - (noisy @ noisy_potential)[None, :]
        - (hidden @ crf.hidden_bias)[:, None]
        - torch.einsum("ic,cn,jn->ij", clean, crf.clean_noisy, noisy)
        - torch.einsum("ih,hn,jn->ij", hidden, crf.hidden_noisy, noisy)
    )
    log_partition = torch.logsumexp((-energy).flatten(), 0)
    return ExactJoint(noisy, clean, hidden, log_partition, -energy - log_partition)
