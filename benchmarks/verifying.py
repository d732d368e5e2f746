"""What verifying the proposed rows brings, against as many random ones.

    python benchmarks/verifying.py photos.parquet --clean categories --verified verified \
        --split split --input image --noisy words

For each seed `latentlabels clean` fits on the rows that are verified already. Then the clean labels
of 200 more training rows are decided as a reviewer would: the first 200 of the review page, or 200
drawn at random, and `latentlabels fit --decisions` fits again from there. Every other option is
handed on to both. Columns --clean, --verified and --split are needed; of training rows that are not
verified the clean labels are read where they are decided, and of test rows to score.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from latentlabels import LatentLabelsError
from latentlabels.cli import main as latentlabels
from latentlabels.data.cells import label_cells
from latentlabels.data.columns import InputKind, flags, splits
from latentlabels.data.table import read_table
from latentlabels.description import space_of
from latentlabels.results import MODEL
from latentlabels.review.decisions import Decisions, Verdict
from latentlabels.review.queue import Queue
from latentlabels.runs.opening import open_run
from latentlabels.runs.run import Run
from latentlabels.runs.subject import row_names
from latentlabels.store import read_description

WAYS = ("random", "proposed")


def told(command: Sequence[str], out: Path) -> float:
    """The test score of a run, in percent; a run that is there already is not made again."""
    if not (out / "metrics.json").is_file():
        code = latentlabels([*command, "--out", str(out), "--quiet"])
        if code:
            raise LatentLabelsError(f"latentlabels {' '.join(command)} ended with {code}")
    scores = json.loads((out / "metrics.json").read_text(encoding="utf-8"))["test"]
    return 100 * float(scores["map" if "map" in scores else "accuracy"])


def opened(out: Path, table: Path) -> Run:
    """The run as the review page opens it."""
    described = read_description(out / MODEL)
    return open_run(
        out,
        space_of(described.clean),
        described.provenance,
        table=table,
        inputs=(),
        kind=InputKind.VECTOR,
        show=read_table(table).column_names[:1],
        pictures=None,
    )


def rows_of(way: str, run: Run, unseen: NDArray[np.bool_], seed: int, path: Path) -> list[int]:
    """Unverified training rows, the first to check first."""
    if way == "random":
        return list(np.random.default_rng(seed).permutation(np.flatnonzero(unseen)))
    with Decisions(path, run.subject) as decisions:
        return [row for row in Queue(run, decisions).order if unseen[row]]


def decide(path: Path, run: Run, rows: Sequence[int], truth: Sequence[Sequence[str]]) -> None:
    """Decide rows as a reviewer does who makes no mistake."""
    names = row_names(run.ids)
    with Decisions(path, run.subject) as decisions:
        for row in map(int, rows):
            if decisions.of(row) is None:
                decisions.decide(row, names[row], Verdict.EDIT, truth[row], seen=None)


def run_seed(
    arguments: argparse.Namespace, handed_on: list[str], seed: int, place: Path
) -> list[float]:
    """Test scores before, and after each way of choosing rows."""
    columns = ("--clean", arguments.clean, "--verified", arguments.verified)
    command = [str(arguments.source), *columns, "--split", arguments.split, *handed_on]
    command += ["--seed", str(seed)]
    scores = [told(["clean", *command], place / "before")]
    run = opened(place / "before", arguments.source)
    table = read_table(arguments.source)
    truth = label_cells(table, [arguments.clean])
    unseen = (splits(table, arguments.split) == "train") & ~flags(table, arguments.verified)
    unseen &= np.array([cell is not None for cell in truth])
    for way in WAYS:
        path = place / "before" / f"{way}.sqlite"
        rows = rows_of(way, run, unseen, seed, path)[: arguments.rows]
        decide(path, run, rows, truth)
        scores.append(told(["fit", *command, "--decisions", str(path)], place / way))
    return scores


def main(argv: list[str] | None = None) -> None:
    """Run every seed and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="a table (CSV, Parquet, JSON Lines)")
    parser.add_argument("--clean", default="clean")
    parser.add_argument("--verified", default="verified")
    parser.add_argument("--split", default="split")
    parser.add_argument("--rows", type=int, default=200, help="to verify")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="a folder to keep the runs in")
    arguments, handed_on = parser.parse_known_args(argv)
    print(f"| seed | before | {arguments.rows} random | {arguments.rows} proposed | more |")
    print("|---|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as temporary:
        place = arguments.out or Path(temporary)
        found = []
        for seed in range(arguments.seeds):
            scores = run_seed(arguments, handed_on, seed, place / f"seed-{seed}")
            found.append([*scores, scores[2] - scores[1]])
            print(f"| {seed} | {' | '.join(f'{value:.1f}' for value in found[-1])} |", flush=True)
    mean, spread = np.mean(found, 0), np.std(found, 0)
    cells = (f"{m:.1f} ± {s:.1f}" for m, s in zip(mean, spread, strict=True))
    print(f"| mean ± standard deviation | {' | '.join(cells)} |")


if __name__ == "__main__":
    try:
        main()
    except LatentLabelsError as error:
        sys.exit(f"verifying.py: {error}")
