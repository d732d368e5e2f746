"""How fast block Gibbs is here, beside others on the same weights and beside its products alone.

    pip install rbms thrml jax scikit-learn
    python benchmarks/sampler.py --threads 1

One batch of the paper's: 32 rows of 50 chains, 73 clean, 200 hidden and 1,000 noisy units. A sweep
draws each of a chain's 1,273 units once. The others know one set of biases, so all rows have the
same. What all are measured against is the two matrix products of a sweep, by torch in bfloat16,
over all chains at once.

Contestants take turns. A ratio is the median over rounds of what was measured in the same round.
All go on from the same settled states, whose law they have to keep. The machine has to be idle:
where a core is taken, products that wait for each other's threads lose more than others do.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from statistics import median
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from latentlabels.model.pairwise import Fields, PairwiseCRF
from latentlabels.model.schedule import Sampler
from latentlabels.model.units import Bernoulli
from latentlabels.sampling.gibbs import run_gibbs
from latentlabels.sampling.uniforms import Purpose, Uniforms

ROWS, CHAINS_A_ROW = 32, 50
CLEAN, HIDDEN, NOISY = 73, 200, 1000
CHAINS, LATENT = ROWS * CHAINS_A_ROW, CLEAN + HIDDEN
THRML_BATCH = 64
"""Chains that THRML runs side by side: with all of them it takes twice as long."""

State = tuple[Any, ...]
"""The noisy layer and what else a contestant goes on from; empty where nothing is drawn."""
Contestant = tuple[Callable[[State, int], State], State]
"""What advances a state by a number of sweeps, and the first state."""
Rates = dict[str, list[float]]
"""Million unit updates a second, of every contestant in every round."""


class Scene(NamedTuple):
    """An RBM and the states of its chains."""

    weight: Tensor  # (LATENT, NOISY)
    latent_bias: Tensor  # (LATENT,)
    noisy_bias: Tensor  # (NOISY,)
    latent: Tensor  # (CHAINS, LATENT)
    noisy: Tensor  # (CHAINS, NOISY)


def settled(clean: float, hidden: float, noisy: float) -> Scene:
    """A scene of these biases, and states after 100 sweeps."""
    generator = torch.Generator().manual_seed(0)
    scene = Scene(
        weight=0.1 * torch.randn(LATENT, NOISY, generator=generator),
        latent_bias=torch.tensor([clean] * CLEAN + [hidden] * HIDDEN),
        noisy_bias=torch.full((NOISY,), noisy),
        latent=torch.randint(2, (CHAINS, LATENT), generator=generator).float(),
        noisy=torch.zeros(CHAINS, NOISY),
    )
    advance, start = ours(scene, "float32")
    last_noisy, last_latent, _ = advance(start, 100)
    return scene._replace(noisy=last_noisy.flatten(0, 1), latent=last_latent.flatten(0, 1))


def ours(scene: Scene, sampler: Sampler) -> Contestant:
    """The package's own sampler."""
    crf = PairwiseCRF(Bernoulli(NOISY), Bernoulli(CLEAN), HIDDEN)
    with torch.no_grad():
        crf.clean_noisy.copy_(scene.weight[:CLEAN])
        crf.hidden_noisy.copy_(scene.weight[CLEAN:])
    fields = Fields(scene.latent_bias.expand(ROWS, -1), scene.noisy_bias[None])
    uniforms = Uniforms(0, Purpose.SWEEP, torch.arange(ROWS), CHAINS_A_ROW)

    def advance(state: State, sweeps: int) -> State:
        _, latent, done = state
        run = run_gibbs(
            crf, fields, latent, uniforms, done, sweeps=sweeps, burn_in=sweeps, sampler=sampler
        )
        return run.noisy, run.latent, done + sweeps

    latent = scene.latent.reshape(ROWS, CHAINS_A_ROW, LATENT)
    return advance, (scene.noisy, latent, torch.zeros(ROWS, dtype=torch.int64))


def products(scene: Scene, dtype: torch.dtype) -> Contestant:
    """The two matrix products of a sweep, and nothing else."""
    weight, noisy, latent = (part.to(dtype) for part in (scene.weight, scene.noisy, scene.latent))
    transposed = weight.T.contiguous()
    noisy_sums, latent_sums = torch.empty_like(noisy), torch.empty_like(latent)

    def advance(state: State, sweeps: int) -> State:
        for _ in range(sweeps):
            torch.mm(latent, weight, out=noisy_sums)
            torch.mm(noisy, transposed, out=latent_sums)
        return state

    return advance, ()


