"""The Lightning modules: they wire model, loss and optimiser."""

from __future__ import annotations

import math
import warnings
from abc import abstractmethod
from dataclasses import asdict, replace
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from numpy.typing import NDArray
from torch import Tensor, nn

from latentlabels import processes
from latentlabels.errors import LatentLabelsError
from latentlabels.evaluation.metrics import score
from latentlabels.model.pairwise import Fields, Potentials
from latentlabels.model.units import Units
from latentlabels.network.dropout import dropping_by_row
from latentlabels.network.potentials import encoder_in
from latentlabels.objective import NegativePhase, PersistentGibbs, RobustLoss
from latentlabels.robust_model import RobustModel
from latentlabels.sampling.diagnostics import ChainWarning, Names, largest_weights
from latentlabels.training.rows import Batch
from latentlabels.training.settings import TrainingSettings

VALIDATION_SCORE = "validation"
MOST_SKIPPED = 5  # steps in a row that may come to nothing
RISING = 0.25  # of all updates, where step sizes go through one cycle


def diverged(settings: TrainingSettings, what: str) -> str:
    """That training has diverged, and what to do about it."""
    return (
        f"Training has diverged: {what} is NaN or infinite. Lower learning_rate "
        f"({settings.learning_rate:g}) or crf_learning_rate ({settings.crf_learning_rate:g}), and "
        "look for extreme numbers among the inputs."
    )


class ScoredModule(L.LightningModule):
    """A module whose predictions of the validation rows are scored after every epoch.

    Args:
        clean: the units of the clean labels.
        settings: how to train.
    """

    def __init__(self, clean: Units, settings: TrainingSettings) -> None:
        super().__init__()
        self.clean = clean
        self.settings = settings
        self._validated: list[tuple[Tensor, Tensor, Tensor]] = []
        self.skipped = 0
        """Steps in a row that were not taken, since their loss or gradient was not finite."""
        self._loss_is_finite = True
        self._before: list[Tensor] = []

    def scheduled(self, optimizer: torch.optim.Optimizer) -> OptimizerLRScheduler:
        """The optimiser, its step sizes on the schedule that is wanted."""
        if self.settings.schedule == "constant":
            return optimizer
        cycle = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            [group["lr"] for group in optimizer.param_groups],
            total_steps=int(self.trainer.estimated_stepping_batches),
            pct_start=RISING,
            cycle_momentum=False,
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": cycle, "interval": "step"}}

    def on_train_batch_start(self, *_: Any) -> None:
        """Remember the buffers, which a batch changes before it is known whether it is any good."""
        self._before = [buffer.clone() for buffer in self.buffers()]

    def log_loss(self, loss: Tensor, rows: int = 1) -> None:
        """Log a step's loss, unless it is not finite and would spoil the mean of the epoch.

        Args:
            loss: of a batch.
            rows: the weight of the batch in that mean.
        """
        self._loss_is_finite = bool(loss.isfinite())
        self.log(
            "loss",
            loss if self._loss_is_finite else torch.zeros_like(loss),
            prog_bar=True,
            on_step=False,
            on_epoch=True,
            batch_size=rows if self._loss_is_finite else 0,
            sync_dist=processes.size() > 1,
        )

    @torch.no_grad()
    def on_before_optimizer_step(self, _optimizer: torch.optim.Optimizer) -> None:
        """Leave out a step whose loss or gradient is not finite, and count it.

        Raises:
            LatentLabelsError: too many of them, one after the other.
        """
        gradients = [p.grad for p in self.parameters() if p.grad is not None and p.numel()]
        largest = torch.stack([gradient.norm(math.inf) for gradient in gradients])
        # Adam keeps a mean of squares, which would never come down from infinity.
        bad = not (self._loss_is_finite and largest.square().isfinite().all())
        bad = bool(processes.summed(torch.tensor(bad).int()))
        self.log("skipped", float(bad), on_step=False, on_epoch=True, reduce_fx="sum")
        self.skipped = self.skipped + 1 if bad else 0
        if not bad:
            return
        if self.skipped == MOST_SKIPPED:
            raise LatentLabelsError(diverged(self.settings, "the loss of several batches"))
        for parameter in self.parameters():
            parameter.grad = None  # The optimiser passes over it.
        for buffer, before in zip(self.buffers(), self._before, strict=True):
            buffer.copy_(before)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep how many steps in a row have been skipped."""
        checkpoint["skipped"] = self.skipped

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Count on from there."""
        self.skipped = int(checkpoint["skipped"])

    def trained(self, network: nn.Module, batch: Batch) -> Any:
        """What a network in training gives for a batch, with dropout by row and step."""
        with dropping_by_row(network, self.settings.seed, self.trainer.global_step, batch.rows):
            return network(batch.x)

    @abstractmethod
    def predicted(self, batch: Batch) -> Tensor:
        """E[ŷ | x] of a batch, (batch, clean)."""

    def score(self, clean: NDArray[np.float64], predicted: NDArray[np.float64]) -> float:
        """What the best epoch has most of; both (rows, clean)."""
        return score(self.clean, clean, predicted)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, _index: int) -> Batch:
        """Move a batch, whose fields are all tensors."""
        return Batch(*(part.to(device) for part in batch))

    def on_validation_epoch_start(self) -> None:
        """Let batch norms, which have seen other rows in each process, be as they will be saved."""
        processes.follow_first(self.buffers())

    def validation_step(self, batch: Batch, _index: int) -> None:
        """Predict, and keep the predictions for the epoch's score."""
        self._validated.append((batch.rows, batch.clean, self.predicted(batch)))

    def on_validation_epoch_end(self) -> None:
        """Score the predictions of all validation rows, of all processes, at once."""
        own = [torch.cat(parts) for parts in zip(*self._validated, strict=True)]
        rows, clean, predicted = (torch.cat(processes.gathered(part)).numpy() for part in own)
        self._validated.clear()
        _, order = np.unique(rows, return_index=True)
        clean, predicted = (part[order].astype(np.float64) for part in (clean, predicted))
        self.log(VALIDATION_SCORE, self.score(clean, predicted), prog_bar=True)


