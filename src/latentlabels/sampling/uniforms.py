"""Random numbers as a function of their coordinates, by Philox4x32-10.

The key is seed and purpose, the counter unit, sweep, chain and row.

A uniform number depends on nothing but its coordinates, so a run gives the same chains whatever the
batch order or the number of threads, and going on needs no generator state. Its upper 16 bits come
from one block of random words and its lower from another, so who compares it with a probability
seldom needs the second.

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
FLOAT24 = 2.0**-24

BLOCKS_A_GROUP = 32
UNITS_A_GROUP = 8 * BLOCKS_A_GROUP
HALVES = 2
PARTS = 2 * HALVES
"""A counter's first word is PARTS · block + HALVES · layer + half."""


class Purpose(IntEnum):
    """What a stream of random numbers is for; streams of different purposes are independent."""

    START = 0
    SWEEP = 1
    PREDICTION = 2
    PROBE = 3
    DROPOUT = 4


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
        upper, lower = (self._halves(half, sweep, layer, count) for half in range(HALVES))
        return (((upper << 16) | lower) >> 8).to(torch.float32) * FLOAT24

    def _halves(self, half: int, sweep: Tensor, layer: int, count: int) -> Tensor:
        """The upper (0) or the lower (1) 16 bits of the numbers, (rows, chains, count), int64.

        Of a block's four words the lower halves come first, then the upper ones. Units are dealt
        in groups: the first of these eight of every block, then the second, and so on.
        """
        device = self.rows.device
        groups = -(-count // UNITS_A_GROUP)
        # Fewer units than blocks in a group take a word of as many blocks.
        width = min(count, BLOCKS_A_GROUP)
        block = torch.arange(groups * width, device=device)
        chain = torch.arange(self.chains, device=device)[:, None]
        row = self.rows[:, None, None] & WORD
        counter = (PARTS * block + HALVES * layer + half, sweep[:, None, None] & WORD, chain, row)
        words = philox(counter, (self.seed, int(self.purpose)))
        shape = (len(self.rows), self.chains, groups, width)
        parts = [*(word & 0xFFFF for word in words), *(word >> 16 for word in words)]
        dealt = torch.stack([part.reshape(shape) for part in parts], -2)
        return dealt.flatten(-3)[..., :count]
