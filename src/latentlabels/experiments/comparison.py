"""Many methods on one table, each with its settings chosen on validation rows, over seeds.

Every run is one process of its own, whose time and memory are measured, and is kept as it ends.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any, Final

import torch

from latentlabels.baselines import BASELINES
from latentlabels.errors import LatentLabelsError
from latentlabels.experiments.entries import Entry
from latentlabels.experiments.kept import KeptResults
from latentlabels.experiments.problems import pose
from latentlabels.experiments.protocol import run_method
from latentlabels.experiments.task import Task

TARGET: Final = "comparison"
MEGABYTE: Final = 1e6 if sys.platform == "darwin" else 1e3
"""A megabyte in the units of `ru_maxrss`, which are kilobytes but on macOS."""


@dataclass(frozen=True)
class Comparison:
    """What is run.

    Attributes:
        entries: the methods.
        shared: arguments of `RobustClassifier` that all share, as JSON values.
        seeds: runs of each method, with seeds 0, 1, ...
        budget: how many of a method's settings are tried at most, on the first seed.
    """

    entries: Sequence[Entry]
    shared: Mapping[str, Any]
    seeds: int = 3
    budget: int = 3


def compare(
    task: Task,
    comparison: Comparison,
    folder: Path,
    *,
    table: Mapping[str, Any],
    overwrite: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Mapping[str, Mapping[str, Any]]:
    """Run what has not been run yet.

    Args:
        task: the table, its examples as vectors.
        comparison: what is run.
        folder: for the results, which a later call goes on from.
        table: what identifies the table, as JSON values; results of another are refused.
        overwrite: whether to begin anew.
        say: told of every run that ends.

    Returns:
        The outcome of every run, or why a method was refused, by `run_key`.

    Raises:
        LatentLabelsError: no validation rows, or results of something else in the folder.
    """
    for part in ("validation", "test"):
        if len(task.rows(part)) == 0:
            raise LatentLabelsError(
                f"A comparison needs {part} rows: mark some as {part} in the split column."
            )
    settings = {"table": {**table, "shared": dict(comparison.shared), "budget": comparison.budget}}
    kept = KeptResults(folder, TARGET, settings, overwrite=overwrite)
    for entry in comparison.entries:
        _run_entry(task, comparison, entry, kept, say)
    return kept.cells


def _run_entry(
    task: Task,
    comparison: Comparison,
    entry: Entry,
    kept: KeptResults,
    say: Callable[[str], None],
) -> None:
    why = _refusal(task, comparison, entry)
    if why is not None:
        kept.add(run_key(entry, 0, 0), {"refused": why})
        return
    choices = range(min(comparison.budget, len(entry.choices)))
    for choice in choices:
        _run(task, comparison, entry, choice, 0, kept, say)
    best = chosen_setting(entry, kept.cells)
    for seed in range(1, comparison.seeds):
        _run(task, comparison, entry, best, seed, kept, say)


def _refusal(task: Task, comparison: Comparison, entry: Entry) -> str | None:
    if entry.role not in BASELINES:
        return None
    return BASELINES[entry.role].refuses(pose(task, comparison.shared).problem)


def _run(
    task: Task,
    comparison: Comparison,
    entry: Entry,
    choice: int,
    seed: int,
    kept: KeptResults,
    say: Callable[[str], None],
) -> None:
    key = run_key(entry, choice, seed)
    if key in kept.cells:
        return
    outcome = isolated(task, comparison.shared, entry, choice, seed)
    kept.add(key, outcome)
    say(f"{entry.name}, seed {seed}, setting {choice + 1}: {_told(outcome)}")


def isolated(
    task: Task, shared: Mapping[str, Any], entry: Entry, choice: int, seed: int
) -> dict[str, Any]:
    """One run in a process of its own, whose memory is that of this run alone."""
    with ProcessPoolExecutor(1, mp_context=_fresh()) as pool:
        return pool.submit(measured, task, shared, entry, choice, seed).result()


def _fresh() -> BaseContext:
    """What starts processes that hold the imported modules and nothing else.

    A server that has imported them once forks them; where there is none, each imports them.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload([__name__])
    return server


def measured(
    task: Task, shared: Mapping[str, Any], entry: Entry, choice: int, seed: int
) -> dict[str, Any]:
    """An outcome as JSON values, with the process's peak of memory in megabytes."""
    torch.set_num_threads(1)
    outcome, _ = run_method(task, entry.method(shared, choice), seed)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {**asdict(outcome), "memory": peak / MEGABYTE}


def chosen_setting(entry: Entry, cells: Mapping[str, Mapping[str, Any]]) -> int:
    """Which of the settings that were tried on the first seed validates best; the first of equals.

    A method without p(ŷ | x) has nothing to choose.
    """
    tried = [c for c in range(len(entry.choices)) if run_key(entry, c, 0) in cells]
    return max(tried, key=lambda choice: _validated(cells[run_key(entry, choice, 0)]))


def _validated(outcome: Mapping[str, Any]) -> float:
    score = outcome.get("validation")
    return -1.0 if score is None else float(score)


def _told(outcome: Mapping[str, Any]) -> str:
    told = [
        f"{name} {100 * outcome[name]:.1f}"
        for name in ("validation", "test", "recovery")
        if outcome.get(name) is not None
    ]
    return f"{', '.join(told)} in {outcome['seconds']:.0f} s"


def run_key(entry: Entry, choice: int, seed: int) -> str:
    """Where a run is kept."""
    return f"{entry.key}/{choice}/{seed}"
