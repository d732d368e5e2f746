"""Reporting bias tells what is not mentioned from what is not there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from tests.baselines.problems import (
    accuracy_of,
    class_problem,
    linear,
    recovery_of,
    tag_problem,
)

from latentlabels.baselines.plain import CrossEntropy
from latentlabels.baselines.problem import Problem
from latentlabels.baselines.reporting_bias import FittedReportingBias, ReportingBias, log_joint
from latentlabels.data.labels import LabelSpace, Vocabulary
from latentlabels.network.examples import Vectors
from latentlabels.training.rows import Rows

MENTIONED = np.array([[0.02, 0.6], [0.1, 0.95]])
"""p(y = 1 | v, talkative), (present, talkative)."""


def test_an_input_that_decides_on_mentions_alone_does_not_decide_on_presence() -> None:
    problem, truth = talkative_problem()
    fitted = ReportingBias().fit(problem, 0, start=2.0)
    assert accuracy_of(fitted, problem, truth) > 0.95
    assert recovery_of(fitted, truth) > 0.95
    assert accuracy_of(CrossEntropy().fit(problem, 0), problem, truth) < 0.9


def test_relevance_is_how_often_there_is_a_mention() -> None:
    problem, truth = talkative_problem()
    fitted = ReportingBias().fit(problem, 0, start=2.0)
    assert isinstance(fitted, FittedReportingBias)
    ones = torch.ones(len(truth), 3)
    absent, present = log_joint(problem, fitted.outputs(np.arange(len(truth))), ones, 2.0)
    there = fitted.predict(problem.features())
    relevance = torch.stack([absent.exp() / (1 - there), present.exp() / there]).numpy()
    talkative = problem.features()[:, 3].numpy() > 0.5
    found = [
        [relevance[v][(truth == v) & (talkative == t)[:, None]].mean() for t in (0, 1)]
        for v in (0, 1)
    ]
    np.testing.assert_array_equal(np.array(found) > 0.5, MENTIONED > 0.5)


def test_mentions_have_the_mixture_s_probability_and_presence_its_posterior() -> None:
    problem, _ = tag_problem(missing=0.0, wrong=0.0)
    outputs = torch.linspace(-3, 3, 36, dtype=torch.float64).reshape(4, 9)
    noisy = torch.tensor([[0, 1, 0], [1, 1, 0], [0, 0, 0], [1, 0, 1]], dtype=torch.float32)
    absent, present = log_joint(problem, outputs, noisy, 2.0)
    z = outputs.numpy()
    v, r0, r1 = (1 / (1 + np.exp(-part)) for part in (z[:, :3], z[:, 3:6] - 2, z[:, 6:] + 2))
    mention = r1 * v + r0 * (1 - v)
    expected = np.where(noisy.numpy() == 1, mention, 1 - mention)
    np.testing.assert_allclose((absent.exp() + present.exp()).numpy(), expected, rtol=1e-6)
    posterior = np.where(noisy.numpy() == 1, r1 * v / mention, (1 - r1) * v / (1 - mention))
    np.testing.assert_allclose(torch.sigmoid(present - absent).numpy(), posterior, rtol=1e-6)


def test_a_label_without_a_name_has_its_presence_alone() -> None:
    problem, _ = tag_problem(missing=0.0, wrong=0.0)
    names = LabelSpace(("",), (Vocabulary(("label 0", "label 1", "other"), False),))
    outputs = torch.linspace(-3, 3, 9)[None]
    absent, present = log_joint(replace(problem, noisy=names), outputs, torch.ones(1, 3), 2.0)
    torch.testing.assert_close(present[:, 2].exp(), torch.sigmoid(outputs[:, 2]))
    torch.testing.assert_close(absent[:, 2].exp(), torch.sigmoid(-outputs[:, 2]))


def test_classes_are_refused() -> None:
    assert ReportingBias().refuses(class_problem(np.eye(3))[0]) is not None


def talkative_problem() -> tuple[Problem, NDArray[np.bool_]]:
    """Three labels with an input each, and a fourth that only says how readily any is mentioned."""
    plain, truth = tag_problem(missing=0.0, wrong=0.0, rows=1200, verified=120)
    random = np.random.default_rng(1)

    def talked_about(rows: Rows, present: NDArray[np.bool_]) -> Rows:
        talkative = random.integers(2, size=(len(present), 1))
        x = np.hstack([rows.x.batch(np.arange(len(present))).numpy(), talkative])
        mentioned = random.random(present.shape) < MENTIONED[present.astype(int), talkative]
        return replace(
            rows, x=Vectors(x.astype(np.float32)), noisy=csr_array(mentioned.astype(np.float32))
        )

    problem = replace(
        plain,
        rows=talked_about(plain.rows, truth),
        validation=talked_about(plain.validation, plain.validation.clean.toarray() > 0),
        network=linear(4),
    )
    return problem, truth
