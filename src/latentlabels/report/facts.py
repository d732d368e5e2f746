"""All that a report says of a run, gathered before any of it becomes markup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import pyarrow.compute as pc

from latentlabels.data.labels import LabelSpace
from latentlabels.evaluation.label_noise import LabelNoise, Noise, Share, share
from latentlabels.report.atlas import Meaning, Pair, Swap, meanings, pairs, swaps
from latentlabels.report.cards import Card, cards, closest, surest
from latentlabels.report.charts import Chart, curve, learning_chart, reliability_chart
from latentlabels.report.counts import Counts, count, for_review
from latentlabels.report.record import Record
from latentlabels.robust_model import RobustModel
from latentlabels.runs.run import Run

SURE_SHOWN: Final = 24
CLOSE_SHOWN: Final = 8
LABELS_LISTED: Final = 40
PAIRS_LISTED: Final = 16


@dataclass(frozen=True)
class LabelRow:
    """What is known of the noise of one label.

    Attributes:
        name: of the label.
        known: what verified rows say.
        have: rows, of those that nobody verified, that are expected to have it.
        missing: share of these that it was not given to, as the model expects; None without any.
        given: rows, of those that nobody verified, that it was given to.
        wrong: share of these that should not have it, as the model expects; None without any.
    """

    name: str
    known: LabelNoise
    have: float
    missing: float | None
    given: float
    wrong: float | None


@dataclass(frozen=True)
class Held:
    """What changes on held-out verified rows come to, by cross-validation.

    Attributes:
        right: share of the changes that are right; None where there were none.
        known: whether there were rows to hold out.
    """

    right: Share | None
    known: bool


@dataclass(frozen=True)
class Warned:
    """Something that a reader has to know before the rest.

    Attributes:
        title: in a few words.
        text: and in more.
    """

    title: str
    text: str


@dataclass(frozen=True)
class Facts:
    """What the report says.

    Attributes:
        title: of the page.
        run: the run.
        counts: it in numbers.
        record: what is known of the fit; None where nothing is.
        provenance: where the model came from.
        warnings: what to know before the rest.
        noise: of given labels, by verified rows.
        expected_missing: of labels that rows should have, the share that was not given, as the
            model expects of rows that nobody verified; None where there are no such rows.
        expected_wrong: of given labels, the share that is wrong, likewise.
        labels: noise label by label, the commonest first.
        more_labels: how many are left out.
        never_given: clean labels that no row was given under their own name.
        held: what changes on held-out rows come to.
        sure: rows with the surest changes.
        close: rows with the closest calls.
        meanings: what noisy labels say of the commonest clean ones.
        more_meanings: of how many clean labels it is left out.
        pairs: labels that go together.
        swaps: classes that took another's place.
        curves: of training.
        reliability: of the probabilities.
        learning: what more verified rows would bring.
    """

    title: str
    run: Run
    counts: Counts
    record: Record | None
    provenance: Mapping[str, Any]
    warnings: list[Warned]
    noise: Noise
    expected_missing: float | None
    expected_wrong: float | None
    labels: list[LabelRow]
    more_labels: int
    never_given: int
    held: Held
    sure: list[Card]
    close: list[Card]
    meanings: list[Meaning]
    more_meanings: int
    pairs: list[Pair]
    swaps: list[Swap]
    curves: list[Chart]
    reliability: Chart | None
    learning: Chart | None

    @property
    def open_rows(self) -> int:
        """Rows that something is proposed for and nobody had verified."""
        return int(self.counts.open.sum())

    @cached_property
    def changed_rows(self) -> int:
        """Rows of these with a change, made or left for review."""
        return len(np.unique(self.counts.changes.row))

    @property
    def added(self) -> int:
        """Labels that changes of these rows add."""
        return int(self.counts.changes.on.sum())

    @property
    def removed(self) -> int:
        """Labels that changes of these rows remove."""
        return len(self.counts.changes) - self.added

    @property
    def settings(self) -> list[tuple[str, Any]]:
        """Settings of the fit, by name."""
        return sorted((self.record.settings if self.record else {}).items())


def gather(
    run: Run,
    model: RobustModel,
    noisy: LabelSpace,
    clean: LabelSpace,
    provenance: Mapping[str, Any],
    record: Record | None,
    title: str | None = None,
) -> Facts:
    """Everything that a report says of a run.

    Args:
        run: the run.
        model: that cleaned it, with or without its networks.
        noisy: the noisy labels' space.
        clean: the clean labels' space.
        provenance: where the model came from.
        record: what is known of its fit.
        title: of the page; by default it names the table.
    """
    counts = count(run)
    common = [int(unit) for unit in counts.commonest[:LABELS_LISTED]]
    noise, held = counts.noise(), held_changes(model)
    listed = [unit for unit in counts.commonest if unit in set(counts.givable)]
    expected = counts.expected
    units = counts.givable
    known = np.flatnonzero(counts.known)
    of_all = (counts.given[known], counts.proposed[known])
    sure, close = surest(counts.changes, SURE_SHOWN), closest(counts.changes, CLOSE_SHOWN)
    shown_before = set(sure[0].tolist())
    waiting = _for_review(run)
    both = [
        cards(run, rows.tolist(), sureness.tolist(), model.auxiliary, noisy, waiting)
        for rows, sureness in (sure, close)
    ]
    return Facts(
        title=title or f"Cleaned labels of {run.subject.table}",
        run=run,
        counts=counts,
        record=record,
        provenance=provenance,
        warnings=[*of_no_help(record, held), *([] if noise.rows else [UNVERIFIED])],
        noise=noise,
        expected_missing=_ratio(expected.missing[units].sum(), expected.have[units].sum()),
        expected_wrong=_ratio(expected.wrong[units].sum(), expected.given[units].sum()),
        labels=[_label_row(run, counts, noise, int(unit)) for unit in listed[:LABELS_LISTED]],
        more_labels=max(0, len(listed) - LABELS_LISTED),
        never_given=len(run.names) - len(units),
        held=held,
        sure=both[0],
        close=[card for card in both[1] if card.row.number not in shown_before],
        meanings=meanings(model.label_evidence(), noisy, clean, common),
        more_meanings=max(0, len(run.names) - LABELS_LISTED),
        pairs=[] if run.exclusive else pairs(of_all[1], run.names, PAIRS_LISTED),
        swaps=swaps(*of_all, run.names, PAIRS_LISTED) if run.exclusive else [],
        curves=_curves(record),
        reliability=None
        if record is None or record.calibration is None
        else reliability_chart(record.calibration),
        learning=None
        if record is None or record.learning_curve is None
        else learning_chart(record.learning_curve),
    )


def of_no_help(record: Record | None, held: Held) -> list[Warned]:
    """Where the model does not help, or where it cannot be told that it does."""
    told = []
    comparison = None if record is None else record.comparison
    if comparison is not None and comparison.why_not is None and comparison.low <= 0:
        worse = comparison.high < 0
        told.append(
            Warned(
                "The model predicts worse than the verified rows alone"
                if worse
                else "The model is not shown to predict better than the verified rows alone",
                f"On {comparison.rows:,} {comparison.rows_of} rows its {comparison.measure_told} "
                f"is {comparison.model:.1%}, that of the same networks trained on the verified "
                f"rows alone {comparison.verified_only:.1%}. "
                + (
                    "Either the noisy labels do harm, or training was too short for them: look "
                    "whether the score still rises at the end."
                    if worse
                    else "The rows are too few to tell them apart, or the noisy labels add little."
                ),
            )
        )
    chosen = record is not None and record.acceptance is not None
    if held.right is not None and held.right.low < 0.5 and not chosen:
        told.append(
            Warned(
                "Most changes are wrong"
                if held.right.high < 0.5
                else "It is not shown that most changes are right",
                f"Of {held.right.of:,.0f} changes on held-out verified rows {held.right.part:,.0f} "
                "are right. Keep the labels as they were given, or make only changes that are sure "
                "enough: --precision.",
            )
        )
    return told


def held_changes(model: RobustModel) -> Held:
    """Held-out changes, as the calibrator keeps them; none are kept without held-out rows."""
    right = model.calibrator.right
    untouched = bool((model.calibrator.slope == 1).all() and (model.calibrator.offset == 0).all())
    return Held(share(float(right.sum()), len(right)), known=len(right) > 0 or not untouched)


UNVERIFIED: Final = Warned(
    "Nobody has verified a row of this table",
    "How noisy the labels are is what the model expects, and nothing here checks it. Verify some "
    "rows, drawn at random.",
)


def _label_row(run: Run, counts: Counts, noise: Noise, unit: int) -> LabelRow:
    expected = counts.expected
    place = int(np.searchsorted(counts.givable, unit))
    return LabelRow(
        name=run.names[unit],
        known=noise.labels[place],
        have=float(expected.have[unit]),
        missing=_ratio(expected.missing[unit], expected.have[unit]),
        given=float(expected.given[unit]),
        wrong=_ratio(expected.wrong[unit], expected.given[unit]),
    )


def _ratio(part: float, of: float) -> float | None:
    return float(part / of) if of > 0 else None


def _for_review(run: Run) -> Sequence[int]:
    """Rows with changes that were not made."""
    some = np.zeros(len(run), dtype=np.bool_)
    for column in for_review(run):
        some |= pc.fill_null(pc.list_value_length(column), 0).to_numpy() > 0
    waiting: list[int] = np.flatnonzero(some).tolist()
    return waiting


def _curves(record: Record | None) -> list[Chart]:
    """Loss, validation score and α over epochs, as far as they are known."""
    if record is None or not record.history:
        return []
    epochs = [epoch.get("epoch") or 0.0 for epoch in record.history]
    drawn = [
        curve(title, epochs, [epoch.get(name) for epoch in record.history], record.best_epoch)
        for title, name in (("loss", "loss"), ("validation score", "validation"), ("α", "alpha"))
    ]
    return [chart for chart in drawn if chart is not None]
