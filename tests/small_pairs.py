"""Verified pairs: drawn from a small model, or with labels that hardly occur."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.sparse import csr_array

from latentlabels.auxiliary.pairs import Pairs
from latentlabels.model.exact import ExactJoint, exact_joint
from latentlabels.model.pairwise import PairwiseCRF, Potentials
from latentlabels.model.units import Bernoulli, Categorical, Units


def pairs_of(noisy_units: Units, clean_units: Units, noisy: ArrayLike, clean: ArrayLike) -> Pairs:
    """Pairs from the states of both layers, (pairs, noisy) and (pairs, clean)."""
    return Pairs(
        noisy_units,
        clean_units,
        csr_array(np.asarray(noisy, np.float32)),
        np.asarray(clean, np.float32),
    )


def rbm_joint(rbm: PairwiseCRF) -> ExactJoint:
    """The states of a model that no example bears on."""
    return exact_joint(rbm, Potentials(torch.zeros(1, rbm.clean.size, dtype=torch.float64)))


def draw_pairs(rbm: PairwiseCRF, count: int, seed: int = 0) -> Pairs:
    """Independent draws of (y, ŷ) from the list of all states."""
    joint = rbm_joint(rbm)
    probability = joint.log_probability.exp().detach().numpy().ravel()
    generator = np.random.default_rng(seed)
    drawn = generator.choice(len(probability), count, p=probability / probability.sum())
    latent, noisy = np.divmod(drawn, len(joint.noisy))
    return pairs_of(rbm.noisy, rbm.clean, joint.noisy[noisy], joint.clean[latent])


def rare_labels(count: int) -> Pairs:
    """Of five noisy labels one always, one once, one never; of four clean one once, one never."""
    generator = np.random.default_rng(0)
    clean = generator.random((count, 4)) < [0.5, 0.3, 0, 0]
    clean[0, 2] = True
    noisy = np.zeros((count, 5), bool)
    noisy[:, :2] = clean[:, :2] ^ (generator.random((count, 2)) < 0.1)
    noisy[:, 2] = True
    noisy[0, 3] = True
    return pairs_of(Bernoulli(5), Bernoulli(4), noisy, clean)


def rare_classes(count: int) -> Pairs:
    """Of five noisy classes, one once and two never; of four clean ones, one once and one never."""
    generator = np.random.default_rng(0)
    clean = generator.integers(0, 2, count)
    noisy = clean ^ (generator.random(count) < 0.1)
    clean[0], noisy[0] = 2, 3
    return pairs_of(Categorical(5), Categorical(4), np.eye(5)[noisy], np.eye(4)[clean])
