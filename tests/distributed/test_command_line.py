"""The commands on several processes, however these were started."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from numpy.testing import assert_allclose
from tests.distributed.conftest import Once

PROGRAM = Path(__file__).with_name("command_line.py")
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
# What a job of two tasks tells its batch script; srun adds a step to it.
BATCH_SCRIPT = {
    **{"SLURM_JOB_ID": "1", "SLURM_JOB_NAME": "fit", "SLURM_NNODES": "1", "SLURM_NODEID": "0"},
    **{"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_NODELIST": "127.0.0.1"},
    **{"SLURM_PROCID": "0", "SLURM_LOCALID": "0"},
}
ROWS = 200
LONGEST = 300
"""Seconds after which processes wait for one another."""


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Vectors, tags that say two labels by chance, and the labels of half of the rows."""
    random = np.random.default_rng(0)
    x = random.normal(size=(ROWS, 4)).astype(np.float32)
    labels = [[name for name, on in zip("ab", row, strict=True) if on] for row in x[:, :2] > 0]
    tags = [[f"tag {name}" for name in row if random.random() < 0.7] for row in labels]
    path = tmp_path_factory.mktemp("table") / "table.parquet"
    columns = {
        "x": x.tolist(),
        "tags": tags,
        "labels": [names if row % 2 else None for row, names in enumerate(labels)],
    }
    pa.parquet.write_table(pa.table(columns), path)
    return path


def start(
    *arguments: str,
    before: tuple[str, ...] = (),
    environment: Mapping[str, str] = MappingProxyType({}),
) -> subprocess.Popen[str]:
    quick = {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    return subprocess.Popen(
        [sys.executable, *before, str(PROGRAM), *arguments],
        env={**os.environ, **quick, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(program: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code, output and errors."""
    with program:
        try:
            out, errors = program.communicate(timeout=LONGEST)
        except subprocess.TimeoutExpired:
            program.kill()
            raise
    return program.returncode, out, errors


def arguments(table: Path, out: Path) -> list[str]:
    """Of a fit, but for its processes."""
    return [
        *("clean", str(table), "--input", "x", "--noisy", "tags", "--clean", "labels"),
        *("--epochs", "2", "--hidden-layers", "8", "--auxiliary", "regression", "--students", "1"),
        *("--no-progress", "--out", str(out)),
    ]


def results(out: Path) -> tuple[dict[str, Any], list[Any]]:
    """The metrics, and the probabilities of the cleaned labels."""
    metrics = json.loads((out / "metrics.json").read_text())
    cleaned = pa.parquet.read_table(out / "cleaned.parquet")
    return metrics, cleaned["probabilities"].to_pylist()


@pytest.fixture(scope="module")
def alone(table: Path, once: Once) -> Path:
    """The results of one process."""

    def fit(folder: Path) -> None:
        code, _, errors = ended(start(*arguments(table, folder / "run")))
        assert code == 0, errors

    return once("alone", fit) / "run"


def assert_as_alone(out: Path, alone: Path) -> None:
    (metrics, together), (expected, one) = results(out), results(alone)
    assert metrics["changes"] == expected["changes"]
    assert_allclose(np.array(together), np.array(one), atol=1e-4)
    assert {path.name for path in out.iterdir()} == {path.name for path in alone.iterdir()}
    assert [path.name for path in out.parent.iterdir()] == [out.name]


@pytest.mark.parametrize(
    ("before", "environment"),
    [((), {}), (TORCHRUN, {}), ((), BATCH_SCRIPT)],
    ids=["devices", "torchrun", "batch script"],
)
def test_a_fit_ends_as_that_of_one_process(
    before: tuple[str, ...],
    environment: dict[str, str],
    table: Path,
    tmp_path: Path,
    alone: Path,
) -> None:
    processes = [] if before else ["--devices", "2", "--strategy", "ddp"]
    out = tmp_path / "run"
    code, told, errors = ended(
        start(*arguments(table, out), *processes, before=before, environment=environment)
    )
    assert (code, told.count("written")) == (0, 1), errors
    assert_as_alone(out, alone)


def test_a_batch_script_starts_no_other_machine(table: Path, tmp_path: Path) -> None:
    asked = [*arguments(table, tmp_path / "run"), "--nodes", "2"]
    code, told, errors = ended(start(*asked, environment=BATCH_SCRIPT))
    assert (code, told) == (2, "")
    assert "srun" in errors
    assert "Traceback" not in errors


def test_tasks_of_slurm_are_joined(table: Path, tmp_path: Path, alone: Path) -> None:
    """As srun would start them, with one address for all."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
    job = {**BATCH_SCRIPT, "SLURM_STEP_ID": "0", "MASTER_PORT": port}
    out = tmp_path / "run"
    tasks = [
        start(
            *arguments(table, out),
            environment={**job, "SLURM_PROCID": task, "SLURM_LOCALID": task},
        )
        for task in ("0", "1")
    ]
    (first, told, errors), (second, silent, others) = (ended(task) for task in tasks)
    assert (first, second) == (0, 0), errors + others
    assert "written" in told
    assert silent == ""
    assert_as_alone(out, alone)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--noisy", "nothing"], "The table has no column 'nothing'"),
        (["--clean-labels", "nowhere.txt"], "nowhere.txt"),
    ],
    ids=["column", "file"],
)
def test_a_mistake_is_told_once_and_leaves_nothing(
    wrong: list[str], said: str, table: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    code, told, errors = ended(start(*arguments(table, out), "--devices", "2", *wrong))
    assert (code, told) == (2, "")
    (line,) = errors.splitlines()
    assert said in line
    assert list(tmp_path.iterdir()) == []
