"""Which labels may be read, which vocabulary they have, and which rows choose the epoch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.small_tables import table_of_classes

from latentlabels.data.labels import LabelSpace, Vocabulary, read_columns
from latentlabels.errors import LabelError
from latentlabels.network.examples import Vectors
from latentlabels.preparation import (
    FEWEST_VALIDATION_ROWS,
    Prepared,
    clean_states,
    noisy_states,
    prepare,
    read_labels,
    verified_rows,
)
from latentlabels.training.rows import Rows

ANIMALS = LabelSpace(("",), (Vocabulary(("cat", "dog", "owl"), exclusive=False),))
CLASSES = LabelSpace(("",), (Vocabulary(("cat", "dog", "owl"), exclusive=True),))


def numbers(rows: Rows) -> np.ndarray:
    """The numbers that the examples of some rows are."""
    return rows.x.batch(np.arange(len(rows))).numpy().ravel()


def prepared(noisy: Any, clean: Any, validation: Any = None, **options: Any) -> Prepared:
    """`prepare` on examples that number the rows; those of validation count down from −1."""
    columns = read_columns(clean)
    known = verified_rows(columns, options.pop("verified", None))
    x = Vectors(np.arange(len(known), dtype=np.float32)[:, None])
    held_out = None
    if validation is not None:
        numbers = -1 - np.arange(len(validation), dtype=np.float32)
        held_out = (Vectors(numbers[:, None]), read_columns(validation))
    settings: dict[str, Any] = {
        "noisy_labels": None,
        "clean_labels": None,
        "validation_fraction": 0.2,
        "seed": 0,
    }
    return prepare(x, read_columns(noisy), columns, known, held_out, **{**settings, **options})


def test_as_many_labels_as_examples() -> None:
    assert list(read_labels(["a", "b"], 2, "noisy")) == [""]
    with pytest.raises(LabelError, match="3 examples, 2 rows of clean labels"):
        read_labels(["a", "b"], 3, "clean")
    with pytest.raises(LabelError, match="pass the noisy labels"):
        read_labels(None, 3, "noisy")


def test_verified_rows_are_those_with_a_label_or_those_of_the_mask() -> None:
    clean = read_columns([["cat"], None, [], ["dog"]])
    assert verified_rows(clean, None).tolist() == [True, False, True, True]
    for mask in ([True, False, False, True], [1, 0, 0, 1], np.array([1.0, 0.0, 0.0, 1.0])):
        assert verified_rows(clean, mask).tolist() == [True, False, False, True]


@pytest.mark.parametrize("mask", [[True], [0, 3], [[True] * 4], [0, 1, 2, 0], ["yes"] * 4])
def test_a_mask_is_one_boolean_a_row(mask: Any) -> None:
    with pytest.raises(LabelError, match="one boolean for each of 4 rows"):
        verified_rows(read_columns([["cat"], None, [], ["dog"]]), mask)


def test_a_verified_row_needs_its_label() -> None:
    with pytest.raises(LabelError, match="Row 1 is verified and has no clean label"):
        verified_rows(read_columns([["cat"], None, []]), [True, True, False])


def test_clean_labels_that_may_not_be_read_are_not_looked_at() -> None:
    columns = read_columns([["cat"], ["no such animal"], ["owl", "cat"]])
    readable = np.array([True, False, True])
    states = clean_states(columns, readable, ANIMALS).toarray()
    assert states.tolist() == [[1, 0, 0], [0, 0, 0], [1, 0, 1]]
    with pytest.raises(LabelError, match="clean label 'no such animal' in row 1"):
        clean_states(columns, ~readable, ANIMALS)


def test_a_noisy_class_cannot_be_missing_or_unknown() -> None:
    with pytest.raises(LabelError, match="Row 1 has no noisy class, and 2 rows"):
        noisy_states(read_columns(["cat", None, None]), CLASSES)
    with pytest.raises(LabelError, match="Row 1 has the noisy class 'cow'"):
        noisy_states(read_columns(["cat", "cow"]), CLASSES, unknown="ignore")
    several = LabelSpace(("ann",), CLASSES.vocabularies)
    with pytest.raises(LabelError, match="Row 0 has no noisy class of 'ann'"):
        noisy_states(read_columns({"ann": [None, "cat"]}), several)


def test_a_row_may_have_no_noisy_labels_or_unknown_ones() -> None:
    columns = read_columns([["cat"], None, ["cow", "owl"], []])
    states = noisy_states(columns, ANIMALS, unknown="ignore").toarray()
    assert states.tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 1], [0, 0, 0]]


def test_vocabularies_are_the_labels_that_may_be_read() -> None:
    found = prepared(
        [["b"], ["a"], ["c"], []],
        [["y"], ["not verified"], ["x"], None],
        validation=[["z"], None],
        verified=[True, False, True, False],
    )
    assert found.noisy == LabelSpace(("",), (Vocabulary(("a", "b", "c"), exclusive=False),))
    assert found.clean == LabelSpace(("",), (Vocabulary(("x", "y", "z"), exclusive=False),))
    assert found.rows.clean.toarray().tolist() == [[0, 1, 0], [0, 0, 0], [1, 0, 0], [0, 0, 0]]
    assert found.rows.noisy.toarray().tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 0]]


def test_clean_classes_are_the_noisy_ones_where_they_are_among_them() -> None:
    assert prepared([3, 1, 2], [1, None, None]).clean.names == (1, 2, 3)
    assert prepared([3, 1, 2], [1, None, 4]).clean.names == (1, 4)
    assert prepared([3, 1, 2], [1, None, None], validation=[4]).clean.names == (1, 4)
    # Several annotators have no one vocabulary between them.
    annotators = {"ann": [3, 1, 2], "bob": [1, 1, 1]}
    assert prepared(annotators, [1, None, None]).clean.names == (1,)


def test_a_given_vocabulary_is_taken_as_it_is() -> None:
    found = prepared(
        [["b"], ["a"]], [["x"], None], noisy_labels=["b", "z", "a"], clean_labels=["y", "x"]
    )
    assert (found.noisy.names, found.clean.names) == (("b", "z", "a"), ("y", "x"))
    with pytest.raises(LabelError, match="clean label 'x' in row 0"):
        prepared([["b"], ["a"]], [["x"], None], clean_labels=["y"])
    with pytest.raises(LabelError, match="noisy class 'b'"):
        prepared(["b", "a"], ["a", None], noisy_labels=["a"])


def test_vocabularies_of_several_columns_are_given_by_name() -> None:
    clean = {"kind": ["x", None], "tags": [["t"], None]}
    found = prepared([["b"], ["a"]], clean, clean_labels={"kind": ["w", "x"]})
    assert found.clean.names == ("kind=w", "kind=x", "tags=t")
    with pytest.raises(LabelError, match="There are 2 label columns, so a vocabulary is a mapping"):
        prepared([["b"], ["a"]], clean, clean_labels=["w", "x"])


def test_validation_rows_are_those_with_a_label() -> None:
    found = prepared([["a"], []], [["x"], None], validation=[["x"], None, []])
    assert found.validation is not None
    assert numbers(found.validation).tolist() == [-1, -3]
    assert found.validation.clean.toarray().tolist() == [[1], [0]]
    assert found.rows.verified.tolist() == [True, False]
    assert prepared([["a"], []], [["x"], None], validation=[None, None]).validation is None


def test_verified_rows_are_held_out_to_choose_the_epoch() -> None:
    """They are no longer verified in training, and their noisy labels still are trained on."""
    table = table_of_classes(rows=150, verified=120)
    one, again, other = (
        prepared(table.noisy, table.clean, validation_fraction=0.25, seed=seed)
        for seed in (1, 1, 2)
    )
    assert one.validation is not None
    held_out = numbers(one.validation).astype(int)
    assert len(held_out) == 30
    assert table.verified[held_out].all()
    assert one.rows.verified.sum() == 90
    assert not one.rows.verified[held_out].any()
    assert len(one.rows) == 150
    np.testing.assert_array_equal(one.rows.noisy[held_out].argmax(1), table.noisy[held_out])
    np.testing.assert_array_equal(one.validation.clean.argmax(1), table.truth[held_out])
    np.testing.assert_array_equal(one.validation.noisy.argmax(1), table.noisy[held_out])
    assert one.given == [[name] for name in table.noisy[held_out]]
    assert again.validation is not None
    assert other.validation is not None
    np.testing.assert_array_equal(numbers(again.validation), numbers(one.validation))
    assert set(numbers(other.validation)) != set(numbers(one.validation))


@pytest.mark.parametrize(("fraction", "held_out"), [(0.0, False), (0.19, False), (0.2, True)])
def test_too_few_rows_tell_nothing_and_are_not_held_out(fraction: float, held_out: bool) -> None:
    table = table_of_classes(rows=150, verified=5 * FEWEST_VALIDATION_ROWS)
    found = prepared(table.noisy, table.clean, validation_fraction=fraction)
    assert (found.validation is not None) == held_out
    kept = 80 if held_out else 100
    assert found.rows.verified.sum() == kept


def test_validation_rows_keep_their_noisy_labels_where_they_are_known() -> None:
    """Those of the rows that have a clean label and a usable example, unknown names left out."""
    table = [["cat"], ["dog"], ["cat", "dog"]]
    found = prepared(
        table,
        table,
        validation=[["dog"], ["cat"], None, ["cat"]],
        validation_rows=np.array([1, 2, 3]),
        validation_noisy=read_columns([["owl"], ["cat", "owl"], ["dog"], ["dog"]]),
    )
    assert found.validation is not None
    assert found.given == [["cat", "owl"], ["dog"]]
    assert found.validation.noisy.toarray().tolist() == [[1, 0], [0, 1]]
    assert found.validation.clean.toarray().tolist() == [[1, 0], [1, 0]]
    assert numbers(found.validation).tolist() == [-1, -3]
    assert prepared(table, table, validation=[["dog"]]).given is None
