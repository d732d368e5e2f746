"""Files become tables and tables files, and what is no table is refused in one sentence."""

from __future__ import annotations

import csv
import errno
import json
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentlabels.data import parts
from latentlabels.data import table as table_module
from latentlabels.data.table import (
    FORMULA_STARTS,
    Format,
    read_table,
    spreadsheet_safe,
    write_table_atomically,
)
from latentlabels.errors import TableError

TABLE = pa.table(
    {
        "id": ["a", "b", "ç"],
        "words": [["cat", 'a "b", c'], [], None],
        "probabilities": pa.array([[0.1, 0.9], [1e-8, 0.5], [0.0, 1.0]], pa.list_(pa.float32())),
        "verified": [True, False, None],
        "count": [1, -2, 3],
    }
)


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("kind", [Format.PARQUET, Format.JSONL])
def test_a_table_comes_back_as_it_was(tmp_path: Path, kind: Format) -> None:
    path = tmp_path / f"table.{kind}"
    write_table_atomically(TABLE, path, kind)
    assert read_table(path).to_pylist() == [
        {**row, "probabilities": pytest.approx(row["probabilities"])} for row in TABLE.to_pylist()
    ]
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_csv_holds_lists_as_json(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_table_atomically(TABLE, path, Format.CSV)
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ["a", "b", "ç"]
    assert [row["words"] for row in rows] == ['["cat", "a \\"b\\", c"]', "[]", ""]
    assert [row["probabilities"] for row in rows] == ["[0.1, 0.9]", "[1e-8, 0.5]", "[0, 1]"]
    assert json.loads(rows[1]["probabilities"]) == [1e-8, 0.5]
    assert read_table(path).column("count").to_pylist() == [1, -2, 3]


@given(
    st.lists(
        st.floats(0, 1, width=32, allow_subnormal=False).map(lambda value: [value]), min_size=1
    )
)
def test_single_precision_numbers_are_written_exactly(cells: list[list[float]]) -> None:
    column = pa.chunked_array([pa.array(cells, pa.list_(pa.float32()))])
    texts = table_module._json_texts(column)
    assert [np.float32(json.loads(text or "")[0]) for text in texts] == [
        np.float32(cell[0]) for cell in cells
    ]


def test_parquet_keeps_the_metadata_of_the_schema(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    write_table_atomically(TABLE.replace_schema_metadata({"a": "b"}), path, Format.PARQUET)
    assert pa.parquet.read_schema(path).metadata[b"a"] == b"b"


@given(st.text())
def test_no_text_in_a_csv_begins_like_a_formula(text: str) -> None:
    safe = spreadsheet_safe(text)
    assert not safe.startswith(FORMULA_STARTS)
    assert safe in (text, f"'{text}")
    assert safe == text or text[0] in "=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"


@pytest.mark.parametrize("start", FORMULA_STARTS)
def test_a_formula_reaches_no_spreadsheet(tmp_path: Path, start: str) -> None:
    path = tmp_path / "table.csv"
    table = pa.table({f"{start}id": [f"{start}1+1", None], "n": [-1, 2]})
    write_table_atomically(table, path, Format.CSV)
    with path.open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [
            [f"'{start}id", "n"],
            [f"'{start}1+1", "-1"],
            ["", "2"],
        ]


def test_a_csv_keeps_what_looks_like_a_number(tmp_path: Path) -> None:
    content = "id,label,count,long,none\n007,1.50,1,99999999999999999999,\n8,2,-20,1,\n"
    table = read_table(written(tmp_path / "t.csv", content))
    assert table.to_pylist() == [
        {"id": "007", "label": "1.50", "count": 1, "long": "9" * 20, "none": None},
        {"id": "8", "label": "2", "count": -20, "long": "1", "none": None},
    ]


def test_whole_numbers_that_pandas_wrote_beside_an_empty_cell_are_whole(tmp_path: Path) -> None:
    """So a class is called the same in the column of noisy and in that of clean labels."""
    path = written(tmp_path / "t.csv", "noisy,clean,x\n2,2.0,1.0\n0,,2.5\n10,10.0,0.0\n")
    table = read_table(path)
    assert table["noisy"].to_pylist() == [2, 0, 10]
    assert table["clean"].to_pylist() == [2, None, 10]
    assert table["x"].to_pylist() == ["1.0", "2.5", "0.0"]


def test_a_csv_may_hold_a_byte_order_mark_quotes_and_long_lines(tmp_path: Path) -> None:
    vector = " ".join(["0.123456789"] * 200_000)
    content = f'\ufeffid,x,note\n1,{vector},"two\nlines, quoted ""so"""\n'
    table = read_table(written(tmp_path / "t.csv", content))
    assert table.column_names == ["id", "x", "note"]
    assert table.to_pylist() == [{"id": 1, "x": vector, "note": 'two\nlines, quoted "so"'}]


def test_json_lines_may_differ_in_their_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_module, "JSON_LINES_AT_ONCE", 2)
    content = '\ufeff{"x": 1, "y": []}\n\n{"x": 2.5}\n{"y": ["a"], "z": "2020-01-01"}\n'
    assert read_table(written(tmp_path / "t.ndjson", content)).to_pylist() == [
        {"x": 1.0, "y": [], "z": None},
        {"x": 2.5, "y": None, "z": None},
        {"x": None, "y": ["a"], "z": "2020-01-01"},
    ]


def test_parquet_categories_are_read_as_texts(tmp_path: Path) -> None:
    path = tmp_path / "k=v" / "t.parquet"
    path.parent.mkdir()
    pa.parquet.write_table(pa.table({"a": pa.array(["x", "y"]).dictionary_encode()}), path)
    assert read_table(path).schema == pa.schema({"a": pa.string()})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.xlsx", "", r"\.csv, \.parquet, \.jsonl, \.ndjson"),
        ("t", "", r"\.csv, \.parquet"),
        ("t.csv", "", "is empty"),
        ("t.parquet", "", "is empty"),
        ("t.jsonl", "", "is empty"),
        ("t.csv", "a,b\n", "no rows"),
        ("t.jsonl", "\n\n", "no rows"),
        ("t.jsonl", "{}\n", "no rows"),
        ("t.parquet", "a,b\n1,2\n", "is not a Parquet file, or damaged"),
        ("t.parquet", b"PAR1" + bytes(100) + b"PAR1", "is not a Parquet file, or damaged"),
        ("t.csv", b"PAR1" + bytes(100), "is a Parquet file: rename it"),
        ("t.jsonl", b"PAR1" + bytes(100), "is a Parquet file: rename it"),
        ("t.csv", b"\x89PNG\r\n\x1a\n\0\0", "holds bytes that are no text"),
        (
            "t.csv",
            b'a,b\n"1\n2",caf\xc3\xa9\n1,caf\xe9\n',
            r"line 4 \(byte 0xe9\)\. Save the whole",
        ),
        ("t.csv", b"a,caf\xe9\n1,2\n", "not text in UTF-8 in line 1"),
        ("t.csv", "a,b\n1,2\n".encode("utf-16"), "text in UTF-16. Save it as UTF-8"),
        ("t.jsonl", '{"a": 1}\n'.encode("utf-16"), "text in UTF-16. Save it as UTF-8"),
        ("t.csv", "a,b\n1,2\n".encode("utf-32"), "text in UTF-32. Save it as UTF-8"),
        ("t.jsonl", '{"a": 1}\n'.encode("utf-16-le"), "NUL in line 1"),
        ("t.csv", b"a,b\n" + b"1,2\n" * 999_999 + b"1,\0", "NUL in line 1000001. Take it out"),
        ("t.csv", 'a,b\n1,"' + "2\n" * (1 << 24), "a row of more than 16 MB, .* a quote"),
        ("t.csv", "a,b\n1,2\n1\n", "Expected 2 columns, got 1"),
        ("t.csv", "a,b,a\n1,2,3\n", "several columns named 'a'"),
        ("t.jsonl", '{"a": 1}\n{"a": \n', r"Line 2 of .* is not JSON"),
        ("t.jsonl", '{"a": 1}\n\n[1]\n', r"line 3 is '\[1\]"),
        ("t.jsonl", "a,b\n1,2\n", r"Line 1 of .* is not JSON"),
        ("t.jsonl", b'{"a": 1}\n{"a": "caf\xe9"}\n', "not text in UTF-8 in line 2"),
        ("t.jsonl", r'{"a": ["\ud800"]}', r"Column 'a' .* half a character, '.ud800'"),
        ("t.jsonl", r'{"\ud800": 1}', r"Column '.ud800' .* half a character"),
        ("t.jsonl", '{"a": 1}\n{"a": "b"}\n', "Column 'a' .* more than one kind"),
        ("t.jsonl", '{"a": 1}\n{"a": 1' + "0" * 30 + "}\n", "Column 'a' .* more than one kind"),
        ("t.jsonl", "[" * 100_000, "Line 1 of .* is not JSON"),
    ],
)
def test_what_is_no_table_is_refused(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    with pytest.raises(TableError, match=message) as caught:
        read_table(written(tmp_path / name, content))
    assert "\n" not in str(caught.value)


def test_kinds_that_change_between_parts_of_json_lines_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_module, "JSON_LINES_AT_ONCE", 1)
    with pytest.raises(TableError, match="damaged"):
        read_table(written(tmp_path / "t.jsonl", '{"a": 1}\n{"a": "b"}\n'))


