"""Cross entropy with the labels as they are."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from latentlabels.baselines.network import cross_entropy, fit_network
from latentlabels.baselines.problem import STEP_SIZES, Baseline, Fitted, Problem, unless_named
from latentlabels.training.rows import Batch


class CrossEntropy(Baseline):
    """A plain classifier: given labels are read as clean ones, verified rows have theirs."""

    name = "cross entropy, noisy labels"
    source = "–"
    choices = STEP_SIZES

    def refuses(self, problem: Problem) -> str | None:
        return unless_named(problem)

    def fit(self, problem: Problem, seed: int, **settings: Any) -> Fitted:
        def loss(logits: Tensor, batch: Batch, _epoch: float) -> Tensor:
            return cross_entropy(problem.units, logits, problem.read_as_clean(batch)).mean()

        return fit_network(problem, loss, seed, **settings)
