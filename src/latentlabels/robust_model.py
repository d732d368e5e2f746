"""The trained model: network, CRF and auxiliary, and the two questions one asks of it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from latentlabels.model.pairwise import Fields, PairwiseCRF
from latentlabels.model.posterior import Auxiliary, clean_posterior, require_same_units
from latentlabels.model.schedule import GibbsSchedule
from latentlabels.sampling.prediction import PREDICTION, clean_marginals


class RobustModel(nn.Module):
    """A classifier p(ŷ | x) and a cleaner q(ŷ | x, y).

    Args:
        network: from a batch of examples to their potentials.
        crf: the pairwise model.
        auxiliary: what is known of noisy → clean.
        alpha: weight of the auxiliary in the posterior.
        prediction: schedule of the chains that predict, where the model is too large to sum.
        seed: of those chains.
    """

    def __init__(
        self,
        network: nn.Module,
        crf: PairwiseCRF,
        auxiliary: Auxiliary,
        *,
        alpha: float,
        prediction: GibbsSchedule = PREDICTION,
        seed: int = 0,
    ) -> None:
        super().__init__()
        require_same_units(crf, auxiliary)
        self.network = network
        self.crf = crf
        self.auxiliary = auxiliary
        self.alpha = alpha
        self.prediction = prediction
        self.seed = seed

    def fields(self, x: Tensor) -> Fields:
        """The fields on both layers for a batch of examples."""
        return self.crf.fields(self.network(x))

    @torch.no_grad()
    def predict_mean(self, x: Tensor, rows: Tensor) -> Tensor:
        """E[ŷ | x], (batch, clean); `rows` (batch,) key the random numbers."""
        return clean_marginals(
            self.crf, self.fields(x), rows, schedule=self.prediction, seed=self.seed
        )

    @torch.no_grad()
    def clean_mean(self, x: Tensor, noisy: Tensor) -> Tensor:
        """E_q[ŷ | x, y], the cleaned label, (batch, clean), for given labels (batch, noisy)."""
        return clean_posterior(self.crf, self.fields(x), noisy, self.auxiliary, self.alpha)

    @torch.no_grad()
    def start_from_labels(self, noisy_mean: Tensor, *, weights: bool = True) -> None:
        """Start the CRF at what the labels alone say.

        With the auxiliary's weights, q is the auxiliary's before the network has learnt anything.
        The paper's start, without them, has the right frequencies and no pairwise term.

        Args:
            noisy_mean: smoothed frequencies of the noisy units in the training rows, (noisy,).
            weights: whether to start the pairwise terms at the auxiliary's weights.
        """
        clean = self.crf.clean.size
        known = self.auxiliary.latent_logits(noisy_mean)
        if weights and self.crf.pairwise:
            known = self.auxiliary.bias
            self.crf.clean_noisy.copy_(self.auxiliary.weight[:clean])
            if self.auxiliary.hidden.size:
                self.crf.hidden_noisy.copy_(self.auxiliary.weight[clean:])
                self.crf.hidden_bias.copy_(known[clean:])
        self.crf.clean_bias.copy_(known[:clean])
        # The noisy biases give every noisy unit about its frequency next to the latent units' usual
        # pull on it.
        latent = self.crf.latent.mean(self.crf.latent_logits(self.crf.fields(), noisy_mean))
        pull = (latent @ self.crf.weight).squeeze(0)
        self.crf.noisy_bias.copy_(self.crf.noisy.logits_of(noisy_mean) - pull)
