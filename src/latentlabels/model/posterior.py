"""The variational posterior q(ŷ, h | y, x), and the auxiliary that pulls it.

Every auxiliary used here maps y to natural parameters by an affine map, as the CRF does, so the
geometric mean of the two is factorial and takes one line:

    logits of q = [ f_ℓ + V y  +  α (f_aux + V_aux y) ] / (1 + α)

Source: Vahdat (2017), eqs. 10 and 11.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from latentlabels.model.pairwise import Fields, PairwiseCRF
from latentlabels.model.units import Bernoulli, Units


class Auxiliary(nn.Module):
    """p_aux(ŷ, h | y): what is known of the way from noisy to clean labels without a look at x.

    An auxiliary that was fitted without hidden units says nothing of h, and leaves q(h) to the CRF.

    Args:
        noisy: the units of the noisy labels.
        clean: the units of the clean labels.
        bias: f_aux, (clean,) or (clean + hidden,).
        weight: V_aux, (clean, noisy) or (clean + hidden, noisy).
        kind: how it came about, for reports: "rbm", "transition", "regression".

    Raises:
        ValueError: bias or weight of another shape, or with a number that is not finite.
    """

    bias: Tensor
    weight: Tensor

    def __init__(
        self, noisy: Units, clean: Units, bias: Tensor, weight: Tensor, *, kind: str = "given"
    ) -> None:
        super().__init__()
        latent = bias.shape[0] if bias.ndim == 1 else -1
        if latent < clean.size or weight.shape != (latent, noisy.size):
            raise ValueError(
                f"An auxiliary from {noisy.size} noisy to {clean.size} clean units needs a bias of "
                f"at least ({clean.size},) and a weight of (len(bias), {noisy.size}), got "
                f"{tuple(bias.shape)} and {tuple(weight.shape)}."
            )
        if not (torch.isfinite(bias).all() and torch.isfinite(weight).all()):
            raise ValueError(
                "An auxiliary needs finite numbers, got NaN or infinity. "
                "Smooth the probabilities that it was made from."
            )
        self.noisy = noisy
        self.clean = clean
        self.hidden = Bernoulli(latent - clean.size)
        self.kind = kind
        self.register_buffer("bias", bias.detach().clone(memory_format=torch.contiguous_format))
        self.register_buffer("weight", weight.detach().clone(memory_format=torch.contiguous_format))

    def latent_logits(self, noisy: Tensor) -> Tensor:
        """Natural parameters of p_aux(ŷ, h | y), f_aux + V_aux y, for noisy labels (..., noisy)."""
        return self.bias + noisy @ self.weight.T

    def clean_logits(self, noisy: Tensor) -> Tensor:
        """The clean units' share of `latent_logits`, (..., clean)."""
        return self.latent_logits(noisy)[..., : self.clean.size]

    def without_hidden(self) -> Auxiliary:
        """The same of the clean units alone."""
        clean = self.clean.size
        return Auxiliary(
            self.noisy, self.clean, self.bias[:clean], self.weight[:clean], kind=self.kind
        )

    def clean_mean(self, noisy: Tensor) -> Tensor:
        """E[ŷ | y] under the auxiliary alone, (..., clean)."""
        return self.clean.mean(self.clean_logits(noisy))


def posterior_logits(
    crf: PairwiseCRF,
    fields: Fields,
    noisy: Tensor,
    auxiliary: Auxiliary,
    alpha: float,
    seen: Tensor | None = None,
) -> Tensor:
    """Natural parameters of q(ŷ, h | y, x) on noisy rows.

    Args:
        crf: the model.
        fields: its fields for the batch.
        noisy: the given labels, (batch, noisy).
        auxiliary: what is known of noisy → clean; without hidden units it bears on ŷ alone.
        alpha: the auxiliary's weight: 0 is the CRF's own posterior, infinity the auxiliary's.
        seen: what else is known of the clean units, as natural parameters that are added to the
            auxiliary's, (batch, clean): evidence that does not hang on y, given ŷ.

    Returns:
        (batch, latent).

    Source: Vahdat (2017), eq. 10.
    """
    share = auxiliary_share(alpha)
    own = crf.latent_logits(fields, noisy)
    known = auxiliary.latent_logits(noisy)
    covered = known.shape[-1]
    if seen is not None:
        known = known + nn.functional.pad(seen, (0, covered - seen.shape[-1]))
    pulled = torch.lerp(own[..., :covered], known, share)
    return torch.cat([pulled, own[..., covered:]], -1)


