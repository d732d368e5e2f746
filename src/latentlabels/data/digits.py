"""Demo data: scenes of real handwritten digits, with the tags that people might have typed.

A scene is a 17 x 24 canvas on which one to four different digits are pasted, each from
scikit-learn's 1,797 scanned digits (8 x 8 pixels). A digit lands on one of six places and is at
times nudged by a pixel; where two overlap the brighter pixel wins; a little Gaussian noise covers
the whole. The clean labels of a scene are the digits on it. Training, validation and test scenes
are drawn from pools that share no scanned digit.

The noisy labels are tags. Nobody lists everything, so for each digit that is there a person

- types its plain name ("seven"), with a probability that differs from digit to digit, or
- types another word for it ("lucky"), or
- takes it for its look-alike and types that name ("one"), or
- says nothing at all.

At most one of these happens to a digit. Independently of that,

- the name of a digit that is not there is typed now and then;
- a remark on the whole scene ("round", "odd") is typed the more readily the more of its digits
  deserve it, and the sum over ten is remarked upon when the different digits do sum to that;
- words about something else come by topic: with a certain probability a scene is tagged by
  somebody who thinks of stationery, of school, or of mail, and then each word of the topic is
  likely; otherwise it is rare. Topics have nothing to do with the digits, so their words are
  correlated with each other and with nothing else.

Every rate of this story is a field of `TagRates`, and its values are those of `RATES`.
"""

import io
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from latentlabels.errors import LatentLabelsError

SYNONYMS: Final = {
    "zero": ("nil", "naught"),
    "one": ("ace", "single"),
    "two": ("pair", "couple"),
    "three": ("trio",),
    "four": ("quartet",),
    "five": ("quintet",),
    "six": ("half-dozen",),
    "seven": ("lucky",),
    "eight": ("octet",),
    "nine": ("nonet",),
}
DIGIT_NAMES: Final = tuple(SYNONYMS)
LOOK_ALIKES: Final = ((1, 7), (3, 8), (4, 9), (5, 6))
QUALITIES: Final = {
    "even": (0, 2, 4, 6, 8),
    "odd": (1, 3, 5, 7, 9),
    "round": (0, 6, 8, 9),
    "straight": (1, 4, 7),
}
SUM_OVER_TEN: Final = "sum over ten"
TOPICS: Final = {
    "stationery": ("ink", "paper", "pen", "notebook"),
    "school": ("school", "homework", "maths", "exam"),
    "mail": ("envelope", "postcode", "stamp"),
}
TAGS: Final = (
    *DIGIT_NAMES,
    *chain.from_iterable(SYNONYMS.values()),
    *QUALITIES,
    SUM_OVER_TEN,
    *chain.from_iterable(TOPICS.values()),
)

SPLIT_SHARES: Final = {"train": 0.75, "validation": 0.10, "test": 0.15}
CANVAS: Final = (17, 24)
STAMP: Final = 8
PLACES: Final = tuple((top, left) for top in (1, 8) for left in (1, 8, 15))
NUDGE: Final = 0.16
PIXEL_NOISE: Final = 0.05
DIGITS_PER_SCENE: Final = (0.30, 0.40, 0.20, 0.10)
FEWEST_ROWS: Final = 20


@dataclass(frozen=True)
class TagRates:
    """How often a tag is typed, given what is on the scene.

    Attributes:
        name: For each digit, zero to nine, that its plain name is typed when it is there.
        synonym: That some other word is typed for a digit that is there.
        look_alike: That its look-alike's name is typed instead, for digits that have one.
        false_name: That a digit that is not there is named out of nowhere.
        remark: That a remark is typed on a scene that deserves it wholly; it scales with the share
            of the scene's digits that have the quality.
        topic: That a scene's tagger has a given topic in mind.
        topic_word: That each word of a topic in mind is typed.
        stray_word: That each word of a topic that is not in mind is typed.
    """

    name: tuple[float, ...] = (0.60, 0.45, 0.58, 0.50, 0.42, 0.55, 0.48, 0.60, 0.46, 0.54)
    synonym: float = 0.15
    look_alike: float = 0.06
    false_name: float = 0.01
    remark: float = 0.50
    topic: float = 0.30
    topic_word: float = 0.50
    stray_word: float = 0.02


RATES: Final = TagRates()


