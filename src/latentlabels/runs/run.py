"""A run to review: its cleaned table beside the table it came from, row by row."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from latentlabels.data.columns import InputKind
from latentlabels.runs.cleaned import REASONS
from latentlabels.runs.pictures import LARGEST_SIDE, as_served
from latentlabels.runs.subject import Subject, row_name

NUMBERS_SHOWN: Final = 48
TEXT_SHOWN: Final = 200_000
LABELS_SHOWN: Final = 9
"""As many as there are keys for; all that were given or are proposed are shown besides."""
FEWEST_SHOWN: Final = 5
LIKELY: Final = 0.005
DECODED_AT_ONCE: Final = 2


@dataclass(frozen=True)
class Label:
    """A clean label of a row.

    Attributes:
        unit: its number in the vocabulary.
        name: what it is called.
        probability: of it; None where nothing is proposed.
        given: whether it came with the row.
        proposed: whether the row should have it.
    """

    unit: int
    name: str
    probability: float | None = None
    given: bool = False
    proposed: bool = False

    @property
    def change(self) -> str:
        """What is proposed to become of it: added, removed, kept, or nothing."""
        if self.proposed:
            return "kept" if self.given else "added"
        return "removed" if self.given and self.probability is not None else ""


@dataclass(frozen=True)
class Part:
    """A column of a row as it is shown.

    Attributes:
        place: of the column among those that are shown.
        name: of the column.
        kind: "image", "text" or "vector".
        text: of a text, or of a vector's numbers.
    """

    place: int
    name: str
    kind: InputKind
    text: str = ""


@dataclass(frozen=True)
class Row:
    """What there is to see of a row.

    Attributes:
        number: in the table, from 0.
        id: its id, or its number.
        name: what decisions know it by.
        parts: of the example.
        labels: the labels in question, the most probable first.
        words: what else was given; it names no clean label.
        reasons: of what is proposed.
        verified: whether its clean labels were known in the run.
        has_proposal: whether anything is proposed; not where the example could not be used.
    """

    number: int
    id: str
    name: str
    parts: list[Part]
    labels: list[Label]
    words: list[str]
    reasons: list[str]
    verified: bool
    has_proposal: bool

    @property
    def given(self) -> list[Label]:
        """Clean labels that came with the row."""
        return [label for label in self.labels if label.given]

    @property
    def proposed(self) -> list[Label]:
        """Clean labels that it should have."""
        return [label for label in self.labels if label.proposed]


@dataclass(frozen=True)
class Run:
    """A run's cleaned table and the table that was cleaned.

    Attributes:
        ids: columns that name the rows.
        cleaned: the run's other columns.
        source: the columns of the table that are shown.
        kinds: what these hold.
        folder: where pictures' paths start, and whose files alone are served.
        names: the clean vocabulary.
        exclusive: whether a row has exactly one label.
        subject: what decisions on it are about.
    """

    ids: pa.Table
    cleaned: pa.Table
    source: pa.Table
    kinds: tuple[InputKind, ...]
    folder: Path
    names: tuple[str, ...]
    exclusive: bool
    subject: Subject
    _decoding: threading.Semaphore = field(
        default_factory=lambda: threading.Semaphore(DECODED_AT_ONCE), repr=False
    )

    def __len__(self) -> int:
        return int(self.cleaned.num_rows)

    @cached_property
    def units(self) -> dict[str, int]:
        """The number of each clean label."""
        return {name: unit for unit, name in enumerate(self.names)}

    def row(self, number: int, decided: Sequence[str] = ()) -> Row:
        """What there is to see of a row, with the labels that were decided among them."""
        cells = {name: self._cell(self.cleaned, name, number) for name in self.cleaned.column_names}
        ids = [self._cell(self.ids, name, number) for name in self.ids.column_names]
        given = dict.fromkeys(cells["given"] or ())
        return Row(
            number=number,
            id=", ".join(map(str, ids)),
            name=row_name(ids),
            parts=list(self._parts(number)),
            labels=self._labels(
                given, set(cells["proposed"] or ()), cells["probabilities"], decided
            ),
            words=[name for name in given if name not in self.units],
            reasons=list(map(str, cells.get(REASONS) or ())),
            verified=bool(cells["verified"]),
            has_proposal=cells["probabilities"] is not None,
        )

    def picture(self, number: int, place: int, side: int = LARGEST_SIDE) -> tuple[bytes, str]:
        """A picture of a row, as bytes that a browser shows, and their media type.

        Args:
            number: of the row.
            place: of the picture's column among those that are shown.
            side: pixels that it has at most, in height and in width.

        Raises:
            InputError: there is none, or none that may be shown.
        """
        cell = self._cell(self.source, self.source.column_names[place], number)
        with self._decoding:
            return as_served(cell, self.folder, side)

    def _labels(
        self,
        given: Collection[str],
        proposed: Collection[str],
        probabilities: list[float] | None,
        decided: Sequence[str],
    ) -> list[Label]:
        names = (*given, *proposed, *decided)
        units = {self.units[name] for name in names if name in self.units}
        p = None if probabilities is None else np.array(probabilities)
        if p is not None:
            likely = np.argsort(-p, kind="stable")[:LABELS_SHOWN]
            units |= {int(u) for n, u in enumerate(likely) if n < FEWEST_SHOWN or p[u] >= LIKELY}
        labels = [
            Label(
                unit,
                self.names[unit],
                None if p is None else float(p[unit]),
                self.names[unit] in given,
                self.names[unit] in proposed,
            )
            for unit in units
        ]
        return sorted(labels, key=lambda label: (-(label.probability or 0.0), label.unit))

    def _parts(self, number: int) -> Iterator[Part]:
        for place, (name, kind) in enumerate(
            zip(self.source.column_names, self.kinds, strict=True)
        ):
            text = ""
            if kind != InputKind.IMAGE:
                cell = self._cell(self.source, name, number)
                text = _numbers(cell) if isinstance(cell, list) else _text(cell)
            yield Part(place, name, kind, text)

    def _cell(self, table: pa.Table, name: str, number: int) -> Any:
        return table.column(name)[number].as_py()


def _text(cell: Any) -> str:
    text = "" if cell is None else str(cell)
    return text if len(text) <= TEXT_SHOWN else f"{text[:TEXT_SHOWN]}…"


def _numbers(cell: list[Any]) -> str:
    told = " ".join(
        f"{value:.4g}" if isinstance(value, float) else str(value) for value in cell[:NUMBERS_SHOWN]
    )
    more = len(cell) - NUMBERS_SHOWN
    return f"{told} … {more:,} more" if more > 0 else told
