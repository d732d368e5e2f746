"""Cells become numbers, flags and splits; those that cannot are named by row and column."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentlabels.data.columns import column_of, flags, input_kind, input_matrix, splits
from latentlabels.errors import TableError

NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False)


def column(values: list[object] | pa.Array) -> pa.Table:
    return pa.table({"x": values})


@pytest.mark.parametrize(
    "values",
    [
        [[1, 2], [3, 4]],
        pa.array([[1, 2], [3, 4]], pa.list_(pa.int8(), 2)),
        pa.array([[1, 2], [3, 4]], pa.large_list(pa.float64())),
        ["1 2", "3\n4"],
        ["1;2", "3; 4"],
        ["[1, 2]", "[3.0,4e0]"],
        ["[1. 2.]", "[3.  4. ]"],
    ],
)
def test_vectors_in_every_form(values: list[object]) -> None:
    matrix = input_matrix(column(values), ["x"])
    assert matrix.dtype == np.float32
    np.testing.assert_array_equal(matrix, [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    "values",
    [
        [1, 0],
        [1.0, 0.0],
        [True, False],
        ["1", "0.0"],
        pa.array([1, 0], pa.decimal128(5, 2)),
        pa.array([1, 0], pa.float16()),
        pa.array([1, 0], pa.uint64()),
    ],
)
def test_numbers_of_every_type(values: list[object]) -> None:
    np.testing.assert_array_equal(input_matrix(column(values), ["x"]), [[1], [0]])


def test_columns_stand_side_by_side_in_the_order_asked_for() -> None:
    table = pa.table({"a": [1, 2], "b": [[3.0, 4.0], [5.0, 6.0]], "c": ["7", "8"]})
    matrix = input_matrix(table, ["c", "b", "a"])
    np.testing.assert_array_equal(matrix, [[7, 3, 4, 1], [8, 5, 6, 2]])


@given(st.lists(st.lists(NUMBERS, min_size=3, max_size=3), min_size=1), st.sampled_from(" ;,"))
def test_a_text_of_numbers_is_the_numbers(rows: list[list[float]], mark: str) -> None:
    texts = [mark.join(map(repr, row)) for row in rows]
    if mark == ",":
        texts = [f"[{text}]" for text in texts]
    np.testing.assert_array_equal(
        input_matrix(column(list(texts)), ["x"]), np.array(rows, np.float32)
    )


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1, None], "Row 1 of input column 'x' is empty"),
        (["1", None], "Row 1 of input column 'x' is empty"),
        ([1.0, float("nan")], "Row 1 of input column 'x' is nan"),
        ([1.0, float("-inf")], "Row 1 of input column 'x' is -inf"),
        ([1.0, 1e300], "Row 1 of input column 'x' is 1e[+]300"),
        ([[1.0, 2.0], [3.0, float("nan")]], "Row 1 .* is nan at place 1 of its vector"),
        (["1", "nan"], "Row 1 of input column 'x' is nan"),
        ([[1, 2], [3]], "Row 1 of input column 'x' has 1 numbers, row 0 has 2"),
        (["1 2", "1 2 3"], "Row 1 of input column 'x' has 3 numbers, row 0 has 2"),
        ([[1, 2], [3, None]], "Row 1 of input column 'x' lacks a number"),
        ([[1, 2], None], "Row 1 of input column 'x' is empty"),
        (pa.array([[], []], pa.list_(pa.float32())), "empty vectors"),
        (["1", "red"], "Row 1 of input column 'x' holds 'red'"),
        (["1", "1,5"], "Row 1 of input column 'x' holds '1,5'"),
        (["1", "  "], "Row 1 of input column 'x' holds '  '"),
        (["1", "a" * 100], f"holds '{'a' * 59}…'"),
        ([["a"], ["b"]], "'x' holds list<.*>, and a vector is numbers"),
        ([{"a": 1}], "'x' holds struct<.*>, and a vector is numbers"),
    ],
)
def test_what_is_no_input_is_named(values: list[object], message: str) -> None:
    with pytest.raises(TableError, match=message):
        input_matrix(column(values), ["x"])


def test_an_unknown_column_is_answered_with_those_there_are() -> None:
    table = pa.table({"words": [1], "image": [1]})
    with pytest.raises(TableError, match=r"no column 'wrods'. Did you mean 'words'\?"):
        column_of(table, "wrods")
    with pytest.raises(TableError, match=r"no column 'zzz'. Its columns are words, image\.$"):
        column_of(table, "zzz")
    many = pa.table({f"column {number}": [1] for number in range(20)})
    with pytest.raises(TableError, match=r"column 11 and 8 more\.$"):
        column_of(many, "zzz")


@pytest.mark.parametrize(
    "values",
    [
        [True, False, None],
        [1, 0, 0],
        [1.0, 0.0, None],
        ["true", "false", None],
        ["Yes", " no ", "0"],
        ["TRUE", "FALSE", "no"],
    ],
)
def test_flags_in_every_form(values: list[object]) -> None:
    np.testing.assert_array_equal(flags(column(values), "x"), [True, False, False])


@pytest.mark.parametrize("values", [[1, 2], [1.0, 0.5], ["yes", "maybe"], [0.0, float("nan")]])
def test_another_flag_is_refused(values: list[object]) -> None:
    with pytest.raises(TableError, match=f"row 1 has {values[1]!r}"):
        flags(column(values), "x")


def test_splits_in_every_spelling() -> None:
    values: list[object] = ["train", "Val", " valid", "dev", "validation", "TEST", "training"]
    expected = ["train", *["validation"] * 4, "test", "train"]
    assert splits(column(values), "x").tolist() == expected


@pytest.mark.parametrize("value", ["trian", None])
def test_another_split_is_refused(value: object) -> None:
    with pytest.raises(TableError, match=f"train, validation or test; row 1 has {value!r}"):
        splits(column(["train", value]), "x")


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2], "vector"),
        ([[1.0], [2.0]], "vector"),
        ([True, False], "vector"),
        (["0.5 1", "2;3", "[1, 2]"], "vector"),
        (["1 2", "3 4", "no vector"], "vector"),
        ([b"x", None], "image"),
        (pa.array([b"x"], pa.large_binary()), "image"),
        ([{"bytes": b"x", "path": None}], "image"),
        (["a.png", "b/c.JPG", "d.jpeg "], "image"),
        (["a.png", "b.png", "missing", None, ""], "image"),
        (["a film", "see a.png"], "text"),
        (["a film", "a book", "42", "nan"], "text"),
        (["1984", "a film"], "text"),
        (pa.array(["a film"], pa.large_string()), "text"),
        (pa.array([None, None], pa.string()), "vector"),
    ],
)
def test_what_a_column_looks_like(values: list[object], kind: str) -> None:
    assert input_kind(column(values), ["x"]) == kind


def test_several_columns_are_a_vector() -> None:
    table = pa.table({"x": ["a film"], "y": [1]})
    assert input_kind(table, ["x", "y"]) == "vector"
    with pytest.raises(TableError, match="no column 'z'"):
        input_kind(table, ["z"])
