"""What is loaded of a miniature of COCO, worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from tests.small_coco import CAPTIONS, CATEGORIES, ROWS, name_of, write_coco

from latentlabels.data.cells import Kind, label_cells
from latentlabels.data.coco import load_coco_captions, load_coco_flickr, times_named
from latentlabels.data.coco_annotations import words_of
from latentlabels.data.labelled_images import LabelledImages
from latentlabels.errors import TableError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_coco(tmp_path / "coco")


@pytest.fixture
def loaded(folder: Path) -> LabelledImages:
    return load_coco_captions(folder, words=7, categories=3, verified_share=0.5)


def test_words_are_counted_in_training_captions(loaded: LabelledImages) -> None:
    """Every occurrence counts, "toast" twice in one caption; equal counts go by spelling."""
    assert loaded.noisy_names == ("a", "dog", "dining", "glass", "table", "toast", "wine")


def test_categories_are_those_that_captions_name(loaded: LabelledImages) -> None:
    """Three captions name dogs, two dining tables; of those named once, cat is first."""
    assert loaded.clean_names == ("cat", "dog", "dining table")


def test_rows(loaded: LabelledImages, folder: Path) -> None:
    assert len(loaded) == 8
    assert loaded.ids.tolist() == ROWS
    assert loaded.images == tuple(
        folder / release / name_of(release, image)
        for release in CAPTIONS
        for image in sorted(CAPTIONS[release])
    )
    assert loaded.noisy == (
        ("a", "dog", "dining", "table"),
        ("a", "dog", "glass", "wine"),
        ("a", "glass", "toast", "wine"),
        ("a", "dog", "dining", "table"),
        (),
        ("a", "glass", "wine"),
        (),
        ("dog",),
    )
    assert loaded.clean == (
        ("dog", "dining table"),
        (),
        (),
        ("dog",),
        (),
        (),
        ("cat",),
        ("dog",),
    )
    assert loaded.split.tolist() == ["train"] * 4 + ["validation"] * 2 + ["test"] * 2
    assert loaded.verified.sum() == 2
    assert not loaded.verified[4:].any()


def test_defaults_take_all_of_a_miniature(folder: Path) -> None:
    images = load_coco_captions(folder)
    assert images.clean_names == tuple(name for _, name in CATEGORIES.values())
    assert images.clean[3] == ("person", "dog")
    assert len(images.noisy_names) == 19
    assert "toaster" not in images.noisy_names
    assert images.verified.sum() == 1


def test_categories_by_name(folder: Path) -> None:
    images = load_coco_captions(folder, categories=["toaster", "person"])
    assert images.clean_names == ("person", "toaster")
    assert images.clean[3:5] == (("person",), ("toaster",))


def test_seed_and_share_choose_verified_rows_alone(folder: Path, loaded: LabelledImages) -> None:
    choices = [
        load_coco_captions(folder, words=7, categories=3, verified_share=0.5, seed=seed)
        for seed in range(8)
    ]
    assert len({tuple(choice.verified.tolist()) for choice in choices}) > 1
    for choice in choices:
        assert choice.noisy == loaded.noisy
        assert choice.split.tolist() == loaded.split.tolist()


def test_a_table_can_be_read_as_labels(loaded: LabelledImages) -> None:
    table = loaded.to_table()
    names = pa.list_(pa.string())
    assert table.schema == pa.schema(
        {
            "id": pa.int64(),
            "image": pa.string(),
            "noisy": names,
            "clean": names,
            "split": pa.string(),
            "verified": pa.bool_(),
        }
    )
    assert table["image"].to_pylist() == [str(path) for path in loaded.images]
    for column, labels in (("noisy", loaded.noisy), ("clean", loaded.clean)):
        assert label_cells(table, [column], kind=Kind.MULTILABEL) == [*map(list, labels)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A man's dog.", ["a", "man", "s", "dog"]),
        ("black-and-white, 2 CATS_3", ["black", "and", "white", "cats"]),
        ("Une crêpe ÉNORME", ["une", "crêpe", "énorme"]),
        (" \n42!", []),
    ],
)
def test_words_are_runs_of_letters(text: str, words: list[str]) -> None:
    assert list(words_of(text)) == words


def test_a_name_is_found_whole_and_in_order() -> None:
    captions = [("wine", "glass"), ("glass", "wine"), ("wine", "glasses"), ("a", "wine", "glass")]
    assert times_named(["wine glass", "glass", "toaster"], [captions[:2], captions[2:]]) == {
        "wine glass": 2,
        "glass": 3,
        "toaster": 0,
    }


TAGS = {"9": ["Dog", "lunch", " "], "73": ["wine", "lunch"], "25": [], "133": ["cat"],
        "34": ["dog", "DOG"]}  # fmt: skip


def as_json(tags: dict[str, list[str]]) -> str:
    return json.dumps(tags)


def as_json_lines(tags: dict[str, list[str]]) -> str:
    lines = [json.dumps({"image_id": int(image), "tags": own}) for image, own in tags.items()]
    return "\n".join([*lines, ""])


def as_tsv(tags: dict[str, list[str]]) -> str:
    lines = [f"{image}\t{' '.join(own)}" for image, own in tags.items()]
    return "\r\n".join([*lines, "", ""])


@pytest.mark.parametrize(
    ("name", "written"),
    [("tags.json", as_json), ("tags.jsonl", as_json_lines), ("t.tsv", as_tsv), ("t.TXT", as_tsv)],
)
def test_flickr_tags(
    folder: Path, tmp_path: Path, name: str, written: Callable[[dict[str, list[str]]], str]
) -> None:
    path = tmp_path / name
    path.write_text("\ufeff" + written(TAGS), encoding="utf-8", newline="")
    images = load_coco_flickr(folder, path, tags=2, categories=3, verified_share=1)
    assert images.noisy_names == ("dog", "lunch")
    assert images.ids.tolist() == [9, 25, 34, 73, 133]
    assert images.noisy == (("dog", "lunch"), (), ("dog",), ("lunch",), ())
    assert images.clean_names == ("cat", "dog", "dining table")
    assert images.clean == (("dog", "dining table"), (), ("dog",), (), ("dog",))
    assert images.split.tolist() == ["train"] * 3 + ["validation", "test"]
    assert images.verified.tolist() == [True] * 3 + [False] * 2
    assert isinstance(images.images, tuple)
    assert images.images[3] == folder / "val2014" / "COCO_val2014_000000000073.jpg"


def test_tags_of_other_images_and_no_tags_are_refused(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "tags.tsv"
    path.write_text("9\tdog\n8119368305\tcat\n5\tcat")
    with pytest.raises(TableError, match=r"tags for 5, 8119368305, .* not Flickr's photo numbers"):
        load_coco_flickr(folder, path)
    with pytest.raises(TableError, match=r"no tag file .*missing\.tsv"):
        load_coco_flickr(folder, tmp_path / "missing.tsv")
