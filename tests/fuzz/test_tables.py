"""Whatever a file holds: a table comes out of it, or one sentence about what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fuzz.outcome import tried

from latentlabels.cli.roles import Roles
from latentlabels.cli.rows import duplicates_told, read_rows, row_ids
from latentlabels.data.cells import CellForm, Kind, cell_form
from latentlabels.data.columns import InputKind, flags, input_kind, input_matrix, splits
from latentlabels.data.table import FORMATS, Format, read_table, write_table_atomically

# What files of tables are made of, beside bytes of any kind.
PIECES = st.sampled_from(
    [
        *(b"a,b\n", b"1,2\n", b'"', b",", b"\n", b"\r\n", b"\r", b"\0", b"x", b"-1.5e300", b"nan"),
        *(b'{"a": 1}\n', b'{"a": [', b"]}\n", b'"\\ud800"', b"null", b"[[", b"1e999", b"{}", b":"),
        *(
            b"\xef\xbb\xbf",
            b"\xff\xfe",
            b"\xe9",
            "é\u2028\u202e😀".encode(),
            b"PAR1",
            b"ARROW1\0\0",
        ),
        *(b"[1, 2]", b"1 2;3", b"=1+1", b"a" * 1000),
    ]
)
BYTES = st.lists(PIECES | st.binary(max_size=8), max_size=30).map(b"".join)


def texts(**more: Any) -> st.SearchStrategy[str]:
    return st.text(**more) | st.sampled_from(
        ["", " ", "1", "0.5", "1 2", "[1, 2]", "a;b", '["a", "b"]', "['a']", "true", "No", "train"]
    )


def of_type(kind: pa.DataType, values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.tuples(st.just(kind), st.just(values))


NUMBERS = st.floats() | st.integers(-(2**63), 2**63 - 1).map(float)
KINDS = st.one_of(
    of_type(pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    of_type(pa.uint8(), st.integers(0, 255)),
    of_type(pa.float64(), NUMBERS),
    of_type(pa.float32(), st.floats(width=32)),
    of_type(pa.bool_(), st.booleans()),
    of_type(pa.string(), texts()),
    of_type(pa.large_string(), texts()),
    of_type(pa.string_view(), texts()),
    of_type(pa.dictionary(pa.int32(), pa.string()), texts()),
    of_type(pa.binary(), st.binary(max_size=9)),
    of_type(pa.date32(), st.dates()),
    of_type(pa.timestamp("us"), st.datetimes()),
    of_type(pa.duration("us"), st.timedeltas(timedelta(-999), timedelta(999))),
    of_type(pa.decimal128(38, 2), st.integers(-(10**9), 10**9).map(lambda n: Decimal(n) / 100)),
    of_type(pa.list_(pa.string()), st.lists(st.none() | texts(), max_size=3)),
    of_type(pa.list_(pa.int64()), st.lists(st.none() | st.integers(-9, 9), max_size=3)),
    of_type(pa.list_(pa.float32()), st.lists(st.floats(width=32), max_size=3)),
    of_type(pa.list_(pa.float32(), 2), st.lists(st.floats(width=32), min_size=2, max_size=2)),
    of_type(pa.list_(pa.list_(pa.int64())), st.lists(st.lists(st.integers(-9, 9)), max_size=2)),
    of_type(pa.struct({"a": pa.string()}), st.fixed_dictionaries({"a": texts()})),
    of_type(pa.null(), st.none()),
)


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    """Columns of many kinds, some cells empty."""
    rows = draw(st.integers(1, 6))
    names = draw(st.lists(texts(max_size=8), min_size=1, max_size=4, unique=True))
    columns = {}
    for name in names:
        kind, values = draw(KINDS)
        cells = draw(st.lists(st.none() | values, min_size=rows, max_size=rows))
        columns[name] = pa.array(cells, kind)
    return pa.table(columns)


@st.composite
def damages(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """Something that happens to a file: bytes changed, left out or put in, or its end lost."""
    changes = draw(
        st.lists(
            st.tuples(st.floats(0, 1), st.integers(0, 40), st.binary(max_size=8) | PIECES),
            min_size=1,
            max_size=4,
        )
    )
    kept = draw(st.just(1.0) | st.floats(0, 1))

    def damage(content: bytes) -> bytes:
        for place, length, new in changes:
            start = int(place * len(content))
            content = content[:start] + new + content[start + length :]
        return content[: int(kept * len(content))]

    return damage


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where files are written, one after another."""
    return tmp_path_factory.mktemp("tables")


