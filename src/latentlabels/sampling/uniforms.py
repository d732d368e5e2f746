"""Random numbers as a function of their coordinates, by Philox4x32-10.

The key is seed and purpose, the counter unit, sweep, chain and row.

A uniform number depends on nothing but its coordinates, so a run gives the same chains whatever the
batch order or the number of threads, and going on needs no generator state.

Source: Salmon, Moraes, Dror and Shaw (2011), "Parallel random numbers: as easy as 1, 2, 3".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import torch
from torch import Tensor

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10
WORD = 0xFFFFFFFF
WORDS_A_BLOCK = 4
FLOAT24 = 2.0**-24


class Purpose(IntEnum):
    """What a stream of random numbers is for; streams of different purposes are independent."""

    START = 0
    SWEEP = 1
    PREDICTION = 2


def philox(
    counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Philox4x32-10.

    Args:
        counter: four words below 2³² as int64 tensors that broadcast against each other.
        key: two words below 2³².

    Returns:
        Four random words below 2³², int64, each in the broadcast shape.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        # The product wraps to 64 bits, and its bits are right all the same.
        first, second = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c2 = ((second >> 32) & WORD) ^ c1 ^ k0, ((first >> 32) & WORD) ^ c3 ^ k1
        c1, c3 = second & WORD, first & WORD
        k0, k1 = (k0 + WEYL[0]) & WORD, (k1 + WEYL[1]) & WORD
    return c0, c1, c2, c3


@dataclass(frozen=True)
class Uniforms:
    """The uniform numbers of a set of chains.

    Args:
        seed: a whole number of 32 bits.
        purpose: what the numbers are for.
        rows: the examples' row numbers, (rows,), int64.
        chains: chains an example.
    """

    seed: int
    purpose: Purpose
    rows: Tensor
    chains: int

    def __post_init__(self) -> None:
        if not 0 <= self.seed <= WORD:
            raise ValueError(f"A seed is a whole number from 0 to 2**32 - 1, got {self.seed}.")

    def draw(self, sweep: Tensor, layer: int, count: int) -> Tensor:
        """Uniform numbers in [0, 1) with 24 random bits.

        Args:
            sweep: how many sweeps each row's chains have done before, (rows,), int64.
            layer: 0 or 1, which half of the sweep.
            count: numbers a chain.

        Returns:
            (rows, chains, count), float32.
        """
        device = self.rows.device
        blocks = -(-count // WORDS_A_BLOCK)
        block = 2 * torch.arange(blocks, device=device) + layer
        chain = torch.arange(self.chains, device=device)[:, None]
        row = self.rows[:, None, None]
        words = philox(
            (block, sweep[:, None, None] & WORD, chain, row), (self.seed, int(self.purpose))
        )
        shape = (len(self.rows), self.chains, blocks)
        bits = torch.stack([word.expand(shape) for word in words], -1).flatten(-2)
        return (bits[..., :count] >> 8).to(torch.float32) * FLOAT24
