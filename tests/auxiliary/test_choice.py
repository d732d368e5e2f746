"""The choice between auxiliaries: the kind that predicts held-out pairs best."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.small_pairs import pairs_of, rare_classes, rare_labels

from latentlabels.auxiliary import choice
from latentlabels.auxiliary.choice import FOLDS, fit_auxiliary
from latentlabels.auxiliary.pairs import Pairs
from latentlabels.auxiliary.rbm import DivergedError, clean_loss
from latentlabels.errors import LabelError
from latentlabels.model.posterior import Auxiliary
from latentlabels.model.units import Bernoulli, Categorical, Joint


def sigmoid(logits: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.asarray(1 / (1 + np.exp(-logits)))


def of_a_regression(count: int = 300) -> Pairs:
    """A clean bit is on where two noisy bits differ in one way, which they seldom do.

    An RBM has to say how the two noisy bits go together, and uses the clean bit for that.
    """
    generator = np.random.default_rng(0)
    first = generator.random((count, 3)) < 0.5
    second = np.where(generator.random((count, 3)) < 0.9, first, ~first)
    chance = sigmoid(6.0 * (first.astype(float) - second) - 1.5)
    clean = generator.random((count, 3)) < chance
    return pairs_of(Bernoulli(6), Bernoulli(3), np.hstack([first, second]), clean)


def of_an_rbm(count: int = 200) -> Pairs:
    """One clean bit, and sixty noisy bits that know nothing of each other but through it.

    The RBM may learn each by itself, while the regression has to learn sixty together.
    """
    generator = np.random.default_rng(0)
    clean = generator.random((count, 1)) < 0.5
    weight = np.where(generator.random(60) < 0.5, 0.8, -0.8)
    noisy = generator.random((count, 60)) < sigmoid((clean - 0.5) * weight)
    return pairs_of(Bernoulli(60), Bernoulli(1), noisy, clean)


def of_a_transition(count: int = 60) -> Pairs:
    """Four annotators who name the right one of eight classes four times in five."""
    generator = np.random.default_rng(0)
    clean = generator.integers(0, 8, count)
    right = generator.random((4, count)) < 0.8
    said = np.where(right, clean, generator.integers(0, 8, (4, count)))
    noisy = np.concatenate([np.eye(8)[labels] for labels in said], 1)
    return pairs_of(Joint([Categorical(8)] * 4), Categorical(8), noisy, np.eye(8)[clean])


@pytest.mark.parametrize(
    ("pairs", "kind"), [(of_a_regression(), "regression"), (of_an_rbm(), "rbm")]
)
def test_the_kind_that_generated_the_pairs_is_chosen(pairs: Pairs, kind: str) -> None:
    auxiliary, chosen = fit_auxiliary(pairs)
    assert auxiliary.kind == chosen.kind == kind
    assert set(chosen.held_out_loss) == {"regression", "rbm"}
    assert chosen.pairs == len(pairs)


def test_a_transition_beats_the_regression_where_it_generated_the_pairs() -> None:
    """Over classes an RBM without hidden units is the same family of distributions, and may win."""
    auxiliary, chosen = fit_auxiliary(of_a_transition())
    losses = chosen.held_out_loss
    assert set(losses) == {"regression", "rbm", "transition"}
    assert losses["transition"] < losses["regression"]
    assert auxiliary.kind == chosen.kind == min(losses, key=losses.__getitem__) != "regression"


def constant(logit: float) -> Callable[..., Auxiliary]:
    """A fit that gives every clean bit the same chance, whatever the pairs."""

    def fit(pairs: Pairs, *settings: object, **more: object) -> Auxiliary:
        units = (pairs.noisy_units, pairs.clean_units)
        bias = torch.full((units[1].size,), logit)
        return Auxiliary(*units, bias, torch.zeros(units[1].size, units[0].size), kind=str(logit))

    return fit


def test_losses_are_means_over_held_out_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three folds of equal size, and fits that ignore the pairs: each loss is that of all pairs."""
    monkeypatch.setattr(choice, "fit_regression", constant(-1.0))
    monkeypatch.setattr(choice, "fit_rbm", constant(-2.0))
    pairs = rare_labels(60)
    auxiliary, chosen = fit_auxiliary(pairs, "auto")
    losses = {
        kind: clean_loss(constant(logit)(pairs), pairs)
        for kind, logit in (("regression", -1.0), ("rbm", -2.0))
    }
    assert chosen.held_out_loss == pytest.approx(losses)
    assert chosen.kind == min(losses, key=losses.__getitem__)
    assert auxiliary.kind == {"regression": "-1.0", "rbm": "-2.0"}[chosen.kind]


def test_two_thirds_of_the_pairs_are_fitted_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted: list[int] = []

    def count(pairs: Pairs, *_: object, **__: object) -> Auxiliary:
        fitted.append(len(pairs))
        return constant(9.0)(pairs)

    monkeypatch.setattr(choice, "fit_regression", constant(0.0))
    monkeypatch.setattr(choice, "fit_rbm", count)
    fit_auxiliary(rare_labels(31))
    assert sorted(fitted) == [20, 21, 21]


@pytest.mark.parametrize("kind", ["regression", "rbm", "transition"])
def test_a_kind_that_is_asked_for_is_not_compared(kind: str) -> None:
    auxiliary, chosen = fit_auxiliary(rare_classes(20), kind)
    assert auxiliary.kind == chosen.kind == kind
    assert chosen.held_out_loss == {}
    assert chosen.pairs == 20


def test_too_few_pairs_to_hold_any_back_get_the_regression() -> None:
    _, chosen = fit_auxiliary(rare_labels(2 * FOLDS - 1))
    assert chosen.kind == "regression"
    assert chosen.held_out_loss == {}


def test_the_rbm_gets_the_hidden_units_that_are_asked_for() -> None:
    auxiliary, _ = fit_auxiliary(rare_labels(10), "rbm", hidden=3)
    assert auxiliary.hidden == Bernoulli(3)


def test_no_pairs_is_an_error_that_says_what_to_do() -> None:
    nothing = rare_labels(10).take(np.array([], np.intp))
    with pytest.raises(LabelError, match=r"there are none\. Verify some rows, or give the auxil"):
        fit_auxiliary(nothing)


def test_an_unknown_kind_is_refused_with_those_there_are() -> None:
    with pytest.raises(LabelError, match="one of auto, regression, rbm, transition; got 'forest'"):
        fit_auxiliary(rare_labels(10), "forest")


def test_a_transition_of_labels_that_are_no_classes_is_refused() -> None:
    with pytest.raises(LabelError, match="joins classes to classes"):
        fit_auxiliary(rare_labels(10), "transition")


def test_a_kind_that_diverges_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    def diverge(*_: object, **__: object) -> Auxiliary:
        raise DivergedError

    monkeypatch.setattr(choice, "fit_rbm", diverge)
    _, chosen = fit_auxiliary(of_an_rbm())
    assert chosen.kind == "regression"
    assert np.isnan(chosen.held_out_loss["rbm"])
