"""Fitting from a table: options into an estimator, rows into a model, and what is told of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentlabels.cleaning import CleanedLabels
from latentlabels.cli.console import Voice, listed
from latentlabels.cli.options import (
    DEFAULTS,
    BackboneOptions,
    InputOptions,
    ModelOptions,
    Preset,
    TrainingOptions,
)
from latentlabels.cli.roles import Roles
from latentlabels.cli.rows import (
    Mask,
    Rows,
    read_matrix,
    read_names,
    require_in_vocabulary,
    require_known_classes,
    respelt,
    spelling_of,
    spellings_told,
)
from latentlabels.cli.scores import compared
from latentlabels.cli.tally import Tally
from latentlabels.data.labels import Name
from latentlabels.errors import LabelError, LatentLabelsError, TrainingWarning, shown
from latentlabels.estimator import RobustClassifier
from latentlabels.evaluation.acceptance import Acceptance
from latentlabels.evaluation.learning_curve import LearningCurve
from latentlabels.evaluation.metrics import score_name
from latentlabels.fitting import ASSUMED_NOISE
from latentlabels.parameters import PAPER
from latentlabels.results import fit_told, number
from latentlabels.verifying import learning_curve

METRICS_SCHEMA = 1


def estimator_of(
    model: ModelOptions,
    backbone: BackboneOptions,
    reading: InputOptions,
    training: TrainingOptions,
    seed: int,
    *,
    progress: bool,
) -> RobustClassifier:
    """An unfitted estimator as the options want it, but for the kind of its input.

    Raises:
        LatentLabelsError: options that contradict each other, or files that cannot be read.
    """
    options = {**vars(model), **vars(backbone), **vars(reading), **vars(training)}
    arguments = {name: value for name, value in options.items() if name in DEFAULTS}
    if model.preset == Preset.PAPER:
        # What the user asked for besides stays.
        arguments |= {
            name: value
            for name, value in PAPER.items()
            if arguments.get(name, DEFAULTS[name]) == DEFAULTS[name]
        }
    if model.transition_matrix:
        if model.auxiliary != DEFAULTS["auxiliary"]:
            raise LatentLabelsError(
                "--auxiliary and --transition-matrix exclude each other: pass one of them."
            )
        matrices = [read_matrix(path).tolist() for path in model.transition_matrix]
        arguments["auxiliary"] = matrices if len(matrices) > 1 else matrices[0]
    for name in ("clean_labels", "noisy_labels"):
        if arguments[name] is not None:
            arguments[name] = read_names(arguments[name], f"--{name.replace('_', '-')}")
    if model.hidden_layers is not None:
        arguments["hidden_layers"] = _widths(model.hidden_layers)
    return RobustClassifier(**arguments, random_state=seed, verbose=progress)


def fit(
    estimator: RobustClassifier,
    rows: Rows,
    roles: Roles,
    options: ModelOptions,
    voice: Voice,
    warm_start: RobustClassifier | None = None,
) -> Rows:
    """Fit an estimator on a table's training rows.

    Images and texts of all rows are read before that, so that a bad one ends no long training.

    Args:
        estimator: what to fit.
        rows: all rows.
        roles: of the columns they come from.
        options: that the estimator was made of.
        voice: for warnings.
        warm_start: a fitted model whose weights to start from.

    Returns:
        The rows, with what was read of their examples.

    Raises:
        LabelError: labels that nothing can be learnt from.
        InputError: images or texts that cannot be used.
    """
    rows = in_one_spelling(estimator, rows, voice)
    _check(rows, roles, options)
    _warn_of_assumed_noise(rows, options, voice)
    estimator.set_params(input_kind=roles.input_kind.value)
    if estimator.clean_labels is not None and options.clean_labels is not None:
        require_in_vocabulary(rows, estimator.clean_labels, options.clean_labels)
        _warn_of_unverified(estimator.clean_labels, rows, voice)
    rows = replace(rows, x=estimator.usable(rows.x))
    with voice.passing_on(TrainingWarning):
        estimator.fit(**fit_rows(rows), warm_start=warm_start)
    if estimator.clean_labels is None:
        _warn_of_unverified(estimator.clean_space_.names, rows, voice)
    chains = estimator.history_.chains
    if chains is not None and not chains.is_good:
        voice.warn(chains.told(estimator.history_.weights, estimator.label_names()))
    return rows


def fit_rows(rows: Rows) -> dict[str, Any]:
    """What an estimator is fitted on, by the names of `fit`'s arguments."""
    known = rows.known_clean()
    training = rows.split == "train"
    held_out = rows.labelled_in("validation")
    validation = None
    if held_out.any():
        validation = (
            rows.examples(held_out),
            rows.clean.take(held_out),
            rows.noisy_of(held_out),
        )
    return {
        "X": rows.examples(training),
        "y": rows.noisy_of(training),
        "clean": None if known is None else known.take(training),
        "validation": validation,
    }


def curve_of(estimator: RobustClassifier, rows: Rows, voice: Voice) -> LearningCurve | None:
    """What more verified rows would bring; none, with a warning, where a fit for it fails."""
    try:
        return learning_curve(estimator, **fit_rows(rows))
    except LatentLabelsError as error:
        # The model is fitted, and not to be lost.
        voice.warn(f"there is no learning curve: {error}")
        return None


def in_one_spelling(estimator: RobustClassifier, rows: Rows, voice: Voice) -> Rows:
    """The rows as an unfitted estimator is to see them: respelt if it wants that, or as they are.

    In the second case labels that differ in spelling alone are told of.
    """
    if estimator.normalise_labels:
        given = chain(estimator.clean_labels or [], estimator.noisy_labels or [])
        return respelt(rows, spelling_of(rows, given))
    if told := spellings_told(rows):
        voice.warn(told)
    return rows


