"""The command that serves a run's review page."""

from __future__ import annotations

import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from latentlabels.cli.console import Voice
from latentlabels.cli.options import VoiceOptions, grouped
from latentlabels.cli.roles import roles_in
from latentlabels.cli.rows import image_folder
from latentlabels.description import space_of
from latentlabels.errors import MissingPackageError
from latentlabels.results import DECISIONS, MODEL
from latentlabels.review.decisions import Decisions, read_decisions
from latentlabels.runs.opening import open_run
from latentlabels.store import read_description

INSTALL = "The review page needs FastAPI and uvicorn: pip install 'latentlabels[review]'."


@grouped
def review(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="The folder that clean or apply has left.")
    ],
    voice: VoiceOptions,
    table: Annotated[
        Path | None,
        typer.Option(
            "--table",
            metavar="TABLE",
            help="The table that was cleaned; by default the one that the run names, if it lies "
            "beside the run, in it, or here.",
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
    decisions: Annotated[
        Path | None,
        typer.Option(
            "--decisions",
            metavar="FILE",
            help="Where decisions are kept; by default RUN/decisions.sqlite.",
        ),
    ] = None,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="By default any that is free.")
    ] = 0,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")
    ] = True,
) -> None:
    """Check proposals on a local page, the most telling first: leaves decisions.sqlite.

    fit and clean read what was decided with --decisions.
    """
    try:
        from latentlabels.review.server import serve
    except ModuleNotFoundError as error:
        raise MissingPackageError(INSTALL) from error
    speaks = Voice(voice)
    with speaks.working(f"reading {run}"):
        described = read_description(model or run / MODEL)
        roles = roles_in(described.provenance)
        reviewed = open_run(
            run,
            space_of(described.clean),
            # A model elsewhere does not say what table was cleaned with it.
            described.provenance if model is None else {},
            table=table,
            inputs=roles.input,
            kind=roles.input_kind,
            show=show or [],
            pictures=None if folder is None else image_folder(run, folder),
        )
    path = decisions or run / DECISIONS

    def ready(address: str) -> None:
        # The one thing that is said in any case: without it the page cannot be opened.
        typer.echo(address)
        speaks.say(f"Decisions go to {path}. Ctrl-C ends the review.")
        if browser:
            webbrowser.open(address)

    with Decisions(path, reviewed.subject) as kept, suppress(KeyboardInterrupt):
        serve(reviewed, kept, port=port, ready=ready)
    _, standing = read_decisions(path)
    decided = sum(decision.labels is not None for decision in standing)
    speaks.say(
        f"{decided:,} rows decided: latentlabels fit ... --decisions {path} learns from them."
    )
