"""`next`: the rows of a run whose check tells most."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import pyarrow as pa
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from latentlabels.cleaning import Check, CleanedLabels
from latentlabels.cli import one_line
from latentlabels.cli.console import Voice
from latentlabels.cli.options import VoiceOptions, grouped
from latentlabels.cli.runs import RunFolder, RunModelOptions
from latentlabels.data.labels import LabelSpace, Vocabulary
from latentlabels.data.table import FORMATS, write_table_atomically
from latentlabels.description import space_of
from latentlabels.errors import DecisionsError, TableError, shown
from latentlabels.exports.reading import rows_of
from latentlabels.results import DECISIONS, STRINGS, staged
from latentlabels.review.decisions import read_decisions
from latentlabels.runs.cleaned import open_cleaned
from latentlabels.store import read_description

ROWS: Final = 100
DIGITS: Final = 4
COLUMNS: Final = ("bits", "label", "probability", "given", "proposed")


@grouped
def next_rows(
    run: RunFolder,
    of: RunModelOptions,
    voice: VoiceOptions,
    rows: Annotated[
        int, typer.Option("--rows", min=1, metavar="N", help="How many at most.")
    ] = ROWS,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="TABLE", help="Write them to a table of any kind."),
    ] = None,
    decisions: Annotated[
        Path | None,
        typer.Option(
            "--decisions",
            metavar="FILE",
            help="What was decided already; by default RUN/decisions.sqlite, if it is there.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the table that is there.")
    ] = False,
) -> None:
    """List the rows to verify next, the most telling first, in the order of the review page.

    Each with how much a check tells, in bits, and the label that is most in doubt. Rows in doubt of
    the same kind tell of each other, so that kinds take turns.
    """
    kind = None if out is None else FORMATS.get(out.suffix.lower())
    if out is not None and kind is None:
        raise TableError(
            f"--out is a table that ends in {', '.join(FORMATS)}; got {shown(out.name)}."
        )
    speaks = Voice(voice)
    with speaks.working(f"reading {run}"):
        opened = open_cleaned(run)
        cleaned = rows_of(opened, of.model)
        labels = _with_space(cleaned.labels, of.model_of(run))
        done = _decided(run, decisions, len(labels))
        done += np.flatnonzero(~opened.training).tolist()
        checks = labels.to_verify(rows, done)
    table = _table(cleaned.ids, labels, checks)
    if out is not None and kind is not None:
        with staged(out.parent, [out.name], overwrite=overwrite, marks=()) as folder:
            write_table_atomically(table, folder / out.name, kind)
    if as_json:
        typer.echo(json.dumps(table.to_pylist(), ensure_ascii=False, indent=1, default=str))
        return
    if out is None:
        Console(quiet=speaks.quiet).print(_printed(table))
    else:
        speaks.summary([("rows", f"{len(checks):,}"), ("written", str(out))])


def _decided(run: Path, decisions: Path | None, rows: int) -> list[int]:
    """Rows that somebody has decided on or put off.

    Raises:
        DecisionsError: decisions on another table.
    """
    path = decisions or run / DECISIONS
    if decisions is None and not path.exists():
        return []
    subject, standing = read_decisions(path)
    if subject.rows != rows:
        raise DecisionsError(
            f"{path} is about a table of {subject.rows:,} rows, and {run} has {rows:,}. Name the "
            "decisions on it with --decisions."
        )
    return [decision.row for decision in standing]


def _with_space(labels: CleanedLabels, model: Path) -> CleanedLabels:
    """The labels with what the model knows of them: which of them exclude each other.

    Raises:
        TableError: the model has other labels.
    """
    space = space_of(read_description(model).clean)
    # In a table all names are texts.
    columns = tuple(
        Vocabulary(tuple(map(str, vocabulary.names)), vocabulary.exclusive)
        for vocabulary in space.vocabularies
    )
    space = LabelSpace(space.columns, columns)
    if space.names != tuple(labels.names):
        raise TableError(
            f"The cleaned labels are not those of {model}. Name the model that cleaned them with "
            "--model."
        )
    return replace(labels, space=space)


def _table(ids: pa.Table, labels: CleanedLabels, checks: list[Check]) -> pa.Table:
    """The rows with what names them, and why each is wanted."""
    (name,) = ids.column_names
    if name in COLUMNS:
        raise TableError(
            f"The list has a column {shown(name)} of its own: name the rows by another one, with "
            "--id of clean or apply."
        )
    rows = [check.row for check in checks]
    return pa.table(
        {
            name: ids.column(0).take(pa.array(rows, pa.int64())),
            "bits": [round(check.bits, DIGITS) for check in checks],
            "label": pa.array([str(check.label) for check in checks], pa.string()),
            "probability": [round(check.probability, DIGITS) for check in checks],
            "given": pa.array([labels.given[row] for row in rows], STRINGS),
            "proposed": pa.array([labels.proposed[row] for row in rows], STRINGS),
        }
    )


def _printed(table: pa.Table) -> Table:
    """The rows for a terminal."""
    printed = Table()
    for name in table.column_names:
        printed.add_column(Text(one_line(name)), overflow="fold")
    for row in table.to_pylist():
        cells = (", ".join(cell) if isinstance(cell, list) else str(cell) for cell in row.values())
        printed.add_row(*(Text(one_line(cell)) for cell in cells))
    return printed
