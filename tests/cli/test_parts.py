"""Tables that are gone through a part at a time: the same results, and messages of the whole."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from tests.cli.arguments import COLUMNS, PROTOCOL, SMALL, fails
from tests.small_shards import in_shards

from latentlabels.cli import app, main
from latentlabels.data import parts
from latentlabels.data.shards import MANIFEST
from latentlabels.data.table import FORMATS, Format, read_table, write_table_atomically
from latentlabels.store import read_description

TIMES = 6
PART = 512  # the batch in which a model goes through vectors


def test_a_table_in_shards_is_fitted_on_and_found_again(
    tmp_path: Path, scenes: pa.Table, cleaned_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shards = in_shards(scenes, tmp_path / "scenes.parquet", 3)
    out = tmp_path / "run"
    assert main(["clean", str(shards), *COLUMNS, *PROTOCOL, "--out", str(out), *SMALL]) == 0
    told, whole = (read_description(run / "model").provenance for run in (out, cleaned_run))
    assert told["table"] == whole["table"]
    assert told["sha256"] == sha256((shards / MANIFEST).read_bytes()).hexdigest()
    columns = [read_table(run / "cleaned.parquet")["proposed"] for run in (out, cleaned_run)]
    assert columns[0].equals(columns[1])
    shown = ["review", str(out), "--no-browser", "--show", "nothing"]
    capsys.readouterr()
    assert "no column 'nothing'" in fails(capsys, shown), "the table was found, and read"


@pytest.fixture
def model(cleaned_run: Path) -> str:
    return str(cleaned_run / "model")


@pytest.fixture(scope="module")
def longer(scenes: pa.Table) -> pa.Table:
    """More rows than a part has, with tags that differ from one part to the next."""
    table = pa.concat_tables([scenes] * TIMES)
    tags = [[*cell, f"tag{row // PART}"] for row, cell in enumerate(table["tags"].to_pylist())]
    keys = [f"row {row}" for row in range(len(table))]
    table = table.set_column(table.column_names.index("tags"), "tags", [tags])
    return table.set_column(table.column_names.index("key"), "key", [keys])


def results(table: pa.Table, model: str, out: Path, kind: Format = Format.PARQUET) -> list[bytes]:
    """What `apply` and `predict` write."""
    path = out / f"table.{kind}"
    out.mkdir()
    write_table_atomically(table, path, kind)
    arguments = ["--model", model, "--out", str(out), "--format", str(kind), "--id", "key"]
    assert main(["apply", str(path), *arguments]) == 0
    assert main(["predict", str(path), *arguments]) == 0
    return [(out / f"{name}.{kind}").read_bytes() for name in ("cleaned", "predicted")]


def test_parts_give_the_results_of_the_whole(
    tmp_path: Path,
    longer: pa.Table,
    model: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert len(longer) > PART
    results(longer, model, tmp_path / "whole")
    said = capsys.readouterr().err
    monkeypatch.setattr(parts, "PART_ROWS", PART)
    results(longer, model, tmp_path / "parts")
    assert capsys.readouterr().err == said
    assert "2 noisy labels are not in the model's vocabulary" in said
    for name in ("cleaned.parquet", "predicted.parquet"):
        one, other = (read_table(tmp_path / where / name) for where in ("whole", "parts"))
        assert one.equals(other, check_metadata=True)
        assert len(one) == len(longer)
    assert pa.parquet.ParquetFile(tmp_path / "parts" / "cleaned.parquet").num_row_groups == 2


@pytest.mark.parametrize("kind", [Format.CSV, Format.JSONL, Format.ARROW])
def test_so_they_do_in_every_format(
    tmp_path: Path, longer: pa.Table, model: str, monkeypatch: pytest.MonkeyPatch, kind: Format
) -> None:
    assert FORMATS[f".{kind}"] == kind
    whole = results(longer, model, tmp_path / "whole", kind)
    monkeypatch.setattr(parts, "PART_ROWS", PART)
    divided = results(longer, model, tmp_path / "parts", kind)
    if kind == Format.ARROW:  # as many batches as parts
        for name in ("cleaned.arrow", "predicted.arrow"):
            one, other = (read_table(tmp_path / where / name) for where in ("whole", "parts"))
            assert one.equals(other)
    else:
        assert divided == whole


def test_row_numbers_go_on_where_there_are_no_names(
    tmp_path: Path, longer: pa.Table, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "PART_ROWS", PART)
    path = tmp_path / "table.parquet"
    pa.parquet.write_table(longer.select(["x"]), path)
    assert main(["predict", str(path), "--model", model, "--out", str(tmp_path / "out")]) == 0
    rows = read_table(tmp_path / "out" / "predicted.parquet")["row"].to_pylist()
    assert rows == list(range(len(longer)))


def test_a_mistake_in_a_later_part_is_told_with_its_row_and_nothing_is_left(
    tmp_path: Path,
    longer: pa.Table,
    model: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(parts, "PART_ROWS", PART)
    x = longer["x"].to_pylist()
    x[PART + 7] = [1.0, np.nan, 2.0]
    path = tmp_path / "table.parquet"
    place = longer.column_names.index("x")
    pa.parquet.write_table(longer.set_column(place, "x", pa.array(x)), path)
    for command in ("apply", "predict"):
        arguments = [command, str(path), "--model", model, "--out", str(tmp_path / "out")]
        assert f"Row {PART + 7} of input column 'x' is nan" in fails(capsys, arguments)
    assert [left.name for left in tmp_path.iterdir()] == ["table.parquet"]


def test_clean_in_parts_writes_the_same(
    tmp_path: Path, scenes: pa.Table, cleaned_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts as small as this are no whole batches, so that sums may differ in their last bits."""
    monkeypatch.setattr(parts, "PART_ROWS", 50)
    monkeypatch.setattr(app, "PART_ROWS", 50)
    path = tmp_path / "scenes.parquet"
    pa.parquet.write_table(scenes, path)
    out = tmp_path / "run"
    assert main(["clean", str(path), *COLUMNS, *PROTOCOL, "--out", str(out), *SMALL]) == 0
    ours, whole = (read_table(folder / "cleaned.parquet") for folder in (out, cleaned_run))
    for name in ("key", "given", "proposed", "added", "removed", "verified"):
        assert ours[name].equals(whole[name])
    np.testing.assert_allclose(
        np.array(ours["probabilities"].to_pylist()),
        np.array(whole["probabilities"].to_pylist()),
        atol=1e-6,
    )
    tensors, metrics = "model.safetensors", "metrics.json"
    assert (out / "model" / tensors).read_bytes() == (cleaned_run / "model" / tensors).read_bytes()
    assert (out / metrics).read_text() == (cleaned_run / metrics).read_text()
