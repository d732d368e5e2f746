"""Images of every kind come out upright in RGB, and those that cannot say why, in a few words."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from numpy.typing import NDArray
from PIL import Image, ImageOps

from latentlabels.data import images
from latentlabels.data.images import PIXELS_MARK, decode_image, read_content
from latentlabels.errors import InputError

# Four quarters of different colour and size: any turn or mirroring shows.
PICTURE = np.zeros((16, 24, 3), dtype=np.uint8)
PICTURE[:5, :8] = 255, 0, 0
PICTURE[5:, :8] = 0, 255, 0
PICTURE[:5, 8:] = 0, 0, 255
PICTURE[5:, 8:] = 255, 255, 0
OPTIONS: dict[str, dict[str, object]] = {
    "JPEG": {"quality": 95},
    "PNG": {},
    "WEBP": {"lossless": True},
    "GIF": {},
    "BMP": {},
}
FORMATS = [*OPTIONS, "TIFF", "PPM"]


def encoded(image: Image.Image | NDArray[np.uint8], form: str = "PNG", **options: object) -> bytes:
    made = image if isinstance(image, Image.Image) else Image.fromarray(image)
    file = io.BytesIO()
    made.save(file, form, **(OPTIONS.get(form, {}) | options))
    return file.getvalue()


def decoded(content: bytes) -> NDArray[np.uint8]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = decode_image(content)
    assert image.mode == "RGB"
    return np.asarray(image)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_that_claims(width: int, height: int) -> bytes:
    head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    body = png_chunk(b"IDAT", zlib.compress(b"\0" * 100))
    return b"\x89PNG\r\n\x1a\n" + head + body + png_chunk(b"IEND", b"")


@pytest.mark.parametrize("form", FORMATS)
def test_common_formats_are_decoded(form: str) -> None:
    # JPEG is lossy, and blurs colour over two pixels at the edges.
    off = np.abs(decoded(encoded(PICTURE, form)).astype(int) - PICTURE)
    assert off.max() == 0 or (form == "JPEG" and np.median(off) <= 2)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_upright(form: str, orientation: int) -> None:
    """The picture is stored so that the turn its EXIF asks for brings it back."""
    turns = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a),
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: np.rot90(a, -1),
    }
    stored = np.ascontiguousarray(turns[orientation](PICTURE))
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(stored, form, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB"))
    assert_array_equal(decoded(content), expected)
    off = np.abs(decoded(content).astype(int) - PICTURE)
    assert off.max() == 0 or (form == "JPEG" and np.median(off) <= 2)


def test_damaged_exif_leaves_the_image_as_it_is() -> None:
    content = encoded(PICTURE, "PNG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\xff\x01\x12\0\x03")
    assert_array_equal(decoded(content), PICTURE)


def test_cmyk() -> None:
    content = encoded(Image.new("CMYK", (8, 6), (0, 255, 255, 0)), "JPEG")
    assert np.abs(decoded(content).astype(int) - (255, 0, 0)).max() <= 3


def test_a_palette_with_transparency_lies_on_white() -> None:
    image = Image.fromarray(PICTURE).quantize(4)
    red = image.getpixel((0, 0))
    seen = decoded(encoded(image, "PNG", transparency=red))
    expected = PICTURE.copy()
    expected[:5, :8] = 255
    assert_array_equal(seen, expected)
    # One degree of transparency for every colour: Pillow warns of that, and we do not.
    alphas = bytes(0 if index == red else 255 for index in range(4))
    assert_array_equal(decoded(encoded(image, "PNG", transparency=alphas)), expected)


@pytest.mark.parametrize(
    ("mode", "pixel", "expected"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 77, (77, 77, 77)),
        ("LA", (0, 51), (204, 204, 204)),
        ("RGBA", (255, 0, 0, 0), (255, 255, 255)),
        ("RGBA", (255, 0, 0, 255), (255, 0, 0)),
        ("RGBA", (0, 0, 255, 102), (153, 153, 255)),
        ("I;16", 65535, (255, 255, 255)),
        ("I;16", 257 * 12, (12, 12, 12)),
    ],
    ids=str,
)
def test_modes_of_png(mode: str, pixel: object, expected: tuple[int, ...]) -> None:
    seen = decoded(encoded(Image.new(mode, (5, 3), pixel)))  # type: ignore[arg-type]
    assert_array_equal(seen, np.broadcast_to(np.array(expected), (3, 5, 3)))


@pytest.mark.parametrize("mode", ["La", "RGBa", "PA", "CMYK", "YCbCr", "LAB", "HSV", "I", "F"])
def test_modes_that_only_pillow_images_have(mode: str) -> None:
    seen = decoded(read_content(Image.new(mode, (5, 3))))
    assert seen.shape == (3, 5, 3)
    assert (seen == seen[0, 0]).all()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 100.0, 200.0], [0, 100, 200]),
        ([0.0, 2570.0, 65535.0], [0, 10, 255]),
        ([-1.0, 0.0, 1.0], [0, 128, 255]),
        ([7e6, 7e6, 7e6], [0, 0, 0]),
    ],
    ids=["one", "byte", "two bytes", "signed", "constant"],
)
def test_floating_point_greyscale(values: list[float], expected: list[int]) -> None:
    image = Image.fromarray(np.array([values], dtype=np.float32))
    assert_array_equal(decoded(encoded(image, "TIFF"))[0, :, 0], expected)


def test_greyscale_that_is_not_finite_is_bad() -> None:
    image = Image.fromarray(np.array([[0, np.nan]], dtype=np.float32))
    with pytest.raises(InputError, match=r"^has pixels that are not finite$"):
        decode_image(encoded(image, "TIFF"))


def test_one_pixel() -> None:
    assert_array_equal(decoded(encoded(PICTURE[:1, :1])), PICTURE[:1, :1])


@pytest.mark.parametrize("form", ["GIF", "WEBP", "TIFF"])
def test_the_first_of_several_frames_is_taken(form: str) -> None:
    first, second = Image.fromarray(PICTURE), Image.fromarray(255 - PICTURE)
    content = encoded(first, form, save_all=True, append_images=[second])
    assert_array_equal(decoded(content), PICTURE)


@pytest.mark.parametrize("form", FORMATS)
def test_a_truncated_image_is_bad(form: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    content = encoded(noise, form)
    for length in (len(content) // 2, len(content) * 9 // 10):
        with pytest.raises(InputError, match=r"^is (truncated|damaged|no image that can be read)"):
            decode_image(content[:length])


def test_a_truncated_photo_is_called_so() -> None:
    content = encoded(PICTURE, "JPEG")
    with pytest.raises(InputError, match=r"^is truncated$"):
        decode_image(content[: len(content) - 40])


@pytest.mark.parametrize("content", [b"x", b"no image at all", b"<svg></svg>", b"%!PS-Adobe-3.0\n"])
def test_what_is_no_image_is_bad(content: bytes) -> None:
    with pytest.raises(InputError, match=r"^is no image that can be read \(JPEG, PNG"):
        decode_image(content)


def test_formats_that_are_not_photos_stay_closed() -> None:
    """Pillow knows the format; it is not asked."""
    content = encoded(PICTURE, "ICO")
    assert Image.open(io.BytesIO(content)).format == "ICO"
    with pytest.raises(InputError, match="no image that can be read"):
        decode_image(content)


@pytest.mark.parametrize("size", [(60000, 60000), (2**31 - 1, 1), (10001, 10000)], ids=str)
def test_a_bomb_is_refused_before_it_is_decoded(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[Image.Image] = []
    monkeypatch.setattr(Image.Image, "load", loaded.append)
    with pytest.raises(InputError, match=r"^has more than 100 million pixels$"):
        decode_image(png_that_claims(*size))
    assert not loaded


def test_our_limit_is_the_one_that_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow only warns between its limit and twice that."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", PICTURE.size // 3 - 1)
    assert_array_equal(decoded(encoded(PICTURE)), PICTURE)
    monkeypatch.setattr(images, "MOST_PIXELS", PICTURE.size // 3 - 1)
    for cell in (encoded(PICTURE), read_content(encoded(PICTURE))):
        with pytest.raises(InputError, match=r"^has more than .* pixels$"):
            decode_image(cell)
    with pytest.raises(InputError, match=r"^has more than .* pixels$"):
        read_content(Image.fromarray(PICTURE))


def test_an_image_without_pixels_is_bad() -> None:
    with pytest.raises(InputError, match=r"^is no image that can be read"):
        decode_image(png_that_claims(0, 5))
    for nothing in (Image.new("RGB", (0, 4)), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(InputError, match=r"^has no pixels$"):
            read_content(nothing)


@pytest.mark.parametrize("form", FORMATS)
def test_every_way_to_hold_a_file_gives_its_bytes(form: str, tmp_path: Path) -> None:
    content = encoded(PICTURE, form)
    path = tmp_path / "picture"
    path.write_bytes(content)
    cells = [
        path,
        str(path),
        content,
        bytearray(content),
        memoryview(content),
        {"bytes": content, "path": None},
        {"bytes": content, "path": "gone.jpg"},
        {"bytes": None, "path": str(path)},
        pa.scalar(content),
        pa.scalar({"bytes": content, "path": "gone.jpg"}),
    ]
    for cell in cells:
        assert read_content(cell) == content


def test_pixels_without_a_file_are_kept_as_they_are() -> None:
    content = read_content(PICTURE)
    assert content == read_content(Image.fromarray(PICTURE))
    assert_array_equal(decoded(content), PICTURE)
    grey = PICTURE[:, :, 0]
    for cell in (grey, grey[:, :, None], np.asfortranarray(grey)):
        assert_array_equal(decoded(read_content(cell)), np.repeat(grey[:, :, None], 3, 2))
    clear = np.dstack([PICTURE, np.zeros_like(grey)])
    assert (decoded(read_content(clear)) == 255).all()


def test_a_pillow_image_is_turned_upright_once() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.open(io.BytesIO(encoded(np.rot90(PICTURE).copy(), exif=exif)))
    assert_array_equal(decoded(read_content(image)), PICTURE)


@pytest.mark.parametrize("length", [0, 3, 8, 20])
def test_pixels_that_are_cut_short_are_bad(length: int) -> None:
    content = read_content(PICTURE)
    with pytest.raises(InputError, match=r"^is truncated$"):
        decode_image(content[: len(PIXELS_MARK) + length])


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (None, "is empty"),
        (float("nan"), "is empty"),
        (pd.NA, "is empty"),
        (b"", "is empty"),
        ({"bytes": None, "path": None}, "is empty"),
        ({}, "is empty"),
        ("gone.jpg", "no such file"),
        ("https://example.org/cat.jpg", "no such file"),
        ("", "is empty"),
        (".", "is a folder"),
        ("zero\0byte", "cannot be read: embedded null"),
        ("x" * 5000, "cannot be read: File name too long"),
        ("/dev/null", "is no regular file"),
        (3, "is no image, path or bytes but int"),
        (np.zeros((4, 4, 3)), "is an array of float64, not of uint8"),
        (np.zeros((4, 4, 2), np.uint8), r"is an array of shape \(4, 4, 2\)"),
        (np.zeros(4, np.uint8), r"is an array of shape \(4,\)"),
    ],
    ids=str,
)
def test_cells_that_hold_no_image_say_why(cell: object, reason: str) -> None:
    with pytest.raises(InputError, match=f"^{reason}"):
        read_content(cell)


def test_files_that_cannot_be_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "picture.png"
    path.touch()
    with pytest.raises(InputError, match=r"^empty file$"):
        read_content(path)
    path.write_bytes(encoded(PICTURE))
    monkeypatch.setattr(images, "MOST_BYTES", 10)
    with pytest.raises(InputError, match=r"^file larger than"):
        read_content(path)


def expect_an_image_or_a_reason(content: bytes) -> None:
    with suppress(InputError):
        decoded(content)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_image_or_have_a_reason(content: bytes) -> None:
    expect_an_image_or_a_reason(content)
    expect_an_image_or_a_reason(PIXELS_MARK + content)


@given(st.data())
def test_a_damaged_file_is_an_image_or_has_a_reason(data: st.DataObject) -> None:
    form = data.draw(st.sampled_from(FORMATS))
    content = bytearray(encoded(PICTURE, form))
    for _ in range(data.draw(st.integers(1, 4))):
        # Heads decide most, so half of the damage is there.
        end = data.draw(st.sampled_from([min(60, len(content)), len(content)]))
        content[data.draw(st.integers(0, end - 1))] = data.draw(st.integers(0, 255))
    expect_an_image_or_a_reason(bytes(content))
