"""Tables: CSV, Parquet, JSON Lines and Arrow files, read and written.

An Arrow file is mapped, and so may be larger than memory; a large Parquet file is written to a
temporary Arrow file, which is mapped.

A CSV does not say what its cells are. They are kept as text, so that an id 007 or a label 1.50
stays what it is; only a column of plain whole numbers becomes numbers, be they written 2 or, as
pandas does once a cell of the column is empty, 2.0. An empty cell is a missing value.

Written as CSV, a list is a JSON list, and text that a spreadsheet would run as a formula is led in
by an apostrophe.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.ipc
import pyarrow.parquet

from latentlabels.errors import TableError


class Format(StrEnum):
    """The kinds of table files; the value is the suffix that a written file gets."""

    PARQUET = "parquet"
    CSV = "csv"
    JSONL = "jsonl"
    ARROW = "arrow"


FORMATS: Final = {
    ".csv": Format.CSV,
    ".parquet": Format.PARQUET,
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".arrow": Format.ARROW,
    ".feather": Format.ARROW,
}
FORMAT_NAMES: Final = {
    Format.CSV: "a CSV file",
    Format.PARQUET: "a Parquet file",
    Format.JSONL: "JSON Lines",
    Format.ARROW: "an Arrow IPC file",
}
PARQUET_MAGIC: Final = b"PAR1"
# A line of a CSV has to fit into a block, and a vector of thousands of numbers is a long line.
CSV_BLOCK: Final = 1 << 24
# A Parquet file of more bytes is not read into memory.
MAPPED_FROM: Final = 1 << 28
MAPPED_ROWS: Final = 1000
JSON_LINES_AT_ONCE: Final = 10_000
WHOLE_NUMBER: Final = r"^(0|-?[1-9][0-9]{0,17})$"
WHOLE_FLOAT: Final = r"^(0|-?[1-9][0-9]{0,14})\.0$"
FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")


def read_table(path: Path) -> pa.Table:
    """Read a table; its suffix says which kind of file it is.

    Args:
        path: a .csv, .parquet, .jsonl, .ndjson, .arrow or .feather file.

    Raises:
        TableError: no such file, an unknown suffix, a file that is not what its name says, no rows,
            or a column name twice.
        OSError: the file cannot be opened.
    """
    kind = _format_of(path)
    readers = {
        Format.CSV: _read_csv,
        Format.PARQUET: _read_parquet,
        Format.JSONL: _read_json_lines,
        Format.ARROW: _read_arrow,
    }
    with path.open("rb") as file:
        magic = file.read(len(PARQUET_MAGIC))
        file.seek(0)
        if kind != Format.PARQUET and magic == PARQUET_MAGIC:
            raise _misnamed(path, "is a Parquet file: rename it to end in .parquet")
        if not magic:
            raise TableError(f"{path} is empty. A table needs columns and at least one row.")
        try:
            table = readers[kind](file, path)
        except UnicodeDecodeError as error:
            raise _misnamed(path, f"is not text in UTF-8 ({error.reason})") from error
    twice = [name for name, count in Counter(table.column_names).items() if count > 1]
    if twice:
        raise TableError(f"{path} has several columns named {twice[0]!r}. Rename all but one.")
    if table.num_rows == 0 or table.num_columns == 0:
        raise TableError(f"{path} has no rows. A table needs columns and at least one row.")
    return table


def write_table_atomically(table: pa.Table, path: Path, kind: Format) -> None:
    """Write a table under a temporary name beside its place, then rename it.

    A failure leaves nothing, and an older file as it was.

    Args:
        table: what to write.
        path: where to; a file there is replaced.
        kind: of file.
    """
    writers: dict[Format, Callable[[pa.Table, BinaryIO], None]] = {
        Format.CSV: _write_csv,
        Format.PARQUET: pa.parquet.write_table,
        Format.JSONL: _write_json_lines,
        Format.ARROW: _write_arrow,
    }
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("xb") as file:
            writers[kind](table, file)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def spreadsheet_safe(text: str) -> str:
    """Text that no spreadsheet runs: led in by an apostrophe where it begins like a formula.

    Source: OWASP, CSV Injection.
    """
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def _format_of(path: Path) -> Format:
    if path.is_dir():
        raise TableError(f"{path} is a folder; a table is one file.")
    if not path.exists():
        raise TableError(f"There is no file {path}.")
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise TableError(f"{path} is none of the tables that can be read: {', '.join(FORMATS)}.")
    return kind


def _misnamed(path: Path, what: str) -> TableError:
    return TableError(f"{path} is not {FORMAT_NAMES[_format_of(path)]}: it {what}.")


def _broken(path: Path, error: Exception) -> TableError:
    lines = str(error).splitlines() or [type(error).__name__]
    return TableError(f"{path} is not {FORMAT_NAMES[_format_of(path)]}, or damaged: {lines[0]}")


def _read_parquet(file: BinaryIO, path: Path) -> pa.Table:
    try:
        # Not pyarrow.parquet.read_table, which adds columns it reads off the folders' names.
        parquet = pa.parquet.ParquetFile(file)
        if path.stat().st_size > MAPPED_FROM:
            return _mapped(parquet)
        return _plain(parquet.read())
    except (pa.ArrowException, OSError) as error:
        raise _broken(path, error) from error


def _mapped(parquet: pa.parquet.ParquetFile) -> pa.Table:
    """A Parquet file's content, mapped from an Arrow file that has no name any more."""
    with tempfile.NamedTemporaryFile(prefix="latentlabels-", suffix=".arrow") as file:
        schema = _plain(parquet.schema_arrow.empty_table()).schema
        with pa.ipc.new_file(file, schema) as writer:
            for batch in parquet.iter_batches(MAPPED_ROWS):
                writer.write_table(_plain(pa.table(batch)))
        file.flush()
        return pa.ipc.open_file(pa.memory_map(file.name)).read_all()


