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

from latentlabels import RobustClassifier, processes
from latentlabels.training.module import RobustModule

ROWS, INPUTS, TAGS = 300, 6, 30
HELD_OUT = 60
SETTINGS: Final[dict[str, Any]] = {"random_state": 0, "epochs": 4, "hidden_layers": (16,)}
EXACT: Final[dict[str, Any]] = {**SETTINGS, "pairwise": False}
SAMPLED: Final[dict[str, Any]] = {**SETTINGS, "hidden": 24, "chains": 5, "sweeps": 20}

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


def fitted(verified: int = ROWS // 3, **settings: Any) -> RobustClassifier:
    """A model of the data, of which the first rows are verified."""
    x, noisy, clean = data()
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


def start(_out: Path) -> Any:
    """The other process, of those that are not started from outside."""
    return told(fitted(**EXACT, devices=2))


def exact(_out: Path) -> Any:
    return told(fitted(**EXACT))


def sampled(_out: Path) -> Any:
    return told(fitted(**SAMPLED))


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


def unseeded(_out: Path) -> Any:
    return told(fitted(**{**EXACT, "random_state": None, "epochs": 1}))


def another_number(_out: Path) -> Any:
    """More processes than there are, and then one."""
    return [failure(fitted, **EXACT, devices=devices) for devices in (3, 1)]


def taught(_out: Path) -> Any:
    """Sixty verified rows make batches of six for the teachers."""
    return told(fitted(60, **EXACT, teachers=2, students=1))


FITS: Final[dict[str, Fit]] = {
    fit.__name__: fit
    for fit in (start, exact, sampled, taught, stopped, resumed, unseeded, another_number)
}


def main(out: Path, names: list[str]) -> None:
    """Fit, and write down what came of it, or that it failed."""
    results = {}
    for name in names:
        try:
            results[name] = FITS[name](out)
        except Exception:
            results[name] = {"failed": traceback.format_exc()}
    (out / f"{processes.rank()}.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
