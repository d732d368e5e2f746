"""`--learning-curve`: what more verified rows would bring, in the summary and metrics.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from tests.cli.arguments import COLUMNS, SMALL, TRAINING, fails

from latentlabels.cli import main
from latentlabels.errors import LatentLabelsError

QUICK = (*SMALL, "--epochs", "1", "--students", "0")


def test_it_is_told_and_written(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*COLUMNS, "--split", "split", "--learning-curve", "--out", str(tmp_path / "run")]
    assert main(["fit", str(table), *arguments, *QUICK]) == 0
    summary = " ".join(capsys.readouterr().out.split())
    curve = json.loads((tmp_path / "run" / "metrics.json").read_text())["learning_curve"]
    assert curve["rows"] == curve["available"] == TRAINING
    assert curve["sizes"] == [6, 13, 26, 53]
    (now,) = (point for point in curve["expected"] if point["rows"] == TRAINING)
    assert f"map {now['mean']:.1%} ({now['low']:.1%} to {now['high']:.1%}) with 80" in summary


def test_the_model_is_kept_where_a_fit_for_the_curve_fails(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails_late(*_args: Any, **_named: Any) -> None:
        raise LatentLabelsError("It diverged.")

    monkeypatch.setattr("latentlabels.cli.fitting.learning_curve", fails_late)
    arguments = [*COLUMNS, "--split", "split", "--learning-curve", "--out", str(tmp_path / "run")]
    assert main(["fit", str(table), *arguments, *QUICK]) == 0
    assert "warning: there is no learning curve: It diverged." in capsys.readouterr().err
    assert (tmp_path / "run" / "model" / "model.json").is_file()
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["learning_curve"] is None


def test_too_few_verified_rows_end_before_the_fit(
    table: Path, scenes: pa.Table, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*COLUMNS, "--verified", "verified", "--split", "split", "--learning-curve"]
    line = fails(capsys, ["clean", str(table), *arguments, "--out", str(tmp_path / "run"), *QUICK])
    assert "needs 60 verified rows at least, and there are 40" in line
    assert not (tmp_path / "run").exists()
