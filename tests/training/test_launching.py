"""Processes are started as asked, or joined, or refused in a sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from lightning.fabric import Fabric
from lightning.fabric.utilities.exceptions import MisconfigurationException

from latentlabels.errors import LatentLabelsError
from latentlabels.training.launching import Machines, launch


@pytest.mark.parametrize(
    ("machines", "message"),
    [
        (Machines(devices=0), "devices is a whole number from 1, got 0"),
        (Machines(nodes=-1), "nodes is a whole number from 1, got -1"),
        (Machines(strategy="fsdp"), "strategy is one of auto, ddp"),
    ],
)
def test_machines_that_make_no_sense(machines: Machines, message: str) -> None:
    with pytest.raises(LatentLabelsError, match=message):
        launch(machines)


STARTS_ANOTHER = """
import os, signal, subprocess, sys, time
from latentlabels.training.launching import _ending_together

with _ending_together():
    if sys.argv[1:]:
        print("there", flush=True)
        time.sleep(600)
    with subprocess.Popen([sys.executable, __file__, "other"], stdout=subprocess.PIPE) as other:
        print(other.stdout.readline(), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_ends_with_the_one_that_started_it(tmp_path: Path) -> None:
    """Errors are at their end when both have ended, as both can write some."""
    program = tmp_path / "program.py"
    program.write_text(STARTS_ANOTHER)
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=300)
    assert "there" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("error", [MisconfigurationException, RuntimeError, ValueError])
def test_what_lightning_refuses_is_one_error(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_self: Fabric) -> None:
        raise error("there are not so many")

    monkeypatch.setattr(Fabric, "launch", refuse)
    with pytest.raises(LatentLabelsError, match=r"2 processes on each of 3 .* not so many"):
        launch(Machines(devices=2, nodes=3))
    assert Machines().counts() == (1, 1)


def test_processes_of_torchrun_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    started = {"TORCHELASTIC_RUN_ID": "a", "WORLD_SIZE": "6", "LOCAL_WORLD_SIZE": "3"}
    for name, value in started.items():
        monkeypatch.setenv(name, value)
    assert Machines().counts() == (3, 2)
    assert Machines(devices=3).counts() == (3, 2)
    with pytest.raises(LatentLabelsError, match="3 on each of 1 are asked for"):
        Machines(devices=3, nodes=1).counts()
