"""One protocol for every method: the same rows, verified rows, network and choice of epoch.

Clean labels of unverified training rows score label recovery and nothing else, those of validation
rows choose the epoch, those of test rows give the final figure. `Task` hands each method only what
it may read.

Source: Vahdat (2017), section 4.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from latentlabels.auxiliary.choice import fit_auxiliary
from latentlabels.auxiliary.pairs import Pairs
from latentlabels.baselines import BASELINES
from latentlabels.data.labels import LabelSpace, encode, read_columns
from latentlabels.estimator import RobustClassifier
from latentlabels.evaluation.calibration import brier_score, calibration_error
from latentlabels.evaluation.metrics import score
from latentlabels.experiments.problems import pose
from latentlabels.experiments.student import fused_probabilities, student_of
from latentlabels.experiments.task import Cells, Task
from latentlabels.parameters import PAPER, PLAIN
from latentlabels.training.rows import passes_for_as_many_updates

NO_RECOVERY: Final[Mapping[str, Any]] = {"recovery": None, "calibration_error": None, "brier": None}


@dataclass(frozen=True)
class Outcome:
    """What a method reached.

    Attributes:
        test: score of p(ŷ | x) on the test rows, from 0 to 1; None for an auxiliary, which has no
            p(ŷ | x).
        recovery: score of the cleaned labels of the unverified training rows; None where they were
            trained on.
        seconds: time to fit.
        epoch: the epoch that was kept.
        validation: score of p(ŷ | x) on the validation rows.
        calibration_error: expected calibration error of the cleaned labels.
        brier: their Brier score.
    """

    test: float | None
    recovery: float | None
    seconds: float
    epoch: int | None = None
    validation: float | None = None
    calibration_error: float | None = None
    brier: float | None = None


@dataclass(frozen=True)
class Method:
    """A method by name.

    Attributes:
        name: its name in tables.
        role: "model", or the labels that a plain classifier is trained on ("verified_only",
            "mapped", "all_clean"), or "student", one that learns from what a network and the
            regression say together, or "auxiliary", or the key of a method in `BASELINES`.
        settings: arguments of `RobustClassifier`, or the auxiliary's kind and hidden units. A
            student is one network, unless `students` says how many it is the mean of.
    """

    name: str
    role: str
    settings: Mapping[str, Any] = field(default_factory=dict)


def run_method(task: Task, method: Method, seed: int) -> tuple[Outcome, RobustClassifier | None]:
    """Fit and score one method.

    Returns:
        The outcome and, of those that have one, the fitted `RobustClassifier`.
    """
    started = time.perf_counter()
    if method.role == "auxiliary":
        cleaned = _auxiliary_recovery(task, method.settings, seed)
        return Outcome(None, seconds=time.perf_counter() - started, **cleaned), None
    if method.role in BASELINES:
        return _run_baseline(task, method, seed), None
    train = task.rows("train")
    classifier = RobustClassifier(random_state=seed, **method.settings)
    if method.role == "model":
        labels = task.readable(train) if task.verified[train].any() else None
    else:
        # A plain classifier: every row is verified, and nothing joins the noisy labels to the clean
        # ones.
        classifier.set_params(**PLAIN)
        if method.role in ("verified_only", "student"):
            train = train[task.verified[train]]
            longer = passes_for_as_many_updates(
                len(train), len(task.rows("train")), classifier.batch_size
            )
            classifier.set_params(
                epochs=longer * classifier.epochs, patience=longer * classifier.patience
            )
        labels = task.clean_of(train)
        if method.role == "mapped":
            names = classifier.clean_labels or _vocabulary(task)
            classifier.set_params(clean_labels=names)
            labels = mapped_by_name(task.noisy_of(train), names)
    classifier.fit(task.x[train], task.noisy_of(train), labels, validation=task.validation())
    if method.role == "student":
        plain = RobustClassifier(**{**method.settings, **PLAIN})
        networks = method.settings.get("students", 1)
        classifier = student_of(classifier, task, plain, seed, networks=networks)
    seconds = time.perf_counter() - started
    test = task.rows("test")
    return Outcome(
        classifier.score(task.x[test], task.clean_of(test)),
        seconds=seconds,
        epoch=classifier.history_.best_epoch,
        validation=classifier.history_.validation,
        **_recovery(task, classifier, method.role),
    ), classifier


def _run_baseline(task: Task, method: Method, seed: int) -> Outcome:
    """A method from the literature, with its own settings among those of the classifier."""
    settings = dict(method.settings)
    baseline = BASELINES[method.role]
    own: Mapping[str, Any] = settings.pop("own", baseline.choices[0])
    posed = pose(task, settings, bags=baseline.bags)
    space = posed.problem.clean
    started = time.perf_counter()
    fitted = baseline.fit(posed.problem, seed, **own)
    seconds = time.perf_counter() - started
    scores = []
    for part in ("test", "validation"):
        rows = task.rows(part)
        scores.append(_score(task, space, rows, posed.predict(fitted, rows)))
    hidden = np.flatnonzero(~task.verified[posed.rows])
    recovery = dict(NO_RECOVERY)
    if len(hidden):
        cleaned = fitted.cleaned(hidden).numpy()
        recovery = _measures(task, space, posed.rows[hidden], cleaned)
    return Outcome(scores[0], seconds=seconds, validation=scores[1], **recovery)


def mapped_by_name(noisy: Cells, vocabulary: Sequence[Any]) -> list[Any]:
    """The noisy names that name clean labels, whatever their case; the rest is ignored.

    A class that names no clean one becomes None.
    """
    clean = {str(name).casefold(): name for name in vocabulary}
    return [
        [clean[key] for key in (str(n).casefold() for n in cell) if key in clean]
        if isinstance(cell, Collection) and not isinstance(cell, str)
        else clean.get(str(cell).casefold())
        for cell in noisy
    ]


def names_in_common(task: Task) -> int:
    """How many clean labels some noisy label names."""
    named = mapped_by_name(task.noisy_of(task.rows("train")), _vocabulary(task))
    return len({name for cell in named for name in cell})


def paper_methods(hidden: int, settings: Mapping[str, Any]) -> list[Method]:
    """The variants of the paper's Figure 2 and α = 0, from W = 0, without an average of weights.

    They are trained for the 11 epochs in which α falls. The length is our choice, not the paper's.

    Args:
        hidden: hidden units, where a variant has them.
        settings: arguments of `RobustClassifier` that all share.
    """
    # Sweeps that adapt gave the same figures as more of them.
    paper = {**settings, **PAPER, "adaptive_sweeps": True, "epochs": 11}
    linked = {**paper, "noisy_link": True}
    full = {**paper, "hidden": hidden}
    return [
        Method("paper: no pairwise terms", "model", {**paper, "pairwise": False}),
        Method("paper: no hidden units", "model", linked),
        Method("paper: hidden units", "model", {**linked, "hidden": hidden}),
        Method("paper: hidden units, no x–y link", "model", full),
        Method(
            "paper: the same, α = 0",
            "model",
            {**full, "alpha_start": 0.0, "alpha_end": 0.0, "alpha_epochs": 0.0},
        ),
    ]


def recovery_of_auxiliary(task: Task, classifier: RobustClassifier) -> float:
    """Recovery score of a fitted classifier's auxiliary alone, which never looks at x."""
    rows = task.rows("train")
    rows = rows[~task.verified[rows]]
    given = encode(read_columns(task.noisy_of(rows)), classifier.noisy_space_)
    probabilities = classifier.model_.auxiliary.clean_mean(torch.from_numpy(given.toarray()))
    return _score(task, classifier.clean_space_, rows, probabilities.numpy())


