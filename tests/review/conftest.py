"""A small run to review, written by hand: nothing has to be trained for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from PIL import Image

from latentlabels.architecture import Architecture
from latentlabels.cleaning import clean_labels
from latentlabels.data.columns import InputKind
from latentlabels.data.labels import LabelSpace, Vocabulary
from latentlabels.description import SCHEMA, Description, columns_of
from latentlabels.model.schedule import GibbsSchedule
from latentlabels.results import cleaned_table
from latentlabels.review.opening import open_run
from latentlabels.review.run import Run
from latentlabels.store import read_description

NAMES = ("cat", "dog", "sky", "tree")


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
) -> Path:
    """What `clean` leaves of a table, as far as a review reads it; the table lies beside it."""
    space = LabelSpace(("",), (Vocabulary(tuple(names), exclusive),))
    p = np.array(probabilities, dtype=np.float32)
    known = np.isin(np.arange(len(p)), verified)
    skipped = {int(row): "is empty" for row in np.flatnonzero(np.isnan(p).any(1))}
    cleaned = clean_labels(space, [list(row) for row in given], p, (p > 0.5) * 1.0, known, skipped)
    run = folder / "run"
    (run / "model").mkdir(parents=True)
    pa.parquet.write_table(source, folder / "table.parquet")
    rows = source.select([ids]) if ids else pa.table({"row": range(len(p))})
    pa.parquet.write_table(cleaned_table(rows, cleaned), run / "cleaned.parquet")
    roles = {"input": [shown], "input_kind": kind, "noisy": ["tags"], "noisy_forms": []}
    description = Description(
        schema=SCHEMA,
        alpha=0.1,
        prediction=GibbsSchedule(1, 1),
        seed=0,
        architecture=Architecture(1, (), 0.0, 0.0, 0, 0, "given", True, False),
        clean=columns_of(space),
        noisy=columns_of(space),
        held_out_changes=0,
        clean_forms=("classes" if exclusive else "names",),
        settings={},
        provenance={"table": "table.parquet", "columns": roles},
        feature_names=None,
    )
    (run / "model" / "model.json").write_text(json.dumps(asdict(description)))
    # Not read: a review needs no weights.
    (run / "model" / "model.safetensors").write_bytes(b"")
    (run / "model" / "vocabulary.json").write_text("{}")
    return run


def opened(run: Path, **options: Any) -> Run:
    """The run as the command opens it."""
    model = read_description(run / "model")
    roles = model.provenance["columns"]
    asked: dict[str, Any] = {"table": None, "show": [], "pictures": None, **options}
    return open_run(run, model, inputs=roles["input"], kind=InputKind(roles["input_kind"]), **asked)


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
def folder(tmp_path: Path) -> Path:
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
def pictures(tmp_path: Path) -> Path:
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
