"""The loss's gradient is that of the enumerated log-likelihood, by every parameter and potential.

At α = 0 the bound is tight: the two are the same function but for q's entropy, and q is held fixed.
"""

from __future__ import annotations

import pytest
import torch
from tests.small_models import EVERY_MODEL, SmallModel
from torch import Tensor

from latentlabels import objective
from latentlabels.model.exact import exact_joint
from latentlabels.model.pairwise import PairwiseCRF, Potentials
from latentlabels.model.posterior import posterior_mean
from latentlabels.objective import ExactPhase, NegativePhase, RobustLoss

ROWS = 4
# A float64 sum of at most a few thousand terms of order one is exact to about 1e-12.
TOLERANCE = 1e-10

Gradients = dict[str, Tensor]


def gradients(value: Tensor, crf: PairwiseCRF, potentials: Potentials) -> Gradients:
    """The derivative by every learnt parameter and by the potentials, by name."""
    learnt = {name: p for name, p in crf.named_parameters() if p.requires_grad and p.numel()}
    learnt |= {f"potentials.{k}": p for k, p in potentials._asdict().items() if p is not None}
    return dict(zip(learnt, torch.autograd.grad(value, list(learnt.values())), strict=True))


def assert_gradient_of_likelihood(
    model: SmallModel, negative_phase: NegativePhase, verified: Tensor
) -> None:
    """The loss against log p(y | x) of noisy rows and log p(y, ŷ | x) of verified ones."""
    crf, potentials = model.crf(), model.potentials(ROWS)
    for part in potentials:
        if part is not None:
            part.requires_grad_()
    noisy, clean = model.labels(ROWS)
    auxiliary = model.auxiliary(model.hidden)
    loss = RobustLoss(crf, auxiliary, negative_phase, alpha=0.0)
    found = gradients(loss(potentials, torch.arange(ROWS), noisy, clean, verified), crf, potentials)
    log_likelihood = torch.stack(
        [
            exact_joint(crf, potentials, row).log_likelihood(
                noisy[row], clean[row] if verified[row] else None
            )
            for row in range(ROWS)
        ]
    )
    bound = sum(log_likelihood[rows].mean() for rows in (verified, ~verified) if rows.any())
    assert isinstance(bound, Tensor)
    for name, expected in gradients(-bound, crf, potentials).items():
        distance = (found[name] - expected).abs().max()
        assert distance < TOLERANCE, f"{name}: gradient off by {distance:.1e}"


@pytest.mark.parametrize(
    "verified",
    [[False] * 4, [True] * 4, [True, False, True, True]],
    ids=["noisy rows", "verified rows", "both"],
)
@pytest.mark.parametrize("model", EVERY_MODEL.values(), ids=EVERY_MODEL)
def test_exact_phase(model: SmallModel, verified: list[bool]) -> None:
    assert_gradient_of_likelihood(model, ExactPhase(), torch.tensor(verified))


class TestBrokenGradientsAreCaught:
    """The same check, on losses with the mistakes that losses have."""

    def assert_caught(self, negative_phase: NegativePhase, *, verified: bool) -> None:
        model = EVERY_MODEL["bits to both, pairs and hidden"]
        with pytest.raises(AssertionError, match="gradient off"):
            assert_gradient_of_likelihood(model, negative_phase, torch.full((ROWS,), verified))

    def test_posterior_that_is_not_detached(self, monkeypatch: pytest.MonkeyPatch) -> None:
        attached = torch.enable_grad()(posterior_mean)
        monkeypatch.setattr(objective, "posterior_mean", attached)
        self.assert_caught(ExactPhase(), verified=False)

    def test_posterior_with_a_share_of_the_auxiliary(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            objective,
            "posterior_mean",
            lambda crf, fields, noisy, auxiliary, alpha, *labels: posterior_mean(
                crf, fields, noisy, auxiliary, alpha + 0.01, *labels
            ),
        )
        self.assert_caught(ExactPhase(), verified=False)

    def test_verified_labels_that_are_not_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            objective,
            "posterior_mean",
            lambda crf, fields, noisy, auxiliary, alpha, clean, verified, seen: posterior_mean(
                crf, fields, noisy, auxiliary, alpha, clean, ~verified, seen
            ),
        )
        self.assert_caught(ExactPhase(), verified=True)

    def test_no_negative_phase(self, monkeypatch: pytest.MonkeyPatch) -> None:
        phase = ExactPhase()
        monkeypatch.setattr(phase, "log_partition", lambda *_: torch.zeros(ROWS))
        self.assert_caught(phase, verified=False)
