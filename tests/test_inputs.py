"""Examples as callers have them: read cell by cell, the bad ones found, the rest in their order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from numpy.testing import assert_array_equal
from tests.small_images import BROKEN, Eye, pictures, same_state, state_of

from latentlabels.data.arrow_cells import ArrowCells
from latentlabels.errors import BackboneError, InputError
from latentlabels.inputs import EncodedInputs, as_cells, new_encoder, usable_vectors
from latentlabels.network.encoders import Encoder
from latentlabels.network.examples import EncoderInputs, Vectors

PICTURES = pictures(rows=9)
TEXTS = ["a", "b", None, "d"]


def encoder_of(module: Any = None, **changes: Any) -> Encoder:
    settings: dict[str, Any] = {
        "weights": None,
        "pretrained": True,
        "size": 12,
        "augment": False,
        **changes,
    }
    made = new_encoder("image", Eye() if module is None else module, **settings)
    assert made is not None
    return made


def inputs(folder: Path, encoder: Encoder | None = None, **changes: Any) -> EncodedInputs:
    settings: dict[str, Any] = {
        "tuned": False,
        "cache": folder,
        "workers": 0,
        "skip": True,
        "seed": 5,
        "progress": False,
        **changes,
    }
    return EncodedInputs(encoder or encoder_of(), **settings)


@pytest.mark.parametrize(
    "form",
    [
        TEXTS,
        tuple(TEXTS),
        np.array(TEXTS, dtype=object),
        np.array(TEXTS, dtype=object)[:, None],
        pd.Series(TEXTS, index=[7, 7, 8, 1], dtype=object),
        pd.DataFrame({"text": pd.Series(TEXTS, dtype=object)}),
        pa.array(TEXTS),
        pa.array(TEXTS).dictionary_encode(),
        pa.chunked_array([TEXTS[:1], [], TEXTS[1:]]),
        ArrowCells.of(pa.array(TEXTS)),
    ],
    ids=lambda form: type(form).__name__,
)
def test_every_form_of_column_has_the_same_cells(form: Any) -> None:
    for kind in ("text", "image"):
        cells = as_cells(form, kind)
        assert [cells[row] for row in range(len(cells))] == TEXTS


def test_pixels_are_images_a_row() -> None:
    pixels = np.zeros((3, 4, 5, 3), np.uint8)
    assert as_cells(pixels, "image")[1].shape == (4, 5, 3)
    assert as_cells(pixels[:, :, :1, 0], "image")[1].shape == (4, 1)
    assert as_cells([{"bytes": b"x", "path": None}], "image")[0]["bytes"] == b"x"


@pytest.mark.parametrize("kind", ["image", "text"])
@pytest.mark.parametrize(
    "form",
    [
        None,
        3,
        "one.png",
        b"one",
        {"bytes": b"one"},
        {"a", "b"},
        iter(TEXTS),
        (text for text in TEXTS),
        np.array("one"),
        np.array([TEXTS, TEXTS], dtype=object),
        pd.DataFrame({"a": TEXTS, "b": TEXTS}),
        pa.table({"a": TEXTS}),
        Path("one.png"),
    ],
    ids=lambda form: type(form).__name__,
)
def test_what_is_no_column_is_refused(form: Any, kind: str) -> None:
    with pytest.raises(InputError, match=rf"^X is .*{kind}.* for each row, got "):
        as_cells(form, kind)


@pytest.mark.parametrize("form", [[], np.array([]), pd.Series([], dtype=object), pa.array([])])
def test_nothing_is_refused(form: Any) -> None:
    with pytest.raises(InputError, match=r"There are no examples. X needs at least one image."):
        as_cells(form, "image")


def test_values_go_back_to_their_rows(tmp_path: Path) -> None:
    given = inputs(tmp_path).read(PICTURES.with_broken(0, 4, 8))
    assert given.rows.tolist() == [1, 2, 3, 5, 6, 7]
    assert (given.total, len(given.examples)) == (9, 6)
    assert list(given.bad) == [0, 4, 8]
    for why, wanted in zip(given.bad.values(), BROKEN, strict=False):
        assert why.startswith(wanted)
    values = np.arange(12.0).reshape(6, 2)
    scattered = given.scattered(values, np.nan)
    assert_array_equal(scattered[given.rows], values)
    assert np.isnan(scattered[list(given.bad)]).all()
    assert given.scattered(np.arange(6), -1).tolist() == [-1, 0, 1, 2, -1, 3, 4, 5, -1]
    whole = usable_vectors(np.zeros((3, 2), np.float32))
    assert whole.scattered(values[:3], np.nan) is not None
    assert (whole.total, whole.bad, whole.rows.tolist()) == (3, {}, [0, 1, 2])


def test_a_part_has_rows_of_its_own(tmp_path: Path) -> None:
    given = inputs(tmp_path).read(PICTURES.with_broken(0, 4, 8))
    part = given.part(np.array([0, 0, 1, 1, 1, 0, 0, 1, 1], dtype=bool))
    assert (part.total, part.rows.tolist()) == (5, [0, 1, 3])
    assert part.bad == {2: given.bad[4], 4: given.bad[8]}
    assert isinstance(part.examples, Vectors)
    assert isinstance(given.examples, Vectors)
    assert_array_equal(part.examples.values, given.examples.values[[1, 2, 5]])
    assert given.part(np.zeros(9, dtype=bool)).total == 0


def test_frozen_encoders_give_vectors_and_tuned_ones_what_they_prepare(tmp_path: Path) -> None:
    encoder = encoder_of()
    cells = PICTURES.with_broken(0, 4)
    vectors = inputs(tmp_path, encoder).read(cells)
    prepared = inputs(tmp_path, encoder, tuned=True).read(cells)
    assert isinstance(vectors.examples, Vectors)
    assert isinstance(prepared.examples, EncoderInputs)
    assert vectors.bad == prepared.bad
    assert_array_equal(vectors.rows, prepared.rows)
    assert prepared.examples.seed == 5
    encoder.eval()
    with torch.inference_mode():
        features = encoder(prepared.examples.batch(np.arange(7)))
    np.testing.assert_allclose(vectors.examples.values, features.numpy(), atol=1e-6)
    # Tuned, nothing is computed and so nothing kept.
    assert not list((tmp_path / "other").glob("*"))
    inputs(tmp_path / "other", encoder, tuned=True).read(cells)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("tuned", [False, True])
def test_bad_ones_are_refused_or_left_out(tuned: bool, tmp_path: Path) -> None:
    strict = inputs(tmp_path, tuned=tuned, skip=False)
    with pytest.raises(InputError, match=r"2 of 9 images cannot be used, the first in row 3 .*is "):
        strict.read(PICTURES.with_broken(3, 5))
    assert strict.read(PICTURES.x).bad == {}
    with pytest.raises(InputError, match=r"3 of 3 images cannot be used.*None is left"):
        inputs(tmp_path, tuned=tuned).read([None, "", 3])


def test_rows_are_counted_in_the_column_they_come_from(tmp_path: Path) -> None:
    column = ArrowCells.of(pa.array(PICTURES.with_broken(2, 6)))
    part = column.take(np.array([5, 6, 7]))
    with pytest.raises(InputError, match="1 of 3 images cannot be used, the first in row 6 "):
        inputs(tmp_path, skip=False).read(part)
    assert list(inputs(tmp_path).read(part).bad) == [1]


def test_a_new_encoder_is_a_copy_and_the_same_each_time() -> None:
    module = Eye()
    before = state_of(module)
    encoder = encoder_of(module)
    with torch.no_grad():
        next(encoder.parameters()).zero_()
    assert same_state(state_of(module), before)
    scratch = [encoder_of("test_resnet", pretrained=False, size=32) for _ in range(2)]
    assert same_state(*map(state_of, scratch))
    assert not encoder_of(module, augment=False).spec.augment
    assert encoder_of(module, augment=True).spec.augment
    assert (
        new_encoder("vector", None, weights=None, pretrained=True, size=None, augment=True) is None
    )


def test_a_backbone_may_be_a_path(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=str(tmp_path)):
        new_encoder("text", tmp_path, weights=None, pretrained=True, size=None, augment=False)
