"""How many more rows to verify: the estimator fitted on some of the verified rows, and the rest.

The verified rows are cut into three folds. For each, the estimator is fitted on 2/3, 1/3, 1/6 and
1/12 of them, smaller parts within larger ones, none of them of the fold; the fold's rows take part
as any row that nobody has verified, and their cleaned labels are scored. So each size's score is
measured on all verified rows, by fits that have not read their clean labels.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rich.console import Console
from sklearn.base import clone
from sklearn.model_selection import KFold
from sklearn.utils.validation import check_is_fitted

from latentlabels import processes
from latentlabels.data.labels import Column
from latentlabels.errors import LabelError
from latentlabels.estimator import RobustClassifier
from latentlabels.evaluation.learning_curve import LearningCurve
from latentlabels.evaluation.metrics import score, score_name
from latentlabels.inputs import Usable
from latentlabels.preparation import clean_states, read_labels, verified_rows

FOLDS: Final = 3
HALVINGS: Final = 4
FITS: Final = FOLDS * HALVINGS
FEWEST: Final = 60
"""Of fewer the smallest fit would have four or less."""


def learning_curve(
    model: RobustClassifier,
    X: Any,
    y: Any,
    clean: Any,
    *,
    verified: ArrayLike | None = None,
    validation: tuple[Any, ...] | None = None,
) -> LearningCurve:
    """Estimate what more verified rows would bring, by twelve fits on parts of those there are.

    Args:
        model: fitted on these very rows; its arguments are those of the fits, and itself it is left
            as it is.
        X: examples, as for `fit`.
        y: noisy labels, as for `fit`.
        clean: clean labels, as for `fit`.
        verified: which rows' clean labels may be read, as for `fit`.
        validation: as for `fit`.

    Raises:
        LabelError: fewer than 60 verified rows, or labels that `fit` would not take.
    """
    check_is_fitted(model, "model_")
    inputs = model.usable(X)
    noisy, known = (
        read_labels(of, inputs.total, what) for of, what in ((y, "noisy"), (clean, "clean"))
    )
    if model.normalise_labels:
        known = model.known_spelling().columns(known)
    readable = verified_rows(known, verified)
    usable = np.zeros(inputs.total, dtype=bool)
    usable[inputs.rows] = True
    rows = np.flatnonzero(readable & usable)
    require_enough(len(rows))
    units = model.clean_space_.units
    truth = clean_states(known, readable, model.clean_space_)[rows].toarray()
    sizes, folds = _plan(len(rows), seed=0)
    said = np.zeros((len(sizes), *truth.shape), dtype=np.float32)
    for fold, (held, parts) in enumerate(folds):
        for size, part in enumerate(parts):
            if model.verbose and processes.rank() == 0:
                number = fold * len(sizes) + size + 1
                Console(stderr=True).print(
                    f"fit {number} of {FITS}, on {len(part):,} of {len(rows):,} verified rows"
                )
            again = _unfitted(model)
            again.fit(
                inputs, noisy, known, verified=_mask(rows[part], inputs), validation=validation
            )
            said[size, held] = _probabilities(again, inputs, noisy, rows[held])

    def scores(some: NDArray[np.intp]) -> NDArray[np.float64]:
        return np.array([score(units, truth[some], of[some]) for of in said])

    return LearningCurve.measured(
        scores,
        [held for held, _ in folds],
        sizes,
        measure=score_name(units),
        available=len(inputs.rows),
    )


def require_enough(verified: int) -> None:
    """Check that there are verified rows enough to fit on a part of a part of them.

    Raises:
        LabelError: there are not.
    """
    if verified < FEWEST:
        raise LabelError(
            f"A learning curve needs {FEWEST} verified rows at least, and there are {verified}. "
            f"Verify {FEWEST - verified} more, or fit without it."
        )


def _plan(
    rows: int, seed: int
) -> tuple[list[int], list[tuple[NDArray[np.intp], list[NDArray[np.intp]]]]]:
    """Sizes, ascending, and for each fold its rows and the parts of the others to fit on."""
    random = np.random.default_rng(seed)
    cuts = KFold(FOLDS, shuffle=True, random_state=seed).split(np.empty(rows))
    folds = [(held, random.permutation(others)) for others, held in cuts]
    largest = min(len(others) for _, others in folds)
    sizes = [largest >> halving for halving in reversed(range(HALVINGS))]
    return sizes, [(held, [others[:size] for size in sizes]) for held, others in folds]


def _unfitted(model: RobustClassifier) -> RobustClassifier:
    """The same estimator before its fit, with the clean vocabulary of the fitted one."""
    space = model.clean_space_
    vocabularies = zip(space.columns, space.vocabularies, strict=True)
    again: RobustClassifier = clone(model)
    again.set_params(
        clean_labels={name: vocabulary.names for name, vocabulary in vocabularies},
        checkpoints=None,
        resume=False,
        chain_file=None,
    )
    return again


def _mask(rows: NDArray[np.intp], inputs: Usable) -> NDArray[np.bool_]:
    mask = np.zeros(inputs.total, dtype=bool)
    mask[rows] = True
    return mask


def _probabilities(
    model: RobustClassifier, inputs: Usable, noisy: dict[str, Column], rows: NDArray[np.intp]
) -> NDArray[np.float32]:
    """Of the cleaned labels of some rows, in their order, (some, clean)."""
    some = {name: column.take(rows) for name, column in noisy.items()}
    return model.clean(inputs.part(_mask(rows, inputs)), some).probabilities
