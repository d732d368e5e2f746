"""The regression recovers a known map from noisy to clean; with few pairs it keeps to the prior."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.monte_carlo import STANDARD_ERRORS
from tests.small_models import SmallModel
from tests.small_pairs import pairs_of, rare_classes, rare_labels
from torch import Tensor
from torch.nn.functional import softplus

from latentlabels.auxiliary.pairs import Pairs
from latentlabels.auxiliary.regression import PENALTIES, cross_validated_penalty, fit_regression
from latentlabels.model.posterior import Auxiliary
from latentlabels.model.units import Bernoulli, Categorical, Joint

MAPS = {
    "bits to bits": SmallModel(Bernoulli(4), Bernoulli(2)),
    "bits to a class": SmallModel(Bernoulli(4), Categorical(3)),
    "annotators to both": SmallModel(
        Joint([Categorical(3), Categorical(2)]), Joint([Categorical(3), Bernoulli(1)])
    ),
}


def draw_pairs(model: SmallModel, truth: Auxiliary, count: int) -> Pairs:
    """Noisy labels of all kinds, and clean ones that follow the map."""
    noisy, _ = model.labels(count)
    uniforms = torch.rand(count, model.clean.draws, generator=torch.Generator().manual_seed(0))
    clean = model.clean.sample(truth.clean_logits(noisy), uniforms)
    return pairs_of(model.noisy, model.clean, noisy.numpy(), clean.numpy())


def expected_error(pairs: Pairs, truth: Auxiliary, states: Tensor) -> tuple[Tensor, Tensor]:
    """How far from the truth the fitted means E[ŷ | y] are: on average, and their standard error.

    With Fisher information H = Σ Cov(ŷ | y) ⊗ φφᵀ, φ = (1, y), and the penalty
    ½ (θ − θ₀)ᵀ D (θ − θ₀), the estimate is off by (H + D)⁻¹ (score + D (θ₀ − θ)), and the score's
    covariance is H. A mean moves by Cov(ŷ | y) ⊗ φ times as much.
    """
    units, noisy = truth.clean, pairs.noisy_tensor().double()
    listed = units.configurations()

    def covariance(at: Tensor) -> Tensor:  # (rows, clean, clean)
        probability = units.log_probability(truth.clean_logits(at)[:, None], listed).exp()
        centred = listed - units.mean(truth.clean_logits(at))[:, None]
        return torch.einsum("rs,rsc,rsd->rcd", probability, centred, centred)

    def features(at: Tensor) -> Tensor:  # (rows, 1 + noisy)
        return torch.cat([torch.ones(len(at), 1), at], -1).double()

    known, phi = covariance(noisy), features(noisy)
    size = units.size * phi.shape[1]
    information = torch.einsum("rcd,rp,rq->cpdq", known, phi, phi).reshape(size, size)
    penalty = torch.full((units.size, phi.shape[1]), cross_validated_penalty(pairs, seed=0))
    penalty[:, 0] = 1.0
    parameters = torch.cat([truth.bias[:, None], truth.weight], 1)
    start = torch.zeros_like(parameters)
    start[:, 0] = pairs.clean_prior_logits()
    inverse = torch.linalg.inv(information + torch.diag(penalty.double().flatten()))
    shift = inverse @ (penalty * (start - parameters)).flatten()
    slope = torch.einsum("rcd,rp->rcdp", covariance(states), features(states)).flatten(2)
    scatter = inverse @ information @ inverse
    variance = torch.einsum("rcp,pq,rcq->rc", slope, scatter, slope)
    return slope @ shift, variance.sqrt()


@pytest.mark.parametrize("count", [400, 6400])
@pytest.mark.parametrize("model", MAPS.values(), ids=MAPS)
def test_a_known_map_is_recovered(model: SmallModel, count: int) -> None:
    truth = model.auxiliary()
    pairs = draw_pairs(model, truth, count)
    states = model.noisy.configurations()
    shift, standard_error = expected_error(pairs, truth, states)
    found = fit_regression(pairs, seed=0).double().clean_mean(states)
    distance = (found - truth.clean_mean(states) - shift).abs()
    assert (distance <= STANDARD_ERRORS * standard_error).all()
    # Sixteen times the pairs, a quarter of the error: at 6,400 pairs, a few hundredths at most.
    assert standard_error.max() < 2.5 / count**0.5


@pytest.mark.parametrize("pairs", [rare_labels(60), rare_labels(600), rare_classes(60)])
def test_the_fit_is_where_the_penalised_likelihood_is_flat(pairs: Pairs) -> None:
    """Σ (E[ŷ | y] − ŷ) yᵀ + penalty V = 0, and Σ (E[ŷ | y] − ŷ) + f − f₀ = 0, in units of pairs.

    The optimiser stops when a step gains 2e-9 of the loss, here at most 1e-6; with a curvature of
    up to a quarter of 600 pairs, a slope of √(2 · 150 · 1e-6), a fiftieth of a pair, may be left.
    """
    found = fit_regression(pairs).double()
    noisy = pairs.noisy_tensor().double()
    residual = found.clean_mean(noisy) - pairs.clean_tensor()
    penalty = cross_validated_penalty(pairs, seed=0)
    by_weight = residual.T @ noisy + penalty * found.weight
    by_bias = residual.sum(0) + found.bias - pairs.clean_prior_logits()
    assert by_weight.abs().max() < 0.02
    assert by_bias.abs().max() < 0.02


def test_with_few_pairs_the_fit_keeps_to_the_prior() -> None:
    """However well six pairs agree, they are not believed.

    A weight is at most its noisy label's two pairs over the penalty of 100, for residuals are below
    one. Three labels then move a logit by 0.06; the biases, which answer for a residual of up to a
    half and for what the weights do to the six pairs, stay within 0.5 + 6 · 0.06 / 4.
    """
    labels = np.eye(3)[[0, 0, 1, 1, 2, 2]]
    pairs = pairs_of(Bernoulli(3), Bernoulli(3), labels, labels)
    found = fit_regression(pairs)
    assert found.weight.abs().max() <= 2 / PENALTIES[0]
    logits = found.clean_logits(Bernoulli(3).configurations().float())
    assert (logits - pairs.clean_prior_logits()).abs().max() <= 0.06 + 0.5 + 6 * 0.06 / 4


def test_more_pairs_of_a_clear_map_are_believed() -> None:
    """The same six pairs, seen twenty times."""
    labels = np.eye(3)[[0, 0, 1, 1, 2, 2] * 20]
    found = fit_regression(pairs_of(Bernoulli(3), Bernoulli(3), labels, labels))
    assert torch.equal(found.clean_mean(torch.eye(3)) > 0.5, torch.eye(3).bool())
    assert (found.clean_mean(torch.eye(3)).diag() > 0.9).all()


def test_the_penalty_grows_where_noisy_labels_say_nothing() -> None:
    generator = np.random.default_rng(0)
    noisy, clean = (generator.random((200, 4)) < 0.5 for _ in range(2))
    unrelated = pairs_of(Bernoulli(4), Bernoulli(4), noisy, clean)
    flipped = generator.random((200, 4)) < 0.05
    related = pairs_of(Bernoulli(4), Bernoulli(4), noisy, noisy ^ flipped)
    assert cross_validated_penalty(unrelated, 0) > cross_validated_penalty(related, 0)


@pytest.mark.parametrize("count", [6, 60, 600])
def test_rare_and_absent_labels_do_not_blow_up(count: int) -> None:
    """Each clean bit's penalised loss is no more than its loss at the prior alone.

    For a label that no pair has, that is half a nat: its bias stays within one of the prior's.
    """
    pairs = rare_labels(count)
    found = fit_regression(pairs)
    prior = pairs.clean_prior_logits()
    of_prior = (softplus(prior) - pairs.clean_tensor() * prior).sum(0)
    penalty = cross_validated_penalty(pairs, seed=0)
    used = penalty * found.weight.square().sum(1) + (found.bias - prior).square()
    # Adding up the loss in another order may cost the optimiser a last digit of float32.
    assert (used <= 2 * of_prior + 1e-5).all()
    assert of_prior[3] <= 0.5
    assert not found.weight[:, 4].any()


@pytest.mark.parametrize("count", [6, 60, 600])
def test_rare_and_absent_classes_do_not_blow_up(count: int) -> None:
    pairs = rare_classes(count)
    found = fit_regression(pairs)
    prior = pairs.clean_prior_logits()
    of_prior = -pairs.clean_units.log_probability(prior, pairs.clean_tensor()).sum()
    penalty = cross_validated_penalty(pairs, seed=0)
    used = penalty * found.weight.square().sum() + (found.bias - prior).square().sum()
    assert used <= 2 * of_prior
    assert not found.weight[:, [2, 4]].any()


def test_the_fit_is_the_same_every_time() -> None:
    pairs = rare_labels(60)
    one, other = fit_regression(pairs, seed=3), fit_regression(pairs, seed=3)
    assert torch.equal(one.weight, other.weight)
    assert one.kind == "regression"
    assert one.hidden.size == 0
