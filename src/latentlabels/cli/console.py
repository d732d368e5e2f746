"""What a command says while it runs and at its end."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from latentlabels import processes
from latentlabels.cli import one_line
from latentlabels.cli.options import VoiceOptions
from latentlabels.cli.tally import Tally
from latentlabels.errors import shown
from latentlabels.evaluation.acceptance import Acceptance

NAMES_SHOWN = 5


class Voice:
    """Says what is going on, as far as the user wants to hear it.

    Args:
        options: what the user wants.
    """

    def __init__(self, options: VoiceOptions) -> None:
        # Of several processes the first speaks.
        self.quiet = options.quiet or processes.rank() > 0
        wanted = sys.stderr.isatty() if options.progress is None else options.progress
        self.progress = wanted and not self.quiet
        self.console = Console(quiet=self.quiet)

    @contextmanager
    def working(self, what: str) -> Iterator[None]:
        """Show that something is being done."""
        if not self.progress:
            yield
            return
        with Console(stderr=True).status(Text(what)):
            yield

    def warn(self, message: str) -> None:
        """Say something that a user may want to act on."""
        if not self.quiet:
            sys.stderr.write(f"latentlabels: warning: {one_line(message)}\n")

    @contextmanager
    def passing_on(self, kind: type[Warning]) -> Iterator[None]:
        """Say warnings of a kind as they come."""
        with warnings.catch_warnings():
            warnings.simplefilter("always", kind)
            warnings.showwarning = lambda message, *_args, **_named: self.warn(str(message))
            yield

    def say(self, message: str) -> None:
        """Tell how far a long run is."""
        self.console.print(Text(one_line(message)))

    def summary(self, facts: Iterable[tuple[str, str]]) -> None:
        """Print facts with their names."""
        table = Table.grid(padding=(0, 2))
        table.add_column(style="bold")
        table.add_column(overflow="fold")
        for name, fact in facts:
            table.add_row(name, Text(one_line(fact)))
        self.console.print(table)


def listed(names: Sequence[Any]) -> str:
    """The first of some names, and how many more there are."""
    told = ", ".join(shown(str(name)) for name in names[:NAMES_SHOWN])
    more = len(names) - NAMES_SHOWN
    return f"{told} and {more} more" if more > 0 else told


def facts_of(metrics: dict[str, Any], out: Path, written: Sequence[str]) -> list[tuple[str, str]]:
    """The summary of a run, from its metrics."""
    rows = metrics["rows"]
    parts = [f"{rows[part]:,} {part}" for part in ("train", "validation", "test") if rows[part]]
    facts = [
        ("rows", f"{rows['all']:,}" + (f" ({', '.join(parts)})" if len(parts) > 1 else "")),
        ("verified", f"{rows['verified']:,}"),
    ]
    changes = metrics.get("changes")
    if changes is not None:
        facts += [
            ("changed", f"{changes['rows']:,} rows"),
            ("labels", f"{changes['added']:,} added, {changes['removed']:,} removed"),
        ]
    if metrics["calibration"] is not None:
        facts.append(("calibration", _calibration(metrics["calibration"])))
    facts.append(("auxiliary", _auxiliary(metrics["auxiliary"])))
    for part, of in (
        ("validation", "p(ŷ | x)"),
        ("test", "p(ŷ | x)"),
        ("recovery", "q(ŷ | x, y), unverified training rows"),
    ):
        if metrics[part] is not None:
            facts.append((part, f"{_score(metrics[part])}, {of}"))
        elif part == "validation":
            facts.append((part, "none: too few verified rows to hold some out; the last epoch"))
    facts.append(("written", f"{', '.join(written)} in {out}"))
    return facts


def accepted(tally: Tally, acceptance: Acceptance | None) -> list[tuple[str, str]]:
    """How many changes are made, where a precision was asked for, and how many of them are right.

    Changes of verified rows, which are made as they were verified, are not counted.
    """
    if acceptance is None:
        return []
    made = tally.changes - tally.for_review
    return [
        ("accepted", f"{made:,} of {tally.changes:,} changes; the others are left for review"),
        ("precision", acceptance.told()),
    ]


def _calibration(measured: dict[str, Any]) -> str:
    before, after = measured["before"], measured["after"]
    return (
        f"ECE {before['ece']:.3f} → {after['ece']:.3f}, Brier {before['brier']:.3f} → "
        f"{after['brier']:.3f}, on {measured['rows']:,} held-out rows by cross-validation"
    )


def _auxiliary(choice: dict[str, Any]) -> str:
    losses = sorted(choice["held_out_loss"].items(), key=lambda pair: pair[1])
    if not losses:
        return str(choice["kind"])
    told = ", ".join(f"{kind} {loss:.3f}" for kind, loss in losses)
    return f"{choice['kind']} (held-out loss in nats: {told})"


def _score(scored: dict[str, Any]) -> str:
    name = next(iter(scored))
    value = scored[name]
    return f"{name} undefined" if value is None else f"{name} {value:.1%}"
