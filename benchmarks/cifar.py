"""CIFAR-10 from scratch under flipped labels: prediction and recovery, last epoch and best.

    python benchmarks/cifar.py cifar10n.parquet
    python benchmarks/cifar.py cifar10n.parquet --noise 0 --methods all-clean

The table has an `image` column, a true `label`, a `split` (train / test) and `verified`. Labels of
the training rows are flipped as Patrini et al. (2017) do. Every method may read the labels of half
of the verified rows, and chooses its epoch by the other half, which it does not train on; every
other true label only scores. Methods are those of `latentlabels compare --list-methods`, each with
the first of its settings. Forward and backward correction read their transition matrix off cross
entropy's network, where that is run before them.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from latentlabels import LatentLabelsError
from latentlabels.baselines import BASELINES
from latentlabels.baselines.loss_correction import LossCorrection
from latentlabels.baselines.network import FittedNetwork
from latentlabels.baselines.problem import Baseline
from latentlabels.baselines.transition import anchored_transition
from latentlabels.data.arrow_cells import ArrowCells
from latentlabels.data.columns import column_of, flags, splits
from latentlabels.data.images import decode_image, read_content
from latentlabels.data.noise import CIFAR10_CLASSES, flip_labels, patrini_transition
from latentlabels.data.table import read_table
from latentlabels.experiments.entries import ENTRIES
from latentlabels.experiments.problems import pose
from latentlabels.experiments.protocol import run_method
from latentlabels.experiments.task import Task
from latentlabels.network.examples import Vectors, in_batches
from latentlabels.robust_model import RobustModel
from latentlabels.training.fit import own_randomness

SIZE = 32
PATCH = 2  # pixels
SHIFT = 3  # pixels
SMALLEST_VARIANCE = 5e-4
WHITENED = 5_000  # images
QUANTILE = 0.97


class SmallNetwork(nn.Module):
    """A convolutional network of seven layers, which mirrors and shifts its images in training.

    Its first layer whitens patches of 2 × 2 pixels and is not trained; its products are in
    bfloat16.

    Args:
        width: maps of its first block; the others have four times as many.
        pixels: some images, (images, 3072), standardised, for the whitening.

    Source: Jordan, 94% on CIFAR-10 in 3.29 seconds on a single GPU (2024), for the blocks and the
    whitening.
    """

    def __init__(self, width: int, pixels: Tensor) -> None:
        super().__init__()
        whitening = _whitening(pixels.reshape(-1, 3, SIZE, SIZE))
        first = nn.Conv2d(3, len(whitening), PATCH)
        first.weight = nn.Parameter(whitening, requires_grad=False)
        self.layers = nn.Sequential(
            first,
            nn.GELU(),
            _block(len(whitening), width),
            _block(width, 4 * width),
            _block(4 * width, 4 * width),
            nn.AdaptiveMaxPool2d(1),
            nn.Flatten(),
        ).to(memory_format=torch.channels_last)

    def forward(self, pixels: Tensor) -> Tensor:
        """(batch, 3072) to (batch, 4 · width)."""
        x = pixels.reshape(-1, 3, SIZE, SIZE)
        x = (_varied(x) if self.training else x).contiguous(memory_format=torch.channels_last)
        with torch.autocast(x.device.type, torch.bfloat16):
            features: Tensor = self.layers(x)
        return features.float()


def _whitening(images: Tensor) -> Tensor:
    """The principal directions of patches over their deviation, and their negatives, as filters."""
    patches = images.unfold(2, PATCH, 1).unfold(3, PATCH, 1).permute(0, 2, 3, 1, 4, 5)
    flat = patches.flatten(0, 2).flatten(1).double()
    variances, directions = torch.linalg.eigh(flat.T @ flat / len(flat))
    filters = (directions / (variances + SMALLEST_VARIANCE).sqrt()).T.float()
    return torch.cat([filters, -filters]).reshape(-1, 3, PATCH, PATCH)


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        _convolution(inputs, outputs),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(outputs),
        nn.GELU(),
        _convolution(outputs, outputs),
        nn.BatchNorm2d(outputs),
        nn.GELU(),
    )


def _convolution(inputs: int, outputs: int) -> nn.Conv2d:
    """Its first maps start as its inputs."""
    layer = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    with torch.no_grad():
        nn.init.dirac_(layer.weight[:inputs])
    return layer


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


def read(path: Path, noise: float, seed: int) -> Task:
    """The table under the protocol, with pixels as vectors and flipped labels."""
    table = read_table(path)
    cells = ArrowCells.of(column_of(table, "image"))
    pixels = np.stack([np.asarray(decode_image(read_content(cell))) for cell in cells])
    x = (pixels.transpose(0, 3, 1, 2).reshape(len(pixels), -1) / 255).astype(np.float32)
    truth = column_of(table, "label").to_pylist()
    split = splits(table, "split").astype("U10")
    verified = flags(table, "verified")
    codes = np.array([CIFAR10_CLASSES.index(name) for name in truth])
    train = np.flatnonzero(split == "train")
    codes[train] = flip_labels(codes[train], patrini_transition(noise), seed=seed)
    given = [CIFAR10_CLASSES[code] for code in codes]
    choosing = np.flatnonzero(verified)[1::2]
    split[choosing] = "validation"
    verified[choosing] = False
    return Task(x, given, truth, split, verified)


def views(x: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Images as they are and shifted by a pixel both ways, and all of these mirrored."""
    images = torch.from_numpy(x).reshape(-1, 3, SIZE, SIZE)
    padded = nn.functional.pad(images, (1,) * 4, mode="reflect")
    for start in (1, 0, 2):
        shifted = padded[..., start : start + SIZE, start : start + SIZE]
        for view in (shifted, shifted.flip(-1)):
            yield view.reshape(len(x), -1).numpy()