@dataclass(frozen=True, eq=False)
class Scenes:
    """Scenes of handwritten digits with what people typed and what is there.

    Attributes:
        images: Brightness from 0 to 1, (rows, height, width).
        tags: What people typed, noisy, for each row in the order of `TAGS`.
        labels: The digits that are there, clean, for each row in the order of `DIGIT_NAMES`.
        split: For each row "train", "validation" or "test"; the rows come in this order.
        verified: Training rows whose clean labels may be read, (rows,).
    """

    images: NDArray[np.float32]
    tags: tuple[tuple[str, ...], ...]
    labels: tuple[tuple[str, ...], ...]
    split: tuple[str, ...]
    verified: NDArray[np.bool_]

    def to_table(self) -> pa.Table:
        """The scenes as an Arrow table, a row each.

        Returns:
            Columns id (int64), pixels (float32, a fixed-size list, row by row of the image),
            picture (binary, the same as PNG for the eye), tags and labels (lists of strings),
            verified (bool), split (string). The clean labels of all rows are in it, so that
            results can be judged; a learner may read those of verified rows.
        """
        rows, height, width = self.images.shape
        words = pa.list_(pa.string())
        return pa.table(
            {
                "id": pa.array(np.arange(rows), pa.int64()),
                "pixels": pa.FixedSizeListArray.from_arrays(
                    pa.array(self.images.reshape(-1), pa.float32()), height * width
                ),
                "picture": pa.array(map(_png, self.images), pa.binary()),
                "tags": pa.array(self.tags, words),
                "labels": pa.array(self.labels, words),
                "verified": pa.array(self.verified, pa.bool_()),
                "split": pa.array(self.split, pa.string()),
            }
        )


