"""The gallery: labels told apart, a file that is whole, text that stays text."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentlabels.errors import LatentLabelsError
from latentlabels.report.chips import ADDED, KEPT, REMOVED, WORD
from latentlabels.report.gallery import GalleryRow, draw, gallery_row, save_gallery

IMAGE = np.linspace(0, 1, 6).reshape(2, 3)
WORDS = st.lists(st.sampled_from("abcdefghij"))


@given(WORDS, st.sets(st.sampled_from("abcdef")).map(sorted))
def test_every_name_has_one_place(given_words: list[str], proposed: list[str]) -> None:
    labels = set("abcdef")
    row = gallery_row(IMAGE, given_words, proposed, labels)
    places = [*row.kept, *row.added, *row.removed, *row.words]
    assert sorted(places) == sorted({*given_words, *proposed})
    assert {*row.kept, *row.added} == set(proposed)
    assert {*row.kept, *row.removed} == set(given_words) & labels
    assert set(row.words) == set(given_words) - labels


def test_marks_and_colours_tell_what_became_of_a_label() -> None:
    row = GalleryRow(IMAGE, kept=("six",), added=("two",), removed=("one",), words=("ink",))
    page = draw([row], "Title", 1).axes[0]
    shown = [(text.get_text(), text.get_color()) for text in page.texts]
    assert shown[0][0] == "Title"
    card = shown[shown.index(("given", WORD.colour)) :]
    assert card == [
        ("given", WORD.colour),
        ("six", KEPT.colour),
        ("− one", REMOVED.colour),
        ("ink", WORD.colour),
        ("cleaned", WORD.colour),
        ("six", KEPT.colour),
        ("+ two", ADDED.colour),
    ]
    struck = page.lines[-1]
    assert struck.get_color() == REMOVED.colour


def test_an_example_without_words_says_so() -> None:
    page = draw([GalleryRow(IMAGE)], "", 1).axes[0]
    assert [text.get_text() for text in page.texts].count("nothing") == 2


@pytest.mark.parametrize("label", [r"$\frac{$", "$x$", "<script>", " \n ", "two\nlines", "%s{}"])
def test_labels_are_shown_as_they_are(tmp_path: Path, label: str) -> None:
    rows = [GalleryRow(IMAGE, (label,), (label,), (label,), (label,))]
    save_gallery(tmp_path / "gallery.png", rows, title=label)
    shown = {text.get_text() for text in draw(rows, label, 4).axes[0].texts}
    assert (" ".join(label.split()) or "(blank)") in shown


def test_the_picture_is_twice_900_pixels_wide_and_crisp(tmp_path: Path) -> None:
    grey, red = np.full((4, 6), 0.25), np.zeros((4, 6, 3))
    red[:, :3, 0] = 1
    path = tmp_path / "gallery.png"
    save_gallery(path, [GalleryRow(grey), GalleryRow(red)] * 3, title="Six", columns=4)

    picture = plt.imread(path)[:, :, :3]
    assert picture.shape[1] == 1800
    assert [entry.name for entry in tmp_path.iterdir()] == ["gallery.png"]
    red_only = np.all(picture[:, :, 1:] < 0.01, axis=2)
    pure, black = (red_only & np.isclose(picture[:, :, 0], value, atol=0.01) for value in (1, 0))
    assert pure.sum() > 1000
    assert black.sum() > 1000
    assert np.array_equal(pure | black, red_only), "a colour between two pixels of the image"
    assert not plt.get_fignums()


@pytest.mark.parametrize("columns", [2, 7])
def test_any_number_of_columns(tmp_path: Path, columns: int) -> None:
    rows = [GalleryRow(IMAGE, added=("a label that is rather long",))] * 4
    save_gallery(tmp_path / "gallery.png", rows, title="", columns=columns)
    assert plt.imread(tmp_path / "gallery.png").shape[1] == 1800


def test_a_failure_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    path = tmp_path / "gallery.unknown"
    path.write_text("old")
    with pytest.raises(ValueError, match="unknown"):
        save_gallery(path, [GalleryRow(IMAGE)], title="")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("rows", "columns"), [([], 4), ([GalleryRow(IMAGE)], 0)])
def test_nothing_to_draw(tmp_path: Path, rows: list[GalleryRow], columns: int) -> None:
    with pytest.raises(LatentLabelsError, match="wants one example and one column"):
        save_gallery(tmp_path / "gallery.png", rows, title="", columns=columns)


def test_vector_formats_follow_the_ending(tmp_path: Path) -> None:
    save_gallery(tmp_path / "gallery.svg", [GalleryRow(IMAGE)], title="A title")
    assert "A title" in (tmp_path / "gallery.svg").read_text()
