"""How soon an RBM of verified pairs predicts each held-out label from the others, beside others.

    pip install rbms scikit-learn
    python benchmarks/rbm.py coco3k.parquet --noisy words --clean categories

All fit 200 hidden units by persistent contrastive divergence, in batches of 64 pairs, and start at
the labels' frequencies. Of the verified training rows a fifth is held out. What is measured after
some passes, with the clock stopped, is the held-out rows' pseudo-likelihood: the sum over a row's
labels of log p(label | the row's other labels), in nats. What each reaches at its best is a goal
for all. Ours links clean with noisy labels itself and by hidden units; the others know one visible
layer of both. Ours has its default settings; the others are run with several step sizes (rbms with
one and five sweeps an update too), and for each goal the setting that is there first counts.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from latentlabels import LatentLabelsError
from latentlabels.auxiliary.pairs import Pairs, smoothed_logits
from latentlabels.auxiliary.rbm import RBMSettings, rbm_passes
from latentlabels.data.cells import label_cells
from latentlabels.data.columns import flags, splits
from latentlabels.data.labels import LabelSpace, encode, read_columns
from latentlabels.data.table import read_table
from latentlabels.model.units import Bernoulli

HIDDEN = 200
BATCH = 64
CHAINS = 128
HELD_OUT = 0.2
PASSES: Final = sorted({round(1.15**power) for power in range(42)})
"""After which passes a fit is measured; with the last of them, the 308th, it ends."""
INITIAL = 0.01
"""Standard deviation of the others' first weights, which is scikit-learn's."""


class RBM(NamedTuple):
    """An RBM of one visible layer."""

    weight: Tensor  # (visible, hidden)
    visible_bias: Tensor  # (visible,)
    hidden_bias: Tensor  # (hidden,)


class Curve(NamedTuple):
    """What a fit reached, and after how many seconds."""

    seconds: list[float]
    reached: list[float]

    def time_to(self, goal: float) -> float:
        """Seconds until the goal is reached first, infinity if it is not."""
        pairs = zip(self.seconds, self.reached, strict=True)
        return next((s for s, reached in pairs if reached >= goal), float("inf"))


Fit = Iterator[Callable[[Pairs], float]]
"""After each pass: what gives the pseudo-likelihood of pairs."""


def ours(pairs: Pairs, seed: int) -> Fit:
    """The package's own auxiliary."""
    for rbm in rbm_passes(pairs, RBMSettings(hidden=HIDDEN, batch=BATCH), seed=seed):

        def score(held: Pairs, rbm: Any = rbm) -> float:
            noisy, clean = held.noisy_tensor(), held.clean_tensor()
            bias = rbm.noisy_bias + clean @ rbm.clean_noisy
            inner = RBM(rbm.hidden_noisy.T, bias, rbm.hidden_bias)
            latent = rbm.latent_logits(rbm.fields(), noisy)[:, : clean.shape[1]]
            return pseudo_likelihood(noisy, log_odds(inner, noisy)) + pseudo_likelihood(
                clean, latent
            )

        yield score


def scikit_learn(pairs: Pairs, seed: int, step: float) -> Fit:
    """BernoulliRBM, which draws one sweep for as many chains as a batch has rows."""
    from sklearn.neural_network import BernoulliRBM

    visible = together(pairs).numpy()
    rbm = BernoulliRBM(HIDDEN, learning_rate=step, batch_size=BATCH, random_state=seed)
    rbm.intercept_visible_ = start_bias(pairs).numpy()
    order = np.random.default_rng(seed)
    while True:
        shuffled = order.permutation(len(visible))
        # It keeps one chain for each row of its first batch: all batches have to be as long.
        for first in range(0, len(visible) - BATCH + 1, BATCH):
            rbm.partial_fit(visible[shuffled[first : first + BATCH]])
        arrays = rbm.components_.T, rbm.intercept_visible_, rbm.intercept_hidden_
        yield scorer(RBM(*(torch.from_numpy(array.copy()).float() for array in arrays)))


def rbms(pairs: Pairs, seed: int, step: float, sweeps: int) -> Fit:
    """The package rbms: centred gradients, of unit length, as its own loop of training takes."""
    from rbms.bernoulli_bernoulli.classes import BBRBM  # type: ignore[import-not-found]
    from rbms.training.pcd import fit_batch_pcd  # type: ignore[import-not-found]

    visible = together(pairs)
    torch.manual_seed(seed)
    weight = INITIAL * torch.randn(visible.shape[1], HIDDEN)
    rbm = BBRBM(weight, start_bias(pairs), torch.zeros(HIDDEN))
    for parameter in rbm.parameters():
        parameter.grad = torch.zeros_like(parameter)  # Its gradient is written into what is there.
    chains = rbm.init_chains(CHAINS)
    optimiser = torch.optim.SGD(rbm.parameters(), lr=step, maximize=True)
    while True:
        with torch.no_grad():
            for rows in torch.randperm(len(visible)).split(BATCH):
                optimiser.zero_grad(set_to_none=False)
                batch = visible[rows], torch.ones(len(rows), 1)
                chains, _ = fit_batch_pcd(batch, chains, rbm, sweeps, 1.0)
                optimiser.step()
        yield scorer(RBM(rbm.weight_matrix, rbm.vbias, rbm.hbias))


