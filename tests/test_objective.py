"""The robust loss: what it is worth, which rows it reads, and chains that live as long as training.

Its gradient is tested in exactness/test_gradient.py and statistical/test_gradient.py.
"""

from __future__ import annotations

import copy
from math import log, tanh
from typing import Any

import pytest
import torch
from tests.monte_carlo import STANDARD_ERRORS, assert_mean
from tests.small_models import EVERY_MODEL, SmallModel, repeated
from torch import Tensor
from torch.testing import assert_close

from latentlabels import objective
from latentlabels.model.exact import exact_joint
from latentlabels.model.pairwise import Fields, PairwiseCRF, Potentials
from latentlabels.model.posterior import posterior_logits, posterior_mean
from latentlabels.model.schedule import GibbsSchedule
from latentlabels.model.units import Bernoulli, Categorical
from latentlabels.objective import (
    FEWEST_SWEEPS,
    LONGEST_MEMORY,
    ExactPhase,
    PersistentGibbs,
    RobustLoss,
    memory,
)
from latentlabels.sampling.gibbs import GibbsRun, run_gibbs
from latentlabels.sampling.uniforms import Purpose, Uniforms

ROWS = 8
ALL = torch.arange(ROWS)
VERIFIED = ALL % 3 == 0
MODEL = EVERY_MODEL["both to both, pairs and hidden"]
LATENT = MODEL.clean.size + MODEL.hidden

every_model = pytest.mark.parametrize("model", EVERY_MODEL.values(), ids=EVERY_MODEL)


def exact_loss(model: SmallModel = MODEL, alpha: float = 1.0) -> RobustLoss:
    return RobustLoss(model.crf(), model.auxiliary(model.hidden), ExactPhase(), alpha=alpha)


def persistent(sweeps: int = 3, chains: int = 4, rows: int = ROWS) -> PersistentGibbs:
    return PersistentGibbs(rows, LATENT, GibbsSchedule(chains, sweeps), seed=5)


@every_model
@pytest.mark.parametrize("alpha", [0.0, 2.0])
def test_loss_is_the_bound_up_to_the_posteriors_entropy(model: SmallModel, alpha: float) -> None:
    """E_q[E] + log Z − H(q) = −log p(y | x) + KL(q ‖ p(ŷ, h | y, x)), with no KL at α = 0."""
    loss, potentials = exact_loss(model, alpha), model.potentials(1)
    noisy, clean = model.labels(1)
    crf = loss.crf
    joint = exact_joint(crf, potentials)
    logits = posterior_logits(crf, crf.fields(potentials), noisy, loss.auxiliary, alpha)
    log_q = crf.latent.log_probability(logits, joint.latent)
    entropy = -(log_q.exp() * log_q).sum()
    distance = (log_q.exp() * (log_q - joint.posterior(noisy[0]).log())).sum()
    found = loss(potentials, ALL[:1], noisy, clean, torch.tensor([False]))
    assert_close(found - entropy, -joint.log_likelihood(noisy[0]) + distance)
    if alpha == 0:
        assert_close(distance, torch.zeros_like(distance))


def test_noisy_and_verified_rows_are_averaged_apart() -> None:
    loss, potentials = exact_loss(), MODEL.potentials(ROWS)
    noisy, clean = MODEL.labels(ROWS)
    rows = loss.row_losses(potentials, ALL, noisy, clean, VERIFIED)
    both = loss(potentials, ALL, noisy, clean, VERIFIED)
    assert_close(both, rows[~VERIFIED].mean() + rows[VERIFIED].mean())
    for some in (VERIFIED, ~VERIFIED):
        part = Potentials(*(p[some] for p in potentials if p is not None))
        alone = loss(part, ALL[some], noisy[some], clean[some], VERIFIED[some])
        assert_close(alone, rows[some].mean())


def test_clean_labels_are_read_on_verified_rows_only() -> None:
    loss, potentials = exact_loss(), MODEL.potentials(ROWS)
    noisy, clean = MODEL.labels(ROWS)
    unknown = torch.where(VERIFIED[:, None], clean, torch.nan)
    rows = loss.row_losses(potentials, ALL, noisy, unknown, VERIFIED)
    assert torch.equal(rows, loss.row_losses(potentials, ALL, noisy, clean, VERIFIED))
    other = loss.row_losses(potentials, ALL, noisy, clean.roll(1, 0), VERIFIED)
    assert not torch.isclose(other[VERIFIED], rows[VERIFIED]).all()


