"""Teachers learn before the model, from verified rows, and students after it, from its q."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from tests.small_tables import QUICK, table_of_tags
from tests.test_estimator import TAGS, fitted
from tests.test_robust_model import GivenPotentials

from latentlabels import RobustClassifier
from latentlabels.committees import calibrated_scale, member_seeds
from latentlabels.model.pairwise import Potentials
from latentlabels.model.units import Bernoulli, Categorical, Units
from latentlabels.network.examples import Examples
from latentlabels.robust_model import Calibrator, RobustModel, Teacher
from latentlabels.training.fit import train
from latentlabels.training.position import History
from latentlabels.training.rows import Rows

ROWS = 4000


class Numbers(Examples):
    """Examples that are their row numbers."""

    def __len__(self) -> int:
        return ROWS

    def take(self, rows: np.ndarray) -> Numbers:
        raise NotImplementedError

    def batch(self, rows: np.ndarray, visit: int | None = None) -> torch.Tensor:
        return torch.from_numpy(rows)


@pytest.mark.parametrize("units", [Bernoulli(2), Categorical(4)], ids=repr)
@pytest.mark.parametrize("exaggeration", [0.7, 1.0, 3.0])
def test_exaggeration_is_taken_back(units: Units, exaggeration: float) -> None:
    """Labels are drawn from p; a teacher says `exaggeration` times p's logits.

    The estimate of the scale s has the standard error 1/√(rows · Var[d/ds log p]), by Fisher.
    """
    generator = torch.Generator().manual_seed(0)
    logits = 1.5 * torch.randn(ROWS, units.size, generator=generator)
    uniforms = torch.rand(ROWS, units.draws, generator=generator)
    truth = units.sample(logits, uniforms).float()
    said = exaggeration * logits
    teacher = Teacher([GivenPotentials(Potentials(said))], units.size)
    rows = Rows(Numbers(), csr_array((ROWS, 1)), csr_array(truth.numpy()), np.ones(ROWS, bool))
    found = float(calibrated_scale(teacher, rows, units))
    scores = ((truth - units.mean(logits)) * said).sum(1)
    error = 1 / math.sqrt(ROWS * float(scores.var()))
    step = 10 ** (2 / 80)  # between the scales that are tried
    assert abs(found - 1 / exaggeration) < 5 * error + (step - 1) / exaggeration


def test_a_teacher_is_trained_on_verified_rows_alone() -> None:
    """Whatever the other rows' noisy labels say moves its prior and nothing else of it."""
    table = table_of_tags(rows=200, verified=120)
    model = fitted(table, teachers=3).model_
    assert model.teacher is not None
    assert not any(p.requires_grad for p in model.teacher.parameters())
    other = replace(table, noisy=np.where(table.verified[:, None], table.noisy, 1 - table.noisy))
    same = fitted(other, teachers=3).model_
    assert same.teacher is not None
    assert len(model.teacher.networks) == 3
    for name, weight in model.teacher.networks.state_dict().items():
        assert torch.equal(same.teacher.networks.state_dict()[name], weight), name
    assert torch.equal(same.teacher.scale, model.teacher.scale)
    assert not torch.equal(same.teacher.prior, model.teacher.prior)


def test_without_rows_that_choose_its_epoch_there_is_no_teacher() -> None:
    assert fitted(TAGS, teachers=2).model_.teacher is None
    table = table_of_tags(rows=200, verified=120)
    assert fitted(table, teachers=2).model_.teacher is not None
    assert fitted(table).model_.teacher is None  # none by default on vectors


def test_committees_are_saved_with_their_model(tmp_path: Path) -> None:
    table = table_of_tags(rows=200, verified=120)
    estimator = fitted(table, teachers=2, students=3)
    estimator.save(tmp_path / "model")
    again = RobustClassifier.load(tmp_path / "model")
    assert again.model_.teacher is not None
    assert again.model_.students is not None
    np.testing.assert_array_equal(
        again.clean(table.x, table.noisy).probabilities,
        estimator.clean(table.x, table.noisy).probabilities,
    )
    np.testing.assert_array_equal(again.predict_proba(table.x), estimator.predict_proba(table.x))


