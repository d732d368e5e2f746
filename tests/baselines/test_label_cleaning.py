"""The label cleaning network corrects labels by what goes with them, and by what is seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from tests.baselines.problems import accuracy_of, class_problem, recovery_of, tag_problem

from latentlabels.baselines.label_cleaning import WIDTH, CleaningLoss, LabelCleaning
from latentlabels.baselines.plain import CrossEntropy
from latentlabels.baselines.problem import Problem
from latentlabels.data.labels import LabelSpace, Vocabulary
from latentlabels.network.examples import Vectors
from latentlabels.training.rows import Batch, Rows


def shuffled(rows: Rows) -> Rows:
    """Noisy labels 0 and 1 change places, label 2 is not given, input 0 is blind."""
    x = rows.x.batch(np.arange(len(rows))).numpy().copy()
    x[:, 0] = 0.0
    noisy = rows.noisy.toarray()[:, [1, 0, 2]]
    noisy[:, 2] = 0.0
    return replace(rows, x=Vectors(x), noisy=csr_array(noisy))


@pytest.mark.parametrize("names", [("label 0", "label 1", "label 2"), ("a", "b", "c")])
def test_labels_are_cleaned_by_other_labels_and_by_what_is_seen(names: tuple[str, ...]) -> None:
    """Label 0 can be known from a noisy label of another name, label 2 from its input alone."""
    problem, truth = tag_problem(missing=0.0, wrong=0.0, verified=150)
    problem = replace(
        problem,
        rows=shuffled(problem.rows),
        validation=shuffled(problem.validation),
        noisy=LabelSpace(("",), (Vocabulary(names, False),)),
    )
    fitted = LabelCleaning().fit(problem, 0, weight=1.0, learning_rate=0.005)
    assert recovery_of(fitted, truth) > 0.95
    assert accuracy_of(fitted, problem, truth) < 0.9, "label 0 cannot be seen"
    assert recovery_of(CrossEntropy().fit(problem, 0), truth) < 0.8


def test_a_class_that_is_mostly_called_another_is_predicted_as_it_is() -> None:
    transition = np.array([[1, 0, 0], [0.9, 0.1, 0], [0, 0, 1.0]])
    problem, truth = class_problem(transition, verified=60)
    fitted = LabelCleaning().fit(problem, 0, weight=1.0, learning_rate=0.005)
    assert accuracy_of(fitted, problem, truth) > 0.95
    assert recovery_of(fitted, truth) > 0.95
    cleaned = fitted.cleaned(np.arange(9))
    torch.testing.assert_close(cleaned.sum(1), torch.ones(9))
    assert accuracy_of(CrossEntropy().fit(problem, 0), problem, truth) < 0.85


def test_cleaning_starts_at_the_labels_that_are_given() -> None:
    problem, _ = tag_problem(missing=0.3, wrong=0.1, verified=6)
    loss, noisy = CleaningLoss(problem, 0.1), problem.all_noisy()
    outputs = torch.ones(len(noisy), 3 + WIDTH)
    torch.testing.assert_close(loss.cleaned(outputs, noisy), problem.given(noisy))


@pytest.mark.parametrize("weight", [0.1, 1.0])
def test_the_loss_is_both_parts_and_classifying_does_not_reach_the_cleaning(weight: float) -> None:
    problem, _ = tag_problem(missing=0.0, wrong=0.0, verified=6)
    loss, batch, outputs = _example(problem, weight)
    cleaned = loss.cleaned(outputs, batch.noisy)
    assert ((cleaned > 0) & (cleaned < 1)).any(), "the residual has to show"
    found, truth = cleaned.detach().numpy(), batch.clean.numpy()
    target = np.where(batch.verified.numpy()[:, None], truth, found)
    p = 1 / (1 + np.exp(-outputs.detach().numpy()[:, :3]))
    classify = -(target * np.log(p) + (1 - target) * np.log(1 - p)).sum(1).mean()
    clean = np.abs(found - truth).sum(1)[batch.verified.numpy()].mean()
    total = loss(outputs, batch, 0.0)
    np.testing.assert_allclose(total.item(), weight * clean + classify, rtol=1e-5)
    total.backward()
    wrong = (cleaned - batch.clean).abs().sum(1)[batch.verified].mean()
    expected = torch.autograd.grad(weight * wrong, loss.embed.weight)[0]
    torch.testing.assert_close(loss.embed.weight.grad, expected)


def test_without_verified_rows_it_is_refused() -> None:
    assert LabelCleaning().refuses(tag_problem(missing=0.0, wrong=0.0)[0]) is not None
    assert LabelCleaning().refuses(tag_problem(missing=0.0, wrong=0.0, verified=1)[0]) is None


def _example(problem: Problem, weight: float) -> tuple[CleaningLoss, Batch, torch.Tensor]:
    """A loss whose residual is not zero, a batch of four rows, and outputs for it."""
    random = torch.Generator().manual_seed(0)
    loss = CleaningLoss(problem, weight)
    for parameter in loss.parameters():
        torch.nn.init.normal_(parameter, 0.0, 0.1, generator=random)
    noisy = torch.eye(4)[:, :3]
    verified = torch.tensor([True, False, True, False])
    clean = torch.flip(noisy, (1,)) * verified[:, None]
    outputs = torch.randn(4, 3 + WIDTH, generator=random).requires_grad_()
    return loss, Batch(torch.arange(4), noisy, noisy, clean, verified, torch.ones(4)), outputs
