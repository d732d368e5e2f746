"""cleanlab's shapes: labels and predicted probabilities in, a frame of label issues out, and back.

`pred_probs` come from a classifier that was trained on given labels and has not seen the row: they
estimate p(y | x), the probability of a given label, and not that of a true one. To multiply them by
p(y | ŷ) would count the noise twice. With noise that depends on the true label alone,

    p(y = n | x) = Σ_c p(ŷ = c | x) T[c, n],        T[c, n] = p(y = n | ŷ = c),

p(ŷ | x) is what explains pred_probs best, in the sense of Kullback and Leibler: the inverse of T
times them, where that is a distribution, and else what expectation maximisation makes of it,

    π_c ← π_c Σ_n T[c, n] p(y = n | x) / Σ_k π_k T[k, n].

Then the label that the row was given is read by Bayes' rule,

    q(ŷ = c | x, y) ∝ π_c T[c, y].

T is counted by `confident_transition`. Of labels of which a row has any number, each is a choice
between two classes, absent and present.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latentlabels.auxiliary.transition import (
    LEAST_PROBABILITY,
    confident_transition,
    given_transition,
)
from latentlabels.cleaning import CleanedLabels
from latentlabels.data.labels import read_columns
from latentlabels.errors import LabelError, needing, shown
from latentlabels.model.units import Categorical

if TYPE_CHECKING:
    import pandas as pd

MOST_STEPS: Final = 500
TOLERANCE: Final = 1e-6
SUM_TOLERANCE: Final = 1e-2


def from_pred_probs(
    labels: Any, pred_probs: ArrayLike, *, transition: ArrayLike | None = None
) -> pd.DataFrame:
    """Clean labels by a classifier's predictions, without any training.

    Args:
        labels: the given labels, numbers of columns of `pred_probs`: a class for each row, (rows,),
            or a list of labels for each row.
        pred_probs: p(y | x) of each row by a classifier that has not seen it, such as
            scikit-learn's `cross_val_predict` gives, (rows, classes). Rows sum to one where
            `labels` are classes.
        transition: p(y | ŷ) where it is known: (classes, classes), or (labels, 2, 2), absent before
            present; rows are the true labels. By default it is estimated.

    Returns:
        A frame with a row for each row and cleanlab's columns: `is_label_issue`, whether something
        else is proposed; `label_quality`, the probability that the given label, or all given ones
        and no others, are right; `given_label`; `predicted_label`, what is proposed; and besides
        `probability`, that what is proposed is right.

    Raises:
        LabelError: labels and probabilities that do not go together.
        MissingPackageError: pandas is not installed.
    """
    with needing("pandas", "exports"):
        import pandas as pd
    predictions = _predictions(pred_probs)
    given, exclusive = _given(labels, predictions)
    if exclusive:
        _require_sums(predictions)
        q = _classes(given.argmax(1), predictions, transition)
        agreed = (q * given).sum(1)
        wrong = agreed < q.max(1)
        proposed = np.where(wrong[:, None], np.eye(len(q.T), dtype=bool)[q.argmax(1)], given)
        probability = q.max(1)
    else:
        q = _labels(given, predictions, transition)
        proposed = np.where(q == 0.5, given, q > 0.5)
        agreed = np.where(given, q, 1 - q).prod(1)
        wrong = (proposed != given).any(1)
        probability = np.maximum(q, 1 - q).prod(1)
    return pd.DataFrame(
        {
            "is_label_issue": wrong,
            "label_quality": agreed,
            "given_label": _as_given(given, exclusive),
            "predicted_label": _as_given(proposed, exclusive),
            "probability": probability,
        }
    )


def to_cleanlab(cleaned: CleanedLabels) -> tuple[Any, NDArray[np.float64]]:
    """Cleaned labels as cleanlab takes them, `labels` and `pred_probs`.

    The probabilities are q(ŷ | x, y), which has seen the given label. cleanlab's own methods expect
    some that have not: p(ŷ | x) of `predict_proba`, on rows that were not fitted on.

    Args:
        cleaned: cleaned labels; given names that the clean vocabulary does not have are left out.

    Returns:
        Given labels as numbers of the clean vocabulary, classes (rows,) or a list for each row, and
        probabilities, (rows, clean).

    Raises:
        LabelError: rows that were skipped, or a row that was not given one class of the vocabulary.
    """
    probabilities = cleaned.probabilities.astype(np.float64)
    skipped = np.flatnonzero(np.isnan(probabilities).any(1))
    if len(skipped):
        raise LabelError(
            f"{len(skipped)} rows were skipped and have no probabilities, such as row {skipped[0]} "
            "(rows count from 0). Leave them out before cleaning."
        )
    unit = {name: place for place, name in enumerate(cleaned.names)}
    given = [[unit[name] for name in names if name in unit] for names in cleaned.given]
    if not cleaned.space.exclusive:
        return given, probabilities
    for row, units in enumerate(given):
        if len(units) != 1:
            raise LabelError(
                f"cleanlab needs one class for each row, and row {row} (rows count from 0) was "
                f"given {shown(cleaned.given[row])}, of which {len(units)} are clean classes."
            )
    classes = np.array([units[0] for units in given])
    return classes, probabilities / probabilities.sum(1, keepdims=True)


def clean_probabilities(
    given: NDArray[np.intp], predictions: NDArray[np.float64], transition: NDArray[np.float64]
) -> NDArray[np.float64]:
    """q(ŷ | x, y) of classes, (rows, classes), by the module's equations.

    Args:
        given: given classes, (rows,).
        predictions: p(y | x), (rows, classes).
        transition: T, (classes, classes).
    """
    matrix = np.maximum(transition, LEAST_PROBABILITY)
    true = np.maximum(predictions @ np.linalg.pinv(matrix), LEAST_PROBABILITY)
    true /= true.sum(1, keepdims=True)
    for _ in range(MOST_STEPS):
        before = true
        true = before * ((predictions / (before @ matrix)) @ matrix.T)
        if np.abs(true - before).max() < TOLERANCE:
            break
    likely = np.maximum(true, LEAST_PROBABILITY) * matrix[:, given].T
    posterior: NDArray[np.float64] = likely / likely.sum(1, keepdims=True)
    return posterior


def _classes(
    given: NDArray[np.intp], predictions: NDArray[np.float64], transition: ArrayLike | None
) -> NDArray[np.float64]:
    """q of classes, (rows, classes)."""
    if transition is None:
        matrix = confident_transition(given, predictions)
    else:
        units = Categorical(predictions.shape[1])
        given_transition(transition, units, units)  # raises what is wrong with it
        matrix = np.asarray(transition, dtype=np.float64)
    return clean_probabilities(given, predictions, matrix)


def _labels(
    given: NDArray[np.bool_], predictions: NDArray[np.float64], transition: ArrayLike | None
) -> NDArray[np.float64]:
    """q of each label's presence, (rows, labels)."""
    labels = predictions.shape[1]
    matrices = [None] * labels if transition is None else list(np.asarray(transition))
    if len(matrices) != labels:
        raise LabelError(
            f"Each of {labels} labels needs a transition matrix, (2, 2); got {len(matrices)}."
        )
    columns = [
        _classes(states.astype(np.intp), np.stack([1 - p, p], axis=1), matrix)[:, 1]
        for states, p, matrix in zip(given.T, predictions.T, matrices, strict=True)
    ]
    return np.stack(columns, axis=1)


