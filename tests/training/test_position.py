"""A fit that was stopped goes on as if it had not been, and only where it was begun."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.training.test_fit import HELD_OUT, MODEL, ROWS, SETTINGS, TAGS, UNITS, rows_of, weights

from latentlabels.errors import LatentLabelsError
from latentlabels.fitting import Fitted, fit_model
from latentlabels.model.schedule import GibbsSchedule
from latentlabels.objective import PersistentGibbs
from latentlabels.training import fit as fit_module
from latentlabels.training.module import RobustModule
from latentlabels.training.position import History
from latentlabels.training.rows import Rows
from latentlabels.training.settings import TrainingSettings

SAMPLED = replace(SETTINGS, epochs=4, schedule="one-cycle", gibbs=GibbsSchedule(20, 1))
COMMITTEES = replace(MODEL, hidden=2, teachers=2, students=2)


class StoppedError(Exception):
    """What stops a fit in these tests."""


@pytest.fixture(autouse=True)
def sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chains, where the latent layer is small enough to be summed over."""
    monkeypatch.setattr(fit_module, "is_tractable", lambda crf: not crf.clean_noisy.requires_grad)


@pytest.fixture
def stop_after(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Stop at some step of all training that comes, those of teachers and students among it."""
    step = RobustModule.training_step

    def stop(steps: int) -> list[int]:
        left = [steps]

        def counted(module: RobustModule, *arguments: Any) -> Any:
            left[0] -= 1
            if left[0] < 0:
                raise StoppedError
            return step(module, *arguments)

        monkeypatch.setattr(RobustModule, "training_step", counted)
        return left

    return stop


def fitted(
    folder: Path | None,
    *,
    resume: bool = False,
    validation: Rows | None = HELD_OUT,
    rows: Rows = ROWS,
    settings: TrainingSettings = SAMPLED,
) -> Fitted:
    where = replace(settings, checkpoints=folder, resume=resume)
    return fit_model(rows, validation, UNITS, UNITS, COMMITTEES, where)


def same(one: Fitted, other: Fitted) -> bool:
    return torch.equal(weights(one), weights(other)) and one.history == other.history


@pytest.mark.parametrize("validation", [HELD_OUT, None], ids=["validated", "not"])
def test_a_stopped_fit_ends_as_one_that_was_not(
    validation: Rows | None, tmp_path: Path, stop_after: Any
) -> None:
    left = stop_after(10**9)
    whole = fitted(tmp_path / "whole", validation=validation)
    steps = 10**9 - left[0]
    assert same(whole, fitted(None, validation=validation)), "checkpoints change nothing"
    for number, stopped in enumerate(range(3, steps, steps // 7)):
        folder = tmp_path / str(number)
        stop_after(stopped)
        with pytest.raises(StoppedError):
            fitted(folder, validation=validation)
        left = stop_after(10**9)
        again = fitted(folder, resume=True, validation=validation)
        assert torch.equal(weights(again), weights(whole)), stopped
        assert again.history == whole.history
        assert 10**9 - left[0] <= steps - stopped + 10, "no more than an epoch is done again"


def test_a_fit_that_had_ended_is_read_and_not_done_again(tmp_path: Path, stop_after: Any) -> None:
    whole = fitted(tmp_path)
    stop_after(0)
    assert same(fitted(tmp_path, resume=True), whole)
    with pytest.raises(StoppedError):
        fitted(tmp_path)


def test_a_fit_that_had_stopped_early_is_over(tmp_path: Path, stop_after: Any) -> None:
    settings = replace(SETTINGS, epochs=30, patience=2, learning_rate=0.5)
    whole = fitted(tmp_path, settings=settings)
    assert len(whole.history.epochs) < 30
    stop_after(0)
    assert same(fitted(tmp_path, settings=settings, resume=True), whole)


@pytest.mark.parametrize(
    ("scores", "over"),
    [
        ([], False),
        ([0.1], False),
        ([0.3, 0.1, 0.2], True),
        ([0.3, 0.1], False),
        ([0.3, 0.3, 0.3], True),
        ([0.1, float("nan")], True),
        ([0.1, 0.2, 0.3, 0.4], True),
    ],
)
def test_training_is_over_after_all_epochs_or_enough_without_a_better(
    scores: list[float], over: bool
) -> None:
    history = History([{"validation": score} for score in scores])
    assert history.over(replace(SETTINGS, epochs=4, patience=2)) == over


def test_nothing_to_go_on_from_is_a_beginning(tmp_path: Path) -> None:
    assert same(fitted(tmp_path / "new", resume=True), fitted(None))


def test_another_run_is_refused(tmp_path: Path) -> None:
    fitted(tmp_path / "one")
    other, _ = rows_of(replace(TAGS, noisy=1 - TAGS.noisy))
    for changed in (
        {"settings": replace(SAMPLED, learning_rate=0.01)},
        {"rows": other},
        {"validation": None},
    ):
        with pytest.raises(LatentLabelsError, match="other data or settings"):
            fitted(tmp_path / "one", resume=True, **changed)
    (tmp_path / "one").rename(tmp_path / "two")
    with pytest.raises(LatentLabelsError, match="moved"):
        fitted(tmp_path / "two", resume=True)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None], ids=["empty", "text", "cut"])
def test_a_damaged_checkpoint_is_named(content: bytes | None, tmp_path: Path) -> None:
    fitted(tmp_path)
    path = tmp_path / "last.ckpt"
    path.write_bytes(path.read_bytes()[:1000] if content is None else content)
    with pytest.raises(LatentLabelsError, match=r"last\.ckpt is damaged"):
        fitted(tmp_path, resume=True)


def test_an_average_of_weights_copies_no_chains() -> None:
    phase = PersistentGibbs(rows=4, latent=3)
    assert copy.deepcopy({"phase": phase})["phase"] is phase
