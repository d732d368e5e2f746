"""Time and memory of whole commands on tables of growing size, up to a million rows.

    python benchmarks/big_table.py big --rows 62500 250000 1000000

Makes the tables in a folder, in pieces: vectors of 384 numbers, 1,000 noisy labels of which a row
has nine or so, 20 clean labels, one row in a hundred verified. On each it runs `clean` and `apply`,
each as a process of its own, and prints its seconds and the most memory it and its children ever
held. It fits one epoch of a small network with two chains of two sweeps: time and memory are asked
for, and not how good the labels are. The exponent is the slope of log seconds of the processor, of
start-up too, on log rows.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

PIECE = 25_000
FITTING = (
    *("--epochs", "1", "--chains", "2", "--sweeps", "2", "--auxiliary", "regression"),
    *("--hidden-layers", "64", "--batch-size", "1024"),
)
COMMAND = "from latentlabels.cli import run; run()"
# A process of its own for each command: of children that have ended the most memory, and all time.
WATCHED = (
    "import json, resource, subprocess, sys; code = subprocess.call(sys.argv[1:]); "
    "used = resource.getrusage(resource.RUSAGE_CHILDREN); "
    "print(json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss])); sys.exit(code)"
)


def make_table(path: Path, rows: int, inputs: int, noisy: int, clean: int) -> None:
    """Write a table piece by piece; clean labels and tags hang on the vectors."""
    random = np.random.default_rng(0)
    directions = random.normal(size=(inputs, clean)).astype(np.float32) / np.sqrt(inputs)
    words = np.array([f"tag{unit:04}" for unit in range(noisy)])
    labels = np.array([f"label{unit:02}" for unit in range(clean)])
    writer = None
    for start in range(0, rows, PIECE):
        count = min(PIECE, rows - start)
        x = random.normal(size=(count, inputs)).astype(np.float32)
        states = x @ directions > 1.0
        # Half of a row's tags are those of its labels' own block, the rest are any.
        tags = random.integers(0, noisy, (count, 10))
        own = (np.argmax(states, 1)[:, None] * noisy // clean) + random.integers(
            0, max(1, noisy // clean), (count, 5)
        )
        tags[:, :5] = own
        kept = random.random(tags.shape) < 0.9
        piece = pa.table(
            {
                "id": np.arange(start, start + count),
                "vector": vectors(x),
                "tags": lists(words, tags, kept),
                "labels": lists(labels, np.tile(np.arange(clean), (count, 1)), states),
                "verified": np.arange(start, start + count) % 100 == 0,
            }
        )
        writer = writer or pq.ParquetWriter(path, piece.schema)
        writer.write_table(piece)
    if writer is not None:
        writer.close()


def vectors(x: np.ndarray) -> pa.Array:
    """A list of numbers a row."""
    offsets = np.arange(len(x) + 1, dtype=np.int32) * x.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(x.ravel()))


def lists(names: np.ndarray, units: np.ndarray, kept: np.ndarray) -> pa.Array:
    """The names of some units a row."""
    offsets = np.concatenate([[0], np.cumsum(kept.sum(1))]).astype(np.int32)
    values = pa.DictionaryArray.from_arrays(units[kept].astype(np.int32), pa.array(names))
    return pa.ListArray.from_arrays(pa.array(offsets), values.cast(pa.string()))


def run(arguments: Sequence[str]) -> tuple[float, float, float]:
    """Run a command; its seconds, those of the processor, and the most memory it held in GiB."""
    begun = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, sys.executable, "-c", COMMAND, *arguments, "--quiet"],
        check=True,
        stdout=subprocess.PIPE,
    )
    processor, kibibytes = json.loads(done.stdout)
    return time.perf_counter() - begun, processor, kibibytes / 2**20


def main(argv: Sequence[str] | None = None) -> None:
    """Make each table, run the commands on it, and print what they took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, nargs="+", default=[62_500, 250_000, 1_000_000])
    parser.add_argument("--inputs", type=int, default=384)
    parser.add_argument("--noisy", type=int, default=1_000)
    parser.add_argument("--clean", type=int, default=20)
    arguments = parser.parse_args(argv)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    print(f"{arguments.inputs} inputs, {arguments.noisy} noisy labels, {threads} threads")
    print("| command | rows | seconds | of the processor | peak GiB |\n|---|---:|---:|---:|---:|")
    seconds: dict[str, list[float]] = {"clean": [], "apply": []}
    for rows in arguments.rows:
        table = arguments.folder / f"{rows}.parquet"
        out = arguments.folder / f"run-{rows}"
        if not table.exists():
            make_table(table, rows, arguments.inputs, arguments.noisy, arguments.clean)
        columns = ("--input", "vector", "--noisy", "tags", "--clean", "labels")
        own = ("--verified", "verified", "--overwrite", "--out", str(out))
        commands = {
            "clean": ("clean", str(table), *columns, *own, *FITTING),
            "apply": (
                *("apply", str(table), "--model", str(out / "model")),
                *("--overwrite", "--out", str(out / "again")),
            ),
        }
        for name, command in commands.items():
            took, processor, held = run(command)
            seconds[name].append(processor)
            print(f"| {name} | {rows:,} | {took:.0f} | {processor:.0f} | {held:.2f} |", flush=True)
    if len(arguments.rows) > 1:
        for name, times in seconds.items():
            slope = np.polyfit(np.log(arguments.rows), np.log(times), 1)[0]
            print(f"{name}: seconds of the processor grow as rows to the power of {slope:.2f}")


if __name__ == "__main__":
    main()
