"""The fused CPU path of block Gibbs: tiles of chains that stay in the cache, and no allocation.

A half sweep of a tile is a sum over the layer opposite and one pass that draws. Where many units
are active the sum is a matrix product, in float32 or bfloat16; where few are, their weights are
added. It draws the same uniform numbers as the torch reference and gives the same states, up to
rounding where a uniform number and a probability tie.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from threading import Barrier
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from latentlabels.model.pairwise import Fields, PairwiseCRF
from latentlabels.model.units import Bernoulli, Categorical, Joint, Units
from latentlabels.sampling.kernels import SCANNED, add_active, count_active, draw_layer
from latentlabels.sampling.uniforms import UNITS_A_GROUP, Uniforms

Floats = NDArray[np.float32]
Words = NDArray[np.uint64]

TILE_BYTES: Final = 5_000_000
"""Of a tile's states and sums: few enough for the cache, enough for products to be quick."""
SAMPLED: Final = 8
"""Chains that tell for a tile whether few units are active."""
LOOK_EVERY: Final = 8
"""Sweeps."""
NOT_PACKED: Final[Words] = np.empty((0, 0), np.uint64)


class _Products(NamedTuple):
    """What a type of products needs.

    Attributes:
        integer: of its size.
        one: the bits of 1.
        shift: by how many bits to the left its bits are those of a float32.
        sparse: share of active units below which adding their weights is quicker than a product.
    """

    integer: Any
    one: Any
    shift: np.int32
    sparse: float


PRODUCTS: Final = {
    torch.float32: _Products(np.int32, np.int32(0x3F800000), np.int32(0), 0.5),
    torch.bfloat16: _Products(np.uint16, np.uint16(0x3F80), np.int32(16), 0.2),
}


@dataclass(frozen=True)
class _Layer:
    """What a layer is for all tiles.

    Attributes:
        number: 0 for the noisy layer, 1 for the latent.
        groups: of (first unit, past the last, 1 for classes or 0 for bits).
        fields: (rows, units).
        weight: from the layer opposite, (units opposite, units), in the type of the products.
        addends: its bits, with padded rows.
    """

    number: int
    groups: NDArray[np.int64]
    fields: Floats
    weight: Tensor
    addends: NDArray[Any]

    @classmethod
    def of(cls, number: int, units: Units, field: Tensor, rows: int, weight: Tensor) -> _Layer:
        """A layer from its units, their fields and weights (units opposite, units)."""
        return cls(
            number,
            _groups(units),
            field.expand(rows, -1).contiguous().numpy(),
            weight.contiguous(),
            _bits(functional.pad(weight, (0, -weight.shape[1] % SCANNED)).contiguous()),
        )


class _Coordinates(NamedTuple):
    """Of some rows' uniform numbers, as `kernels.draw_layer` wants them."""

    seed: np.uint32
    purpose: np.uint32
    done: NDArray[np.int64]
    rows: NDArray[np.int64]

    def of(self, tile: slice) -> _Coordinates:
        """Those of a tile's rows."""
        return self._replace(done=self.done[tile], rows=self.rows[tile])


