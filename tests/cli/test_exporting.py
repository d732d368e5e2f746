"""`export` and `import` from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from tests.cli.arguments import COLUMNS, ROWS, SMALL, fails

from latentlabels.cli import main
from latentlabels.data.table import Format, read_table, write_table_atomically
from latentlabels.exports.reading import read_cleaned

TEXTS = ("--table", "texts.parquet", "--input", "text")


@pytest.fixture
def texts(tmp_path: Path, scenes: pa.Table, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The scenes with a text each, in the working directory."""
    monkeypatch.chdir(tmp_path)
    table = scenes.append_column("text", pa.array([f"scene {row}" for row in range(ROWS)]))
    write_table_atomically(table, tmp_path / "texts.parquet", Format.PARQUET)
    return tmp_path


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
def test_a_run_is_exported_to_a_table(
    kind: str, cleaned_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / f"out.{kind}"
    assert main(["export", str(cleaned_run), "--format", kind, "--out", str(out)]) == 0
    assert str(ROWS) in capsys.readouterr().out
    assert read_cleaned(out).labels.proposed == read_cleaned(cleaned_run).labels.proposed
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def test_a_csv_that_apply_left_needs_the_models_folder(
    cleaned_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, model = cleaned_run.parent / "scenes.parquet", cleaned_run / "model"
    again = ["apply", str(table), "--model", str(model), "--format", "csv"]
    assert main([*again, "--out", str(tmp_path / "again"), "--quiet"]) == 0
    arguments = ["export", str(tmp_path / "again"), "--format", "jsonl", "--quiet"]
    arguments += ["--out", str(tmp_path / "out.jsonl")]
    assert "does not say which label" in fails(capsys, arguments)
    assert main([*arguments, "--model", str(model)]) == 0
    assert read_cleaned(tmp_path / "out.jsonl").labels.names == ("cat", "dog", "sky")


def test_rows_left_for_review_alone_go_to_an_annotation_tool(
    cleaned_run: Path, texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ["--model", str(cleaned_run / "model"), "--precision", "0.999"]
    assert main(["apply", "texts.parquet", *model, "--out", "sure", "--quiet"]) == 0
    rows = read_table(texts / "sure" / "cleaned.parquet").to_pylist()
    left = {row["key"]: row for row in rows if row["status"] == "review"}
    assert 0 < len(left) < ROWS
    out = ["--format", "label-studio", "--out", "tasks", "--status", "review"]
    assert main(["export", "sure", *TEXTS, *out]) == 0
    tasks = json.loads((texts / "tasks" / "tasks.json").read_text())
    assert [task["data"]["example_id"] for task in tasks] == list(left)
    for task in tasks:
        key = task["data"]["example_id"]
        assert task["data"]["example"] == f"scene {int(key[1:])}"
        for name in ("status", "review_added", "review_removed"):
            assert task["data"][name] == left[key][name]
    capsys.readouterr()
    arguments = ["export", str(cleaned_run), *TEXTS, *out, "--overwrite"]
    assert "have no status" in fails(capsys, arguments)


def test_what_is_annotated_in_label_studio_is_fitted_on(
    cleaned_run: Path, texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--format", "label-studio", "--out", "tasks"]
    assert main(["export", str(cleaned_run), *TEXTS, *out]) == 0
    tasks: list[dict[str, Any]] = json.loads((texts / "tasks" / "tasks.json").read_text())
    assert tasks[0]["data"]["example"] == "scene 0"
    undecided = [task for task in tasks if not task["annotations"]]
    for task in undecided[:10]:
        task["annotations"] = task["predictions"]
    (texts / "project.json").write_text(json.dumps(tasks))
    arguments = ["import", "project.json", "--table", "texts.parquet", "--id", "key"]
    arguments += ["--clean", "labels", "--out", "decided.parquet"]
    assert main(arguments) == 0
    told = capsys.readouterr().out
    before, after = read_table(texts / "texts.parquet"), read_table(texts / "decided.parquet")
    verified = sum(before.column("verified").to_pylist())
    assert sum(after.column("verified").to_pylist()) == verified + 10
    assert f"{verified + 10}" in told
    cleaned = read_cleaned(cleaned_run)
    decided = {task["data"]["example_id"] for task in undecided[:10]}
    labels = dict(zip(cleaned.ids.column(0).to_pylist(), cleaned.labels.proposed, strict=True))
    for row in after.to_pylist():
        if row["key"] in decided:
            assert row["labels"] == labels[row["key"]]
    fit = ["fit", "decided.parquet", *COLUMNS, "--verified", "verified", "--out", "run", *SMALL]
    assert main(fit) == 0
    metrics = json.loads((texts / "run" / "metrics.json").read_text())
    assert metrics["rows"]["verified"] == verified + 10


def test_an_older_export_is_replaced_when_that_is_said(
    cleaned_run: Path, texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["export", str(cleaned_run), *TEXTS, "--format", "label-studio", "--out", "tasks"]
    assert main([*arguments, "--quiet"]) == 0
    (texts / "tasks" / "of mine").touch()
    assert "Pass --overwrite" in fails(capsys, arguments)
    assert main([*arguments, "--quiet", "--overwrite"]) == 0
    assert {path.name for path in (texts / "tasks").iterdir()} == {"tasks.json", "config.xml"}


def test_a_folder_of_something_else_is_never_replaced(
    cleaned_run: Path, texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (texts / "tasks").mkdir()
    (texts / "tasks" / "mine.txt").touch()
    arguments = ["export", str(cleaned_run), *TEXTS, "--format", "label-studio", "--overwrite"]
    assert "no folder of such results" in fails(capsys, [*arguments, "--out", "tasks"])
    (texts / "out.csv").mkdir()
    arguments = ["export", str(cleaned_run), "--format", "csv", "--out", "out.csv", "--overwrite"]
    assert "no folder of such results" in fails(capsys, arguments)
    assert (texts / "tasks" / "mine.txt").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "csv", "--out", "x.parquet"], "a file that ends in .csv"),
        (["--format", "coco", "--out", "x"], "coco shows images"),
        (["--format", "coco", "--out", "x", *TEXTS], "looks like texts"),
        (["--format", "csv", "--out", "x.csv", "--input", "text"], "--table and --input"),
        (["--format", "csv", "--out", "x.csv", *TEXTS[:3], "verified"], "'verified' of their own"),
        (["--format", "jsonl", "--out", "x.jsonl", *TEXTS[:3], "txet"], "Did you mean 'text'"),
        (["--format", "csv", "--out", "x.csv", *TEXTS, "--folder", "none"], "there is no none"),
        (["--format", "xml", "--out", "x.xml"], "xml"),
    ],
)
def test_an_export_that_cannot_be_is_one_line_and_leaves_nothing(
    arguments: list[str],
    message: str,
    cleaned_run: Path,
    texts: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert message in fails(capsys, ["export", str(cleaned_run), *arguments])
    assert [path.name for path in texts.iterdir()] == ["texts.parquet"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "out.txt"], "ends in .csv"),
        (["--out", "texts.parquet"], "Pass --overwrite"),
        (["--out", "out.csv", "--id", "kee"], "Did you mean 'key'"),
        (["--out", "out.csv", "--clean", "none"], "none that is called 'none'"),
        (["--out", "out.csv", "--clean", "labels"], "on the row 'k000'"),  # ids are row numbers
    ],
)
def test_an_import_that_cannot_be_is_one_line_and_leaves_nothing(
    arguments: list[str],
    message: str,
    texts: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    entry = {"type": "choices", "from_name": "labels", "value": {"choices": ["cat"]}}
    task = {"data": {"example_id": "k000"}, "annotations": [{"result": [entry]}]}
    (texts / "project.json").write_text(json.dumps([task]))
    told = fails(capsys, ["import", "project.json", "--table", "texts.parquet", *arguments])
    assert message in told
    assert {path.name for path in texts.iterdir()} == {"texts.parquet", "project.json"}


def test_disagreement_is_told_of(texts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    decisions = [
        {"result": [{"type": "choices", "from_name": "labels", "value": {"choices": [name]}}]}
        for name in ("cat", "dog")
    ]
    task = {"data": {"example_id": "k001"}, "annotations": decisions}
    (texts / "project.json").write_text(json.dumps([task]))
    arguments = ["import", "project.json", "--table", "texts.parquet", "--id", "key"]
    assert main([*arguments, "--clean", "labels", "--out", "out.parquet"]) == 0
    assert "do not agree on 1 rows, such as 'k001'" in capsys.readouterr().err
    same = pa.parquet.read_table(texts / "out.parquet")
    assert same.equals(read_table(texts / "texts.parquet"))
