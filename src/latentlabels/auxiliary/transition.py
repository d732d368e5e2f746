"""Transition matrices: p(y | ŷ) for classes, given or counted, turned round by Bayes' rule.

    log p(ŷ = c | y) = log p(c) + Σ_k log T_k[c, y_k] + constant,

with one matrix T_k for each annotator. Source: Patrini et al. (2017); Vahdat (2017), section 4.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from latentlabels.auxiliary.pairs import Pairs
from latentlabels.errors import LabelError
from latentlabels.model.posterior import Auxiliary
from latentlabels.model.units import Categorical, Joint, Units

SMOOTHING = 1.0
LEAST_PROBABILITY = 1e-6


def is_applicable(noisy: Units, clean: Units) -> bool:
    """Whether the labels are classes: one clean class, and one noisy class from each annotator."""
    return isinstance(clean, Categorical) and all(
        isinstance(part, Categorical) for part in _annotators(noisy)
    )


def given_transition(
    matrices: ArrayLike | Sequence[ArrayLike],
    noisy: Units,
    clean: Units,
    *,
    prior: ArrayLike | None = None,
) -> Auxiliary:
    """An auxiliary from known transition matrices.

    Args:
        matrices: T[c, n] = p(y = n | ŷ = c), (clean classes, noisy classes), one for each
            annotator; rows sum to one.
        noisy: the units of the noisy labels.
        clean: the units of the clean labels.
        prior: p(ŷ), (clean classes,); the same for every class where it is not given.

    Raises:
        LabelError: labels that are not classes, matrices of another shape, or rows that are no
            probabilities.
    """
    if not (isinstance(clean, Categorical) and is_applicable(noisy, clean)):
        raise LabelError(
            f"A transition matrix joins classes to classes, these labels are {noisy} and {clean}. "
            "Use the regression or the RBM."
        )
    annotators = _annotators(noisy)
    given = cast("Sequence[ArrayLike]", matrices) if isinstance(noisy, Joint) else [matrices]
    tables = [np.asarray(matrix, dtype=np.float64) for matrix in given]
    probabilities = np.full(clean.n, 1.0 / clean.n) if prior is None else np.asarray(prior, float)
    _require_distributions(tables, probabilities, annotators, clean.n)
    weight = np.concatenate([np.log(np.maximum(t, LEAST_PROBABILITY)) for t in tables], axis=1)
    bias = np.log(np.maximum(probabilities, LEAST_PROBABILITY))
    return Auxiliary(
        noisy,
        clean,
        torch.from_numpy(bias).float(),
        torch.from_numpy(weight).float(),
        kind="transition",
    )


def count_transition(pairs: Pairs, *, smoothing: float = SMOOTHING) -> Auxiliary:
    """An auxiliary from transition matrices counted on verified pairs.

    Each row of a matrix gets `smoothing` counts more, spread as the annotator's labels are overall,
    so that a rare class falls back on the overall frequencies.

    Args:
        pairs: the verified pairs.
        smoothing: counts added to each row, above zero.

    Raises:
        LabelError: labels that are not classes.
    """
    counts = np.asarray((pairs.noisy.T @ pairs.clean).T, dtype=np.float64)  # (clean, noisy)
    frequency = counts.sum(0) + 1.0
    tables = []
    start = 0
    for part in _annotators(pairs.noisy_units):
        own, overall = (m[..., start : start + part.size] for m in (counts, frequency))
        smoothed = own + smoothing * overall / overall.sum()
        tables.append(smoothed / smoothed.sum(1, keepdims=True))
        start += part.size
    prior = pairs.clean.sum(0, dtype=np.float64) + 0.5
    return given_transition(
        tables if isinstance(pairs.noisy_units, Joint) else tables[0],
        pairs.noisy_units,
        pairs.clean_units,
        prior=prior / prior.sum(),
    )


def confident_transition(
    given: NDArray[np.intp], predictions: NDArray[np.float64]
) -> NDArray[np.float64]:
    """T as the rows show it whose class a classifier of given labels is sure of.

        t_c = mean of p(y = c | x) over the rows that are given c,
        C[c, n] = number of rows given n of which c is the likeliest class with p(y = c | x) ≥ t_c,
        T[c, n] ∝ N_n C[c, n] / Σ_c C[c, n],        N_n = number of rows given n.

    A class counts one row at least that was given right. Where classes overlap, rows that are hard
    to tell count as noise, and T has too much of it. Source: Northcutt et al. (2021), section 3.1.

    Args:
        given: given classes, (rows,).
        predictions: p(y | x) by a classifier that has not seen the row, (rows, classes).

    Returns:
        T[c, n] = p(y = n | ŷ = c), (classes, classes).
    """
    classes = predictions.shape[1]
    sizes = np.bincount(given, minlength=classes)
    own = predictions[np.arange(len(given)), given]
    sums = np.bincount(given, weights=own, minlength=classes)
    # No row is surely of a class that is never given.
    thresholds = np.divide(sums, sizes, out=np.full(classes, np.inf), where=sizes > 0)
    sure = predictions >= thresholds
    likeliest = np.where(sure, predictions, -1.0).argmax(1)
    counted = sure.any(1)
    counts = np.zeros((classes, classes))
    np.add.at(counts, (likeliest[counted], given[counted]), 1.0)
    np.fill_diagonal(counts, np.maximum(counts.diagonal(), 1.0))
    joint = counts / counts.sum(0) * sizes
    totals = joint.sum(1, keepdims=True)
    matrix: NDArray[np.float64] = np.divide(joint, totals, out=np.eye(classes), where=totals > 0)
    return matrix


def symmetric_transition(classes: int, noise: float) -> NDArray[np.float64]:
    """T with `noise` of every class spread evenly over the others, (classes, classes)."""
    if classes == 1:
        return np.ones((1, 1))
    return np.where(np.eye(classes, dtype=bool), 1.0 - noise, noise / (classes - 1))


def _annotators(noisy: Units) -> tuple[Units, ...]:
    return noisy.parts if isinstance(noisy, Joint) else (noisy,)


def _require_distributions(
    tables: list[NDArray[np.float64]],
    prior: NDArray[np.float64],
    annotators: tuple[Units, ...],
    classes: int,
) -> None:
    wanted = [(classes, part.size) for part in annotators]
    if [table.shape for table in tables] != wanted or prior.shape != (classes,):
        raise LabelError(
            f"The labels need transition matrices of the shapes {wanted} and a prior of "
            f"({classes},), got {[table.shape for table in tables]} and {prior.shape}."
        )
    for numbers in [*tables, prior]:
        if not (np.all(numbers >= 0) and np.allclose(numbers.sum(-1), 1.0, atol=1e-4)):
            raise LabelError(
                "Rows of a transition matrix and its prior are probabilities that sum to one, "
                "got a row that is not. Rows are clean classes, columns noisy ones."
            )
