"""How far probabilities can be trusted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torchmetrics.functional.classification import (
    binary_calibration_error,
    multiclass_calibration_error,
)

from latentlabels.model.units import Categorical, Joint, Units

BINS = 15


def calibration_error(
    units: Units, clean: NDArray[np.floating], probabilities: NDArray[np.floating]
) -> float:
    """The expected calibration error (ECE): how far confidence and accuracy lie apart, from 0 to 1.

    In 15 bins of equal width; of bits over every label of every row, of classes over the likeliest
    class, of a joint label the mean of its parts.

    Args:
        units: the units of the clean labels.
        clean: true states, (rows, clean); of classes a row without one is left out.
        probabilities: (rows, clean).

    Source: Guo et al. (2017).
    """
    if isinstance(units, Joint):
        parts = zip(units.split(torch.tensor(clean)), _parts(units, probabilities), strict=True)
        return float(np.mean([calibration_error(u, c.numpy(), p) for (u, c), p in parts]))
    truth, said = _comparable(units, clean, probabilities)
    if isinstance(units, Categorical):
        error = multiclass_calibration_error(said, truth.argmax(1), units.n, BINS)
    else:
        error = binary_calibration_error(said.flatten(), truth.flatten().long(), BINS)
    return float(error)


def brier_score(
    units: Units, clean: NDArray[np.floating], probabilities: NDArray[np.floating]
) -> float:
    """The mean squared error of the probabilities: of each bit, or summed over a row's classes.

    Arguments as for `calibration_error`.

    Source: Brier (1950).
    """
    if isinstance(units, Joint):
        parts = zip(units.split(torch.tensor(clean)), _parts(units, probabilities), strict=True)
        return float(np.mean([brier_score(u, c.numpy(), p) for (u, c), p in parts]))
    truth, said = _comparable(units, clean, probabilities)
    squared = (said - truth).square()
    return float((squared.sum(1) if isinstance(units, Categorical) else squared).mean())


@dataclass(frozen=True)
class Reliability:
    """Of what is said to be so likely, how much is so: a point for each bin that is not empty.

    Attributes:
        said: mean probability.
        found: share that is so.
        count: of how many.
    """

    said: tuple[float, ...]
    found: tuple[float, ...]
    count: tuple[int, ...]

    def as_json(self) -> dict[str, Any]:
        """The same as values that JSON keeps."""
        return {name: list(values) for name, values in vars(self).items()}


def reliability(
    units: Units, clean: NDArray[np.floating], probabilities: NDArray[np.floating]
) -> Reliability:
    """The points of a reliability plot, in the bins of `calibration_error`.

    Of bits every one of every row counts, of classes the likeliest; of a joint label all its parts.
    Arguments as for `calibration_error`.
    """
    said, so = (
        np.concatenate(parts) for parts in zip(*_said(units, clean, probabilities), strict=True)
    )
    bins = np.minimum((said * BINS).astype(int), BINS - 1)
    count = np.bincount(bins, minlength=BINS)
    some = count > 0
    means = (np.bincount(bins, of, BINS)[some] / count[some] for of in (said, so))
    return Reliability(*(tuple(of.tolist()) for of in (*means, count[some])))


def _said(
    units: Units, clean: NDArray[np.floating], probabilities: NDArray[np.floating]
) -> Iterator[tuple[NDArray[np.floating], NDArray[np.floating]]]:
    """Probabilities, and 1 where what they speak of is so, for each part of a joint label."""
    if isinstance(units, Joint):
        parts = zip(units.split(torch.tensor(clean)), _parts(units, probabilities), strict=True)
        for (unit, own), p in parts:
            yield from _said(unit, own.numpy(), p)
        return
    truth, said = (part.numpy() for part in _comparable(units, clean, probabilities))
    if isinstance(units, Categorical):
        likeliest = said.argmax(1)
        yield said.max(1), (truth.argmax(1) == likeliest).astype(float)
    else:
        yield said.ravel(), truth.ravel()


def _comparable(
    units: Units, clean: NDArray[np.floating], probabilities: NDArray[np.floating]
) -> tuple[torch.Tensor, torch.Tensor]:
    truth, said = torch.tensor(clean).double(), torch.tensor(probabilities).double()
    if isinstance(units, Categorical):
        known = truth.any(1)
        truth, said = truth[known], said[known]
    return truth, said


def _parts(units: Joint, probabilities: NDArray[np.floating]) -> list[NDArray[np.floating]]:
    return [part.numpy() for _, part in units.split(torch.tensor(probabilities))]
