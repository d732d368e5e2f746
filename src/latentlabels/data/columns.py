"""Columns of a table: an example's numbers, which rows are verified, what part a row is in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from latentlabels.data.parts import in_parts
from latentlabels.errors import (
    TableError,
    row_number,
    rows_from,
    shortened,
    shown,
    spelt_alike,
)

COLUMNS_NAMED: Final = 12
CELLS_LOOKED_AT: Final = 1000
IMAGE_SUFFIXES: Final = frozenset(
    (".bmp", ".gif", ".jpeg", ".jpg", ".jpe", ".png", ".tif", ".tiff", ".webp")
)
FLAGS: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
SPLITS: Final = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
    "dev": "validation",
    "test": "test",
}


def column_of(table: Any, name: str) -> pa.ChunkedArray:
    """A column by its name.

    Raises:
        TableError: there is none; the message names those that are spelled alike.
    """
    require_column(table, name)
    return table.column(name)


def require_column(table: Any, name: str) -> None:
    """Check that there is a column.

    Raises:
        TableError: there is none; the message names those that are spelled alike.
    """
    if name in table.column_names:
        return
    close = spelt_alike(name, table.column_names)
    if close:
        hint = f"Did you mean {' or '.join(map(repr, close))}?"
    else:
        hint = f"Its columns are {columns_told(table)}."
    raise TableError(f"The table has no column {shown(name)}. {hint}")


def columns_told(table: Any) -> str:
    """The first of a table's columns, and how many more there are."""
    names = ", ".join(map(shortened, table.column_names[:COLUMNS_NAMED]))
    more = len(table.column_names) - COLUMNS_NAMED
    return f"{names} and {more} more" if more > 0 else names


class InputKind(StrEnum):
    """What an example is."""

    VECTOR = "vector"
    IMAGE = "image"
    TEXT = "text"


