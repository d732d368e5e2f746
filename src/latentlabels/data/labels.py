"""Label spaces: from the names people use to units, and back.

Labels come as lists of names, as indicator matrices, as a vector of classes, or as a mapping from a
column's name to any of these, for several annotators or kinds of label side by side.
"""

from __future__ import annotations

import math
import warnings
from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, hstack, issparse
from sklearn.exceptions import DataConversionWarning

from latentlabels.data.missing import is_missing
from latentlabels.data.texts import is_whole_text
from latentlabels.errors import LabelError, row_number, shown, spelt_alike
from latentlabels.model.units import Bernoulli, Categorical, Joint, Units

Name = str | int | float | bool
Cell = Collection[Name] | None
Form = Literal["names", "indicator", "classes"]


@dataclass(frozen=True)
class Vocabulary:
    """The names of one column of labels, in unit order.

    Attributes:
        names: the names, each once.
        exclusive: whether a row has exactly one of them (classes), or any number.
    """

    names: tuple[Name, ...]
    exclusive: bool

    def __post_init__(self) -> None:
        twice = [name for name, count in Counter(self.names).items() if count > 1]
        if twice:
            raise LabelError(
                f"A vocabulary names each label once, {shown(twice[0])} stands in it twice."
            )
        if self.exclusive and not self.names:
            raise LabelError("A vocabulary of classes needs at least one class, got none.")

    @cached_property
    def index(self) -> dict[Name, int]:
        """The unit of each name."""
        return {name: unit for unit, name in enumerate(self.names)}

    @property
    def units(self) -> Units:
        """The units the names stand for."""
        size = len(self.names)
        return Categorical(size) if self.exclusive else Bernoulli(size)


@dataclass(frozen=True, eq=False)
class Column:
    """One column of labels as it was read: each row's names, or none where it has no label.

    It is sparse, since a row has a few labels of many.

    Attributes:
        states: ones where a row has a name, in the order they came, each once, (rows, names).
        names: what the columns of `states` stand for; of an indicator, its vocabulary in order.
        missing: rows without a label, (rows,).
        form: how the labels were given.
    """

    states: csr_array
    names: tuple[Name, ...]
    missing: NDArray[np.bool_]
    form: Form

    @classmethod
    def of(cls, cells: Iterable[Cell], form: Form) -> Column:
        """A column from each row's names; None for a row that has no label."""
        index: dict[Name, int] = {}
        units, starts, missing = array("i"), array("q", [0]), bytearray()
        for cell in cells:
            missing.append(cell is None)
            units.extend(index.setdefault(name, len(index)) for name in dict.fromkeys(cell or ()))
            starts.append(len(units))
        states = _ones(np.frombuffer(units, np.intc), np.frombuffer(starts, np.int64), len(index))
        return cls(states, tuple(index), np.frombuffer(missing, np.bool_), form)

    def __len__(self) -> int:
        return len(self.missing)

    @property
    def exclusive(self) -> bool:
        """Whether each cell is one class."""
        return self.form == "classes"

    @property
    def cells(self) -> list[list[Name] | None]:
        """Names of each row, None where it has no label."""
        names, units = self.names, self.states.indices
        bounds = pairwise(self.states.indptr.tolist())
        return [
            None if missing else [names[unit] for unit in units[start:stop].tolist()]
            for missing, (start, stop) in zip(self.missing.tolist(), bounds, strict=True)
        ]

    def as_given(self) -> list[Any]:
        """Each row's label as a caller passes it: a list of names, or one class; or None."""
        return [cell and cell[0] for cell in self.cells] if self.exclusive else self.cells

    def take(self, rows: NDArray[Any]) -> Column:
        """Some of the rows, by number or by a mask."""
        return replace(self, states=self.states[rows], missing=self.missing[rows])

    def only(self, readable: NDArray[np.bool_]) -> Column:
        """All rows, with labels in those alone that may be read."""
        kept = np.repeat(readable, np.diff(self.states.indptr))
        return replace(self, states=_chosen(self.states, kept), missing=self.missing | ~readable)

    def among(self, known: Collection[Name]) -> Column:
        """All rows, with those names alone that are known."""
        kept = ~self._beside(known)[self.states.indices]
        return replace(self, states=_chosen(self.states, kept))

    def renamed(self, names: Sequence[Name]) -> Column:
        """All rows, with other names in the place of these; several that are now one count once."""
        index = {name: unit for unit, name in enumerate(dict.fromkeys(names))}
        units = np.array([index[name] for name in names], np.int64)[self.states.indices]
        rows = np.repeat(np.arange(len(self)), np.diff(self.states.indptr))
        first = np.unique(rows * len(index) + units, return_index=True)[1]
        kept = np.zeros(len(units), dtype=bool)
        kept[first] = True
        states = _chosen(_ones(units, self.states.indptr, len(index)), kept)
        return replace(self, states=states, names=tuple(index))

    def first_beside(self, known: Collection[Name]) -> tuple[int, Name] | None:
        """The first row with a name that is not among the known ones, and the name."""
        places = np.flatnonzero(self._beside(known)[self.states.indices])
        if not len(places):
            return None
        row = int(np.searchsorted(self.states.indptr, places[0], side="right")) - 1
        return row, self.names[self.states.indices[places[0]]]

    def _beside(self, known: Collection[Name]) -> NDArray[np.bool_]:
        return np.array([name not in known for name in self.names], dtype=np.bool_)

    def counts(self) -> dict[Name, int]:
        """How many rows have each name that some have."""
        counts = np.bincount(self.states.indices, minlength=len(self.names)).tolist()
        return {name: count for name, count in zip(self.names, counts, strict=True) if count}

    def vocabulary(self, rows: NDArray[np.bool_] | None = None) -> Vocabulary:
        """The names that occur, in order, in the rows that may be read."""
        if self.form == "indicator":
            return Vocabulary(self.names, self.exclusive)
        found = self if rows is None else self.take(rows)
        return vocabulary_of(found.counts(), exclusive=self.exclusive)


