"""MIRFLICKR-25k: 25,000 photos from Flickr, their tags, and what annotators saw in them.

The folder holds what https://press.liacs.nl/mirflickr/mirdownload.html offers as mirflickr25k.zip
and mirflickr25k_annotations_v080.zip, side by side:

    mirflickr/im1.jpg, ..., mirflickr/im25000.jpg
    mirflickr/meta/tags/tags1.txt, ...           a photo's tags, one a line
    mirflickr/meta/tags_raw/tags1.txt, ...       the same as their authors wrote them
    mirflickr25k_annotations_v080/animals.txt    the numbers of the photos that show animals
    mirflickr25k_annotations_v080/baby_r1.txt    of those in which a baby is what matters
    ...

**Clean labels** are the 24 topics, such as "sky" and "plant_life", and on demand also the 14 whose
name ends in "_r1", which an image has where the topic matters in it, not wherever it can be seen.

**Split.** The data has no official split into three. Here, of every five photos in the order of
their numbers, the first two train, the third validates and the last two test: 10,000, 5,000 and
10,000 photos, the sizes of Srivastava and Salakhutdinov (2012).

Sources: Huiskes and Lew (2008), "The MIR Flickr retrieval evaluation"; Srivastava and Salakhutdinov
(2012), "Multimodal learning with deep Boltzmann machines".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np

from latentlabels.data.folders import files_in, listing, require_entries
from latentlabels.data.labelled_images import (
    LabelledImages,
    in_unit_order,
    most_common,
    verified_rows,
)
from latentlabels.errors import LabelError, LatentLabelsError, TableError

PHOTOS: Final = "mirflickr"
ANNOTATIONS: Final = "mirflickr25k_annotations_v080"
TOPICS: Final = (
    "animals",
    "baby",
    "bird",
    "car",
    "clouds",
    "dog",
    "female",
    "flower",
    "food",
    "indoor",
    "lake",
    "male",
    "night",
    "people",
    "plant_life",
    "portrait",
    "river",
    "sea",
    "sky",
    "structures",
    "sunset",
    "transport",
    "tree",
    "water",
)
RELEVANT: Final = (
    "baby_r1",
    "bird_r1",
    "car_r1",
    "clouds_r1",
    "dog_r1",
    "female_r1",
    "flower_r1",
    "male_r1",
    "night_r1",
    "people_r1",
    "portrait_r1",
    "river_r1",
    "sea_r1",
    "tree_r1",
)
PHOTO: Final = re.compile(r"im([1-9][0-9]{0,8})\.jpg")
NUMBER: Final = re.compile(r"[1-9][0-9]{0,8}")
IN_EVERY_FIVE: Final = ("train", "train", "validation", "test", "test")
LEAST_USES: Final = 20
REMEDY: Final = (
    "Download mirflickr25k.zip and mirflickr25k_annotations_v080.zip from "
    "https://press.liacs.nl/mirflickr/mirdownload.html and unpack them side by side, so that the "
    f"folder holds {PHOTOS} with the photos and {ANNOTATIONS} with the topics."
)


def load_mirflickr(
    folder: Path,
    *,
    least_uses: int = LEAST_USES,
    relevant: bool = False,
    raw_tags: bool = False,
    verified_share: float = 0.20,
    seed: int = 0,
) -> LabelledImages:
    """MIRFLICKR-25k with the photos' tags as noisy labels.

    The vocabulary is the tags that at least `least_uses` photos have, all three parts together. The
    literature takes twenty, which leaves 1,386 common tags. The unit order is from common to rare,
    equal counts by spelling. A photo may have none of them.

    Args:
        folder: what the module's docstring shows.
        least_uses: how many photos must have a tag.
        relevant: whether the 14 stricter topics are clean labels too, after the 24.
        raw_tags: whether to read the tags as their authors wrote them, with spaces and accents; in
            lower case all the same, and other tags are then common.
        verified_share: share of the training rows whose clean labels may be read, 0 to 1.
        seed: what the choice of verified rows derives from.

    Returns:
        A row for each photo, by its number.

    Raises:
        TableError: another folder, a photo without a file of tags or the other way round, or an
            annotation that is not of one of the photos.
        LabelError: no tag is used that often.
        LatentLabelsError: a number out of range.
    """
    if least_uses < 1:
        raise LatentLabelsError(f"least_uses must be at least 1, got {least_uses}.")
    topics = TOPICS + RELEVANT if relevant else TOPICS
    tag_folder = f"{PHOTOS}/meta/{'tags_raw' if raw_tags else 'tags'}"
    wanted = [PHOTOS, tag_folder, *(f"{ANNOTATIONS}/{topic}.txt" for topic in topics)]
    require_entries(folder, wanted, REMEDY)

    photos = _photos(folder / PHOTOS)
    tags = _tags(folder / tag_folder, photos)
    shown: dict[int, set[str]] = {number: set() for number in photos}
    for topic in topics:
        for number in _annotated(folder / ANNOTATIONS / f"{topic}.txt", photos):
            shown[number].add(topic)

    counts = Counter(tag for own in tags.values() for tag in own)
    common = Counter({tag: count for tag, count in counts.items() if count >= least_uses})
    if not common:
        raise LabelError(
            f"No tag is used by {least_uses} photos or more in {folder / tag_folder}. "
            "Lower least_uses."
        )
    vocabulary = most_common(common, len(common))
    split = np.array([IN_EVERY_FIVE[row % 5] for row in range(len(photos))])
    return LabelledImages(
        ids=np.array([*photos], np.int64),
        images=tuple(photos.values()),
        noisy=in_unit_order(tags.values(), vocabulary),
        clean=in_unit_order(shown.values(), topics),
        split=split,
        verified=verified_rows(split, verified_share, seed),
        noisy_names=vocabulary,
        clean_names=topics,
    )


def _photos(folder: Path) -> dict[int, Path]:
    """The photos' files by their numbers, in the order of these."""
    matches = ((PHOTO.fullmatch(name), path) for name, path in files_in(folder).items())
    photos = dict(sorted((int(match[1]), path) for match, path in matches if match))
    if not photos:
        raise TableError(f"{folder} has no photos im1.jpg, im2.jpg and so on. {REMEDY}")
    return photos


