"""Gibbs chains draw from the model: frequencies of states, units and pairs against enumeration.

Every chain is used once, at the end of its run. Chains are independent, so their number is the
effective sample size.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tests.monte_carlo import (
    assert_counts,
    assert_draws_follow,
    assert_mean,
    distance_to_equilibrium,
)
from tests.small_models import EVERY_MODEL, SmallModel, repeated
from torch import Tensor

from latentlabels.model.exact import exact_joint
from latentlabels.model.pairwise import Fields, PairwiseCRF
from latentlabels.model.units import Units
from latentlabels.sampling import gibbs
from latentlabels.sampling.chains import pack_bits
from latentlabels.sampling.gibbs import GibbsRun, run_gibbs
from latentlabels.sampling.uniforms import Purpose, Uniforms

EXAMPLES, ROWS, CHAINS, SWEEPS, BURN_IN = 2, 100, 30, 20, 8
DRAWS = ROWS * CHAINS  # of each example
# float32 sums of a few thousand numbers below one.
ROUNDING = 1e-5

Sampler = Callable[[PairwiseCRF, Fields, Tensor, Uniforms], GibbsRun]


def sample(crf: PairwiseCRF, fields: Fields, latent: Tensor, uniforms: Uniforms) -> GibbsRun:
    """The library's sampler: the fused path for float32, the reference for float64."""
    done = torch.zeros_like(uniforms.rows)
    return run_gibbs(crf, fields, latent, uniforms, done, sweeps=SWEEPS, burn_in=BURN_IN)


def assert_samples_model(model: SmallModel, dtype: torch.dtype, sampler: Sampler) -> None:
    """Chains of two examples, whose rows take turns in the batch, follow the law of each."""
    exact, potentials = model.crf(), model.potentials(EXAMPLES)
    crf = model.crf(dtype)
    batch = repeated(potentials, ROWS, dtype)
    rows = torch.arange(EXAMPLES * ROWS)
    start = torch.zeros(len(rows), CHAINS, crf.latent.size, dtype=dtype)
    run = sampler(crf, crf.fields(batch), start, Uniforms(0, Purpose.SWEEP, rows, CHAINS))
    for example in range(EXAMPLES):
        joint = exact_joint(exact, potentials, example)
        # From any start, an expected count is off by less than a hundredth of a draw.
        assert distance_to_equilibrium(joint, SWEEPS) * DRAWS < 0.01
        latent, noisy = run.latent[example::EXAMPLES], run.noisy[example::EXAMPLES]
        assert_draws_follow(joint, latent.flatten(0, 1), noisy.flatten(0, 1))
        mean = joint.latent_probability() @ joint.latent
        assert_mean(run.latent_mean[example::EXAMPLES].flatten(0, 1), mean, rounding=ROUNDING)
        assert_mean(run.average[example::EXAMPLES], mean, rounding=ROUNDING)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["fused", "reference"])
@pytest.mark.parametrize("model", EVERY_MODEL.values(), ids=EVERY_MODEL)
def test_chains_follow_the_enumerated_law(model: SmallModel, dtype: torch.dtype) -> None:
    assert_samples_model(model, dtype, sample)


class TestBrokenSamplersAreCaught:
    """The same check, on samplers with the mistakes that samplers have."""

    model = EVERY_MODEL["bits to both, pairs and hidden"]

    def assert_caught(self, sampler: Sampler) -> None:
        with pytest.raises(AssertionError, match=r"enumerated|standard errors|no state"):
            assert_samples_model(self.model, torch.float64, sampler)

    def test_the_check_passes_the_sound_one(self) -> None:
        assert_samples_model(self.model, torch.float64, sample)

    def test_latent_half_from_a_stale_noisy_layer(self) -> None:
        """Each layer alone is right, and only pairs across the layers give it away."""

        def stale(crf: PairwiseCRF, fields: Fields, latent: Tensor, uniforms: Uniforms) -> GibbsRun:
            noisy = torch.zeros(*latent.shape[:2], crf.noisy.size, dtype=latent.dtype)
            for sweep in range(SWEEPS):
                done = torch.full_like(uniforms.rows, sweep)
                logits = crf.latent_logits(fields.per_chain(), noisy)
                noisy = crf.noisy.sample(
                    crf.noisy_logits(fields.per_chain(), latent),
                    uniforms.draw(done, 0, crf.noisy.draws),
                )
                latent = crf.latent.sample(logits, uniforms.draw(done, 1, crf.latent.draws))
            mean = crf.latent.mean(logits)
            return GibbsRun(latent, noisy, mean, mean.mean(1), pack_bits(latent))

        with pytest.raises(AssertionError, match=r"(state|pair of units) .* enumerated"):
            assert_samples_model(self.model, torch.float64, stale)

    def test_both_halves_with_the_same_random_numbers(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(gibbs, "LATENT_LAYER", gibbs.NOISY_LAYER)
        self.assert_caught(sample)

    def test_means_instead_of_draws(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def mean(units: Units, logits: Tensor, numbers: Tensor) -> Tensor:
            return units.mean(logits).expand(*numbers.shape[:-1], -1)

        monkeypatch.setattr(type(self.model.noisy), "sample", mean)
        self.assert_caught(sample)

    def test_wrong_sign_of_one_weight(self) -> None:
        def flipped(
            crf: PairwiseCRF, fields: Fields, latent: Tensor, uniforms: Uniforms
        ) -> GibbsRun:
            with torch.no_grad():
                crf.clean_noisy[0, 0] *= -1
            return sample(crf, fields, latent, uniforms)

        self.assert_caught(flipped)

    def test_one_field_for_all_rows(self) -> None:
        def first_row(
            crf: PairwiseCRF, fields: Fields, latent: Tensor, uniforms: Uniforms
        ) -> GibbsRun:
            alone = Fields(*(field[:1].expand_as(field) for field in fields))
            return sample(crf, alone, latent, uniforms)

        self.assert_caught(first_row)


def test_a_count_beyond_five_standard_errors_is_caught() -> None:
    draws, chance = 10_000, 0.3
    standard_error = (draws * chance * (1 - chance)) ** 0.5
    near, far = (draws * chance + k * standard_error for k in (4.9, 5.2))
    assert_counts(torch.tensor([near]), torch.tensor([chance]).double(), draws, "unit")
    with pytest.raises(AssertionError, match="draws, enumerated"):
        assert_counts(torch.tensor([far]), torch.tensor([chance]).double(), draws, "unit")
