"""Noisy-or over instances: a label holds for a bag if it holds for any of its instances.

Source: Fang et al., From captions to visual concepts and back (2015), section 3.1.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from latentlabels.baselines.network import cross_entropy, fit_network
from latentlabels.baselines.problem import Baseline, Fitted, Problem, unless_multilabel
from latentlabels.training.rows import Batch


class NoisyOr(Baseline):
    """Multiple-instance learning of a caption's words, where the bag is an image's regions.

    With p_j the network's probability for instance j of a bag, p(y = 1 | x) = 1 − ∏_j (1 − p_j).
    Examples (batch, instances, inputs) are bags; a vector is a bag of one, for which the method is
    cross entropy. Ours: verified rows have their clean labels.
    """

    name = "noisy-or over instances"
    source = "Fang et al. (2015)"
    choices = ({}, {"learning_rate": 5e-4}, {"learning_rate": 1e-4})

    def refuses(self, problem: Problem) -> str | None:
        return unless_multilabel(problem)

    def fit(self, problem: Problem, seed: int, **settings: Any) -> Fitted:
        units = problem.units

        def loss(outputs: Tensor, batch: Batch, _epoch: float) -> Tensor:
            label = problem.read_as_clean(batch)
            return cross_entropy(units, logits_of_bag(outputs), label).mean()

        def probabilities(outputs: Tensor) -> Tensor:
            return units.mean(logits_of_bag(outputs))

        return fit_network(problem, loss, seed, probabilities=probabilities, **settings)


def logits_of_bag(logits: Tensor) -> Tensor:
    """The logit of 1 − ∏_j (1 − p_j), (batch, clean).

    Args:
        logits: of the instances' probabilities, (batch, instances, clean); or of single instances,
            (batch, clean).
    """
    if logits.ndim == 2:
        return logits
    # −log(1 − p) is softplus of the logit, and sums over instances to s; the logit is log(eˢ − 1).
    none = functional.softplus(logits).sum(1).clamp(min=torch.finfo(logits.dtype).tiny)
    return none + torch.log(-torch.expm1(-none))
