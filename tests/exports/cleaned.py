"""Cleaned labels with names that formats stumble over, and what reads them again."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from latentlabels.cleaning import CleanedLabels
from latentlabels.data.columns import InputKind
from latentlabels.data.labels import LabelSpace, Vocabulary
from latentlabels.exports.rows import CleanedRows, Examples

ODD = (
    "a,b",
    'say "hi"',
    "two\nlines",
    "🦊",
    "שלום",
    "<script>alert(1)</script>",
    "=1+1",
    "'quoted'",
    "{brace}",
    "$price.tag",
)
IDS: dict[str, list[Any]] = {
    "numbers": [3, 1, 2, 7, 9],
    "texts": ["007", "<b>", "שורה", "two\nlines", "x,y"],
}


def several(ids: list[Any] | None = None) -> CleanedRows:
    """Rows with any number of the odd labels; the second is verified, the fourth was skipped."""
    random = np.random.default_rng(0)
    p = random.random((5, len(ODD))).astype(np.float32)
    p[1] = np.round(p[1])
    p[3] = np.nan
    p[4] = 0.1  # nothing is proposed
    proposed: list[list[Any]] = [[n for n, v in zip(ODD, row, strict=True) if v > 0.5] for row in p]
    given: list[list[Any]] = [[*proposed[0][1:], "junk"], proposed[1], [], ["🦊"], ["=1+1"]]
    pairs = list(zip(given, proposed, strict=True))
    labels = CleanedLabels(
        space=LabelSpace(("",), (Vocabulary(ODD, exclusive=False),)),
        given=given,
        proposed=proposed,
        added=[[n for n in new if n not in old] for old, new in pairs],
        removed=[[n for n in old if n not in new and n in ODD] for old, new in pairs],
        verified=np.array([False, True, False, False, False]),
        probabilities=p,
        changes=[],
    )
    return CleanedRows(pa.table({"key": ids or IDS["texts"]}), labels)


def one(ids: list[Any] | None = None) -> CleanedRows:
    """Rows with one of the odd labels each."""
    p = np.random.default_rng(1).dirichlet(np.full(len(ODD), 0.3), 5).astype(np.float32)
    p[1] = np.arange(len(ODD)) == 2
    proposed: list[list[Any]] = [[ODD[place]] for place in p.argmax(1)]
    given: list[list[Any]] = [["=1+1"], proposed[1], ["🦊"], ["a,b"], proposed[4]]
    pairs = list(zip(given, proposed, strict=True))
    labels = CleanedLabels(
        space=LabelSpace(("",), (Vocabulary(ODD, exclusive=True),)),
        given=given,
        proposed=proposed,
        added=[[n for n in new if n not in old] for old, new in pairs],
        removed=[[n for n in old if n not in new] for old, new in pairs],
        verified=np.array([False, True, False, False, False]),
        probabilities=p,
        changes=[],
    )
    return CleanedRows(pa.table({"key": ids or IDS["numbers"]}), labels)


def left_for_review(rows: CleanedRows) -> CleanedRows:
    """Rows of a run with a precision: reasons with odd names, and two rows for review."""
    status = ["review", "kept", "accepted", "kept", "review"]
    added = [[ODD[0]], [], [], [], ["🦊", "=1+1"]]
    removed = [[], [], [], [], ["<script>alert(1)</script>"]]
    reasons = [["for review, added a,b: the example"], [], ['added say "hi": prior'], [], ["=1+1"]]
    lists = {"reasons": reasons, "review_added": added, "review_removed": removed}
    columns = {name: pa.array(cells, pa.list_(pa.string())) for name, cells in lists.items()}
    told = pa.table({"reasons": columns.pop("reasons"), "status": status, **columns})
    return replace(rows, told=told)


def with_texts(rows: CleanedRows) -> CleanedRows:
    texts = ["<script>alert(2)</script>", "=2+2", "שלום, world", 'a "b"\nc', "🦊"]
    column = pa.chunked_array([texts[: len(rows)]])
    return rows.showing(Examples("text", column, InputKind.TEXT, Path("/")))


def with_pictures(rows: CleanedRows, folder: Path) -> CleanedRows:
    """Pictures: paths from a folder, and one whose bytes the table holds."""
    cells: list[dict[str, Any]] = []
    for row in range(len(rows)):
        name = f"pict ure{row}.png"
        content = picture(row)
        (folder / name).write_bytes(content)
        cells.append({"bytes": None, "path": name})
    cells[2] = {"bytes": picture(2), "path": None}
    return rows.showing(Examples("image", pa.chunked_array([cells]), InputKind.IMAGE, folder))


def picture(grey: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (2, 3), grey).save(file, "PNG")
    return file.getvalue()


def same(read: CleanedRows, rows: CleanedRows) -> None:
    """Check that everything came back, probabilities to the last bit."""
    assert read.ids.column_names == rows.ids.column_names
    assert read.ids.column(0).to_pylist() == rows.ids.column(0).to_pylist()
    for name in ("names", "given", "proposed", "added", "removed"):
        assert getattr(read.labels, name) == getattr(rows.labels, name), name
    assert read.exclusive == rows.exclusive
    if rows.told is not None:
        assert read.told is not None
        assert read.told.equals(rows.told)
    assert read.labels.verified.tolist() == rows.labels.verified.tolist()
    assert read.labels.probabilities.dtype == np.float32
    np.testing.assert_array_equal(read.labels.probabilities, rows.labels.probabilities)