def test_alpha_can_be_annealed() -> None:
    loss, potentials = exact_loss(alpha=0.5), MODEL.potentials(ROWS)
    noisy, clean = MODEL.labels(ROWS)
    loss.alpha = 7.0
    annealed = loss(potentials, ALL, noisy, clean, VERIFIED)
    assert_close(annealed, exact_loss(alpha=7.0)(potentials, ALL, noisy, clean, VERIFIED))


@pytest.mark.parametrize("phase", [ExactPhase(), persistent()], ids=["exact", "gibbs"])
def test_gradient_reaches_network_and_model_but_not_the_auxiliary(
    phase: objective.NegativePhase,
) -> None:
    network = torch.nn.Linear(6, MODEL.clean.size + MODEL.noisy.size)
    loss = RobustLoss(MODEL.crf(torch.float32), MODEL.auxiliary(2, torch.float32), phase)
    x = torch.randn(ROWS, 6, generator=torch.Generator().manual_seed(0))
    potentials = Potentials(*network(x).split([MODEL.clean.size, MODEL.noisy.size], -1))
    loss(potentials, ALL, *MODEL.labels(ROWS, torch.float32), VERIFIED).backward()
    for name, parameter in [*network.named_parameters(), *loss.named_parameters()]:
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


def test_the_posterior_can_be_inferred_from_other_potentials() -> None:
    """Such as those without dropout; the energy is that of the potentials themselves."""
    loss = exact_loss()
    noisy, clean = MODEL.labels(ROWS)
    potentials, inference = MODEL.potentials(ROWS, seed=1), MODEL.potentials(ROWS, seed=2)
    fields = loss.crf.fields(potentials)
    mean = posterior_mean(
        loss.crf, loss.crf.fields(inference), noisy, loss.auxiliary, 1.0, clean, VERIFIED
    )
    log_partition = ExactPhase().log_partition(loss.crf, fields, ALL, mean)
    rows = loss.row_losses(potentials, ALL, noisy, clean, VERIFIED, inference)
    assert_close(rows, loss.crf.energy(fields, noisy, mean) + log_partition)


def test_cleaned_labels_are_the_posteriors() -> None:
    loss, potentials = exact_loss(alpha=3.0), MODEL.potentials(ROWS)
    noisy, _ = MODEL.labels(ROWS)
    fields = loss.crf.fields(potentials)
    logits = posterior_logits(loss.crf, fields, noisy, loss.auxiliary, 3.0)
    expected = MODEL.clean.mean(logits[:, : MODEL.clean.size])
    assert_close(loss.posterior(potentials, noisy), expected)


def test_an_auxiliary_of_other_units_is_refused() -> None:
    other = SmallModel(Bernoulli(2), Categorical(3)).auxiliary()
    with pytest.raises(ValueError, match="Fit the auxiliary on the model's own units"):
        RobustLoss(MODEL.crf(), other, ExactPhase())


