"""Embed a table's examples with a frozen encoder, or find those that cannot be used.

Rows are read one by one, decoded by the loader's workers and forgotten, so neither the table nor
its images have to fit in memory; the vectors do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from latentlabels.errors import BackboneError, InputError
from latentlabels.network.embedding_cache import EmbeddingCache
from latentlabels.network.encoders import Encoder, evaluating


@dataclass
class Embedded:
    """What became of every row.

    Args:
        vectors: (rows, features), zero where an example is bad.
        bad: the reason for every row that cannot be used.
    """

    vectors: NDArray[np.float32]
    bad: dict[int, str] = field(default_factory=dict)


class Example(NamedTuple):
    """One row, as a worker hands it over: with a tensor if there is something to compute."""

    row: int
    key: bytes = b""
    tensor: Tensor | None = None
    reason: str | None = None


def embed(
    encoder: Encoder,
    cells: Sequence[Any],
    *,
    cache: EmbeddingCache | None,
    workers: int = 0,
    batch_size: int = 64,
    progress: bool = False,
) -> Embedded:
    """The features of every row, those in the cache from there.

    What is computed goes to the cache every few hundred rows and at the end, also an early one, so
    that an interrupted run goes on where it stopped. Equal contents are computed once.

    Args:
        encoder: the network, used as it is in evaluation.
        cells: the examples, read one row at a time.
        cache: of this encoder's fingerprint, or None.
        workers: processes that read and decode; 0 does it in this one.
        batch_size: rows at a time.
        progress: whether to show a bar on the standard error stream.

    Raises:
        BackboneError: the encoder's features of an example are not finite.
    """
    embedded = Embedded(np.zeros((len(cells), encoder.features), dtype=np.float32))
    first: dict[bytes, int] = {}
    examples = _Examples(encoder, cells, () if cache is None else cache)
    try:
        with evaluating(encoder), _advance("Embedding", len(cells), progress) as advance:
            for batch in _batches(examples, workers, batch_size):
                _embed_batch(encoder, cells, batch, cache, first, embedded)
                advance(len(batch))
    finally:
        if cache is not None:
            cache.flush()
    return embedded


def check(
    encoder: Encoder, cells: Sequence[Any], *, workers: int = 0, progress: bool = False
) -> dict[int, str]:
    """The reason for every row that cannot be used, found by decoding them all.

    Args:
        encoder: whose `content` and `prepare` decide.
        cells: the examples, read one row at a time.
        workers: processes that read and decode; 0 does it in this one.
        progress: whether to show a bar on the standard error stream.
    """
    bad: dict[int, str] = {}
    examples = _Examples(encoder, cells, (), keep=False)
    with _advance("Checking", len(cells), progress) as advance:
        for batch in _batches(examples, workers, 64):
            bad.update((row, reason) for row, _, _, reason in batch if reason is not None)
            advance(len(batch))
    return bad


class _Examples(Dataset[Example]):
    """Rows read, and decoded where that is needed.

    Args:
        encoder: what reads and decodes.
        cells: the examples.
        known: keys that need no decoding.
        keep: whether the decoded tensors are wanted.
    """

    def __init__(
        self, encoder: Encoder, cells: Sequence[Any], known: Container[bytes], keep: bool = True
    ) -> None:
        self.encoder = encoder
        self.cells = cells
        self.known = known
        self.keep = keep
        # What this process has decoded, with the reason if that failed. A worker's batches come
        # back in order, so who gets an example without a tensor has had the one with it.
        self.seen: dict[bytes, str | None] = {}

    def __len__(self) -> int:
        return len(self.cells)

    def __getitem__(self, row: int) -> Example:
        try:
            content = self.encoder.content(self.cells[row])
        except InputError as error:
            return Example(row, reason=str(error))
        key = hashlib.sha256(content).digest()
        if key in self.known or key in self.seen:
            return Example(row, key, reason=self.seen.get(key))
        try:
            tensor = self.encoder.prepare(content)
        except InputError as error:
            self.seen[key] = str(error)
            return Example(row, key, reason=str(error))
        self.seen[key] = None
        return Example(row, key, tensor if self.keep else None)


def _batches(examples: _Examples, workers: int, batch_size: int) -> Iterator[list[Example]]:
    """All rows in order; torch's own generator is left alone."""
    loader = DataLoader(
        examples,
        batch_size=batch_size,
        num_workers=workers,
        collate_fn=_stacked,
        generator=torch.Generator(),
    )
    for batch, tensors in loader:
        rest = iter(tensors)
        yield [
            example._replace(tensor=next(rest)) if decoded else example
            for example, decoded in batch
        ]


