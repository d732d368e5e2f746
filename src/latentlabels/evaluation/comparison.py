"""Two classifiers on the same rows: which is better, and whether that can be told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from latentlabels.evaluation.metrics import score, score_name
from latentlabels.model.units import Bernoulli, Units

SAMPLES: Final = 200
TWO_SIDED: Final = 1.96
"""Standard errors that 95 of 100 draws of a normal lie within."""

Verdict = Literal["better", "worse", "alike"]


@dataclass(frozen=True)
class Comparison:
    """Scores of two classifiers on the same rows, from 0 to 1.

    Attributes:
        rows: how many.
        measure: what the score is.
        one: score of the first classifier.
        other: of the second.
        low: the first is better by at least this with a probability of 97.5 in 100.
        high: and at most by this.
    """

    rows: int
    measure: str
    one: float
    other: float
    low: float
    high: float

    @property
    def verdict(self) -> Verdict:
        """Whether the first is better or worse; "alike" where rows are too few to tell."""
        if self.low > 0:
            return "better"
        return "worse" if self.high < 0 else "alike"


def compare(
    units: Units,
    truth: NDArray[np.floating[Any]],
    one: NDArray[np.floating[Any]],
    other: NDArray[np.floating[Any]],
    seed: int = 0,
) -> Comparison:
    """Compare two classifiers; the interval is normal, its standard error a bootstrap's over rows.

    Args:
        units: the units of the labels.
        truth: true states, (rows, labels).
        one: probabilities of the first classifier, (rows, labels).
        other: of the second.
        seed: of the bootstrap.
    """
    rows = len(truth)
    random = np.random.default_rng(seed)
    counts = random.multinomial(rows, np.full(rows, 1 / rows), SAMPLES).astype(np.float32)
    if isinstance(units, Bernoulli):
        differences = _weighted_map(truth, one, counts) - _weighted_map(truth, other, counts)
    else:
        drawn = [np.repeat(np.arange(rows), count.astype(int)) for count in counts]
        differences = np.array(
            [score(units, truth[d], one[d]) - score(units, truth[d], other[d]) for d in drawn]
        )
    first, second = score(units, truth, one), score(units, truth, other)
    error = TWO_SIDED * float(np.nanstd(differences, ddof=1))
    gain = first - second
    return Comparison(rows, score_name(units), first, second, gain - error, gain + error)


def _weighted_map(
    truth: NDArray[Any], probabilities: NDArray[Any], counts: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Mean average precision of rows that count several times or not at all, (samples,).

    Rows of equal probability stand in any order, unlike in `mean_average_precision`.

    Args:
        truth: true states, (rows, labels).
        probabilities: (rows, labels).
        counts: how often each row counts, (samples, rows).
    """
    total, labels = np.zeros(len(counts)), np.zeros(len(counts))
    for label in np.flatnonzero(truth.any(0)):
        order = np.argsort(-probabilities[:, label], kind="stable")
        weight = counts[:, order]
        hits = weight * truth[order, label]
        found, seen = hits.cumsum(1), weight.cumsum(1)
        precision = np.divide(found, seen, out=np.zeros_like(found), where=seen > 0)
        positives = found[:, -1].astype(np.float64)
        occurs = positives > 0
        area = (hits * precision).sum(1, dtype=np.float64)
        total += np.divide(area, positives, out=np.zeros_like(area), where=occurs)
        labels += occurs
    mean: NDArray[np.float64] = np.full(len(total), np.nan)
    np.divide(total, labels, out=mean, where=labels > 0)
    return mean
