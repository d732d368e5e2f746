"""Noisy labels stay sparse from file to batch: no array has a number for each row and label."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from latentlabels.cli import main

ROWS, LABELS, TAGS = 10_000, 4_000, 8
# One byte for each row and label, which is the least that a dense array takes: 40 MB.
DENSE = ROWS * LABELS
FITTING = (
    *("--clean", "labels", "--epochs", "1", "--hidden-layers", "4", "--auxiliary", "regression"),
    *("--chains", "2", "--sweeps", "2", "--hidden", "10", "--batch-size", "512"),
)


class Largest(TorchDispatchMode):
    """Remembers the largest tensor that an operation gives, in bytes."""

    most = 0

    def __torch_dispatch__(
        self, func: Any, _types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        sizes = (t.numel() * t.element_size() for t in tree_leaves(result) if isinstance(t, Tensor))
        self.most = max([self.most, *sizes])
        return result


def table(path: Path) -> None:
    """Tags at random, and a few verified rows."""
    random = np.random.default_rng(0)
    names = np.array([f"tag{label}" for label in range(LABELS)])
    units = random.integers(0, LABELS, (ROWS, TAGS))
    units[:LABELS, 0] = np.arange(LABELS)
    labels = [[["a"], ["b"]][unit % 2] for unit in units[:100, 0]] + [None] * (ROWS - 100)
    content = {
        "x": pa.array(list(random.normal(size=(ROWS, 2)).astype(np.float32))),
        "tags": pa.array(names[units].tolist()),
        "labels": pa.array(labels, pa.list_(pa.string())),
    }
    pa.parquet.write_table(pa.table(content), path)


def test_no_array_is_dense(tmp_path: Path) -> None:
    path, out = tmp_path / "table.parquet", tmp_path / "run"
    table(path)
    assert main(["--version"]) == 0  # what is imported is none of the labels' memory
    torch.set_num_threads(1)  # what other threads do is not seen
    columns = ("--input", "x", "--noisy", "tags")
    commands = (
        ["clean", str(path), *columns, *FITTING, "--out", str(out)],
        ["apply", str(path), "--model", str(out / "model"), "--out", str(out / "again")],
    )
    for command in commands:
        tracemalloc.start()
        try:
            with Largest() as largest:
                assert main(command) == 0
            # Of all that Python and NumPy held at a time.
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < DENSE
        assert 0 < largest.most < DENSE
