"""A table of the paper: our figures over seeds beside its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any, Final

from rich.table import Table

from latentlabels.experiments.paper import MEASURES, PUBLISHED, Measure, TableRow
from latentlabels.experiments.plan import key_of

MISSING: Final = "–"
NOT_RUN: Final = "not run"
MEANINGS: Final[Mapping[Measure, str]] = {
    "prediction": "p(ŷ | x) on test images",
    "recovery": "labels of unverified training images",
}
SCORES: Final = {"table1": "mean average precision", "table2": "accuracy"}


def table_facts(
    target: str,
    rows: Sequence[TableRow],
    columns: Sequence[str],
    cells: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """What a table says, in per cent, as JSON values.

    Args:
        target: "table1" or "table2".
        rows: its methods.
        columns: names of its columns.
        cells: outcomes by their key.

    Returns:
        For each measure, row and column: the mean of our runs, their standard deviation where there
        are several, how many there are, and the paper's figure; None where there is none.
    """
    return {
        "target": target,
        "score": SCORES[target],
        "columns": list(columns),
        "rows": [{"key": row.key, "name": row.name} for row in rows],
        **{
            measure: {
                row.key: {
                    column: {
                        **_spread(_values(cells, column, row.key, measure)),
                        "paper": PUBLISHED.get((target, column, row.key, measure)),
                    }
                    for column in columns
                }
                for row in rows
            }
            for measure in MEASURES
        },
    }


def _values(
    cells: Mapping[str, Mapping[str, Any]], column: str, row: str, measure: Measure
) -> list[float | None]:
    """A measure of all runs of a method on a column."""
    start = key_of(column, row, 0).removesuffix("0")
    return [cell[measure] for key, cell in cells.items() if key.startswith(start)]


def _spread(values: Sequence[float | None]) -> dict[str, Any]:
    known = [100 * value for value in values if value is not None]
    return {
        "mean": fmean(known) if known else None,
        "deviation": stdev(known) if len(known) > 1 else None,
        "runs": len(values),
    }


def entry(facts: Mapping[str, Any]) -> str:
    """A cell as text: ours, then the paper's."""
    if not facts["runs"]:
        ours = NOT_RUN
    elif facts["mean"] is None:
        ours = MISSING
    else:
        ours = f"{facts['mean']:.1f}"
        if facts["deviation"] is not None:
            ours += f" ± {facts['deviation']:.1f}"
    paper = MISSING if facts["paper"] is None else f"{facts['paper']:.1f}"
    return f"{ours} (paper {paper})"


def title_of(facts: Mapping[str, Any], measure: Measure) -> str:
    """What a table of one measure is about."""
    return f"{measure.capitalize()}: {facts['score']} of {MEANINGS[measure]}, %"


def as_markdown(facts: Mapping[str, Any]) -> str:
    """Both measures as Markdown."""
    lines = []
    for measure in MEASURES:
        lines += [f"## {title_of(facts, measure)}", ""]
        lines += [
            f"| method | {' | '.join(facts['columns'])} |",
            f"|---|{'---|' * len(facts['columns'])}",
        ]
        for row in facts["rows"]:
            own = facts[measure][row["key"]]
            entries = [entry(own[column]) for column in facts["columns"]]
            lines.append(f"| {row['name']} | {' | '.join(entries)} |")
        lines.append("")
    return "\n".join(lines)


def as_rich(facts: Mapping[str, Any], measure: Measure) -> Table:
    """One measure for a terminal."""
    table = Table(title=title_of(facts, measure), title_justify="left")
    table.add_column("method")
    for column in facts["columns"]:
        table.add_column(column, justify="right")
    for row in facts["rows"]:
        own = facts[measure][row["key"]]
        table.add_row(row["name"], *(entry(own[column]) for column in facts["columns"]))
    return table
