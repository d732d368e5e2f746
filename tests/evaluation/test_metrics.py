"""Scores against scikit-learn's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, average_precision_score

from latentlabels.evaluation.metrics import (
    accuracy,
    mean_average_precision,
    score,
    score_name,
)
from latentlabels.model.units import Bernoulli, Categorical, Joint, Units

ROWS = 50


def drawn(labels: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bits, classes as states, and scores; some of them the same."""
    generator = np.random.default_rng(seed)
    bits = (generator.random((ROWS, labels)) < 0.3).astype(float)
    classes = np.eye(labels)[generator.integers(labels, size=ROWS)]
    return bits, classes, generator.random((ROWS, labels)).round(1)


@settings(max_examples=30)
@given(st.integers(1, 5), st.integers(0, 1000))
def test_mean_average_precision_is_the_mean_of_scikit_learns(labels: int, seed: int) -> None:
    bits, _, scores = drawn(labels, seed)
    wanted = average_precision_score(bits, scores, average="macro")
    assert mean_average_precision(bits, scores) == pytest.approx(wanted)
    assert score(Bernoulli(labels), bits, scores) == mean_average_precision(bits, scores)


@settings(max_examples=30)
@given(st.integers(1, 5), st.integers(0, 1000))
def test_accuracy_is_scikit_learns(labels: int, seed: int) -> None:
    _, classes, scores = drawn(labels, seed)
    wanted = accuracy_score(classes.argmax(1), scores.argmax(1))
    assert accuracy(classes, scores) == pytest.approx(wanted)
    assert score(Categorical(labels), classes, scores) == accuracy(classes, scores)


def test_labels_that_do_not_occur_are_left_out() -> None:
    """Their average precision is not defined, and scikit-learn would count it as 0."""
    bits, _, scores = drawn(3, 0)
    bits[:, 1] = 0
    wanted = average_precision_score(bits[:, [0, 2]], scores[:, [0, 2]], average="macro")
    assert mean_average_precision(bits, scores) == pytest.approx(wanted)
    assert math.isnan(mean_average_precision(np.zeros_like(bits), scores))


def test_a_class_that_is_none_of_the_models_is_never_hit() -> None:
    classes = np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    assert accuracy(classes, np.array([[0.9, 0.1]] * 4)) == 0.25


def test_perfect_and_worst_scores() -> None:
    bits, classes, _ = drawn(4, 1)
    assert mean_average_precision(bits, bits) == 1
    assert accuracy(classes, classes) == 1
    assert accuracy(classes, 1 - classes) == 0
    # Every relevant row comes last: average precision Σ (k / (n − r + k)) / r of r in n.
    label = np.arange(ROWS)[:, None] < 5
    worst = np.mean([k / (ROWS - 5 + k) for k in range(1, 6)])
    assert mean_average_precision(label, np.arange(ROWS)[:, None]) == pytest.approx(worst)


def test_a_joint_label_scores_the_mean_of_its_parts() -> None:
    bits, _, of_bits = drawn(3, 2)
    _, classes, of_classes = drawn(4, 3)
    inner = Joint([Bernoulli(3), Categorical(4)])
    clean, scores = np.hstack([bits, classes]), np.hstack([of_bits, of_classes])
    first, second = mean_average_precision(bits, of_bits), accuracy(classes, of_classes)
    assert score(inner, clean, scores) == pytest.approx((first + second) / 2)
    nested = Joint([inner, Categorical(4)])
    both = score(nested, np.hstack([clean, classes]), np.hstack([scores, classes]))
    assert both == pytest.approx(((first + second) / 2 + 1) / 2)
    # A part without any label tells nothing.
    clean[:, :3] = 0
    assert score(inner, clean, scores) == second


@pytest.mark.parametrize(
    ("units", "name"),
    [
        (Bernoulli(2), "map"),
        (Categorical(2), "accuracy"),
        (Joint([Bernoulli(2), Categorical(2)]), "score"),
    ],
)
def test_a_score_has_a_name(units: Units, name: str) -> None:
    assert score_name(units) == name
