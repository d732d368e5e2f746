"""Verified pairs: parts of them, and how often each label occurs."""

from __future__ import annotations

from itertools import chain

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.small_pairs import pairs_of
from torch.testing import assert_close

from latentlabels.auxiliary.pairs import Pairs, smoothed_logits
from latentlabels.model.units import Bernoulli, Categorical, Joint


def numbered(count: int) -> Pairs:
    """Pairs whose bits spell their number."""
    bits = (np.arange(count)[:, None] >> np.arange(8)) & 1
    return pairs_of(Bernoulli(8), Bernoulli(8), bits, bits)


def numbers(pairs: Pairs) -> list[int]:
    assert np.array_equal(pairs.noisy.toarray(), pairs.clean)
    return [int(number) for number in pairs.clean @ 2 ** np.arange(8)]


@given(st.integers(2, 100), st.integers(2, 6), st.integers(0, 99))
def test_every_pair_is_held_out_once(count: int, folds: int, seed: int) -> None:
    parts = numbered(count).folds(folds, seed)
    assert len(parts) == folds
    held_out = [numbers(held) for _, held in parts]
    assert sorted(chain.from_iterable(held_out)) == list(range(count))
    assert max(map(len, held_out)) - min(map(len, held_out)) <= 1
    for (fitted, _), held in zip(parts, held_out, strict=True):
        assert sorted(numbers(fitted) + held) == list(range(count))


def test_folds_are_the_seeds() -> None:
    one, other, another = (
        [numbers(held) for _, held in numbered(40).folds(3, seed)] for seed in (1, 1, 2)
    )
    assert one == other != another


def test_tensors_are_the_states() -> None:
    pairs = numbered(20).take(np.array([3, 19]))
    assert len(pairs) == 2
    assert pairs.noisy_tensor().dtype == pairs.clean_tensor().dtype == torch.float32
    assert torch.equal(pairs.noisy_tensor(), pairs.clean_tensor())


def test_the_prior_has_half_a_count_for_and_half_a_count_against() -> None:
    clean = np.array([[1, 0, 1, 0, 0], [1, 0, 0, 1, 0], [1, 0, 0, 1, 0]])
    units = Joint([Bernoulli(2), Categorical(3)])
    pairs = pairs_of(Bernoulli(5), units, clean, clean)
    mean = units.mean(pairs.clean_prior_logits())
    bits = torch.tensor([3.5, 0.5]) / 4
    classes = torch.tensor([1.5, 2.5, 0.5]) / 4.5  # made to sum to one
    assert_close(mean, torch.cat([bits, classes]).double(), check_dtype=True)


@given(st.integers(0, 30), st.integers(0, 30))
def test_smoothed_logits_are_finite_and_odd(on: int, off: int) -> None:
    """Whatever has been counted, and the same for and against."""
    states = torch.tensor([[1.0]] * on + [[0.0]] * off).reshape(-1, 1)
    logits, turned = (smoothed_logits(Bernoulli(1), s) for s in (states, 1 - states))
    assert logits.isfinite().all()
    assert_close(logits, -turned)