def _stacked(batch: list[Example]) -> tuple[list[tuple[Example, bool]], Tensor]:
    """A batch's examples, each with whether it has a tensor, and all tensors as one.

    A worker hands every tensor over by an open file, of which there may be only so many.
    """
    tensors = [example.tensor for example in batch if example.tensor is not None]
    bare = [(example._replace(tensor=None), example.tensor is not None) for example in batch]
    return bare, torch.stack(tensors) if tensors else torch.empty(0)


def _embed_batch(
    encoder: Encoder,
    cells: Sequence[Any],
    batch: list[Example],
    cache: EmbeddingCache | None,
    first: dict[bytes, int],
    embedded: Embedded,
) -> None:
    """Fill in a batch's rows.

    Args:
        encoder: the network.
        cells: the examples, for those whose kept vector turns out to be damaged.
        batch: rows in order.
        cache: where vectors may be, and are kept.
        first: for every key so far a row that has its vector.
        embedded: what is filled in.
    """
    embedded.bad.update((row, reason) for row, _, _, reason in batch if reason is not None)
    good = [example for example in batch if example.reason is None]
    asked = [example for example in good if example.key not in first]
    if cache is not None and asked:
        found, kept = cache.get([example.key for example in asked])
        for example, there, vector in zip(asked, found, kept, strict=True):
            if there:
                embedded.vectors[example.row] = vector
                first.setdefault(example.key, example.row)
    missing: dict[bytes, tuple[int, Tensor]] = {}
    for row, key, tensor, _ in asked:
        if key not in first and key not in missing:
            if tensor is None:
                try:
                    tensor = encoder.prepare(encoder.content(cells[row]))
                except InputError as error:  # a file that changed under our hands
                    embedded.bad[row] = str(error)
                    continue
            missing[key] = row, tensor
    if missing:
        rows = [row for row, _ in missing.values()]
        vectors = _encode(encoder, torch.stack([tensor for _, tensor in missing.values()]), rows)
        embedded.vectors[rows] = vectors
        first.update(zip(missing, rows, strict=True))
        if cache is not None:
            cache.put(list(missing), vectors)
    for example in good:
        if example.row not in embedded.bad:
            embedded.vectors[example.row] = embedded.vectors[first[example.key]]


def _encode(encoder: Encoder, batch: Tensor, rows: Sequence[int]) -> NDArray[np.float32]:
    """Features (batch, features) of prepared examples."""
    with torch.no_grad():
        vectors: NDArray[np.float32] = encoder(batch.to(encoder.device)).cpu().numpy()
    finite = np.isfinite(vectors).all(1)
    if not finite.all():
        raise BackboneError(
            f"The encoder {encoder.spec.name!r} made of row {rows[int(finite.argmin())]} features "
            "that are not finite (rows count from 0). Check its weights."
        )
    return vectors


class _Rate(ProgressColumn):
    """Rows a second."""

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:,.0f} rows/s")


@contextmanager
def _advance(what: str, rows: int, shown: bool) -> Iterator[Any]:
    """A bar on the standard error stream, and the function that moves it on."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not shown,
    )
    with bar:
        task = bar.add_task(what, total=rows)
        yield lambda done: bar.advance(task, done)
