"""Encoders: from an image or a text to a vector of features, with everything in between.

An encoder owns the whole way of one example: which bytes it is known by, how they become a tensor,
and the network that turns a batch of tensors into features. Embedding once with a frozen network
and training end to end use the same three steps.
"""

from __future__ import annotations

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from latentlabels.errors import BackboneError
from latentlabels.network.precision import faster_dtype

__all__ = [
    "CUSTOM",
    "MOST_SIZE",
    "Encoder",
    "EncoderSpec",
    "build_encoder",
    "evaluating",
    "faster_dtype",
]

CUSTOM: Final = "custom"
MOST_SIZE: Final = 4096
"""An image's height and width in pixels at most."""
PUBLIC: Final = {
    "image": re.compile(r"[A-Za-z0-9_.-]{1,200}"),
    "text": re.compile(r"(sentence-transformers/)?[A-Za-z0-9_.-]{1,200}"),
}


@dataclass(frozen=True)
class EncoderSpec:
    """Which encoder; `dataclasses.asdict` of it can be written as JSON.

    Args:
        kind: what the examples are.
        name: a timm model for images, a sentence-transformers model or a local folder with one for
            texts, "custom" for a module of one's own.
        weights: path of a .safetensors file with an image model's weights; without one they are
            the name's pretrained ones, from the hub or its local cache.
        pretrained: false starts from random weights, drawn from torch's generator.
        size: height and width an image is brought to, in pixels; None is the model's own.
        augment: whether `prepare` varies images when it is given a generator.
    """

    kind: Literal["image", "text"]
    name: Annotated[str, Field(min_length=1)]
    weights: str | None = None
    pretrained: bool = True
    size: Annotated[int, Field(ge=1, le=MOST_SIZE)] | None = None
    augment: bool = False

    @property
    def is_public(self) -> bool:
        """Whether the name is that of a model which timm or sentence-transformers itself publishes.

        It is neither a folder nor an address, and a stranger who writes it can choose no others
        than theirs.
        """
        known = PUBLIC[self.kind].fullmatch(self.name) is not None
        return known and not (self.kind == "text" and Path(self.name).exists())


class Encoder(nn.Module, ABC):
    """From examples to features.

    Args:
        spec: what it was built from.
    """

    spec: EncoderSpec
    features: int

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        self.spec = spec

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        weight = next(self.parameters(), None)
        return torch.device("cpu") if weight is None else weight.device

    @abstractmethod
    def content(self, cell: Any) -> bytes:
        """What an example is known by, and all that `prepare` needs.

        Raises:
            InputError: the cell holds no example.
        """

    @abstractmethod
    def prepare(self, content: bytes, rng: torch.Generator | None = None) -> Tensor:
        """One example as the network wants it; every example has the same shape.

        Args:
            content: what `content` returned.
            rng: where augmentation draws from, if the spec asks for any; without it there is none.

        Raises:
            InputError: the content cannot be decoded.
        """

    @abstractmethod
    def forward(self, batch: Tensor) -> Tensor:
        """Features (batch, features) in float32, of prepared examples."""

    @abstractmethod
    def transform_key(self) -> str:
        """JSON of everything that decides what `prepare` makes of a content without a generator."""

    def name(self) -> str:
        """What, beside architecture and weights, tells one network from another."""
        return self.spec.name

    def architecture(self) -> str:
        """What, beside name and weights, tells one network from another."""
        return ""

    def fingerprint(self) -> str:
        """SHA-256 of kind, name, transform and weights, in hexadecimal.

        Features of one content under one fingerprint are equal, up to rounding.
        """
        digest = hashlib.sha256()
        for text in (self.spec.kind, self.name(), self.architecture(), self.transform_key()):
            digest.update(text.encode() + b"\0")
        for name, value in self.state_dict().items():
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}\0".encode())
            flat = value.detach().cpu().contiguous().flatten()
            digest.update(flat.view(torch.uint8).numpy().data)
        return digest.hexdigest()


def build_encoder(spec: EncoderSpec, module: nn.Module | None = None) -> Encoder:
    """The encoder a spec describes, on the CPU.

    Args:
        spec: which one.
        module: the network of an image encoder whose name is "custom": from (batch, 3, size, size)
            to (batch, features), or to (batch, features, height, width), which is averaged over
            the places.

    Raises:
        BackboneError: unknown, not at hand, its weights do not fit, or a library is missing.
    """
    if module is not None and (spec.kind, spec.name) != ("image", CUSTOM):
        raise BackboneError(
            f"A module came with an encoder of kind {spec.kind!r} named {spec.name!r}. A module of "
            f"one's own is for images, with the name {CUSTOM!r}."
        )
    if spec.size is not None and spec.size < 1:
        raise BackboneError(f"An image's size is at least 1 pixel, and {spec.size} came.")
    if spec.kind == "text":
        from latentlabels.network.text_encoder import build_text_encoder

        return build_text_encoder(spec)
    if spec.kind == "image":
        from latentlabels.network.image_encoder import build_image_encoder

        return build_image_encoder(spec, module)
    raise BackboneError(f"An encoder is for 'image' or 'text', and {spec.kind!r} came.")


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """The module in evaluation mode, each part going back to the mode it was in."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training