def test_chains_start_from_the_posterior(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draws of q's means, and on verified rows the clean labels themselves."""
    begun: list[Tensor] = []

    def spy(crf: PairwiseCRF, fields: Fields, latent: Tensor, *rest: Any, **plan: Any) -> GibbsRun:
        begun.append(latent)
        return run_gibbs(crf, fields, latent, *rest, **plan)

    monkeypatch.setattr(objective, "run_gibbs", spy)
    phase = persistent(chains=500)
    loss = RobustLoss(MODEL.crf(), MODEL.auxiliary(2), phase)
    noisy, clean = MODEL.labels(ROWS)
    potentials = MODEL.potentials(ROWS)
    loss(potentials, ALL, noisy, clean, VERIFIED)
    fields = loss.crf.fields(potentials)
    q = posterior_mean(loss.crf, fields, noisy, loss.auxiliary, 1.0, clean, VERIFIED)
    assert loss.crf.latent.are_states(begun[0]).all()
    assert_mean(begun[0].transpose(0, 1), q.detach())
    given = clean[VERIFIED][:, None].expand(-1, 500, -1)
    assert torch.equal(begun[0][VERIFIED][..., : MODEL.clean.size], given)

    ended, _ = phase.store.read(ALL)
    loss(potentials, ALL, noisy, clean, VERIFIED)
    assert torch.equal(begun[1].bool(), ended)


def run_epochs(phase: PersistentGibbs, batches: list[list[int]]) -> None:
    """Updates on some rows of a table of eight, the model left as it is."""
    loss = RobustLoss(MODEL.crf(torch.float32), MODEL.auxiliary(2, torch.float32), phase)
    potentials = MODEL.potentials(ROWS, torch.float32)
    noisy, clean = MODEL.labels(ROWS, torch.float32)
    for batch in batches:
        some = Potentials(*(p[batch] for p in potentials if p is not None))
        loss(some, ALL[batch], noisy[batch], clean[batch], VERIFIED[batch])


def assert_same_chains(one: PersistentGibbs, other: PersistentGibbs) -> None:
    assert torch.equal(one.store.bits, other.store.bits)
    assert torch.equal(one.store.done, other.store.done)


def test_chains_are_the_same_in_whatever_batches_their_rows_come() -> None:
    one, other = persistent(), persistent()
    run_epochs(one, [[0, 1, 2, 3], [4, 5, 6, 7], [0, 1, 2, 3], [4, 5, 6, 7]])
    run_epochs(other, [[6, 1], [0, 7, 2, 5, 4, 3], [4, 6, 0, 2, 1], [3, 5, 7]])
    assert_same_chains(one, other)
    assert one.store.done.tolist() == [6] * ROWS


def test_going_on_needs_the_store_and_nothing_else() -> None:
    whole, resumed = persistent(), persistent()
    run_epochs(whole, [[0, 1, 2], [2, 3], [1, 2, 7]])
    paused = persistent()
    run_epochs(paused, [[0, 1, 2], [2, 3]])
    resumed.store = copy.deepcopy(paused.store)
    run_epochs(resumed, [[1, 2, 7]])
    assert_same_chains(whole, resumed)


def test_another_seed_gives_other_chains() -> None:
    one, other = persistent(), persistent()
    other.seed += 1
    run_epochs(one, [[0, 1]])
    run_epochs(other, [[0, 1]])
    assert not torch.equal(one.store.bits, other.store.bits)


def test_the_default_schedule_is_the_papers() -> None:
    assert PersistentGibbs(1, 1).schedule == GibbsSchedule(chains=50, sweeps=100)


class TestMemory:
    """How much chains still know of where they started."""

    states = (torch.rand(6, 10, 4, generator=torch.Generator().manual_seed(0)) < 0.5).float()

    def test_a_state_knows_itself_and_its_opposite(self) -> None:
        assert memory(self.states, self.states) == pytest.approx(1.0)
        assert memory(self.states, 1 - self.states) == pytest.approx(-1.0)

    def test_rows_that_differ_are_no_memory(self) -> None:
        """Chains of a row are strangers to each other, however alike their row makes them."""
        rows = torch.linspace(0.01, 0.99, 50)[:, None, None]
        one, other = (
            (torch.rand(50, 200, 4, generator=torch.Generator().manual_seed(seed)) < rows).float()
            for seed in (0, 1)
        )
        assert abs(memory(one, other)) < STANDARD_ERRORS / one.numel() ** 0.5

    def test_nothing_to_tell_by_counts_as_all(self) -> None:
        assert memory(torch.ones(3, 5, 2), torch.ones(3, 5, 2)) == 1.0
        assert memory(self.states[:, :1], self.states[:, 1:2]) == 1.0

    @pytest.mark.parametrize("sweeps", [1, 2])
    def test_it_is_the_chains_autocorrelation(self, sweeps: int) -> None:
        """Σ Cov(ℓ_u(0), ℓ_u(t)) / Σ Var(ℓ_u), enumerated; measured in 50 groups of chains."""
        joint = exact_joint(MODEL.crf(), MODEL.potentials(1))
        law, states = joint.latent_probability().detach(), joint.latent
        given_noisy = joint.log_probability.exp() / joint.noisy_probability()
        given_latent = joint.log_probability.exp() / joint.latent_probability()[:, None]
        step = torch.linalg.matrix_power(given_latent @ given_noisy.T, sweeps).detach()
        mean = law @ states
        covariance = law @ (states * (step @ states)) - mean**2
        expected = covariance.sum() / (mean * (1 - mean)).sum()

        rows = torch.arange(50)
        never = torch.zeros_like(rows)
        crf = MODEL.crf(torch.float32)
        potentials = repeated(MODEL.potentials(1), 50, torch.float32)
        numbers = Uniforms(0, Purpose.SWEEP, rows, 500)
        start = torch.zeros(50, 500, LATENT)
        fields = crf.fields(potentials)
        mixed = run_gibbs(crf, fields, start, numbers, never, sweeps=20).latent
        later = run_gibbs(crf, fields, mixed, numbers, never + 20, sweeps=sweeps).latent
        groups = zip(mixed[:, None], later[:, None], strict=True)
        assert_mean(torch.tensor([memory(*group) for group in groups]), expected)


class TestHealth:
    """Chains are examined by sweeps that leave them where they are."""

    def phase(self, chains: int, *, weight: float) -> tuple[PersistentGibbs, PairwiseCRF, Fields]:
        """Twelve rows' chains of a bit for each layer, which like to be equal, after an update."""
        crf = PairwiseCRF(Bernoulli(1), Bernoulli(1))
        with torch.no_grad():
            crf.clean_noisy.fill_(weight)
            crf.clean_bias.fill_(-weight / 2)
            crf.noisy_bias.fill_(-weight / 2)
        fields = crf.fields(Potentials(torch.zeros(12, 1)))
        phase = PersistentGibbs(12, 1, GibbsSchedule(chains=chains, sweeps=2))
        phase.log_partition(crf, fields, torch.arange(12), torch.full((12, 1), 0.5))
        return phase, crf, fields

    def test_chains_that_mix_are_in_good_health_and_stay_where_they_are(self) -> None:
        phase, crf, fields = self.phase(30, weight=0.5)
        before = copy.deepcopy(phase.position())
        health = phase.health(crf, fields, torch.arange(12))
        assert health is not None
        assert health.is_good
        for name, value in phase.position().items():
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(before[name])), name

    def test_bits_that_hold_each_other_are_stuck(self) -> None:
        phase, crf, fields = self.phase(30, weight=30.0)
        health = phase.health(crf, fields, torch.arange(12))
        assert health is not None
        assert health.r_hat > 2
        assert health.stuck > 0.9

    def test_one_chain_or_chains_that_have_not_run_tell_nothing(self) -> None:
        phase, crf, fields = self.phase(1, weight=0.5)
        assert phase.health(crf, fields, torch.arange(12)) is None
        never = PersistentGibbs(12, 1, GibbsSchedule(chains=5, sweeps=2))
        assert never.health(crf, fields, torch.arange(12)) is None


