"""The RBM: recovers the pairwise structure that its pairs were drawn from."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from tests.monte_carlo import STANDARD_ERRORS
from tests.small_models import SmallModel
from tests.small_pairs import draw_pairs, pairs_of, rare_classes, rare_labels, rbm_joint
from torch import Tensor

from latentlabels.auxiliary import rbm
from latentlabels.auxiliary.pairs import Pairs
from latentlabels.auxiliary.rbm import DivergedError, RBMSettings, clean_loss, fit_rbm
from latentlabels.errors import LatentLabelsError
from latentlabels.model.pairwise import PairwiseCRF
from latentlabels.model.schedule import GibbsSchedule
from latentlabels.model.units import Bernoulli

MODEL = SmallModel(Bernoulli(4), Bernoulli(3))
DECAY = 1e-4


def to_convergence(count: int, *, hidden: int = 0, weight_decay: float = DECAY) -> RBMSettings:
    """Settings under which nothing but the pairs themselves limits the fit."""
    return RBMSettings(
        hidden=hidden,
        epochs=300,
        patience=300,
        held_out=0.0,
        batch=count,
        learning_rate=0.03,
        weight_decay=weight_decay,
        schedule=GibbsSchedule(chains=100, sweeps=2),
    )


def expected_weights(truth: PairwiseCRF, count: int) -> tuple[Tensor, Tensor]:
    """The fitted weights' mean and standard error, from the enumerated Fisher information.

    With I the covariance of ŷ, y and ŷ yᵀ, and the mean loss of a pair penalised by θᵀDθ/2, the
    estimate is off by (I + D)⁻¹ (score − D θ), and the mean score's covariance is I / count.
    """
    joint = rbm_joint(truth)
    probability = joint.log_probability.exp().detach().flatten()
    clean = joint.clean.repeat_interleave(len(joint.noisy), 0)
    noisy = joint.noisy.repeat(len(joint.clean), 1)
    statistics = torch.cat([clean, noisy, (clean[:, :, None] * noisy[:, None]).flatten(1)], 1)
    centred = statistics - probability @ statistics
    information = centred.T @ (centred * probability[:, None])
    weights = truth.clean_noisy.detach()
    last = slice(-weights.numel(), None)
    penalty = torch.zeros(len(information)).double()
    penalty[last] = DECAY
    inverse = torch.linalg.inv(information + torch.diag(penalty))
    shift = -inverse[:, last] @ (DECAY * weights.flatten())
    standard_error = (inverse @ information @ inverse / count).diag().sqrt()
    return weights + shift[last].view_as(weights), standard_error[last].view_as(weights)


@pytest.mark.parametrize(
    ("tractable", "count"),
    [(True, 500), (True, 8000), (False, 2000)],
    ids=["exact", "exact, more pairs", "persistent chains"],
)
def test_pairwise_structure_is_recovered(
    tractable: bool, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within five standard errors, which fall with the root of the number of pairs."""
    monkeypatch.setattr(rbm, "is_tractable", lambda _: tractable)
    truth = MODEL.crf()
    found = fit_rbm(draw_pairs(truth, count), to_convergence(count))
    expected, standard_error = expected_weights(truth, count)
    assert ((found.weight - expected).abs() <= STANDARD_ERRORS * standard_error).all()
    assert standard_error.max() < 8 / count**0.5


def clones(count: int) -> Pairs:
    """Four noisy bits, two and two of which nearly always agree; a clean bit follows the first."""
    generator = np.random.default_rng(0)
    two = generator.random((count, 2)) < 0.5
    agree = generator.random((count, 2)) < 0.95
    noisy = np.stack([two, np.where(agree, two, ~two)], -1).reshape(count, 4)
    chance = 1 / (1 + np.exp(2 - 2 * noisy[:, :1] - 2 * noisy[:, 1:2]))
    return pairs_of(Bernoulli(4), Bernoulli(1), noisy, generator.random((count, 1)) < chance)


def test_hidden_units_couple_the_noisy_labels_that_come_together() -> None:
    """What y_i and y_j have to do with each other through h is, to leading order, (W′ᵀ W′)_ij."""
    found = fit_rbm(clones(1000), to_convergence(1000, hidden=4, weight_decay=0.003))
    assert found.hidden == Bernoulli(4)
    own = found.weight[1:]
    coupling = own.T @ own
    assert min(coupling[0, 1], coupling[2, 3]) > 2 * coupling[:2, 2:].abs().max()


