"""Persistent chains: one bit a unit, each row by itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from latentlabels.errors import LatentLabelsError
from latentlabels.model.pairwise import PairwiseCRF
from latentlabels.model.schedule import GibbsSchedule
from latentlabels.model.units import Bernoulli
from latentlabels.objective import PersistentGibbs
from latentlabels.sampling.chains import ChainStore, pack_bits, unpack_bits

sizes = st.integers(1, 40)


def some_states(*shape: int, seed: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.5


@given(sizes, sizes, st.integers(0, 1000))
def test_packing_loses_nothing(rows: int, units: int, seed: int) -> None:
    states = some_states(rows, units, seed=seed)
    for dtype in (torch.bool, torch.float32, torch.float64):
        packed = pack_bits(states.to(dtype))
        assert packed.dtype == torch.uint8
        assert packed.shape == (rows, -(-units // 8))
        assert torch.equal(unpack_bits(packed, units), states)


def test_the_lowest_bit_is_the_first_unit() -> None:
    states = torch.zeros(10)
    states[[0, 2, 9]] = 1
    assert pack_bits(states).tolist() == [0b101, 0b10]


@given(st.lists(st.integers(0, 9), unique=True), st.integers(1, 4), sizes, st.integers(0, 1000))
def test_writing_some_rows_leaves_the_others(
    rows: list[int], chains: int, latent: int, seed: int
) -> None:
    store = ChainStore(10, chains, latent)
    before = some_states(10, chains, latent, seed=seed)
    after = some_states(len(rows), chains, latent, seed=seed + 1)
    store.write(torch.arange(10), pack_bits(before), torch.arange(10))
    chosen = torch.tensor(rows, dtype=torch.int64)
    store.write(chosen, pack_bits(after.float()), torch.full_like(chosen, 77))

    states, done = store.read(torch.arange(10))
    expected, expected_done = before.clone(), torch.arange(10)
    expected[chosen], expected_done[chosen] = after, 77
    assert torch.equal(states, expected)
    assert torch.equal(done, expected_done)


def test_rows_come_in_the_order_they_are_asked_for() -> None:
    store = ChainStore(5, 2, 3)
    states = some_states(5, 2, 3, seed=0)
    store.write(torch.tensor([4, 0, 2]), pack_bits(states[:3]), torch.tensor([40, 0, 20]))
    read, done = store.read(torch.tensor([2, 4]))
    assert torch.equal(read, states[[2, 0]])
    assert done.tolist() == [20, 40]


def test_a_new_store_has_done_no_sweeps() -> None:
    store = ChainStore(rows=3, chains=2, latent=5)
    assert store.chains == 2
    assert not store.read(torch.arange(3))[1].any()


def test_a_unit_takes_one_bit() -> None:
    """The paper's COCO set-up: 87,000 rows of 50 chains of 273 units, 35 bytes a chain."""
    with torch.device("meta"):
        store = ChainStore(rows=87_000, chains=50, latent=273)
    assert store.bits.nbytes == 87_000 * 50 * 35
    assert 150e6 < store.bits.nbytes < 153e6


def test_chains_of_the_papers_size_take_one_bit_a_unit(tmp_path: Path) -> None:
    """87,000 rows of 50 chains of 73 clean and 200 hidden units: 35 bytes a chain, 152 MB."""
    file = tmp_path / "new" / "chains"
    store = ChainStore(87_000, 50, 73 + 200, file)
    assert store.bits.nbytes == 87_000 * 50 * 35
    assert file.stat().st_size == store.bits.nbytes
    rows = torch.tensor([0, 86_999, 41])
    states = some_states(3, 50, 273, seed=1)
    store.write(rows, pack_bits(states), torch.tensor([1, 2, 3]))
    again, done = store.read(rows)
    assert torch.equal(again, states)
    assert done.tolist() == [1, 2, 3]
    # It is the file that holds them: only the rows that were written take up a disk's blocks.
    on_disk = np.memmap(file, np.uint8, "r", shape=tuple(store.bits.shape))
    assert np.array_equal(on_disk[86_999], pack_bits(states)[1].numpy())
    assert not on_disk[1].any()
    assert file.stat().st_blocks * 512 < 1 << 20


def test_mapped_chains_are_those_in_memory(tmp_path: Path) -> None:
    crf = PairwiseCRF(Bernoulli(6), Bernoulli(3), 2)
    with torch.no_grad():
        for parameter in crf.parameters():
            parameter.copy_(torch.linspace(-1, 1, parameter.numel()).view_as(parameter))
    fields = crf.fields()
    rows, start = torch.arange(4), torch.full((4, 5), 0.5)
    schedule = GibbsSchedule(3, 5, adaptive=False)
    phases = [
        PersistentGibbs(4, 5, schedule, seed=2, file=file) for file in (None, tmp_path / "chains")
    ]
    for _ in range(2):
        values = [phase.log_partition(crf, fields, rows, start) for phase in phases]
        assert torch.equal(*values)
    assert torch.equal(phases[0].store.bits, phases[1].store.bits)
    assert phases[0].store.bits.any()


def test_a_file_of_something_else_is_not_replaced(tmp_path: Path) -> None:
    file = tmp_path / "photos.parquet"
    file.write_bytes(b"photos")
    for place in (file, tmp_path):
        with pytest.raises(LatentLabelsError, match="holds something else than these chains"):
            ChainStore(10, 2, 9, place)
    assert file.read_bytes() == b"photos"
    # Chains of the same shape, of an earlier run, are made anew; and so are those of a process that
    # was killed before they had one.
    (tmp_path / "chains").touch()
    for _ in range(2):
        store = ChainStore(10, 2, 9, tmp_path / "chains")
        assert not store.bits.any()
        ones = pack_bits(torch.ones(10, 2, 9))
        store.write(torch.arange(10), ones, torch.ones(10, dtype=torch.int64))
