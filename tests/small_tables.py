"""Small tables whose clean labels are known, and settings that fit one within a second."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

# For what holds of any fit, however short. With fewer than ten verified rows the regression takes
# its strongest penalty without looking for a better one.
QUICK: dict[str, Any] = {
    "auxiliary": "regression",
    "hidden_layers": (8,),
    "epochs": 1,
    "students": 0,
    "random_state": 0,
}
# For what holds of a model that has learnt.
LEARNING: dict[str, Any] = {
    **QUICK,
    "hidden_layers": (16,),
    "epochs": 6,
    "learning_rate": 0.02,
    "averaging": 0.9,
    "alpha_start": 1.0,
    "alpha_epochs": 3.0,
}


@dataclass(frozen=True)
class SmallTable:
    """Examples (rows, inputs), noisy labels, the truth, and which rows of it may be read.

    Labels are class numbers (rows,) or indicators (rows, labels).
    """

    x: NDArray[np.float32]
    noisy: NDArray[np.int64]
    truth: NDArray[np.int64]
    verified: NDArray[np.bool_]

    @property
    def clean(self) -> NDArray[np.float64]:
        """The truth where it may be read, NaN elsewhere."""
        clean = self.truth.astype(np.float64)
        clean[~self.verified] = np.nan
        return clean

    @property
    def unverified(self) -> NDArray[np.bool_]:
        return ~self.verified


def table_of_classes(
    rows: int = 60, classes: int = 3, noise: float = 0.4, verified: int = 9, seed: int = 0
) -> SmallTable:
    """Classes in clouds far apart; `noise` of the noisy ones are another class, any as often."""
    generator = np.random.default_rng(seed)
    truth = np.arange(rows) % classes
    x = 4 * np.eye(classes, 4)[truth] + generator.normal(size=(rows, 4))
    wrong = generator.random(rows) < noise
    noisy = np.where(wrong, (truth + generator.integers(1, classes, rows)) % classes, truth)
    return SmallTable(x.astype(np.float32), noisy, truth, generator.permutation(rows) < verified)


def table_of_tags(rows: int = 60, labels: int = 3, verified: int = 9, seed: int = 0) -> SmallTable:
    """Labels that each shift one input; a third of them is missed, a sixth of the rest made up."""
    generator = np.random.default_rng(seed)
    truth = generator.random((rows, labels)) < 0.4
    x = (4 * truth + generator.normal(size=(rows, labels))).astype(np.float32)
    noisy = generator.random(truth.shape) < np.where(truth, 2 / 3, 1 / 6)
    known = generator.permutation(rows) < verified
    return SmallTable(x, noisy.astype(int), truth.astype(int), known)


def names_of(indicator: NDArray[Any], names: Sequence[Any]) -> list[Any]:
    """Rows of an indicator as lists of names; None for a row of NaN."""
    return [
        None if np.isnan(row).any() else [name for name, on in zip(names, row, strict=True) if on]
        for row in indicator.astype(float)
    ]


def global_generators() -> tuple[Any, ...]:
    """The states of the random generators that belong to everybody."""
    of_numpy = np.random.get_state(legacy=False)["state"]["key"]  # noqa: NPY002
    return torch.random.get_rng_state().tolist(), of_numpy.tolist(), random.getstate()
