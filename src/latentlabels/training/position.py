"""Where training stands after an epoch, so that a stopped one goes on as if it had not stopped.

A checkpoint of Lightning's holds weights, their average, optimiser and schedule. Beside them go
what happened so far, which batches are next, the state of torch's random numbers, and the chains.
"""

from __future__ import annotations

import hashlib
import os
import pickle
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

import lightning as L
import numpy as np
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Callback
from torch import nn

from latentlabels.errors import LatentLabelsError
from latentlabels.sampling.diagnostics import ChainHealth
from latentlabels.training.module import VALIDATION_SCORE
from latentlabels.training.rows import MixedBatches, Rows
from latentlabels.training.settings import TrainingSettings

BEST: Final = "best"
LAST: Final = "last"
# Settings that say where and how quickly a run takes place, and not what comes of it.
NO_MATTER: Final = frozenset({"chain_file", "machines", "resume", "workers"})


@dataclass
class History:
    """What happened in training.

    Attributes:
        epochs: loss, alpha and, with validation rows, the validation score of every epoch.
        best_epoch: the epoch whose weights were kept, from 0.
        negative_phase: "exact" or "gibbs".
        validation: the validation score of what was kept; None without validation rows.
    """

    epochs: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    negative_phase: str = "exact"
    validation: float | None = None

    @property
    def chains(self) -> ChainHealth | None:
        """How the chains fared when the weights were kept; None where none were examined."""
        if not self.epochs:
            return None
        kept = self.epochs[self.best_epoch]
        if "r_hat" not in kept:
            return None
        return ChainHealth(kept["r_hat"], kept["effective"], kept["stuck"])

    def over(self, settings: TrainingSettings) -> bool:
        """Whether there have been as many epochs as are wanted, or enough without a better one."""
        scores = [epoch[VALIDATION_SCORE] for epoch in self.epochs if VALIDATION_SCORE in epoch]
        if len(self.epochs) >= settings.epochs or not np.isfinite(scores).all():
            return True
        return bool(scores) and len(scores) - 1 - int(np.argmax(scores)) >= settings.patience


class Position(Callback):
    """Writes down what every epoch logged, and keeps in checkpoints where training stands.

    Args:
        history: filled as training goes on.
        batches: the training rows' order.
        run: what identifies data, model and settings.
    """

    def __init__(self, history: History, batches: MixedBatches, run: str) -> None:
        self.history = history
        self.batches = batches
        self.run = run

    def on_train_epoch_end(self, trainer: L.Trainer, _module: L.LightningModule) -> None:
        """Write down what the epoch logged."""
        logged = {name: float(value) for name, value in trainer.logged_metrics.items()}
        self.history.epochs.append({"epoch": trainer.current_epoch, **logged})

    def state_dict(self) -> dict[str, Any]:
        """Where training stands."""
        return {
            "run": self.run,
            "epochs": [dict(epoch) for epoch in self.history.epochs],
            "visits": self.batches.visits,
            "random": torch.get_rng_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.history.epochs[:] = state["epochs"]
        self.batches.skip(state["visits"])
        torch.set_rng_state(state["random"])

    def find(self, path: Path) -> bool:
        """Whether a checkpoint of this run is there; if it is, its history is taken over.

        Raises:
            LatentLabelsError: it is damaged, or another run's.
        """
        if not path.is_file():
            return False
        try:
            saved = torch.load(path, weights_only=True)
            state = saved["callbacks"][self.state_key]
            run, epochs = state["run"], list(state["epochs"])
        except (RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as error:
            raise LatentLabelsError(
                f"The checkpoint {path} is damaged, or another program's "
                f"({type(error).__name__}). Remove it to begin anew."
            ) from error
        if run != self.run:
            raise LatentLabelsError(
                f"The checkpoint {path} is of other data or settings, or was moved. Fit with those "
                "it was begun with, name another folder, or begin anew without resume."
            )
        self.history.epochs[:] = epochs
        return True


class WholeFiles(TorchCheckpointIO):
    """Writes checkpoints under a temporary name, and renames them when they are whole."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.partial")
        try:
            with aside.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)


def run_of(
    module: nn.Module, rows: Rows, validation: Rows | None, settings: TrainingSettings
) -> str:
    """What identifies a run: its starting weights, labels, settings and folder, as SHA-256.

    Args:
        module: untrained; the mean and deviation of its inputs are among its buffers.
        rows: training rows.
        validation: rows that choose the epoch.
        settings: how it is trained.
    """
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    for part in (rows, validation):
        if part is None:
            continue
        for states in (part.noisy, part.clean):
            for values in (states.indptr, states.indices, states.data):
                digest.update(np.ascontiguousarray(values).tobytes())
        digest.update(part.verified.tobytes())
    told = [
        f"{own.name}={getattr(settings, own.name)!r}"
        for own in fields(settings)
        if own.name not in NO_MATTER
    ]
    folder = settings.checkpoints and settings.checkpoints.resolve()
    digest.update("\n".join([*told, str(folder)]).encode())
    return digest.hexdigest()
