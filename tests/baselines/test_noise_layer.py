"""The noise layer takes the noise over from the network."""

from __future__ import annotations

import numpy as np
import torch
from tests.baselines.problems import accuracy_of, class_problem
from torch import Tensor

from latentlabels.baselines.noise_layer import NoiseLayer, NoiseLayerLoss, nearest_distributions
from latentlabels.model.units import Categorical
from latentlabels.training.rows import Batch

SPREAD = 0.4 * torch.eye(3) + 0.2


def test_rows_are_put_back_to_the_nearest_probabilities() -> None:
    rows = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    # Of two classes: half the difference to either side, as far as it goes.
    first = ((1 + rows[:, 0] - rows[:, 1]) / 2).clamp(0, 1)
    torch.testing.assert_close(nearest_distributions(rows), torch.stack([first, 1 - first], 1))
    rows = torch.tensor([[0.5, 0.3, 0.2], [1.0, 0.6, -3.0], [0.9, 0.9, 0.9]])
    expected = torch.tensor([[0.5, 0.3, 0.2], [0.7, 0.3, 0.0], [1 / 3, 1 / 3, 1 / 3]])
    torch.testing.assert_close(nearest_distributions(rows), expected)


def test_weight_decay_hands_the_noise_to_the_layer() -> None:
    loss, said = _trained(decay=0.1)
    layer = loss.transition()
    misfit = float((said @ layer - SPREAD).abs().max())
    doubt = float(1 - said.diagonal().min())
    assert misfit < 0.02
    assert doubt < 0.05
    # With P what is left to the network, Q − T = P⁻¹ ((P Q − T) + (T − P T)); T's rows differ by
    # 0.4 at most, and the rows of P⁻¹ have a sum of sizes of at most 1 / (1 − 2 doubt).
    margin = (misfit + 0.4 * doubt) / (1 - 2 * doubt)
    torch.testing.assert_close(layer, SPREAD, atol=margin, rtol=0)


def test_without_decay_the_network_keeps_the_noise() -> None:
    loss, said = _trained(decay=0.0)
    torch.testing.assert_close(said @ loss.transition(), SPREAD, atol=1e-2, rtol=0)
    assert said.diagonal().max() < 0.7


def test_a_class_that_is_mostly_called_another_is_found() -> None:
    problem, truth = class_problem(np.array([[1, 0, 0], [0.8, 0.2, 0], [0, 0, 1.0]]), verified=60)
    fitted = NoiseLayer().fit(problem, 0, decay=0.1, warm_up=2.0)
    assert accuracy_of(fitted, problem, truth) > 0.95


def test_verified_rows_are_taken_at_their_word() -> None:
    # Nothing is told by the given classes, so all that is learnt comes from the verified rows.
    problem, truth = class_problem(np.full((3, 3), 1 / 3), verified=60)
    fitted = NoiseLayer().fit(problem, 0, decay=0.1, warm_up=0.0)
    assert accuracy_of(fitted, problem, truth) > 0.95


def _trained(decay: float) -> tuple[NoiseLayerLoss, Tensor]:
    """A free prediction for each class, and the layer, trained on exact frequencies."""
    pairs = torch.arange(9).repeat_interleave((5 * SPREAD).round().long().flatten())
    clean, given = pairs // 3, torch.eye(3)[pairs % 3]
    rows = torch.arange(len(clean))
    unverified = torch.zeros(len(rows), dtype=torch.bool)
    batch = Batch(rows, rows, given, torch.zeros_like(given), unverified, torch.ones(len(rows)))
    logits = torch.zeros(3, 3, requires_grad=True)
    loss = NoiseLayerLoss(Categorical(3), lambda noisy: noisy, decay=decay, warm_up=100)
    optimiser = torch.optim.Adam([logits, *loss.parameters()], lr=0.02)
    for step in range(1500):
        optimiser.zero_grad()
        loss(logits[clean], batch, step).backward()
        optimiser.step()
    return loss, logits.detach().softmax(-1)
