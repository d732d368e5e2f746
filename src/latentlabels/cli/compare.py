"""`compare`: many methods on one table, under one protocol."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from latentlabels.cli import Stopped, fitting, one_line
from latentlabels.cli.console import Voice
from latentlabels.cli.options import (
    DEFAULTS,
    BackboneOptions,
    CellOptions,
    FitColumns,
    InputOptions,
    ModelOptions,
    OutputOptions,
    TrainingOptions,
    Tune,
    VoiceOptions,
    grouped,
)
from latentlabels.cli.roles import roles_for_fitting
from latentlabels.cli.rows import Rows, image_folder, read_rows
from latentlabels.data.arrow_cells import ArrowCells
from latentlabels.data.rarity import without_rare
from latentlabels.data.table import open_table
from latentlabels.errors import LabelError, LatentLabelsError
from latentlabels.estimator import RobustClassifier
from latentlabels.experiments.task import Task
from latentlabels.network.examples import Vectors
from latentlabels.results import write_json
from latentlabels.store import as_json

_comparison = partial(typer.Option, rich_help_panel="Comparison")

FACTS, TABLE = "comparison.json", "comparison.md"
REMEMBERED = (
    "interrupted; runs that had ended are kept in {out}: the same command goes on after them."
)
# What the examples' features stand for, and what a run has of its own.
NOT_SHARED = frozenset(
    {
        *("input_kind", "backbone", "weights", "pretrained", "tune", "image_size", "augment"),
        *("precision", "workers", "cache", "on_bad_input", "chain_file", "checkpoints"),
        *("resume", "random_state", "verbose", "min_count", "normalise_labels"),
    }
)


@dataclass(frozen=True)
class ComparisonOptions:
    """What is run."""

    methods: Annotated[
        list[str] | None,
        _comparison(
            "--method",
            metavar="METHOD",
            help="A method by its key; --list-methods shows them. Repeat. By default all.",
        ),
    ] = None
    seeds: Annotated[
        int, _comparison("--seeds", min=1, help="Runs of each method, with seeds 0, 1, ...")
    ] = 3
    budget: Annotated[
        int,
        _comparison(
            "--budget",
            min=1,
            help="Settings of a method that are tried at most, on the first seed; validation rows "
            "choose. Ours has one.",
        ),
    ] = 3


def _list_methods(wanted: bool) -> None:
    if not wanted:
        return
    from latentlabels.experiments.entries import ENTRIES

    width = max(map(len, ENTRIES))
    for key, entry in ENTRIES.items():
        typer.echo(f"{key:{width}}  {entry.name} ({entry.source})")
    raise typer.Exit


@grouped
def compare(
    table: Annotated[Path, typer.Argument(metavar="TABLE", help="The table, as for `clean`.")],
    columns: FitColumns,
    cells: CellOptions,
    reading: InputOptions,
    backbone: BackboneOptions,
    comparison: ComparisonOptions,
    output: OutputOptions,
    model: ModelOptions,
    voice_options: VoiceOptions,
    _listed: Annotated[
        bool,
        _comparison(
            "--list-methods", is_eager=True, callback=_list_methods, help="List the methods."
        ),
    ] = False,
) -> None:
    """Compare methods on one table: leaves comparison.md and comparison.json.

    All see the same rows and verified labels, and share network and training. Images and texts go
    through a frozen backbone once. Every run is kept as it ends, and the same command goes on after
    the last.
    """
    # These take a second to import, which other commands need not wait for.
    from latentlabels.experiments.comparison import Comparison
    from latentlabels.experiments.comparison import compare as run
    from latentlabels.experiments.comparison_table import as_markdown, as_rich, facts_of
    from latentlabels.experiments.entries import chosen_entries
    from latentlabels.experiments.problems import in_regions

    voice = Voice(voice_options)
    if backbone.tune == Tune.ALL:
        raise LatentLabelsError("compare sees examples through a frozen backbone: --tune head.")
    entries = chosen_entries(comparison.methods or ())
    estimator = fitting.estimator_of(
        model, backbone, reading, TrainingOptions(), 0, progress=voice.progress
    )
    with voice.working(f"reading {table}"):
        content = open_table(table)
        roles = roles_for_fitting(content, columns, cells)
        rows = read_rows(content, roles, image_folder(table, reading.folder))
    rows = fitting.in_one_spelling(estimator, rows, voice)
    estimator.set_params(input_kind=roles.input_kind.value)
    task = task_of(rows, estimator)
    if roles.input_kind.value == "image" and any(entry.wants_bags for entry in entries):
        task = replace(task, bags=in_regions(estimator, rows.x))
    wanted = Comparison(entries, shared_settings(estimator), comparison.seeds, comparison.budget)
    known = {"name": table.name, "rows": len(rows), **roles.provenance()}
    try:
        outcomes = run(
            task, wanted, output.out, table=known, overwrite=output.overwrite, say=voice.say
        )
    except KeyboardInterrupt as error:
        raise Stopped(REMEMBERED.format(out=output.out)) from error
    facts = facts_of(wanted, outcomes)
    write_json(output.out / FACTS, facts)
    (output.out / TABLE).write_text(as_markdown(facts), encoding="utf-8")
    voice.console.print(as_rich(facts))
    voice.summary([("written", one_line(f"{TABLE}, {FACTS} in {output.out}"))])


def task_of(rows: Rows, estimator: RobustClassifier) -> Task:
    """The rows as a task under the protocol, images and texts as their features.

    Raises:
        LabelError: no verified row.
        InputError: images or texts that cannot be used.
    """
    if not rows.verified.any():
        raise LabelError("No training row is verified: there is nothing to compare methods on.")
    taken, x = np.arange(len(rows)), rows.x
    if isinstance(x, ArrowCells):
        usable = estimator.usable(x)
        assert isinstance(usable.examples, Vectors)
        taken, x = usable.rows, usable.examples.values
    assert isinstance(x, np.ndarray)
    columns = {name: column.take(taken) for name, column in rows.noisy.items()}
    cells = {n: c.as_given() for n, c in without_rare(columns, estimator.min_count).items()}
    noisy = cells if len(cells) > 1 else next(iter(cells.values()))
    clean = rows.clean.take(taken).as_given()
    return Task(x, noisy, clean, rows.split[taken], rows.verified[taken])


def shared_settings(estimator: RobustClassifier) -> dict[str, Any]:
    """The estimator's arguments that are the same on its features, defaults resolved."""
    shape = estimator.model_settings()
    resolved = {
        name: getattr(shape, name)
        for name in ("teachers", "students", "input_dropout", "hidden_layers")
    }
    given = {
        name: value
        for name, value in estimator.get_params().items()
        if name not in NOT_SHARED and value != DEFAULTS[name]
    }
    shared: dict[str, Any] = as_json({**given, **resolved})
    return shared
