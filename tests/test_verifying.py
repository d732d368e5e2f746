"""Learning curves of an estimator: of what is verified, and of nothing else."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from tests.small_tables import QUICK, SmallTable, names_of, table_of_classes, table_of_tags

from latentlabels import LearningCurve, RobustClassifier, learning_curve
from latentlabels.errors import LabelError

ROWS, VERIFIED = 100, 60
SIZES = (5, 10, 20, 40)


def fitted(table: SmallTable, **arguments: Any) -> RobustClassifier:
    model = RobustClassifier(**{**QUICK, **arguments})
    return model.fit(table.x, table.noisy, table.clean)


def test_many_labels_and_only_verified_ones_are_read() -> None:
    table = table_of_tags(rows=ROWS, verified=VERIFIED)
    model = fitted(table)
    before = model.clean(table.x, table.noisy).probabilities
    curve = learning_curve(model, table.x, table.noisy, table.clean)
    assert (curve.measure, curve.rows, curve.available) == ("map", VERIFIED, ROWS)
    assert curve.sizes == SIZES
    assert curve.steps == [ROWS - VERIFIED]
    assert curve.freedom == (3 - 1) * (4 - 1)
    np.testing.assert_array_equal(model.clean(table.x, table.noisy).probabilities, before)
    # Names, the truth of other rows replaced by nonsense, and a mask of those that may be read.
    wrong = np.where(table.verified[:, None], table.truth, 1 - table.truth)
    names = ["a", "b", "c"]
    again = RobustClassifier(**QUICK)
    given, told = names_of(table.noisy, names), names_of(wrong, names)
    again.fit(table.x, given, told, verified=table.verified)
    masked = learning_curve(again, table.x, given, told, verified=table.verified)
    assert masked.scores == pytest.approx(curve.scores, abs=1e-6)


def test_classes_with_validation_rows_and_one_class_that_few_have() -> None:
    table, other = (table_of_classes(rows=ROWS, verified=VERIFIED, seed=seed) for seed in (0, 1))
    table.truth[np.flatnonzero(table.verified)[:2]] = 3
    validation = other.x, other.truth, other.noisy
    model = RobustClassifier(**QUICK, validation_fraction=0.0)
    model.fit(table.x, table.noisy, table.clean, validation=validation)
    curve = learning_curve(model, table.x, table.noisy, table.clean, validation=validation)
    assert (curve.measure, curve.rows) == ("accuracy", VERIFIED)
    assert all(0.3 < score <= 58 / 60 for score in curve.scores)
    now = curve.expected(VERIFIED)
    assert now.low < now.mean < now.high


def test_where_all_rows_are_verified_there_are_none_to_verify() -> None:
    table = table_of_classes(rows=VERIFIED, verified=VERIFIED)
    curve = learning_curve(fitted(table), table.x, table.noisy, table.clean)
    assert isinstance(curve, LearningCurve)
    assert curve.steps == []
    assert "no other rows" in curve.told()


@pytest.mark.parametrize("verified", [0, 59])
def test_too_few_verified_rows(verified: int) -> None:
    table = table_of_classes(rows=ROWS, verified=59)
    model = fitted(table)
    few = table.verified & (np.cumsum(table.verified) <= verified)
    missing = VERIFIED - verified
    with pytest.raises(LabelError, match=re.escape(f"there are {verified}. Verify {missing} more")):
        learning_curve(model, table.x, table.noisy, table.clean, verified=few)
