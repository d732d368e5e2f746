"""Steps that come to nothing change nothing, are counted and told of, and are not many."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.training.test_fit import HELD_OUT, MODEL, ROWS, SETTINGS, UNITS, fitted, weights
from torch import Tensor, nn

from latentlabels.errors import LatentLabelsError, TrainingWarning
from latentlabels.fitting import Fitted, fit_model
from latentlabels.model.schedule import GibbsSchedule
from latentlabels.training import fit as fit_module
from latentlabels.training.module import MOST_SKIPPED, RobustModule
from latentlabels.training.rows import Batch

NAN = float("nan")
BATCHES = 13  # of an epoch


class StoppedError(Exception):
    """What stops a fit in these tests."""


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What is NaN at the steps a test names: the examples, and with them all that comes of them."""
    step_of = RobustModule.training_step

    def poison(*steps: int, stop: int | None = None) -> None:
        def step(self: RobustModule, batch: Batch, index: int) -> Tensor:
            now = self.trainer.global_step
            if now == stop:
                raise StoppedError
            return step_of(self, batch._replace(x=batch.x * NAN) if now in steps else batch, index)

        monkeypatch.setattr(RobustModule, "training_step", step)

    return poison


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Tensor]]:
    """The module's state after every step."""
    states: list[dict[str, Tensor]] = []

    def note(self: RobustModule, *_: Any) -> None:
        states.append({name: value.clone() for name, value in self.state_dict().items()})

    monkeypatch.setattr(RobustModule, "on_train_batch_end", note)
    return states


@pytest.fixture
def gradients(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Gradients as a test wants them, at step 3."""
    before = RobustModule.on_before_optimizer_step

    def make(value: float, *, everywhere: bool) -> None:
        def changed(self: RobustModule, optimizer: torch.optim.Optimizer) -> None:
            if self.trainer.global_step == 3:
                for parameter in self.parameters():
                    if parameter.grad is not None and parameter.grad.numel():
                        part = parameter.grad if everywhere else parameter.grad.view(-1)[:1]
                        part.fill_(value)
            before(self, optimizer)

        monkeypatch.setattr(RobustModule, "on_before_optimizer_step", changed)

    return make


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def with_norms(**changes: Any) -> Fitted:
    """Fit a network whose buffers every batch changes."""
    backbone = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU())
    settings = replace(SETTINGS, **changes)
    return fit_model(ROWS, HELD_OUT, UNITS, UNITS, MODEL, settings, backbone=backbone)


def test_skipped_steps_are_counted_told_of_once_and_left_out_of_the_mean(poisoned: Any) -> None:
    poisoned(3, 4, BATCHES)
    with pytest.warns(TrainingWarning, match="3 training steps were skipped") as warned:
        history = fitted().history
    assert len(warned) == 1
    assert [epoch["skipped"] for epoch in history.epochs] == [2.0, 1.0]
    poisoned()
    for epoch, whole in zip(history.epochs, fitted().history.epochs, strict=True):
        assert epoch["loss"] == pytest.approx(whole["loss"], rel=0.5)


def test_a_skipped_step_changes_neither_weight_nor_buffer(
    poisoned: Any, seen: list[dict[str, Tensor]]
) -> None:
    poisoned(1, 2, 3)
    with pytest.warns(TrainingWarning):
        fit = with_norms()
    assert same(seen[0], seen[3])
    for name in ("running_mean", "num_batches_tracked"):
        key = f"model.network.backbone.1.1.{name}"
        assert not torch.equal(seen[3][key], seen[4][key])
    assert weights(fit).isfinite().all()


def test_steps_skipped_one_after_the_other_are_the_end(poisoned: Any) -> None:
    several = range(6, 6 + MOST_SKIPPED)
    poisoned(1, 2, 3, 4, *several)
    with pytest.raises(LatentLabelsError, match="loss of several batches is NaN"):
        fitted()


def test_a_fit_that_goes_on_counts_on(poisoned: Any, tmp_path: Path) -> None:
    """Some at the end of an epoch and the rest at the beginning of the next are several in a row.

    And what was skipped before the fit was stopped is told of at its end.
    """
    settings = replace(SETTINGS, checkpoints=tmp_path, resume=True)
    few = (BATCHES - 2, BATCHES - 1)
    poisoned(*few, stop=BATCHES)
    with pytest.raises(StoppedError):
        fit_model(ROWS, None, UNITS, UNITS, MODEL, settings)
    poisoned(*few, *range(BATCHES, BATCHES + MOST_SKIPPED - 2))
    with pytest.raises(LatentLabelsError, match="loss of several batches"):
        fit_model(ROWS, None, UNITS, UNITS, MODEL, settings)
    poisoned()
    with pytest.warns(TrainingWarning, match="2 training steps were skipped"):
        fit_model(ROWS, None, UNITS, UNITS, MODEL, settings)


def test_a_large_gradient_is_taken_as_it_is(gradients: Any) -> None:
    """Its norm over all weights would overflow, the square of none of them does."""
    gradients(1.8e19, everywhere=True)
    fit = fitted()
    assert fit.history.epochs[0]["skipped"] == 0
    assert weights(fit).isfinite().all()


@pytest.mark.parametrize("value", [1e20, float("inf"), NAN])
def test_a_gradient_that_adam_cannot_take_is_skipped(
    value: float, gradients: Any, seen: list[dict[str, Tensor]]
) -> None:
    gradients(value, everywhere=False)
    with pytest.warns(TrainingWarning, match="1 training steps were skipped"):
        fitted()
    assert same(seen[2], seen[3])
    for name in ("model.crf.clean_noisy", "model.network.backbone.1.weight"):
        assert not torch.equal(seen[3][name].view(-1)[:1], seen[-1][name].view(-1)[:1]), name


def test_chains_outlive_a_skipped_step(poisoned: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit_module, "is_tractable", lambda _: False)
    poisoned(3, 4)
    settings = replace(SETTINGS, gibbs=GibbsSchedule(chains=4, sweeps=4))
    with pytest.warns(TrainingWarning):
        fit = fitted(settings=settings, model=replace(MODEL, hidden=3, noisy_link=True))
    assert weights(fit).isfinite().all()
    assert fit.history.chains is not None
    assert fit.history.chains.is_good


def test_a_buffer_that_is_not_finite_is_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil(self: RobustModule, *_: Any) -> None:
        for name, buffer in self.named_buffers():
            if name.endswith("running_var"):
                buffer.fill_(float("inf"))

    monkeypatch.setattr(RobustModule, "on_train_batch_end", spoil)
    with pytest.raises(LatentLabelsError, match="running_var is NaN or infinite"):
        with_norms(averaging=0.0)
