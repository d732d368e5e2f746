"""How good the labels are, where there are clean ones to compare with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentlabels.cli.rows import Column, names_of
from latentlabels.data.labels import LabelSpace, encode, read_columns
from latentlabels.evaluation.metrics import score, score_name


def compared(
    space: LabelSpace, clean: Column, probabilities: NDArray[np.floating[Any]]
) -> dict[str, Any] | None:
    """Probabilities held against clean labels.

    Labels that the model does not know cannot be found by it: they are left out, and named.

    Args:
        space: of the clean labels.
        clean: clean labels of the rows.
        probabilities: of the same rows, (rows, clean).

    Returns:
        The score, from 0 to 1, by its name; on how many rows; labels left out. None without rows.
    """
    known = set(space.names)
    unknown = sorted({name for cell in clean for name in names_of(cell) if name not in known})
    rows = np.arange(len(clean))
    if space.vocabularies[0].exclusive:
        rows = np.array([row for row in rows if clean[row] in known], dtype=np.intp)
    if len(rows) == 0:
        return None
    cells = [clean[row] for row in rows]
    truth = encode(read_columns(cells), space, unknown="ignore", what="clean").toarray()
    value = score(space.units, truth, probabilities[rows].astype(np.float64))
    result: dict[str, Any] = {score_name(space.units): number(value), "rows": len(rows)}
    if unknown:
        result["labels_left_out"] = unknown
    return result


def number(value: float) -> float | None:
    """A number that JSON can hold."""
    return value if math.isfinite(value) else None


def numbers(epochs: Sequence[dict[str, float]]) -> list[dict[str, float | None]]:
    """A history that JSON can hold."""
    return [{name: number(value) for name, value in epoch.items()} for epoch in epochs]
