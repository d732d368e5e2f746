"""Which row comes next: the order of checks, filters, and how far the review is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from latentlabels.data.columns import InputKind
from latentlabels.evaluation.ordering import doubt, given_alike, order_of_checks
from latentlabels.review.decisions import Decisions, Verdict
from latentlabels.runs.cleaned import training_rows
from latentlabels.runs.run import Run

LABELS_LISTED: Final = 1000

Mask = NDArray[np.bool_]


class State(StrEnum):
    """How far a row is."""

    TODO = "todo"
    DECIDED = "decided"
    SKIPPED = "skipped"
    VERIFIED = "verified"
    ALL = "all"


class Change(StrEnum):
    """What is proposed to become of a row's labels."""

    ANY = "any"
    CHANGED = "changed"
    ADDED = "added"
    REMOVED = "removed"
    UNCHANGED = "unchanged"


@dataclass(frozen=True)
class Filters:
    """Which rows are wanted.

    Attributes:
        state: how far they are.
        change: what is proposed.
        label: the label that is given or proposed, or that is added or removed where `change` says
            so; None for any.
        search: a text in the id, the example, or a label, in large or small letters.
    """

    state: State = State.TODO
    change: Change = Change.ANY
    label: int | None = None
    search: str = ""


@dataclass(frozen=True)
class Progress:
    """How far a review is.

    Attributes:
        rows: that were not verified when it began.
        decided: of these or others, skipped ones not among them.
        skipped: rows that were put off.
        bits: share of the expected information that is in.
    """

    rows: int
    decided: int
    skipped: int
    bits: float


