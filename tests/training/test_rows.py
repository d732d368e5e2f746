"""Rows hand over what may be read, and batches weigh rows as the objective does."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from torch.testing import assert_close
from torch.utils.data import DataLoader

from latentlabels.errors import LatentLabelsError
from latentlabels.network.examples import Vectors
from latentlabels.training.rows import FEWEST_BATCHES, Batch, Draw, MixedBatches, Rows

VERIFIED = np.array([True, False, False, True, False])


def rows_of_five(garbage: float = np.nan) -> Rows:
    clean = np.array([[1, 0], [garbage, 1], [garbage, garbage], [0, 0], [0, garbage]])
    return Rows(
        Vectors(np.arange(10, dtype=np.float32).reshape(5, 2)),
        csr_array(np.array([[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 0, 1], [0, 0, 1]])),
        csr_array(clean),
        VERIFIED,
    )


@st.composite
def tables(draw: st.DrawFn) -> np.ndarray:
    """Which rows of a table are verified: any share of them, none and all of them too."""
    rows = draw(st.integers(2, 300))
    count = draw(st.sampled_from([0, 1, rows // 10, rows // 2, rows - 1, rows]))
    seed = draw(st.integers(0, 100))
    return np.random.default_rng(seed).permutation(np.arange(rows) < count)


any_batches = given(
    tables(), st.integers(1, 200), st.sampled_from([0.0, 0.1, 0.25, 0.5]), st.integers(0, 10)
)


def test_a_batch_holds_the_rows_asked_for() -> None:
    batch = rows_of_five()[Draw(np.array([3, 0, 2]))]
    assert batch.rows.tolist() == [3, 0, 2]
    assert batch.x.tolist() == [[6, 7], [0, 1], [4, 5]]
    assert batch.noisy.tolist() == [[0, 0, 1], [1, 0, 1], [1, 1, 1]]
    assert batch.verified.tolist() == [True, True, False]
    assert (batch.x.dtype, batch.noisy.dtype, batch.clean.dtype) == (torch.float32,) * 3
    assert len(rows_of_five()) == 5


@pytest.mark.parametrize("garbage", [np.nan, np.inf, 7.0])
def test_unverified_clean_labels_are_never_handed_over(garbage: float) -> None:
    batch = rows_of_five(garbage)[Draw(np.arange(5))]
    assert batch.clean.tolist() == [[1, 0], [0, 0], [0, 0], [0, 0], [0, 0]]


def test_a_loader_passes_batches_on_as_they_are() -> None:
    rows = rows_of_five()
    order = [Draw(np.array([4, 0])), Draw(np.array([1, 2, 3]))]
    loaded = list(DataLoader(rows, sampler=order, batch_size=None))
    assert all(isinstance(batch, Batch) for batch in loaded)
    assert [batch.rows.tolist() for batch in loaded] == [[4, 0], [1, 2, 3]]


def test_frequencies_are_smoothed() -> None:
    """No label is certain or impossible, whatever five rows say."""
    found = rows_of_five().noisy_mean()
    assert_close(found, torch.tensor([2.5, 1.5, 4.5]) / 6)


def test_visits_are_counted_also_by_who_stops_at_the_last_batch() -> None:
    """Lightning knows how many batches there are, and asks for no more."""
    sampler = MixedBatches(VERIFIED, 2, 0.25, 0)
    for visit in range(3):
        draws = list(itertools.islice(sampler, len(sampler)))
        assert [draw.visit for draw in draws] == [visit] * len(sampler)


@any_batches
def test_every_noisy_row_comes_once_an_epoch(
    verified: np.ndarray, batch_size: int, share: float, seed: int
) -> None:
    batches = [draw.rows for draw in MixedBatches(verified, batch_size, share, seed)]
    noisy = np.concatenate([batch[~verified[batch]] for batch in batches])
    assert sorted(noisy) == np.flatnonzero(~verified).tolist()
    if verified.all():
        assert sorted(np.concatenate(batches)) == list(range(len(verified)))


@any_batches
def test_batches_keep_the_share_of_verified_rows(
    verified: np.ndarray, batch_size: int, share: float, seed: int
) -> None:
    """At least the share asked for and that of the data, as far as there are rows for it.

    A batch has a noisy and a verified row wherever the data has both.
    """
    sampler = MixedBatches(verified, batch_size, share, seed)
    batches = [draw.rows for draw in sampler]
    known = np.array([int(verified[batch].sum()) for batch in batches])
    noisy = np.array([len(batch) for batch in batches]) - known
    if verified.all() or not verified.any():
        assert not (noisy if verified.all() else known).any()
        return
    assert (known == sampler.verified_count).all()
    assert noisy.min() >= 1
    assert known.min() >= 1
    wanted = max(share, verified.mean())
    full = sampler.noisy_count + sampler.verified_count
    # Rounding to whole rows, one row of either kind at least, no row more often than all.
    least = min(math.floor(wanted * full), full - 1, int(verified.sum()))
    assert known.min() >= least


@any_batches
def test_batches_are_of_nearly_one_size(
    verified: np.ndarray, batch_size: int, share: float, seed: int
) -> None:
    """A short last batch would weigh its rows more."""
    batches = [draw.rows for draw in MixedBatches(verified, batch_size, share, seed)]
    sizes = [len(batch) for batch in batches]
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= max(2, batch_size)


@any_batches
def test_an_epoch_has_at_least_ten_batches(
    verified: np.ndarray, batch_size: int, share: float, seed: int
) -> None:
    sampler = MixedBatches(verified, batch_size, share, seed)
    assert len(list(sampler)) == len(sampler)
    # Noisy rows alone fill the epoch, and a batch has two rows at least.
    noisy = int((~verified).sum()) or len(verified)
    wanted = FEWEST_BATCHES if len(verified) >= 2 * FEWEST_BATCHES else 1
    assert len(sampler) >= min(wanted, noisy)


@given(st.integers(0, 50))
def test_verified_rows_come_round_evenly(seed: int) -> None:
    verified = np.arange(100) < 7
    batches = [draw.rows for draw in MixedBatches(verified, 20, 0.25, seed)]
    times = np.bincount(np.concatenate([batch[verified[batch]] for batch in batches]))
    assert times.max() - times.min() <= 1


@pytest.mark.parametrize("known", [0, 20, 50, 100])
def test_the_loss_of_batches_is_the_objective_on_average(known: int) -> None:
    """Mean over batches of the per-batch means = mean over noisy plus mean over verified rows.

    It holds exactly where batches are of one size and the verified rows come round whole.
    """
    value = np.random.default_rng(0).random(100)
    verified = np.arange(100) < known
    sampler = MixedBatches(verified, 10, 0.2, seed=1)
    totals = []
    for _ in range(len(sampler.verified_rows) or 1):  # epochs until the verified rows end together
        for batch, _, _ in sampler:
            kinds = [value[batch[kind[batch]]] for kind in (~verified, verified)]
            totals.append(sum(values.mean() for values in kinds if len(values)))
    kinds = [value[kind] for kind in (~verified, verified)]
    objective = sum(values.mean() for values in kinds if len(values))
    assert np.mean(totals) == pytest.approx(objective)


def test_the_order_is_the_seeds_and_changes_from_epoch_to_epoch() -> None:
    verified = np.arange(60) < 12

    def epochs(seed: int) -> list[list[int]]:
        sampler = MixedBatches(verified, 10, 0.25, seed)
        return [np.concatenate([draw.rows for draw in sampler]).tolist() for _ in range(2)]

    assert epochs(1) == epochs(1)
    assert epochs(1) != epochs(2)
    assert epochs(1)[0] != epochs(1)[1]


@pytest.mark.parametrize("processes", [2, 3, 4])
@pytest.mark.parametrize("batch_size", range(2, 9))
@pytest.mark.parametrize("known", [0, 7, 60, 119, 120])
def test_each_process_has_a_share_of_every_batch(
    processes: int, batch_size: int, known: int
) -> None:
    """Together they have the batch of one process, each row once, at the weight it has there."""
    verified = np.random.default_rng(known).permutation(np.arange(120) < known)
    whole = MixedBatches(verified, batch_size, 0.25, 0)
    try:
        shares = [
            MixedBatches(verified, batch_size, 0.25, 0, processes=processes, rank=rank)
            for rank in range(processes)
        ]
    except LatentLabelsError:
        # Half of a batch is enough, and a whole one of a single kind.
        assert processes > (batch_size if known in (0, 120) else batch_size / 2)
        return
    assert processes <= batch_size
    assert_array_equal(sum(share.owned.astype(int) for share in shares), 1)
    for _ in range(3):
        for draw, *parts in zip(whole, *shares, strict=True):
            assert all(len(part.rows) for part in parts)
            rows = np.concatenate([part.rows for part in parts])
            weights = np.concatenate([part.weights for part in parts]) / processes
            assert draw.weights is not None
            assert_array_equal(rows[np.argsort(rows)], np.sort(draw.rows))
            assert_allclose(weights[rows.argsort()], draw.weights[draw.rows.argsort()], rtol=1e-6)
            for part, share in zip(parts, shares, strict=True):
                assert share.owned[part.rows].all()


def test_large_batches_are_shared_evenly() -> None:
    verified = np.arange(3000) < 700
    shares = [MixedBatches(verified, 256, 0.25, 0, processes=4, rank=rank) for rank in range(4)]
    counts = np.array([[len(draw.rows) for draw in share] for share in shares])
    assert (counts.max(0) - counts.min(0)).max() <= 4


def test_a_process_that_needs_two_rows_has_them() -> None:
    verified = np.ones(60, dtype=bool)
    for rank in range(3):
        share = MixedBatches(verified, 256, 0.25, 0, processes=3, rank=rank, least=2)
        assert min(len(draw.rows) for draw in share) >= 2
    with pytest.raises(LatentLabelsError, match="make batches of 6, which at most 3 processes"):
        MixedBatches(verified, 256, 0.25, 0, processes=4, least=2)
