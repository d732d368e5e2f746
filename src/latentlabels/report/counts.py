"""A run's cleaned table in numbers: what was given, what is proposed, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from latentlabels.evaluation.label_noise import Noise, noise_of
from latentlabels.runs.cleaned import FOR_REVIEW, training_rows
from latentlabels.runs.run import Run

ROWS_AT_ONCE: Final = 8192


@dataclass(frozen=True)
class Changes:
    """Changes of labels on rows that are not verified, made or left for review.

    Attributes:
        row: of each change, (changes,).
        unit: the clean label that is added or removed; of a class the one that takes another's
            place, (changes,).
        on: whether it is added, (changes,).
        confidence: how probable it is that the label is as proposed, (changes,).
    """

    row: NDArray[np.int64]
    unit: NDArray[np.int64]
    on: NDArray[np.bool_]
    confidence: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.row)


@dataclass(frozen=True)
class Expected:
    """What the probabilities say of rows that nobody verified, label by label.

    Attributes:
        have: rows that should have the label, (clean,).
        missing: of these, those it was not given to, (clean,).
        given: rows that it was given to, (clean,).
        wrong: of these, those that should not have it, (clean,).
    """

    have: NDArray[np.float64]
    missing: NDArray[np.float64]
    given: NDArray[np.float64]
    wrong: NDArray[np.float64]


@dataclass(frozen=True)
class Counts:
    """A run in numbers.

    Attributes:
        given: labels that came with rows and name clean ones, (rows, clean).
        proposed: cleaned labels, those that are left for review among them, (rows, clean).
        verified: rows whose clean labels were known and that can be used, (rows,).
        known: rows that something is proposed for, (rows,).
        open: of these, training rows that nobody had verified, (rows,).
        expected: of those.
        changes: label by label.
        for_review: how many of them were not made.
    """

    given: csr_array
    proposed: csr_array
    verified: NDArray[np.bool_]
    known: NDArray[np.bool_]
    open: NDArray[np.bool_]
    expected: Expected
    changes: Changes
    for_review: int

    @cached_property
    def givable(self) -> NDArray[np.intp]:
        """Clean labels that were given to some row under their own name."""
        return np.flatnonzero(np.asarray(self.given.sum(0)).ravel())

    @cached_property
    def commonest(self) -> NDArray[np.intp]:
        """Clean labels by how many rows they are proposed for, the commonest first."""
        return np.argsort(-np.asarray(self.proposed.sum(0)).ravel(), kind="stable")

    def noise(self) -> Noise:
        """What is wrong with the given labels of verified rows."""
        rows = np.flatnonzero(self.verified)
        return noise_of(self.given[rows], self.proposed[rows], self.givable)


def count(run: Run) -> Counts:
    """Read a run's cleaned table, a part at a time."""
    parts = list(_parts(run))
    given, proposed = (
        csr_array(vstack(part, format="csr"))
        for part in zip(*((part.given, part.proposed) for part in parts), strict=True)
    )
    arrays = (np.concatenate([getattr(p.changes, name) for p in parts]) for name in _OF_CHANGES)
    sums = (sum(getattr(part.expected, name) for part in parts) for name in _OF_EXPECTED)
    review = [pc.sum(pc.list_value_length(column)).as_py() for column in for_review(run)]
    return Counts(
        given,
        proposed,
        np.concatenate([part.verified for part in parts]),
        np.concatenate([part.known for part in parts]),
        np.concatenate([part.open for part in parts]),
        Expected(*sums),
        Changes(*arrays),
        # The class that another takes the place of stands among what is removed.
        sum(many or 0 for many in (review[:1] if run.exclusive else review)),
    )


_OF_CHANGES: Final = ("row", "unit", "on", "confidence")
_OF_EXPECTED: Final = ("have", "missing", "given", "wrong")


def for_review(run: Run) -> list[pa.ChunkedArray]:
    """Changes that were not made, row by row: labels to add, and labels to take away."""
    return [run.cleaned.column(name) for name in FOR_REVIEW if name in run.cleaned.column_names]


def _parts(run: Run) -> Iterator[Counts]:
    names = pa.array(run.names, pa.string())
    for first in range(0, len(run), ROWS_AT_ONCE):
        table = run.cleaned.slice(first, ROWS_AT_ONCE)
        yield _part(table, names, first, exclusive=run.exclusive)


def _part(table: pa.Table, names: pa.Array, first: int, *, exclusive: bool) -> Counts:
    given, proposed, added, removed = (
        _states(table.column(name), names) for name in ("given", "proposed", "added", "removed")
    )
    p = table.column("probabilities")
    known: NDArray[np.bool_] = p.is_valid().to_numpy()
    dense = np.zeros((len(table), len(names)), np.float32)
    dense[known] = pc.list_flatten(p).to_numpy().reshape(-1, len(names))
    verified: NDArray[np.bool_] = table.column("verified").to_numpy() & known
    open_rows = known & ~verified & training_rows(table)
    p_open, given_open = dense[open_rows].astype(np.float64), given[np.flatnonzero(open_rows)]
    have, came = p_open.sum(0), np.asarray(given_open.sum(0)).ravel().astype(np.float64)
    right = np.asarray(given_open.multiply(p_open).sum(0)).ravel()
    sides = [(added, True)] if exclusive else [(added, True), (removed, False)]
    changes = [_changes(states, on, dense, open_rows, first) for states, on in sides]
    return Counts(
        given,
        proposed,
        verified,
        known,
        open_rows,
        Expected(have, have - right, came, came - right),
        Changes(*(np.concatenate(part) for part in zip(*changes, strict=True))),
        0,
    )


def _changes(
    states: csr_array,
    on: bool,
    p: NDArray[np.float32],
    wanted: NDArray[np.bool_],
    first: int,
) -> tuple[NDArray[Any], ...]:
    rows, units = states.nonzero()
    rows, units = rows[wanted[rows]], units[wanted[rows]]
    sure = p[rows, units] if on else 1 - p[rows, units]
    return rows.astype(np.int64) + first, units.astype(np.int64), np.full(len(rows), on), sure


def _states(column: pa.ChunkedArray, names: pa.Array) -> csr_array:
    """Lists of names as states (rows, names); names that are none of these are left out."""
    found = pc.index_in(pc.list_flatten(column), value_set=names)
    units: NDArray[np.int64] = found.fill_null(-1).to_numpy()
    rows: NDArray[np.int64] = pc.list_parent_indices(column).to_numpy()
    kept = units >= 0
    shape = (len(column), len(names))
    states = csr_array((np.ones(kept.sum(), np.int64), (rows[kept], units[kept])), shape=shape)
    states.data[:] = 1  # a name that came twice
    return states
