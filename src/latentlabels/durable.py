"""Files that outlast a power cut: on the disk before they are given their names."""

from __future__ import annotations

import os
from pathlib import Path


def settle(path: Path) -> None:
    """Wait until a file, or all that is in a folder, is on the disk."""
    if path.is_dir():
        for inner in path.iterdir():
            settle(inner)
    _flush(path)


def put_in_place(new: Path, place: Path) -> None:
    """Rename a file, or a folder to where none is, once it is on the disk."""
    settle(new)
    new.replace(place)
    _flush(place.parent)


def _flush(path: Path) -> None:
    if os.name == "nt" and path.is_dir():  # it cannot be opened there
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
