"""Random models of every kind there is, small enough that all of their states can be listed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from torch import Tensor

from latentlabels.model.pairwise import PairwiseCRF, Potentials
from latentlabels.model.posterior import Auxiliary
from latentlabels.model.units import Bernoulli, Categorical, Joint, Units

NOISY = {
    "bits": Bernoulli(4),
    "class": Categorical(3),
    "both": Joint([Bernoulli(2), Categorical(3)]),
    "annotators": Joint([Categorical(2), Joint([Categorical(3), Categorical(2)])]),
}
CLEAN = {
    "bits": Bernoulli(2),
    "class": Categorical(4),
    "both": Joint([Categorical(3), Bernoulli(1)]),
}
# Strong enough that no unit is nearly independent, weak enough that chains mix within a few sweeps.
BIAS_SCALE = 0.7
WEIGHT_SCALE = 0.8


@dataclass(frozen=True)
class SmallModel:
    """One kind of model: its layers, and which terms of the energy it has."""

    noisy: Units
    clean: Units
    hidden: int = 0
    pairwise: bool = True
    noisy_link: bool = True

    def crf(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> PairwiseCRF:
        """The model with random parameters."""
        generator = torch.Generator().manual_seed(seed)
        crf = PairwiseCRF(self.noisy, self.clean, self.hidden, pairwise=self.pairwise).to(dtype)
        with torch.no_grad():
            for parameter in crf.parameters():
                scale = BIAS_SCALE if parameter.ndim == 1 else WEIGHT_SCALE
                drawn = scale * torch.randn(parameter.shape, generator=generator)
                parameter.copy_(drawn * parameter.requires_grad)
        return crf

    def potentials(
        self, rows: int, dtype: torch.dtype = torch.float64, seed: int = 1
    ) -> Potentials:
        """What a network might say of some examples."""
        generator = torch.Generator().manual_seed(seed)
        clean = BIAS_SCALE * torch.randn(rows, self.clean.size, generator=generator)
        noisy = BIAS_SCALE * torch.randn(rows, self.noisy.size, generator=generator)
        return Potentials(clean.to(dtype), noisy.to(dtype) if self.noisy_link else None)

    def auxiliary(
        self, hidden: int = 0, dtype: torch.dtype = torch.float64, seed: int = 2
    ) -> Auxiliary:
        """A random auxiliary, with hidden units or without."""
        generator = torch.Generator().manual_seed(seed)
        latent = self.clean.size + hidden
        bias = BIAS_SCALE * torch.randn(latent, generator=generator)
        weight = WEIGHT_SCALE * torch.randn(latent, self.noisy.size, generator=generator)
        return Auxiliary(self.noisy, self.clean, bias.to(dtype), weight.to(dtype))

    def labels(
        self, rows: int, dtype: torch.dtype = torch.float64, seed: int = 3
    ) -> tuple[Tensor, Tensor]:
        """Noisy and clean labels, any state as likely as any other."""
        generator = torch.Generator().manual_seed(seed)
        noisy, clean = (
            units.sample(
                torch.zeros(rows, units.size, dtype=dtype),
                torch.rand(rows, units.draws, generator=generator),
            )
            for units in (self.noisy, self.clean)
        )
        return noisy, clean


def repeated(potentials: Potentials, times: int, dtype: torch.dtype) -> Potentials:
    """The same examples over and over, in turn."""
    clean, noisy = potentials
    return Potentials(
        clean.to(dtype).repeat(times, 1),
        None if noisy is None else noisy.to(dtype).repeat(times, 1),
    )


TERMS: dict[str, dict[str, Any]] = {
    "no pairs": {"pairwise": False},
    "pairs without x-y link": {"noisy_link": False},
    "pairs": {},
    "pairs and hidden": {"hidden": 2},
}
EVERY_MODEL = {
    f"{noisy} to {clean}, {terms}": SmallModel(NOISY[noisy], CLEAN[clean], **TERMS[terms])
    for noisy, clean, terms in product(NOISY, CLEAN, TERMS)
}
