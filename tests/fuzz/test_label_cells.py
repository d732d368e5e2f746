"""Whatever stands in a label cell: names come out of it, and come back from our own files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, event, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_strategies
from tests.fuzz.outcome import tried

from latentlabels.data.cells import DELIMITERS, CellForm, Kind, cell_form, label_cells, read_labels
from latentlabels.data.labels import Column, LabelSpace, encode, read_columns
from latentlabels.data.spelling import Spelling, every_name, told_of_spellings
from latentlabels.data.table import Format, read_table, write_table_atomically
from latentlabels.preparation import noisy_states

TEXTS = st.text() | st.sampled_from(
    [
        *("", " ", "cat", "Cat ", "=1+1", "@x", "\ttab", "cr\r", "a;b", "a|b,c", '["a", "b;c"]'),
        *("[]", "[NaN]", "[1e999]", r'["\ud800"]', "[[1]]", "['a' 'b']", "[a]", "NaN", "null"),
        *("a\0b", "\u202eevil", "😀", "\ufeffcat", "Cafe\u0301", "Caf\u00e9", "x" * 500),
    ]
)
NUMBERS = st.integers(-(2**62), 2**62) | st.floats()
VALUES = st.one_of(
    st.lists(st.none() | TEXTS),
    st.lists(st.none() | TEXTS, max_size=3).map(json.dumps),
    TEXTS,
    NUMBERS.map(str),
)
COLUMNS = st.one_of(
    st.lists(st.none() | TEXTS, min_size=1).map(pa.array),
    st.lists(st.none() | VALUES.filter(lambda v: isinstance(v, str)), min_size=1).map(pa.array),
    st.lists(st.none() | st.integers(-9, 9), min_size=1).map(pa.array),
    st.lists(st.none() | st.floats(), min_size=1).map(pa.array),
    st.lists(st.none() | st.booleans(), min_size=1).map(pa.array),
    st.lists(st.none() | st.lists(st.none() | TEXTS, max_size=4), min_size=1).map(pa.array),
    st.lists(st.none() | st.lists(st.none() | st.floats(), max_size=4), min_size=1).map(pa.array),
)
FORMS = st.builds(CellForm, st.sampled_from([Kind.MULTILABEL, Kind.MULTICLASS]), st.none() | TEXTS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cells")


def are_names(cells: Any, kind: Kind) -> bool:
    """Whether every cell is a list of names, each once and stripped, or one such name."""
    if kind == Kind.MULTICLASS:
        cells = [None if cell is None else [cell] for cell in cells]
    names = [name for cell in cells if cell is not None for name in cell]
    return all(name and name == name.strip() for name in names) and all(
        cell is None or len(cell) == len(set(cell)) for cell in cells
    )


@given(COLUMNS, st.none() | st.sampled_from(DELIMITERS) | TEXTS, st.sampled_from(list(Kind)))
def test_a_column_becomes_names(column: pa.Array, delimiter: str | None, kind: Kind) -> None:
    table = pa.table({"y": column})
    form = tried(lambda: cell_form(table, "y", delimiter=delimiter, kind=kind))
    if form is None:
        assert delimiter == ""
        return
    assert form.kind != Kind.AUTO
    assert kind in (Kind.AUTO, form.kind)
    cells = tried(lambda: read_labels(table, "y", form))
    if cells is not None:
        event(f"read as {form.kind}")
        assert len(cells) == len(column)
        assert are_names(cells.as_given(), form.kind)


@given(COLUMNS, FORMS)
def test_a_column_in_a_form_that_was_found_on_another(column: pa.Array, form: CellForm) -> None:
    """As a fitted model reads the columns of a new table."""
    assume(form.delimiter != "")
    cells = tried(lambda: read_labels(pa.table({"y": column}), "y", form))
    assert cells is None or are_names(cells.as_given(), form.kind)


@given(
    st.lists(st.none() | st.lists(TEXTS.map(str.strip).filter(bool), unique=True), min_size=1),
    st.sampled_from(list(Format)),
)
def test_names_come_back_from_our_own_files(
    folder: Path, rows: list[list[str] | None], kind: Format
) -> None:
    path = folder / f"given.{kind}"
    cells = pa.array(rows, pa.list_(pa.string()))
    table = pa.table({"id": np.arange(len(rows)), "given": cells})
    write_table_atomically(table, path, kind)
    assert label_cells(read_table(path), ["given"]) == rows


@given(st.lists(st.none() | st.lists(TEXTS.map(str.strip).filter(bool), unique=True), min_size=1))
def test_names_become_units_and_names_again(rows: list[list[str] | None]) -> None:
    assume(any(row is not None for row in rows))
    columns = read_columns(rows)
    space = LabelSpace(("",), (columns[""].vocabulary(),))
    states = encode(columns, space).toarray() > 0
    assert space.decode(states) == [sorted(cell or []) for cell in rows]
    spelling = Spelling.commonest(every_name(columns.values()))
    respelt = spelling.columns(columns)
    again = spelling.columns(respelt)
    assert [column.cells for column in again.values()] == [c.cells for c in respelt.values()]
    assert told_of_spellings(every_name(respelt.values())) is None


SCALARS = st.one_of(
    st.none(),
    TEXTS,
    st.sampled_from(["\ud800", b"bytes", ("a",), 10**400, np.str_("a"), np.int8(1), np.nan]),
    NUMBERS,
    st.booleans(),
)
TYPES = [np.dtype(name) for name in ("f8", "f4", "i1", "?", "U3", "S2", "M8[s]", "c8")]
ARRAYS: st.SearchStrategy[Any] = numpy_strategies.arrays(
    st.sampled_from(TYPES),
    numpy_strategies.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)
PYTHON = st.one_of(
    st.lists(st.none() | st.lists(SCALARS, max_size=3), max_size=5),
    st.lists(SCALARS, max_size=5),
    st.lists(SCALARS | st.lists(SCALARS, max_size=2) | st.sets(TEXTS, max_size=2), max_size=5),
    ARRAYS,
    SCALARS,
)


@given(PYTHON | st.dictionaries(st.sampled_from("ab"), PYTHON, min_size=1))
@pytest.mark.filterwarnings("ignore:A column-vector y was passed")
def test_labels_in_any_form_of_python(labels: Any) -> None:
    columns: dict[str, Column] | None = tried(lambda: read_columns(labels))
    if columns is None:
        return
    spaces = tried(
        lambda: LabelSpace(tuple(columns), tuple(c.vocabulary() for c in columns.values()))
    )
    if spaces is None:
        return
    states = tried(lambda: noisy_states(columns, spaces))
    if states is not None:
        event("encoded")
        assert states.shape == (len(next(iter(columns.values()))), len(spaces.names))
        assert set(states.data) <= {1.0}
