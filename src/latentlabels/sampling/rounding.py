"""Weights whose sums are exact: rounded to a grid on which no sum of them needs more than 24 bits.

A layer's field is a sum of weights over the active units opposite. Where every partial sum is a
float32, it does not matter in which order they are added, nor by whom: a matrix product in tiles,
on any number of threads, gives the same bits as a loop over the active units.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

GRID_BITS: Final = 23
"""Of float32's 24 bits; one is left as room for what rounding adds to the sums."""
LARGEST_ERROR: Final = 0.02
"""Nats in a logit up to which bfloat16 serves; they move a probability by 0.005 at most."""
HALF_A_STEP: Final = 2.0**-9
"""Of a number: what rounding it to bfloat16 changes at most."""


def on_grid(weight: Tensor) -> Tensor:
    """The weights rounded to multiples of a power of two, so that sums over any units are exact.

    The power is the least that leaves every sum of absolute values of a row or a column within
    2^23 multiples.

    Args:
        weight: (latent, noisy).
    """
    sizes = weight.abs()
    largest = torch.cat([sizes.sum(0), sizes.sum(1), sizes.new_zeros(1)]).max()
    # Not below float32's normal numbers: a step of zero would make NaN of the tiniest weights.
    grid = torch.exp2((torch.ceil(torch.log2(largest)) - GRID_BITS).clamp(min=-126))
    return torch.where(largest > 0, torch.round(weight / grid) * grid, weight)


def as_bfloat16(weight: Tensor) -> Tensor:
    """The weights as bfloat16, on the grid of `on_grid` too."""
    return on_grid(weight).bfloat16()


def bfloat16_error(weight: Tensor) -> float:
    """How far bfloat16 moves a logit: the root of the mean square, for the worst unit, in nats.

    Half of the units opposite are taken to be active, each as likely as not. What rounding changes
    in the weights has a mean and a spread then, and so has their sum, which a bfloat16 product
    rounds once more.

    Args:
        weight: (latent, noisy).
    """
    changed = as_bfloat16(weight).to(weight.dtype) - weight
    worst = [weight.new_zeros(1)]
    for axis in (0, 1):
        spread = (changed.square() + (HALF_A_STEP * weight).square()).sum(axis) / 2
        shift = changed.sum(axis) / 2
        rounded = HALF_A_STEP * weight.sum(axis) / 2
        worst.append(spread + shift.square() + rounded.square())
    return float(torch.cat(worst).max().sqrt())
