"""Tables: CSV, Parquet, JSON Lines and Arrow files, read and written.

An Arrow file is mapped, and so may be larger than memory. Of a Parquet file only what is asked for
is read, and large columns are written to a temporary Arrow file, which is mapped.

A CSV does not say what its cells are. They are kept as text, so that an id 007 or a label 1.50
stays what it is; only a column of plain whole numbers becomes numbers, be they written 2 or, as
pandas does once a cell of the column is empty, 2.0. An empty cell is a missing value.

Written as CSV, a list is a JSON list, and text that a spreadsheet would run as a formula is led in
by an apostrophe.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.ipc
import pyarrow.parquet

from latentlabels.data.encodings import why_no_text, why_no_utf8
from latentlabels.data.parts import ParquetTable, damaged, plain
from latentlabels.data.shards import open_shards
from latentlabels.durable import put_in_place
from latentlabels.errors import TableError, shortened, shown


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
JSON_LINES_AT_ONCE: Final = 10_000
WHOLE_NUMBER: Final = r"^(0|-?[1-9][0-9]{0,17})$"
WHOLE_FLOAT: Final = r"^(0|-?[1-9][0-9]{0,14})\.0$"
# The last four are the first four in full width.
FORMULA_STARTS: Final = (*"=+-@", "\t", "\r", "\n", *"\uff1d\uff0b\uff0d\uff20")
TEXTS: Final = (Format.CSV, Format.JSONL)


def read_table(path: Path) -> pa.Table:
    """Read a table as a whole; arguments and errors are those of `open_table`."""
    table = open_table(path)
    return table.read() if isinstance(table, ParquetTable) else table


def open_table(path: Path) -> Any:
    """Open a table; its suffix says which kind of file it is.

    Args:
        path: a .csv, .parquet, .jsonl, .ndjson, .arrow or .feather file, or a folder of shards.

    Returns:
        A table of Arrow, or a `ParquetTable`.

    Raises:
        TableError: no such file, an unknown suffix, a file that is not what its name says, no rows,
            or a column name twice.
        OSError: the file cannot be opened.
    """
    if path.is_dir():
        return open_shards(path)
    kind = _format_of(path)
    readers = {
        Format.CSV: _read_csv,
        Format.PARQUET: _open_parquet,
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
        if kind in TEXTS:
            why = why_no_text(file)
            if why is not None:
                raise _misnamed(path, why)
        table = readers[kind](file, path)
    twice = [name for name, times in Counter(table.column_names).items() if times > 1]
    if twice:
        raise TableError(f"{path} has several columns named {shown(twice[0])}. Rename all but one.")
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
    with written_in_parts(path, kind) as write:
        write(table)


@contextmanager
def written_in_parts(path: Path, kind: Format) -> Iterator[Callable[[pa.Table], None]]:
    """Write a table part by part under a temporary name beside its place, then rename it.

    Arguments are those of `write_table_atomically`.

    Yields:
        What writes a part, all of the same columns. Where it is never called there is no file.
    """
    writers = {
        Format.CSV: _csv_writer,
        Format.PARQUET: _parquet_writer,
        Format.JSONL: _json_lines_writer,
        Format.ARROW: _arrow_writer,
    }
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("xb") as file, ExitStack() as opened:
            write_part: Callable[[pa.Table], None] | None = None

            def write(part: pa.Table) -> None:
                nonlocal write_part
                if write_part is None:
                    write_part = opened.enter_context(writers[kind](file, part.schema))
                write_part(part)

            yield write
        if write_part is not None:
            put_in_place(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def spreadsheet_safe(text: str) -> str:
    """Text that no spreadsheet runs: led in by an apostrophe where it begins like a formula.

    Source: OWASP, CSV Injection.
    """
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def _format_of(path: Path) -> Format:
    if not path.exists():
        raise TableError(f"There is no file {path}.")
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        raise TableError(f"{path} is none of the tables that can be read: {', '.join(FORMATS)}.")
    return kind


def _misnamed(path: Path, what: str) -> TableError:
    return TableError(f"{path} is not {FORMAT_NAMES[_format_of(path)]}: it {what}.")


def _broken(path: Path, error: Exception) -> TableError:
    return damaged(path, FORMAT_NAMES[_format_of(path)], error)


def _open_parquet(_: BinaryIO, path: Path) -> ParquetTable:
    return ParquetTable([path])


def _read_arrow(_: BinaryIO, path: Path) -> pa.Table:
    try:
        return plain(pa.ipc.open_file(pa.memory_map(str(path))).read_all())
    except (pa.ArrowException, OSError) as error:
        raise _broken(path, error) from error


def _read_csv(file: BinaryIO, path: Path) -> pa.Table:
    reading = pa.csv.ReadOptions(block_size=CSV_BLOCK)
    parsing = pa.csv.ParseOptions(newlines_in_values=True)
    try:
        names = pa.csv.open_csv(file, reading, parsing).schema.names
        file.seek(0)
        as_text = pa.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
        )
        table = pa.csv.read_csv(file, reading, parsing, as_text)
    except (pa.ArrowException, UnicodeDecodeError) as error:
        file.seek(0)
        why = next(filter(None, map(why_no_utf8, file, count(1))), None)
        raise (_misnamed(path, why) if why else _unreadable_csv(path, error)) from error
    for place, name in enumerate(table.column_names):
        column = table.column(place)
        if _every(column, WHOLE_FLOAT):
            column = pc.replace_substring(column, ".0", "")
        if _every(column, WHOLE_NUMBER):
            table = table.set_column(place, name, column.cast(pa.int64()))
    return table


def _unreadable_csv(path: Path, error: Exception) -> TableError:
    if "straddling" in str(error):
        return _misnamed(
            path,
            f"has a row of more than {CSV_BLOCK >> 20} MB, which is most often a quote that is "
            "opened and not closed. Close it, or write the table as Parquet",
        )
    return _broken(path, error)


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
    except UnicodeDecodeError as error:
        raise _misnamed(path, why_no_utf8(line, number) or str(error)) from error
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
            name.encode()
            columns[name] = pa.array([row.get(name) for row in rows])
        except UnicodeEncodeError as error:
            raise TableError(
                f"Column {shown(name)} of {path} holds half a character, "
                f"{error.object[error.start]!a}, which no text can have. Take it out."
            ) from error
        except (pa.ArrowException, OverflowError) as error:
            raise TableError(
                f"Column {shown(name)} of {path} holds more than one kind of value, or a whole "
                f"number of more than 64 bits: {shortened(str(error))}."
            ) from error
    return pa.table(columns)


@contextmanager
def _parquet_writer(file: BinaryIO, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    with pa.parquet.ParquetWriter(file, schema) as writer:
        yield writer.write_table


@contextmanager
def _arrow_writer(file: BinaryIO, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    with pa.ipc.new_file(file, schema) as writer:
        yield writer.write_table


@contextmanager
def _csv_writer(file: BinaryIO, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    names = [spreadsheet_safe(name) for name in schema.names]

    def as_text(part: pa.Table) -> pa.Table:
        return pa.table([_csv_column(column) for column in part.columns], names=names)

    with pa.csv.CSVWriter(file, as_text(schema.empty_table()).schema) as writer:
        yield lambda part: writer.write_table(as_text(part))


@contextmanager
def _json_lines_writer(file: BinaryIO, _: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    yield lambda part: _write_json_lines(part, file)


def _csv_column(column: pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        return column
    if pa.types.is_nested(kind):
        return pa.array(_json_texts(column), pa.string())
    return pa.array(
        [None if value is None else spreadsheet_safe(str(value)) for value in column.to_pylist()],
        pa.string(),
    )


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
