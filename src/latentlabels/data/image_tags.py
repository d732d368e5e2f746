"""Files of tags that people gave to numbered images."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from latentlabels.data.folders import read_json_object
from latentlabels.errors import TableError

SUFFIXES: Final = (".json", ".jsonl", ".ndjson", ".tsv", ".txt")
REMEDY: Final = (
    'A tag file is a .json of {"<image number>": ["<tag>", ...], ...}, a .jsonl of '
    '{"image_id": <number>, "tags": ["<tag>", ...]} a line, or a .tsv of '
    "<number><tab><tag> <tag> ... a line."
)


def read_image_tags(path: Path) -> dict[int, set[str]]:
    """The tags of each image, in lower case.

    The suffix says how the file is written, always in UTF-8:

    - `.json`, an object from image number to list of tags: `{"9": ["lunch", "bento"], ...}`;
    - `.jsonl` or `.ndjson`, an object a line: `{"image_id": 9, "tags": ["lunch", "bento"]}`;
    - `.tsv` or `.txt`, a line an image: its number, a tab, and its tags between spaces, as Flickr
      writes tags without spaces in them. An image without tags is its number alone.

    Args:
        path: the file.

    Raises:
        TableError: no such file, another suffix, something else in it, or an image twice.
        OSError: the file cannot be opened.
    """
    if not path.is_file():
        raise TableError(f"There is no tag file {path}. {REMEDY}")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise TableError(f"{path} ends in none of {', '.join(SUFFIXES)}. {REMEDY}")
    tags: dict[int, set[str]] = {}
    for place, number, own in _from_json(path) if suffix == ".json" else _from_lines(path):
        if not (_is_number(number) and isinstance(own, list) and all(_is_text(t) for t in own)):
            raise TableError(
                f"{place} of {path} is no image number with a list of tags: "
                f"{str(number)[:40]!r} with {str(own)[:40]!r}. {REMEDY}"
            )
        image = int(number)
        if image in tags:
            raise TableError(f"{path} has the image {image} twice. Leave one, or join their tags.")
        tags[image] = {tag.strip().lower() for tag in own} - {""}
    return tags


def _from_json(path: Path) -> Iterator[tuple[str, Any, Any]]:
    for place, (number, own) in enumerate(read_json_object(path, REMEDY).items()):
        yield f"Entry {place}", number, own


def _from_lines(path: Path) -> Iterator[tuple[str, Any, Any]]:
    parse = _from_tsv_line if path.suffix.lower() in (".tsv", ".txt") else _from_json_line
    try:
        # Not str.splitlines, which cuts at rarer characters too, and a tag may hold one.
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise TableError(f"{path} is not text in UTF-8 ({error.reason}). {REMEDY}") from error
    for place, line in enumerate(lines, start=1):
        if line.strip():
            yield f"Line {place}", *parse(line)


def _from_tsv_line(line: str) -> tuple[Any, Any]:
    number, _, own = line.strip().partition("\t")
    return number, own.split()


def _from_json_line(line: str) -> tuple[Any, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return line, None
    if not isinstance(value, dict):
        return line, None
    return value.get("image_id"), value.get("tags")


def _is_number(value: object) -> bool:
    """Whether a value is a whole number, or the text of one that can be an image's."""
    text = str(value) if isinstance(value, str | int) else ""
    return text.isascii() and text.isdigit() and len(text) <= 18


def _is_text(value: object) -> bool:
    return isinstance(value, str)
