"""Labels that are spelt in several ways, rare, too many, very long, or no names at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array
from tests.small_tables import QUICK, names_of, table_of_tags

from latentlabels import RobustClassifier
from latentlabels.data.spelling import SpellingWarning
from latentlabels.errors import LabelError, LatentLabelsError

TABLE = table_of_tags()
SPELT = [
    [[name, name.upper(), f" {name}  "][row % 3] for name in cell]
    for row, cell in enumerate(names_of(TABLE.noisy, ("kitty", "hot dog", "caf\u00e9")))
]
PLAIN = names_of(TABLE.noisy, ("kitty", "hot dog", "caf\u00e9"))
CLEAN = names_of(TABLE.clean, ("cat", "Hot Dog", "Cafe\u0301"))


def fitted(noisy: Any, clean: Any = CLEAN, **settings: Any) -> RobustClassifier:
    return RobustClassifier(**{**QUICK, **settings}).fit(TABLE.x, noisy, clean)


def test_labels_that_differ_in_spelling_alone_are_warned_of() -> None:
    with pytest.warns(SpellingWarning, match=r"labels differ .* normalise_labels=True") as caught:
        model = fitted(SPELT)
    assert len(caught) == 1
    assert len(model.noisy_space_.names) == 9


def test_they_become_one_that_is_remembered(tmp_path: Path) -> None:
    model = fitted(SPELT, normalise_labels=True)
    # The clean labels' spellings are rarer, and what is no spelling of a noisy name stays.
    assert model.clean_space_.names == ("caf\u00e9", "cat", "hot dog")
    assert model.noisy_space_.names == ("caf\u00e9", "hot dog", "kitty")
    model.save(tmp_path / "model")
    loaded = RobustClassifier.load(tmp_path / "model")
    for one in (model, loaded):
        cleaned = one.clean(TABLE.x, SPELT, CLEAN)
        assert cleaned.given == PLAIN
        shouted = [[name.upper() for name in cell] for cell in PLAIN]
        np.testing.assert_array_equal(
            one.clean(TABLE.x, shouted, CLEAN).probabilities, cleaned.probabilities
        )
        assert cleaned.verified.sum() == TABLE.verified.sum()
    # The same as if they had been spelt in one way.
    plain = RobustClassifier(**QUICK).fit(TABLE.x, PLAIN, names_of(TABLE.clean, PLAIN_CLEAN))
    np.testing.assert_array_equal(plain.predict_proba(TABLE.x), model.predict_proba(TABLE.x))
    assert loaded.score(TABLE.x, names_of(TABLE.truth, ("CAT", "HOT DOG", "CAFE\u0301"))) == (
        plain.score(TABLE.x, names_of(TABLE.truth, PLAIN_CLEAN))
    )


PLAIN_CLEAN = ("cat", "hot dog", "caf\u00e9")


def test_a_given_vocabulary_says_how_labels_are_spelt() -> None:
    settings = {"normalise_labels": True, "clean_labels": ["CAT", "Hot dog", "CAF\u00c9"]}
    model = fitted(SPELT, **settings)
    assert model.clean_space_.names == ("CAT", "Hot dog", "CAF\u00c9")
    assert model.noisy_space_.names == ("CAF\u00c9", "Hot dog", "kitty")
    by_column = {"": ["KITTY", "hot dog", "caf\u00e9"]}
    model = fitted(SPELT, normalise_labels=True, noisy_labels=by_column)
    assert model.noisy_space_.names == ("KITTY", "hot dog", "caf\u00e9")
    with pytest.raises(LabelError, match="each label once, 'CAT'"):
        fitted(SPELT, normalise_labels=True, clean_labels=["CAT", "cat", "hot dog", "caf\u00e9"])


def test_rare_labels_are_left_out_of_account() -> None:
    noisy = [[*cell, f"rare {row}"] for row, cell in enumerate(PLAIN)]
    model, plain = fitted(noisy, PLAIN_TRUTH, min_count=2), fitted(PLAIN, PLAIN_TRUTH)
    assert model.noisy_space_ == plain.noisy_space_
    cleaned = model.clean(TABLE.x, noisy)
    assert cleaned.given == noisy
    np.testing.assert_array_equal(cleaned.probabilities, plain.clean(TABLE.x, PLAIN).probabilities)


PLAIN_TRUTH = names_of(TABLE.clean, PLAIN_CLEAN)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_count": 0}, "min_count is a whole number from 1"),
        ({"min_count": 1.5}, "min_count is a whole number from 1"),
        ({"min_count": 1000}, "No noisy label occurs in 1000 rows"),
        ({"min_count": 2, "noisy_labels": ["kitty"]}, "pass one of them"),
    ],
)
def test_counts_that_cannot_be_used(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(LatentLabelsError, match=message):
        fitted(PLAIN, PLAIN_TRUTH, **settings)


def test_a_million_labels_end_with_one_error_that_says_what_to_do() -> None:
    rows = len(TABLE.x)
    each = -(-1_000_000 // rows)
    noisy = [[*PLAIN[row], *range(row * each, (row + 1) * each)] for row in range(rows)]
    with pytest.raises(LabelError, match=r"1,000,0\d\d noisy labels, 100,000 at most.*count=2 "):
        fitted(noisy, PLAIN_TRUTH)
    assert len(fitted(noisy, PLAIN_TRUTH, min_count=2).noisy_space_.names) == 3


def test_a_sparse_matrix_is_never_written_out() -> None:
    """Its zeros alone would take eight megabytes a row."""
    rows = len(TABLE.x)
    wide = csr_array((np.ones(rows), (range(rows), range(rows))), shape=(rows, 10**6))
    with pytest.raises(LabelError, match="1,000,000 noisy labels"):
        fitted(wide, PLAIN_TRUTH)


def test_labels_of_100_kilobytes_work(tmp_path: Path) -> None:
    long = {name: name * 25_000 for name in ("kitty", "hot dog", "caf\u00e9", *PLAIN_CLEAN)}
    noisy = [[long[name] for name in cell] for cell in PLAIN]
    clean = [cell and [long[name] for name in cell] for cell in PLAIN_TRUTH]
    model, plain = fitted(noisy, clean), fitted(PLAIN, PLAIN_TRUTH)
    np.testing.assert_array_equal(model.predict_proba(TABLE.x), plain.predict_proba(TABLE.x))
    model.save(tmp_path / "model")
    assert RobustClassifier.load(tmp_path / "model").predict(TABLE.x) == model.predict(TABLE.x)
    with pytest.raises(LabelError) as caught:
        fitted(noisy, clean, noisy_labels=["kitty"])
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("name", [float("inf"), float("nan"), "\ud800", None, b"cat", ("a",)])
def test_what_is_no_name_is_refused_before_training(name: Any) -> None:
    with pytest.raises(LabelError, match="A label's name is a whole text or a finite number"):
        fitted([[*cell, name] for cell in PLAIN], PLAIN_TRUTH)


@pytest.mark.parametrize(
    "names",
    [
        ("a\0b", "a\nb", "a\r\n"),
        ("\U0001f600", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f44d\U0001f3fd"),
        ("\u05e9\u05dc\u05d5\u05dd", "\u0645\u0631\u062d\u0628\u0627", "\u202egnp.exe"),
        ("", "\ufeff", "\u00ad"),
        (10**30, -1, 0.5),
    ],
)
def test_odd_names_are_kept_as_they_are(tmp_path: Path, names: tuple[Any, ...]) -> None:
    model = fitted(names_of(TABLE.noisy, names), names_of(TABLE.clean, names))
    model.save(tmp_path / "model")
    loaded = RobustClassifier.load(tmp_path / "model")
    assert set(loaded.clean_space_.names) == set(names)
    assert loaded.clean(TABLE.x, names_of(TABLE.noisy, names)).given == names_of(TABLE.noisy, names)


@pytest.mark.parametrize("clean", [PLAIN_TRUTH, names_of(TABLE.truth, PLAIN_CLEAN)])
def test_features_that_say_nothing_and_rows_that_are_all_verified(clean: list[Any]) -> None:
    model = RobustClassifier(**QUICK).fit(np.ones_like(TABLE.x), PLAIN, clean)
    assert np.isfinite(model.clean(np.ones_like(TABLE.x), PLAIN).probabilities).all()
    assert len(np.unique(model.predict_proba(np.ones_like(TABLE.x)), axis=0)) == 1


def test_one_class_and_one_row() -> None:
    model = RobustClassifier(**{**QUICK, "auxiliary": "auto"}).fit(TABLE.x, ["a"] * len(TABLE.x))
    assert set(model.predict(TABLE.x)) == {"a"}
    model = RobustClassifier(**QUICK).fit(TABLE.x[:1], [["a"]], [["b"]])
    assert model.clean(TABLE.x[:1], [["a"]]).given == [["a"]]
