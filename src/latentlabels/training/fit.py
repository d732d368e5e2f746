"""Fit a model to rows: the one way in for estimator, command line and experiments."""

from __future__ import annotations

import logging
import os
import signal
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import (
    Callback,
    EarlyStopping,
    EMAWeightAveraging,
    ModelCheckpoint,
    RichProgressBar,
)
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader

from latentlabels import processes
from latentlabels.errors import LatentLabelsError, TrainingWarning
from latentlabels.model.marginal import is_tractable
from latentlabels.network.examples import ENCODED, VECTORS, Vectors, plainly, split
from latentlabels.objective import PROBED_ROWS, ExactPhase, NegativePhase, PersistentGibbs
from latentlabels.robust_model import RobustModel
from latentlabels.sampling.diagnostics import Names, largest_weights
from latentlabels.training.launching import environments
from latentlabels.training.module import VALIDATION_SCORE, RobustModule, ScoredModule, diverged
from latentlabels.training.position import (
    BEST,
    LAST,
    UNREADABLE,
    DamagedCheckpointError,
    History,
    InMemory,
    Position,
    WholeFiles,
    checkpoint,
    run_of,
)
from latentlabels.training.rows import Batch, Draw, MixedBatches, Rows
from latentlabels.training.settings import TrainingSettings

NOWHERE: Final = Path(os.devnull) / "nowhere"
"""No folder, and none that can be made."""
BATCH_NORMS: Final = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def train(
    model: RobustModel,
    rows: Rows,
    validation: Rows | None,
    settings: TrainingSettings,
    *,
    progress: bool = False,
    names: Names | None = None,
) -> History:
    """Train a model in place, and leave it with the best weights.

    Best is the highest validation score; without validation rows, the last epoch's weights stay.

    Args:
        model: the model, at its starting values.
        rows: training rows.
        validation: rows with clean labels for early stopping and the choice of epoch.
        settings: how to train.
        progress: whether to show a progress bar.
        names: of the clean and the noisy units, for messages.

    Raises:
        LatentLabelsError: training has diverged, or cannot go on from a checkpoint.
    """
    exact = is_tractable(model.crf)
    phase: NegativePhase = ExactPhase()
    if not exact:
        own = _batches(model, rows, settings).owned
        with processes.together():
            phase = PersistentGibbs(
                torch.from_numpy(own).nonzero()[:, 0],
                model.crf.latent.size,
                settings.gibbs,
                seed=settings.seed,
                file=_own_file(settings.chain_file),
            )
    # Lightning keeps the mode it finds, and a module may come in that of evaluation.
    seen = _seen_by_teacher(model, rows)
    module = RobustModule(model.train(), phase, settings, seen, names)
    history = fit_module(module, rows, validation, progress=progress)
    history.negative_phase = "exact" if exact else "gibbs"
    if not exact:
        with torch.no_grad():
            x = rows.x.batch(np.arange(min(PROBED_ROWS, len(rows))))
            history.weights = largest_weights(model.crf, model.crf.fields(model.network(x)))
    # α as it stood at the end of the epoch that was kept: q is the posterior those weights were
    # trained with.
    model.alpha = settings.alpha.at(history.best_epoch + 1)
    return history


def fit_module(
    module: ScoredModule,
    rows: Rows,
    validation: Rows | None,
    *,
    progress: bool = False,
) -> History:
    """Train any module in place, and leave it with the best weights, for evaluation.

    The arguments are those of `train`.

    Raises:
        LatentLabelsError: training has diverged, or cannot go on from a checkpoint.
    """
    settings, history = module.settings, History()
    batches = _batches(module, rows, settings)
    on_disk = settings.checkpoints is not None
    folder = settings.checkpoints or NOWHERE
    keeper = WholeFiles() if on_disk else InMemory()
    with own_randomness(settings.seed):
        # Other machines' starting weights may differ in a last bit; the first's are trained.
        run = run_of(module, rows, validation, settings) if on_disk else ""
        position = Position(history, batches, processes.agreed(run))
        start = None
        if on_disk:
            start = position.begin(folder, resume=settings.resume, validated=validation is not None)
        callbacks: list[Callback] = [position]
        if validation is not None:
            callbacks.append(_best(folder))
            callbacks.append(
                EarlyStopping(VALIDATION_SCORE, mode="max", patience=settings.patience)
            )
        if validation is None or on_disk:
            callbacks.append(_last(folder))
        if settings.averaging > 0:
            callbacks.append(EMAWeightAveraging(use_buffers=True, decay=settings.averaging))
        if progress:
            callbacks.append(RichProgressBar())
        if start is None or not history.over(settings):
            with _quiet_lightning():
                _fit(
                    _trainer(settings, callbacks, keeper, progress=progress),
                    module,
                    _loader(rows, batches, settings),
                    None
                    if validation is None
                    else _loader(validation, _in_order(validation, _own(validation)), settings),
                    position,
                    start,
                )
        kept = checkpoint(folder, LAST if validation is None else BEST)
        history.best_epoch = _take_over(module, keeper, kept)
        history.validation = history.epochs[history.best_epoch].get(VALIDATION_SCORE)
    if told := history.skipped_told():
        warnings.warn(told, TrainingWarning, stacklevel=2)
    module.eval()
    return history


