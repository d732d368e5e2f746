"""Weighted cross entropy: a given label counts for each class as far as the two are related.

Source: Chen and Gupta, Webly supervised learning of convolutional networks (2015).
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from latentlabels.baselines.network import FittedNetwork, Loss, cross_entropy, fit_network
from latentlabels.baselines.problem import (
    STEP_SIZES,
    Baseline,
    Fitted,
    Problem,
    Settings,
    unless_named,
)
from latentlabels.training.rows import Batch, Rows, passes_for_as_many_updates

KEPT = 5
"""Classes that a given class stays related to."""


class WeightedCrossEntropy(Baseline):
    """A first network, trained on what can be trusted, says what a given label stands for.

    The paper's: a network is trained on easy images; the relationship of a given class to the
    others is its mean prediction for the images given as that class, of which the five largest are
    kept,

        R[i, j] = mean of p₁(j | x) over the rows given as i;

    and the network goes on with the noisy images under −Σ_j R[y, j] log p(j | x).

    Ours: the verified rows are the easy ones (all rows, as given, where none is verified) and keep
    their clean labels in the second stage. A label of which any number may hold is a class of two,
    given or not given, so that its loss is −w log p − (1 − w) log(1 − p), where w is the mean of p₁
    over the rows that are given it, or over those that are not.
    """

    name = "weighted cross entropy"
    source = "Chen and Gupta (2015)"
    choices = STEP_SIZES

    def refuses(self, problem: Problem) -> str | None:
        return unless_named(problem)

    def fit(self, problem: Problem, seed: int, **settings: Any) -> Fitted:
        first = _first_network(problem, seed, settings)
        said = first.cleaned(np.arange(len(problem.rows)))
        related = relationship(problem, said, problem.given(problem.all_noisy()))

        def network(_outputs: int) -> nn.Module:
            return copy.deepcopy(first.network).train()

        loss = weighing(problem, related)
        return fit_network(replace(problem, network=network), loss, seed, **settings)


def relationship(problem: Problem, said: Tensor, given: Tensor) -> Tensor:
    """What a given label stands for.

    Args:
        problem: whose labels they are.
        said: the first network's probabilities, (rows, clean).
        given: the given labels of the same rows, (rows, clean).

    Returns:
        R of classes, (clean, clean), or w of a label not given and given, (2, clean).
    """
    if problem.is_multiclass:
        table = given.T @ said / given.sum(0).clamp(min=1.0)[:, None]
        largest = table.topk(min(KEPT, len(table)), -1)
        return torch.zeros_like(table).scatter(-1, largest.indices, largest.values)
    states = torch.stack([1 - given, given])
    return (states * said).sum(1) / states.sum(1).clamp(min=1.0)


def weights_of(problem: Problem, related: Tensor, given: Tensor) -> Tensor:
    """How much each class, or each label's being there, counts for given labels (batch, clean)."""
    if problem.is_multiclass:
        return given @ related
    return torch.where(given > 0, related[1], related[0])


def weighing(problem: Problem, related: Tensor) -> Loss:
    """The second stage's loss, in which verified rows have their clean labels."""

    def loss(logits: Tensor, batch: Batch, _epoch: float) -> Tensor:
        given = problem.given(batch.noisy)
        weights = weights_of(problem, related.to(given.device), given)
        weights = torch.where(batch.verified[:, None], batch.clean, weights)
        return weighted_cross_entropy(problem, logits, weights).mean()

    return loss


def weighted_cross_entropy(problem: Problem, logits: Tensor, weights: Tensor) -> Tensor:
    """−Σ_j w_j log p_j of classes, whose weights may sum to less than one; of labels see above."""
    if problem.is_multiclass:
        return -(weights * logits.log_softmax(-1)).sum(-1)
    return cross_entropy(problem.units, logits, weights)


def _first_network(problem: Problem, seed: int, settings: Settings) -> FittedNetwork:
    """Trained on the verified rows alone, by as many updates as all rows would make."""
    rows, training = problem.rows, problem.training
    known = np.flatnonzero(rows.verified)
    if len(known):
        longer = passes_for_as_many_updates(len(known), len(rows), training.batch_size)
        training = replace(
            training, epochs=longer * training.epochs, patience=longer * training.patience
        )
        rows = Rows(rows.x.take(known), rows.noisy[known], rows.clean[known], rows.verified[known])

    def loss(logits: Tensor, batch: Batch, _epoch: float) -> Tensor:
        return cross_entropy(problem.units, logits, problem.read_as_clean(batch)).mean()

    return fit_network(replace(problem, training=training), loss, seed, rows=rows, **settings)
