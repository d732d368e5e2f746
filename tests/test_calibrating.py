"""Calibration: known distortions are undone, and only held-out rows have a say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.small_tables import LEARNING, SmallTable, table_of_classes, table_of_tags

from latentlabels.calibrating import calibrate
from latentlabels.data.labels import LabelSpace, Name, Vocabulary
from latentlabels.errors import LatentLabelsError
from latentlabels.estimator import RobustClassifier
from latentlabels.report.reliability import save_reliability

TAGS = LabelSpace(("",), (Vocabulary(("cat", "dog", "owl"), exclusive=False),))
KIND = LabelSpace(("",), (Vocabulary(("cat", "dog", "owl"), exclusive=True),))
BOTH = LabelSpace(("tags", "kind"), (TAGS.vocabularies[0], KIND.vocabularies[0]))
ROWS = 2000


def drawn(space: LabelSpace, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Natural parameters that are true, and labels drawn from them, float32 (rows, labels)."""
    generator = torch.Generator().manual_seed(seed)
    units = space.units
    logits = 1.5 * torch.randn(ROWS, units.size, generator=generator)
    truth = units.sample(logits, torch.rand(ROWS, units.draws, generator=generator))
    return logits.numpy(), truth.numpy()


def nothing_given() -> list[list[Name]]:
    return [[] for _ in range(ROWS)]


@pytest.mark.parametrize("space", [TAGS, KIND, BOTH], ids=["tags", "kind", "both"])
def test_logits_that_are_too_large_are_shrunk(space: LabelSpace) -> None:
    """Three times too large: a slope of 1/3, within the grid's step and five standard errors."""
    logits, truth = drawn(space)
    calibrator, measured = calibrate(space, 3 * logits, truth, nothing_given())
    np.testing.assert_allclose(calibrator.slope, 1 / 3, rtol=0.15)
    np.testing.assert_allclose(calibrator.offset, 0, atol=0.25)
    assert measured.rows == ROWS
    assert measured.after.ece < measured.before.ece / 3
    assert measured.after.brier < measured.before.brier


def test_a_label_that_is_said_too_often_gets_a_bias_of_its_own() -> None:
    logits, truth = drawn(TAGS)
    moved = logits + np.array([0, 0, 1], dtype=np.float32)
    calibrator, _ = calibrate(TAGS, moved, truth, nothing_given())
    np.testing.assert_allclose(calibrator.offset, [0, 0, -1], atol=0.3)


def test_held_out_changes_are_those_of_rows_the_calibrator_has_not_seen() -> None:
    """As many as there are labels on, where nothing was given; right where the label is there.

    Calibration's bias of 5 standard errors, 0.06 each, would move 160 labels across one half.
    """
    logits, truth = drawn(TAGS)
    calibrator, _ = calibrate(TAGS, logits, truth, nothing_given())
    assert calibrator.added.all()
    assert len(calibrator.right) == pytest.approx((logits > 0).sum(), abs=3 * 160)
    assert float(calibrator.right.mean()) == pytest.approx(
        float(calibrator.confidence.mean()), abs=5 * 0.5 / len(calibrator.right) ** 0.5
    )
    given: list[list[Name]] = [["cat", "new"] for _ in range(ROWS)]
    calibrator, _ = calibrate(TAGS, logits, truth, given)
    removed = calibrator.added == 0
    assert int(removed.sum()) == pytest.approx((logits[:, 0] < 0).sum(), abs=160)
    assert float(calibrator.right[removed].mean()) == pytest.approx(
        1 - truth[logits[:, 0] < 0, 0].mean(), abs=0.03
    )


@pytest.mark.parametrize("truth", [np.zeros((30, 3)), np.ones((30, 3))], ids=["none", "all"])
def test_labels_that_are_all_alike_teach_nothing(truth: np.ndarray) -> None:
    logits = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    calibrator, _ = calibrate(TAGS, logits, truth.astype(np.float32), nothing_given()[:30])
    assert torch.equal(calibrator.slope, torch.ones(3))
    assert torch.equal(calibrator.offset, torch.zeros(3))


