"""`latentlabels report`, the report that `clean` leaves, and the comparison in it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from tests.cli.arguments import COLUMNS, PROTOCOL, SMALL
from tests.report.made_runs import Page

from latentlabels.cli import main
from latentlabels.evaluation.comparison import Comparison


@pytest.fixture
def run(tmp_path: Path, cleaned_run: Path) -> Path:
    """A copy of the run, with its table beside it."""
    shutil.copytree(cleaned_run, tmp_path / "run")
    shutil.copy(cleaned_run.parent / "scenes.parquet", tmp_path)
    return tmp_path / "run"


def fails(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that a command ends with."""
    capsys.readouterr()
    assert main(list(arguments)) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    return line


def test_it_is_written_anew(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = run / "report.html"
    before = path.read_bytes()
    assert "Pass --overwrite" in fails(capsys, "report", str(run))
    path.write_text("older")
    assert main(["report", str(run), "--overwrite"]) == 0
    assert "report.html holds the report" in capsys.readouterr().out.replace("\n", "")
    assert path.read_bytes() == before


def test_what_is_shown_and_where_it_goes(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "other.html"
    asked = ["--show", "key", "--title", "Scenes & more", "--out", str(out), "--quiet"]
    assert main(["report", str(run), *asked]) == 0
    page = Page(out.read_text())
    assert "Scenes & more" in page.text
    assert any(text.startswith("k0") for text in page.texts)


def test_a_run_of_apply(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, model, out = tmp_path / "scenes.parquet", run / "model", tmp_path / "again"
    assert main(["apply", str(table), "--model", str(model), "--out", str(out)]) == 0
    table.rename(tmp_path / "elsewhere.parquet")
    asked = ["report", str(out), "--model", str(model)]
    assert "--table" in fails(capsys, *asked)
    (tmp_path / "elsewhere.parquet").rename(table)
    assert main(asked) == 0
    shutil.move(model, tmp_path / "model")
    asked = ["report", str(out), "--model", str(tmp_path / "model"), "--table", str(table)]
    assert main([*asked, "--overwrite"]) == 0
    told = Page((out / "report.html").read_text()).text
    assert "there is no metrics.json beside the model" in told


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("cleaned.parquet", "no table cleaned.parquet"),
        ("model", "model"),
        ("../scenes.parquet", "--table"),
        ("metrics.json", "metrics.json is damaged"),
    ],
)
def test_what_is_missing_or_damaged_is_named(
    run: Path, broken: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run / broken
    if broken == "metrics.json":
        path.write_text("[")
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    (run / "report.html").unlink()
    assert said in fails(capsys, "report", str(run))
    assert not (run / "report.html").exists()


def test_a_csv_run_has_the_same_report(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "csv"
    table = tmp_path / "scenes.parquet"
    asked = [*COLUMNS, *PROTOCOL, "--out", str(out), *SMALL, "--format", "csv", "--quiet"]
    assert main(["clean", str(table), *asked]) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "cleaned.csv",
        "metrics.json",
        "model",
        "reliability.png",
        "report.html",
    ]
    one, other = (Page((folder / "report.html").read_text()) for folder in (out, run))
    assert [tag for tag in one.tags if tag == "article"] == [
        t for t in other.tags if t == "article"
    ]


def test_no_report_costs_no_run(
    table: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise KeyError("a mistake of ours")

    monkeypatch.setattr("latentlabels.cli.app.report_on", refused)
    out = tmp_path / "out"
    arguments = [*COLUMNS, *PROTOCOL, "--out", str(out), *SMALL]
    assert main(["clean", str(table), *arguments]) == 0
    said = capsys.readouterr()
    assert "warning: There is no report: 'a mistake of ours'" in said.err
    assert (out / "cleaned.parquet").is_file()
    assert "report.html" not in said.out


@pytest.mark.parametrize(
    ("place", "failure", "said"),
    [
        ("fit_alone", RuntimeError("out of memory"), "it failed (RuntimeError: out of memory)"),
        ("compare", KeyError("a mistake of ours"), "it failed (KeyError: 'a mistake of ours')"),
        ("compare", None, "no label to score"),
    ],
)
def test_no_comparison_costs_no_run(
    place: str,
    failure: Exception | None,
    said: str,
    table: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_: object, **__: object) -> Comparison:
        if failure is not None:
            raise failure
        return Comparison(20, "map", np.nan, np.nan, np.nan, np.nan)

    monkeypatch.setattr(f"latentlabels.cli.alone.{place}", fails)
    out = tmp_path / "out"
    assert main(["clean", str(table), *COLUMNS, *PROTOCOL, "--out", str(out), *SMALL]) == 0
    assert said in comparison(out)["why_not"]
    assert "There is no comparison" in Page((out / "report.html").read_text()).text


def test_no_networks_are_trained_on_many_rows_to_compare(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("latentlabels.cli.alone.MOST_TRAINING", 50)
    out = tmp_path / "out"
    assert main(["clean", str(table), *COLUMNS, *PROTOCOL, "--out", str(out), *SMALL]) == 0
    assert comparison(out) == {"why_not": "it takes long with more than 50 training rows"}


def comparison(folder: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((folder / "metrics.json").read_text())["comparison"]
    return told


def test_the_comparison_is_on_test_rows(cleaned_run: Path) -> None:
    told, metrics = comparison(cleaned_run), json.loads((cleaned_run / "metrics.json").read_text())
    assert (told["rows_of"], told["rows"], told["measure"]) == ("test", 20, "map")
    assert told["model"] == pytest.approx(metrics["test"]["map"])
    assert told["low"] < told["model"] - told["verified_only"] < told["high"]


def test_what_it_is_compared_with_reads_verified_rows_alone(
    table: Path, tmp_path: Path, cleaned_run: Path
) -> None:
    """Other noisy labels, and other clean ones of training rows that may not be read."""
    scenes = pa.parquet.read_table(table)
    labels, tags = scenes["labels"].to_pylist(), scenes["tags"].to_pylist()
    hidden = ~scenes["verified"].to_numpy() & (np.array(scenes["split"].to_pylist()) == "train")
    for row in np.flatnonzero(hidden):
        labels[row], tags[row] = labels[row - 1], tags[row - 1]
    for name, cells in (("labels", labels), ("tags", tags)):
        scenes = scenes.set_column(scenes.column_names.index(name), name, pa.array(cells))
    pa.parquet.write_table(scenes, table)
    out = tmp_path / "run"
    arguments = [*COLUMNS, *PROTOCOL, "--out", str(out), *SMALL, "--quiet"]
    assert main(["fit", str(table), *arguments]) == 0
    assert comparison(out)["verified_only"] == comparison(cleaned_run)["verified_only"]
    assert comparison(out)["model"] != comparison(cleaned_run)["model"]
    assert not (out / "report.html").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--noisy", "tags", "--clean", "labels"], "all training rows are verified"),
        (["--noisy", "tags", "--clean", "labels", "--verified", "few"], "fewer than 20 held-out"),
    ],
)
def test_why_there_is_none(table: Path, tmp_path: Path, options: list[str], said: str) -> None:
    scenes = pa.parquet.read_table(table)
    few = np.arange(scenes.num_rows) < 30
    pa.parquet.write_table(scenes.append_column("few", [few]), table)
    out = tmp_path / "run"
    arguments = ["--input", "x", *options, "--out", str(out), *SMALL, "--quiet"]
    assert main(["fit", str(table), *arguments]) == 0
    assert said in comparison(out)["why_not"]
