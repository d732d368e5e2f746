"""Random numbers as a function of coordinates: the right function, uniform, no two alike."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import pytest
import torch
from tests.monte_carlo import STANDARD_ERRORS
from torch import Tensor

from latentlabels.sampling.uniforms import (
    BLOCKS_A_GROUP,
    HALVES,
    PARTS,
    UNITS_A_GROUP,
    Purpose,
    Uniforms,
    philox,
)

ROWS, CHAINS, COUNT = 100, 20, 50


def draw(
    *,
    seed: int = 0,
    purpose: Purpose = Purpose.SWEEP,
    rows: Tensor | None = None,
    chains: int = CHAINS,
    sweep: int = 0,
    layer: int = 0,
    count: int = COUNT,
) -> Tensor:
    rows = torch.arange(ROWS) if rows is None else rows
    done = torch.full_like(rows, sweep)
    return Uniforms(seed, purpose, rows, chains).draw(done, layer, count)


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        (
            "00000000 00000000 00000000 00000000",
            "00000000 00000000",
            "6627e8d5 e169c58d bc57ac4c 9b00dbd8",
        ),
        (
            "ffffffff ffffffff ffffffff ffffffff",
            "ffffffff ffffffff",
            "408f276d 41c83b0e a20bc7c6 6d5451fd",
        ),
        (
            "243f6a88 85a308d3 13198a2e 03707344",
            "a4093822 299f31d0",
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_philox_gives_its_authors_published_vectors(counter: str, key: str, expected: str) -> None:
    """Random123's known answers for philox4x32, 10 rounds."""
    c0, c1, c2, c3 = (torch.tensor(int(word, 16)) for word in counter.split())
    k0, k1 = (int(word, 16) for word in key.split())
    words = philox((c0, c1, c2, c3), (k0, k1))
    assert " ".join(f"{word.item():08x}" for word in words) == expected


def test_numbers_are_in_the_unit_interval_with_24_bits() -> None:
    numbers = draw()
    assert numbers.shape == (ROWS, CHAINS, COUNT)
    assert numbers.dtype == torch.float32
    assert (numbers >= 0).all()
    assert (numbers < 1).all()
    assert torch.equal(numbers * 2**24, (numbers * 2**24).floor())
    assert (numbers * 2**24 % 2 == 1).any()


def test_numbers_have_the_uniform_laws_mean_and_variance() -> None:
    """u − 1/2 has variance 1/12, its square 1/80 − 1/144 = 1/180."""
    centred = draw().double() - 0.5
    allowed = STANDARD_ERRORS / centred.numel() ** 0.5
    assert abs(centred.mean()) < allowed * (1 / 12) ** 0.5
    assert abs((centred**2).mean() - 1 / 12) < allowed * (1 / 180) ** 0.5


def assert_unrelated(one: Tensor, other: Tensor) -> None:
    """No more numbers agree than by chance, and the correlation is within five standard errors.

    Of 100,000 pairs of 24 bits, 0.006 agree; three do so with a chance of 4e-8.
    """
    assert (one == other).sum() <= 2
    centred = (one.double() - 0.5, other.double() - 0.5)
    correlation = 12 * (centred[0] * centred[1]).mean()
    assert abs(correlation) < STANDARD_ERRORS / one.numel() ** 0.5


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"seed": 1},
        {"seed": 2**32 - 1},
        {"purpose": Purpose.START},
        {"purpose": Purpose.PREDICTION},
        {"sweep": 1},
        {"sweep": 2**31},
        {"layer": 1},
        {"rows": torch.arange(ROWS) + ROWS},
        {"rows": torch.arange(ROWS) + 2**31},
    ],
    ids=str,
)
def test_another_coordinate_is_another_stream(elsewhere: dict[str, Any]) -> None:
    assert_unrelated(draw(), draw(**elsewhere))


def test_chains_rows_and_units_are_unrelated_within_a_draw() -> None:
    numbers = draw()
    for axis in range(3):
        for step in (1, 2, 3):
            moved = numbers.roll(step, axis)
            assert_unrelated(numbers, moved)


def test_no_two_numbers_of_a_sweep_share_their_random_words() -> None:
    """Neither layer, nor any half of a number, has a block of words that another has."""
    counts = Counter(
        PARTS * block + HALVES * layer + half
        for block in range(3 * BLOCKS_A_GROUP)
        for layer in (0, 1)
        for half in range(HALVES)
    )
    assert set(counts.values()) == {1}
    numbers = torch.cat([draw(layer=layer, count=COUNT) for layer in (0, 1)], -1).flatten(0, 1)
    upper, lower = (numbers * 2**8).floor(), numbers * 2**24 % 2**16
    for part in (upper, lower):
        for i, j in itertools.combinations(range(0, part.shape[1], 7), 2):
            assert not torch.equal(part[:, i], part[:, j])


@pytest.mark.parametrize("count", [1, UNITS_A_GROUP, UNITS_A_GROUP + 1, 3 * UNITS_A_GROUP])
def test_more_numbers_begin_with_the_fewer(count: int) -> None:
    most = draw(rows=torch.arange(2), chains=2, count=3 * UNITS_A_GROUP)
    assert torch.equal(draw(rows=torch.arange(2), chains=2, count=count), most[..., :count])


def test_a_number_depends_on_its_coordinates_alone() -> None:
    """Not on the other rows of the batch, nor on how many chains or units there are."""
    everything = draw()
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(0))[:30]
    part = draw(rows=order, chains=7, count=13)
    assert torch.equal(part, everything[order, :7, :13])


def test_rows_go_on_from_different_sweeps() -> None:
    rows, done = torch.tensor([4, 4, 9]), torch.tensor([0, 6, 6])
    together = Uniforms(3, Purpose.SWEEP, rows, 2).draw(done, 1, 5)
    for number, row, sweep in zip(together, rows.tolist(), done.tolist(), strict=True):
        alone = draw(seed=3, rows=torch.tensor([row]), chains=2, sweep=sweep, layer=1, count=5)
        assert torch.equal(number, alone[0])


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_of_more_than_32_bits_is_refused(seed: int) -> None:
    with pytest.raises(ValueError, match=rf"from 0 to 2\*\*32 - 1, got {seed}"):
        Uniforms(seed, Purpose.SWEEP, torch.arange(1), 1)
