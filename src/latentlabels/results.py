"""What a run leaves: written aside, moved into place at the end, or not there at all."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from safetensors import SafetensorError

from latentlabels.cleaning import CleanedLabels
from latentlabels.data.cells import Kind
from latentlabels.data.labels import Name
from latentlabels.data.shards import MANIFEST
from latentlabels.durable import settle
from latentlabels.errors import TableError
from latentlabels.estimator import RobustClassifier
from latentlabels.evaluation.comparison import Comparison
from latentlabels.locking import locked
from latentlabels.store import DESCRIPTION, as_json

MODEL, METRICS, SKIPPED = "model", "metrics.json", "skipped.csv"
DECISIONS, REPORT = "decisions.sqlite", "report.html"
ROW_COLUMN, SPLIT_COLUMN = "row", "split"
# Metadata of tables: labels in the order of their probabilities, whether they exclude each other,
# and what tells the table whose rows they are of.
VOCABULARY_KEY = "latentlabels.clean"
KIND_KEY = "latentlabels.kind"
SOURCE_KEY = "latentlabels.table"
RESULT_COLUMNS = frozenset(
    [
        *("given", "proposed", "added", "removed", "verified", "predicted", "probabilities"),
        *("reason", "reasons", "status", "review_added", "review_removed", SPLIT_COLUMN),
    ]
)
# In the folder aside: what is being written, what is on its way to its place, what was there.
NEW, MOVING, OLD, NAMES, LOCK = "new", "moving", "old", "names.json", "lock"
STRINGS = pa.list_(pa.string())


@contextmanager
def staged(
    out: Path,
    names: Sequence[str],
    *,
    overwrite: bool,
    marks: Sequence[str] = (DESCRIPTION, MANIFEST),
) -> Iterator[Path]:
    """A folder to write results into, which are moved to `out` if all goes well.

    The folder lies beside `out`, or in it once it is there, under a name that only `out` decides.
    So what a killed process left is found by the next one, which puts everything back as it was.

    Args:
        out: the results' folder, which need not exist.
        names: what may be written; older results of these names go in any case.
        overwrite: whether results of these names may be replaced.
        marks: files by one of which a folder is known for such a result; none if no result is one.

    Yields:
        An empty folder on the same file system.

    Raises:
        TableError: `out` is a file, holds results that may not be replaced, or is being written to
            by another process.
        OSError: nothing can be written there.
    """
    place = out.resolve()
    if place.exists() and not place.is_dir():
        raise TableError(f"--out wants a folder, {out} is a file.")
    name = f".latentlabels-{hashlib.sha256(str(place).encode()).hexdigest()[:16]}"
    folders = [folder for folder in (place, *place.parents) if folder.is_dir()]
    for left in [folder / name for folder in folders]:
        if left.is_dir():
            with _alone(left, out):
                _put_back(left, place)
    there = [name for name in names if (place / name).exists()]
    for known in there:
        folder = place / known
        if folder.is_dir() and not any((folder / mark).is_file() for mark in marks):
            raise TableError(
                f"{out / known} is there and is no folder of such results. Remove it, or name "
                "another --out."
            )
    if there and not overwrite:
        raise TableError(
            f"{out} holds {' and '.join(there)} already. Pass --overwrite to replace them, or name "
            "another folder."
        )
    # In the nearest folder there is: anywhere else may be another file system, or not ours.
    aside = folders[0] / name
    with _alone(aside, out):
        for part in (NEW, OLD):
            (aside / part).mkdir()
        yield aside / NEW
        _move(aside, place, names)


def write_json(path: Path, content: dict[str, Any] | list[Any]) -> None:
    """Write JSON values to a file."""
    text = json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def fit_told(model: RobustClassifier) -> dict[str, Any]:
    """What metrics.json tells of a fit, whatever it was fitted on."""
    history, choice, calibration = model.history_, model.auxiliary_choice_, model.calibration_
    chains = history.chains
    return {
        "version": metadata.version("latentlabels"),
        "settings": {
            name: as_json(value)
            for name, value in model.get_params().items()
            if name not in ("random_state", "verbose")
        },
        "labels": {"noisy": len(model.noisy_space_.names), "clean": len(model.clean_space_.names)},
        "auxiliary": {"kind": choice.kind, "held_out_loss": choice.held_out_loss},
        "negative_phase": history.negative_phase,
        "chains": None
        if chains is None
        else {
            "mix": chains.is_good,
            **{name: number(value) for name, value in asdict(chains).items()},
            "largest_weights": {
                of.block: {"value": number(of.value), **as_json(of.named(model.label_names()))}
                for of in history.weights
            },
        },
        "best_epoch": history.best_epoch,
        "history": [
            {name: number(value) for name, value in epoch.items()} for epoch in history.epochs
        ],
        "calibration": None
        if calibration is None
        else {
            "rows": calibration.rows,
            "before": calibration.before.as_json(),
            "after": calibration.after.as_json(),
        },
    }


def comparison_told(found: Comparison, rows_of: str) -> dict[str, Any]:
    """What metrics.json tells of a comparison with the verified rows alone.

    Args:
        found: the model first, what the verified rows alone give second.
        rows_of: what the rows are called.
    """
    scores = (found.one, found.other, found.low, found.high)
    if not all(map(math.isfinite, scores)):
        return {"why_not": "the rows to compare on have no label to score"}
    return {
        "rows_of": rows_of,
        "rows": found.rows,
        "measure": found.measure,
        "model": found.one,
        "verified_only": found.other,
        "low": found.low,
        "high": found.high,
    }


def number(value: float) -> float | None:
    """A number that JSON can hold."""
    return value if math.isfinite(value) else None


def write_model(model: RobustClassifier, folder: Path, provenance: dict[str, Any]) -> None:
    """Write a fitted model's folder.

    Raises:
        OSError: it cannot be written.
    """
    try:
        model.save(folder, provenance=provenance)
    except SafetensorError as error:
        raise OSError(str(error)) from error


def cleaned_table(
    ids: pa.Table,
    cleaned: CleanedLabels,
    source: Mapping[str, Any] | None = None,
    split: NDArray[np.str_] | None = None,
) -> pa.Table:
    """Cleaned labels, a row for each row.

    Args:
        ids: a table of one column that names the rows.
        cleaned: their labels.
        source: of the table that was cleaned, what `provenance.of_table` says.
        split: "train", "validation" or "test", (rows,); by default all are training rows.
    """
    columns = {
        "given": pa.array(cleaned.given, STRINGS),
        "proposed": pa.array(cleaned.proposed, STRINGS),
        "added": pa.array(cleaned.added, STRINGS),
        "removed": pa.array(cleaned.removed, STRINGS),
        "verified": pa.array(cleaned.verified),
        "probabilities": vectors(cleaned.probabilities),
        "reasons": pa.array(cleaned.top_reasons(), STRINGS),
    }
    if cleaned.acceptance is not None:
        columns |= _review_columns(cleaned)
    if split is not None:
        columns[SPLIT_COLUMN] = pa.array(split.tolist(), pa.string())
    table = _with_ids(ids, columns, cleaned.names)
    kind = Kind.MULTICLASS if cleaned.space.exclusive else Kind.MULTILABEL
    told = {KIND_KEY: json.dumps(kind)}
    if source is not None:
        told[SOURCE_KEY] = json.dumps(dict(source), ensure_ascii=False)
    return table.replace_schema_metadata({**table.schema.metadata, **told})


def _review_columns(cleaned: CleanedLabels) -> dict[str, pa.Array]:
    """What became of each row, and the changes that are left for review."""
    added: list[list[Name]] = [[] for _ in cleaned.given]
    removed: list[list[Name]] = [[] for _ in cleaned.given]
    for change in cleaned.for_review:
        added[change.row] += change.added
        removed[change.row] += change.removed
    return {
        "status": pa.array(cleaned.status, pa.string()),
        "review_added": pa.array(added, STRINGS),
        "review_removed": pa.array(removed, STRINGS),
    }


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
        "probabilities": vectors(probabilities.astype(np.float32)),
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


def vectors(probabilities: NDArray[np.float32]) -> pa.Array:
    """Probabilities as lists, one a row; none for a row that has NaN.

    Args:
        probabilities: (rows, clean).
    """
    missing = np.isnan(probabilities).any(1)
    lengths = np.where(missing, 0, probabilities.shape[1])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    absent = np.append(missing, False)
    return pa.ListArray.from_arrays(
        pa.array(offsets, pa.int32(), mask=absent), pa.array(probabilities[~missing].ravel())
    )


def _with_ids(ids: pa.Table, columns: dict[str, pa.Array], names: Sequence[Name]) -> pa.Table:
    (id_name,) = ids.column_names
    table = pa.table({id_name: ids.column(0), **columns})
    vocabulary = json.dumps([str(name) for name in names], ensure_ascii=False)
    return table.replace_schema_metadata({VOCABULARY_KEY: vocabulary})


@contextmanager
def _alone(aside: Path, out: Path) -> Iterator[None]:
    """The folder aside for this process alone, which removes it unless a move is to be undone."""
    aside.mkdir(exist_ok=True)
    with ExitStack() as held:
        try:
            held.enter_context(locked(aside / LOCK))
        except TimeoutError as error:
            raise TableError(
                f"Another process is writing to {out}. Wait for it, or name another --out."
            ) from error
        try:
            yield
        finally:
            if not (aside / MOVING).exists():
                shutil.rmtree(aside, ignore_errors=True)


def _move(aside: Path, place: Path, names: Collection[str]) -> None:
    """Let `place` have of these names what is new; on failure, put back what was there."""
    settle(aside / NEW)
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        (aside / NEW).rename(place)
        return
    written = sorted(path.name for path in (aside / NEW).iterdir())
    write_json(aside / NAMES, {"names": written})
    moving = (aside / NEW).rename(aside / MOVING)
    try:
        for name in sorted({*names, *written}):
            if (place / name).exists():
                (place / name).rename(aside / OLD / name)
            if name in written:
                (moving / name).rename(place / name)
    except BaseException:
        _put_back(aside, place)
        raise
    moving.rmdir()


def _put_back(aside: Path, place: Path) -> None:
    """Undo a move that did not come to its end; whoever is stopped here leaves it to the next."""
    moving = aside / MOVING
    if not moving.is_dir():
        return
    for name in json.loads((aside / NAMES).read_text(encoding="utf-8"))["names"]:
        if (place / name).exists() and not (moving / name).exists():
            (place / name).rename(moving / name)
    for older in sorted((aside / OLD).iterdir()):
        older.rename(place / older.name)
    moving.rename(aside / NEW)
