"""Options in groups: each is asked for, or has the default that its command gives it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from latentlabels.cli import main


def test_the_demo_needs_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(
        "latentlabels.experiments.demo.run_demo", lambda out, seed, _: asked.append((out, seed))
    )
    assert main(["demo"]) == 0
    assert main(["demo", "--out", "here", "--seed", "3"]) == 0
    assert asked == [(None, 0), (Path("here"), 3)]
