"""How a score grows with the number of verified rows, and what more of them are expected to bring.

The score of a fit on n verified rows is taken to follow an inverse power law. With s the score at
the N rows there are, a what it tends to, and c how fast,

    f(n) = a − (a − s) (n / N)^−c,      a = s + u (1 − s),      0 ≤ u ≤ 1

so it never falls and never passes 1. Scores y at the sizes n_1 … n_S are Student-t around f, with
the covariance Σ that was estimated with ν degrees of freedom. Given u and c, f is linear in s,
which then has a closed form; u and c are summed over a grid, with uniform priors:

    f = g s + h,    g = 1 − h,    h = u (1 − (n / N)^−c)
    v = 1 / gᵀΣ⁻¹g,    ŝ = v gᵀΣ⁻¹(y − h),    χ² = (y − h − g ŝ)ᵀ Σ⁻¹ (y − h − g ŝ)
    p(u, c | y) ∝ √v (1 + χ² / ν)^−(ν + S − 1) / 2
    s | u, c, y ~ ŝ + √(v (ν + χ²) / (ν + S − 1)) t_{ν + S − 1}

What is expected is the mean over all of these, and the interval has 95 in 100 of their weight: it
grows with n, since sizes so near to each other say little of a and c.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from latentlabels.errors import LatentLabelsError
from latentlabels.evaluation.acceptance import INTERVAL

MOST: Final = 8
"""How many times the verified rows the curve is drawn to."""
SHARES: Final = np.linspace(0.0, 1.0, 61)
EXPONENTS: Final = np.linspace(0.1, 1.5, 36)
NODES: Final = 11
"""Values of s, equally likely, that stand for its distribution."""
GROUPS: Final = 20
LEAST_VARIANCE: Final = 1e-10
"""Below it a score's last digits count, and no doubt."""

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """What is expected, and between what bounds with a probability of 95 in 100."""

    mean: float
    low: float
    high: float

    def as_json(self) -> dict[str, float]:
        """The same as values that JSON keeps."""
        return dict(vars(self))