class Queue:
    """The rows of a run in the order in which checks help most.

    Args:
        run: the run.
        decisions: what was decided, here or by another process.
    """

    def __init__(self, run: Run, decisions: Decisions) -> None:
        self.run, self.decisions = run, decisions
        columns = run.cleaned
        found = doubt(columns.column("probabilities"), len(run.names), exclusive=run.exclusive)
        alike = given_alike(columns.column("given"), run.names, found.label)
        self.bits = found.bits
        self.order = order_of_checks(found, alike)
        self.place = np.empty(len(run), dtype=np.intp)
        self.place[self.order] = np.arange(len(run))
        self.verified: Mask = columns.column("verified").to_numpy()
        # What is decided of other rows teaches no fit.
        self.open: Mask = ~self.verified & training_rows(columns)
        self._state = 0, np.zeros(len(run), dtype=np.int8)
        self._matching: tuple[Filters, Mask] | None = None

    def first(self, filters: Filters) -> int | None:
        """The row to begin with; None where there is none."""
        return self.next(filters, None)

    def next(self, filters: Filters, row: int | None) -> int | None:
        """The wanted row after another, and behind the last one the first again."""
        wanted = self._wanted(filters)
        if not len(wanted):
            return None
        place = -1 if row is None else self.place[row]
        after = np.searchsorted(wanted, place, side="right")
        return int(self.order[wanted[after % len(wanted)]])

    def previous(self, filters: Filters, row: int) -> int | None:
        """The wanted row before another, and before the first one the last."""
        wanted = self._wanted(filters)
        if not len(wanted):
            return None
        before = np.searchsorted(wanted, self.place[row], side="left") - 1
        return int(self.order[wanted[before]])

    def count(self, filters: Filters) -> int:
        """How many rows are wanted."""
        return len(self._wanted(filters))

    def progress(self) -> Progress:
        """How far the review is."""
        state, bits = self._current(), np.nan_to_num(self.bits)
        decided = (state > 0) & (state != _SKIPPED)
        total = bits[self.open | decided].sum()
        return Progress(
            rows=int(self.open.sum()),
            decided=int(decided.sum()),
            skipped=int((state == _SKIPPED).sum()),
            bits=float(bits[decided].sum() / total) if total > 0 else 1.0,
        )

    @cached_property
    def labels(self) -> list[tuple[int, int]]:
        """Labels that are given or proposed and in how many rows, the commonest first."""
        counts = np.zeros(len(self.run.names), dtype=np.int64)
        for name in ("given", "added"):
            units = self._units(name)
            counts += np.bincount(units[units >= 0], minlength=len(counts))
        found = np.argsort(-counts, kind="stable")[:LABELS_LISTED]
        return [(int(unit), int(counts[unit])) for unit in found if counts[unit]]

    def _wanted(self, filters: Filters) -> NDArray[np.intp]:
        """Places in the order of the rows that are wanted."""
        state = self._current()
        wanted = (
            self._matches(filters)
            & {
                State.TODO: (state == 0) & self.open,
                State.DECIDED: (state > 0) & (state != _SKIPPED),
                State.SKIPPED: state == _SKIPPED,
                State.VERIFIED: self.verified,
                State.ALL: np.True_,
            }[filters.state]
        )
        return np.flatnonzero(wanted[self.order])

    def _matches(self, filters: Filters) -> Mask:
        """Rows with what is proposed, the label and the text; the last answer is kept."""
        kept = self._matching
        content = Filters(State.ALL, filters.change, filters.label, filters.search)
        if kept is not None and kept[0] == content:
            return kept[1]
        mask = self._changes(filters.change)
        if filters.label is not None:
            columns = {Change.ADDED: ["added"], Change.REMOVED: ["removed"]}
            mask &= self._with_label(filters.label, columns.get(filters.change, LABEL_COLUMNS))
        if filters.search:
            mask &= self._with_text(filters.search)
        self._matching = content, mask
        return mask

    def _changes(self, change: Change) -> Mask:
        added, removed = (
            pc.greater(pc.list_value_length(self.run.cleaned.column(name)), 0)
            .fill_null(False)
            .to_numpy()
            for name in ("added", "removed")
        )
        masks: dict[Change, Mask] = {
            Change.ANY: np.ones(len(self.run), dtype=np.bool_),
            Change.CHANGED: added | removed,
            Change.ADDED: added,
            Change.REMOVED: removed,
            Change.UNCHANGED: ~(added | removed),
        }
        return masks[change].copy()

    def _with_label(self, label: int, columns: list[str]) -> Mask:
        mask = np.zeros(len(self.run), dtype=np.bool_)
        for name in columns:
            mask[self._parents(name)[self._units(name) == label]] = True
        return mask

    def _with_text(self, text: str) -> Mask:
        mask = np.zeros(len(self.run), dtype=np.bool_)
        run = self.run
        columns = [*run.ids.columns]
        columns += [
            column
            for column, kind in zip(run.source.columns, run.kinds, strict=True)
            if kind == InputKind.TEXT or pa.types.is_string(column.type)
        ]
        for column in columns:
            try:
                mask |= _contains(column.cast(pa.string()), text)
            except pa.ArrowException:  # an id of a kind that has no text
                continue
        for name in LABEL_COLUMNS:
            found = _contains(pc.list_flatten(run.cleaned.column(name)), text)
            mask[self._parents(name)[found]] = True
        return mask

    def _units(self, column: str) -> NDArray[np.int64]:
        """The label of each name in a column of lists, -1 where it is none."""
        names = pc.list_flatten(self.run.cleaned.column(column))
        units = pc.index_in(names, value_set=pa.array(self.run.names, pa.string()))
        found: NDArray[np.int64] = units.fill_null(-1).to_numpy()
        return found

    def _parents(self, column: str) -> NDArray[np.int64]:
        """The row of each name in a column of lists."""
        rows: NDArray[np.int64] = pc.list_parent_indices(self.run.cleaned.column(column)).to_numpy()
        return rows

    def _current(self) -> NDArray[np.int8]:
        """What stands of every row by now, whoever decided it."""
        entry, state = self._state
        last, changed = self.decisions.since(entry)
        if changed:
            state = state.copy()
            state[list(changed)] = [
                0 if verdict is None else _CODES[verdict] for verdict in changed.values()
            ]
        self._state = last, state
        return state


LABEL_COLUMNS: Final = ["given", "proposed"]
_CODES: Final = {verdict: code for code, verdict in enumerate(Verdict, start=1)}
_SKIPPED: Final = _CODES[Verdict.SKIP]


def _contains(column: pa.ChunkedArray, text: str) -> Mask:
    found: Mask = pc.match_substring(column, text, ignore_case=True).fill_null(False).to_numpy()
    return found
