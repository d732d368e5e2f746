"""Names become units and units names again, in whatever form the labels come."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_matrix, csc_array, csr_array
from sklearn.exceptions import DataConversionWarning

from latentlabels.data.labels import (
    LabelSpace,
    Name,
    Vocabulary,
    encode,
    present,
    read_columns,
)
from latentlabels.errors import LabelError
from latentlabels.model.units import Bernoulli, Categorical, Joint

NAMES = st.one_of(
    st.text(max_size=5),
    st.integers(),
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False),
)
# No two equal ones, and so not both 1 and True.
VOCABULARIES = st.lists(NAMES, min_size=1, max_size=6, unique=True)
ANIMALS = ("cat", "dog", "owl")
CELLS: list[Any] = [["dog", "cat"], [], None, ["owl"]]
INDICATOR = np.array([[1, 1, 0], [0, 0, 0], [np.nan] * 3, [0, 0, 1]])


def space_of(*vocabularies: Vocabulary, columns: tuple[str, ...] = ("",)) -> LabelSpace:
    return LabelSpace(columns, vocabularies)


def states_of(labels: Any, *names: Name, exclusive: bool = False, **options: str) -> np.ndarray:
    space = space_of(Vocabulary(names, exclusive))
    return encode(read_columns(labels), space, **options).toarray()


@st.composite
def labelled_rows(draw: st.DrawFn) -> tuple[list[Name], list[list[Name] | None]]:
    names = draw(VOCABULARIES)
    cell = st.none() | st.lists(st.sampled_from(names), max_size=8)
    return names, draw(st.lists(cell, max_size=6))


@given(labelled_rows())
def test_lists_of_names_come_back(drawn: tuple[list[Name], list[list[Name] | None]]) -> None:
    """In unit order, each name once, and with the type they have in the vocabulary."""
    names, cells = drawn
    columns = read_columns([["a"], *cells])
    space = space_of(Vocabulary(tuple(names), exclusive=False))
    states = encode(columns, space, unknown="ignore")[1:]
    decoded = space.decode(states.toarray() > 0)
    wanted = [[name for name in names if name in (cell or ())] for cell in cells]
    assert decoded == wanted
    assert [list(map(type, row)) for row in decoded] == [list(map(type, row)) for row in wanted]
    assert present(columns).tolist() == [True, *(cell is not None for cell in cells)]


@given(VOCABULARIES, st.data())
def test_classes_come_back(names: list[Name], data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.sampled_from(names), min_size=1))
    # A list of mixed types would become one of texts as an array.
    labels = np.array([*rows, None], dtype=object)
    space = space_of(Vocabulary(tuple(names), exclusive=True))
    states = encode(read_columns(labels), space).toarray()
    assert space.decode(states[:-1] > 0) == [[name] for name in rows]
    assert not states[-1].any()


@given(labelled_rows(), labelled_rows())
def test_several_columns_stand_side_by_side(
    one: tuple[list[Name], list[list[Name] | None]],
    other: tuple[list[Name], list[list[Name] | None]],
) -> None:
    rows = min(len(one[1]), len(other[1]))
    labels = {"a": [["x"], *one[1][:rows]], "b": [["x"], *other[1][:rows]]}
    columns = read_columns(labels)
    vocabularies = [Vocabulary(tuple(names), exclusive=False) for names, _ in (one, other)]
    both = encode(columns, space_of(*vocabularies, columns=("a", "b")), unknown="ignore").toarray()
    apart = [
        encode({"": columns[name]}, space_of(vocabulary), unknown="ignore").toarray()
        for name, vocabulary in zip("ab", vocabularies, strict=True)
    ]
    np.testing.assert_array_equal(both, np.hstack(apart))


def test_units_and_names_of_a_space() -> None:
    tags, kind = Vocabulary(ANIMALS, exclusive=False), Vocabulary((1, 2), exclusive=True)
    assert space_of(tags).units == Bernoulli(3)
    assert space_of(tags).names == ANIMALS
    assert space_of(kind).units == Categorical(2)
    both = space_of(tags, kind, columns=("animal", "kind"))
    assert both.units == Joint([Bernoulli(3), Categorical(2)])
    assert both.names == ("animal=cat", "animal=dog", "animal=owl", "kind=1", "kind=2")
    assert both.decode(np.array([[1, 0, 1, 0, 1]], dtype=bool)) == [
        ["animal=cat", "animal=owl", "kind=2"]
    ]


def test_a_found_vocabulary_has_numbers_by_value_and_then_texts() -> None:
    labels = [["b", 10, "a"], [9, 2.5], None, ["a"]]
    assert read_columns(labels)[""].vocabulary().names == (2.5, 9, 10, "a", "b")
    rows = np.array([False, True, True, True])
    assert read_columns(labels)[""].vocabulary(rows).names == (2.5, 9, "a")


def test_an_indicators_columns_are_all_in_the_vocabulary() -> None:
    column = read_columns(np.array([[0, 1, 0], [0, 0, 0]]))[""]
    assert column.vocabulary(np.array([False, True])).names == (0, 1, 2)
    named = read_columns(pd.DataFrame([[0, 1]], columns=["owl", "cat"]))[""]
    assert named.vocabulary().names == ("owl", "cat")


def test_a_vocabulary_names_each_label_once() -> None:
    with pytest.raises(LabelError, match="'cat' stands in it twice"):
        Vocabulary(("cat", "dog", "cat"), exclusive=False)
    with pytest.raises(LabelError, match="at least one class"):
        Vocabulary((), exclusive=True)
    assert Vocabulary((), exclusive=False).units == Bernoulli(0)


@pytest.mark.parametrize(
    "labels",
    [
        CELLS,
        tuple(CELLS),
        [("dog", "cat"), frozenset(), None, {"owl"}],
        [np.array(["dog", "cat"]), np.array([], dtype=str), np.nan, ["owl"]],
        [["dog", "cat", "dog"], [], pd.NA, ["owl"]],
        np.array(CELLS, dtype=object),
        pd.Series(CELLS),
        pd.DataFrame(INDICATOR, columns=list(ANIMALS)),
        pd.DataFrame({"labels": CELLS}),
    ],
    ids=str,
)
def test_forms_with_names_are_one(labels: Any) -> None:
    found = states_of(labels, *ANIMALS)
    np.testing.assert_array_equal(found, np.nan_to_num(INDICATOR))
    assert present(read_columns(labels)).tolist() == [True, True, False, True]


@pytest.mark.parametrize(
    "form",
    [
        np.asarray,
        torch.tensor,
        lambda matrix: matrix.astype(object),
        lambda matrix: pd.DataFrame(matrix),
        csr_array,
        coo_matrix,
        csc_array,
    ],
)
def test_indicators_are_one(form: Any) -> None:
    np.testing.assert_array_equal(
        states_of(form(INDICATOR), 0, 1, 2), states_of(INDICATOR, 0, 1, 2)
    )
    assert present(read_columns(form(INDICATOR))).tolist() == [True, True, False, True]


@pytest.mark.parametrize("form", [np.array, csr_array, torch.tensor])
def test_indicators_of_booleans(form: Any) -> None:
    matrix = np.array([[True, False], [False, False]])
    np.testing.assert_array_equal(states_of(form(matrix), 0, 1), matrix)


@pytest.mark.parametrize(
    "labels",
    [
        ["dog", None, "cat"],
        ("dog", None, "cat"),
        np.array(["dog", None, "cat"], dtype=object),
        np.array(["dog", np.nan, "cat"], dtype=object),
        ["dog", pd.NA, "cat"],
        pd.Series(["dog", None, "cat"]),
        pd.Series(["dog", pd.NA, "cat"], dtype="string"),
        pd.Series(["dog", None, "cat"], dtype="category"),
        pd.DataFrame({"kind": ["dog", None, "cat"]}),
    ],
    ids=repr,
)
def test_vectors_of_classes_are_one(labels: Any) -> None:
    wanted = [[0, 1, 0], [0, 0, 0], [1, 0, 0]]
    assert states_of(labels, *ANIMALS, exclusive=True).tolist() == wanted
    assert present(read_columns(labels)).tolist() == [True, False, True]


@pytest.mark.parametrize(
    "labels",
    [
        [1, None, 0],
        [1.0, np.nan, 0.0],
        np.array([1, np.nan, 0], dtype=np.float32),
        torch.tensor([1.0, torch.nan, 0.0]),
        pd.Series([1, None, 0], dtype="Int64"),
        pd.Series([True, None, False], dtype="boolean"),
    ],
    ids=repr,
)
def test_classes_are_numbers_too(labels: Any) -> None:
    assert states_of(labels, 0, 1, exclusive=True).tolist() == [[0, 1], [0, 0], [1, 0]]
    assert present(read_columns(labels)).tolist() == [True, False, True]


def test_a_column_vector_is_a_vector_of_classes() -> None:
    with pytest.warns(DataConversionWarning, match="column-vector"):
        columns = read_columns(np.array([[1], [0]]))
    assert columns[""].cells == [[1], [0]]
    assert columns[""].exclusive


def test_a_row_needs_a_label_in_every_column() -> None:
    columns = read_columns({"kind": [1, 2, None], "tags": [["a"], None, None]})
    assert present(columns).tolist() == [True, False, False]


def test_columns_without_any_label_are_of_either_kind() -> None:
    """A batch with no verified row is not to be refused for what it does not have."""
    assert not states_of([None, None], "cat").any()
    assert not states_of(np.full((2, 1), np.nan)[:, 0], "cat").any()


@pytest.mark.parametrize(
    ("name", "hint"), [("dgo", " Did you mean 'dog'?"), ("zebra", ""), (3, "")]
)
def test_an_unknown_name_is_told_with_the_closest_known(name: Name, hint: str) -> None:
    labels = [["cat"], ["owl", name]]
    with pytest.raises(LabelError) as error:
        states_of(labels, *ANIMALS, what="clean")
    assert str(error.value) == (
        f"The clean label {name!r} in row 1 is not among the 3 labels of the vocabulary.{hint} "
        "Correct it, or add it to clean_labels."
    )
    assert states_of(labels, *ANIMALS, unknown="ignore").tolist() == [[1, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("cat", "got str with 0 dimensions"),
        (None, "got NoneType with 0 dimensions"),
        (np.zeros((2, 2, 2)), "got ndarray with 3 dimensions"),
        ([["cat"], "dog"], r"row 1 has 'dog'. Write one label as \['dog'\]"),
        ([["cat", None]], "A label's name is a whole text or a finite number, got None"),
        ([["cat", np.nan]], "A label's name is a whole text or a finite number, got nan"),
        ([[{}]], r"A label's name is a whole text or a finite number, got \{\}"),
        ([0.5, 1.0], "A class is a name or a whole number, got fractions"),
        ([np.inf, 1.0], "contains infinity"),
        (np.array([[0, 2]]), "holds 0 and 1, got values from 0 to 2"),
        (np.array([["cat", "dog"]]), "something that is no number"),
        ({"a": [1, 2], "b": [1]}, r"need one length, got \{'a': 2, 'b': 1\}"),
        ({}, "need one length"),
    ],
)
def test_labels_that_cannot_be_read(labels: Any, message: str) -> None:
    with pytest.raises(LabelError, match=message):
        read_columns(labels)


def test_other_columns_than_the_space_has_are_refused() -> None:
    space = space_of(Vocabulary(ANIMALS, exclusive=False), columns=("animal",))
    with pytest.raises(LabelError, match=r"need the columns \['animal'\], got \['plant'\]"):
        encode(read_columns({"plant": [["cat"]]}), space)


def test_another_kind_of_label_is_refused() -> None:
    with pytest.raises(LabelError, match=r"have one class a row, .* any number of labels a row"):
        states_of(["cat"], *ANIMALS)
    with pytest.raises(LabelError, match=r"have any number of labels a row, .* one class a row"):
        states_of([["cat"]], *ANIMALS, exclusive=True)
