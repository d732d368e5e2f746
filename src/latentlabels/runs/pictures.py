"""Pictures as a browser gets them: of the given folder alone, decoded, and encoded anew."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from latentlabels.data.images import decode_image, read_content
from latentlabels.errors import InputError

LARGEST_SIDE: Final = 1600
"""Pixels of a served picture."""
LOSSLESS_SIDE: Final = 256
MOST_BYTES: Final = 1 << 27
"""Bytes of a picture's file; larger ones are not read for a page."""


def as_served(cell: Any, folder: Path, side: int = LARGEST_SIDE) -> tuple[bytes, str]:
    """A picture for a browser, and its media type.

    What is sent was drawn from pixels: nothing else that a file holds gets through.

    Args:
        cell: a path, an encoded picture as bytes, or a Hugging Face image.
        folder: where paths start, and whose files alone are read; without links in its own path.
        side: pixels that it has at most, in height and in width.

    Raises:
        InputError: there is no picture, or none that may be shown.
    """
    image = decode_image(read_content(_inside(cell, folder)))
    image.thumbnail((side, side))
    kind = "PNG" if max(image.size) <= LOSSLESS_SIDE else "JPEG"
    file = io.BytesIO()
    image.save(file, kind, quality=90)
    return file.getvalue(), f"image/{kind.lower()}"


def _inside(cell: Any, folder: Path) -> Any:
    """A cell whose path, if it is one, leads to a file in the folder, whatever links it follows."""
    if isinstance(cell, Mapping):
        cell = cell.get("path") if cell.get("bytes") is None else cell["bytes"]
    if not isinstance(cell, str) or not cell.strip():
        return cell
    try:
        path = (folder / cell.strip()).resolve()
        size = path.stat().st_size if path.is_file() else 0
    except (OSError, RuntimeError, ValueError) as error:
        # A link to itself, a name that is too long, or one with a zero byte.
        raise InputError("cannot be read") from error
    if not path.is_relative_to(folder):
        raise InputError("lies outside the folder of pictures")
    if size > MOST_BYTES:
        raise InputError(f"file larger than {MOST_BYTES >> 20} MB")
    return path
