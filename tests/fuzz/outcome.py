"""What may come of odd input: a value, or an error that a user can act on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from hypothesis import event

from latentlabels.errors import LabelError, TableError

T = TypeVar("T")
LONGEST_MESSAGE = 1000


def tried(call: Callable[[], T]) -> T | None:
    """What a call gives back, or None if it ends with such an error, in one sentence or a few."""
    try:
        value = call()
    except (TableError, LabelError) as error:
        said, kind = str(error), type(error).__name__
    else:
        event("taken")
        return value
    event(f"refused: {kind}")
    assert 0 < len(said) < LONGEST_MESSAGE
    return None
