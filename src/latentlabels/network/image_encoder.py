"""Images to features: any timm model, or a module of one's own."""

from __future__ import annotations

import difflib
import json
import math
from typing import Any, Final

import torch
from torch import Tensor, nn

from latentlabels.data.images import decode_image, read_content
from latentlabels.errors import BackboneError
from latentlabels.network.encoders import CUSTOM, Encoder, EncoderSpec, evaluating
from latentlabels.network.quiet import quiet
from latentlabels.network.weights import load_weights

TRANSFORM_VERSION: Final = 1
"""Goes up when decoding or the transform change what they make of an image."""
AREA: Final = (0.35, 1.0)
"""Shares of the image that an augmented crop covers: labels may be about small things."""
ASPECT: Final = (3 / 4, 4 / 3)

INSTALL: Final = "Images need timm and torchvision: pip install 'latentlabels[images]'."
LOCAL_FILE: Final = (
    "On a machine with a network it is fetched once and kept in the hub's cache. Without one, give "
    "the weights as a local .safetensors file: weights=PATH, --weights PATH on the command line."
)


class ImageEncoder(Encoder):
    """An image's square centre, brought to one size, through a network to features.

    Feature maps (batch, features, height, width) are averaged over the places, and sequences
    (batch, tokens, features) over the tokens.

    Args:
        spec: what it was built from.
        module: from (batch, 3, size, size) to features.
        size: height and width in pixels.
        mean: what is subtracted from red, green and blue between 0 and 1.
        deviation: what they are divided by after that.
        interpolation: how pixels are resampled, by Pillow's name in small letters.
    """

    def __init__(
        self,
        spec: EncoderSpec,
        module: nn.Module,
        *,
        size: int,
        mean: tuple[float, ...] = (0.5, 0.5, 0.5),
        deviation: tuple[float, ...] = (0.5, 0.5, 0.5),
        interpolation: str = "bicubic",
    ) -> None:
        super().__init__(spec)
        self.module = module
        self.size = size
        self.mean = mean
        self.deviation = deviation
        self.interpolation = interpolation
        self.features = self._features()

    def content(self, cell: Any) -> bytes:
        return read_content(cell)

    def prepare(self, content: bytes, rng: torch.Generator | None = None) -> Tensor:
        """An image as (3, size, size), normalised: its centre, or with a generator a random crop.

        Raises:
            InputError: the content cannot be decoded.
        """
        from torchvision.transforms import InterpolationMode
        from torchvision.transforms.v2 import functional

        image = decode_image(content)
        varied = rng is not None and self.spec.augment
        if rng is not None and varied:
            top, left, height, width, mirrored = _random_crop(image.height, image.width, rng)
        else:
            height = width = min(image.size)
            top, left = (image.height - height) // 2, (image.width - width) // 2
            mirrored = False
        # Cropping first also keeps a very long and narrow image from growing huge.
        image = functional.resized_crop(
            image,
            top,
            left,
            height,
            width,
            [self.size, self.size],
            InterpolationMode(self.interpolation),
        )
        if mirrored:
            image = functional.horizontal_flip(image)
        pixels = functional.to_dtype(functional.pil_to_tensor(image), torch.float32, scale=True)
        normalised: Tensor = functional.normalize(pixels, list(self.mean), list(self.deviation))
        return normalised

    def forward(self, batch: Tensor) -> Tensor:
        """Features (batch, features) of prepared images (batch, 3, size, size)."""
        output = self.module(batch.contiguous(memory_format=torch.channels_last))
        if not isinstance(output, Tensor) or output.ndim not in (2, 3, 4):
            came = (
                f"shape {tuple(output.shape)}"
                if isinstance(output, Tensor)
                else type(output).__name__
            )
            raise BackboneError(
                "An image network gives features (batch, features) or maps (batch, features, "
                f"height, width), and {came} came."
            )
        if output.ndim == 4:
            output = output.mean((2, 3))
        elif output.ndim == 3:
            output = output.mean(1)
        return output.float()

    def transform_key(self) -> str:
        return json.dumps(
            {
                "version": TRANSFORM_VERSION,
                "size": self.size,
                "mean": self.mean,
                "deviation": self.deviation,
                "interpolation": self.interpolation,
            }
        )

    def architecture(self) -> str:
        if self.spec.name != CUSTOM:
            return ""
        kind = type(self.module)
        return f"{kind.__module__}.{kind.__qualname__} {self.module!r}"

    def _features(self) -> int:
        """How many there are, by a dry run."""
        blank = torch.zeros(1, 3, self.size, self.size, device=self.device)
        try:
            with evaluating(self), torch.no_grad():
                output = self(blank)
        except BackboneError:
            raise
        except Exception as error:
            raise BackboneError(
                f"The image network {self.spec.name!r} does not take a batch of shape "
                f"{tuple(blank.shape)}: {error}. Give the size it is made for: image_size=PIXELS."
            ) from error
        return int(output.shape[1])