def vocabulary_of(names: Iterable[Name], *, exclusive: bool) -> Vocabulary:
    """Names in order: numbers by value, then texts by spelling."""
    ordered = sorted(names, key=lambda name: (isinstance(name, str), name))
    return Vocabulary(tuple(ordered), exclusive)


def _ones(units: NDArray[Any], starts: NDArray[Any], count: int) -> csr_array:
    """States (rows, count) with ones at the units, of which `starts` says where a row's begin."""
    shape = (len(starts) - 1, count)
    return csr_array((np.ones(len(units), np.int8), units, starts), shape=shape)


def _chosen(states: csr_array, kept: NDArray[np.bool_]) -> csr_array:
    """States with some of their ones, by a mask over all of them."""
    starts = np.concatenate([[0], np.cumsum(kept)])[states.indptr]
    return _ones(states.indices[kept], starts, states.shape[1])


@dataclass(frozen=True)
class Span:
    """The units of one column of labels.

    Attributes:
        start: the first.
        stop: the one behind the last.
        exclusive: whether a row has exactly one of them.
    """

    start: int
    stop: int
    exclusive: bool


@dataclass(frozen=True)
class LabelSpace:
    """All label columns of one side, noisy or clean, as one layer of units.

    Attributes:
        columns: the columns' names; a single unnamed column is "".
        vocabularies: of each column.
    """

    columns: tuple[str, ...]
    vocabularies: tuple[Vocabulary, ...]

    @property
    def names(self) -> tuple[Name, ...]:
        """The name of every unit; "column=name" where there are several columns."""
        if len(self.columns) == 1:
            return self.vocabularies[0].names
        return tuple(
            f"{column}={name}"
            for column, vocabulary in zip(self.columns, self.vocabularies, strict=True)
            for name in vocabulary.names
        )

    @property
    def spans(self) -> tuple[Span, ...]:
        """Which units each column has."""
        stops = list(accumulate(len(vocabulary.names) for vocabulary in self.vocabularies))
        return tuple(
            Span(start, stop, vocabulary.exclusive)
            for start, stop, vocabulary in zip(
                [0, *stops[:-1]], stops, self.vocabularies, strict=True
            )
        )

    @property
    def exclusive(self) -> bool:
        """Whether a row has exactly one label of all."""
        return len(self.vocabularies) == 1 and self.vocabularies[0].exclusive

    @property
    def units(self) -> Units:
        """The layer of units."""
        parts = [vocabulary.units for vocabulary in self.vocabularies]
        return parts[0] if len(parts) == 1 else Joint(parts)

    def decode(self, states: NDArray[np.bool_]) -> list[list[Name]]:
        """The names of the units that are on, for each row of (rows, units)."""
        names = self.names
        return [[names[unit] for unit in np.flatnonzero(row)] for row in states]


