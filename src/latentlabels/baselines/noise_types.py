"""A noise model conditioned on class and instance: each given class has a type of noise.

Source: Xiao et al., Learning from massive noisy labeled data for image classification (2015).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentlabels.baselines.network import FittedNetwork, cross_entropy, fit_network
from latentlabels.baselines.problem import Baseline, Fitted, Problem, unless_multiclass
from latentlabels.baselines.transition import evidence
from latentlabels.training.rows import Batch

TYPES = 3
"""No noise, random, confusing."""


class NoiseTypes(Baseline):
    """EM with the clean class ŷ and the type of noise z as hidden variables.

        p(y | x) = Σ_{ŷ, z} p(y | ŷ, z) p(ŷ | x) p(z | x)

    with y = ŷ where there is no noise, any other class alike where it is random, and C[ŷ, y] where
    it is confusing (`confusions`). The E step finds p(ŷ, z | x, y) of a row that is not verified;
    the M step is a step of gradient descent on the cross entropy to it. The network learns from the
    verified rows alone at first; their clean class is known, and their type follows from it
    (`types_of`). One network with two heads, where the paper has two networks, is ours.
    """

    name = "noise types"
    source = "Xiao et al. (2015)"
    choices = ({"warm_up": 3.0}, {"warm_up": 6.0}, {"warm_up": 1.0})

    def refuses(self, problem: Problem) -> str | None:
        if not problem.rows.verified.any():
            return "it needs verified rows"
        return unless_multiclass(problem)

    def fit(self, problem: Problem, seed: int, **settings: Any) -> Fitted:
        units, classes = problem.units, problem.units.size
        warm_up: float = settings.pop("warm_up")
        verified = np.flatnonzero(problem.rows.verified)
        pairs = problem.all_clean()[verified].T @ problem.given(problem.all_noisy()[verified])
        confusing = confusions(pairs)
        channels = torch.stack([torch.eye(classes), random_noise(classes), confusing])

        def loss(outputs: Tensor, batch: Batch, epoch: float) -> Tensor:
            given = problem.given(batch.noisy)
            with torch.no_grad():
                joint = joint_posterior(outputs, given, channels.to(outputs))
                known = types_of(batch.clean, given, confusing.to(outputs))
            sure = batch.verified[:, None]
            clean = torch.where(sure, batch.clean, joint.sum(2))
            types = torch.where(sure, known, joint.sum(1))
            row = cross_entropy(units, outputs[:, :classes], clean)
            row = row - (types * outputs[:, classes:].log_softmax(-1)).sum(-1)
            counted = batch.verified if epoch < warm_up else torch.ones_like(batch.verified)
            return torch.where(counted, row, 0.0).sum() / counted.sum()

        fitted = fit_network(
            problem,
            loss,
            seed,
            outputs=classes + TYPES,
            probabilities=lambda outputs: units.mean(outputs[:, :classes]),
            **settings,
        )
        return FittedNoiseTypes(
            problem, fitted.network, fitted.probabilities, fitted.history, channels
        )


@dataclass
class FittedNoiseTypes(FittedNetwork):
    """A network of p(ŷ | x) and p(z | x).

    Attributes:
        channels: p(y | ŷ, z) of each type, (types, clean, clean).
    """

    channels: Tensor

    def cleaned(self, rows: NDArray[np.intp]) -> Tensor:
        given = self.problem.given(self.problem.all_noisy()[rows])
        return joint_posterior(self.outputs(rows), given, self.channels).sum(2)


def joint_posterior(outputs: Tensor, given: Tensor, channels: Tensor) -> Tensor:
    """p(ŷ, z | x, y) ∝ p(y | ŷ, z) p(ŷ | x) p(z | x), (batch, clean, types).

    Args:
        outputs: logits of p(ŷ | x), then of p(z | x), (batch, clean + types).
        given: given classes, (batch, clean).
        channels: p(y | ŷ, z) of each type, (types, clean, clean).
    """
    logits, types = outputs.split([given.shape[1], len(channels)], -1)
    said = torch.stack([evidence(given, channel) for channel in channels], -1)
    joint: Tensor = logits[:, :, None] + types[:, None, :] + said
    return joint.flatten(1).softmax(-1).reshape(joint.shape)


def random_noise(classes: int) -> Tensor:
    """p(y | ŷ) of random noise: any other class alike, (clean, clean)."""
    return (1 - torch.eye(classes)) / max(1, classes - 1)


def confusions(pairs: Tensor) -> Tensor:
    """C[c, n], the confusing classes of each clean class by their frequencies, (clean, clean).

    The likeliest wrong classes are confusing and the others random; how many are is chosen by the
    likelihood of the wrong classes, as the authors do. A class without wrong ones is confused as at
    random, of which the paper says nothing.

    Args:
        pairs: how often a verified row of class c was given class n, (clean, clean).
    """
    table = random_noise(len(pairs))
    at_random = float(table.max().log())
    for clean, counts in enumerate(pairs * (1 - torch.eye(len(pairs)))):
        ordered, classes = counts.sort(descending=True)
        ordered = ordered[ordered > 0]
        if len(ordered) == 0:
            continue
        # With the likeliest 1, 2, ... classes confusing and the rest random.
        so_far = ordered.cumsum(0)
        confusing = (ordered * ordered.log()).cumsum(0) - so_far * so_far.log()
        likelihood = confusing + (so_far[-1] - so_far) * at_random
        chosen = int(likelihood.argmax()) + 1
        table[clean] = 0.0
        table[clean, classes[:chosen]] = ordered[:chosen] / so_far[chosen - 1]
    return table


def types_of(clean: Tensor, given: Tensor, confusing: Tensor) -> Tensor:
    """The type of noise of verified rows, (batch, types).

    A wrong class is confusing if it is likelier to be so than to be random.

    Args:
        clean: clean classes, (batch, clean).
        given: given classes, (batch, clean).
        confusing: C, (clean, clean).
    """
    likelier = (confusing > random_noise(len(confusing)).to(confusing)).to(confusing)
    right = (clean * given).sum(-1)
    confused = (clean @ likelier * given).sum(-1)
    return torch.stack([right, given.sum(-1) - right - confused, confused], -1)
