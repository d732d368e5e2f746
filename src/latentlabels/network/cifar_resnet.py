"""The residual networks for images of 32 × 32 pixels.

A first convolution, three stages of n blocks of two convolutions with 16, 32 and 64 maps, and the
average over all places: with the linear layer that reads the features, 6n + 2 layers have weights.
The second and third stage halve height and width in their first block.

A shortcut that changes the number of maps takes every second pixel and fills the new maps with
zeros: option A of the source, which has no weights, and which its authors use on CIFAR-10.

Source: He et al. (2016), "Deep residual learning for image recognition", section 4.2.
"""

from __future__ import annotations

from typing import Final

from torch import Tensor, nn
from torch.nn import functional as F

from latentlabels.errors import BackboneError

STAGES: Final = (16, 32, 64)


class ResidualBlock(nn.Module):
    """Two convolutions of 3 × 3, and the input added to what they give.

    Args:
        maps: of the input.
        wider: maps of the output, at least as many.
        stride: of the first convolution.
    """

    def __init__(self, maps: int, wider: int, stride: int) -> None:
        super().__init__()
        self.added = wider - maps
        self.stride = stride
        self.first = _convolution(maps, wider, stride)
        self.first_norm = nn.BatchNorm2d(wider)
        self.second = _convolution(wider, wider, 1)
        self.second_norm = nn.BatchNorm2d(wider)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, maps, height, width) to (batch, wider, height / stride, width / stride)."""
        change = self.second_norm(self.second(F.relu(self.first_norm(self.first(x)))))
        return F.relu(self._shortcut(x) + change)

    def _shortcut(self, x: Tensor) -> Tensor:
        if self.stride == 1 and not self.added:
            return x
        before = self.added // 2
        thinned = x[:, :, :: self.stride, :: self.stride]
        return F.pad(thinned, (0, 0, 0, 0, before, self.added - before))


class CifarResNet(nn.Sequential):
    """A residual network of a depth, from (batch, 3, height, width) to (batch, 64).

    The layer that reads the features is not part of it, but counts.

    Args:
        depth: layers with weights, 6n + 2 such as 20, 32 or 44.

    Raises:
        BackboneError: another depth.
    """

    def __init__(self, depth: int = 32) -> None:
        blocks, rest = divmod(depth - 2, 6)
        if rest or blocks < 1:
            raise BackboneError(
                f"A residual network for CIFAR has 6n + 2 layers, such as 8, 20 or 32, got {depth}."
            )
        layers: list[nn.Module] = [
            _convolution(3, STAGES[0], 1),
            nn.BatchNorm2d(STAGES[0]),
            nn.ReLU(),
        ]
        maps = STAGES[0]
        for wider in STAGES:
            for block in range(blocks):
                stride = 2 if block == 0 and wider != STAGES[0] else 1
                layers.append(ResidualBlock(maps, wider, stride))
                maps = wider
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward_features(self, x: Tensor) -> Tensor:
        """The last maps, (batch, 64, height / 4, width / 4)."""
        for layer in list(self)[:-2]:
            x = layer(x)
        return x


def _convolution(maps: int, wider: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(maps, wider, 3, stride, padding=1, bias=False)
