"""Bootstrapping holds on to what the network says where labels contradict it."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from tests.baselines.problems import accuracy_of, class_problem

from latentlabels.baselines.bootstrapping import Bootstrapping, bootstrapped
from latentlabels.model.units import Categorical


def test_targets_are_between_label_and_prediction() -> None:
    units, logits = Categorical(3), torch.tensor([[2.0, 0.0, -1.0]])
    label = torch.tensor([[0.0, 1.0, 0.0]])
    soft = bootstrapped(units, logits, label, 0.8, "soft")
    torch.testing.assert_close(soft, 0.8 * label + 0.2 * logits.softmax(-1))
    hard = bootstrapped(units, logits, label, 0.8, "hard")
    torch.testing.assert_close(hard, torch.tensor([[0.2, 0.8, 0.0]]))


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_labels_wrong_at_random_are_overruled(kind: Literal["soft", "hard"]) -> None:
    problem, truth = class_problem(np.full((3, 3), 0.15) + 0.55 * np.eye(3))
    fitted = Bootstrapping(kind).fit(problem, 0, beta=0.8)
    assert accuracy_of(fitted, problem, truth) > 0.95
