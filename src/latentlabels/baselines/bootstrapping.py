"""Bootstrapping: the target is partly the label, partly what the network says already.

Source: Reed et al., Training deep neural networks on noisy labels with bootstrapping (2015).
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from latentlabels.baselines.network import cross_entropy, fit_network
from latentlabels.baselines.problem import Baseline, Fitted, Problem, unless_named
from latentlabels.model.units import Units
from latentlabels.training.rows import Batch


class Bootstrapping(Baseline):
    """Targets β·label + (1 − β)·prediction on rows that are not verified.

    Args:
        kind: whether the prediction is "soft", the probabilities, or "hard", the likeliest label.
    """

    source = "Reed et al. (2015)"
    choices = ({"beta": 0.8}, {"beta": 0.95}, {"beta": 0.6})

    def __init__(self, kind: Literal["soft", "hard"]) -> None:
        self.kind = kind
        self.name = f"bootstrapping, {kind}"

    def refuses(self, problem: Problem) -> str | None:
        return unless_named(problem)

    def fit(self, problem: Problem, seed: int, **settings: Any) -> Fitted:
        beta: float = settings.pop("beta")

        def loss(logits: Tensor, batch: Batch, _epoch: float) -> Tensor:
            label = problem.read_as_clean(batch)
            own = bootstrapped(problem.units, logits, label, beta, self.kind)
            target = torch.where(batch.verified[:, None], label, own)
            return cross_entropy(problem.units, logits, target).mean()

        return fit_network(problem, loss, seed, **settings)


def bootstrapped(units: Units, logits: Tensor, label: Tensor, beta: float, kind: str) -> Tensor:
    """The target β·label + (1 − β)·prediction, (batch, clean)."""
    mean = units.mean(logits)
    own = units.mode(mean).to(mean.dtype) if kind == "hard" else mean
    return beta * label + (1 - beta) * own
