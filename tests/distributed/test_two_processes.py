"""Two processes take the steps that one takes, up to the order of sums."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from numpy.testing import assert_allclose
from tests.distributed import fit_together
from tests.distributed.fit_together import FITS

PROGRAM = Path(fit_together.__file__)
ROOT = PROGRAM.parents[2]
# Five chains a row, for a moment, are not much to go by.
pytestmark = pytest.mark.filterwarnings("ignore::latentlabels.sampling.diagnostics.ChainWarning")
# float32 sums in another order, through some forty steps of Adam.
NEARLY = 1e-5
LONGEST = 300
"""Seconds after which processes wait for one another."""

Told = dict[str, Any]


def run(out: Path, *fits: str, start: tuple[str, ...] = ()) -> list[Told]:
    """What each process tells of the fits, started by Python or by what else is named."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONWARNINGS": "ignore",
    }
    command = [sys.executable, *start, str(PROGRAM), str(out), *fits]
    with subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as program:
        try:
            _, errors = program.communicate(timeout=LONGEST)
        except subprocess.TimeoutExpired:
            os.killpg(program.pid, signal.SIGKILL)
            raise
    assert program.returncode == 0, errors
    return [json.loads((out / f"{rank}.json").read_text()) for rank in range(2)]


def assert_same_training(one: Told, other: Told) -> None:
    assert one["best"] == other["best"]
    for before, after in zip(one["history"], other["history"], strict=True):
        # Each process examines chains of its own rows.
        for name in before.keys() - {"r_hat", "effective", "stuck", "weight"}:
            assert before[name] == pytest.approx(after[name], rel=NEARLY), name
    assert one["tensors"].keys() == other["tensors"].keys()
    for name, tensor in one["tensors"].items():
        assert_allclose(tensor, other["tensors"][name], rtol=0, atol=NEARLY, err_msg=name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("together")


@pytest.fixture(scope="module")
def together(folder: Path) -> list[Told]:
    """What each of two processes tells of all fits, one after the other in one program."""
    assert FITS["stopped"](folder) == "StoppedError: "  # for them to go on with
    return run(folder, *FITS)


@cache
def alone(fit: str, folder: Path) -> Told:
    """What this process tells of a fit."""
    told: Told = FITS[fit](folder)
    assert told["processes"] == 1
    return told


def assert_both_fitted(together: list[Told], fit: str, alone: Told) -> None:
    for one in together:
        assert "failed" not in one[fit], one[fit]["failed"]
        assert one[fit]["processes"] == 2
        assert_same_training(one[fit], alone)


@pytest.mark.parametrize("fit", ["exact", "sampled", "taught"])
def test_training_is_the_same(fit: str, together: list[Told], folder: Path) -> None:
    assert ("sweeps" in alone(fit, folder)["history"][-1]) == (fit == "sampled")
    assert_both_fitted(together, fit, alone(fit, folder))


def test_a_later_fit_joins_the_processes_of_the_first(together: list[Told], folder: Path) -> None:
    assert_both_fitted(together, "start", alone("exact", folder))


def test_another_number_of_processes_goes_on_where_one_stopped(
    together: list[Told], folder: Path
) -> None:
    """A checkpoint holds everyone's chains, by row."""
    assert [one["stopped"] for one in together] == ["StoppedError: "] * 2
    assert_both_fitted(together, "resumed", alone("sampled", folder))
    assert_same_training(alone("resumed", folder), alone("sampled", folder))


def test_processes_agree_on_a_seed_that_nobody_gave(together: list[Told]) -> None:
    one, other = (told["unseeded"]["tensors"] for told in together)
    assert one == other


def test_processes_that_torchrun_started_are_joined(tmp_path: Path, folder: Path) -> None:
    start = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    assert_both_fitted(run(tmp_path, "exact", start=start), "exact", alone("exact", folder))


def test_another_number_of_processes_than_there_are_is_refused(together: list[Told]) -> None:
    for one in together:
        for told, asked in zip(one["another_number"], (3, 1), strict=True):
            assert told.startswith("LatentLabelsError: 2 processes on each of 1 machines have")
            assert f"and {asked} on each of 1 are asked for" in told
