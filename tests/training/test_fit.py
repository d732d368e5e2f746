"""Training keeps the best epoch, leaves nothing behind, and reads what it may."""

from __future__ import annotations

import copy
import random
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from tests.small_tables import SmallTable, global_generators, table_of_classes, table_of_tags
from torch import Tensor
from torch.testing import assert_close

from latentlabels import processes
from latentlabels.evaluation.metrics import score
from latentlabels.fitting import Fitted, ModelSettings, fit_model
from latentlabels.model.pairwise import Potentials
from latentlabels.model.posterior import Auxiliary
from latentlabels.model.schedule import AlphaSchedule, GibbsSchedule
from latentlabels.model.units import Bernoulli, Categorical, Units
from latentlabels.network.examples import Vectors
from latentlabels.objective import ExactPhase, RobustLoss
from latentlabels.sampling.diagnostics import ChainHealth, ChainWarning
from latentlabels.training import fit as training_fit
from latentlabels.training import module as training_module
from latentlabels.training.module import RobustModule
from latentlabels.training.rows import Batch, Draw, Rows
from latentlabels.training.settings import TrainingSettings

MODEL = ModelSettings("regression", 0, True, False, "auxiliary", (8,), 0.2)
ALPHA = AlphaSchedule(4.0, 1.0, 3.0)
SETTINGS = TrainingSettings(epochs=2, learning_rate=0.02, averaging=0.9, alpha=ALPHA, seed=3)
TAGS = table_of_tags()


def rows_of(table: SmallTable, verified: np.ndarray | None = None) -> tuple[Rows, Units]:
    clean = table.truth if table.truth.ndim == 2 else np.eye(3, dtype=int)[table.truth]
    noisy = table.noisy if table.noisy.ndim == 2 else np.eye(3, dtype=int)[table.noisy]
    known = table.verified if verified is None else verified
    kind = Bernoulli if table.truth.ndim == 2 else Categorical
    rows = Rows(
        Vectors(table.x), csr_array(noisy.astype(float)), csr_array(clean.astype(float)), known
    )
    return rows, kind(clean.shape[1])


ROWS, UNITS = rows_of(TAGS)
KEPT = ("best", "last")
HELD_OUT, _ = rows_of(table_of_tags(seed=1), verified=np.ones(60, bool))


def fitted(
    rows: Rows = ROWS,
    validation: Rows | None = None,
    settings: TrainingSettings = SETTINGS,
    model: ModelSettings = MODEL,
    checkpoints: Path | None = None,
    progress: bool = False,
) -> Fitted:
    wanted = replace(settings, checkpoints=checkpoints)
    return fit_model(rows, validation, UNITS, UNITS, model, wanted, progress=progress)


def weights(fit: Fitted) -> Tensor:
    return torch.cat([value.flatten() for value in fit.model.state_dict().values()])


