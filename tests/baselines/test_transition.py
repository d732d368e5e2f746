"""A transition matrix is applied forward, read backward by Bayes, and found in predictions."""

from __future__ import annotations

import numpy as np
import torch
from scipy.special import softmax
from tests.baselines.problems import class_problem

from latentlabels.baselines.network import fit_network
from latentlabels.baselines.transition import (
    anchored_transition,
    fit_noisy_classifier,
    forward_corrected,
    with_transition,
)
from latentlabels.model.units import Categorical

TRANSITION = np.array([[0.7, 0.2, 0.1], [0.5, 0.4, 0.1], [0.0, 0.1, 0.9]])


def test_the_forward_loss_is_that_of_the_mixed_prediction() -> None:
    logits = torch.linspace(-2, 2, 12).reshape(4, 3)
    given = np.array([0, 1, 2, 1])
    found = forward_corrected(
        Categorical(3), logits, torch.eye(3)[given], torch.tensor(TRANSITION, dtype=torch.float32)
    )
    mixed = softmax(logits.numpy(), 1) @ TRANSITION
    np.testing.assert_allclose(found.numpy(), -np.log(mixed[np.arange(4), given]), rtol=1e-5)


def test_cleaned_labels_are_those_of_bayes() -> None:
    problem, _ = class_problem(TRANSITION, rows=60)
    transition = torch.tensor(TRANSITION, dtype=torch.float32)
    # Away from nothing to say, and not far.
    plain = fit_network(
        problem, lambda logits, _batch, _epoch: (logits[:, 0] - 1).square().mean(), 0
    )
    rows = np.array([3, 1, 4, 15, 9])
    said = plain.predict(problem.features(rows)).numpy()
    joint = said * TRANSITION[:, problem.all_noisy()[rows].argmax(1)].T
    found = with_transition(plain, transition).cleaned(rows).numpy()
    np.testing.assert_allclose(found, joint / joint.sum(1, keepdims=True), atol=1e-5)


def test_anchors_are_the_surest_examples() -> None:
    predictions = torch.tensor(
        [[0.6, 0.3, 0.1], [0.7, 0.1, 0.2], [0.1, 0.5, 0.4], [0.0, 0.2, 0.8], [0.3, 0.4, 0.3]]
    )
    torch.testing.assert_close(anchored_transition(predictions, 1.0), predictions[[1, 2, 3]])
    # The second largest of five.
    torch.testing.assert_close(anchored_transition(predictions, 0.75), predictions[[0, 4, 2]])


def test_a_classifier_of_given_classes_knows_their_frequencies() -> None:
    problem, truth = class_problem(TRANSITION, rows=2000, spread=0.0)
    rows = np.arange(2000)
    found = fit_noisy_classifier(problem, rows, 0).cleaned(rows).numpy()
    for clean, expected in enumerate(TRANSITION):
        own = found[truth == clean]
        # Five standard errors of a frequency among the nine tenths that it is trained on.
        margin = 5 * np.sqrt(0.25 / (0.9 * len(own)))
        np.testing.assert_allclose(own.mean(0), expected, atol=margin)
