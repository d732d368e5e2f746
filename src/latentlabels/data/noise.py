"""Class noise put in on purpose: a class ŷ becomes y with the probability T[ŷ, y]."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latentlabels.errors import LabelError

CIFAR10_CLASSES: Final = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
CIFAR10_MISTAKES: Final = (
    ("truck", "automobile"),
    ("bird", "airplane"),
    ("deer", "horse"),
    ("cat", "dog"),
    ("dog", "cat"),
)


def flip_labels(
    classes: NDArray[np.integer], transition: ArrayLike, *, seed: int = 0
) -> NDArray[np.int64]:
    """Classes after noise, each row on its own: y ~ T[ŷ, ·].

    A row's outcome depends on the seed, its place and its class, not on the other rows. The classes
    that are given stay as they are.

    Args:
        classes: true classes, counted from 0, (rows,).
        transition: T, (clean classes, noisy classes); its rows are probabilities that sum to one.
        seed: what the choices derive from.

    Returns:
        Noisy classes, (rows,).

    Raises:
        LabelError: a matrix that is none of transitions, or a class that it does not have.
    """
    matrix = np.asarray(transition, dtype=np.float64)
    if matrix.ndim != 2 or matrix.size == 0:
        raise LabelError(
            f"A transition matrix is (clean classes, noisy classes), got the shape {matrix.shape}."
        )
    # Written so that NaN fails too.
    wrong = ~((matrix >= 0).all(1) & (abs(matrix.sum(1) - 1) <= 1e-6))
    if wrong.any():
        row = int(wrong.argmax())
        raise LabelError(
            "The rows of a transition matrix are probabilities that sum to one, row "
            f"{row} (from 0) is {matrix[row].tolist()}. Rows are clean classes, columns noisy ones."
        )
    given = np.asarray(classes)
    if given.ndim != 1 or not (given.size == 0 or np.issubdtype(given.dtype, np.integer)):
        raise LabelError(
            f"Classes are whole numbers, (rows,), got {given.dtype} of the shape {given.shape}."
        )
    unknown = (given < 0) | (given >= len(matrix))
    if unknown.any():
        row = int(unknown.argmax())
        raise LabelError(
            f"The transition matrix has {len(matrix)} clean classes, row {row} has the class "
            f"{given[row]} (both count from 0)."
        )
    # Divided by its own end, so that a number below 1 never falls behind the last class.
    cumulative = matrix.cumsum(1)
    cumulative /= cumulative[:, -1:]
    uniform = np.random.default_rng(seed).random(len(given))
    return np.asarray((uniform[:, None] >= cumulative[given.astype(np.int64)]).sum(1), np.int64)


def patrini_transition(rate: float) -> NDArray[np.float64]:
    """CIFAR-10's asymmetric noise: mistakes between classes that look alike.

    A truck becomes an automobile, a bird an airplane, a deer a horse, a cat a dog and a dog a cat,
    each with probability `rate`; the other five classes are never mistaken. So the noise rate over
    all classes is half of `rate`. The noise that is the same for all classes is
    `latentlabels.auxiliary.transition.symmetric_transition`.

    Args:
        rate: 0 to 1.

    Returns:
        T, (10, 10), in the order of `CIFAR10_CLASSES`; rows are clean classes.

    Raises:
        LabelError: the rate is no probability.

    Source: Patrini et al. (2017), section 5; Vahdat (2017), section 4.2.
    """
    if not 0 <= rate <= 1:
        raise LabelError(f"A noise rate is a probability from 0 to 1, got {rate}.")
    transition = np.eye(len(CIFAR10_CLASSES))
    for seen, taken_for in CIFAR10_MISTAKES:
        row = CIFAR10_CLASSES.index(seen)
        transition[row, row] = 1 - rate
        transition[row, CIFAR10_CLASSES.index(taken_for)] = rate
    return transition
