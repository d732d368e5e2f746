"""A small table that can be learnt, and a run on it that several tests look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from tests.cli.arguments import COLUMNS, PROTOCOL, ROWS, SMALL, TRAINING, VALIDATION, WORDS

from latentlabels.cli import main


@pytest.fixture(scope="session")
def scenes() -> pa.Table:
    """Vectors, tags and labels, with the columns of a protocol."""
    random = np.random.default_rng(0)
    x = random.normal(size=(ROWS, 3)).astype(np.float32)
    labels = [[name for name, value in zip(WORDS, row, strict=True) if value > 0] for row in x]
    tags = [[WORDS[name] for name in names if random.random() < 0.8] for names in labels]
    for row in np.flatnonzero(random.random(ROWS) < 0.3):
        tags[row].append("junk")
    rows = np.arange(ROWS)
    return pa.table(
        {
            "key": [f"k{row:03}" for row in rows],
            "x": pa.array(list(x), pa.list_(pa.float32())),
            "tags": tags,
            "labels": labels,
            "split": np.select(
                [rows < TRAINING, rows < VALIDATION], ["train", "validation"], "test"
            ),
            "verified": (rows < TRAINING) & (rows % 2 == 0),
        }
    )


@pytest.fixture
def table(tmp_path: Path, scenes: pa.Table) -> Path:
    """The scenes as a Parquet file."""
    path = tmp_path / "scenes.parquet"
    pa.parquet.write_table(scenes, path)
    return path


@pytest.fixture(scope="session")
def cleaned_run(tmp_path_factory: pytest.TempPathFactory, scenes: pa.Table) -> Path:
    """The folder of a run of `clean`, with the scenes beside it; only to be looked at."""
    folder = tmp_path_factory.mktemp("cleaned")
    path = folder / "scenes.parquet"
    pa.parquet.write_table(scenes, path)
    out = folder / "run"
    assert main(["clean", str(path), *COLUMNS, *PROTOCOL, "--out", str(out), *SMALL]) == 0
    return out
