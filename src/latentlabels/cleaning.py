"""From the posterior to cleaned labels: what was given, what is proposed, and what changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from latentlabels.data.labels import LabelSpace, Name


@dataclass(frozen=True)
class CleanedLabels:
    """Cleaned labels of a set of rows.

    Attributes:
        names: the clean vocabulary, in the order of `probabilities`.
        given: names that came with each row.
        proposed: names that each row should have.
        added: proposed and not given.
        removed: given, known to the clean vocabulary, and not proposed.
        verified: rows whose clean labels were known: what is proposed is what was verified,
            (rows,).
        probabilities: E_q[ŷ | x, y] of every clean label, 0 or 1 on verified rows, NaN on skipped
            rows, (rows, clean).
        skipped: why the example of a row could not be used, by row; such a row has no proposal.
    """

    names: tuple[Name, ...]
    given: list[list[Name]]
    proposed: list[list[Name]]
    added: list[list[Name]]
    removed: list[list[Name]]
    verified: NDArray[np.bool_]
    probabilities: NDArray[np.float32]
    skipped: Mapping[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.given)

    @property
    def changed(self) -> NDArray[np.bool_]:
        """Rows where a name was added or removed, (rows,)."""
        pairs = zip(self.added, self.removed, strict=True)
        return np.array([bool(added or removed) for added, removed in pairs], dtype=bool)


def clean_labels(
    space: LabelSpace,
    given: list[list[Name]],
    probabilities: NDArray[np.float32],
    known: NDArray[np.float32],
    verified: NDArray[np.bool_],
    skipped: Mapping[int, str] | None = None,
) -> CleanedLabels:
    """Turn posterior means into proposals.

    Args:
        space: the clean labels' space.
        given: names that came with each row.
        probabilities: posterior means, (rows, clean).
        known: clean states, (rows, clean); read on verified rows only.
        verified: which rows those are, (rows,).
        skipped: why rows were not looked at, by row.
    """
    probabilities = np.where(verified[:, None], known, probabilities).astype(np.float32)
    probabilities[list(skipped or {})] = np.nan
    states = space.units.mode(torch.from_numpy(np.nan_to_num(probabilities))).numpy()
    proposed = space.decode(states)
    unknown = np.asarray(np.isnan(probabilities).any(1))
    for row in np.flatnonzero(unknown):
        proposed[row] = []
    vocabulary = set(space.names)
    # Where nothing is proposed since nothing is known, nothing changes.
    pairs = [
        ([], []) if missing else (old, new)
        for old, new, missing in zip(given, proposed, unknown, strict=True)
    ]
    return CleanedLabels(
        names=space.names,
        given=given,
        proposed=proposed,
        added=[_without(new, old) for old, new in pairs],
        removed=[[name for name in _without(old, new) if name in vocabulary] for old, new in pairs],
        verified=verified,
        probabilities=probabilities,
        skipped=skipped or {},
    )


def _without(names: list[Name], others: list[Name]) -> list[Name]:
    left_out = set(others)
    return [name for name in names if name not in left_out]
