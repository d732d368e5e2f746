"""What people decided in Label Studio, as the verified rows of a table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from latentlabels.data.cells import CellForm, Kind, MultiClass, MultiLabel, cell_form, read_labels
from latentlabels.data.columns import flags
from latentlabels.errors import LabelError, TableError, shown
from latentlabels.exports.label_studio import CONTROL, KIND
from latentlabels.exports.rows import plain_ids

REMEDY: Final = (
    "Export the project from Label Studio as JSON (not JSON-MIN), of tasks that `latentlabels "
    "export --format label-studio` made."
)


@dataclass(frozen=True)
class Decisions:
    """What was decided in Label Studio.

    Attributes:
        labels: the labels that were chosen, by what names the row.
        disputed: names of rows on which annotators do not agree.
    """

    labels: Mapping[Any, list[str]]
    disputed: list[Any]


def read_annotations(path: Path) -> Decisions:
    """The decisions in a Label Studio project's JSON.

    A task that nobody annotated, or that all skipped, decides nothing. Of several annotations one
    that is marked as ground truth decides; without one they have to agree.

    Args:
        path: the exported file.

    Raises:
        TableError: the file is no such export, or two tasks are of one row.
        OSError: it cannot be opened.
    """
    labels: dict[Any, list[str]] = {}
    disputed: list[Any] = []
    seen = set()
    for place, task in enumerate(_tasks(path)):
        name, found = _decided(task, f"Task {place} of {path}")
        if name in seen:
            raise TableError(f"Two tasks of {path} are of the row {shown(name)}. Leave one.")
        seen.add(name)
        if len(found) > 1:
            disputed.append(name)
        elif found:
            labels[name] = list(found[0])
    return Decisions(labels, disputed)


def verify(
    table: pa.Table,
    ids: pa.Table,
    decisions: Decisions,
    *,
    clean: str = "clean",
    verified: str = "verified",
    kind: Kind = Kind.AUTO,
    delimiter: str | None = None,
) -> pa.Table:
    """A table with the decisions in it, to be fitted on.

    Rows without a decision stay as they are: verified if they were, as `verified` says or, where
    there is no such column, as a clean label says.

    Args:
        table: the table that was cleaned.
        ids: a table of one column that names its rows.
        decisions: by these names.
        clean: column of clean labels; a new one where the table has none.
        verified: column that says which rows are verified; a new one where the table has none.
        kind: of label, where it is a new column; by default classes if one label was chosen in
            every row.
        delimiter: what stands between names in a text of the clean column.

    Raises:
        TableError: a decision on a row that the table does not have, names that several rows share,
            or a column of verified rows without clean labels.
        LabelError: several labels, or none, where there is one class.
    """
    if verified in table.column_names and clean not in table.column_names:
        raise TableError(
            f"The table has a column {shown(verified)} and none that is called {shown(clean)}: "
            "name that of the clean labels with --clean."
        )
    cells, form = _clean_cells(table, clean, decisions, kind, delimiter)
    if verified in table.column_names:
        known = flags(table, verified)
    else:
        known = np.array([cell is not None for cell in cells], dtype=np.bool_)
    for row, names in _by_row(ids, decisions.labels).items():
        cells[row] = _cell(names, form, row)
        known[row] = True
    kept = pa.string() if form.kind == Kind.MULTICLASS else pa.list_(pa.string())
    for title, column in ((clean, pa.array(cells, kept)), (verified, pa.array(known))):
        place = table.schema.get_field_index(title)
        if place < 0:
            table = table.append_column(title, column)
        else:
            table = table.set_column(place, title, column)
    return table


def _tasks(path: Path) -> Iterator[Mapping[str, Any]]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            tasks = json.load(file)
    except (ValueError, RecursionError) as error:
        raise TableError(f"{path} is not JSON, or damaged: {error}. {REMEDY}") from error
    if not isinstance(tasks, list):
        raise TableError(f"{path} should hold a list of tasks. {REMEDY}")
    yield from tasks


def _decided(task: Any, where: str) -> tuple[Any, list[tuple[str, ...]]]:
    """What names a task's row, and the different decisions on it."""
    try:
        name = task["data"]["example_id"]
        given = [one for one in task["annotations"] if not one.get("was_cancelled")]
        sure = [one for one in given if one.get("ground_truth")]
        found = [_chosen(one["result"]) for one in sure[-1:] or given]
        hash(name)
    except (TypeError, KeyError, AttributeError) as error:
        raise TableError(
            f"{where} needs data.example_id and a list of annotations with their results. {REMEDY}"
        ) from error
    return name, list({frozenset(names): names for names in found}.values())


def _chosen(result: list[Any]) -> tuple[str, ...]:
    """The names chosen in our control, each once."""
    names = [
        name
        for entry in result
        if entry["type"] == KIND and entry["from_name"] == CONTROL
        for name in entry["value"][KIND]
    ]
    if not all(isinstance(name, str) for name in names):
        raise TypeError
    return tuple(dict.fromkeys(names))


def _clean_cells(
    table: pa.Table, clean: str, decisions: Decisions, kind: Kind, delimiter: str | None
) -> tuple[list[Any], CellForm]:
    cells: MultiLabel | MultiClass
    if clean in table.column_names:
        form = cell_form(table, clean, delimiter=delimiter, kind=kind)
        cells = read_labels(table, clean, form).as_given()
        return cells, form
    if kind == Kind.AUTO:
        one = all(len(names) == 1 for names in decisions.labels.values())
        kind = Kind.MULTICLASS if one else Kind.MULTILABEL
    return [None] * table.num_rows, CellForm(kind, None)


def _by_row(ids: pa.Table, labels: Mapping[Any, list[str]]) -> dict[int, list[str]]:
    """The decisions by the rows they are on."""
    (column,) = ids.column_names
    names = plain_ids(ids)
    row_of = {name: row for row, name in enumerate(names)}
    if len(row_of) < len(names):
        raise TableError(
            f"Column {shown(column)} has names that several rows share, so that a decision is on "
            "no single row. Name a column that tells rows apart with --id."
        )
    lost = next((name for name in labels if name not in row_of), None)
    if lost is not None:
        raise TableError(
            f"A decision is on the row {shown(lost)}, and the table has none of that name in "
            f"column {shown(column)}. Name the table that was cleaned, and its --id."
        )
    return {row_of[name]: names for name, names in labels.items()}


def _cell(names: list[str], form: CellForm, row: int) -> list[str] | str:
    if form.kind != Kind.MULTICLASS:
        return names
    if len(names) != 1:
        raise LabelError(
            f"Row {row} has one class, and {len(names)} were chosen for it (rows count from 0). "
            "Choose one in Label Studio, or read the column as multilabel (--clean-kind)."
        )
    return names[0]
