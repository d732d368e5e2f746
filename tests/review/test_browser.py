"""The page in a browser: by keyboard, through reloads, restarts and odd labels, at two widths.

Run with `pytest -m browser`; they need a Chromium, which Debian calls chromium.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import uvicorn
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright
from tests.review.conftest import NAMES, SmallRun, texts, write_run
from tests.small_tables import QUICK

from latentlabels import RobustClassifier
from latentlabels.review.decisions import Decision, Decisions, read_decisions
from latentlabels.review.server import review_app

pytestmark = pytest.mark.browser

SERVE = "import sys; from latentlabels.cli import main; sys.exit(main(sys.argv[1:]))"
ROWS = 60
ODD = [
    "<script>document.title = 'run'</script>",
    "\"double\" 'single' `back` &amp;",
    "long " * 2_000,
    "\u202e\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd",
    "<img src=x onerror=\"document.title='run'\">",
]


class Process:
    """`latentlabels review` as a process of its own.

    Args:
        run: the run, with a model in it.
        port: where it listens.
    """

    def __init__(self, run: SmallRun, port: int = 0) -> None:
        arguments = [
            "review",
            str(run.folder),
            "--show",
            run.shown,
            "--no-browser",
            "--port",
            str(port),
        ]
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVE, *arguments], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().strip()
        found = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/\?token=\S+", self.address)
        assert found is not None, self.address
        self.port = int(found[1])

    def kill(self) -> None:
        """End it without a chance to tidy up."""
        self.process.kill()
        self.process.communicate()

    def stop(self) -> int:
        """Interrupt it as Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=60)
        return self.process.returncode


