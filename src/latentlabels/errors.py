"""What the library raises when its input cannot be used, and how messages show what came."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import SupportsInt

LONGEST_SHOWN = 60
# Comparing all letters of two names takes time by the product of their lengths.
MOST_COMPARED = 10_000

_first_row: ContextVar[int] = ContextVar("first_row", default=0)


class LatentLabelsError(ValueError):
    """Input that cannot be used; the message says what was wanted, what came and what to do."""


class TableError(LatentLabelsError):
    """A table's file, columns or cells cannot be used."""


class LabelError(LatentLabelsError):
    """Labels do not fit the vocabulary, or are missing where they are needed."""


class ModelFolderError(LatentLabelsError):
    """A model's folder is incomplete, damaged or of another version."""


class InputError(LatentLabelsError):
    """An example that cannot be used; the message is a short reason, without the row."""


class BackboneError(LatentLabelsError):
    """A backbone cannot be had: unknown, not at hand, or its weights do not fit."""


class DecisionsError(LatentLabelsError):
    """A file of decisions cannot be used, or does not fit the table."""


class OtherProcessError(LatentLabelsError):
    """Another of the processes that train together cannot go on."""


class MissingPackageError(LatentLabelsError):
    """An optional package that something needs is not installed."""


class TrainingWarning(UserWarning):
    """Something came up in training that its user should know of; the message says what to do."""


@contextmanager
def needing(package: str, extra: str) -> Iterator[None]:
    """Import from an optional package inside, and have its absence said with the remedy.

    Args:
        package: its name.
        extra: the extra of ours that installs it.

    Raises:
        MissingPackageError: it cannot be imported.
    """
    try:
        yield
    except ImportError as error:
        raise MissingPackageError(
            f"This needs {package}: pip install 'latentlabels[{extra}]'."
        ) from error


def shortened(text: str, most: int = LONGEST_SHOWN) -> str:
    """A text, cut where it would flood a message."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def shown(value: object) -> str:
    """A value as a message shows it: quoted if it is a text, and not too long."""
    return repr(shortened(value)) if isinstance(value, str) else shortened(repr(value))


def spelt_alike(name: str, names: Iterable[str], most: int = 3) -> list[str]:
    """Names that somebody who wrote `name` may have meant, the likeliest first.

    Long names, and those beyond the first ten thousand, are not looked at.
    """
    if len(name) > LONGEST_SHOWN:
        return []
    short = [other for other in names if len(other) <= LONGEST_SHOWN]
    return difflib.get_close_matches(name, short[:MOST_COMPARED], most)


@contextmanager
def rows_from(first: int) -> Iterator[None]:
    """Work on a part of a table that begins at a row: messages name rows by their place in it."""
    token = _first_row.set(_first_row.get() + first)
    try:
        yield
    finally:
        _first_row.reset(token)


def row_number(row: SupportsInt) -> int:
    """The number of a row in the whole table, for a message; `row` counts in the part at work."""
    return _first_row.get() + int(row)
