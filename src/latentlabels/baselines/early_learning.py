"""Early-learning regularisation: the network holds on to what it said before it memorised labels.

Source: Liu et al., Early-learning regularization prevents memorization of noisy labels (2020).
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor

from latentlabels.baselines.network import cross_entropy, fit_network
from latentlabels.baselines.problem import Baseline, Fitted, Problem, unless_named
from latentlabels.model.units import Categorical, Units
from latentlabels.training.rows import Batch

SMALLEST: Final = 1e-4
"""Probabilities stay so far from 0 and 1, as the authors have it: the logarithm is finite."""


class EarlyLearning(Baseline):
    """Cross entropy + λ log(1 − ⟨p, t⟩), with t a moving average of the row's predictions p.

    With several labels each of them has its own ⟨p, t⟩, over its two outcomes, and the logarithms
    are summed as the cross entropies are: this is ours. So is leaving verified rows to cross
    entropy alone, their labels being right.
    """

    name = "early-learning regularisation"
    source = "Liu et al. (2020)"
    choices = (
        {"strength": 3.0, "momentum": 0.7},
        {"strength": 1.0, "momentum": 0.7},
        {"strength": 7.0, "momentum": 0.9},
    )

    def refuses(self, problem: Problem) -> str | None:
        return unless_named(problem)

    def fit(self, problem: Problem, seed: int, **settings: Any) -> Fitted:
        strength: float = settings.pop("strength")
        average = MovingTargets(problem.units, len(problem.rows), settings.pop("momentum"))

        def loss(logits: Tensor, batch: Batch, _epoch: float) -> Tensor:
            found = outcomes(problem.units, logits)
            held = regulariser(found, average.update(batch.rows, found))
            fit = cross_entropy(problem.units, logits, problem.read_as_clean(batch))
            return (fit + strength * torch.where(batch.verified, 0.0, held)).mean()

        return fit_network(problem, loss, seed, **settings)


class MovingTargets:
    """A moving average of the predictions of every training row, t ← β t + (1 − β) p, from zero.

    It is no part of the module that is trained: a running average of the weights and checkpoints
    would copy it at every step.

    Args:
        units: of the clean labels.
        rows: number of training rows.
        momentum: β.
    """

    def __init__(self, units: Units, rows: int, momentum: float) -> None:
        self.values = torch.zeros(rows, *outcomes(units, torch.zeros(1, units.size)).shape[1:])
        self.momentum = momentum

    def update(self, rows: Tensor, found: Tensor) -> Tensor:
        """Take in what was found for some rows, and return their targets, shaped as `found`.

        A row that is in a batch twice is taken in once.
        """
        at = rows.cpu()
        old = self.momentum * self.values[at]
        self.values[at] = old + (1 - self.momentum) * found.detach().cpu()
        return self.values[at].to(found.device)


def outcomes(units: Units, logits: Tensor) -> Tensor:
    """Probabilities of what may come out of each label, (batch, labels, outcomes).

    Of classes it is one label with an outcome for each, of bits each has the outcomes 0 and 1.
    """
    mean = units.mean(logits)
    single = isinstance(units, Categorical)
    found = mean[:, None] if single else torch.stack([1 - mean, mean], -1)
    return found.clamp(SMALLEST, 1 - SMALLEST)


def regulariser(found: Tensor, target: Tensor) -> Tensor:
    """Σ log(1 − ⟨p, t⟩) over the labels of each row, (batch,).

    Args:
        found: p, (batch, labels, outcomes).
        target: t, of the same shape.
    """
    return torch.log1p(-(found * target).sum(-1)).sum(-1)