@dataclass
class Trained:
    """A method after training.

    Attributes:
        network: what training changed.
        prefix: of its weights' names in checkpoints.
        predict: p(ŷ | x) of images, (rows, classes).
        clean: probabilities of the clean labels of some training rows, (rows, classes).
        best_epoch: the epoch whose weights were kept, from 0.
        last_alpha: the auxiliary's weight at the end of training, where there is one.
    """

    network: nn.Module
    prefix: str
    predict: Callable[[NDArray[np.float32]], NDArray[Any]]
    clean: Callable[[NDArray[np.intp]], NDArray[Any]]
    best_epoch: int
    last_alpha: float | None = None

    def to_last_epoch(self, folder: Path) -> None:
        """Put the last epoch's weights in the place of the best's."""
        saved = torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]
        kept = self.network.state_dict()
        self.network.load_state_dict({name: saved[f"{self.prefix}.{name}"] for name in kept})
        if isinstance(self.network, RobustModel) and self.last_alpha is not None:
            self.network.alpha = self.last_alpha


def trained(
    key: str, task: Task, shared: dict[str, Any], seed: int, transition: Tensor | None
) -> Trained:
    """A method by its key, trained on a task; forward and backward correction may be given T."""
    train = task.rows("train")
    if key not in BASELINES:
        method = ENTRIES[key].method(shared, 0)
        _, classifier = run_method(task, method, seed)
        assert classifier is not None

        def clean(rows: NDArray[np.intp]) -> NDArray[Any]:
            chosen = train[rows]
            cleaned = classifier.clean(task.x[chosen], task.noisy_of(chosen))
            return cleaned.probabilities

        return Trained(
            classifier.model_,
            "model",
            classifier.predict_proba,
            clean,
            classifier.history_.best_epoch,
            classifier.training_settings(0).alpha.at(classifier.epochs),
        )
    baseline: Baseline = BASELINES[key]
    own = dict(baseline.choices[0])
    if isinstance(baseline, LossCorrection) and transition is not None:
        baseline = LossCorrection(baseline.direction, transition)
        own.pop("quantile")
    posed = pose(task, shared)
    fitted = baseline.fit(posed.problem, seed, **own)
    if not isinstance(fitted, FittedNetwork):
        raise LatentLabelsError(f"{key} has no network whose last epoch could be scored.")

    def predict(x: NDArray[np.float32]) -> NDArray[Any]:
        batches = in_batches(Vectors(x), workers=0, progress=False, doing="")
        return torch.cat([fitted.predict(batch) for _, batch in batches]).numpy()

    return Trained(
        fitted.network,
        "network",
        predict,
        lambda rows: fitted.cleaned(rows).numpy(),
        fitted.history.best_epoch,
    )


