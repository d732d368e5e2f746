"""p(ŷ | x) by Gibbs against enumeration.

Rows that hold the same example have chains of their own: the standard error is measured over rows.
"""

from __future__ import annotations

import pytest
import torch
from tests.monte_carlo import assert_mean, distance_to_equilibrium
from tests.small_models import EVERY_MODEL, SmallModel, repeated
from torch.testing import assert_close

from latentlabels.model.exact import exact_joint
from latentlabels.model.marginal import is_tractable
from latentlabels.model.pairwise import PairwiseCRF
from latentlabels.model.schedule import GibbsSchedule
from latentlabels.model.units import Bernoulli, Categorical
from latentlabels.sampling import prediction
from latentlabels.sampling.gibbs import run_gibbs
from latentlabels.sampling.prediction import clean_marginals

ROWS = 200
SCHEDULE = GibbsSchedule(chains=5, sweeps=30, burn_in=18)
# float32 sums of a few hundred numbers below one.
ROUNDING = 1e-5


def assert_predicts_by_gibbs(model: SmallModel, dtype: torch.dtype) -> None:
    one = model.potentials(1)
    joint = exact_joint(model.crf(), one)
    # After the burn-in, from any start, the chains' law is closer to the model than rounding.
    assert distance_to_equilibrium(joint, SCHEDULE.burn_in + 1) < ROUNDING
    crf = model.crf(dtype)
    fields = crf.fields(repeated(one, ROWS, dtype))
    found = clean_marginals(crf, fields, torch.arange(ROWS), schedule=SCHEDULE)
    expected = joint.latent_probability() @ joint.clean
    assert_mean(found, expected, rounding=ROUNDING)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["fused", "reference"])
@pytest.mark.parametrize("model", EVERY_MODEL.values(), ids=EVERY_MODEL)
def test_every_model_by_gibbs(
    model: SmallModel, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction, "is_tractable", lambda _: False)
    assert_predicts_by_gibbs(model, dtype)


@pytest.mark.parametrize("hidden", [0, 3])
def test_too_many_latent_states_and_few_noisy_ones(
    hidden: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The noisy states are listed, and Gibbs agrees with them."""
    model = SmallModel(Categorical(3), Bernoulli(13 - hidden), hidden)
    one = model.potentials(1)
    crf, joint = model.crf(), exact_joint(model.crf(), one)
    found = clean_marginals(crf, crf.fields(one), torch.arange(1))
    assert_close(found[0], joint.latent_probability() @ joint.clean, rtol=0.0, atol=1e-10)
    monkeypatch.setattr(prediction, "is_tractable", lambda _: False)
    assert_predicts_by_gibbs(model, torch.float32)


def test_too_many_states_in_both_layers_are_sampled() -> None:
    assert not is_tractable(PairwiseCRF(Bernoulli(13), Bernoulli(13)))


def test_a_sampler_that_forgets_to_burn_in_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    model = EVERY_MODEL["bits to both, pairs and hidden"]
    monkeypatch.setattr(prediction, "is_tractable", lambda _: False)
    monkeypatch.setattr(
        prediction,
        "run_gibbs",
        lambda *inputs, sweeps, burn_in, sampler: run_gibbs(*inputs, sweeps=1),
    )
    with pytest.raises(AssertionError, match="standard errors"):
        assert_predicts_by_gibbs(model, torch.float64)
