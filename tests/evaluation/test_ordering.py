"""The order of checks: entropy in bits, and less for doubts that are alike."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest

from latentlabels.evaluation.ordering import by_information, doubt, given_alike


def test_the_doubt_is_the_entropy_of_the_labels_in_bits():
    p = pa.chunked_array([[[0.5, 0.5, 0.0], None], [[0.25, 0.25, 0.5]]], pa.list_(pa.float32()))
    quarter = -0.25 * math.log2(0.25) - 0.75 * math.log2(0.75)
    several = doubt(p, 3, exclusive=False)
    np.testing.assert_allclose(several.bits, [2, np.nan, 2 * quarter + 1], rtol=1e-6)
    assert several.label.tolist() == [0, 0, 2]
    np.testing.assert_allclose(doubt(p, 3, exclusive=True).bits, [1, np.nan, 1.5], rtol=1e-6)


def test_rows_are_read_in_parts(monkeypatch):
    random = np.random.default_rng(0)
    rows = [None if row % 5 == 3 else list(random.random(3)) for row in range(40)]
    p = pa.chunked_array([rows[:7], rows[7:]], pa.list_(pa.float32()))
    whole = doubt(p, 3, exclusive=False)
    monkeypatch.setattr("latentlabels.evaluation.ordering.BATCH", 12)
    parts = doubt(p, 3, exclusive=False)
    np.testing.assert_array_equal(whole.bits, parts.bits)
    np.testing.assert_array_equal(whole.label, parts.label)


def test_a_surely_wrong_label_waits_for_an_uncertain_one():
    """Suspicion would have it the other way round: 99 % wrong against 60 %."""
    p = pa.chunked_array([[[0.01], [0.4]]], pa.list_(pa.float32()))
    found = doubt(p, 1, exclusive=False)
    assert by_information(found.bits, np.array([1, 1])).tolist() == [1, 0]


def test_doubts_of_another_kind_come_before_more_of_the_same():
    bits = np.array([1.0, 0.98, 0.96, 0.9, np.nan, 0.3])
    cell = np.array([7, 7, 7, 2, 7, 2])
    # Of cell 7: 1, 0.98 * 3/4 = 0.735, 0.96 * 2/3 = 0.64; of cell 2: 0.9, 0.225.
    assert by_information(bits, cell).tolist() == [0, 3, 1, 2, 5, 4]


@pytest.mark.parametrize("seed", range(5))
def test_the_order_is_that_of_the_formula(seed):
    random = np.random.default_rng(seed)
    bits, cell = random.random(50), random.integers(0, 4, 50)
    scores = []
    for row in range(50):
        before = sum(bits[other] > bits[row] for other in range(50) if cell[other] == cell[row])
        scores.append(bits[row] * (1 + 1 / (1 + before)) / 2)
    assert by_information(bits, cell).tolist() == sorted(range(50), key=lambda row: -scores[row])


def test_rows_are_alike_that_were_given_the_label():
    given = pa.chunked_array([[["b", "x"], []], [["a"], ["b", "a"]]], pa.list_(pa.string()))
    alike = given_alike(given, ["a", "b"], np.array([1, 0, 1, 0]))
    assert alike.tolist() == [True, False, False, True]