def torch_loop(scene: Scene) -> Contestant:
    """What one writes first."""

    def draw(logits: Tensor) -> Tensor:
        return (torch.rand_like(logits) < torch.sigmoid(logits)).float()

    def advance(state: State, sweeps: int) -> State:
        noisy, latent = state
        for _ in range(sweeps):
            noisy = draw(scene.noisy_bias + latent @ scene.weight)
            latent = draw(scene.latent_bias + noisy @ scene.weight.T)
        return noisy, latent

    return advance, (scene.noisy, scene.latent)


def jax_loop(scene: Scene) -> Contestant:
    """The same in JAX, compiled as a whole."""
    import jax  # type: ignore[import-not-found]

    weight, latent_bias, noisy_bias, latent, noisy = map(jax.numpy.asarray, scene)

    def draw(key: Any, logits: Any) -> Any:
        drawn = jax.random.uniform(key, logits.shape) < jax.nn.sigmoid(logits)
        return drawn.astype(logits.dtype)

    def sweep(_: int, state: State) -> State:
        _, latent, key = state
        key, first, second = jax.random.split(key, 3)
        noisy = draw(first, noisy_bias + latent @ weight)
        return noisy, draw(second, latent_bias + noisy @ weight.T), key

    run = jax.jit(lambda state, sweeps: jax.lax.fori_loop(0, sweeps, sweep, state))
    start = noisy, latent, jax.random.key(0)
    return lambda state, sweeps: jax.block_until_ready(run(state, sweeps)), start


def scikit_learn(scene: Scene) -> Contestant:
    """BernoulliRBM.gibbs, which draws the latent layer first."""
    from sklearn.neural_network import BernoulliRBM

    rbm = BernoulliRBM(LATENT, random_state=0)
    rbm.components_ = np.asfortranarray(scene.weight.numpy())  # the order that its fit leaves
    rbm.intercept_hidden_ = scene.latent_bias.numpy()
    rbm.intercept_visible_ = scene.noisy_bias.numpy()

    def advance(state: State, sweeps: int) -> State:
        (noisy,) = state
        for _ in range(sweeps):
            noisy = rbm.gibbs(noisy)
        return (noisy,)

    return advance, (scene.noisy.numpy(),)


def rbms(scene: Scene) -> Contestant:
    """The package rbms, which draws the latent layer once more at the end of a call."""
    from rbms.bernoulli_bernoulli.classes import BBRBM  # type: ignore[import-not-found]

    rbm = BBRBM(scene.weight.T.contiguous(), scene.noisy_bias, scene.latent_bias)

    def advance(state: State, sweeps: int) -> State:
        noisy, weights = state
        chains = rbm.sample_state({"visible": noisy, "weights": weights}, sweeps)
        return chains["visible"], chains["weights"]

    return advance, (scene.noisy, torch.ones(CHAINS))


def thrml_ising(scene: Scene) -> Contestant:
    """THRML's Ising model of two blocks, with spins s = 2y − 1: J = V / 4, b = f / 2 + Σ V / 4."""
    import jax
    import thrml.models  # type: ignore[import-not-found]

    noisy, latent = ([thrml.SpinNode() for _ in range(size)] for size in (NOISY, LATENT))
    noisy_bias = scene.noisy_bias / 2 + scene.weight.sum(0) / 4
    latent_bias = scene.latent_bias / 2 + scene.weight.sum(1) / 4
    model = thrml.models.IsingEBM(
        noisy + latent,
        [(one, other) for one in latent for other in noisy],
        jax.numpy.asarray(torch.cat([noisy_bias, latent_bias])),
        jax.numpy.asarray(scene.weight.flatten() / 4),
        jax.numpy.asarray(1.0),
    )
    blocks = [thrml.Block(noisy), thrml.Block(latent)]
    program = thrml.models.IsingSamplingProgram(model, blocks, [])

    def run(state: State, sweeps: int) -> State:
        *layers, key = state
        key, own = jax.random.split(key)
        schedule = thrml.SamplingSchedule(n_warmup=sweeps, n_samples=1, steps_per_sample=1)

        def one(chain: Any) -> Any:
            return thrml.sample_states(chain[0], program, schedule, chain[1], [], blocks)

        chains = jax.random.split(own, CHAINS), layers
        noisy, latent = jax.lax.map(one, chains, batch_size=THRML_BATCH)
        return noisy[:, 0], latent[:, 0], key

    compiled = jax.jit(run, static_argnums=1)
    states = (jax.numpy.asarray(layer.bool()) for layer in (scene.noisy, scene.latent))
    start = *states, jax.random.key(0)
    return lambda state, sweeps: jax.block_until_ready(compiled(state, sweeps)), start


