"""A transition matrix T[c, n] = p(y = n | ŷ = c) between the clean classes and the given ones.

Rows and columns are both in the order of the clean classes. With logits η of p(ŷ | x), what the
given class says is added to them as that of an observation,

    e_c = log T[c, y],        p(ŷ | x, y) = softmax(η + e),        log p(y | x) = A(η + e) − A(η).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from latentlabels.baselines.network import FittedNetwork, cross_entropy, fit_network
from latentlabels.baselines.problem import Problem
from latentlabels.model.units import Units
from latentlabels.training.rows import Batch, Rows

LEAST_PROBABILITY = 1e-8
"""Added to a probability before its logarithm."""
HELD_OUT = 0.1
"""Share of the rows whose given classes choose the epoch of a classifier of given classes."""


def evidence(given: Tensor, transition: Tensor) -> Tensor:
    """log p(y | ŷ) for every clean class, (batch, clean).

    Args:
        given: given classes, (batch, clean).
        transition: T, (clean, clean).
    """
    return given @ (transition + LEAST_PROBABILITY).log().T


def forward_corrected(units: Units, logits: Tensor, given: Tensor, transition: Tensor) -> Tensor:
    """−log Σ_c p(ŷ = c | x) T[c, y], (batch,)."""
    return units.log_partition(logits) - units.log_partition(logits + evidence(given, transition))


@dataclass
class FittedTransition(FittedNetwork):
    """A network of p(ŷ | x) with a transition matrix, which reads a row's given class by Bayes.

    Attributes:
        transition: T, (clean, clean).
    """

    transition: Tensor

    def cleaned(self, rows: NDArray[np.intp]) -> Tensor:
        given = self.problem.given(self.problem.all_noisy()[rows])
        return self.problem.units.mean(self.outputs(rows) + evidence(given, self.transition))


def with_transition(fitted: FittedNetwork, transition: Tensor) -> FittedTransition:
    """A trained network of p(ŷ | x) together with the transition matrix it was trained with."""
    return FittedTransition(
        fitted.problem, fitted.network, fitted.probabilities, fitted.history, transition
    )


def fit_noisy_classifier(
    problem: Problem, rows: NDArray[np.intp], seed: int, **changes: Any
) -> FittedNetwork:
    """A network of p(y | x), trained with cross entropy on the given classes of some rows.

    A tenth of the rows choose the epoch by the log probability of their given classes: validation
    rows need have none, and a transition matrix is read off probabilities, not decisions.
    """

    def loss(logits: Tensor, batch: Batch, _epoch: float) -> Tensor:
        return cross_entropy(problem.units, logits, problem.given(batch.noisy)).mean()

    shuffled = np.random.default_rng(seed).permutation(rows)
    held = max(1, round(HELD_OUT * len(rows)))
    return fit_network(
        problem,
        loss,
        seed,
        rows=_with_given_classes(problem, shuffled[held:], to_validate=False),
        validation=_with_given_classes(problem, shuffled[:held], to_validate=True),
        scored_by=mean_log_probability,
        **changes,
    )


def mean_log_probability(classes: NDArray[np.float64], predictions: NDArray[np.float64]) -> float:
    """Mean log p of the rows' classes; both (rows, clean)."""
    return float(np.log((classes * predictions).sum(1) + LEAST_PROBABILITY).mean())


def _with_given_classes(problem: Problem, rows: NDArray[np.intp], *, to_validate: bool) -> Rows:
    """Some rows with their given classes alone, which stand as clean ones where they validate."""
    everything = problem.rows
    noisy = everything.noisy[rows]
    given = csr_array(problem.given(torch.from_numpy(noisy.toarray())).numpy())
    return Rows(everything.x.take(rows), noisy, given, np.full(len(rows), to_validate))


def anchored_transition(predictions: Tensor, quantile: float) -> Tensor:
    """T of which each row is the prediction for the example that is most surely of its class.

        x_c = argmax_x p(y = c | x),        T[c, n] = p(y = n | x_c).

    Source: Patrini et al. (2017), equations 12 and 13; an outlier is avoided by a quantile in place
    of the largest, as in their experiments.

    Args:
        predictions: p(y | x), (examples, clean).
        quantile: of p(y = c | x) among the examples at which x_c is taken; 1 takes the largest.
    """
    rank = round(quantile * (len(predictions) - 1))
    return predictions[predictions.argsort(0)[rank]]
