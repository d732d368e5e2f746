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
from tests.distributed.conftest import Once
from tests.distributed.fit_together import FITS

PROGRAM = Path(fit_together.__file__)
ROOT = PROGRAM.parents[2]
# Five chains a row, for a moment, are not much to go by.
pytestmark = pytest.mark.filterwarnings("ignore::latentlabels.sampling.diagnostics.ChainWarning")
# float32 sums in another order, through some forty steps of Adam.
NEARLY = 1e-5
LONGEST = 900
"""Seconds after which processes wait for one another."""

Told = dict[str, Any]


def run(out: Path, *fits: str, start: tuple[str, ...] = ()) -> tuple[int, str]:
    """How the program ends and its errors, started by Python or by what else is named."""
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
    return program.returncode, errors


def tell(out: Path, *fits: str, start: tuple[str, ...] = ()) -> list[Told]:
    """What each process tells of the fits."""
    code, errors = run(out, *fits, start=start)
    assert code == 0, errors
    return told_in(out)


def told_in(out: Path) -> list[Told]:
    return [json.loads((out / f"{rank}.json").read_text()) for rank in range(2)]


def assert_same_training(one: Told, other: Told) -> None:
    assert one["best"] == other["best"]
    for before, after in zip(one["history"], other["history"], strict=True):
        assert before.keys() == after.keys()
        for name in before:
            assert before[name] == pytest.approx(after[name], rel=NEARLY), name
    assert one["tensors"].keys() == other["tensors"].keys()
    for name, tensor in one["tensors"].items():
        assert_allclose(tensor, other["tensors"][name], rtol=0, atol=NEARLY, err_msg=name)


@pytest.fixture(scope="module")
def folder(once: Once) -> Path:
    """Where two processes tell of all fits, one after the other in one program."""

    def fit_all(folder: Path) -> None:
        assert FITS["stopped"](folder) == "StoppedError: "  # for them to go on with
        tell(folder, *FITS)

    return once("together", fit_all)


@pytest.fixture(scope="module")
def together(folder: Path) -> list[Told]:
    """What each of the two tells."""
    return told_in(folder)


@cache
def alone(fit: str, folder: Path) -> Told:
    """What this process tells of a fit."""
    one: Told = FITS[fit](folder)
    assert one["processes"] == 1
    return one


def assert_both_fitted(together: list[Told], fit: str, alone: Told) -> None:
    for one in together:
        assert "failed" not in one[fit], one[fit]["failed"]
        assert one[fit]["processes"] == 2
        assert_same_training(one[fit], alone)


@pytest.mark.parametrize("fit", ["exact", "apart", "classes", "sampled", "taught", "tuned"])
def test_training_is_the_same_in_fits_that_join_the_first(
    fit: str, together: list[Told], folder: Path
) -> None:
    assert ("sweeps" in alone(fit, folder)["history"][-1]) == (fit == "sampled")
    assert_both_fitted(together, fit, alone(fit, folder))


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


def test_batch_norms_are_kept_as_they_were_scored(together: list[Told]) -> None:
    """Each process has seen other rows, and the model that is kept is one."""
    one, other = (told["normalised"] for told in together)
    assert one["tensors"] == other["tensors"]
    best = one["history"][one["best"]]["validation"]
    assert one["score"] == other["score"] == pytest.approx(best, rel=NEARLY)


def test_features_need_not_be_the_same_to_the_last_bit(together: list[Told]) -> None:
    one, other = (told["frozen"] for told in together)
    assert "failed" not in one, one["failed"]
    assert one["tensors"] == other["tensors"]
    assert one["history"] == other["history"]


def test_one_process_predicts_while_the_others_do_not(together: list[Told]) -> None:
    predicted = [told["frozen"].get("predicted") for told in together]
    assert len(predicted[0]) == 9
    assert predicted[1] is None


DIFFERENT = "LatentLabelsError: The processes that train together were given different data"


@pytest.mark.parametrize(
    ("what", "first", "last"),
    [
        (
            "the auxiliary, which the first fits",
            "LabelError: ",
            "OtherProcessError: Process 0 of 2, counted from 0, cannot go on: ",
        ),
        (
            "an input",
            "OtherProcessError: Process 1 of 2, counted from 0, cannot go on: ValueError: Input X",
            "ValueError: Input X contains NaN",
        ),
        ("other inputs", DIFFERENT, DIFFERENT),
        ("other labels", DIFFERENT, DIFFERENT),
        ("other settings", DIFFERENT, DIFFERENT),
        ("the file of chains", "OtherProcessError: Process 1 of 2", "LatentLabelsError: "),
        (
            "a picture, in all",
            *["InputError: 1 of 45 images cannot be used, the first in row 7 "] * 2,
        ),
        (
            "batches of two, in all",
            *["LatentLabelsError: 300 rows make batches of 2, which at most 1 processes"] * 2,
        ),
        (
            "a method of the literature, in all",
            *["LatentLabelsError: Methods of the literature are trained by one process"] * 2,
        ),
        ("no checkpoint", *["LatentLabelsError: The checkpoint "] * 2),
    ],
)
def test_what_fails_in_one_process_fails_in_all(
    what: str, first: str, last: str, together: list[Told]
) -> None:
    failures = [told["errors"][what] for told in together]
    assert failures[0].startswith(first)
    assert failures[1].startswith(last)


def test_a_program_ends_when_one_process_fails_in_training(tmp_path: Path) -> None:
    code, errors = run(tmp_path, "fail")
    assert code != 0
    assert "latentlabels: error: process 1 of 2: A picture has gone." in errors


def test_processes_that_torchrun_started_are_joined(tmp_path: Path, folder: Path) -> None:
    start = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    assert_both_fitted(tell(tmp_path, "exact", start=start), "exact", alone("exact", folder))


def test_another_number_of_processes_than_there_are_is_refused(together: list[Told]) -> None:
    for one in together:
        for told, asked in zip(one["another_number"], (3, 1), strict=True):
            assert told.startswith("LatentLabelsError: 2 processes on each of 1 machines have")
            assert f"and {asked} on each of 1 are asked for" in told
