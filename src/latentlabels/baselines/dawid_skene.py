"""Dawid and Skene: the classes of several annotators become one posterior, by crowd-kit.

Source: Dawid and Skene, Maximum likelihood estimation of observer error-rates using the EM
algorithm (1979).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentlabels.baselines.held_out import fit_targets
from latentlabels.baselines.network import FittedNetwork
from latentlabels.baselines.problem import STEP_SIZES, Baseline, Fitted, Problem, unless_named
from latentlabels.errors import needing


class DawidSkene(Baseline):
    """p(ŷ | y₁, …) ∝ p(ŷ) ∏ₐ p(yₐ | ŷ), with a confusion matrix for each annotator a, by EM.

    Verified rows have their class in every step, as crowd-kit allows. The network that is trained
    on the posterior is ours: the model itself looks at no examples.
    """

    name = "Dawid–Skene, then a network"
    source = "Dawid and Skene (1979)"
    choices = STEP_SIZES

    def refuses(self, problem: Problem) -> str | None:
        annotators = problem.noisy.vocabularies
        exclusive = all(vocabulary.exclusive for vocabulary in annotators)
        if not (problem.is_multiclass and exclusive and len(annotators) > 1):
            return "it is made for one class a row, given by several annotators"
        return unless_named(problem)

    def fit(self, problem: Problem, seed: int, **settings: Any) -> Fitted:
        known = torch.from_numpy(problem.rows.verified)[:, None]
        clean = problem.all_clean()
        posterior = torch.where(known, clean, torch.from_numpy(aggregated(problem)))
        return Aggregated(fit_targets(problem, posterior, seed, **settings), posterior)


@dataclass
class Aggregated(Fitted):
    """A network trained on a posterior.

    Attributes:
        network: trained.
        posterior: of all training rows, (rows, clean).
    """

    network: FittedNetwork
    posterior: Tensor

    def predict(self, x: Tensor) -> Tensor:
        return self.network.predict(x)

    def cleaned(self, rows: NDArray[np.intp]) -> Tensor:
        return self.posterior[rows]


def aggregated(problem: Problem) -> NDArray[np.float32]:
    """The posterior of every training row's class given its annotators' classes, (rows, clean).

    A class of an annotator's that names no clean one is taken as no answer; a row without answers
    has p(ŷ). A clean class that no annotator gives has none: crowd-kit has no place for it.
    """
    with needing("crowd-kit", "peers"):
        import pandas as pd
        from crowdkit.aggregation import DawidSkene as ByAnnotators
    sizes = [len(vocabulary.names) for vocabulary in problem.noisy.vocabularies]
    annotator = np.repeat(np.arange(len(sizes)), sizes)
    named = problem.naming.any(1).numpy()
    row, unit = np.nonzero(problem.all_noisy().numpy() * named)
    classes = problem.naming.argmax(1).numpy()[unit]
    answers = pd.DataFrame({"task": row, "worker": annotator[unit], "label": classes})
    truth = problem.all_clean().argmax(1).numpy()
    usable = problem.rows.verified & np.isin(truth, classes)
    model = ByAnnotators()
    with warnings.catch_warnings():
        # crowd-kit passes arguments that pandas is about to drop.
        warnings.simplefilter("ignore", DeprecationWarning)
        model.fit(answers, pd.Series(truth[usable], index=np.flatnonzero(usable)))
    posterior = np.zeros((len(truth), problem.units.size), np.float32)
    posterior[:, model.priors_.index] = model.priors_
    posterior[np.ix_(model.probas_.index, model.probas_.columns)] = model.probas_
    return posterior
