"""A miniature of CIFAR-10 on disk, in the binary version's format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from latentlabels.data.noise import CIFAR10_CLASSES

# Two records a batch, so that all ten classes are in training, and two of test.
TRAIN_CLASSES = (9, 2, 4, 3, 5, 0, 1, 6, 7, 8)
TEST_CLASSES = (9, 0)


def pixels_of(row: int) -> NDArray[np.uint8]:
    """The image of a row, (32, 32, 3): each pixel says where it is, and of which row."""
    height, width, channel = np.indices((32, 32, 3))
    return np.asarray((7 * row + 3 * height + 5 * width + 80 * channel) % 256, np.uint8)


def record(row: int, label: int) -> bytes:
    red, green, blue = np.moveaxis(pixels_of(row), -1, 0)
    return b"".join([bytes([label]), red.tobytes(), green.tobytes(), blue.tobytes()])


def write_cifar(batches: Path, classes: tuple[int, ...] = TRAIN_CLASSES + TEST_CLASSES) -> Path:
    """Write five batches of training and one of test into a folder that is made; returns it.

    Args:
        batches: the folder.
        classes: of all records, as many for each batch.
    """
    batches.mkdir(parents=True)
    (batches / "batches.meta.txt").write_text("\n".join(CIFAR10_CLASSES) + "\n\n")
    (batches / "readme.html").write_text("<html></html>")
    records = [record(row, label) for row, label in enumerate(classes)]
    names = [f"data_batch_{number}.bin" for number in range(1, 6)] + ["test_batch.bin"]
    each = len(records) // len(names)
    for place, name in enumerate(names):
        (batches / name).write_bytes(b"".join(records[place * each : (place + 1) * each]))
    return batches
