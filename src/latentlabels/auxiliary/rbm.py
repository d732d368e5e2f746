"""An RBM of noisy and clean labels, fitted on verified pairs by persistent contrastive divergence.

It is the CRF's own energy with biases that ignore x. The pairs fix y and ŷ, so the positive phase
infers only h; the negative phase is exact for a small latent layer and otherwise runs persistent
chains. What is minimised over n pairs is

    mean of −log p(y, ŷ)  +  weight decay/2 ‖V‖²  +  1/(2n) ‖f − f₀‖²,

whose last term, a standard normal prior, holds the biases near the labels' smoothed log-odds f₀: a
label that no pair has, and that no weight can explain away, does not run off to −∞.

Steps are those of a centred RBM: its weights move without pulling the biases along, which makes
them several times quicker.

Source: Vahdat (2017), section 3.1 and eq. 4; Tieleman (2008); Montavon and Müller (2012).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentlabels.auxiliary.pairs import Pairs
from latentlabels.errors import LatentLabelsError
from latentlabels.model.marginal import is_tractable
from latentlabels.model.pairwise import Fields, PairwiseCRF
from latentlabels.model.posterior import Auxiliary
from latentlabels.model.schedule import GibbsSchedule
from latentlabels.objective import ExactPhase, NegativePhase, PersistentGibbs

CHAIN_GROUPS = 8  # the fused sampler spreads groups over threads
PAIRS_AT_ONCE = 2048  # where no gradient is wanted


class DivergedError(LatentLabelsError):
    """The weights of an RBM are no numbers."""


@dataclass(frozen=True)
class RBMSettings:
    """How an RBM is fitted.

    Attributes:
        hidden: hidden units.
        epochs: passes over the pairs at most.
        patience: passes without a better held-out loss after which fitting stops.
        held_out: share of the pairs that is kept back for that.
        batch: pairs an update.
        learning_rate: Adam's step size.
        weight_decay: weight of ‖V‖²/2 in the loss of a pair.
        schedule: chains in each of eight groups, and sweeps an update.
    """

    hidden: int = 0
    epochs: int = 200
    patience: int = 20
    held_out: float = 0.2
    batch: int = 64
    learning_rate: float = 0.03
    weight_decay: float = 0.003
    schedule: GibbsSchedule = GibbsSchedule(chains=16, sweeps=5)


def fit_rbm(pairs: Pairs, settings: RBMSettings | None = None, *, seed: int = 0) -> Auxiliary:
    """Fit the RBM, and keep the weights of the pass with the least held-out loss −log p(ŷ | y).

    Args:
        pairs: the verified pairs.
        settings: how to fit.
        seed: of the held-out pairs, the batches, the first weights and the chains.

    Returns:
        An auxiliary of kind "rbm" with the settings' hidden units.

    Raises:
        DivergedError: no pass has a finite loss.
        LatentLabelsError: no pass is wanted.
    """
    settings = settings or RBMSettings()
    if settings.epochs < 1:
        raise LatentLabelsError(f"epochs is a whole number from 1, got {settings.epochs}.")
    order = np.random.default_rng(seed).permutation(len(pairs))
    kept_back = int(settings.held_out * len(pairs))
    fitted, held_out = pairs.take(order[kept_back:]), pairs.take(order[:kept_back])
    best, best_loss, waited = None, np.inf, 0
    for rbm in islice(rbm_passes(fitted, settings, seed=seed), settings.epochs):
        if not all(parameter.isfinite().all() for parameter in rbm.parameters()):
            break
        auxiliary = _as_auxiliary(rbm)
        held_out_loss = clean_loss(auxiliary, held_out if kept_back else fitted)
        if held_out_loss < best_loss:
            best, best_loss, waited = auxiliary, held_out_loss, 0
        else:
            waited += 1
            if waited == settings.patience:
                break
    if best is None:
        raise DivergedError(
            "The RBM of the verified pairs has diverged: no pass over them has a finite loss. Take "
            f"a smaller learning_rate (it is {settings.learning_rate:g}), or another auxiliary."
        )
    return best


def rbm_passes(
    pairs: Pairs, settings: RBMSettings | None = None, *, seed: int = 0
) -> Iterator[PairwiseCRF]:
    """Fit an RBM to all pairs without end, and give it after each pass over them.

    Args:
        pairs: the verified pairs.
        settings: how to fit; its epochs, patience and held-out share are for who takes the passes.
        seed: of the batches, the first weights and the chains.

    Yields:
        The same RBM, one pass on.
    """
    settings = settings or RBMSettings()
    generator = torch.Generator().manual_seed(seed)
    rbm = _start(pairs, settings, generator)
    prior = [bias.detach().clone() for bias in _biases(rbm)]
    negative_phase, chain_groups = _negative_phase(rbm, settings, seed)
    groups: list[dict[str, Any]] = [
        {"params": [rbm.clean_noisy, rbm.hidden_noisy], "weight_decay": settings.weight_decay},
        {"params": _biases(rbm)},
    ]
    optimiser = torch.optim.Adam(groups, lr=settings.learning_rate, fused=True)
    clean = pairs.clean_tensor()
    halves = torch.full((settings.hidden,), 0.5)
    noisy_mean = pairs.noisy_counts().float() / len(pairs)
    offsets = noisy_mean, torch.cat([clean.mean(0), halves])
    while True:
        shuffled = torch.randperm(len(pairs), generator=generator)
        for rows in shuffled.split(settings.batch):
            noisy = pairs.noisy_tensor(rows)
            loss = _pair_loss(rbm, negative_phase, chain_groups, noisy, clean[rows])
            loss = loss + 0.5 * _squared_distance(_biases(rbm), prior) / len(pairs)
            optimiser.zero_grad()
            loss.backward()
            with _centred(rbm, offsets):
                optimiser.step()
        yield rbm


@contextmanager
@torch.no_grad()
def _centred(rbm: PairwiseCRF, offsets: tuple[Tensor, Tensor]) -> Iterator[None]:
    """Let a step be one of an RBM of y − μ and z − λ, whose weights move without the biases.

        E = −f₀ᵀz − b₀ᵀy − (z − λ)ᵀ V (y − μ),  so  f = f₀ − V μ  and  b = b₀ − Vᵀ λ

    Args:
        rbm: whose gradients have been taken.
        offsets: μ, (noisy,), and λ, (latent,).

    Source: Montavon and Müller (2012).
    """
    noisy_mean, latent_mean = offsets
    layers = [
        (rbm.clean_noisy, rbm.clean_bias, latent_mean[: rbm.clean.size]),
        (rbm.hidden_noisy, rbm.hidden_bias, latent_mean[rbm.clean.size :]),
    ]
    noisy_gradient = rbm.noisy_bias.grad
    assert noisy_gradient is not None
    before = [weight.clone() for weight, _, _ in layers]
    for weight, bias, mean in layers:
        assert weight.grad is not None
        assert bias.grad is not None
        weight.grad -= torch.outer(bias.grad, noisy_mean) + torch.outer(mean, noisy_gradient)
    yield
    for (weight, bias, mean), old in zip(layers, before, strict=True):
        change = weight - old
        bias.sub_(change @ noisy_mean)
        rbm.noisy_bias.sub_(mean @ change)


def clean_loss(auxiliary: Auxiliary, pairs: Pairs) -> float:
    """Mean −log p_aux(ŷ | y) over the pairs, in nats."""
    clean, likely = pairs.clean_tensor(), []
    for start in range(0, len(pairs), PAIRS_AT_ONCE):
        some = slice(start, start + PAIRS_AT_ONCE)
        logits = auxiliary.clean_logits(pairs.noisy_tensor(some))
        likely.append(pairs.clean_units.log_probability(logits, clean[some]))
    return -float(torch.cat(likely).mean())


def _start(pairs: Pairs, settings: RBMSettings, generator: torch.Generator) -> PairwiseCRF:
    """An RBM whose biases give each label its frequency, and whose hidden units differ a little."""
    rbm = PairwiseCRF(pairs.noisy_units, pairs.clean_units, settings.hidden, generator=generator)
    with torch.no_grad():
        rbm.clean_bias.copy_(pairs.clean_prior_logits())
        rbm.noisy_bias.copy_(pairs.noisy_prior_logits())
    return rbm


def _biases(rbm: PairwiseCRF) -> list[Tensor]:
    return [rbm.clean_bias, rbm.noisy_bias, rbm.hidden_bias]


def _squared_distance(some: list[Tensor], others: list[Tensor]) -> Tensor:
    return (torch.cat(some) - torch.cat(others)).square().sum()


def _negative_phase(
    rbm: PairwiseCRF, settings: RBMSettings, seed: int
) -> tuple[NegativePhase, int]:
    """The negative phase, and how many rows it is asked for: the RBM's fields are all one."""
    if is_tractable(rbm):
        return ExactPhase(), 1
    phase = PersistentGibbs(CHAIN_GROUPS, rbm.latent.size, settings.schedule, seed=seed)
    return phase, CHAIN_GROUPS


def _pair_loss(
    rbm: PairwiseCRF, negative_phase: NegativePhase, groups: int, noisy: Tensor, clean: Tensor
) -> Tensor:
    fields = rbm.fields()
    hidden = rbm.latent.mean(rbm.latent_logits(fields, noisy))[:, clean.shape[1] :]
    latent = torch.cat([clean, hidden.detach()], -1)
    shared = Fields(fields.latent.expand(groups, -1), fields.noisy)
    start = latent.mean(0).expand(groups, -1)
    log_partition = negative_phase.log_partition(rbm, shared, torch.arange(groups), start)
    return rbm.energy(fields, noisy, latent).mean() + log_partition.mean()


def _as_auxiliary(rbm: PairwiseCRF) -> Auxiliary:
    fields = rbm.fields()
    return Auxiliary(rbm.noisy, rbm.clean, fields.latent[0], rbm.weight, kind="rbm")
