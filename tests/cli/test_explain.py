"""`explain`: the reasons for a row's labels, as tables and as JSON."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from tests.cli.arguments import fails

from latentlabels.cli import main

WIDE = 200


def explained(run: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What the command prints."""
    capsys.readouterr()
    table = str(run.parent / "scenes.parquet")
    assert main(["explain", str(run / "model"), table, *arguments]) == 0
    return capsys.readouterr().out


def test_reasons_add_up_to_the_probability_in_the_cleaned_table(
    cleaned_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cleaned = pa.parquet.read_table(cleaned_run / "cleaned.parquet").to_pylist()
    changed = next(row for row in cleaned if row["added"] and not row["verified"])
    name = changed["added"][0]
    told = json.loads(
        explained(cleaned_run, capsys, "--row", changed["key"], "--label", name, "--json")
    )
    assert told["given"] == changed["given"]
    assert told["proposed"] == changed["proposed"]
    assert told["verified"] is False
    (reasons,) = told["reasons"]
    assert (reasons["label"], reasons["against"]) == (name, None)
    assert sum(term["value"] for term in reasons["terms"]) == pytest.approx(reasons["log_odds"])
    share = changed["probabilities"][["cat", "dog", "sky"].index(name)]
    assert 1 / (1 + math.exp(-reasons["log_odds"])) == pytest.approx(share, abs=1e-5)
    first = max(reasons["terms"], key=lambda term: abs(term["value"]))
    named = f"added {name}: {first['name']} {first['value']:+.1f}".replace("-", "−")
    assert changed["reasons"][0].startswith(named)


def test_without_a_label_those_given_or_proposed_are_explained(
    cleaned_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(WIDE))
    cleaned = pa.parquet.read_table(cleaned_run / "cleaned.parquet").to_pylist()
    row = next(row for row in cleaned if len(row["proposed"]) == 2 and row["given"])
    told = explained(cleaned_run, capsys, "--row", row["key"])
    titles = [line.split(":")[0] for line in told.splitlines() if "log-odds" in line]
    assert titles == row["proposed"]
    assert f"given: {', '.join(row['given'])}" in told
    for heading in ("evidence", "model", "auxiliary", "sum", "input", "prior"):
        assert heading in told
    assert f"{row['given'][0]} (given label)" in told
    told = json.loads(explained(cleaned_run, capsys, "--row", row["key"], "--json"))
    assert [reasons["label"] for reasons in told["reasons"]] == row["proposed"]


def test_a_row_or_a_label_that_is_not_there_is_one_error(
    cleaned_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    model, table = str(cleaned_run / "model"), str(cleaned_run.parent / "scenes.parquet")
    command = ["explain", model, table]
    assert "none is 'k011x'. Did you mean 'k011'?" in fails(capsys, [*command, "--row", "k011x"])
    assert "There is no clean label 'cow'. The model knows 'cat', 'dog', 'sky'." in fails(
        capsys, [*command, "--row", "k001", "--label", "cow"]
    )
    twice = tmp_path / "twice.parquet"
    scenes = pa.parquet.read_table(table)
    pa.parquet.write_table(pa.concat_tables([scenes, scenes.slice(3, 1)]), twice)
    assert "--row k003 names 2 rows (rows count from 0: 3, 120)." in fails(
        capsys, ["explain", model, str(twice), "--row", "k003"]
    )
