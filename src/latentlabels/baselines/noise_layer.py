"""A linear noise layer on top of the softmax, learnt with the network.

Source: Sukhbaatar et al., Training convolutional networks with noisy labels (2015), the bottom-up
noise model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from latentlabels.baselines.network import cross_entropy, fit_network
from latentlabels.baselines.problem import Baseline, Fitted, Problem, unless_multiclass
from latentlabels.baselines.transition import forward_corrected, with_transition
from latentlabels.model.units import Units
from latentlabels.training.rows import Batch


class NoiseLayer(Baseline):
    """Forward-corrected cross entropy whose transition matrix Q is learnt.

        −log Σ_c p(ŷ = c | x) Q[c, y] + decay/2 · ‖Q‖² / classes

    Q is the identity for the first epochs; then it is learnt, put back among the transition
    matrices after each update, and pushed from the identity by weight decay: of all matrices that
    explain the given classes as well, the one that leaves least noise to the network is wanted.
    Plain cross entropy on verified rows is ours, and so is the division by the classes.
    """

    name = "linear noise layer"
    source = "Sukhbaatar et al. (2015)"
    choices = (
        {"decay": 1.0, "warm_up": 1.0},
        {"decay": 3.0, "warm_up": 1.0},
        {"decay": 0.3, "warm_up": 1.0},
    )

    def refuses(self, problem: Problem) -> str | None:
        return unless_multiclass(problem)

    def fit(self, problem: Problem, seed: int, **settings: Any) -> Fitted:
        # A function, not the problem's method: the trainer copies the loss, and with a method its
        # problem.
        loss = NoiseLayerLoss(
            problem.units,
            lambda noisy: problem.given(noisy),
            decay=settings.pop("decay"),
            warm_up=settings.pop("warm_up"),
        )
        return with_transition(fit_network(problem, loss, seed, **settings), loss.transition())


class NoiseLayerLoss(nn.Module):
    """The loss and its noise layer Q, trained with the network.

    Args:
        units: of the clean classes.
        given: reads noisy labels as clean ones.
        decay: of the weights Q.
        warm_up: epochs for which Q stays the identity.
    """

    def __init__(
        self, units: Units, given: Callable[[Tensor], Tensor], *, decay: float, warm_up: float
    ) -> None:
        super().__init__()
        self.units = units
        self.given = given
        self.decay = decay
        self.warm_up = warm_up
        self.weight = nn.Parameter(torch.eye(units.size))

    def transition(self) -> Tensor:
        """Q, (clean, clean)."""
        return nearest_distributions(self.weight.detach())

    def forward(self, logits: Tensor, batch: Batch, epoch: float) -> Tensor:
        """The loss of a batch."""
        given = self.given(batch.noisy)
        if epoch < self.warm_up:
            labels = torch.where(batch.verified[:, None], batch.clean, given)
            return cross_entropy(self.units, logits, labels).mean()
        self.weight.data.copy_(self.transition())
        # Q itself, with the part of its gradient that leaves the rows' sums as they are.
        sums = self.weight.sum(-1, keepdim=True)
        layer = self.weight - (sums - sums.detach()) / len(self.weight)
        own = forward_corrected(self.units, logits, given, layer)
        plain = cross_entropy(self.units, logits, batch.clean)
        decay = self.decay / 2 * layer.square().sum(-1).mean()
        return torch.where(batch.verified, plain, own).mean() + decay


def nearest_distributions(rows: Tensor) -> Tensor:
    """The probabilities nearest to each row, max(row − t, 0) with the t for which they sum to one.

    Args:
        rows: any numbers, (..., classes).
    """
    ordered = rows.sort(-1, descending=True).values
    counts = torch.arange(1, rows.shape[-1] + 1, device=rows.device)
    # t if the largest 1, 2, ... entries stay positive; it is the largest of these.
    candidates = (ordered.cumsum(-1) - 1) / counts
    return (rows - candidates.max(-1, keepdim=True).values).clamp(min=0)
