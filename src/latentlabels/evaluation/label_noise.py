"""How noisy labels are, on rows whose clean labels are known: missing labels, and wrong ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.stats import beta

from latentlabels.evaluation.acceptance import INTERVAL


@dataclass(frozen=True)
class Share:
    """Some of many, and where the share lies of all that these were drawn from.

    Attributes:
        part: how many.
        of: of how many.
        low: the share is above this with a probability of 97.5 in 100.
        high: and below this.
    """

    part: float
    of: float
    low: float
    high: float

    @property
    def estimate(self) -> float:
        """part / of."""
        return self.part / self.of


@dataclass(frozen=True)
class LabelNoise:
    """What becomes of one label among the given ones.

    Attributes:
        unit: the clean label.
        missing: of rows that should have it, those it was not given to; None without such rows.
        wrong: of rows it was given to, those that should not have it; None without such rows.
    """

    unit: int
    missing: Share | None
    wrong: Share | None


@dataclass(frozen=True)
class Noise:
    """What is wrong with given labels.

    Attributes:
        rows: how many were looked at.
        wrong_rows: rows with a label that is missing or wrong.
        missing: labels that rows should have and were not given, over all labels.
        wrong: given labels that are wrong.
        labels: the same label by label.
    """

    rows: int
    wrong_rows: Share | None
    missing: Share | None
    wrong: Share | None
    labels: tuple[LabelNoise, ...]


def share(part: float, of: float, effective: float | None = None) -> Share | None:
    """A share with its interval, under a uniform prior Beta(1 + part, 1 + of − part).

    Where it is none or all, the interval's end is there too.

    Args:
        part: how many.
        of: of how many; of none there is no share.
        effective: as how many independent ones they count; by default all.
    """
    if of <= 0:
        return None
    count = of if effective is None else effective
    low, high = beta.interval(INTERVAL, 1 + count * part / of, 1 + count * (1 - part / of))
    if part <= 0:
        low = 0.0
    if part >= of:
        high = 1.0
    return Share(float(part), float(of), float(low), float(high))


def share_of_rows(part: NDArray[Any], of: NDArray[Any]) -> Share | None:
    """A share of things that come in rows, whose fates may hang together.

    The ratio's variance over rows, as n independent ones would have it, says for how many they
    count: n = p (1 − p) / var, with var = Σ (part − p of)² / (Σ of)².

    Args:
        part: how many in each row, (rows,).
        of: of how many, (rows,).

    Source: Kish (1965), whose design effect is Σ of / n.
    """
    total = float(of.sum())
    if total <= 0:
        return None
    p = float(part.sum()) / total
    variance = float(np.square(part - p * of).sum()) / total**2
    effective = total if variance == 0 else min(total, p * (1 - p) / variance)
    return share(float(part.sum()), total, effective)


def noise_of(given: csr_array, clean: csr_array, units: NDArray[np.intp]) -> Noise:
    """Given labels against clean ones.

    Args:
        given: labels that came with rows, 0 and 1, (rows, clean).
        clean: labels that they should have, (rows, clean).
        units: clean labels that can be given at all; the others are left out.
    """
    given, clean = csr_array(given[:, units]), csr_array(clean[:, units])
    right = given.multiply(clean)
    have, got, both = (np.asarray(of.sum(0)).ravel() for of in (clean, given, right))
    labels = tuple(
        LabelNoise(int(unit), share(have[k] - both[k], have[k]), share(got[k] - both[k], got[k]))
        for k, unit in enumerate(units)
    )
    in_clean, in_given, in_both = (
        np.asarray(of.sum(1), dtype=np.float64).ravel() for of in (clean, given, right)
    )
    differ = (in_clean > in_both) | (in_given > in_both)
    return Noise(
        given.shape[0],
        share(float(differ.sum()), given.shape[0]),
        share_of_rows(in_clean - in_both, in_clean),
        share_of_rows(in_given - in_both, in_given),
        labels,
    )
