"""A program that fits on the processes it is started with, and writes down what came of it.

python fit_together.py OUT FIT ...

Each process writes what the fits named gave, or how they failed, to OUT/its number.json. The tests
call the same fits in their own process.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from unittest import mock

import numpy as np
import torch
from tests.small_images import Eye, pictures
from torch import nn

from latentlabels import RobustClassifier, inputs, processes
from latentlabels.baselines.network import fit_network
from latentlabels.errors import LatentLabelsError
from latentlabels.network.embedding import Embedded, embed
from latentlabels.training.module import RobustModule

ROWS, INPUTS, TAGS = 300, 6, 30
HELD_OUT = 60
SETTINGS: Final[dict[str, Any]] = {
    "auxiliary": "regression",
    "hidden_layers": (16,),
    "students": 0,
    "epochs": 3,
    "random_state": 0,
}
EXACT: Final[dict[str, Any]] = {**SETTINGS, "pairwise": False}
SAMPLED: Final[dict[str, Any]] = {**SETTINGS, "hidden": 24, "chains": 5, "sweeps": 20}
IMAGES: Final[dict[str, Any]] = {
    **SETTINGS,
    "epochs": 2,
    "input_kind": "image",
    "image_size": 12,
    "precision": "float32",
}

Fit = Callable[[Path], Any]
"""From the folder of all that is written to what is to be told, as JSON."""


def data() -> tuple[Any, ...]:
    """Inputs, three clean labels that they decide, and tags that are on for these or by chance."""
    random = np.random.default_rng(0)
    x = random.normal(size=(ROWS + HELD_OUT, INPUTS)).astype(np.float32)
    clean = (x[:, :3] + 0.3 * random.normal(size=(len(x), 3)) > 0.4).astype(float)
    chance = np.where(np.repeat(clean, TAGS // 3, 1) > 0, 0.6, 0.1)
    noisy = (random.random((len(x), TAGS)) < chance).astype(int)
    return x, noisy, clean


def fitted(
    verified: int = ROWS // 3, given: tuple[Any, ...] | None = None, **settings: Any
) -> RobustClassifier:
    """A model of the data, of which the first rows are verified."""
    x, noisy, clean = given or data()
    known = clean[:ROWS].copy()
    known[verified:] = np.nan
    classifier = RobustClassifier(**settings)
    return classifier.fit(x[:ROWS], noisy[:ROWS], known, validation=(x[ROWS:], clean[ROWS:]))


def told(classifier: RobustClassifier) -> dict[str, Any]:
    """What came of a fit."""
    state = classifier.model_.state_dict()
    return {
        "processes": processes.size(),
        "history": classifier.history_.epochs,
        "best": classifier.history_.best_epoch,
        "tensors": {name: tensor.tolist() for name, tensor in state.items()},
    }


def failure(fit: Callable[..., Any], **settings: Any) -> str:
    """How a fit fails."""
    try:
        fit(**settings)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "not at all"


def unseeded(_out: Path) -> Any:
    """The first of a program, which starts the other process."""
    return told(fitted(**{**EXACT, "random_state": None, "epochs": 1}, devices=2))


def exact(_out: Path) -> Any:
    return told(fitted(**EXACT))


def apart(_out: Path) -> Any:
    """On a machine that sees no file of the first's."""
    away = {"side_effect": FileNotFoundError} if processes.rank() else {"wraps": torch.load}
    with mock.patch.object(torch, "load", **away):
        return told(fitted(**EXACT))


