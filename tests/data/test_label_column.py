"""A sparse column of labels does what lists of names and dense arrays would."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_array

from latentlabels.data.labels import Column, LabelSpace, Name, encode, present, read_columns
from latentlabels.preparation import given_names

NAMES = ["b", "a", "d", "c"]
CELLS = st.lists(st.none() | st.lists(st.sampled_from(NAMES), max_size=5), max_size=8)
INDICATORS = st.integers(0, 6).flatmap(
    lambda rows: st.lists(
        st.lists(st.sampled_from([0.0, 1.0]), min_size=3, max_size=3) | st.just([np.nan, 0.0, 1.0]),
        min_size=rows,
        max_size=rows,
    ).map(lambda values: np.array(values).reshape(-1, 3))
)


def once(cell: list[str] | None) -> list[str] | None:
    return cell and list(dict.fromkeys(cell))


def mask_of(data: st.DataObject, length: int) -> NDArray[np.bool_]:
    return np.array(data.draw(st.lists(st.booleans(), min_size=length, max_size=length)), bool)


@given(CELLS, st.data())
def test_operations_are_those_of_lists(cells: list[Any], data: st.DataObject) -> None:
    column = Column.of(cells, "names")
    expected = list(map(once, cells))
    assert (len(column), column.cells) == (len(cells), expected)
    rows = mask_of(data, len(cells))
    assert column.take(rows).cells == [c for c, on in zip(expected, rows, strict=True) if on]
    assert column.only(rows).cells == [
        c if on else None for c, on in zip(expected, rows, strict=True)
    ]
    known = data.draw(st.sets(st.sampled_from(NAMES)))
    among = [c and [name for name in c if name in known] for c in expected]
    assert column.among(known).cells == among
    beside = [(row, n) for row, c in enumerate(expected) for n in c or () if n not in known]
    assert column.first_beside(known) == (beside[0] if beside else None)
    new = {name: data.draw(st.sampled_from(["x", "y"])) for name in NAMES}
    renamed = column.renamed([new[str(name)] for name in column.names])
    assert renamed.cells == [c and list(dict.fromkeys(new[name] for name in c)) for c in expected]
    counts = {name: sum(name in (c or ()) for c in expected) for name in NAMES}
    assert column.counts() == {name: count for name, count in counts.items() if count}
    read = [c for c, on in zip(expected, rows, strict=True) if on]
    assert column.vocabulary(rows).names == tuple(sorted({n for c in read for n in c or ()}))


@given(CELLS)
def test_states_are_those_of_a_dense_array(cells: list[Any]) -> None:
    columns = {"": Column.of(cells, "names")}
    space = LabelSpace(("",), (columns[""].vocabulary(),))
    dense = np.array([[name in (cell or ()) for name in space.names] for cell in cells], float)
    states = encode(columns, space)
    np.testing.assert_array_equal(states.toarray(), dense.reshape(states.shape))
    assert states.dtype == np.float32
    assert states.has_sorted_indices
    assert given_names(columns, space) == [once(cell) or [] for cell in cells]


@given(INDICATORS)
def test_sparse_and_dense_indicators_are_one(matrix: NDArray[np.float64]) -> None:
    dense, sparse = (read_columns(form)[""] for form in (matrix, csr_array(matrix)))
    assert dense.cells == sparse.cells
    assert dense.names == sparse.names == (0, 1, 2)
    missing = np.asarray(np.isnan(matrix).any(1))
    np.testing.assert_array_equal(present({"": sparse}), ~missing)
    space = LabelSpace(("",), (dense.vocabulary(),))
    for column in (dense, sparse):
        states = encode({"": column}, space).toarray()
        np.testing.assert_array_equal(states, np.where(missing[:, None], 0, matrix))


def test_names_that_are_equal_are_one() -> None:
    cells: list[list[Name] | None] = [[1, True], [1.0], None]
    assert Column.of(cells, "names").cells == [[1], [1], None]