def explored(table: pa.Table) -> None:
    """Ask for every part that a column can play."""
    for name in table.column_names:
        tried(lambda name=name: input_kind(table, [name]))  # type: ignore[misc]
        matrix = tried(lambda name=name: input_matrix(table, [name]))  # type: ignore[misc]
        assert matrix is None or matrix.shape[0] == table.num_rows
        tried(lambda name=name: flags(table, name))  # type: ignore[misc]
        tried(lambda name=name: splits(table, name))  # type: ignore[misc]
        form = tried(lambda name=name: cell_form(table, name))  # type: ignore[misc]
        for kind in (Kind.MULTILABEL, Kind.MULTICLASS):
            known = form or CellForm(kind, None)
            roles = Roles([name], [name], [known], name, known, id=name, input_kind=InputKind.TEXT)
            tried(lambda roles=roles: read_rows(table, roles, Path()))  # type: ignore[misc]
            ids = tried(lambda roles=roles: row_ids(table, roles))  # type: ignore[misc]
            if ids is not None:
                duplicates_told(table, name)


@given(BYTES, st.sampled_from(sorted(FORMATS)))
def test_bytes(folder: Path, content: bytes, suffix: str) -> None:
    path = folder / f"bytes{suffix}"
    path.write_bytes(content)
    table = tried(lambda: read_table(path))
    if table is not None:
        explored(table)


@given(tables(), st.sampled_from(list(Format)))
def test_a_table_is_written_read_and_explored(folder: Path, table: pa.Table, kind: Format) -> None:
    path = folder / f"table.{kind}"
    write_table_atomically(table, path, kind)
    read = tried(lambda: read_table(path))
    if read is not None:
        explored(read)
    if kind in (Format.PARQUET, Format.ARROW):
        assert read is not None
        assert read.column_names == table.column_names
        assert str(read.to_pylist()) == str(table.to_pylist())


@given(tables(), st.sampled_from(list(Format)), damages())
def test_a_damaged_file(
    folder: Path, table: pa.Table, kind: Format, damage: Callable[[bytes], bytes]
) -> None:
    path = folder / f"damaged.{kind}"
    write_table_atomically(table, path, kind)
    path.write_bytes(damage(path.read_bytes()))
    read = tried(lambda: read_table(path))
    if read is not None:
        explored(read)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | texts()
    | st.sampled_from(["\ud800", "\udfff and more"]),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(texts(), parts, max_size=3),
    max_leaves=6,
)


@given(st.lists(st.dictionaries(st.sampled_from("abc") | texts(max_size=3), JSON), min_size=1))
def test_lines_of_any_json(folder: Path, rows: list[dict[str, Any]]) -> None:
    path = folder / "any.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    table = tried(lambda: read_table(path))
    if table is not None:
        assert table.num_rows == len(rows)
        explored(table)


@given(st.lists(st.lists(texts(), min_size=2, max_size=2), min_size=1), st.booleans())
def test_cells_of_any_text_in_a_csv(
    folder: Path, rows: Sequence[Sequence[str]], marked: bool
) -> None:
    path = folder / "any.csv"
    quoted = [",".join(f'"{cell.replace(chr(34), chr(34) * 2)}"' for cell in row) for row in rows]
    content = "\n".join(["a,b", *quoted, ""])
    path.write_text(content, encoding="utf-8-sig" if marked else "utf-8", newline="")
    table = tried(lambda: read_table(path))
    if "\0" in content:
        assert table is None
    else:
        assert table is not None
        cells = [[None if v is None else str(v) for v in row.values()] for row in table.to_pylist()]
        assert table.num_rows == len(rows)
        for read, row in zip(cells, rows, strict=True):
            for cell, text in zip(read, row, strict=True):
                assert cell == (text or None) or text == f"{cell}.0"
        explored(table)
