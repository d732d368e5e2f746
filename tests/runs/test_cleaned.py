"""Cleaned tables are read alike, whatever kind of file holds them."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from tests.exports.cleaned import ODD, one, several
from tests.review.conftest import NAMES, texts, write_run
from tests.small_shards import in_shards

from latentlabels.data.labels import LabelSpace, Vocabulary
from latentlabels.data.table import Format, write_table_atomically
from latentlabels.errors import TableError
from latentlabels.exports.formats import ExportFormat, export
from latentlabels.exports.reading import read_cleaned, read_examples
from latentlabels.provenance import of_table
from latentlabels.results import cleaned_table
from latentlabels.runs.cleaned import Source, open_cleaned


@pytest.mark.parametrize("kind", Format)
def test_every_file_of_a_run_reads_the_same(kind: Format, tmp_path: Path) -> None:
    rows = several()
    wanted = cleaned_table(rows.ids, rows.labels)
    write_table_atomically(wanted, tmp_path / f"cleaned.{kind}", kind)
    read = open_cleaned(tmp_path)
    binary = kind in (Format.PARQUET, Format.ARROW)
    assert read.path == tmp_path / f"cleaned.{kind}"
    assert read.names == (ODD if binary else None), "text has no metadata"
    assert read.ids.column_names == ["key"]
    for name in ("given", "proposed", "added", "removed", "verified", "probabilities"):
        column = read.columns.column(name)
        assert column.type == wanted.column(name).type
        assert column.to_pylist() == wanted.column(name).to_pylist(), name


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_an_export_names_its_labels(kind: str, tmp_path: Path) -> None:
    rows = one()
    path = tmp_path / f"out.{kind}"
    export(rows, ExportFormat(kind), path)
    read = open_cleaned(path)
    assert read.names == ODD
    wanted = cleaned_table(rows.ids, rows.labels).column("probabilities")
    assert read.columns.column("probabilities").to_pylist() == wanted.to_pylist()


@pytest.mark.parametrize(
    "cell", ["[0.5, 2]", "[0.5]", "[0.5, null]", '["a", "b"]', "5", "{", "[[1]]"]
)
def test_probabilities_that_are_none_are_told_of(cell: str, tmp_path: Path) -> None:
    lines = [f'k{row},[],[],[],[],false,"{text}"' for row, text in enumerate(("[0.5, 1]", cell))]
    lines = [line.replace('"a"', '""a""').replace('"b"', '""b""') for line in lines]
    header = "key,given,proposed,added,removed,verified,probabilities"
    (tmp_path / "cleaned.csv").write_text("\n".join([header, *lines]), encoding="utf-8")
    with pytest.raises(TableError, match=r"should hold (2 )?numbers from 0 to 1"):
        open_cleaned(tmp_path)


def test_of_two_tables_in_a_folder_none_is_guessed(tmp_path: Path) -> None:
    rows = one()
    for kind in (Format.CSV, Format.PARQUET):
        table = cleaned_table(rows.ids, rows.labels)
        write_table_atomically(table, tmp_path / f"cleaned.{kind}", kind)
    with pytest.raises(TableError, match=r"holds cleaned\.csv and cleaned\.parquet\. Leave one"):
        open_cleaned(tmp_path)
    assert open_cleaned(tmp_path / "cleaned.parquet").names == ODD


@pytest.mark.parametrize(("told", "others"), [(None, ["cat"]), ('["dog", "cat"]', ["cat", "dog"])])
def test_a_review_wants_the_model_that_cleaned(
    told: str | None, others: list[str], tmp_path: Path
) -> None:
    run = write_run(tmp_path, texts(2), [[], []], [[0.9, 0.1]] * 2, names=["cat", "dog"])
    if told is not None:
        path = run.folder / "cleaned.parquet"
        table = pa.parquet.read_table(path).replace_schema_metadata({"latentlabels.clean": told})
        pa.parquet.write_table(table, path)
    space = LabelSpace(("",), (Vocabulary(tuple(others), exclusive=False),))
    with pytest.raises(TableError, match="Name the model that cleaned it with --model"):
        replace(run, space=space).opened()


def test_a_run_in_shards_is_read_as_one_table(tmp_path: Path) -> None:
    """By a review and by exports; they may be given the folder of shards itself."""
    p = [[0.9, 0.1, 0.2, 0.3]] * 5
    run = write_run(tmp_path, texts(5), [["cat"], ["dog"], [], [], []], p)
    whole, path = run.opened().cleaned, run.folder / "cleaned.parquet"
    table = pa.parquet.read_table(path)
    table = table.replace_schema_metadata({"latentlabels.clean": json.dumps(NAMES)})
    path.unlink()
    in_shards(table, path, 2)
    assert run.opened().cleaned.equals(whole)
    for place in (run.folder, path):
        assert read_cleaned(place).labels.proposed == [["cat"]] * 5


def test_a_table_says_what_was_cleaned_and_whether_labels_exclude_each_other(
    tmp_path: Path,
) -> None:
    told = Source("fotos ü.parquet", "0" * 64, 5)
    source = asdict(told)
    for rows, exclusive in ((one(), True), (several(), False)):
        for kind in (Format.PARQUET, Format.ARROW):
            path = tmp_path / f"{exclusive}.{kind}"
            write_table_atomically(cleaned_table(rows.ids, rows.labels, source), path, kind)
            read = open_cleaned(path)
            assert (read.exclusive, read.source) == (exclusive, told)
            out = tmp_path / f"{exclusive} out of {kind}.parquet"
            export(read_cleaned(path), ExportFormat.PARQUET, out)
            again = open_cleaned(out)
            assert (again.exclusive, again.source) == (exclusive, told)
        path = tmp_path / f"{exclusive}.jsonl"
        write_table_atomically(cleaned_table(rows.ids, rows.labels, source), path, Format.JSONL)
        read = open_cleaned(path)
        assert (read.exclusive, read.source) == (None, None), "text has no metadata"


def test_a_class_stays_one_where_a_row_has_none(tmp_path: Path) -> None:
    """What is left for review keeps a given class, which the clean vocabulary need not have."""
    rows = one()
    rows.labels.proposed[0] = []
    path = tmp_path / "cleaned.parquet"
    write_table_atomically(cleaned_table(rows.ids, rows.labels), path, Format.PARQUET)
    read = read_cleaned(path)
    assert read.exclusive
    assert read.labels.proposed[0] == []
    assert read.confidence()[0] == 0, "the least certain of all"
    assert read.confidence()[1] == 1


@pytest.mark.parametrize("key", ["latentlabels.clean", "latentlabels.kind", "latentlabels.table"])
@pytest.mark.parametrize("told", ["{", '{"table": 5}', "7"])
def test_metadata_that_are_none_are_told_of(key: str, told: str, tmp_path: Path) -> None:
    rows = one()
    table = cleaned_table(rows.ids, rows.labels)
    table = table.replace_schema_metadata({**table.schema.metadata, key.encode(): told})
    write_table_atomically(table, tmp_path / "cleaned.parquet", Format.PARQUET)
    with pytest.raises(TableError, match=f"metadata {key} that cannot be read"):
        open_cleaned(tmp_path)


def test_a_table_that_was_changed_is_not_the_one_that_was_cleaned(tmp_path: Path) -> None:
    """A review asks always, an export where rows have no names but their numbers."""
    p = [[0.9, 0.1, 0.2, 0.3]] * 5
    run = write_run(tmp_path, texts(5), [["cat"], ["dog"], [], [], []], p, ids=None)
    path, source = run.folder / "cleaned.parquet", tmp_path / "table.parquet"
    told = json.dumps(of_table(source, 5))
    table = pa.parquet.read_table(path)
    told_of = {"latentlabels.table": told, "latentlabels.clean": json.dumps(NAMES)}
    pa.parquet.write_table(table.replace_schema_metadata(told_of), path)
    assert run.opened().subject.sha256 == json.loads(told)["sha256"]
    rows = read_cleaned(path)
    assert read_examples(rows, source, "text").column.to_pylist() == texts(5)["text"].to_pylist()
    pa.parquet.write_table(texts(5).take([1, 0, 2, 3, 4]), source)
    with pytest.raises(TableError, match="its content is not that of"):
        run.opened()
    with pytest.raises(TableError, match="its content is not that of"):
        read_examples(rows, source, "text")
    named = replace(rows, ids=texts(5).select(["key"]))
    assert read_examples(named, source, "text").column.to_pylist() == texts(5)["text"].to_pylist()
