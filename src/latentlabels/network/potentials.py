"""The potentials a(x) and b(x): one linear layer each on top of a backbone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from latentlabels.model.pairwise import Potentials
from latentlabels.network.encoders import Encoder


class PotentialNetwork(nn.Module):
    """A backbone with a head for each layer of units; the noisy one only where the x–y link is on.

    The heads start at zero and have no bias of their own: the CRF holds the biases, and training
    starts from what the labels alone say.

    Args:
        backbone: any module from a batch of examples to features (batch, features).
        features: length of the backbone's output.
        clean: number of clean units.
        noisy: number of noisy units, or None to leave the x–y link out.
        encoder: trained end to end, stands before the backbone, which then sees the encoder's
            features; None where the examples are vectors.
        precision: of the encoder's products; torch.bfloat16 runs it under autocast.
    """

    def __init__(
        self,
        backbone: nn.Module,
        features: int,
        clean: int,
        noisy: int | None,
        encoder: Encoder | None = None,
        precision: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.precision = precision
        self.backbone = backbone
        self.clean = _zero_linear(features, clean)
        self.noisy = None if noisy is None else _zero_linear(features, noisy)

    def forward(self, x: Tensor) -> Potentials:
        """a(x) and b(x) for a batch of examples."""
        features = self.backbone(x if self.encoder is None else self._encode(self.encoder, x))
        return Potentials(
            self.clean(features), None if self.noisy is None else self.noisy(features)
        )

    def _encode(self, encoder: Encoder, x: Tensor) -> Tensor:
        lower = self.precision != torch.float32
        with torch.autocast(x.device.type, dtype=self.precision, enabled=lower):
            features: Tensor = encoder(x)
        return features.float()


def encoder_in(network: nn.Module) -> Encoder | None:
    """The encoder that is trained with a network, if there is one."""
    return network.encoder if isinstance(network, PotentialNetwork) else None


def _zero_linear(features: int, units: int) -> nn.Linear:
    layer = nn.Linear(features, units, bias=False)
    nn.init.zeros_(layer.weight)
    return layer
