"""Cross entropy learns what the labels say, right or wrong."""

from __future__ import annotations

import numpy as np
import torch
from tests.baselines.problems import accuracy_of, class_problem, tag_problem

from latentlabels.baselines.network import cross_entropy
from latentlabels.baselines.plain import CrossEntropy
from latentlabels.model.units import Bernoulli, Categorical


def test_clean_labels_are_learnt() -> None:
    problem, truth = class_problem(np.eye(3))
    assert accuracy_of(CrossEntropy().fit(problem, 0), problem, truth) > 0.98


def test_a_class_that_is_mostly_called_another_is_predicted_as_that() -> None:
    problem, truth = class_problem(np.array([[1, 0, 0], [0.8, 0.2, 0], [0, 0, 1.0]]))
    fitted = CrossEntropy().fit(problem, 0)
    found = fitted.predict(problem.features()).argmax(1).numpy()
    assert np.mean(found[truth == 1] == 0) > 0.9
    assert np.mean(found[truth == 2] == 2) > 0.9


def test_names_are_read_in_any_case() -> None:
    problem, truth = tag_problem(missing=0.0, wrong=0.0)
    assert problem.named == 1.0
    assert accuracy_of(CrossEntropy().fit(problem, 0), problem, truth) > 0.97


def test_its_loss_is_the_log_probability_of_hard_targets() -> None:
    logits = torch.linspace(-2, 2, 12).reshape(4, 3)
    classes = torch.eye(3)[[0, 1, 2, 1]]
    expected = torch.nn.functional.cross_entropy(logits, classes.argmax(1), reduction="none")
    torch.testing.assert_close(cross_entropy(Categorical(3), logits, classes), expected)
    bits = (logits > 0.3).float()
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, bits, reduction="none")
    torch.testing.assert_close(cross_entropy(Bernoulli(3), logits, bits), expected.sum(1))
