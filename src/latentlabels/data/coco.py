"""MS-COCO 2014, with what people wrote about its images as noisy labels.

The folder holds what https://cocodataset.org/#download offers as 2014 Train images, 2014 Val images
and 2014 Train/Val annotations, unpacked side by side:

    annotations/captions_train2014.json     about five captions for each image
    annotations/captions_val2014.json
    annotations/instances_train2014.json    the objects in each image, of 80 categories
    annotations/instances_val2014.json
    train2014/COCO_train2014_000000000009.jpg, ...
    val2014/COCO_val2014_000000000042.jpg, ...

**Clean labels** are categories: an image has those of which an object is annotated in it, crowds
included. The paper takes 73 of the 80 and does not list them. Here they are the categories that the
training captions name most often: a caption names "wine glass" if these two words follow each other
in it, as they stand, without plurals or synonyms; equal counts go by spelling. The unit order is
that of COCO's category numbers.

**The split** that the paper quotes, after Misra et al., is 87K/20K/20K. Here the training rows are
train2014 (82,783 images), and validation and test are the halves of val2014 (20,252 each), the
lower image numbers being validation. So training is smaller than quoted: the 2014 release has
123,287 annotated images, not 127K. Which image of val2014 was in which half for the earlier papers
is not known to us, so these halves are not theirs.

**Verified** is a share of the training rows, 20 % in the paper, chosen at random.

Sources: Lin et al. (2014), "Microsoft COCO"; Chen et al. (2015), "Microsoft COCO captions"; Fang et
al. (2015), "From captions to visual concepts and back", for the vocabulary; Misra et al. (2016),
"Seeing through the human reporting bias"; Vahdat (2017), section 4.1.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Final

import numpy as np

from latentlabels.data.coco_annotations import Caption, Release, read_coco, words_of
from latentlabels.data.folders import listing
from latentlabels.data.image_tags import read_image_tags
from latentlabels.data.labelled_images import (
    LabelledImages,
    Names,
    in_unit_order,
    most_common,
    verified_rows,
)
from latentlabels.errors import LabelError, LatentLabelsError, TableError

WORDS: Final = 1000
TAGS: Final = 1024
CATEGORIES: Final = 73


def load_coco_captions(
    folder: Path,
    *,
    words: int = WORDS,
    categories: int | Sequence[str] = CATEGORIES,
    verified_share: float = 0.20,
    seed: int = 0,
) -> LabelledImages:
    """COCO with the words of its captions as noisy labels.

    A word is a run of letters in lower case, so "man's" is "man" and "s". The vocabulary is the
    words that occur most often in the captions of the training images, every occurrence counting,
    as Fang et al. count them; equal counts go by spelling. Fang et al. cut words with NLTK's
    tokeniser, which keeps hyphens and numbers, so rare words may differ from theirs. An image has
    the words of all its captions. The unit order is from common to rare.

    Args:
        folder: what the module's docstring shows.
        words: size of the noisy vocabulary; all words where there are fewer.
        categories: how many categories, or their names.
        verified_share: share of the training rows whose clean labels may be read, 0 to 1.
        seed: what the choice of verified rows derives from.

    Returns:
        A row for each image: those of train2014, then those of val2014, each by their numbers.

    Raises:
        TableError: another folder, a damaged file, or annotations that do not fit the images.
        LabelError: a category that COCO does not have.
        LatentLabelsError: a number out of range.
    """
    _require_positive("words", words)
    train, held_out = read_coco(folder)
    counts = Counter(
        word for captions in train.captions.values() for caption in captions for word in caption
    )
    written = {
        image: {word for caption in captions for word in caption}
        for release in (train, held_out)
        for image, captions in release.captions.items()
    }
    return _labelled(
        train, held_out, written, most_common(counts, words), categories, verified_share, seed
    )


def load_coco_flickr(
    folder: Path,
    tag_file: Path,
    *,
    tags: int = TAGS,
    categories: int | Sequence[str] = CATEGORIES,
    verified_share: float = 0.20,
    seed: int = 0,
) -> LabelledImages:
    """COCO with the tags that its images had on Flickr as noisy labels.

    COCO does not come with the tags: they are asked of Flickr, whose photo number is in an image's
    `flickr_url` in the captions files, and given in a file that `read_image_tags` describes, under
    COCO's own image numbers. The vocabulary is the tags that most training images have; equal
    counts go by spelling. The unit order is from common to rare. An image that the file does not
    list is left out, as nothing is known of its tags; one that it lists without tags is kept.
    Split and categories are those of `load_coco_captions`, whatever is left out.

    Args:
        folder: what the module's docstring shows; the captions choose the categories.
        tag_file: the tags.
        tags: size of the noisy vocabulary; all tags where there are fewer.
        categories: how many categories, or their names.
        verified_share: share of the training rows whose clean labels may be read, 0 to 1.
        seed: what the choice of verified rows derives from.

    Returns:
        A row for each listed image: those of train2014, then those of val2014, each by their
        numbers.

    Raises:
        TableError: another folder, a damaged file, or annotations or tags that do not fit the
            images.
        LabelError: a category that COCO does not have.
        LatentLabelsError: a number out of range.
    """
    _require_positive("tags", tags)
    typed = read_image_tags(tag_file)
    train, held_out = read_coco(folder)
    unknown = sorted(typed.keys() - train.files.keys() - held_out.files.keys())
    if unknown:
        raise TableError(
            f"{tag_file} has tags for {listing([*map(str, unknown)])}, images of neither train2014 "
            "nor val2014. Give COCO's image numbers, not Flickr's photo numbers, and leave other "
            "images out."
        )
    counts = Counter(tag for image in typed.keys() & train.files.keys() for tag in typed[image])
    return _labelled(
        train, held_out, typed, most_common(counts, tags), categories, verified_share, seed
    )


def _labelled(
    train: Release,
    held_out: Release,
    noisy: Mapping[int, Set[str]],
    vocabulary: Names,
    categories: int | Sequence[str],
    verified_share: float,
    seed: int,
) -> LabelledImages:
    """The images that `noisy` has, with their labels."""
    half = len(held_out.files) // 2
    parts = ["train"] * len(train.files)
    parts += ["validation"] * half + ["test"] * (len(held_out.files) - half)
    files, objects = train.files | held_out.files, train.objects | held_out.objects
    split_of = {image: part for image, part in zip(files, parts, strict=True) if image in noisy}
    split = np.array([*split_of.values()], np.str_)
    clean_names = _chosen_categories(train, categories)
    return LabelledImages(
        ids=np.array([*split_of], np.int64),
        images=tuple(files[image] for image in split_of),
        noisy=in_unit_order((noisy[image] for image in split_of), vocabulary),
        clean=in_unit_order((objects[image] for image in split_of), clean_names),
        split=split,
        verified=verified_rows(split, verified_share, seed),
        noisy_names=vocabulary,
        clean_names=clean_names,
    )


def _chosen_categories(train: Release, wanted: int | Sequence[str]) -> Names:
    """The categories with the given names, or the given number that captions name most often."""
    if isinstance(wanted, int):
        _require_positive("categories", wanted)
        wanted = most_common(times_named(train.categories, train.captions.values()), wanted)
    for name in wanted:
        if name not in train.categories:
            close = difflib.get_close_matches(name, train.categories)
            known = "They are " + ", ".join(train.categories)
            hint = f"Did you mean {' or '.join(map(repr, close))}?" if close else f"{known}."
            raise LabelError(f"COCO has no category {name!r}. {hint}")
    return tuple(name for name in train.categories if name in wanted)


def times_named(names: Sequence[str], images: Iterable[Sequence[Caption]]) -> Counter[str]:
    """In how many captions the words of each name follow each other.

    Args:
        names: of one or several words.
        images: the captions of each image.
    """
    counts = Counter(dict.fromkeys(names, 0))
    # A word holds letters alone, so between spaces it is whole.
    phrases = [(name, f" {' '.join(words_of(name))} ") for name in names]
    for captions in images:
        for caption in captions:
            spaced = f" {' '.join(caption)} "
            counts.update(name for name, phrase in phrases if phrase in spaced)
    return counts


def _require_positive(what: str, number: int) -> None:
    if number < 1:
        raise LatentLabelsError(f"{what} must be at least 1, got {number}.")
