"""Vectors come back by their key, from whole shards only, whoever else is writing."""

from __future__ import annotations

import hashlib
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from latentlabels.locking import locked
from latentlabels.network import embedding_cache
from latentlabels.network.embedding_cache import LOCK, EmbeddingCache, default_cache_folder

FEATURES = 3
KEYS = [hashlib.sha256(bytes([number])).digest() for number in range(20)]
VECTORS = np.random.default_rng(0).normal(size=(20, FEATURES)).astype(np.float32)


def opened(folder: Path, fingerprint: str = "f" * 64) -> EmbeddingCache:
    return EmbeddingCache(folder, fingerprint, FEATURES)


def filled(folder: Path, rows: slice = slice(None)) -> EmbeddingCache:
    cache = opened(folder)
    cache.put(KEYS[rows], VECTORS[rows])
    cache.flush()
    return cache


def shards(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.safetensors"))


def expect(cache: EmbeddingCache, rows: NDArray[np.intp] | list[int]) -> None:
    """It has these rows and no others."""
    found, vectors = cache.get(KEYS)
    expected = np.isin(np.arange(len(KEYS)), rows)
    assert_array_equal(found, expected)
    assert_array_equal(vectors, np.where(expected[:, None], VECTORS, 0))
    assert found.dtype == np.bool_
    assert vectors.dtype == np.float32


def test_a_new_cache_is_empty_and_makes_no_folder(tmp_path: Path) -> None:
    cache = opened(tmp_path)
    expect(cache, [])
    cache.flush()
    assert len(cache) == 0
    assert not list(tmp_path.iterdir())


def test_what_is_put_is_there_at_once_and_on_disk_after_a_flush(tmp_path: Path) -> None:
    cache = opened(tmp_path)
    cache.put(KEYS[:5], VECTORS[:5])
    expect(cache, [0, 1, 2, 3, 4])
    expect(opened(tmp_path), [])
    cache.flush()
    expect(cache, [0, 1, 2, 3, 4])
    expect(opened(tmp_path), [0, 1, 2, 3, 4])
    assert KEYS[4] in cache
    assert KEYS[5] not in cache
    assert len(cache) == 5
    assert not list(tmp_path.rglob("*.part"))


def test_a_shard_is_written_when_enough_has_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding_cache, "SHARD_ROWS", 4)
    cache = opened(tmp_path)
    for row in range(10):
        cache.put(KEYS[row : row + 1], VECTORS[row : row + 1])
    assert len(shards(tmp_path)) == 2
    expect(opened(tmp_path), list(range(8)))
    expect(cache, list(range(10)))


def test_keys_may_be_asked_in_any_order_and_twice(tmp_path: Path) -> None:
    filled(tmp_path, slice(10))
    cache = filled(tmp_path, slice(10, 20))
    order = np.random.default_rng(0).integers(0, 20, 50)
    found, vectors = cache.get([KEYS[row] for row in order])
    assert found.all()
    assert_array_equal(vectors, VECTORS[order])
    found, vectors = cache.get([])
    assert found.shape == (0,)
    assert vectors.shape == (0, FEATURES)


def test_few_shards_are_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_cache, "SHARD_ROWS", 1)
    monkeypatch.setattr(embedding_cache, "OPEN_SHARDS", 2)
    loaded: list[Path] = []

    def load(path: Path) -> dict[str, NDArray[np.float32]]:
        loaded.append(path)
        return load_file(path)

    monkeypatch.setattr(embedding_cache, "load_file", load)
    for row in range(len(KEYS)):
        filled(tmp_path, slice(row, row + 1))
    cache = opened(tmp_path)
    assert not loaded, "opening reads the keys alone"
    expect(cache, list(range(20)))
    expect(cache, list(range(20)))
    assert len(loaded) == 40
    assert len(cache._open) == 2
    cache.get([KEYS[19], KEYS[19]])
    assert len(loaded) == 40


def test_other_encoders_have_other_folders(tmp_path: Path) -> None:
    filled(tmp_path)
    expect(opened(tmp_path, "0" * 64), [])


