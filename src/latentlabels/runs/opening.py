"""Opening a run: finding its table, and making sure that the two belong together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from latentlabels.data.columns import InputKind, column_of, input_kind
from latentlabels.data.labels import LabelSpace
from latentlabels.data.table import read_table
from latentlabels.errors import TableError, shown
from latentlabels.provenance import of_table
from latentlabels.results import ROW_COLUMN
from latentlabels.runs.run import REASONS, Run
from latentlabels.runs.subject import Subject

SUFFIXES: Final = (".parquet", ".arrow", ".jsonl")
LISTS: Final = ("given", "proposed", "added", "removed")
FOR_REVIEW: Final = ("review_added", "review_removed")


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
        table: the table that was cleaned; by default the one that the model was fitted on, if it is
            beside the run, in it, or in the working directory.
        inputs: columns that the model looks at.
        kind: what these hold.
        show: columns to show in their place.
        pictures: where pictures' paths start; by default the table's folder.

    Raises:
        TableError: files that are not there, or do not belong together.
    """
    if len(space.columns) > 1:
        raise TableError(
            f"The model has clean labels of {len(space.columns)} columns, and a review decides on "
            "one. Fit with --clean."
        )
    cleaned = _cleaned_table(folder, len(space.names))
    path = _found(folder, provenance.get("table")) if table is None else table
    source = read_table(path)
    if source.num_rows != cleaned.num_rows:
        raise _not_the_table(path, f"it has {source.num_rows:,} rows, not {cleaned.num_rows:,}")
    ids = cleaned.select(cleaned.column_names[: cleaned.column_names.index(LISTS[0])])
    named = _ids(source, ids, path)
    columns = list(dict.fromkeys(show or inputs))
    if not columns:
        raise TableError("The model does not say what its inputs are: name columns with --show.")
    kinds = [
        kind if name in inputs and len(inputs) == 1 and not show else _kind(source, name)
        for name in columns
    ]
    kept = (*LISTS, "verified", "probabilities", REASONS, *FOR_REVIEW)
    return Run(
        ids=ids,
        cleaned=cleaned.select([name for name in kept if name in cleaned.column_names]),
        source=source.select(columns),
        kinds=tuple(kinds),
        folder=(pictures or path.parent).resolve(),
        names=tuple(map(str, space.names)),
        exclusive=space.vocabularies[0].exclusive,
        subject=Subject(
            table=path.name,
            sha256=of_table(path, source.num_rows)["sha256"],
            rows=source.num_rows,
            ids=named,
            exclusive=space.vocabularies[0].exclusive,
        ),
    )


def _kind(table: pa.Table, name: str) -> InputKind:
    column_of(table, name)
    return input_kind(table, [name])


def _cleaned_table(folder: Path, labels: int) -> pa.Table:
    if not folder.is_dir():
        raise TableError(f"A review wants the folder of a run, and {folder} is none.")
    there = [path for path in (folder / f"cleaned{end}" for end in SUFFIXES) if path.is_file()]
    if not there:
        hint = f"{folder} has none."
        if (folder / "cleaned.csv").is_file():
            hint = f"{folder} has a CSV, whose cells are text. Run again with --format parquet."
        raise TableError(f"A review reads cleaned{', cleaned'.join(SUFFIXES)}: {hint}")
    table = read_table(there[0])
    wanted = (*LISTS, "verified", "probabilities")
    missing = [name for name in wanted if name not in table.column_names]
    if missing:
        raise TableError(f"{there[0]} has no column {shown(missing[0])}: it is no run's.")
    if "review_added" in table.column_names:
        table = _with_changes_for_review(table)
    kinds = dict.fromkeys(LISTS, pa.list_(pa.string()))
    kinds |= {"verified": pa.bool_(), "probabilities": pa.list_(pa.float32())}
    try:
        for name, kind in kinds.items():
            place = table.column_names.index(name)
            table = table.set_column(place, name, table.column(name).cast(kind))
    except pa.ArrowException as error:
        raise TableError(f"{there[0]} is no run's: {error}.") from error
    lengths = pc.list_value_length(table.column("probabilities")).unique().to_pylist()
    if set(lengths) - {None, labels}:
        raise TableError(
            f"{there[0]} has {max(filter(None, lengths))} probabilities a row, and the model "
            f"{labels} labels. Name the model that cleaned it with --model."
        )
    return table


def _with_changes_for_review(table: pa.Table) -> pa.Table:
    """Propose the changes that were not sure enough to be made, too: they are what is reviewed."""
    columns = {name: table.column(name).to_pylist() for name in (*LISTS, *FOR_REVIEW)}
    for row, (new, old) in enumerate(zip(*(columns[name] for name in FOR_REVIEW), strict=True)):
        kept = [name for name in columns["proposed"][row] if name not in old]
        columns["proposed"][row] = [*kept, *new]
        columns["added"][row] += new
        columns["removed"][row] += old
    for name in LISTS:
        place = table.column_names.index(name)
        table = table.set_column(place, name, pa.array(columns[name], pa.list_(pa.string())))
    return table


def _found(folder: Path, name: object) -> Path:
    """The file of this name, beside the run or near it."""
    if isinstance(name, str) and Path(name).name == name:
        for place in (folder.resolve().parent, folder, Path()):
            if (place / name).is_file():
                return place / name
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
