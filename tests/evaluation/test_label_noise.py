"""Noise of given labels, against numbers counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.stats import beta

from latentlabels.evaluation.label_noise import noise_of, share, share_of_rows

# Three labels; the last one is no word that anybody can give.
CLEAN = np.array([[1, 0, 1], [1, 1, 0], [0, 1, 0], [1, 0, 0]])
GIVEN = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [1, 0, 0]])


def test_counts() -> None:
    noise = noise_of(csr_array(GIVEN), csr_array(CLEAN), np.array([0, 1]))
    first, second = noise.labels
    assert first.missing is not None
    assert first.wrong is not None
    assert (first.missing.part, first.missing.of) == (1, 3)
    assert (first.wrong.part, first.wrong.of) == (1, 3)
    assert second.missing is not None
    assert (second.missing.part, second.missing.of) == (0, 2)
    assert noise.wrong_rows is not None
    assert (noise.wrong_rows.part, noise.wrong_rows.of) == (2, 4)
    assert noise.missing is not None
    assert (noise.missing.part, noise.missing.of) == (1, 5)
    assert noise.wrong is not None
    assert (noise.wrong.part, noise.wrong.of) == (1, 5)


def test_nothing_of_which_a_share_could_be() -> None:
    noise = noise_of(csr_array((0, 3)), csr_array((0, 3)), np.array([0, 1, 2]))
    assert noise.rows == 0
    assert noise.missing is noise.wrong is noise.wrong_rows is None
    assert all(label.missing is label.wrong is None for label in noise.labels)
    assert share(0, 0) is None


def test_interval_is_the_beta_distribution_s() -> None:
    found = share(3, 10)
    assert found is not None
    assert (found.low, found.high) == pytest.approx(beta.ppf([0.025, 0.975], 4, 8))
    assert found.estimate == 0.3


def test_labels_that_share_a_fate_count_for_fewer() -> None:
    """Ten rows of ten labels that are all wrong or all right are ten facts, and not a hundred."""
    of = np.full(10, 10.0)
    together = share_of_rows(np.repeat([10.0, 0.0], 5), of)
    apart = share_of_rows(np.full(10, 5.0), of)
    ten, hundred = share(5, 10), share(50, 100)
    assert together is not None
    assert apart is not None
    assert ten is not None
    assert hundred is not None
    assert (together.low, together.high) == pytest.approx((ten.low, ten.high))
    assert (apart.low, apart.high) == pytest.approx((hundred.low, hundred.high))
    nothing = share_of_rows(np.zeros(4), np.ones(4))
    assert nothing is not None
    assert nothing.low < 0.01
    assert nothing.high > 0.4
