"""A table under the protocol, which hands each method only what it may read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Cells = Sequence[Any]


@dataclass(frozen=True)
class Task:
    """A table under the protocol.

    Attributes:
        x: examples: vectors (rows, inputs), or images, (rows,) paths or (rows, height, width, 3).
        noisy: given labels of every row, as names or classes; of several annotators by their
            column.
        clean: clean labels of every row, in the same kind of cells.
        split: "train", "validation" or "test" for every row.
        verified: training rows whose clean labels a method may read, (rows,).
        bags: the examples as bags of instances, (rows, instances, inputs), for methods that want
            them, where `x` has vectors.
        calibrated: whether methods get the noisy labels of validation rows too, to calibrate on.
    """

    x: NDArray[Any]
    noisy: Cells | Mapping[str, Cells]
    clean: Cells
    split: NDArray[Any]
    verified: NDArray[np.bool_]
    bags: NDArray[np.float32] | None = None
    calibrated: bool = False

    def rows(self, split: str) -> NDArray[np.intp]:
        """Row numbers of one part."""
        return np.flatnonzero(self.split == split)

    def clean_of(self, rows: NDArray[np.intp]) -> list[Any]:
        """Clean labels of some rows."""
        return [self.clean[row] for row in rows]

    def noisy_of(self, rows: NDArray[np.intp]) -> Any:
        """Noisy labels of some rows, in the form they came in."""
        if isinstance(self.noisy, Mapping):
            return {name: [cells[row] for row in rows] for name, cells in self.noisy.items()}
        return [self.noisy[row] for row in rows]

    def readable(self, rows: NDArray[np.intp]) -> list[Any]:
        """Clean labels of some training rows, None where they are not verified."""
        return [self.clean[row] if self.verified[row] else None for row in rows]

    def validation(self) -> tuple[Any, ...]:
        """Examples and clean labels of the validation rows, and noisy ones to calibrate on."""
        rows = self.rows("validation")
        noisy = (self.noisy_of(rows),) if self.calibrated else ()
        return self.x[rows], self.clean_of(rows), *noisy
