"""From the posterior to cleaned labels: what was given, what is proposed, and what changed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
import torch
from numpy.typing import NDArray

from latentlabels.data.labels import LabelSpace, Name, Span
from latentlabels.errors import InputError, LabelError, shown
from latentlabels.evaluation.acceptance import Acceptance
from latentlabels.evaluation.ordering import Doubt, order_of_checks
from latentlabels.reasons import Evidence, Reasons, unit_of


class Status(StrEnum):
    """What became of a row where a precision was asked for."""

    KEPT = "kept"
    ACCEPTED = "accepted"
    REVIEW = "review"


@dataclass(frozen=True)
class Change:
    """What is proposed to become of a label; of a class, all that goes with its replacement.

    Attributes:
        row: which row.
        unit: the clean unit that decides: of classes the proposed one.
        on: whether it is proposed to be on.
        added: names that it adds.
        removed: names that it removes.
        confidence: how probable it is that the unit is as proposed.
        accepted: whether it is among the cleaned labels, or left for review.
    """

    row: int
    unit: int
    on: bool
    added: tuple[Name, ...]
    removed: tuple[Name, ...]
    confidence: float
    accepted: bool = True


@dataclass(frozen=True)
class Check:
    """A row that somebody should verify.

    Attributes:
        row: which row.
        bits: how uncertain its labels are, which is what a check of it tells.
        label: the clean label that is most in doubt.
        probability: of that label.
    """

    row: int
    bits: float
    label: Name
    probability: float


@dataclass(frozen=True)
class CleanedLabels:
    """Cleaned labels of a set of rows.

    Where a precision was asked for, only accepted changes are proposed; the others keep what was
    given and are left for review.

    Attributes:
        space: the clean labels' space.
        given: names that came with each row.
        proposed: names that each row should have.
        added: proposed and not given.
        removed: given, known to the clean vocabulary, and not proposed.
        verified: rows whose clean labels were known: what is proposed is what was verified,
            (rows,).
        probabilities: E_q[ŷ | x, y] of every clean label, 0 or 1 on verified rows, NaN on skipped
            rows, (rows, clean).
        changes: what was added and removed, or would have been, label by label, in the rows' order.
        skipped: why the example of a row could not be used, by row; such a row has no proposal.
        evidence: what the probabilities rest on.
        acceptance: which changes are accepted, where a precision was asked for.
    """

    space: LabelSpace
    given: list[list[Name]]
    proposed: list[list[Name]]
    added: list[list[Name]]
    removed: list[list[Name]]
    verified: NDArray[np.bool_]
    probabilities: NDArray[np.float32]
    changes: list[Change]
    skipped: Mapping[int, str] = field(default_factory=dict)
    evidence: Evidence | None = None
    acceptance: Acceptance | None = None

    def __len__(self) -> int:
        return len(self.given)

    @property
    def names(self) -> tuple[Name, ...]:
        """The clean vocabulary, in the order of `probabilities`."""
        return self.space.names

    @property
    def changed(self) -> NDArray[np.bool_]:
        """Rows where a name was added or removed, (rows,)."""
        pairs = zip(self.added, self.removed, strict=True)
        return np.array([bool(added or removed) for added, removed in pairs], dtype=bool)

    @property
    def status(self) -> list[Status]:
        """Of every row: to review where a change is left to look at, accepted or kept."""
        told = [Status.ACCEPTED if changed else Status.KEPT for changed in self.changed]
        for change in self.for_review:
            told[change.row] = Status.REVIEW
        return told

    @property
    def for_review(self) -> list[Change]:
        """Changes that are not accepted, in the rows' order."""
        return [change for change in self.changes if not change.accepted]

    def to_verify(self, count: int, done: Collection[int] = ()) -> list[Check]:
        """The rows to verify next, the most telling first: the order of the review page.

        Verified and skipped rows are not among them.

        Args:
            count: how many at most.
            done: other rows that are not to be looked at.
        """
        exclusive = np.zeros(len(self.names), dtype=bool)
        for span in self.space.spans:
            exclusive[span.start : span.stop] = span.exclusive
        found = Doubt.of(self.probabilities, exclusive)
        pairs = zip(found.label, self.given, strict=True)
        alike = np.array([self.names[unit] in given for unit, given in pairs], dtype=bool)
        left = ~self.verified & ~np.isnan(found.bits)
        left[list(done)] = False
        order = order_of_checks(found, alike)
        return [
            Check(
                int(row),
                float(found.bits[row]),
                self.names[found.label[row]],
                float(self.probabilities[row, found.label[row]]),
            )
            for row in order[left[order]][:count]
        ]

    def reasons(self, row: int, label: Name, against: Name | None = None) -> Reasons:
        """Why a row has a clean label or has it not: an exact split of its log-odds.

        Of a verified row, what would be said of it if it were not.

        Args:
            row: which row.
            label: the clean label.
            against: where labels exclude each other, the class to weigh it against; by default the
                proposed class and, for that one, the class that was given, or else the next
                likely.

        Raises:
            LabelError: no such label, or one against one of another column.
            InputError: the row was skipped.
        """
        if row in self.skipped:
            raise InputError(f"Row {row} has no reasons, for it was skipped: {self.skipped[row]}")
        unit = unit_of(self.space, label)
        span = next(span for span in self.space.spans if unit < span.stop)
        rival = None
        if against is not None:
            rival = unit_of(self.space, against)
            if not (span.exclusive and span.start <= rival < span.stop and rival != unit):
                raise LabelError(
                    f"{shown(label)} does not exclude {shown(against)}: leave `against` out, or "
                    "name another class of the same column."
                )
        elif span.exclusive:
            rival = self._rival(row, unit, span)
        assert self.evidence is not None
        return self.evidence.reasons(row, unit, rival)

    def top_reasons(self) -> list[list[str]]:
        """The reasons of every change in words, for every row."""
        told: list[list[str]] = [[] for _ in self.given]
        for change in self.changes:
            told[change.row].append(self._told(change))
        return told

    def _told(self, change: Change) -> str:
        added, removed = (", ".join(map(str, part)) for part in (change.added, change.removed))
        what = f"added {added}" if added else f"removed {removed}"
        if added and removed:
            what = f"{added} instead of {removed}"
        if not change.accepted:
            what = f"for review, {what}"
        if self.verified[change.row]:
            return f"{what}: verified"
        name = (change.added or change.removed)[0]
        return f"{what}: {self.reasons(change.row, name).top}"

    def _rival(self, row: int, unit: int, span: Span) -> int | None:
        """The class that another is weighed against by default; None where it is the only one."""
        assert self.evidence is not None
        logits = self.evidence.logits(row)[span.start : span.stop]
        likely = [span.start + int(k) for k in np.argsort(-logits, kind="stable")]
        if unit != likely[0]:
            return likely[0]
        given = [other for other in likely[1:] if self.names[other] in self.given[row]]
        return next(iter(given or likely[1:]), None)


