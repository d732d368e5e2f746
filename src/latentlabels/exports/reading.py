"""Cleaned labels read again from what `clean`, `apply` or an export has written."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from latentlabels.cleaning import CleanedLabels, Status
from latentlabels.data.columns import InputKind, column_of, input_kind
from latentlabels.data.folders import read_json_object
from latentlabels.data.labels import LabelSpace, Vocabulary
from latentlabels.data.table import read_table
from latentlabels.errors import LabelError, TableError, shown
from latentlabels.exports.rows import CleanedRows, Examples
from latentlabels.results import ROW_COLUMN
from latentlabels.runs.cleaned import LISTS, CleanedTable, open_cleaned
from latentlabels.store import VOCABULARY

# Probabilities of classes sum to one as far as single precision can tell.
SUM_TOLERANCE: Final = 1e-3


def read_cleaned(
    path: Path, model: Path | None = None, status: Status | None = None
) -> CleanedRows:
    """Read cleaned labels.

    Args:
        path: a run's folder, or a table of cleaned labels.
        model: the model's folder, which knows the labels' order where the table does not say it; by
            default the folder `model` beside the table.
        status: of the rows to read; by default all.

    Raises:
        TableError: no such table, one of something else, or no row of that status.
        LabelError: a proposal that is not among the labels.
        OSError: a file cannot be opened.
    """
    cleaned = open_cleaned(path)
    if status is not None:
        cleaned = cleaned.with_status(status)
    return rows_of(cleaned, model)


def rows_of(cleaned: CleanedTable, model: Path | None = None) -> CleanedRows:
    """The rows of a table of cleaned labels that was opened; raises what `read_cleaned` does.

    Args:
        cleaned: the table.
        model: as in `read_cleaned`.
    """
    names = cleaned.names or _names_in(model or cleaned.path.parent / "model", cleaned.path)
    given, proposed, added, removed = (_cells(cleaned, column) for column in LISTS)
    known = set(names)
    for row, cell in enumerate(proposed):
        for name in cell:
            if name not in known:
                raise LabelError(
                    f"Row {row} of {cleaned.path} proposes {shown(name)} (rows count from 0), "
                    "which is not among the labels that have probabilities. Name the table's own "
                    "--model."
                )
    probabilities = _probabilities(cleaned, len(names))
    exclusive = cleaned.exclusive
    if exclusive is None:
        exclusive = _one_of_several(probabilities, proposed)
    labels = CleanedLabels(
        space=LabelSpace(("",), (Vocabulary(names, exclusive),)),
        given=given,
        proposed=proposed,
        added=added,
        removed=removed,
        verified=cleaned.columns.column("verified").to_numpy(),
        probabilities=probabilities,
        changes=[],
    )
    return CleanedRows(cleaned.ids.select([0]), labels, told=cleaned.told(), source=cleaned.source)


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
    numbered = rows.ids.column_names == [ROW_COLUMN] and ROW_COLUMN not in table.column_names
    if numbered and rows.source is not None:
        # In another table the same numbers may be those of other rows.
        rows.source.require(path)
    cells = column_of(table, column).take(_places(rows.ids, table, path))
    return Examples(column, cells, kind, (folder or path.parent).resolve(), prefix)


def _cells(cleaned: CleanedTable, column: str) -> list[list[Any]]:
    return [cell or [] for cell in cleaned.columns.column(column).to_pylist()]


def _probabilities(cleaned: CleanedTable, labels: int) -> NDArray[np.float32]:
    """(rows, labels), NaN on rows without any."""
    lists = cleaned.columns.column("probabilities").combine_chunks()
    known = lists.is_valid().to_numpy(zero_copy_only=False)
    values = lists.flatten().to_numpy()
    if len(values) != known.sum() * labels:
        raise TableError(
            f"{cleaned.path} does not have {labels} probabilities in a row, one for each label. "
            "Name the folder of the model that cleaned them with --model."
        )
    probabilities = np.full((len(known), labels), np.nan, dtype=np.float32)
    probabilities[known] = values.reshape(-1, labels)
    return probabilities


def _one_of_several(probabilities: NDArray[np.float32], proposed: list[list[Any]]) -> bool:
    """Whether each row has one class: its probabilities sum to one, and one name is proposed."""
    known = ~np.isnan(probabilities).any(1)
    sums = probabilities[known].sum(1)
    counts = np.array([len(names) for names in proposed])[known]
    return bool(len(sums) and (np.abs(sums - 1) < SUM_TOLERANCE).all() and (counts == 1).all())


def _names_in(model: Path, table: Path) -> tuple[str, ...]:
    """The clean labels of a model, for a table that does not name them."""
    remedy = "Name the folder of the model that cleaned them with --model."
    if not (model / VOCABULARY).is_file():
        raise TableError(f"{table} does not say which label each probability is of. {remedy}")
    names = read_json_object(model / VOCABULARY, remedy).get("clean")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise TableError(f"The labels of {model} are not told as a list of texts. {remedy}")
    return tuple(names)


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
