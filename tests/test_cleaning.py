"""What is proposed for a row, and how it differs from what was given."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentlabels.cleaning import clean_labels
from latentlabels.data.labels import LabelSpace, Name, Vocabulary

ANIMALS = ("cat", "dog", "owl")
TAGS = LabelSpace(("",), (Vocabulary(ANIMALS, exclusive=False),))
KIND = LabelSpace(("",), (Vocabulary(ANIMALS, exclusive=True),))


def numbers(*rows: list[float]) -> np.ndarray:
    return np.array(rows, dtype=np.float32)


def test_labels_are_proposed_added_and_removed() -> None:
    cleaned = clean_labels(
        TAGS,
        given=[["cat", "pet"], ["owl", "dog"], []],
        probabilities=numbers([0.9, 0.6, 0.1], [0.5, 0.4, 0.51], [0, 0, 0]),
        known=numbers([0, 0, 0], [0, 0, 0], [0, 0, 0]),
        verified=np.array([False, False, False]),
    )
    assert cleaned.names == ANIMALS
    assert cleaned.given == [["cat", "pet"], ["owl", "dog"], []]
    assert cleaned.proposed == [["cat", "dog"], ["owl"], []]
    assert cleaned.added == [["dog"], [], []]
    assert cleaned.removed == [[], ["dog"], []], "a name that no clean label has is not removed"
    assert cleaned.changed.tolist() == [True, True, False]
    assert len(cleaned) == 3


def test_one_class_is_proposed_however_improbable() -> None:
    cleaned = clean_labels(
        KIND,
        given=[["cat"], ["cat"], ["cow"]],
        probabilities=numbers([0.4, 0.3, 0.3], [0.3, 0.3, 0.4], [0.2, 0.4, 0.4]),
        known=np.zeros((3, 3), np.float32),
        verified=np.zeros(3, bool),
    )
    assert cleaned.proposed == [["cat"], ["owl"], ["dog"]]
    assert cleaned.added == [[], ["owl"], ["dog"]]
    assert cleaned.removed == [[], ["cat"], []]


def test_verified_rows_keep_their_labels() -> None:
    """Whatever the model says of them, and whatever stands in `known` for the others."""
    cleaned = clean_labels(
        TAGS,
        given=[["cat"], ["cat"]],
        probabilities=numbers([np.nan, np.nan, 0.9], [0.9, 0.2, 0.1]),
        known=numbers([0, 1, 0], [np.nan, np.nan, np.nan]),
        verified=np.array([True, False]),
    )
    assert cleaned.proposed == [["dog"], ["cat"]]
    assert cleaned.added == [["dog"], []]
    assert cleaned.removed == [["cat"], []]
    np.testing.assert_array_equal(cleaned.probabilities, numbers([0, 1, 0], [0.9, 0.2, 0.1]))
    assert cleaned.probabilities.dtype == np.float32
    assert cleaned.verified.tolist() == [True, False]


def test_several_kinds_of_label_are_named_with_their_column() -> None:
    space = LabelSpace(("kind", "tags"), (KIND.vocabularies[0], TAGS.vocabularies[0]))
    cleaned = clean_labels(
        space,
        given=[["kind=cat", "tags=dog", "dog"]],
        probabilities=numbers([0.1, 0.2, 0.7, 0.9, 0.9, 0.1]),
        known=np.zeros((1, 6), np.float32),
        verified=np.zeros(1, bool),
    )
    assert cleaned.proposed == [["kind=owl", "tags=cat", "tags=dog"]]
    assert cleaned.added == [["kind=owl", "tags=cat"]]
    assert cleaned.removed == [["kind=cat"]]


@given(st.data(), st.sampled_from([TAGS, KIND]), st.integers(0, 4))
def test_given_and_what_changed_give_what_is_proposed(
    data: st.DataObject, space: LabelSpace, rows: int
) -> None:
    known_or_not: list[Name] = [*ANIMALS, "cow", "pet"]
    names = st.lists(st.sampled_from(known_or_not), max_size=5, unique=True)
    share = st.floats(0, 1, width=32)
    row = st.lists(share, min_size=3, max_size=3)
    given_names = data.draw(st.lists(names, min_size=rows, max_size=rows))
    drawn = data.draw(st.lists(row, min_size=rows, max_size=rows))
    probabilities = np.array(drawn, np.float32).reshape(rows, 3)
    verified = np.array(data.draw(st.lists(st.booleans(), min_size=rows, max_size=rows)), bool)
    known = np.eye(3, dtype=np.float32)[np.arange(rows) % 3]
    cleaned = clean_labels(space, given_names, probabilities, known, verified)
    assert len(cleaned) == rows
    for k in range(rows):
        old, new = set(cleaned.given[k]), set(cleaned.proposed[k])
        added, removed = set(cleaned.added[k]), set(cleaned.removed[k])
        assert added == new - old
        assert removed == (old & set(ANIMALS)) - new
        assert ((old | added) - removed) & set(ANIMALS) == new
        assert cleaned.changed[k] == bool(added or removed)
        if verified[k]:
            assert cleaned.proposed[k] == [ANIMALS[k % 3]]
        elif space is TAGS:
            assert new == {name for name, p in zip(ANIMALS, drawn[k], strict=True) if p > 0.5}
        else:
            assert cleaned.proposed[k] == [ANIMALS[int(np.argmax(probabilities[k]))]]


def test_what_to_verify_next_is_what_is_most_in_doubt() -> None:
    """A class is one doubt, any number of labels one each; who is verified or skipped is left."""
    tags, kind = Vocabulary(("a", "b"), exclusive=False), Vocabulary(("x", "y"), exclusive=True)
    space = LabelSpace(("tags", "kind"), (tags, kind))
    p = np.array(
        [
            [0.5, 0.5, 1.0, 0.0],  # two bits
            [0.0, 1.0, 0.5, 0.5],  # one bit, of a class
            [0.5, 0.5, 0.5, 0.5],  # verified
            [0.5, 0.5, 0.5, 0.5],  # skipped
            [0.0, 0.9, 0.0, 1.0],  # less than one bit
        ],
        dtype=np.float32,
    )
    known = np.eye(5, 4, dtype=np.float32)
    verified = np.arange(5) == 2
    cleaned = clean_labels(space, [[] for _ in p], p, known, verified, {3: "torn"})
    checks = cleaned.to_verify(10)
    assert [check.row for check in checks] == [0, 1, 4]
    assert [check.bits for check in checks][:2] == pytest.approx([2, 1])
    assert [check.label for check in checks] == [space.names[0], space.names[2], space.names[1]]
    assert checks[2].probability == pytest.approx(0.9)
    assert [check.row for check in cleaned.to_verify(1, done=[0])] == [1]
    assert cleaned.to_verify(10, done=[0, 1, 4]) == []
