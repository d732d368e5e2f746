"""The commands."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import torch
import typer
from rich.console import Console

import latentlabels
from latentlabels import provenance
from latentlabels.cli import fitting
from latentlabels.cli.compare import compare
from latentlabels.cli.console import Voice, facts_of
from latentlabels.cli.decided import model_to_start_from, with_decisions
from latentlabels.cli.options import (
    DEFAULTS,
    ApplyColumns,
    BackboneOptions,
    CellOptions,
    FitColumns,
    InputOptions,
    ModelOptions,
    OnBadInput,
    OutputOptions,
    PredictColumns,
    RerunOptions,
    ReviewOptions,
    RunOptions,
    TableOutput,
    grouped,
)
from latentlabels.cli.reproduce import reproduce
from latentlabels.cli.review import review as review_page
from latentlabels.cli.roles import roles_for_applying, roles_for_fitting, roles_for_predicting
from latentlabels.cli.rows import (
    duplicates_told,
    image_folder,
    read_examples,
    read_rows,
    row_ids,
)
from latentlabels.data.table import Format, read_table, write_table_atomically
from latentlabels.estimator import RobustClassifier
from latentlabels.results import (
    METRICS,
    MODEL,
    SKIPPED,
    cleaned_table,
    predicted_table,
    skipped_table,
    staged,
    write_json,
    write_model,
)

app = typer.Typer(
    add_completion=False,
    rich_markup_mode="rich",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"latentlabels {latentlabels.__version__}")
        raise typer.Exit


@app.callback()
def everything(
    _asked: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_version, help="Say which version."),
    ] = False,
) -> None:
    """Train on noisy labels and clean them, with a probability for every proposal."""


Table = Annotated[
    Path,
    typer.Argument(
        metavar="TABLE", help="A .csv, .parquet, .jsonl, .ndjson, .arrow or .feather file."
    ),
]
ModelFolder = Annotated[
    Path, typer.Option("--model", metavar="DIR", help="The folder of a fitted model.")
]


@app.command(
    epilog="Example: latentlabels clean films.parquet --input vector --noisy keywords "
    "--clean genres --out run"
)
@grouped
def clean(
    context: typer.Context,
    table: Table,
    columns: FitColumns,
    cells: CellOptions,
    reading: InputOptions,
    backbone: BackboneOptions,
    output: TableOutput,
    model: ModelOptions,
    review: ReviewOptions,
    run: RunOptions,
) -> None:
    """Fit a model and clean all rows' labels: leaves cleaned.parquet, model/ and metrics.json."""
    origin = provenance.of_command(context.obj)
    _fit(
        table, columns, cells, reading, backbone, output, model, review, run, output.format, origin
    )


@app.command(
    epilog="Example: latentlabels fit films.parquet --input vector --noisy keywords "
    "--clean genres --out run"
)
@grouped
def fit(
    context: typer.Context,
    table: Table,
    columns: FitColumns,
    cells: CellOptions,
    reading: InputOptions,
    backbone: BackboneOptions,
    output: OutputOptions,
    model: ModelOptions,
    review: ReviewOptions,
    run: RunOptions,
) -> None:
    """Fit a model: leaves model/ and metrics.json."""
    origin = provenance.of_command(context.obj)
    _fit(table, columns, cells, reading, backbone, output, model, review, run, None, origin)


@app.command(epilog="Example: latentlabels apply new.parquet --model run/model --out new")
@grouped
def apply(
    table: Table,
    model: ModelFolder,
    columns: ApplyColumns,
    reading: InputOptions,
    output: TableOutput,
    run: RerunOptions,
) -> None:
    """Clean labels with a fitted model: leaves cleaned.parquet.

    Columns are those of fitting, where they are not named.
    """
    voice = Voice(run)
    name = f"cleaned.{output.format}"
    written = [name, *_skipped(reading)]
    with staged(output.out, written, overwrite=output.overwrite) as folder:
        estimator = _load(model, run, reading, voice)
        with voice.working(f"reading {table}"):
            content = read_table(table)
            roles = roles_for_applying(content, estimator, columns)
            rows = read_rows(content, roles, image_folder(table, reading.folder))
        _warn_of_duplicates(rows.ids, voice)
        cleaned = fitting.clean(estimator, rows, voice)
        _write_skipped(folder, reading, rows.ids, cleaned.skipped, voice)
        write_table_atomically(cleaned_table(rows.ids, cleaned), folder / name, output.format)
    voice.summary(
        [
            ("rows", f"{len(rows):,}"),
            ("verified", f"{rows.verified.sum():,}"),
            ("changed", f"{cleaned.changed.sum():,} rows"),
            ("written", f"{', '.join(written)} in {output.out}"),
        ]
    )