OURS, BOUND = "ours, bfloat16", "products alone, bfloat16"
PACKAGES = ("scikit-learn", "rbms", "THRML")
CONTESTANTS: Final[dict[str, tuple[Callable[[Scene], Contestant], int]]] = {
    OURS: (partial(ours, sampler="bfloat16"), 50),
    "ours, float32": (partial(ours, sampler="float32"), 50),
    BOUND: (partial(products, dtype=torch.bfloat16), 50),
    "products alone, float32": (partial(products, dtype=torch.float32), 50),
    "loop in torch": (torch_loop, 20),
    "loop in JAX": (jax_loop, 20),
    "scikit-learn": (scikit_learn, 10),
    "rbms": (rbms, 20),
    "THRML": (thrml_ising, 1),
}
"""How each is built, and sweeps a call: enough that a call by itself costs next to nothing."""
DENSE, SPARSE = "dense", "sparse"
SCENES: Final = {
    DENSE: (0.0, 0.0, 0.0),
    SPARSE: (0.0, 0.0, -4.8),
    "sparse in both layers": (-3.0, -2.0, -4.3),
}
"""Biases of the clean, the hidden and the noisy units."""


def race(scene: Scene, rounds: int) -> Rates:
    """The rates of all contestants that are installed."""
    entered: dict[str, Contestant] = {}
    for name, (build, sweeps) in CONTESTANTS.items():
        with suppress(ModuleNotFoundError):
            advance, start = build(scene)
            entered[name] = advance, advance(start, sweeps)  # The first call compiles.
    rates: Rates = {name: [] for name in entered}
    for number in range(rounds):
        # Which goes first changes, so that none always finds the machine warm.
        for name in sorted(entered, reverse=bool(number % 2)):
            (advance, state), sweeps = entered[name], CONTESTANTS[name][1]
            begun = time.perf_counter()
            entered[name] = advance, advance(state, sweeps)
            seconds = time.perf_counter() - begun
            rates[name].append(CHAINS * (NOISY + LATENT) * sweeps / seconds / 1e6)
    for name, (_, state) in entered.items():
        if state:
            check(name, scene, np.asarray(state[0]).reshape(CHAINS, NOISY))
    return rates


def check(name: str, scene: Scene, noisy: Any) -> None:
    """Raise where the noisy layer is not as active as the settled one, by five standard errors."""
    before, after = scene.noisy.numpy().sum(1), noisy.sum(1)
    tolerance = 5 * np.hypot(before.std(), after.std()) / CHAINS**0.5
    assert abs(after.mean() - before.mean()) <= tolerance, (
        f"{name} follows another law: {after.mean():.2f} noisy units are active, and "
        f"{before.mean():.2f} ± {tolerance:.2f} were wanted."
    )


def ratio(rates: Rates, name: str, other: str) -> float:
    """How many times as fast the one is as the other."""
    return median(a / b for a, b in zip(rates[name], rates[other], strict=True))


def report(name: str, scene: Scene, rates: Rates) -> None:
    """Print a scene's rates in Markdown."""
    noisy, latent = (layer.sum(1).mean().item() for layer in (scene.noisy, scene.latent))
    print(f"\n{name}: {noisy:.1f} of {NOISY} noisy, {latent:.1f} of {LATENT} latent units active\n")
    print(f"| | million updates a second | it / {BOUND} | {OURS} / it |\n|---|---:|---:|---:|")
    for contestant, own in rates.items():
        ratios = ratio(rates, contestant, BOUND), ratio(rates, OURS, contestant)
        print(f"| {contestant} | {max(own):.1f} | {ratios[0]:.3f} | {ratios[1]:.2f} |")


def main(argv: list[str] | None = None) -> None:
    """Run every scene and print its table, and then what they say of the sampler."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args(argv)
    torch.manual_seed(0)
    torch.set_num_threads(arguments.threads)
    threadpool_limits(arguments.threads)
    os.environ["PJRT_NPROC"] = str(arguments.threads)  # JAX reads it when it is imported.
    print(f"threads: {arguments.threads}, rounds: {arguments.rounds}")
    results: dict[str, Rates] = {}
    for name, biases in SCENES.items():
        scene = settled(*biases)
        results[name] = race(scene, arguments.rounds)
        report(name, scene, results[name])
    if missing := CONTESTANTS.keys() - results[DENSE].keys():
        print(f"\nLeft out: {', '.join(sorted(missing))}. pip install rbms thrml jax scikit-learn")
    best = min(ratio(results[DENSE], OURS, name) for name in PACKAGES if name in results[DENSE])
    bounds = ", ".join(f"{ratio(results[name], OURS, BOUND):.2f}" for name in (DENSE, SPARSE))
    print(f"\nours / best RBM package (dense): {best:.1f}")
    print(f"ours / bfloat16 products (dense, sparse): {bounds}")


if __name__ == "__main__":
    main()
