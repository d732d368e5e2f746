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
    try:
        cell.encode()
    except UnicodeEncodeError:
        raise InputError("holds half a character") from None
    return cell
