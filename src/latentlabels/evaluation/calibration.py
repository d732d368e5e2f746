"""How far probabilities can be trusted."""

from __future__ import annotations

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
