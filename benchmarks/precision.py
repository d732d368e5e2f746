"""How many of the changes that `--precision` accepts are right, on training rows nobody verified.

    python benchmarks/precision.py photos.parquet --clean categories --verified verified \
        --split split --input image --noisy words

Runs `latentlabels clean` once for each seed, with every other option handed on to it, and holds
`cleaned.parquet` against the clean labels of training rows that are not verified. The columns
--clean, --verified and --split are needed: the clean labels of those rows score and do nothing
else.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from latentlabels import LatentLabelsError
from latentlabels.cli import main as latentlabels
from latentlabels.data.cells import label_cells
from latentlabels.data.columns import flags, splits
from latentlabels.data.table import read_table

COLUMNS = (
    *("seed", "changes", "right", "accepted", "right of accepted", "estimate", "95 % interval"),
    *("ECE held out", "Brier held out"),
)


def scored(cleaned: list[dict[str, Any]], truth: list[Any]) -> tuple[int, int, int, int]:
    """Changes, right ones among them, accepted ones, and right ones among those."""
    counts = np.zeros((2, 2), dtype=int)
    for row, names in zip(cleaned, truth, strict=True):
        for accepted, added, removed in (
            (1, row["added"], row["removed"]),
            (0, row["review_added"], row["review_removed"]),
        ):
            right = [name in names for name in added] + [name not in names for name in removed]
            counts[accepted] += len(right), sum(right)
    (waiting, right_waiting), (made, right_made) = counts.tolist()
    return waiting + made, right_waiting + right_made, made, right_made


def run(arguments: argparse.Namespace, handed_on: list[str], seed: int, out: Path) -> list[str]:
    """One row of the table."""
    columns = [
        *("--clean", arguments.clean, "--verified", arguments.verified),
        *("--split", arguments.split),
    ]
    command = ["clean", str(arguments.source), *columns, *handed_on, "--seed", str(seed)]
    code = latentlabels(
        [*command, "--precision", str(arguments.precision), "--out", str(out), "--quiet"]
    )
    if code:
        raise LatentLabelsError(f"latentlabels {' '.join(command)} ended with {code}")
    table = read_table(arguments.source)
    unseen = (splits(table, arguments.split) == "train") & ~flags(table, arguments.verified)
    truth = label_cells(table, [arguments.clean])
    rows = [row for row in np.flatnonzero(unseen) if truth[row] is not None]
    cleaned = read_table(out / "cleaned.parquet").to_pylist()
    changes, right, made, right_made = scored(
        [cleaned[row] for row in rows], [truth[row] for row in rows]
    )
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    accepted, calibration = metrics["acceptance"], metrics["calibration"]
    before, after = calibration["before"], calibration["after"]
    told = ["–", "–", "–"]
    if made:
        told = [
            f"{right_made / made:.1%}",
            f"{accepted['precision']:.1%}",
            f"{accepted['low']:.1%} to {accepted['high']:.1%}",
        ]
    return [
        *(str(seed), str(changes), f"{right / changes:.1%}", f"{made} ({made / changes:.1%})"),
        *told,
        f"{before['ece']:.4f} → {after['ece']:.4f}",
        f"{before['brier']:.4f} → {after['brier']:.4f}",
    ]


def main(argv: list[str] | None = None) -> None:
    """Run every seed and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="a table (CSV, Parquet, JSON Lines)")
    parser.add_argument("--clean", default="clean")
    parser.add_argument("--verified", default="verified")
    parser.add_argument("--split", default="split")
    parser.add_argument("--precision", type=float, default=0.95)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="a folder to keep the runs in")
    arguments, handed_on = parser.parse_known_args(argv)
    with tempfile.TemporaryDirectory() as temporary:
        place = arguments.out or Path(temporary)
        print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
        for seed in range(arguments.seeds):
            row = run(arguments, handed_on, seed, place / f"seed-{seed}")
            print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    try:
        main()
    except LatentLabelsError as error:
        sys.exit(f"precision.py: {error}")
