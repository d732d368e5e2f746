"""The commands."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console

import latentlabels
from latentlabels import processes, provenance
from latentlabels.cli import fitting
from latentlabels.cli.alone import alone_if_it_can_be, comparison_if_it_can_be
from latentlabels.cli.compare import compare
from latentlabels.cli.console import Voice, accepted, facts_of
from latentlabels.cli.decided import model_to_start_from, with_decisions
from latentlabels.cli.explain import ExplainOptions, explain
from latentlabels.cli.exporting import export, import_decisions
from latentlabels.cli.next_rows import next_rows
from latentlabels.cli.options import (
    DEFAULTS,
    ApplyColumns,
    BackboneOptions,
    CellOptions,
    CleanedOutput,
    FitColumns,
    InputOptions,
    ModelOptions,
    OnBadInput,
    OutputOptions,
    PredictColumns,
    RerunOptions,
    ReviewOptions,
    RunOptions,
    SharingOptions,
    TableOutput,
    TrainingOptions,
    grouped,
)
from latentlabels.cli.report import report, report_on
from latentlabels.cli.reproduce import reproduce
from latentlabels.cli.review import review as review_page
from latentlabels.cli.roles import (
    Roles,
    roles_for_applying,
    roles_for_fitting,
    roles_for_predicting,
)
from latentlabels.cli.rows import Rows, duplicates_told, image_folder, read_rows, row_ids
from latentlabels.cli.runs import ShownRunOptions
from latentlabels.cli.shares import TableParts, agreed, commit, staged_together, written_share
from latentlabels.cli.tally import Tally
from latentlabels.data.parts import PART_ROWS
from latentlabels.data.table import (
    Format,
    open_table,
    write_table_atomically,
    written_in_parts,
)
from latentlabels.errors import rows_from
from latentlabels.estimator import RobustClassifier
from latentlabels.evaluation.acceptance import require_share
from latentlabels.report.facts import held_changes, of_no_help
from latentlabels.report.record import record_of
from latentlabels.report.reliability import save_reliability
from latentlabels.results import (
    METRICS,
    MODEL,
    REPORT,
    SKIPPED,
    cleaned_table,
    predicted_table,
    skipped_table,
    write_json,
    write_model,
)
from latentlabels.training.launching import Machines, launch
from latentlabels.verifying import require_enough

RELIABILITY = "reliability.png"

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
    output: CleanedOutput,
    model: ModelOptions,
    training: TrainingOptions,
    review: ReviewOptions,
    run: RunOptions,
) -> None:
    """Fit a model and clean all labels: leaves cleaned.parquet, model/ and report.html."""
    origin = provenance.of_command(context.obj)
    _fit(table, columns, cells, reading, backbone, output, model, training, review, run, origin)


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
    training: TrainingOptions,
    review: ReviewOptions,
    run: RunOptions,
) -> None:
    """Fit a model: leaves model/ and metrics.json."""
    origin = provenance.of_command(context.obj)
    _fit(table, columns, cells, reading, backbone, output, model, training, review, run, origin)


@app.command(epilog="Example: latentlabels apply new.parquet --model run/model --out new")
@grouped
def apply(
    table: Table,
    model: ModelFolder,
    columns: ApplyColumns,
    reading: InputOptions,
    output: CleanedOutput,
    sharing: SharingOptions,
    run: RerunOptions,
) -> None:
    """Clean labels with a fitted model: leaves cleaned.parquet.

    Columns are those of fitting, where they are not named.
    """
    if output.wanted is not None:
        require_share(output.wanted)
    launch(Machines(sharing.devices, sharing.nodes))
    voice = Voice(run)
    name = f"cleaned.{output.format}"
    written = [name, *_skipped(reading)]
    replaced = [*_in_any_format("cleaned"), *_skipped(reading)]
    with staged_together(output.out, replaced, output.format, overwrite=output.overwrite) as folder:
        with agreed() as answers:
            estimator = _load(model, run, reading, voice)
            content = open_table(table)
            roles = roles_for_applying(content, estimator, columns)
            parts = TableParts.of(content, roles, estimator, image_folder(table, reading.folder))
            source = provenance.of_table(table, content.num_rows)
            acceptance = fitting.acceptance_of(estimator, output.wanted, voice)
            tally = Tally()
            with (
                voice.working(f"cleaning {content.num_rows:,} rows"),
                written_share(folder / name, output.format, answers) as write,
            ):
                for first, part in parts:
                    with rows_from(first):
                        rows = parts.read(first, part)
                        cleaned = fitting.clean(estimator, rows, tally, output.wanted)
                    write(cleaned_table(rows.ids, cleaned, source))
            answers.own["tally"] = asdict(tally)
        if processes.rank() > 0:
            return
        tally = Tally.of(told["tally"] for told in answers.all)
        commit(folder / name, answers)
        _warn_of_duplicates(content, roles, voice)
        fitting.warn_of_unknown(tally, voice)
        _write_skipped(folder, reading, content, roles, parts.bad, voice)
    voice.summary(
        [
            ("rows", f"{tally.rows:,}"),
            ("verified", f"{tally.verified:,}"),
            ("changed", f"{tally.changed:,} rows"),
            *accepted(tally, acceptance),
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
    sharing: SharingOptions,
    run: RerunOptions,
) -> None:
    """Predict clean labels from the input alone: leaves predicted.parquet.

    Columns are those of fitting, where they are not named.
    """
    launch(Machines(sharing.devices, sharing.nodes))
    voice = Voice(run)
    name = f"predicted.{output.format}"
    written = [name, *_skipped(reading)]
    replaced = [*_in_any_format("predicted"), *_skipped(reading)]
    with staged_together(output.out, replaced, output.format, overwrite=output.overwrite) as folder:
        with agreed() as answers:
            estimator = _load(model, run, reading, voice)
            content = open_table(table)
            roles = roles_for_predicting(content, estimator, columns)
            parts = TableParts.of(content, roles, estimator, image_folder(table, reading.folder))
            space = estimator.clean_space_
            with (
                voice.working(f"predicting {content.num_rows:,} rows"),
                written_share(folder / name, output.format, answers) as write,
            ):
                for first, part in parts:
                    with rows_from(first):
                        rows = parts.read(first, part)
                    probabilities = estimator.predict_proba(rows.x)
                    states = space.units.mode(torch.from_numpy(np.nan_to_num(probabilities)))
                    names = space.decode(states.numpy())
                    for row in np.flatnonzero(~rows.usable()):
                        names[row] = []
                    write(predicted_table(rows.ids, space.names, names, probabilities))
        if processes.rank() > 0:
            return
        commit(folder / name, answers)
        _warn_of_duplicates(content, roles, voice)
        _write_skipped(folder, reading, content, roles, parts.bad, voice)
    total = content.num_rows
    voice.summary([("rows", f"{total:,}"), ("written", f"{', '.join(written)} in {output.out}")])


@app.command(
    "explain", epilog="Example: latentlabels explain run/model films.parquet --row 12 --label drama"
)
@grouped
def explain_row(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A fitted model's folder.")],
    table: Table,
    columns: ApplyColumns,
    reading: InputOptions,
    options: ExplainOptions,
    run: RerunOptions,
) -> None:
    """Say why a row has a label or has it not: an exact split of its log-odds.

    Columns are those of fitting, where they are not named.
    """
    estimator = _load(model, run, reading, Voice(run))
    explain(estimator, table, columns, reading, options, run)


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
    epilog="Example: latentlabels export run --format label-studio --table photos.parquet "
    "--input image --out tasks"
)(grouped(export))
app.command(
    "import",
    epilog="Example: latentlabels import project.json --table photos.parquet --out "
    "verified.parquet",
)(grouped(import_decisions))
app.command(
    epilog="Example: latentlabels compare films.parquet --input vector --noisy keywords "
    "--clean genres --verified verified --split split --out comparison"
)(compare)
app.command(
    epilog="Example: latentlabels reproduce table2 --data cifar-10-batches-bin --scale small "
    "--out table2"
)(reproduce)
app.command("report", epilog="Example: latentlabels report run")(report)
app.command("review", epilog="Example: latentlabels review run")(review_page)
app.command("next", epilog="Example: latentlabels next run --rows 200 --out next.csv")(next_rows)


def _fit(
    path: Path,
    columns: FitColumns,
    cells: CellOptions,
    reading: InputOptions,
    backbone: BackboneOptions,
    output: OutputOptions,
    model: ModelOptions,
    training: TrainingOptions,
    review: ReviewOptions,
    run: RunOptions,
    origin: dict[str, Any],
) -> None:
    """Fit, clean, and write what is wanted: with cleaned labels and a report, or without.

    All processes fit; the first cleans and writes.
    """
    kind, wanted = None, None
    if isinstance(output, CleanedOutput):
        kind, wanted = output.format, output.wanted
    if wanted is not None:
        require_share(wanted)
    launch(Machines(training.devices, training.nodes, training.strategy))
    voice = Voice(run)
    table_name = [] if kind is None else [f"cleaned.{kind}"]
    written = [*table_name, MODEL, METRICS, *_skipped(reading)]
    replaced = [MODEL, METRICS, RELIABILITY, REPORT, SKIPPED]
    if kind is not None:
        replaced += _in_any_format("cleaned")
    with staged_together(output.out, replaced, None, overwrite=output.overwrite) as folder:
        with agreed():
            estimator = fitting.estimator_of(
                model, backbone, reading, training, run.seed, progress=voice.progress
            )
            with voice.working(f"reading {path}"):
                table = open_table(path)
                roles = roles_for_fitting(table, columns, cells)
                rows = read_rows(table, roles, image_folder(path, reading.folder))
                source = provenance.of_table(path, len(rows))
                origin = {**origin, **source, **roles.provenance()}
                rows = with_decisions(rows, roles, review, source["sha256"])
                if review.learning_curve:
                    require_enough(int(rows.verified.sum()))
            _warn_of_duplicates(table, roles, voice)
            known = model_to_start_from(review, backbone, voice)
            rows = fitting.fit(estimator, rows, roles, model, voice, known)
            with voice.working("fitting on the verified rows alone, to compare"):
                alone = alone_if_it_can_be(estimator, rows, run.seed)
            curve = fitting.curve_of(estimator, rows, voice) if review.learning_curve else None
        if processes.rank() > 0:
            return
        acceptance = fitting.acceptance_of(estimator, wanted, voice)
        tally, places = Tally(), {} if kind is None else {folder / f"cleaned.{kind}": kind}
        readable = folder
        if kind == Format.CSV:
            # The report reads lists, which a CSV has as text.
            readable = folder / "lists"
            readable.mkdir()
            places[readable / "cleaned.parquet"] = Format.PARQUET
        recovered = _clean(estimator, rows, tally, wanted, source, places, voice)
        fitting.warn_of_unknown(tally, voice)
        comparison = comparison_if_it_can_be(estimator, alone, rows, run.seed)
        metrics = fitting.metrics_of(
            estimator, rows, tally, acceptance, recovered, comparison, run.seed
        )
        metrics["learning_curve"] = None if curve is None else curve.as_json()
        _write_skipped(folder, reading, table, roles, rows.bad, voice)
        write_model(estimator, folder / MODEL, origin)
        write_json(folder / METRICS, metrics)
        if estimator.calibration_ is not None:
            save_reliability(folder / RELIABILITY, estimator.calibration_)
            written.append(RELIABILITY)
        if kind is not None and _report(readable, folder, path, reading, voice):
            written.append(REPORT)
        if readable != folder:
            shutil.rmtree(readable)
    for warned in of_no_help(record_of(metrics), held_changes(estimator.model_)):
        voice.warn(f"{warned.title}. {warned.text}")
    if kind is None:
        metrics["changes"] = None
    facts = [*facts_of(metrics, output.out, written), *accepted(tally, acceptance)]
    if curve is not None:
        facts.append(("verified rows", curve.told()))
    voice.summary(facts)


def _clean(
    estimator: RobustClassifier,
    rows: Rows,
    tally: Tally,
    wanted: float | None,
    source: Mapping[str, Any],
    places: Mapping[Path, Format],
    voice: Voice,
) -> NDArray[np.float32]:
    """Clean rows a part at a time, and write them.

    Args:
        estimator: fitted.
        rows: all rows.
        tally: of all rows.
        wanted: share of the changes that are made that is to be right.
        source: what tells the table from any other.
        places: files to write, and their kinds.
        voice: says what is being done.

    Returns:
        Probabilities of the rows that `recoverable` chooses, (some, clean).
    """
    recovered = []
    apart = bool((rows.split != "train").any())
    with ExitStack() as stack:
        stack.enter_context(voice.working(f"cleaning {len(rows):,} rows"))
        writers = [stack.enter_context(written_in_parts(*place)) for place in places.items()]
        for start in range(0, len(rows), PART_ROWS):
            part = rows.between(start, min(start + PART_ROWS, len(rows)))
            with rows_from(start):
                cleaned = fitting.clean(estimator, part, tally, wanted)
            recovered.append(cleaned.probabilities[fitting.recoverable(part)])
            for write in writers:
                split = part.split if apart else None
                write(cleaned_table(part.ids, cleaned, source, split))
    return np.concatenate(recovered)


def _report(run: Path, out: Path, table: Path, reading: InputOptions, voice: Voice) -> bool:
    """Write the report of what was just cleaned, unless none can be made.

    Args:
        run: the folder with the cleaned table.
        out: the folder with all else.
        table: what was cleaned.
        reading: where images' paths start.
        voice: says what is being done, and why there is no report.
    """
    try:
        with voice.working("writing the report"):
            shown = ShownRunOptions(model=out / MODEL, table=table, folder=reading.folder)
            report_on(run, out / REPORT, shown)
    except Exception as error:  # whatever it is, hours of training are worth more
        voice.warn(f"There is no report: {error}")
        return False
    return True


def _load(folder: Path, run: RerunOptions, reading: InputOptions, voice: Voice) -> RobustClassifier:
    estimator: RobustClassifier = RobustClassifier.load(
        folder, backbone=run.backbone, weights=run.weights
    )
    arguments = {name: value for name, value in vars(reading).items() if name in DEFAULTS}
    estimator.set_params(**arguments, verbose=voice.progress)
    if run.seed is not None:
        estimator.model_.seed = run.seed
    return estimator


def _warn_of_duplicates(table: Any, roles: Roles, voice: Voice) -> None:
    if roles.id is not None and (told := duplicates_told(table, roles.id)):
        voice.warn(told)


def _in_any_format(stem: str) -> list[str]:
    """A table's names: of several that lay beside one another, nobody knew which was the last."""
    return [f"{stem}.{kind}" for kind in Format]


def _skipped(reading: InputOptions) -> list[str]:
    return [SKIPPED] if reading.on_bad_input == OnBadInput.SKIP else []


def _write_skipped(
    folder: Path,
    reading: InputOptions,
    table: Any,
    roles: Roles,
    skipped: Mapping[int, str],
    voice: Voice,
) -> None:
    if reading.on_bad_input != OnBadInput.SKIP:
        return
    ids = row_ids(table, roles)
    write_table_atomically(skipped_table(ids, skipped), folder / SKIPPED, Format.CSV)
    if skipped:
        voice.warn(f"{len(skipped)} rows cannot be used and were left out: see {SKIPPED}.")
