"""Which auxiliary: the one that predicts held-out verified pairs best."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from latentlabels.auxiliary.pairs import Pairs
from latentlabels.auxiliary.rbm import DivergedError, RBMSettings, clean_loss, fit_rbm
from latentlabels.auxiliary.regression import fit_regression
from latentlabels.auxiliary.transition import count_transition, is_applicable
from latentlabels.errors import LabelError
from latentlabels.model.posterior import Auxiliary

KINDS = ("regression", "rbm", "transition")
FOLDS = 3


@dataclass(frozen=True)
class AuxiliaryChoice:
    """What was tried, and how well each did.

    Attributes:
        kind: the auxiliary that was chosen.
        held_out_loss: mean −log p_aux(ŷ | y) a held-out pair, in nats, by kind; empty where there
            was nothing to choose.
        pairs: number of verified pairs.
    """

    kind: str
    held_out_loss: dict[str, float] = field(default_factory=dict)
    pairs: int = 0


def fit_auxiliary(
    pairs: Pairs, kind: str = "auto", *, hidden: int = 0, seed: int = 0
) -> tuple[Auxiliary, AuxiliaryChoice]:
    """Fit one kind of auxiliary, or the kind with the least cross-validated held-out loss.

    Args:
        pairs: the verified pairs, at least one.
        kind: "auto", "regression", "rbm" or "transition".
        hidden: hidden units of the RBM.
        seed: of folds, first weights and chains.

    Raises:
        LabelError: no pairs, an unknown kind, or a transition for labels that are not classes.
    """
    if len(pairs) == 0:
        raise LabelError(
            "An auxiliary is fitted on verified rows, and there are none. "
            "Verify some rows, or give the auxiliary."
        )
    fits: dict[str, Callable[[Pairs], Auxiliary]] = {
        "regression": lambda some: fit_regression(some, seed=seed),
        "rbm": lambda some: fit_rbm(some, RBMSettings(hidden=hidden), seed=seed),
        "transition": count_transition,
    }
    if kind == "auto":
        kinds = [
            k
            for k in KINDS
            if k != "transition" or is_applicable(pairs.noisy_units, pairs.clean_units)
        ]
        losses = _held_out_losses(pairs, {k: fits[k] for k in kinds}, seed)
        kind = min(kinds, key=lambda k: np.nan_to_num(losses.get(k, 0.0), nan=np.inf))
    elif kind in fits:
        losses = {}
    else:
        raise LabelError(f"auxiliary is one of auto, {', '.join(KINDS)}; got {kind!r}.")
    return fits[kind](pairs), AuxiliaryChoice(kind, losses, len(pairs))


def _held_out_losses(
    pairs: Pairs, fits: dict[str, Callable[[Pairs], Auxiliary]], seed: int
) -> dict[str, float]:
    """Cross-validated loss by kind; none where the pairs are too few to hold any back."""
    if len(pairs) < 2 * FOLDS:
        return {}
    folds = pairs.folds(FOLDS, seed)
    return {kind: _held_out_loss(fit, folds) for kind, fit in fits.items()}


def _held_out_loss(fit: Callable[[Pairs], Auxiliary], folds: list[tuple[Pairs, Pairs]]) -> float:
    """Mean over the folds; NaN where a fit has diverged."""
    try:
        return float(np.mean([clean_loss(fit(fitted), held_out) for fitted, held_out in folds]))
    except DivergedError:
        return math.nan