@app.command(epilog="Example: latentlabels predict new.parquet --model run/model --out new")
@grouped
def predict(
    table: Table,
    model: ModelFolder,
    columns: PredictColumns,
    reading: InputOptions,
    output: TableOutput,
    run: RerunOptions,
) -> None:
    """Predict clean labels from the input alone: leaves predicted.parquet.

    Columns are those of fitting, where they are not named.
    """
    voice = Voice(run)
    name = f"predicted.{output.format}"
    written = [name, *_skipped(reading)]
    with staged(output.out, written, overwrite=output.overwrite) as folder:
        estimator = _load(model, run, reading, voice)
        with voice.working(f"reading {table}"):
            content = read_table(table)
            roles = roles_for_predicting(content, estimator, columns)
            x = read_examples(content, roles, image_folder(table, reading.folder))
            ids = row_ids(content, roles)
        _warn_of_duplicates(ids, voice)
        with voice.working(f"predicting {len(x):,} rows"):
            given = estimator.usable(x)
            probabilities = estimator.predict_proba(given)
        space = estimator.clean_space_
        states = space.units.mode(torch.from_numpy(np.nan_to_num(probabilities))).numpy()
        names = space.decode(states)
        for row in given.bad:
            names[row] = []
        _write_skipped(folder, reading, ids, given.bad, voice)
        predicted = predicted_table(ids, space.names, names, probabilities)
        write_table_atomically(predicted, folder / name, output.format)
    voice.summary([("rows", f"{len(x):,}"), ("written", f"{', '.join(written)} in {output.out}")])


@app.command(epilog="Example: latentlabels demo --out demo")
@grouped
def demo(
    run: RunOptions,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Keep the results here.")
    ] = None,
) -> None:
    """Clean the labels of embedded real data, in a minute or two."""
    from latentlabels.experiments.demo import run_demo

    run_demo(out, run.seed, Console(quiet=run.quiet))


app.command(
    epilog="Example: latentlabels compare films.parquet --input vector --noisy keywords "
    "--clean genres --verified verified --split split --out comparison"
)(compare)
app.command(
    epilog="Example: latentlabels reproduce table2 --data cifar-10-batches-bin --scale small "
    "--out table2"
)(reproduce)
app.command("review", epilog="Example: latentlabels review run")(review_page)


def _fit(
    path: Path,
    columns: FitColumns,
    cells: CellOptions,
    reading: InputOptions,
    backbone: BackboneOptions,
    output: OutputOptions,
    model: ModelOptions,
    review: ReviewOptions,
    run: RunOptions,
    kind: Format | None,
    origin: dict[str, Any],
) -> None:
    """Fit, clean, and write what is wanted: a table of that kind, or none."""
    voice = Voice(run)
    table_name = [] if kind is None else [f"cleaned.{kind}"]
    written = [*table_name, MODEL, METRICS, *_skipped(reading)]
    with staged(output.out, written, overwrite=output.overwrite) as folder:
        estimator = fitting.estimator_of(
            model, backbone, reading, run.seed, progress=voice.progress
        )
        with voice.working(f"reading {path}"):
            table = read_table(path)
            roles = roles_for_fitting(table, columns, cells)
            rows = read_rows(table, roles, image_folder(path, reading.folder))
            origin = {**origin, **provenance.of_table(path, len(rows)), **roles.provenance()}
            rows = with_decisions(rows, roles, review, origin["sha256"])
        _warn_of_duplicates(rows.ids, voice)
        start = model_to_start_from(review, backbone, voice)
        rows = fitting.fit(estimator, rows, roles, model, voice, start)
        cleaned = fitting.clean(estimator, rows, voice)
        metrics = fitting.metrics_of(estimator, rows, cleaned, run.seed)
        _write_skipped(folder, reading, rows.ids, cleaned.skipped, voice)
        if kind is not None:
            table = cleaned_table(rows.ids, cleaned)
            write_table_atomically(table, folder / f"cleaned.{kind}", kind)
        write_model(estimator, folder / MODEL, origin)
        write_json(folder / METRICS, metrics)
    if kind is None:
        metrics["changes"] = None
    voice.summary(facts_of(metrics, output.out, written))


def _load(folder: Path, run: RerunOptions, reading: InputOptions, voice: Voice) -> RobustClassifier:
    estimator: RobustClassifier = RobustClassifier.load(
        folder, backbone=run.backbone, weights=run.weights
    )
    arguments = {name: value for name, value in vars(reading).items() if name in DEFAULTS}
    estimator.set_params(**arguments, verbose=voice.progress)
    if run.seed is not None:
        estimator.model_.seed = run.seed
    return estimator


def _warn_of_duplicates(ids: pa.Table, voice: Voice) -> None:
    if told := duplicates_told(ids):
        voice.warn(told)


def _skipped(reading: InputOptions) -> list[str]:
    return [SKIPPED] if reading.on_bad_input == OnBadInput.SKIP else []


def _write_skipped(
    folder: Path, reading: InputOptions, ids: pa.Table, skipped: Mapping[int, str], voice: Voice
) -> None:
    if reading.on_bad_input != OnBadInput.SKIP:
        return
    write_table_atomically(skipped_table(ids, skipped), folder / SKIPPED, Format.CSV)
    if skipped:
        voice.warn(f"{len(skipped)} rows cannot be used and were left out: see {SKIPPED}.")
