"""Small pictures whose colour is their label, broken ones, and a network that tells colours."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

SIZE = 12
COLOURS = {"blue": (30, 40, 220), "green": (40, 200, 60), "red": (220, 50, 30)}
NAMES = tuple(COLOURS)
# What is wrong with a cell, by the reason that is given for it.
BROKEN: dict[str, Any] = {
    "is empty": None,
    "no such file": "nowhere.png",
    "is truncated": b"",  # filled in below
    "is no image that can be read": b"GIF8 of a kind",
}


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Pixels (height, width, 3) as a file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def picture(colour: str, seed: int) -> NDArray[np.uint8]:
    """A square of one colour, with grain: (size, size, 3)."""
    grain = np.random.default_rng(seed).normal(0, 12, (SIZE, SIZE, 3))
    return (np.array(COLOURS[colour]) + grain).clip(0, 255).astype(np.uint8)


BROKEN["is truncated"] = png(picture("red", 0))[:100]


@dataclass(frozen=True)
class Pictures:
    """Pictures as files in bytes, noisy classes, the truth, and which rows of it may be read."""

    x: list[Any]
    noisy: list[str]
    truth: list[str]
    verified: NDArray[np.bool_]

    @property
    def clean(self) -> list[str | None]:
        """The truth where it may be read."""
        return [
            name if known else None for name, known in zip(self.truth, self.verified, strict=True)
        ]

    def with_broken(self, *rows: int) -> list[Any]:
        """The pictures with some rows broken, each in another way, in turn."""
        cells = list(self.x)
        ways = list(BROKEN.values())
        for way, row in enumerate(rows):
            cells[row] = ways[way % len(ways)]
        return cells


def pictures(rows: int = 45, verified: int = 15, noise: float = 0.3, seed: int = 0) -> Pictures:
    """Colours in turn, the first rows verified; `noise` of the noisy ones are another."""
    random = np.random.default_rng(seed)
    numbers = np.arange(rows) % len(NAMES)
    wrong = random.random(rows) < noise
    shifted = (numbers + random.integers(1, len(NAMES), rows)) % len(NAMES)
    truth = [NAMES[number] for number in numbers]
    return Pictures(
        x=[png(picture(name, 1000 * seed + row)) for row, name in enumerate(truth)],
        noisy=[NAMES[number] for number in np.where(wrong, shifted, numbers)],
        truth=truth,
        verified=np.arange(rows) < verified,
    )


class Eye(nn.Module):
    """From pictures (batch, 3, size, size) to four features, with what only training changes."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.convolution = nn.Conv2d(3, 4, 3, stride=2)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, batch: Tensor) -> Tensor:
        maps: Tensor = self.norm(self.convolution(batch)).relu()
        return maps


def state_of(module: nn.Module) -> dict[str, Tensor]:
    """A copy of a module's tensors."""
    return {name: value.clone() for name, value in module.state_dict().items()}


def same_state(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether two modules' tensors are equal."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
