"""What a run leaves: written aside, moved into place at the end, or not there at all."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from safetensors import SafetensorError

from latentlabels.cleaning import CleanedLabels
from latentlabels.data.labels import Name
from latentlabels.data.shards import MANIFEST
from latentlabels.errors import TableError
from latentlabels.estimator import RobustClassifier
from latentlabels.store import DESCRIPTION

VOCABULARY_KEY = "latentlabels.clean"
RESULT_COLUMNS = frozenset(
    ["given", "proposed", "added", "removed", "verified", "predicted", "probabilities", "reason"]
)
STRINGS = pa.list_(pa.string())
PREFIX, LOCK = ".latentlabels-", "lock"


@contextmanager
def staged(out: Path, names: Sequence[str], *, overwrite: bool) -> Iterator[Path]:
    """A folder to write results into, which are moved to `out` if all goes well.

    Args:
        out: the results' folder, which need not exist.
        names: what will be written.
        overwrite: whether results of these names may be replaced.

    Yields:
        An empty folder on the same file system.

    Raises:
        TableError: `out` is a file, or holds results that may not be replaced.
        OSError: nothing can be written there.
    """
    place = out.resolve()
    if place.exists() and not place.is_dir():
        raise TableError(f"--out wants a folder, {out} is a file.")
    there = [name for name in names if (place / name).exists()]
    for name in there:
        ours = any((place / name / known).is_file() for known in (DESCRIPTION, MANIFEST))
        if (place / name).is_dir() and not ours:
            raise TableError(
                f"{out / name} is there and is no model's folder. Remove it, or name another --out."
            )
    if there and not overwrite:
        raise TableError(
            f"{out} holds {' and '.join(there)} already. Pass --overwrite to replace them, or name "
            "another folder."
        )
    # In the nearest folder there is: anywhere else may be another file system, or not ours.
    nearest = next(folder for folder in (place, *place.parents) if folder.is_dir())
    _remove_leftovers(nearest)
    aside = Path(tempfile.mkdtemp(prefix=PREFIX, dir=nearest))
    held = FileLock(aside / LOCK)
    held.acquire(timeout=0)
    try:
        # Folders that tempfile makes are closed to others; results are not.
        new, old = aside / "new", aside / "old"
        new.mkdir()
        old.mkdir()
        yield new
        _move(new, old, place)
    finally:
        held.release()
        shutil.rmtree(aside, ignore_errors=True)


def _remove_leftovers(folder: Path) -> None:
    """Remove what runs that were killed have left in a folder; a run that goes on holds a lock."""
    for file in folder.glob(f"{PREFIX}*/{LOCK}"):
        with suppress(Timeout, OSError):
            with FileLock(file, timeout=0):
                pass
            shutil.rmtree(file.parent, ignore_errors=True)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON values to a file."""
    text = json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def write_model(model: RobustClassifier, folder: Path, provenance: dict[str, Any]) -> None:
    """Write a fitted model's folder.

    Raises:
        OSError: it cannot be written.
    """
    try:
        model.save(folder, provenance=provenance)
    except SafetensorError as error:
        raise OSError(str(error)) from error


def cleaned_table(ids: pa.Table, cleaned: CleanedLabels) -> pa.Table:
    """Cleaned labels, a row for each row.

    Args:
        ids: a table of one column that names the rows.
        cleaned: their labels.
    """
    columns = {
        "given": pa.array(cleaned.given, STRINGS),
        "proposed": pa.array(cleaned.proposed, STRINGS),
        "added": pa.array(cleaned.added, STRINGS),
        "removed": pa.array(cleaned.removed, STRINGS),
        "verified": pa.array(cleaned.verified),
        "probabilities": _vectors(cleaned.probabilities),
    }
    return _with_ids(ids, columns, cleaned.names)


def predicted_table(
    ids: pa.Table,
    names: Sequence[Name],
    predicted: list[list[Name]],
    probabilities: NDArray[np.float64],
) -> pa.Table:
    """Predicted labels, a row for each row.

    Args:
        ids: a table of one column that names the rows.
        names: the clean vocabulary.
        predicted: names that each row probably has.
        probabilities: p(ŷ | x), (rows, clean).
    """
    columns = {
        "predicted": pa.array(predicted, STRINGS),
        "probabilities": _vectors(probabilities.astype(np.float32)),
    }
    return _with_ids(ids, columns, names)


def skipped_table(ids: pa.Table, skipped: Mapping[int, str]) -> pa.Table:
    """Rows that were left out, with the reason.

    Args:
        ids: a table of one column that names all rows.
        skipped: reasons by row.
    """
    rows = sorted(skipped)
    chosen = ids.take(pa.array(rows, pa.int64()))
    return chosen.append_column("reason", pa.array([skipped[row] for row in rows], pa.string()))


def _with_ids(ids: pa.Table, columns: dict[str, pa.Array], names: Sequence[Name]) -> pa.Table:
    (id_name,) = ids.column_names
    table = pa.table({id_name: ids.column(0), **columns})
    vocabulary = json.dumps([str(name) for name in names], ensure_ascii=False)
    return table.replace_schema_metadata({VOCABULARY_KEY: vocabulary})


def _vectors(probabilities: NDArray[np.float32]) -> pa.Array:
    """A list a row; none for a row that has NaN."""
    missing = np.isnan(probabilities).any(1)
    lengths = np.where(missing, 0, probabilities.shape[1])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    absent = np.append(missing, False)
    return pa.ListArray.from_arrays(
        pa.array(offsets, pa.int32(), mask=absent), pa.array(probabilities[~missing].ravel())
    )


def _move(new: Path, old: Path, place: Path) -> None:
    """Move everything in `new` to `place`; on failure, put back what was there."""
    place.mkdir(parents=True, exist_ok=True)
    moved: list[Path] = []
    try:
        for source in sorted(new.iterdir()):
            target = place / source.name
            if target.exists():
                target.rename(old / target.name)
            moved.append(target)
            source.rename(target)
    except BaseException:
        for target in moved:
            if target.exists():
                target.rename(new / f"{target.name}.undone")
            if (old / target.name).exists():
                (old / target.name).rename(target)
        raise
