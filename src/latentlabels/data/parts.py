"""Tables a part at a time: Parquet files whose columns are read when they are asked for."""

from __future__ import annotations

import tempfile
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet

from latentlabels.errors import TableError, shortened

# A multiple of the batches in which a model goes through examples: see `network.examples`.
PART_ROWS: Final = 16_384
# Of a Parquet file, columns of more bytes together are not read into memory.
MAPPED_FROM: Final = 1 << 28
MAPPED_ROWS: Final = 1000
# Without a buffer, or with one that reads ahead, a column of a row group, which may be the whole
# file, lies in memory at once.
BUFFER: Final = 1 << 20
LONGEST_REASON: Final = 300


class ParquetTable:
    """The rows of Parquet files, one after the other; nothing is read before it is asked for.

    Like a table of Arrow it has `schema`, `column_names`, `num_rows` and `column`.

    Args:
        files: at least one.

    Raises:
        TableError: no Parquet files, or of different columns.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = files
        self._opened = [_opened(file) for file in files]
        schemas = [plain(file.schema_arrow.empty_table()).schema for file in self._opened]
        self.schema = schemas[0]
        self._starts: list[int] = [0, *accumulate(file.metadata.num_rows for file in self._opened)]
        for file, schema in zip(files, schemas, strict=True):
            if not schema.equals(self.schema):
                raise TableError(f"{file} has other columns than {files[0]}.")

    @property
    def column_names(self) -> list[str]:
        """Of all columns."""
        return list(self.schema.names)

    @property
    def num_columns(self) -> int:
        """How many there are."""
        return len(self.schema)

    @property
    def num_rows(self) -> int:
        """Of all files."""
        return self._starts[-1]

    def column(self, name: str) -> pa.ChunkedArray:
        """One column, read as a whole."""
        return self.read([name]).column(0)

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Some columns of all rows, or all; from a temporary file where they are large.

        Raises:
            TableError: a file is damaged.
        """
        names = self.column_names if columns is None else list(columns)
        if sum(map(self._bytes_of, names)) > MAPPED_FROM:
            return self._mapped(names)
        return pa.concat_tables(
            [part for _, part in self.parts(names, 0, self.num_rows, PART_ROWS)]
        )

    def parts(
        self, columns: Sequence[str], start: int, stop: int, rows: int
    ) -> Iterator[tuple[int, pa.Table]]:
        """Some rows, a part at a time.

        Args:
            columns: which columns.
            start: number of the first row.
            stop: number behind the last.
            rows: of a part; the last may have fewer.

        Yields:
            The number of a part's first row, and the part.

        Raises:
            TableError: a file is damaged.
        """
        # Joined without a column, tables forget how many rows they have.
        needed = list(columns) or self.column_names[:1]
        held = self.schema.empty_table().select(needed)
        for piece in self._pieces(needed, start, stop, rows):
            held = pa.concat_tables([held, piece])
            while len(held) >= rows:
                yield start, held.slice(0, rows).select(columns)
                start, held = start + rows, held.slice(rows)
        if len(held):
            yield start, held.select(columns)
        if start + len(held) != stop:
            raise TableError(f"{self.files[-1]} is damaged: it has fewer rows than it says.")

    def _pieces(self, columns: list[str], start: int, stop: int, rows: int) -> Iterator[pa.Table]:
        """The same in pieces as they come."""
        for path, file, (first, end) in zip(
            self.files, self._opened, pairwise(self._starts), strict=True
        ):
            own = max(start - first, 0), min(stop, end) - first
            if own[0] >= own[1]:
                continue
            lengths = (file.metadata.row_group(g).num_rows for g in range(file.num_row_groups))
            begins = [0, *accumulate(lengths)]
            group = bisect_right(begins, own[0]) - 1
            at = begins[group]
            groups = [g for g in range(group, len(begins) - 1) if begins[g] < own[1]]
            try:
                batches = file.iter_batches(rows, row_groups=groups, columns=columns)
                for batch in batches:
                    # A name may stand for columns of which it is the beginning as well.
                    piece = plain(pa.table(batch).select(columns))
                    low, high = max(own[0] - at, 0), min(own[1] - at, len(piece))
                    if low < high:
                        yield piece.slice(low, high - low)
                    at += len(piece)
            except (pa.ArrowException, OSError) as error:
                raise damaged(path, "a Parquet file", error) from error

    def _bytes_of(self, name: str) -> int:
        """Of a column, as it lies in memory."""
        total = 0
        for file in self._opened:
            for group in range(file.num_row_groups):
                columns = file.metadata.row_group(group)
                total += sum(
                    columns.column(place).total_uncompressed_size
                    for place in range(columns.num_columns)
                    if f"{columns.column(place).path_in_schema}.".startswith(f"{name}.")
                )
        return total

    def _mapped(self, columns: list[str]) -> pa.Table:
        """Columns mapped from an Arrow file that has no name any more."""
        with tempfile.NamedTemporaryFile(prefix="latentlabels-", suffix=".arrow") as file:
            schema = self.schema.empty_table().select(columns).schema
            with pa.ipc.new_file(file, schema) as writer:
                for _, part in self.parts(columns, 0, self.num_rows, MAPPED_ROWS):
                    writer.write_table(part)
            file.flush()
            return pa.ipc.open_file(pa.memory_map(file.name)).read_all()


def in_parts(
    table: Any, columns: Sequence[str], start: int = 0, stop: int | None = None
) -> Iterator[tuple[int, pa.Table]]:
    """Some columns and rows of a table, a part at a time: see `ParquetTable.parts`."""
    stop = table.num_rows if stop is None else stop
    if isinstance(table, ParquetTable):
        yield from table.parts(columns, start, stop, PART_ROWS)
        return
    chosen = table.select(columns)
    for first in range(start, stop, PART_ROWS):
        yield first, chosen.slice(first, min(PART_ROWS, stop - first))


def damaged(path: Path, what: str, error: Exception) -> TableError:
    """The error for a file that is not what its name says."""
    lines = str(error).splitlines() or [type(error).__name__]
    return TableError(f"{path} is not {what}, or damaged: {shortened(lines[0], LONGEST_REASON)}")


def plain(table: pa.Table) -> pa.Table:
    """A table without dictionaries and views, with which little can be computed.

    Raises:
        pyarrow.ArrowInvalid: its parts contradict each other, as in a damaged file; to compute with
            them would end the process.
    """
    table.validate(full=True)
    simple = pa.schema([field.with_type(_plain_type(field.type)) for field in table.schema])
    return table if simple.equals(table.schema) else table.cast(simple)


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return kind.value_type
    if pa.types.is_string_view(kind):
        return pa.string()
    return pa.binary() if pa.types.is_binary_view(kind) else kind


def _opened(path: Path) -> pa.parquet.ParquetFile:
    try:
        # Not pyarrow.parquet.read_table, which adds columns it reads off the folders' names.
        file = pa.parquet.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise damaged(path, "a Parquet file", error) from error
    rows = sum(file.metadata.row_group(g).num_rows for g in range(file.num_row_groups))
    if rows != file.metadata.num_rows:
        raise TableError(f"{path} is damaged: it contradicts itself on how many rows it has.")
    return file