def read_columns(labels: Any) -> dict[str, Column]:
    """Labels in any of the accepted forms, as columns.

    Args:
        labels: lists of names (None: no label), an indicator matrix, dense or sparse (a row of NaN:
            no label), a vector of classes (None or NaN: no label), or a mapping from column names
            to these.

    Raises:
        LabelError: none of these forms, or columns of different lengths.
    """
    if isinstance(labels, Mapping):
        columns = {str(name): _read_column(column) for name, column in labels.items()}
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) != 1:
            raise LabelError(f"Label columns need one length, got {lengths}.")
        return columns
    return {"": _read_column(labels)}


def encode(
    columns: Mapping[str, Column], space: LabelSpace, *, unknown: str = "error", what: str = "noisy"
) -> csr_array:
    """The columns' states in a label space, sparse (rows, units) of float32.

    A row without label is zero.

    Args:
        columns: as read.
        space: the label space.
        unknown: "error", or "ignore" to leave out names that the space does not have.
        what: the side the labels are on, for errors.

    Raises:
        LabelError: other columns than the space has, an unknown name, or several classes where
            there is one.
    """
    if set(columns) != set(space.columns):
        raise LabelError(
            f"The {what} labels need the columns {sorted(space.columns)}, got {sorted(columns)}."
        )
    parts = [
        _encode_column(columns[name], vocabulary, unknown, what)
        for name, vocabulary in zip(space.columns, space.vocabularies, strict=True)
    ]
    return csr_array(hstack(parts, format="csr")) if len(parts) > 1 else parts[0]


def present(columns: Mapping[str, Column]) -> NDArray[np.bool_]:
    """Which rows have a label in every column, (rows,)."""
    every: NDArray[np.bool_] = ~np.any([column.missing for column in columns.values()], axis=0)
    return every


def _encode_column(column: Column, vocabulary: Vocabulary, unknown: str, what: str) -> csr_array:
    # A column without any label is of either kind.
    if not column.missing.all() and column.exclusive != vocabulary.exclusive:
        kinds = ("any number of labels a row", "one class a row")
        raise LabelError(
            f"The {what} labels have {kinds[column.exclusive]}, the model knows them with "
            f"{kinds[vocabulary.exclusive]}."
        )
    index = vocabulary.index
    found = column.first_beside(index)
    if found and unknown == "error":
        raise LabelError(_unknown_name(found[1], found[0], vocabulary, what))
    units = np.array([index.get(name, -1) for name in column.names], np.int64)
    kept = column.among(index).states
    states = _ones(units[kept.indices], kept.indptr, len(vocabulary.names)).astype(np.float32)
    states.sort_indices()
    return states


def _unknown_name(name: Name, row: int, vocabulary: Vocabulary, what: str) -> str:
    close = spelt_alike(str(name), map(str, vocabulary.names), 1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return (
        f"The {what} label {shown(name)} in row {row_number(row)} is not among the "
        f"{len(vocabulary.names)} labels of the vocabulary.{hint} Correct it, or add it to "
        f"{what}_labels."
    )


def _read_column(labels: Any) -> Column:
    if isinstance(labels, Column):
        return labels
    if issparse(labels):
        # The stubs' issparse narrows to a class that no constructor of theirs takes.
        return _from_sparse(csr_array(labels))  # type: ignore[call-overload]
    if hasattr(labels, "columns") and hasattr(labels, "to_numpy"):
        if len(labels.columns) == 1:
            return _read_column(labels.to_numpy()[:, 0])
        return _from_indicator(_numbers_of(labels), tuple(labels.columns))
    if hasattr(labels, "detach"):
        labels = labels.detach().cpu().numpy()
    if isinstance(labels, list | tuple) and any(_is_cell_of_names(cell) for cell in labels):
        _refuse_nested_indicator(labels)
        return Column.of((_names_of(cell, row) for row, cell in enumerate(labels)), "names")
    array = np.asarray(labels)
    if array.ndim == 1 and array.dtype == object and any(map(_is_cell_of_names, array)):
        return _read_column(list(array))
    if array.ndim == 2 and array.shape[1] == 1:
        warnings.warn(
            "A column-vector y was passed when a 1d array was expected; "
            "it is read as a vector of classes.",
            DataConversionWarning,
            stacklevel=2,
        )
        array = array[:, 0]
    if array.ndim == 2:
        return _from_indicator(array, None)
    if array.ndim == 1:
        return _from_classes(array)
    raise LabelError(
        "Labels are lists of names, an indicator matrix (rows, labels), a vector of classes, or a "
        f"mapping of these; got {type(labels).__name__} with {array.ndim} dimensions."
    )


def _numbers_of(frame: Any) -> NDArray[Any]:
    """A data frame's values; its own missing ones as NaN."""
    try:
        values: NDArray[Any] = frame.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError):
        values = frame.to_numpy()
    return values


