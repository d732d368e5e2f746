"""Which changes to accept, so that as many of them are right as somebody wants.

A threshold on confidence is chosen on held-out changes. The lowest one at which they look precise
enough is one where luck helped, so that luck is allowed for when it is chosen, and it is judged by
changes that had no say in it:

- a threshold will do if precision below what is wanted would be unlikely to let as many of the
  changes above it be right, by an exact binomial test, P(Bin(n, wanted) ≥ right) ≤ risk;
- the estimate is cross-fitted: each fold of the changes is held against the threshold that the
  other folds choose. Where it does not reach what is wanted, a smaller risk is taken.

Source: Angelopoulos et al., Learn then Test (2021), for thresholds chosen by tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc
from scipy.stats import binomtest
from sklearn.model_selection import KFold

from latentlabels.errors import LatentLabelsError

INTERVAL: Final = 0.95
RISKS: Final = (0.3, 0.2, 0.1)
"""That a threshold passes the test whose precision is below what is wanted."""
FOLDS: Final = 10


@dataclass(frozen=True)
class Precision:
    """How many of the accepted changes are right, judged by held-out rows.

    Attributes:
        right: accepted held-out changes that are right.
        accepted: held-out changes that a threshold accepts which was chosen without them.
        changes: all held-out changes.
    """

    right: int
    accepted: int
    changes: int

    @property
    def estimate(self) -> float:
        """The share of accepted changes that are right; there have to be some."""
        return self.right / self.accepted

    @property
    def interval(self) -> tuple[float, float]:
        """Clopper and Pearson's interval, which has the precision in it 95 times in 100."""
        found = binomtest(self.right, self.accepted).proportion_ci(INTERVAL, method="exact")
        return float(found.low), float(found.high)

    def as_json(self) -> dict[str, Any]:
        """The same as values that JSON keeps."""
        if not self.accepted:
            return dict(vars(self))
        low, high = self.interval
        return {**vars(self), "precision": self.estimate, "low": low, "high": high}


@dataclass(frozen=True)
class Acceptance:
    """Which changes are accepted: those at least as sure as a threshold, one for each kind.

    Labels that are added and labels that are taken away go wrong for different reasons.

    Attributes:
        wanted: the precision that is wanted.
        added: least confidence of a change that adds a label; None where none is sure enough.
        removed: likewise of one that only takes one away.
        of_added: what held-out rows say of the first kind.
        of_removed: of the second.
    """

    wanted: float
    added: float | None
    removed: float | None
    of_added: Precision
    of_removed: Precision

    def accepts(self, on: bool, confidence: float) -> bool:
        """Whether a change is accepted; `on`: whether it adds a label."""
        threshold = self.added if on else self.removed
        return threshold is not None and confidence >= threshold

    @property
    def overall(self) -> Precision:
        """What held-out rows say of both kinds together."""
        return Precision(
            self.of_added.right + self.of_removed.right,
            self.of_added.accepted + self.of_removed.accepted,
            self.of_added.changes + self.of_removed.changes,
        )

    def told(self) -> str:
        """How precise the accepted changes are, or why there are none."""
        overall = self.overall
        if not overall.accepted:
            return (
                f"no change is accepted: {overall.changes} changes on held-out verified rows are "
                f"too few, or too often wrong, to tell of any that {self.wanted:.1%} are right"
            )
        low, high = overall.interval
        return (
            f"{overall.estimate:.1%} of accepted changes are right (95 % interval {low:.1%} to "
            f"{high:.1%}), by {overall.accepted} of {overall.changes} changes on held-out rows"
        )

    def as_json(self) -> dict[str, Any]:
        """The same as values that JSON keeps."""
        return {
            "wanted": self.wanted,
            **self.overall.as_json(),
            "added": {"threshold": self.added, **self.of_added.as_json()},
            "removed": {"threshold": self.removed, **self.of_removed.as_json()},
        }


def acceptance_for(
    wanted: float,
    confidence: NDArray[np.floating[Any]],
    right: NDArray[np.bool_],
    on: NDArray[np.bool_],
) -> Acceptance:
    """The lowest thresholds whose precision surely reaches what is wanted.

    Args:
        wanted: share of accepted changes that are to be right.
        confidence: of every held-out change, (changes,).
        right: which of them are right, (changes,).
        on: which of them add a label, (changes,).

    Raises:
        LatentLabelsError: what is wanted is no share between 0 and 1.
    """
    require_share(wanted)
    added, of_added = _chosen(wanted, confidence[on], right[on])
    removed, of_removed = _chosen(wanted, confidence[~on], right[~on])
    return Acceptance(wanted, added, removed, of_added, of_removed)


def require_share(wanted: float) -> None:
    """Check that a precision can be asked for.

    Raises:
        LatentLabelsError: it is no share between 0 and 1.
    """
    if not 0 < wanted < 1:
        hint = f" Did you mean {wanted / 100:g}?" if 50 <= wanted < 100 else ""
        raise LatentLabelsError(
            f"precision is a share of changes between 0 and 1, such as 0.95; got {wanted:g}.{hint}"
        )


def _chosen(
    wanted: float, confidence: NDArray[np.floating[Any]], right: NDArray[np.bool_]
) -> tuple[float | None, Precision]:
    """The threshold for changes of one kind, and what held-out ones say of it."""
    folds = []
    if len(right) >= FOLDS:
        folds = list(KFold(FOLDS, shuffle=True, random_state=0).split(confidence))
    for risk in RISKS if folds else ():
        hits = accepted = 0
        for others, own in folds:
            threshold = _least(wanted, risk, confidence[others], right[others])
            if threshold is not None:
                taken = right[own][confidence[own] >= threshold]
                hits, accepted = hits + int(taken.sum()), accepted + len(taken)
        judged = Precision(hits, accepted, len(right))
        threshold = _least(wanted, risk, confidence, right)
        if threshold is not None and accepted and judged.estimate >= wanted:
            return threshold, judged
    return None, Precision(0, 0, len(right))


def _least(
    wanted: float,
    risk: float,
    confidence: NDArray[np.floating[Any]],
    right: NDArray[np.bool_],
) -> float | None:
    """The lowest threshold that passes the test; None where none does."""
    order = np.argsort(-confidence, kind="stable")
    sure, hits = confidence[order], np.cumsum(right[order])
    accepted = np.arange(1, len(sure) + 1)
    last_of_its_confidence = np.append(sure[1:] < sure[:-1], True)
    unlikely = bdtrc(hits - 1, accepted, wanted) <= risk
    passing = np.flatnonzero(unlikely & last_of_its_confidence)
    return float(sure[passing[-1]]) if len(passing) else None
