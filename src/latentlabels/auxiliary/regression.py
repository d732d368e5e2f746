"""A regularised regression from noisy to clean labels: logistic for bits, softmax for classes.

It fits p(ŷ | y) itself, by maximum likelihood with a Gaussian prior on the weights, and has the
affine form of every auxiliary: logits = f_aux + V_aux y. With few pairs it is far better than an
RBM, which spends its data on p(y).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from latentlabels.auxiliary.pairs import Pairs
from latentlabels.model.posterior import Auxiliary

PENALTIES = (100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1)
FOLDS = 5
FEWEST_PAIRS_TO_CROSS_VALIDATE = 2 * FOLDS

Doubles = NDArray[np.float64]


def fit_regression(pairs: Pairs, *, seed: int = 0) -> Auxiliary:
    """Fit the regression, its penalty chosen by cross-validation.

    Args:
        pairs: the verified pairs, at least one.
        seed: of the folds.

    Returns:
        An auxiliary of kind "regression", without hidden units.
    """
    # Products this small gain nothing from BLAS's threads, which stand in the way of torch's.
    with threadpool_limits(1, user_api="blas"):
        penalty = cross_validated_penalty(pairs, seed)
        bias, weight = _fit(pairs, penalty, _start(pairs))
    return Auxiliary(
        pairs.noisy_units,
        pairs.clean_units,
        torch.from_numpy(bias).float(),
        torch.from_numpy(weight).float(),
        kind="regression",
    )


def cross_validated_penalty(pairs: Pairs, seed: int) -> float:
    """The penalty with the least held-out loss over five folds.

    Where the pairs are too few to tell, the strongest.
    """
    if len(pairs) < FEWEST_PAIRS_TO_CROSS_VALIDATE:
        return PENALTIES[0]
    losses = np.zeros(len(PENALTIES))
    for fitted, held_out in pairs.folds(FOLDS, seed):
        parameters = _start(fitted)
        for k, penalty in enumerate(PENALTIES):  # from strong to weak, each from the one before
            parameters = _fit(fitted, penalty, parameters)
            losses[k] += _loss_and_residual(held_out, *parameters)[0]
    return PENALTIES[int(losses.argmin())]


def _start(pairs: Pairs) -> tuple[Doubles, Doubles]:
    bias = pairs.clean_prior_logits().numpy()
    return bias, np.zeros((pairs.clean_units.size, pairs.noisy_units.size))


def _fit(pairs: Pairs, penalty: float, start: tuple[Doubles, Doubles]) -> tuple[Doubles, Doubles]:
    """Minimise −Σ log p(ŷ | y) + penalty/2 ‖V‖² + 1/2 ‖f − f₀‖².

    The bias is held near the smoothed log-odds f₀ of the pairs, so that a label that no pair has
    does not run off to −∞.
    """
    shape = start[1].shape
    prior = pairs.clean_prior_logits().numpy()

    def objective(parameters: Doubles) -> tuple[float, Doubles]:
        bias, weight = parameters[: shape[0]], parameters[shape[0] :].reshape(shape)
        loss, residual = _loss_and_residual(pairs, bias, weight)
        loss += 0.5 * penalty * float((weight**2).sum()) + 0.5 * float(((bias - prior) ** 2).sum())
        bias_gradient = residual.sum(0) + bias - prior
        weight_gradient = (pairs.noisy.T @ residual).T + penalty * weight
        return loss, np.concatenate([bias_gradient, weight_gradient.ravel()])

    first = np.concatenate([start[0], start[1].ravel()])
    found = minimize(objective, first, jac=True, method="L-BFGS-B", options={"maxiter": 500}).x
    return found[: shape[0]], found[shape[0] :].reshape(shape)


def _loss_and_residual(pairs: Pairs, bias: Doubles, weight: Doubles) -> tuple[float, Doubles]:
    """−Σ log p(ŷ | y), and its derivative by the logits, E[ŷ | y] − ŷ."""
    logits = torch.from_numpy(bias + pairs.noisy @ weight.T)
    clean = pairs.clean_tensor().double()
    loss = -pairs.clean_units.log_probability(logits, clean).sum()
    return float(loss), (pairs.clean_units.mean(logits) - clean).numpy()
