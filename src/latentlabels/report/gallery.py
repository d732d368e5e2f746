"""A picture of cleaned examples: each image with the words that came with it and its labels.

The words that were given stand in the first line under an image, a dropped label among them in
vermilion, struck out and marked "−"; words that are no label at all are grey. The cleaned labels
stand in the second line, an added one in green and marked "+". The colours can be told apart
without seeing red and green, and the marks without seeing any colour.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyBboxPatch
from numpy.typing import NDArray

from latentlabels.errors import LatentLabelsError
from latentlabels.report.chips import (
    ADDED,
    CHIP_SPACE,
    DARK,
    FONT,
    GREY,
    KEPT,
    REMOVED,
    WORD,
    Chip,
    flow,
    text_width,
)

# Lengths are points. A picture 9 inches wide is read at about 900 pixels, drawn at twice that.
WIDTH: Final = 648.0
DOTS_PER_INCH: Final = 200
MARGIN: Final = 14.0
GUTTER: Final = 12.0
PADDING: Final = 8.0
HEADER: Final = 42.0
CAPTION: Final = 16.0
LINE: Final = 16.5
CHIP_HEIGHT: Final = 13.5

TITLE_SIZE: Final = 13.0
CAPTION_SIZE: Final = 7.0

PAGE: Final = "#ffffff"
CARD: Final = "#f6f7f9"
EDGE: Final = "#dfe3e8"


@dataclass(frozen=True)
class GalleryRow:
    """One example: its image, the words that came with it, and what became of its labels.

    Attributes:
        image: (height, width), grey from 0 to 1, or (height, width, 3), colours from 0 to 1.
        kept: Labels that were given and are proposed.
        added: Labels that are proposed though they were not given.
        removed: Labels that were given and are not proposed.
        words: What else was given; it names no label.
    """

    image: NDArray[np.floating[Any]]
    kept: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    words: tuple[str, ...] = ()


def gallery_row(
    image: NDArray[np.floating[Any]],
    given: Sequence[str],
    proposed: Sequence[str],
    labels: Collection[str],
) -> GalleryRow:
    """Tells kept, added and removed labels and other words apart.

    Args:
        image: (height, width) or (height, width, 3), 0 to 1.
        given: The words that came with the example.
        proposed: Its cleaned labels.
        labels: The names of all labels, by which a given word is one.

    Returns:
        The example for `save_gallery`.
    """
    return GalleryRow(
        image,
        kept=tuple(name for name in proposed if name in given),
        added=tuple(name for name in proposed if name not in given),
        removed=tuple(
            name for name in dict.fromkeys(given) if name in labels and name not in proposed
        ),
        words=tuple(name for name in dict.fromkeys(given) if name not in labels),
    )


def given_chips(row: GalleryRow) -> list[Chip]:
    """What came with the example."""
    return [
        *(Chip(name, KEPT) for name in row.kept),
        *(Chip(name, REMOVED) for name in row.removed),
        *(Chip(name, WORD) for name in row.words),
    ]


def cleaned_chips(row: GalleryRow) -> list[Chip]:
    """What is proposed for the example."""
    return [
        *(Chip(name, KEPT) for name in row.kept),
        *(Chip(name, ADDED) for name in row.added),
    ]


@dataclass(frozen=True)
class Card:
    """An example with its words broken into lines."""

    row: GalleryRow
    given: list[list[Chip]]
    cleaned: list[list[Chip]]


@dataclass(frozen=True)
class Band:
    """Cards side by side, whose parts stand at the same height.

    Attributes:
        cards: From left to right.
        width: Of each card, in points.
    """

    cards: tuple[Card, ...]
    width: float

    @property
    def picture(self) -> float:
        """The room for the images, in points."""
        tallest = max(card.row.image.shape[0] / card.row.image.shape[1] for card in self.cards)
        return float((self.width - 2 * PADDING) * tallest)

    @property
    def given(self) -> float:
        """The room for what was given, its caption included, in points."""
        return CAPTION + LINE * max(1, *(len(card.given) for card in self.cards))

    @property
    def cleaned(self) -> float:
        """The room for what is proposed, its caption included, in points."""
        return CAPTION + LINE * max(1, *(len(card.cleaned) for card in self.cards))

    @property
    def height(self) -> float:
        """Of each card, in points."""
        return self.picture + self.given + self.cleaned + 1.75 * PADDING


def band(rows: Sequence[GalleryRow], width: float) -> Band:
    """Lays examples out on cards of `width` points."""
    inner = width - 2 * PADDING
    return Band(
        tuple(
            Card(row, flow(given_chips(row), inner), flow(cleaned_chips(row), inner))
            for row in rows
        ),
        width,
    )


def draw(rows: Sequence[GalleryRow], title: str, columns: int) -> Figure:
    """The gallery as a figure that no global state of matplotlib knows of."""
    width = (WIDTH - 2 * MARGIN - (columns - 1) * GUTTER) / columns
    bands = [band(rows[start : start + columns], width) for start in range(0, len(rows), columns)]
    height = HEADER + sum(each.height + GUTTER for each in bands) - GUTTER + MARGIN

    figure = Figure(figsize=(WIDTH / 72, height / 72), dpi=DOTS_PER_INCH)
    FigureCanvasAgg(figure)
    # One pair of axes covers the page, so that its coordinates are points from the upper left.
    page = figure.add_axes((0, 0, 1, 1))
    page.set_axis_off()
    draw_header(page, title)
    top = HEADER
    for each in bands:
        for column, card in enumerate(each.cards):
            draw_card(page, each, card, MARGIN + column * (width + GUTTER), top)
        top += each.height + GUTTER
    page.set(xlim=(0, WIDTH), ylim=(height, 0), aspect="auto")
    return figure


def draw_header(page: Axes, title: str) -> None:
    """The title at the left, the key at the right."""
    middle = MARGIN + 9
    font = FontProperties(family=FONT, size=TITLE_SIZE, weight="bold")
    write(page, MARGIN, middle, title, DARK, font)
    meanings = {"kept": KEPT, "added": ADDED, "dropped": REMOVED, "other words": WORD}
    key = [Chip(meaning, style) for meaning, style in meanings.items()]
    width = sum(chip.width for chip in key) + CHIP_SPACE * (len(key) - 1)
    draw_line(page, key, WIDTH - MARGIN - width, middle)


def draw_card(page: Axes, band: Band, card: Card, left: float, top: float) -> None:
    """An example's card with its upper left corner at the given point."""
    page.add_patch(
        FancyBboxPatch(
            (left, top),
            band.width,
            band.height,
            boxstyle="round,pad=0,rounding_size=5",
            facecolor=CARD,
            edgecolor=EDGE,
            linewidth=0.8,
        )
    )
    inner = left + PADDING
    draw_image(page, card.row.image, inner, top + PADDING, band.width - 2 * PADDING)
    line = top + band.picture + PADDING
    for caption, lines, room in (
        ("given", card.given, band.given),
        ("cleaned", card.cleaned, band.cleaned),
    ):
        font = FontProperties(family=FONT, size=CAPTION_SIZE)
        write(page, inner, line + CAPTION * 0.6, caption, GREY, font)
        for number, chips in enumerate(lines or [[Chip("nothing", WORD)]]):
            draw_line(page, chips, inner, line + CAPTION + LINE * (number + 0.5))
        line += room


