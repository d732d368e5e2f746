"""Persistent Gibbs estimates the gradient of the enumerated log-likelihood without bias.

Rows that hold the same example have chains of their own, so their gradients are independent
estimates of one number, and its standard error is measured over rows.
"""

from __future__ import annotations

import pytest
import torch
from tests.monte_carlo import assert_mean, distance_to_equilibrium
from tests.small_models import EVERY_MODEL, SmallModel, repeated
from torch import Tensor

from latentlabels import objective
from latentlabels.model.exact import exact_joint
from latentlabels.model.pairwise import PairwiseCRF, Potentials
from latentlabels.model.posterior import posterior_mean
from latentlabels.model.schedule import GibbsSchedule
from latentlabels.objective import PersistentGibbs, RobustLoss

ROWS = 200
# After so many sweeps, from any start, chains are closer to the model than rounding.
SWEEPS = 20
LONG = GibbsSchedule(chains=10, sweeps=SWEEPS)
SHORT = GibbsSchedule(chains=10, sweeps=1)
ADAPTIVE = GibbsSchedule(chains=10, sweeps=SWEEPS, adaptive=True)
# float32 sums of a few dozen terms of order one.
ROUNDING = 1e-5


def learnt(crf: PairwiseCRF, potentials: Potentials) -> list[Tensor]:
    """Everything that a gradient is taken by: the learnt parameters and the potentials."""
    parameters = [p for p in crf.parameters() if p.requires_grad and p.numel()]
    return parameters + [p.requires_grad_() for p in potentials if p is not None]


def enumerated_gradient(model: SmallModel, *, verified: bool) -> list[Tensor]:
    """Of −log p(y | x) or, for a verified row, −log p(y, ŷ | x)."""
    crf, potentials = model.crf(), model.potentials(1)
    by = learnt(crf, potentials)
    joint = exact_joint(crf, potentials)
    assert distance_to_equilibrium(joint, SWEEPS) < ROUNDING
    noisy, clean = model.labels(1)
    log_likelihood = joint.log_likelihood(noisy[0], clean[0] if verified else None)
    return list(torch.autograd.grad(-log_likelihood, by))


def row_gradients(
    model: SmallModel,
    phase: PersistentGibbs,
    *,
    verified: bool,
    updates: int = 1,
    dtype: torch.dtype = torch.float32,
) -> list[Tensor]:
    """Of every row's loss in the last of some updates, the model left as it is."""
    crf, one = model.crf(dtype), model.potentials(1, dtype)
    by = learnt(crf, one)
    noisy, clean = (labels.expand(ROWS, -1) for labels in model.labels(1, dtype))
    potentials = repeated(one, ROWS, dtype)
    loss = RobustLoss(crf, model.auxiliary(model.hidden, dtype), phase, alpha=0.0)
    for _ in range(updates):
        losses = loss.row_losses(
            potentials, torch.arange(ROWS), noisy, clean, torch.full((ROWS,), verified)
        )
    each_row = torch.eye(ROWS, dtype=dtype)
    return list(torch.autograd.grad(losses, by, each_row, is_grads_batched=True))


def assert_unbiased(found: list[Tensor], expected: list[Tensor]) -> None:
    for rows, gradient in zip(found, expected, strict=True):
        assert_mean(rows, gradient, rounding=ROUNDING)


def persistent(model: SmallModel, schedule: GibbsSchedule = LONG) -> PersistentGibbs:
    return PersistentGibbs(ROWS, model.clean.size + model.hidden, schedule)


@pytest.mark.parametrize("verified", [False, True], ids=["noisy row", "verified row"])
@pytest.mark.parametrize("model", EVERY_MODEL.values(), ids=EVERY_MODEL)
def test_persistent_gibbs(model: SmallModel, verified: bool) -> None:
    found = row_gradients(model, persistent(model), verified=verified)
    assert_unbiased(found, enumerated_gradient(model, verified=verified))


EXAMPLE = EVERY_MODEL["both to both, pairs and hidden"]
EXPECTED = enumerated_gradient(EXAMPLE, verified=False)


def test_the_reference_sampler() -> None:
    found = row_gradients(EXAMPLE, persistent(EXAMPLE), verified=False, dtype=torch.float64)
    assert_unbiased(found, EXPECTED)


def test_chains_go_on_where_the_last_update_left_them() -> None:
    """One sweep an update is enough, after as many updates as chains need to forget their start."""
    phase = persistent(EXAMPLE, SHORT)
    assert_unbiased(row_gradients(EXAMPLE, phase, verified=False, updates=SWEEPS), EXPECTED)


def test_chains_that_stop_when_they_have_forgotten_their_start() -> None:
    phase = persistent(EXAMPLE, ADAPTIVE)
    assert_unbiased(row_gradients(EXAMPLE, phase, verified=False, updates=SWEEPS), EXPECTED)
    assert phase.sweeps < SWEEPS


class TestBrokenGradientsAreCaught:
    """The same check, on estimates with the mistakes that estimates have."""

    def assert_caught(self, phase: PersistentGibbs, *, updates: int = 1) -> None:
        found = row_gradients(EXAMPLE, phase, verified=False, updates=updates)
        with pytest.raises(AssertionError, match="standard errors"):
            assert_unbiased(found, EXPECTED)

    def test_chains_that_start_anew_at_every_update(self, monkeypatch: pytest.MonkeyPatch) -> None:
        phase = persistent(EXAMPLE, SHORT)
        monkeypatch.setattr(phase.store, "write", lambda *_: None)
        self.assert_caught(phase, updates=SWEEPS)

    def test_posterior_that_is_not_detached(self, monkeypatch: pytest.MonkeyPatch) -> None:
        attached = torch.enable_grad()(posterior_mean)
        monkeypatch.setattr(objective, "posterior_mean", attached)
        self.assert_caught(persistent(EXAMPLE))

    def test_no_negative_phase(self, monkeypatch: pytest.MonkeyPatch) -> None:
        phase = persistent(EXAMPLE)
        monkeypatch.setattr(phase, "log_partition", lambda *_: torch.zeros(ROWS))
        self.assert_caught(phase)

    def test_negative_phase_of_the_wrong_sign(self, monkeypatch: pytest.MonkeyPatch) -> None:
        phase = persistent(EXAMPLE)
        sound = phase.log_partition
        monkeypatch.setattr(phase, "log_partition", lambda *inputs: -sound(*inputs))
        self.assert_caught(phase)
