"""Examples a batch at a time, the same whatever batch, order and worker they come in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from numpy.typing import NDArray
from tests.small_images import Eye, pictures, png

from latentlabels.network.encoders import EncoderSpec, build_encoder
from latentlabels.network.examples import (
    ENCODED,
    EncoderInputs,
    Examples,
    Vectors,
    in_batches,
    split,
)

# Of no symmetry and much detail, so that every crop is another.
PICTURES = [
    png(np.random.default_rng(row).integers(0, 256, (20, 30, 3), dtype=np.uint8))
    for row in range(12)
]


def examples(seed: int = 0, augment: bool = True, rows: Any = range(12)) -> EncoderInputs:
    spec = EncoderSpec("image", "custom", size=12, augment=augment)
    encoder = build_encoder(spec, Eye())
    return EncoderInputs(encoder, PICTURES, np.array(rows, dtype=np.intp), seed)


def batch(given: Examples, rows: Any, visit: int | None = None) -> NDArray[Any]:
    return given.batch(np.array(rows, dtype=np.int64), visit).numpy()


def test_vectors() -> None:
    values = np.arange(10, dtype=np.float32).reshape(5, 2)
    vectors = Vectors(values)
    assert len(vectors) == 5
    assert_array_equal(batch(vectors, [3, 0]), values[[3, 0]])
    assert_array_equal(batch(vectors, [3, 0], visit=7), values[[3, 0]])
    assert_array_equal(vectors.take(np.array([4, 1])).values, values[[4, 1]])


def test_without_a_visit_examples_come_as_they_are() -> None:
    still, varied = examples(augment=False), examples()
    assert batch(varied, [0, 1]).shape == (2, 3, 12, 12)
    assert_array_equal(batch(varied, range(12)), batch(still, range(12)))
    assert_array_equal(batch(still, range(12), visit=3), batch(still, range(12)))
    for row in range(12):
        prepared = varied.encoder.prepare(PICTURES[row]).numpy()
        assert_array_equal(batch(varied, [row])[0], prepared)


def test_augmentation_is_a_function_of_seed_visit_and_cell() -> None:
    given = examples()
    first = batch(given, range(12), visit=0)
    assert_array_equal(batch(examples(), range(12), visit=0), first)
    assert_array_equal(batch(given, [7, 2, 7], visit=0), first[[7, 2, 7]])
    assert_array_equal(batch(given.take(np.array([9, 4])), [1, 0], visit=0), first[[4, 9]])
    assert_array_equal(batch(examples(rows=[3, 5]), [1], visit=0), first[[5]])
    others = [batch(given, range(12), visit=1), batch(examples(seed=1), range(12), visit=0)]
    for other in (*others, batch(given, range(12))):
        assert all((one != two).any() for one, two in zip(first, other, strict=True))
    # Equal pictures in different cells vary on their own.
    twins = EncoderInputs(given.encoder, [PICTURES[0]] * 2, np.arange(2))
    assert (batch(twins, [0], visit=0) != batch(twins, [1], visit=0)).any()


def test_augmentation_leaves_torchs_own_generator_alone() -> None:
    state = torch.get_rng_state()
    batch(examples(), range(12), visit=0)
    list(in_batches(examples(), workers=0, progress=False, doing="reading"))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("workers", [0, 2, 50])
def test_batches_hold_every_row_once_and_in_order(workers: int) -> None:
    cells = pictures(rows=ENCODED + 6).x
    spec = EncoderSpec("image", "custom", size=4)
    rows = np.arange(len(cells))[::-1].copy()
    given = EncoderInputs(build_encoder(spec, Eye()), cells, rows)
    parts = list(in_batches(given, workers=workers, progress=False, doing="reading"))
    assert [len(numbers) for numbers, _ in parts] == [ENCODED, 6]
    assert torch.cat([numbers for numbers, _ in parts]).tolist() == list(range(len(cells)))
    assert_array_equal(torch.cat([x for _, x in parts]).numpy(), batch(given, range(len(cells))))


def test_batches_of_vectors(capsys: pytest.CaptureFixture[str]) -> None:
    values = np.random.default_rng(0).normal(size=(1100, 2)).astype(np.float32)
    parts = list(in_batches(Vectors(values), workers=2, progress=True, doing="reading"))
    assert [len(numbers) for numbers, _ in parts] == [512, 512, 76]
    assert_array_equal(torch.cat([x for _, x in parts]).numpy(), values)
    assert capsys.readouterr().out == ""


def test_a_bar_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    list(in_batches(examples(), workers=0, progress=True, doing="reading pictures"))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "reading pictures" in captured.err


def test_parts() -> None:
    assert [part.tolist() for part in split(5, 2)] == [[0, 1], [2, 3], [4]]
    assert split(0, 2) == []