def _tags(folder: Path, photos: Iterable[int]) -> dict[int, set[str]]:
    """Each photo's tags, in the photos' order."""
    files = files_in(folder)
    of_photos = {number: f"tags{number}.txt" for number in photos}
    without = [f"im{number}.jpg" for number, name in of_photos.items() if name not in files]
    if without:
        raise TableError(f"{folder} has no tags for {listing(without)}. {REMEDY}")
    strange = sorted(files.keys() - of_photos.values())
    strange = [name for name in strange if re.fullmatch(r"tags[0-9]+\.txt", name)]
    if strange:
        raise TableError(
            f"{folder} has {listing(strange)}, and the photos of these numbers are not there. "
            f"{REMEDY}"
        )
    return {number: _lines(files[name]) for number, name in of_photos.items()}


def _lines(path: Path) -> set[str]:
    # A tag with a byte that is no UTF-8 keeps a mark in its place, and is rare.
    text = path.read_text(encoding="utf-8", errors="replace")
    return {line.strip().lower() for line in text.split("\n")} - {""}


def _annotated(path: Path, photos: dict[int, Path]) -> list[int]:
    """The numbers of the photos that a topic's file lists."""
    numbers = []
    for place, line in enumerate(path.read_text("utf-8", errors="replace").split("\n"), start=1):
        number = line.strip()
        if not number:
            continue
        if not NUMBER.fullmatch(number):
            raise TableError(
                f"Line {place} of {path} should be a photo's number, it is {number[:40]!r}. "
                f"{REMEDY}"
            )
        if int(number) not in photos:
            raise TableError(
                f"Line {place} of {path} annotates photo {number}, and there is no "
                f"im{number}.jpg. {REMEDY}"
            )
        numbers.append(int(number))
    return numbers
