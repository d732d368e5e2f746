"""Training rows, and batches that mix noisy and verified ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from latentlabels.errors import LatentLabelsError
from latentlabels.network.examples import Examples

FEWEST_BATCHES = 10
SHARDS = 32
"""Rows of a kind lie in at most so many virtual shards, of which a process owns whole ones."""


class Draw(NamedTuple):
    """The rows of a batch, and which time round.

    Attributes:
        rows: row numbers, (batch,).
        visit: how often the data has been gone through before, which a row's augmentation hangs on;
            None where rows are to be read as they are.
        weights: of each row's loss in the sum that is the batch's, (batch,); None for one each.
    """

    rows: NDArray[np.int64]
    visit: int | None = None
    weights: NDArray[np.float32] | None = None


class Batch(NamedTuple):
    """What a training step sees.

    Attributes:
        rows: row numbers, (batch,).
        x: the examples, (batch, ...).
        noisy: given labels, (batch, noisy).
        clean: clean labels, (batch, clean); zero where not verified.
        verified: booleans, (batch,).
        weights: of each row's loss in the sum that is the batch's, (batch,).
    """

    rows: Tensor
    x: Tensor
    noisy: Tensor
    clean: Tensor
    verified: Tensor
    weights: Tensor


@dataclass(frozen=True)
class Rows(Dataset[Batch]):
    """Examples with their labels, read a batch at a time.

    Attributes:
        x: the examples.
        noisy: given labels, sparse (rows, noisy).
        clean: clean labels, sparse (rows, clean); an unverified row is never read.
        verified: which rows' clean labels may be read, (rows,).
    """

    x: Examples
    noisy: csr_array
    clean: csr_array
    verified: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, draw: Draw) -> Batch:
        rows = draw.rows
        verified = self.verified[rows]
        clean = np.zeros((len(rows), self.clean.shape[1]), dtype=np.float32)
        clean[verified] = self.clean[rows[verified]].toarray()
        weights = np.ones(len(rows), np.float32) if draw.weights is None else draw.weights
        return Batch(
            torch.from_numpy(rows),
            self.x.batch(rows, draw.visit),
            torch.from_numpy(self.noisy[rows].astype(np.float32).toarray()),
            torch.from_numpy(clean),
            torch.from_numpy(verified),
            torch.from_numpy(weights),
        )

    def noisy_mean(self) -> Tensor:
        """Frequency of every noisy unit, half a count for and against added, float32 (noisy,)."""
        total = np.asarray(self.noisy.sum(0), dtype=np.float32)
        return torch.from_numpy((total + 0.5) / (len(self) + 1.0))


class MixedBatches(Sampler[Draw]):
    """Batches that hold noisy and verified rows in a fixed proportion.

    The objective is the mean over noisy rows plus the mean over verified rows, so with both kinds
    in every batch the loss of a batch is an unbiased estimate of it. An epoch passes once over the
    noisy rows; the few verified rows come round again.

    Batches do not depend on how many processes there are: each takes from every batch the rows that
    it owns, of which there are nearly as many for each, and weighs them so that the mean over
    processes is the loss of the whole batch. Rows lie in shards, no more than a batch has room
    for, and every batch has a row of each: so each process has some of every batch.

    Args:
        verified: which rows are verified, (rows,).
        batch_size: rows a batch, over all processes; fewer where the data would not fill ten
            batches an epoch.
        verified_share: least share of a batch that is verified rows; more where they are more of
            the data.
        seed: of the order.
        processes: how many there are.
        rank: which of them this is.
        least: rows that each process needs of every batch.

    Raises:
        LatentLabelsError: more processes than can share a batch.
    """

    def __init__(
        self,
        verified: NDArray[np.bool_],
        batch_size: int,
        verified_share: float,
        seed: int,
        *,
        processes: int = 1,
        rank: int = 0,
        least: int = 1,
    ) -> None:
        batch_size = max(2, min(batch_size, len(verified) // FEWEST_BATCHES))
        self.noisy_rows = np.flatnonzero(~verified)
        self.verified_rows = np.flatnonzero(verified)
        share = max(verified_share, verified.mean()) if verified.any() else 0.0
        wanted = max(1, round(share * batch_size)) if share else 0
        self.verified_count = min(wanted, len(self.verified_rows))
        if len(self.noisy_rows) == 0:
            self.verified_count = batch_size
        elif self.verified_count:
            self.verified_count = min(self.verified_count, batch_size - 1)
        self.noisy_count = batch_size - self.verified_count
        self.generator = np.random.default_rng(seed)
        self.visits = 0
        self._processes = processes
        self._noisy_shards, self._verified_shards = self._shards()
        shards = self._noisy_shards + self._verified_shards
        if processes > 1 and processes * least > shards:
            raise LatentLabelsError(
                f"{len(verified)} rows make batches of {batch_size}, which at most "
                f"{shards // least} processes can share, and there are {processes}. Take fewer "
                "processes, more rows or a larger batch_size."
            )
        owner = np.empty(len(verified), dtype=np.int64)
        owner[self.noisy_rows] = np.arange(len(self.noisy_rows)) % max(self._noisy_shards, 1)
        owner[self.verified_rows] = self._noisy_shards + (
            np.arange(len(self.verified_rows)) % max(self._verified_shards, 1)
        )
        self.owned: NDArray[np.bool_] = owner % processes == rank
        """Which rows this process owns, (rows,)."""

    def __len__(self) -> int:
        if len(self.noisy_rows):
            return -(-len(self.noisy_rows) // self.noisy_count)
        return -(-len(self.verified_rows) // self.verified_count)

    def __iter__(self) -> Iterator[Draw]:
        # Counted before the first batch: who knows the length does not ask for one after the last.
        visit, self.visits = self.visits, self.visits + 1
        noisy = self._shuffled(self.noisy_rows, self._noisy_shards)
        verified = self._verified_stream(len(self) * self.verified_count)
        # Parts of equal size: a short last batch would weigh its rows more.
        for parts in zip(
            np.array_split(noisy, len(self)), np.array_split(verified, len(self)), strict=True
        ):
            rows = np.concatenate(parts)
            weights = np.concatenate(
                [np.full(len(part), self._processes / max(len(part), 1)) for part in parts]
            )
            owned = self.owned[rows]
            yield Draw(rows[owned], visit, weights[owned].astype(np.float32))

    def skip(self, visits: int) -> None:
        """Draw the order of so many epochs without going through them."""
        for _ in range(visits):
            next(iter(self), None)

    def _shards(self) -> tuple[int, int]:
        """Shards of the noisy and of the verified rows: as many as a batch has a row of each of.

        Any rows that follow one another in an order, as many as there are shards, are of all of
        them. Where verified rows come round again, a batch has at least half of its own in one
        round.
        """
        if len(self.noisy_rows) == 0:
            return 0, min(SHARDS, len(self.verified_rows) // len(self))
        noisy = min(SHARDS, len(self.noisy_rows) // len(self))
        return noisy, min(SHARDS, -(-self.verified_count // 2))

    def _verified_stream(self, count: int) -> NDArray[np.int64]:
        if len(self.noisy_rows) == 0:
            return self._shuffled(self.verified_rows, self._verified_shards)
        rounds = -(-count // max(len(self.verified_rows), 1))
        shuffled = [
            self._shuffled(self.verified_rows, self._verified_shards) for _ in range(rounds)
        ]
        return np.concatenate([self.verified_rows[:0], *shuffled])[:count]

    def _shuffled(self, rows: NDArray[np.int64], shards: int) -> NDArray[np.int64]:
        """Rows in random order, the shards by turns."""
        order = np.empty_like(rows)
        for shard in range(shards):
            order[shard::shards] = self.generator.permutation(rows[shard::shards])
        return order


def passes_for_as_many_updates(few: int, many: int, batch_size: int) -> int:
    """How many passes over few verified rows make as many updates as one pass over many rows."""
    updates = [len(MixedBatches(np.ones(n, bool), batch_size, 0.0, 0)) for n in (few, many)]
    return max(1, round(updates[1] / updates[0]))
