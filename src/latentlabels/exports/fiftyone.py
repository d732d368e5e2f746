"""FiftyOne's dataset JSON, which `fiftyone.Dataset.from_json` reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import latentlabels
from latentlabels.exports.pictures import picture_paths
from latentlabels.exports.rows import CleanedRows
from latentlabels.results import write_json
from latentlabels.runs.cleaned import STATUS

SAMPLES = "samples.json"
FIELDS = "fiftyone.core.fields"
SCALARS = {bool: "BooleanField", int: "IntField", float: "FloatField", str: "StringField"}


def write_fiftyone(rows: CleanedRows, out: Path) -> None:
    """Write `samples.json`, and pictures that the table holds as bytes to `data/`.

    A sample has what was `given`, what is `proposed` with its confidence, and the tags "verified",
    "added" and "removed" to look for in the app. Probabilities are in the order of the dataset's
    classes.

    Args:
        rows: cleaned labels of pictures.
        out: a new folder.

    Raises:
        TableError: a cell that holds no picture.
    """
    assert rows.examples is not None
    out.mkdir()
    samples = []
    for row, (facts, (path, written)) in enumerate(
        zip(rows.facts(), picture_paths(rows.examples, out), strict=True)
    ):
        scores = dict(zip(rows.names, facts["probabilities"] or (), strict=False))
        proposed = [_label(name, scores.get(name)) for name in facts["proposed"]]
        samples.append(
            {
                **facts,
                "filepath": path if written else str(rows.examples.folder / path),
                "tags": _tags(rows, row),
                "given": _several([_label(name) for name in facts["given"]]),
                "proposed": _one(proposed) if rows.exclusive else _several(proposed),
            }
        )
    content = {
        "name": out.name,
        "media_type": "image",
        "sample_fields": _fields(rows, samples),
        "info": {"description": f"Labels cleaned by latentlabels {latentlabels.__version__}"},
        "default_classes": rows.names,
        "samples": samples,
    }
    write_json(out / SAMPLES, content)


def _label(name: str, confidence: float | None = None) -> dict[str, Any]:
    label = {"_cls": "Classification", "label": name}
    return label if confidence is None else {**label, "confidence": confidence}


def _several(labels: list[dict[str, Any]]) -> dict[str, Any]:
    return {"_cls": "Classifications", "classifications": labels}


def _one(labels: list[dict[str, Any]]) -> dict[str, Any] | None:
    return labels[0] if labels else None


def _tags(rows: CleanedRows, row: int) -> list[str]:
    labels = rows.labels
    told = {
        "verified": labels.verified[row],
        "added": labels.added[row],
        "removed": labels.removed[row],
    }
    return [tag for tag, holds in told.items() if holds]


def _fields(rows: CleanedRows, samples: list[dict[str, Any]]) -> dict[str, str]:
    """The kind of each field, without which FiftyOne does not take it."""
    ids = {type(sample["example_id"]) for sample in samples} - {type(None)}
    kind = SCALARS[ids.pop()] if len(ids) == 1 else "StringField"
    proposed = "Classification" if rows.exclusive else "Classifications"
    labels = f"{FIELDS}.EmbeddedDocumentField(fiftyone.core.labels.{{}})"
    text, names = f"{FIELDS}.StringField", f"{FIELDS}.ListField({FIELDS}.StringField)"
    return {
        "filepath": text,
        "tags": names,
        "example_id": f"{FIELDS}.{kind}",
        "given": labels.format("Classifications"),
        "proposed": labels.format(proposed),
        "verified": f"{FIELDS}.BooleanField",
        "probabilities": f"{FIELDS}.ListField({FIELDS}.FloatField)",
        **{name: text if name == STATUS else names for name in rows.reviewed},
    }
