"""What is counted while rows are cleaned a part at a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from latentlabels.cleaning import CleanedLabels
from latentlabels.data.labels import Name


@dataclass
class Tally:
    """Counts over the parts of a table.

    Attributes:
        rows: rows in all.
        verified: of these.
        changed: other rows where a name was added or removed.
        added: names that were, on these.
        removed: names that were, on these.
        changes: changes of rows that are not verified, label by label, made or not.
        for_review: of these, changes that were not made.
        unknown: noisy names that the model does not know, in the order they came.
    """

    rows: int = 0
    verified: int = 0
    changed: int = 0
    added: int = 0
    removed: int = 0
    changes: int = 0
    for_review: int = 0
    unknown: list[Any] = field(default_factory=list)

    def add(self, cleaned: CleanedLabels, unknown: Iterable[Name]) -> None:
        """Count one more part."""
        self.rows += len(cleaned)
        self.verified += int(cleaned.verified.sum())
        self.changed += int((cleaned.changed & ~cleaned.verified).sum())
        for row in np.flatnonzero(~cleaned.verified):
            self.added += len(cleaned.added[row])
            self.removed += len(cleaned.removed[row])
        self.changes += sum(not cleaned.verified[change.row] for change in cleaned.changes)
        self.for_review += len(cleaned.for_review)
        self.unknown = list(dict.fromkeys([*self.unknown, *unknown]))

    @classmethod
    def of(cls, shares: Iterable[dict[str, Any]]) -> Tally:
        """The sum of what several processes counted."""
        total = cls()
        for share in shares:
            for name, value in share.items():
                setattr(total, name, getattr(total, name) + value)
        total.unknown = list(dict.fromkeys(total.unknown))
        return total
