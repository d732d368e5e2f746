"""What a caller passes as examples: vectors, images or texts, the usable and the bad ones."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import nn

from latentlabels import processes
from latentlabels.architecture import Architecture
from latentlabels.data.arrow_cells import ArrowCells, row_of
from latentlabels.errors import BackboneError, InputError
from latentlabels.network.embedding import Embedded, check, embed
from latentlabels.network.embedding_cache import EmbeddingCache, default_cache_folder
from latentlabels.network.encoders import CUSTOM, Encoder, EncoderSpec, build_encoder
from latentlabels.network.examples import EncoderInputs, Examples, Vectors

DEFAULTS: Final = {
    "image": "tf_efficientnet_lite0.in1k",
    "text": "sentence-transformers/all-MiniLM-L6-v2",
}


@dataclass(frozen=True)
class Usable:
    """The usable examples among those that were passed.

    Attributes:
        examples: in their order.
        rows: which rows they are, (usable,).
        total: how many were passed.
        bad: why each of the others cannot be used, by row.
        fingerprint: of the encoder whose features the examples are, if they are some.
        first: where these begin among more that are gone through a part at a time; the random
            numbers of predictions are keyed by the place.
    """

    examples: Examples
    rows: NDArray[np.intp]
    total: int
    bad: dict[int, str]
    fingerprint: str | None = None
    first: int = 0

    def part(self, chosen: NDArray[np.bool_]) -> Usable:
        """The usable ones of some rows, chosen by a mask (total,)."""
        number = np.cumsum(chosen) - 1
        kept = chosen[self.rows]
        return replace(
            self,
            examples=self.examples.take(np.flatnonzero(kept)),
            rows=number[self.rows[kept]],
            total=int(chosen.sum()),
            bad={int(number[row]): why for row, why in self.bad.items() if chosen[row]},
        )

    def between(self, start: int, stop: int) -> Usable:
        """The usable ones of some rows that follow one another."""
        low, high = (int(place) for place in np.searchsorted(self.rows, [start, stop]))
        return replace(
            self,
            examples=self.examples.take(np.arange(low, high)),
            rows=self.rows[low:high] - start,
            total=stop - start,
            bad={row - start: why for row, why in self.bad.items() if start <= row < stop},
            first=self.first + low,
        )

    def scattered(self, values: NDArray[Any], fill: Any) -> NDArray[Any]:
        """Values of the usable rows (usable, ...) among all rows, the others filled."""
        if not self.bad:
            return values
        everywhere = np.full((self.total, *values.shape[1:]), fill, dtype=values.dtype)
        everywhere[self.rows] = values
        return everywhere


def usable_vectors(values: NDArray[np.float32]) -> Usable:
    """Vectors, all of which were checked."""
    return Usable(Vectors(values), np.arange(len(values)), len(values), {})


@dataclass(frozen=True)
class EncodedInputs:
    """How images or texts are read.

    Attributes:
        encoder: turns them into features.
        tuned: whether the encoder is trained; else its features are computed here, once.
        cache: folder of computed features; None for the user's own.
        workers: processes that read and prepare examples.
        skip: whether bad examples are left out, and not refused.
        seed: of augmentation.
        progress: whether to show progress bars.
    """

    encoder: Encoder
    tuned: bool
    cache: Path | None
    workers: int
    skip: bool
    seed: int
    progress: bool

    def read(self, X: Any, *, shared: bool = False) -> Usable:
        """The usable ones of some examples.

        Args:
            X: the examples.
            shared: whether all processes read them now, and each computes a share of the features.

        Raises:
            InputError: examples of another form, or a bad one where they are refused, or none that
                is not.
        """
        cells = as_cells(X, self.encoder.spec.kind)
        fingerprint = None if self.tuned else self.encoder.fingerprint()
        if fingerprint is None:
            bad = check(self.encoder, cells, workers=self.workers, progress=self.progress)
        else:
            embedded = (self._shared if shared else self._embedded)(cells, fingerprint)
            bad = embedded.bad
        self._require_usable(bad, cells)
        rows = np.array([row for row in range(len(cells)) if row not in bad], dtype=np.intp)
        if self.tuned:
            examples: Examples = EncoderInputs(self.encoder, cells, rows, self.seed)
        else:
            examples = Vectors(embedded.vectors[rows])
        return Usable(examples, rows, len(cells), bad, fingerprint)

    def _embedded(self, cells: Sequence[Any], fingerprint: str) -> Embedded:
        cache = EmbeddingCache(
            self.cache or default_cache_folder(), fingerprint, self.encoder.features
        )
        return embed(self.encoder, cells, cache=cache, workers=self.workers, progress=self.progress)

    def _shared(self, cells: Sequence[Any], fingerprint: str) -> Embedded:
        """The features of all examples, of which each process has computed a share.

        They are told, and not read from a folder: machines' features may differ in a last bit.
        """
        count, rank = processes.size(), processes.rank()
        with processes.together():
            own = self._embedded(cells[rank::count], fingerprint)
        shares = processes.gathered(torch.from_numpy(own.vectors))
        reasons = processes.everyones(list(own.bad.items()))
        whole = Embedded(np.empty((len(cells), self.encoder.features), dtype=np.float32))
        for first, (vectors, bad) in enumerate(zip(shares, reasons, strict=True)):
            whole.vectors[first::count] = vectors.numpy()
            whole.bad.update({first + count * row: why for row, why in bad})
        return whole

    def take_over(self, given: Usable) -> Usable:
        """Examples that were read before, to be prepared as this encoder wants them.

        Raises:
            InputError: none of them can be used, or they were read for another backbone.
        """
        if not len(given.rows):
            row = min(given.bad)
            raise InputError(
                f"None of {given.total} {self.encoder.spec.kind}s can be used, the first in row "
                f"{row}: {given.bad[row]}. Leave them all out, or mend some."
            )
        examples = given.examples
        if self.tuned and isinstance(examples, EncoderInputs):
            return replace(given, examples=replace(examples, encoder=self.encoder, seed=self.seed))
        if self.tuned or given.fingerprint != self.encoder.fingerprint():
            raise InputError("X was read for another backbone. Read it anew.")
        return given

    def _require_usable(self, bad: dict[int, str], cells: Sequence[Any]) -> None:
        if not bad or (self.skip and len(bad) < len(cells)):
            return
        row = row_of(cells, min(bad))
        kind = self.encoder.spec.kind
        remedy = (
            f"None is left. Check that these are {kind}s, and where their paths start."
            if self.skip and kind == "image"
            else f"None is left. Check that these are {kind}s."
            if self.skip
            else 'Mend them, or leave them out with on_bad_input="skip" (--on-bad-input skip).'
        )
        raise InputError(
            f"{len(bad)} of {len(cells)} {kind}s cannot be used, the first in row {row} (rows "
            f"count from 0): {bad[min(bad)]}. {remedy}"
        )


def as_cells(X: Any, kind: str) -> Sequence[Any]:
    """Examples as a sequence that is read cell by cell.

    Raises:
        InputError: something that is no sequence of examples.
    """
    if isinstance(X, pa.Array | pa.ChunkedArray):
        X = ArrowCells.of(X)
    elif hasattr(X, "to_numpy"):  # a column of pandas
        X = X.to_numpy()
    if isinstance(X, np.ndarray):
        X = _one_cell_a_row(X, kind)
    sequence = hasattr(X, "__len__") and hasattr(X, "__getitem__")
    if not sequence or isinstance(X, str | bytes | Mapping | pa.Table | pa.RecordBatch):
        raise InputError(f"X is a sequence of {kind}s, one for each row, got {type(X).__name__}.")
    if len(X) == 0:
        raise InputError(f"There are no examples. X needs at least one {kind}.")
    cells: Sequence[Any] = X
    return cells


def _one_cell_a_row(values: NDArray[Any], kind: str) -> NDArray[Any]:
    """An array's only column, where it has columns and its rows are no pixels."""
    pixels = kind == "image" and values.ndim > 1 and values.dtype.kind not in "OUST"
    if values.ndim == 2 and values.shape[1] == 1 and not pixels:
        return values[:, 0]
    if values.ndim != 1 and not pixels:
        raise InputError(f"X is one {kind} for each row, got an array of shape {values.shape}.")
    return values


