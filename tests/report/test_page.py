"""The report as a file: it says what is known and what is not, and shows every text as text."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from tests.report.made_runs import METRICS, Page, facts_of, full_record
from tests.review.conftest import NAMES, SmallRun, pictures, run, sure, texts, write_run

from latentlabels.errors import LatentLabelsError
from latentlabels.evaluation.learning_curve import LearningCurve
from latentlabels.report.page import percent, render, write_report
from latentlabels.report.record import read_record

__all__ = ["pictures", "run"]

ODD = [
    "<script>document.title = 'run'</script>",
    "\"double\" 'single' `back` &amp; {{ 7 * 7 }}",
    "long " * 2_000,
    "\u202e\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd",
    "<img src=x onerror=\"document.title='run'\">",
    "</style></title><svg onload=1>",
]


def page_of(run: SmallRun, **told: Any) -> Page:
    return Page(render(facts_of(run, **told)))


def odd_run(folder: Path) -> SmallRun:
    """Labels, words, texts, ids and reasons that would like to be something else."""
    source = pa.table({"key": [ODD[0], ODD[3]], "text": [ODD[4], ODD[5]]})
    given = [[ODD[0], ODD[2], ODD[4] + " as a word"], [ODD[1]]]
    p = [[0.9, 0.9, 0.2, 0.6, 0.4, 0.9]] * 2
    reasons = [[f"added {ODD[1]}: input +1.0"], [f"removed {ODD[2]}: input −1.0"]]
    return write_run(folder, source, given, p, names=ODD, reasons=reasons)


def test_all_is_said(run: SmallRun) -> None:
    page = page_of(run, record=full_record(), right=[1] * 30 + [0] * 10)
    for said in (
        "How noisy are the labels?",
        "75 % of all proposed changes are right",
        "The chains did not mix",
        "R-hat, at worst infinite",
        "2 epochs; the weights of epoch 2 were kept",
        "on 40 held-out verified rows",
        "mean average precision of the model 80 %",
        "+10.0 points (+5.0 to +15.0: it helps)",
        "latentlabels clean table.parquet",
        "rbm diverged",
        "The 1th text of all.",
    ):
        assert said in page.text.replace("\u00a0", " "), said


def test_what_is_not_known_is_said(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path, texts(2), [["cat"], []], [sure("cat")] * 2))
    assert page.text.count("there is no metrics.json beside the model") == 4
    assert "fewer than 20 verified rows to hold out" in page.text
    assert "Nobody has verified a row" in page.text
    assert page.tags.count("svg") == 0


def test_the_learning_curve_is_drawn(run: SmallRun) -> None:
    scores = np.array([0.6, 0.7, 0.75])
    curve = LearningCurve("map", 80, 200, (20, 40, 80), tuple(scores), 1e-4 * np.eye(3), 10)
    without = page_of(run, record=full_record())
    page = page_of(run, record=full_record(learning_curve=curve.as_json()))
    assert "Not estimated" in without.text
    assert "Not estimated" not in page.text
    assert page.tags.count("svg") == without.tags.count("svg") + 1
    text = page.text.replace("\u00a0", " ")
    for rows in (80, 120):  # as many again, and then all there are
        gain = curve.gain(rows)
        told = f"{100 * gain.mean:+.1f} points ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
        assert f"{rows} rows more {told}" in text
    assert "measured with 40 rows: 70.0%" in text


def test_nothing_is_changed(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path, texts(2), [["cat"], []], [sure("cat"), sure()]))
    assert "No row that was not verified is changed." in page.text


def test_an_empty_vocabulary_in_common(tmp_path: Path) -> None:
    page = page_of(write_run(tmp_path, texts(2), [["sea"], []], [sure("cat")] * 2))
    assert "no given label names a clean one" in page.text
    assert "4 clean labels were given to no row" in page.text


def test_odd_texts_are_text_everywhere(tmp_path: Path) -> None:
    html = render(facts_of(odd_run(tmp_path), record=full_record(), title=ODD[5]))
    page = Page(html)
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert page.tags.count("style") == page.tags.count("title") - page.tags.count("circle") == 1
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert set(ODD) <= set(page.names)
    assert ODD[4] + " as a word" in page.names
    assert "7 * 7" in page.text
    # The long one stands as a whole once, and once in its reason, wherever else it is cut.
    assert html.count(ODD[2].strip()) == 2


def test_metrics_and_provenance_are_text_too(run: SmallRun) -> None:
    record = full_record(
        settings={ODD[0]: ODD[4], "list": [ODD[0]]},
        auxiliary={"kind": ODD[0], "held_out_loss": {ODD[0]: 1.0}},
        comparison={**METRICS["comparison"], "measure": ODD[0], "rows_of": ODD[4]},
        recovery={ODD[0]: 0.5},
    )
    page = page_of(run, record=record)
    assert "script" not in page.tags
    assert "img" not in page.tags


def test_nothing_is_loaded_from_elsewhere(pictures: SmallRun) -> None:
    folder = pictures.folder.parent / "pictures"
    html = render(facts_of(pictures, pictures=folder, record=full_record()))
    page = Page(html)
    links = [value for _, name, value in page.attributes if name in ("src", "href", "xlink:href")]
    assert links
    assert all(value.startswith(("#", "data:")) for value in links)
    assert not re.search(r"url\(|@import|https?://", html)
    (policy,) = [v for _, name, v in page.attributes if name == "content" and "default-src" in v]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_pictures_are_small_and_of_the_folder_alone(pictures: SmallRun) -> None:
    page = page_of(pictures, pictures=pictures.folder.parent / "pictures")
    shown = [value for tag, name, value in page.attributes if (tag, name) == ("img", "src")]
    # Two files, one of them named twice; the rest lies outside, is damaged or is not there.
    assert len(shown) == 3
    assert all(value.startswith(("data:image/png;base64,", "data:image/jpeg;")) for value in shown)
    assert "it lies outside the folder of pictures" in page.text


def test_classes(tmp_path: Path) -> None:
    given = [["cat"], ["dog"], ["cat"]]
    p = np.array([[0.1, 0.8, 0.1, 0.0], [0.0, 0.9, 0.1, 0.0], [1.0, 0.0, 0.0, 0.0]])
    made = write_run(tmp_path, texts(3), given, p, exclusive=True, verified=[2])
    page = page_of(made)
    assert "1 classes are another" in page.text
    assert "Which one was given where another is proposed" in page.text
    facts = facts_of(made)
    assert [(s.given, s.proposed, s.rows) for s in facts.swaps] == [("cat", "dog", 1)]


def test_vectors_show_numbers(tmp_path: Path) -> None:
    source = pa.table({"key": ["a"], "x": pa.array([[0.5, -1.25]], pa.list_(pa.float32()))})
    made = write_run(tmp_path, source, [["cat"]], [sure("dog")], shown="x", kind="vector")
    assert "0.5 -1.25" in page_of(made).text


def test_pictures_take_the_place_of_vectors(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(file, "PNG")
    columns = {"key": ["a"], "x": [[0.5]], "seen": [{"bytes": file.getvalue(), "path": None}]}
    made = write_run(tmp_path, pa.table(columns), [[]], [sure("dog")], shown="x", kind="vector")
    page = page_of(made)
    assert next(value for _, name, value in page.attributes if name == "src").startswith("data:")
    assert "0.5" not in page.text
    assert "0.5" in page_of(made, show=["x"]).text


def test_changes_for_review_are_told_of(tmp_path: Path) -> None:
    made = write_run(tmp_path, texts(2), [["cat"], ["dog"]], [sure("cat"), sure("dog")])
    path = made.folder / "cleaned.parquet"
    table = pa.parquet.read_table(path)
    table = table.append_column("review_added", [[["sky"], []]])
    pa.parquet.write_table(table.append_column("review_removed", [[[], []]]), path)
    page = page_of(made)
    assert "1 of these changes were not sure enough" in page.text
    assert "left for review" in page.text


def test_a_million_letters_do_not_fill_it(tmp_path: Path) -> None:
    names = [letter * 50_000 for letter in "abcd"]
    source = pa.table({"key": list("klm"), "text": ["t" * 300_000] * 3})
    made = write_run(tmp_path, source, [[names[0]]] * 3, [[0.1, 0.9, 0.9, 0.9]] * 3, names=names)
    assert len(render(facts_of(made))) < 300_000


def test_tags_are_closed(run: SmallRun) -> None:
    html = render(facts_of(run, record=full_record()))
    opened = re.findall(
        r"<([a-z0-9]+)[^>]*?(/?)>", re.sub(r"<style>.*?</style>", "", html, flags=re.S)
    )
    closed = re.findall(r"</([a-z0-9]+)>", html)
    for tag in set(closed) - {"style"}:
        assert sum(name == tag and not slash for name, slash in opened) == closed.count(tag), tag


@pytest.mark.parametrize(
    ("value", "told"),
    [(0, "0"), (0.0001, "<0.1"), (0.034, "3.4"), (0.5, "50"), (0.9996, "99.9"), (1, "100")],
)
def test_percent(value: float, told: str) -> None:
    assert percent(value) == f"{told}\u00a0%"


def test_a_failure_leaves_what_was_there(
    tmp_path: Path, run: SmallRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.html"
    path.write_text("older")
    facts = facts_of(run)
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        write_report(facts, path)
    assert path.read_text() == "older"
    assert [p.name for p in tmp_path.glob("*.partial")] == []


@pytest.mark.parametrize(
    ("content", "said"),
    [("{", "no JSON"), ("[]", "is damaged"), ('{"history": 3}', "history"), ("\0", "no JSON")],
)
def test_damaged_metrics_are_told_of(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "metrics.json"
    path.write_text(content)
    with pytest.raises(LatentLabelsError, match=said):
        read_record(path)
    assert read_record(tmp_path / "none.json") is None


def test_metrics_of_another_version_are_read(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps({"schema": 0, "later": {"a": 1}}))
    record = read_record(path)
    assert record is not None
    assert record.history == []


def test_many_rows_stay_small(tmp_path: Path) -> None:
    """The page has so many rows at most, however long the table is."""
    random = np.random.default_rng(0)
    rows = 3_000
    p = random.random((rows, len(NAMES)))
    given = [[name for name in NAMES if random.random() < 0.4] for _ in range(rows)]
    facts = facts_of(write_run(tmp_path, texts(rows), given, p, verified=range(200)))
    assert len(facts.sure) == 24
    assert len(facts.close) <= 8
    assert len(render(facts)) < 200_000
