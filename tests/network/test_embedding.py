"""Rows are embedded once each, whatever the order, workers, cache and the bad ones among them."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from numpy.testing import assert_array_equal
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn

from latentlabels.errors import BackboneError
from latentlabels.network import embedding_cache
from latentlabels.network.embedding import check, embed
from latentlabels.network.embedding_cache import EmbeddingCache
from latentlabels.network.encoders import Encoder, EncoderSpec, build_encoder

ROWS = 30
BAD = {4: "no such file: gone.png", 11: "is empty", 12: "is truncated", 29: "is empty"}


class Counting(nn.Module):
    """A small network with what only training changes; it counts the images it has seen."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 5, 3)
        self.norm = nn.BatchNorm2d(5)
        self.dropout = nn.Dropout(0.5)
        self.images = 0
        self.largest = 0

    def forward(self, batch: Tensor) -> Tensor:
        self.images += len(batch)
        self.largest = max(self.largest, len(batch))
        maps: Tensor = self.dropout(self.norm(self.convolution(batch)))
        return maps


def png(image: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def photos() -> list[Any]:
    rng = np.random.default_rng(0)
    return [png(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)) for _ in range(ROWS)]


def with_bad_rows() -> list[Any]:
    cells = photos()
    cells[4], cells[11], cells[12], cells[29] = "gone.png", None, cells[12][:500], b""
    return cells


@pytest.fixture
def encoder() -> Encoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = build_encoder(EncoderSpec("image", "custom", size=16, augment=True), Counting())
    counter(made).images = 0
    return made


def counter(encoder: Encoder) -> Counting:
    module = encoder.module
    assert isinstance(module, Counting)
    return module


def opened(encoder: Encoder, folder: Path) -> EmbeddingCache:
    return EmbeddingCache(folder, encoder.fingerprint(), encoder.features)


def test_every_row_has_its_features_and_bad_ones_a_reason(encoder: Encoder) -> None:
    cells = with_bad_rows()
    embedded = embed(encoder, cells, cache=None, batch_size=7)
    assert embedded.bad == BAD
    assert embedded.vectors.shape == (ROWS, encoder.features)
    assert embedded.vectors.dtype == np.float32
    encoder.eval()
    for row, cell in enumerate(cells):
        if row in BAD:
            assert not embedded.vectors[row].any()
        else:
            with torch.inference_mode():
                alone = encoder(encoder.prepare(cell)[None])[0].numpy()
            np.testing.assert_allclose(embedded.vectors[row], alone, atol=1e-6)


def test_embedding_leaves_encoder_and_random_numbers_alone(encoder: Encoder) -> None:
    counter(encoder).norm.eval()
    modes = [part.training for part in encoder.modules()]
    before, state = encoder.fingerprint(), torch.get_rng_state()
    embed(encoder, photos(), cache=None)
    check(encoder, photos())
    assert [part.training for part in encoder.modules()] == modes
    assert encoder.fingerprint() == before
    assert torch.equal(torch.get_rng_state(), state)


def test_workers_change_nothing(encoder: Encoder, tmp_path: Path) -> None:
    cells = with_bad_rows()
    cells[20] = cells[21] = cells[3]
    cells[22] = cells[12]
    bad = BAD | {22: BAD[12]}
    here = embed(encoder, cells, cache=None, batch_size=4)
    there = embed(encoder, cells, cache=opened(encoder, tmp_path), workers=2, batch_size=4)
    assert_array_equal(here.vectors, there.vectors)
    assert here.bad == there.bad == bad
    again = embed(encoder, cells, cache=opened(encoder, tmp_path), workers=2, batch_size=4)
    assert_array_equal(again.vectors, here.vectors)
    assert again.bad == bad
    assert check(encoder, cells, workers=2) == check(encoder, cells) == bad