def new_encoder(
    kind: str,
    backbone: str | Path | nn.Module | None,
    *,
    weights: str | Path | None,
    pretrained: bool,
    size: int | None,
    augment: bool,
) -> Encoder | None:
    """What turns images or texts into features, as it is before training; None for vectors.

    Raises:
        BackboneError: it cannot be had.
    """
    if kind == "vector":
        return None
    module, name = None, DEFAULTS[kind]
    if isinstance(backbone, nn.Module):
        # An empty nn.Sequential is false.
        module, name = copy.deepcopy(backbone), CUSTOM
    elif backbone is not None:
        name = str(backbone)
    spec = EncoderSpec(
        kind="image" if kind == "image" else "text",
        name=name,
        weights=None if weights is None else str(weights),
        pretrained=pretrained,
        size=size,
        augment=augment and kind == "image",
    )
    return _built(spec, module)


def same_encoder(architecture: Architecture, backbone: nn.Module | None) -> Encoder:
    """The encoder that a model was fitted on.

    Args:
        architecture: the model's.
        backbone: the module it was fitted with, where that was the caller's own.

    Raises:
        BackboneError: it cannot be had, or has other weights now.
    """
    assert architecture.encoder is not None
    encoder = _built(architecture.encoder, copy.deepcopy(backbone))
    if encoder.fingerprint() != architecture.fingerprint:
        raise BackboneError(
            f"The model was fitted on features of {architecture.encoder.name}, whose weights or "
            "transform are others now. Give back the weights of then, or fit the model anew."
        )
    if encoder.features != architecture.inputs:
        raise BackboneError(
            f"{architecture.encoder.name} gives {encoder.features} features, and the model takes "
            f"{architecture.inputs}. Copy or fit the model anew."
        )
    return encoder


def _built(spec: EncoderSpec, module: nn.Module | None) -> Encoder:
    """An encoder whose layers without trained weights start from the same numbers each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_encoder(spec, module)
