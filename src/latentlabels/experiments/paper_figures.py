"""The paper's figures of single images: what was given, and what became of it.

Figure 3 shows training images with the given words, the labels that the auxiliary takes from the
words alone, and those of the model, which sees the image too. Figure 4 shows images whose labels
the model changes, the most certain change first. Which images, how many, and the layout are our
choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from numpy.typing import NDArray
from PIL import Image

from latentlabels.cleaning import CleanedLabels
from latentlabels.data.images import decode_image, read_content
from latentlabels.data.labels import encode, read_columns
from latentlabels.errors import LatentLabelsError
from latentlabels.estimator import RobustClassifier
from latentlabels.experiments.task import Task
from latentlabels.report.chips import ADDED, FONT, GREY, KEPT, REMOVED, WORD, Chip, flow
from latentlabels.report.gallery import (
    CAPTION_SIZE,
    CARD,
    CHIP_HEIGHT,
    DOTS_PER_INCH,
    GUTTER,
    HEADER,
    LINE,
    MARGIN,
    PADDING,
    PAGE,
    WIDTH,
    GalleryRow,
    draw_header,
    draw_image,
    draw_line,
    save_gallery,
    write,
)

EXAMPLES: Final = {"figure3": 8, "figure4": 12}
LOOKED_AT: Final = 2_000
"""Training images, drawn at random, among which figure 4 finds the most certain changes."""
WORDS_SHOWN: Final = 12
PIXELS: Final = 256
PICTURE: Final = 96.0
NAME: Final = 64.0


def examples_for(
    target: str, task: Task, classifier: RobustClassifier, data: Path, seed: int
) -> list[dict[str, Any]]:
    """The examples of a figure, as JSON values: their images, words and labels.

    Args:
        target: "figure3" or "figure4".
        task: the data.
        classifier: fitted on it.
        data: the folder that images' paths are told from.
        seed: of the choice among the unverified training rows.
    """
    rows = task.rows("train")
    rows = np.random.default_rng(seed).permutation(rows[~task.verified[rows]])[:LOOKED_AT]
    cleaned = classifier.clean(task.x[rows], task.noisy_of(rows))
    certainty = [_certainty(cleaned, place) for place in range(len(rows))]
    places = [place for place in range(len(rows)) if place not in cleaned.skipped]
    if target == "figure4":
        places = sorted((p for p in places if certainty[p]), key=lambda p: -certainty[p])
    else:
        places = [place for place in places if cleaned.given[place]]
    found = places[: EXAMPLES[target]]
    auxiliary = _of_auxiliary(task, classifier, rows[found])
    return [
        {
            "image": _told_from(data, str(task.x[rows[place]])),
            "given": cleaned.given[place],
            "auxiliary": said,
            "proposed": cleaned.proposed[place],
            "certainty": {
                name: round(float(p if name in cleaned.proposed[place] else 1 - p), 4)
                for name, p in zip(cleaned.names, cleaned.probabilities[place], strict=True)
                if name in cleaned.added[place] or name in cleaned.removed[place]
            },
            "labels": [name for name in cleaned.given[place] if name in cleaned.names],
        }
        for place, said in zip(found, auxiliary, strict=True)
    ]


def _certainty(cleaned: CleanedLabels, place: int) -> float:
    """Of the most certain change of a row; 0 where nothing changes."""
    unit = {name: number for number, name in enumerate(cleaned.names)}
    probabilities = cleaned.probabilities[place]
    added = [probabilities[unit[name]] for name in cleaned.added[place]]
    removed = [1 - probabilities[unit[name]] for name in cleaned.removed[place]]
    return float(max([*added, *removed], default=0.0))


def _of_auxiliary(
    task: Task, classifier: RobustClassifier, rows: NDArray[np.intp]
) -> list[list[Any]]:
    """What the auxiliary makes of the words of some rows."""
    if len(rows) == 0:
        return []
    given = encode(read_columns(task.noisy_of(rows)), classifier.noisy_space_, unknown="ignore")
    means = classifier.model_.auxiliary.clean_mean(torch.from_numpy(given.toarray()))
    space = classifier.clean_space_
    return space.decode(space.units.mode(means).numpy())


def _told_from(data: Path, path: str) -> str:
    return Path(path).relative_to(data).as_posix()


def draw_figure(path: Path, target: str, examples: Sequence[Mapping[str, Any]], data: Path) -> None:
    """Draw a figure from its examples and write it, whole or not at all.

    Args:
        path: a .png file.
        target: "figure3" or "figure4".
        examples: from `examples_for`.
        data: the folder that images' paths are told from.

    Raises:
        LatentLabelsError: there is no example to show.
        InputError: an image that cannot be read any more.
    """
    if not examples:
        raise LatentLabelsError(
            f"There is nothing to show in {target}: the model changes no label, or no training "
            "image has words. Train longer, or on more images."
        )
    pictures = [picture_of(data / example["image"]) for example in examples]
    if target == "figure4":
        rows = [changed_row(*pair) for pair in zip(pictures, examples, strict=True)]
        save_gallery(path, rows, title="Changed labels, most certain first")
        return
    aside = path.with_name(f"{path.name}.partial")
    try:
        figure = compared(pictures, examples)
        figure.savefig(aside, format="png", dpi=DOTS_PER_INCH, facecolor=PAGE)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def picture_of(path: Path) -> NDArray[np.floating[Any]]:
    """The centre of an image, as the network sees it, (256, 256, 3) from 0 to 1."""
    image = decode_image(read_content(path))
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side))
    pixels = square.resize((PIXELS, PIXELS), Image.Resampling.BICUBIC)
    return np.asarray(pixels, dtype=np.float64) / 255


def changed_row(picture: NDArray[np.floating[Any]], example: Mapping[str, Any]) -> GalleryRow:
    """An example of figure 4: every change with its probability."""
    certainty, proposed = example["certainty"], example["proposed"]
    told = {name: f"{name} {100 * p:.0f} %" for name, p in certainty.items()}
    return GalleryRow(
        picture,
        kept=tuple(name for name in proposed if name not in certainty),
        added=tuple(told[name] for name in certainty if name in proposed),
        removed=tuple(told[name] for name in certainty if name not in proposed),
        words=_other_words(example),
    )


def lines_of(example: Mapping[str, Any]) -> dict[str, list[Chip]]:
    """An example of figure 3: what was given, what the auxiliary says, and what the model says."""
    auxiliary, model, labels = example["auxiliary"], example["proposed"], example["labels"]
    return {
        "given": [
            *(Chip(name, KEPT) for name in labels),
            *(Chip(word, WORD) for word in _other_words(example)),
        ],
        "auxiliary": [Chip(name, KEPT if name in model else REMOVED) for name in auxiliary],
        "model": [Chip(name, KEPT if name in auxiliary else ADDED) for name in model],
    }


def _other_words(example: Mapping[str, Any]) -> tuple[str, ...]:
    """The rarer ones first, which say more than "a" and "of"."""
    words = [word for word in example["given"] if word not in example["labels"]][::-1]
    more = ["…"] if len(words) > WORDS_SHOWN else []
    return (*words[:WORDS_SHOWN], *more)


def compared(
    pictures: Sequence[NDArray[np.floating[Any]]], examples: Sequence[Mapping[str, Any]]
) -> Figure:
    """Figure 3: a card an example, the image at the left and three lines of labels beside it."""
    room = WIDTH - 2 * MARGIN - PICTURE - NAME - 3 * PADDING
    cards = [
        {name: flow(chips, room) for name, chips in lines_of(example).items()}
        for example in examples
    ]
    heights = [
        max(PICTURE, LINE * sum(max(1, len(lines)) for lines in card.values())) + 2 * PADDING
        for card in cards
    ]
    height = HEADER + sum(heights) + GUTTER * (len(cards) - 1) + MARGIN
    figure = Figure(figsize=(WIDTH / 72, height / 72), dpi=DOTS_PER_INCH)
    FigureCanvasAgg(figure)
    page = figure.add_axes((0, 0, 1, 1))
    page.set_axis_off()
    draw_header(page, "Labels from words alone, and with the image")
    top = HEADER
    for picture, card, own in zip(pictures, cards, heights, strict=True):
        _draw_compared(page, picture, card, top, own)
        top += own + GUTTER
    page.set(xlim=(0, WIDTH), ylim=(height, 0), aspect="auto")
    return figure


def _draw_compared(
    page: Axes,
    picture: NDArray[np.floating[Any]],
    card: Mapping[str, list[list[Chip]]],
    top: float,
    height: float,
) -> None:
    page.fill_between([MARGIN, WIDTH - MARGIN], top, top + height, color=CARD, linewidth=0)
    draw_image(page, picture, MARGIN + PADDING, top + PADDING, PICTURE)
    left = MARGIN + PICTURE + 2 * PADDING
    middle = top + PADDING + CHIP_HEIGHT / 2
    for name, lines in card.items():
        write(page, left, middle, name, GREY, FontProperties(family=FONT, size=CAPTION_SIZE))
        for chips in lines or [[Chip("nothing", WORD)]]:
            draw_line(page, chips, left + NAME, middle)
            middle += LINE
