"""Examples as a network takes them, a batch at a time: vectors, or what an encoder prepares."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from latentlabels.data.arrow_cells import row_of
from latentlabels.errors import InputError
from latentlabels.network.encoders import Encoder

# Examples at a time where no gradient is wanted: an encoder's features are large.
VECTORS: Final = 512
ENCODED: Final = 64
# Vectors in columns that are copied at a time.
COLUMNS_OF: Final = 1 << 22

Batch: TypeAlias = tuple[Tensor, Tensor]


class Examples(Protocol):
    """A number of examples, read a batch at a time."""

    def __len__(self) -> int: ...

    def take(self, rows: NDArray[np.intp]) -> Examples:
        """The examples of some rows."""

    def batch(self, rows: NDArray[np.int64], visit: int | None = None) -> Tensor:
        """The examples of some rows as a tensor, (batch, ...).

        Args:
            rows: row numbers, (batch,).
            visit: how often the data has been gone through before, which augmentation hangs on;
                None to have the examples as they are.
        """

    def contents(self) -> Iterator[bytes]:
        """All that tells these examples from others, piece by piece."""
        for rows in split(len(self), VECTORS):
            batch = self.batch(rows)
            yield repr(tuple(batch.shape)).encode() + batch.numpy().tobytes()


@dataclass(frozen=True)
class Vectors(Examples):
    """Examples that are vectors already, or bags of vectors.

    Attributes:
        table: vectors (rows, inputs) or bags (rows, instances, inputs), float32.
        chosen: the rows that are the examples; None for all. To choose some copies none.
    """

    table: NDArray[np.float32]
    chosen: NDArray[np.intp] | None = None

    @property
    def values(self) -> NDArray[np.float32]:
        """The examples as one array: a copy, where they are some of the rows."""
        return self.table if self.chosen is None else self.table[self.chosen]

    @property
    def inputs(self) -> int:
        """Numbers in a vector."""
        return int(self.table.shape[-1])

    def __len__(self) -> int:
        return len(self.table) if self.chosen is None else len(self.chosen)

    def take(self, rows: NDArray[np.intp]) -> Vectors:
        return Vectors(self.table, rows if self.chosen is None else self.chosen[rows])

    def batch(self, rows: NDArray[np.int64], visit: int | None = None) -> Tensor:
        return torch.from_numpy(self.table[rows if self.chosen is None else self.chosen[rows]])

    def columns(self) -> Iterator[Tensor]:
        """The columns of all examples in order, a copy of some (rows, ..., some) at a time."""
        width = max(1, COLUMNS_OF // max(1, len(self)))
        for start in range(0, self.inputs, width):
            block = self.table[..., start : start + width]
            yield torch.tensor(block if self.chosen is None else block[self.chosen])


@dataclass(frozen=True)
class EncoderInputs(Examples):
    """Examples that are read and prepared each time they are asked for.

    Attributes:
        encoder: prepares them.
        cells: images or texts.
        rows: the cells that are the examples, (rows,).
        seed: of augmentation, which is a function of seed, visit and cell.
    """

    encoder: Encoder
    cells: Sequence[Any]
    rows: NDArray[np.intp]
    seed: int = 0

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, rows: NDArray[np.intp]) -> EncoderInputs:
        return replace(self, rows=self.rows[rows])

    def batch(self, rows: NDArray[np.int64], visit: int | None = None) -> Tensor:
        return torch.stack([self._prepared(int(self.rows[row]), visit) for row in rows])

    def contents(self) -> Iterator[bytes]:
        for row in self.rows:
            content = self.encoder.content(self.cells[int(row)])
            yield len(content).to_bytes(8, "little") + content

    def _prepared(self, cell: int, visit: int | None) -> Tensor:
        rng = None
        if visit is not None:
            state = np.random.SeedSequence((self.seed, visit, cell)).generate_state(1, np.uint64)
            rng = torch.Generator().manual_seed(int(state[0] >> 1))
        try:
            return self.encoder.prepare(self.encoder.content(self.cells[cell]), rng)
        except InputError as error:  # all were looked at before
            raise InputError(
                f"The {self.encoder.spec.kind} in row {row_of(self.cells, cell)} (rows count from "
                f"0) has changed since it was checked: {error}. Put it back, and start again."
            ) from error


def in_batches(examples: Examples, *, workers: int, progress: bool, doing: str) -> Iterator[Batch]:
    """All examples in order, a batch at a time, with their row numbers.

    Args:
        examples: to go through.
        workers: processes that read and prepare them, where they are not vectors.
        progress: whether to show a progress bar.
        doing: what is being done, for the bar.
    """
    if isinstance(examples, Vectors):
        yield from (_Batches(examples)[rows] for rows in split(len(examples), VECTORS))
        return
    parts = split(len(examples), ENCODED)
    loader = DataLoader(
        _Batches(examples),
        sampler=parts,
        batch_size=None,
        num_workers=min(workers, len(parts)),
        generator=torch.Generator(),
    )
    bar = Console(stderr=True)
    with plainly():
        yield from track(loader, doing, total=len(parts), console=bar, disable=not progress)


@contextmanager
def plainly() -> Iterator[None]:
    """A worker's error without the account of where in the worker it arose."""
    try:
        yield
    except InputError as error:
        *account, last = str(error).strip().splitlines()
        if not account:
            raise
        raise InputError(last.removeprefix(f"{InputError.__module__}.InputError: ")) from error


def split(count: int, size: int) -> list[NDArray[np.int64]]:
    """Row numbers from 0 in parts of a size."""
    return [
        np.arange(start, min(start + size, count), dtype=np.int64)
        for start in range(0, count, size)
    ]


def spread(count: int, most: int) -> NDArray[np.intp]:
    """Row numbers below `count`, in order: all, or so many of them from everywhere."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.intp))


@dataclass(frozen=True)
class _Batches(Dataset[Batch]):
    examples: Examples

    def __getitem__(self, rows: NDArray[np.int64]) -> Batch:
        return torch.from_numpy(rows), self.examples.batch(rows)
