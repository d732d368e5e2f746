"""What the verified rows alone would give: the same networks trained on them, for comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from latentlabels import processes
from latentlabels.cli.rows import Mask, Rows
from latentlabels.committees import member_seeds
from latentlabels.data.labels import encode
from latentlabels.errors import LatentLabelsError
from latentlabels.estimator import RobustClassifier
from latentlabels.evaluation.comparison import compare
from latentlabels.model.posterior import Auxiliary
from latentlabels.model.units import Bernoulli
from latentlabels.network.examples import spread
from latentlabels.parameters import PLAIN
from latentlabels.preparation import FEWEST_VALIDATION_ROWS
from latentlabels.results import comparison_told
from latentlabels.training.rows import passes_for_as_many_updates

MOST_ROWS: Final = 10_000
"""More would tell little more."""
MOST_TRAINING: Final = 200_000
"""Training rows beyond which networks are not trained for a comparison alone."""
SAID: Final = ["said"]


@dataclass(frozen=True)
class Alone:
    """Classifiers of the verified rows, whose mean is compared with the model.

    Attributes:
        networks: the classifiers; none where the model's teachers are that.
        why_not: why there are none; None where there are.
    """

    networks: tuple[RobustClassifier, ...] = ()
    why_not: str | None = None


def fit_alone(estimator: RobustClassifier, rows: Rows, seed: int) -> Alone:
    """Train plain classifiers of the model's shape on the verified rows, unless there are teachers.

    Args:
        estimator: fitted on these rows.
        rows: all rows, with what was read of their examples.
        seed: of everything random.
    """
    held = _held_out(estimator, rows)
    known = rows.verified & rows.usable()
    known[held] = False
    why_not = _why_not(estimator, rows, held, known)
    if why_not or estimator.model_.teacher is not None:
        return Alone(why_not=why_not)
    training = (rows.split == "train") & rows.usable()
    if training.sum() > MOST_TRAINING:
        return Alone(why_not=f"it takes long with more than {MOST_TRAINING:,} training rows")
    longer = passes_for_as_many_updates(int(known.sum()), int(training.sum()), estimator.batch_size)
    clean = rows.clean.take(known)
    settings = {
        **estimator.get_params(),
        **PLAIN,
        "auxiliary": _frequencies(estimator, rows, known),
        "clean_labels": list(estimator.clean_space_.names),
        "noisy_labels": None,
        "epochs": longer * estimator.epochs,
        "patience": longer * estimator.patience,
        "min_count": 1,
        "checkpoints": None,
        "resume": False,
        "chain_file": None,
    }
    judges = _mask(rows, held)
    validation = (rows.examples(judges), rows.clean.take(judges)) if len(held) else None
    count = 1 if estimator.model_.students is None else len(estimator.model_.students.networks)
    networks = []
    for own in member_seeds(seed, "teacher", count):
        plain: RobustClassifier = RobustClassifier(**{**settings, "random_state": own})
        said = [SAID] * int(known.sum())
        networks.append(plain.fit(rows.examples(known), said, clean=clean, validation=validation))
    return Alone(tuple(networks))


def alone_if_it_can_be(estimator: RobustClassifier, rows: Rows, seed: int) -> Alone:
    """The same; what fails, be it what it may, is told in the place of a comparison.

    Hours of training are worth more. Of several processes one cannot go on where another has
    failed, so what is no error of all of them is one there.
    """
    try:
        return fit_alone(estimator, rows, seed)
    except LatentLabelsError as error:
        return Alone(why_not=_failed(error))
    except Exception as error:
        if processes.size() > 1:
            raise
        return Alone(why_not=_failed(error))


def comparison_if_it_can_be(
    estimator: RobustClassifier, alone: Alone, rows: Rows, seed: int
) -> dict[str, Any]:
    """`comparison_of`, or how it failed."""
    try:
        return comparison_of(estimator, alone, rows, seed)
    except Exception as error:
        return {"why_not": _failed(error)}


def _failed(error: Exception) -> str:
    return f"it failed ({type(error).__name__}: {error})"


def comparison_of(
    estimator: RobustClassifier, alone: Alone, rows: Rows, seed: int
) -> dict[str, Any]:
    """The model against the verified rows alone, on test rows where there are some, as JSON values.

    Args:
        estimator: the model.
        alone: what it is compared with.
        rows: all rows.
        seed: of the bootstrap.
    """
    if alone.why_not is not None:
        return {"why_not": alone.why_not}
    name, judges = _judges(estimator, rows, _held_out(estimator, rows))
    chosen = _mask(rows, judges[spread(len(judges), MOST_ROWS)])
    x, space = rows.examples(chosen), estimator.clean_space_
    truth = encode({space.columns[0]: rows.clean.take(chosen)}, space, unknown="ignore")
    if alone.networks:
        said = np.mean([network.predict_proba(x) for network in alone.networks], 0)
    else:
        said = estimator.predict_proba_of_teachers(x)
    found = compare(space.units, truth.toarray(), estimator.predict_proba(x), said, seed)
    return comparison_told(found, name)


def _why_not(
    estimator: RobustClassifier, rows: Rows, held: NDArray[np.intp], known: Mask
) -> str | None:
    if not known.any():
        return "no training row is verified"
    if rows.verified[rows.split == "train"].all():
        return "all training rows are verified"
    if len(estimator.clean_space_.columns) > 1:
        return "there are clean labels of several columns"
    if len(_judges(estimator, rows, held)[1]) < FEWEST_VALIDATION_ROWS:
        return f"fewer than {FEWEST_VALIDATION_ROWS} held-out rows have clean labels"
    if estimator.tune_ == "all" or not isinstance(estimator.backbone, str | None):
        return "the backbone was tuned, and would have to be tuned a second time"
    return None


def _held_out(estimator: RobustClassifier, rows: Rows) -> NDArray[np.intp]:
    """Rows that chose the model's epoch."""
    validation = rows.labelled_in("validation") & rows.usable()
    if validation.any():
        return np.flatnonzero(validation)
    held: NDArray[np.intp] = np.flatnonzero(rows.split == "train")[estimator.held_out_]
    return held


def _judges(
    estimator: RobustClassifier, rows: Rows, held: NDArray[np.intp]
) -> tuple[str, NDArray[np.intp]]:
    """The rows to compare on, and what they are called."""
    test = np.flatnonzero(rows.labelled_in("test") & rows.usable())
    if len(test) >= FEWEST_VALIDATION_ROWS:
        return "test", test
    return ("held-out verified" if len(estimator.held_out_) else "validation"), held


def _mask(rows: Rows, numbers: NDArray[np.intp]) -> Mask:
    mask = np.zeros(len(rows), dtype=np.bool_)
    mask[numbers] = True
    return mask


def _frequencies(estimator: RobustClassifier, rows: Rows, known: Mask) -> Auxiliary:
    """An auxiliary that knows how common labels are, and reads nothing from noisy ones."""
    space = estimator.clean_space_
    states = encode({space.columns[0]: rows.clean.take(known)}, space, what="clean")
    common = (np.asarray(states.sum(0)).ravel() + 0.5) / (states.shape[0] + 1)
    bias = space.units.logits_of(torch.from_numpy(common).float())
    return Auxiliary(Bernoulli(1), space.units, bias, torch.zeros(len(space.names), 1))
