"""The demo: noisy tags of digit scenes in, a classifier and cleaned labels out."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from latentlabels.data.columns import InputKind
from latentlabels.data.digits import DIGIT_NAMES, Scenes, digit_scenes
from latentlabels.data.labels import encode, read_columns
from latentlabels.data.table import Format, write_table_atomically
from latentlabels.estimator import RobustClassifier
from latentlabels.evaluation.comparison import compare
from latentlabels.experiments.protocol import (
    Method,
    Outcome,
    recovery_of_auxiliary,
    run_method,
)
from latentlabels.experiments.task import Task
from latentlabels.provenance import of_command, of_table
from latentlabels.report.facts import gather
from latentlabels.report.gallery import gallery_row, save_gallery
from latentlabels.report.page import write_report
from latentlabels.report.record import record_of
from latentlabels.results import (
    REPORT,
    cleaned_table,
    comparison_told,
    fit_told,
    staged,
    write_json,
    write_model,
)
from latentlabels.runs.opening import open_run

METHODS: dict[str, str] = {
    "verified_only": "verified rows only",
    "mapped": "noisy names that are clean ones",
    "model": "latentlabels",
    "all_clean": "all labels clean",
}
# Shorter than the defaults, for an answer within about a minute.
SETTINGS = {"epochs": 40, "patience": 10}
LEFT = ("scenes.parquet", "cleaned.parquet", "model", "metrics.json", "scenes.png", "report.html")
SHOWN_SCENES = 12


def run_demo(out: Path | None, seed: int, console: Console) -> dict[str, dict[str, float]]:
    """Fit four classifiers on the embedded scenes and print what each is worth.

    Args:
        out: a folder for the scenes' table, the cleaned table, the model, the scores, a picture and
            the report; those that an earlier demo left there are replaced.
        seed: of the scenes and of training.
        console: where to print.

    Returns:
        `test_map` of each method and `recovery_map` of the auxiliary and the model, in per cent.
    """
    place = nullcontext() if out is None else staged(out, LEFT, overwrite=True)
    with place as folder:
        scores = _run(folder, seed, console)
    if out is not None:
        console.print(f"{out} now holds {', '.join(LEFT)}.")
    return scores


def _run(folder: Path | None, seed: int, console: Console) -> dict[str, dict[str, float]]:
    scenes = digit_scenes(seed=seed)
    task = scenes_task(scenes)
    console.print(
        f"{len(task.rows('train')):,} training scenes with tags, {scenes.verified.sum():,} of them "
        f"verified; {len(task.rows('test')):,} scenes to test on."
    )
    outcomes: dict[str, Outcome] = {}
    classifiers: dict[str, RobustClassifier] = {}
    for number, (role, name) in enumerate(METHODS.items(), 1):
        with console.status(f"Fitting classifier {number} of {len(METHODS)}: {name}"):
            outcome, classifier = run_method(task, Method(name, role, SETTINGS), seed)
        assert classifier is not None
        outcomes[role], classifiers[role] = outcome, classifier
        console.print(f"  {name}: fitted in {outcome.seconds:.0f} s")
    model = classifiers["model"]
    scores = demo_scores(outcomes, recovery_of_auxiliary(task, model))
    console.print(scores_table(scores))
    if folder is not None:
        comparison = compared(task, model, classifiers["verified_only"], seed)
        told = {**scores, "seed": seed, **fit_told(model), "comparison": comparison}
        keep(folder, scenes, task, model, told)
    return scores


def scenes_task(scenes: Scenes) -> Task:
    """The scenes under the protocol, pixels as input."""
    return Task(
        scenes.images.reshape(len(scenes.images), -1),
        [list(tags) for tags in scenes.tags],
        [list(labels) for labels in scenes.labels],
        np.array(scenes.split),
        scenes.verified,
        calibrated=True,
    )


def compared(
    task: Task, model: RobustClassifier, verified_only: RobustClassifier, seed: int
) -> dict[str, Any]:
    """The model against the verified rows alone on the test scenes, for metrics.json."""
    rows, space = task.rows("test"), model.clean_space_
    truth = encode(read_columns(task.clean_of(rows)), space, unknown="ignore").toarray()
    ours, theirs = (classifier.predict_proba(task.x[rows]) for classifier in (model, verified_only))
    return comparison_told(compare(space.units, truth, ours, theirs, seed), "test")


def demo_scores(outcomes: Mapping[str, Outcome], auxiliary: float) -> dict[str, dict[str, float]]:
    """`test_map` and `recovery_map`, in per cent."""
    test = {role: 100 * outcome.test for role, outcome in outcomes.items() if outcome.test}
    recovery = outcomes["model"].recovery
    assert recovery is not None
    return {
        "test_map": test,
        "recovery_map": {"auxiliary": 100 * auxiliary, "model": 100 * recovery},
    }


def scores_table(scores: Mapping[str, Mapping[str, float]]) -> Table:
    """The scores for a terminal."""
    table = Table(title="Mean average precision, %", title_justify="left")
    table.add_column("trained on")
    table.add_column("new scenes", justify="right")
    table.add_column("cleaned tags", justify="right")
    test, recovery = scores["test_map"], scores["recovery_map"]
    table.add_row("(tags alone, no picture)", "", f"{recovery['auxiliary']:.1f}")
    for role, name in METHODS.items():
        cleaned = f"{recovery['model']:.1f}" if role == "model" else ""
        style = "bold" if role == "model" else ""
        table.add_row(name, f"{test[role]:.1f}", cleaned, style=style)
    return table


def keep(
    folder: Path,
    scenes: Scenes,
    task: Task,
    model: RobustClassifier,
    metrics: dict[str, Any],
) -> None:
    """Leave scenes, cleaned table, model, scores, a picture and the report in a folder."""
    cleaned = model.clean(task.x, task.noisy, task.readable(np.arange(len(task.x))))
    changed = np.flatnonzero(cleaned.changed & ~cleaned.verified)[:SHOWN_SCENES]
    rows = [
        gallery_row(scenes.images[row], cleaned.given[row], cleaned.proposed[row], DIGIT_NAMES)
        for row in changed
    ]
    table = scenes.to_table()
    path = folder / "scenes.parquet"
    write_table_atomically(table, path, Format.PARQUET)
    source = of_table(path, table.num_rows)
    command = of_command(["demo", "--seed", str(metrics["seed"])])
    origin = {**model.provenance_, **command, **source}
    result = cleaned_table(table.select(["id"]), cleaned, source, np.array(scenes.split))
    write_table_atomically(result, folder / "cleaned.parquet", Format.PARQUET)
    write_model(model, folder / "model", origin)
    write_json(folder / "metrics.json", metrics)
    save_gallery(folder / "scenes.png", rows, title="The first scenes whose labels were changed")
    run = open_run(
        folder,
        model.clean_space_,
        origin,
        table=path,
        inputs=["picture"],
        kind=InputKind.IMAGE,
        show=[],
        pictures=None,
    )
    spaces = (model.noisy_space_, model.clean_space_)
    title = "Scenes of digits with tags that people might have typed"
    facts = gather(run, model.model_, *spaces, origin, record_of(metrics), title)
    write_report(facts, folder / REPORT)