def scores(method: Trained, task: Task, *, recovered: bool) -> dict[str, float | None]:
    """Accuracy on the test rows, and of the labels of training rows that were not verified.

    A prediction is the mean of those for six views of an image.
    """

    def accuracy(probabilities: NDArray[Any], rows: NDArray[np.intp]) -> float:
        names = np.array(CIFAR10_CLASSES)
        return float(np.mean(names[probabilities.argmax(1)] == np.array(task.clean_of(rows))))

    test, train = task.rows("test"), task.rows("train")
    hidden = np.flatnonzero(~task.verified[train])
    return {
        "test": accuracy(np.mean([method.predict(view) for view in views(task.x[test])], 0), test),
        "recovery": accuracy(method.clean(hidden), train[hidden]) if recovered else None,
    }


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("--methods", nargs="+", default=["cross-entropy", "latentlabels"])
    parser.add_argument("--noise", type=float, default=0.4, help="how many of a class are flipped")
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=7e-3)
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--schedule", default="one-cycle")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--out", type=Path, help="a JSON file for the figures; runs in it are kept")
    arguments = parser.parse_args(argv)
    if not arguments.table.is_file():
        parser.error(f"{arguments.table} is not there: name a table of CIFAR-10")
    for key in arguments.methods:
        if key not in ENTRIES:
            parser.error(f"--methods are some of {', '.join(ENTRIES)}; got {key!r}")
    return arguments


def settings(arguments: argparse.Namespace, task: Task, seed: int, folder: Path) -> dict[str, Any]:
    """Arguments of `RobustClassifier` that all methods share."""
    x = torch.from_numpy(task.x[task.rows("train")])
    deviation, mean = torch.std_mean(x, 0, correction=0)
    with own_randomness(seed):
        network = SmallNetwork(arguments.width, ((x[:WHITENED] - mean) / deviation))
    return {
        "backbone": network,
        "learning_rate": arguments.learning_rate,
        "weight_decay": arguments.weight_decay,
        "schedule": arguments.schedule,
        "batch_size": arguments.batch_size,
        "epochs": arguments.epochs,
        "patience": arguments.epochs,
        "noisy_labels": CIFAR10_CLASSES,
        "clean_labels": CIFAR10_CLASSES,
        "checkpoints": folder,
    }


def measured(
    key: str, task: Task, arguments: argparse.Namespace, seed: int, transition: Tensor | None
) -> dict[str, Any]:
    """Train and score a method; of cross entropy, the transition matrix that its network shows."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        started = time.perf_counter()
        method = trained(key, task, settings(arguments, task, seed, folder), seed, transition)
        found: dict[str, Any] = {"minutes": (time.perf_counter() - started) / 60}
        recovered = key != "all-clean"
        if key == "cross-entropy":
            said = torch.from_numpy(method.clean(np.arange(len(task.rows("train")))))
            found["transition"] = anchored_transition(said, QUANTILE).tolist()
        found["best"] = scores(method, task, recovered=recovered)
        found["best"]["epoch"] = method.best_epoch + 1
        method.to_last_epoch(folder)
        found["last"] = scores(method, task, recovered=recovered)
        found["last"]["epoch"] = arguments.epochs
    return found


def told(name: str, found: dict[str, Any]) -> str:
    """Two rows of the table."""
    lines = []
    for which in ("best", "last"):
        own = found[which]
        recovery = "–" if own["recovery"] is None else f"{100 * own['recovery']:.1f}"
        lines.append(
            f"| {name}, {which} | {own['epoch']} | {100 * own['test']:.1f} | {recovery} | "
            f"{found['minutes']:.1f} |"
        )
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    """Run the methods one after the other and print the table."""
    arguments = parse(argv)
    done: dict[str, Any] = {}
    if arguments.out and arguments.out.is_file():
        done = json.loads(arguments.out.read_text(encoding="utf-8"))
    print("| method | epoch | test | recovery | minutes |\n|---|---|---|---|---|")
    for seed in arguments.seeds:
        task = read(arguments.table, arguments.noise, seed)
        transition = None
        for key in arguments.methods:
            name = f"{key}, noise {arguments.noise:g}, seed {seed}"
            if name not in done:
                done[name] = measured(key, task, arguments, seed, transition)
                if arguments.out:
                    arguments.out.write_text(json.dumps(done, indent=1) + "\n", encoding="utf-8")
            if "transition" in done[name]:
                transition = torch.tensor(done[name]["transition"])
            print(told(name, done[name]), flush=True)


if __name__ == "__main__":
    try:
        main()
    except LatentLabelsError as error:
        sys.exit(f"cifar.py: {error}")
