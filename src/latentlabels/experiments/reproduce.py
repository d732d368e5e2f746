"""The paper's tables and figures: every run kept as it ends, then what they come to.

Runs that had ended are not run again, and one that was stopped goes on after its last epoch.

Source: Vahdat (2017), section 4.
"""

from __future__ import annotations

import contextlib
import math
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import latentlabels
from latentlabels.data.labelled_images import LabelledImages
from latentlabels.experiments.kept import RESULTS, KeptResults
from latentlabels.experiments.paper_figures import draw_figure, examples_for
from latentlabels.experiments.paper_tables import as_markdown, table_facts
from latentlabels.experiments.plan import FIGURES, Cell, Plan, Request, plan_for, task_of
from latentlabels.experiments.protocol import run_method
from latentlabels.experiments.task import Task
from latentlabels.results import write_json

FEATURES: Final = "features"
TRAINING: Final = "training"

Say = Callable[[str], None]


def reproduce(
    request: Request, out: Path, *, overwrite: bool = False, progress: bool = False, say: Say
) -> list[str]:
    """Run what is missing for a table or figure, and write it.

    Args:
        request: what is wanted.
        out: the results' folder. `results.json` in it keeps every run that has ended.
        overwrite: whether to begin anew if there are results.
        progress: whether to show progress bars.
        say: told of each run.

    Returns:
        The files in `out` that hold the results.

    Raises:
        LatentLabelsError: options, data or weights that cannot be used, or results of other
            settings in `out`.
    """
    plan = plan_for(request)
    kept = KeptResults(out, request.target, plan.settings(), overwrite=overwrite)
    cells = list(plan.cells())
    missing = [cell for cell in cells if cell.key not in kept.cells]
    if len(missing) < len(cells):
        say(f"{len(cells) - len(missing)} of {len(cells)} runs are there already.")
    if overwrite:
        shutil.rmtree(out / TRAINING, ignore_errors=True)
    runs = _Runs(plan, out / FEATURES, progress=progress)
    for cell in missing:
        checkpoints = out / TRAINING / re.sub(r"\W+", "-", cell.key)
        outcome = runs.run(cell, checkpoints)
        kept.add(cell.key, outcome)
        shutil.rmtree(checkpoints, ignore_errors=True)
        say(f"{cell.column.name}, {cell.row.name}, seed {cell.seed}: {_told(outcome)}")
        if request.target not in FIGURES:
            _write_table(plan, kept, out)
    with contextlib.suppress(OSError):
        (out / TRAINING).rmdir()  # unless runs that nobody asked for now were stopped in it
    if request.target in FIGURES:
        name = f"{request.target}.png"
        draw_figure(out / name, request.target, kept.cells[cells[0].key]["examples"], request.data)
        return [RESULTS, name]
    return [RESULTS, *_write_table(plan, kept, out)]


class _Runs:
    """Runs cells, keeping the data of the last one.

    Args:
        plan: of which they are.
        features: folder of the features of frozen networks.
        progress: whether to show progress bars.
    """

    def __init__(self, plan: Plan, features: Path, *, progress: bool) -> None:
        self.plan = plan
        self.features = features
        self.progress = progress
        self._loaded: tuple[tuple[str, int], LabelledImages, Task] | None = None

    def run(self, cell: Cell, checkpoints: Path) -> dict[str, Any]:
        """Fit and score, as JSON values; a fit that was stopped goes on from its checkpoints."""
        request = self.plan.request
        images, task = self._data(cell)
        method = cell.column.method(cell.row, images, request, cell.seed)
        extra = {
            "cache": self.features,
            "checkpoints": checkpoints,
            "resume": True,
            "verbose": self.progress,
        }
        method = replace(method, settings={**method.settings, **extra})
        outcome, classifier = run_method(task, method, cell.seed)
        told: dict[str, Any] = {
            "prediction": _finite(outcome.test),
            "recovery": _finite(outcome.recovery),
            "seconds": round(outcome.seconds, 1),
            "epoch": outcome.epoch,
            "version": latentlabels.__version__,
        }
        if classifier is not None:
            told["skipped"] = len(classifier.skipped_)
        if request.target in FIGURES:
            assert classifier is not None
            told["examples"] = examples_for(
                request.target, task, classifier, request.data, cell.seed
            )
        return told

    def _data(self, cell: Cell) -> tuple[LabelledImages, Task]:
        wanted = (cell.column.name, cell.seed)
        if self._loaded is None or self._loaded[0] != wanted:
            # Given back before other data are read.
            self._loaded = None
            images = cell.column.load(self.plan.request.data, cell.seed)
            self._loaded = (wanted, images, task_of(images))
        return self._loaded[1:]


def _write_table(plan: Plan, kept: KeptResults, out: Path) -> list[str]:
    target = plan.request.target
    facts = table_facts(target, plan.all_rows, list(kept.settings), kept.cells)
    names = [f"{target}.json", f"{target}.md"]
    asides = [out / f".{name}.partial" for name in names]
    try:
        write_json(asides[0], facts)
        asides[1].write_text(as_markdown(facts), encoding="utf-8")
        for aside, name in zip(asides, names, strict=True):
            aside.replace(out / name)
    finally:
        for aside in asides:
            aside.unlink(missing_ok=True)
    return names


def _finite(value: float | None) -> float | None:
    """A score, or None for one that is undefined."""
    return None if value is None or math.isnan(value) else value


def _told(outcome: dict[str, Any]) -> str:
    scores = [
        f"{measure} {100 * outcome[measure]:.1f} %"
        for measure in ("prediction", "recovery")
        if outcome[measure] is not None
    ]
    return f"{', '.join([*scores, 'done'][: max(1, len(scores))])} ({outcome['seconds']:.0f} s)"
