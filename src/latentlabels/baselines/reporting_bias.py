"""Reporting bias: whether a label is present and whether it is mentioned are told apart.

Source: Misra et al., Seeing through the human reporting bias: visual classifiers from noisy
human-centric labels (2016).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from latentlabels.baselines.network import FittedNetwork, fit_network
from latentlabels.baselines.problem import Baseline, Fitted, Problem, unless_multilabel
from latentlabels.training.rows import Batch


class ReportingBias(Baseline):
    """A mention y is explained by presence v, which is what is predicted, and by relevance r.

    For each label, with v(x) = p(v = 1 | x) and r_j(x) = p(y = 1 | v = j, x) from one network,

        p(y = 1 | x) = r₁(x) v(x) + r₀(x) (1 − v(x)).

    Ours: a verified row gives v, so its loss is −log p(y, v | x); relevance starts near "mentioned
    if and only if present", at the logits ±`start`, for nothing else says which of the latent
    states is presence; a label that no noisy one names has no mentions to be explained; cleaned
    labels are p(v | y, x).
    """

    name = "reporting bias"
    source = "Misra et al. (2016)"
    choices = ({"start": 2.0}, {"start": 4.0}, {"start": 2.0, "learning_rate": 5e-4})

    def refuses(self, problem: Problem) -> str | None:
        return unless_multilabel(problem)

    def fit(self, problem: Problem, seed: int, **settings: Any) -> Fitted:
        start: float = settings.pop("start")

        def loss(outputs: Tensor, batch: Batch, _epoch: float) -> Tensor:
            absent, present = log_joint(problem, outputs, batch.noisy, start)
            known = torch.where(batch.clean > 0, present, absent)
            mention = torch.logaddexp(absent, present)
            return -torch.where(batch.verified[:, None], known, mention).sum(-1).mean()

        fitted = fit_network(
            problem,
            loss,
            seed,
            outputs=3 * problem.units.size,
            probabilities=presence,
            **settings,
        )
        return FittedReportingBias(problem, fitted.network, presence, fitted.history, start)


@dataclass
class FittedReportingBias(FittedNetwork):
    """A trained network whose cleaned labels take the mentions into account.

    Attributes:
        start: the relevances' offset.
    """

    start: float

    @torch.no_grad()
    def cleaned(self, rows: NDArray[np.intp]) -> Tensor:
        noisy = self.problem.all_noisy()[rows]
        absent, present = log_joint(self.problem, self.outputs(rows), noisy, self.start)
        return torch.sigmoid(present - absent)


def presence(outputs: Tensor) -> Tensor:
    """v(x), (batch, clean), of the outputs for presence and both relevances, (batch, 3 · clean)."""
    return torch.sigmoid(outputs.chunk(3, -1)[0])


def log_joint(
    problem: Problem, outputs: Tensor, noisy: Tensor, start: float
) -> tuple[Tensor, Tensor]:
    """The logarithms of p(y, v = 0 | x) and p(y, v = 1 | x), each (batch, clean)."""
    visible, if_absent, if_present = outputs.chunk(3, -1)
    mentioned = problem.given(noisy)
    named = problem.naming.any(0).to(outputs.device)

    def log_mention(logits: Tensor) -> Tensor:
        return named * (mentioned * logits - functional.softplus(logits))

    absent = functional.logsigmoid(-visible) + log_mention(if_absent - start)
    present = functional.logsigmoid(visible) + log_mention(if_present + start)
    return absent, present