@pytest.fixture
def scripted_scores(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Validation scores as a test wants them, whatever the model predicts."""

    def script(*scores: float) -> None:
        left = iter(scores)
        monkeypatch.setattr(training_module, "score", lambda *_: next(left))

    return script


def test_the_history_tells_loss_and_alpha_of_every_epoch() -> None:
    history = fitted().history
    assert [epoch["epoch"] for epoch in history.epochs] == [0, 1]
    assert history.negative_phase == "exact"
    assert history.best_epoch == 1
    losses = [epoch["loss"] for epoch in history.epochs]
    assert losses[-1] < losses[0]
    # The mean over an epoch's batches: α falls from 4 to 1 in three epochs.
    np.testing.assert_allclose([epoch["alpha"] for epoch in history.epochs], [3.5, 2.5], 0.05)
    assert not any("validation" in epoch for epoch in history.epochs)


def test_the_epoch_with_the_best_score_is_kept(scripted_scores: Any) -> None:
    """What comes out of four epochs of which the second is best is what two epochs give."""
    scripted_scores(0.1, 0.9, 0.3, 0.9)
    best = fitted(validation=HELD_OUT, settings=replace(SETTINGS, epochs=4))
    scripted_scores(0.1, 0.9)
    two = fitted(validation=HELD_OUT)
    assert best.history.best_epoch == 1
    assert [epoch["validation"] for epoch in best.history.epochs] == pytest.approx(
        [0.1, 0.9, 0.3, 0.9]
    )
    assert torch.equal(weights(best), weights(two))
    assert best.model.alpha == two.model.alpha == ALPHA.at(2)


def test_training_stops_when_the_score_rises_no_more(scripted_scores: Any) -> None:
    scripted_scores(0.1, 0.2, 0.2, 0.1, 0.15, 0.9, 0.9)
    history = fitted(validation=HELD_OUT, settings=replace(SETTINGS, epochs=7, patience=3)).history
    assert len(history.epochs) == 5
    assert history.best_epoch == 1


@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_the_score_is_that_of_the_weights_that_are_kept(averaging: float) -> None:
    fit = fitted(validation=HELD_OUT, settings=replace(SETTINGS, averaging=averaging))
    best = fit.history.epochs[fit.history.best_epoch]["validation"]
    assert best == max(epoch["validation"] for epoch in fit.history.epochs)
    predicted = fit.model.predict_mean(HELD_OUT.x.batch(np.arange(60)), torch.arange(60))
    assert score(UNITS, HELD_OUT.clean.toarray(), predicted.numpy()) == pytest.approx(best)


@pytest.mark.parametrize(
    ("validation", "files"),
    [
        (None, {"last.ckpt", "previous.ckpt"}),
        (HELD_OUT, {"best.ckpt", "best-copy.ckpt", "last.ckpt", "previous.ckpt"}),
    ],
)
def test_checkpoints_go_where_they_are_asked_for(
    validation: Rows | None, files: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("work", "temporary"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    folder = tmp_path / "checkpoints"
    fit = fitted(validation=validation, checkpoints=folder)
    assert {path.name for path in folder.iterdir()} == files
    name = "last.ckpt" if validation is None else "best.ckpt"
    saved = torch.load(folder / name, weights_only=True)
    assert saved["epoch"] == fit.history.best_epoch
    for key, value in fit.model.state_dict().items():
        if key != "usual_input":  # measured when training is over
            assert torch.equal(saved["state_dict"][f"model.{key}"], value)

    again = fitted(validation=validation, checkpoints=folder)
    assert {path.name for path in folder.iterdir()} == files, "a second run takes their place"
    assert torch.equal(weights(again), weights(fit))
    fitted(validation=validation)
    for name in ("work", "temporary"):
        assert not list((tmp_path / name).iterdir())


@dataclass(frozen=True)
class FailingRows(Rows):
    """Rows that raise when one of them is asked for."""

    error: BaseException = RuntimeError("no such row")  # noqa: RUF009 - never changed

    def __getitem__(self, draw: Draw) -> Batch:
        if 30 in draw.rows:
            raise self.error
        return super().__getitem__(draw)


@pytest.fixture
def own_handler() -> Iterator[Any]:
    """An interrupt handler that is not Python's, as a command line or a notebook has."""

    def handler(*_: object) -> None:
        raise AssertionError

    before = signal.signal(signal.SIGINT, handler)
    yield handler
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("no such row")], ids=repr)
def test_an_interrupt_or_error_passes_through(
    error: BaseException, own_handler: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = torch.random.get_rng_state()
    rows = FailingRows(**vars(ROWS), error=error)
    with pytest.raises(type(error)):
        fitted(rows)
    assert signal.getsignal(signal.SIGINT) is own_handler
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not list(tmp_path.iterdir())


def test_the_interrupt_handler_is_left_alone(own_handler: Any) -> None:
    fitted(settings=replace(SETTINGS, epochs=1))
    assert signal.getsignal(signal.SIGINT) is own_handler


def recorded_weights(monkeypatch: pytest.MonkeyPatch) -> list[list[Tensor]]:
    """The model's weights after every step, filled as training goes on."""
    steps: list[list[Tensor]] = []

    def record(trained: RobustModule, *_: object) -> None:
        steps.append([p.detach().clone() for p in trained.model.parameters()])

    monkeypatch.setattr(RobustModule, "on_train_batch_end", record)
    return steps


def test_the_weights_that_are_kept_are_a_running_average(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = recorded_weights(monkeypatch)
    fit = fitted(settings=replace(SETTINGS, averaging=0.8))
    average = copy.deepcopy(steps[0])
    for step in steps[1:]:
        average = [0.8 * a + 0.2 * w for a, w in zip(average, step, strict=True)]
    assert len(steps) >= 20
    for found, wanted in zip(fit.model.parameters(), average, strict=True):
        assert_close(found.detach(), wanted)


def test_the_last_checkpoint_is_of_the_last_epoch(scripted_scores: Any, tmp_path: Path) -> None:
    scripted_scores(0.5, 0.9, 0.7)
    fit = fitted(validation=HELD_OUT, settings=replace(SETTINGS, epochs=3), checkpoints=tmp_path)
    saved = {name: torch.load(tmp_path / f"{name}.ckpt", weights_only=True) for name in KEPT}
    assert {name: own["epoch"] for name, own in saved.items()} == {"best": 1, "last": 2}
    assert fit.history.best_epoch == 1
    name = "model.network.clean.weight"
    best, last = (saved[which]["state_dict"][name] for which in KEPT)
    assert not torch.equal(best, last)


def test_without_averaging_the_last_weights_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = recorded_weights(monkeypatch)
    fit = fitted(settings=replace(SETTINGS, averaging=0.0))
    for found, wanted in zip(fit.model.parameters(), steps[-1], strict=True):
        assert torch.equal(found.detach(), wanted)


def test_labels_are_inferred_without_dropout(monkeypatch: pytest.MonkeyPatch) -> None:
    loss_of, step = RobustLoss.row_losses, RobustModule.training_step
    wanted: list[Tensor] = []
    seen: list[tuple[Tensor, Tensor]] = []

    def spy_on_step(module: RobustModule, batch: Batch, index: int) -> Tensor:
        assert module.model.network.training
        wanted.append(copy.deepcopy(module.model.network).eval()(batch.x).clean)
        return step(module, batch, index)

    def spy_on_loss(loss: RobustLoss, potentials: Potentials, *labels: Any) -> Tensor:
        seen.append((potentials.clean, labels[-2].clean))
        return loss_of(loss, potentials, *labels)

    monkeypatch.setattr(RobustModule, "training_step", spy_on_step)
    monkeypatch.setattr(RobustLoss, "row_losses", spy_on_loss)
    model = fitted(model=replace(MODEL, dropout=0.7)).model
    for (learnt, inferred), potentials in zip(seen, wanted, strict=True):
        assert torch.equal(inferred, potentials)
        assert learnt.requires_grad
        assert not inferred.requires_grad
    assert not torch.equal(*seen[-1]), "the loss itself has dropout"
    x = torch.from_numpy(TAGS.x)
    assert torch.equal(*(model.predict_mean(x, torch.arange(60)) for _ in range(2)))


@pytest.mark.parametrize("hidden", [0, 13], ids=["exact", "gibbs"])
def test_randomness_is_the_seeds_and_nobody_elses(
    hidden: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same seed, same weights, whatever the state of the global generators; and they stay."""
    gibbs = GibbsSchedule(chains=2, sweeps=2)
    settings = replace(SETTINGS, epochs=1, gibbs=gibbs)
    model = replace(MODEL, hidden=hidden)
    monkeypatch.setattr("latentlabels.training.fit.is_tractable", lambda _: not hidden)
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002 - the global state is what must not matter
        random.seed(seed)
        before = global_generators()
        fit = fitted(validation=HELD_OUT, settings=settings, model=model)
        assert global_generators() == before
        assert fit.history.negative_phase == ("gibbs" if hidden else "exact")
        found.append(weights(fit))
    assert torch.equal(found[0], found[1])
    other = fitted(validation=HELD_OUT, settings=replace(settings, seed=4), model=model)
    assert not torch.equal(weights(other), found[0])


def test_sweeps_are_told_where_the_negative_phase_is_sampled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("latentlabels.training.fit.is_tractable", lambda _: False)
    settings = replace(SETTINGS, epochs=1, gibbs=GibbsSchedule(chains=2, sweeps=4))
    history = fitted(settings=settings, model=replace(MODEL, hidden=13)).history
    assert history.epochs[0]["sweeps"] == 4
    assert history.chains is not None
    assert history.chains.r_hat == history.epochs[0]["r_hat"] >= 1
    assert 0 < history.chains.effective == history.epochs[0]["effective"]
    monkeypatch.undo()
    exact = fitted(settings=settings).history
    assert "sweeps" not in exact.epochs[0]
    assert exact.chains is None


def test_chains_that_do_not_mix_are_warned_of_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latentlabels.training.fit.is_tractable", lambda _: False)
    ill = ChainHealth(r_hat=1.8, effective=0.01, stuck=0.2)
    monkeypatch.setattr("latentlabels.objective.chain_health", lambda _: ill)
    settings = replace(SETTINGS, epochs=3, gibbs=GibbsSchedule(chains=2, sweeps=4))
    with pytest.warns(ChainWarning, match=r"R-hat is 1\.80 .* run longer \(sweeps\)") as warned:
        history = fitted(settings=settings, model=replace(MODEL, hidden=13)).history
    assert len(warned) == 1
    assert history.chains is not None
    assert not history.chains.is_good


def test_weights_that_have_run_away_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The chains of a model whose labels hold each other fast look healthy."""
    monkeypatch.setattr("latentlabels.training.fit.is_tractable", lambda _: False)
    weight = torch.zeros(3, 3)
    weight[1, 2] = 500.0
    blown_up = Auxiliary(UNITS, UNITS, torch.zeros(3), weight)
    settings = replace(SETTINGS, epochs=2, gibbs=GibbsSchedule(chains=4, sweeps=4))
    names = {"clean": ["cat", "dog", "sky"], "noisy": ["kitty", "puppy", "blue"]}
    told = r"Weights have run away: .*W is \d+\.\d for clean 'dog' and noisy 'blue'"
    with pytest.warns(ChainWarning, match=told) as warned:
        history = fit_model(
            ROWS, None, UNITS, UNITS, replace(MODEL, auxiliary=blown_up), settings, names=names
        ).history
    assert len(warned) == 1
    assert history.chains is not None
    assert not history.chains.is_good
    kept = {of.block: of for of in history.weights}
    assert kept["W"].units == {"clean": 1, "noisy": 2}
    assert kept["W"].value == pytest.approx(500, rel=0.01)
    assert history.chains.weight == abs(history.weights[0].value)


@pytest.mark.parametrize("count", [1, 2, 5, 64])
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_validation_rows_are_dealt_so_that_each_process_has_one(
    count: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    held_out, _ = rows_of(table_of_tags(rows=count), verified=np.ones(count, bool))
    monkeypatch.setattr(processes, "size", lambda: size)
    shares = []
    for rank in range(size):
        monkeypatch.setattr(processes, "rank", lambda rank=rank: rank)
        shares.append(training_fit._own(held_out))
    assert all(len(share) for share in shares)
    dealt = np.concatenate(shares)
    assert np.unique(dealt).tolist() == list(range(count))
    assert len(dealt) == max(count, size)


def test_a_row_that_two_processes_predict_is_scored_once() -> None:
    known = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    said = torch.tensor([[0.9, 0.2], [0.1, 0.8], [0.3, 0.6]])
    scores = []
    for rows in ([0, 1, 2], [2, 0, 1, 2, 0]):
        module = RobustModule(fitted().model, ExactPhase(), SETTINGS)
        module._validated = [(torch.tensor(rows), known[rows], said[rows])]
        module.log = lambda _name, value, **_: scores.append(value)  # type: ignore[method-assign]
        module.on_validation_epoch_end()
    assert scores[0] == scores[1]


@pytest.mark.parametrize("garbage", [np.nan, 1.0], ids=["NaN", "ones"])
def test_unverified_clean_labels_change_nothing(garbage: float) -> None:
    clean = ROWS.clean.toarray()
    clean[~ROWS.verified] = garbage
    found = fitted(replace(ROWS, clean=csr_array(clean)))
    assert torch.equal(weights(found), weights(fitted()))
    clean[ROWS.verified] = 1 - clean[ROWS.verified]
    other = fitted(replace(ROWS, clean=csr_array(clean)))
    assert not torch.equal(weights(other), weights(found))


@pytest.mark.parametrize("share", ["all", "none"])
def test_all_rows_or_none_may_be_verified(share: str) -> None:
    verified = np.full(60, share == "all")
    auxiliary = fitted().model.auxiliary
    fit = fitted(replace(ROWS, verified=verified), model=replace(MODEL, auxiliary=auxiliary))
    assert weights(fit).isfinite().all()
    losses = [epoch["loss"] for epoch in fit.history.epochs]
    assert losses[-1] < losses[0]


def moved(model: ModelSettings, **settings: Any) -> set[str]:
    """Parameters that an epoch of training changes."""
    idle: dict[str, Any] = {"learning_rate": 0.0, "crf_learning_rate": 0.0}
    start, end = (
        fitted(settings=replace(SETTINGS, epochs=1, **rates), model=model).model
        for rates in (idle, settings)
    )
    first = dict(start.named_parameters())
    return {name for name, p in end.named_parameters() if not torch.equal(p, first[name])}


def test_network_and_crf_learn_at_their_own_rates() -> None:
    model = replace(MODEL, noisy_link=True)
    network = {"network.backbone.1.weight", "network.backbone.1.bias"}
    network |= {"network.clean.weight", "network.noisy.weight"}
    crf = {"crf.clean_bias", "crf.noisy_bias", "crf.clean_noisy"}
    assert moved(model) == network | crf
    assert moved(model, crf_learning_rate=0.0) == network
    assert moved(model, learning_rate=0.0) == crf


def test_without_pairwise_terms_there_are_none_after_training_either() -> None:
    assert not fitted(model=replace(MODEL, pairwise=False)).model.crf.clean_noisy.any()


def test_training_is_silent_unless_progress_is_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    fitted(validation=HELD_OUT)
    assert capfd.readouterr() == ("", "")
    fitted(validation=HELD_OUT, progress=True)
    shown = capfd.readouterr().out
    for what in ("loss", "alpha", "validation"):
        assert what in shown


def test_classes_are_scored_by_accuracy() -> None:
    table = table_of_classes(seed=1)
    rows, units = rows_of(table)
    held_out = replace(rows_of(table)[0], verified=np.ones(60, bool))
    history = fit_model(rows, held_out, units, units, MODEL, SETTINGS).history
    scores = np.array([epoch["validation"] for epoch in history.epochs])
    np.testing.assert_allclose(scores * 60, np.round(scores * 60), atol=1e-4)


def test_q_of_training_rows_leans_on_the_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it says of a row, dropout apart, reaches the loss of that row."""
    table = table_of_tags(rows=200, verified=120)
    rows, _ = rows_of(table)
    wanted: list[Tensor] = []
    seen: list[Tensor | None] = []
    step, loss_of = RobustModule.training_step, RobustLoss.row_losses

    def spy_on_step(module: RobustModule, batch: Batch, index: int) -> Tensor:
        teacher = module.model.teacher
        wanted.append(copy.deepcopy(teacher).eval()(batch.x) if teacher else torch.empty(0))
        return step(module, batch, index)

    def spy_on_loss(loss: RobustLoss, potentials: Potentials, *labels: Any) -> Tensor:
        seen.append(labels[-1])
        return loss_of(loss, potentials, *labels)

    monkeypatch.setattr(RobustModule, "training_step", spy_on_step)
    monkeypatch.setattr(RobustLoss, "row_losses", spy_on_loss)
    fitted(rows, HELD_OUT, model=replace(MODEL, teachers=2))
    taught = [(of, said) for of, said in zip(seen, wanted, strict=True) if len(said)]
    assert taught
    for found, said in taught:
        assert found is not None
        assert_close(found, said)


def test_step_sizes_go_through_one_cycle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Up over the first quarter of all updates to what was asked for, and down to nothing."""
    seen: list[float] = []
    step = RobustModule.training_step

    def spy(module: RobustModule, batch: Batch, index: int) -> Tensor:
        seen.append(module.trainer.optimizers[0].param_groups[0]["lr"])
        return step(module, batch, index)

    monkeypatch.setattr(RobustModule, "training_step", spy)
    fitted(settings=replace(SETTINGS, epochs=4, schedule="one-cycle"))
    peak = int(np.argmax(seen))
    assert max(seen) == pytest.approx(SETTINGS.learning_rate, rel=0.05)
    assert abs(peak / len(seen) - 0.25) < 2 / len(seen)
    assert np.all(np.diff(seen[: peak + 1]) > 0)
    assert np.all(np.diff(seen[peak:]) < 0)
    assert seen[-1] < 0.1 * SETTINGS.learning_rate
    seen.clear()
    fitted(settings=replace(SETTINGS, epochs=2))
    assert set(seen) == {SETTINGS.learning_rate}
