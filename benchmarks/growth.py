"""How the sampler's cost grows: with noisy and latent units, chains and rows, over two orders.

    python benchmarks/growth.py

One quantity grows at a time, from a small model to a large one; the exponent is the slope of log
seconds on log quantity over the largest three sizes, where set-up no longer counts, and over all.
Beside it the chain store's memory and the formula rows · chains · ⌈latent / 8⌉ bytes.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace

import numpy as np
import torch

from latentlabels.model.pairwise import Fields, PairwiseCRF
from latentlabels.model.units import Bernoulli
from latentlabels.sampling.chains import BITS, ChainStore
from latentlabels.sampling.gibbs import run_gibbs
from latentlabels.sampling.uniforms import Purpose, Uniforms

SIZES = (1, 3, 10, 30, 100)
SWEEPS = 20


@dataclass(frozen=True)
class Shape:
    """The size of a run.

    Attributes:
        noisy: noisy units.
        latent: clean and hidden units.
        chains: chains a row.
        rows: rows a batch.
    """

    noisy: int
    latent: int
    chains: int
    rows: int


# What grows, and from where.
GROWING = {
    "noisy": Shape(noisy=500, latent=64, chains=20, rows=16),
    "latent": Shape(noisy=200, latent=160, chains=20, rows=16),
    "chains": Shape(noisy=500, latent=200, chains=10, rows=16),
    "rows": Shape(noisy=500, latent=200, chains=20, rows=8),
}


def seconds(shape: Shape, rounds: int) -> float:
    """The least time of a run of this shape."""
    crf = PairwiseCRF(Bernoulli(shape.noisy), Bernoulli(shape.latent))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        crf.clean_noisy.normal_(0, 0.1, generator=generator)
    fields = Fields(
        torch.randn(shape.rows, shape.latent, generator=generator),
        torch.randn(shape.rows, shape.noisy, generator=generator),
    )
    rows = torch.arange(shape.rows)
    latent = torch.zeros(shape.rows, shape.chains, shape.latent)
    numbers = Uniforms(0, Purpose.SWEEP, rows, shape.chains)
    done = torch.zeros_like(rows)
    least = np.inf
    for _ in range(rounds + 1):
        begun = time.perf_counter()
        run_gibbs(
            crf,
            fields,
            latent,
            numbers,
            done,
            sweeps=SWEEPS,
            burn_in=SWEEPS,
            sampler="float32",  # "auto" would leave bfloat16 where there are many units
        )
        least = min(least, time.perf_counter() - begun)
    return float(least)


def slope(sizes: list[int], times: list[float]) -> float:
    """The exponent of growth."""
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


def main(argv: list[str] | None = None) -> None:
    """Grow one thing after the other, and print times, exponents and memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args(argv)
    print("| grows | sizes | ms | exponent, largest | exponent, all |\n|---|---|---|---|---|")
    for name, start in GROWING.items():
        sizes = [getattr(start, name) * size for size in SIZES]
        times = [seconds(replace(start, **{name: size}), arguments.rounds) for size in sizes]
        told = " ".join(f"{1000 * each:.1f}" for each in times)
        print(
            f"| {name} | {' '.join(map(str, sizes))} | {told} | "
            f"{slope(sizes[-3:], times[-3:]):.2f} | {slope(sizes, times):.2f} |"
        )
    print("\n| rows, chains, latent | bytes | formula |\n|---|---|---|")
    for rows, chains, latent in ((1_000, 50, 273), (10_000, 50, 273), (87_000, 50, 273)):
        held = ChainStore(rows, chains, latent).bits.nbytes
        print(f"| {rows}, {chains}, {latent} | {held} | {rows * chains * -(-latent // BITS)} |")


if __name__ == "__main__":
    main()
