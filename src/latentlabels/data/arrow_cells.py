"""A column of a table as a sequence whose cells are read one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


@dataclass(frozen=True)
class ArrowCells(Sequence[Any]):
    """Cells of an Arrow column, which may be mapped from a file larger than memory.

    Attributes:
        column: the column.
        starts: row number of each chunk's first cell, and of the end, (chunks + 1,).
        rows: which rows, (rows,).
        folder: what paths are relative to; None to leave them as they are.
    """

    column: pa.ChunkedArray
    starts: NDArray[np.int64]
    rows: NDArray[np.intp]
    folder: Path | None

    @classmethod
    def of(cls, column: pa.Array | pa.ChunkedArray, folder: Path | None = None) -> ArrowCells:
        """All cells of a column."""
        if isinstance(column, pa.Array):
            column = pa.chunked_array([column])
        lengths = [len(chunk) for chunk in column.chunks]
        starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        return cls(column, starts, np.arange(len(column)), folder)

    def take(self, rows: NDArray[Any]) -> ArrowCells:
        """Some of the cells, by number or by a mask."""
        return ArrowCells(self.column, self.starts, self.rows[rows], self.folder)

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, row: int) -> Any: ...
    @overload
    def __getitem__(self, row: slice) -> ArrowCells: ...

    def __getitem__(self, row: int | slice) -> Any:
        if isinstance(row, slice):
            return self.take(np.arange(len(self))[row])
        place = int(self.rows[row])
        chunk = int(np.searchsorted(self.starts, place, side="right")) - 1
        cell = self.column.chunk(chunk)[place - int(self.starts[chunk])].as_py()
        return cell if self.folder is None else _from_folder(cell, self.folder)


def row_of(cells: Sequence[Any], place: int) -> int:
    """The row a cell is in: of the whole column, where the cells are a part of one."""
    return int(cells.rows[place]) if isinstance(cells, ArrowCells) else place


def _from_folder(cell: Any, folder: Path) -> Any:
    """A path, alone or of a Hugging Face image, from where it is relative to."""
    if isinstance(cell, str) and cell.strip():
        return folder / cell.strip()
    if isinstance(cell, dict) and cell.get("bytes") is None and cell.get("path"):
        return {**cell, "path": str(folder / cell["path"])}
    return cell
