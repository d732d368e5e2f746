"""The potentials a(x) and b(x): one linear layer each on top of a backbone."""

from __future__ import annotations

from torch import Tensor, nn

from latentlabels.model.pairwise import Potentials


class PotentialNetwork(nn.Module):
    """A backbone with a head for each layer of units; the noisy one only where the x–y link is on.

    The heads start at zero and have no bias of their own: the CRF holds the biases, and training
    starts from what the labels alone say.

    Args:
        backbone: any module from a batch of examples to features (batch, features).
        features: length of the backbone's output.
        clean: number of clean units.
        noisy: number of noisy units, or None to leave the x–y link out.
    """

    def __init__(self, backbone: nn.Module, features: int, clean: int, noisy: int | None) -> None:
        super().__init__()
        self.backbone = backbone
        self.clean = _zero_linear(features, clean)
        self.noisy = None if noisy is None else _zero_linear(features, noisy)

    def forward(self, x: Tensor) -> Potentials:
        """a(x) and b(x) for a batch of examples."""
        features = self.backbone(x)
        return Potentials(
            self.clean(features), None if self.noisy is None else self.noisy(features)
        )


def _zero_linear(features: int, units: int) -> nn.Linear:
    layer = nn.Linear(features, units, bias=False)
    nn.init.zeros_(layer.weight)
    return layer