@contextmanager
def served(run: SmallRun) -> Iterator[str]:
    """The page's address; a thread serves it."""
    page = run.opened()
    with (
        Decisions(run.decisions, page.subject) as decisions,
        socket.create_server(("127.0.0.1", 0)) as listening,
    ):
        port = listening.getsockname()[1]
        app = review_app(page, decisions, port=port, token="token")
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none"))
        thread = threading.Thread(target=server.run, args=[[listening]])
        thread.start()
        yield f"http://127.0.0.1:{port}/?token=token"
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    assert path, "these tests drive a Chromium: apt-get install chromium, or set CHROMIUM"
    # As root, as in a container, Chromium starts without its own sandbox alone.
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=path, args=["--no-sandbox"]) as browser,
    ):
        yield browser


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A tab in which no error may pass unseen."""
    said: list[str] = []
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("console", lambda line: said.append(line.text) if "Content Sec" in line.text else None)
    yield page
    assert said == []
    context.close()


@pytest.fixture
def run(tmp_path: Path) -> SmallRun:
    """Sixty texts in all degrees of doubt."""
    random = np.random.default_rng(0)
    p = random.random((ROWS, len(NAMES)))
    given = [[name for name in NAMES if random.random() < 0.4] for _ in range(ROWS)]
    return write_run(tmp_path, texts(ROWS), given, p)


def with_model(run: SmallRun) -> None:
    """Add the model that the command wants to be there; it tells the labels alone."""
    x, labels = np.eye(4, dtype=np.float32), [[name] for name in NAMES]
    model: RobustClassifier = RobustClassifier(**QUICK).fit(x, labels, clean=labels)
    model.save(run.folder / "model", provenance={"table": "table.parquet"})


@pytest.fixture
def address(run: SmallRun) -> Iterator[str]:
    with served(run) as address:
        yield address


def kept(run: SmallRun) -> dict[int, Decision]:
    """What stands in the file."""
    return {decision.row: decision for decision in read_decisions(run.decisions)[1]}


def row(page: Page) -> int:
    """The row that is shown."""
    return int(page.locator("article").get_attribute("data-row") or -1)


def press(page: Page, key: str) -> None:
    """Press a key that goes to another row, and wait for it."""
    seen = page.url
    page.keyboard.press(key)
    page.wait_for_function("url => location.href !== url", arg=seen)


def ticked(page: Page) -> list[str]:
    """The labels that would be saved."""
    return page.locator("#choice li:has(input:checked) .name").all_inner_texts()


def decided(page: Page) -> Locator:
    return page.locator("#decided")


def test_fifty_rows_by_keyboard_with_a_kill_half_way(page: Page, run: SmallRun) -> None:
    with_model(run)
    server = Process(run)
    page.goto(server.address)
    assert "token" not in page.url
    expect(page.locator("#view h2")).to_be_focused()
    order: list[tuple[int, str]] = []
    wanted: dict[int, set[str]] = {}
    keys = ["a", "Enter", "r", "s", "1"]
    for number in range(50):
        if number == 25:
            server.kill()
            page.keyboard.press("a")
            expect(page.locator("#trouble")).to_contain_text("The server does not answer")
            server = Process(run, server.port)
            page.get_by_role("button", name="Try again").click()
            expect(page.locator("#trouble")).to_contain_text("opens with the address")
            page.goto(server.address)
            expect(decided(page)).to_have_text(str(sum(k != "s" for _, k in order)))
        key = keys[number % len(keys)]
        proposed = ticked(page)
        shown = row(page)
        if key == "1":
            page.keyboard.press("1")
            expect(page.locator(".accept")).to_have_text(re.compile("Save"))
            proposed = ticked(page)
            press(page, "a")
        else:
            press(page, key)
        order.append((shown, key))
        if key in ("a", "Enter", "1"):
            wanted[shown] = set(proposed)
    assert len({shown for shown, _ in order}) == 50
    found = kept(run)
    assert {shown for shown, _ in order} == set(found)
    for shown, key in order:
        verdict = {"a": "accept", "Enter": "accept", "r": "reject", "s": "skip", "1": "edit"}[key]
        assert found[shown].verdict == verdict
    for shown, labels in wanted.items():
        assert set(found[shown].labels or ()) == labels

    # Undo goes back through the tab's decisions, before a reload and after it.
    press(page, "u")
    assert row(page) == order[-1][0]
    page.reload()
    assert row(page) == order[-1][0]
    press(page, "u")
    assert row(page) == order[-2][0]
    assert set(kept(run)) == {shown for shown, _ in order[:-2]}
    assert server.stop() == 0
    assert set(kept(run)) == {shown for shown, _ in order[:-2]}


def test_editing_by_keyboard(page: Page, run: SmallRun, address: str) -> None:
    page.goto(address)
    shown = row(page)
    for number in range(1, 5):
        if page.locator("#choice input").nth(number - 1).is_checked():
            page.keyboard.press(str(number))
    assert ticked(page) == []
    page.keyboard.press("e")
    expect(page.locator("#find")).to_be_focused()
    # What is typed is text, and no key: "s" does not skip.
    page.keyboard.type("s")
    expect(page.locator("#found button")).to_have_text(["sky"])
    page.keyboard.press("Enter")
    assert ticked(page) == ["sky"]
    press(page, "Enter")
    assert kept(run)[shown].labels == ("sky",)
    page.keyboard.press("1")
    page.keyboard.press("Escape")
    expect(page.locator(".accept")).to_have_text(re.compile("Accept"))


def test_filters_and_search_stay_through_a_reload(page: Page, address: str) -> None:
    page.goto(address)
    expect(page.locator(".progress")).to_contain_text(f"{ROWS} match")
    page.keyboard.press("/")
    page.keyboard.type("K01")
    expect(page.locator(".progress")).to_contain_text("10 match")
    page.keyboard.press("Escape")
    page.get_by_label("Search").fill("")
    page.get_by_label("Proposal").select_option("added")
    page.locator("select[name=label]").select_option("0")
    # The address is the last to change.
    expect(page).to_have_url(re.compile("change=added&label=0"))
    expect(page.locator(".chips .added", has_text="cat")).to_be_visible()
    matching = page.locator(".progress").inner_text()
    page.reload()
    assert page.locator(".progress").inner_text() == matching
    expect(page.get_by_label("Proposal")).to_have_value("added")
    page.get_by_label("Show").select_option("decided")
    expect(page.locator("h2", has_text="No row matches")).to_be_visible()


def test_two_tabs_lose_nothing(page: Page, run: SmallRun, address: str) -> None:
    other = page.context.new_page()
    for tab in (page, other):
        tab.goto(address)
    assert row(page) == row(other)
    first = row(page)
    press(page, "a")
    other.keyboard.press("r")
    expect(other.locator("#status")).to_contain_text("decided elsewhere")
    expect(other.locator("article")).to_have_attribute("data-seen", re.compile(r"\d"))
    assert row(other) == first
    assert kept(run)[first].verdict == "accept"
    press(other, "ArrowRight")
    assert row(other) == row(page)
    press(other, "r")
    press(page, "u")
    assert row(page) == first
    assert len(kept(run)) == 1


def test_odd_labels_are_text_everywhere(page: Page, tmp_path: Path) -> None:
    source = pa.table({"key": [ODD[0], ODD[3]], "text": [ODD[4], ODD[3]]})
    given = [[ODD[0], ODD[2], ODD[4] + " as a word"], ODD[:2]]
    run = write_run(tmp_path, source, given, [[0.9, 0.9, 0.2, 0.6, 0.4]] * 2, names=ODD)
    with served(run) as address:
        page.goto(address)
        for width in (390, 1280):
            page.set_viewport_size({"width": width, "height": 800})
            for _ in range(2):
                names = page.locator("#choice .name").all_text_contents()
                assert sorted(names) == sorted(ODD)
                assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
                press(page, "ArrowRight")
        assert ODD[4] + " as a word" in page.locator(".chips .word").all_text_contents()
        assert page.locator(".example p").inner_text() in (ODD[4], ODD[3])
        page.keyboard.press("e")
        page.keyboard.type("script")
        expect(page.locator("#found .name")).to_have_text([ODD[0]])
        page.keyboard.press("Enter")
        expect(page.locator("#status")).to_contain_text("<script>")
        assert page.title() == "Review of table.parquet"
        assert page.locator("script").count() == 1
        assert page.locator("article img").count() == 0


def test_everything_has_a_name_and_can_be_reached(page: Page, address: str) -> None:
    page.goto(address)
    names = page.evaluate(
        """() => [...document.querySelectorAll('button, input, select')].map(e =>
            (e.labels?.[0]?.textContent || e.textContent || e.ariaLabel || '').trim())"""
    )
    assert all(names)
    reached: set[str] = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        outline, name = page.evaluate(
            """() => [getComputedStyle(document.activeElement).outlineWidth,
                document.activeElement.dataset.action || document.activeElement.name]"""
        )
        reached.add(name)
        if name:
            assert outline == "3px", name
    wanted = {"accept", "reject", "edit", "skip", "undo", "state", "change", "label", "search"}
    assert wanted <= reached
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Keys")).to_be_hidden()


CONTRAST = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
  const pixel = (...colours) => {
    for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = colour => {
    const [r, g, b] = colour.map(c => c / 255).map(
      c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [];
  for (const element of document.querySelectorAll('body *')) {
    const text = [...element.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    if (!text || !element.checkVisibility({visibilityProperty: true})) continue;
    const below = [];
    for (let e = element; e; e = e.parentElement)
      below.unshift(getComputedStyle(e).backgroundColor);
    const back = light(pixel('white', ...below));
    const front = light(pixel('white', ...below, getComputedStyle(element).color));
    const ratio = (Math.max(back, front) + 0.05) / (Math.min(back, front) + 0.05);
    if (ratio < 4.5) found.push([element.outerHTML.slice(0, 80), ratio]);
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_is_enough(page: Page, address: str, scheme: Any) -> None:
    """4.5 to 1 for text, as WCAG 2 asks at level AA."""
    page.emulate_media(color_scheme=scheme)
    page.goto(address)
    page.keyboard.press("e")
    page.keyboard.type("c")
    expect(page.locator("#found button")).to_have_text(["cat"])
    assert page.evaluate(CONTRAST) == []


def test_the_choice_of_dark_stays(page: Page, address: str) -> None:
    page.emulate_media(color_scheme="light")
    page.goto(address)
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.keyboard.press("d")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert dark != light
    page.reload()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark
