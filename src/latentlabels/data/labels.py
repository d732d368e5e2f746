"""Label spaces: from the names people use to units, and back.

Labels come as lists of names, as indicator matrices, as a vector of classes, or as a mapping from a
column's name to any of these, for several annotators or kinds of label side by side.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array, hstack, issparse
from sklearn.exceptions import DataConversionWarning

from latentlabels.data.missing import is_missing
from latentlabels.data.texts import is_whole_text
from latentlabels.errors import LabelError, shown, spelt_alike
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


@dataclass(frozen=True)
class Column:
    """One column of labels as it was read: each row's names, or None where it has no label.

    Attributes:
        cells: names of each row.
        form: how they were given: "names", "indicator" or "classes".
        names: the names in their order, where the input has one (an indicator's columns).
    """

    cells: Sequence[Cell]
    form: Form
    names: tuple[Name, ...] | None = None

    @property
    def exclusive(self) -> bool:
        """Whether each cell is one class."""
        return self.form == "classes"

    def vocabulary(self, rows: NDArray[np.bool_] | None = None) -> Vocabulary:
        """The names that occur, in order, in the rows that may be read."""
        if self.names is not None:
            return Vocabulary(self.names, self.exclusive)
        cells: Iterable[Cell] = self.cells
        if rows is not None:
            cells = (self.cells[int(row)] for row in np.flatnonzero(rows))
        found = set(chain.from_iterable(cell for cell in cells if cell is not None))
        return Vocabulary(tuple(_in_order(found)), self.exclusive)


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
        lengths = {name: len(column.cells) for name, column in columns.items()}
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
    have = [[cell is not None for cell in column.cells] for column in columns.values()]
    every: NDArray[np.bool_] = np.all(np.array(have, dtype=bool), axis=0)
    return every


def _encode_column(column: Column, vocabulary: Vocabulary, unknown: str, what: str) -> csr_array:
    # A column without any label is of either kind.
    some = any(cell is not None for cell in column.cells)
    if some and column.exclusive != vocabulary.exclusive:
        kinds = ("any number of labels a row", "one class a row")
        raise LabelError(
            f"The {what} labels have {kinds[column.exclusive]}, the model knows them with "
            f"{kinds[vocabulary.exclusive]}."
        )
    index = vocabulary.index
    rows: list[int] = []
    units: list[int] = []
    for row, cell in enumerate(column.cells):
        for name in cell or ():
            unit = index.get(name)
            if unit is not None:
                rows.append(row)
                units.append(unit)
            elif unknown == "error":
                raise LabelError(_unknown_name(name, row, vocabulary, what))
    shape = (len(column.cells), len(vocabulary.names))
    states = csr_array(coo_array((np.ones(len(rows), np.float32), (rows, units)), shape=shape))
    states.data[:] = 1.0  # a name given twice is one label
    return states


def _unknown_name(name: Name, row: int, vocabulary: Vocabulary, what: str) -> str:
    close = spelt_alike(str(name), map(str, vocabulary.names), 1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return (
        f"The {what} label {shown(name)} in row {row} is not among the {len(vocabulary.names)} "
        f"labels of the vocabulary.{hint} Correct it, or add it to {what}_labels."
    )


def _read_column(labels: Any) -> Column:
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
        return Column([_names_of(cell, row) for row, cell in enumerate(labels)], "names")
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
    own: tuple[Name, ...] = tuple(
        plain_name(name) for name in (names if names is not None else range(values.shape[1]))
    )
    cells: list[Cell] = [
        None if missing[row] else [own[unit] for unit in np.flatnonzero(values[row])]
        for row in range(len(values))
    ]
    return Column(cells, "indicator", own)


def _from_sparse(matrix: csr_array) -> Column:
    """An indicator matrix that would be too large if its zeros were written down."""
    matrix = matrix.copy()
    matrix.sum_duplicates()
    values = np.asarray(matrix.data, dtype=np.float64)
    missing = np.isnan(values)
    wrong = values[~missing & ~np.isin(values, (0.0, 1.0))]
    if len(wrong):
        raise _no_indicator(wrong)
    units = matrix.indices
    cells: list[Cell] = []
    for start, stop in zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True):
        on = units[start:stop][values[start:stop] == 1]
        cells.append(None if missing[start:stop].any() else on.tolist())
    return Column(cells, "indicator", tuple(range(matrix.shape[1])))


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
    cells: list[Cell] = [
        None if is_missing(value) else [plain_name(value)] for value in classes.tolist()
    ]
    return Column(cells, "classes")


def plain_name(name: Any) -> Name:
    """A name as a value that JSON keeps."""
    plain = name.item() if isinstance(name, np.generic) else name
    if isinstance(plain, str) and is_whole_text(plain):
        return plain
    if isinstance(plain, int) or (isinstance(plain, float) and math.isfinite(plain)):
        return plain
    raise LabelError(f"A label's name is a whole text or a finite number, got {shown(plain)}.")


def _in_order(names: set[Name]) -> list[Name]:
    """Numbers by value, then texts by spelling."""
    return sorted(names, key=lambda name: (isinstance(name, str), name))
