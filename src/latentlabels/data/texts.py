"""Texts as they come: a cell's text, or the reason why it is none."""

from __future__ import annotations

from typing import Any

from latentlabels.data.missing import is_missing
from latentlabels.errors import InputError


def read_text(cell: Any) -> str:
    """The text of a cell, unchanged.

    Args:
        cell: a text, or a pyarrow scalar of one.

    Raises:
        InputError: it is missing, blank, something else, or cannot be written in UTF-8.
    """
    if hasattr(cell, "as_py"):
        cell = cell.as_py()
    if is_missing(cell):
        raise InputError("is empty")
    if not isinstance(cell, str):
        raise InputError(f"is no text but {type(cell).__name__}")
    if not cell.strip():
        raise InputError("is empty")
    if not is_whole_text(cell):
        raise InputError("holds half a character")
    return cell


def is_whole_text(text: str) -> bool:
    """Whether a text can be written in UTF-8: JSON and Python know halves of characters too."""
    try:
        # Ascii, as most texts are, needs no look at its letters.
        return text.isascii() or bool(text.encode())
    except UnicodeEncodeError:
        return False
