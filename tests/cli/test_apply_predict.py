"""`apply` and `predict`: a fitted model on another table."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from tests.cli.arguments import ROWS, fails

from latentlabels import RobustClassifier
from latentlabels.cli import main
from latentlabels.data.table import Format, read_table, write_table_atomically


@pytest.fixture
def model(cleaned_run: Path) -> str:
    return str(cleaned_run / "model")


def applied(path: Path, model: str, out: Path, *options: str) -> pa.Table:
    assert main(["apply", str(path), "--model", model, "--out", str(out), *options]) == 0
    return pa.parquet.read_table(out / "cleaned.parquet")


def test_apply_to_the_same_table_gives_the_same_labels(
    tmp_path: Path, table: Path, model: str, cleaned_run: Path
) -> None:
    ours = applied(table, model, tmp_path / "out")
    theirs = pa.parquet.read_table(cleaned_run / "cleaned.parquet").drop_columns(["split"])
    assert ours.equals(theirs, check_metadata=True)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["cleaned.parquet"]


@pytest.mark.parametrize(("command", "stem"), [("apply", "cleaned"), ("predict", "predicted")])
def test_another_format_replaces_the_older_table(
    command: str,
    stem: str,
    tmp_path: Path,
    table: Path,
    model: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    arguments = [command, str(table), "--model", model, "--out", str(out)]
    assert main([*arguments, "--quiet"]) == 0
    again = [*arguments, "--format", "jsonl", "--quiet"]
    assert f"holds {stem}.parquet already" in fails(capsys, again)
    assert main([*again, "--overwrite"]) == 0
    assert [path.name for path in out.iterdir()] == [f"{stem}.jsonl"]


def test_apply_needs_inputs_and_noisy_labels_alone(
    tmp_path: Path, model: str, scenes: pa.Table
) -> None:
    path = tmp_path / "new.jsonl"
    write_table_atomically(scenes.select(["x", "tags"]), path, Format.JSONL)
    ours = applied(path, model, tmp_path / "out")
    assert ours["row"].to_pylist() == list(range(ROWS))
    assert not any(ours["verified"].to_pylist())


def test_apply_reads_no_clean_label_where_it_cannot_tell_which_are_verified(
    tmp_path: Path, model: str, scenes: pa.Table
) -> None:
    path = tmp_path / "new.parquet"
    pa.parquet.write_table(scenes.drop_columns(["labels"]), path)
    assert not any(applied(path, model, tmp_path / "none")["verified"].to_pylist())
    pa.parquet.write_table(scenes.drop_columns(["verified", "split"]), path)
    assert not any(applied(path, model, tmp_path / "one")["verified"].to_pylist())
    told = applied(path, model, tmp_path / "two", "--clean", "labels")
    assert all(told["verified"].to_pylist())
    assert told["proposed"].to_pylist() == scenes["labels"].to_pylist()


def test_apply_takes_other_columns(tmp_path: Path, model: str, scenes: pa.Table) -> None:
    path = tmp_path / "new.parquet"
    names = [*("k", "vector", "words", "genres", "part", "looked at")]
    pa.parquet.write_table(scenes.rename_columns(names), path)
    options = ["--input", "vector", "--noisy", "words", "--clean", "genres", "--id", "k"]
    options += ["--verified", "looked at", "--split", "part"]
    ours = applied(path, model, tmp_path / "out", *options)
    assert ours["k"].to_pylist() == scenes["key"].to_pylist()
    assert ours["verified"].to_pylist() == scenes["verified"].to_pylist()


def test_apply_says_which_tags_it_does_not_know(
    tmp_path: Path, model: str, scenes: pa.Table, capsys: pytest.CaptureFixture[str]
) -> None:
    tags = scenes["tags"].to_pylist()
    tags[3].append("red")
    tags[5] = ["new"]
    path = tmp_path / "new.parquet"
    pa.parquet.write_table(pa.table({"x": scenes["x"], "tags": tags}), path)
    ours = applied(path, model, tmp_path / "out")
    assert "2 noisy labels are not in the model's vocabulary" in capsys.readouterr().err
    assert ours["given"].to_pylist() == tags


def test_a_delimiter_is_remembered(tmp_path: Path, scenes: pa.Table) -> None:
    tags = [" + ".join(row) for row in scenes["tags"].to_pylist()]
    content = scenes.drop_columns(["tags"]).append_column("tags", pa.array(tags))
    path = tmp_path / "scenes.parquet"
    pa.parquet.write_table(content, path)
    fit = ["--input", "x", "--noisy", "tags", "--clean", "labels", "--epochs", "1"]
    fit += ["--delimiter", "+", "--auxiliary", "regression", "--out", str(tmp_path / "run")]
    assert main(["fit", str(path), *fit]) == 0
    model = str(tmp_path / "run" / "model")
    assert applied(path, model, tmp_path / "one")["given"].to_pylist() == [
        [tag.strip() for tag in cell.split("+") if tag] for cell in tags
    ]
    commas = pa.array([cell.replace("+", ",") for cell in tags])
    pa.parquet.write_table(content.drop_columns(["tags"]).append_column("tags", commas), path)
    ours = applied(path, model, tmp_path / "two", "--delimiter", ",")
    assert max(map(len, ours["given"].to_pylist())) > 1


@pytest.mark.parametrize("kind", list(Format))
def test_predict_gives_the_probabilities_of_the_model(
    tmp_path: Path, table: Path, model: str, scenes: pa.Table, kind: Format
) -> None:
    out = tmp_path / "out"
    arguments = ["--model", model, "--out", str(out), "--format", kind.value]
    assert main(["predict", str(table), *arguments]) == 0
    ours = read_table(out / f"predicted.{kind}")
    assert ours.column_names == ["key", "predicted", "probabilities"]
    assert ours["key"].to_pylist() == scenes["key"].to_pylist()
    estimator = RobustClassifier.load(model)
    x = np.array(scenes["x"].to_pylist(), np.float32)
    probabilities, predicted = ours["probabilities"].to_pylist(), ours["predicted"].to_pylist()
    if kind == Format.CSV:
        probabilities, predicted = map(json.loads, probabilities), list(map(json.loads, predicted))
    np.testing.assert_array_equal(
        np.array(list(probabilities), np.float32), estimator.predict_proba(x).astype(np.float32)
    )
    assert predicted == estimator.predict(x)
    if kind == Format.PARQUET:
        metadata = pa.parquet.read_schema(out / "predicted.parquet").metadata
        assert json.loads(metadata[b"latentlabels.clean"]) == ["cat", "dog", "sky"]


def test_predict_takes_other_columns(tmp_path: Path, model: str, scenes: pa.Table) -> None:
    path, out = tmp_path / "new.parquet", tmp_path / "out"
    pa.parquet.write_table(pa.table({"v": scenes["x"], "name": scenes["key"]}), path)
    arguments = ["--model", model, "--out", str(out), "--input", "v", "--id", "name", "--seed", "3"]
    assert main(["predict", str(path), *arguments]) == 0
    ours = pa.parquet.read_table(out / "predicted.parquet")
    assert ours["name"].to_pylist() == scenes["key"].to_pylist()


def test_results_of_several_commands_share_a_folder(
    tmp_path: Path, table: Path, model: str
) -> None:
    out = tmp_path / "out"
    (out / "mine").mkdir(parents=True)
    applied(table, model, out)
    assert main(["predict", str(table), "--model", model, "--out", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        *("cleaned.parquet", "mine", "predicted.parquet")
    ]


def test_a_model_that_does_not_know_its_columns_asks_for_them(
    tmp_path: Path, table: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    saved, out = tmp_path / "model", tmp_path / "out"
    known = RobustClassifier.load(model)
    del known.provenance_["columns"]
    known.save(saved)
    arguments = ["--model", str(saved), "--out", str(out)]
    assert main(["predict", str(table), *arguments]) == 2
    assert "name them with --input" in capsys.readouterr().err
    assert main(["apply", str(table), *arguments]) == 2
    assert "Name them with --noisy" in capsys.readouterr().err
    assert main(["predict", str(table), *arguments, "--input", "x"]) == 0
    ours = applied(table, str(saved), out, "--input", "x", "--noisy", "tags")
    assert not any(ours["verified"].to_pylist())


@pytest.mark.parametrize(
    "change",
    [
        {"input": "x"},
        {"input": [3]},
        {"noisy_forms": [{"kind": "multilabel", "delimiter": 3}]},
        {"noisy_forms": [{"kind": "colour", "delimiter": None}]},
        {"clean_form": 1},
        {"input_kind": "sound"},
        {"id": ["key"]},
        {"verified": 1},
    ],
    ids=str,
)
def test_provenance_that_is_none_is_refused(
    change: dict[str, Any],
    tmp_path: Path,
    table: Path,
    model: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    saved = tmp_path / "model"
    known = RobustClassifier.load(model)
    known.save(saved, provenance={"columns": {**known.provenance_["columns"], **change}})
    arguments = [str(table), "--model", str(saved), "--out", str(tmp_path / "out")]
    for command in ("apply", "predict"):
        line = fails(capsys, [command, *arguments])
        assert "does not describe the columns of fitting" in line
        assert next(iter(change)) in line


@pytest.mark.parametrize("command", ["apply", "predict"])
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.json", None, "has no model.json"),
        ("model.json", b'{"schema": 4', "model.json is damaged: no JSON"),
        ("model.json", b'{"schema": 5}', "Install a newer latentlabels"),
        ("model.json", b'{"schema": 4}', "model.json is damaged: alpha: Field required"),
        ("vocabulary.json", b"\xff\n\x1b[2J", "vocabulary.json is damaged: no JSON"),
        ("model.safetensors", b"PK\x03\x04", "damaged: SafetensorError"),
    ],
)
def test_a_damaged_model_is_one_line(
    command: str,
    name: str,
    content: bytes | None,
    message: str,
    tmp_path: Path,
    table: Path,
    model: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damaged, out = tmp_path / "model", tmp_path / "out"
    shutil.copytree(model, damaged)
    (damaged / name).unlink()
    if content is not None:
        (damaged / name).write_bytes(content)
    line = fails(capsys, [command, str(table), "--model", str(damaged), "--out", str(out)])
    assert message in line
    assert not out.exists()


def test_another_number_of_inputs_is_refused(
    tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "new.csv"
    path.write_text("x\n1 2\n")
    arguments = ["--model", model, "--out", str(tmp_path / "out")]
    assert main(["predict", str(path), *arguments]) == 2
    assert "2 features" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
