"""Opening a run: finding its table, and making sure that the two belong together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from latentlabels.data.columns import InputKind, column_of, input_kind
from latentlabels.data.labels import LabelSpace
from latentlabels.data.table import read_table
from latentlabels.errors import TableError, shown
from latentlabels.provenance import of_table
from latentlabels.results import ROW_COLUMN, STRINGS
from latentlabels.runs.cleaned import (
    FOR_REVIEW,
    LISTS,
    REASONS,
    REQUIRED,
    TRAINING,
    CleanedTable,
    open_cleaned,
)
from latentlabels.runs.run import Run
from latentlabels.runs.subject import Subject


def open_run(
    folder: Path,
    space: LabelSpace,
    provenance: Mapping[str, Any],
    *,
    table: Path | None,
    inputs: Sequence[str],
    kind: InputKind,
    show: Sequence[str],
    pictures: Path | None,
) -> Run:
    """Open a run's cleaned table and the table it came from.

    Args:
        folder: the run's.
        space: the clean labels of the model that cleaned.
        provenance: where that model came from.
        table: the table that was cleaned; by default the one that the run names or else the model,
            if it is beside the run, in it, or in the working directory.
        inputs: columns that the model looks at.
        kind: what these hold.
        show: columns to show in their place; by default, where the model looks at numbers, the
            table's pictures, if one column holds such.
        pictures: where pictures' paths start; by default the table's folder.

    Raises:
        TableError: files that are not there, or do not belong together.
    """
    if len(space.columns) > 1:
        raise TableError(
            f"The model has clean labels of {len(space.columns)} columns, and a review decides on "
            "one. Fit with --clean."
        )
    names = tuple(map(str, space.names))
    cleaned = _opened(folder, names)
    path = _found(folder, provenance.get("table"), cleaned) if table is None else table
    source = read_table(path)
    if source.num_rows != len(cleaned):
        raise _not_the_table(path, f"it has {source.num_rows:,} rows, not {len(cleaned):,}")
    named = _ids(source, cleaned.ids, path)
    if cleaned.source is None:
        sha256 = of_table(path, source.num_rows)["sha256"]
    else:
        cleaned.source.require(path)
        sha256 = cleaned.source.sha256
    columns = list(dict.fromkeys(show or _for_the_eye(source, inputs, kind)))
    if not columns:
        raise TableError("The model does not say what its inputs are: name columns with --show.")
    kinds = [
        kind if name in inputs and len(inputs) == 1 and not show else _kind(source, name)
        for name in columns
    ]
    return Run(
        ids=cleaned.ids,
        cleaned=_for_review(cleaned.columns),
        source=source.select(columns),
        kinds=tuple(kinds),
        folder=(pictures or path.parent).resolve(),
        names=names,
        exclusive=space.exclusive,
        subject=Subject(
            table=path.name,
            sha256=sha256,
            rows=source.num_rows,
            ids=named,
            exclusive=space.exclusive,
        ),
    )


def _for_the_eye(table: pa.Table, inputs: Sequence[str], kind: InputKind) -> Sequence[str]:
    """What a person can judge a row by: nobody reads vectors."""
    if kind != InputKind.VECTOR:
        return inputs
    pictures = [
        field.name
        for field in table.schema
        if pa.types.is_struct(field.type)
        or pa.types.is_binary(field.type)
        or pa.types.is_large_binary(field.type)
    ]
    return pictures if len(pictures) == 1 else inputs


def _kind(table: pa.Table, name: str) -> InputKind:
    column_of(table, name)
    return input_kind(table, [name])


def _opened(folder: Path, names: Sequence[str]) -> CleanedTable:
    """The run's table of cleaned labels, if it is one of these labels."""
    if not folder.is_dir():
        raise TableError(f"The folder of a run is wanted, and {folder} is none.")
    cleaned = open_cleaned(folder)
    if cleaned.path.suffix == ".csv":
        raise TableError(
            f"{folder} has a CSV, whose cells are text. Run again with --format parquet."
        )
    found = cleaned.names
    if found is None:
        count = pc.max(pc.list_value_length(cleaned.columns.column("probabilities"))).as_py()
        same = count in (None, len(names))
    else:
        count, same = len(found), found == tuple(names)
    if not same:
        raise TableError(
            f"{cleaned.path} has probabilities of {count} labels, and the model has "
            f"{len(names)}, or others. Name the model that cleaned it with --model."
        )
    return cleaned


def _for_review(table: pa.Table) -> pa.Table:
    """What is shown, with the changes proposed, too, that were not sure enough to be made."""
    wanted = [
        name for name in (*REQUIRED, REASONS, *FOR_REVIEW, TRAINING) if name in table.column_names
    ]
    if not set(FOR_REVIEW) <= set(table.column_names):
        return table.select(wanted)
    columns = {name: table.column(name).to_pylist() for name in (*LISTS, *FOR_REVIEW)}
    for row, (new, old) in enumerate(zip(*(columns[name] for name in FOR_REVIEW), strict=True)):
        kept = [name for name in columns["proposed"][row] if name not in old]
        columns["proposed"][row] = [*kept, *new]
        columns["added"][row] += new
        columns["removed"][row] += old
    for name in LISTS:
        place = table.column_names.index(name)
        table = table.set_column(place, name, pa.array(columns[name], STRINGS))
    return table.select(wanted)


def _found(folder: Path, fitted: object, cleaned: CleanedTable) -> Path:
    """The table that was cleaned, by its name, or else the one of fitting: beside the run or near.

    Of several of that name it is the one of the same content, if there is one.
    """
    name = fitted if cleaned.source is None else cleaned.source.table
    if isinstance(name, str) and Path(name).name == name:
        places = [place / name for place in (folder.resolve().parent, folder, Path())]
        # The run's own table is no table that was cleaned, though one of that name may be.
        there = [path for path in places if path.exists() and path != cleaned.path]
        if len(there) > 1 and cleaned.source is not None:
            there.sort(key=cleaned.source.is_of, reverse=True)
        if there:
            return there[0]
    if name is None:
        raise TableError(
            f"{cleaned.path} does not say what table was cleaned: name it with --table."
        )
    raise TableError(
        f"The table that was cleaned, {shown(name)}, is neither beside {folder} nor here. Name it "
        "with --table."
    )


def _ids(source: pa.Table, ids: pa.Table, path: Path) -> tuple[str, ...]:
    """The columns of the table that name its rows; none where their numbers do."""
    names = tuple(ids.column_names)
    if all(name in source.column_names for name in names):
        if all(_same(source.column(name), ids.column(name)) for name in names):
            return names
    elif names == (ROW_COLUMN,) and ids.column(0).to_pylist() == list(range(len(ids))):
        return ()
    raise _not_the_table(path, f"its {', '.join(map(shown, names))} differs")


def _same(one: pa.ChunkedArray, other: pa.ChunkedArray) -> bool:
    return (
        bool(one.type == other.type and one.equals(other)) or one.to_pylist() == other.to_pylist()
    )


def _not_the_table(path: Path, why: str) -> TableError:
    return TableError(
        f"{path} is not the table that was cleaned: {why}. Name that one with --table."
    )
