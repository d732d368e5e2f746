"""The fused CPU path of block Gibbs: one pass over a chain draws, compares and sums.

Nothing is allocated inside a sweep. It draws the same uniform numbers as the torch reference and
gives the same states, up to rounding where a uniform number and a probability tie. A layer's field
is summed over the *active* units opposite alone, which is what makes sparse labels cheap.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from latentlabels.model.pairwise import Fields, PairwiseCRF
from latentlabels.model.units import Bernoulli, Categorical, Joint, Units
from latentlabels.sampling.uniforms import (
    FLOAT24,
    MULTIPLIERS,
    ROUNDS,
    WEYL,
    WORDS_A_BLOCK,
    Uniforms,
)

M0, M1 = np.uint64(MULTIPLIERS[0]), np.uint64(MULTIPLIERS[1])
W0, W1 = np.uint32(WEYL[0]), np.uint32(WEYL[1])
HIGH = np.uint64(32)
SCALE24 = np.float32(FLOAT24)

LOG2_E = np.float32(1.4426950408889634)
LARGEST_EXPONENT = np.float32(126.0)
# Taylor coefficients of 2^r, ln(2)^k / k!; on |r| <= 1/2 the rest after degree 6 is below 2e-7 of
# the value.
EXP2 = tuple(np.float32(np.log(2.0) ** k / float(np.prod(range(1, k + 1)))) for k in range(7))

Floats = NDArray[np.float32]

# numpy's error model: a division that checks for zero does not vectorise.
compiled = njit(nogil=True, cache=True, error_model="numpy")


def run_fused(
    crf: PairwiseCRF,
    fields: Fields,
    latent: Tensor,
    uniforms: Uniforms,
    done: Tensor,
    *,
    sweeps: int,
    burn_in: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What `gibbs.run_gibbs` does, for float32 on the CPU, with rows split over torch's threads.

    Returns:
        latent, noisy, latent_mean and average, as in `gibbs.GibbsRun`.
    """
    rows, chains = latent.shape[:2]
    weight = crf.weight.detach().contiguous()
    state = latent.clone(memory_format=torch.contiguous_format)
    noisy = torch.empty(rows, chains, crf.noisy.size)
    mean = torch.empty_like(state)
    average = torch.zeros(rows, crf.latent.size)
    noisy_fields = fields.noisy.expand(rows, -1).contiguous()
    latent_fields = fields.latent.expand(rows, -1).contiguous()
    shared = (
        weight.numpy(),
        weight.T.contiguous().numpy(),
        _groups(crf.noisy),
        _groups(crf.latent),
    )

    def run(part: slice) -> None:
        _run_rows(
            *shared,
            noisy_fields[part].numpy(),
            latent_fields[part].numpy(),
            state[part].numpy(),
            noisy[part].numpy(),
            mean[part].numpy(),
            average[part].numpy(),
            uniforms.rows[part].numpy(),
            done[part].numpy(),
            np.uint32(uniforms.seed),
            np.uint32(uniforms.purpose),
            sweeps,
            burn_in,
        )

    threads = max(1, min(torch.get_num_threads(), rows))
    bounds = np.linspace(0, rows, threads + 1).astype(int)
    parts = [slice(start, stop) for start, stop in pairwise(bounds)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(run, parts))
    return state, noisy, mean, average


def _groups(units: Units) -> NDArray[np.int64]:
    """A layer as rows of (first column, past the last column, 1 for one-of-n or 0 for bits)."""
    groups: list[tuple[int, int, int]] = []

    def add(part: Units, start: int) -> int:
        if isinstance(part, Joint):
            for inner in part.parts:
                start = add(inner, start)
            return start
        if not isinstance(part, Bernoulli | Categorical):
            raise TypeError(
                f"The fused sampler knows Bernoulli, Categorical and Joint, not {part!r}."
            )
        groups.append((start, start + part.size, int(isinstance(part, Categorical))))
        return start + part.size

    add(units, 0)
    return np.array(groups, dtype=np.int64).reshape(-1, 3)


