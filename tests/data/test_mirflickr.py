"""MIRFLICKR-25k from a miniature in the real layout."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from latentlabels.data.labelled_images import LabelledImages
from latentlabels.data.mirflickr import RELEVANT, TOPICS, load_mirflickr
from latentlabels.errors import LabelError, LatentLabelsError, TableError

TAGS = {
    1: ["canon", "sky", "blue"],
    2: ["sky"],
    3: [],
    4: ["Sky", "canon", "canon"],
    5: ["blue", "portrait"],
    6: ["sunset"],
    10: ["sky"],
}
RAW_TAGS = {1: ["Canon EOS 400D", "Sky", "Blue"], 4: ["Canon EOS 400D"]}
ANNOTATED = {"sky": [1, 4, 10], "clouds": [4, 1], "clouds_r1": [4], "plant_life": [2], "sea": []}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    photos = tmp_path / "mirflickr"
    annotations = tmp_path / "mirflickr25k_annotations_v080"
    for path in (photos / "meta" / "tags", photos / "meta" / "tags_raw", photos / "doc"):
        path.mkdir(parents=True)
    annotations.mkdir()
    (photos / "doc" / "common_tags.txt").write_text("sky 845\r\n")
    (annotations / "README.txt").write_text("Annotations of the MIRFLICKR-25000 collection\n")
    for number, tags in TAGS.items():
        (photos / f"im{number}.jpg").write_bytes(b"\xff\xd8\xff")
        for kind, own in (("tags", tags), ("tags_raw", RAW_TAGS.get(number, tags))):
            path = photos / "meta" / kind / f"tags{number}.txt"
            path.write_bytes("".join(f"{tag}\r\n" for tag in own).encode())
    for topic in TOPICS + RELEVANT:
        lines = "".join(f"{number}\r\n" for number in ANNOTATED.get(topic, []))
        (annotations / f"{topic}.txt").write_bytes(lines.encode())
    return tmp_path


@pytest.fixture
def loaded(folder: Path) -> LabelledImages:
    return load_mirflickr(folder, least_uses=2, verified_share=1)


def test_rows(loaded: LabelledImages, folder: Path) -> None:
    """Four photos have the tag sky, two canon and two blue; photo 4 has canon twice."""
    assert loaded.ids.tolist() == [1, 2, 3, 4, 5, 6, 10]
    assert loaded.images == tuple(folder / "mirflickr" / f"im{number}.jpg" for number in TAGS)
    assert loaded.noisy_names == ("sky", "blue", "canon")
    assert loaded.noisy == (
        ("sky", "blue", "canon"),
        ("sky",),
        (),
        ("sky", "canon"),
        ("blue",),
        (),
        ("sky",),
    )
    assert loaded.clean_names == TOPICS
    assert loaded.clean == (
        ("clouds", "sky"),
        ("plant_life",),
        (),
        ("clouds", "sky"),
        (),
        (),
        ("sky",),
    )
    parts = ["train", "train", "validation", "test", "test", "train", "train"]
    assert loaded.split.tolist() == parts
    assert loaded.verified.tolist() == [part == "train" for part in parts]


def test_the_numbers_of_topics() -> None:
    assert len(set(TOPICS)) == 24
    assert len(set(RELEVANT)) == 14
    assert {topic.removesuffix("_r1") for topic in RELEVANT} < set(TOPICS)


def test_stricter_topics(folder: Path) -> None:
    images = load_mirflickr(folder, least_uses=2, relevant=True)
    assert images.clean_names == TOPICS + RELEVANT
    assert images.clean[3] == ("clouds", "sky", "clouds_r1")
    assert images.clean[0] == ("clouds", "sky")


def test_raw_tags(folder: Path) -> None:
    images = load_mirflickr(folder, least_uses=2, raw_tags=True)
    assert images.noisy_names == ("sky", "blue", "canon eos 400d")
    assert images.noisy[3] == ("canon eos 400d",)


def test_stricter_topics_are_read_on_demand_alone(folder: Path) -> None:
    (folder / "mirflickr25k_annotations_v080" / "sea_r1.txt").unlink()
    shutil.rmtree(folder / "mirflickr" / "meta" / "tags_raw")
    load_mirflickr(folder, least_uses=2)
    with pytest.raises(TableError, match=r"lacks mirflickr25k_annotations_v080/sea_r1\.txt"):
        load_mirflickr(folder, relevant=True)
    with pytest.raises(TableError, match=r"lacks mirflickr/meta/tags_raw"):
        load_mirflickr(folder, raw_tags=True)


def test_a_byte_that_is_no_text_spoils_its_tag_alone(folder: Path) -> None:
    (folder / "mirflickr" / "meta" / "tags" / "tags6.txt").write_bytes(b"caf\xe9\nsky\n")
    images = load_mirflickr(folder, least_uses=1)
    assert images.noisy[5] == ("sky", "caf\ufffd")


def test_by_default_a_tag_has_twenty_photos(folder: Path) -> None:
    with pytest.raises(LabelError, match=r"No tag is used by 20 photos or more in .*tags\. Lower"):
        load_mirflickr(folder)


def append(name: str, line: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / "mirflickr25k_annotations_v080" / name
        path.write_text(path.read_text() + line)

    return damage


def without_photos(folder: Path) -> None:
    for path in (folder / "mirflickr").glob("im*.jpg"):
        path.unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda folder: shutil.rmtree(folder / "mirflickr25k_annotations_v080"),
            r"lacks mirflickr25k_annotations_v080/animals\.txt, .* and 19 more; it holds mir",
        ),
        (
            lambda folder: (folder / "mirflickr25k_annotations_v080" / "sea.txt").unlink(),
            r"lacks mirflickr25k_annotations_v080/sea\.txt; it holds mirflickr, mirflickr25k",
        ),
        (
            lambda folder: shutil.rmtree(folder / "mirflickr" / "meta"),
            r"lacks mirflickr/meta/tags; it holds",
        ),
        (without_photos, r"mirflickr has no photos im1\.jpg"),
        (
            lambda folder: (folder / "mirflickr" / "meta" / "tags" / "tags5.txt").unlink(),
            r"tags has no tags for im5\.jpg",
        ),
        (
            lambda folder: (folder / "mirflickr" / "im5.jpg").unlink(),
            r"tags has tags5\.txt, and the photos of these numbers are not there",
        ),
        (append("sky.txt", "7\n"), r"Line 4 of .*sky\.txt annotates photo 7, .* no im7\.jpg"),
        (append("sea.txt", "im1.jpg\n"), r"Line 1 of .*sea\.txt should be a photo's number, .*im1"),
        (append("sea.txt", "\n0\n"), r"Line 2 of .*sea\.txt should be a photo's number"),
    ],
)
def test_damage_is_told(folder: Path, damage: Callable[[Path], Any], message: str) -> None:
    damage(folder)
    with pytest.raises(TableError, match=message) as caught:
        load_mirflickr(folder, least_uses=2)
    assert "Download mirflickr25k.zip and mirflickr25k_annotations_v080.zip" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"nowhere does not exist\. Download mirflickr25k"):
        load_mirflickr(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"least_uses": 0}, "least_uses must be at least 1, got 0"),
        ({"least_uses": 2, "verified_share": -1.0}, "share from 0 to 1"),
    ],
)
def test_numbers_out_of_range_are_refused(
    folder: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(LatentLabelsError, match=message):
        load_mirflickr(folder, **arguments)
