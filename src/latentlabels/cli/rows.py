"""From a table's columns to what the estimator takes, checked before any training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet
from numpy.typing import NDArray

from latentlabels.cli.roles import Roles
from latentlabels.data.arrow_cells import ArrowCells
from latentlabels.data.cells import Kind, read_labels
from latentlabels.data.columns import InputKind, column_of, flags, input_matrix, splits
from latentlabels.data.labels import Column, Name
from latentlabels.data.spelling import Spelling, every_name, told_of_spellings
from latentlabels.errors import LabelError, TableError, row_number, shortened, shown
from latentlabels.inputs import Usable
from latentlabels.results import ROW_COLUMN

MOST_NAMES = 4_000_000

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Rows:
    """All rows of a table.

    Attributes:
        ids: a table of one column that names the rows.
        x: vectors (rows, inputs), or the cells of images or texts, or what was read of them.
        noisy: noisy labels by column.
        clean: clean labels, missing where there are none.
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

    def between(self, start: int, stop: int) -> Rows:
        """Some rows that follow one another, of which the examples have been read."""
        assert isinstance(self.x, Usable)
        chosen = np.arange(start, stop)
        return Rows(
            self.ids.slice(start, stop - start),
            self.x.between(start, stop),
            {name: column.take(chosen) for name, column in self.noisy.items()},
            self.clean.take(chosen),
            self.split[start:stop],
            self.verified[start:stop],
        )

    def usable(self) -> Mask:
        """Rows whose examples can be used, (rows,)."""
        mask = np.ones(len(self), dtype=np.bool_)
        mask[list(self.bad)] = False
        return mask

    @property
    def bad(self) -> dict[int, str]:
        """Why the examples of the other rows cannot be used, by row."""
        return self.x.bad if isinstance(self.x, Usable) else {}

    def labelled_in(self, part: str) -> Mask:
        """Rows of one part of the data with a clean label, readable or not, (rows,)."""
        mask: Mask = ~self.clean.missing & (self.split == part)
        return mask

    def noisy_of(
        self, rows: Mask | None = None, columns: Sequence[str] | None = None
    ) -> Column | dict[str, Column]:
        """Noisy labels of some rows, as the estimator takes them.

        Args:
            rows: which rows; by default all.
            columns: what the columns are called, where the model knows them by other names.
        """
        taken = list(self.noisy.values())
        if rows is not None:
            taken = [column.take(rows) for column in taken]
        if len(taken) == 1:
            return taken[0]
        return dict(zip(columns or self.noisy, taken, strict=True))

    def known_clean(self) -> Column | None:
        """Clean labels of all rows, missing where they may not be read; nothing where none may."""
        return self.clean.only(self.verified) if self.verified.any() else None


def read_rows(
    table: Any, roles: Roles, folder: Path, x: Usable | None = None, first: int = 0
) -> Rows:
    """Read and check the columns.

    Args:
        table: the table.
        roles: of its columns.
        folder: where images' paths start.
        x: the examples, where they have been read.
        first: number of the table's first row, where it is a part of one.

    Raises:
        TableError: cells that cannot be read.
        LabelError: a verified row without a clean label, or a row without the one class it needs.
    """
    noisy: dict[str, Column] = {}
    for name, form in zip(roles.noisy, roles.noisy_forms, strict=True):
        noisy[name] = read_labels(table, name, form)
        if form.kind == Kind.MULTICLASS and noisy[name].missing.any():
            row = row_number(noisy[name].missing.argmax())
            raise LabelError(
                f"Row {row} of column {shown(name)} is empty (rows count from 0), and every row "
                "needs one class. Fill it in, or leave the row out."
            )
    clean = Column.of(repeat(None, table.num_rows), "classes")
    if roles.clean is not None and roles.clean_form is not None:
        clean = read_labels(table, roles.clean, roles.clean_form)
    everywhere = np.full(table.num_rows, "train")
    split = everywhere if roles.split is None else splits(table, roles.split)
    return Rows(
        ids=row_ids(table, roles, first),
        x=read_examples(table, roles, folder) if x is None else x,
        noisy=noisy,
        clean=clean,
        split=split,
        verified=_verified(table, roles, clean) & (split == "train"),
    )


def read_examples(table: Any, roles: Roles, folder: Path) -> NDArray[np.float32] | ArrowCells:
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


def row_ids(table: Any, roles: Roles, first: int = 0) -> pa.Table:
    """The column that names the rows, or their numbers from the first one's.

    Raises:
        TableError: a column of a kind that results cannot hold.
    """
    if roles.id is None:
        return pa.table({ROW_COLUMN: np.arange(first, first + table.num_rows)})
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
    readable = rows.clean.only(rows.verified | rows.labelled_in("validation"))
    found = readable.first_beside(vocabulary)
    if found:
        raise LabelError(
            f"Row {found[0]} has the clean label {shown(found[1])} (rows count from 0), which is "
            f"not in {path}. Correct it, or add it there."
        )


def require_known_classes(rows: Rows) -> None:
    """Check that no row has a noisy class that fitting will not see.

    Raises:
        LabelError: the first that has.
    """
    for name, column in rows.noisy.items():
        found = column.first_beside(column.take(rows.split == "train").counts())
        if column.exclusive and found:
            raise LabelError(
                f"Row {found[0]} has the class {shown(found[1])} in column {shown(name)} (rows "
                "count from 0), and no training row has it. Leave the row out, or move it to the "
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
    (clean,) = spelling.columns({"": rows.clean}).values()
    return replace(rows, noisy=spelling.columns(rows.noisy), clean=clean)


def _readable_names(rows: Rows) -> tuple[Iterable[Name], Iterable[Name]]:
    """The noisy names that fitting may read, as often as they occur, and the clean ones."""
    training = rows.split == "train"
    readable = rows.verified | rows.labelled_in("validation")
    return (
        every_name(column.take(training) for column in rows.noisy.values()),
        every_name([rows.clean.take(readable)]),
    )


def duplicates_told(table: Any, column: str) -> str | None:
    """How many rows share their name with another, and which; None where none does.

    Of very many rows, whose names would fill the memory, it is not found out.

    Args:
        table: the table.
        column: that names its rows.
    """
    if table.num_rows > MOST_NAMES:
        return None
    try:
        counts = column_of(table, column).value_counts()
        several = counts.filter(pc.greater(counts.field("counts"), 1))
    except pa.ArrowNotImplementedError:  # lists, and other kinds that few name rows by
        return None
    if not len(several):
        return None
    first = several[0]
    return (
        f"{pc.sum(several.field('counts')).as_py():,} rows share their {column} with "
        f"another, such as the {first['counts'].as_py():,} named {shown(first['values'].as_py())}. "
        "The results have a row for each, in the table's order; name a column that tells rows "
        "apart with --id to join by it."
    )


def _verified(table: Any, roles: Roles, clean: Column) -> Mask:
    labelled = ~clean.missing
    if roles.verified is None:
        return labelled
    verified = flags(table, roles.verified)
    if (verified & ~labelled).any():
        row = row_number((verified & ~labelled).argmax())
        raise LabelError(
            f"Row {row} is verified and column {shown(roles.clean)} is empty there (rows count "
            "from 0). Give its label, [] for none, or do not mark it as verified."
        )
    return verified
