"""The command that writes a run's report anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from latentlabels.cli.console import Voice
from latentlabels.cli.options import VoiceOptions, grouped
from latentlabels.cli.roles import roles_in
from latentlabels.cli.rows import image_folder
from latentlabels.description import space_of
from latentlabels.errors import TableError
from latentlabels.report.facts import gather
from latentlabels.report.page import write_report
from latentlabels.report.record import read_record
from latentlabels.results import METRICS, MODEL, REPORT
from latentlabels.runs.opening import open_run
from latentlabels.store import load_labels


@grouped
def report(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="The folder that clean or apply has left.")
    ],
    voice: VoiceOptions,
    table: Annotated[
        Path | None,
        typer.Option(
            "--table",
            metavar="TABLE",
            help="The table that was cleaned; by default the one of fitting, if it lies beside the "
            "run, in it, or here.",
        ),
    ] = None,
    show: Annotated[
        list[str] | None,
        typer.Option(
            "--show",
            metavar="COLUMN",
            help="What to show of a row, by default the model's input. Repeat for several.",
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--folder",
            metavar="DIR",
            help="Where images' paths start, by default the table's folder. No file outside it is "
            "shown.",
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            "--model", metavar="DIR", help="The model that cleaned; by default RUN/model."
        ),
    ] = None,
    title: Annotated[
        str | None, typer.Option("--title", metavar="TEXT", help="What stands above it.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="By default RUN/report.html."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a report that is there.")
    ] = False,
) -> None:
    """Say what became of a run's labels on one page: leaves report.html."""
    if model is not None and table is None:
        raise TableError(
            "A model elsewhere does not say what table was cleaned with it: name it with --table."
        )
    path = out or run / REPORT
    if path.exists() and not overwrite:
        raise TableError(
            f"{path} is there already. Pass --overwrite to replace it, or name another --out."
        )
    speaks = Voice(voice)
    with speaks.working(f"reading {run}"):
        report_on(run, path, model=model, table=table, show=show, folder=folder, title=title)
    speaks.say(f"{path} holds the report.")


def report_on(
    run: Path,
    path: Path,
    *,
    model: Path | None = None,
    table: Path | None = None,
    show: list[str] | None = None,
    folder: Path | None = None,
    title: str | None = None,
) -> None:
    """Write the report of a run's folder; arguments are the command's.

    Raises:
        TableError: a run, a table or figures that cannot be used.
        ModelFolderError: a model that cannot be used.
    """
    place = model or run / MODEL
    described, labels = load_labels(place)
    roles = roles_in(described.provenance)
    opened = open_run(
        run,
        space_of(described.clean),
        described.provenance,
        table=table,
        inputs=roles.input,
        kind=roles.input_kind,
        show=show or [],
        pictures=None if folder is None else image_folder(run, folder),
    )
    facts = gather(
        opened,
        labels,
        space_of(described.noisy),
        space_of(described.clean),
        described.provenance,
        read_record(place.parent / METRICS),
        title,
    )
    write_report(facts, path)
