"""CSV, Parquet and JSON Lines: the cleaned table, with each probability under its label's name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from latentlabels.data.table import FORMAT_NAMES, Format, write_table_atomically
from latentlabels.errors import TableError, shown
from latentlabels.exports.rows import CleanedRows, Examples, decimals


def write_table(rows: CleanedRows, path: Path, kind: Format) -> None:
    """Write a table of cleaned labels that needs no model's folder to be understood.

    In text a list of labels is a JSON list, and probabilities are a JSON object.

    Args:
        rows: cleaned labels; their examples become the last column.
        path: where to.
        kind: of file.

    Raises:
        TableError: a column name twice, or bytes where there is text alone.
    """
    table = rows.table()
    place = table.column_names.index("probabilities")
    table = table.set_column(place, "probabilities", _named(rows, kind))
    if rows.examples is not None:
        _require_room(table, rows.examples, kind)
        table = table.append_column(rows.examples.name, rows.examples.column)
    write_table_atomically(table, path, kind)


def _named(rows: CleanedRows, kind: Format) -> pa.Array:
    """Probabilities as a structure with a field for each label."""
    numbers = rows.labels.probabilities
    if kind != Format.PARQUET:
        # Text shows a number in single precision with the digits of double precision.
        skipped = [np.nan] * numbers.shape[1]
        numbers = np.array([row or skipped for row in decimals(numbers)])
    return pa.StructArray.from_arrays(
        [pa.array(column) for column in numbers.T],
        names=rows.names,
        mask=pa.array(~rows.known),
    )


def _require_room(table: pa.Table, examples: Examples, kind: Format) -> None:
    if examples.name in table.column_names:
        raise TableError(
            f"The results have a column {shown(examples.name)} of their own: rename --input's."
        )
    parts = examples.column.type
    fields = [field.type for field in parts] if pa.types.is_struct(parts) else [parts]
    if kind != Format.PARQUET and any(map(_is_binary, fields)):
        raise TableError(
            f"Column {shown(examples.name)} holds bytes, and {FORMAT_NAMES[kind]} holds text. "
            "Leave out --input, or export as parquet."
        )


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))
