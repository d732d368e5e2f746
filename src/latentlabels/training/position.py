"""Where training stands after an epoch, so that a stopped one goes on as if it had not stopped.

A checkpoint of Lightning's holds weights, their average, optimiser and schedule. Beside them go
what happened so far, which batches are next, the state of torch's random numbers, and the chains.
"""

from __future__ import annotations

import hashlib
import pickle
import shutil
import warnings
from dataclasses import dataclass, field, fields, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile, ZipFile

import lightning as L
import numpy as np
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Callback
from torch import nn

from latentlabels import processes
from latentlabels.durable import put_in_place
from latentlabels.errors import LatentLabelsError, TrainingWarning
from latentlabels.sampling.diagnostics import ChainHealth, LargestWeight
from latentlabels.training.module import VALIDATION_SCORE
from latentlabels.training.rows import MixedBatches, Rows
from latentlabels.training.settings import TrainingSettings

BEST: Final = "best"
BEST_COPY: Final = "best-copy"
"""There is none before the best to go back to, so it is kept twice."""
LAST: Final = "last"
PREVIOUS: Final = "previous"
UNREADABLE: Final = (
    *(BadZipFile, EOFError, RuntimeError, pickle.UnpicklingError),
    *(AttributeError, LookupError, TypeError, ValueError),
)
"""What reading a file may raise that is no checkpoint."""
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
        weights: the largest of each block where the negative phase is sampled, as they were kept.
    """

    epochs: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    negative_phase: str = "exact"
    validation: float | None = None
    weights: tuple[LargestWeight, ...] = ()

    @property
    def chains(self) -> ChainHealth | None:
        """How the chains fared when the weights were kept; None where none were examined.

        The largest weight is that of the average, where the average of the weights is kept.
        """
        if not self.epochs:
            return None
        kept = self.epochs[self.best_epoch]
        if "r_hat" not in kept:
            return None
        health = ChainHealth(**{of.name: kept[of.name] for of in fields(ChainHealth)})
        return replace(health, weight=abs(self.weights[0].value)) if self.weights else health

    def skipped_told(self) -> str | None:
        """How many steps were skipped, and what to do about it; None if there were none."""
        skipped = sum(epoch.get("skipped", 0) for epoch in self.epochs)
        if not skipped:
            return None
        return (
            f"{skipped:.0f} training steps were skipped, for their loss or gradient was NaN or "
            "infinite. Look for extreme numbers among the inputs, or lower learning_rate and "
            "crf_learning_rate."
        )

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
        self.begun = False

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

    def on_train_start(self, _trainer: L.Trainer, _module: L.LightningModule) -> None:
        """All of the checkpoint has been taken over, if there was one."""
        self.begun = True

    def begin(self, folder: Path, *, resume: bool, validated: bool) -> Path | None:
        """The checkpoint to go on from, its history taken over; None to begin anew.

        The first process looks for all of them. Whoever begins anew takes older checkpoints out of
        the folder, which would be taken for those of the new run once it is stopped.

        Args:
            folder: of checkpoints.
            resume: whether to go on where there is something to go on from.
            validated: whether the best weights are not always the last.

        Raises:
            LatentLabelsError: checkpoints are damaged, another run's, or not there for all
                processes.
        """
        found = None
        with processes.together():
            if processes.rank() == 0:
                found = self._find(folder, validated=validated) if resume else None
                _tidy(folder, anew=found is None)
        name, epochs = processes.agreed([found and found.name, self.history.epochs])
        if name is None:
            return None
        self.history.epochs[:] = epochs
        path = folder / str(name)
        if not all(processes.everyones(path.is_file())):
            raise LatentLabelsError(
                f"The checkpoint {path} is not there for all processes. Let checkpoints name a "
                "folder that all machines share, or begin anew without resume."
            )
        return path

    def _find(self, folder: Path, *, validated: bool) -> Path | None:
        """The newer of the last two checkpoints that is whole; its history is taken over."""
        damaged: list[str] = []
        for name in (LAST, PREVIOUS):
            path = checkpoint(folder, name)
            if not path.is_file():
                continue
            try:
                epochs = self._own(path)["epochs"]
                if validated:
                    self._require_best(folder)
            except DamagedCheckpointError as error:
                damaged.append(str(error))
                continue
            for told in damaged:
                warnings.warn(f"{told} The one before it is used.", TrainingWarning, stacklevel=2)
            self.history.epochs[:] = epochs
            return path
        if damaged:
            told = " ".join(dict.fromkeys(damaged))
            raise LatentLabelsError(
                f"{told} None before it can be used: begin anew without resume."
            )
        return None

    def _require_best(self, folder: Path) -> None:
        """Check the best weights, and put their copy in the place of damaged ones."""
        best = checkpoint(folder, BEST)
        try:
            self._own(best)
        except DamagedCheckpointError as error:
            copy = checkpoint(folder, BEST_COPY)
            self._own(copy)
            warnings.warn(f"{error} Its copy is used.", TrainingWarning, stacklevel=2)
            aside = _aside(best)
            shutil.copyfile(copy, aside)
            put_in_place(aside, best)

    def _own(self, path: Path) -> dict[str, Any]:
        """What a checkpoint of this run says of where training stood."""
        state = read_checkpoint(path)["callbacks"].get(self.state_key)
        if not isinstance(state, dict) or set(state) != set(self.state_dict()):
            raise DamagedCheckpointError(path, "it says nothing of where training stood")
        if state["run"] != self.run:
            raise LatentLabelsError(
                f"The checkpoint {path} is of other data, settings or versions, or was moved. Fit "
                "with those it was begun with, name another folder, or begin anew without resume."
            )
        return state


class DamagedCheckpointError(LatentLabelsError):
    """A checkpoint that cannot be used."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"The checkpoint {path} is damaged, or another program's: {why}.")


