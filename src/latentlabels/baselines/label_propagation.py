"""Label propagation: verified labels spread along a graph of nearest neighbours.

Sources: Zhu and Ghahramani, Learning from labeled and unlabeled data with label propagation (2002);
Zhou et al., Learning with local and global consistency (2004). Fergus et al., Semi-supervised
learning in gigantic image collections (2009), approximate it by eigenfunctions; here a sparse graph
keeps it small.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.neighbors import NearestNeighbors
from sklearn.semi_supervised import LabelSpreading
from torch import Tensor

from latentlabels.baselines.problem import Baseline, Fitted, Problem
from latentlabels.network.backbones import Standardise
from latentlabels.network.examples import Vectors

MOST_STEPS = 5000
UNSPREAD = 1e-6
"""Spreading stops once a step changes less than this share of what the verified rows put in."""


class LabelPropagation(Baseline):
    """The limit of F ← α D^(−½) W D^(−½) F + (1 − α) Y, each row's shares normalised.

    Y holds the labels of verified rows; noisy labels are not looked at. W joins each row with its
    nearest neighbours in standardised columns, both ways, so that memory grows with the rows and
    not with their square. Of several labels each spreads alone, as 0 and 1. A new example has the
    mean of its neighbours. Rows that no verified row reaches have the verified rows' frequencies.
    """

    name = "label propagation"
    source = "Zhou et al. (2004)"
    choices = (
        {"neighbours": 10, "alpha": 0.9},
        {"neighbours": 30, "alpha": 0.9},
        {"neighbours": 10, "alpha": 0.99},
    )

    def refuses(self, problem: Problem) -> str | None:
        if not isinstance(problem.rows.x, Vectors):
            return "its graph needs examples that are vectors"
        if not problem.rows.verified.any():
            return "it has no verified rows to start from"
        return None

    def fit(self, problem: Problem, seed: int, **settings: Any) -> Fitted:
        x = problem.features()
        standardise = Standardise(x.shape[1])
        standardise.fit(x)
        graph = Graph(standardise(x).numpy(), settings["neighbours"])
        known = problem.rows.verified
        clean = problem.all_clean().long().numpy()

        def shares(classes: NDArray[np.int64], count: int) -> NDArray[np.float64]:
            return spread(graph, np.where(known, classes, -1), count, settings["alpha"])

        if problem.is_multiclass:
            found = shares(clean.argmax(1), clean.shape[1])
        else:
            found = np.stack([shares(states, 2)[:, 1] for states in clean.T], 1)
        return Spread(standardise, graph, torch.from_numpy(found.astype(np.float32)))


@dataclass
class Spread(Fitted):
    """Labels spread over the training rows.

    Attributes:
        standardise: the columns.
        graph: of the training rows.
        shares: what came to each training row, (rows, clean).
    """

    standardise: Standardise
    graph: Graph
    shares: Tensor

    def predict(self, x: Tensor) -> Tensor:
        return self.shares[self.graph.nearest_to(self.standardise(x).numpy())].mean(1)

    def cleaned(self, rows: NDArray[np.intp]) -> Tensor:
        return self.shares[rows]


class Graph:
    """Nearest neighbours among rows, found once for all labels.

    Args:
        x: the rows, (rows, inputs).
        neighbours: of each row, itself not counted.
    """

    def __init__(self, x: NDArray[np.float32], neighbours: int) -> None:
        self.x = x
        self.neighbours = min(neighbours, len(x) - 1)
        self.nearest = NearestNeighbors(n_neighbors=self.neighbours).fit(x)
        one_way = self.nearest.kneighbors_graph()
        # scikit-learn's Laplacian wants the matrix class, not the array class.
        self.weights: csr_matrix = one_way.maximum(one_way.T).tocsr()

    def __call__(self, _x: NDArray[Any], _y: NDArray[Any]) -> csr_matrix:
        """The weights W, (rows, rows): LabelSpreading asks for its kernel of the rows alone."""
        return self.weights

    def nearest_to(self, x: NDArray[np.float32]) -> NDArray[np.intp]:
        """The nearest rows of new examples, (batch, neighbours)."""
        rows: NDArray[np.intp] = self.nearest.kneighbors(x, return_distance=False)
        return rows


def spread(
    graph: Graph, classes: NDArray[np.int64], count: int, alpha: float
) -> NDArray[np.float64]:
    """The classes' shares of what comes to each row, (rows, count).

    Args:
        graph: of the rows.
        classes: of each row, −1 where it is not known, (rows,).
        count: of classes.
        alpha: how much a row takes from its neighbours.
    """
    known = classes[classes >= 0]
    model = LabelSpreading(
        kernel=graph, alpha=alpha, max_iter=MOST_STEPS, tol=UNSPREAD * len(known)
    ).fit(graph.x, classes)
    shares = np.zeros((len(classes), count))
    shares[:, model.classes_] = model.label_distributions_
    shares[shares.sum(1) == 0] = np.bincount(known, minlength=count) / len(known)
    return shares