def test_a_parquet_file_without_rows_or_with_a_name_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pa.parquet.write_table(TABLE.slice(0, 0), path)
    with pytest.raises(TableError, match="no rows"):
        read_table(path)
    pa.parquet.write_table(pa.table([[1], [2]], names=["a", "a"]), path)
    with pytest.raises(TableError, match="several columns named 'a'"):
        read_table(path)


def test_a_damaged_parquet_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pa.parquet.write_table(TABLE, path)
    content = bytearray(path.read_bytes())
    content[4:200] = bytes(196)
    with pytest.raises(TableError, match="damaged"):
        read_table(written(path, bytes(content)))


def test_no_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"no file .*nothing\.csv"):
        read_table(tmp_path / "nothing.csv")
    with pytest.raises(TableError, match="is a folder"):
        read_table(tmp_path)


@pytest.mark.parametrize("kind", list(Format))
def test_a_full_disk_leaves_the_older_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Format
) -> None:
    path = tmp_path / f"table.{kind}"
    write_table_atomically(TABLE, path, kind)
    before = path.read_bytes()

    def fails(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for name in ("csv", "json_lines", "arrow", "parquet"):
        monkeypatch.setattr(table_module, f"_{name}_writer", fails)
    with pytest.raises(OSError, match="No space left"):
        write_table_atomically(TABLE, path, kind)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", ["arrow", "feather"])
def test_an_arrow_file_is_mapped_and_damage_is_told(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"table.{suffix}"
    write_table_atomically(TABLE, path, Format.ARROW)
    assert read_table(path).equals(TABLE)
    with pytest.raises(TableError, match="not an Arrow IPC file, or damaged"):
        read_table(written(path, path.read_bytes()[:-40]))


def test_an_arrow_file_whose_parts_contradict_each_other_is_refused(tmp_path: Path) -> None:
    """To compute with it would end the process."""
    path = tmp_path / "table.arrow"
    write_table_atomically(pa.table({"a": ["one", "four"]}), path, Format.ARROW)
    places = np.array([0, 3, 7], dtype="<i4").tobytes()
    content = path.read_bytes()
    assert content.count(places) == 1
    wrong = np.array([0, 3, 2**30], dtype="<i4").tobytes()
    with pytest.raises(TableError, match="not an Arrow IPC file, or damaged"):
        read_table(written(path, content.replace(places, wrong)))
    with pytest.raises(TableError, match=r"not an Arrow IPC file, or damaged: .*UTF8"):
        read_table(written(path, content.replace(b"four", b"\xffour")))


def test_views_are_read_as_plain_texts(tmp_path: Path) -> None:
    path = tmp_path / "table.arrow"
    views = {"a": pa.array(["x"], pa.string_view()), "b": pa.array([b"y"], pa.binary_view())}
    write_table_atomically(pa.table(views), path, Format.ARROW)
    assert read_table(path).schema == pa.schema({"a": pa.string(), "b": pa.binary()})


def test_a_large_parquet_file_is_mapped_from_a_file_without_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "MAPPED_FROM", 0)
    monkeypatch.setattr(parts, "MAPPED_ROWS", 2)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    path = tmp_path / "table.parquet"
    coded = TABLE.set_column(0, TABLE.column_names[0], TABLE.column(0).dictionary_encode())
    pa.parquet.write_table(coded, path)
    before = pa.total_allocated_bytes()
    read = read_table(path)
    assert read.equals(TABLE)
    # Nothing of it lies in Arrow's memory, and nothing is left on the disk.
    assert pa.total_allocated_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["table.parquet"]
