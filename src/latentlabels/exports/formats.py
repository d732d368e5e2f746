"""What cleaned labels can be exported to: one writer for each format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Final

from latentlabels.data.columns import InputKind
from latentlabels.data.table import FORMATS, Format
from latentlabels.errors import TableError, shown
from latentlabels.exports import coco, fiftyone, huggingface, label_studio
from latentlabels.exports.rows import CleanedRows
from latentlabels.exports.tables import write_table
from latentlabels.results import staged


class ExportFormat(StrEnum):
    """What to export to."""

    CSV = "csv"
    PARQUET = "parquet"
    JSONL = "jsonl"
    HUGGINGFACE = "huggingface"
    LABEL_STUDIO = "label-studio"
    FIFTYONE = "fiftyone"
    COCO = "coco"


@dataclass(frozen=True)
class Target:
    """How a format is written.

    Attributes:
        write: writes rows to a new file, or to a new folder.
        marks: files of which every such folder has one; none where there is one file.
        shows: kinds of example of which it needs one; empty where it needs none.
    """

    write: Callable[[CleanedRows, Path], None]
    marks: tuple[str, ...] = ()
    shows: tuple[InputKind, ...] = ()


PICTURES: Final = (InputKind.IMAGE,)
TARGETS: Final = {
    ExportFormat.CSV: Target(partial(write_table, kind=Format.CSV)),
    ExportFormat.PARQUET: Target(partial(write_table, kind=Format.PARQUET)),
    ExportFormat.JSONL: Target(partial(write_table, kind=Format.JSONL)),
    ExportFormat.HUGGINGFACE: Target(huggingface.write_huggingface, (huggingface.STATE,)),
    ExportFormat.LABEL_STUDIO: Target(
        label_studio.write_label_studio, (label_studio.TASKS,), (*PICTURES, InputKind.TEXT)
    ),
    ExportFormat.FIFTYONE: Target(fiftyone.write_fiftyone, (fiftyone.SAMPLES,), PICTURES),
    ExportFormat.COCO: Target(coco.write_coco, (coco.LABELS,), PICTURES),
}


def export(rows: CleanedRows, kind: ExportFormat, out: Path, *, overwrite: bool = False) -> None:
    """Write cleaned labels in a format, whole or not at all.

    Args:
        rows: cleaned labels, with their examples where the format needs them.
        kind: the format.
        out: a file for csv, parquet and jsonl, a folder for the others.
        overwrite: whether an older export there may be replaced.

    Raises:
        TableError: something is in the place, the file's ending is of another format, or the
            format needs examples and there are none of the kind.
        LatentLabelsError: what the format's own writer says.
        OSError: nothing can be written there.
    """
    target = TARGETS[kind]
    if not target.marks and FORMATS.get(out.suffix.lower()) != Format(kind.value):
        raise TableError(f"--out wants a file that ends in .{kind}, got {shown(out.name)}.")
    _require_examples(rows, kind, target)
    with staged(out.parent, [out.name], overwrite=overwrite, marks=target.marks) as folder:
        target.write(rows, folder / out.name)


def _require_examples(rows: CleanedRows, kind: ExportFormat, target: Target) -> None:
    if not target.shows:
        return
    wanted = " or ".join(f"{shows}s" for shows in target.shows)
    if rows.examples is None:
        raise TableError(
            f"{kind} shows {wanted}, which cleaned labels do not hold. Name the table that was "
            "cleaned with --table, and their column with --input."
        )
    if rows.examples.kind not in target.shows:
        raise TableError(
            f"{kind} shows {wanted}, and column {shown(rows.examples.name)} looks like "
            f"{rows.examples.kind}s. Name another column, or say --input-kind."
        )
