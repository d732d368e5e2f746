"""`explain`: why a row has a label or has it not, to the last term."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from latentlabels.cleaning import CleanedLabels
from latentlabels.cli import fitting, one_line
from latentlabels.cli.console import Voice
from latentlabels.cli.options import ApplyColumns, InputOptions, RerunOptions
from latentlabels.cli.roles import roles_for_applying
from latentlabels.cli.rows import image_folder, read_rows, row_ids
from latentlabels.cli.tally import Tally
from latentlabels.data.labels import Name
from latentlabels.data.parts import in_parts
from latentlabels.data.table import open_table
from latentlabels.errors import TableError, rows_from, shown, spelt_alike
from latentlabels.estimator import RobustClassifier
from latentlabels.reasons import Reasons

ROWS_TOLD = 5


@dataclass(frozen=True)
class ExplainOptions:
    """What is explained, and how it is told."""

    row: Annotated[
        str, typer.Option("--row", metavar="ID", help="The row's id, or its number from 0.")
    ]
    label: Annotated[
        list[str] | None,
        typer.Option(
            "--label",
            metavar="NAME",
            help="A clean label. Repeat; by default those that are given or proposed.",
        ),
    ] = None
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False


def explain(
    estimator: RobustClassifier,
    path: Path,
    columns: ApplyColumns,
    reading: InputOptions,
    options: ExplainOptions,
    run: RerunOptions,
) -> None:
    """Print the reasons for labels of one row.

    Raises:
        TableError: no such row, or several of that name.
        LabelError: no such clean label.
        InputError: the row's example cannot be used.
    """
    content = open_table(path)
    roles = roles_for_applying(content, estimator, columns)
    number = _row_named(row_ids(content, roles), options.row)
    ((_, part),) = in_parts(content, content.column_names, number, number + 1)
    tally = Tally()
    with rows_from(number):
        rows = read_rows(part, roles, image_folder(path, reading.folder), first=number)
        cleaned = fitting.clean(estimator, rows, tally)
    fitting.warn_of_unknown(tally, Voice(run))
    labels = options.label or _labels_of(cleaned)
    reasons = [cleaned.reasons(0, _known_as(cleaned, label)) for label in labels]
    if options.json:
        told = {
            "row": options.row,
            "given": cleaned.given[0],
            "proposed": cleaned.proposed[0],
            "verified": bool(cleaned.verified[0]),
            "reasons": [reason.as_json() for reason in reasons],
        }
        typer.echo(json.dumps(told, ensure_ascii=False, indent=1))
        return
    console = Console()
    given, proposed = (
        ", ".join(map(str, names)) or "nothing" for names in (cleaned.given[0], cleaned.proposed[0])
    )
    decided = "verified" if cleaned.verified[0] else "proposed"
    console.print(Text(one_line(f"given: {given}")))
    console.print(Text(one_line(f"{decided}: {proposed}")))
    for reason in reasons:
        console.print(_table(reason))


def _row_named(ids: pa.Table, name: str) -> int:
    names = [str(value) for value in ids.column(0).to_pylist()]
    found = [row for row, own in enumerate(names) if own == name]
    column = ids.column_names[0]
    if not found:
        close = spelt_alike(name, names, 1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise TableError(
            f"--row wants one of the {len(names):,} rows by its {column}, and none is "
            f"{shown(name)}.{hint} Another column is named with --id."
        )
    if len(found) > 1:
        rows = ", ".join(map(str, found[:ROWS_TOLD]))
        raise TableError(
            f"--row {name} names {len(found):,} rows (rows count from 0: {rows}). Name a column "
            "that tells rows apart with --id."
        )
    return found[0]


def _labels_of(cleaned: CleanedLabels) -> list[Name]:
    """Clean labels that are given or proposed, or else the likeliest one."""
    named = {*cleaned.given[0], *cleaned.proposed[0]}
    labels = [name for name in cleaned.names if name in named]
    return labels or [cleaned.names[int(np.nanargmax(cleaned.probabilities[0]))]]


def _known_as(cleaned: CleanedLabels, label: Name) -> Name:
    """A label that was typed, as the model knows it: a number where it is one."""
    return next((name for name in cleaned.names if str(name) == str(label)), label)


def _table(reasons: Reasons) -> Table:
    what = str(reasons.label)
    if reasons.against is not None:
        what += f" against {reasons.against}"
    title = f"{what}: log-odds {_number(reasons.log_odds)}"
    table = Table(title=Text(one_line(title)), title_justify="left")
    table.add_column("evidence", overflow="fold")
    for name in ("model", "auxiliary", "sum"):
        table.add_column(name, justify="right")
    for term in reasons.terms:
        name = f"{term.name} (given label)" if term.kind == "label" else term.name
        table.add_row(Text(one_line(name)), *_split(term.value, term.auxiliary))
    table.add_section()
    auxiliary = sum(term.auxiliary for term in reasons.terms)
    table.add_row("sum", *_split(reasons.log_odds, auxiliary))
    return table


def _split(value: float, auxiliary: float) -> tuple[str, str, str]:
    return _number(value - auxiliary), _number(auxiliary), _number(value)


def _number(value: float) -> str:
    return f"{value:+z.2f}".replace("-", "−")
