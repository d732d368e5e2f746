"""Miniatures that the paper's experiments run on within seconds, and the settings for that."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image
from tests.small_cifar import write_cifar
from tests.small_coco import write_coco

NAMES = {1: "person", 17: "cat", 18: "dog"}
RELEASES = {"train2014": range(1, 41), "val2014": range(101, 121)}
# Four records of each class in training, and four records more to test on.
CIFAR = (*(record % 10 for record in range(20)), *range(4))

TINY = (
    "epochs=1",
    "alpha_epochs=1",
    "chains=2",
    "sweeps=2",
    "batch_size=8",
    "training_rows=0",
    "precision=float32",
)
TINY_COCO = (*TINY, "image_size=16", "hidden=3", "verified_share=0.5")
TINY_CIFAR = (*TINY, "validation_records=6")
SMALLEST_NETWORK = "cifar_resnet8"


def categories_of(image: int) -> list[int]:
    """The categories that an image shows: not the same combination for neighbours."""
    return [number for place, number in enumerate(NAMES) if (image >> place) & 1]


def picture_of(image: int) -> bytes:
    """A JPEG file of 24 × 20 pixels, as bright in a colour as its category is there."""
    colour = np.array([220 if number in categories_of(image) else 30 for number in NAMES])
    noise = np.random.default_rng(image).integers(-20, 20, (20, 24, 3))
    file = io.BytesIO()
    Image.fromarray((colour + noise).astype(np.uint8)).save(file, format="JPEG")
    return file.getvalue()


def small_coco(folder: Path) -> Path:
    """60 images that can be decoded, whose captions leave out every third category."""
    written = {
        release: {
            image: [
                "a picture of "
                + " and a ".join(NAMES[n] for n in categories_of(image) if (image + n) % 3)
            ]
            for image in images
        }
        for release, images in RELEASES.items()
    }
    objects = {
        release: [(image, number) for image in images for number in categories_of(image)]
        for release, images in RELEASES.items()
    }
    return write_coco(folder, written, objects, picture_of)


def small_tags(path: Path) -> Path:
    """Tags of the miniature's images."""
    tags = {
        image: [NAMES[number] for number in categories_of(image)[:1]] + ["holiday"]
        for images in RELEASES.values()
        for image in images
    }
    path.write_text(json.dumps(tags))
    return path


def small_cifar(folder: Path) -> Path:
    """20 records to train on and 4 to test on."""
    return write_cifar(folder, CIFAR)
