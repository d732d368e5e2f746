"""A folder of shards is a table with its manifest, and nothing without."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import pytest
from tests.small_shards import in_shards

from latentlabels.data.shards import MANIFEST, Shard, shard_name, write_manifest
from latentlabels.data.table import open_table, read_table
from latentlabels.errors import TableError
from latentlabels.provenance import of_table

TABLE = pa.table({"row": range(30), "names": [["a"]] * 30})


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """A folder of ten shards."""
    return in_shards(TABLE, tmp_path / "cleaned.parquet", 10)


def test_shards_are_read_as_one_table(shards: Path) -> None:
    assert read_table(shards).equals(TABLE)
    assert open_table(shards).num_rows == 30
    assert pd.read_parquet(shards)["row"].tolist() == list(range(30))
    assert pa.dataset.dataset(shards, format="parquet").to_table().equals(TABLE)
    manifest = json.loads((shards / MANIFEST).read_text())
    assert (manifest["schema"], manifest["rows"], len(manifest["shards"])) == (1, 30, 10)


def test_shards_are_known_by_their_checksums(shards: Path) -> None:
    before = of_table(shards, 30)
    assert before == of_table(shards, 30)
    assert (before["table"], before["rows"]) == ("cleaned.parquet", 30)
    pa.parquet.write_table(TABLE.slice(0, 3), shards / shard_name(9, 10))
    write_manifest(shards, [Shard.of(shards / shard_name(number, 10)) for number in range(10)])
    assert of_table(shards, 30)["sha256"] != before["sha256"]


def test_without_a_manifest_there_is_no_table(shards: Path) -> None:
    (shards / MANIFEST).unlink()
    with pytest.raises(TableError, match=r"is a folder without _manifest.json"):
        read_table(shards)


def test_shards_that_are_not_those_of_the_manifest_are_refused(shards: Path) -> None:
    shard = shards / shard_name(3, 10)
    pa.parquet.write_table(TABLE.slice(0, 3), shard)
    with pytest.raises(TableError, match=r"part-00003-of-00010.parquet is not the file"):
        read_table(shards)
    shard.write_bytes(b"no Parquet")
    with pytest.raises(TableError, match=r"part-00003-of-00010.parquet is not a Parquet file"):
        read_table(shards)
    shard.unlink()
    with pytest.raises(TableError, match=r"lacks part-00003-of-00010.parquet"):
        read_table(shards)


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"schema": 2, "shards": []}',
        '{"schema": 1, "shards": []}',
        '{"schema": 1, "shards": [{"file": "../t.parquet", "rows": 1, "sha256": "0"}]}',
        '{"schema": 1, "shards": [{"file": "part-00000-of-00001.parquet"}]}',
    ],
)
def test_a_manifest_of_another_kind_is_refused(shards: Path, content: str) -> None:
    (shards / MANIFEST).write_text(content)
    with pytest.raises(TableError, match=r"is no manifest of schema 1"):
        read_table(shards)
