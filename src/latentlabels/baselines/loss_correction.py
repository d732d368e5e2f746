"""Loss correction: the loss is put right by the transition matrix, forward or backward.

Source: Patrini et al., Making deep neural networks robust to label noise: a loss correction
approach (2017).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from latentlabels.baselines.network import cross_entropy, fit_network
from latentlabels.baselines.problem import (
    STEP_SIZES,
    Baseline,
    Fitted,
    Problem,
    Settings,
    unless_multiclass,
)
from latentlabels.baselines.transition import (
    anchored_transition,
    fit_noisy_classifier,
    forward_corrected,
    with_transition,
)
from latentlabels.model.units import Units
from latentlabels.training.rows import Batch

Direction = Literal["forward", "backward"]

ESTIMATED: Final[Mapping[Direction, Sequence[Settings]]] = {
    "forward": (
        {"quantile": 0.97},
        {"quantile": 1.0},
        {"quantile": 0.97, "learning_rate": 5e-4},
    ),
    # An estimate may have next to no inverse: the paper's remedy is to mix it with the identity.
    "backward": (
        {"quantile": 0.97, "identity": 0.1},
        {"quantile": 1.0, "identity": 0.1},
        {"quantile": 0.97, "identity": 0.02},
    ),
}


class LossCorrection(Baseline):
    """Cross entropy corrected for p(y | ŷ) on rows that are not verified, plain on those that are.

        forward:    −log Σ_c p(ŷ = c | x) T[c, y]               (theorem 2)
        backward:   −Σ_c T⁻¹[y, c] log p(ŷ = c | x)             (theorem 1)

    T is given, or estimated from a classifier of the given classes (`anchored_transition`). Plain
    cross entropy on verified rows is ours: the paper has none.

    Args:
        direction: "forward" or "backward".
        transition: T[c, n] = p(y = n | ŷ = c), both in the order of the clean classes; estimated
            where it is not given.
    """

    source = "Patrini et al. (2017)"

    def __init__(self, direction: Direction, transition: ArrayLike | None = None) -> None:
        self.direction = direction
        self.transition = transition
        self.name = f"{direction} correction" + (", T given" if transition is not None else "")
        self.choices = ESTIMATED[direction] if transition is None else STEP_SIZES

    def refuses(self, problem: Problem) -> str | None:
        return unless_multiclass(problem)

    def fit(self, problem: Problem, seed: int, **settings: Any) -> Fitted:
        units = problem.units
        quantile: float = settings.pop("quantile", 1.0)
        identity: float = settings.pop("identity", 0.0)
        if self.transition is None:
            every = np.arange(len(problem.rows))
            classifier = fit_noisy_classifier(problem, every, seed, **settings)
            transition = anchored_transition(classifier.cleaned(every), quantile)
        else:
            transition = _required(self.transition, units)
        transition = (1 - identity) * transition + identity * torch.eye(units.size)
        inverse = _inverse(transition) if self.direction == "backward" else None

        def loss(logits: Tensor, batch: Batch, _epoch: float) -> Tensor:
            given = problem.given(batch.noisy)
            if inverse is None:
                own = forward_corrected(units, logits, given, transition.to(logits))
            else:
                own = backward_corrected(units, logits, given, inverse.to(logits))
            plain = cross_entropy(units, logits, batch.clean)
            return torch.where(batch.verified, plain, own).mean()

        return with_transition(fit_network(problem, loss, seed, **settings), transition)


def backward_corrected(units: Units, logits: Tensor, given: Tensor, inverse: Tensor) -> Tensor:
    """−Σ_c T⁻¹[y, c] log p(ŷ = c | x), (batch,): cross entropy, for rows of T⁻¹ sum to one."""
    return cross_entropy(units, logits, given @ inverse)


def _inverse(transition: Tensor) -> Tensor:
    """T⁻¹, (clean, clean)."""
    if torch.linalg.matrix_rank(transition) < len(transition):
        raise ValueError(
            "The backward correction needs a transition matrix with an inverse, got a singular "
            "one. Pass identity=0.1 to mix it with the identity, or take the forward correction."
        )
    inverse: Tensor = torch.linalg.inv(transition)
    return inverse


def _required(transition: ArrayLike, units: Units) -> Tensor:
    """A given T as a tensor, (clean, clean)."""
    table = torch.as_tensor(np.asarray(transition, dtype=np.float32))
    wanted = (units.size, units.size)
    if table.shape != wanted or (table < 0).any() or ((table.sum(1) - 1).abs() > 1e-4).any():
        raise ValueError(
            f"The transition matrix needs the shape {wanted} and rows that are probabilities, got "
            f"{tuple(table.shape)} with rows that sum to {table.sum(-1).tolist()}."
        )
    return table