class InMemory(TorchCheckpointIO):
    """Keeps in memory the weights of checkpoints that nobody asked for on disk."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: dict[str, dict[str, Any]] = {}

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Keep what `read` is asked for."""
        weights = checkpoint["state_dict"].items()
        self._kept[Path(path).stem] = {
            "epoch": checkpoint["epoch"],
            "state_dict": {name: tensor.to("cpu", copy=True) for name, tensor in weights},
        }

    def read(self, path: Path) -> dict[str, Any]:
        """The weights and the epoch that were kept under that name."""
        return self._kept[path.stem]


class WholeFiles(TorchCheckpointIO):
    """Writes checkpoints under a temporary name, and renames them when they are whole.

    The last one becomes the one before, so that at any moment one of both is whole.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.stem == BEST:
            self._write(checkpoint, path.with_stem(BEST_COPY))
        self._write(checkpoint, path)

    def read(self, path: Path) -> dict[str, Any]:
        """See `read_checkpoint`."""
        return read_checkpoint(path)

    def _write(self, checkpoint: dict[str, Any], path: Path) -> None:
        aside = _aside(path)
        try:
            torch.save(checkpoint, aside)
            if path.stem == LAST and path.is_file():
                path.replace(path.with_stem(PREVIOUS))
            put_in_place(aside, path)
        finally:
            aside.unlink(missing_ok=True)


def checkpoint(folder: Path, name: str) -> Path:
    """Where the checkpoint of that name is kept."""
    return folder / f"{name}.ckpt"


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A whole checkpoint, its tensors on the CPU.

    Raises:
        DamagedCheckpointError: it is not there, not whole, or not what Lightning writes.
    """
    try:
        # Every part has a checksum, which torch does not look at.
        with ZipFile(path) as parts:
            torn = parts.testzip()
        saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        whole = (
            isinstance(saved["state_dict"], dict)
            and isinstance(saved["callbacks"], dict)
            and isinstance(saved["epoch"], int)
            and bool(saved["optimizer_states"])
            and "fit_loop" in saved["loops"]
        )
    except FileNotFoundError as error:
        raise DamagedCheckpointError(path, "it is not there") from error
    except UNREADABLE as error:
        raise DamagedCheckpointError(path, type(error).__name__) from error
    if torn is not None or not whole:
        raise DamagedCheckpointError(path, f"{torn} has changed" if torn else "parts are missing")
    return saved


def _tidy(folder: Path, *, anew: bool) -> None:
    """Take out what a killed process left half written and, to begin anew, older checkpoints."""
    for name in (LAST, PREVIOUS, BEST, BEST_COPY):
        path = checkpoint(folder, name)
        _aside(path).unlink(missing_ok=True)
        if anew:
            path.unlink(missing_ok=True)


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


def run_of(
    module: nn.Module, rows: Rows, validation: Rows | None, settings: TrainingSettings
) -> str:
    """What identifies a run: starting weights, data, settings, versions and folder, as SHA-256.

    Args:
        module: untrained.
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
        for content in part.x.contents():
            digest.update(content)
    told = [f"{name}={metadata.version(name)}" for name in ("latentlabels", "lightning", "torch")]
    told += [
        f"{own.name}={getattr(settings, own.name)!r}"
        for own in fields(settings)
        if own.name not in NO_MATTER
    ]
    folder = settings.checkpoints and settings.checkpoints.resolve()
    digest.update("\n".join([*told, str(folder)]).encode())
    return digest.hexdigest()
