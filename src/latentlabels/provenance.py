"""Where a model came from: what was fitted, on what, with which versions, by which command."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from shlex import join
from typing import Any, Final

from latentlabels.data.shards import MANIFEST

PACKAGES: Final = ("latentlabels", "lightning", "numpy", "torch")


def of_fit(seed: int) -> dict[str, Any]:
    """What is known of every fit: when, its seed, and the versions it ran with.

    Args:
        seed: of everything random in it.
    """
    versions = {name: metadata.version(name) for name in PACKAGES}
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": seed,
        "versions": {"python": platform.python_version(), **versions},
    }


def of_table(path: Path, rows: int) -> dict[str, Any]:
    """What tells a table from any other.

    Args:
        path: the file; or a folder of shards, known by its manifest, which has their checksums.
        rows: rows that were read from it.

    Raises:
        OSError: it cannot be read.
    """
    with (path / MANIFEST if path.is_dir() else path).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    return {"table": path.name, "sha256": digest.hexdigest(), "rows": rows}


def of_command(arguments: Sequence[str]) -> dict[str, Any]:
    """What was typed, as a shell would take it.

    Args:
        arguments: what stood behind the program's name.
    """
    return {"command": join(["latentlabels", *arguments])}
