"""Words as chips: each in the style that says what became of it, broken into lines that fit."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath

# Lengths are points.
CHIP_SIZE: Final = 8.5
CHIP_SPACE: Final = 6.0
LONGEST_WORD: Final = 60

FONT: Final = "DejaVu Sans"
DARK: Final = "#1c2530"
GREY: Final = "#6b7683"


@dataclass(frozen=True)
class Style:
    """How a word looks: its colours, its mark, and whether it stands out."""

    colour: str
    fill: str | None = None
    mark: str = ""
    bold: bool = False
    struck: bool = False

    @property
    def font(self) -> FontProperties:
        """The typeface, whatever the reader's matplotlib is set to."""
        return FontProperties(
            family=FONT, size=CHIP_SIZE, weight="bold" if self.bold else "regular"
        )

    @property
    def padding(self) -> float:
        """Points between the text and the edge of its chip."""
        return 4.0 if self.fill else 0.0


KEPT: Final = Style(DARK, fill="#e3e7ec")
ADDED: Final = Style("#006b50", fill="#cfeee2", mark="+ ", bold=True)
REMOVED: Final = Style("#a83c00", fill="#fde3d2", mark="− ", struck=True)
WORD: Final = Style(GREY)


@dataclass(frozen=True)
class Chip:
    """A word in its style."""

    word: str
    style: Style

    @property
    def shown(self) -> str:
        """The word on one line."""
        return " ".join(self.word.split()) or "(blank)"

    @property
    def text(self) -> str:
        """The mark and the word."""
        return self.style.mark + self.shown

    @property
    def width(self) -> float:
        """Points from edge to edge."""
        return text_width(self.text, self.style.font) + 2 * self.style.padding


def text_width(text: str, font: FontProperties) -> float:
    """Points that the text takes on a line, no part of it read as a formula."""
    width, _, _ = TextToPath().get_text_width_height_descent(text, font, ismath=False)
    return float(width)


def shortened(chip: Chip, width: float) -> Chip:
    """The chip, its word cut where it would be wider than `width` points."""
    word = chip.shown
    kept = min(len(word), LONGEST_WORD)
    while kept >= 0 and chip.width > width:
        chip = replace(chip, word=f"{word[:kept]}…")
        kept -= 1
    return chip


def flow(chips: Sequence[Chip], width: float) -> list[list[Chip]]:
    """Breaks chips into lines no wider than `width` points; a line holds one chip at least."""
    lines: list[list[Chip]] = []
    free = 0.0
    for whole in chips:
        chip = shortened(whole, width)
        if not lines or chip.width > free:
            lines.append([])
            free = width
        lines[-1].append(chip)
        free -= chip.width + CHIP_SPACE
    return lines
