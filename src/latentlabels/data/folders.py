"""Folders of downloaded data: whether everything is there, and what is in the files.

All errors are `TableError`s that name the file, say what was wanted and end in the given remedy.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from latentlabels.errors import TableError

ENTRIES_SHOWN: Final = 5


def require_entries(folder: Path, wanted: Sequence[str], remedy: str) -> None:
    """Raise `TableError` unless `folder` is a folder that has all `wanted`, paths inside it."""
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise TableError(f"{folder} {what}. {remedy}")
    missing = [name for name in wanted if not (folder / name).exists()]
    if missing:
        found = sorted(path.name for path in folder.iterdir())
        holds = f"holds {listing(found)}" if found else "is empty"
        raise TableError(f"{folder} lacks {listing(missing)}; it {holds}. {remedy}")


def files_in(folder: Path) -> dict[str, Path]:
    """The entries of a folder by their names."""
    return {path.name: path for path in folder.iterdir()}


def listing(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    shown = ", ".join(names[:ENTRIES_SHOWN])
    more = len(names) - ENTRIES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def read_json_object(
    path: Path, remedy: str, *, object_hook: Callable[[dict[str, Any]], Any] | None = None
) -> dict[str, Any]:
    """A JSON file that is one object; `object_hook` is that of `json.load`.

    Raises:
        TableError: text that is not JSON, or another JSON value.
        OSError: the file cannot be opened.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            document = json.load(file, object_hook=object_hook)
    except (ValueError, RecursionError) as error:
        raise TableError(f"{path} is not JSON, or damaged: {error}. {remedy}") from error
    if not isinstance(document, dict):
        raise TableError(f"{path} should hold one JSON object, not a {_kind(document)}. {remedy}")
    return document


def entries(
    document: Mapping[str, Any], section: str, fields: Mapping[str, type], path: Path, remedy: str
) -> Iterator[tuple[Any, ...]]:
    """Some fields of each object in a list of a JSON file.

    Args:
        document: the file's object.
        section: the key of the list.
        fields: the fields' names and the kinds that their values have.
        path: the file.
        remedy: the end of an error's message.

    Yields:
        The values of the fields, in their order.

    Raises:
        TableError: no such list, or an entry without one of the fields, or of another kind.
    """
    listed = document.get(section)
    if not isinstance(listed, list):
        raise TableError(f"{path} has no list {section!r}. {remedy}")
    for place, entry in enumerate(listed):
        values = tuple(entry.get(name) if isinstance(entry, dict) else None for name in fields)
        # A boolean is an int to Python alone.
        if any(type(value) is not fields[name] for name, value in zip(fields, values, strict=True)):
            wanted = ", ".join(f"{name} ({_KINDS[kind]})" for name, kind in fields.items())
            raise TableError(
                f"Entry {place} of {section!r} in {path} needs {wanted}, got {str(entry)[:80]!r}. "
                f"{remedy}"
            )
        yield values


_KINDS: Final = {
    int: "whole number",
    float: "number",
    str: "text",
    list: "list",
    dict: "object",
    bool: "boolean",
    type(None): "null",
}


def _kind(value: object) -> str:
    return _KINDS[type(value)]
