"""The energy over noisy, clean and hidden units, and what follows from it in closed form.

    E(y, ŷ, h | x) = − a(x)·ŷ − b(x)·y − c·h − ŷᵀ W y − hᵀ W′ y

The clean and the hidden units never meet in a term, so they form one *latent* layer ℓ = (ŷ, h)
opposite the noisy layer: the graph is bipartite, and with V = [W; W′]

    E(y, ℓ) = − f_ℓ·ℓ − f_y·y − ℓᵀ V y.

Source: Vahdat (2017), eq. 2.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from latentlabels.model.units import Bernoulli, Joint, Units

HIDDEN_WEIGHT_SCALE = 0.01


class Potentials(NamedTuple):
    """What the network says of a batch of examples.

    Attributes:
        clean: a(x), a bias for every clean unit, (batch, clean).
        noisy: b(x), a bias for every noisy unit, (batch, noisy); None where the x–y link is off.
    """

    clean: Tensor
    noisy: Tensor | None = None


class Fields(NamedTuple):
    """The whole bias that acts on each layer, the network's share and the model's own.

    Attributes:
        latent: f_ℓ, (batch, latent).
        noisy: f_y, (batch, noisy), or (1, noisy) where it is the same for every example.
    """

    latent: Tensor
    noisy: Tensor

    def per_chain(self) -> Fields:
        """The same fields with a chain axis: (batch, 1, latent) and (batch, 1, noisy)."""
        return Fields(self.latent.unsqueeze(-2), self.noisy.unsqueeze(-2))

    def detach(self) -> Fields:
        """The same fields, cut off from the gradient."""
        return Fields(self.latent.detach(), self.noisy.detach())


class PairwiseCRF(nn.Module):
    """The conditional random field; without potentials it is the auxiliary's RBM.

    Args:
        noisy: the units of the labels that came with an example.
        clean: the units of the labels that are wanted.
        hidden: number of binary hidden units that carry correlations among noisy labels.
        pairwise: whether clean and noisy labels are joined by W. Without, what links them is the
            auxiliary alone.
        generator: of the hidden units' first weights; torch's own where it is not given.

    Raises:
        ValueError: hidden units without pairwise terms, which nothing would join to the labels.

    Source: Vahdat (2017), eq. 2 and Figure 2.
    """

    def __init__(
        self,
        noisy: Units,
        clean: Units,
        hidden: int = 0,
        *,
        pairwise: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if hidden and not pairwise:
            raise ValueError(
                f"A model without pairwise terms has no use for hidden units, got hidden={hidden}. "
                "Pass hidden=0, or pairwise=True."
            )
        self.noisy = noisy
        self.clean = clean
        self.hidden = Bernoulli(hidden)
        self.latent = Joint([clean, self.hidden])
        self.pairwise = pairwise
        self.clean_bias = nn.Parameter(torch.zeros(clean.size))
        self.noisy_bias = nn.Parameter(torch.zeros(noisy.size))
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))
        self.clean_noisy = nn.Parameter(torch.zeros(clean.size, noisy.size), requires_grad=pairwise)
        first = torch.randn(hidden, noisy.size, generator=generator)
        self.hidden_noisy = nn.Parameter(HIDDEN_WEIGHT_SCALE * first)

    @property
    def weight(self) -> Tensor:
        """V = [W; W′], (latent, noisy)."""
        return torch.cat([self.clean_noisy, self.hidden_noisy])

    def fields(self, potentials: Potentials | None = None) -> Fields:
        """The biases that act on each layer, given the network's potentials.

        Without potentials, the biases of the RBM, with a batch of one.
        """
        if potentials is None:
            return Fields(
                torch.cat([self.clean_bias, self.hidden_bias])[None], self.noisy_bias[None]
            )
        clean = self.clean_bias + potentials.clean
        hidden = self.hidden_bias.expand(len(clean), -1)
        noisy = self.noisy_bias[None]
        if potentials.noisy is not None:
            noisy = noisy + potentials.noisy
        return Fields(torch.cat([clean, hidden], -1), noisy)

    def latent_logits(self, fields: Fields, noisy: Tensor) -> Tensor:
        """Natural parameters of p(ŷ, h | y, x), f_ℓ + V y, for noisy labels (..., noisy)."""
        return fields.latent + noisy @ self.weight.T

    def noisy_logits(self, fields: Fields, latent: Tensor) -> Tensor:
        """Natural parameters of p(y | ŷ, h, x), f_y + Vᵀ ℓ, for latent units (..., latent)."""
        return fields.noisy + latent @ self.weight

    def energy(self, fields: Fields, noisy: Tensor, latent: Tensor) -> Tensor:
        """E(y, ŷ, h | x) of states or, the energy being multilinear, of means; shape (...)."""
        latent_part = (self.latent_logits(fields, noisy) * latent).sum(-1)
        return -latent_part - (fields.noisy * noisy).sum(-1)

    def free_energy(self, fields: Fields, noisy: Tensor) -> Tensor:
        """F(y | x) = − log Σ_ℓ exp(−E(y, ℓ | x)), so p(y | x) = exp(−F) / Z; shape (...)."""
        latent_part = self.latent.log_partition(self.latent_logits(fields, noisy))
        return -latent_part - (fields.noisy * noisy).sum(-1)

    def latent_free_energy(self, fields: Fields, latent: Tensor) -> Tensor:
        """F(ŷ, h | x) = − log Σ_y exp(−E(y, ŷ, h | x)); shape (...)."""
        noisy_part = self.noisy.log_partition(self.noisy_logits(fields, latent))
        return -noisy_part - (fields.latent * latent).sum(-1)