def clean_labels(
    space: LabelSpace,
    given: list[list[Name]],
    probabilities: NDArray[np.float32],
    known: NDArray[np.float32],
    verified: NDArray[np.bool_],
    skipped: Mapping[int, str] | None = None,
    evidence: Evidence | None = None,
    acceptance: Acceptance | None = None,
) -> CleanedLabels:
    """Turn posterior means into proposals.

    Args:
        space: the clean labels' space.
        given: names that came with each row.
        probabilities: posterior means, (rows, clean).
        known: clean states, (rows, clean); read on verified rows only.
        verified: which rows those are, (rows,).
        skipped: why rows were not looked at, by row.
        evidence: what the probabilities rest on.
        acceptance: which changes to accept; by default all.
    """
    probabilities = np.where(verified[:, None], known, probabilities).astype(np.float32)
    probabilities[list(skipped or {})] = np.nan
    states = space.units.mode(torch.from_numpy(np.nan_to_num(probabilities))).numpy()
    proposed = space.decode(states)
    unknown = np.asarray(np.isnan(probabilities).any(1))
    for missing_row in np.flatnonzero(unknown):
        proposed[missing_row] = []
    vocabulary = set(space.names)
    # Where nothing is proposed since nothing is known, nothing changes.
    pairs = [
        ([], []) if missing else (old, new)
        for old, new, missing in zip(given, proposed, unknown, strict=True)
    ]
    added = [_without(new, old) for old, new in pairs]
    removed = [[name for name in _without(old, new) if name in vocabulary] for old, new in pairs]
    changes = []
    for change in _changes(space, added, removed, states, probabilities):
        row = change.row
        if acceptance and not (verified[row] or acceptance.accepts(change.on, change.confidence)):
            change = replace(change, accepted=False)
            kept = {*_without(proposed[row], change.added), *change.removed}
            proposed[row] = [name for name in space.names if name in kept]
            added[row] = _without(added[row], change.added)
            removed[row] = _without(removed[row], change.removed)
        changes.append(change)
    return CleanedLabels(
        space=space,
        given=given,
        proposed=proposed,
        added=added,
        removed=removed,
        verified=verified,
        probabilities=probabilities,
        changes=changes,
        skipped=skipped or {},
        evidence=evidence,
        acceptance=acceptance,
    )


def _changes(
    space: LabelSpace,
    added: list[list[Name]],
    removed: list[list[Name]],
    states: NDArray[np.bool_],
    probabilities: NDArray[np.float32],
) -> Iterator[Change]:
    """What was added and removed, label by label."""
    units = {name: unit for unit, name in enumerate(space.names)}
    spans = [span for span in space.spans for _ in range(span.start, span.stop)]
    for row, sides in enumerate(zip(added, removed, strict=True)):
        # By the unit that decides.
        groups: dict[int, tuple[list[Name], list[Name]]] = {}
        for side, names in enumerate(sides):
            for name in names:
                unit = units[name]
                span = spans[unit]
                if span.exclusive:
                    unit = span.start + int(states[row, span.start : span.stop].argmax())
                groups.setdefault(unit, ([], []))[side].append(name)
        for unit, (new, old) in groups.items():
            on, share = bool(states[row, unit]), float(probabilities[row, unit])
            yield Change(row, unit, on, tuple(new), tuple(old), share if on else 1 - share)


def _without(names: Sequence[Name], others: Sequence[Name]) -> list[Name]:
    left_out = set(others)
    return [name for name in names if name not in left_out]
