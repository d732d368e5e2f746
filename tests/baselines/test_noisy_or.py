"""Noisy-or finds the instances that a bag's labels come from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from tests.baselines.problems import accuracy_of, recovery_of, tag_problem

from latentlabels.baselines.noisy_or import NoisyOr, logits_of_bag
from latentlabels.baselines.problem import Problem
from latentlabels.network.examples import Vectors
from latentlabels.training.rows import Rows


def test_a_bag_has_a_label_unless_no_instance_has_it() -> None:
    logits = torch.linspace(-6, 6, 24, dtype=torch.float64).reshape(2, 4, 3)
    expected = 1 - (1 - torch.sigmoid(logits)).prod(1)
    torch.testing.assert_close(torch.sigmoid(logits_of_bag(logits)), expected)
    single = logits[:, :1]
    torch.testing.assert_close(logits_of_bag(single), logits_of_bag(single[:, 0]))


def test_extreme_logits_have_finite_logits_and_gradients() -> None:
    logits = torch.tensor([[[-200.0, -50.0, 200.0]] * 3], requires_grad=True)
    bag = logits_of_bag(logits)
    bag.sum().backward()
    assert bag.isfinite().all()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert bag[0, 1].item() == torch.tensor(-50.0).add(np.log(3)).item()


def test_instances_are_told_apart_though_only_bags_are_labelled() -> None:
    """A mean over instances would leave each below a half: at most one of four has a label."""
    problem, bags, instances = bag_problem()
    fitted = NoisyOr().fit(problem, 0)
    assert accuracy_of(fitted, problem, bags) > 0.95
    assert recovery_of(fitted, bags) > 0.95
    single = fitted.predict(problem.features().flatten(0, 1)).numpy() > 0.5
    assert np.mean(single == instances.reshape(-1, 3)) > 0.95
    assert np.mean(single[instances.reshape(-1, 3)]) > 0.9


def test_vectors_are_bags_of_one() -> None:
    problem, truth = tag_problem(missing=0.0, wrong=0.0)
    assert accuracy_of(NoisyOr().fit(problem, 0), problem, truth) > 0.97


def bag_problem() -> tuple[Problem, NDArray[np.bool_], NDArray[np.bool_]]:
    """Bags of four instances of which at most one has a label, and the truth of both."""
    vectors, _ = tag_problem(missing=0.0, wrong=0.0)
    random = np.random.default_rng(0)

    def rows(count: int) -> tuple[Rows, NDArray[np.bool_]]:
        holder = random.integers(4, size=(count, 1, 3))
        present = random.random((count, 1, 3)) < 0.4
        instances: NDArray[np.bool_] = (holder == np.arange(4)[:, None]) & present
        x = (instances + random.normal(0, 0.1, instances.shape)).astype(np.float32)
        labels = csr_array(instances.any(1).astype(np.float32))
        return Rows(Vectors(x), labels, labels, np.zeros(count, bool)), instances

    training, instances = rows(600)
    training = replace(training, clean=csr_array(np.zeros((600, 3), np.float32)))
    validation = replace(rows(200)[0], verified=np.ones(200, bool))
    problem = replace(vectors, rows=training, validation=validation)
    bags: NDArray[np.bool_] = np.any(instances, axis=1)
    return problem, bags, instances
