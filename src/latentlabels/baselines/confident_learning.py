"""Confident learning, by cleanlab: rows whose class seems wrong are left out of training.

Source: Northcutt et al., Confident learning: estimating uncertainty in dataset labels (2021).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from torch import Tensor
from torch.nn.functional import one_hot

from latentlabels.baselines.held_out import fit_targets, out_of_sample
from latentlabels.baselines.network import FittedNetwork
from latentlabels.baselines.problem import Baseline, Fitted, Problem, unless_multiclass
from latentlabels.errors import needing


class ConfidentLearning(Baseline):
    """CleanLearning around the shared network.

    Networks trained on the other folds say p̂(y | x) of each row. A row counts as of true class k
    where p̂(k | x) reaches the mean of p̂(k | x) over the rows that are called k; the counts make
    p(y, ŷ), which says how many rows of each class to leave out. The rest train a network, weighted
    by 1 / p(y = k | ŷ = k).

    That verified rows have their clean class, and are never left out, is ours.
    """

    name = "confident learning, classes"
    source = "Northcutt et al. (2021)"
    choices = (
        {"filter_by": "prune_by_noise_rate"},
        {"filter_by": "both"},
        {"filter_by": "confident_learning"},
    )

    def refuses(self, problem: Problem) -> str | None:
        return unless_multiclass(problem)

    def fit(self, problem: Problem, seed: int, **settings: Any) -> Fitted:
        with needing("cleanlab", "peers"):
            from cleanlab.classification import CleanLearning
        filter_by: str = settings.pop("filter_by")
        labels = problem.all_read_as_clean()
        classes = labels.argmax(1).numpy()
        held_out = out_of_sample(problem, labels, seed, **settings).double().numpy()
        classifier = RowClassifier(problem, seed, settings)
        # A fresh dictionary: CleanLearning writes into it, and into its default likewise.
        how = {"filter_by": filter_by, "n_jobs": 1}
        learner = CleanLearning(classifier, find_label_issues_kwargs=how)
        with few_of_a_class():
            found = learner.find_label_issues(labels=classes, pred_probs=held_out)
        wrong = found["is_label_issue"].to_numpy() & ~problem.rows.verified
        found["is_label_issue"] = wrong
        learner.fit(np.arange(len(classes)), classes, label_issues=found)
        return Corrected(classifier.fitted_, labels, torch.from_numpy(wrong)[:, None])


@contextmanager
def few_of_a_class() -> Iterator[None]:
    """Leave out cleanlab's remark on classes that hardly occur, which it keeps whole."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "May not flag all label issues", UserWarning)
        yield


class RowClassifier(BaseEstimator):  # type: ignore[misc]
    """The shared network as a scikit-learn classifier, whose examples are numbers of training rows.

    Args:
        problem: the rows.
        seed: of the network.
        changes: to the settings of training.
    """

    fitted_: FittedNetwork

    def __init__(self, problem: Problem, seed: int, changes: dict[str, float]) -> None:
        self.problem = problem
        self.seed = seed
        self.changes = changes

    def fit(
        self, X: NDArray[np.intp], y: NDArray[np.intp], sample_weight: NDArray[np.float64]
    ) -> RowClassifier:
        """Train on some rows, with a class and a weight for each, all (rows,)."""
        self.fitted_ = fit_targets(
            self.problem,
            one_hot(torch.from_numpy(y), self.problem.units.size).float(),
            self.seed,
            chosen=X,
            weights=torch.from_numpy(sample_weight).float(),
            **self.changes,
        )
        return self

    def predict_proba(self, X: NDArray[np.intp]) -> NDArray[np.float32]:
        """Probabilities of the classes, (rows, classes)."""
        return self.fitted_.cleaned(X).numpy()

    def predict(self, X: NDArray[np.intp]) -> NDArray[np.intp]:
        """The likeliest classes, (rows,)."""
        found: NDArray[np.intp] = self.predict_proba(X).argmax(1)
        return found


@dataclass
class Corrected(Fitted):
    """A network trained after labels were found wrong.

    A label that was kept decides, and the network's probability tells how surely: the mean of both.
    Of a label that was found wrong, the network's probability is all there is.

    Attributes:
        network: trained on what was kept.
        labels: of all training rows as they were read, (rows, clean).
        wrong: which were found wrong, (rows, clean) or (rows, 1).
    """

    network: FittedNetwork
    labels: Tensor
    wrong: Tensor

    def predict(self, x: Tensor) -> Tensor:
        return self.network.predict(x)

    def cleaned(self, rows: NDArray[np.intp]) -> Tensor:
        found = self.network.cleaned(rows)
        return torch.where(self.wrong[rows], found, (self.labels[rows] + found) / 2)
