"""Calibration against closed forms and against probabilities that are right by construction."""

from __future__ import annotations

import numpy as np
import pytest

from latentlabels.evaluation.calibration import brier_score, calibration_error
from latentlabels.model.units import Bernoulli, Categorical, Joint


def test_one_bin_by_hand() -> None:
    """Four bits said to be 0.9 likely, of which two are on: off by 0.4."""
    truth = np.array([[1.0, 1.0], [0.0, 0.0]])
    said = np.full((2, 2), 0.9)
    assert calibration_error(Bernoulli(2), truth, said) == pytest.approx(0.4)
    assert brier_score(Bernoulli(2), truth, said) == pytest.approx((2 * 0.01 + 2 * 0.81) / 4)


def test_classes_by_hand() -> None:
    """The likeliest class has 0.8 in all rows and is right in three of four."""
    truth = np.eye(3)[[0, 0, 0, 1]]
    said = np.tile([0.8, 0.15, 0.05], (4, 1))
    assert calibration_error(Categorical(3), truth, said) == pytest.approx(0.05)
    right = 0.2**2 + 0.15**2 + 0.05**2
    wrong = 0.8**2 + 0.85**2 + 0.05**2
    assert brier_score(Categorical(3), truth, said) == pytest.approx((3 * right + wrong) / 4)


def test_labels_drawn_from_the_probabilities_are_calibrated() -> None:
    """Each bin's accuracy has a standard error of at most 0.5 / √count, and the ECE is their mean.

    The mean of 15 absolute errors is below the largest bound, 0.5 · √(15 / count), by Jensen.
    """
    random = np.random.default_rng(0)
    said = random.random((4000, 3))
    truth = (random.random(said.shape) < said).astype(float)
    assert calibration_error(Bernoulli(3), truth, said) < 0.5 * np.sqrt(15 / said.size)
    sure = np.clip(1.5 * (said - 0.5) + 0.5, 0, 1)
    assert calibration_error(Bernoulli(3), truth, sure) > 0.05


def test_a_joint_label_is_the_mean_of_its_parts() -> None:
    units = Joint([Bernoulli(1), Categorical(2)])
    truth, said = np.array([[1.0, 1.0, 0.0]]), np.array([[0.7, 0.4, 0.6]])
    parts = [(Bernoulli(1), slice(0, 1)), (Categorical(2), slice(1, 3))]
    for measure in (calibration_error, brier_score):
        own = [measure(unit, truth[:, part], said[:, part]) for unit, part in parts]
        assert measure(units, truth, said) == pytest.approx(np.mean(own))


def test_a_row_without_a_class_is_left_out() -> None:
    truth, said = np.array([[0.0, 1.0], [0.0, 0.0]]), np.array([[0.3, 0.7], [0.9, 0.1]])
    for measure in (calibration_error, brier_score):
        assert measure(Categorical(2), truth, said) == measure(Categorical(2), truth[:1], said[:1])
