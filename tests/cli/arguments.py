"""The table of the tests in numbers, and the arguments that commands are given for it."""

from __future__ import annotations

import pytest

from latentlabels.cli import main

ROWS = 120
TRAINING, VALIDATION = 80, 100
WORDS = {"cat": "kitty", "dog": "puppy", "sky": "blue"}
# A model that is trained within a second or two.
SMALL = (
    *("--epochs", "2", "--chains", "5", "--sweeps", "5", "--hidden-layers", "8"),
    *("--auxiliary", "regression", "--students", "1"),
)
COLUMNS = ("--input", "x", "--noisy", "tags", "--clean", "labels")
PROTOCOL = ("--verified", "verified", "--split", "split", "--id", "key")


def fails(said: pytest.CaptureFixture[str], arguments: list[str], code: int = 2) -> str:
    """Run a command that fails, and give back its one line."""
    assert main(arguments) == code
    captured = said.readouterr()
    assert captured.out == ""
    line = captured.err.removesuffix("\n")
    assert "\n" not in line
    assert line.startswith("latentlabels: ")
    return line.removeprefix("latentlabels: ")