def _recovery(task: Task, classifier: RobustClassifier, role: str) -> dict[str, Any]:
    """Cleaned labels against the truth: q, or p(ŷ | x) for a classifier that has no q."""
    rows = task.rows("train")
    rows = rows[~task.verified[rows]]
    if role == "all_clean" or len(rows) == 0:
        return dict(NO_RECOVERY)
    probabilities: NDArray[Any]
    if role == "student":
        probabilities = fused_probabilities(classifier, task.x[rows], task.noisy_of(rows))
    elif role == "model":
        probabilities = classifier.clean(task.x[rows], task.noisy_of(rows)).probabilities
    else:
        probabilities = classifier.predict_proba(task.x[rows])
    return _measures(task, classifier.clean_space_, rows, probabilities)


def _auxiliary_recovery(task: Task, settings: Mapping[str, Any], seed: int) -> dict[str, Any]:
    train = task.rows("train")
    noisy = read_columns(task.noisy_of(train))
    clean = read_columns(task.readable(train))
    noisy_space, clean_space = (
        LabelSpace(tuple(columns), tuple(column.vocabulary() for column in columns.values()))
        for columns in (noisy, clean)
    )
    states = encode(noisy, noisy_space)
    known = task.verified[train]
    pairs = Pairs(
        noisy_space.units,
        clean_space.units,
        states[np.flatnonzero(known)],
        encode(clean, clean_space, what="clean")[np.flatnonzero(known)].toarray(),
    )
    auxiliary, _ = fit_auxiliary(pairs, **settings, seed=seed)
    rest = states[np.flatnonzero(~known)].toarray()
    probabilities = auxiliary.clean_mean(torch.from_numpy(rest)).numpy()
    return _measures(task, clean_space, train[~known], probabilities)


def _score(
    task: Task, space: LabelSpace, rows: NDArray[np.intp], probabilities: NDArray[Any]
) -> float:
    """The score of rows whose examples could be used."""
    return score(space.units, *_comparable(task, space, rows, probabilities))


def _measures(
    task: Task, space: LabelSpace, rows: NDArray[np.intp], probabilities: NDArray[Any]
) -> dict[str, Any]:
    """What an outcome says of cleaned labels."""
    compared = (space.units, *_comparable(task, space, rows, probabilities))
    return {
        "recovery": score(*compared),
        "calibration_error": calibration_error(*compared),
        "brier": brier_score(*compared),
    }


def _comparable(
    task: Task, space: LabelSpace, rows: NDArray[np.intp], probabilities: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Truth and probabilities of rows whose examples could be used."""
    known = ~np.isnan(probabilities).any(1)
    truth = encode(read_columns(task.clean_of(rows[known])), space, unknown="ignore")
    return truth.toarray(), probabilities[known]


def _vocabulary(task: Task) -> list[Any]:
    """The clean labels that may be read."""
    rows = np.concatenate([task.rows("train"), task.rows("validation")])
    may = task.verified[rows] | (task.split[rows] == "validation")
    cells = [task.clean[row] for row in rows[may]]
    return list(read_columns(cells)[""].vocabulary().names)
