"""`apply` and `predict` on two processes leave in shards what one process leaves in a file."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
from tests.distributed.conftest import Once
from tests.small_tables import QUICK

from latentlabels import LatentLabelsError, RobustClassifier, processes
from latentlabels.cli import main
from latentlabels.cli.shares import staged_together
from latentlabels.data.shards import MANIFEST
from latentlabels.data.table import Format, read_table
from latentlabels.provenance import of_table

PROGRAM = Path(__file__).with_name("command.py")
ROWS = 1400  # three batches of vectors: one for the first process, two for the second
SHARDS = ["part-00000-of-00002.parquet", "part-00001-of-00002.parquet"]
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


@pytest.fixture(scope="module")
def folder(once: Once) -> Path:
    """A folder with a table, a model that samples its predictions, and what one process makes."""
    return once("shares", make)


def make(place: Path) -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(ROWS, 4)).astype(np.float32)
    names = np.array([f"n{unit:02}" for unit in range(14)])
    noisy = [names[row].tolist() for row in random.random((ROWS, 14)) < 0.2]
    # One chain a row, so that nothing is said of how chains mix.
    settings: dict[str, Any] = {**QUICK, "chains": 1, "sweeps": 2}
    model = RobustClassifier(**settings)
    model.fit(x, noisy, noisy, verified=np.arange(ROWS) < 40)
    assert model.history_.negative_phase == "gibbs"
    model.save(place / "model")
    noisy[ROWS - 1].append("unknown")
    table = pa.table({"x": pa.array(list(x), pa.list_(pa.float32())), "y": noisy})
    pa.parquet.write_table(table, place / "table.parquet", row_group_size=500)
    for command in ("apply", "predict"):
        assert main(arguments(command, place, place / "one")) == 0


def arguments(command: str, folder: Path, out: Path, table: str = "table.parquet") -> list[str]:
    columns = ["--input", "x", *(["--noisy", "y"] if command == "apply" else [])]
    known = [str(folder / table), "--model", str(folder / "model"), "--out", str(out)]
    return [command, *known, *columns]


def ran(
    options: list[str], *start: str, code: int = 0, **environment: str
) -> subprocess.CompletedProcess[str]:
    """The command on several processes."""
    told = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", **environment}
    command = [sys.executable, *start, str(PROGRAM), *options]
    done = subprocess.run(command, env=told, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stderr
    return done


def test_two_processes_write_the_rows_of_one(folder: Path, tmp_path: Path) -> None:
    done = ran([*arguments("apply", folder, tmp_path), "--devices", "2"])
    name = "cleaned.parquet"
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert sorted(file.name for file in (tmp_path / name).iterdir()) == [MANIFEST, *SHARDS]
    one, two = read_table(folder / "one" / name), read_table(tmp_path / name)
    assert two.equals(one, check_metadata=True)
    schemas = [pa.parquet.read_schema(tmp_path / name / shard) for shard in SHARDS]
    assert schemas[0].equals(schemas[1], check_metadata=True)
    told = json.loads(schemas[0].metadata[b"latentlabels.table"])
    assert told == of_table(folder / "table.parquet", ROWS)
    assert pd.read_parquet(tmp_path / name)["row"].tolist() == list(range(ROWS))
    manifest = json.loads((tmp_path / name / MANIFEST).read_text())
    assert [shard["rows"] for shard in manifest["shards"]] == [512, ROWS - 512]
    # The first process alone speaks, of all rows.
    assert done.stdout.count("1,400") == 1
    assert done.stderr.count("1 noisy labels are not in the model's vocabulary") == 1


def test_torchrun_may_start_them_and_results_are_replaced(folder: Path, tmp_path: Path) -> None:
    name = "predicted.parquet"
    shutil.copytree(folder / "one", tmp_path / name)
    (tmp_path / name / MANIFEST).write_text("older")
    ran([*arguments("predict", folder, tmp_path), "--overwrite"], *TORCHRUN)
    assert read_table(tmp_path / name).equals(read_table(folder / "one" / name))
    assert sorted(file.name for file in (tmp_path / name).iterdir()) == [MANIFEST, *SHARDS]


def test_a_mistake_in_one_share_is_told_once_and_leaves_nothing(
    folder: Path, tmp_path: Path
) -> None:
    x = pa.parquet.read_table(folder / "table.parquet")["x"].to_pylist()
    x[ROWS - 3][1] = float("inf")
    pa.parquet.write_table(pa.table({"x": x}), folder / "wrong.parquet")
    options = arguments("predict", folder, tmp_path / "out", "wrong.parquet")
    done = ran([*options, "--devices", "2"], code=2)
    assert done.stderr.count("latentlabels: ") == 1
    assert f"error: Row {ROWS - 3} of input column 'x' is inf" in done.stderr
    assert not list(tmp_path.iterdir())


def test_shards_are_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "size", lambda: 2)
    monkeypatch.setattr(processes, "rank", lambda: 0)
    monkeypatch.setattr(processes, "everyones", lambda own: [own, own])
    with (
        pytest.raises(LatentLabelsError, match="Several processes write Parquet, got --format csv"),
        staged_together(tmp_path, ["cleaned.csv"], Format.CSV, overwrite=False),
    ):
        pass


def test_a_process_that_is_killed_leaves_nothing_that_looks_complete(
    folder: Path, tmp_path: Path
) -> None:
    options = [*arguments("predict", folder, tmp_path), "--devices", "2"]
    told = {**os.environ, "OMP_NUM_THREADS": "1", "DIE": "1"}
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *options], env=told, capture_output=True, timeout=300
    )
    assert done.returncode != 0
    assert all(left.name.startswith(".latentlabels-") for left in tmp_path.iterdir())
    # Leftovers, if there are some, are no hindrance, and go.
    assert main(arguments("predict", folder, tmp_path)) == 0
    assert [left.name for left in tmp_path.iterdir()] == ["predicted.parquet"]
