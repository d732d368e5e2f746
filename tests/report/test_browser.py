"""The report in a browser: from a file, at two widths, on paper, in light and dark.

Run with `pytest -m browser`; they need a Chromium, which Debian calls chromium.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page
from tests.report.made_runs import facts_of, full_record
from tests.report.test_page import ODD, odd_run
from tests.review.conftest import SmallRun, pictures
from tests.review.test_browser import CONTRAST, browser

from latentlabels.report.page import write_report

__all__ = ["browser", "pictures"]

pytestmark = pytest.mark.browser


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A tab that may say nothing and ask for nothing but the file."""
    said: list[str] = []
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("console", lambda line: said.append(line.text))
    page.on(
        "request",
        lambda asked: None if asked.url.startswith(("file:", "data:")) else said.append(asked.url),
    )
    yield page
    assert said == []
    context.close()


@pytest.fixture
def address(tmp_path: Path) -> str:
    """A report whose labels, texts and ids would like to be markup."""
    path = tmp_path / "report.html"
    write_report(
        facts_of(odd_run(tmp_path), record=full_record(), right=[1] * 20, title=ODD[5]), path
    )
    return path.as_uri()


@pytest.mark.parametrize("width", [390, 1280])
def test_odd_texts_at_two_widths(page: Page, address: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(address)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.title() == ODD[5]
    names = page.locator("bdi").all_text_contents()
    assert set(ODD) <= set(names)
    assert page.locator("script").count() == page.locator("article img").count() == 0
    # Styles are those of the file: its policy lets no others in, and these are let in.
    assert page.locator(".chips .added").first.evaluate("e => getComputedStyle(e).fontWeight") == (
        "600"
    )
    page.locator("a.more").first.click()
    assert page.locator("#whole").is_visible()


def test_pictures_are_shown(page: Page, tmp_path: Path, pictures: SmallRun) -> None:
    path = tmp_path / "report.html"
    write_report(facts_of(pictures, pictures=tmp_path / "pictures"), path)
    page.goto(path.as_uri())
    widths = page.evaluate(
        """async () => {
            const shown = [...document.querySelectorAll('article img')];
            await Promise.all(shown.map(image => image.decode()));
            return shown.map(image => image.naturalWidth);
        }"""
    )
    assert widths == [40, 40, 40]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_is_enough(page: Page, address: str, scheme: Any) -> None:
    """4.5 to 1 for text, as WCAG 2 asks at level AA."""
    page.emulate_media(color_scheme=scheme)
    page.goto(address)
    assert page.evaluate(CONTRAST) == []


def test_paper_has_all(page: Page, address: str) -> None:
    """Printed, nothing is folded away, cut off or left to be scrolled to."""
    page.goto(address)
    page.emulate_media(media="print")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    cut = """() => [...document.querySelectorAll('main *')].filter(e =>
        getComputedStyle(e).overflowY === 'auto' && e.scrollHeight > e.clientHeight + 1).length"""
    assert page.evaluate(cut) == 0
    assert page.locator(".settings").evaluate("e => e.getBoundingClientRect().height") > 0
    assert len(page.pdf()) > 10_000
