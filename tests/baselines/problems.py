"""Small problems with a known answer, for methods from the literature.

Classes are told apart by inputs that a linear network reads without error, so what a method gets
wrong it got from the labels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import nn

from latentlabels.baselines.network import Loss, PlainModule
from latentlabels.baselines.problem import Fitted, Problem
from latentlabels.data.labels import LabelSpace, Vocabulary
from latentlabels.network.examples import Vectors
from latentlabels.training.fit import fit_module
from latentlabels.training.rows import Rows
from latentlabels.training.settings import TrainingSettings

TRAINING = TrainingSettings(
    epochs=20, patience=20, batch_size=64, learning_rate=0.05, averaging=0.0, weight_decay=0.0
)


def class_problem(
    transition: NDArray[np.float64],
    *,
    rows: int = 600,
    verified: int = 0,
    spread: float = 0.2,
    seed: int = 0,
) -> tuple[Problem, NDArray[np.int64]]:
    """Classes whose labels are drawn by a transition matrix, and the true classes.

    Args:
        transition: T[c, n] = p(y = n | ŷ = c).
        rows: training rows; a third as many validate.
        verified: how many of them are verified.
        spread: standard deviation of the inputs around their class's corner.
        seed: of everything.
    """
    classes = len(transition)
    random = np.random.default_rng(seed)
    total = rows + rows // 3
    truth = random.integers(classes, size=total)
    x = (np.eye(classes)[truth] + random.normal(0, spread, (total, classes))).astype(np.float32)
    noisy = np.array([random.choice(classes, p=transition[true]) for true in truth])
    space = LabelSpace(("",), (Vocabulary(tuple(f"class {k}" for k in range(classes)), True),))
    known = np.arange(rows) < verified
    problem = _problem(x, np.eye(classes)[noisy], np.eye(classes)[truth], known, space, space)
    return problem, truth[:rows]


def tag_problem(
    *,
    missing: float,
    wrong: float,
    rows: int = 600,
    labels: int = 3,
    verified: int = 0,
    seed: int = 0,
) -> tuple[Problem, NDArray[np.bool_]]:
    """Labels that each turn on one input, some missed and some made up, and the truth.

    Args:
        missing: probability that a label that holds is not given.
        wrong: probability that one that does not hold is given.
        rows: training rows; a third as many validate.
        labels: how many there are.
        verified: how many rows are verified.
        seed: of everything.
    """
    random = np.random.default_rng(seed)
    total = rows + rows // 3
    truth = random.random((total, labels)) < 0.4
    x = (truth + random.normal(0, 0.2, truth.shape)).astype(np.float32)
    noisy = random.random(truth.shape) < np.where(truth, 1 - missing, wrong)
    names = tuple(f"label {k}" for k in range(labels))
    clean = LabelSpace(("",), (Vocabulary(names, False),))
    given = LabelSpace(("",), (Vocabulary(tuple(name.upper() for name in names), False),))
    known = np.arange(rows) < verified
    return _problem(x, noisy, truth, known, given, clean), truth[:rows]


def linear(inputs: int) -> Callable[[int], nn.Module]:
    """Makes linear networks that start at zero."""

    def network(outputs: int) -> nn.Module:
        layer = nn.Linear(inputs, outputs)
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
        return layer

    return network


def accuracy_of(fitted: Fitted, problem: Problem, truth: NDArray[Any]) -> float:
    """Share of the training rows' classes or labels that p(ŷ | x) has right."""
    return _right(fitted.predict(problem.features()), truth)


def recovery_of(fitted: Fitted, truth: NDArray[Any]) -> float:
    """Share of the training rows' classes or labels that the cleaned labels have right."""
    return _right(fitted.cleaned(np.arange(len(truth))), truth)


def outputs_at_the_end(problem: Problem, loss: Loss, outputs: int | None = None) -> torch.Tensor:
    """What a network trained with a loss says of the training rows after the last epoch.

    Where the first epoch already ranks the validation rows best, it is the one that is kept, and
    would say little of a loss.
    """
    units = problem.units
    network = problem.network(outputs or units.size)
    fit_module(PlainModule(network, loss, units.mean, units, problem.training), problem.rows, None)
    with torch.no_grad():
        found: torch.Tensor = network(problem.features())
    return found


def _right(probabilities: torch.Tensor, truth: NDArray[Any]) -> float:
    found = probabilities.numpy()
    decided = found.argmax(1) if truth.ndim == 1 else found > 0.5
    return float(np.mean(decided == truth))


def _problem(
    x: NDArray[np.float32],
    noisy: NDArray[Any],
    truth: NDArray[Any],
    known: NDArray[np.bool_],
    given: LabelSpace,
    clean: LabelSpace,
) -> Problem:
    rows = len(known)
    states = np.where(known[:, None], truth[:rows], 0)
    held = len(x) - rows
    return Problem(
        Rows(Vectors(x[:rows]), _sparse(noisy[:rows]), _sparse(states), known),
        Rows(Vectors(x[rows:]), _sparse(noisy[rows:]), _sparse(truth[rows:]), np.ones(held, bool)),
        given,
        clean,
        linear(x.shape[1]),
        TRAINING,
    )


def _sparse(states: NDArray[Any]) -> csr_array:
    return csr_array(states.astype(np.float32))
