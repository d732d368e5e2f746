"""Every closed form of the model against the list of all states, and that list against eq. 2."""

from __future__ import annotations

from itertools import product
from math import exp, log

import pytest
import torch
from tests.small_models import EVERY_MODEL, SmallModel
from torch import Tensor
from torch.testing import assert_close

from latentlabels.model.exact import ExactJoint, exact_joint
from latentlabels.model.marginal import latent_mean, log_partition
from latentlabels.model.pairwise import Fields, PairwiseCRF, Potentials
from latentlabels.model.posterior import posterior_logits
from latentlabels.model.units import Bernoulli
from latentlabels.sampling.prediction import clean_marginals

ROWS = 3

every_model = pytest.mark.parametrize("model", EVERY_MODEL.values(), ids=EVERY_MODEL)


def assert_equal(found: Tensor, expected: Tensor) -> None:
    """Up to rounding: float64 sums of at most a thousand terms of order one are good to 1e-12."""
    assert_close(found, expected, rtol=0.0, atol=1e-10)


def listed(model: SmallModel) -> tuple[PairwiseCRF, Fields, list[ExactJoint]]:
    """The model, its fields for a batch, and the states of every row."""
    crf, potentials = model.crf(), model.potentials(ROWS)
    return crf, crf.fields(potentials), [exact_joint(crf, potentials, r) for r in range(ROWS)]


def row_of(fields: Fields, row: int) -> Fields:
    """The fields of one row, with a batch of one."""
    return Fields(*(field.expand(ROWS, -1)[row : row + 1] for field in fields))


def test_the_list_is_equation_2() -> None:
    """With one unit a layer the eight states can be written out."""
    a, b, c, w, w_hidden, a_x, b_x = 0.3, -0.7, 0.2, 1.1, -0.4, 0.5, -0.6
    crf = PairwiseCRF(Bernoulli(1), Bernoulli(1), hidden=1).double()
    values = {
        "clean_bias": a,
        "noisy_bias": b,
        "hidden_bias": c,
        "clean_noisy": w,
        "hidden_noisy": w_hidden,
    }
    crf.load_state_dict({k: torch.full_like(crf.state_dict()[k], v) for k, v in values.items()})
    potentials = Potentials(*torch.tensor([[[a_x]], [[b_x]]], dtype=torch.float64))
    joint = exact_joint(crf, potentials)
    energy = {
        (clean, hidden, noisy): -(a + a_x) * clean
        - (b + b_x) * noisy
        - c * hidden
        - w * clean * noisy
        - w_hidden * hidden * noisy
        for clean, hidden, noisy in product((0, 1), repeat=3)
    }
    log_z = log(sum(exp(-e) for e in energy.values()))
    assert joint.log_partition.item() == pytest.approx(log_z, abs=1e-12)
    assert joint.log_probability.shape == (4, 2)
    for (i, latent), (j, noisy) in product(enumerate(joint.latent), enumerate(joint.noisy)):
        state = (*latent.tolist(), *noisy.tolist())
        assert joint.log_probability[i, j].item() == pytest.approx(
            -energy[state] - log_z, abs=1e-12
        )


@every_model
def test_energy(model: SmallModel) -> None:
    crf, fields, joints = listed(model)
    for row, joint in enumerate(joints):
        energy = crf.energy(row_of(fields, row), joint.noisy, joint.latent[:, None])
        assert_equal(-energy - joint.log_partition, joint.log_probability)


@every_model
def test_free_energies(model: SmallModel) -> None:
    crf, fields, joints = listed(model)
    for row, joint in enumerate(joints):
        own, log_z = row_of(fields, row), joint.log_partition
        assert_equal((-crf.free_energy(own, joint.noisy) - log_z).exp(), joint.noisy_probability())
        latent = -crf.latent_free_energy(own, joint.latent) - log_z
        assert_equal(latent.exp(), joint.latent_probability())


@every_model
def test_conditionals(model: SmallModel) -> None:
    """p(ŷ, h | y, x) and p(y | ŷ, h, x), whole and not unit by unit."""
    crf, fields, joints = listed(model)
    for row, joint in enumerate(joints):
        own = row_of(fields, row)
        log_given_noisy = joint.log_probability - joint.noisy_probability().log()
        logits = crf.latent_logits(own, joint.noisy)
        assert_equal(crf.latent.log_probability(logits, joint.latent[:, None]), log_given_noisy)
        log_given_latent = joint.log_probability - joint.latent_probability().log()[:, None]
        logits = crf.noisy_logits(own, joint.latent)[:, None]
        assert_equal(crf.noisy.log_probability(logits, joint.noisy), log_given_latent)


@every_model
def test_log_partition_and_marginals(model: SmallModel) -> None:
    crf, fields, joints = listed(model)
    assert_equal(log_partition(crf, fields), torch.stack([j.log_partition for j in joints]))
    mean = torch.stack([joint.latent_probability() @ joint.latent for joint in joints])
    assert_equal(latent_mean(crf, fields), mean)
    prediction = clean_marginals(crf, fields, torch.arange(ROWS))
    assert_equal(prediction, mean[:, : model.clean.size])


@every_model
def test_posterior_at_alpha_0_is_the_models_own(model: SmallModel) -> None:
    crf, fields, joints = listed(model)
    auxiliary = model.auxiliary(model.hidden)
    for row, joint in enumerate(joints):
        for noisy in joint.noisy:
            logits = posterior_logits(crf, row_of(fields, row), noisy[None], auxiliary, alpha=0.0)
            q = crf.latent.log_probability(logits, joint.latent).exp()
            assert_equal(q, joint.posterior(noisy))


@every_model
def test_posterior_is_the_normalised_geometric_mean(model: SmallModel) -> None:
    """q ∝ (p p_aux^α)^(1 / (1 + α)) over all states at once."""
    crf, fields, joints = listed(model)
    auxiliary = model.auxiliary(model.hidden)
    for (row, joint), alpha in product(enumerate(joints), (0.3, 5.0)):
        noisy, own = joint.noisy[:, None], row_of(fields, row)
        log_p = crf.latent.log_probability(crf.latent_logits(own, noisy), joint.latent)
        log_known = crf.latent.log_probability(auxiliary.latent_logits(noisy), joint.latent)
        logits = posterior_logits(crf, own, noisy, auxiliary, alpha)
        q = crf.latent.log_probability(logits, joint.latent).exp()
        assert_equal(q, torch.softmax((log_p + alpha * log_known) / (1 + alpha), -1))


@every_model
def test_expected_energy_is_the_energy_of_means(model: SmallModel) -> None:
    """The energy is multilinear and q factorial: the positive phase needs means alone."""
    crf, fields, joints = listed(model)
    joint, own = joints[0], row_of(fields, 0)
    noisy = model.labels(1)[0]
    logits = posterior_logits(crf, own, noisy, model.auxiliary(model.hidden), alpha=2.0)
    q = crf.latent.log_probability(logits, joint.latent).exp()
    expected = (q * crf.energy(own, noisy, joint.latent)).sum()
    assert_equal(crf.energy(own, noisy, crf.latent.mean(logits)), expected[None])
