"""Scores of probabilities against clean labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import average_precision_score

from latentlabels.model.units import Categorical, Joint, Units


def mean_average_precision(clean: ArrayLike, probabilities: ArrayLike) -> float:
    """Average precision of each label, averaged over the labels that occur, from 0 to 1.

    Args:
        clean: true labels of 0 and 1, (rows, labels).
        probabilities: scores, (rows, labels).

    Returns:
        The mean; NaN where no label occurs.
    """
    truth, scores = np.asarray(clean), np.asarray(probabilities)
    occurring = np.flatnonzero(truth.any(0))
    if len(occurring) == 0:
        return float("nan")
    return float(np.mean([average_precision_score(truth[:, k], scores[:, k]) for k in occurring]))


def accuracy(clean: ArrayLike, probabilities: ArrayLike) -> float:
    """Share of rows whose most probable class is the true one; both (rows, classes).

    A row of zeros, whose class is none of these, counts as wrong.
    """
    found = np.argmax(probabilities, -1)[:, None]
    return float(np.mean(np.take_along_axis(np.asarray(clean, dtype=float), found, -1)))


def score_name(units: Units) -> str:
    """What `score` measures: "map" of bits, "accuracy" of classes, "score" of a joint label."""
    if isinstance(units, Joint):
        return "score"
    return "accuracy" if isinstance(units, Categorical) else "map"


def score(units: Units, clean: NDArray[np.floating], probabilities: NDArray[np.floating]) -> float:
    """Mean average precision of bits, accuracy of classes, or the mean of a joint label's parts.

    Args:
        units: the units of the clean labels.
        clean: true states, (rows, clean).
        probabilities: means, (rows, clean).
    """
    if isinstance(units, Joint):
        stops = np.cumsum([part.size for part in units.parts])[:-1]
        parts = zip(
            units.parts,
            np.split(clean, stops, -1),
            np.split(probabilities, stops, -1),
            strict=True,
        )
        return float(np.nanmean([score(part, c, p) for part, c, p in parts]))
    measure = accuracy if isinstance(units, Categorical) else mean_average_precision
    return measure(clean, probabilities)