def draw_image(
    page: Axes, image: NDArray[np.floating[Any]], left: float, top: float, width: float
) -> None:
    """The image, every pixel a crisp square, with rounded corners."""
    height = width * image.shape[0] / image.shape[1]
    shown = page.imshow(
        image,
        cmap="gray",
        vmin=0,
        vmax=1,
        interpolation="nearest",
        origin="upper",
        extent=(left, left + width, top + height, top),
        zorder=2,
    )
    rounded = "round,pad=0,rounding_size=3"
    shown.set_clip_path(
        FancyBboxPatch((left, top), width, height, boxstyle=rounded, transform=page.transData)
    )


def draw_line(page: Axes, chips: Sequence[Chip], left: float, middle: float) -> None:
    """Chips side by side on a line whose middle is at `middle`."""
    for chip in chips:
        style = chip.style
        if style.fill:
            page.add_patch(
                FancyBboxPatch(
                    (left, middle - CHIP_HEIGHT / 2),
                    chip.width,
                    CHIP_HEIGHT,
                    boxstyle="round,pad=0,rounding_size=3.5",
                    facecolor=style.fill,
                    linewidth=0,
                )
            )
        start = left + style.padding
        write(page, start, middle, chip.text, style.colour, style.font)
        if style.struck:
            start += text_width(style.mark, style.font)
            end = left + chip.width - style.padding
            page.plot([start, end], [middle, middle], color=style.colour, linewidth=0.9)
        left += chip.width + CHIP_SPACE


def write(
    page: Axes, left: float, middle: float, text: str, colour: str, font: FontProperties
) -> None:
    """Writes text as it stands: a dollar sign in a label is no formula."""
    page.text(
        left,
        middle,
        text,
        color=colour,
        fontproperties=font,
        verticalalignment="center_baseline",
        parse_math=False,
        usetex=False,
    )


def save_gallery(
    path: Path | str, rows: Sequence[GalleryRow], *, title: str, columns: int = 4
) -> None:
    """Draws examples on cards in a grid and writes the picture.

    The file is written under another name and renamed when it is whole.

    Args:
        path: Where to; its ending tells the format, as in `cats.png` or `cats.svg`.
        rows: The examples, from left to right and top to bottom.
        title: What stands above them, up to about 50 characters; the file carries it too.
        columns: Cards side by side.

    Raises:
        LatentLabelsError: There is no example or no column.
    """
    if not rows or columns < 1:
        raise LatentLabelsError(
            "a gallery wants one example and one column at least, "
            f"got {len(rows)} and {columns}: hand over rows, and columns of 1 or more."
        )
    path = Path(path)
    partial = path.with_name(f"{path.name}.partial")
    try:
        draw(rows, title, columns).savefig(
            partial,
            format=path.suffix.removeprefix(".") or "png",
            dpi=DOTS_PER_INCH,
            facecolor=PAGE,
            metadata={"Title": title},
        )
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
