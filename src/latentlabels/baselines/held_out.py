"""Networks trained on given targets, and what they say of rows that were held out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import KFold
from torch import Tensor

from latentlabels.baselines.network import FittedNetwork, cross_entropy, fit_network
from latentlabels.baselines.problem import Problem
from latentlabels.training.rows import Batch, Rows

FOLDS: Final = 5


def fit_targets(
    problem: Problem,
    targets: Tensor,
    seed: int,
    *,
    chosen: NDArray[np.intp] | None = None,
    weights: Tensor | None = None,
    **changes: Any,
) -> FittedNetwork:
    """Train a network with cross entropy on a target for each row.

    Args:
        problem: what may be seen.
        targets: hard or soft, (chosen, clean).
        seed: of weights, batches and dropout.
        chosen: the training rows to train on, all by default.
        weights: of the rows in the loss, (chosen,); one each by default.
        changes: to the settings of training.
    """
    weight = torch.ones(len(targets)) if weights is None else weights

    def loss(logits: Tensor, batch: Batch, _epoch: float) -> Tensor:
        at = batch.rows.cpu()
        each = cross_entropy(problem.units, logits, targets[at].to(logits.device))
        share = weight[at].to(logits.device)
        return (share * each).sum() / share.sum()

    rows = problem.rows if chosen is None else _part(problem.rows, chosen)
    return fit_network(problem, loss, seed, rows=rows, **changes)


def out_of_sample(problem: Problem, targets: Tensor, seed: int, **changes: Any) -> Tensor:
    """What networks say of training rows that they were not trained on, (rows, clean).

    Args:
        problem: what may be seen.
        targets: of all training rows, (rows, clean).
        seed: of folds and networks.
        changes: to the settings of training.
    """
    found = torch.empty_like(targets)
    for kept, left in KFold(FOLDS, shuffle=True, random_state=seed).split(targets):
        fitted = fit_targets(problem, targets[kept], seed, chosen=kept, **changes)
        found[left] = fitted.cleaned(left)
    return found


def _part(rows: Rows, chosen: NDArray[np.intp]) -> Rows:
    return replace(
        rows,
        x=rows.x.take(chosen),
        noisy=rows.noisy[chosen],
        clean=rows.clean[chosen],
        verified=rows.verified[chosen],
    )
