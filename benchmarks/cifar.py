"""CIFAR-10 from scratch under flipped labels: cross entropy against the model, last epoch and best.

    python benchmarks/cifar.py cifar10n.parquet
    python benchmarks/cifar.py cifar10n.parquet --noise 0 --methods "cross entropy"

The table has an `image` column, a true `label`, a `split` (train / test) and `verified`. Labels of
the training rows are flipped as Patrini et al. (2017) do. Both methods may read the labels of the
verified rows, half of which choose the best epoch; every other true label only scores.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from latentlabels import LatentLabelsError, RobustClassifier
from latentlabels.data.arrow_cells import ArrowCells
from latentlabels.data.columns import column_of, flags, splits
from latentlabels.data.images import decode_image, read_content
from latentlabels.data.noise import CIFAR10_CLASSES, flip_labels, patrini_transition
from latentlabels.data.table import read_table

SHIFT = 2  # pixels


class SmallNetwork(nn.Module):
    """A residual network of nine layers, which mirrors and shifts its images in training."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            _convolution(3, width),
            _convolution(width, 2 * width, pool=True),
            _Residual(2 * width),
            _convolution(2 * width, 4 * width, pool=True),
            _convolution(4 * width, 8 * width, pool=True),
            _Residual(8 * width),
            nn.AdaptiveMaxPool2d(1),
            nn.Flatten(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(_varied(x) if self.training else x)


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(_convolution(width, width), _convolution(width, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


def _convolution(inputs: int, outputs: int, *, pool: bool = False) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        *([nn.MaxPool2d(2)] if pool else []),
        nn.BatchNorm2d(outputs),
        nn.GELU(),
    )


def _varied(x: Tensor) -> Tensor:
    """Half of the images mirrored, and each shifted by a few pixels."""
    mirrored = torch.rand(len(x), device=x.device) < 0.5
    x = torch.where(mirrored[:, None, None, None], x.flip(-1), x)
    padded = nn.functional.pad(x, (SHIFT,) * 4, mode="reflect")
    size = x.shape[-1]
    down, right = (torch.randint(2 * SHIFT + 1, (len(x),), device=x.device) for _ in range(2))
    places = torch.arange(size, device=x.device)
    rows = (down[:, None] + places)[:, None, :, None]
    columns = (right[:, None] + places)[:, None, None, :]
    image = torch.arange(len(x), device=x.device)[:, None, None, None]
    channel = torch.arange(3, device=x.device)[None, :, None, None]
    return padded[image, channel, rows, columns]


def read(path: Path) -> dict[str, Any]:
    """Images as an array (rows, 32, 32, 3), class names, and which rows are what."""
    table = read_table(path)
    cells = ArrowCells.of(column_of(table, "image"))
    return {
        "x": np.stack([np.asarray(decode_image(read_content(cell))) for cell in cells]),
        "label": np.array(column_of(table, "label").to_pylist()),
        "train": splits(table, "split") == "train",
        "verified": flags(table, "verified"),
    }


def fitted(
    method: str,
    data: dict[str, Any],
    given: np.ndarray,
    arguments: argparse.Namespace,
    folder: Path,
) -> RobustClassifier:
    """A method fitted on the training rows, its checkpoints in a folder."""
    train = data["train"]
    known = data["verified"][train]
    truth = data["label"][train]
    # Half of the verified rows choose the epoch; neither method trains on their true label.
    choosing = np.flatnonzero(known)[1::2]
    readable = known.copy()
    readable[choosing] = False
    classifier = RobustClassifier(
        input_kind="image",
        backbone=SmallNetwork(arguments.width),
        tune="all",
        image_size=32,
        augment=False,
        precision=arguments.precision,
        workers=arguments.workers,
        encoder_learning_rate=arguments.learning_rate,
        learning_rate=arguments.learning_rate,
        weight_decay=arguments.weight_decay,
        schedule=arguments.schedule,
        averaging=arguments.averaging,
        batch_size=arguments.batch_size,
        epochs=arguments.epochs,
        patience=arguments.epochs,
        alpha_start=arguments.alpha_start,
        alpha_end=arguments.alpha_end,
        alpha_epochs=arguments.alpha_epochs,
        noisy_labels=CIFAR10_CLASSES,
        clean_labels=CIFAR10_CLASSES,
        checkpoints=folder,
        random_state=arguments.seed,
        verbose=arguments.progress,
    )
    if method == "cross entropy":
        # A plain classifier of the labels as they are, those of readable rows mended.
        classifier.set_params(pairwise=False, auxiliary="regression")
        clean = np.where(readable, truth, given)
    else:
        clean = np.where(readable, truth, None)
    x = data["x"][train]
    return classifier.fit(x, given, list(clean), validation=(x[choosing], list(truth[choosing])))


def scores(
    classifier: RobustClassifier, method: str, data: dict[str, Any], given: np.ndarray
) -> dict[str, float]:
    """Accuracy on the test rows, and of the labels of training rows that were not verified."""
    test = ~data["train"]
    hidden = ~data["verified"][data["train"]]
    x, truth = data["x"][data["train"]][hidden], data["label"][data["train"]][hidden]
    if method == "cross entropy":
        recovered = classifier.predict(x)
    else:
        cleaned = classifier.clean(x, given[hidden])
        recovered = np.array(cleaned.names)[cleaned.probabilities.argmax(1)]
    return {
        "test": float(np.mean(classifier.predict(data["x"][test]) == data["label"][test])),
        "recovery": float(np.mean(recovered == truth)),
    }


def last_epoch(classifier: RobustClassifier, folder: Path, arguments: argparse.Namespace) -> None:
    """Put the last epoch's weights in the place of the best's."""
    saved = torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]
    own = {name.removeprefix("model."): value for name, value in saved.items()}
    kept = classifier.model_.state_dict()
    classifier.model_.load_state_dict({name: own[name] for name in kept})
    fallen = min(1.0, arguments.epochs / max(arguments.alpha_epochs, 1e-9))
    classifier.model_.alpha = arguments.alpha_start + fallen * (
        arguments.alpha_end - arguments.alpha_start
    )


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("--methods", nargs="+", default=["cross entropy", "latentlabels"])
    parser.add_argument("--noise", type=float, default=0.4, help="how many of a class are flipped")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--schedule", default="one-cycle")
    parser.add_argument("--averaging", type=float, default=0.99)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--alpha-start", type=float, default=2.0)
    parser.add_argument("--alpha-end", type=float, default=0.1)
    parser.add_argument("--alpha-epochs", type=float, default=6.0)
    parser.add_argument("--rows", type=int, help="so many training rows only")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--progress", action="store_true")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    arguments = parser.parse_args(argv)
    if not arguments.table.is_file():
        parser.error(f"{arguments.table} is not there: name a table of CIFAR-10")
    return arguments


def main(argv: list[str] | None = None) -> None:
    """Run the methods one after the other and print the table."""
    arguments = parse(argv)
    data = read(arguments.table)
    if arguments.rows:
        chosen = np.flatnonzero(data["train"])[: arguments.rows]
        chosen = np.concatenate([chosen, np.flatnonzero(~data["train"])])
        data = {name: values[chosen] for name, values in data.items()}
    truth = data["label"][data["train"]]
    names = np.array(CIFAR10_CLASSES)
    codes = np.array([CIFAR10_CLASSES.index(name) for name in truth])
    flipped = flip_labels(codes, patrini_transition(arguments.noise), seed=arguments.seed)
    given = names[flipped]
    print(f"{np.mean(given != truth):.1%} of {len(truth)} training labels are wrong.")
    print("| method | epoch | test | recovery | minutes |\n|---|---|---|---|---|")
    results = []
    for method in arguments.methods:
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as scratch:
            classifier = fitted(method, data, given, arguments, Path(scratch))
            minutes = (time.perf_counter() - started) / 60
            for which in ("best", "last"):
                if which == "last":
                    last_epoch(classifier, Path(scratch), arguments)
                epoch = classifier.history_.best_epoch + 1 if which == "best" else arguments.epochs
                found = scores(classifier, method, data, given)
                results.append({"method": method, "which": which, "epoch": epoch, **found})
                print(
                    f"| {method}, {which} | {epoch} | {found['test']:.1%} | "
                    f"{found['recovery']:.1%} | {minutes:.1f} |",
                    flush=True,
                )
        history = [epoch.get("validation") for epoch in classifier.history_.epochs]
        results[-1]["history"] = history
        print(f"validation by epoch: {history}", file=sys.stderr)
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    try:
        main()
    except LatentLabelsError as error:
        sys.exit(f"cifar.py: {error}")
