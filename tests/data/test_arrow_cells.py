"""A column's cells one by one are those of the column, however it is cut into chunks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentlabels.data.arrow_cells import ArrowCells

CELLS = st.one_of(st.none(), st.text(max_size=3))
CHUNKS = st.lists(st.lists(CELLS, max_size=4), max_size=6)


def column_of(chunks: list[list[Any]], kind: Any = None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(chunk, kind or pa.string()) for chunk in chunks], kind)


def flat(chunks: list[list[Any]]) -> list[Any]:
    return [cell for chunk in chunks for cell in chunk]


@given(CHUNKS, st.data())
def test_they_are_a_list(chunks: list[list[Any]], data: st.DataObject) -> None:
    wanted = flat(chunks)
    cells = ArrowCells.of(column_of(chunks, pa.string()))
    assert len(cells) == len(wanted)
    assert list(cells) == wanted
    assert list(reversed(cells)) == wanted[::-1]
    part = data.draw(st.slices(len(wanted)))
    assert list(cells[part]) == wanted[part]
    if wanted:
        rows = data.draw(st.lists(st.integers(0, len(wanted) - 1), max_size=8))
        taken = cells.take(np.array(rows, dtype=np.intp))
        assert list(taken) == [wanted[row] for row in rows]
        again = data.draw(st.slices(len(rows)))
        assert list(taken[again]) == [wanted[row] for row in rows][again]
        mask = np.array(
            data.draw(st.lists(st.booleans(), min_size=len(wanted), max_size=len(wanted)))
        )
        assert list(cells.take(mask)) == [c for c, on in zip(wanted, mask, strict=True) if on]
        row = data.draw(st.integers(-len(wanted), len(wanted) - 1))
        assert cells[row] == wanted[row]
    for row in (len(wanted), -len(wanted) - 1):
        with pytest.raises(IndexError):
            cells[row]


def test_a_part_of_an_array_is_a_column_too() -> None:
    assert list(ArrowCells.of(pa.array(["a", "b", "c"])[1:])) == ["b", "c"]
    assert list(ArrowCells.of(pa.array(["a", "b", "a"]).dictionary_encode())) == ["a", "b", "a"]
    assert list(ArrowCells.of(pa.chunked_array([], pa.string()))) == []


def test_rows_are_those_of_the_column() -> None:
    cells = ArrowCells.of(pa.array(list("abcdef")))
    assert cells[2:].take(np.array([1, 3])).rows.tolist() == [3, 5]


def test_paths_start_in_the_folder(tmp_path: Path) -> None:
    paths = ["a.png", " b c.png ", "/absolute/d.png", "../e.png", "", " ", None]
    cells = ArrowCells.of(pa.array(paths), tmp_path)
    assert list(cells) == [
        tmp_path / "a.png",
        tmp_path / "b c.png",
        Path("/absolute/d.png"),
        tmp_path / "../e.png",
        "",
        " ",
        None,
    ]
    assert list(cells[:1]) == list(cells.take(np.array([0]))) == [tmp_path / "a.png"]
    assert list(ArrowCells.of(pa.array(paths))) == paths


def test_bytes_stay_bytes_and_images_have_their_path_from_the_folder(tmp_path: Path) -> None:
    assert list(ArrowCells.of(pa.array([b"a.png", None]), tmp_path)) == [b"a.png", None]
    images = [
        {"bytes": b"x", "path": "a.png"},
        {"bytes": None, "path": "b.png"},
        {"bytes": None, "path": None},
        None,
    ]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    assert list(ArrowCells.of(pa.array(images, kind), tmp_path)) == [
        images[0],
        {"bytes": None, "path": str(tmp_path / "b.png")},
        *images[2:],
    ]
    only_path = pa.array([{"path": "b.png"}])
    assert list(ArrowCells.of(only_path, tmp_path)) == [{"path": str(tmp_path / "b.png")}]


def test_a_mapped_file_is_not_read_as_a_whole(tmp_path: Path) -> None:
    """Ten megabytes of cells, of which only those that are asked for come into memory."""
    path = tmp_path / "cells.arrow"
    size, rows = 100_000, 100
    with pa.ipc.new_file(path, pa.schema({"x": pa.binary()})) as writer:
        for row in range(rows):
            writer.write_batch(pa.record_batch({"x": [bytes([row]) * size]}))
    before = pa.total_allocated_bytes()
    column = pa.ipc.open_file(pa.memory_map(str(path))).read_all().column("x")
    cells = ArrowCells.of(column).take(np.arange(0, rows, 2))
    assert cells[30] == bytes([60]) * size
    assert pa.total_allocated_bytes() - before < size
