"""Label cells: lists, texts with names between delimiters, or single names.

In a text column a cell in brackets is read as a JSON list, which is how a CSV of ours holds one.
Numbers become their text. An empty cell is a missing label; `[]` says that there is none.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from math import isfinite
from typing import Any, Final, TypeAlias

import pyarrow as pa

from latentlabels.data.columns import require_column
from latentlabels.data.labels import Column
from latentlabels.data.missing import is_missing
from latentlabels.data.parts import in_parts
from latentlabels.data.texts import is_whole_text
from latentlabels.errors import TableError, row_number, shown

DELIMITERS: Final = (";", "|", ",")


class Kind(StrEnum):
    """Any number of labels a row, or one class; or whichever the cells look like."""

    AUTO = "auto"
    MULTILABEL = "multilabel"
    MULTICLASS = "multiclass"


MultiLabel: TypeAlias = list[list[str] | None]
MultiClass: TypeAlias = list[str | None]
Labels: TypeAlias = MultiLabel | MultiClass | dict[str, MultiLabel | MultiClass]


@dataclass(frozen=True)
class CellForm:
    """How the cells of a column are to be read.

    Attributes:
        kind: any number of names a cell, or one; not auto.
        delimiter: what stands between names in a text; None where a text is one name.
    """

    kind: Kind
    delimiter: str | None


def label_cells(
    table: Any, columns: Sequence[str], *, delimiter: str | None = None, kind: Kind = Kind.AUTO
) -> Labels:
    """The labels of every row.

    Args:
        table: the table.
        columns: one column, or several that label the same rows, such as several annotators.
        delimiter: what stands between names in a text; by default the first of ; | , that occurs in
            a column without lists.
        kind: of label; auto takes lists and delimited texts for multi-label, all else for
            multiclass.

    Returns:
        For one column, lists of names, or single names if multiclass, None where a cell is empty;
        for several, these by column.

    Raises:
        TableError: an unknown column, a value that is no label, or several names where there is one
            class.
    """
    read = {
        name: read_labels(
            table, name, cell_form(table, name, delimiter=delimiter, kind=kind)
        ).as_given()
        for name in columns
    }
    return read if len(columns) > 1 else read[columns[0]]


def cell_form(
    table: Any, column: str, *, delimiter: str | None = None, kind: Kind = Kind.AUTO
) -> CellForm:
    """How a column's cells are to be read, found out where it is not said.

    Arguments and errors are those of `label_cells`.
    """
    if delimiter == "":
        raise TableError("A delimiter is at least one character, got none.")
    require_column(table, column)
    listed = bool(pa.types.is_nested(table.schema.field(column).type))
    filled, occurring = False, set()
    candidates = DELIMITERS if delimiter is None else (delimiter,)
    for _, part in () if listed else in_parts(table, [column]):
        texts = [value for value in part.column(0).to_pylist() if isinstance(value, str)]
        lists = [value for value in map(_json_list, texts) if value is not None]
        listed, filled = listed or bool(lists), filled or any(lists)
        occurring |= {d for d in candidates if any(d in text for text in texts)}
    # An empty list says "no label" in a column of delimited texts too.
    if delimiter is None and not filled and kind != Kind.MULTICLASS:
        delimiter = next((d for d in DELIMITERS if d in occurring), None)
    if kind == Kind.AUTO:
        several = listed or delimiter in occurring
        kind = Kind.MULTILABEL if several else Kind.MULTICLASS
    return CellForm(kind, delimiter)


def read_labels(table: Any, column: str, form: CellForm) -> Column:
    """A column's labels in the given form, with the errors that `label_cells` names."""
    require_column(table, column)
    exclusive = form.kind == Kind.MULTICLASS
    return Column.of(_cells(table, column, form), "classes" if exclusive else "names")


def _cells(table: Any, column: str, form: CellForm) -> Iterator[list[str] | None]:
    """The names in each cell; an empty one of a class is none."""
    for first, part in in_parts(table, [column]):
        for row, value in enumerate(part.column(0).to_pylist(), first):
            try:
                names = names_in(value, form.delimiter)
                if form.kind == Kind.MULTICLASS:
                    names = _one_name(names)
            except TableError as error:
                raise TableError(
                    f"Row {row_number(row)} of column {shown(column)} (rows count from 0): {error}"
                ) from error
            yield names


def names_in(value: Any, delimiter: str | None) -> list[str] | None:
    """The names in a cell, stripped and each once, in their order; None for an empty cell.

    Args:
        value: the cell.
        delimiter: what stands between names in a text, or None.

    Raises:
        TableError: a value that is no label.
    """
    if is_missing(value) or (isinstance(value, str) and not value.strip()):
        return None
    parts: Iterable[Any]
    if isinstance(value, list):
        parts = value
    elif isinstance(value, str):
        parts = _parts(value, delimiter)
    else:
        parts = [value]
    names = (_name(part) for part in parts if not is_missing(part))
    return list(dict.fromkeys(name for name in names if name))


def _parts(text: str, delimiter: str | None) -> list[Any]:
    listed = _json_list(text)
    if listed is not None:
        return listed
    if text.strip().startswith(("['", '["')):
        raise TableError(
            f"{shown(text)} looks like a list and is not JSON. Write lists as JSON, or names with "
            f"one of {' '.join(DELIMITERS)} between them."
        )
    return [text] if delimiter is None else text.split(delimiter)


def _json_list(text: str) -> list[Any] | None:
    stripped = text.strip()
    if not (stripped.startswith("[") and stripped.endswith("]")):
        return None
    try:
        value = json.loads(stripped)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, list) else None


def _name(value: Any) -> str:
    if isinstance(value, str):
        name = value.strip()
        if is_whole_text(name):
            return name
    elif isinstance(value, bool):
        return str(value).lower()
    elif isinstance(value, float):
        if isfinite(value):
            return str(int(value)) if value.is_integer() else str(value)
    elif isinstance(value, int | Decimal):
        return str(value)
    raise TableError(f"A label is a text or a finite number, got {shown(value)}.")


def _one_name(cell: list[str] | None) -> list[str] | None:
    if cell is not None and len(cell) > 1:
        raise TableError(
            f"One class is wanted, got {len(cell)} labels. Leave one, or read the column as "
            "multilabel (--noisy-kind, --clean-kind)."
        )
    return cell or None