def clean(
    estimator: RobustClassifier, rows: Rows, tally: Tally, precision: float | None = None
) -> CleanedLabels:
    """Clean rows, and count them; verified ones keep what was verified.

    Args:
        estimator: fitted.
        rows: some rows.
        tally: of all rows.
        precision: share of the changes that are made that is to be right.
    """
    if estimator.normalise_labels:
        rows = respelt(rows, estimator.known_spelling())
    space = estimator.noisy_space_
    names = {name for vocabulary in space.vocabularies for name in vocabulary.names}
    noisy = rows.noisy_of(columns=space.columns)
    cleaned = estimator.clean(rows.x, noisy, rows.known_clean(), precision=precision)
    given = chain.from_iterable(column.counts() for column in rows.noisy.values())
    tally.add(cleaned, (name for name in given if name not in names))
    return cleaned


def warn_of_unknown(tally: Tally, voice: Voice) -> None:
    """Say which noisy labels the model does not know."""
    if tally.unknown:
        voice.warn(
            f"{len(tally.unknown)} noisy labels are not in the model's vocabulary and say nothing: "
            f"{listed(tally.unknown)}."
        )


def acceptance_of(
    estimator: RobustClassifier, precision: float | None, voice: Voice
) -> Acceptance | None:
    """Which changes are made where a precision is asked for; with a warning where none are."""
    if precision is None:
        return None
    acceptance = estimator.acceptance(precision)
    if not acceptance.overall.accepted:
        voice.warn(f"--precision {precision:g}: {acceptance.told()}.")
    return acceptance


def metrics_of(
    estimator: RobustClassifier,
    rows: Rows,
    tally: Tally,
    acceptance: Acceptance | None,
    probabilities: NDArray[np.float32],
    comparison: dict[str, Any],
    seed: int,
) -> dict[str, Any]:
    """What is told of a run: metrics.json.

    Args:
        estimator: fitted.
        rows: all rows of the table, with what was read of their examples.
        tally: of their cleaned labels.
        acceptance: which changes were made, where a precision was asked for.
        probabilities: of the rows that `recoverable` chooses, (some, clean).
        comparison: with the verified rows alone.
        seed: of everything random.
    """
    history, space = estimator.history_, estimator.clean_space_
    test = rows.labelled_in("test") & rows.usable()
    predicted = np.empty((0, 0))
    if test.any():
        predicted = estimator.predict_proba(rows.examples(test))
    return {
        "schema": METRICS_SCHEMA,
        "seed": seed,
        "rows": {
            "all": len(rows),
            **{part: int((rows.split == part).sum()) for part in ("train", "validation", "test")},
            "verified": int(rows.verified.sum()),
            "skipped": int((~rows.usable()).sum()),
        },
        **fit_told(estimator),
        "changes": {
            "rows": tally.changed,
            "added": tally.added,
            "removed": tally.removed,
            "for_review": tally.for_review,
        },
        "acceptance": None if acceptance is None else acceptance.as_json(),
        "validation": None
        if history.validation is None
        else {score_name(space.units): number(history.validation)},
        "test": compared(space, rows.clean.take(test), predicted),
        "recovery": compared(space, rows.clean.take(recoverable(rows)), probabilities),
        "comparison": comparison,
    }


def recoverable(rows: Rows) -> Mask:
    """Training rows whose clean labels are there and were not read, (rows,)."""
    mask: Mask = rows.labelled_in("train") & ~rows.verified & rows.usable()
    return mask


def _check(rows: Rows, roles: Roles, options: ModelOptions) -> None:
    training = rows.split == "train"
    if not training.any():
        raise LabelError("No row is a training row. Mark those to fit on as train.")
    if roles.clean is not None and not (rows.verified.any() or options.transition_matrix):
        raise LabelError(
            "No training row is verified: there is none whose label in column "
            f"{shown(roles.clean)} may be read. Verify some rows, or say what is known with "
            "--transition-matrix."
        )
    for name, column in rows.noisy.items():
        if not column.take(training).counts():
            raise LabelError(f"No training row has a noisy label in column {shown(name)}.")
    read = rows.verified | rows.labelled_in("validation")
    if read.any() and not rows.clean.take(read).counts():
        raise LabelError("No verified row has a clean label: there is nothing to learn.")
    require_known_classes(rows)


def _warn_of_unverified(names: Sequence[Name], rows: Rows, voice: Voice) -> None:
    seen = rows.clean.take(rows.verified).counts()
    never = [name for name in names if name not in seen]
    if never and rows.verified.any():
        voice.warn(
            f"{len(never)} of {len(names)} clean labels never occur among verified rows: "
            f"{listed(never)}. Little can be learnt of them."
        )


def _warn_of_assumed_noise(rows: Rows, options: ModelOptions, voice: Voice) -> None:
    classes = all(column.exclusive for column in rows.noisy.values())
    chosen = options.transition_matrix or options.auxiliary != DEFAULTS["auxiliary"]
    if rows.verified.any() or chosen or not classes:
        return
    voice.warn(
        f"no row is verified: noise of {ASSUMED_NOISE:.0%}, the same for all classes, is assumed. "
        "Verify some rows, or say what is known with --transition-matrix."
    )


def _widths(text: str) -> tuple[int, ...]:
    try:
        widths = tuple(int(width) for width in text.split(",") if width.strip())
    except ValueError:
        widths = (0,)
    if any(width < 1 for width in widths):
        raise LatentLabelsError(
            f"--hidden-layers wants whole numbers above zero such as 256,128, got {shown(text)}."
        )
    return widths
