"""The page over HTTP: who is let in, what is shown, what is kept."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from tests.review.conftest import NAMES, SmallRun, texts, write_run

from latentlabels.review.decisions import Decisions, read_decisions
from latentlabels.review.server import review_app

PORT, TOKEN = 8765, "a-token"
OWN = f"http://127.0.0.1:{PORT}"
ODD = [
    "<script>alert(1)</script>",
    "\"quotes\" 'and' &amp;",
    "x" * 10_000,
    "\u202e\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd",
]


class Page(TestClient):
    """A browser on the page of a run.

    Args:
        run: the run.
        address: what it calls the server.
        options: of opening the run.
    """

    def __init__(self, run: SmallRun, address: str = OWN, **options: Any) -> None:
        page = run.opened(**options)
        self.file = run.decisions
        self.decisions = Decisions(self.file, page.subject)
        app = review_app(page, self.decisions, port=PORT, token=TOKEN)
        super().__init__(app, base_url=address)

    def enter(self):
        """Open the address of the terminal."""
        answer = self.get("/", params={"token": TOKEN})
        assert answer.status_code == 200
        return answer

    def row(self, **asked) -> str:
        """The row that is shown, as HTML."""
        answer = self.get("/row", params=asked)
        assert answer.status_code == 200
        return answer.text

    def number(self, **asked) -> int | None:
        """Its number; None where none is shown."""
        found = re.search(r'data-row="(\d+)"', self.row(**asked))
        return None if found is None else int(found[1])

    def say(self, **said):
        return self.post("/decide", json=said, headers={"Origin": OWN})

    def undo(self, entry: int):
        return self.post("/undo", json={"entry": entry}, headers={"Origin": OWN})

    def kept(self) -> dict[int, tuple[str, tuple[str, ...] | None]]:
        """What stands in the file."""
        return {d.row: (d.verdict.value, d.labels) for d in read_decisions(self.file)[1]}


@pytest.fixture
def page(run: SmallRun) -> Iterator[Page]:
    page = Page(run)
    page.enter()
    yield page
    page.decisions.close()


# Who is let in.


def test_the_address_opens_the_page_and_a_cookie_keeps_it_open(run):
    page = Page(run)
    assert page.get("/").status_code == 403
    assert page.get("/", params={"token": "another"}).status_code == 403
    assert page.get("/row", params={"token": TOKEN}).status_code == 403
    cookie = page.enter().headers["set-cookie"]
    assert cookie == f"latentlabels-{PORT}={TOKEN}; HttpOnly; SameSite=Strict; Path=/"
    for address in ("/", "/row", "/labels?search=", "/static/review.js", "/static/review.css"):
        assert page.get(address).status_code == 200
    page.cookies.clear()
    for address in ("/", "/row", "/labels?search=", "/static/review.js", "/picture/0/0"):
        assert page.get(address).status_code == 403
    page.cookies.set(f"latentlabels-{PORT}", "another")
    assert page.get("/row").status_code == 403


def test_changes_that_a_precision_left_for_review_are_proposed(tmp_path):
    texts = pa.table({"key": ["one"], "text": ["a dog"]})
    run = write_run(tmp_path, texts, [["cat"]], [[0.9, 0.2, 0.1]], names=["cat", "dog", "sky"])
    path = run.folder / "cleaned.parquet"
    kept = pa.parquet.read_table(path)
    lists = {"review_added": [["dog"]], "review_removed": [["cat"]]}
    for name, cells in lists.items():
        kept = kept.append_column(name, pa.array(cells, pa.list_(pa.string())))
    pa.parquet.write_table(kept, path)
    cleaned = run.opened().cleaned
    told = {name: cleaned.column(name).to_pylist()[0] for name in ("proposed", "added", "removed")}
    assert told == {"proposed": ["dog"], "added": ["dog"], "removed": ["cat"]}


@pytest.mark.parametrize("address", ["http://evil.example", "http://127.0.0.1:1", "http://[::1]"])
def test_a_name_that_a_stranger_points_here_is_refused(run, address):
    page = Page(run, address)
    assert page.get("/", params={"token": TOKEN}).status_code == 421


@pytest.mark.parametrize(
    "headers",
    [{}, {"Origin": "null"}, {"Origin": "http://evil.example"}, {"Origin": "http://127.0.0.1:1"}],
)
def test_only_the_page_itself_may_decide(page, headers):
    said = {"row": 0, "verdict": "accept"}
    for path, content in (("/decide", said), ("/undo", {"entry": 1})):
        assert page.post(path, json=content, headers=headers).status_code == 403
    assert page.kept() == {}


def test_what_is_sent_is_bounded(page):
    long = page.post("/decide", content=b" " * (2 << 20), headers={"Origin": OWN})
    assert long.status_code == 413
    unsaid = page.post("/decide", content=iter([b"{}"]), headers={"Origin": OWN})
    assert unsaid.status_code == 413


@pytest.mark.parametrize("path", ["/", "/row", "/static/review.js", "/nowhere", "/picture/0/0"])
@pytest.mark.parametrize("known", [True, False])
def test_every_answer_has_the_headers(page, path, known):
    if not known:
        page.cookies.clear()
    headers = page.get(path).headers
    assert headers["content-security-policy"] == (
        "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; "
        "connect-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
    )
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"


def test_static_files_are_the_folder_s_alone(page):
    for path in ("/static/../server.py", "/static/%2e%2e/server.py", "/static//etc/passwd"):
        assert page.get(path).status_code == 404
    for path in ("/docs", "/openapi.json", "/redoc"):
        assert page.get(path).status_code == 404


# What comes first, and what is next.


def test_rows_come_in_order_and_the_last_is_followed_by_the_first(page):
    order = [page.number(), page.number(after=1), page.number(after=3), page.number(after=0)]
    assert order == [1, 3, 0, 4]
    assert page.number(after=4) == 1
    assert page.number(before=1) == 4
    assert page.number(before=0) == 3
    assert page.number(row=2) == 2


@pytest.mark.parametrize(
    ("asked", "rows"),
    [
        ({"state": "verified"}, {2}),
        ({"state": "all"}, {0, 1, 2, 3, 4}),
        ({"state": "decided"}, set()),
        ({"change": "changed"}, {1, 3}),
        ({"change": "removed"}, {1, 3}),
        ({"change": "added"}, set()),
        ({"change": "unchanged"}, {0, 4}),
        ({"label": 0}, {0, 3}),
        ({"label": 0, "change": "removed"}, {3}),
        ({"label": 1}, {1, 4}),
        ({"label": 2}, set()),
        ({"search": "K003"}, {3}),
        ({"search": "the 1TH text"}, {1}),
        ({"search": "sea"}, {1}),
        ({"search": "tre"}, {3}),
        ({"search": "(no pattern"}, set()),
    ],
)
def test_filters(page, asked, rows):
    found: list[int] = []
    row = page.number(**asked)
    while row is not None and row not in found:
        found.append(row)
        row = page.number(**asked, after=row)
    assert set(found) == rows
    shown = page.row(**asked)
    assert f"· {len(rows)} match" in shown


@pytest.mark.parametrize(
    "asked", [{"label": "cat"}, {"state": "odd"}, {"row": -1}, {"label": -1}, {"row": 2**70}]
)
def test_what_is_no_filter_is_refused(page, asked):
    assert page.get("/row", params=asked).status_code == 422


def test_rows_and_labels_that_are_not_there(page):
    assert page.number(row=99) == 1
    assert page.number(label=99) is None
    assert page.say(row=99, verdict="accept").status_code == 404
    assert page.get("/picture/99/0").status_code == 404
    assert page.get("/picture/0/1").status_code == 404


# What is said, and what is kept.


def test_verdicts(page):
    for said in (
        {"row": 1, "verdict": "accept"},
        {"row": 3, "verdict": "reject", "seconds": 2.5},
        {"row": 0, "verdict": "edit", "labels": [3, 1, 3]},
        {"row": 4, "verdict": "skip"},
    ):
        assert page.say(**said).status_code == 200
    assert page.kept() == {
        1: ("accept", ()),
        3: ("reject", ("cat", "tree")),
        0: ("edit", ("dog", "tree")),
        4: ("skip", None),
    }
    assert page.number() is None
    assert "3</strong> of 4 decided, 1 skipped" in page.row()
    assert "100% of the doubt resolved" in page.row()
    assert page.number(state="skipped") == 4
    assert page.number(state="decided", after=1) == 3


def test_undo_goes_back_to_what_stood(page):
    first = page.say(row=1, verdict="accept").json()["entry"]
    second = page.say(row=1, verdict="edit", labels=[0], seen=first).json()["entry"]
    assert page.kept() == {1: ("edit", ("cat",))}
    assert page.undo(second).json() == {"row": 1}
    assert page.kept() == {1: ("accept", ())}
    assert page.undo(second).status_code == 400
    page.undo(first)
    assert page.kept() == {}
    assert page.number() == 1


def test_the_second_of_two_tabs_is_told(page):
    first = page.say(row=1, verdict="accept").json()["entry"]
    late = page.say(row=1, verdict="edit", labels=[0])
    assert late.status_code == 409
    assert "decided elsewhere" in late.json()["detail"]
    assert page.kept() == {1: ("accept", ())}
    assert page.say(row=1, verdict="edit", labels=[0], seen=first).status_code == 200


def test_nothing_is_lost_when_the_server_starts_again(page, run):
    page.say(row=1, verdict="accept")
    again = Page(run)
    again.enter()
    assert again.number() == 3
    again.say(row=3, verdict="accept")
    # The first server sees what the second wrote.
    assert page.number() == 0
    again.decisions.close()


@pytest.mark.parametrize(
    ("said", "reply"),
    [
        ({"row": 4, "verdict": "accept"}, "Nothing is proposed"),
        ({"row": 4, "verdict": "reject"}, "Nothing is proposed"),
        ({"row": 0, "verdict": "edit", "labels": [4]}, "no such label"),
        ({"row": 0, "verdict": "edit", "labels": [-1]}, "no such label"),
    ],
)
def test_what_cannot_be_kept_is_said(page, said, reply):
    answer = page.say(**said)
    assert answer.status_code == 400
    assert reply in answer.json()["detail"]
    assert page.kept() == {}


@pytest.mark.parametrize(
    "content",
    [
        {"row": 0},
        {"row": "0; DROP TABLE history", "verdict": "accept"},
        {"row": 0, "verdict": "undo"},
        {"row": 0, "verdict": "accept", "labels": ["cat"]},
        {"row": 0, "verdict": "accept", "more": 1},
        {"row": 0, "verdict": "accept", "seconds": -1},
    ],
)
def test_what_is_no_verdict_is_refused(page, content):
    assert page.say(**content).status_code == 422
    assert page.kept() == {}


# What is shown is text.


def test_odd_labels_are_text_everywhere(tmp_path):
    given = [[ODD[0], ODD[3], "<b>a word</b>"], [ODD[1]]]
    source = pa.table({"key": ["<i>id</i>", "b"], "text": ["<img src=x onerror=alert(1)>", ""]})
    reasons = [["added <u>: <s>1</s>"], []]
    p = [[0.6, 0.6, 0.7, 0.6]] * 2
    page = Page(write_run(tmp_path, source, given, p, names=ODD, reasons=reasons))
    whole = page.enter().text
    page.say(row=0, verdict="edit", labels=[0, 1, 2, 3])
    assert page.kept()[0][1] == tuple(ODD)
    shown = whole + page.row(row=0) + page.row(row=1) + page.get("/labels?search=").text
    for raw in ("<script>alert", "<b>a word", "<i>id", "<img src=x", "<u>", "<s>", '"quotes" '):
        assert raw not in shown
    for text in ("&lt;script&gt;alert(1)", "&#34;quotes&#34; &#39;and&#39; &amp;amp;", ODD[2]):
        assert text in shown
    assert f'<bdi class="name" dir="auto">{ODD[3]}</bdi>' in shown
    assert 'placeholder="id, text' in shown
    searched = page.get("/", params={"search": '"><script>x'}).text
    assert "<script>x" not in searched
    page.decisions.close()


def test_labels_are_found_by_what_they_begin_with_first(page):
    found = page.get("/labels", params={"search": "T"}).text
    assert [NAMES[int(unit)] for unit in re.findall(r'data-unit="(\d+)"', found)] == ["tree", "cat"]


def test_a_row_says_what_is_given_proposed_and_decided(page):
    shown = page.row(row=3)
    assert re.search(r'<li class="removed"><bdi class="name" dir="auto">cat', shown)
    assert re.search(r'<li class="kept"><bdi class="name" dir="auto">tree', shown)
    assert re.findall(r'value="(\d)" data-proposed checked', shown) == ["3"]
    page.say(row=3, verdict="edit", labels=[1])
    again = page.row(row=3)
    assert "Edited" in again
    assert re.findall(r'value="(\d)"(?: data-proposed)? checked', again) == ["1"]
    assert "Verified before this review" in page.row(row=2)
    assert "the example could not be used" in page.row(row=4)


# Pictures.


@pytest.fixture
def gallery(pictures: SmallRun) -> Iterator[Page]:
    page = Page(pictures)
    page.enter()
    yield page
    page.decisions.close()


def test_pictures_of_the_folder_are_drawn_anew(tmp_path: Path, pictures: SmallRun):
    client = Page(pictures, pictures=tmp_path / "pictures")
    client.enter()
    for row in (0, 1, 10):
        answer = client.get(f"/picture/{row}/0")
        assert answer.headers["content-type"] == "image/png"
        image = Image.open(io.BytesIO(answer.content))
        assert image.size == (40, 30)
    assert np.array(image)[0, 0].tolist() == [255, 0, 0]
    for row in range(2, 10):
        answer = client.get(f"/picture/{row}/0")
        assert answer.status_code == 404, row
        assert b"secret" not in answer.content
    client.decisions.close()


def test_by_default_the_folder_is_the_table_s(gallery):
    assert gallery.get("/picture/2/0").status_code == 404
    assert "/picture/0/0" in gallery.row(row=0)


def test_a_class_is_one_of_several(gallery):
    shown = gallery.row(row=0)
    assert shown.count('<input type="radio"') == 2
    for labels in ([], [0, 1]):
        answer = gallery.say(row=0, verdict="edit", labels=labels)
        assert answer.status_code == 400
        assert f"exactly one label here, and not {len(labels)}" in answer.json()["detail"]
    gallery.say(row=0, verdict="reject")
    gallery.say(row=1, verdict="accept")
    assert gallery.kept() == {0: ("reject", ("red",)), 1: ("accept", ("blue",))}


def test_a_large_picture_is_brought_to_a_size_for_the_page(tmp_path):
    Image.new("RGB", (4000, 1000), "green").save(tmp_path / "wide.png")
    source = pa.table({"picture": ["wide.png"]})
    run = write_run(
        tmp_path, source, [["cat"]], [[0.5] * 4], ids=None, shown="picture", kind="image"
    )
    page = Page(run)
    page.enter()
    answer = page.get("/picture/0/0")
    assert answer.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(answer.content)).size == (1600, 400)
    page.decisions.close()


def test_vectors_are_shown_by_their_first_numbers(tmp_path):
    source = texts(2).append_column("x", pa.array([[0.5, 1 / 3] * 100] * 2))
    run = write_run(tmp_path, source, [[], []], [[0.5] * 4] * 2, shown="x", kind="vector")
    page = Page(run)
    page.enter()
    assert "0.5 0.3333 0.5" in page.row()
    assert "152 more" in page.row()
    page.decisions.close()
