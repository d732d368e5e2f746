"""Large-loss rejection leaves out the labels that were missed."""

from __future__ import annotations

import numpy as np
import torch
from tests.baselines.problems import (
    class_problem,
    outputs_at_the_end,
    tag_problem,
)

from latentlabels.baselines.large_loss import LargeLossRejection, asymmetric, largest, rejecting
from latentlabels.evaluation.metrics import mean_average_precision
from latentlabels.training.rows import Batch


def test_the_asymmetric_loss_is_as_published() -> None:
    logits = torch.linspace(-4, 4, 12).reshape(4, 3)
    label = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    p = 1 / (1 + np.exp(-logits.numpy()))
    shifted = np.maximum(p - 0.05, 0)
    expected = np.where(label.numpy() == 1, -np.log(p), -(shifted**4) * np.log(1 - shifted))
    np.testing.assert_allclose(asymmetric(logits, label).numpy(), expected, rtol=1e-5, atol=1e-9)


def test_the_largest_of_some_losses_are_found() -> None:
    losses = torch.tensor([[9.0, 1.0, 5.0], [4.0, 8.0, 3.0]])
    among = torch.tensor([[False, True, True], [True, False, True]])
    found = largest(losses, among, 0.5)
    torch.testing.assert_close(found, torch.tensor([[False, False, True], [True, False, False]]))
    assert not largest(losses, among, 0.0).any()
    torch.testing.assert_close(largest(losses, among, 1.0), among)


def test_the_share_rises_with_the_epoch_and_spares_given_labels_and_verified_rows() -> None:
    """Six labels that are not given are assumed absent, and one more of them goes each epoch.

    The two likeliest of them are in the first row.
    """
    problem, _ = tag_problem(missing=0.0, wrong=0.0)
    logits = torch.logit(torch.tensor([[0.9, 0.8, 0.2], [0.7, 0.6, 0.5], [0.9, 0.9, 0.9]]))
    noisy = torch.zeros(3, 3)
    batch = Batch(
        torch.arange(3), noisy, noisy, noisy, torch.tensor([False, False, True]), torch.ones(3)
    )
    loss = rejecting(problem, 1 / 6)
    each = asymmetric(logits, noisy)
    torch.testing.assert_close(loss(logits, batch, 0.9), each.sum() / 3)
    torch.testing.assert_close(loss(logits, batch, 1.0), (each.sum() - each[0, 0]) / 3)
    torch.testing.assert_close(loss(logits, batch, 2.5), (each.sum() - each[0, :2].sum()) / 3)
    torch.testing.assert_close(loss(logits, batch, 50.0), each[2].sum() / 3)
    given = batch._replace(noisy=torch.ones(3, 3))
    every = asymmetric(logits, torch.ones(3, 3))[:2].sum() + each[2].sum()
    torch.testing.assert_close(loss(logits, given, 50.0), every / 3)


def test_labels_that_are_mostly_missed_are_found_by_rejection_alone() -> None:
    """Of 0.4 present labels 0.96 are missed: 0.384 of 0.984 not given, or 39 %, are wrong.

    The asymmetric loss alone has its least for a present label below a half: there, 0.04 / p is
    outweighed by 0.96 (4 p_m³ · −log(1 − p_m) + p_m⁴ / (1 − p_m)) (1 − p).
    """
    problem, truth = tag_problem(missing=0.96, wrong=0.0, rows=1500)
    rejected = outputs_at_the_end(problem, rejecting(problem, 0.02)).sigmoid().numpy()
    everything = outputs_at_the_end(problem, rejecting(problem, 0.0)).sigmoid().numpy()
    assert np.mean((rejected > 0.5) == truth) > 0.9
    assert np.mean(everything[truth] > 0.5) < 0.1


def test_it_is_fitted_to_rank_rows_by_their_labels() -> None:
    problem, truth = tag_problem(missing=0.5, wrong=0.0, verified=60)
    fitted = LargeLossRejection().fit(problem, 0, rise=0.005)
    assert mean_average_precision(truth, fitted.predict(problem.features())) > 0.99


def test_classes_are_refused() -> None:
    assert LargeLossRejection().refuses(class_problem(np.eye(3))[0]) is not None