def test_equal_images_are_decoded_and_computed_once(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[bytes] = []
    prepare = encoder.prepare

    def counted(content: bytes) -> Tensor:
        decoded.append(content)
        return prepare(content)

    monkeypatch.setattr(encoder, "prepare", counted)
    cells = [*photos()[:3], b"damaged"]
    embedded = embed(encoder, [*cells, *cells, cells[0]], cache=None, batch_size=2)
    assert decoded == cells
    assert counter(encoder).images == 3
    assert_array_equal(embedded.vectors[:4], embedded.vectors[4:8])
    assert_array_equal(embedded.vectors[0], embedded.vectors[8])
    assert list(embedded.bad) == [3, 7]


def test_the_second_time_nothing_is_computed(encoder: Encoder, tmp_path: Path) -> None:
    cells = with_bad_rows()
    first = embed(encoder, cells, cache=opened(encoder, tmp_path))
    assert counter(encoder).images == ROWS - len(BAD)
    second = embed(encoder, cells, cache=opened(encoder, tmp_path))
    assert counter(encoder).images == ROWS - len(BAD)
    assert_array_equal(first.vectors, second.vectors)
    assert second.bad == BAD


def test_what_is_kept_is_not_decoded_again(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed(encoder, photos(), cache=opened(encoder, tmp_path))
    monkeypatch.setattr(type(encoder), "prepare", None)
    embed(encoder, photos(), cache=opened(encoder, tmp_path))


def test_order_and_form_of_the_cells_do_not_matter(encoder: Encoder, tmp_path: Path) -> None:
    """The cache goes by content: other rows, files in place of bytes, another table."""
    cells = photos()
    first = embed(encoder, cells, cache=opened(encoder, tmp_path))
    seen = counter(encoder).images
    order = np.random.default_rng(1).permutation(ROWS)
    path = tmp_path / "a.png"
    path.write_bytes(cells[5])
    table = [{"bytes": cells[row], "path": f"{row}.png"} if row != 5 else path for row in order]
    second = embed(encoder, table, cache=opened(encoder, tmp_path), batch_size=7)
    assert counter(encoder).images == seen
    assert_array_equal(second.vectors, first.vectors[order])
    column = pa.chunked_array([pa.array(cells[:9]), pa.array(cells[9:])])
    third = embed(encoder, column, cache=opened(encoder, tmp_path), workers=1)
    assert counter(encoder).images == seen
    assert_array_equal(third.vectors, first.vectors)


def test_another_transform_is_another_cache(encoder: Encoder, tmp_path: Path) -> None:
    embed(encoder, photos(), cache=opened(encoder, tmp_path))
    other = build_encoder(EncoderSpec("image", "custom", size=12), counter(encoder))
    counter(encoder).images = 0
    embed(other, photos(), cache=opened(other, tmp_path))
    assert counter(encoder).images == ROWS


class Watched(list[Any]):
    """Rows, with something to do when the 17th is read."""

    def __init__(self, cells: list[Any], look: Callable[[], object]) -> None:
        super().__init__(cells)
        self.look = look

    def __getitem__(self, row: Any) -> Any:
        if row == 17:
            self.look()
        return super().__getitem__(row)


def interrupt() -> None:
    raise KeyboardInterrupt


def test_an_interrupted_run_goes_on_where_it_stopped(encoder: Encoder, tmp_path: Path) -> None:
    cells = photos()
    with pytest.raises(KeyboardInterrupt):
        embed(encoder, Watched(cells, interrupt), cache=opened(encoder, tmp_path), batch_size=4)
    assert counter(encoder).images == 16
    embedded = embed(encoder, cells, cache=opened(encoder, tmp_path), batch_size=4)
    assert counter(encoder).images == ROWS
    assert_array_equal(embedded.vectors, embed(encoder, cells, cache=None, batch_size=4).vectors)


def test_a_long_run_writes_on_its_way(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that one that is killed has not been for nothing."""
    monkeypatch.setattr(embedding_cache, "SHARD_ROWS", 8)
    on_disk: list[int] = []
    cells = Watched(photos(), lambda: on_disk.append(len(opened(encoder, tmp_path))))
    embed(encoder, cells, cache=opened(encoder, tmp_path), batch_size=5)
    assert on_disk == [10]


def test_a_damaged_shard_is_computed_again(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding_cache, "SHARD_ROWS", 10)
    cells = photos()
    first = embed(encoder, cells, cache=opened(encoder, tmp_path), batch_size=10)
    damaged = next(tmp_path.rglob("*.safetensors"))
    tensors = load_file(damaged)
    tensors["vectors"][0] = np.inf
    save_file(tensors, damaged)
    with pytest.warns(UserWarning, match="damaged and are computed again"):
        second = embed(encoder, cells, cache=opened(encoder, tmp_path), batch_size=10, workers=2)
    assert counter(encoder).images == ROWS + 10
    assert_array_equal(second.vectors, first.vectors)
    embed(encoder, cells, cache=opened(encoder, tmp_path))
    assert counter(encoder).images == ROWS + 10


def test_batches_are_as_large_as_asked(encoder: Encoder) -> None:
    counter(encoder).largest = 0
    embed(encoder, photos(), cache=None, batch_size=6)
    assert counter(encoder).largest == 6


def test_no_rows(encoder: Encoder, tmp_path: Path) -> None:
    embedded = embed(encoder, [], cache=opened(encoder, tmp_path))
    assert embedded.vectors.shape == (0, encoder.features)
    assert embedded.bad == check(encoder, []) == {}


def test_features_that_are_not_finite_are_no_features(encoder: Encoder, tmp_path: Path) -> None:
    with torch.no_grad():
        counter(encoder).convolution.weight.fill_(torch.nan)
    with pytest.raises(BackboneError, match=r"made of row 1 features that are not finite"):
        embed(encoder, [None, *photos()], cache=opened(encoder, tmp_path))
    assert not list(tmp_path.rglob("*.safetensors"))


def test_checking_finds_the_bad_rows_without_the_network(encoder: Encoder) -> None:
    assert check(encoder, with_bad_rows()) == BAD
    assert counter(encoder).images == 0


@pytest.mark.parametrize("work", ["Embedding", "Checking"])
def test_the_bar_is_on_the_error_stream(
    work: str, encoder: Encoder, capsys: pytest.CaptureFixture[str]
) -> None:
    for progress in (False, True):
        if work == "Embedding":
            embed(encoder, photos(), cache=None, progress=progress)
        else:
            check(encoder, photos(), progress=progress)
        out, err = capsys.readouterr()
        assert not out
        assert ((work in err) and (f"{ROWS}/{ROWS}" in err)) == progress
        assert bool(err) == progress


class Slow(list[Any]):
    """Cells of which the first takes long, so that workers run ahead of it."""

    def __getitem__(self, row: Any) -> Any:
        if row == 0:
            time.sleep(1.5)
        return super().__getitem__(row)


def test_workers_that_run_ahead_open_few_files(encoder: Encoder) -> None:
    cells = [
        np.random.default_rng(row).integers(0, 256, (4, 4, 3), dtype=np.uint8) for row in range(600)
    ]
    resource = pytest.importorskip("resource")  # not on Windows
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(list(Path("/dev/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 90, hard))
    try:
        embedded = embed(encoder, Slow(cells), cache=None, workers=2)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert_array_equal(embedded.vectors, embed(encoder, cells, cache=None).vectors)
