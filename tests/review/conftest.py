"""A small run to review, written by hand: nothing has to be trained for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image

from latentlabels.data.columns import InputKind
from latentlabels.data.labels import LabelSpace, Vocabulary
from latentlabels.runs.opening import open_run
from latentlabels.runs.run import Run

NAMES = ("cat", "dog", "sky", "tree")


@dataclass(frozen=True)
class SmallRun:
    """A run's folder, with the table beside it.

    Attributes:
        folder: the run's.
        space: the clean labels.
        shown: the column of examples.
        kind: what it holds.
    """

    folder: Path
    space: LabelSpace
    shown: str
    kind: str

    @property
    def decisions(self) -> Path:
        """Where decisions are kept."""
        return self.folder / "decisions.sqlite"

    def opened(self, **options: Any) -> Run:
        """The run as the command opens it."""
        asked: dict[str, Any] = {"table": None, "show": [], "pictures": None, **options}
        return open_run(
            self.folder,
            self.space,
            {"table": "table.parquet"},
            inputs=[self.shown],
            kind=InputKind(self.kind),
            **asked,
        )


def write_run(
    folder: Path,
    source: pa.Table,
    given: Sequence[Sequence[str]],
    probabilities: Any,
    *,
    names: Sequence[str] = NAMES,
    exclusive: bool = False,
    ids: str | None = "key",
    shown: str = "text",
    kind: str = "text",
    verified: Sequence[int] = (),
    reasons: Sequence[Sequence[str]] | None = None,
    split: Sequence[str] | None = None,
) -> SmallRun:
    """What `clean` leaves of a table, but for the model; NaN where nothing is proposed."""
    p = np.array(probabilities, dtype=np.float32)
    known = np.isfinite(p.sum(1))
    on = p == p.max(1, keepdims=True) if exclusive else p > 0.5
    proposed = [[name for name, it in zip(names, row, strict=True) if it] for row in on]
    pairs = [(set(old), set(new)) for old, new in zip(given, proposed, strict=True)]
    lists = {
        "given": given,
        "proposed": proposed,
        "added": [sorted(new - old) for old, new in pairs],
        "removed": [
            sorted((old - new) & set(names)) if may else []
            for (old, new), may in zip(pairs, known, strict=True)
        ],
    }
    columns = {name: pa.array(cells, pa.list_(pa.string())) for name, cells in lists.items()}
    columns["verified"] = pa.array(np.isin(np.arange(len(p)), verified))
    rows = [list(row) if may else None for row, may in zip(p, known, strict=True)]
    columns["probabilities"] = pa.array(rows, pa.list_(pa.float32()))
    if reasons is not None:
        columns["reasons"] = pa.array(reasons, pa.list_(pa.string()))
    if split is not None:
        columns["split"] = pa.array(split)
    name = {ids: source.column(ids)} if ids else {"row": np.arange(len(p))}
    run = folder / "run"
    run.mkdir()
    pa.parquet.write_table(source, folder / "table.parquet")
    pa.parquet.write_table(pa.table({**name, **columns}), run / "cleaned.parquet")
    space = LabelSpace(("",), (Vocabulary(tuple(names), exclusive),))
    return SmallRun(run, space, shown, kind)


def texts(rows: int) -> pa.Table:
    """A table of texts with a name for every row."""
    return pa.table(
        {
            "key": [f"k{row:03}" for row in range(rows)],
            "text": [f"The {row}th text of all." for row in range(rows)],
        }
    )


def sure(*names: str) -> list[float]:
    """Probabilities that leave no doubt."""
    return [float(name in names) for name in NAMES]


@pytest.fixture
def run(tmp_path: Path) -> SmallRun:
    """Five texts: doubt in rows 1, 3 and 0, row 2 verified, row 4 without a proposal."""
    given = [["cat"], ["dog", "sea"], ["sky"], ["cat", "tree"], ["dog"]]
    p = [
        [0.9, 0.0, 0.0, 0.0],
        [0.5, 0.5, 0.1, 0.0],
        sure("sky"),
        [0.4, 0.0, 0.2, 0.9],
        [np.nan] * 4,
    ]
    return write_run(tmp_path, texts(5), given, p, verified=[2])


@pytest.fixture
def pictures(tmp_path: Path) -> SmallRun:
    """Pictures of one class each; their files lie in a folder of their own."""
    inside = tmp_path / "pictures"
    inside.mkdir()
    for name, colour in (("red.png", "red"), ("blue.jpg", "blue")):
        Image.new("RGB", (40, 30), colour).save(inside / name)
    (tmp_path / "secret.txt").write_text("secret")
    Image.new("RGB", (8, 8)).save(tmp_path / "secret.png")
    (inside / "link.png").symlink_to(tmp_path / "secret.png")
    (inside / "page.png").write_text("<script>alert(1)</script>")
    paths = [
        *("red.png", "blue.jpg", "../secret.png", str(tmp_path / "secret.png"), "link.png"),
        *("page.png", "nowhere.png", "../secret.txt", "", "a\0b", str(inside / "red.png")),
    ]
    source = pa.table({"picture": paths})
    p = [[0.6, 0.4]] * len(paths)
    return write_run(
        tmp_path,
        source,
        [["red"]] * len(paths),
        p,
        names=("blue", "red"),
        exclusive=True,
        ids=None,
        shown="picture",
        kind="image",
    )