def _batches(module: nn.Module, rows: Rows, settings: TrainingSettings) -> MixedBatches:
    """The order of the training rows, and which of them this process owns."""
    normalises = any(isinstance(part, BATCH_NORMS) for part in module.modules())
    return MixedBatches(
        rows.verified,
        settings.batch_size,
        settings.verified_share,
        settings.seed,
        processes=processes.size(),
        rank=processes.rank(),
        # The deviation of a single row is none.
        least=2 if normalises else 1,
    )


@torch.no_grad()
def _seen_by_teacher(model: RobustModel, rows: Rows) -> Tensor | None:
    """What the teacher says of every row, which does not change any more, (rows, clean)."""
    if model.teacher is None:
        return None
    model.teacher.eval()
    everything = np.arange(len(rows))
    parts = [model.teacher(rows.x.batch(draw.rows)) for draw in _in_order(rows, everything)]
    return torch.cat(parts)


@torch.no_grad()
def _take_over(module: ScoredModule, keeper: InMemory | WholeFiles, kept: Path) -> int:
    """Give a module the weights of a checkpoint, which the first process has; says its epoch."""
    epoch = None
    with processes.together():
        if processes.rank() == 0:
            saved = keeper.read(kept)
            module.load_state_dict(saved["state_dict"])
            for name, tensor in module.state_dict().items():
                if not tensor.isfinite().all():
                    raise LatentLabelsError(diverged(module.settings, name))
            epoch = saved["epoch"]
    processes.follow_first(module.state_dict().values())
    return int(processes.agreed(epoch))


def _best(folder: Path) -> ModelCheckpoint:
    return ModelCheckpoint(
        folder, filename=BEST, monitor=VALIDATION_SCORE, mode="max", enable_version_counter=False
    )


def _last(folder: Path) -> ModelCheckpoint:
    """One of its own: `save_last` of the best would copy the best."""
    return ModelCheckpoint(
        folder, filename=LAST, save_on_train_epoch_end=True, enable_version_counter=False
    )


def _trainer(
    settings: TrainingSettings,
    callbacks: list[Callback],
    keeper: InMemory | WholeFiles,
    *,
    progress: bool,
) -> L.Trainer:
    devices, nodes = settings.machines.counts() if processes.size() > 1 else (1, 1)
    return L.Trainer(
        max_epochs=settings.epochs,
        accelerator="auto",
        devices=devices,
        num_nodes=nodes,
        strategy=settings.machines.lightning_strategy(),
        use_distributed_sampler=False,
        sync_batchnorm=processes.size() > 1 and torch.cuda.is_available(),
        callbacks=callbacks,
        plugins=[keeper, *environments()],
        # Under SLURM a checkpoint that lies in this folder would be taken over unasked.
        default_root_dir=NOWHERE,
        logger=False,
        enable_progress_bar=progress,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
    )


def _fit(
    trainer: L.Trainer,
    module: ScoredModule,
    training: DataLoader[Batch],
    validation: DataLoader[Batch] | None,
    position: Position,
    start: Path | None,
) -> None:
    """Run the trainer, and let an interrupt through as the interrupt it was."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        with plainly():
            trainer.fit(module, training, validation, ckpt_path=start, weights_only=True)
    except SystemExit:
        signal.signal(signal.SIGINT, handler)
        raise KeyboardInterrupt from None
    except Exception as error:
        processes.give_up_unless_all_failed(error)
        if start is not None and not position.begun and isinstance(error, UNREADABLE):
            raise DamagedCheckpointError(start, "parts of it are missing or odd") from error
        raise


def _loader(rows: Rows, draws: Iterable[Draw], settings: TrainingSettings) -> DataLoader[Batch]:
    return DataLoader(rows, sampler=draws, batch_size=None, num_workers=settings.workers)


def _own_file(file: Path | None) -> Path | None:
    """A file of this process alone."""
    if file is None or processes.size() == 1:
        return file
    return file.with_name(f"{file.name}.{processes.rank()}")


def _own(validation: Rows) -> NDArray[np.int64]:
    """The rows that this process predicts; one of another's where there are too few for all."""
    return np.arange(processes.rank() % len(validation), len(validation), processes.size())


def _in_order(rows: Rows, chosen: NDArray[np.int64]) -> list[Draw]:
    size = VECTORS if isinstance(rows.x, Vectors) else ENCODED
    return [Draw(chosen[part]) for part in split(len(chosen), size)]


@contextmanager
def own_randomness(seed: int) -> Iterator[None]:
    """Dropout draws from torch's global generator: seed it, and give it back as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Leave out Lightning's remarks on hardware and workers, which a user cannot act on."""
    loggers = [logging.getLogger(name) for name in ("lightning", "lightning.pytorch")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
