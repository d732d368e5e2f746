"""Tables in shards: a folder of Parquet files whose rows follow one another, and their manifest.

The manifest is written last. Without it the folder counts as nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet

from latentlabels.data.parts import ParquetTable
from latentlabels.errors import TableError

# Readers of folders of Parquet files pass over names that begin with an underscore.
MANIFEST: Final = "_manifest.json"
SCHEMA: Final = 1
NAME: Final = re.compile(r"part-[0-9]{5,}-of-[0-9]{5,}\.parquet")


def shard_name(number: int, count: int) -> str:
    """The file of one shard of several, numbered from 0; by name they are in order."""
    return f"part-{number:05}-of-{count:05}.parquet"


def shard_of(path: Path) -> dict[str, Any]:
    """What a manifest says of a shard."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    rows = pyarrow.parquet.read_metadata(path).num_rows
    return {"file": path.name, "rows": rows, "sha256": digest}


def write_manifest(folder: Path, shards: Sequence[dict[str, Any]]) -> None:
    """Commit shards together: write the manifest aside, and rename it.

    Args:
        folder: where they are.
        shards: what `shard_of` says of each, in order.
    """
    content = {"schema": SCHEMA, "rows": sum(shard["rows"] for shard in shards), "shards": shards}
    aside = folder / f".{MANIFEST}.tmp"
    aside.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    aside.replace(folder / MANIFEST)


def open_shards(folder: Path) -> ParquetTable:
    """The table in a folder of shards.

    Raises:
        TableError: no manifest or one that cannot be read, or shards that are not those it names.
    """
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        assert content["schema"] == SCHEMA
        shards = [(str(s["file"]), int(s["rows"]), str(s["sha256"])) for s in content["shards"]]
        assert shards
        assert all(NAME.fullmatch(name) for name, _, _ in shards)
    except FileNotFoundError as error:
        raise TableError(
            f"{folder} is a folder without {MANIFEST}; a table is one file, or the folder that "
            "several processes leave when all have ended well."
        ) from error
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        raise TableError(
            f"{folder / MANIFEST} is no manifest of schema {SCHEMA}. Write the table anew."
        ) from error
    for name, rows, digest in shards:
        path = folder / name
        if not path.is_file():
            raise TableError(f"{folder} lacks {name}, which its manifest names. Write it anew.")
        found = shard_of(path)
        if (found["rows"], found["sha256"]) != (rows, digest):
            raise TableError(
                f"{path} is not the file that the manifest names: its content has changed. "
                "Write the table anew."
            )
    return ParquetTable([folder / name for name, _, _ in shards])