@pytest.mark.parametrize(
    "pairs", [rare_labels(60), draw_pairs(MODEL.crf(), 60)], ids=["a clear map", "a faint one"]
)
def test_the_pass_that_predicts_held_out_pairs_best_is_kept(pairs: Pairs) -> None:
    """So a longer fit is never worse on them, even where there is nothing more to learn."""
    held_out = pairs.take(np.random.default_rng(5).permutation(60)[:12])
    losses = [
        clean_loss(fit_rbm(pairs, RBMSettings(epochs=epochs, patience=200), seed=5), held_out)
        for epochs in (1, 10, 50, 200)
    ]
    assert losses == sorted(losses, reverse=True)


def test_fitting_stops_after_so_many_passes_in_a_row_without_a_better_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    losses = iter([3.0, 4.0, 4.0, 2.0, 2.0, 2.0, 1.0, 2.0, 2.0, 2.0, 0.0])
    monkeypatch.setattr(rbm, "clean_loss", lambda *_: next(losses))
    fit_rbm(rare_labels(20), RBMSettings(patience=3))
    assert list(losses) == [0.0]


def test_clean_loss_is_the_mean_of_minus_log_probability() -> None:
    truth = MODEL.auxiliary(dtype=torch.float32)
    pairs = draw_pairs(MODEL.crf(), 50)
    mean = truth.clean_mean(pairs.noisy_tensor())
    clean = pairs.clean_tensor()
    expected = -torch.where(clean == 1, mean, 1 - mean).log().sum(1).mean()
    assert clean_loss(truth, pairs) == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("count", [6, 60, 200])
@pytest.mark.parametrize("rare", [rare_labels, rare_classes])
def test_rare_and_absent_labels_do_not_blow_up(rare: Callable[[int], Pairs], count: int) -> None:
    pairs = rare(count)
    found = fit_rbm(pairs)
    # The largest log odds ratio that so many pairs can show, with half a count in empty cells.
    assert found.weight.abs().max() <= 2 * np.log((count + 0.5) / 0.5)
    absent = torch.from_numpy(pairs.clean.sum(0) == 0)
    mean = found.clean_mean(pairs.noisy_tensor()).mean(0)[absent]
    assert (mean <= pairs.clean_units.mean(pairs.clean_prior_logits())[absent]).all()


@pytest.mark.parametrize("rare", [rare_labels, rare_classes])
def test_an_absent_label_does_not_run_off_however_long_the_fit(
    rare: Callable[[int], Pairs],
) -> None:
    """Half a nat is all that such a label can gain; a prior ½ (f − f₀)² then holds f within one."""
    pairs = rare(60)
    found = fit_rbm(pairs, to_convergence(60, weight_decay=0.003))
    assert (found.bias - pairs.clean_prior_logits())[3].abs() <= 1


def test_the_fit_is_the_seeds() -> None:
    pairs = draw_pairs(MODEL.crf(), 40)
    settings = RBMSettings(hidden=2, epochs=3)
    one, other, another = (fit_rbm(pairs, settings, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.weight, other.weight)
    assert not torch.equal(one.weight, another.weight)
    assert one.kind == "rbm"


def test_no_pass_is_refused() -> None:
    with pytest.raises(LatentLabelsError, match="epochs is a whole number from 1, got 0"):
        fit_rbm(draw_pairs(MODEL.crf(), 20), RBMSettings(epochs=0))


def test_weights_that_are_no_numbers_are_an_error() -> None:
    with pytest.raises(DivergedError, match=r"has diverged.*another auxiliary"):
        fit_rbm(draw_pairs(MODEL.crf(), 20), RBMSettings(learning_rate=1e38, patience=2))


def test_noisy_labels_of_many_pairs_are_not_written_down_densely() -> None:
    rows, labels = 20_000, 1_000
    units = np.random.default_rng(0).integers(0, labels, rows)
    noisy = csr_array((np.ones(rows, np.float32), units, np.arange(rows + 1)), shape=(rows, labels))
    clean = (units % 2).astype(np.float32)[:, None]
    pairs = Pairs(Bernoulli(labels), Bernoulli(1), noisy, clean)
    tracemalloc.start()
    try:
        settings = RBMSettings(epochs=1, batch=500)
        loss = clean_loss(fit_rbm(pairs, settings), pairs)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert np.isfinite(loss)
    assert peak < noisy.shape[0] * noisy.shape[1]