@dataclass(frozen=True)
class LearningCurve:
    """The scores of fits on some of the verified rows, and the curve through them.

    Attributes:
        measure: what is measured: "map", "accuracy" or "score".
        rows: verified rows there are, N.
        available: rows that there are to verify, these among them.
        sizes: verified rows of the fits, ascending, (sizes,).
        scores: of cleaned labels, from 0 to 1, (sizes,).
        covariance: of the scores' errors, (sizes, sizes).
        freedom: degrees of freedom with which it was estimated.
    """

    measure: str
    rows: int
    available: int
    sizes: tuple[int, ...]
    scores: tuple[float, ...]
    covariance: Doubles
    freedom: int

    @classmethod
    def measured(
        cls,
        scores: Callable[[NDArray[np.intp]], Doubles],
        folds: Sequence[NDArray[np.intp]],
        sizes: Sequence[int],
        *,
        measure: str,
        available: int,
        seed: int = 0,
    ) -> LearningCurve:
        """The curve of fits that were cross-validated at several sizes.

        Args:
            scores: of the sizes, by the numbers of verified rows to score, (sizes,); a row's labels
                are those of the fits that left out its fold.
            folds: the numbers of each fold's rows.
            sizes: verified rows of the fits, ascending.
            measure: what is measured.
            available: rows that there are to verify, the verified ones among them.
            seed: of the groups that the scores' errors are estimated by.
        """
        everywhere = np.concatenate(folds)
        variance, freedom = variance_of_fits(np.array([scores(fold) for fold in folds]))
        of_rows = covariance_of_rows(scores, len(everywhere), seed)
        return cls(
            measure=measure,
            rows=len(everywhere),
            available=available,
            sizes=tuple(sizes),
            scores=tuple(scores(everywhere).tolist()),
            covariance=of_rows + variance * np.eye(len(sizes)),
            freedom=freedom,
        )

    def expected(self, rows: int) -> Estimate:
        """The score of the cleaned labels that is expected with so many verified rows.

        Raises:
            LatentLabelsError: fewer than the smallest fit had, or more than the curve is drawn to.
        """
        self._require(rows)
        return self._estimate(lambda s, u, c: self._at(rows, s, u, c))

    def gain(self, more: int) -> Estimate:
        """What so many verified rows more are expected to add to the score.

        Raises:
            LatentLabelsError: more than the curve is drawn to.
        """
        self._require(self.rows + more)
        return self._estimate(lambda s, u, c: self._at(self.rows + more, s, u, c) - s)

    @property
    def most(self) -> int:
        """Verified rows that the curve is drawn to: eight times those there are, if there are."""
        return max(self.rows, min(MOST * self.rows, self.available))

    @property
    def steps(self) -> list[int]:
        """Rows to verify besides for two, four and eight times as many, as far as there are."""
        totals = dict.fromkeys(min(self.most, times * self.rows) for times in (2, 4, MOST))
        return [total - self.rows for total in totals if total > self.rows]

    def told(self) -> str:
        """The curve in a sentence."""
        now = self.expected(self.rows)
        told = f"{self.measure} {now.mean:.1%} ({now.low:.1%} to {now.high:.1%}) with {self.rows:,}"
        for more in self.steps:
            gain = self.gain(more)
            told += (
                f"; {more:,} more: {100 * gain.mean:+.1f} "
                f"({100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
            )
        return told if self.steps else f"{told}: there are no other rows"

    def as_json(self) -> dict[str, Any]:
        """The same as values that JSON keeps, with the curve at sizes to draw it by."""
        drawn = np.geomspace(self.sizes[0], self.most, 25).round().astype(int)
        points = sorted({*drawn.tolist(), *self.sizes, self.rows, *self._totals()})
        return {
            "measure": self.measure,
            "rows": self.rows,
            "available": self.available,
            "sizes": list(self.sizes),
            "scores": list(self.scores),
            "deviations": np.sqrt(np.diag(self.covariance)).tolist(),
            "limit": self._estimate(lambda s, u, _: s + u * (1 - s)).as_json(),
            "exponent": self._estimate(lambda _s, _u, c: c).as_json(),
            "expected": [{"rows": n, **self.expected(n).as_json()} for n in points],
            "gains": [{"rows": more, **self.gain(more).as_json()} for more in self.steps],
        }

    def _totals(self) -> list[int]:
        return [self.rows + more for more in self.steps]

    def _at(self, rows: int, s: Doubles, u: Doubles, c: Doubles) -> Doubles:
        """f(n), which no score falls below zero for."""
        return np.maximum(s + u * (1 - s) * (1 - (rows / self.rows) ** -c), 0.0)

    def _require(self, rows: int) -> None:
        if not self.sizes[0] <= rows <= MOST * self.rows:
            raise LatentLabelsError(
                f"The learning curve goes from {self.sizes[0]:,} verified rows to "
                f"{MOST * self.rows:,}, {MOST} times those there are; got {rows:,}."
            )

    def _estimate(self, of: Callable[[Doubles, Doubles, Doubles], Doubles]) -> Estimate:
        """Mean and interval of what follows from s, u and c."""
        s, u, c, weight = self._posterior
        values = of(s, u, c)
        order = np.argsort(values, kind="stable")
        below = np.cumsum(weight[order])
        tails = (1 - INTERVAL) / 2, (1 + INTERVAL) / 2
        low, high = values[order][np.searchsorted(below, tails)]
        return Estimate(float(values @ weight), float(low), float(high))

    @cached_property
    def _posterior(self) -> tuple[Doubles, Doubles, Doubles, Doubles]:
        """s, u, c and their weights, which sum to one, (points,) each."""
        u, c = (part.ravel() for part in np.meshgrid(SHARES, EXPONENTS, indexing="ij"))
        steps = np.array(self.sizes) / self.rows
        h = u[:, None] * (1 - steps ** -c[:, None])  # (grid, sizes)
        g = 1 - h
        precision = np.linalg.inv(self.covariance + LEAST_VARIANCE * np.eye(len(self.sizes)))
        left = np.array(self.scores) - h
        v = 1 / np.einsum("ki,ij,kj->k", g, precision, g)
        centre = v * np.einsum("ki,ij,kj->k", g, precision, left)
        left = left - g * centre[:, None]
        chi = np.einsum("ki,ij,kj->k", left, precision, left)
        freedom = self.freedom + len(self.sizes) - 1
        log_weight = 0.5 * np.log(v) - 0.5 * freedom * np.log1p(chi / self.freedom)
        weight = np.exp(log_weight - log_weight.max())
        width = np.sqrt(v * (self.freedom + chi) / freedom)
        nodes = student.ppf((np.arange(NODES) + 0.5) / NODES, freedom)
        s = np.clip(centre[:, None] + width[:, None] * nodes, 0, 1)
        shape = s.shape
        return (
            s.ravel(),
            np.broadcast_to(u[:, None], shape).ravel(),
            np.broadcast_to(c[:, None], shape).ravel(),
            np.broadcast_to(weight[:, None] / (NODES * weight.sum()), shape).ravel(),
        )


def covariance_of_rows(
    scores: Callable[[NDArray[np.intp]], Doubles], rows: int, seed: int
) -> Doubles:
    """How far scores hang on which rows they were measured on: the grouped jackknife.

        (G − 1) / G Σ_g (θ_g − θ̄) (θ_g − θ̄)ᵀ + 1 / rows²,    θ_g = scores without group g

    All are measured on the same rows, so that they go up and down together, and what one is above
    another is far better known than each. The second term is one row's worth: where no row is
    wrong, they would be beyond doubt.

    Args:
        scores: of the sizes, by the numbers of some rows, (sizes,).
        rows: how many there are.
        seed: of the groups.
    """
    order = np.random.default_rng(seed).permutation(rows)
    groups = np.array_split(order, min(GROUPS, rows))
    without = np.array([scores(np.setdiff1d(order, group)) for group in groups])
    left = without - without.mean(0)
    found: Doubles = (len(groups) - 1) / len(groups) * (left.T @ left) + 1 / rows**2
    return found


def variance_of_fits(scores: Doubles) -> tuple[float, int]:
    """How far a mean over folds hangs on which rows were learnt from, and its degrees of freedom.

        r_kj = y_kj − ȳ_k − ȳ_j + ȳ,    ν = (K − 1) (S − 1),    Σ_kj r_kj² / (ν K)

    Part of it is again which rows were measured on: it is rather too large than too small.

    Args:
        scores: of each fold at each size, (folds, sizes).
    """
    left = scores - scores.mean(1, keepdims=True) - scores.mean(0) + scores.mean()
    folds, sizes = scores.shape
    freedom = (folds - 1) * (sizes - 1)
    return float((left**2).sum() / freedom / folds), freedom
