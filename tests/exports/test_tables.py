"""CSV, Parquet and JSON Lines: what comes back is what went out."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from tests.exports.cleaned import (
    IDS,
    ODD,
    left_for_review,
    one,
    same,
    several,
    with_pictures,
    with_texts,
)

from latentlabels.cleaning import Status
from latentlabels.data.table import Format, write_table_atomically
from latentlabels.errors import LatentLabelsError, TableError
from latentlabels.exports.formats import ExportFormat, export
from latentlabels.exports.reading import read_cleaned, read_examples
from latentlabels.exports.rows import CleanedRows
from latentlabels.results import cleaned_table

KINDS = [ExportFormat.CSV, ExportFormat.PARQUET, ExportFormat.JSONL]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("make", [one, several])
@pytest.mark.parametrize("ids", IDS)
def test_a_table_comes_back_as_it_went_out(
    kind: ExportFormat, make: Callable[..., CleanedRows], ids: str, tmp_path: Path
) -> None:
    rows = make(IDS[ids])
    out = tmp_path / f"out.{kind}"
    export(rows, kind, out)
    same(read_cleaned(out), rows)
    again = tmp_path / f"again.{kind}"
    export(read_cleaned(out), kind, again)
    assert again.read_bytes() == out.read_bytes()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("make", [one, several])
def test_what_is_left_for_review_comes_back(
    kind: ExportFormat, make: Callable[..., CleanedRows], tmp_path: Path
) -> None:
    rows = left_for_review(make())
    out = tmp_path / f"out.{kind}"
    export(rows, kind, out)
    same(read_cleaned(out), rows)
    some = read_cleaned(out, status=Status.REVIEW)
    assert some.ids.column(0).to_pylist() == [rows.ids.column(0)[row].as_py() for row in (0, 4)]
    assert some.labels.given == [rows.labels.given[row] for row in (0, 4)]
    export(some, kind, tmp_path / f"some.{kind}")
    same(read_cleaned(tmp_path / f"some.{kind}"), some)


def test_rows_without_the_status_are_told_of(tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    export(several(), ExportFormat.PARQUET, path)
    with pytest.raises(TableError, match=r"have no status: .* with --precision"):
        read_cleaned(path, status=Status.REVIEW)
    rows = left_for_review(several())
    assert rows.told is not None
    told = rows.told.set_column(1, "status", pa.array(["kept"] * 5))
    export(replace(rows, told=told), ExportFormat.PARQUET, path, overwrite=True)
    with pytest.raises(TableError, match=r"None of the 5 rows of .* is review"):
        read_cleaned(path, status=Status.REVIEW)
    told = rows.told.set_column(1, "status", pa.array(["x"] * 5))
    export(replace(rows, told=told), ExportFormat.PARQUET, path, overwrite=True)
    with pytest.raises(TableError, match="something else than kept, accepted, review"):
        read_cleaned(path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_of_clean_and_its_export_say_the_same(kind: ExportFormat, tmp_path: Path) -> None:
    rows = several()
    path = tmp_path / "cleaned.parquet"
    write_table_atomically(cleaned_table(rows.ids, rows.labels), path, Format.PARQUET)
    read = read_cleaned(tmp_path)
    same(read, rows)
    export(read, kind, tmp_path / f"out.{kind}")
    same(read_cleaned(tmp_path / f"out.{kind}"), rows)


def test_a_csv_is_read_by_others(tmp_path: Path) -> None:
    rows = with_texts(several())
    out = tmp_path / "out.csv"
    export(rows, ExportFormat.CSV, out)
    with out.open(encoding="utf-8", newline="") as file:
        read = list(csv.DictReader(file))
    assert [json.loads(row["proposed"]) for row in read] == rows.labels.proposed
    told = json.loads(read[0]["probabilities"])
    assert list(told) == list(ODD)
    assert np.array_equal(np.array(list(told.values()), np.float32), rows.labels.probabilities[0])
    assert read[3]["probabilities"] == ""
    assert [row["text"] for row in read][:2] == ["<script>alert(2)</script>", "'=2+2"]


def test_no_cell_of_a_csv_begins_like_a_formula(tmp_path: Path) -> None:
    rows = with_texts(several(["=1+1", "+1", "-1", "@x", "\tx"]))
    out = tmp_path / "out.csv"
    export(rows, ExportFormat.CSV, out)
    with out.open(encoding="utf-8", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not any(cell.startswith(tuple("=+-@\t\r\n")) for cell in cells)
    back = read_cleaned(out)
    assert back.labels.proposed == rows.labels.proposed
    assert back.ids.column(0).to_pylist()[0] == "'=1+1"


def test_parquet_and_json_lines_are_read_by_pandas(tmp_path: Path) -> None:
    rows = one()
    for kind in (ExportFormat.PARQUET, ExportFormat.JSONL):
        export(rows, kind, tmp_path / f"out.{kind}")
    frames = [
        pd.read_parquet(tmp_path / "out.parquet"),
        pd.read_json(tmp_path / "out.jsonl", lines=True),
    ]
    for frame in frames:
        assert frame["key"].tolist() == IDS["numbers"]
        assert [list(cell) for cell in frame["proposed"]] == rows.labels.proposed
        for cell, row in zip(frame["probabilities"], rows.labels.probabilities, strict=True):
            assert list(cell) == list(ODD)
            assert np.array_equal(np.array(list(cell.values()), np.float32), row)


def test_examples_of_a_table_are_the_last_column(tmp_path: Path) -> None:
    rows = with_pictures(several(), tmp_path)
    assert rows.examples is not None
    export(rows, ExportFormat.PARQUET, tmp_path / "out.parquet")
    read = pa.parquet.read_table(tmp_path / "out.parquet")
    assert read.column("image").to_pylist() == rows.examples.column.to_pylist()
    with pytest.raises(TableError, match="holds bytes, and a CSV file holds text"):
        export(rows, ExportFormat.CSV, tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_examples_are_found_by_the_names_of_their_rows(tmp_path: Path) -> None:
    rows = several(["c", "a", "b", "d", "e"])
    table = {"key": ["a", "b", "c", "d", "e", "f"], "text": [f"of {name}" for name in "abcdef"]}
    path = tmp_path / "table.jsonl"
    write_table_atomically(pa.table(table), path, Format.JSONL)
    found = read_examples(rows, path, "text")
    assert found.column.to_pylist() == ["of c", "of a", "of b", "of d", "of e"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"name": ["a"], "text": ["x y"]}, "named by 'key', a column that"),
        ({"key": ["a"], "text": ["x y"]}, "No row of .* has 'c' in column 'key'"),
        ({"key": ["c", "c"], "text": ["x y", "z z"]}, "names that several rows share"),
        ({"key": ["c"], "words": ["x y"]}, "no column 'text'"),
    ],
)
def test_the_table_has_to_be_the_one_that_was_cleaned(
    table: dict[str, list[str]], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "table.parquet"
    write_table_atomically(pa.table(table), path, Format.PARQUET)
    with pytest.raises(TableError, match=message):
        read_examples(several(["c", "a", "b", "d", "e"]), path, "text")


def damaged(change: Callable[[dict[str, Any]], None], path: Path) -> Path:
    rows = several()
    export(rows, ExportFormat.JSONL, path)
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    change(lines[0])
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda row: row.update(proposed=["unknown"]), "proposes 'unknown'"),
        (lambda row: row["probabilities"].pop("🦊"), "10 numbers from 0 to 1"),
        (lambda row: row["probabilities"].update({"🦊": 1.5}), "numbers from 0 to 1"),
        (lambda row: row["probabilities"].update({"🦊": "x"}), "more than one kind of value"),
    ],
)
def test_a_damaged_table_is_told_of(
    change: Callable[[dict[str, Any]], None], message: str, tmp_path: Path
) -> None:
    with pytest.raises(LatentLabelsError, match=message):
        read_cleaned(damaged(change, tmp_path / "table.jsonl"))


def test_a_csv_of_clean_needs_the_order_of_the_labels(tmp_path: Path) -> None:
    rows = several()
    write_table_atomically(
        cleaned_table(rows.ids, rows.labels), tmp_path / "cleaned.csv", Format.CSV
    )
    with pytest.raises(TableError, match=r"does not say which label .* --model"):
        read_cleaned(tmp_path)
    (tmp_path / "model").mkdir()
    vocabulary = json.dumps({"clean": list(ODD), "noisy": []})
    (tmp_path / "model" / "vocabulary.json").write_text(vocabulary, encoding="utf-8")
    same(read_cleaned(tmp_path), rows)


def test_a_table_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cleaned.parquet"
    write_table_atomically(pa.table({"id": [1], "given": [["a"]]}), path, Format.PARQUET)
    with pytest.raises(TableError, match="lacks proposed, added, removed, verified"):
        read_cleaned(tmp_path)
    path.rename(tmp_path / "other.parquet")
    with pytest.raises(TableError, match=r"holds no table cleaned\.parquet"):
        read_cleaned(tmp_path)
