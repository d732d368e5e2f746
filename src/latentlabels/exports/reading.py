"""Cleaned labels read again from what `clean`, `apply` or an export has written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from latentlabels.cleaning import CleanedLabels
from latentlabels.data.cells import CellForm, Kind, read_labels
from latentlabels.data.columns import InputKind, column_of, flags, input_kind
from latentlabels.data.folders import read_json_object
from latentlabels.data.labels import LabelSpace, Vocabulary
from latentlabels.data.table import FORMATS, read_table
from latentlabels.errors import LabelError, TableError, shown
from latentlabels.exports.rows import CleanedRows, Examples
from latentlabels.results import VOCABULARY_KEY
from latentlabels.store import VOCABULARY

COLUMNS: Final = ("given", "proposed", "added", "removed", "verified", "probabilities")
NAMES: Final = CellForm(Kind.MULTILABEL, None)
ROW_COLUMN: Final = "row"


def read_cleaned(path: Path, model: Path | None = None) -> CleanedRows:
    """Read cleaned labels.

    Args:
        path: a run's folder, or a table of cleaned labels.
        model: the model's folder, which knows the labels' order where the table does not say it; by
            default the folder `model` beside the table.

    Raises:
        TableError: no such table, or one of something else.
        LabelError: a proposal that is not among the labels.
        OSError: a file cannot be opened.
    """
    place = _table_in(path)
    table = read_table(place)
    missing = [name for name in COLUMNS if name not in table.column_names]
    if missing or table.column_names[0] in COLUMNS:
        raise TableError(
            f"{place} is no table of cleaned labels: it lacks "
            f"{', '.join(missing) or 'a column that names the rows'}. `latentlabels clean` and "
            "`apply` write one."
        )
    given, proposed, added, removed = (_names(table, column) for column in COLUMNS[:4])
    names, probabilities = _probabilities(table, place, model or place.parent / "model")
    known = set(names)
    for row, cell in enumerate(proposed):
        for name in cell:
            if name not in known:
                raise LabelError(
                    f"Row {row} of {place} proposes {shown(name)} (rows count from 0), which is "
                    "not among the labels that have probabilities. Name the table's own --model."
                )
    labels = CleanedLabels(
        space=LabelSpace(("",), (Vocabulary(tuple(names), exclusive=False),)),
        given=given,
        proposed=proposed,
        added=added,
        removed=removed,
        verified=flags(table, "verified"),
        probabilities=probabilities,
        changes=[],
    )
    reasons = _names(table, "reasons") if "reasons" in table.column_names else None
    return CleanedRows(table.select([0]), labels, reasons=reasons)


def read_examples(
    rows: CleanedRows,
    path: Path,
    column: str,
    *,
    kind: InputKind | None = None,
    folder: Path | None = None,
    prefix: str = "",
) -> Examples:
    """The examples of cleaned rows, from the table that was cleaned.

    Args:
        rows: cleaned labels.
        path: the table.
        column: of the examples.
        kind: what they are; by default what they look like.
        folder: where the paths of pictures start; by default the table's folder.
        prefix: goes before these paths where a format links to pictures.

    Raises:
        TableError: the table is not the one that was cleaned, or has no such column.
        OSError: a file cannot be opened.
    """
    table = read_table(path)
    kind = kind or input_kind(table, [column])
    cells = column_of(table, column).take(_places(rows.ids, table, path))
    return Examples(column, cells, kind, (folder or path.parent).resolve(), prefix)


def _table_in(path: Path) -> Path:
    """The table of cleaned labels that a path names, or that lies in the folder it names."""
    if not path.is_dir():
        return path
    found = sorted(place for suffix in FORMATS for place in path.glob(f"cleaned{suffix}"))
    if len(found) != 1:
        holds = " and ".join(place.name for place in found) or "no table cleaned.parquet"
        raise TableError(f"{path} holds {holds}. Name the table of cleaned labels itself.")
    return found[0]


def _names(table: pa.Table, column: str) -> list[list[Any]]:
    return [list(cell or ()) for cell in read_labels(table, column, NAMES).cells]


def _probabilities(
    table: pa.Table, path: Path, model: Path
) -> tuple[Sequence[str], NDArray[np.float32]]:
    """The labels in their order, and their probabilities, (rows, labels)."""
    column = table.column("probabilities")
    cells = column.to_pylist()
    try:
        # In a CSV they are JSON.
        cells = [json.loads(cell) if isinstance(cell, str) else cell for cell in cells]
    except (ValueError, RecursionError) as error:
        raise _no_probabilities(path) from error
    first = next((cell for cell in cells if cell is not None), None)
    names = list(first) if isinstance(first, dict) else _names_of(table, path, model)
    probabilities = np.full((len(cells), len(names)), np.nan, dtype=np.float32)
    for row, cell in enumerate(cells):
        if isinstance(cell, dict):
            cell = [cell.get(name) for name in names]
        if cell is not None:
            if not isinstance(cell, list) or len(cell) != len(names):
                raise _no_probabilities(path, row, len(names))
            probabilities[row] = _numbers(cell, path, row)
    return names, probabilities


def _numbers(cell: list[Any], path: Path, row: int) -> NDArray[np.float32]:
    try:
        numbers = np.array(cell, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise _no_probabilities(path, row, len(cell)) from error
    if not ((numbers >= 0) & (numbers <= 1)).all():
        raise _no_probabilities(path, row, len(cell))
    return numbers


def _names_of(table: pa.Table, path: Path, model: Path) -> list[str]:
    """The labels in the order of vectors of probabilities."""
    told = (table.schema.metadata or {}).get(VOCABULARY_KEY.encode())
    remedy = "Name the folder of the model that cleaned them with --model."
    if told is not None:
        try:
            names = json.loads(told)
        except ValueError:
            names = None
    elif (model / VOCABULARY).is_file():
        names = read_json_object(model / VOCABULARY, remedy).get("clean")
    else:
        raise TableError(f"{path} does not say which label each probability is of. {remedy}")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise TableError(f"The labels of {path} are not told as a list of texts. {remedy}")
    return names


def _places(ids: pa.Table, table: pa.Table, path: Path) -> pa.Array:
    """Where each cleaned row stands in the table."""
    (name,) = ids.column_names
    wanted = ids.column(0).to_pylist()
    here = list(range(table.num_rows))
    if name == ROW_COLUMN and wanted == here:
        return pa.array(here)
    if name in table.column_names:
        here = table.column(name).to_pylist()
    elif name != ROW_COLUMN:
        raise TableError(
            f"The rows are named by {shown(name)}, a column that {path} does not have. Name the "
            "table that was cleaned."
        )
    if wanted == here:
        return pa.array(range(len(here)))
    place = {value: row for row, value in enumerate(here)}
    if len(place) < len(here):
        raise TableError(
            f"Column {shown(name)} of {path} has names that several rows share, and its rows are "
            "not those that were cleaned, in their order. Name the table that was cleaned."
        )
    lost = next((value for value in wanted if value not in place), None)
    if lost is not None:
        raise TableError(
            f"No row of {path} has {shown(lost)} in column {shown(name)}. Name the table that was "
            "cleaned."
        )
    return pa.array([place[value] for value in wanted])


def _no_probabilities(path: Path, row: int | None = None, labels: int | None = None) -> TableError:
    where = "" if row is None else f"row {row} (rows count from 0) of "
    wanted = "numbers from 0 to 1" if labels is None else f"{labels} numbers from 0 to 1"
    return TableError(
        f"Column 'probabilities' of {where}{path} should hold {wanted}, one for each label. Export "
        "what `latentlabels clean` or `apply` wrote."
    )
