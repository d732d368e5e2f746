"""The table of a comparison: means and spreads over seeds, as JSON, Markdown and for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any, Final

from rich.table import Table

from latentlabels.experiments.comparison import TARGET, Comparison, chosen_setting, run_key

MISSING: Final = "–"


@dataclass(frozen=True)
class Measure:
    """A column of the table.

    Attributes:
        key: of an outcome.
        title: in tables.
        scale: what outcomes are multiplied by.
        digits: after the point.
    """

    key: str
    title: str
    scale: float = 100.0
    digits: int = 1


MEASURES: Final = (
    Measure("test", "test"),
    Measure("recovery", "recovery"),
    Measure("calibration_error", "ECE"),
    Measure("brier", "Brier"),
    Measure("seconds", "seconds", 1.0, 0),
    Measure("memory", "MB", 1.0, 0),
)


def facts_of(comparison: Comparison, cells: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What the table says, as JSON values.

    Returns:
        For each method its key, name, source, the chosen setting, how many runs it had, why it was
        refused if it was, and the mean and standard deviation of every measure over seeds.
    """
    methods = []
    for entry in comparison.entries:
        facts: dict[str, Any] = {"key": entry.key, "name": entry.name, "source": entry.source}
        refused = cells.get(run_key(entry, 0, 0), {}).get("refused")
        if refused is not None:
            methods.append({**facts, "refused": refused})
            continue
        best = chosen_setting(entry, cells)
        runs = [
            cells[key]
            for seed in range(comparison.seeds)
            if (key := run_key(entry, best, seed)) in cells
        ]
        facts |= {"setting": dict(entry.choices[best]), "runs": len(runs)}
        for measure in MEASURES:
            facts[measure.key] = _spread([run[measure.key] for run in runs])
        methods.append(facts)
    return {"target": TARGET, "seeds": comparison.seeds, "methods": methods}


def as_markdown(facts: Mapping[str, Any]) -> str:
    """The table as Markdown, and below it who was refused and why."""
    titles = [measure.title for measure in MEASURES]
    lines = [f"| method | {' | '.join(titles)} |", f"|---|{'---|' * len(titles)}"]
    ran = [method for method in facts["methods"] if "refused" not in method]
    lines += [f"| {method['name']} | {' | '.join(_entries(method))} |" for method in ran]
    lines += _refused(facts)
    return "\n".join(lines) + "\n"


def as_rich(facts: Mapping[str, Any]) -> Table:
    """The table for a terminal."""
    table = Table(
        title="Per cent but seconds and MB; mean ± standard deviation over seeds",
        title_justify="left",
    )
    table.add_column("method")
    for measure in MEASURES:
        table.add_column(measure.title, justify="right")
    for method in facts["methods"]:
        if "refused" not in method:
            table.add_row(method["name"], *_entries(method))
    return table


def _refused(facts: Mapping[str, Any]) -> list[str]:
    lines = [f"- {m['name']}: {m['refused']}." for m in facts["methods"] if "refused" in m]
    return ["", "Not for this table:", "", *lines] if lines else []


def _entries(method: Mapping[str, Any]) -> list[str]:
    entries = []
    for measure in MEASURES:
        spread = method[measure.key]
        if spread is None:
            entries.append(MISSING)
            continue
        mean, deviation = spread["mean"], spread["deviation"]
        text = f"{measure.scale * mean:.{measure.digits}f}"
        if deviation is not None and measure.scale != 1.0:
            text += f" ± {measure.scale * deviation:.{measure.digits}f}"
        entries.append(text)
    return entries


def _spread(values: Sequence[float | None]) -> dict[str, float | None] | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    return {"mean": fmean(known), "deviation": stdev(known) if len(known) > 1 else None}
