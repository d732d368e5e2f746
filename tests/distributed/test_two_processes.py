"""Two processes take the steps that one takes, up to the order of sums."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from numpy.testing import assert_allclose

PROGRAM = Path(__file__).with_name("fit_together.py")
EXACT = {"pairwise": False}
SAMPLED = {"hidden": 24, "chains": 5, "sweeps": 20}
# float32 sums in another order, through some forty steps of Adam.
NEARLY = 1e-5


def fitted(out: Path, *start: str, **arguments: Any) -> dict[str, Any]:
    """What the program tells, started by Python or by what else is named."""
    given = [f"{name}={json.dumps(value)}" for name, value in arguments.items()]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, *start, str(PROGRAM), str(out), *given]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(out.read_text())
    return told


def assert_same_training(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one["best"] == other["best"]
    for before, after in zip(one["history"], other["history"], strict=True):
        # Each process examines chains of its own rows.
        for name in before.keys() - {"r_hat", "effective", "stuck", "weight"}:
            assert before[name] == pytest.approx(after[name], rel=NEARLY), name
    assert one["tensors"].keys() == other["tensors"].keys()
    for name, tensor in one["tensors"].items():
        assert_allclose(tensor, other["tensors"][name], rtol=0, atol=NEARLY, err_msg=name)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return fitted(tmp_path_factory.mktemp("alone") / "told.json", **SAMPLED)


def test_sampled_training_is_the_same(tmp_path: Path, alone: dict[str, Any]) -> None:
    together = fitted(tmp_path / "told.json", devices=2, **SAMPLED)
    assert (alone["processes"], together["processes"]) == (1, 2)
    assert alone["history"][-1]["sweeps"] > 0
    assert_same_training(together, alone)


def test_exact_training_is_the_same(tmp_path: Path) -> None:
    alone = fitted(tmp_path / "alone.json", **EXACT)
    assert "sweeps" not in alone["history"][-1]
    assert_same_training(fitted(tmp_path / "told.json", devices=2, **EXACT), alone)


def test_processes_that_torchrun_started_are_joined(tmp_path: Path, alone: dict[str, Any]) -> None:
    start = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    together = fitted(tmp_path / "told.json", *start, **SAMPLED)
    assert together["processes"] == 2
    assert_same_training(together, alone)


def test_another_number_of_processes_goes_on_where_one_stopped(
    tmp_path: Path, alone: dict[str, Any]
) -> None:
    """A checkpoint holds everyone's chains, by row."""
    folder = str(tmp_path / "checkpoints")
    kept = {"checkpoints": folder, "resume": True, **SAMPLED}
    begun = fitted(tmp_path / "begun.json", devices=2, stop_after=2, **kept)
    assert begun == {"epochs": 2}
    ended = fitted(tmp_path / "ended.json", devices=1, **kept)
    assert_same_training(ended, alone)


def test_resumed_on_two_it_is_the_same(tmp_path: Path, alone: dict[str, Any]) -> None:
    folder = str(tmp_path / "checkpoints")
    kept = {"checkpoints": folder, "resume": True, **SAMPLED}
    fitted(tmp_path / "begun.json", devices=1, stop_after=2, **kept)
    assert_same_training(fitted(tmp_path / "ended.json", devices=2, **kept), alone)


def test_processes_agree_on_a_seed_that_nobody_gave(tmp_path: Path) -> None:
    """They would refuse to train models that start from other weights."""
    together = fitted(tmp_path / "told.json", devices=2, random_state=None, epochs=1, **EXACT)
    assert len(together["history"]) == 1
