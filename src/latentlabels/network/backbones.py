"""Backbones: from an example to a vector of features."""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from latentlabels.errors import BackboneError
from latentlabels.network.dropout import RowDropout


class Standardise(nn.Module):
    """Bring every input column to mean 0 and standard deviation 1.

    Args:
        inputs: number of columns.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("deviation", torch.ones(inputs))

    def fit(self, x: Tensor | Iterable[Tensor]) -> None:
        """Take mean and deviation from the training rows.

        A constant column is only centred.

        Args:
            x: the rows (rows, inputs), or blocks of their columns in order.
        """
        start = 0
        for block in [x] if isinstance(x, Tensor) else x:
            deviation, mean = torch.std_mean(block.double(), 0, correction=0)
            varies = deviation > 1e-7 * mean.abs()
            # Written down at once: small tensors that are kept lie between the large ones, and
            # the memory of these is not used again.
            stop = start + len(mean)
            self.mean[start:stop] = mean
            self.deviation[start:stop] = torch.where(varies, deviation, 1.0)
            start = stop

    def require_sound(self) -> None:
        """Check numbers from a file.

        Raises:
            ValueError: a deviation that is not above zero.
        """
        if not (self.deviation > 0).all():
            raise ValueError("a standard deviation of the inputs is not above zero")

    def forward(self, x: Tensor) -> Tensor:
        """Standardised columns, (batch, inputs)."""
        return (x - self.mean) / self.deviation


def vector_backbone(
    inputs: int, widths: tuple[int, ...], dropout: float, input_dropout: float = 0.0
) -> nn.Sequential:
    """For vectors: standardised columns, then fully connected layers with rectifiers and dropout.

    No widths make the potentials a linear function of the input. `Standardise` comes first, and is
    fitted by its user.

    Args:
        inputs: number of input columns.
        widths: output widths of the layers.
        dropout: share of features left out in training.
        input_dropout: share of input columns left out in training.
    """
    layers: list[nn.Module] = [Standardise(inputs)]
    if input_dropout:
        layers.append(RowDropout(input_dropout))
    for width in widths:
        layers += [nn.Linear(inputs, width), nn.ReLU(), RowDropout(dropout)]
        inputs = width
    return nn.Sequential(*layers)


def own_backbone(module: nn.Module | None, inputs: int) -> tuple[nn.Sequential, int]:
    """A caller's module for vectors behind standardised columns, and how many features it gives.

    Args:
        module: from (batch, inputs) to (batch, features); it is copied.
        inputs: number of input columns.

    Raises:
        BackboneError: no module, or one that gives something else.
    """
    if module is None:
        raise BackboneError(
            "The model was fitted with a backbone of the caller's own: pass it as backbone=..."
        )
    wanted = f"A backbone for vectors maps (batch, {inputs}) to (batch, features)"
    module = copy.deepcopy(module)
    training = module.training
    try:
        with torch.no_grad():
            features = module.eval()(torch.zeros(2, inputs))
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise BackboneError(f"{wanted}; this one failed: {error}") from error
    module.train(training)
    if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != 2:
        shape = tuple(getattr(features, "shape", ()))
        raise BackboneError(f"{wanted}; this one gave {type(features).__name__} of shape {shape}.")
    return nn.Sequential(Standardise(inputs), module), features.shape[1]
