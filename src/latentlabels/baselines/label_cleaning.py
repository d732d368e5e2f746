"""Label cleaning network: noisy labels are corrected, and a classifier learns the corrected ones.

Source: Veit et al., Learning from noisy large-scale datasets with minimal supervision (2017).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from latentlabels.baselines.network import FittedNetwork, cross_entropy, fit_network
from latentlabels.baselines.problem import Baseline, Fitted, Problem
from latentlabels.training.fit import own_randomness
from latentlabels.training.rows import Batch

WIDTH = 64
"""Of the embeddings of noisy labels and of features."""
SMALLEST = 1e-6


class LabelCleaning(Baseline):
    """A cleaning network c learns from verified rows while a classifier h learns what c says.

    The loss is weight · L_clean + L_classify, with

        L_clean    = Σ over verified rows ‖c(y, x) − ŷ‖₁,
        L_classify = cross entropy of h(x) and ŷ where it is verified, and c(y, x) elsewhere.

    No gradient of L_classify reaches c. The cleaned labels are c(y, x).
    """

    name = "label cleaning network"
    source = "Veit et al. (2017)"
    choices = ({"weight": 0.1}, {"weight": 1.0}, {"weight": 0.1, "learning_rate": 5e-4})

    def refuses(self, problem: Problem) -> str | None:
        if problem.rows.verified.any():
            return None
        return "it learns to clean from verified rows, and there are none"

    def fit(self, problem: Problem, seed: int, **settings: Any) -> Fitted:
        clean = problem.units.size
        with own_randomness(seed):
            loss = CleaningLoss(problem, settings.pop("weight"))

        def probabilities(outputs: Tensor) -> Tensor:
            return problem.units.mean(outputs[..., :clean])

        fitted = fit_network(
            problem,
            loss,
            seed,
            outputs=clean + WIDTH,
            probabilities=probabilities,
            **settings,
        )
        return FittedCleaning(problem, fitted.network, probabilities, fitted.history, loss)


class CleaningLoss(nn.Module):
    """The joint loss of a classifier and the cleaning network, which is part of it.

    c(y, x) = clip(y + residual(y, x), 0, 1): y and the features are embedded, and go through a
    hidden layer. Ours: the hidden layer has a ReLU; the residual starts at 0; the clip lets the
    gradient through, or what is clipped, as y is at the start, would never be corrected; in the
    skip connection y is read by its names, where the vocabularies differ; and where a row has one
    class the cleaned labels are divided by their sum to be learnt.

    Args:
        problem: whose labels are cleaned.
        weight: of L_clean.
    """

    def __init__(self, problem: Problem, weight: float) -> None:
        super().__init__()
        self.problem = problem
        self.weight = weight
        self.embed = nn.Linear(problem.noisy.units.size, WIDTH)
        last = nn.Linear(2 * WIDTH, problem.units.size)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.residual = nn.Sequential(nn.Linear(2 * WIDTH, 2 * WIDTH), nn.ReLU(), last)

    def cleaned(self, outputs: Tensor, noisy: Tensor) -> Tensor:
        """c(y, x), (batch, clean), of the network's outputs and noisy labels (batch, noisy)."""
        features = outputs[:, self.problem.units.size :]
        residual: Tensor = self.residual(torch.cat([self.embed(noisy), features], -1))
        corrected = self.problem.given(noisy) + residual
        # The value of the clip with the gradient of what it clips.
        return corrected + (corrected.clamp(0.0, 1.0) - corrected).detach()

    def forward(self, outputs: Tensor, batch: Batch, _epoch: float) -> Tensor:
        """The loss of a batch."""
        units, verified = self.problem.units, batch.verified
        cleaned = self.cleaned(outputs, batch.noisy)
        target = torch.where(verified[:, None], batch.clean, self.distribution(cleaned.detach()))
        classify = cross_entropy(units, outputs[:, : units.size], target).mean()
        wrong = (cleaned - batch.clean).abs().sum(-1)
        return self.weight * wrong[verified].mean() + classify

    def distribution(self, cleaned: Tensor) -> Tensor:
        """Cleaned labels as probabilities: those of one class of several sum to one."""
        if not self.problem.is_multiclass:
            return cleaned
        positive = cleaned.clamp(min=SMALLEST)
        return positive / positive.sum(-1, keepdim=True)


@dataclass
class FittedCleaning(FittedNetwork):
    """A trained classifier with its cleaning network.

    Attributes:
        loss: holds the cleaning network.
    """

    loss: CleaningLoss

    @torch.no_grad()
    def cleaned(self, rows: NDArray[np.intp]) -> Tensor:
        noisy = self.problem.all_noisy()[rows]
        return self.loss.distribution(self.loss.cleaned(self.outputs(rows), noisy))