def _predictions(pred_probs: ArrayLike) -> NDArray[np.float64]:
    try:
        predictions = np.asarray(pred_probs, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise LabelError("pred_probs are numbers, (rows, classes); got something else.") from error
    if predictions.ndim != 2 or 0 in predictions.shape:
        raise LabelError(f"pred_probs have the shape (rows, classes), got {predictions.shape}.")
    if not ((predictions >= 0) & (predictions <= 1)).all():
        row = int(np.argwhere(~((predictions >= 0) & (predictions <= 1)))[0, 0])
        raise LabelError(
            f"pred_probs are probabilities from 0 to 1; row {row} has others (rows count from 0)."
        )
    return predictions


def _require_sums(predictions: NDArray[np.float64]) -> None:
    wrong = np.flatnonzero(np.abs(predictions.sum(1) - 1) > SUM_TOLERANCE)
    if len(wrong):
        raise LabelError(
            f"Rows of pred_probs sum to one where labels are classes; row {wrong[0]} sums to "
            f"{predictions[wrong[0]].sum():g} (rows count from 0). If rows have any number of "
            "labels, pass labels as lists."
        )


def _given(labels: Any, predictions: NDArray[np.float64]) -> tuple[NDArray[np.bool_], bool]:
    """Given labels as states, (rows, classes), and whether they are classes."""
    if isinstance(labels, Mapping):
        raise LabelError("labels are one column: classes, or a list of labels for each row.")
    column = read_columns(labels)[""]
    rows, classes = predictions.shape
    cells = column.cells
    if len(cells) != rows:
        raise LabelError(f"labels have {len(cells)} rows and pred_probs {rows}.")
    states = np.zeros(predictions.shape, dtype=np.bool_)
    for row, cell in enumerate(cells):
        for name in [None] if cell is None else cell:
            if not isinstance(name, int | float) or name not in range(classes):
                raise LabelError(
                    f"pred_probs have {classes} columns, so labels are whole numbers from 0 to "
                    f"{classes - 1}; row {row} has {shown(name)} (rows count from 0)."
                )
            states[row, int(name)] = True
    return states, column.exclusive


def _as_given(states: NDArray[np.bool_], exclusive: bool) -> Any:
    """Classes (rows,), or a list of labels for each row."""
    return states.argmax(1) if exclusive else [np.flatnonzero(row).tolist() for row in states]
