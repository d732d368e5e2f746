"""Images with noisy and clean labels, as the loaders of known data sets give them."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from latentlabels.errors import LatentLabelsError

Names: TypeAlias = tuple[str, ...]
# Several names a row, or one class a row.
RowLabels: TypeAlias = tuple[Names, ...] | Names


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images, what they were labelled cheaply, and what is there.

    Attributes:
        ids: the numbers that the images have in their data set, (rows,).
        images: a file for each row, or pixels, (rows, height, width, 3).
        noisy: for each row its noisy labels, in unit order, or its one noisy class.
        clean: for each row its clean labels, in unit order, or its one class. They are given for
            all rows, so that results can be judged; a learner may read those of verified rows.
        split: "train", "validation" or "test", (rows,).
        verified: training rows whose clean labels may be read, (rows,).
        noisy_names: the noisy vocabulary, in unit order.
        clean_names: the clean vocabulary, in unit order.
    """

    ids: NDArray[np.int64]
    images: tuple[Path, ...] | NDArray[np.uint8]
    noisy: RowLabels
    clean: RowLabels
    split: NDArray[Any]
    verified: NDArray[np.bool_]
    noisy_names: Names
    clean_names: Names

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: NDArray[np.intp]) -> LabelledImages:
        """Some of the images, with the same vocabularies."""
        images = self.images
        return replace(
            self,
            ids=self.ids[rows],
            images=tuple(images[row] for row in rows)
            if isinstance(images, tuple)
            else images[rows],
            noisy=cast("RowLabels", tuple(self.noisy[row] for row in rows)),
            clean=cast("RowLabels", tuple(self.clean[row] for row in rows)),
            split=self.split[rows],
            verified=self.verified[rows],
        )

    def to_table(self) -> pa.Table:
        """The images as an Arrow table, a row each.

        Returns:
            Columns id (int64), image, noisy and clean (lists of strings, or strings where a row has
            one class), split (string), verified (bool). An image that has a file is that file's
            path; pixels are a struct of PNG bytes and a path that is missing, as Hugging Face's
            `datasets` has them.
        """
        return pa.table(
            {
                "id": pa.array(self.ids, pa.int64()),
                "image": self._image_column(),
                "noisy": _label_column(self.noisy),
                "clean": _label_column(self.clean),
                "split": pa.array(self.split.tolist(), pa.string()),
                "verified": pa.array(self.verified, pa.bool_()),
            }
        )

    def _image_column(self) -> pa.Array:
        if isinstance(self.images, tuple):
            return pa.array([str(path) for path in self.images], pa.string())
        encoded = [{"bytes": as_png(pixels), "path": None} for pixels in self.images]
        return pa.array(encoded, pa.struct({"bytes": pa.binary(), "path": pa.string()}))


def as_png(pixels: NDArray[np.uint8]) -> bytes:
    """An image's PNG file; `pixels` is (height, width, 3)."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def verified_rows(split: NDArray[Any], share: float, seed: int) -> NDArray[np.bool_]:
    """Which training rows may be verified: a share of them, chosen at random.

    A larger share verifies the rows of a smaller one too.

    Args:
        split: each row's part of the data, (rows,).
        share: of the training rows, 0 to 1; the number of rows is rounded.
        seed: what the choice derives from.

    Returns:
        (rows,).

    Raises:
        LatentLabelsError: the share is none.
    """
    if not 0 <= share <= 1:
        raise LatentLabelsError(f"verified_share must be a share from 0 to 1, got {share}.")
    training = np.flatnonzero(split == "train")
    # A child of the seed's generator, which may draw the noise of the same rows itself.
    order = np.random.default_rng(seed).spawn(1)[0].permutation(training)
    chosen = np.zeros(len(split), np.bool_)
    chosen[order[: round(share * len(training))]] = True
    return chosen


def most_common(counts: Counter[str], size: int) -> Names:
    """The names with the highest counts, highest first; equal counts go by spelling.

    Args:
        counts: how often each name occurs.
        size: how many to take; all where there are fewer.
    """
    ranked = sorted(counts.items(), key=lambda counted: (-counted[1], counted[0]))
    return tuple(name for name, _ in ranked[:size])


def in_unit_order(rows: Iterable[Set[str]], names: Sequence[str]) -> tuple[Names, ...]:
    """For each row those of its names that the vocabulary has, in the vocabulary's order."""
    unit = {name: place for place, name in enumerate(names)}
    return tuple(tuple(sorted(unit.keys() & row, key=unit.__getitem__)) for row in rows)


def _label_column(labels: RowLabels) -> pa.Array:
    several = any(isinstance(label, tuple) for label in labels)
    return pa.array(labels, pa.list_(pa.string()) if several else pa.string())
