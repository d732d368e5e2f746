"""Frozen plans: how α falls during training, and how long chains run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, get_args

Sampler = Literal["auto", "reference", "float32", "bfloat16"]
SAMPLERS: Final[tuple[Sampler, ...]] = get_args(Sampler)


@dataclass(frozen=True)
class AlphaSchedule:
    """α falls linearly from `start` to `end` over the first epochs, and stays there.

    Args:
        start: α at the beginning of training.
        end: α from epoch `epochs` on; the paper stops above zero, so that the auxiliary never
            lets go.
        epochs: length of the fall in epochs; 0 starts at `end`.

    Source: Vahdat (2017), section 3.1; 40 → 5 in 11 epochs on COCO, 8 → 1 in 10 on CIFAR-10.
    """

    start: float
    end: float
    epochs: float

    def __post_init__(self) -> None:
        if not (math.inf > self.start >= self.end >= 0 and math.inf > self.epochs >= 0):
            raise ValueError(
                "alpha falls from start to end, both at least 0, in at least 0 epochs; got "
                f"start={self.start}, end={self.end}, epochs={self.epochs}."
            )

    def at(self, epoch: float) -> float:
        """α after `epoch` epochs; a fraction is part of an epoch."""
        done = 1.0 if self.epochs == 0 else min(epoch / self.epochs, 1.0)
        return self.start + (self.end - self.start) * done


@dataclass(frozen=True)
class GibbsSchedule:
    """How many chains an example has, and how long they run at a time.

    Args:
        chains: chains an example.
        sweeps: sweeps of both layers a run.
        burn_in: sweeps of the run that are left out of averages.
        adaptive: whether persistent chains may stop earlier, once they have forgotten where the
            run began; `sweeps` is then the most they run.
        sampler: what draws them (`sampling.gibbs.chosen_products`).
    """

    chains: int = 50
    sweeps: int = 100
    burn_in: int = 0
    adaptive: bool = False
    sampler: Sampler = "auto"

    def __post_init__(self) -> None:
        if self.chains < 1 or not 0 <= self.burn_in < self.sweeps:
            raise ValueError(
                "Gibbs sampling needs at least one chain and more sweeps than burn-in; got "
                f"chains={self.chains}, sweeps={self.sweeps}, burn_in={self.burn_in}."
            )
        if self.sampler not in SAMPLERS:
            raise ValueError(f"sampler is one of {', '.join(SAMPLERS)}; got {self.sampler!r}.")
