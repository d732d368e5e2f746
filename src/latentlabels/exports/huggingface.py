"""A Hugging Face dataset's folder, which `datasets.load_from_disk` reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa

from latentlabels.data.columns import InputKind
from latentlabels.errors import TableError, needing, shown
from latentlabels.exports.pictures import cells_of, path_in
from latentlabels.exports.rows import CleanedRows, Examples

STATE = "state.json"


def write_huggingface(rows: CleanedRows, out: Path) -> None:
    """Write a dataset with the proposals as `label` (one class) or `labels` (any number).

    Pictures and texts stand under their column's name; pictures that are files are copied in.

    Args:
        rows: cleaned labels.
        out: a new folder.

    Raises:
        MissingPackageError: `datasets` is not installed.
        TableError: a column name twice, or a picture that is not there.
    """
    with needing("datasets", "exports"):
        import datasets
    classes = datasets.ClassLabel(names=rows.names)
    name = "label" if rows.exclusive else "labels"
    kinds = {name: classes if rows.exclusive else datasets.List(classes)}
    table = rows.table().drop_columns(["proposed", "added", "removed"])
    columns = {name: _units(rows)}
    if rows.examples is not None:
        columns[rows.examples.name] = _cells(rows.examples)
        if rows.examples.kind == InputKind.IMAGE:
            kinds[rows.examples.name] = datasets.Image()
    for title, cells in columns.items():
        if title in table.column_names or (name in rows.ids.column_names):
            raise TableError(f"The dataset has a column {shown(title)} of its own: rename yours.")
        table = table.append_column(title, cells)
    features = datasets.Features.from_arrow_schema(table.schema.remove_metadata())
    with _silent():
        dataset = datasets.Dataset(table.replace_schema_metadata())
        dataset.cast(datasets.Features({**features, **kinds})).save_to_disk(out)


def _units(rows: CleanedRows) -> pa.Array:
    """The numbers of the proposed labels."""
    units = [np.flatnonzero(states).tolist() for states in rows.states]
    if rows.exclusive:
        return pa.array([unit[0] if unit else None for unit in units], pa.int64())
    return pa.array(units, pa.list_(pa.int64()))


def _cells(examples: Examples) -> pa.Array | pa.ChunkedArray:
    """The examples; paths of pictures from the root, and each of a file that is there."""
    if examples.kind != InputKind.IMAGE:
        return examples.column
    cells = list(cells_of(examples))
    for row, cell in enumerate(cells):
        path = path_in(cell)
        if path is None:
            continue
        place = examples.folder / path
        if not place.is_file():
            raise TableError(
                f"Row {row} of column {shown(examples.name)} (the exported rows count from 0) "
                f"names a picture that is not there: {place}. Say where paths start with --folder."
            )
        cells[row] = {"bytes": None, "path": str(place)}
    cells = [
        cell if isinstance(cell, dict | None) else {"bytes": cell, "path": None} for cell in cells
    ]
    return pa.array(cells, pa.struct({"bytes": pa.binary(), "path": pa.string()}))


@contextmanager
def _silent() -> Iterator[None]:
    """No progress bars of `datasets`."""
    import datasets

    shows = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shows:
            datasets.enable_progress_bars()