def _refuse_nested_indicator(cells: Sequence[Any]) -> None:
    """Lists such as [1, 0, 1] would be taken for the names 1 and 0, which nobody means."""
    rows = [cell for cell in cells if not is_missing(cell)]
    same = all(_is_cell_of_names(row) and len(row) == len(rows[0]) for row in rows)
    if (
        same
        and all(isinstance(name, bool | int | np.integer) for row in rows for name in row)
        and {int(name) for row in rows for name in row} <= {0, 1}
        and any(len(row) > len(set(row)) for row in rows)
    ):
        raise LabelError(
            f"Lists of names were wanted, and these {len(rows[0])} zeros and ones a row look like "
            "an indicator matrix. Pass it as an array: np.array(labels)."
        )


def _is_cell_of_names(cell: Any) -> bool:
    return isinstance(cell, list | tuple | set | frozenset) or (
        isinstance(cell, np.ndarray) and cell.ndim == 1
    )


def _names_of(cell: Any, row: int) -> Cell:
    if is_missing(cell):
        return None
    if not _is_cell_of_names(cell):
        raise LabelError(
            f"Every row needs a list of names, row {row} has {shown(cell)}. "
            f"Write one label as [{shown(cell)}]."
        )
    return [plain_name(name) for name in cell]


def _from_indicator(matrix: NDArray[Any], names: tuple[Any, ...] | None) -> Column:
    try:
        # A complex number would lose a part of itself.
        values = np.asarray(matrix, dtype=object if np.iscomplexobj(matrix) else np.float64)
        values = values.astype(np.float64, copy=False)
    except (TypeError, ValueError) as error:
        raise LabelError(
            "An indicator matrix holds 0 and 1, got something that is no number. "
            "Pass names as lists of names."
        ) from error
    missing: NDArray[np.bool_] = np.any(np.isnan(values), axis=1)
    if not np.isin(values[~missing], (0.0, 1.0)).all():
        raise _no_indicator(values)
    own = names if names is not None else range(values.shape[1])
    rows, units = np.nonzero((values == 1) & ~missing[:, None])
    starts = np.searchsorted(rows, np.arange(len(values) + 1))
    return Column(
        _ones(units, starts, values.shape[1]), tuple(map(plain_name, own)), missing, "indicator"
    )


def _from_sparse(matrix: csr_array) -> Column:
    """An indicator matrix that would be too large if its zeros were written down."""
    matrix = matrix.copy()
    matrix.sum_duplicates()
    values = np.asarray(matrix.data, dtype=np.float64)
    unknown = np.isnan(values)
    wrong = values[~unknown & ~np.isin(values, (0.0, 1.0))]
    if len(wrong):
        raise _no_indicator(wrong)
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    missing = np.zeros(matrix.shape[0], dtype=np.bool_)
    missing[rows[unknown]] = True
    states = _chosen(_ones(matrix.indices, matrix.indptr, matrix.shape[1]), values == 1)
    return Column(states, tuple(range(matrix.shape[1])), missing, "indicator").only(~missing)


def _no_indicator(values: NDArray[np.float64]) -> LabelError:
    return LabelError(
        "An indicator matrix holds 0 and 1, "
        f"got values from {np.nanmin(values):g} to {np.nanmax(values):g}."
    )


def _from_classes(classes: NDArray[Any]) -> Column:
    if classes.dtype.kind == "f":
        if np.isinf(classes).any():
            raise LabelError("Input y contains infinity. A class is a name or a whole number.")
        numbers = classes[~np.isnan(classes)]
        if (numbers != np.floor(numbers)).any():
            raise LabelError(
                "Unknown label type: continuous. "
                "A class is a name or a whole number, got fractions."
            )
    cells = (None if is_missing(value) else [plain_name(value)] for value in classes.tolist())
    return Column.of(cells, "classes")


def plain_name(name: Any) -> Name:
    """A name as a value that JSON keeps."""
    plain = name.item() if isinstance(name, np.generic) else name
    if isinstance(plain, str) and is_whole_text(plain):
        return plain
    if isinstance(plain, int) or (isinstance(plain, float) and math.isfinite(plain)):
        return plain
    raise LabelError(f"A label's name is a whole text or a finite number, got {shown(plain)}.")