class RobustModule(ScoredModule):
    """Trains a `RobustModel` with the robust loss.

    Args:
        model: the model to train.
        negative_phase: exact, or persistent Gibbs.
        settings: how to train.
        seen: what the model's teacher says of every training row, (rows, clean).
        names: of the clean and the noisy units, for messages.
    """

    def __init__(
        self,
        model: RobustModel,
        negative_phase: NegativePhase,
        settings: TrainingSettings,
        seen: Tensor | None = None,
        names: Names | None = None,
    ) -> None:
        super().__init__(model.crf.clean, settings)
        self.model = model
        self.loss = RobustLoss(model.crf, model.auxiliary, negative_phase)
        self.seen = seen
        self.names = names
        self.warned = False

    def predicted(self, batch: Batch) -> Tensor:
        """E[ŷ | x] of a batch, (batch, clean)."""
        return self.model.predict_mean(batch.x, batch.rows)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam with weight decay, and step sizes of their own for an encoder and for the CRF."""
        settings = self.settings
        encoder = self._encoder_parameters()
        inside = set(encoder)
        groups = [
            {
                "params": [p for p in self.model.network.parameters() if p not in inside],
                "lr": settings.learning_rate,
            },
            {
                "params": [p for p in self.model.crf.parameters() if p.requires_grad],
                "lr": settings.crf_learning_rate,
                "weight_decay": settings.crf_weight_decay,
            },
        ]
        if encoder:
            groups.append(
                {
                    "params": encoder,
                    "lr": settings.encoder_learning_rate,
                    "eps": settings.encoder_epsilon,
                }
            )
        optimizer = torch.optim.AdamW(
            groups, weight_decay=settings.weight_decay, eps=settings.epsilon, foreach=True
        )
        return self.scheduled(optimizer)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the chains too, where a checkpoint is kept for longer than training."""
        super().on_save_checkpoint(checkpoint)
        phase = self.loss.negative_phase
        if isinstance(phase, PersistentGibbs) and self.settings.checkpoints is not None:
            checkpoint["chains"] = phase.position()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Let the chains go on from where they stood."""
        super().on_load_checkpoint(checkpoint)
        phase = self.loss.negative_phase
        if isinstance(phase, PersistentGibbs):
            phase.go_on_from(checkpoint["chains"])

    def _encoder_parameters(self) -> list[nn.Parameter]:
        encoder = encoder_in(self.model.network)
        return [] if encoder is None else [p for p in encoder.parameters() if p.requires_grad]

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """The robust loss of a batch, with α as it stands at this point of training."""
        passed = self.trainer.current_epoch + index / self.trainer.num_training_batches
        alpha = self.settings.alpha.at(passed)
        self.loss.alpha = self.model.alpha = alpha
        potentials: Potentials = self.trained(self.model.network, batch)
        losses = self.loss.row_losses(
            potentials,
            batch.rows,
            batch.noisy,
            batch.clean,
            batch.verified,
            self._potentials_for_inference(batch),
            None if self.seen is None else self.seen[batch.rows.cpu()].to(batch.x.device),
        )
        loss = (losses * batch.weights).sum()
        self.log_loss(loss)
        self._log("alpha", alpha)
        phase = self.loss.negative_phase
        if isinstance(phase, PersistentGibbs):
            self._log("sweeps", float(phase.sweeps), shown=False)
            if index == self.trainer.num_training_batches - 1 and loss.isfinite():
                self._examine(phase, potentials, batch.rows)
        return loss

    def _log(self, name: str, value: Tensor | float, *, shown: bool = True) -> None:
        """Log a number of a step, whose mean over the epoch and all processes is told."""
        self.log(
            name,
            value,
            prog_bar=shown,
            on_step=False,
            on_epoch=True,
            batch_size=1,
            sync_dist=processes.size() > 1,
        )

    def _examine(self, phase: PersistentGibbs, potentials: Potentials, rows: Tensor) -> None:
        """Log how the chains of some of the epoch's last rows fare, and warn once if it is ill."""
        fields = self.model.crf.fields(potentials)
        health = phase.health(self.model.crf, fields, rows)
        if health is None:
            return
        everyones = Fields(*(torch.cat(processes.gathered(part)) for part in fields))
        largest = largest_weights(self.model.crf, everyones)
        health = replace(health, weight=abs(largest[0].value))
        for name, value in asdict(health).items():
            self._log(name, value)
        if not health.is_good and not self.warned:
            self.warned = True
            warnings.warn(health.told(largest, self.names), ChainWarning, stacklevel=2)

    @torch.no_grad()
    def _potentials_for_inference(self, batch: Batch) -> Potentials | None:
        """The potentials as the network will be used: without dropout, and held fixed.

        There are none where all clean labels are known, and nothing is inferred; and a second pass
        through an encoder costs more than its dropout does harm.
        """
        if encoder_in(self.model.network) is not None or batch.verified.all():
            return None
        self.model.network.eval()
        potentials: Potentials = self.model.network(batch.x)
        self.model.network.train()
        return potentials
