"""CIFAR-10 with noise: the official binary version, and a transition matrix.

The binary version is `cifar-10-binary.tar.gz` of https://www.cs.toronto.edu/~kriz/cifar.html. It
unpacks to `cifar-10-batches-bin`:

    batches.meta.txt      the ten class names, one a line
    data_batch_1.bin      10,000 records of 3,073 bytes: the class, then 32 x 32 red values
    ...                   row by row, then as many green and blue ones
    data_batch_5.bin
    test_batch.bin

The python version holds the same images in pickles. A pickle can run anything when it is read, so
it is not read here.

Source: Krizhevsky (2009), "Learning multiple layers of features from tiny images".
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latentlabels.data.folders import require_entries
from latentlabels.data.labelled_images import LabelledImages, verified_rows
from latentlabels.data.noise import CIFAR10_CLASSES, flip_labels
from latentlabels.errors import LabelError, LatentLabelsError, TableError

BINARY: Final = "cifar-10-batches-bin"
TRAIN_BATCHES: Final = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
TEST_BATCH: Final = "test_batch.bin"
CLASS_NAMES: Final = "batches.meta.txt"
PICKLES: Final = ("cifar-10-batches-py", "batches.meta", "data_batch_1", "test_batch")
SIDE: Final = 32
RECORD: Final = 1 + 3 * SIDE * SIDE
REMEDY: Final = (
    "CIFAR-10 is read from its binary version: download cifar-10-binary.tar.gz from "
    f"https://www.cs.toronto.edu/~kriz/cifar.html, unpack it and give the folder {BINARY}."
)


def load_cifar10(
    folder: Path,
    transition: ArrayLike,
    *,
    validation: int = 5_000,
    verified_share: float = 0.0,
    seed: int = 0,
) -> LabelledImages:
    """CIFAR-10 whose classes went through noise.

    The rows are the records in the order of the files: 50,000 training records, then 10,000 of
    test. The last `validation` training records are the validation part. Every row, those of test
    too, gets a noisy class; in the paper the noise is in the training data alone, so a noisy class
    of a test row is for judging how well labels are cleaned and for nothing else.

    The paper reads no clean label here, but knows the transition matrix, so by default no row is
    verified. It does not say which images it validates on; 5,000 is the tenth of the training data
    that Patrini et al. hold out.

    Args:
        folder: `cifar-10-batches-bin`, or the folder that it is in.
        transition: T[ŷ, y], (10, 10), in the order of `CIFAR10_CLASSES`, such as
            `patrini_transition(0.3)` or `symmetric_transition(10, 0.3)`.
        validation: training records to validate on.
        verified_share: share of the other training rows whose clean class may be read, 0 to 1.
        seed: what the noise and the choice of verified rows derive from.

    Returns:
        Pixels (rows, 32, 32, 3), one noisy and one clean class a row. An id is a row's number,
        counted from 0.

    Raises:
        TableError: another folder, another version of the data, or a damaged file.
        LabelError: a matrix that is not one of transitions between ten classes.
        LatentLabelsError: `validation` or `verified_share` out of range.

    Source: Vahdat (2017), section 4.2; Patrini et al. (2017), section 5.
    """
    if np.shape(transition) != (len(CIFAR10_CLASSES),) * 2:
        raise LabelError(
            f"CIFAR-10's noise is a matrix of (10, 10), got the shape {np.shape(transition)}."
        )
    batches = _binary_version(folder)
    _require_classes(batches / CLASS_NAMES)
    records = [_read_records(batches / name) for name in (*TRAIN_BATCHES, TEST_BATCH)]
    training = sum(map(len, records[:-1]))
    if not 0 <= validation < training:
        raise LatentLabelsError(
            f"validation must be from 0 to {training - 1}, as there are {training} training "
            f"records, got {validation}."
        )
    split = np.repeat(
        ["train", "validation", "test"], [training - validation, validation, len(records[-1])]
    )
    record = np.concatenate(records)
    classes = record[:, 0].astype(np.int64)
    pixels = record[:, 1:].reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    return LabelledImages(
        ids=np.arange(len(record)),
        images=np.ascontiguousarray(pixels),
        noisy=_names(flip_labels(classes, transition, seed=seed)),
        clean=_names(classes),
        split=split,
        verified=verified_rows(split, verified_share, seed),
        noisy_names=CIFAR10_CLASSES,
        clean_names=CIFAR10_CLASSES,
    )


def _binary_version(folder: Path) -> Path:
    """The folder of the batches: the given one, or the one that is in it."""
    batches = folder / BINARY if (folder / BINARY).is_dir() else folder
    wanted = (CLASS_NAMES, *TRAIN_BATCHES, TEST_BATCH)
    complete = all((batches / name).exists() for name in wanted)
    pickles = [name for name in PICKLES if (batches / name).exists()]
    if pickles and not complete:
        raise TableError(
            f"{batches} holds CIFAR-10's python version ({pickles[0]}), which is made of pickles, "
            f"and no pickle is read: reading one can run anything. {REMEDY}"
        )
    require_entries(batches, wanted, REMEDY)
    return batches


def _require_classes(path: Path) -> None:
    names = path.read_text(encoding="utf-8", errors="replace").split()
    if tuple(names) != CIFAR10_CLASSES:
        raise TableError(
            f"{path} should name the classes {', '.join(CIFAR10_CLASSES)}, in this order and one a "
            f"line; it begins {' '.join(names)[:80]!r}. {REMEDY}"
        )


def _read_records(path: Path) -> NDArray[np.uint8]:
    """The records of a batch, (records, 3073)."""
    content = np.frombuffer(path.read_bytes(), np.uint8)
    if len(content) == 0 or len(content) % RECORD:
        raise TableError(
            f"{path} has {len(content)} bytes, and a batch has {RECORD} for every image: it was "
            f"not copied or unpacked whole. {REMEDY}"
        )
    records = content.reshape(-1, RECORD)
    wrong = np.flatnonzero(records[:, 0] >= len(CIFAR10_CLASSES))
    if len(wrong):
        raise TableError(
            f"Record {wrong[0]} of {path} (from 0) has the class {records[wrong[0], 0]}, and there "
            f"are the classes 0 to 9: the file is damaged, or another data set's. {REMEDY}"
        )
    return records


def _names(classes: NDArray[np.int64]) -> tuple[str, ...]:
    return tuple(CIFAR10_CLASSES[number] for number in classes)
