"""Weighted cross entropy reads a given label as what it mostly stands for."""

from __future__ import annotations

import numpy as np
import torch
from tests.baselines.problems import accuracy_of, class_problem, outputs_at_the_end, tag_problem

from latentlabels.baselines.relationship import (
    WeightedCrossEntropy,
    relationship,
    weighing,
    weighted_cross_entropy,
    weights_of,
)
from latentlabels.training.rows import Batch

ONE_CALLED_ZERO = np.array([[1, 0, 0], [0.7, 0.3, 0], [0, 0, 1.0]])


def test_a_class_that_is_mostly_called_another_is_told_from_it() -> None:
    problem, truth = class_problem(ONE_CALLED_ZERO, verified=60)
    assert accuracy_of(WeightedCrossEntropy().fit(problem, 0), problem, truth) > 0.95


def test_the_second_stage_alone_tells_them_apart_where_labels_as_given_do_not() -> None:
    """A row of class 1 weighs it 0.7 · 0.7 / 1.7 + 0.3 = 0.59, and its labels say 0.3.

    Class 0 weighs itself 1 / 1.7 = 0.59. The network's mean for class 1 is nearer the former.
    """
    problem, truth = class_problem(ONE_CALLED_ZERO)
    related = relationship(problem, torch.eye(3)[truth], problem.given(problem.all_noisy()))
    found, plain = (
        outputs_at_the_end(problem, weighing(problem, table)).softmax(-1).numpy()
        for table in (related, torch.eye(3))
    )
    assert np.mean(found.argmax(1) == truth) > 0.95
    assert np.mean(plain.argmax(1)[truth == 1] == 0) > 0.5
    weight = 0.7 * 0.7 / 1.7 + 0.3
    assert abs(found[truth == 1, 1].mean() - weight) < (weight - 0.3) / 2


def test_without_verified_rows_all_rows_make_the_first_network() -> None:
    problem, truth = class_problem(np.full((3, 3), 0.1) + 0.7 * np.eye(3))
    assert accuracy_of(WeightedCrossEntropy().fit(problem, 0), problem, truth) > 0.95


def test_classes_are_related_as_counted_where_the_first_network_is_right() -> None:
    problem, truth = class_problem(ONE_CALLED_ZERO)
    given = problem.given(problem.all_noisy())
    related = relationship(problem, torch.eye(3)[truth], given)
    noisy = given.argmax(1).numpy()
    counts = np.array([[np.sum((noisy == i) & (truth == j)) for j in range(3)] for i in range(3)])
    expected = counts / counts.sum(1, keepdims=True)
    np.testing.assert_allclose(related.numpy(), expected, rtol=1e-5)
    np.testing.assert_allclose(
        weights_of(problem, related, given).numpy(), expected[noisy], rtol=1e-5
    )


def test_verified_rows_weigh_their_clean_class() -> None:
    problem, _ = class_problem(np.eye(3))
    logits = torch.tensor([[1.0, 0.0, -1.0], [1.0, 0.0, -1.0]])
    noisy, clean = torch.eye(3)[[0, 0]], torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    batch = Batch(torch.arange(2), logits, noisy, clean, torch.tensor([False, True]), torch.ones(2))
    related = torch.tensor([[0.6, 0.4, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    log_p = logits[0].log_softmax(-1)
    expected = -(0.6 * log_p[0] + 0.4 * log_p[1] + log_p[2]) / 2
    torch.testing.assert_close(weighing(problem, related)(logits, batch, 0.0), expected)


def test_the_five_largest_relations_are_kept() -> None:
    problem, _ = class_problem(np.eye(7))
    said = torch.tensor([[0.3, 0.2, 0.15, 0.12, 0.1, 0.08, 0.05]]).repeat(7, 1)
    expected = said.clone()
    expected[:, 5:] = 0.0
    torch.testing.assert_close(relationship(problem, said, torch.eye(7)), expected)


def test_a_label_is_related_by_whether_it_is_given() -> None:
    """With 0.4 present and 0.7 of these missed, 0.28 / 0.88 of those not given are present."""
    problem, truth = tag_problem(missing=0.7, wrong=0.0, rows=3000)
    given = problem.given(problem.all_noisy())
    related = relationship(problem, torch.from_numpy(truth).float(), given)
    torch.testing.assert_close(related[1], torch.ones(3))
    share, rows = 0.28 / 0.88, 0.88 * 3000
    errors = (related[0] - share).abs().numpy() / np.sqrt(share * (1 - share) / rows)
    assert errors.max() < 5
    expected = torch.where(given == 1, torch.ones(3), related[0])
    torch.testing.assert_close(weights_of(problem, related, given), expected)


def test_the_loss_is_the_weighted_sum_of_log_probabilities() -> None:
    problem, _ = class_problem(np.eye(3))
    logits = torch.linspace(-2, 2, 6).reshape(2, 3)
    weights = torch.tensor([[0.5, 0.2, 0.1], [0.0, 0.0, 0.0]])
    said = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(1, keepdims=True)
    expected = -(weights.numpy() * np.log(said)).sum(1)
    found = weighted_cross_entropy(problem, logits, weights)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-6)
    tags, _ = tag_problem(missing=0.0, wrong=0.0)
    said = 1 / (1 + np.exp(-logits.numpy()))
    expected = -(weights.numpy() * np.log(said) + (1 - weights.numpy()) * np.log(1 - said)).sum(1)
    found = weighted_cross_entropy(tags, logits, weights)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)
