"""A command that is killed at a few random moments and resumed leaves what it would have left."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "killed.py"


@pytest.mark.slow
def test_killed_and_resumed_a_command_leaves_the_same(tmp_path: Path) -> None:
    """Four moments; `python benchmarks/killed.py` takes thirty."""
    small = ("--moments", "4", "--rows", "512", "--epochs", "2")
    done = subprocess.run(
        [sys.executable, str(BENCHMARK), *small],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    name, moments, differ = done.stdout.splitlines()[-1].split()
    assert (name, int(differ)) == ("all", 0)
    assert int(moments) >= 4
    assert not list(tmp_path.iterdir())
