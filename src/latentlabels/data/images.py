"""Images as they come: read to bytes, decoded to upright RGB, or refused with a reason.

Whatever a cell holds, it becomes bytes first. They are what an embedding is cached by, and all
there is to decode.
"""

from __future__ import annotations

import io
import os
import stat
import struct
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from latentlabels.data.missing import is_missing
from latentlabels.errors import InputError

MOST_PIXELS: Final = 100_000_000
"""An image with more is refused before it is decoded: 300 MB in RGB."""
MOST_BYTES: Final = 2**30
"""A file with more is refused before it is read."""
FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""What is decoded. Pillow's other decoders, some of which start programs, stay out of reach."""

# Pixels that came without a file: this mark, width and height, then RGB row by row.
PIXELS_MARK: Final = b"latentlabels pixels 1\n"
SIZE: Final = struct.Struct("<II")
ORIENTATION: Final = 0x0112
UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_content(cell: Any) -> bytes:
    """The bytes of an image cell; the same image in the same form gives the same bytes.

    Args:
        cell: a path, an encoded image as bytes, a Hugging Face image `{"bytes": ..., "path": ...}`
            (its bytes, or its path where it has none), a Pillow image, an array of uint8 (height,
            width) or (height, width, 1, 3 or 4), or a pyarrow scalar of one of these.

    Raises:
        InputError: nothing is there, or nothing that could be an image.
    """
    if hasattr(cell, "as_py"):
        cell = cell.as_py()
    if isinstance(cell, Mapping):
        cell = cell.get("path") if cell.get("bytes") is None else cell["bytes"]
    if is_missing(cell):
        raise InputError("is empty")
    if isinstance(cell, (str, bytes, bytearray, memoryview)) and not cell:
        raise InputError("is empty")
    if isinstance(cell, (bytes, bytearray, memoryview)):
        return bytes(cell)
    if isinstance(cell, (str, os.PathLike)):
        return _read_file(cell)
    if isinstance(cell, np.ndarray):
        cell = _from_array(cell)
    if isinstance(cell, Image.Image):
        upright = _decoded(cell)
        return PIXELS_MARK + SIZE.pack(*upright.size) + upright.tobytes()
    raise InputError(f"is no image, path or bytes but {type(cell).__name__}")


def decode_image(content: bytes) -> Image.Image:
    """The image as one sees it: upright by its EXIF orientation, in RGB.

    Transparency lies on white. Greyscale of 16 bits keeps its upper 8; greyscale in whole numbers
    or floating point of 32 bits beyond that range is stretched from its lowest value to its
    highest. Of an animation or a file of several pages it is the first.

    Args:
        content: what `read_content` returned.

    Raises:
        InputError: not one of `FORMATS`, truncated, damaged, without pixels, or with more than
            `MOST_PIXELS`.
    """
    if content.startswith(PIXELS_MARK):
        return _from_pixels(content)
    with warnings.catch_warnings():
        # Our own limit decides, and what else Pillow remarks does not change the pixels.
        warnings.simplefilter("ignore")
        try:
            image = Image.open(io.BytesIO(content), formats=FORMATS)
        except Exception as error:
            raise _refused(error) from None
    return _decoded(image)


def _read_file(path: str | os.PathLike[str]) -> bytes:
    try:
        _require_file(Path(path).stat())
        content = Path(path).read_bytes()
    except InputError:
        raise
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"no such file: {path}") from None
    except (OSError, ValueError) as error:
        # A path may also be too long, hold a zero byte, or be forbidden.
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"cannot be read: {reason}") from None
    if not content:
        raise InputError("empty file")
    return content


def _require_file(found: os.stat_result) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise InputError("is a folder")
    if not stat.S_ISREG(found.st_mode):
        raise InputError("is no regular file")
    if found.st_size > MOST_BYTES:
        raise InputError(f"file larger than {MOST_BYTES >> 20} MB")


def _from_array(values: NDArray[Any]) -> Image.Image:
    if values.dtype != np.uint8:
        raise InputError(f"is an array of {values.dtype}, not of uint8")
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if values.ndim != 2 and not (values.ndim == 3 and values.shape[2] in (3, 4)):
        raise InputError(f"is an array of shape {values.shape}, not (height, width, 3)")
    if not values.size:
        raise InputError("has no pixels")
    return Image.fromarray(np.ascontiguousarray(values))


def _from_pixels(content: bytes) -> Image.Image:
    start = len(PIXELS_MARK) + SIZE.size
    if len(content) < start:
        raise InputError("is truncated")
    size = SIZE.unpack(content[len(PIXELS_MARK) : start])
    _require_sensible(size)
    if len(content) - start != 3 * size[0] * size[1]:
        raise InputError("is truncated")
    return Image.frombytes("RGB", size, content[start:])


def _decoded(image: Image.Image) -> Image.Image:
    """Load an opened image; upright, RGB."""
    _require_sensible(image.size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image.load()
            # A frame may be larger than the file's head said.
            _require_sensible(image.size)
            return _upright(_rgb(image), image)
        except InputError:
            raise
        except Exception as error:
            raise _refused(error) from None


def _require_sensible(size: tuple[int, int]) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise InputError("has no pixels")
    if width * height > MOST_PIXELS:
        raise _too_large()


def _too_large() -> InputError:
    return InputError(f"has more than {MOST_PIXELS / 1e6:g} million pixels")


def _refused(error: Exception) -> InputError:
    """Pillow's error, of whatever class, as a short reason."""
    if isinstance(error, Image.DecompressionBombError):
        return _too_large()
    if isinstance(error, UnidentifiedImageError):
        return InputError("is no image that can be read (JPEG, PNG, WebP, GIF, BMP, TIFF)")
    if isinstance(error, EOFError) or "truncated" in str(error).lower():
        return InputError("is truncated")
    if isinstance(error, MemoryError):
        return InputError("does not fit in memory")
    return InputError("is damaged")


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return _grey(np.asarray(image).astype(np.float64) / 257)
    if image.mode in ("I", "F"):
        return _grey(_to_eight_bits(np.asarray(image).astype(np.float64)))
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode in ("RGBA", "RGBa", "LA", "PA") or "transparency" in image.info:
        above = image.convert("RGBA")
        below = Image.new("RGBA", above.size, "white")
        return Image.alpha_composite(below, above).convert("RGB")
    return image.convert("RGB")


def _to_eight_bits(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values of 32-bit greyscale between 0 and 255."""
    if not np.isfinite(values).all():
        raise InputError("has pixels that are not finite")
    low, high = values.min(), values.max()
    if low >= 0 and 255 < high <= 65535:
        return values / 257
    if low >= 0 and 1 < high <= 255:
        return values
    span = high - low
    return (values - low) * (255 / span) if span > 0 else np.zeros_like(values)


def _grey(values: NDArray[np.float64]) -> Image.Image:
    return Image.fromarray(values.round().clip(0, 255).astype(np.uint8)).convert("RGB")


def _upright(image: Image.Image, source: Image.Image) -> Image.Image:
    """The image turned as its source's EXIF says."""
    try:
        orientation = source.getexif().get(ORIENTATION)
    except Exception:  # damaged EXIF of a good image, in whatever way Pillow minds it
        return image
    turn = UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)
