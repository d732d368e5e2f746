"""`compare` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.arguments import COLUMNS, PROTOCOL, SMALL, fails

from latentlabels.cli import main
from latentlabels.experiments import comparison

Said = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are made in this process, which is faster."""
    monkeypatch.setattr(comparison, "isolated", comparison.measured)


def asked(table: Path, out: Path, *more: str) -> list[str]:
    method = ("--method", "regression", "--method", "cross-entropy")
    return ["compare", str(table), *COLUMNS, *PROTOCOL, *SMALL, "--out", str(out), *method, *more]


def test_a_table_comes_out(table: Path, tmp_path: Path, capsys: Said) -> None:
    out = tmp_path / "comparison"
    assert main(asked(table, out, "--seeds", "2", "--budget", "1", "--method", "latentlabels")) == 0
    said = capsys.readouterr().out
    assert "latentlabels, default, seed 1, setting 1: validation" in said
    facts = json.loads((out / "comparison.json").read_text())
    assert [method["key"] for method in facts["methods"]] == [
        "regression",
        "cross-entropy",
        "latentlabels",
    ]
    # The tags' names are others than the labels'.
    assert "only 0%" in facts["methods"][1]["refused"]
    lines = (out / "comparison.md").read_text().splitlines()
    assert lines[0] == "| method | test | recovery | ECE | Brier | seconds | MB |"
    assert lines[2].startswith("| regression of the labels alone | – | ")
    # A second time everything is there.
    assert main(asked(table, out, "--seeds", "2", "--budget", "1", "--method", "latentlabels")) == 0
    assert "seed" not in capsys.readouterr().out.split("Per cent")[0]


def test_methods_are_listed(capsys: Said) -> None:
    assert main(["compare", "--list-methods"]) == 0
    assert "bootstrap-soft" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--method", "no-such"), "--method names one of"),
        (("--tune", "all"), "frozen backbone"),
    ],
)
def test_mistakes_are_one_line(
    more: tuple[str, ...], message: str, table: Path, tmp_path: Path, capsys: Said
) -> None:
    assert message in fails(capsys, asked(table, tmp_path / "out", *more))
    assert not (tmp_path / "out").exists()
