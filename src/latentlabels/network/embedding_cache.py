"""Embeddings kept on disk, by what they are of and what made them.

One folder for each encoder's fingerprint, in it shards of some hundred rows: `keys`, uint8
(rows, 32), the SHA-256 of each content, and `vectors`, float32 (rows, features). A shard is written
beside its place and then renamed. Several processes may use a cache at the same time: they write
one after the other, so what is half written while nobody writes is of one that was killed.
"""

from __future__ import annotations

import uuid
import warnings
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from latentlabels.durable import put_in_place
from latentlabels.locking import locked

LOCK: Final = ".lock"
LONGEST_WAIT: Final = 60.0
KEY_BYTES: Final = 32
PARTS: Final = "*.part"
SHARD_ROWS: Final = 256
OPEN_SHARDS: Final = 32


class EmbeddingCache:
    """Vectors by key; in memory are only the keys, some shards and what is not yet written.

    Args:
        folder: where caches are kept.
        fingerprint: of the encoder, which names the folder inside.
        features: length of a vector.
    """

    def __init__(self, folder: Path, fingerprint: str, features: int) -> None:
        self.folder = Path(folder) / fingerprint
        self.features = features
        self._shards: list[Path] = []
        self._places: dict[bytes, tuple[int, int]] = {}
        self._open: OrderedDict[int, NDArray[np.float32] | None] = OrderedDict()
        self._pending: dict[bytes, NDArray[np.float32]] = {}
        self._writable = True
        if any(self.folder.glob(PARTS)):
            # Where another process writes, it clears up; where we cannot, nobody is harmed.
            with suppress(OSError), locked(self.folder / LOCK):
                self._clear_up()
        for path in sorted(self.folder.glob("*.safetensors")):
            self._add(path)

    def __len__(self) -> int:
        return len(self._places.keys() | self._pending.keys())

    def __contains__(self, key: object) -> bool:
        """Whether there should be a vector; `get` finds out whether it can be used."""
        return key in self._places or key in self._pending

    def get(self, keys: Sequence[bytes]) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """Which keys there are, (keys,), and their vectors, (keys, features), zero for the others.

        A shard that turns out to be damaged counts as not there, and is deleted.
        """
        found = np.zeros(len(keys), dtype=np.bool_)
        vectors = np.zeros((len(keys), self.features), dtype=np.float32)
        wanted: dict[int, list[tuple[int, int]]] = {}
        for index, key in enumerate(keys):
            if key in self._pending:
                found[index], vectors[index] = True, self._pending[key]
            elif key in self._places:
                shard, row = self._places[key]
                wanted.setdefault(shard, []).append((index, row))
        for shard, pairs in wanted.items():
            values = self._load(shard)
            if values is not None:
                indices, rows = map(list, zip(*pairs, strict=True))
                found[indices], vectors[indices] = True, values[rows]
        return found, vectors

    def put(self, keys: Sequence[bytes], vectors: NDArray[np.float32]) -> None:
        """Keep vectors (keys, features); every `SHARD_ROWS` of them are written.

        A cache that cannot be written says so once, and goes on without.
        """
        assert vectors.shape == (len(keys), self.features), vectors.shape
        for key, vector in zip(keys, vectors, strict=True):
            assert len(key) == KEY_BYTES
            self._pending[key] = np.array(vector, dtype=np.float32)
        if len(self._pending) >= SHARD_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what is not yet written, as one shard."""
        if not self._pending or not self._writable:
            self._pending.clear()
            return
        keys = np.frombuffer(b"".join(self._pending), dtype=np.uint8).reshape(-1, KEY_BYTES)
        vectors = np.stack(list(self._pending.values()))
        name = uuid.uuid4().hex
        path = self.folder / f"{name}.safetensors"
        beside = self.folder / f"{name}.part"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with locked(self.folder / LOCK, LONGEST_WAIT):
                self._clear_up()
                try:
                    save_file({"keys": keys, "vectors": vectors}, beside)
                    put_in_place(beside, path)
                finally:
                    beside.unlink(missing_ok=True)
        except (OSError, SafetensorError) as error:
            self._writable = False
            warnings.warn(
                f"Embeddings cannot be kept in {self.folder}: {error}. They are computed again "
                "next time.",
                stacklevel=2,
            )
        else:
            self._index(path, self._pending)
        self._pending.clear()

    def _clear_up(self) -> None:
        """Remove what a killed process left half written; only while no other may write."""
        for left in self.folder.glob(PARTS):
            left.unlink(missing_ok=True)

    def _add(self, path: Path) -> None:
        """Read a shard's keys, if it is whole."""
        try:
            with safe_open(path, framework="numpy") as shard:
                keys = shard.get_tensor("keys")
                values = shard.get_slice("vectors")
                shape, kind = values.get_shape(), values.get_dtype()
        except OSError as error:
            self._ignore(path, error)
            return
        except SafetensorError as error:
            self._remove(path, str(error))
            return
        if keys.dtype != np.uint8 or keys.ndim != 2 or keys.shape[1] != KEY_BYTES:
            self._remove(path, f"its keys are {keys.dtype} {keys.shape}")
        elif kind != "F32" or list(shape) != [len(keys), self.features]:
            self._remove(path, f"its vectors are {kind} {tuple(shape)}")
        else:
            self._index(path, [key.tobytes() for key in keys])

    def _index(self, path: Path, keys: Sequence[bytes] | dict[bytes, NDArray[np.float32]]) -> None:
        number = len(self._shards)
        self._shards.append(path)
        self._places.update({key: (number, row) for row, key in enumerate(keys)})

    def _load(self, number: int) -> NDArray[np.float32] | None:
        """A shard's vectors, from the disk or the last few used; None if it is damaged."""
        if number in self._open:
            self._open.move_to_end(number)
            return self._open[number]
        path = self._shards[number]
        values: NDArray[np.float32] | None = None
        try:
            values = load_file(path)["vectors"]
        except OSError as error:
            self._ignore(path, error)
        except (SafetensorError, KeyError) as error:
            self._remove(path, str(error))
        if values is not None and not np.isfinite(values).all():
            self._remove(path, "it holds values that are not finite")
            values = None
        self._open[number] = values
        if len(self._open) > OPEN_SHARDS:
            self._open.popitem(last=False)
        return values

    def _ignore(self, path: Path, error: OSError) -> None:
        warnings.warn(
            f"The kept embeddings in {path} cannot be read and are computed again: {error}.",
            stacklevel=4,
        )

    def _remove(self, path: Path, why: str) -> None:
        """Put a damaged shard out of the way of what will be computed in its place."""
        with suppress(OSError):
            path.unlink()
        warnings.warn(
            f"The kept embeddings in {path} were damaged and are computed again: {why}.",
            stacklevel=4,
        )


def default_cache_folder() -> Path:
    """Where embeddings are kept unless told otherwise, in the user's cache folder."""
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("latentlabels")) / "embeddings"
