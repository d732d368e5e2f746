"""Train any network with any loss in the way that all methods share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from numpy.typing import NDArray
from torch import Tensor, nn

from latentlabels import processes
from latentlabels.baselines.problem import Fitted, Problem
from latentlabels.errors import LatentLabelsError
from latentlabels.model.units import Units
from latentlabels.network.encoders import Encoder
from latentlabels.network.examples import in_batches
from latentlabels.training.fit import fit_module, own_randomness
from latentlabels.training.module import ScoredModule
from latentlabels.training.position import History
from latentlabels.training.rows import Batch, Rows
from latentlabels.training.settings import TrainingSettings

Loss = Callable[[Tensor, Batch, float], Tensor]
"""Of the network's outputs (batch, outputs), the batch, and epochs passed: a scalar."""
Probabilities = Callable[[Tensor], Tensor]
"""Of the network's outputs: p(ŷ | x), (batch, clean)."""
Score = Callable[[NDArray[np.float64], NDArray[np.float64]], float]
"""Of validation rows' clean labels and their predictions, both (rows, clean)."""


class PlainModule(ScoredModule):
    """Trains a network with a loss; a loss that is a module is trained with it.

    Args:
        network: from examples to outputs.
        loss: of its outputs.
        probabilities: what the outputs say of the clean labels.
        clean: the units of the clean labels.
        settings: how to train.
        scored_by: what the best epoch has most of; by default the score of the clean labels.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: Loss,
        probabilities: Probabilities,
        clean: Units,
        settings: TrainingSettings,
        scored_by: Score | None = None,
    ) -> None:
        super().__init__(clean, settings)
        self.network = network
        self.loss = loss
        self.probabilities = probabilities
        self.scored_by = scored_by

    def score(self, clean: NDArray[np.float64], predicted: NDArray[np.float64]) -> float:
        """What the best epoch has most of."""
        scored_by = self.scored_by or super().score
        return scored_by(clean, predicted)

    def predicted(self, batch: Batch) -> Tensor:
        """E[ŷ | x] of a batch, (batch, clean)."""
        return self.probabilities(self.network(batch.x))

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """The loss of a batch."""
        passed = self.trainer.current_epoch + index / self.trainer.num_training_batches
        loss = self.loss(self.trained(self.network, batch), batch, passed)
        self.log_loss(loss, len(batch.x))
        return loss

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam with weight decay, and a step size of its own for an encoder."""
        settings = self.settings
        inside = {
            parameter
            for module in self.network.modules()
            if isinstance(module, Encoder)
            for parameter in module.parameters()
        }
        groups: list[dict[str, Any]] = [
            {"params": [p for p in self.parameters() if p not in inside]}
        ]
        if inside:
            groups.append(
                {
                    "params": [p for p in self.parameters() if p in inside],
                    "lr": settings.encoder_learning_rate,
                    "eps": settings.encoder_epsilon,
                }
            )
        optimizer = torch.optim.AdamW(
            groups,
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            eps=settings.epsilon,
            foreach=True,
        )
        return self.scheduled(optimizer)


@dataclass
class FittedNetwork(Fitted):
    """A trained network, which says of a training row what it says of any other.

    Attributes:
        problem: what it was trained on.
        network: trained.
        probabilities: what its outputs say of the clean labels.
        history: of its training.
    """

    problem: Problem
    network: nn.Module
    probabilities: Probabilities
    history: History

    @torch.no_grad()
    def predict(self, x: Tensor) -> Tensor:
        return self.probabilities(self.network(x))

    def outputs(self, rows: NDArray[np.intp]) -> Tensor:
        """The network's outputs for some training rows, (rows, outputs)."""
        return outputs_of(self.network, self.problem.rows, rows)

    def cleaned(self, rows: NDArray[np.intp]) -> Tensor:
        return self.probabilities(self.outputs(rows))


def fit_network(
    problem: Problem,
    loss: Loss,
    seed: int,
    *,
    outputs: int | None = None,
    probabilities: Probabilities | None = None,
    rows: Rows | None = None,
    validation: Rows | None = None,
    scored_by: Score | None = None,
    **changes: float,
) -> FittedNetwork:
    """Train an untrained network of the shared size.

    Args:
        problem: what may be seen.
        loss: of the network's outputs.
        seed: of weights, batches and dropout.
        outputs: of the network; as many as clean units by default.
        probabilities: what the outputs say of the clean labels; by default the units' means, the
            outputs being their natural parameters.
        rows: to train on, where they are not all training rows.
        validation: rows that choose the epoch, where they are not the problem's; what the network
            is to say of them stands as their clean labels.
        scored_by: what the best epoch has most of; by default the score of the clean labels.
        changes: to the settings of training, such as `learning_rate`.

    Raises:
        LatentLabelsError: several processes.
    """
    if processes.size() > 1:
        # Their losses are means over the batch that a process sees.
        raise LatentLabelsError(
            "Methods of the literature are trained by one process, and there are "
            f"{processes.size()}. Start the program as one."
        )
    units = problem.units
    settings = replace(problem.training, seed=seed, **changes)  # type: ignore[arg-type]
    with own_randomness(seed):
        network = problem.network(outputs or units.size)
    said = probabilities or units.mean
    module = PlainModule(network, loss, said, units, settings, scored_by)
    history = fit_module(module, rows or problem.rows, validation or problem.validation)
    return FittedNetwork(problem, network, said, history)


@torch.no_grad()
def outputs_of(network: nn.Module, rows: Rows, chosen: NDArray[np.intp]) -> Tensor:
    """A trained network's outputs for some rows, (rows, outputs)."""
    batches = in_batches(rows.x.take(chosen), workers=0, progress=False, doing="")
    return torch.cat([network(x) for _, x in batches])


def cross_entropy(units: Units, logits: Tensor, target: Tensor) -> Tensor:
    """−log p(target) of each row, (batch,), for hard or soft targets (batch, clean).

    The natural parameters of an exponential family: A(logits) − target · logits.
    """
    return units.log_partition(logits) - (target * logits).sum(-1)
