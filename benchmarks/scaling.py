"""How much quicker an epoch is on several processes, and how far their weights are from one's.

    python benchmarks/scaling.py
    python benchmarks/scaling.py --processes 1 2 4 --rounds 3

Every process has one thread. Two models on made-up vectors: one whose time goes into sampling, one
whose time goes into its network. An epoch's time is that of a long fit less that of a short one,
over the epochs between them; starting up, and the auxiliary, which one process fits, cancel out.
The numbers of processes take turns, and of each the least time counts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from latentlabels import RobustClassifier, processes

INPUTS, TAGS, LABELS = 256, 500, 20
WARM_UP, SHORT, LONG = 1, 1, 5
"""Epochs of fits one after another; the first starts the other processes and compiles kernels."""
COMMON: Final[dict[str, Any]] = {
    "teachers": 0,
    "students": 0,
    "validation_fraction": 0.0,
    "random_state": 0,
    "auxiliary": "regression",
}
MODELS: Final[dict[str, dict[str, Any]]] = {
    "sampling": {
        "hidden": 100,
        "chains": 20,
        "sweeps": 10,
        "adaptive_sweeps": False,
        "hidden_layers": (64,),
    },
    "network": {"pairwise": False, "hidden_layers": (2048, 2048)},
}


def data(rows: int) -> tuple[Any, ...]:
    """Inputs, tags and clean labels, of which a tenth is verified."""
    random = np.random.default_rng(0)
    x = random.normal(size=(rows, INPUTS)).astype(np.float32)
    clean = (x[:, :LABELS] > 1.0).astype(float)
    chance = np.where(np.repeat(clean, TAGS // LABELS, 1) > 0, 0.3, 0.01)
    tags = (random.random((rows, TAGS)) < chance).astype(int)
    clean[rows // 10 :] = np.nan
    return x, tags, clean


def work(model: str, rows: int, batch: int, devices: int, out: Path) -> None:
    """Fit in as many processes; the first tells how long an epoch took, and the weights."""
    x, tags, clean = data(rows)
    taken = {}
    for epochs in (WARM_UP, SHORT, LONG):
        settings = {**COMMON, **MODELS[model], "batch_size": batch}
        classifier = RobustClassifier(**settings, epochs=epochs, devices=devices)
        processes.everyones(None)  # They begin together.
        begun = time.perf_counter()
        classifier.fit(x, tags, clean)
        taken[epochs] = time.perf_counter() - begun
    if processes.rank() == 0:
        weights = torch.cat([part.flatten() for part in classifier.model_.state_dict().values()])
        seconds = (taken[LONG] - taken[SHORT]) / (LONG - SHORT)
        out.write_text(json.dumps({"seconds": seconds, "weights": weights.tolist()}))


def told_by(model: str, rows: int, batch: int, devices: int) -> dict[str, Any]:
    """What `work` tells, in a program of its own."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "told.json"
        numbers = (str(number) for number in (rows, batch, devices))
        command = [sys.executable, __file__, "--work", model, *numbers, str(out)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        subprocess.run(command, env=environment, check=True)
        told: dict[str, Any] = json.loads(out.read_text())
    return told


def main(argv: list[str] | None = None) -> None:
    """Time every model on every number of processes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rows", type=int, default=8_000)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--work", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.work:
        model, rows, batch, devices, out = arguments.work
        work(model, int(rows), int(batch), int(devices), Path(out))
        return
    print("| time goes into | processes | seconds an epoch | times one | largest difference |")
    print("|---|---:|---:|---:|---:|")
    for model in MODELS:
        told: dict[int, list[dict[str, Any]]] = {count: [] for count in arguments.processes}
        for _ in range(arguments.rounds):
            for count in arguments.processes:
                told[count].append(told_by(model, arguments.rows, arguments.batch_size, count))
        first = told[arguments.processes[0]]
        least = {count: min(run["seconds"] for run in runs) for count, runs in told.items()}
        for count, runs in told.items():
            apart = np.abs(np.subtract(runs[0]["weights"], first[0]["weights"])).max()
            ratio = least[arguments.processes[0]] / least[count]
            print(f"| {model} | {count} | {least[count]:.2f} | {ratio:.2f} | {apart:.1e} |")


if __name__ == "__main__":
    main()
