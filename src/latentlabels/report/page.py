"""The report as one HTML file: facts into a template that escapes every text of theirs."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from latentlabels.evaluation.label_noise import Share
from latentlabels.report.facts import Facts

LONGEST_NAME: Final = 120
LONGEST_SENTENCE: Final = 400
MOST_LISTED: Final = 100
LONGEST_LISTED: Final = 20_000
SECTIONS: Final = (
    ("changes", "The surest changes"),
    ("closest", "The closest calls"),
    ("noise", "Noise by label"),
    ("atlas", "What noisy labels say"),
    ("together", "Labels that go together"),
    ("training", "Training"),
    ("chains", "Chains"),
    ("calibration", "Calibration"),
    ("comparison", "Against the verified rows alone"),
    ("more", "How many more to verify"),
    ("provenance", "Settings and provenance"),
)
"""Each is a template of this name in templates/sections; a new one takes a line here and a file."""


@dataclass
class LongNames:
    """Texts that are shown cut, and once as a whole at the end of the page.

    Attributes:
        places: the number of each in the list at the end.
        left_out: how many texts found no place there.
    """

    places: dict[str, int] = field(default_factory=dict)
    left_out: set[str] = field(default_factory=set)

    def shown(self, text: str, most: int = LONGEST_NAME) -> dict[str, Any]:
        """A text as it is shown where it stands, and where the whole of it does."""
        if len(text) <= most:
            return {"text": text, "place": None, "cut": False}
        if text not in self.places and len(self.places) >= MOST_LISTED:
            self.left_out.add(text)
            return {"text": text[:most], "place": None, "cut": True}
        place = self.places.setdefault(text, len(self.places) + 1)
        return {"text": text[:most], "place": place, "cut": True}

    def listed(self) -> list[dict[str, Any]]:
        """The whole texts, or as much of them as a page bears."""
        return [
            {
                "place": place,
                "text": text[:LONGEST_LISTED],
                "more": max(0, len(text) - LONGEST_LISTED),
            }
            for text, place in self.places.items()
        ]


def render(facts: Facts) -> str:
    """The report's HTML."""
    environment = Environment(
        loader=PackageLoader("latentlabels.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # As it will stand in the page, whose policy lets no other style in.
    style = environment.get_template("report.css").render()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    long_names = LongNames()
    environment.filters |= {
        "percent": percent,
        "interval": interval,
        "signed": signed,
        "number": number,
        "setting": setting,
    }
    environment.globals |= {"shown": long_names.shown, "longest_sentence": LONGEST_SENTENCE}
    return environment.get_template("report.html").render(
        facts=facts,
        sections=SECTIONS,
        style_digest=digest,
        long_names=long_names,
        version=metadata.version("latentlabels"),
    )


def write_report(facts: Facts, path: Path) -> None:
    """Write the report under a temporary name, then rename it."""
    partial = path.with_name(f"{path.name}.partial")
    try:
        partial.write_text(render(facts), encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def percent(value: float) -> str:
    """A share in per cent: to one decimal below ten and next to a hundred, which it is not."""
    exact = 100 * value
    if 0 < exact < 0.05:
        told = "<0.1"
    elif 99.5 <= exact < 100:
        told = f"{min(exact, 99.9):.1f}"
    else:
        told = f"{exact:.1f}" if 0 < exact < 9.95 else f"{exact:.0f}"
    return f"{told}\N{NO-BREAK SPACE}%"


def interval(share: Share) -> str:
    """Where a share lies, in per cent."""
    return f"{percent(share.low)} to {percent(share.high)}"


def signed(value: float, digits: int = 1) -> str:
    """A number with its sign."""
    return f"{value:+z.{digits}f}".replace("-", "−")


def number(value: float) -> str:
    """A number as short as four digits make it."""
    return f"{value:.4g}".replace("-", "−")


def setting(value: Any) -> str:
    """A setting's value as a reader takes it in."""
    if isinstance(value, Mapping) or value is None or isinstance(value, bool):
        return str(value)
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)
