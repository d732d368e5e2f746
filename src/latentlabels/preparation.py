"""From what a caller passes to rows of states: vocabularies, verified rows, validation rows."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from latentlabels.data.labels import (
    Column,
    Form,
    LabelSpace,
    Name,
    Vocabulary,
    encode,
    plain_name,
    present,
    read_columns,
    vocabulary_of,
)
from latentlabels.data.rarity import require_bearable, without_rare
from latentlabels.data.spelling import (
    Spelling,
    SpellingWarning,
    every_name,
    told_of_spellings,
)
from latentlabels.errors import LabelError, row_number, shown
from latentlabels.network.examples import Examples
from latentlabels.training.rows import Rows

FEWEST_VALIDATION_ROWS = 20

Columns = Mapping[str, Column]
Names = Sequence[Name] | Mapping[str, Sequence[Name]]


@dataclass(frozen=True)
class Prepared:
    """Everything training needs to know of the data.

    Attributes:
        rows: the training rows.
        validation: rows for early stopping and the choice of epoch, or None.
        noisy: the noisy labels' space.
        clean: the clean labels' space.
        given: names that came with the validation rows; None where their noisy labels are not
            known.
        held_out: rows of the labels that were held out for validation; none where other rows are
            given for it.
    """

    rows: Rows
    validation: Rows | None
    noisy: LabelSpace
    clean: LabelSpace
    given: list[list[Name]] | None
    held_out: NDArray[np.intp]


def read_labels(labels: Any, rows: int, what: str) -> dict[str, Column]:
    """Labels in any accepted form, as many as there are examples.

    Raises:
        LabelError: no labels, another form, or another number of rows.
    """
    if labels is None:
        raise LabelError(
            "RobustClassifier requires y to be passed, but the target y is None: "
            f"pass the {what} labels."
        )
    columns = read_columns(labels)
    found = len(next(iter(columns.values())))
    if found != rows:
        raise LabelError(
            f"Found input variables with inconsistent numbers of samples: {rows} examples, "
            f"{found} rows of {what} labels. Pass labels for every example, in the same order."
        )
    return columns


def verified_rows(clean: Columns, verified: ArrayLike | None) -> NDArray[np.bool_]:
    """Which rows' clean labels may be read: those that are not missing and, with a mask, are in it.

    Raises:
        LabelError: a mask that is not one boolean a row, or that has a row in it whose class is
            missing.
    """
    have = present(clean)
    if verified is None:
        return have
    mask = np.asarray(verified)
    if mask.shape != have.shape or not np.isin(mask, (0, 1)).all():
        raise LabelError(
            f"verified is one boolean for each of {len(have)} rows, "
            f"got {mask.dtype} of shape {mask.shape}."
        )
    mask = mask.astype(bool)
    if (mask & ~have).any():
        row = int(np.flatnonzero(mask & ~have)[0])
        raise LabelError(
            f"Row {row} is verified and has no clean label. "
            "Give its label (an empty list for none), or leave it out of verified."
        )
    return mask


def clean_states(
    columns: Columns, readable: NDArray[np.bool_], space: LabelSpace, *, unknown: str = "error"
) -> csr_array:
    """Clean states (rows, clean) of the readable rows; the others are zero and not looked at."""
    return encode(masked(columns, readable), space, unknown=unknown, what="clean")


def masked(columns: Columns, readable: NDArray[np.bool_]) -> dict[str, Column]:
    """The columns, with labels in the readable rows alone."""
    return {name: column.only(readable) for name, column in columns.items()}


def noisy_states(columns: Columns, space: LabelSpace, *, unknown: str = "error") -> csr_array:
    """Noisy states (rows, noisy).

    Raises:
        LabelError: a row without the one class it has to have.
    """
    for name, column in columns.items():
        missing = np.flatnonzero(column.missing)
        if column.exclusive and len(missing):
            where = f" of {name!r}" if name else ""
            raise LabelError(
                f"Row {row_number(missing[0])} has no noisy class{where}, and {len(missing)} rows "
                "have none in all. Give every row one class, or leave those rows out."
            )
    for name, vocabulary in zip(space.columns, space.vocabularies, strict=True):
        if vocabulary.exclusive and name in columns:
            _require_known_classes(columns[name], vocabulary)
    return encode(columns, space, unknown=unknown)


def _require_known_classes(column: Column, vocabulary: Vocabulary) -> None:
    """A row whose class is not known cannot be left without one."""
    found = column.first_beside(vocabulary.index)
    if found:
        raise LabelError(
            f"Row {row_number(found[0])} has the noisy class {shown(found[1])}, which the model "
            f"does not know. It knows {', '.join(map(shown, vocabulary.names[:20]))}."
        )


def prepare(
    x: Examples,
    noisy: Columns,
    clean: Columns,
    known: NDArray[np.bool_],
    validation: tuple[Examples, Columns] | None,
    *,
    noisy_labels: Names | None,
    clean_labels: Names | None,
    validation_fraction: float,
    seed: int,
    rows: NDArray[np.intp] | None = None,
    validation_rows: NDArray[np.intp] | None = None,
    validation_noisy: Columns | None = None,
    normalise: bool = False,
    min_count: int = 1,
) -> Prepared:
    """Settle the vocabularies, encode the labels, and set validation rows apart.

    Args:
        x: examples.
        noisy: given labels.
        clean: clean labels.
        known: which rows' clean labels may be read, (rows,).
        validation: examples and clean labels for the choice of epoch.
        noisy_labels: the noisy vocabulary, where the caller gives one; by column, where there are
            several.
        clean_labels: the clean vocabulary likewise.
        validation_fraction: share of the verified rows to hold out where no validation rows are
            given; fewer than 20 tell nothing, and then none are held out.
        seed: of the choice of held-out rows.
        rows: which rows of the labels the examples are; by default all. The labels of the others
            are part of the vocabularies.
        validation_rows: likewise for validation.
        validation_noisy: given labels of the validation examples, where they are known.
        normalise: whether names that differ in spelling alone are one label.
        min_count: a noisy label that fewer rows have is left out.

    Raises:
        LabelError: labels outside the vocabulary, or more of them than a model can have.
    """
    held_columns = {} if validation is None else validation[1]
    readable = [*masked(clean, known).values(), *held_columns.values()]
    if normalise:
        settled = chain(_every_name(clean_labels), _every_name(noisy_labels))
        spelling = Spelling.commonest(every_name([*noisy.values(), *readable]), settled)
        noisy, clean, held_columns = map(spelling.columns, (noisy, clean, held_columns))
        if validation_noisy is not None:
            validation_noisy = spelling.columns(validation_noisy)
        noisy_labels, clean_labels = (
            _respelt(names, spelling) for names in (noisy_labels, clean_labels)
        )
    elif told := told_of_spellings(every_name(noisy.values()), every_name(readable)):
        warnings.warn(told, SpellingWarning, stacklevel=3)
    came = noisy
    noisy = without_rare(noisy, min_count)
    noisy_space = LabelSpace(
        tuple(noisy),
        tuple(
            _given_or_found(column, _names_for(noisy_labels, name, noisy), None)
            for name, column in noisy.items()
        ),
    )
    clean_space = LabelSpace(
        tuple(clean),
        tuple(
            _clean_vocabulary(
                column,
                known,
                held_columns.get(name),
                noisy_space,
                _names_for(clean_labels, name, clean),
            )
            for name, column in clean.items()
        ),
    )
    require_bearable(noisy_space, clean_space, noisy)
    taken = slice(None) if rows is None else rows
    states = clean_states(clean, known, clean_space)[taken]
    given = noisy_states(noisy, noisy_space)[taken]
    known = known[taken]
    if validation is not None:
        have = present(held_columns)
        if validation_rows is not None:
            have = have[validation_rows]
        chosen = np.flatnonzero(have)
        held_rows = chosen if validation_rows is None else validation_rows[chosen]
        held = encode(held_columns, clean_space, what="clean")[held_rows]
        paired, names = None, None
        if validation_noisy is not None:
            own = _some(validation_noisy, held_rows)
            require_widths(own, noisy_space)
            paired = noisy_states(own, noisy_space, unknown="ignore")
            names = given_names(own, clean_space)
        held_out = _validation(validation[0].take(chosen), held, paired, given.shape[1])
        none = np.empty(0, np.intp)
        return Prepared(
            Rows(x, given, states, known), held_out, noisy_space, clean_space, names, none
        )
    chosen = _hold_out(known, validation_fraction, seed)
    trained = known.copy()
    trained[chosen] = False
    held_out = _validation(x.take(chosen), states[chosen], given[chosen], given.shape[1])
    numbers = chosen if rows is None else rows[chosen]
    names = given_names(_some(came, numbers), clean_space)
    return Prepared(
        Rows(x, given, states, trained), held_out, noisy_space, clean_space, names, numbers
    )


def _some(columns: Columns, rows: NDArray[np.intp]) -> dict[str, Column]:
    """Some rows of label columns."""
    return {name: column.take(rows) for name, column in columns.items()}


def _every_name(names: Names | None) -> Iterable[Name]:
    if isinstance(names, Mapping):
        return chain.from_iterable(names.values())
    return () if names is None else names


def _respelt(names: Names | None, spelling: Spelling) -> Names | None:
    """A vocabulary that the caller gives, respelt."""
    if isinstance(names, Mapping):
        return {title: [spelling.of(name) for name in own] for title, own in names.items()}
    return None if names is None else [spelling.of(name) for name in names]


def _names_for(names: Names | None, column: str, columns: Columns) -> Sequence[Name] | None:
    """The vocabulary that the caller gives for one column, if any."""
    if isinstance(names, Mapping):
        return names.get(column)
    if names is not None and len(columns) > 1:
        raise LabelError(
            f"There are {len(columns)} label columns, so a vocabulary is a mapping from a column's "
            f"name to its labels; got {type(names).__name__}."
        )
    return names


def _given_or_found(
    column: Column, names: Sequence[Name] | None, rows: NDArray[np.bool_] | None
) -> Vocabulary:
    if names is not None:
        return Vocabulary(tuple(plain_name(name) for name in names), column.exclusive)
    return column.vocabulary(rows)


def _clean_vocabulary(
    column: Column,
    known: NDArray[np.bool_],
    held_out: Column | None,
    noisy: LabelSpace,
    names: Sequence[Name] | None,
) -> Vocabulary:
    """The labels among the rows that may be read.

    Where those are classes among the noisy classes, all noisy classes.
    """
    if names is not None or column.form == "indicator":
        return _given_or_found(column, names, known)
    found = set(column.take(known).counts())
    if held_out is not None:
        found |= set(held_out.counts())
    if column.exclusive and len(noisy.columns) == 1 and noisy.vocabularies[0].exclusive:
        classes = noisy.vocabularies[0]
        if all(name in classes.index for name in found):
            return classes
    return vocabulary_of(found, exclusive=column.exclusive)


def _hold_out(known: NDArray[np.bool_], fraction: float, seed: int) -> NDArray[np.intp]:
    rows = np.flatnonzero(known)
    count = round(fraction * len(rows))
    if count < FEWEST_VALIDATION_ROWS:
        return rows[:0]
    # A row's draw does not hang on which others are verified: those that were held out stay so,
    # but for a few, when more are, and a model that starts from an earlier one is not judged by
    # rows that one was trained on.
    draws = np.random.default_rng(seed).random(len(known))
    return np.sort(rows[np.argsort(draws[rows], kind="stable")[:count]])


def _validation(x: Examples, clean: csr_array, noisy: csr_array | None, units: int) -> Rows | None:
    """Rows to predict, for which noisy labels are not asked for, and to calibrate on, if there are.

    Rows without a single label, on which no score is defined, are none.
    """
    if clean.nnz == 0:
        return None
    if noisy is None:
        noisy = csr_array((len(x), units), dtype="float32")
    return Rows(x, noisy, clean, np.ones(len(x), dtype=bool))


def in_form(form: Form, vocabulary: Vocabulary, states: NDArray[np.bool_]) -> Any:
    """Predicted states (rows, names) in the form that labels were given in."""
    if form == "classes":
        return np.array(vocabulary.names)[states.argmax(1)]
    if form == "indicator":
        return states.astype(np.int64)
    return [[vocabulary.names[unit] for unit in np.flatnonzero(row)] for row in states]


def nothing_verified(noisy: dict[str, Column]) -> dict[str, Column]:
    """Clean labels in the noisy labels' own form, all missing."""
    return {name: column.only(np.zeros(len(column), bool)) for name, column in noisy.items()}


def require_widths(columns: dict[str, Column], space: LabelSpace) -> None:
    """An indicator without names says what a column means by its place alone."""
    for name, vocabulary in zip(space.columns, space.vocabularies, strict=True):
        column = columns.get(name)
        if column is None or column.form != "indicator":
            continue
        unnamed = column.names == tuple(range(len(column.names)))
        if unnamed and len(column.names) != len(vocabulary.names):
            raise LabelError(
                f"The noisy labels have {len(column.names)} columns, the model knows "
                f"{len(vocabulary.names)}. Pass one column for each label, in the order of fitting."
            )


def given_names(columns: dict[str, Column], clean: LabelSpace) -> list[list[Name]]:
    """The names that came with each row, of all columns together, each once.

    They are spelt as the clean labels are: with their column where that has clean labels of its
    own.
    """
    several = len(clean.columns) > 1
    prefixes = [f"{title}=" if several and title in clean.columns else None for title in columns]
    return [
        list(
            dict.fromkeys(
                f"{prefix}{name}" if prefix else name
                for prefix, cell in zip(prefixes, cells, strict=True)
                for name in cell or ()
            )
        )
        for cells in zip(*(column.cells for column in columns.values()), strict=True)
    ]
