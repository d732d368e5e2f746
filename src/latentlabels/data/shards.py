"""Tables in shards: a folder of Parquet files whose rows follow one another, and their manifest.

The manifest is written last. Without it the folder counts as nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter, ValidationError

from latentlabels.data.parts import ParquetTable
from latentlabels.errors import TableError

# Readers of folders of Parquet files pass over names that begin with an underscore.
MANIFEST: Final = "_manifest.json"


@dataclass(frozen=True)
class Shard:
    """What a manifest says of a shard.

    Attributes:
        file: its name in the folder.
        rows: how many it has.
        sha256: of its content.
    """

    file: Annotated[str, Field(pattern=r"^part-[0-9]{5,}-of-[0-9]{5,}\.parquet$")]
    rows: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> Shard:
        """A shard as it lies on the disk.

        Raises:
            TableError: it is no Parquet file.
        """
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return cls(path.name, ParquetTable([path]).num_rows, digest)


@dataclass(frozen=True)
class Manifest:
    """The shards that belong together, in order.

    Attributes:
        schema: of the manifest.
        rows: of all shards.
        shards: at least one.
    """

    schema: Literal[1]
    rows: int
    shards: Annotated[list[Shard], Field(min_length=1)]


READER: Final = TypeAdapter(Manifest)


def shard_name(number: int, count: int) -> str:
    """The file of one shard of several, numbered from 0; by name they are in order."""
    return f"part-{number:05}-of-{count:05}.parquet"


def write_manifest(folder: Path, shards: Sequence[Shard]) -> None:
    """Commit shards together: write the manifest aside, and rename it.

    Args:
        folder: where they are.
        shards: in order.
    """
    manifest = Manifest(1, sum(shard.rows for shard in shards), list(shards))
    aside = folder / f".{MANIFEST}.tmp"
    aside.write_bytes(READER.dump_json(manifest, indent=1) + b"\n")
    aside.replace(folder / MANIFEST)


def open_shards(folder: Path) -> ParquetTable:
    """The table in a folder of shards.

    Raises:
        TableError: no manifest or one that cannot be read, or shards that are not those it names.
    """
    try:
        manifest = READER.validate_json((folder / MANIFEST).read_bytes())
    except FileNotFoundError as error:
        raise TableError(
            f"{folder} is a folder without {MANIFEST}; a table is one file, or the folder that "
            "several processes leave when all have ended well."
        ) from error
    except ValidationError as error:
        raise TableError(
            f"{folder / MANIFEST} is no manifest of schema 1. Write the table anew."
        ) from error
    for shard in manifest.shards:
        path = folder / shard.file
        if not path.is_file():
            raise TableError(f"{folder} lacks {shard.file}, which its manifest names.")
        if Shard.of(path) != shard:
            raise TableError(f"{path} is not the file that the manifest names: it was changed.")
    return ParquetTable([folder / shard.file for shard in manifest.shards])
