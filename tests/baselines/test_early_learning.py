"""Early-learning regularisation: what was learnt first is kept, where labels could be memorised."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from tests.baselines.problems import accuracy_of, class_problem, linear, tag_problem

from latentlabels.baselines.early_learning import (
    EarlyLearning,
    MovingTargets,
    outcomes,
    regulariser,
)
from latentlabels.baselines.plain import CrossEntropy
from latentlabels.baselines.problem import Problem
from latentlabels.model.units import Bernoulli, Categorical
from latentlabels.network.examples import Vectors


def test_gradient_of_classes_is_the_papers() -> None:
    logits = torch.linspace(-1, 2, 6, dtype=torch.float64).reshape(2, 3).requires_grad_()
    target = torch.tensor([[0.6, 0.1, 0.2], [0.0, 0.3, 0.5]], dtype=torch.float64)
    p = logits.softmax(-1)
    held = regulariser(outcomes(Categorical(3), logits), target[:, None])
    (found,) = torch.autograd.grad(held.sum(), logits)
    # Lemma 2: ∂/∂z_c = p_c / (1 − ⟨p, t⟩) Σ_k (t_k − t_c) p_k
    agreement = (p * target).sum(-1, keepdim=True)
    torch.testing.assert_close(found, p / (1 - agreement) * (agreement - target))


def test_a_bit_is_a_choice_of_two() -> None:
    logits = torch.tensor([[1.5, -0.5]])
    on = torch.tensor([[0.7, 0.2]])
    found = outcomes(Bernoulli(2), logits)
    held = regulariser(found, torch.stack([1 - on, on], -1))
    p = torch.sigmoid(logits)
    torch.testing.assert_close(held, torch.log(1 - p * on - (1 - p) * (1 - on)).sum(-1))
    as_classes = outcomes(Categorical(2), torch.stack([torch.zeros(2), logits[0]], -1))
    torch.testing.assert_close(found[0], as_classes[:, 0])


def test_targets_are_moving_averages_of_each_rows_predictions() -> None:
    average = MovingTargets(Categorical(2), rows=3, momentum=0.7)
    first, second = torch.tensor([[[0.9, 0.1]], [[0.2, 0.8]]]), torch.tensor([[[0.5, 0.5]]])
    torch.testing.assert_close(average.update(torch.tensor([2, 0]), first), 0.3 * first)
    expected = 0.7 * 0.3 * first[:1] + 0.3 * second
    torch.testing.assert_close(average.update(torch.tensor([2]), second), expected)
    torch.testing.assert_close(average.values[:2, 0], torch.tensor([[0.06, 0.24], [0.0, 0.0]]))


def test_wrong_classes_are_not_memorised() -> None:
    problem, truth = class_problem(np.full((3, 3), 0.15) + 0.55 * np.eye(3), rows=240)
    problem = _memorisable(problem, spread=0.1)
    right = float(np.mean(problem.rows.noisy.toarray().argmax(1) == truth))
    assert accuracy_of(CrossEntropy().fit(problem, 0), problem, truth) <= right + 0.01
    fitted = EarlyLearning().fit(problem, 0, strength=3.0, momentum=0.7)
    assert accuracy_of(fitted, problem, truth) > right + _five_errors(right, len(truth))


def test_wrong_labels_are_not_memorised() -> None:
    problem, truth = tag_problem(missing=0.3, wrong=0.3, rows=240)
    problem = _memorisable(problem, spread=0.05)
    plain = accuracy_of(CrossEntropy().fit(problem, 0), problem, truth)
    fitted = EarlyLearning().fit(problem, 0, strength=1.0, momentum=0.7)
    assert accuracy_of(fitted, problem, truth) > plain + _five_errors(plain, truth.size)


def test_verified_rows_are_left_to_cross_entropy() -> None:
    problem, _ = class_problem(np.eye(3), rows=60, verified=60)
    plain = CrossEntropy().fit(problem, 0)
    fitted = EarlyLearning().fit(problem, 0, strength=3.0, momentum=0.7)
    rows = np.arange(60)
    torch.testing.assert_close(fitted.cleaned(rows), plain.cleaned(rows))


def _memorisable(problem: Problem, spread: float) -> Problem:
    """With columns of noise, by which labels can be memorised, and the epoch chosen that has most.

    The validation rows are the training rows with their noisy labels as if they were clean.
    """
    x = problem.rows.x.batch(np.arange(len(problem.rows))).numpy()
    noise = np.random.default_rng(1).normal(0, spread, (len(x), 200)).astype(np.float32)
    rows = replace(problem.rows, x=Vectors(np.hstack([x, noise])))
    return replace(
        problem,
        rows=rows,
        validation=replace(rows, clean=rows.noisy, verified=np.ones(len(x), bool)),
        network=linear(x.shape[1] + 200),
        training=replace(problem.training, epochs=40, patience=40, learning_rate=0.02),
    )


def _five_errors(share: float, count: int) -> float:
    return 5 * float(np.sqrt(share * (1 - share) / count))
