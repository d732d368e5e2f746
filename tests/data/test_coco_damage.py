"""COCO folders that are incomplete or damaged, and arguments that do not fit, are told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.small_coco import write_coco

from latentlabels.data.coco import load_coco_captions, load_coco_flickr
from latentlabels.errors import LabelError, LatentLabelsError, TableError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_coco(tmp_path / "coco")


def change(
    kind: str, release: str, edit: Callable[[dict[str, Any]], Any]
) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / "annotations" / f"{kind}_{release}.json"
        document = json.loads(path.read_text())
        edit(document)
        path.write_text(json.dumps(document))

    return damage


def half_downloaded(folder: Path) -> None:
    path = folder / "annotations" / "instances_val2014.json"
    path.write_text(path.read_text()[:200])


def without_a_picture(folder: Path) -> None:
    (folder / "train2014" / "COCO_train2014_000000000025.jpg").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda folder: shutil.rmtree(folder / "val2014"),
            "coco lacks val2014; it holds annotations, train2014",
        ),
        (
            lambda folder: (folder / "annotations" / "instances_train2014.json").unlink(),
            r"coco lacks annotations/instances_train2014\.json",
        ),
        (half_downloaded, r"instances_val2014\.json is not JSON, or damaged: .*char 1"),
        (
            lambda folder: (folder / "annotations" / "captions_val2014.json").write_text("3"),
            r"captions_val2014\.json should hold one JSON object, not a whole number",
        ),
        (
            without_a_picture,
            r"train2014 lacks 1 of the 4 images that captions_train2014\.json lists: "
            r"COCO_train2014_000000000025\.jpg",
        ),
        (
            change("captions", "train2014", lambda d: d["images"][0].update(file_name="../x.jpg")),
            r"train2014 lacks 1 of the 4 images .*: \.\./x\.jpg",
        ),
        (
            change("captions", "val2014", lambda d: d.pop("images")),
            r"captions_val2014\.json has no list 'images'",
        ),
        (
            change("captions", "val2014", lambda d: d.update(images=[])),
            r"captions_val2014\.json lists no images",
        ),
        (
            change("captions", "train2014", lambda d: d["annotations"][1].pop("caption")),
            r"Entry 1 of 'annotations' in .*captions_train2014\.json needs image_id \(whole "
            r"number\), caption \(text\), got .*'image_id': 9",
        ),
        (
            change("captions", "train2014", lambda d: d["annotations"].insert(0, None)),
            r"Entry 0 of 'annotations' .* got 'None'",
        ),
        (
            change("captions", "train2014", lambda d: d["images"][2].update(id=True)),
            r"Entry 2 of 'images' in .* needs id \(whole number\)",
        ),
        (
            change("captions", "train2014", lambda d: d["annotations"][0].update(image_id=42)),
            r"captions_train2014\.json annotates image 42, which the captions file does not list",
        ),
        (
            change("instances", "val2014", lambda d: d["annotations"][0].update(image_id=9)),
            r"instances_val2014\.json annotates image 9,",
        ),
        (
            change("instances", "val2014", lambda d: d["annotations"][0].update(category_id=12)),
            r"instances_val2014\.json has an object of category 12",
        ),
        (
            change("instances", "val2014", lambda d: d["annotations"][0].pop("category_id")),
            r"Entry 0 of 'annotations' .* needs image_id .*, category_id",
        ),
        (
            change("instances", "val2014", lambda d: d["categories"][0].update(name="people")),
            "differ in categories",
        ),
    ],
)
def test_damage_is_told(folder: Path, damage: Callable[[Path], Any], message: str) -> None:
    damage(folder)
    with pytest.raises(TableError, match=message) as caught:
        load_coco_captions(folder)
    assert str(caught.value).endswith("it holds train2014, val2014 and annotations.")
    assert "\n" not in str(caught.value)


def test_releases_that_share_an_image_are_refused(folder: Path) -> None:
    change("captions", "val2014", lambda d: d["images"][0].update(id=9))(folder)
    change("captions", "val2014", lambda d: d["annotations"].clear())(folder)
    change("instances", "val2014", lambda d: d["annotations"].clear())(folder)
    with pytest.raises(TableError, match=r"share no image, those in .* both list 9"):
        load_coco_captions(folder)


def test_no_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"coco does not exist\. Download COCO's 2014"):
        load_coco_captions(tmp_path / "coco")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"words": 0}, "words must be at least 1, got 0"),
        ({"categories": 0}, "categories must be at least 1, got 0"),
        ({"verified_share": 2.0}, "share from 0 to 1, got 2.0"),
    ],
)
def test_numbers_out_of_range_are_refused(
    folder: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(LatentLabelsError, match=message):
        load_coco_captions(folder, **arguments)


def test_no_tags_wanted_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(LatentLabelsError, match="tags must be at least 1, got -1"):
        load_coco_flickr(folder, tmp_path / "tags.tsv", tags=-1)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("dining-table", "Did you mean 'dining table'?"), ("zeppelin", "They are person, cat, dog, ")],
)
def test_unknown_categories_are_told(folder: Path, name: str, hint: str) -> None:
    with pytest.raises(LabelError) as caught:
        load_coco_captions(folder, categories=["dog", name])
    assert f"no category {name!r}. {hint}" in str(caught.value)
