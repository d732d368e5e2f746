"""Labels that differ in spelling alone are told of, or become one."""

from __future__ import annotations

from dataclasses import replace
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentlabels.data.labels import Column, Name
from latentlabels.data.spelling import Spelling, folded, told_of_spellings

COMPOSED, DECOMPOSED = "Caf\u00e9", "Cafe\u0301"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Dog", "dog"),
        ("Dog", " dog\t"),
        ("hot dog", "Hot \u00a0 Dog"),
        (COMPOSED, DECOMPOSED),
        (COMPOSED, DECOMPOSED.upper()),
        ("Stra\u00dfe", "STRASSE"),
        ("\uff24\uff4f\uff47", "dog"),
        ("\ufb01lm", "film"),
    ],
)
def test_spellings_of_one_name(one: str, other: str) -> None:
    assert folded(one) == folded(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("resume", "r\u00e9sum\u00e9"),
        ("dog", "dogs"),
        ("hot dog", "hotdog"),
        ("hot-dog", "hot dog"),
        ("\U0001f468\u200d\U0001f467", "\U0001f468\U0001f467"),
    ],
)
def test_two_names(one: str, other: str) -> None:
    assert folded(one) != folded(other)


@given(st.text())
def test_every_form_of_a_text_is_the_same_name(text: str) -> None:
    forms = {folded(normalize(form, text)) for form in ("NFC", "NFD", "NFKC", "NFKD")}
    assert forms == {folded(text), folded(f" {text}\n"), folded(folded(text))}


@given(st.lists(st.text()))
def test_spelling_twice_changes_nothing(names: list[str]) -> None:
    spelling = Spelling.commonest(names)
    once = list(map(spelling.of, names))
    assert list(map(Spelling.commonest(once).of, once)) == once
    assert len(set(once)) == len(set(map(folded, names)))


def test_the_commonest_spelling_is_taken() -> None:
    names: list[Name] = ["dog", "Dog", "Dog ", "cat", "CAT", 1, DECOMPOSED, "cafe"]
    spelling = Spelling.commonest(names)
    assert spelling.of("DOG") == "Dog"
    assert spelling.of("cat") == "CAT"  # the first by code point of two that are as common
    assert spelling.of(COMPOSED) == COMPOSED
    assert spelling.of("cafe") == "cafe"
    assert [spelling.of(name) for name in (1, "new", " New")] == [1, "new", " New"]


def test_what_is_given_comes_first() -> None:
    spelling = Spelling.commonest(["Dog", "Dog"], given=["dog", "DOG", 2])
    assert spelling.of("Dog") == "dog"


def test_columns_are_respelt() -> None:
    spelling = Spelling.commonest(["Dog", "Dog", "dog"])
    lists = Column.of([["dog", "cat", "Dog"], None, []], "names")
    named = replace(Column.of([["dog", "DOG"], ["cat"]], "names"), form="indicator")
    columns = spelling.columns({"": lists, "named": named})
    assert columns[""].cells == [["Dog", "cat"], None, []]
    assert columns["named"].cells == [["Dog"], ["cat"]]
    assert columns["named"].names == ("Dog", "cat")


def test_labels_that_differ_in_spelling_alone_are_counted_and_shown() -> None:
    assert told_of_spellings(["dog", "cat", 1, True, "dog"]) is None
    told = told_of_spellings(["dog", "Dog", "DOG", "cat", COMPOSED, DECOMPOSED])
    assert told is not None
    assert told.startswith(
        "5 labels differ from another only by case, spaces or Unicode form, such as "
        r"'Cafe\u0301' and 'Café', 'DOG' and 'Dog'. "
    )
    assert "--normalise-labels" in told
    # Clean labels may be spelt in another way than noisy ones.
    assert told_of_spellings(["dog", "cat"], ["Dog", "Cat"]) is None
    assert told_of_spellings(["dog", "Dog"], ["Dog", "dog"]) == told_of_spellings(["dog", "Dog"])
    long = told_of_spellings(["a" * 100_000, "A" * 100_000])
    assert long is not None
    assert len(long) < 400