class TestAdaptiveSweeps:
    """Updates run until chains have forgotten where they began, and no longer."""

    def sweeps_after(self, updates: int, weight: float, *, most: int) -> int:
        """For a noisy and a clean bit that like to be equal, the more so the larger `weight`.

        Of 4,000 chains, a correlation's standard error is 0.016: a third of the steps it decides.
        """
        rows = 200
        crf = PairwiseCRF(Bernoulli(1), Bernoulli(1))
        with torch.no_grad():
            crf.clean_noisy.fill_(weight)
            crf.clean_bias.fill_(-weight / 2)
            crf.noisy_bias.fill_(-weight / 2)
        fields = crf.fields(Potentials(torch.zeros(rows, 1)))
        phase = PersistentGibbs(rows, 1, GibbsSchedule(chains=20, sweeps=most, adaptive=True))
        for _ in range(updates):
            phase.log_partition(crf, fields, torch.arange(rows), torch.full((rows, 1), 0.5))
        return phase.sweeps

    def test_independent_units_need_the_fewest(self) -> None:
        assert self.sweeps_after(20, weight=0.0, most=100) == FEWEST_SWEEPS

    def test_chains_that_hardly_move_get_all_there_are(self) -> None:
        assert self.sweeps_after(20, weight=12.0, most=100) == 100

    def test_chains_between_get_what_they_need(self) -> None:
        """Each half of a sweep keeps tanh(w / 4) of the correlation.

        More than a tenth doubles the sweeps, less than a twentieth takes one off.
        """
        to_a_tenth, to_a_twentieth = (
            log(share * LONGEST_MEMORY) / (2 * log(tanh(4.0 / 4))) for share in (1, 0.5)
        )
        found = self.sweeps_after(60, weight=4.0, most=100)
        assert to_a_tenth - 1 < found < 2 * to_a_twentieth

    def test_a_schedule_of_few_sweeps_is_kept(self) -> None:
        assert self.sweeps_after(20, weight=0.0, most=2) == 2
        assert self.sweeps_after(20, weight=12.0, most=2) == 2


def test_verified_has_to_be_booleans() -> None:
    model = EVERY_MODEL["bits to bits, pairs"]
    noisy, clean = model.labels(2)
    loss = RobustLoss(model.crf(), model.auxiliary(), ExactPhase())
    for verified in (torch.ones(2, dtype=torch.uint8), torch.zeros(0, dtype=torch.bool)):
        with pytest.raises(ValueError, match="verified is a boolean for each row"):
            loss(model.potentials(2), torch.arange(2), noisy, clean, verified)
