"""The trained model: network, CRF and auxiliary, and the two questions one asks of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from latentlabels.model.pairwise import Fields, PairwiseCRF, Potentials
from latentlabels.model.posterior import (
    Auxiliary,
    LabelEvidence,
    auxiliary_share,
    label_evidence,
    require_same_units,
)
from latentlabels.model.schedule import GibbsSchedule
from latentlabels.sampling.prediction import PREDICTION, clean_marginals


class Committee(nn.Module):
    """Networks that were trained on their own and speak of the clean labels with one voice.

    Each is a matter of luck, and less so their mean.

    Args:
        networks: to potentials.
        clean: number of clean units.
    """

    bias: Tensor

    def __init__(self, networks: Sequence[nn.Module], clean: int) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.register_buffer("bias", torch.zeros(clean))

    def logits(self, x: Tensor) -> Tensor:
        """The mean of their natural parameters of p(ŷ | x), (batch, clean)."""
        said: list[Potentials] = [network(x) for network in self.networks]
        return torch.stack([of.clean for of in said]).mean(0) + self.bias


class Teacher(Committee):
    """What networks that were trained on the verified rows alone say of an example, as evidence.

    They never saw the label of a row that is not verified. Beside an auxiliary, which never sees x,
    they make Bayes' rule for p(ŷ | y, x): log p(ŷ | x) − log p(ŷ) joins log p_aux(ŷ | y). Of few
    rows they are too sure: their logits are scaled.
    """

    scale: Tensor
    prior: Tensor

    def __init__(self, networks: Sequence[nn.Module], clean: int) -> None:
        super().__init__(networks, clean)
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("prior", torch.zeros(clean))

    def logits(self, x: Tensor) -> Tensor:
        """Natural parameters of p(ŷ | x), (batch, clean)."""
        return self.scale * super().logits(x)

    def forward(self, x: Tensor) -> Tensor:
        """log p(ŷ | x) − log p(ŷ) as natural parameters, (batch, clean)."""
        return self.logits(x) - self.prior


class Calibrator(nn.Module):
    """Makes q's probabilities true to held-out verified rows: natural parameters η to s η + o.

    Being affine, it leaves the log-odds a sum of what each piece of evidence adds.

    Args:
        clean: number of clean units.
        changes: number of held-out rows' changes that are kept, to choose by them which changes to
            accept.

    Attributes:
        slope: s, above zero, (clean,).
        offset: o, (clean,).
        confidence: how probable a held-out change was said to be, (changes,).
        added: 1 where it adds a label, 0 where it takes one away, (changes,).
        right: 1 where it is right, 0 where it is wrong, (changes,).
    """

    slope: Tensor
    offset: Tensor
    confidence: Tensor
    added: Tensor
    right: Tensor

    def __init__(self, clean: int, changes: int = 0) -> None:
        super().__init__()
        self.register_buffer("slope", torch.ones(clean))
        self.register_buffer("offset", torch.zeros(clean))
        self.register_buffer("confidence", torch.zeros(changes))
        self.register_buffer("added", torch.zeros(changes))
        self.register_buffer("right", torch.zeros(changes))

    def forward(self, logits: Tensor) -> Tensor:
        """Calibrated natural parameters, (..., clean)."""
        return self.slope * logits + self.offset

    def require_sound(self) -> None:
        """Check numbers that may come from anywhere.

        Raises:
            ValueError: a slope that is not above zero, or a change that no held-out row can have.
        """
        if not (self.slope > 0).all():
            raise ValueError("a calibrator's slope is not above zero")
        if not ((self.confidence >= 0) & (self.confidence <= 1)).all():
            raise ValueError("the confidence of a held-out change is not between 0 and 1")
        for name, flags in (("added", self.added), ("right", self.right)):
            if not ((flags == 0) | (flags == 1)).all():
                raise ValueError(f"a calibrator's {name} holds something else than 0 and 1")


class RobustModel(nn.Module):
    """A classifier p(ŷ | x) and a cleaner q(ŷ | x, y).

    q's natural parameters are a sum: what the example says (`input_evidence`), and what labels say
    (`label_evidence`), which is a constant and a number for each noisy unit that is on.

    Args:
        network: from a batch of examples to their potentials.
        crf: the pairwise model.
        auxiliary: what is known of noisy → clean.
        alpha: weight of the auxiliary in the posterior.
        teacher: what joins the auxiliary, if anything does.
        students: networks that learnt from q, if there are any: p(ŷ | x) is theirs, and q the mean,
            in its logits, of what it was and of what they say.
        prediction: schedule of the chains that predict, where the model is too large to sum.
        seed: of those chains.

    Attributes:
        calibrator: what q's natural parameters go through at the end; at first it changes nothing.
        usual_input: what examples say on average, before calibration, (clean,): this much of what
            one says counts as a constant.
    """

    usual_input: Tensor

    def __init__(
        self,
        network: nn.Module,
        crf: PairwiseCRF,
        auxiliary: Auxiliary,
        *,
        alpha: float,
        teacher: Teacher | None = None,
        students: Committee | None = None,
        prediction: GibbsSchedule = PREDICTION,
        seed: int = 0,
    ) -> None:
        super().__init__()
        require_same_units(crf, auxiliary)
        self.network = network
        self.crf = crf
        self.auxiliary = auxiliary
        self.alpha = alpha
        self.teacher = teacher
        self.students = students
        self.prediction = prediction
        self.seed = seed
        self.calibrator = Calibrator(crf.clean.size)
        self.register_buffer("usual_input", torch.zeros(crf.clean.size))

    def fields(self, x: Tensor) -> Fields:
        """The fields on both layers for a batch of examples."""
        return self.crf.fields(self.network(x))

    @torch.no_grad()
    def predict_mean(self, x: Tensor, rows: Tensor) -> Tensor:
        """E[ŷ | x], (batch, clean); `rows` (batch,) key the random numbers."""
        if self.students is not None:
            return self.crf.clean.mean(self.students.logits(x))
        return clean_marginals(
            self.crf, self.fields(x), rows, schedule=self.prediction, seed=self.seed
        )

    @torch.no_grad()
    def clean_mean(self, x: Tensor, noisy: Tensor) -> Tensor:
        """E_q[ŷ | x, y], the cleaned label, (batch, clean), for given labels (batch, noisy)."""
        return self.crf.clean.mean(self.clean_logits(x, noisy))

    @torch.no_grad()
    def clean_logits(self, x: Tensor, noisy: Tensor) -> Tensor:
        """Natural parameters of q(ŷ | x, y), (batch, clean), for given labels (batch, noisy)."""
        labels = self.label_evidence()
        return self.input_evidence(x) + labels.constant + noisy @ labels.weight.T

    @torch.no_grad()
    def input_evidence(self, x: Tensor) -> Tensor:
        """What examples say of the clean units in q, in natural parameters, (batch, clean).

        It is the network's a(x) and, where there are any, what teachers and students say, each by
        its weight, and how much more or less that is than usual.
        """
        return self.calibrator.slope * (self.said_of_input(x) - self.usual_input)

    @torch.no_grad()
    def label_evidence(self) -> LabelEvidence:
        """What labels say of the clean units in q, and what is said of every row."""
        known = label_evidence(self.crf, self.auxiliary, self.alpha)
        if self.students is not None:
            known = known.scaled(0.5)
        constant = self.calibrator(known.constant + self.usual_input)
        return known.scaled(self.calibrator.slope)._replace(constant=constant)

    @torch.no_grad()
    def said_of_input(self, x: Tensor) -> Tensor:
        """What examples say before calibration, the usual part included, (batch, clean)."""
        share = auxiliary_share(self.alpha)
        potentials: Potentials = self.network(x)
        said = (1 - share) * potentials.clean
        if self.teacher is not None:
            said = said + share * self.teacher(x)
        return said if self.students is None else (said + self.students.logits(x)) / 2

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