@compiled
def _fill_uniforms(
    out: Floats,
    seed: np.uint32,
    purpose: np.uint32,
    layer: int,
    sweep: np.uint32,
    chain: np.uint32,
    row: np.uint32,
) -> None:
    for block in range(out.shape[0] // WORDS_A_BLOCK):
        c0, c1, c2, c3 = np.uint32(2 * block + layer), sweep, chain, row
        k0, k1 = seed, purpose
        for _ in range(ROUNDS):
            first, second = np.uint64(c0) * M0, np.uint64(c2) * M1
            c0 = np.uint32(second >> HIGH) ^ c1 ^ k0
            c2 = np.uint32(first >> HIGH) ^ c3 ^ k1
            c1, c3 = np.uint32(second), np.uint32(first)
            k0, k1 = np.uint32(k0 + W0), np.uint32(k1 + W1)
        out[4 * block] = np.float32(c0 >> np.uint32(8)) * SCALE24
        out[4 * block + 1] = np.float32(c1 >> np.uint32(8)) * SCALE24
        out[4 * block + 2] = np.float32(c2 >> np.uint32(8)) * SCALE24
        out[4 * block + 3] = np.float32(c3 >> np.uint32(8)) * SCALE24


@compiled
def _sigmoid(logits: Floats, out: Floats, bits: NDArray[np.int32]) -> None:
    """1 / (1 + 2^t) with t = −logit · log₂e.

    The power is split into its whole part, set as exponent bits, and a polynomial.
    """
    powers = bits.view(np.float32)
    for j in range(logits.shape[0]):
        t = -logits[j] * LOG2_E
        t = min(max(t, -LARGEST_EXPONENT), LARGEST_EXPONENT)
        whole = np.floor(t + np.float32(0.5))
        bits[j] = np.int32(whole)
        out[j] = t - whole
    for j in range(logits.shape[0]):
        bits[j] = (bits[j] + np.int32(127)) << np.int32(23)
    for j in range(logits.shape[0]):
        r = out[j]
        p = EXP2[6]
        p = p * r + EXP2[5]
        p = p * r + EXP2[4]
        p = p * r + EXP2[3]
        p = p * r + EXP2[2]
        p = p * r + EXP2[1]
        p = p * r + EXP2[0]
        out[j] = np.float32(1.0) / (np.float32(1.0) + p * powers[j])


@compiled
def _softmax(logits: Floats, out: Floats) -> None:
    highest = logits.max()
    total = np.float32(0.0)
    for j in range(logits.shape[0]):
        out[j] = np.exp(logits[j] - highest)
        total += out[j]
    for j in range(logits.shape[0]):
        out[j] /= total


@compiled
def _layer_mean(
    logits: Floats, groups: NDArray[np.int64], mean: Floats, bits: NDArray[np.int32]
) -> None:
    for g in range(groups.shape[0]):
        start, stop = groups[g, 0], groups[g, 1]
        if groups[g, 2]:
            _softmax(logits[start:stop], mean[start:stop])
        else:
            _sigmoid(logits[start:stop], mean[start:stop], bits[start:stop])


@compiled
def _compare(uniforms: Floats, mean: Floats, state: Floats) -> None:
    for j in range(state.shape[0]):
        state[j] = np.float32(1.0) if uniforms[j] < mean[j] else np.float32(0.0)


@compiled
def _layer_sample(mean: Floats, groups: NDArray[np.int64], uniforms: Floats, state: Floats) -> None:
    used = 0
    for g in range(groups.shape[0]):
        start, stop = groups[g, 0], groups[g, 1]
        if groups[g, 2]:
            total = np.float32(0.0)
            for j in range(start, stop):
                total += mean[j]
            threshold = uniforms[used] * total
            cumulative = np.float32(0.0)
            chosen = stop - 1
            for j in range(start, stop):
                state[j] = np.float32(0.0)
                cumulative += mean[j]
                if chosen == stop - 1 and cumulative > threshold:
                    chosen = j
                    threshold = np.float32(np.inf)
            state[chosen] = np.float32(1.0)
            used += 1
        else:
            _compare(uniforms[used : used + stop - start], mean[start:stop], state[start:stop])
            used += stop - start


@compiled
def _add_active(field: Floats, state: Floats, weight: Floats, logits: Floats) -> None:
    """logits = field + Σ over active units of their row of weights."""
    logits[:] = field
    for unit in range(state.shape[0]):
        if state[unit] != np.float32(0.0):
            for j in range(logits.shape[0]):
                logits[j] += weight[unit, j]


@compiled
def _draws(groups: NDArray[np.int64]) -> int:
    count = 0
    for g in range(groups.shape[0]):
        count += 1 if groups[g, 2] else groups[g, 1] - groups[g, 0]
    return count


@compiled
def _run_rows(
    weight: Floats,
    transposed: Floats,
    noisy_groups: NDArray[np.int64],
    latent_groups: NDArray[np.int64],
    noisy_fields: Floats,
    latent_fields: Floats,
    latent: Floats,
    noisy: Floats,
    latent_mean: Floats,
    average: Floats,
    rows: NDArray[np.int64],
    done: NDArray[np.int64],
    seed: np.uint32,
    purpose: np.uint32,
    sweeps: int,
    burn_in: int,
) -> None:
    latents, noisies = weight.shape
    longest = max(latents, noisies)
    logits, mean = np.empty(longest, np.float32), np.empty(longest, np.float32)
    bits = np.empty(longest, np.int32)
    # Uniforms come in blocks of four.
    for_noisy = np.empty(4 * ((_draws(noisy_groups) + 3) // 4), np.float32)
    for_latent = np.empty(4 * ((_draws(latent_groups) + 3) // 4), np.float32)
    share = np.float32(1.0 / ((sweeps - burn_in) * latent.shape[1]))
    for r in range(latent.shape[0]):
        row = np.uint32(rows[r])
        for chain in range(latent.shape[1]):
            own_latent, own_noisy = latent[r, chain], noisy[r, chain]
            own_mean = latent_mean[r, chain]
            for step in range(sweeps):
                sweep = np.uint32(done[r] + step)
                number = np.uint32(chain)
                _fill_uniforms(for_noisy, seed, purpose, 0, sweep, number, row)
                _add_active(noisy_fields[r], own_latent, weight, logits[:noisies])
                _layer_mean(logits[:noisies], noisy_groups, mean[:noisies], bits)
                _layer_sample(mean[:noisies], noisy_groups, for_noisy, own_noisy)
                _fill_uniforms(for_latent, seed, purpose, 1, sweep, number, row)
                _add_active(latent_fields[r], own_noisy, transposed, logits[:latents])
                _layer_mean(logits[:latents], latent_groups, own_mean, bits)
                _layer_sample(own_mean, latent_groups, for_latent, own_latent)
                if step >= burn_in:
                    for unit in range(latents):
                        average[r, unit] += own_mean[unit] * share
