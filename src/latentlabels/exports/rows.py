"""Cleaned labels with the examples they belong to: what every export is written from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from latentlabels.cleaning import CleanedLabels
from latentlabels.data.columns import InputKind
from latentlabels.results import cleaned_table
from latentlabels.runs.cleaned import FOR_REVIEW, STATUS, Source


@dataclass(frozen=True)
class Examples:
    """What the rows are labels of, as the table had it.

    Attributes:
        name: the column's.
        column: a cell for each row.
        kind: what the cells hold.
        folder: where the paths of pictures start.
        prefix: goes before these paths where a format links to pictures.
    """

    name: str
    column: pa.ChunkedArray
    kind: InputKind
    folder: Path
    prefix: str = ""


@dataclass(frozen=True)
class CleanedRows:
    """Cleaned labels, what names their rows, and the examples where they are at hand.

    Attributes:
        ids: a table of one column that names the rows.
        labels: their labels.
        examples: what they are labels of.
        told: columns that are handed on as they are, where there are some: reasons, and what a
            precision left for review.
        source: the table that was cleaned, where it is told.
    """

    ids: pa.Table
    labels: CleanedLabels
    examples: Examples | None = None
    told: pa.Table | None = None
    source: Source | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def showing(self, examples: Examples) -> CleanedRows:
        """The rows with their examples."""
        return replace(self, examples=examples)

    def table(self) -> pa.Table:
        """The table of cleaned labels."""
        source = None if self.source is None else asdict(self.source)
        table = cleaned_table(self.ids, self.labels, source)
        if self.told is None:
            return table
        for name in self.told.column_names:
            place, column = table.schema.get_field_index(name), self.told.column(name)
            if place < 0:
                table = table.append_column(name, column)
            else:
                table = table.set_column(place, name, column)
        return table

    @property
    def names(self) -> list[str]:
        """The clean vocabulary."""
        return [str(name) for name in self.labels.names]

    @property
    def exclusive(self) -> bool:
        """Whether a row has exactly one label."""
        return self.labels.space.exclusive

    @property
    def known(self) -> NDArray[np.bool_]:
        """Rows that have probabilities: the others were skipped, (rows,)."""
        missing: NDArray[np.bool_] = np.isnan(self.labels.probabilities)
        return np.asarray(~missing.any(1))

    @cached_property
    def states(self) -> NDArray[np.bool_]:
        """Which labels are proposed, (rows, clean)."""
        unit = {name: place for place, name in enumerate(self.labels.names)}
        states = np.zeros(self.labels.probabilities.shape, dtype=np.bool_)
        for row, proposed in enumerate(self.labels.proposed):
            states[row, [unit[name] for name in proposed]] = True
        return states

    @property
    def reviewed(self) -> list[str]:
        """The columns that say what a precision left for review; none where none was asked for."""
        there = [] if self.told is None else self.told.column_names
        return [name for name in (STATUS, *FOR_REVIEW) if name in there]

    def confidence(self) -> list[float | None]:
        """How probable each row's proposal is: all its labels, and no others; None if skipped."""
        p = self.labels.probabilities.astype(np.float64)
        if self.exclusive:
            whole = np.where(self.states, p, 0.0).sum(1)
        else:
            whole = np.where(self.states, p, 1 - p).prod(1)
        return [
            float(value) if known else None for value, known in zip(whole, self.known, strict=True)
        ]

    def facts(self) -> Iterator[dict[str, Any]]:
        """What is known of each row, as JSON values."""
        labels = self.labels
        rows = zip(
            plain_ids(self.ids),
            labels.given,
            labels.proposed,
            labels.verified.tolist(),
            decimals(labels.probabilities),
            strict=True,
        )
        names = ("example_id", "given", "proposed", "verified", "probabilities")
        left: list[dict[str, Any]] = [{}] * len(self)
        if self.told is not None and self.reviewed:
            left = self.told.select(self.reviewed).to_pylist()
        for values, review in zip(rows, left, strict=True):
            yield {**dict(zip(names, values, strict=True)), **review}


def plain_ids(ids: pa.Table) -> list[str | int | float | bool | None]:
    """What names the rows, as JSON values: dates and the like as their text."""
    return [
        value if value is None or isinstance(value, str | int | float) else str(value)
        for value in ids.column(0).to_pylist()
    ]


def decimals(probabilities: NDArray[np.float32]) -> list[list[float] | None]:
    """Each row's numbers as the shortest decimals that give them back; None for a row of NaN."""
    texts = pa.array(probabilities.ravel(), pa.float32()).cast(pa.string())
    numbers = texts.cast(pa.float64()).to_numpy().reshape(probabilities.shape)
    return [None if np.isnan(row).any() else row.tolist() for row in numbers]
