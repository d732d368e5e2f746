"""COCO-style JSON and FiftyOne's dataset JSON: what comes back is what went out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.exports.cleaned import (
    IDS,
    ODD,
    left_for_review,
    one,
    picture,
    several,
    with_pictures,
    with_texts,
)

from latentlabels.data.columns import InputKind
from latentlabels.errors import TableError
from latentlabels.exports.formats import ExportFormat, export
from latentlabels.exports.rows import CleanedRows, Examples

COCO, FIFTYONE = ExportFormat.COCO, ExportFormat.FIFTYONE


def same_probabilities(told: list[Any], rows: CleanedRows) -> None:
    for numbers, row in zip(told, rows.labels.probabilities, strict=True):
        if numbers is None:
            assert np.isnan(row).all()
        else:
            assert np.array_equal(np.array(numbers, np.float32), row)


@pytest.mark.parametrize("make", [one, several])
@pytest.mark.parametrize("ids", IDS)
def test_coco_comes_back(make: Callable[..., CleanedRows], ids: str, tmp_path: Path) -> None:
    rows = with_pictures(make(IDS[ids]), tmp_path)
    export(rows, COCO, tmp_path / "out")
    read = json.loads((tmp_path / "out" / "labels.json").read_text(encoding="utf-8"))
    name = {category["id"]: category["name"] for category in read["categories"]}
    assert list(name.values()) == list(ODD)
    labels: dict[int, list[Any]] = {image["id"]: [] for image in read["images"]}
    for annotation in read["annotations"]:
        scores = read["images"][annotation["image_id"] - 1]["probabilities"]
        assert annotation["score"] == scores[name[annotation["category_id"]]]
        labels[annotation["image_id"]].append(name[annotation["category_id"]])
    assert list(labels.values()) == rows.labels.proposed
    assert len({annotation["id"] for annotation in read["annotations"]}) == len(read["annotations"])
    assert [image["example_id"] for image in read["images"]] == IDS[ids]
    assert [image["given"] for image in read["images"]] == rows.labels.given
    assert [image["verified"] for image in read["images"]] == rows.labels.verified.tolist()
    told = [image["probabilities"] for image in read["images"]]
    same_probabilities([scores and list(scores.values()) for scores in told], rows)
    files = [image["file_name"] for image in read["images"]]
    assert files[0] == "pict ure0.png"
    assert (tmp_path / "out" / files[2]).read_bytes() == picture(2)


@pytest.mark.parametrize("make", [one, several])
@pytest.mark.parametrize("ids", IDS)
def test_fiftyone_comes_back(make: Callable[..., CleanedRows], ids: str, tmp_path: Path) -> None:
    rows = with_pictures(make(IDS[ids]), tmp_path)
    export(rows, FIFTYONE, tmp_path / "out")
    read = json.loads((tmp_path / "out" / "samples.json").read_text(encoding="utf-8"))
    assert read["default_classes"] == list(ODD)
    samples = read["samples"]
    assert all(read["sample_fields"].keys() == sample.keys() for sample in samples)
    assert [sample["example_id"] for sample in samples] == IDS[ids]
    for field, names in (("given", rows.labels.given), ("proposed", rows.labels.proposed)):
        told = [sample[field] for sample in samples]
        several_labels = [
            [cell] if cell["_cls"] == "Classification" else cell["classifications"] for cell in told
        ]
        assert [[label["label"] for label in cell] for cell in several_labels] == names
        kind = "Classification" if field == "proposed" and rows.exclusive else "Classifications"
        assert read["sample_fields"][field].endswith(f".{kind})")
        assert {cell["_cls"] for cell in told} == {kind}
    same_probabilities([sample["probabilities"] for sample in samples], rows)
    assert samples[1]["tags"] == ["verified"]
    assert samples[0]["tags"] == (["added", "removed"] if rows.exclusive else ["added"])
    assert samples[0]["filepath"] == str(tmp_path / "pict ure0.png")
    assert (tmp_path / "out" / samples[2]["filepath"]).read_bytes() == picture(2)


def test_what_is_left_for_review_stands_with_each_picture(tmp_path: Path) -> None:
    rows = left_for_review(with_pictures(several(), tmp_path))
    assert rows.told is not None
    for kind in (COCO, FIFTYONE):
        export(rows, kind, tmp_path / kind)
    images = json.loads((tmp_path / COCO / "labels.json").read_text(encoding="utf-8"))["images"]
    read = json.loads((tmp_path / FIFTYONE / "samples.json").read_text(encoding="utf-8"))
    assert all(read["sample_fields"].keys() == sample.keys() for sample in read["samples"])
    for told in (images, read["samples"]):
        for name in ("status", "review_added", "review_removed"):
            assert [row[name] for row in told] == rows.told.column(name).to_pylist()
    kinds = [read["sample_fields"][name] for name in ("status", "review_added")]
    assert [kind.count("ListField") for kind in kinds] == [0, 1]


@pytest.mark.parametrize("kind", [COCO, FIFTYONE])
def test_pictures_are_wanted(kind: ExportFormat, tmp_path: Path) -> None:
    with pytest.raises(TableError, match=f"{kind} shows images, which .* --table, .* --input"):
        export(several(), kind, tmp_path / "out")
    with pytest.raises(TableError, match="column 'text' looks like texts"):
        export(with_texts(several()), kind, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_bytes_that_are_no_picture_are_told_of(tmp_path: Path) -> None:
    cells = pa.chunked_array([[picture(0), picture(1)], [b"GIF no", picture(3), picture(4)]])
    rows = several().showing(Examples("image", cells, InputKind.IMAGE, tmp_path))
    with pytest.raises(TableError, match="Row 2 of column 'image' is no picture"):
        export(rows, COCO, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