class LabelEvidence(NamedTuple):
    """What labels say of the clean units, `constant + weight y` in natural parameters.

    Attributes:
        constant: what is said of every row, (clean,).
        weight: what each noisy unit that is on adds, (clean, noisy).
        auxiliary_constant: the auxiliary's part of `constant`.
        auxiliary_weight: the auxiliary's part of `weight`.
    """

    constant: Tensor
    weight: Tensor
    auxiliary_constant: Tensor
    auxiliary_weight: Tensor

    def scaled(self, by: float | Tensor) -> LabelEvidence:
        """The same with all natural parameters times a number, or one for each clean unit."""
        column = by[:, None] if isinstance(by, Tensor) else by
        return LabelEvidence(
            by * self.constant,
            column * self.weight,
            by * self.auxiliary_constant,
            column * self.auxiliary_weight,
        )


def label_evidence(crf: PairwiseCRF, auxiliary: Auxiliary, alpha: float) -> LabelEvidence:
    """The part of q(ŷ | y, x)'s natural parameters that no example has a part in.

    What remains of `posterior_logits` is the example's: a(x) / (1 + α) + `seen` α / (1 + α).

    Args:
        crf: the model.
        auxiliary: what is known of noisy → clean.
        alpha: the auxiliary's weight.
    """
    share, clean = auxiliary_share(alpha), crf.clean.size
    known_bias = share * auxiliary.bias[:clean]
    known_weight = share * auxiliary.weight[:clean]
    return LabelEvidence(
        (1 - share) * crf.clean_bias + known_bias,
        (1 - share) * crf.clean_noisy + known_weight,
        known_bias,
        known_weight,
    )


def auxiliary_share(alpha: float) -> float:
    """α / (1 + α), what the auxiliary has of q's natural parameters."""
    return 1.0 if math.isinf(alpha) else alpha / (1.0 + alpha)


def clean_posterior(
    crf: PairwiseCRF,
    fields: Fields,
    noisy: Tensor,
    auxiliary: Auxiliary,
    alpha: float,
    seen: Tensor | None = None,
) -> Tensor:
    """E_q[ŷ | x, y], the cleaned labels, (batch, clean); arguments as for `posterior_logits`."""
    logits = posterior_logits(crf, fields, noisy, auxiliary, alpha, seen)
    return crf.clean.mean(logits[:, : crf.clean.size])


def posterior_mean(
    crf: PairwiseCRF,
    fields: Fields,
    noisy: Tensor,
    auxiliary: Auxiliary,
    alpha: float,
    clean: Tensor,
    verified: Tensor,
    seen: Tensor | None = None,
) -> Tensor:
    """E_q[ŷ, h]: on verified rows ŷ is given and only h is inferred.

    Args:
        crf: the model.
        fields: its fields for the batch.
        noisy: the given labels, (batch, noisy).
        auxiliary: what is known of noisy → clean.
        alpha: the auxiliary's weight.
        clean: clean labels, (batch, clean); read on verified rows only.
        verified: which rows' clean labels may be read, booleans (batch,).
        seen: as for `posterior_logits`.

    Returns:
        (batch, latent).

    Source: Vahdat (2017), eqs. 10 and 11.
    """
    mean = crf.latent.mean(posterior_logits(crf, fields, noisy, auxiliary, alpha, seen))
    inferred, hidden = mean.split([crf.clean.size, crf.hidden.size], -1)
    known = torch.where(verified[:, None], clean.to(inferred.dtype), inferred)
    return torch.cat([known, hidden], -1)


def require_same_units(crf: PairwiseCRF, auxiliary: Auxiliary) -> None:
    """Check that an auxiliary speaks of the CRF's units.

    Raises:
        ValueError: other noisy or clean units, or hidden units of another number.
    """
    mine = (crf.noisy, crf.clean)
    if mine != (auxiliary.noisy, auxiliary.clean):
        raise ValueError(
            f"The auxiliary joins {auxiliary.noisy} to {auxiliary.clean}, the model {crf.noisy} to "
            f"{crf.clean}. Fit the auxiliary on the model's own units."
        )
    if auxiliary.hidden.size not in (0, crf.hidden.size):
        raise ValueError(
            f"The auxiliary has {auxiliary.hidden.size} hidden units, the model {crf.hidden.size}. "
            "Give both the same number, or the auxiliary none."
        )
