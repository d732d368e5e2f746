"""Dropout as a function of the row, so that a batch may be split among processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from latentlabels.sampling.kernels import fill_upper_halves
from latentlabels.sampling.uniforms import WORD, Purpose, Uniforms

STEPS: Final = 1 << 16
"""The share that is kept is a multiple of one over so many."""


class Place(NamedTuple):
    """Where in training a batch stands.

    Attributes:
        seed: of training, below 2³².
        step: updates done before.
        layer: which of the network's dropout layers it is.
        rows: the batch's row numbers, (batch,).
    """

    seed: int
    step: int
    layer: int
    rows: Tensor


class RowDropout(nn.Module):
    """Leaves out a share of each example's features, by its row and the training step.

    Outside `dropping_by_row` it is torch's own dropout.

    Args:
        share: left out, from 0 to 1; what is kept is scaled to make up for it.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share
        self.place: Place | None = None

    def extra_repr(self) -> str:
        """The share, for the module's text."""
        return f"share={self.share}"

    def forward(self, x: Tensor) -> Tensor:
        """The features (batch, ...), some of them zero."""
        kept = round((1 - self.share) * STEPS)
        if self.place is None or not 0 < kept < STEPS:
            return functional.dropout(x, self.share, self.training)
        if not self.training:
            return x
        mask = _kept(self.place, x.shape[1:].numel(), kept, x.device).view(x.shape)
        return x * mask * (STEPS / kept)


@contextmanager
def dropping_by_row(network: nn.Module, seed: int, step: int, rows: Tensor) -> Iterator[None]:
    """While it lasts, the network's dropout depends on nothing but these and a row's number.

    Args:
        network: whose `RowDropout` layers are meant.
        seed: of training, below 2³².
        step: updates done before.
        rows: the batch's row numbers, (batch,).
    """
    layers = [module for module in network.modules() if isinstance(module, RowDropout)]
    for number, layer in enumerate(layers):
        layer.place = Place(seed, step, number, rows)
    try:
        yield
    finally:
        for layer in layers:
            layer.place = None


def _kept(place: Place, units: int, kept: int, device: torch.device) -> Tensor:
    """Which units of every row are kept, 1 or 0, (rows, units); `kept` of `STEPS` are."""
    if device.type == "cpu":
        halves = torch.empty(len(place.rows), units, dtype=torch.int32)
        fill_upper_halves(
            halves.numpy(), place.seed, Purpose.DROPOUT, place.step, place.layer, place.rows.numpy()
        )
        return halves < kept
    numbers = Uniforms(place.seed, Purpose.DROPOUT, place.rows, place.layer + 1)
    step = torch.full_like(place.rows, place.step & WORD)
    return numbers.draw(step, 0, units)[:, -1] < kept / STEPS
