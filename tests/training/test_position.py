"""A fit that was stopped goes on as if it had not been, and only where it was begun."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from tests.training.test_fit import HELD_OUT, MODEL, ROWS, SETTINGS, TAGS, UNITS, rows_of, weights

from latentlabels.errors import LatentLabelsError, TrainingWarning
from latentlabels.fitting import Fitted, ModelSettings, fit_model
from latentlabels.model.schedule import GibbsSchedule
from latentlabels.objective import PersistentGibbs
from latentlabels.training import fit as fit_module
from latentlabels.training.launching import environments
from latentlabels.training.module import RobustModule
from latentlabels.training.position import History
from latentlabels.training.rows import Rows
from latentlabels.training.settings import TrainingSettings

SAMPLED = replace(SETTINGS, epochs=4, schedule="one-cycle", gibbs=GibbsSchedule(20, 1))
PLAIN = replace(MODEL, hidden=2)
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
    model: ModelSettings = COMMITTEES,
) -> Fitted:
    where = replace(settings, checkpoints=folder, resume=resume)
    return fit_model(rows, validation, UNITS, UNITS, model, where)


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
    permuted = replace(ROWS, x=ROWS.x.take(np.arange(len(ROWS))[::-1]))
    for changed in (
        {"settings": replace(SAMPLED, learning_rate=0.01)},
        {"rows": other},
        {"rows": permuted},
        {"validation": None},
    ):
        with pytest.raises(LatentLabelsError, match="other data, settings or versions"):
            fitted(tmp_path / "one", resume=True, **changed)
    (tmp_path / "one").rename(tmp_path / "two")
    with pytest.raises(LatentLabelsError, match="moved"):
        fitted(tmp_path / "two", resume=True)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def another_programs(path: Path) -> None:
    torch.save({"state_dict": {}, "callbacks": {}, "epoch": 0}, path)


def changed(path: Path) -> None:
    """One bit of a weight."""
    weight = torch.load(path, weights_only=True)["state_dict"]["model.network.clean.weight"]
    content = path.read_bytes()
    found = content.index(weight.numpy().tobytes())
    path.write_bytes(content[:found] + bytes([content[found] ^ 1]) + content[found + 1 :])


def without_loops(path: Path) -> None:
    torch.save({**torch.load(path, weights_only=True), "loops": {}}, path)


DAMAGES = [without_loops, cut, emptied, another_programs, changed]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(
    damage: Callable[[Path], None], tmp_path: Path, stop_after: Any
) -> None:
    left = stop_after(10**9)
    whole = fitted(tmp_path, model=PLAIN)
    steps = 10**9 - left[0]
    damage(tmp_path / "last.ckpt")
    left = stop_after(10**9)
    with pytest.warns(TrainingWarning, match=r"last\.ckpt is damaged.* The one before it is used"):
        assert same(fitted(tmp_path, resume=True, model=PLAIN), whole)
    assert 10**9 - left[0] == steps / SAMPLED.epochs, "the last epoch is done again"
    assert same(fitted(tmp_path, resume=True, model=PLAIN), whole), "and is whole now"


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_best_checkpoint_is_named_and_its_copy_used(
    damage: Callable[[Path], None], tmp_path: Path, stop_after: Any
) -> None:
    whole = fitted(tmp_path, model=PLAIN)
    damage(tmp_path / "best.ckpt")
    stop_after(0)
    with pytest.warns(TrainingWarning, match=r"best\.ckpt is damaged.* Its copy is used"):
        assert same(fitted(tmp_path, resume=True, model=PLAIN), whole)
    assert same(fitted(tmp_path, resume=True, model=PLAIN), whole), "and is whole now"


@pytest.mark.parametrize(
    "odd", [{"optimizer_states": [{}]}, {"skipped": None}, {"state_dict": {}}], ids=str
)
def test_a_checkpoint_with_odd_parts_is_one_error(
    odd: dict[str, Any], tmp_path: Path, stop_after: Any
) -> None:
    left = stop_after(10**9)
    fitted(None, model=PLAIN)
    stop_after(10**9 - left[0] - 1)
    with pytest.raises(StoppedError):
        fitted(tmp_path, model=PLAIN)
    last = tmp_path / "last.ckpt"
    saved = torch.load(last, weights_only=True)
    torch.save({**saved, **odd}, last)
    stop_after(10**9)
    with pytest.raises(LatentLabelsError, match=r"last\.ckpt is damaged.*missing or odd"):
        fitted(tmp_path, resume=True, model=PLAIN)


def test_checkpoints_that_slurm_asks_lightning_for_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lightning looks for them in the folder at work, and queues the job again on a signal."""
    alone = fitted(None, model=PLAIN)
    task = {"JOB_ID": "1", "JOB_NAME": "fit", "STEP_ID": "0", "PROCID": "0", "LOCALID": "0"}
    job = {"NTASKS": "1", "NNODES": "1", "NODEID": "0", "NODELIST": "127.0.0.1"}
    for name, value in {**task, **job}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.chdir(tmp_path)
    planted = tmp_path / "hpc_ckpt_1.ckpt"
    planted.write_bytes(b"of another run")
    for folder in (None, tmp_path):
        assert same(fitted(folder, model=PLAIN), alone)
    (environment,) = environments()
    assert isinstance(environment, SLURMEnvironment)
    assert not environment.auto_requeue


@pytest.mark.parametrize("damaged", [("last", "previous"), ("best-copy", "best")], ids=" ".join)
def test_without_a_whole_checkpoint_nothing_is_begun(
    damaged: tuple[str, ...], tmp_path: Path
) -> None:
    fitted(tmp_path, model=PLAIN)
    for name in damaged:
        cut(tmp_path / f"{name}.ckpt")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    named = ".*".join(rf"{name}\.ckpt is damaged" for name in damaged if name != "best")
    with pytest.raises(LatentLabelsError, match=f"{named}.*begin anew without resume"):
        fitted(tmp_path, resume=True, model=PLAIN)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_process_killed_while_checkpoints_are_renamed_has_the_one_before(tmp_path: Path) -> None:
    whole = fitted(tmp_path, model=PLAIN)
    (tmp_path / "last.ckpt").unlink()
    (tmp_path / ".last.ckpt.partial").write_bytes(b"half")
    (tmp_path / ".best.ckpt.partial").write_bytes(b"half")
    assert same(fitted(tmp_path, resume=True, model=PLAIN), whole)
    assert {path.name for path in tmp_path.iterdir()} == {
        "best.ckpt",
        "best-copy.ckpt",
        "last.ckpt",
        "previous.ckpt",
    }


def test_a_beginning_clears_the_folder(tmp_path: Path, stop_after: Any) -> None:
    """A new run's best beside an older run's last would be taken for one run's."""
    whole = fitted(tmp_path, model=PLAIN)
    stop_after(3)
    with pytest.raises(StoppedError):
        fitted(tmp_path, model=PLAIN)
    assert not list(tmp_path.iterdir())
    stop_after(10**9)
    assert same(fitted(tmp_path, resume=True, model=PLAIN), whole)


def test_an_average_of_weights_copies_no_chains() -> None:
    phase = PersistentGibbs(rows=4, latent=3)
    assert copy.deepcopy({"phase": phase})["phase"] is phase
