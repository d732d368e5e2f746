"""Persistent chains: the latent state of every chain of every row, one bit a unit.

The noisy layer is drawn anew at the start of each sweep, so the latent layer is all that a chain
has to remember. On the paper's COCO set-up (87,000 rows, 50 chains, 273 latent units) that is about
150 MB, in memory or, where that is short, mapped from a file.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from latentlabels.errors import LatentLabelsError

BITS = 8


class ChainStore:
    """Latent states by row number.

    Args:
        rows: number of rows, or the numbers of those that have chains here, in order.
        chains: chains a row.
        latent: latent units a chain.
        file: keep the states in this file, which is made anew and mapped; in memory by default.

    Raises:
        LatentLabelsError: a file is there that cannot be one of chains of this shape.
        OSError: the file cannot be written.
    """

    def __init__(
        self, rows: int | Tensor, chains: int, latent: int, file: Path | None = None
    ) -> None:
        self.latent = latent
        self.rows = torch.arange(rows) if isinstance(rows, int) else rows
        shape = (len(self.rows), chains, -(-latent // BITS))
        if file is None:
            self.bits = torch.zeros(shape, dtype=torch.uint8)
        else:
            # An empty one is what is left of a process that was killed while it made the file.
            sizes = (0, math.prod(shape))
            if file.exists() and not (file.is_file() and file.stat().st_size in sizes):
                raise LatentLabelsError(
                    f"{file} is there and holds something else than these chains, which would "
                    "replace it. Name another chain_file (--chain-file)."
                )
            file.parent.mkdir(parents=True, exist_ok=True)
            self.bits = torch.from_numpy(np.memmap(file, np.uint8, "w+", shape=shape))
        self.done = torch.zeros(len(self.rows), dtype=torch.int64)
        """Sweeps that each row's chains have done; none means that they have not started."""

    @property
    def chains(self) -> int:
        """Chains a row."""
        return self.bits.shape[1]

    def read(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The states (rows, chains, latent) as booleans, and the sweeps done (rows,)."""
        places = self._places(rows)
        return unpack_bits(self.bits[places], self.latent), self.done[places]

    def write(self, rows: Tensor, packed: Tensor, done: Tensor) -> None:
        """Keep states (rows, chains, ⌈latent / 8⌉) as packed, and the sweeps done (rows,)."""
        places = self._places(rows)
        self.bits[places] = packed
        self.done[places] = done

    def _places(self, rows: Tensor) -> Tensor:
        return torch.searchsorted(self.rows, rows)


def pack_bits(states: Tensor) -> Tensor:
    """States (..., units) of 0 and 1 as bytes (..., ⌈units / 8⌉), lowest bit first."""
    units = states.shape[-1]
    padded = torch.nn.functional.pad(states.to(torch.uint8), (0, -units % BITS))
    shifts = torch.arange(BITS, dtype=torch.uint8, device=states.device)
    return torch.sum(padded.unflatten(-1, (-1, BITS)) << shifts, -1, dtype=torch.uint8)


def unpack_bits(packed: Tensor, units: int) -> Tensor:
    """The inverse of `pack_bits`: booleans (..., units)."""
    shifts = torch.arange(BITS, dtype=torch.uint8, device=packed.device)
    return ((packed[..., None] >> shifts) & 1).flatten(-2)[..., :units].bool()
