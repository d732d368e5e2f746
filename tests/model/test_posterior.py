"""q(ŷ, h | y, x): its limits in α, verified rows, and an auxiliary that speaks of other units.

That q is the enumerated posterior at α = 0 stands in exactness/test_enumeration.py.
"""

from __future__ import annotations

import pytest
import torch
from tests.small_models import EVERY_MODEL, SmallModel
from torch import Tensor
from torch.testing import assert_close

from latentlabels.model.posterior import (
    Auxiliary,
    posterior_logits,
    posterior_mean,
    require_same_units,
)
from latentlabels.model.units import Bernoulli, Categorical

ROWS = 6
INFINITY = float("inf")

every_model = pytest.mark.parametrize("model", EVERY_MODEL.values(), ids=EVERY_MODEL)


def logits(model: SmallModel, auxiliary: Auxiliary, alpha: float) -> Tensor:
    crf, noisy = model.crf(), model.labels(ROWS)[0]
    return posterior_logits(crf, crf.fields(model.potentials(ROWS)), noisy, auxiliary, alpha)


@every_model
def test_infinite_alpha_is_the_auxiliary_to_the_last_bit(model: SmallModel) -> None:
    auxiliary = model.auxiliary(model.hidden)
    noisy = model.labels(ROWS)[0]
    assert torch.equal(logits(model, auxiliary, INFINITY), auxiliary.latent_logits(noisy))


@every_model
def test_large_alpha_approaches_the_auxiliary(model: SmallModel) -> None:
    """The distance is that between model and auxiliary, over 1 + α."""
    auxiliary = model.auxiliary(model.hidden)
    apart = logits(model, auxiliary, 0.0) - logits(model, auxiliary, INFINITY)
    for alpha in (1.0, 1e3, 1e6):
        left = logits(model, auxiliary, alpha) - logits(model, auxiliary, INFINITY)
        assert_close(left * (1 + alpha), apart, rtol=1e-6, atol=1e-6)


@every_model
def test_what_else_is_seen_joins_the_auxiliary(model: SmallModel) -> None:
    """It moves the clean logits by α/(1+α) of itself, and the hidden ones not at all."""
    crf, noisy = model.crf(), model.labels(ROWS)[0]
    fields = crf.fields(model.potentials(ROWS))
    seen = torch.linspace(-2, 2, ROWS * model.clean.size).view(ROWS, -1)
    for hidden in {0, model.hidden}:
        auxiliary = model.auxiliary(hidden)
        for alpha, share in ((0.0, 0.0), (3.0, 0.75), (INFINITY, 1.0)):
            without = posterior_logits(crf, fields, noisy, auxiliary, alpha)
            moved = posterior_logits(crf, fields, noisy, auxiliary, alpha, seen) - without
            assert_close(moved[:, : model.clean.size], (share * seen).to(moved))
            assert not moved[:, model.clean.size :].any()


@every_model
def test_an_auxiliary_without_hidden_units_leaves_them_to_the_model(model: SmallModel) -> None:
    own = logits(model, model.auxiliary(), 0.0)
    for alpha in (0.5, 40.0, INFINITY):
        pulled = logits(model, model.auxiliary(), alpha)
        assert torch.equal(pulled[:, model.clean.size :], own[:, model.clean.size :])
        assert not torch.allclose(pulled[:, : model.clean.size], own[:, : model.clean.size])


@every_model
@pytest.mark.parametrize("alpha", [0.0, 3.0, INFINITY])
def test_on_verified_rows_clean_is_given_and_hidden_inferred(
    model: SmallModel, alpha: float
) -> None:
    """Eq. 11; what stands in the clean column of other rows is never looked at."""
    crf, auxiliary = model.crf(), model.auxiliary(model.hidden)
    noisy, clean = model.labels(ROWS)
    verified = torch.arange(ROWS) % 2 == 0
    unknown = torch.where(verified[:, None], clean, torch.nan)
    fields = crf.fields(model.potentials(ROWS))
    mean = posterior_mean(crf, fields, noisy, auxiliary, alpha, unknown, verified)
    inferred = crf.latent.mean(posterior_logits(crf, fields, noisy, auxiliary, alpha))
    size = model.clean.size
    assert torch.equal(mean[verified, :size], clean[verified])
    assert torch.equal(mean[~verified], inferred[~verified])
    assert torch.equal(mean[:, size:], inferred[:, size:])


def test_an_auxiliary_gives_clean_and_hidden_logits() -> None:
    model = SmallModel(Bernoulli(3), Categorical(4), hidden=2)
    auxiliary, noisy = model.auxiliary(hidden=2), model.labels(ROWS)[0]
    latent = auxiliary.bias + noisy @ auxiliary.weight.T
    assert auxiliary.hidden == Bernoulli(2)
    assert torch.equal(auxiliary.latent_logits(noisy), latent)
    assert torch.equal(auxiliary.clean_logits(noisy), latent[:, :4])
    assert torch.equal(auxiliary.clean_mean(noisy), latent[:, :4].softmax(-1))


def test_an_auxiliary_is_a_constant_that_moves_and_saves_with_the_model() -> None:
    auxiliary = SmallModel(Bernoulli(3), Bernoulli(2)).auxiliary()
    assert not list(auxiliary.parameters())
    assert set(auxiliary.state_dict()) == {"bias", "weight"}
    assert auxiliary.to(torch.float32).weight.dtype == torch.float32


@pytest.mark.parametrize(
    ("bias", "weight"), [((1,), (1, 3)), ((2,), (3, 3)), ((2,), (2, 4)), ((2, 1), (2, 3))]
)
def test_an_auxiliary_of_another_shape_is_refused(
    bias: tuple[int, ...], weight: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="An auxiliary from 3 noisy to 2 clean units needs"):
        Auxiliary(Bernoulli(3), Bernoulli(2), torch.zeros(bias), torch.zeros(weight))


@pytest.mark.parametrize("number", [float("nan"), INFINITY])
def test_an_auxiliary_that_is_not_finite_is_refused(number: float) -> None:
    bias, weight = torch.zeros(2), torch.zeros(2, 3)
    weight[0, 1] = number
    with pytest.raises(ValueError, match="finite numbers, got NaN or infinity"):
        Auxiliary(Bernoulli(3), Bernoulli(2), bias, weight)
    bias[1] = number
    with pytest.raises(ValueError, match="finite numbers, got NaN or infinity"):
        Auxiliary(Bernoulli(3), Bernoulli(2), bias, torch.zeros(2, 3))


def test_an_auxiliary_of_other_units_is_refused() -> None:
    crf = SmallModel(Bernoulli(3), Bernoulli(2), hidden=2).crf()
    for noisy, clean in ((Bernoulli(4), Bernoulli(2)), (Bernoulli(3), Categorical(2))):
        with pytest.raises(ValueError, match="Fit the auxiliary on the model's own units"):
            require_same_units(crf, SmallModel(noisy, clean).auxiliary())


@pytest.mark.parametrize("hidden", [0, 2])
def test_an_auxiliary_has_the_models_hidden_units_or_none(hidden: int) -> None:
    require_same_units(
        SmallModel(Bernoulli(3), Bernoulli(2), hidden=2).crf(),
        SmallModel(Bernoulli(3), Bernoulli(2)).auxiliary(hidden),
    )


def test_an_auxiliary_with_another_number_of_hidden_units_is_refused() -> None:
    model = SmallModel(Bernoulli(3), Bernoulli(2), hidden=2)
    with pytest.raises(ValueError, match="auxiliary has 1 hidden units, the model 2"):
        require_same_units(model.crf(), model.auxiliary(hidden=1))
