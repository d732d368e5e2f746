"""Pictures of a table as other tools want them: by a path, or as a file with the right ending."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from latentlabels.data.images import FORMATS, read_content
from latentlabels.errors import InputError, TableError, shown
from latentlabels.exports.rows import Examples

FOLDER = "data"


def picture_paths(examples: Examples, out: Path) -> Iterator[tuple[str, bool]]:
    """Where each picture lies: its path as the table has it, or a file that is written for it.

    Args:
        examples: pictures.
        out: pictures that the table holds as bytes are written to its folder `data`.

    Yields:
        The path, and whether it was written, and so starts at `out`.

    Raises:
        TableError: a cell that holds no picture, with its row.
    """
    for row, cell in enumerate(cells_of(examples)):
        path = path_in(cell)
        if path is not None:
            yield path, False
            continue
        content, kind = picture_in(cell, examples, row)
        (out / FOLDER).mkdir(exist_ok=True)
        name = f"{FOLDER}/{row:08}.{'jpg' if kind == 'JPEG' else kind.lower()}"
        (out / name).write_bytes(content)
        yield name, True


def cells_of(examples: Examples) -> Iterator[Any]:
    """The cells one by one: all pictures of a table need not fit into memory."""
    for chunk in examples.column.chunks:
        for scalar in chunk:
            yield scalar.as_py()


def path_in(cell: Any) -> str | None:
    """The path in a cell, if that is what it holds."""
    if isinstance(cell, Mapping) and cell.get("bytes") is None:
        cell = cell.get("path")
    return cell.strip() or None if isinstance(cell, str) else None


def picture_in(cell: Any, examples: Examples, row: int) -> tuple[bytes, str]:
    """A picture's bytes, and the name of their format.

    Raises:
        TableError: a cell that holds no picture.
    """
    try:
        content = read_content(cell)
        return content, _format_of(content)
    except InputError as error:
        raise TableError(
            f"Row {row} of column {shown(examples.name)} {error} (the exported rows count from 0). "
            "Correct it, or leave the row out."
        ) from error


def _format_of(content: bytes) -> str:
    with warnings.catch_warnings():
        # Of very many pixels, which are not decoded here.
        warnings.simplefilter("ignore")
        try:
            kind = Image.open(io.BytesIO(content), formats=FORMATS).format
        except Exception as error:
            raise InputError("is no picture") from error
    assert kind is not None
    return kind
