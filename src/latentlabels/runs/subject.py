"""What a run is about: one version of one table, and what names its rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa


@dataclass(frozen=True)
class Subject:
    """What the decisions in a file are about.

    Attributes:
        table: name of the table's file.
        sha256: of its content.
        rows: how many it has.
        ids: columns that name its rows; none where their numbers do.
        exclusive: whether a row has exactly one label.
    """

    table: str
    sha256: str
    rows: int
    ids: tuple[str, ...]
    exclusive: bool


def row_names(ids: pa.Table) -> list[str]:
    """What names each row: a JSON list of the id columns' values as text."""
    columns = [column.to_pylist() for column in ids.columns]
    return [row_name(values) for values in zip(*columns, strict=True)]


def row_name(values: Sequence[Any]) -> str:
    """What names a row with these values in the id columns."""
    return json.dumps([str(value) for value in values])
