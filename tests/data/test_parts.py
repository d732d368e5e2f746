"""Tables a part at a time are the tables as a whole."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentlabels.data import parts
from latentlabels.data.cells import cell_form, read_labels
from latentlabels.data.columns import flags, input_matrix, splits
from latentlabels.data.parts import ParquetTable, in_parts
from latentlabels.errors import TableError, rows_from

ROWS = 37
TABLE = pa.table(
    {
        "a": np.arange(ROWS),
        "a.b": [f"text {row}" for row in range(ROWS)],
        "list": pa.array([[row, -row] for row in range(ROWS)], pa.list_(pa.float32())),
        "coded": pa.array(["x", "y"] * (ROWS // 2) + [None]).dictionary_encode(),
    }
)
PLAIN = TABLE.set_column(3, "coded", TABLE.column("coded").cast(pa.string()))


def written(folder: Path, lengths: tuple[int, ...], group: int) -> ParquetTable:
    """The table in files of some lengths, in row groups."""
    files, start = [], 0
    for number, length in enumerate([*lengths, ROWS - sum(lengths)]):
        files.append(folder / f"{number}.parquet")
        pa.parquet.write_table(TABLE.slice(start, length), files[-1], row_group_size=group)
        start += length
    return ParquetTable(files)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("parts")


@given(
    st.sampled_from([(), (5,), (12, 0, 20)]),
    st.integers(1, 40),
    st.integers(0, ROWS),
    st.integers(0, ROWS),
    st.integers(1, 40),
)
def test_parts_are_slices(
    folder: Path, lengths: tuple[int, ...], group: int, start: int, stop: int, rows: int
) -> None:
    start, stop = sorted((start, stop))
    table = written(folder, lengths, group)
    assert (table.num_rows, table.column_names) == (ROWS, TABLE.column_names)
    read = list(table.parts(["list", "coded"], start, stop, rows))
    assert [first for first, _ in read] == list(range(start, stop, rows))
    assert [len(part) for _, part in read[:-1]] == [rows] * (len(read) - 1)
    whole = pa.concat_tables([part for _, part in read]) if read else None
    expected = PLAIN.select(["list", "coded"]).slice(start, stop - start)
    assert whole is None or whole.equals(expected)
    assert (whole is None) == (start == stop)


def test_a_column_is_not_taken_for_another_whose_name_it_begins(folder: Path) -> None:
    table = written(folder, (5,), 10)
    for name in TABLE.column_names:
        assert table.column(name).equals(PLAIN.column(name))
    assert table.read().equals(PLAIN)


def test_a_large_column_is_mapped(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "MAPPED_FROM", 0)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = pa.total_allocated_bytes()
    column = written(folder, (5,), 10).column("a.b")
    assert column.equals(PLAIN.column("a.b"))
    assert pa.total_allocated_bytes() == before
    assert not list(tmp_path.iterdir())


def test_what_has_been_gone_through_is_let_go(tmp_path: Path) -> None:
    """All rows in one group, as pandas writes them."""
    vectors = np.random.default_rng(0).normal(size=(40_000, 128)).astype(np.float32)
    path = tmp_path / "table.parquet"
    table = pa.table({"x": pa.FixedSizeListArray.from_arrays(vectors.ravel(), 128)})
    pa.parquet.write_table(table, path)
    del table
    most, before = 0, pa.total_allocated_bytes()
    for first, part in ParquetTable([path]).parts(["x"], 0, len(vectors), 1000):
        numbers = part.column("x").combine_chunks().flatten().to_numpy()
        np.testing.assert_array_equal(numbers, vectors[first : first + 1000].ravel())
        most = max(most, pa.total_allocated_bytes() - before)
    # A few parts, the buffer and a page, of 20 MB.
    assert most < vectors.nbytes / 2


def test_a_table_of_arrow_has_parts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_ROWS", 10)
    read = list(in_parts(PLAIN, ["a"], 5, 28))
    assert [(first, len(part)) for first, part in read] == [(5, 10), (15, 10), (25, 3)]
    assert pa.concat_tables([part for _, part in read]).equals(PLAIN.select(["a"]).slice(5, 23))


def test_files_of_other_columns_are_refused(tmp_path: Path) -> None:
    files = [tmp_path / "one.parquet", tmp_path / "two.parquet"]
    for file, name in zip(files, "xy", strict=True):
        pa.parquet.write_table(pa.table({name: [1]}), file)
    with pytest.raises(TableError, match=r"two.parquet has other columns than .*one.parquet"):
        ParquetTable(files)


def test_columns_that_are_read_in_parts_are_those_of_the_whole(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = pa.array([f"tag{row}; x" if row > 20 else "" for row in range(ROWS)])
    table = PLAIN.append_column("cells", cells)
    matrix, form = input_matrix(table, ["list", "a"]), cell_form(table, "cells")
    labels = read_labels(table, "cells", form).cells
    monkeypatch.setattr(parts, "PART_ROWS", 10)
    np.testing.assert_array_equal(input_matrix(table, ["list", "a"]), matrix)
    assert cell_form(table, "cells") == form
    assert read_labels(table, "cells", form).cells == labels
    assert labels[20:22] == [None, ["tag21", "x"]]


@pytest.mark.parametrize(
    ("read", "values", "message"),
    [
        (input_matrix, [[1.0]] * 25 + [[1.0, 2.0]], "Row 125 .* has 2 numbers, row 0 has 1"),
        (input_matrix, [[1.0]] * 30 + [[1.0, 2.0]], "Row 130 .* has 2 numbers, row 0 has 1"),
        (input_matrix, [1.0] * 25 + [np.inf], "Row 125 .* is inf"),
        (input_matrix, [1.0] * 25 + [None], "Row 125 .* is empty"),
        (flags, ["yes"] * 25 + ["perhaps"], "row 125 has 'perhaps'"),
        (splits, ["train"] * 25 + ["perhaps"], "row 125 has 'perhaps'"),
    ],
)
def test_messages_count_rows_of_the_whole(
    monkeypatch: pytest.MonkeyPatch, read: Callable[..., object], values: list[object], message: str
) -> None:
    monkeypatch.setattr(parts, "PART_ROWS", 10)
    column = ["x"] if read is input_matrix else "x"
    with pytest.raises(TableError, match=message), rows_from(100):
        read(pa.table({"x": values}), column)


def test_messages_count_rows_of_label_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_ROWS", 10)
    table = pa.table({"x": ["a"] * 15 + ['["a"'] + ["b"]})
    with pytest.raises(TableError, match="Row 15 of column 'x'"):
        read_labels(table, "x", cell_form(table, "x"))
