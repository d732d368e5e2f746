"""From a table's columns to what the estimator takes, checked before any training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
from numpy.typing import NDArray

from latentlabels.cli.roles import Roles
from latentlabels.data.arrow_cells import ArrowCells
from latentlabels.data.cells import Kind, Labels, MultiClass, MultiLabel, read_labels
from latentlabels.data.columns import InputKind, column_of, flags, input_matrix, splits
from latentlabels.data.labels import Name
from latentlabels.data.spelling import Spelling, told_of_spellings
from latentlabels.errors import LabelError, TableError, shortened, shown
from latentlabels.inputs import Usable
from latentlabels.results import ROW_COLUMN

Mask = NDArray[np.bool_]
Column = MultiLabel | MultiClass


@dataclass(frozen=True)
class Rows:
    """All rows of a table.

    Attributes:
        ids: a table of one column that names the rows.
        x: vectors (rows, inputs), or the cells of images or texts, or what was read of them.
        noisy: noisy labels by column.
        clean: clean labels, None where there are none.
        split: "train", "validation" or "test", (rows,).
        verified: training rows whose clean labels may be read, (rows,).
    """

    ids: pa.Table
    x: NDArray[np.float32] | ArrowCells | Usable
    noisy: dict[str, Column]
    clean: Column
    split: NDArray[np.str_]
    verified: Mask

    def __len__(self) -> int:
        return len(self.split)

    def examples(self, rows: Mask) -> NDArray[np.float32] | ArrowCells | Usable:
        """The examples of some rows."""
        if isinstance(self.x, Usable):
            return self.x.part(rows)
        return self.x.take(rows) if isinstance(self.x, ArrowCells) else self.x[rows]

    def labelled_in(self, part: str) -> Mask:
        """Rows of one part of the data with a clean label, readable or not, (rows,)."""
        mask: Mask = _labelled(self.clean) & (self.split == part)
        return mask

    def noisy_of(self, rows: Mask, columns: Sequence[str] | None = None) -> Labels:
        """Noisy labels of some rows, as the estimator takes them.

        Args:
            rows: which rows.
            columns: what the columns are called, where the model knows them by other names.
        """
        taken = [taking(column, rows) for column in self.noisy.values()]
        if len(taken) == 1:
            return taken[0]
        return dict(zip(columns or self.noisy, taken, strict=True))

    def known_clean(self) -> Column | None:
        """Clean labels of all rows, None where they may not be read; nothing where none may be."""
        if not self.verified.any():
            return None
        masked = [
            cell if may else None for cell, may in zip(self.clean, self.verified, strict=True)
        ]
        return masked  # type: ignore[return-value]


def read_rows(table: pa.Table, roles: Roles, folder: Path) -> Rows:
    """Read and check the columns.

    Args:
        table: the table.
        roles: of its columns.
        folder: where images' paths start.

    Raises:
        TableError: cells that cannot be read.
        LabelError: a verified row without a clean label, or a row without the one class it needs.
    """
    noisy: dict[str, Column] = {}
    for name, form in zip(roles.noisy, roles.noisy_forms, strict=True):
        noisy[name] = read_labels(table, name, form)
        if form.kind == Kind.MULTICLASS and None in noisy[name]:
            raise LabelError(
                f"Row {noisy[name].index(None)} of column {shown(name)} is empty (rows count from "
                "0), and every row needs one class. Fill it in, or leave the row out."
            )
    clean = _nothing(table.num_rows)
    if roles.clean is not None and roles.clean_form is not None:
        clean = read_labels(table, roles.clean, roles.clean_form)
    everywhere = np.full(table.num_rows, "train")
    split = everywhere if roles.split is None else splits(table, roles.split)
    return Rows(
        ids=row_ids(table, roles),
        x=read_examples(table, roles, folder),
        noisy=noisy,
        clean=clean,
        split=split,
        verified=_verified(table, roles, clean) & (split == "train"),
    )


def read_examples(table: pa.Table, roles: Roles, folder: Path) -> NDArray[np.float32] | ArrowCells:
    """Vectors (rows, inputs), or the cells of images or texts, which are not looked at yet.

    Raises:
        TableError: cells that hold no vectors where there should be some.
    """
    if roles.input_kind == InputKind.VECTOR:
        return input_matrix(table, roles.input)
    column = column_of(table, roles.input[0])
    if pa.types.is_integer(column.type):
        column = column.cast(pa.string())  # a CSV's texts that are all whole numbers
    return ArrowCells.of(column, folder if roles.input_kind == InputKind.IMAGE else None)


def image_folder(table: Path, folder: Path | None) -> Path:
    """Where images' paths start: the folder that the user names, or else the table's.

    Raises:
        TableError: there is no such folder.
    """
    if folder is None:
        return table.parent
    if not folder.is_dir():
        raise TableError(f"--folder is where images' paths start: there is no {folder}.")
    return folder


def row_ids(table: pa.Table, roles: Roles) -> pa.Table:
    """The column that names the rows, or their numbers from 0.

    Raises:
        TableError: a column of a kind that results cannot hold.
    """
    if roles.id is None:
        return pa.table({ROW_COLUMN: np.arange(table.num_rows)})
    ids = pa.table({roles.id: column_of(table, roles.id)})
    try:
        # Found out here, and not when a long training has ended.
        pa.parquet.write_table(ids.slice(0, 0), pa.BufferOutputStream())
    except pa.ArrowException as error:
        raise TableError(
            f"Column {shown(roles.id)} holds {shortened(str(ids.column(0).type))}, which results "
            "cannot hold. Name another with --id, or write it as text."
        ) from error
    return ids


def read_names(path: Path, what: str) -> list[str]:
    """A vocabulary: a text file with one label on each line.

    Raises:
        LabelError: no file, no text, no label, or a label twice.
    """
    try:
        names = [line.strip() for line in path.read_text(encoding="utf-8-sig").split("\n")]
    except (FileNotFoundError, IsADirectoryError, UnicodeDecodeError) as error:
        raise LabelError(
            f"{what} wants a text file with one label a line: {path} is none."
        ) from error
    names = [name for name in names if name]
    if not names:
        raise LabelError(f"{what} wants a text file with one label a line: {path} is empty.")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise LabelError(f"{what} wants each label once: {path} has {shown(twice[0])} twice.")
    return names


def read_matrix(path: Path) -> NDArray[np.float64]:
    """A transition matrix, (clean, noisy): a CSV of numbers without a header.

    Raises:
        TableError: no file, or something else in it.
    """
    wanted = "--transition-matrix wants a CSV of numbers, without a header, clean classes as rows"
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
        matrix = [[float(cell) for cell in line.split(",")] for line in lines if line.strip()]
    except (FileNotFoundError, IsADirectoryError) as error:
        raise TableError(f"{wanted}: {path} is no file.") from error
    except ValueError as error:
        raise TableError(f"{wanted}; {path}: {shortened(str(error))}.") from error
    if not matrix or len({len(row) for row in matrix}) != 1:
        raise TableError(f"{wanted}; {path} has rows of {sorted({len(row) for row in matrix})}.")
    return np.array(matrix)


def require_in_vocabulary(rows: Rows, vocabulary: Collection[Name], path: Path) -> None:
    """Check that the clean labels that will be read are in the vocabulary that was given.

    Raises:
        LabelError: the first that is not.
    """
    known = set(vocabulary)
    for row in np.flatnonzero(rows.verified | rows.labelled_in("validation")):
        for name in names_of(rows.clean[row]):
            if name not in known:
                raise LabelError(
                    f"Row {row} has the clean label {shown(name)} (rows count from 0), which is "
                    f"not in {path}. Correct it, or add it there."
                )


def require_known_classes(rows: Rows) -> None:
    """Check that no row has a noisy class that fitting will not see.

    Raises:
        LabelError: the first that has.
    """
    for name, cells in rows.noisy.items():
        if any(isinstance(cell, list) for cell in cells):
            continue
        seen = set(taking(cells, rows.split == "train"))
        for row, cell in enumerate(cells):
            if cell not in seen:
                raise LabelError(
                    f"Row {row} has the class {shown(cell)} in column {shown(name)} (rows count "
                    "from 0), and no training row has it. Leave the row out, or move it to the "
                    "training rows."
                )


def spelling_of(rows: Rows, given: Iterable[Name]) -> Spelling:
    """The commonest spelling of each label, among those that fitting may read.

    Args:
        rows: all rows.
        given: names whose spelling is settled.
    """
    return Spelling.commonest(chain(*_readable_names(rows)), given)


def spellings_told(rows: Rows) -> str | None:
    """Which labels that fitting may read differ in spelling alone."""
    return told_of_spellings(*_readable_names(rows))


def respelt(rows: Rows, spelling: Spelling) -> Rows:
    """The rows with every label in its chosen spelling."""

    def column(cells: Column) -> Column:
        spelt = spelling.cells([cell and names_of(cell) for cell in cells])
        exclusive = any(isinstance(cell, str) for cell in cells)
        return [cell and cell[0] for cell in spelt] if exclusive else spelt  # type: ignore[index, return-value]

    noisy = {name: column(cells) for name, cells in rows.noisy.items()}
    return replace(rows, noisy=noisy, clean=column(rows.clean))


def _readable_names(rows: Rows) -> tuple[Iterator[str], Iterator[str]]:
    """The noisy names that fitting may read, and the clean ones."""

    def names(columns: Iterable[Column], chosen: Mask) -> Iterator[str]:
        return (n for cells in columns for cell in taking(cells, chosen) for n in names_of(cell))

    readable = rows.verified | rows.labelled_in("validation")
    return names(rows.noisy.values(), rows.split == "train"), names([rows.clean], readable)


def duplicates_told(ids: pa.Table) -> str | None:
    """How many rows share their name with another, and which; None where none does."""
    try:
        counts = ids.column(0).value_counts()
        several = counts.filter(pc.greater(counts.field("counts"), 1))
    except pa.ArrowNotImplementedError:  # lists, and other kinds that few name rows by
        return None
    if not len(several):
        return None
    first = several[0]
    return (
        f"{pc.sum(several.field('counts')).as_py():,} rows share their {ids.column_names[0]} with "
        f"another, such as the {first['counts'].as_py():,} named {shown(first['values'].as_py())}. "
        "The results have a row for each, in the table's order; name a column that tells rows "
        "apart with --id to join by it."
    )


def names_of(cell: list[str] | str | None) -> list[str]:
    """The names in a label."""
    if cell is None:
        return []
    return [cell] if isinstance(cell, str) else cell


def taking(column: Column, rows: Mask) -> Column:
    """Some of a column's cells."""
    return [column[row] for row in np.flatnonzero(rows)]  # type: ignore[return-value]


def _verified(table: pa.Table, roles: Roles, clean: Column) -> Mask:
    labelled = _labelled(clean)
    if roles.verified is None:
        return labelled
    verified = flags(table, roles.verified)
    if (verified & ~labelled).any():
        row = int(np.flatnonzero(verified & ~labelled)[0])
        raise LabelError(
            f"Row {row} is verified and column {shown(roles.clean)} is empty there (rows count "
            "from 0). Give its label, [] for none, or do not mark it as verified."
        )
    return verified


def _labelled(clean: Column) -> Mask:
    return np.array([cell is not None for cell in clean], dtype=np.bool_)


def _nothing(rows: int) -> Column:
    labels: MultiClass = [None] * rows
    return labels
