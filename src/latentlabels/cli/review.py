"""The command that serves a run's review page."""

from __future__ import annotations

import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from latentlabels.cli.console import Voice
from latentlabels.cli.options import VoiceOptions, grouped
from latentlabels.cli.runs import RunFolder, ShownRunOptions
from latentlabels.errors import MissingPackageError
from latentlabels.results import DECISIONS
from latentlabels.review.decisions import Decisions, read_decisions
from latentlabels.store import read_description

INSTALL = "The review page needs FastAPI and uvicorn: pip install 'latentlabels[review]'."


@grouped
def review(
    run: RunFolder,
    shown: ShownRunOptions,
    voice: VoiceOptions,
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
        reviewed = shown.open(run, read_description(shown.model_of(run)))
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
