"""The robust loss: a bound on the likelihood of the labels, as a loss that autograd differentiates.

For noisy rows N and verified rows C the objective is

    mean over N of log p(y | x)  +  mean over C of log p(y, ŷ | x),

each bounded below with q. The gradient of either bound is that of −(E_q[E] + log Z), so the loss of
a row is

    E_q[E(y, ŷ, h | x)]  +  log Z(x)

with q held fixed. The first term, the positive phase, is the energy at q's means, for the energy is
multilinear. The second, the negative phase, is log Z itself where the latent states can be listed,
and elsewhere −E_p[E] over persistent Gibbs chains, which has the same gradient.

Source: Vahdat (2017), eqs. 8, 12 and 13.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from latentlabels import processes
from latentlabels.model.marginal import log_partition
from latentlabels.model.pairwise import Fields, PairwiseCRF, Potentials
from latentlabels.model.posterior import (
    Auxiliary,
    clean_posterior,
    posterior_mean,
    require_same_units,
)
from latentlabels.model.schedule import GibbsSchedule
from latentlabels.sampling.chains import ChainStore
from latentlabels.sampling.diagnostics import ChainHealth, chain_health
from latentlabels.sampling.gibbs import run_gibbs
from latentlabels.sampling.uniforms import Purpose, Uniforms

# An adaptive schedule starts an update with this many sweeps, and goes no lower than the fewest.
FIRST_SWEEPS = 10
FEWEST_SWEEPS = 3
LONGEST_MEMORY = 0.1
# What chains are examined by: rows of a batch, and sweeps of their chains.
PROBED_ROWS = 8
PROBED_SWEEPS = 50


class NegativePhase(ABC):
    """An estimate of log Z(x) whose gradient is that of log Z(x)."""

    @abstractmethod
    def log_partition(
        self, crf: PairwiseCRF, fields: Fields, rows: Tensor, start: Tensor
    ) -> Tensor:
        """A surrogate of log Z(x), (batch,).

        Args:
            crf: the model.
            fields: its fields for the batch.
            rows: the examples' row numbers, (batch,): whose chains go on.
            start: E_q[ŷ, h], (batch, latent): where chains that have not run yet start.
        """


class ExactPhase(NegativePhase):
    """log Z(x) itself, for a small latent layer or layers that are independent."""

    def log_partition(
        self, crf: PairwiseCRF, fields: Fields, rows: Tensor, start: Tensor
    ) -> Tensor:
        return log_partition(crf, fields)


class PersistentGibbs(NegativePhase):
    """−E_p[E] over chains that live as long as training: persistent contrastive divergence.

    Every row has its own chains, since p(y, ŷ, h | x) is a distribution of its own for every x. The
    last half sweep enters by its means and not by its draw.

    An adaptive schedule runs as many sweeps as the chains need to forget the state they started
    an update from, as far as the schedule allows: more would give a sample that is no fresher.

    Args:
        rows: number of training rows, or the numbers of those that this process owns, in order.
        latent: number of latent units, `crf.latent.size`.
        schedule: chains a row, and sweeps an update; the paper's 50 and 100 by default.
        seed: of the chains' random numbers, below 2³².
        file: where the chains' states are mapped from; in memory by default.

    Raises:
        OSError: the file cannot be written.

    Source: Vahdat (2017), section 3.2; Tieleman (2008).
    """

    def __init__(
        self,
        rows: int | Tensor,
        latent: int,
        schedule: GibbsSchedule | None = None,
        *,
        seed: int = 0,
        file: Path | None = None,
    ) -> None:
        self.schedule = schedule or GibbsSchedule()
        self.seed = seed
        self.store = ChainStore(rows, self.schedule.chains, latent, file)
        self.sweeps = self.schedule.sweeps
        """Sweeps of the next update."""
        if self.schedule.adaptive:
            self.sweeps = min(FIRST_SWEEPS, self.sweeps)

    def log_partition(
        self, crf: PairwiseCRF, fields: Fields, rows: Tensor, start: Tensor
    ) -> Tensor:
        device = fields.latent.device
        states, done = self.store.read(rows.cpu())
        latent = states.to(device, fields.latent.dtype)
        new, done, rows = (
            torch.nonzero(done == 0)[:, 0].to(device),
            done.to(device),
            rows.to(device),
        )
        if len(new):
            first = Uniforms(self.seed, Purpose.START, rows[new], self.schedule.chains)
            latent[new] = crf.latent.sample(
                crf.latent.logits_of(start[new])[:, None],
                first.draw(done[new], 0, crf.latent.draws),
            )
        numbers = Uniforms(self.seed, Purpose.SWEEP, rows, self.schedule.chains)
        run = run_gibbs(
            crf,
            fields,
            latent,
            numbers,
            done,
            sweeps=self.sweeps,
            burn_in=self.sweeps,
            sampler=self.schedule.sampler,
        )
        self.store.write(rows.cpu(), run.packed.cpu(), done.cpu() + self.sweeps)
        if self.schedule.adaptive:
            self._adapt(memory(latent, run.latent))
        return -crf.energy(fields.per_chain(), run.noisy, run.latent_mean).mean(-1)

    @torch.no_grad()
    def health(self, crf: PairwiseCRF, fields: Fields, rows: Tensor) -> ChainHealth | None:
        """How the chains of some rows fare, from sweeps that leave no trace in them.

        Some of all processes' rows are taken at random, the same ones however these are shared.

        Args:
            crf: the model.
            fields: its fields for the rows.
            rows: their numbers, (batch,); a few are enough.

        Returns:
            None for one chain a row, and for chains that have not run.
        """
        if self.schedule.chains < 2:
            return None
        chosen = self._probed(rows)
        noisy = fields.noisy.expand(len(rows), -1)
        own = self._probe(crf, Fields(fields.latent[chosen], noisy[chosen]), rows[chosen])
        draws = torch.cat(processes.gathered(own))
        return chain_health(draws) if len(draws) else None

    def _probed(self, rows: Tensor) -> Tensor:
        """Which of some rows are to be examined, by a random number of each, booleans (batch,)."""
        numbers = Uniforms(self.seed, Purpose.PROBE, rows, 1).draw(torch.zeros_like(rows), 0, 1)
        _, done = self.store.read(rows.cpu())
        place = numbers.flatten().masked_fill(done.to(rows.device) == 0, math.inf)
        first = torch.cat(processes.gathered(place)).sort().values[:PROBED_ROWS]
        return place.isfinite() & (place <= float(first[-1]))

    def _probe(self, crf: PairwiseCRF, fields: Fields, rows: Tensor) -> Tensor:
        """Draws of the rows' chains, one a sweep, (rows, chains, sweeps, latent)."""
        latent, done = (part.to(rows.device) for part in self.store.read(rows.cpu()))
        shape = (len(rows), latent.shape[1], PROBED_SWEEPS, latent.shape[2])
        draws = torch.empty(shape, dtype=torch.uint8, device=rows.device)
        if len(rows) == 0:
            return draws
        states = latent.to(fields.latent)
        numbers = Uniforms(self.seed, Purpose.PROBE, rows, self.schedule.chains)
        for sweep in range(PROBED_SWEEPS):
            states = run_gibbs(
                crf,
                fields,
                states,
                numbers,
                done + sweep,
                sweeps=1,
                burn_in=1,
                sampler=self.schedule.sampler,
            ).latent
            draws[:, :, sweep] = states
        return draws

    def position(self) -> dict[str, Any]:
        """Where the chains of all processes stand, as tensors by row and numbers.

        The first process has them all, and the others none.
        """
        states = self.store.bits, self.store.done
        bits, done = (
            (processes.collected(part, self.store.rows) for part in states)
            if processes.size() > 1
            else states
        )
        return {"bits": bits, "done": done, "sweeps": self.sweeps}

    def go_on_from(self, position: dict[str, Any]) -> None:
        """Let the chains go on from where others of the same shape stood."""
        self.store.bits.copy_(position["bits"][self.store.rows])
        self.store.done.copy_(position["done"][self.store.rows])
        self.sweeps = position["sweeps"]

    def __deepcopy__(self, _memo: dict[int, Any]) -> PersistentGibbs:
        """Itself: an average of a module's weights is a copy of it, and needs no chains."""
        return self

    def _adapt(self, remembered: float) -> None:
        if remembered > LONGEST_MEMORY:
            self.sweeps = min(2 * self.sweeps, self.schedule.sweeps)
        elif remembered < LONGEST_MEMORY / 2:
            self.sweeps = max(self.sweeps - 1, min(FEWEST_SWEEPS, self.schedule.sweeps))


