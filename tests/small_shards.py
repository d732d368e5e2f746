"""Tables in shards, as several processes write them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from latentlabels.data.shards import Shard, shard_name, write_manifest


def in_shards(table: pa.Table, folder: Path, count: int) -> Path:
    """Write a table to a new folder, in shards of as many rows each; the last has the rest."""
    folder.mkdir()
    files = [folder / shard_name(number, count) for number in range(count)]
    rows = -(-len(table) // count)
    for number, file in enumerate(files):
        pa.parquet.write_table(table.slice(rows * number, rows), file)
    write_manifest(folder, list(map(Shard.of, files)))
    return folder
