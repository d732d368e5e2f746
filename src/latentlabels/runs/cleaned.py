"""A table of cleaned labels, read again from what `clean`, `apply` or an export has written."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from latentlabels.cleaning import Status
from latentlabels.data.cells import CellForm, Kind, read_labels
from latentlabels.data.columns import flags, splits
from latentlabels.data.shards import MANIFEST
from latentlabels.data.table import FORMATS, read_table
from latentlabels.errors import TableError, shown
from latentlabels.provenance import of_table
from latentlabels.results import (
    KIND_KEY,
    SOURCE_KEY,
    SPLIT_COLUMN,
    STRINGS,
    VOCABULARY_KEY,
    vectors,
)

LISTS: Final = ("given", "proposed", "added", "removed")
REQUIRED: Final = (*LISTS, "verified", "probabilities")
REASONS: Final = "reasons"
STATUS: Final = "status"
FOR_REVIEW: Final = ("review_added", "review_removed")
TRAINING: Final = "training"
"""A column of ours: rows that a fit may learn from, once they are verified."""
TOLD: Final = (REASONS, STATUS, *FOR_REVIEW)
"""Columns that need not be there: reasons, and what a precision left for review."""
NAMES: Final = CellForm(Kind.MULTILABEL, None)
REMEDY: Final = "Export what `latentlabels clean` or `apply` wrote."


@dataclass(frozen=True)
class Source:
    """What tells the table that was cleaned from any other.

    Attributes:
        table: name of its file.
        sha256: of its content.
        rows: how many it has.
    """

    table: str
    sha256: str
    rows: int

    def is_of(self, path: Path) -> bool:
        """Whether a table has the same content."""
        return bool(of_table(path, self.rows)["sha256"] == self.sha256)

    def require(self, path: Path) -> None:
        """Check that a table is this one.

        Raises:
            TableError: its content is another.
            OSError: it cannot be read.
        """
        if not self.is_of(path):
            raise TableError(
                f"{path} is not the table that was cleaned: its content is not that of "
                f"{shown(self.table)} as it was then. Name that one with --table."
            )


@dataclass(frozen=True)
class CleanedTable:
    """Cleaned labels as they were written, each column of one type whatever file it comes from.

    Attributes:
        path: the file, or the folder of shards.
        ids: the columns that name the rows.
        columns: lists of names, `verified`, and `probabilities` as lists of single precision; and,
            where there are some, reasons, and what a precision left for review.
        names: what the probabilities are of, in order; None where the table does not say it.
        exclusive: whether a row has exactly one of them; None likewise.
        source: the table that was cleaned; None likewise.
    """

    path: Path
    ids: pa.Table
    columns: pa.Table
    names: tuple[str, ...] | None
    exclusive: bool | None
    source: Source | None

    def __len__(self) -> int:
        return int(self.columns.num_rows)

    @property
    def training(self) -> NDArray[np.bool_]:
        """Rows that a fit may learn from, once they are verified, (rows,)."""
        return training_rows(self.columns)

    def told(self) -> pa.Table:
        """Those columns that need not be there."""
        return self.columns.select([name for name in TOLD if name in self.columns.column_names])

    def with_status(self, status: Status) -> CleanedTable:
        """The rows of a status alone.

        Raises:
            TableError: there are none, or rows have no status.
        """
        if STATUS not in self.columns.column_names:
            raise TableError(
                f"The rows of {self.path} have no status: clean or apply gives them one with "
                "--precision."
            )
        chosen = pc.equal(self.columns.column(STATUS), status.value)
        if not pc.any(chosen).as_py():
            raise TableError(f"None of the {len(self):,} rows of {self.path} is {status}.")
        return replace(self, ids=self.ids.filter(chosen), columns=self.columns.filter(chosen))


def training_rows(columns: pa.Table) -> NDArray[np.bool_]:
    """Rows that are no validation or test rows, by the columns of a cleaned table, (rows,)."""
    if TRAINING not in columns.column_names:
        return np.ones(columns.num_rows, dtype=np.bool_)
    mask: NDArray[np.bool_] = columns.column(TRAINING).to_numpy()
    return mask


def open_cleaned(path: Path) -> CleanedTable:
    """Read a table of cleaned labels.

    Args:
        path: the table, a folder of its shards, or a run's folder.

    Raises:
        TableError: no such table, or one of something else.
        OSError: a file cannot be opened.
    """
    place = _table_in(path)
    table = read_table(place)
    present = set(table.column_names)
    missing = [name for name in REQUIRED if name not in present]
    before = [name for name in table.column_names if name in REQUIRED][:1]
    first = table.column_names.index(before[0]) if before else 0
    if missing or first == 0:
        raise TableError(
            f"{place} is no table of cleaned labels: it lacks "
            f"{', '.join(missing) or 'a column that names the rows'}. `latentlabels clean` and "
            "`apply` write one."
        )
    columns = {name: _lists(table, name, place) for name in LISTS}
    columns["verified"] = pa.array(flags(table, "verified"))
    names, columns["probabilities"] = _probabilities(table.column("probabilities"), place)
    for name in TOLD:
        # Without what is left for review, a status is an example's.
        if name == STATUS and present.issuperset((STATUS, *FOR_REVIEW)):
            columns[name] = _statuses(table.column(name), place)
        elif name != STATUS and name in present:
            columns[name] = _lists(table, name, place)
    if SPLIT_COLUMN in present:
        columns[TRAINING] = pa.array(splits(table, SPLIT_COLUMN) == "train")
    if names is None:
        names = _told(table, VOCABULARY_KEY, TypeAdapter(tuple[str, ...]), place)
    kind = _told(table, KIND_KEY, TypeAdapter(Kind), place)
    return CleanedTable(
        path=place,
        ids=table.select(table.column_names[:first]),
        columns=pa.table(columns),
        names=names,
        exclusive=None if kind is None else kind == Kind.MULTICLASS,
        source=_told(table, SOURCE_KEY, TypeAdapter(Source), place),
    )


def _table_in(path: Path) -> Path:
    """The table of cleaned labels that a path names, or that lies in the folder it names."""
    if not path.is_dir() or (path / MANIFEST).is_file():
        return path
    found = sorted(place for suffix in FORMATS for place in path.glob(f"cleaned{suffix}"))
    if len(found) != 1:
        holds = " and ".join(place.name for place in found) or "no table cleaned.parquet"
        raise TableError(
            f"{path} holds {holds}. Leave one such table in it, or name the table itself."
        )
    return found[0]


def _lists(table: pa.Table, name: str, path: Path) -> pa.ChunkedArray:
    """A column of lists of names; in a CSV they are JSON."""
    cells = table.column(name)
    if not pa.types.is_list(cells.type):
        return pa.chunked_array([pa.array(read_labels(table, name, NAMES).cells, STRINGS)])
    try:
        return cells.cast(STRINGS)
    except pa.ArrowException as error:
        raise TableError(f"Column {shown(name)} of {path} holds no names: {error}.") from error


def _statuses(cells: pa.ChunkedArray, path: Path) -> pa.ChunkedArray:
    known = [status.value for status in Status]
    texts = None if pa.types.is_nested(cells.type) else cells.cast(pa.string())
    if texts is None or not pc.all(pc.is_in(texts, pa.array(known))).as_py():
        raise TableError(
            f"Column {shown(STATUS)} of {path} holds something else than {', '.join(known)}. "
            f"{REMEDY}"
        )
    return texts


def _probabilities(
    cells: pa.ChunkedArray, path: Path
) -> tuple[tuple[str, ...] | None, pa.ChunkedArray]:
    """The labels, where they stand with the probabilities, and a list of these for each row."""
    names, numbers = None, None
    try:
        if pa.types.is_string(cells.type):
            # In a CSV they are JSON.
            told = [None if cell is None else json.loads(cell) for cell in cells.to_pylist()]
            cells = pa.chunked_array([pa.array(told)])
        if pa.types.is_struct(cells.type):
            names = tuple(field.name for field in cells.type)
            parts = (part.cast(pa.float32()) for part in cells.combine_chunks().flatten())
            numbers = np.stack([part.to_numpy(zero_copy_only=False) for part in parts], 1)
        else:
            cells = cells.cast(pa.list_(pa.float32()))
    except (ValueError, RecursionError, pa.ArrowException) as error:
        raise _no_probabilities(path) from error
    if names is not None and numbers is not None:
        wrong = np.isnan(numbers).any(1) & cells.is_valid().to_numpy()
        if wrong.any():
            raise _no_probabilities(path, int(wrong.argmax()), len(names))
        cells = pa.chunked_array([vectors(numbers)])
    _require_probabilities(cells, path)
    return names, cells


def _require_probabilities(lists: pa.ChunkedArray, path: Path) -> None:
    """Check that each list has as many numbers as any other, and all are from 0 to 1."""
    lengths, values = pc.list_value_length(lists), pc.list_flatten(lists)
    count = pc.max(lengths).as_py()
    within = pc.and_(pc.greater_equal(values, 0), pc.less_equal(values, 1))
    if count is None or (
        pc.all(pc.equal(lengths, count)).as_py() and pc.all(pc.fill_null(within, False)).as_py()
    ):
        return
    for row, cell in enumerate(lists.to_pylist()):
        fine = cell is None or all(value is not None and 0 <= value <= 1 for value in cell)
        if not fine or (cell is not None and len(cell) != count):
            raise _no_probabilities(path, row, count)


def _no_probabilities(path: Path, row: int | None = None, labels: int | None = None) -> TableError:
    where = "" if row is None else f"row {row} (rows count from 0) of "
    wanted = "numbers from 0 to 1" if labels is None else f"{labels} numbers from 0 to 1"
    return TableError(
        f"Column 'probabilities' of {where}{path} should hold {wanted}, one for each label. "
        f"{REMEDY}"
    )


def _told(table: pa.Table, key: str, kind: TypeAdapter[Any], path: Path) -> Any:
    """What the table's metadata say under a key; None where they say nothing."""
    told = (table.schema.metadata or {}).get(key.encode())
    try:
        return None if told is None else kind.validate_json(told)
    except ValidationError as error:
        raise TableError(f"{path} has metadata {key} that cannot be read. {REMEDY}") from error
