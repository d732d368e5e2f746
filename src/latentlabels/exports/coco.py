"""COCO-style JSON with labels of whole images.

An annotation names an image and a category, and has no box: COCO knows only objects in boxes, and
tools that know labels of images read them in this form (Datumaro calls it "labels").
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import latentlabels
from latentlabels.exports.pictures import picture_paths
from latentlabels.exports.rows import CleanedRows
from latentlabels.results import write_json

LABELS = "labels.json"


def write_coco(rows: CleanedRows, out: Path) -> None:
    """Write `labels.json`, and pictures that the table holds as bytes to `data/`.

    Each proposed label is an annotation, whose score is its probability. What else is known of a
    row stands with its image, where COCO's tools pass over it.

    Args:
        rows: cleaned labels of pictures.
        out: a new folder.

    Raises:
        TableError: a cell that holds no picture.
    """
    assert rows.examples is not None
    out.mkdir()
    category = {name: number for number, name in enumerate(rows.names, start=1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    paths = picture_paths(rows.examples, out)
    for number, (facts, (path, _)) in enumerate(zip(rows.facts(), paths, strict=True), start=1):
        scores = dict(zip(rows.names, facts["probabilities"] or (), strict=False))
        images.append({"id": number, "file_name": path, **facts, "probabilities": scores or None})
        annotations += [
            {
                "id": len(annotations) + place,
                "image_id": number,
                "category_id": category[name],
                "score": scores.get(name),
            }
            for place, name in enumerate(facts["proposed"], start=1)
        ]
    content = {
        "info": {"description": f"Labels cleaned by latentlabels {latentlabels.__version__}"},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": number, "name": name} for name, number in category.items()],
    }
    write_json(out / LABELS, content)
