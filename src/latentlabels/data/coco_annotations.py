"""MS-COCO 2014's annotation files: its images, their captions, and the objects in them."""

from __future__ import annotations

import re
import sys
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from latentlabels.data.folders import entries, files_in, listing, read_json_object, require_entries
from latentlabels.errors import TableError

RELEASES: Final = ("train2014", "val2014")
KINDS: Final = ("captions", "instances")
REMEDY: Final = (
    "Download COCO's 2014 Train images, Val images and Train/Val annotations from "
    "https://cocodataset.org/#download and unpack them into one folder, so that it holds "
    "train2014, val2014 and annotations."
)
WORD: Final = re.compile(r"[^\W\d_]+")

Caption: TypeAlias = tuple[str, ...]


@dataclass(frozen=True)
class Release:
    """What one of the two releases holds, each mapping in the order of the images' numbers.

    Attributes:
        files: each image's file.
        captions: each image's captions, as words in lower case.
        objects: the categories of the objects in each image.
        categories: all categories, in the order of their numbers.
    """

    files: dict[int, Path]
    captions: dict[int, list[Caption]]
    objects: dict[int, set[str]]
    categories: tuple[str, ...]


def read_coco(folder: Path) -> tuple[Release, Release]:
    """The releases train2014 and val2014.

    Args:
        folder: holds the folders train2014, val2014 and annotations.

    Raises:
        TableError: something is missing or damaged, an annotation is of an image that is not
            listed, a listed image has no file, or the releases do not go together.
        OSError: a file cannot be opened.
    """
    annotations = [f"annotations/{kind}_{name}.json" for name in RELEASES for kind in KINDS]
    require_entries(folder, [*annotations, *RELEASES], REMEDY)
    train, held_out = (_read_release(folder, name) for name in RELEASES)
    common = sorted(train.files.keys() & held_out.files.keys())
    if common:
        raise TableError(
            f"The releases of COCO share no image, those in {folder} both list "
            f"{listing([*map(str, common)])}. {REMEDY}"
        )
    if train.categories != held_out.categories:
        raise TableError(f"The two instances files in {folder} differ in categories. {REMEDY}")
    return train, held_out


def _read_release(folder: Path, name: str) -> Release:
    captions_file, instances_file = (
        folder / "annotations" / f"{kind}_{name}.json" for kind in KINDS
    )
    document = read_json_object(captions_file, REMEDY)
    files = _image_files(document, captions_file, folder / name)
    captions: dict[int, list[Caption]] = {image: [] for image in files}
    fields: dict[str, type] = {"image_id": int, "caption": str}
    for image, caption in entries(document, "annotations", fields, captions_file, REMEDY):
        _require_listed(image, files, captions_file)
        captions[image].append(words_of(caption))

    document = read_json_object(instances_file, REMEDY, object_hook=_without_outline)
    fields = {"id": int, "name": str}
    names = dict(sorted(entries(document, "categories", fields, instances_file, REMEDY)))
    objects: dict[int, set[str]] = {image: set() for image in files}
    fields = {"image_id": int, "category_id": int}
    for image, category in entries(document, "annotations", fields, instances_file, REMEDY):
        _require_listed(image, files, instances_file)
        if category not in names:
            raise TableError(
                f"{instances_file} has an object of category {category}, and its list of "
                f"categories has no such number. {REMEDY}"
            )
        objects[image].add(names[category])
    return Release(files, captions, objects, tuple(names.values()))


def words_of(caption: str) -> Caption:
    """The runs of letters in a text, in lower case."""
    # Millions of words, of which a few thousand differ: each is kept once.
    return tuple(sys.intern(word) for word in WORD.findall(caption.lower()))


def _image_files(document: dict[str, Any], path: Path, pictures: Path) -> dict[int, Path]:
    """Each listed image's file, by its number and in the order of the numbers."""
    fields: dict[str, type] = {"id": int, "file_name": str}
    names = dict(sorted(entries(document, "images", fields, path, REMEDY)))
    if not names:
        raise TableError(f"{path} lists no images. {REMEDY}")
    # The folder's entries are asked once, which is quicker than asking for each of 82,783 files,
    # and no name from the file leads out of it.
    there = files_in(pictures)
    missing = [name for name in names.values() if name not in there]
    if missing:
        raise TableError(
            f"{pictures} lacks {len(missing)} of the {len(names)} images that {path.name} lists: "
            f"{listing(missing)}. {REMEDY}"
        )
    return {image: there[name] for image, name in names.items()}


def _without_outline(value: dict[str, Any]) -> dict[str, Any]:
    """An object of an instances file without its outline, of which all together fill memory."""
    value.pop("segmentation", None)
    return value


def _require_listed(image: int, listed: Container[int], path: Path) -> None:
    if image not in listed:
        raise TableError(
            f"{path} annotates image {image}, which the captions file does not list. {REMEDY}"
        )