def memory(start: Tensor, end: Tensor) -> float:
    """How much of their start chains still know: its correlation with their end, over all units.

    The chains are those of all processes.

    Each row's mean over its chains is taken off first, since rows differ whether chains mix or
    not; one chain a row therefore tells nothing, and counts as remembering all.

    Args:
        start: latent states, (rows, chains, latent).
        end: latent states of the same chains later.
    """
    before, after = (states - states.mean(1, keepdim=True) for states in (start, end))
    products = [before.square(), after.square(), before * after]
    sums = torch.stack([product.sum(dtype=torch.float64) for product in products])
    first, last, both = processes.summed(sums).tolist()
    return float(both / (first * last) ** 0.5) if first * last > 0 else 1.0


class RobustLoss(nn.Module):
    """The loss layer: sits on any network that gives potentials.

    Args:
        crf: the model; its parameters are learnt together with the network's.
        auxiliary: what is known of noisy → clean.
        negative_phase: exact, or persistent Gibbs.
        alpha: weight of the auxiliary in the posterior; set the attribute to anneal it.

    Raises:
        ValueError: an auxiliary that speaks of other units than the model.

    Source: Vahdat (2017), eq. 8.
    """

    def __init__(
        self,
        crf: PairwiseCRF,
        auxiliary: Auxiliary,
        negative_phase: NegativePhase,
        *,
        alpha: float = 1.0,
    ) -> None:
        super().__init__()
        require_same_units(crf, auxiliary)
        self.crf = crf
        self.auxiliary = auxiliary
        self.negative_phase = negative_phase
        self.alpha = alpha

    def forward(
        self,
        potentials: Potentials,
        rows: Tensor,
        noisy: Tensor,
        clean: Tensor,
        verified: Tensor,
        inference: Potentials | None = None,
        seen: Tensor | None = None,
    ) -> Tensor:
        """The mean loss of the noisy rows plus that of the verified rows; a scalar.

        The value falls with the bound only where the negative phase is exact; the gradient is right
        with either.

        Args:
            potentials: what the network says of the batch.
            rows: the examples' row numbers, (batch,), whole numbers below the number of training
                rows.
            noisy: the given labels, (batch, noisy).
            clean: clean labels, (batch, clean); read on verified rows only.
            verified: which rows' clean labels may be read, booleans (batch,).
            inference: potentials to infer q from, where they are not `potentials`: q is held fixed
                in the gradient, and is better inferred without dropout.
            seen: what else is known of the clean units, beside the auxiliary, as natural parameters
                (batch, clean).

        Raises:
            ValueError: an empty batch, or `verified` of another type.
        """
        if verified.dtype != torch.bool or len(verified) == 0:
            raise ValueError(
                "verified is a boolean for each row of a batch of at least one, got "
                f"{verified.dtype} of shape {tuple(verified.shape)}. Pass verified.bool()."
            )
        losses = self.row_losses(potentials, rows, noisy, clean, verified, inference, seen)
        parts = [losses[chosen].mean() for chosen in (~verified, verified) if chosen.any()]
        return torch.stack(parts).sum()

    @torch.no_grad()
    def posterior(self, potentials: Potentials, noisy: Tensor) -> Tensor:
        """E_q[ŷ | x, y], the cleaned labels of a batch, (batch, clean).

        Args:
            potentials: what the network says of the batch.
            noisy: the given labels, (batch, noisy).

        Source: Vahdat (2017), eq. 10.
        """
        fields = self.crf.fields(potentials)
        return clean_posterior(self.crf, fields, noisy, self.auxiliary, self.alpha)

    def row_losses(
        self,
        potentials: Potentials,
        rows: Tensor,
        noisy: Tensor,
        clean: Tensor,
        verified: Tensor,
        inference: Potentials | None = None,
        seen: Tensor | None = None,
    ) -> Tensor:
        """The loss of every row, (batch,); arguments as for `forward`."""
        fields = self.crf.fields(potentials)
        with torch.no_grad():
            known = fields if inference is None else self.crf.fields(inference)
            mean = posterior_mean(
                self.crf, known, noisy, self.auxiliary, self.alpha, clean, verified, seen
            )
        positive = self.crf.energy(fields, noisy, mean)
        return positive + self.negative_phase.log_partition(self.crf, fields, rows, mean)
