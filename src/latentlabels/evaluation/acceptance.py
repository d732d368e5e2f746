"""Which changes to accept, so that as many of them are right as somebody wants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from latentlabels.errors import LatentLabelsError

INTERVAL = 0.95


@dataclass(frozen=True)
class Precision:
    """How many of the accepted changes are right, judged by held-out rows.

    A uniform prior and the held-out changes make the precision Beta(1 + right, 1 + wrong): the
    estimate is its mean, Laplace's rule of succession, which asks the more of few changes.

    Attributes:
        right: accepted held-out changes that are right.
        accepted: accepted held-out changes.
        changes: all held-out changes.
    """

    right: int
    accepted: int
    changes: int

    @property
    def estimate(self) -> float:
        """(right + 1) / (accepted + 2)."""
        return (self.right + 1) / (self.accepted + 2)

    @property
    def interval(self) -> tuple[float, float]:
        """Where the precision is with a probability of 95 in 100."""
        low, high = beta.interval(INTERVAL, 1 + self.right, 1 + self.accepted - self.right)
        return float(low), float(high)

    def as_json(self) -> dict[str, Any]:
        """The same as values that JSON keeps."""
        low, high = self.interval
        told = {"precision": self.estimate, "low": low, "high": high} if self.accepted else {}
        return {**vars(self), **told}


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
                f"no change is accepted: of {overall.changes} changes on held-out verified rows "
                f"none are so sure that an estimated {self.wanted:.1%} of them are right"
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
    """The most changes whose estimated precision reaches what is wanted.

    Args:
        wanted: share of accepted changes that are to be right.
        confidence: of every held-out change, (changes,).
        right: which of them are right, (changes,).
        on: which of them add a label, (changes,).

    Raises:
        LatentLabelsError: what is wanted is no share between 0 and 1.
    """
    require_share(wanted)
    added, of_added = _least(wanted, confidence[on], right[on])
    removed, of_removed = _least(wanted, confidence[~on], right[~on])
    return Acceptance(wanted, added, removed, of_added, of_removed)


def require_share(wanted: float) -> None:
    """Check that a precision can be asked for.

    Raises:
        LatentLabelsError: it is no share between 0 and 1.
    """
    if not 0 < wanted < 1:
        hint = f" Did you mean {wanted / 100:g}?" if 1 < wanted < 100 else ""
        raise LatentLabelsError(
            f"precision is a share of changes between 0 and 1, such as 0.95; got {wanted:g}.{hint}"
        )


def _least(
    wanted: float, confidence: NDArray[np.floating[Any]], right: NDArray[np.bool_]
) -> tuple[float | None, Precision]:
    """The lowest threshold that will do, and what it comes to."""
    order = np.argsort(-confidence, kind="stable")
    sure, hits = confidence[order], np.cumsum(right[order])
    accepted = np.arange(1, len(sure) + 1)
    last_of_its_confidence = np.append(sure[1:] < sure[:-1], True)[: len(sure)]
    enough = (hits + 1) / (accepted + 2) >= wanted
    fitting = np.flatnonzero(enough & last_of_its_confidence)
    if len(fitting) == 0:
        return None, Precision(0, 0, len(sure))
    k = fitting[-1]
    return float(sure[k]), Precision(int(hits[k]), int(accepted[k]), len(sure))