def test_two_may_write_at_once(tmp_path: Path) -> None:
    one, two = opened(tmp_path), opened(tmp_path)
    one.put(KEYS[:8], VECTORS[:8])
    two.put(KEYS[5:12], VECTORS[5:12])
    one.flush()
    two.flush()
    assert len(shards(tmp_path)) == 2
    expect(opened(tmp_path), list(range(12)))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def scramble(path: Path) -> None:
    path.write_bytes(b"\xff" * 200)


def not_finite(path: Path) -> None:
    tensors = load_file(path)
    tensors["vectors"][3, 1] = np.nan
    save_file(tensors, path)


def fewer_vectors(path: Path) -> None:
    tensors = load_file(path)
    save_file(tensors | {"vectors": tensors["vectors"][:-1].copy()}, path)


def longer_vectors(path: Path) -> None:
    tensors = load_file(path)
    save_file(tensors | {"vectors": np.repeat(tensors["vectors"], 2, 1)}, path)


def double_precision(path: Path) -> None:
    tensors = load_file(path)
    save_file(tensors | {"vectors": tensors["vectors"].astype(np.float64)}, path)


def shorter_keys(path: Path) -> None:
    tensors = load_file(path)
    save_file(tensors | {"keys": tensors["keys"][:, :16].copy()}, path)


def no_vectors(path: Path) -> None:
    save_file({"keys": load_file(path)["keys"]}, path)


@pytest.mark.parametrize(
    "damage",
    [
        cut,
        empty,
        scramble,
        not_finite,
        fewer_vectors,
        longer_vectors,
        double_precision,
        shorter_keys,
        no_vectors,
    ],
)
def test_a_damaged_shard_is_left_out_and_replaced(damage, tmp_path: Path) -> None:
    filled(tmp_path, slice(10))
    damaged = shards(tmp_path)[0]
    filled(tmp_path, slice(10, 20))
    damage(damaged)
    with warnings.catch_warnings(action="always", record=True) as caught:
        cache = opened(tmp_path)
        expect(cache, list(range(10, 20)))
        expect(cache, list(range(10, 20)))
    assert len(caught) == 1
    assert "were damaged and are computed again" in str(caught[0].message)
    cache.put(KEYS[:10], VECTORS[:10])
    cache.flush()
    expect(cache, list(range(20)))
    # The next run neither warns nor computes.
    expect(opened(tmp_path), list(range(20)))


def test_a_shard_that_goes_away_is_left_out(tmp_path: Path) -> None:
    cache = filled(tmp_path)
    shards(tmp_path)[0].unlink()
    with pytest.warns(UserWarning, match="cannot be read and are computed again"):
        expect(cache, [])


def test_half_written_shards_are_not_read(tmp_path: Path) -> None:
    folder = filled(tmp_path).folder
    (folder / "1234.part").write_bytes(b"half")
    cache = opened(tmp_path)
    expect(cache, list(range(20)))
    assert not list(folder.glob("*.part"))
    (folder / "1234.part").write_bytes(b"half")
    cache.put(KEYS[:5], VECTORS[:5])
    cache.flush()
    assert not list(folder.glob("*.part"))


def test_what_another_process_writes_is_left_alone(tmp_path: Path) -> None:
    folder = filled(tmp_path).folder
    (folder / "1234.part").write_bytes(b"half")
    with locked(folder / LOCK):
        expect(opened(tmp_path), list(range(20)))
        assert list(folder.glob("*.part"))


def test_a_folder_that_cannot_be_written_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    cache = opened(tmp_path / "file")
    cache.put(KEYS[:5], VECTORS[:5])
    with pytest.warns(UserWarning, match="cannot be kept in .*computed again next time"):
        cache.flush()
    cache.put(KEYS, VECTORS)
    cache.flush()
    expect(cache, [])


def test_a_worker_can_be_given_the_cache(tmp_path: Path) -> None:
    expect(pickle.loads(pickle.dumps(filled(tmp_path))), list(range(20)))


def test_the_default_folder_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = default_cache_folder()
    assert folder.name == "embeddings"
    assert "latentlabels" in folder.parts
