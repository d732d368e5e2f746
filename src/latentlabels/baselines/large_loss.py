"""Large-loss rejection: a label that is not given, and costs much, is taken for a missed one.

Sources: Kim et al., Large loss matters in weakly supervised multi-label classification (2022), its
LL-R; Ridnik et al., Asymmetric loss for multi-label classification (2021).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from latentlabels.baselines.network import Loss, fit_network
from latentlabels.baselines.problem import Baseline, Fitted, Problem, unless_multilabel
from latentlabels.training.rows import Batch

FOCUS, MARGIN = 4.0, 0.05
"""γ− and m of the asymmetric loss; γ+ is 0."""


class LargeLossRejection(Baseline):
    """In epoch t, counted from 0, the share t · `rise` of a batch's given negatives is left out.

    Left out are those with the largest losses. Ours: the loss is the asymmetric one in the place of
    binary cross entropy, and the negatives of verified rows always stay.
    """

    name = "large-loss rejection, asymmetric loss"
    source = "Kim et al. (2022), Ridnik et al. (2021)"
    choices = ({"rise": 0.002}, {"rise": 0.005}, {"rise": 0.01})

    def refuses(self, problem: Problem) -> str | None:
        return unless_multilabel(problem)

    def fit(self, problem: Problem, seed: int, **settings: Any) -> Fitted:
        return fit_network(problem, rejecting(problem, settings.pop("rise")), seed, **settings)


def rejecting(problem: Problem, rise: float) -> Loss:
    """The asymmetric loss without the negatives that are rejected."""

    def loss(logits: Tensor, batch: Batch, epoch: float) -> Tensor:
        label = problem.read_as_clean(batch)
        losses = asymmetric(logits, label)
        assumed = (label == 0) & ~batch.verified[:, None]
        rejected = largest(losses.detach(), assumed, min(1.0, rise * int(epoch)))
        return losses.masked_fill(rejected, 0.0).sum(-1).mean()

    return loss


def asymmetric(logits: Tensor, label: Tensor) -> Tensor:
    """−y log p − (1 − y) p_m^γ log(1 − p_m) with p_m = max(p − m, 0), (batch, clean)."""
    shifted = (torch.sigmoid(logits) - MARGIN).clamp(min=0.0)
    negative = -(shifted**FOCUS) * torch.log1p(-shifted)
    return label * -functional.logsigmoid(logits) + (1 - label) * negative


def largest(losses: Tensor, among: Tensor, share: float) -> Tensor:
    """Which losses are the share of the largest among some, booleans (batch, clean)."""
    count = math.ceil(share * int(among.sum()))
    chosen = losses.masked_fill(~among, -math.inf).flatten().topk(count).indices
    found = torch.zeros_like(among).flatten()
    found[chosen] = True
    return found.view_as(among)
