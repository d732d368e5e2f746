"""Verified pairs: rows whose noisy and clean labels are both known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from latentlabels.model.units import Units


@dataclass(frozen=True)
class Pairs:
    """The labels of the verified rows.

    Attributes:
        noisy_units: the units of the noisy labels.
        clean_units: the units of the clean labels.
        noisy: noisy states, sparse (pairs, noisy).
        clean: clean states, (pairs, clean).
    """

    noisy_units: Units
    clean_units: Units
    noisy: csr_array
    clean: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.clean)

    def take(self, rows: NDArray[np.intp]) -> Pairs:
        """The pairs of some rows."""
        return Pairs(self.noisy_units, self.clean_units, self.noisy[rows], self.clean[rows])

    def folds(self, count: int, seed: int) -> list[tuple[Pairs, Pairs]]:
        """(fitted, held out) for each of `count` random parts of nearly equal size."""
        order = np.random.default_rng(seed).permutation(len(self))
        parts = np.array_split(order, count)
        return [
            (self.take(np.concatenate(parts[:k] + parts[k + 1 :])), self.take(parts[k]))
            for k in range(count)
        ]

    def noisy_tensor(self, rows: Tensor | slice = slice(None)) -> Tensor:
        """The noisy states of some pairs as a dense float32 tensor, (some, noisy)."""
        chosen = rows if isinstance(rows, slice) else rows.numpy()
        return torch.from_numpy(self.noisy[chosen].astype(np.float32).toarray())

    def noisy_counts(self) -> Tensor:
        """How many pairs have each noisy unit on, float64, (noisy,)."""
        return torch.from_numpy(np.asarray(self.noisy.sum(0, dtype=np.float64)))

    def clean_tensor(self) -> Tensor:
        """The clean states as a float32 tensor, (pairs, clean)."""
        return torch.from_numpy(self.clean)

    def clean_prior_logits(self) -> Tensor:
        """Natural parameters of p(ŷ) with half a count added to every unit, float64, (clean,)."""
        return smoothed_logits(self.clean_units, torch.from_numpy(self.clean))

    def noisy_prior_logits(self) -> Tensor:
        """The same of p(y), (noisy,)."""
        return _smoothed(self.noisy_units, self.noisy_counts(), len(self))


def smoothed_logits(units: Units, states: Tensor) -> Tensor:
    """Natural parameters whose mean is that of `states` (rows, units), smoothed; float64.

    Half a count for and half a count against are added to every unit.
    """
    return _smoothed(units, states.double().sum(0), len(states))


def _smoothed(units: Units, counts: Tensor, rows: int) -> Tensor:
    return units.logits_of((counts + 0.5) / (rows + 1.0))