def test_students_learn_from_cleaned_labels_and_verified_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trained: list[tuple[RobustModel, Rows]] = []

    def spy(model: RobustModel, rows: Rows, *rest: Any, **options: Any) -> History:
        trained.append((model, rows))
        return train(model, rows, *rest, **options)

    monkeypatch.setattr("latentlabels.committees.train", spy)
    table = table_of_tags(rows=200, verified=120)
    estimator = fitted(table, students=2)
    students = estimator.model_.students
    assert students is not None
    assert [model.network for model, _ in trained] == list(students.networks)
    assert not any(parameter.requires_grad for parameter in students.parameters())
    # Without its students the model is the one that they learnt from, and would have been; the
    # calibrator came after them, and is told to do nothing.
    estimator.model_.students = None
    alone = fitted(table)
    for model in (estimator.model_, alone.model_):
        model.calibrator = Calibrator(table.truth.shape[1])
    before = estimator.clean(table.x, table.noisy).probabilities
    found = alone.clean(table.x, table.noisy).probabilities
    np.testing.assert_allclose(before, found, atol=1e-6)
    for _, rows in trained:
        assert rows.verified.all()
        learnt = rows.clean.toarray()
        np.testing.assert_allclose(learnt[table.unverified], before[table.unverified], atol=1e-6)
        # Some verified rows are held out to choose the epoch: for training they are not verified.
        truth = table.truth[table.verified]
        given = (learnt[table.verified] == truth).all(1)
        held_out = np.isclose(learnt[table.verified], before[table.verified], atol=1e-6).all(1)
        assert (given | held_out).all()
        assert given.sum() == 96


def test_students_predictions_are_what_validation_scores() -> None:
    table = table_of_tags(rows=200, verified=120)
    estimator = RobustClassifier(**{**QUICK, "students": 2})
    held = table_of_tags(rows=50, seed=1)
    estimator.fit(table.x, table.noisy, table.clean, validation=(held.x, held.truth))
    found = estimator.history_.validation
    assert found == pytest.approx(estimator.score(held.x, held.truth))
    alone = RobustClassifier(**QUICK)
    alone.fit(table.x, table.noisy, table.clean, validation=(held.x, held.truth))
    assert alone.history_.validation == pytest.approx(alone.score(held.x, held.truth))


def test_where_all_rows_are_verified_there_is_nothing_for_students_to_learn() -> None:
    table = table_of_tags(rows=60, verified=60)
    assert fitted(table, students=2).model_.students is None
    assert fitted(TAGS, students=2).model_.students is not None


def test_no_two_networks_start_alike() -> None:
    """Neither the model's, nor a teacher's, nor a student's."""
    seeds = [
        7,
        *member_seeds(7, "teacher", 4),
        *member_seeds(7, "student", 4),
        *member_seeds(8, "student", 4),
    ]
    assert len(set(seeds)) == len(seeds)
    table = table_of_tags(rows=200, verified=120)
    still = {"teachers": 2, "students": 2, "learning_rate": 0.0, "weight_decay": 0.0}
    model = fitted(table, **still).model_
    assert model.teacher is not None
    assert model.students is not None
    networks = [model.network, *model.teacher.networks, *model.students.networks]
    starts = [network.backbone[1].weight for network in networks]
    for number, start in enumerate(starts):
        assert not any(torch.equal(start, other) for other in starts[:number])


def test_a_module_of_ones_own_on_vectors_has_no_students_by_default() -> None:
    settings = {name: value for name, value in QUICK.items() if name != "students"}
    own = torch.nn.Linear(TAGS.x.shape[1], 4)
    for backbone, expected in ((own, 0), (None, 1)):
        model = RobustClassifier(**settings, backbone=backbone)
        assert model.model_settings().students == expected
