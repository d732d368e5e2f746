"""Label Studio: pre-annotations out, annotations in."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pytest
from tests.exports.cleaned import IDS, ODD, one, picture, several, with_pictures, with_texts

from latentlabels.data.cells import Kind
from latentlabels.data.labels import LabelSpace, Vocabulary
from latentlabels.errors import LabelError, LatentLabelsError, TableError
from latentlabels.exports.annotations import read_annotations, verify
from latentlabels.exports.formats import ExportFormat, export
from latentlabels.exports.rows import CleanedRows

LABEL_STUDIO = ExportFormat.LABEL_STUDIO


def tasks_of(rows: CleanedRows, out: Path) -> list[dict[str, Any]]:
    export(rows, LABEL_STUDIO, out)
    tasks: list[dict[str, Any]] = json.loads((out / "tasks.json").read_text(encoding="utf-8"))
    return tasks


def chosen(result: list[dict[str, Any]]) -> list[str]:
    return [name for entry in result for name in entry["value"]["choices"]]


@pytest.mark.parametrize("make", [one, several])
@pytest.mark.parametrize("ids", IDS)
def test_tasks_come_back(make: Callable[..., CleanedRows], ids: str, tmp_path: Path) -> None:
    rows = with_texts(make(IDS[ids]))
    assert rows.examples is not None
    for row, task in enumerate(tasks_of(rows, tmp_path / "out")):
        data = task["data"]
        assert data["example_id"] == IDS[ids][row]
        assert data["example"] == rows.examples.column[row].as_py()
        assert data["given"] == rows.labels.given[row]
        numbers = rows.labels.probabilities[row]
        if np.isnan(numbers).any():
            assert data["probabilities"] is None
            assert task["annotations"] == task["predictions"] == []
            continue
        told = data["probabilities"]
        assert list(told) == list(ODD)
        assert np.array_equal(np.array(list(told.values()), np.float32), numbers)
        (decision,) = task["annotations" if rows.labels.verified[row] else "predictions"]
        assert chosen(decision["result"]) == rows.labels.proposed[row]
        for entry in decision["result"]:
            assert (entry["from_name"], entry["to_name"]) == ("labels", "example")
            assert entry["type"] == "choices"


def test_a_predictions_score_is_the_probability_of_all_its_labels(tmp_path: Path) -> None:
    rows = with_texts(several())
    (prediction,) = tasks_of(rows, tmp_path / "out")[0]["predictions"]
    p = rows.labels.probabilities[0].astype(float)
    assert prediction["score"] == pytest.approx(np.maximum(p, 1 - p).prod())
    classes = with_texts(one())
    (prediction,) = tasks_of(classes, tmp_path / "classes")[0]["predictions"]
    assert prediction["score"] == pytest.approx(classes.labels.probabilities[0].max())


@pytest.mark.parametrize(("make", "choice"), [(one, "single"), (several, "multiple")])
def test_the_interface_offers_all_labels(
    make: Callable[..., CleanedRows], choice: str, tmp_path: Path
) -> None:
    export(with_texts(make()), LABEL_STUDIO, tmp_path / "out")
    view = ElementTree.fromstring((tmp_path / "out" / "config.xml").read_text(encoding="utf-8"))
    text, control = view
    assert (text.tag, text.attrib) == ("Text", {"name": "example", "value": "$example"})
    assert control.attrib == {"name": "labels", "toName": "example", "choice": choice}
    assert [one.attrib["value"] for one in control] == list(ODD)


def test_pictures_are_linked_or_carried_along(tmp_path: Path) -> None:
    rows = with_pictures(several(), tmp_path)
    tasks = tasks_of(rows, tmp_path / "out")
    assert tasks[0]["data"]["example"] == "pict ure0.png"
    kind, _, data = tasks[2]["data"]["example"].partition(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(data) == picture(2)
    assert rows.examples is not None
    object.__setattr__(rows.examples, "prefix", "/data/local-files/?d=photos/")
    tasks = tasks_of(rows, tmp_path / "linked")
    assert tasks[0]["data"]["example"] == "/data/local-files/?d=photos/pict%20ure0.png"


def test_a_label_that_xml_cannot_hold_is_told_of(tmp_path: Path) -> None:
    rows = with_texts(several())
    vocabulary = Vocabulary((*ODD[:-1], "nul\0"), exclusive=False)
    object.__setattr__(rows.labels, "space", LabelSpace(("",), (vocabulary,)))
    object.__setattr__(rows.labels, "proposed", [[]] * 5)
    with pytest.raises(LabelError, match="holds '\\\\x00'"):
        export(rows, LABEL_STUDIO, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


# The way back.


def annotation(*names: str, **more: Any) -> dict[str, Any]:
    value = {"choices": list(names)}
    entry = {"id": "x", "from_name": "labels", "to_name": "example", "type": "choices"}
    return {"id": 5, "result": [{**entry, "value": value}] if names else [], **more}


def annotated(path: Path, decisions: dict[Any, list[dict[str, Any]]]) -> Path:
    tasks = [
        {"id": place, "data": {"example_id": name}, "annotations": given, "predictions": []}
        for place, (name, given) in enumerate(decisions.items())
    ]
    path.write_text(json.dumps(tasks), encoding="utf-8")
    return path


@pytest.mark.parametrize("ids", IDS)
@pytest.mark.parametrize("make", [one, several])
def test_accepted_proposals_are_verified_labels(
    make: Callable[..., CleanedRows], ids: str, tmp_path: Path
) -> None:
    rows = with_texts(make(IDS[ids]))
    tasks = tasks_of(rows, tmp_path / "out")
    for task in tasks:
        task["annotations"] += task["predictions"]
    path = tmp_path / "project.json"
    path.write_text(json.dumps(tasks), encoding="utf-8")
    filled = verify(rows.ids, rows.ids, read_annotations(path))
    assert filled.column("verified").to_pylist() == rows.known.tolist()
    wanted: list[Any] = [
        (names[0] if rows.exclusive else names) if known else None
        for names, known in zip(rows.labels.proposed, rows.known, strict=True)
    ]
    assert filled.column("clean").to_pylist() == wanted


def test_what_was_verified_stays_so(tmp_path: Path) -> None:
    rows = with_texts(several())
    tasks_of(rows, tmp_path / "out")
    read = read_annotations(tmp_path / "out" / "tasks.json")
    assert read.labels == {IDS["texts"][1]: rows.labels.proposed[1]}


def test_decisions_fill_the_columns_there_are(tmp_path: Path) -> None:
    table = pa.table(
        {
            "id": [1, 2, 3, 4],
            "words": [["a"], ["b"], ["c"], []],
            "clean": ["a;b", None, "c", None],
            "verified": ["yes", "no", "no", None],
        }
    )
    decisions = {2: [annotation("b", "a")], 3: [annotation()]}
    read = read_annotations(annotated(tmp_path / "project.json", decisions))
    filled = verify(table, table.select(["id"]), read)
    assert filled.column_names == table.column_names
    assert filled.column("clean").to_pylist() == [["a", "b"], ["b", "a"], [], None]
    assert filled.column("verified").to_pylist() == [True, True, True, False]


def test_without_a_column_of_verified_rows_those_with_labels_were(tmp_path: Path) -> None:
    table = pa.table({"id": ["x", "y", "z"], "kind": ["cat", None, None]})
    path = annotated(tmp_path / "project.json", {"y": [annotation("dog")]})
    filled = verify(table, table.select(["id"]), read_annotations(path), clean="kind")
    assert filled.column("kind").to_pylist() == ["cat", "dog", None]
    assert filled.column("verified").to_pylist() == [True, True, False]


def test_several_annotators_have_to_agree(tmp_path: Path) -> None:
    decisions = {
        "agree": [annotation("a", "b"), annotation("b", "a")],
        "differ": [annotation("a"), annotation("b")],
        "settled": [annotation("a"), annotation("b", ground_truth=True), annotation("c")],
        "skipped": [annotation(was_cancelled=True)],
        "one skipped": [annotation(was_cancelled=True), annotation("c")],
        "nobody": [],
    }
    read = read_annotations(annotated(tmp_path / "project.json", decisions))
    assert {name: set(names) for name, names in read.labels.items()} == {
        "agree": {"a", "b"},
        "settled": {"b"},
        "one skipped": {"c"},
    }
    assert read.disputed == ["differ"]


def test_labels_are_lists_where_that_is_said(tmp_path: Path) -> None:
    table = pa.table({"id": ["x"]})
    read = read_annotations(annotated(tmp_path / "project.json", {"x": [annotation("a")]}))
    filled = verify(table, table, read, kind=Kind.MULTILABEL)
    assert filled.column("clean").to_pylist() == [["a"]]


@pytest.mark.parametrize(
    ("columns", "names", "message"),
    [
        ({"id": ["y"]}, ["a"], "on the row 'x', and the table has none"),
        ({"id": ["x", "x"]}, ["a"], "names that several rows share"),
        ({"id": ["x"], "verified": [True]}, ["a"], "none that is called 'clean'"),
        ({"id": ["x", "y"], "clean": ["a", "b"]}, ["a", "b"], "one class, and 2 were chosen"),
        ({"id": ["x", "y"], "clean": ["a", "b"]}, [], "one class, and 0 were chosen"),
    ],
)
def test_decisions_that_do_not_fit_are_told_of(
    columns: dict[str, list[Any]], names: list[str], message: str, tmp_path: Path
) -> None:
    table = pa.table(columns)
    read = read_annotations(annotated(tmp_path / "project.json", {"x": [annotation(*names)]}))
    with pytest.raises(LatentLabelsError, match=message):
        verify(table, table.select(["id"]), read)


@pytest.mark.parametrize(
    "content",
    [
        "no JSON",
        "{}",
        "[1]",
        '[{"data": {"example_id": 1}}]',
        '[{"data": {}, "annotations": []}]',
        '[{"data": {"example_id": []}, "annotations": []}]',
        '[{"data": {"example_id": 1}, "annotations": [{}]}]',
        '[{"data": {"example_id": 1}, "annotations": [{"result": [{"type": "choices"}]}]}]',
        '[{"example": "x", "id": 1, "labels": "a", "annotator": 1}]',  # JSON-MIN
        json.dumps([{"data": {"example_id": 1}, "annotations": []}] * 2),
        json.dumps([{"data": {"example_id": 1}, "annotations": [annotation(1)]}]),  # type: ignore[arg-type]
    ],
)
def test_a_file_that_is_no_project_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "project.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(TableError, match=r"project\.json"):
        read_annotations(path)