def classes(_out: Path) -> Any:
    """One class a row, by a transition matrix."""
    x = data()[0][:ROWS]
    truth = np.array(["a", "b", "c"])[x[:, :3].argmax(1)]
    noisy = np.where(np.random.default_rng(1).random(ROWS) < 0.2, "a", truth)
    classifier = RobustClassifier(**{**SETTINGS, "auxiliary": "transition"})
    return told(classifier.fit(x, noisy, truth, verified=np.arange(ROWS) < ROWS // 3))


def sampled(_out: Path) -> Any:
    return told(fitted(**SAMPLED))


def normed() -> nn.Module:
    """From vectors to features that are normalised over the batch."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(INPUTS, 8), nn.BatchNorm1d(8), nn.ReLU())


def normalised(_out: Path) -> Any:
    """With what the model that was kept scores in this process."""
    classifier = fitted(**EXACT, backbone=normed())
    x, _, clean = data()
    return {**told(classifier), "score": classifier.score(x[ROWS:], clean[ROWS:])}


def of_images(
    cells: list[Any], backbone: nn.Module, out: Path, **settings: Any
) -> RobustClassifier:
    """A model of pictures, fitted with a cache for each process."""
    table, held = pictures(), pictures(21, 21, seed=1)
    cache = out / f"cache {processes.rank()} of {processes.size()}"
    classifier = RobustClassifier(**IMAGES, backbone=backbone, cache=cache, **settings)
    return classifier.fit(cells, table.noisy, table.clean, validation=(held.x, held.truth))


def tuned(out: Path) -> Any:
    """With fewer validation rows than a batch of encoded examples has."""
    torch.manual_seed(0)
    eye = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU())
    return told(of_images(pictures().x, eye, out, tune="all"))


def frozen(out: Path) -> Any:
    """Features that differ a little from process to process; the first alone goes on to predict."""

    def nudged(*arguments: Any, **settings: Any) -> Embedded:
        embedded = embed(*arguments, **settings)
        embedded.vectors += 1e-6 * processes.rank()
        return embedded

    with mock.patch.object(inputs, "embed", nudged):
        classifier = of_images(pictures().x, Eye(), out, teachers=0)
        same = told(classifier)
        if processes.rank() == 0:
            same["predicted"] = list(classifier.predict(pictures(9, seed=2).x))
    return same


class StoppedError(Exception):
    """As if the power had failed."""


def stopped(out: Path) -> Any:
    """After two epochs."""

    def stop(self: RobustModule) -> None:
        if self.trainer.current_epoch == 2:
            raise StoppedError

    with mock.patch.object(RobustModule, "on_train_epoch_start", stop):
        begun = out / f"begun by {processes.size()}"
        return failure(fitted, **SAMPLED, checkpoints=begun)


def resumed(out: Path) -> Any:
    """What two processes have begun goes on in one, and the other way round."""
    begun = out / f"begun by {3 - processes.size()}"
    return told(fitted(**SAMPLED, checkpoints=begun, resume=True))


def taught(_out: Path) -> Any:
    """Sixty verified rows make batches of six for the teachers."""
    return told(fitted(60, **{**EXACT, "students": 1}, teachers=2))


def another_number(_out: Path) -> Any:
    """More processes than there are, and then one."""
    return [failure(fitted, **EXACT, devices=devices) for devices in (3, 1)]


def errors(out: Path) -> Any:
    """How fits fail, by what is wrong; in the last process alone, unless it is said otherwise."""
    odd = processes.rank() == 1
    x, noisy, clean = data()
    nan, other, flipped = x.copy(), x.copy(), noisy.copy()
    if odd:
        nan[3, 0], other[3, 0], flipped[3, 0] = np.nan, 5.0, 1 - noisy[3, 0]
    begun = out / "begun by 2"
    (out / "chains.1").mkdir(exist_ok=True)
    failures = {
        "the auxiliary, which the first fits": failure(
            fitted, **{**EXACT, "auxiliary": "transition"}
        ),
        "an input": failure(fitted, given=(nan, noisy, clean), **EXACT),
        "other inputs": failure(fitted, given=(other, noisy, clean), **EXACT),
        "other labels": failure(fitted, given=(x, flipped, clean), **EXACT),
        "other settings": failure(fitted, **{**EXACT, "hidden_layers": (16 + odd,)}),
        "the file of chains": failure(fitted, **SAMPLED, chain_file=out / "chains"),
        "a picture, in all": failure(
            of_images, cells=pictures().with_broken(7), backbone=Eye(), out=out
        ),
        "batches of two, in all": failure(fitted, **EXACT, backbone=normed(), batch_size=2),
        "a method of the literature, in all": failure(fit_network, problem=None, loss=None, seed=0),
    }
    is_file = Path.is_file
    sees = (lambda path: path.suffix != ".ckpt" and is_file(path)) if odd else is_file
    with mock.patch.object(Path, "is_file", sees):
        failures["no checkpoint"] = failure(fitted, **SAMPLED, checkpoints=begun, resume=True)
    return failures


FITS: Final[dict[str, Fit]] = {
    fit.__name__: fit
    for fit in (
        unseeded,
        exact,
        apart,
        classes,
        sampled,
        taught,
        normalised,
        tuned,
        frozen,
        stopped,
        resumed,
        another_number,
        errors,
    )
}


def fail(_out: Path) -> None:
    """End with what the last process meets in the middle of training."""

    def meet(self: RobustModule) -> None:
        if self.trainer.current_epoch == 1 and processes.rank() == 1:
            raise LatentLabelsError("A picture has gone.")

    with mock.patch.object(RobustModule, "on_train_epoch_start", meet):
        fitted(**EXACT, devices=2)


def main(out: Path, names: list[str]) -> None:
    """Fit, and write down what came of it, or that it failed."""
    if names == ["fail"]:
        fail(out)
    results = {}
    for name in names:
        try:
            results[name] = FITS[name](out)
        except Exception:
            results[name] = {"failed": traceback.format_exc()}
    (out / f"{processes.rank()}.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
