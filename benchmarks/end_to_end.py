"""Fine-tune a network end to end on a table of images, and split the time between its parts.

    python benchmarks/end_to_end.py photos.parquet --noisy words --clean categories \\
        --backbone tf_efficientnet_lite0 --weights tf_efficientnet_lite0.safetensors

Prints the loss of every epoch, scores where the table has labels to score with, and, for an image,
the time in the network (forward, backward, update), in sampling, and waiting for decoded images.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from latentlabels import LatentLabelsError, RobustClassifier
from latentlabels.data.arrow_cells import ArrowCells
from latentlabels.data.cells import label_cells
from latentlabels.data.columns import column_of, flags, splits
from latentlabels.data.table import read_table
from latentlabels.objective import ExactPhase, PersistentGibbs
from latentlabels.training.module import RobustModule

TAKEN = (
    "backbone",
    "weights",
    "image_size",
    "epochs",
    "batch_size",
    "chains",
    "sweeps",
    "precision",
    "workers",
)


class Clock:
    """Seconds by part, measured around the methods that do the work."""

    def __init__(self) -> None:
        self.seconds = {"sampling": 0.0, "step": 0.0, "all": 0.0}
        self.images = 0

    @contextmanager
    def running(self, part: str) -> Iterator[None]:
        """Add the time of a block to a part."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[part] += time.perf_counter() - begun

    def install(self) -> None:
        """Time every negative phase and every step from now on."""
        for phase in (ExactPhase, PersistentGibbs):
            self._around(phase, "log_partition", "sampling")
        # Backward and update stand between a step's start and its end.
        begun = 0.0
        step = RobustModule.training_step

        def training_step(module: RobustModule, batch: Any, index: int) -> Any:
            nonlocal begun
            begun = time.perf_counter()
            self.images += len(batch.rows)
            return step(module, batch, index)

        def on_train_batch_end(*_: Any) -> None:
            self.seconds["step"] += time.perf_counter() - begun

        RobustModule.training_step = training_step  # type: ignore[method-assign]
        RobustModule.on_train_batch_end = on_train_batch_end  # type: ignore[assignment]

    def _around(self, owner: Any, name: str, part: str) -> None:
        inner = getattr(owner, name)

        def timed(*arguments: Any) -> Any:
            with self.running(part):
                return inner(*arguments)

        setattr(owner, name, timed)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("--image", default="image")
    parser.add_argument("--noisy", default="noisy")
    parser.add_argument("--clean", default="clean")
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--chains", type=int, default=50)
    parser.add_argument("--sweeps", type=int, default=100)
    parser.add_argument("--fixed-sweeps", action="store_true")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args(argv)
    if not arguments.table.is_file():
        parser.error(f"{arguments.table} is not there: name a table of images")
    return arguments


def main(argv: list[str] | None = None) -> None:
    """Train, score and print."""
    arguments = parse(argv)
    table = read_table(arguments.table)
    images = ArrowCells.of(column_of(table, arguments.image), arguments.table.parent)
    noisy, clean = (label_cells(table, [name]) for name in (arguments.noisy, arguments.clean))
    split, verified = splits(table, "split"), flags(table, "verified")
    train, test = (np.flatnonzero(split == part) for part in ("train", "test"))
    clock = Clock()
    clock.install()
    classifier = RobustClassifier(
        input_kind="image",
        tune="all",
        **{name: getattr(arguments, name) for name in TAKEN},
        adaptive_sweeps=not arguments.fixed_sweeps,
        random_state=0,
    )
    known = [clean[row] if verified[row] else None for row in train]
    with clock.running("all"):
        classifier.fit(images.take(train), [noisy[row] for row in train], known)
    for epoch in classifier.history_.epochs:
        print({name: round(value, 4) for name, value in epoch.items()})
    print(f"precision: {classifier.model_.network.precision}")
    sampling, step = clock.seconds["sampling"], clock.seconds["step"]
    for name, seconds in (
        ("network", step - sampling),
        ("sampling", sampling),
        ("all of fit", clock.seconds["all"]),
    ):
        print(f"{name}: {1000 * seconds / clock.images:.1f} ms an image")
    print(f"sampling / network: {sampling / (step - sampling):.2f}")
    print(f"test: {classifier.score(images.take(test), [clean[row] for row in test]):.1%}")


if __name__ == "__main__":
    try:
        main()
    except LatentLabelsError as error:
        sys.exit(f"end_to_end.py: {error}")
