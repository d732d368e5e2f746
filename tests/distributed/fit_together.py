"""A program as a user would write it, which the tests start on one or on several processes.

python fit_together.py OUT [name=value ...]
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from latentlabels import RobustClassifier, processes
from latentlabels.training.module import RobustModule

ROWS, INPUTS, TAGS = 300, 6, 30
HELD_OUT = 60


def data() -> tuple[Any, ...]:
    """Inputs, three clean labels that they decide, and tags that are on for these or by chance."""
    random = np.random.default_rng(0)
    x = random.normal(size=(ROWS + HELD_OUT, INPUTS)).astype(np.float32)
    clean = (x[:, :3] + 0.3 * random.normal(size=(len(x), 3)) > 0.4).astype(float)
    chance = np.where(np.repeat(clean, TAGS // 3, 1) > 0, 0.6, 0.1)
    noisy = (random.random((len(x), TAGS)) < chance).astype(int)
    return x, noisy, clean


def interrupt_after(epochs: int, out: Path) -> None:
    """Let training end at the beginning of an epoch, as if the power had failed."""

    def stop(self: RobustModule) -> None:
        if self.trainer.current_epoch == epochs:
            out.write_text(json.dumps({"epochs": epochs}))
            sys.stderr.flush()
            os._exit(0)

    RobustModule.on_train_epoch_start = stop  # type: ignore[assignment,method-assign]


def main(out: Path, arguments: dict[str, Any]) -> None:
    """Fit, and let the first process write what came of it."""
    x, noisy, clean = data()
    known = clean[:ROWS].copy()
    known[ROWS // 3 :] = np.nan
    stop_after = arguments.pop("stop_after", None)
    settings = {"random_state": 0, "epochs": 4, "hidden_layers": (16,), **arguments}
    classifier = RobustClassifier(**settings)
    if stop_after is not None:
        interrupt_after(stop_after, out)
    classifier.fit(x[:ROWS], noisy[:ROWS], known, validation=(x[ROWS:], clean[ROWS:]))
    if processes.rank() == 0:
        tensors = {name: tensor.tolist() for name, tensor in classifier.model_.state_dict().items()}
        told = {
            "processes": processes.size(),
            "history": classifier.history_.epochs,
            "best": classifier.history_.best_epoch,
            "tensors": tensors,
        }
        out.write_text(json.dumps(told))


if __name__ == "__main__":
    given = (argument.split("=", 1) for argument in sys.argv[2:])
    main(Path(sys.argv[1]), {name: json.loads(value) for name, value in given})