def build_image_encoder(spec: EncoderSpec, module: nn.Module | None) -> ImageEncoder:
    """An image encoder; see `build_encoder`.

    Raises:
        BackboneError: unknown, not at hand, its weights do not fit, or a library is missing.
    """
    try:
        import torchvision  # noqa: F401
    except ImportError:
        raise BackboneError(INSTALL) from None
    if spec.name == CUSTOM:
        return _custom(spec, module)
    try:
        import timm  # noqa: F401
        from timm.data import resolve_data_config
    except ImportError:
        raise BackboneError(INSTALL) from None
    made = _timm_model(spec)
    if spec.weights is not None:
        load_weights(made, spec.weights, ignored=_classifiers(made))
    config = resolve_data_config({}, model=made)
    return ImageEncoder(
        spec,
        made,
        size=spec.size or config["input_size"][-1],
        mean=tuple(config["mean"]),
        deviation=tuple(config["std"]),
        interpolation=config["interpolation"],
    )


def _custom(spec: EncoderSpec, module: nn.Module | None) -> ImageEncoder:
    if module is None:
        raise BackboneError(
            f"The encoder {CUSTOM!r} is a module of one's own, and none came. Give it as "
            "backbone=..., or name a timm model."
        )
    if spec.size is None:
        raise BackboneError(
            "A module of one's own does not say how large its images are. Give image_size=PIXELS."
        )
    if spec.weights is not None:
        load_weights(module, spec.weights)
    return ImageEncoder(spec, module, size=spec.size)


def _timm_model(spec: EncoderSpec) -> nn.Module:
    """A timm model without classifier, pooled as its own weights were trained."""
    import timm

    pretrained = spec.pretrained and spec.weights is None
    if ":" not in spec.name and not timm.is_model(spec.name):
        raise _unknown(spec.name)
    sized = {}
    if spec.size is not None and _size_is_fixed(spec.name):
        sized["img_size"] = spec.size
    try:
        with quiet():
            made: nn.Module = timm.create_model(
                spec.name, pretrained=pretrained, num_classes=0, **sized
            )
    except Exception as error:
        # Hub, network and timm each raise their own; a wrong tag after the name is among them.
        if "Invalid pretrained tag" in str(error):
            raise _unknown(spec.name) from None
        if not pretrained:
            raise BackboneError(
                f"The image model {spec.name!r} cannot be made: {_first_line(error)}"
            ) from error
        raise BackboneError(
            f"The weights of the image model {spec.name!r} cannot be had: {_first_line(error)} "
            + LOCAL_FILE
        ) from error
    return made


def _size_is_fixed(name: str) -> bool:
    """Whether a model has to be told its images' size when it is made, as most transformers."""
    import timm

    try:
        config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    except Exception:  # of a model that only the hub knows
        return False
    return bool(config is not None and config.fixed_input_size)


def _classifiers(made: nn.Module) -> tuple[str, ...]:
    """Prefixes of the names of a timm model's classifier, which is left out."""
    named = getattr(made, "pretrained_cfg", {}).get("classifier") or ()
    names = (named,) if isinstance(named, str) else tuple(named)
    return tuple(f"{name}." for name in names)


def _unknown(name: str) -> BackboneError:
    import timm

    bare, _, tag = name.partition(".")
    if tag and timm.is_model(bare):
        known = timm.list_pretrained(f"{bare}.*")
        close = difflib.get_close_matches(name, known, n=4, cutoff=0) or [bare]
    else:
        close = difflib.get_close_matches(bare, timm.list_models(), n=4)
    hint = f"Did you mean {' or '.join(map(repr, close))}? " if close else ""
    return BackboneError(
        f"timm has no image model {name!r}. {hint}timm.list_models() lists them all."
    )


def _random_crop(height: int, width: int, rng: torch.Generator) -> tuple[int, int, int, int, bool]:
    """Top, left, height and width of a random part of an image, and whether it is mirrored."""
    area, aspect, vertical, horizontal, mirror = torch.rand(5, generator=rng).tolist()
    share = AREA[0] + (AREA[1] - AREA[0]) * area
    ratio = ASPECT[0] * (ASPECT[1] / ASPECT[0]) ** aspect
    pixels = share * height * width
    tall = min(max(round(math.sqrt(pixels / ratio)), 1), height)
    wide = min(max(round(math.sqrt(pixels * ratio)), 1), width)
    top = min(int(vertical * (height - tall + 1)), height - tall)
    left = min(int(horizontal * (width - wide + 1)), width - wide)
    return top, left, tall, wide, mirror < 0.5


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