class _States:
    """A layer's states in a tile of chains, and room for what it takes to draw them.

    Args:
        layer: what the layer is.
        tile: the rows whose chains these are.
        chains: chains a row.
        coordinates: of the tile's uniform numbers.

    Attributes:
        values: the states, (chains of all rows, units), in the type of the products.
        is_sparse: whether few of them are active, so that adding is quicker than a product.
    """

    def __init__(self, layer: _Layer, tile: slice, chains: int, coordinates: _Coordinates) -> None:
        units, width, dtype = layer.weight.shape[1], layer.addends.shape[1], layer.weight.dtype
        states = torch.zeros((tile.stop - tile.start) * chains, width, dtype=dtype)
        self.values = states[:, :units]
        self.is_sparse = True
        self._layer = layer
        self._fields = layer.fields[tile]
        self._coordinates = coordinates
        self._products = PRODUCTS[dtype]
        self._bits = _bits(states)
        self._sums = torch.empty(len(states), units, dtype=dtype)
        self._sum_bits = _bits(self._sums)
        self._total = np.empty(width, np.float32)
        self._mean = np.empty((1, units), np.float32)
        numbers = -(-units // UNITS_A_GROUP) * UNITS_A_GROUP
        self._upper, self._lower = np.empty(numbers, np.uint16), np.empty(numbers, np.uint16)
        self._found = np.empty(units, np.int64)

    def look(self) -> None:
        """Find out whether few units are active, from some of the chains."""
        some = self._bits[:SAMPLED]
        units = len(some) * self.values.shape[1]
        self.is_sparse = bool(count_active(some, self._found) < self._products.sparse * units)

    def gather(self, opposite: _States) -> None:
        """Sum the weights of the active units opposite."""
        if not opposite.is_sparse:
            torch.mm(opposite.values, self._layer.weight, out=self._sums)
            return
        add_active(
            opposite._bits,
            self._layer.addends,
            self._sum_bits,
            self._products.shift,
            self._total,
            opposite._found,
        )

    def draw(
        self,
        step: int,
        means: Floats | None = None,
        average: Floats | None = None,
        share: float = 0.0,
        packed: Words = NOT_PACKED,
    ) -> None:
        """Draw the states from the sums; arguments as for `kernels.draw_layer`."""
        draw_layer(
            self._layer.number,
            self._layer.groups,
            self._sum_bits,
            self._products.shift,
            self._fields,
            self._products.one,
            self._bits,
            self._mean if means is None else means,
            means is not None or average is not None,
            self._mean if average is None else average,
            np.float32(0.0 if average is None else share),
            packed,
            *self._coordinates,
            step,
            self._upper,
            self._lower,
        )


def run_fused(
    crf: PairwiseCRF,
    weight: Tensor,
    fields: Fields,
    latent: Tensor,
    uniforms: Uniforms,
    done: Tensor,
    *,
    sweeps: int,
    burn_in: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """What `gibbs.run_gibbs` does, on the CPU, with rows split over torch's threads.

    Args:
        crf: the model, whose units are drawn.
        weight: its V on a grid (`rounding`), in the type of the products: float32 or bfloat16.
        fields: as for `gibbs.run_gibbs`, as are the rest.
        latent: the chains' latent states.
        uniforms: their random numbers.
        done: sweeps done before.
        sweeps: sweeps to run.
        burn_in: how many of them the average leaves out.

    Returns:
        latent, noisy, latent_mean, average and packed, as in `gibbs.GibbsRun`.
    """
    rows, chains, latents = latent.shape
    noisy_layer = _Layer.of(0, crf.noisy, fields.noisy, rows, weight)
    latent_layer = _Layer.of(1, crf.latent, fields.latent, rows, weight.T)
    coordinates = _Coordinates(
        np.uint32(uniforms.seed),
        np.uint32(uniforms.purpose),
        done.numpy(),
        uniforms.rows.numpy(),
    )
    last_latent = torch.empty(rows, chains, latents)
    last_noisy = torch.empty(rows, chains, crf.noisy.size)
    last_mean = torch.empty(rows, chains, latents)
    average = torch.zeros(rows, latents)
    words = np.empty((rows * chains, -(-latents // SCANNED)), np.uint64)
    share = 1.0 / (max(1, sweeps - burn_in) * chains)

    inference = torch.is_inference_mode_enabled()

    @torch.inference_mode(inference)
    def run(part: slice) -> None:
        for tile in _tiles(part, noisy_layer, latent_layer, chains):
            own = coordinates.of(tile)
            noisy = _States(noisy_layer, tile, chains, own)
            hidden = _States(latent_layer, tile, chains, own)
            hidden.values.copy_(latent[tile].reshape(-1, latents))
            means = last_mean[tile].reshape(-1, latents).numpy()
            averages = average[tile].numpy()
            packed = words[tile.start * chains : tile.stop * chains]
            for step in range(sweeps):
                if step % LOOK_EVERY == 0:
                    hidden.look()
                noisy.gather(hidden)
                noisy.draw(step)
                if step % LOOK_EVERY == 0:
                    noisy.look()
                hidden.gather(noisy)
                hidden.draw(
                    step,
                    means if step == sweeps - 1 else None,
                    averages if step >= burn_in else None,
                    share,
                    packed if step == sweeps - 1 else NOT_PACKED,
                )
            last_latent[tile] = hidden.values.reshape(-1, chains, latents)
            last_noisy[tile] = noisy.values.reshape(-1, chains, crf.noisy.size)

    _in_threads(run, rows)
    packed = torch.from_numpy(words.view(np.uint8)).reshape(rows, chains, words.shape[1] * 8)
    return last_latent, last_noisy, last_mean, average, packed[..., : -(-latents // 8)]


def _in_threads(run: Callable[[slice], None], rows: int) -> None:
    """Run equal parts of the rows on as many threads as torch has, one thread a product."""
    threads = max(1, min(torch.get_num_threads(), rows))
    parts = _split(slice(0, rows), threads)
    if threads == 1:
        run(parts[0])
    else:
        list(_pool(os.getpid(), threads).map(run, parts))


@cache
def _pool(_process: int, threads: int) -> ThreadPoolExecutor:
    """Threads that stay, since new ones would contend with those of torch that wait for work.

    A process that was forked has none of its parent's threads.
    """
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
    together = Barrier(threads)
    list(pool.map(lambda _: together.wait(), range(threads)))
    # A thread's number goes for threads that begin later, too.
    torch.set_num_threads(before)
    return pool


def _tiles(part: slice, noisy: _Layer, latent: _Layer, chains: int) -> Iterator[slice]:
    """Parts of a part whose chains' states and sums fill a tile, of one row at least."""
    width = sum(layer.weight.shape[1] for layer in (noisy, latent))
    chain_bytes = 2 * width * noisy.weight.element_size()
    most = max(1, TILE_BYTES // (chain_bytes * chains))
    yield from _split(part, -(-(part.stop - part.start) // most))


def _split(rows: slice, parts: int) -> list[slice]:
    """Parts of rows, as equal as can be."""
    bounds = np.linspace(rows.start, rows.stop, parts + 1).astype(int).tolist()
    return [slice(*ends) for ends in pairwise(bounds)]


def _bits(tensor: Tensor) -> NDArray[Any]:
    """The memory of a tensor of products as integers of its size."""
    integer = PRODUCTS[tensor.dtype].integer
    same_size = torch.int16 if tensor.element_size() == 2 else torch.int32
    view: NDArray[Any] = tensor.view(same_size).numpy().view(integer)
    return view


def _groups(units: Units) -> NDArray[np.int64]:
    """A layer as rows of (first unit, past the last unit, 1 for one of several or 0 for bits)."""
    groups: list[tuple[int, int, int]] = []

    def add(part: Units, start: int) -> int:
        if isinstance(part, Joint):
            for inner in part.parts:
                start = add(inner, start)
            return start
        if not isinstance(part, Bernoulli | Categorical):
            raise TypeError(
                f"The fused sampler knows Bernoulli, Categorical and Joint, not {part!r}."
            )
        stop, exclusive = start + part.size, int(isinstance(part, Categorical))
        if groups and not exclusive and not groups[-1][2]:
            start = groups.pop()[0]  # Bits next to bits are one group.
        groups.append((start, stop, exclusive))
        return stop

    add(units, 0)
    return np.array(groups, dtype=np.int64).reshape(-1, 3)
