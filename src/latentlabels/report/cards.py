"""Rows for a gallery: which ones, and what there is to see of each."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from latentlabels.data.columns import InputKind
from latentlabels.data.labels import LabelSpace
from latentlabels.errors import InputError
from latentlabels.model.posterior import Auxiliary
from latentlabels.report.counts import Changes
from latentlabels.runs.run import Row, Run

PICTURE_SIDE: Final = 320
TINY_SIDE: Final = 64
PARTS_SHOWN: Final = 6
TEXT_SHOWN: Final = 1_500
WORDS_SHOWN: Final = 24


@dataclass(frozen=True)
class Seen:
    """A column of a row as the report shows it.

    Attributes:
        name: of the column.
        kind: "image", "text" or "vector".
        text: of a text, or of a vector's numbers; why there is no picture.
        picture: as a data URI; None where there is none.
        tiny: whether its pixels are to be seen one by one.
        cut: whether the text goes on.
    """

    name: str
    kind: InputKind
    text: str = ""
    picture: str | None = None
    tiny: bool = False
    cut: bool = False


@dataclass(frozen=True)
class Guess:
    """A label that the auxiliary alone would give a row.

    Attributes:
        name: of the label.
        given: whether it came with the row.
    """

    name: str
    given: bool


@dataclass(frozen=True)
class Card:
    """A row as the report shows it.

    Attributes:
        row: what there is to see of it.
        parts: of the example.
        more_parts: how many are left out.
        auxiliary: what the auxiliary alone would propose; None where it cannot be told.
        confidence: of its surest change, or its closest.
        for_review: whether a change of it was left for review.
    """

    row: Row
    parts: list[Seen]
    more_parts: int
    auxiliary: list[Guess] | None
    confidence: float
    for_review: bool

    @property
    def words(self) -> list[str]:
        """The first of the given words that name no clean label."""
        return self.row.words[:WORDS_SHOWN]

    @property
    def more_words(self) -> int:
        """How many more there are."""
        return max(0, len(self.row.words) - WORDS_SHOWN)


def surest(changes: Changes, most: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Rows with the surest changes, by confidence, and the confidence.

    The surest change of every kind (which label, added or removed) comes before the second of any,
    so that one kind does not fill the page.

    Args:
        changes: of all rows.
        most: how many rows.
    """
    order = np.lexsort((changes.row, -changes.confidence))
    kinds = (2 * changes.unit + changes.on)[order]
    rank = np.empty(len(order), dtype=np.int64)
    by_kind = np.argsort(kinds, kind="stable")
    starts = np.searchsorted(kinds[by_kind], kinds[by_kind])
    rank[by_kind] = np.arange(len(order)) - starts
    wanted = order[np.argsort(rank, kind="stable")]
    return _by_confidence(changes, _first_of_rows(changes, wanted, most), -1)


def closest(changes: Changes, most: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Rows with the least sure changes, the least sure first, and the confidence."""
    order = np.lexsort((changes.row, changes.confidence))
    return _by_confidence(changes, _first_of_rows(changes, order, most), 1)


def _first_of_rows(changes: Changes, order: NDArray[Any], most: int) -> NDArray[Any]:
    """The first changes in an order, one a row."""
    _, first = np.unique(changes.row[order], return_index=True)
    chosen: NDArray[Any] = order[np.sort(first)[:most]]
    return chosen


def _by_confidence(
    changes: Changes, chosen: NDArray[Any], sign: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    chosen = chosen[np.argsort(sign * changes.confidence[chosen], kind="stable")]
    return changes.row[chosen], changes.confidence[chosen]


def cards(
    run: Run,
    rows: Sequence[int],
    confidence: Sequence[float],
    auxiliary: Auxiliary,
    noisy: LabelSpace,
    for_review: Sequence[int],
) -> list[Card]:
    """What there is to see of some rows.

    Args:
        run: the run.
        rows: which ones.
        confidence: of a change in each.
        auxiliary: the model's.
        noisy: the noisy labels' space.
        for_review: rows with changes that were not made.
    """
    held = set(for_review)
    told = []
    for number, sure in zip(rows, confidence, strict=True):
        row = run.row(number)
        told.append(
            Card(
                row=row,
                parts=[_seen(run, row, place) for place in range(len(row.parts[:PARTS_SHOWN]))],
                more_parts=max(0, len(row.parts) - PARTS_SHOWN),
                auxiliary=_guesses(run, row, auxiliary, noisy),
                confidence=float(sure),
                for_review=number in held,
            )
        )
    return told


def _seen(run: Run, row: Row, place: int) -> Seen:
    part = row.parts[place]
    if part.kind != InputKind.IMAGE:
        cut = len(part.text) > TEXT_SHOWN
        return Seen(part.name, part.kind, part.text[:TEXT_SHOWN], cut=cut)
    try:
        content, kind = run.picture(row.number, place, PICTURE_SIDE)
    except InputError as error:
        return Seen(part.name, part.kind, str(error))
    with Image.open(io.BytesIO(content)) as image:
        tiny = max(image.size) <= TINY_SIDE
    coded = base64.b64encode(content).decode()
    return Seen(part.name, part.kind, picture=f"data:{kind};base64,{coded}", tiny=tiny)


def _guesses(run: Run, row: Row, auxiliary: Auxiliary, noisy: LabelSpace) -> list[Guess] | None:
    """What the auxiliary says of a row by its given labels, where these tell its noisy units."""
    if len(noisy.columns) > 1:
        return None
    given = {*row.words, *(label.name for label in row.given)}
    state = torch.tensor([float(str(name) in given) for name in noisy.names])
    if noisy.vocabularies[0].exclusive and state.sum() != 1:
        return None
    on = auxiliary.clean.mode(auxiliary.clean_mean(state)).numpy()
    return [Guess(run.names[unit], run.names[unit] in given) for unit in np.flatnonzero(on)]