def _read_arrow(_: BinaryIO, path: Path) -> pa.Table:
    try:
        return _plain(pa.ipc.open_file(pa.memory_map(str(path))).read_all())
    except (pa.ArrowException, OSError) as error:
        raise _broken(path, error) from error


def _plain(table: pa.Table) -> pa.Table:
    """A table without dictionaries."""
    plain = pa.schema(
        [
            field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field
            for field in table.schema
        ]
    )
    return table if plain.equals(table.schema) else table.cast(plain)


def _read_csv(file: BinaryIO, path: Path) -> pa.Table:
    reading = pa.csv.ReadOptions(block_size=CSV_BLOCK)
    parsing = pa.csv.ParseOptions(newlines_in_values=True)
    try:
        if b"\0" in file.read(CSV_BLOCK):
            raise _misnamed(path, "holds bytes that are no text")
        file.seek(0)
        names = pa.csv.open_csv(file, reading, parsing).schema.names
        file.seek(0)
        as_text = pa.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
        )
        table = pa.csv.read_csv(file, reading, parsing, as_text)
    except pa.ArrowException as error:
        raise _broken(path, error) from error
    for place, name in enumerate(table.column_names):
        column = table.column(place)
        if _every(column, WHOLE_FLOAT):
            column = pc.replace_substring(column, ".0", "")
        if _every(column, WHOLE_NUMBER):
            table = table.set_column(place, name, column.cast(pa.int64()))
    return table


def _every(column: pa.ChunkedArray, pattern: str) -> bool:
    """Whether every text of a column that has some matches."""
    return bool(pc.all(pc.match_substring_regex(column, pattern), min_count=1).as_py())


def _read_json_lines(file: BinaryIO, path: Path) -> pa.Table:
    parts, rows = [], []
    for number, line in enumerate(file, start=1):
        if line.strip():
            rows.append(_json_object(line, path, number))
        if len(rows) == JSON_LINES_AT_ONCE:
            parts.append(_table_of(rows, path))
            rows = []
    parts.append(_table_of(rows, path))
    try:
        return pa.concat_tables(parts, promote_options="permissive")
    except pa.ArrowException as error:
        raise _broken(path, error) from error


def _json_object(line: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        value = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise
    except (ValueError, RecursionError) as error:
        raise TableError(f"Line {number} of {path} is not JSON: {error}.") from error
    if not isinstance(value, dict):
        raise TableError(
            f"Every line of {path} has to be a JSON object, line {number} is "
            f"{line[:40].decode(errors='replace')!r}."
        )
    return value


def _table_of(rows: list[dict[str, Any]], path: Path) -> pa.Table:
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {}
    for name in names:
        try:
            columns[name] = pa.array([row.get(name) for row in rows])
        except (pa.ArrowException, OverflowError) as error:
            raise TableError(
                f"Column {name!r} of {path} holds more than one kind of value: {error}."
            ) from error
    return pa.table(columns)


def _write_csv(table: pa.Table, file: BinaryIO) -> None:
    columns = [_csv_column(column) for column in table.columns]
    names = [spreadsheet_safe(name) for name in table.column_names]
    pa.csv.write_csv(pa.table(columns, names=names), file)


def _csv_column(column: pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    if pa.types.is_nested(column.type):
        return pa.array(_json_texts(column), pa.string())
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        texts = column.to_pylist()
        return pa.array(
            [None if text is None else spreadsheet_safe(text) for text in texts], pa.string()
        )
    return column


def _write_arrow(table: pa.Table, file: BinaryIO) -> None:
    with pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def _write_json_lines(table: pa.Table, file: BinaryIO) -> None:
    keys = [json.dumps(name, ensure_ascii=False) for name in table.column_names]
    texts = [_json_texts(column, null="null") for column in table.columns]
    for cells in zip(*texts, strict=True):
        pairs = ", ".join(f"{key}: {cell}" for key, cell in zip(keys, cells, strict=True))
        file.write(f"{{{pairs}}}\n".encode())


def _json_texts(column: pa.ChunkedArray, null: str | None = None) -> list[str | None]:
    """Each cell as JSON; single-precision numbers as the shortest decimals that give them back."""
    kind = column.type
    if pa.types.is_list(kind) and pa.types.is_float32(kind.value_type):
        joined = pc.binary_join(column.cast(pa.list_(pa.string())), ", ")
        return [null if text is None else f"[{text}]" for text in joined.to_pylist()]
    return [
        null if value is None else json.dumps(value, ensure_ascii=False, default=str)
        for value in column.to_pylist()
    ]