def input_kind(table: Any, columns: Sequence[str]) -> InputKind:
    """What the examples in some columns look like.

    Encoded bytes and Hugging Face images are images, and so are texts most of which end like the
    name of an image file; other texts are texts, unless most are numbers.

    Raises:
        TableError: an unknown column.
    """
    require_column(table, columns[0])
    kind = table.schema.field(columns[0]).type
    if pa.types.is_struct(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return InputKind.IMAGE
    if len(columns) > 1 or not _is_text(kind):
        return InputKind.VECTOR
    column = column_of(table, columns[0])
    if column.null_count == len(column):
        return InputKind.VECTOR
    texts = [text for text in column.slice(0, CELLS_LOOKED_AT).to_pylist() if text]
    # Most, since a cell may be wrong: that is to be said, and not to change what the others are.
    most = len(texts) / 2
    if sum(Path(text.strip()).suffix.lower() in IMAGE_SUFFIXES for text in texts) > most:
        return InputKind.IMAGE
    return InputKind.VECTOR if sum(map(_has_numbers, texts)) > most else InputKind.TEXT


def input_matrix(table: Any, columns: Sequence[str]) -> NDArray[np.float32]:
    """The numbers of every example, (rows, inputs).

    Args:
        table: the table.
        columns: columns of numbers, each one input, or of vectors, whose numbers stand side by
            side. Text is read as numbers: one, or several between spaces or semicolons, or a JSON
            list.

    Raises:
        TableError: an unknown column, text that is no number, an empty cell, a number that is not
            finite, vectors of different lengths.
    """
    for name in columns:
        require_column(table, name)
    matrix, widths = np.empty((table.num_rows, 0), np.float32), None
    for first, part in in_parts(table, columns):
        with rows_from(first):
            numbers = [_numbers(part.column(name), name) for name in columns]
            found = [values.shape[1] for values in numbers]
            if widths is None:
                widths, matrix = found, np.empty((table.num_rows, sum(found)), np.float32)
            for name, wanted, got in zip(columns, widths, found, strict=True):
                if got != wanted:
                    raise _of_other_length(name, 0, got, wanted)
            np.concatenate(numbers, 1, out=matrix[first : first + len(part)])
    return matrix


def flags(table: pa.Table, column: str) -> NDArray[np.bool_]:
    """Which rows a column says yes to, (rows,).

    Yes and no are booleans, 1 and 0, or the texts true, yes, false and no; an empty cell is no.

    Raises:
        TableError: an unknown column or another value.
    """
    values = []
    for row, value in enumerate(column_of(table, column).to_pylist()):
        text = "no" if value is None else _spelled(value)
        if text not in FLAGS:
            raise TableError(
                f"Column {shown(column)} says which rows are verified, with true or false, yes or "
                f"no, 1 or 0; row {row_number(row)} has {shown(value)} (rows count from 0)."
            )
        values.append(FLAGS[text])
    return np.array(values, dtype=np.bool_)


def splits(table: pa.Table, column: str) -> NDArray[np.str_]:
    """Which part of the data each row is in: "train", "validation" or "test", (rows,).

    Other words for the same are training, val, valid and dev.

    Raises:
        TableError: an unknown column or another value.
    """
    values = []
    for row, value in enumerate(column_of(table, column).to_pylist()):
        text = _spelled(value)
        if text not in SPLITS:
            raise TableError(
                f"Column {shown(column)} says which part a row is in, with train, validation or "
                f"test; row {row_number(row)} has {shown(value)} (rows count from 0)."
            )
        values.append(SPLITS[text])
    return np.array(values)


def _spelled(value: object) -> str:
    """A cell in small letters; a whole number in floating point like the number."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip().lower()


def _numbers(column: pa.ChunkedArray, name: str) -> NDArray[np.float32]:
    """One column's numbers, (rows, its inputs)."""
    if column.null_count:
        row = column.is_null().to_numpy().argmax()
        raise _cannot_use(name, row, "is empty", "Fill it in, or leave the row out.")
    kind = column.type
    if _is_text(kind):
        values = _from_texts(column, name)
    elif (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    ):
        if not _is_number(kind.value_type):
            raise _no_numbers(name, kind)
        lengths = pc.list_value_length(column).to_numpy()
        _require_one_length(lengths, name)
        flat = pc.list_flatten(column)
        if flat.null_count:
            row = flat.is_null().to_numpy().argmax() // lengths[0]
            raise _cannot_use(name, row, "lacks a number", "Fill it in, or leave the row out.")
        values = _as_float64(flat).reshape(len(lengths), -1)
    elif _is_number(kind):
        values = _as_float64(column)[:, None]
    else:
        raise _no_numbers(name, kind)
    return _finite(values, name)


def _from_texts(column: pa.ChunkedArray, name: str) -> NDArray[np.float64]:
    """The numbers of texts, (rows, inputs)."""
    try:
        # A column of single numbers, which may be many millions of cells.
        return _as_float64(column)[:, None]
    except pa.ArrowInvalid:
        cells = [_from_text(text, name, row) for row, text in enumerate(column.to_pylist())]
    _require_one_length(np.array([len(cell) for cell in cells]), name)
    return np.array(cells)


def _from_text(text: str, name: str, row: int) -> list[float]:
    """The numbers of a text: `0.5`, `0.5 1e-3`, `0.5;1e-3`, `[0.5, 1e-3]`."""
    try:
        return _numbers_in(text)
    except ValueError:
        raise _cannot_use(
            name,
            row,
            f"holds {shown(text)}",
            "An input is a number, or a vector: a list, or numbers between spaces or semicolons.",
        ) from None


def _numbers_in(text: str) -> list[float]:
    stripped = text.strip()
    bracketed = stripped.startswith("[") and stripped.endswith("]")
    parts = re.split(r"[\s,]+" if bracketed else r"[\s;]+", stripped.strip("[] \t\r\n"))
    return [float(part) for part in parts]


def _has_numbers(text: str) -> bool:
    try:
        _numbers_in(text)
    except ValueError:
        return False
    return True


def _require_one_length(lengths: NDArray[np.int64], name: str) -> None:
    odd = np.flatnonzero(lengths != lengths[0])
    if len(odd):
        raise _of_other_length(name, odd[0], lengths[odd[0]], lengths[0])
    if lengths[0] == 0:
        raise TableError(
            f"Column {shown(name)} holds empty vectors. An input needs at least one number."
        )


def _of_other_length(name: str, row: int, length: int, first: int) -> TableError:
    what = f"has {length} numbers, row 0 has {first}"
    return _cannot_use(name, row, what, "Vectors need one length.")


def _finite(values: NDArray[np.float64], name: str) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        single = values.astype(np.float32)
    wrong = np.argwhere(~np.isfinite(single))
    if len(wrong):
        row, place = wrong[0]
        where = f" at place {place} of its vector" if values.shape[1] > 1 else ""
        raise _cannot_use(
            name,
            row,
            f"is {values[row, place]:g}{where}",
            "Inputs need finite numbers of single precision: correct it, or leave the row out.",
        )
    return single


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
    )


def _as_float64(values: pa.Array | pa.ChunkedArray) -> NDArray[np.float64]:
    numbers: NDArray[np.float64] = values.cast(pa.float64(), safe=False).to_numpy()
    return numbers


def _cannot_use(name: str, row: int, what: str, remedy: str) -> TableError:
    return TableError(
        f"Row {row_number(row)} of input column {shown(name)} {what} (rows count from 0). {remedy}"
    )


def _no_numbers(name: str, kind: pa.DataType) -> TableError:
    return TableError(
        f"Input column {shown(name)} holds {shortened(str(kind))}, and a vector is numbers or "
        "lists of numbers. For images or texts say --input-kind; turn dates into numbers first."
    )
