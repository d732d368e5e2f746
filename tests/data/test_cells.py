"""Label cells in every form become the names they hold."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentlabels.data.cells import DELIMITERS, CellForm, Kind, cell_form, label_cells, names_in
from latentlabels.data.table import Format, read_table, write_table_atomically
from latentlabels.errors import TableError

# Names as people write them: no delimiter in them, and not in brackets.
NAMES = st.text(st.characters(exclude_characters=";|,[", exclude_categories=["C", "Z"]), min_size=1)
# For lists, anything.
ANY_NAMES = st.text().filter(lambda name: name == name.strip() and name)


def cells(values: list[object], **settings: Any) -> object:
    return label_cells(pa.table({"y": values}), ["y"], **settings)


@given(st.lists(st.lists(NAMES, unique=True), min_size=1), st.sampled_from(DELIMITERS))
def test_delimited_texts_are_their_names(rows: list[list[str]], delimiter: str) -> None:
    texts: list[object] = [f" {delimiter} ".join(row) for row in rows]
    expected = [row or None for row in rows]
    assert cells(texts, delimiter=delimiter, kind=Kind.MULTILABEL) == expected
    if any(len(row) > 1 for row in rows):
        assert cells(texts) == cells(texts, delimiter=delimiter) == expected


@given(st.lists(st.one_of(st.none(), st.lists(ANY_NAMES, unique=True)), min_size=1))
def test_lists_are_their_names_in_json_too(rows: list[list[str] | None]) -> None:
    as_lists = pa.table({"y": pa.array(rows, pa.list_(pa.string()))})
    assert label_cells(as_lists, ["y"]) == rows
    texts: list[object] = [None if row is None else json.dumps(row) for row in rows]
    if any(row is not None for row in rows):
        assert cells(texts) == rows


@given(st.lists(ANY_NAMES), st.sampled_from([None, *DELIMITERS]))
def test_names_are_stripped_and_stand_once(names: list[str], delimiter: str | None) -> None:
    padded = [f" {name}\t" for name in [*names, *names, ""]]
    assert names_in(padded, delimiter) == list(dict.fromkeys(names))


@pytest.mark.parametrize(
    ("values", "form", "expected"),
    [
        (["a;b|c", "d"], CellForm(Kind.MULTILABEL, ";"), [["a", "b|c"], ["d"]]),
        (["a|b,c", "d"], CellForm(Kind.MULTILABEL, "|"), [["a", "b,c"], ["d"]]),
        (["a,b", "d, ,"], CellForm(Kind.MULTILABEL, ","), [["a", "b"], ["d"]]),
        (["a", None, " b "], CellForm(Kind.MULTICLASS, None), ["a", None, "b"]),
        ([["a;b"], None, []], CellForm(Kind.MULTILABEL, None), [["a;b"], None, []]),
        (['["a", "b;c"]', "d, e"], CellForm(Kind.MULTILABEL, None), [["a", "b;c"], ["d, e"]]),
        (["a;b", "[]", ""], CellForm(Kind.MULTILABEL, ";"), [["a", "b"], [], None]),
        (["a", "[]"], CellForm(Kind.MULTILABEL, None), [["a"], []]),
        ([3, 10, None], CellForm(Kind.MULTICLASS, None), ["3", "10", None]),
        ([3.0, 2.5, float("nan")], CellForm(Kind.MULTICLASS, None), ["3", "2.5", None]),
        ([True, False], CellForm(Kind.MULTICLASS, None), ["true", "false"]),
        ([Decimal("1.5")], CellForm(Kind.MULTICLASS, None), ["1.5"]),
        (
            [[1, 2, 1], [None, 3], [float("nan")]],
            CellForm(Kind.MULTILABEL, None),
            [["1", "2"], ["3"], []],
        ),
        (["[redacted]", "b"], CellForm(Kind.MULTICLASS, None), ["[redacted]", "b"]),
        ([[], None], CellForm(Kind.MULTILABEL, None), [[], None]),
    ],
)
def test_the_form_is_found_out(values: list[object], form: CellForm, expected: object) -> None:
    assert cell_form(pa.table({"y": values}), "y") == form
    assert cells(values) == expected


def test_the_form_can_be_said() -> None:
    assert cells(["Washington, DC", "Rome"], kind=Kind.MULTICLASS) == ["Washington, DC", "Rome"]
    assert cells(["a", "b"], kind=Kind.MULTILABEL) == [["a"], ["b"]]
    assert cells(["a / b;c"], delimiter="/") == [["a", "b;c"]]
    assert cells(["a", "b"], delimiter="/") == ["a", "b"]
    assert cells([["a"], []], kind=Kind.MULTICLASS) == ["a", None]
    with pytest.raises(TableError, match="at least one character"):
        cells(["a"], delimiter="")


def test_several_columns_stand_side_by_side() -> None:
    table = pa.table({"ann": ["a", "b"], "tags": ["x;y", None]})
    expected = {"ann": ["a", "b"], "tags": [["x", "y"], None]}
    assert label_cells(table, ["ann", "tags"]) == expected


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        (["a", "b;c"], Kind.MULTICLASS, None),
        ([["a"], ["b", "c"]], Kind.MULTICLASS, "Row 1 of column 'y' .* got 2 labels"),
        (["a", "['b' 'c']"], Kind.AUTO, "Row 1 of column 'y' .* looks like a list and is not JSON"),
        ([[["a"]]], Kind.AUTO, "Row 0 of column 'y' .*: A label is a text or a finite number, got"),
        (
            [{"a": 1}],
            Kind.AUTO,
            "Row 0 of column 'y' .*: A label is a text or a finite number, got",
        ),
        ([b"a"], Kind.AUTO, "text or a finite number"),
        ([1.0, float("inf")], Kind.AUTO, "Row 1 .* finite number, got inf"),
        (['["a", -1e999]'], Kind.AUTO, "finite number, got -inf"),
        ([r'["\ud800"]'], Kind.AUTO, r"got .*ud800"),
        (["['" + "a" * 100_000 + "'"], Kind.AUTO, "…. looks like a list"),
    ],
)
def test_what_is_no_label_is_named(values: list[object], kind: Kind, message: str | None) -> None:
    if message is None:
        assert cells(values, kind=kind) == values
    else:
        with pytest.raises(TableError, match=message):
            cells(values, kind=kind)


def test_a_csv_of_ours_is_read_as_it_was(tmp_path) -> None:
    rows = [["a", "b;c"], [], None, ['"d", e', "ç"]]
    path = tmp_path / "t.csv"
    write_table_atomically(pa.table({"id": list("wxyz"), "y": rows}), path, Format.CSV)
    assert label_cells(read_table(path), ["y"]) == rows
