"""What a report says of a run, against numbers counted by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from scipy.sparse import csr_array
from tests.report.made_runs import facts_of, full_record, space
from tests.review.conftest import NAMES, SmallRun, run, sure, texts, write_run

from latentlabels.model.posterior import LabelEvidence
from latentlabels.report.atlas import meanings, pairs, swaps
from latentlabels.report.cards import closest, surest
from latentlabels.report.counts import ROWS_AT_ONCE, Changes, count

__all__ = ["run"]


def test_counts_of_a_run(run: SmallRun) -> None:
    counts = count(run.opened())
    assert counts.known.tolist() == [True, True, True, True, False]
    assert counts.verified.tolist() == [False, False, True, False, False]
    # Row 0 keeps its cat, row 1 loses its dog, row 3 its cat and keeps its tree; "sea" is none.
    changes = counts.changes
    found = list(zip(changes.row, changes.unit, changes.on, changes.confidence, strict=True))
    assert [(r, u, on, round(float(c), 4)) for r, u, on, c in found] == [
        (1, 1, False, 0.5),
        (3, 0, False, 0.6),
    ]
    # Rows 0, 1 and 3 are open; cats: 0.9 + 0.5 + 0.4 expected, given to rows 0 and 3.
    assert counts.expected.have[0] == pytest.approx(1.8)
    assert counts.expected.missing[0] == pytest.approx(0.5)
    assert counts.expected.given[0] == 2
    assert counts.expected.wrong[0] == pytest.approx(0.1 + 0.6)
    assert [NAMES[unit] for unit in counts.givable] == ["cat", "dog", "sky", "tree"]


def test_parts_come_to_the_same_as_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    p = random.random((60, 4))
    p[7] = np.nan
    given = [[name for name in NAMES if random.random() < 0.4] for _ in range(60)]
    opened = write_run(tmp_path, texts(60), given, p, verified=range(0, 60, 5)).opened()
    whole = count(opened)
    monkeypatch.setattr("latentlabels.report.counts.ROWS_AT_ONCE", 7)
    assert ROWS_AT_ONCE > 60
    parts = count(opened)
    for name in ("given", "proposed"):
        assert np.array_equal(getattr(whole, name).toarray(), getattr(parts, name).toarray())
    assert sorted(zip(whole.changes.row, whole.changes.unit, strict=True)) == sorted(
        zip(parts.changes.row, parts.changes.unit, strict=True)
    )
    assert parts.expected.have == pytest.approx(whole.expected.have)
    assert parts.expected.wrong == pytest.approx(whole.expected.wrong)


def test_a_verified_row_that_was_skipped_tells_nothing(tmp_path: Path) -> None:
    """Nothing is proposed for it, so that all it was given would seem wrong."""
    p = [sure("cat"), [np.nan] * len(NAMES), sure("cat")]
    run = write_run(tmp_path, texts(3), [["cat"]] * 3, p, verified=[0, 1])
    noise = facts_of(run).noise
    assert noise.rows == 1
    assert noise.wrong is not None
    assert noise.wrong.part == 0


def test_validation_and_test_rows_are_not_to_be_verified(tmp_path: Path) -> None:
    split = ["train", "validation", "test"]
    run = write_run(tmp_path, texts(3), [["cat"], [], []], [sure("dog")] * 3, split=split)
    facts = facts_of(run)
    assert (facts.open_rows, facts.changed_rows) == (1, 1)


def test_a_class_that_is_left_for_review_counts_once(tmp_path: Path) -> None:
    p = [[0.1, 0.6, 0.1, 0.2]] * 2
    run = write_run(tmp_path, texts(2), [["cat"], ["dog"]], p, exclusive=True)
    path = run.folder / "cleaned.parquet"
    table = pa.parquet.read_table(path)
    for name, cells in (("review_added", [["dog"], []]), ("review_removed", [["cat"], []])):
        table = table.append_column(name, pa.array(cells, pa.list_(pa.string())))
    pa.parquet.write_table(table, path)
    assert facts_of(run).counts.for_review == 1


def test_noise_is_that_of_the_verified_rows(tmp_path: Path) -> None:
    given = [["cat"], ["cat", "dog"], ["sky"]]
    p = [sure("cat", "dog"), sure("dog"), sure("tree")]
    facts = facts_of(write_run(tmp_path, texts(3), given, p, verified=[0, 1]))
    assert facts.noise.rows == 2
    assert facts.noise.wrong is not None
    assert facts.noise.missing is not None
    assert (facts.noise.wrong.part, facts.noise.wrong.of) == (1, 3)
    assert (facts.noise.missing.part, facts.noise.missing.of) == (1, 3)
    # "tree" was never given, so nothing can be said of its name.
    assert facts.never_given == 1
    assert {label.name for label in facts.labels} == {"cat", "dog", "sky"}
    assert facts.expected_wrong == 1
    assert (facts.open_rows, facts.changed_rows, facts.added, facts.removed) == (1, 1, 1, 1)


def test_the_auxiliary_s_own_proposal(run: SmallRun) -> None:
    cards = {card.row.number: card for card in facts_of(run).sure}
    assert set(cards) == {1, 3}
    told = cards[3].auxiliary
    assert told is not None
    assert [(guess.name, guess.given) for guess in told] == [("cat", True), ("tree", True)]


def changes_of(*quadruples: tuple[int, int, bool, float]) -> Changes:
    row, unit, on, confidence = zip(*quadruples, strict=True)
    return Changes(
        np.array(row), np.array(unit), np.array(on), np.array(confidence, dtype=np.float32)
    )


def test_no_kind_of_change_fills_the_page() -> None:
    many = [(row, 0, True, 0.99 - row / 1000) for row in range(20)]
    changes = changes_of(*many, (30, 1, True, 0.6), (31, 0, False, 0.7))
    rows, confidence = surest(changes, 4)
    assert rows.tolist() == [0, 1, 31, 30]
    assert confidence.tolist() == pytest.approx([0.99, 0.989, 0.7, 0.6])
    rows, confidence = closest(changes, 2)
    assert rows.tolist() == [30, 31]


def test_a_row_is_shown_once() -> None:
    rows, confidence = surest(changes_of((5, 0, True, 0.7), (5, 1, True, 0.9)), 4)
    assert rows.tolist() == [5]
    assert confidence.tolist() == pytest.approx([0.9])
    nothing = Changes(*(np.empty(0, kind) for kind in (int, int, bool, np.float32)))
    assert len(surest(nothing, 4)[0]) == len(closest(nothing, 4)[0]) == 0


def test_meanings_are_sorted_weights() -> None:
    weight = torch.tensor([[2.0, -1.0, 0.01], [0.5, 3.0, -2.0]])
    evidence = LabelEvidence(torch.zeros(2), weight, torch.zeros(2), weight / 2)
    first, second = meanings(evidence, space("abc"), space("xy"), [0, 1])
    assert [(link.noisy, link.nats) for link in first.raises] == [("a", 2.0)]
    assert [(link.noisy, link.nats) for link in first.lowers] == [("b", -1.0)]
    assert [link.noisy for link in second.raises] == ["b", "a"]
    assert second.raises[0].auxiliary == 1.5


def test_what_is_the_same_for_all_classes_means_nothing() -> None:
    weight = torch.tensor([[2.0, 1.0], [2.0, 5.0], [2.0, 3.0]])
    evidence = LabelEvidence(torch.zeros(3), weight, torch.zeros(3), weight)
    told = meanings(evidence, space("ab"), space("xyz", exclusive=True), [0, 1, 2])
    # The first noisy label says the same of all; the second less of x, and more of y.
    assert [of.raises for of in told] == [(), told[1].raises, ()]
    assert [link.nats for link in told[1].raises] == [2.0]
    assert [link.nats for link in told[0].lowers] == [-2.0]


def test_labels_that_go_together() -> None:
    together = np.repeat([[1, 1, 0]], 40, 0)
    apart = np.repeat([[0, 0, 1]], 60, 0)
    states = csr_array(np.concatenate([together, apart]))
    (pair,) = pairs(states, ["cat", "dog", "sky"], 10)
    assert (pair.one, pair.other, pair.together) == ("cat", "dog", 40)
    assert pair.lift == pytest.approx(100 * 40 / (40 * 40))
    assert pair.phi == pytest.approx(1.0)


def test_chance_makes_no_pair() -> None:
    states = np.random.default_rng(0).random((400, 6)) < 0.5
    assert pairs(csr_array(states.astype(int)), list("abcdef"), 10) == []


def test_swaps() -> None:
    given = csr_array(np.eye(3, dtype=int)[[0, 0, 0, 1, 2]])
    proposed = csr_array(np.eye(3, dtype=int)[[1, 1, 0, 2, 2]])
    told = swaps(given, proposed, list("abc"), 5)
    assert [(swap.given, swap.proposed, swap.rows) for swap in told] == [
        ("a", "b", 2),
        ("b", "c", 1),
    ]


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.01, 0.1, None),
        (-0.02, 0.03, "is not shown to predict better"),
        (-0.09, -0.01, "predicts worse"),
    ],
)
def test_a_model_that_does_not_help_is_told_of(
    run: SmallRun, low: float, high: float, said: str | None
) -> None:
    comparison = {"rows_of": "test", "rows": 9, "measure": "map", "low": low, "high": high}
    facts = facts_of(run, record=full_record(comparison=comparison))
    titles = " ".join(warned.title for warned in facts.warnings)
    assert (said is None) == (titles == "")
    assert said is None or said in titles


@pytest.mark.parametrize(
    ("right", "said"),
    [
        ([1] * 90 + [0] * 10, None),
        ([1] * 5 + [0] * 5, "not shown that most changes are right"),
        ([1] * 10 + [0] * 90, "Most changes are wrong"),
    ],
)
def test_changes_that_are_mostly_wrong_are_told_of(
    run: SmallRun, right: list[int], said: str | None
) -> None:
    facts = facts_of(run, right=right)
    titles = " ".join(warned.title for warned in facts.warnings)
    assert facts.held.right is not None
    assert facts.held.right.part == sum(right)
    assert (said is None) == (titles == "")
    assert said is None or said in titles
