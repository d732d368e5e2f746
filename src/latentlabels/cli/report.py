"""The command that writes a run's report anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from latentlabels.cli.console import Voice
from latentlabels.cli.options import VoiceOptions, grouped
from latentlabels.cli.runs import RunFolder, ShownRunOptions
from latentlabels.description import space_of
from latentlabels.errors import TableError
from latentlabels.report.facts import gather
from latentlabels.report.page import write_report
from latentlabels.report.record import read_record
from latentlabels.results import METRICS, REPORT
from latentlabels.store import load_labels


@grouped
def report(
    run: RunFolder,
    shown: ShownRunOptions,
    voice: VoiceOptions,
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
    path = out or run / REPORT
    if path.exists() and not overwrite:
        raise TableError(
            f"{path} is there already. Pass --overwrite to replace it, or name another --out."
        )
    speaks = Voice(voice)
    with speaks.working(f"reading {run}"):
        report_on(run, path, shown, title)
    speaks.say(f"{path} holds the report.")


def report_on(run: Path, path: Path, shown: ShownRunOptions, title: str | None = None) -> None:
    """Write the report of a run's folder.

    Args:
        run: the folder.
        path: where to.
        shown: which model and table it is of, and what to show of them.
        title: what stands above it.

    Raises:
        TableError: a run, a table or figures that cannot be used.
        ModelFolderError: a model that cannot be used.
    """
    model = shown.model_of(run)
    described, labels = load_labels(model)
    facts = gather(
        shown.open(run, described),
        labels,
        space_of(described.noisy),
        space_of(described.clean),
        described.provenance,
        read_record(model.parent / METRICS),
        title,
    )
    write_report(facts, path)