def test_logits_that_speak_against_the_truth_are_left_as_they_are() -> None:
    logits, truth = drawn(TAGS)
    calibrator, _ = calibrate(TAGS, -logits, truth, nothing_given())
    assert torch.equal(calibrator.slope, torch.ones(3))


def fitted(table: SmallTable, **arguments: object) -> RobustClassifier:
    model = RobustClassifier(**{**LEARNING, **arguments})
    return model.fit(table.x, table.noisy, clean=table.clean)


def test_verified_rows_that_are_held_out_calibrate_where_nothing_else_does(
    tmp_path: Path,
) -> None:
    table = table_of_tags(rows=400, verified=200)
    model = fitted(table)
    assert model.calibration_ is not None
    assert model.calibration_.rows == 40
    assert not torch.equal(model.model_.calibrator.slope, torch.ones(3))
    model.save(tmp_path / "model")
    loaded = RobustClassifier.load(tmp_path / "model")
    ours, theirs = (own.clean(table.x, table.noisy, precision=0.9) for own in (model, loaded))
    np.testing.assert_array_equal(ours.probabilities, theirs.probabilities)
    assert ours.acceptance == theirs.acceptance
    save_reliability(tmp_path / "plot.png", model.calibration_)
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_validation_rows_calibrate_if_they_come_with_noisy_labels() -> None:
    table, other = (table_of_classes(rows=90, verified=30, seed=seed) for seed in (0, 1))
    model = RobustClassifier(**LEARNING)
    model.fit(table.x, table.noisy, clean=table.clean, validation=(other.x, other.truth))
    assert model.calibration_ is None
    plain = model.clean(table.x, table.noisy, precision=0.9)
    assert plain.acceptance is not None
    assert plain.acceptance.told().startswith("no change is accepted: 0 changes")
    assert not plain.changed.any()
    given = (other.x, other.truth, other.noisy)
    model.fit(table.x, table.noisy, clean=table.clean, validation=given)
    assert model.calibration_ is not None
    assert model.calibration_.rows == 90
    found = model.clean(other.x, other.noisy, precision=0.9)
    assert found.acceptance is not None
    assert found.acceptance.of_added.changes == (model.clean(other.x, other.noisy).changed).sum()


def test_accepted_changes_are_made_and_the_others_left_for_review() -> None:
    table = table_of_tags(rows=400, verified=200)
    model = fitted(table)
    every = model.clean(table.x, table.noisy, table.clean)
    some = model.clean(table.x, table.noisy, table.clean, precision=0.9)
    assert some.acceptance is not None
    assert len(some.changes) == len(every.changes)
    assert 0 < len(some.for_review) < len(some.changes)
    for whole, part in zip(every.changes, some.changes, strict=True):
        assert replace(part, accepted=True) == whole
        sure = some.acceptance.accepts(part.on, part.confidence)
        assert part.accepted == (sure or bool(table.verified[part.row]))
        for name in (*part.added, *part.removed):
            assert (name in some.proposed[part.row]) == (part.accepted == part.on)
    for row, status in enumerate(some.status):
        waiting = [change for change in some.for_review if change.row == row]
        made = [change for change in some.changes if change.row == row and change.accepted]
        assert status == ("review" if waiting else "accepted" if made else "kept")
    left = some.for_review[0]
    told = [reason for reason in some.top_reasons()[left.row] if reason.startswith("for review")]
    assert len(told) == sum(change.row == left.row for change in some.for_review)


def test_a_class_for_review_stays_as_given() -> None:
    table = table_of_classes(rows=90, verified=30)
    model = fitted(table)
    cleaned = model.clean(table.x, table.noisy, precision=0.9)
    assert cleaned.for_review
    for row, given in enumerate(table.noisy.tolist()):
        assert cleaned.proposed[row] == [given]
        assert not cleaned.added[row]
        assert not cleaned.removed[row]


def test_a_precision_in_per_cent_is_refused_before_any_work() -> None:
    table = table_of_classes(rows=60, verified=9)
    model = fitted(table)
    with pytest.raises(LatentLabelsError, match=r"Did you mean 0\.95"):
        model.clean(table.x, table.noisy, precision=95)