def _png(image: NDArray[np.floating[Any]]) -> bytes:
    """An image as an encoded file, of 8 bits a pixel."""
    file = io.BytesIO()
    Image.fromarray(np.round(255 * image).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


@dataclass(frozen=True)
class Placed:
    """One scanned digit on a scene.

    Attributes:
        source: Its index in scikit-learn's digits.
        top: Row of its upper edge on the canvas.
        left: Column of its left edge on the canvas.
    """

    source: int
    top: int
    left: int


def digit_scenes(rows: int = 6000, *, verified: float = 0.20, seed: int = 0) -> Scenes:
    """Scenes of handwritten digits, tagged as the module's docstring tells.

    The same arguments give the same scenes. `verified` chooses rows and changes nothing else, and
    a larger share verifies the rows of a smaller one too.

    Args:
        rows: Scenes in all; 75 % train, 10 % validate, 15 % test.
        verified: Share of training rows whose clean labels may be read, 0 to 1.
        seed: What all randomness derives from.

    Returns:
        The scenes, training rows first, test rows last.

    Raises:
        LatentLabelsError: There are too few rows for three splits, or the share is none.
    """
    if rows < FEWEST_ROWS:
        raise LatentLabelsError(
            f"rows must be at least {FEWEST_ROWS} to fill three splits, got {rows}."
        )
    if not 0 <= verified <= 1:
        raise LatentLabelsError(f"verified must be a share from 0 to 1, got {verified}.")
    for_pools, for_places, for_noise, for_tags, for_verified = np.random.default_rng(seed).spawn(5)

    scans = load_digits()
    split = np.repeat(list(SPLIT_SHARES), cut(rows))
    pools = source_pools(for_pools, scans.target)
    scenes = [place_digits(for_places, scans.target, pools[name]) for name in split]

    stamps = scans.images / scans.images.max()
    images = np.stack([blend(scene, stamps) for scene in scenes])
    images += PIXEL_NOISE * for_noise.standard_normal(images.shape)
    present = np.zeros((rows, len(DIGIT_NAMES)), np.bool_)
    for row, scene in enumerate(scenes):
        present[row, scans.target[[placed.source for placed in scene]]] = True

    training = np.flatnonzero(split == "train")
    may_be_read = np.zeros(rows, np.bool_)
    may_be_read[for_verified.permutation(training)[: round(verified * len(training))]] = True
    return Scenes(
        images=images.clip(0, 1).astype(np.float32),
        tags=names_of(tag(for_tags, present), TAGS),
        labels=names_of(present, DIGIT_NAMES),
        split=tuple(split.tolist()),
        verified=may_be_read,
    )


def cut(count: int) -> list[int]:
    """`count` things divided by `SPLIT_SHARES`, to the last one."""
    ends = np.rint(count * np.cumsum([0.0, *SPLIT_SHARES.values()])).astype(int)
    return [int(size) for size in np.diff(ends)]


def source_pools(
    rng: np.random.Generator, classes: NDArray[np.int64]
) -> dict[str, NDArray[np.int64]]:
    """Which scanned digits each split may show; no two splits share one.

    Args:
        rng: Where the order comes from.
        classes: The digit that each scan shows, (scans,).

    Returns:
        Indices of scans by split.
    """
    ends = np.cumsum(cut(len(classes)))[:-1]
    return dict(zip(SPLIT_SHARES, np.split(rng.permutation(len(classes)), ends), strict=True))


def place_digits(
    rng: np.random.Generator, classes: NDArray[np.int64], pool: NDArray[np.int64]
) -> tuple[Placed, ...]:
    """Chooses a scene's digits, all different, and where they lie.

    Args:
        rng: Where the choices come from.
        classes: The digit that each scan shows, (scans,).
        pool: Indices of the scans that may be shown.

    Returns:
        The digits on the scene.
    """
    count = 1 + rng.choice(len(DIGITS_PER_SCENE), p=DIGITS_PER_SCENE)
    digits = rng.choice(len(DIGIT_NAMES), count, replace=False)
    places = rng.choice(PLACES, count, replace=False)
    nudges = rng.choice((-1, 0, 1), (count, 2), p=(NUDGE / 2, 1 - NUDGE, NUDGE / 2))
    return tuple(
        Placed(int(rng.choice(pool[classes[pool] == digit])), int(top), int(left))
        for digit, (top, left) in zip(digits, places + nudges, strict=True)
    )


def blend(scene: tuple[Placed, ...], stamps: NDArray[np.float64]) -> NDArray[np.float64]:
    """The scene without noise: where digits overlap, the brighter pixel wins.

    Args:
        scene: The digits on it.
        stamps: All scanned digits, brightness from 0 to 1, (scans, 8, 8).

    Returns:
        Brightness from 0 to 1, (height, width).
    """
    canvas = np.zeros(CANVAS)
    for placed in scene:
        window = canvas[placed.top : placed.top + STAMP, placed.left : placed.left + STAMP]
        np.maximum(window, stamps[placed.source], out=window)
    return canvas


def tag(rng: np.random.Generator, present: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Has every scene tagged by somebody, at `RATES`.

    Args:
        rng: Where the choices come from.
        present: Which digits are there, (rows, 10).

    Returns:
        Which of `TAGS` are typed, (rows, tags).
    """
    return np.hstack([name_digits(rng, present), remark(rng, present), stray(rng, len(present))])


def name_digits(rng: np.random.Generator, present: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The plain names and the synonyms that are typed, (rows, names and synonyms)."""
    # One number a digit decides which of the exclusive things happens to it.
    whim = rng.random(present.shape)
    by_name = np.array(RATES.name)
    by_synonym = by_name + RATES.synonym
    named = present & (whim < by_name)
    paraphrased = present & (by_name <= whim) & (whim < by_synonym)
    mistaken = present & (by_synonym <= whim) & (whim < by_synonym + RATES.look_alike)

    typed = named | (~present & (rng.random(present.shape) < RATES.false_name))
    for one, other in LOOK_ALIKES:
        typed[:, one] |= mistaken[:, other]
        typed[:, other] |= mistaken[:, one]
    synonyms = []
    for digit, words in enumerate(SYNONYMS.values()):
        chosen = rng.integers(len(words), size=len(present))
        synonyms += [paraphrased[:, digit] & (chosen == word) for word in range(len(words))]
    return np.column_stack([typed, *synonyms])


def remark(rng: np.random.Generator, present: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The remarks on whole scenes that are typed, (rows, qualities and the sum)."""
    digits = np.arange(len(DIGIT_NAMES))
    deserved = [
        present[:, members].sum(axis=1) / present.sum(axis=1) for members in QUALITIES.values()
    ]
    deserved.append(present @ digits > 10)
    share = np.column_stack(deserved)
    return np.asarray(rng.random(share.shape) < RATES.remark * share)


def stray(rng: np.random.Generator, rows: int) -> NDArray[np.bool_]:
    """The words by topic that are typed, whatever the scene shows, (rows, words)."""
    typed = []
    for words in TOPICS.values():
        in_mind = rng.random((rows, 1)) < RATES.topic
        rate = np.where(in_mind, RATES.topic_word, RATES.stray_word)
        typed.append(rng.random((rows, len(words))) < rate)
    return np.hstack(typed)


def names_of(chosen: NDArray[np.bool_], names: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """For each row of `chosen`, (rows, names), the names that it marks."""
    return tuple(tuple(names[unit] for unit in np.flatnonzero(row)) for row in chosen)