CONTESTANTS: dict[str, list[Callable[[Pairs, int], Fit]]] = {
    "ours": [ours],
    "scikit-learn": [partial(scikit_learn, step=step) for step in (0.03, 0.1, 0.3, 1.0, 3.0)],
    "rbms": [
        partial(rbms, step=step, sweeps=sweeps)
        for step, sweeps in itertools.product((0.1, 0.3, 1.0), (1, 5))
    ],
}
"""Every setting of each."""


def together(pairs: Pairs) -> Tensor:
    """Noisy and clean labels as one visible layer, (pairs, noisy + clean)."""
    return torch.cat([pairs.noisy_tensor(), pairs.clean_tensor()], 1)


def start_bias(pairs: Pairs) -> Tensor:
    """The labels' smoothed log-odds."""
    visible = together(pairs)
    return smoothed_logits(Bernoulli(visible.shape[1]), visible).float()


def scorer(rbm: RBM) -> Callable[[Pairs], float]:
    """What gives the pseudo-likelihood under an RBM of one visible layer."""
    return lambda held: pseudo_likelihood(together(held), log_odds(rbm, together(held)))


def log_odds(rbm: RBM, visible: Tensor) -> Tensor:
    """Log-odds of each visible unit given the others, the hidden ones summed out.

        b_i + s_i Σ_j softplus(a_j + s_i W_ij) − softplus(a_j)

    with a = c + vᵀW, and s_i = 1 − 2 v_i, by which a changes where the unit does.
    """
    inner, change = rbm.hidden_bias + visible @ rbm.weight, 1 - 2 * visible
    changed = softplus(inner[:, None] + change[..., None] * rbm.weight).sum(-1)
    return rbm.visible_bias + change * (changed - softplus(inner).sum(-1, keepdim=True))


def pseudo_likelihood(states: Tensor, logits: Tensor) -> float:
    """Σ log p of the states, mean over rows, in nats."""
    return float(logsigmoid(torch.where(states > 0.5, logits, -logits)).sum(1).mean())


def curve(fit: Fit, held: Pairs) -> Curve:
    """Take passes, and measure after some of them."""
    result, spent, taken = Curve([], []), 0.0, 0
    for wanted in PASSES:
        begun = time.perf_counter()
        for _ in range(wanted - taken):
            score = next(fit)
        spent += time.perf_counter() - begun
        taken = wanted
        with torch.no_grad():
            result.reached.append(score(held))
        result.seconds.append(spent)
    return result


def verified_pairs(path: Path, noisy: str, clean: str) -> Pairs:
    """The verified training rows' labels."""
    table = read_table(path)
    rows = np.flatnonzero(flags(table, "verified") & (splits(table, "split") == "train"))
    layers = []
    for name in (noisy, clean):
        columns = read_columns(label_cells(table, [name]))
        space = LabelSpace(tuple(columns), tuple(c.vocabulary() for c in columns.values()))
        layers.append((space.units, encode(columns, space)[rows]))
    (noisy_units, given), (clean_units, true) = layers
    return Pairs(noisy_units, clean_units, given, true.toarray().astype(np.float32))


def main(argv: list[str] | None = None) -> None:
    """Fit all, and print when each is at the goal."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("--noisy", default="noisy")
    parser.add_argument("--clean", default="clean")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    threadpool_limits(arguments.threads)
    pairs = verified_pairs(arguments.table, arguments.noisy, arguments.clean)
    curves: dict[str, list[list[Curve]]] = {}  # of every contestant, seed and setting
    alone = []
    for seed in range(arguments.seeds):
        order = np.random.default_rng(seed).permutation(len(pairs))
        held_out = int(HELD_OUT * len(pairs))
        fitted, held = pairs.take(order[held_out:]), pairs.take(order[:held_out])
        alone.append(pseudo_likelihood(together(held), start_bias(fitted).expand(len(held), -1)))
        for name, settings in CONTESTANTS.items():
            with suppress(ModuleNotFoundError):
                own = [curve(fit(fitted, seed), held) for fit in settings]
                curves.setdefault(name, []).append(own)
    print(
        f"{len(pairs)} pairs of {pairs.noisy_units.size} noisy and {pairs.clean_units.size} clean"
    )
    print(f"labels; their frequencies alone: {spread(alone)} nats a row\n")
    goals = {
        name: [max(max(c.reached) for c in settings) for settings in seeds]
        for name, seeds in curves.items()
    }
    heads = (f"seconds to {name}'s best, {spread(goal)}" for name, goal in goals.items())
    print(f"| | {' | '.join(heads)} |\n|---|{len(goals) * '---:|'}")
    for name, seeds in curves.items():
        cells = (
            spread([min(c.time_to(g) for c in own) for own, g in zip(seeds, goal, strict=True)])
            for goal in goals.values()
        )
        print(f"| {name} | {' | '.join(cells)} |")


def spread(values: list[float]) -> str:
    """Mean ± standard deviation of those that are finite, and how many are not."""
    finite = [value for value in values if np.isfinite(value)]
    if not finite:
        return "never"
    deviation = f" ± {stdev(finite):.2f}" if len(finite) > 1 else ""
    missed = f" (never on {len(values) - len(finite)})" if len(finite) < len(values) else ""
    return f"{fmean(finite):.2f}{deviation}{missed}"


if __name__ == "__main__":
    try:
        main()
    except LatentLabelsError as error:
        sys.exit(f"rbm.py: {error}")
