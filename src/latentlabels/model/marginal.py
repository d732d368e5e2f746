"""log Z(x) and E[ŷ, h | x] in closed form, where the states of one layer can be listed.

The other layer sums out of each of them by itself. For the list of latent states ℓ_k

    log Z(x) = log Σ_k exp(−F(ℓ_k | x)),        p(ℓ_k | x) = exp(−F(ℓ_k | x)) / Z(x),

and for the list of noisy states y_k, where those are the fewer,

    log Z(x) = log Σ_k exp(−F(y_k | x)),        E[ℓ | x] = Σ_k p(y_k | x) E[ℓ | y_k, x].

Without pairwise terms the two layers are independent, and nothing needs listing.
"""

from __future__ import annotations

import torch
from torch import Tensor

from latentlabels.model.pairwise import Fields, PairwiseCRF

LARGEST_LIST = 4096
LARGEST_TABLE = 2**18


def is_tractable(crf: PairwiseCRF) -> bool:
    """Whether log Z(x) is cheap.

    That is, without pairwise terms, or where one layer has at most 4,096 states and an example
    needs at most 2¹⁸ logits of the other.
    """
    latent, noisy = _table_sizes(crf)
    return not crf.pairwise or min(latent, noisy) <= LARGEST_TABLE


def log_partition(crf: PairwiseCRF, fields: Fields) -> Tensor:
    """log Z(x) of a tractable model for a batch of fields, (batch,)."""
    if not crf.pairwise:
        return crf.latent.log_partition(fields.latent) + crf.noisy.log_partition(fields.noisy)
    if _lists_latent(crf):
        return torch.logsumexp(_latent_log_weights(crf, fields, _states_of_latent(crf, fields)), -1)
    return torch.logsumexp(_noisy_log_weights(crf, fields, _states_of_noisy(crf, fields)), -1)


def latent_mean(crf: PairwiseCRF, fields: Fields) -> Tensor:
    """E[ŷ, h | x] of a tractable model for a batch of fields, (batch, latent)."""
    if not crf.pairwise:
        return crf.latent.mean(fields.latent)
    if _lists_latent(crf):
        states = _states_of_latent(crf, fields)
        return torch.softmax(_latent_log_weights(crf, fields, states), -1) @ states
    states = _states_of_noisy(crf, fields)
    weights = torch.softmax(_noisy_log_weights(crf, fields, states), -1)[:, None]
    means = crf.latent.mean(crf.latent_logits(fields.per_chain(), states))
    return (weights @ means).squeeze(1)


def _table_sizes(crf: PairwiseCRF) -> tuple[float, float]:
    """Logits an example needs if the latent, or the noisy, states are listed; ∞ beyond the list."""
    sizes = []
    for listed, other in ((crf.latent, crf.noisy), (crf.noisy, crf.latent)):
        states = listed.configurations_count
        sizes.append(states * other.size if states <= LARGEST_LIST else float("inf"))
    return sizes[0], sizes[1]


def _lists_latent(crf: PairwiseCRF) -> bool:
    latent, noisy = _table_sizes(crf)
    return latent <= noisy


def _states_of_latent(crf: PairwiseCRF, fields: Fields) -> Tensor:
    return crf.latent.configurations().to(fields.latent)  # (states, latent)


def _states_of_noisy(crf: PairwiseCRF, fields: Fields) -> Tensor:
    return crf.noisy.configurations().to(fields.latent)  # (states, noisy)


def _latent_log_weights(crf: PairwiseCRF, fields: Fields, states: Tensor) -> Tensor:
    """−F(ℓ_k | x), (batch, states)."""
    # Term by term: f_y may be shared by the batch, and is then summed out once.
    noisy_logits = fields.noisy[:, None] + states @ crf.weight  # (batch or 1, states, noisy)
    return fields.latent @ states.T + crf.noisy.log_partition(noisy_logits)


def _noisy_log_weights(crf: PairwiseCRF, fields: Fields, states: Tensor) -> Tensor:
    """−F(y_k | x), (batch, states)."""
    return -crf.free_energy(fields.per_chain(), states)
