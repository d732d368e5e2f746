"""Persistent Gibbs estimates the gradient of the enumerated log-likelihood without bias.

Rows that hold the same example have chains of their own, so their gradients are independent
estimates of one number, and its standard error is measured over rows.
"""

from __future__ import annotations

import pytest
import torch
from latentlabels import objective
from latentlabels.model.exact import exact_joint
from latentlabels.model.pairwise import PairwiseCRF, Potentials
from latentlabels.model.posterior import posterior_mean
from latentlabels.model.schedule import GibbsSchedule
from latentlabels.objective import PersistentGibbs, RobustLoss
from tests.monte_carlo import assert_mean, distance_to_equilibrium
from tests.small_models import EVERY_MODEL, SmallModel
from torch import Tensor

ROWS = 200
SWEEPS = 25
LONG = GibbsSchedule(chains=10, sweeps=SWEEPS)
SHORT = GibbsSchedule(chains=10, sweeps=1)
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
    # From any start, all that chains see is closer to the model than rounding.
    assert distance_to_equilibrium(joint, SWEEPS) < ROUNDING
    noisy, clean = model.labels(1)
    log_likelihood = joint.log_likelihood(noisy[0], clean[0] if verified else None)
    return list(torch.autograd.grad(-log_likelihood, by))


def row_gradients(
    model: SmallModel, phase: PersistentGibbs, dtype: torch.dtype, *, verified: bool
) -> list[Tensor]:
    """Of every row's loss in the last of as many updates as give the chains 25 sweeps."""
    crf, one = model.crf(dtype), model.potentials(1, dtype)
    by = learnt(crf, one)
    noisy, clean = (labels.expand(ROWS, -1) for labels in model.labels(1, dtype))
    potentials = Potentials(*(None if part is None else part.expand(ROWS, -1) for part in one))
    loss = RobustLoss(crf, model.auxiliary(model.hidden, dtype), phase, alpha=0.0)
    for _ in range(SWEEPS // phase.schedule.sweeps):
        losses = loss.row_losses(
            potentials, torch.arange(ROWS), noisy, clean, torch.full((ROWS,), verified)
        )
    each_row = torch.eye(ROWS, dtype=dtype)
    return list(torch.autograd.grad(losses, by, each_row, is_grads_batched=True))


def assert_gradient_is_unbiased(
    model: SmallModel,
    phase: PersistentGibbs,
    *,
    verified: bool,
    dtype: torch.dtype = torch.float32,
) -> None:
    found = row_gradients(model, phase, dtype, verified=verified)
    for rows, expected in zip(found, enumerated_gradient(model, verified=verified), strict=True):
        assert_mean(rows, expected, rounding=ROUNDING)


def persistent(model: SmallModel, schedule: GibbsSchedule = LONG) -> PersistentGibbs:
    return PersistentGibbs(ROWS, model.clean.size + model.hidden, schedule)


@pytest.mark.parametrize("verified", [False, True], ids=["noisy row", "verified row"])
@pytest.mark.parametrize("model", EVERY_MODEL.values(), ids=EVERY_MODEL)
def test_persistent_gibbs(model: SmallModel, verified: bool) -> None:
    assert_gradient_is_unbiased(model, persistent(model), verified=verified)


EXAMPLE = EVERY_MODEL["both-to-both, pairs and hidden, with x-y link"]


def test_the_reference_sampler() -> None:
    assert_gradient_is_unbiased(EXAMPLE, persistent(EXAMPLE), verified=False, dtype=torch.float64)


def test_chains_go_on_where_the_last_update_left_them() -> None:
    """One sweep an update is enough, after as many updates as chains need to forget their start."""
    assert_gradient_is_unbiased(EXAMPLE, persistent(EXAMPLE, SHORT), verified=False)


class TestBrokenGradientsAreCaught:
    """The same check, on estimates with the mistakes that estimates have."""

    def assert_caught(self, phase: PersistentGibbs) -> None:
        with pytest.raises(AssertionError, match="standard errors"):
            assert_gradient_is_unbiased(EXAMPLE, phase, verified=False)

    def test_chains_that_start_anew_at_every_update(self, monkeypatch: pytest.MonkeyPatch) -> None:
        phase = persistent(EXAMPLE, SHORT)
        monkeypatch.setattr(phase.store, "write", lambda *_: None)
        self.assert_caught(phase)

    def test_posterior_that_is_not_detached(self, monkeypatch: pytest.MonkeyPatch) -> None:
        attached = torch.enable_grad()(posterior_mean)
        monkeypatch.setattr(objective, "posterior_mean", attached)
        self.assert_caught(persistent(EXAMPLE))

    def test_no_negative_phase(self) -> None:
        class Absent(PersistentGibbs):
            def log_partition(self, *inputs: object) -> Tensor:
                return torch.zeros(ROWS)

        self.assert_caught(Absent(ROWS, EXAMPLE.crf().latent.size, LONG))

    def test_negative_phase_of_the_wrong_sign(self) -> None:
        class Turned(PersistentGibbs):
            def log_partition(self, *inputs: object) -> Tensor:
                return -super().log_partition(*inputs)

        self.assert_caught(Turned(ROWS, EXAMPLE.crf().latent.size, LONG))
