"""Images as bags of regions: an image network's features of every cell of a grid."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional

from latentlabels.errors import BackboneError
from latentlabels.network.encoders import Encoder
from latentlabels.network.image_encoder import ImageEncoder

GRID: Final = 3
"""Regions in height and in width."""


class RegionEncoder(Encoder):
    """What an image encoder's maps say of each region, one region after the other.

    Maps of fewer places than the grid has cells give some places to several regions.

    Args:
        whole: an encoder whose network has feature maps.

    Raises:
        BackboneError: a network without maps.
    """

    regions: int = GRID**2

    def __init__(self, whole: ImageEncoder) -> None:
        super().__init__(whole.spec)
        self.whole = whole
        self.features = (
            self.regions
            * self._maps(torch.zeros(1, 3, whole.size, whole.size, device=whole.device)).shape[1]
        )

    def content(self, cell: Any) -> bytes:
        return self.whole.content(cell)

    def prepare(self, content: bytes, rng: torch.Generator | None = None) -> Tensor:
        return self.whole.prepare(content, rng)

    def transform_key(self) -> str:
        return self.whole.transform_key()

    def name(self) -> str:
        return self.whole.name()

    def architecture(self) -> str:
        return f"{self.whole.architecture()} in {GRID} x {GRID} regions"

    def forward(self, batch: Tensor) -> Tensor:
        """Features (batch, regions · features) of prepared images (batch, 3, size, size)."""
        pooled = functional.adaptive_avg_pool2d(self._maps(batch), GRID)
        return pooled.flatten(2).transpose(1, 2).flatten(1).float()

    def _maps(self, batch: Tensor) -> Tensor:
        """Feature maps, (batch, features, height, width)."""
        module = self.whole.module
        unpooled = getattr(module, "forward_features", module)
        maps = unpooled(batch.contiguous(memory_format=torch.channels_last))
        if not isinstance(maps, Tensor) or maps.ndim != 4:
            shape = tuple(getattr(maps, "shape", ()))
            raise BackboneError(
                "Regions of an image need a network with feature maps (batch, features, height, "
                f"width); {self.spec.name!r} gives the shape {shape}. Take a convolutional one."
            )
        return maps
