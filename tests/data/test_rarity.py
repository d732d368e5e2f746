"""Rare labels are left out, and too many are refused with what to do."""

from __future__ import annotations

import pytest

from latentlabels.data import rarity
from latentlabels.data.labels import Column, LabelSpace, read_columns
from latentlabels.data.rarity import require_bearable, without_rare
from latentlabels.errors import LabelError

CELLS = [["a", "b", "b"], None, ["a"], [], ["a", "c", "b"], ["d"]]


def space(columns: dict[str, Column]) -> LabelSpace:
    return LabelSpace(tuple(columns), tuple(column.vocabulary() for column in columns.values()))


def test_names_that_fewer_rows_have_are_left_out() -> None:
    columns = read_columns(CELLS)
    assert without_rare(columns, 1) == columns
    kept = without_rare(columns, 2)[""].cells
    assert kept == [["a", "b"], None, ["a"], [], ["a", "b"], []]
    assert without_rare(columns, 3)[""].cells == [["a"], None, ["a"], [], ["a"], []]
    with pytest.raises(LabelError, match="occurs in 4 rows, the most frequent one in 3"):
        without_rare(columns, 4)
    assert without_rare(read_columns([[], None]), 4)[""].cells == [[], None]


def test_a_class_cannot_be_left_out() -> None:
    with pytest.raises(LabelError, match="every row needs its class"):
        without_rare(read_columns(["a", "b"]), 2)


def test_too_many_labels_are_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rarity, "MOST_LABELS", 3)
    columns = read_columns(CELLS)
    with pytest.raises(LabelError, match=r"4 noisy labels, 3 at most.*min_count=2 .* keeps the 2 "):
        require_bearable(space(columns), space(read_columns([["x"]])), columns)
    same = read_columns([["a", "b"], ["c", "d"]])
    with pytest.raises(LabelError, match=r"4 noisy labels, 3 at most\. Merge"):
        require_bearable(space(same), space(read_columns([["x"]])), same)
    with pytest.raises(LabelError, match=r"4 clean labels, 3 at most\. Merge"):
        require_bearable(space(read_columns([["x"]])), space(columns), read_columns([["x"]]))


def test_too_many_pairs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rarity, "MOST_PAIRS", 15)
    columns = read_columns(CELLS)
    with pytest.raises(LabelError, match="4 noisy and 4 clean labels are 16 pairs"):
        require_bearable(space(columns), space(columns), columns)
