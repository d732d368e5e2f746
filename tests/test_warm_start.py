"""Fits that start from a fitted model: from its weights, or not at all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.small_tables import LEARNING, QUICK, SmallTable, table_of_classes, table_of_tags
from torch import nn

from latentlabels import LatentLabelsError, RobustClassifier
from latentlabels.data.labels import LabelSpace, Vocabulary
from latentlabels.errors import LabelError
from latentlabels.preparation import _hold_out

STILL: dict[str, Any] = {"learning_rate": 0.0, "crf_learning_rate": 0.0, "weight_decay": 0.0}
HELD: dict[str, Any] = {"validation_fraction": 0.0}


def fitted(table: SmallTable, start: RobustClassifier | None = None, **more: Any):
    """A classifier of a table's verified rows."""
    model: RobustClassifier = RobustClassifier(**{**QUICK, **HELD, **more})
    return model.fit(table.x, table.noisy, clean=table.clean, warm_start=start)


def with_verified(table: SmallTable, rows: int) -> SmallTable:
    """The table with so many rows more verified."""
    more = np.flatnonzero(table.unverified)[:rows]
    return replace(table, verified=table.verified | np.isin(np.arange(len(table.x)), more))


def assert_same(one: nn.Module, other: nn.Module) -> None:
    states = one.state_dict(), other.state_dict()
    assert states[0].keys() == states[1].keys()
    for name, value in states[0].items():
        torch.testing.assert_close(value, states[1][name], rtol=1e-6, atol=0, msg=name)


@pytest.mark.parametrize("table", [table_of_classes(), table_of_tags()], ids=["one", "several"])
def test_a_fit_without_steps_ends_where_it_started(table, tmp_path):
    """Also from a folder, and with more verified rows than before."""
    before = fitted(table, students=2, noisy_link=True)
    before.save(tmp_path / "model")
    stored: RobustClassifier = RobustClassifier.load(tmp_path / "model")
    more = with_verified(table, 20)
    for start in (before, stored):
        after = fitted(more, start, students=2, noisy_link=True, **STILL)
        assert_same(after.model_.network, before.model_.network)
        assert_same(after.model_.crf, before.model_.crf)
        assert before.model_.students is not None
        assert after.model_.students is not None
        assert_same(after.model_.students.networks, before.model_.students.networks)
    cold = fitted(more, students=2, noisy_link=True, **STILL)
    with pytest.raises(AssertionError):
        assert_same(cold.model_.network, before.model_.network)


def test_teachers_start_from_teachers_and_alpha_at_its_end():
    table = table_of_classes(rows=200, verified=110)
    settings: dict[str, Any] = {
        "teachers": 2,
        "validation_fraction": 0.2,
        "alpha_start": 3.0,
        "alpha_end": 0.5,
    }
    settings["alpha_epochs"] = 2.0
    before = fitted(table, **settings)
    after = fitted(table, before, **settings, **STILL)
    assert before.model_.alpha > after.model_.alpha == 0.5
    assert before.model_.teacher is not None
    assert after.model_.teacher is not None
    assert_same(after.model_.teacher.networks, before.model_.teacher.networks)
    # The number of teachers may be another: there are none where no rows can choose their epochs.
    assert fitted(table, before, teachers=0).model_.teacher is None


@pytest.mark.parametrize("seed", range(2))
def test_more_verified_rows_and_a_warm_start_are_no_worse(seed):
    """Clouds that lie four deviations apart: both fits are right but for a few rows."""
    table = table_of_classes(rows=300, noise=0.3, seed=seed)
    more = with_verified(table, 60)
    settings = {**LEARNING, "students": 1, "random_state": seed}
    before = fitted(table, **settings)
    after = fitted(more, before, **{**settings, "epochs": 2})
    right = [(model.predict(table.x) == table.truth).mean() for model in (before, after)]
    # Five standard errors of a share of rows that come out otherwise by chance.
    error = np.sqrt(max(right[0] * (1 - right[0]), 1 / 300) / 300)
    assert right[1] >= right[0] - 5 * error
    assert right[1] > 0.9


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"hidden_layers": (9,)}, r"has hidden_layers \(8,\), and this fit \(9,\)"),
        ({"noisy_link": True}, "has noisy_link False, and this fit True"),
        ({"hidden": 2}, "has hidden 0, and this fit 2"),
        ({"pairwise": False}, "has pairwise True"),
        ({"input_dropout": 0.5}, "has input_dropout 0.0"),
    ],
)
def test_another_shape_is_an_error(more, said):
    table = table_of_classes()
    with pytest.raises(LatentLabelsError, match=f"{said}.*without a warm start"):
        fitted(table, fitted(table), **more)


def test_other_labels_are_an_error():
    table = table_of_classes()
    start = fitted(table)
    other = replace(table, noisy=table.noisy + (table.noisy == 2))
    with pytest.raises(LabelError, match=r"other noisy labels: '3' is new.*noisy_labels"):
        fitted(other, start)
    warm = start._as_start()
    space = warm.clean
    fewer = LabelSpace(("",), (Vocabulary(space.names[:2], exclusive=True),))
    with pytest.raises(LabelError, match="other clean labels: '2' is gone"):
        warm.require_labels(warm.noisy, fewer)
    turned = LabelSpace(("",), (Vocabulary(space.names[::-1], exclusive=True),))
    with pytest.raises(LabelError, match="in another order"):
        warm.require_labels(warm.noisy, turned)
    warm.require_labels(warm.noisy, space)


def test_another_backbone_of_one_s_own_is_an_error():
    table = table_of_classes()
    start = fitted(table, backbone=nn.Linear(4, 5))
    with pytest.raises(LatentLabelsError, match="weights of other shapes"):
        fitted(table, start, backbone=nn.Linear(4, 6))


def test_what_is_not_fitted_is_no_start():
    with pytest.raises(ValueError, match="not fitted"):
        fitted(table_of_classes(), RobustClassifier())


def test_held_out_rows_mostly_stay_held_out():
    """Of 40 and of 60 held out; by a draw of its own each time 8 of them would be the same."""
    random = np.random.default_rng(0)
    known = random.permutation(400) < 200
    more = known | (random.random(400) < 0.5)
    first, second = (_hold_out(rows, 0.2, seed=3) for rows in (known, more))
    assert len(first) == 40
    assert len(second) == round(0.2 * more.sum())
    # Those that were trained on before. Their number is that by which the 40th smallest of 200
    # uniform numbers differs from the same quantile of more: five standard errors of it.
    leaked = np.intersect1d(second, np.flatnonzero(known & ~np.isin(np.arange(400), first)))
    assert len(leaked) <= 200 * 5 * np.sqrt(0.2 * 0.8 / 200)
    assert len(np.intersect1d(first, second)) > 20
