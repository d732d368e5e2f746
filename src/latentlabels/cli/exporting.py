"""`export` and `import`: cleaned labels to other tools, and decisions back."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from latentlabels.cleaning import Status
from latentlabels.cli.console import Voice
from latentlabels.cli.options import (
    DelimiterOption,
    IdOption,
    InputChoice,
    VoiceOptions,
)
from latentlabels.cli.roles import Roles, id_column
from latentlabels.cli.rows import image_folder, row_ids
from latentlabels.data.cells import Kind
from latentlabels.data.columns import InputKind
from latentlabels.data.table import FORMATS, read_table, write_table_atomically
from latentlabels.errors import TableError, shown
from latentlabels.exports.annotations import read_annotations, verify
from latentlabels.exports.formats import ExportFormat
from latentlabels.exports.formats import export as write_export
from latentlabels.exports.reading import read_cleaned, read_examples
from latentlabels.results import staged

Out = Annotated[
    Path,
    typer.Option(
        "--out", metavar="PATH", help="A file for csv, parquet and jsonl; a folder for the others."
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]


class ImportFormat(StrEnum):
    """What decisions are read from."""

    LABEL_STUDIO = "label-studio"


@dataclass(frozen=True)
class ExampleOptions:
    """Where the examples are that the labels belong to."""

    table: Annotated[
        Path | None,
        typer.Option("--table", metavar="TABLE", help="The table that was cleaned."),
    ] = None
    input: Annotated[
        str | None,
        typer.Option("--input", metavar="COLUMN", help="Its pictures or texts, to go along."),
    ] = None
    input_kind: Annotated[
        InputChoice, typer.Option("--input-kind", help="By default what the column looks like.")
    ] = InputChoice.AUTO
    folder: Annotated[
        Path | None,
        typer.Option(
            "--folder",
            metavar="DIR",
            help="Where images' paths start; by default the table's folder.",
        ),
    ] = None
    prefix: Annotated[
        str,
        typer.Option(
            "--prefix",
            metavar="TEXT",
            help="Goes before pictures' paths in label-studio: /data/local-files/?d=photos/",
        ),
    ] = ""


def export(
    cleaned: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="A run's folder, or a table of cleaned labels."),
    ],
    kind: Annotated[ExportFormat, typer.Option("--format", help="What to write.")],
    out: Out,
    examples: ExampleOptions,
    voice: VoiceOptions,
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            metavar="DIR",
            help="The model that cleaned, where a table does not name its labels.",
        ),
    ] = None,
    status: Annotated[
        Status | None,
        typer.Option("--status", help="Of a run with --precision, the rows of this status alone."),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write cleaned labels for other tools.

    label-studio shows pictures or texts, fiftyone and coco pictures: name their table and column.
    """
    speaking = Voice(voice)
    if (examples.table is None) != (examples.input is None):
        raise TableError(
            "--table and --input go together: a table, and the column of its examples."
        )
    with speaking.working(f"reading {cleaned}"):
        rows = read_cleaned(cleaned, model, status)
        if examples.table is not None and examples.input is not None:
            image_folder(examples.table, examples.folder)
            auto = examples.input_kind == InputChoice.AUTO
            found = read_examples(
                rows,
                examples.table,
                examples.input,
                kind=None if auto else InputKind(examples.input_kind),
                folder=examples.folder,
                prefix=examples.prefix,
            )
            rows = rows.showing(found)
    with speaking.working(f"writing {out}"):
        write_export(rows, kind, out, overwrite=overwrite)
    speaking.summary([("rows", f"{len(rows):,}"), ("written", str(out))])


def import_decisions(
    decisions: Annotated[
        Path, typer.Argument(metavar="FILE", help="A Label Studio project's JSON.")
    ],
    path: Annotated[
        Path, typer.Option("--table", metavar="TABLE", help="The table that was cleaned.")
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="TABLE", help="The table to write, of any kind.")
    ],
    voice: VoiceOptions,
    kind: Annotated[
        ImportFormat, typer.Option("--format", help="What to read.")
    ] = ImportFormat.LABEL_STUDIO,
    clean: Annotated[
        str, typer.Option("--clean", metavar="COLUMN", help="Clean labels, to be filled in.")
    ] = "clean",
    verified: Annotated[
        str, typer.Option("--verified", metavar="COLUMN", help="Which rows are verified.")
    ] = "verified",
    id_name: IdOption = None,
    clean_kind: Annotated[
        Kind,
        typer.Option("--clean-kind", help="Any number of labels, or one class, in a new column."),
    ] = Kind.AUTO,
    delimiter: DelimiterOption = None,
    overwrite: Overwrite = False,
) -> None:
    """Read decisions made elsewhere: leaves the table with them as verified rows, to fit on."""
    speaking = Voice(voice)
    written = FORMATS.get(out.suffix.lower())
    if written is None:
        raise TableError(
            f"--out is a table that ends in {', '.join(FORMATS)}; got {shown(out.name)}."
        )
    with staged(out.parent, [out.name], overwrite=overwrite, marks=()) as folder:
        with speaking.working(f"reading {decisions}"):
            decided = read_annotations(decisions)
            table = read_table(path)
            filled = verify(
                table,
                row_ids(table, Roles([], [], [], id=id_column(table, id_name))),
                decided,
                clean=clean,
                verified=verified,
                kind=clean_kind,
                delimiter=delimiter,
            )
        write_table_atomically(filled, folder / out.name, written)
    if decided.disputed:
        speaking.warn(
            f"annotators do not agree on {len(decided.disputed)} rows, such as "
            f"{shown(decided.disputed[0])}: they are left as they were."
        )
    speaking.summary(
        [
            ("rows", f"{len(filled):,}"),
            ("decided", f"{len(decided.labels):,}"),
            ("verified", f"{sum(filled.column(verified).to_pylist()):,}"),
            ("written", str(out)),
        ]
    )
