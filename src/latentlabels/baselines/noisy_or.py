"""Noisy-or over instances: a label holds for a bag if it holds for any of its instances.

Source: Fang et al., From captions to visual concepts and back (2015), section 3.1.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from latentlabels.baselines.network import cross_entropy, fit_network
from latentlabels.baselines.problem import STEP_SIZES, Baseline, Fitted, Problem, unless_multilabel
from latentlabels.training.rows import Batch


class NoisyOr(Baseline):
    """Multiple-instance learning of a caption's words, where the bag is an image's regions.

    With p_j the network's probability for instance j of a bag, p(y = 1 | x) = 1 − ∏_j (1 − p_j).
    Examples (batch, instances, inputs) are bags; a vector is a bag of one, for which the method is
    cross entropy. Ours: an image's instances are the cells of a grid, of which the paper has a
    denser one; a bag's probability starts at one half; and verified rows have their clean labels.
    """

    name = "noisy-or over instances"
    source = "Fang et al. (2015)"
    bags = True
    choices = STEP_SIZES

    def refuses(self, problem: Problem) -> str | None:
        return unless_multilabel(problem)

    def fit(self, problem: Problem, seed: int, **settings: Any) -> Fitted:
        units = problem.units

        def bag(outputs: Tensor) -> Tensor:
            instances = 1 if outputs.ndim == 2 else outputs.shape[1]
            return logits_of_bag(outputs + even_start(instances))

        def loss(outputs: Tensor, batch: Batch, _epoch: float) -> Tensor:
            return cross_entropy(units, bag(outputs), problem.read_as_clean(batch)).mean()

        def probabilities(outputs: Tensor) -> Tensor:
            return units.mean(bag(outputs))

        return fit_network(problem, loss, seed, probabilities=probabilities, **settings)


def even_start(instances: int) -> float:
    """The logit of each of some instances for which a bag's probability is one half."""
    each = 1 - 0.5 ** (1 / instances)
    return math.log(each) - math.log1p(-each)


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
