"""Two classifiers compared: scores, and what the rows can tell."""

from __future__ import annotations

import numpy as np
import pytest

from latentlabels.evaluation.comparison import SAMPLES, _weighted_map, compare
from latentlabels.evaluation.metrics import mean_average_precision
from latentlabels.model.units import Bernoulli, Categorical, Joint


def labelled(rows: int, noise: float, seed: int = 0):
    """Labels, and probabilities that know them the less the more noise there is."""
    random = np.random.default_rng(seed)
    truth = (random.random((rows, 3)) < 0.3).astype(float)
    return truth, truth + noise * random.normal(size=truth.shape)


def test_scores_and_verdict() -> None:
    truth, good = labelled(400, 0.3)
    _, poor = labelled(400, 2.0)
    found = compare(Bernoulli(3), truth, good, poor)
    assert found.one == pytest.approx(mean_average_precision(truth, good))
    assert found.other == pytest.approx(mean_average_precision(truth, poor))
    assert found.low < found.one - found.other < found.high
    assert found.verdict == "better"
    assert compare(Bernoulli(3), truth, poor, good).verdict == "worse"
    same = compare(Bernoulli(3), truth, good, good)
    assert (same.low, same.high, same.verdict) == (0, 0, "alike")


def test_few_rows_tell_nothing() -> None:
    truth, good = labelled(40, 1.0)
    _, other = labelled(40, 1.02)
    assert compare(Bernoulli(3), truth, good, other).verdict == "alike"


def test_weighted_map_is_that_of_repeated_rows() -> None:
    truth, said = labelled(30, 1.0)
    counts = np.random.default_rng(1).integers(0, 4, (5, 30)).astype(np.float32)
    expected = [
        mean_average_precision(truth[rows], said[rows])
        for rows in (np.repeat(np.arange(30), count.astype(int)) for count in counts)
    ]
    assert _weighted_map(truth, said, counts) == pytest.approx(np.array(expected), abs=1e-5)


def test_interval_of_an_accuracy() -> None:
    """The standard error of a mean of differences is known without a bootstrap."""
    random = np.random.default_rng(2)
    rows = 500
    truth = np.eye(2)[random.integers(0, 2, rows)]
    one, other = (
        np.where(random.random((rows, 1)) < right, truth, 1 - truth) for right in (0.9, 0.6)
    )
    hit = [(p.argmax(1) == truth.argmax(1)).astype(float) for p in (one, other)]
    error = 1.96 * (hit[0] - hit[1]).std(ddof=1) / np.sqrt(rows)
    found = compare(Categorical(2), truth, one, other)
    # The bootstrap's own error: five times 1 / √(2 (samples − 1)) of it.
    assert (found.high - found.low) / 2 == pytest.approx(error, rel=5 / np.sqrt(2 * SAMPLES - 2))


def test_labels_of_two_columns() -> None:
    truth, said = labelled(50, 0.5)
    joint = Joint([Bernoulli(1), Bernoulli(2)])
    assert compare(joint, truth, said, said).measure == "score"
