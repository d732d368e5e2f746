"""Options in groups: each is asked for, or has the default that its command gives it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.cli.arguments import COLUMNS, PROTOCOL, SMALL

from latentlabels import __version__
from latentlabels.cli import main
from latentlabels.parameters import PAPER


def test_the_demo_needs_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(
        "latentlabels.experiments.demo.run_demo", lambda out, seed, _: asked.append((out, seed))
    )
    assert main(["demo"]) == 0
    assert main(["demo", "--out", "here", "--seed", "3"]) == 0
    assert asked == [(None, 0), (Path("here"), 3)]


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"latentlabels {__version__}\n"


def test_the_papers_preset_leaves_what_was_asked_for(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    asked = ["fit", str(table), *COLUMNS, *PROTOCOL, *SMALL, "--out", str(out)]
    assert main([*asked, "--preset", "paper", "--alpha-end", "3"]) == 0
    settings = json.loads((out / "metrics.json").read_text())["settings"]
    given = {"alpha_end": 3.0, "auxiliary": "regression", "students": 1}
    assert {name: settings[name] for name in PAPER} == {**PAPER, **given}
