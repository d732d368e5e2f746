"""Gold loss correction: the transition matrix is read off the verified rows.

Source: Hendrycks et al., Using trusted data to train deep networks on labels corrupted by severe
noise (2018).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentlabels.baselines.network import cross_entropy, fit_network
from latentlabels.baselines.problem import STEP_SIZES, Baseline, Fitted, Problem, unless_multiclass
from latentlabels.baselines.transition import (
    anchored_transition,
    fit_noisy_classifier,
    forward_corrected,
    with_transition,
)
from latentlabels.training.rows import Batch


class GoldLossCorrection(Baseline):
    """The forward-corrected loss, and plain cross entropy on verified rows.

    A classifier p(y | x) of the given classes is trained on the rows that are not verified; T is
    its mean prediction for the verified rows of each class (`gold_transition`).
    """

    name = "gold loss correction"
    source = "Hendrycks et al. (2018)"
    choices = STEP_SIZES

    def refuses(self, problem: Problem) -> str | None:
        verified = problem.rows.verified
        if not verified.any() or verified.all():
            return "it needs rows that are verified and rows that are not"
        return unless_multiclass(problem)

    def fit(self, problem: Problem, seed: int, **settings: Any) -> Fitted:
        units, rows = problem.units, problem.rows
        verified, noisy = np.flatnonzero(rows.verified), np.flatnonzero(~rows.verified)
        classifier = fit_noisy_classifier(problem, noisy, seed, **settings)
        transition = gold_transition(
            classifier.cleaned(verified),
            problem.all_clean()[verified],
            anchored_transition(classifier.cleaned(noisy), 1.0),
        )

        def loss(logits: Tensor, batch: Batch, _epoch: float) -> Tensor:
            given = problem.given(batch.noisy)
            own = forward_corrected(units, logits, given, transition.to(logits))
            plain = cross_entropy(units, logits, batch.clean)
            return torch.where(batch.verified, plain, own).mean()

        return with_transition(fit_network(problem, loss, seed, **settings), transition)


def gold_transition(predictions: Tensor, clean: Tensor, elsewhere: Tensor) -> Tensor:
    """T[c, n], the mean of p(y = n | x) over verified rows of class c, (clean, clean).

    Args:
        predictions: p(y | x) of the verified rows, (verified, clean).
        clean: their clean classes, (verified, clean).
        elsewhere: T for classes that no verified row has, of which the paper knows none.
    """
    counts = clean.sum(0)[:, None]
    return torch.where(counts > 0, clean.T @ predictions / counts.clamp(min=1.0), elsewhere)
