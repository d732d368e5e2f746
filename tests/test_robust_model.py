"""The trained model's two questions, p(ŷ | x) and q(ŷ | x, y), and where training starts."""

from __future__ import annotations

import pytest
import torch
from tests.small_models import EVERY_MODEL, SmallModel
from torch import Tensor, nn
from torch.testing import assert_close

from latentlabels.model.exact import exact_joint
from latentlabels.model.pairwise import Potentials
from latentlabels.model.posterior import posterior_logits
from latentlabels.model.units import Bernoulli, Categorical, Joint, Units
from latentlabels.robust_model import Committee, RobustModel, Teacher

ROWS = 6
every_model = pytest.mark.parametrize("model", EVERY_MODEL.values(), ids=EVERY_MODEL)


class GivenPotentials(nn.Module):
    """A network whose examples are row numbers into potentials that stand fixed."""

    def __init__(self, potentials: Potentials) -> None:
        super().__init__()
        self.potentials = potentials

    def forward(self, x: Tensor) -> Potentials:
        clean, noisy = self.potentials
        return Potentials(clean[x], None if noisy is None else noisy[x])


def robust(model: SmallModel, alpha: float = 1.0, auxiliary_hidden: bool = False) -> RobustModel:
    auxiliary = model.auxiliary(model.hidden if auxiliary_hidden else 0)
    network = GivenPotentials(model.potentials(ROWS))
    return RobustModel(network, model.crf(), auxiliary, alpha=alpha)


@every_model
def test_predictions_are_the_enumerated_marginals(model: SmallModel) -> None:
    made, x = robust(model), torch.arange(ROWS)
    found = made.predict_mean(x, x)
    for row in range(ROWS):
        joint = exact_joint(made.crf, made.network(x), row)
        assert_close(found[row], joint.latent_probability() @ joint.clean)


@every_model
@pytest.mark.parametrize("alpha", [0.0, 2.0])
def test_cleaned_labels_are_the_posteriors_means(model: SmallModel, alpha: float) -> None:
    made, x = robust(model, alpha), torch.arange(ROWS)
    noisy, _ = model.labels(ROWS)
    found = made.clean_mean(x, noisy)
    logits = posterior_logits(made.crf, made.fields(x), noisy, made.auxiliary, alpha)
    assert_close(found, model.clean.mean(logits[:, : model.clean.size]))
    if alpha == 0:
        for row in range(ROWS):
            joint = exact_joint(made.crf, made.network(x), row)
            assert_close(found[row], joint.posterior(noisy[row]) @ joint.clean)


@every_model
def test_neither_question_leaves_a_graph(model: SmallModel) -> None:
    made, x = robust(model), torch.arange(ROWS)
    noisy, _ = model.labels(ROWS)
    assert not made.predict_mean(x, x).requires_grad
    assert not made.clean_mean(x, noisy).requires_grad


def test_an_auxiliary_of_other_units_is_refused() -> None:
    model = SmallModel(Bernoulli(2), Categorical(3))
    other = SmallModel(Bernoulli(3), Categorical(3))
    network = GivenPotentials(model.potentials(ROWS))
    with pytest.raises(ValueError, match="The auxiliary joins"):
        RobustModel(network, model.crf(), other.auxiliary(), alpha=1.0)


def silent(model: SmallModel) -> Potentials:
    """What heads at zero say."""
    clean, noisy = model.potentials(ROWS)
    return Potentials(torch.zeros_like(clean), None if noisy is None else torch.zeros_like(noisy))


def frequencies(units: Units) -> Tensor:
    """Some means of a layer."""
    generator = torch.Generator().manual_seed(4)
    return units.mean(torch.randn(units.size, generator=generator, dtype=torch.float64))


PAIRED = {name: model for name, model in EVERY_MODEL.items() if model.pairwise}
paired = pytest.mark.parametrize("model", PAIRED.values(), ids=PAIRED)


@paired
@pytest.mark.parametrize("alpha", [0.0, 1.0, 8.0])
def test_before_training_the_posterior_is_the_auxiliarys(model: SmallModel, alpha: float) -> None:
    """With the auxiliary's weights, whatever α: the network has not spoken yet."""
    made = robust(model, alpha, auxiliary_hidden=True)
    made.network = GivenPotentials(silent(model))
    made.start_from_labels(frequencies(model.noisy))
    noisy, _ = model.labels(ROWS)
    x = torch.arange(ROWS)
    assert_close(made.clean_mean(x, noisy), made.auxiliary.clean_mean(noisy))
    whole = posterior_logits(made.crf, made.fields(x), noisy, made.auxiliary, alpha)
    assert_close(whole, made.auxiliary.latent_logits(noisy))


@every_model
def test_the_papers_start_has_the_right_frequencies_and_no_pairwise_terms(
    model: SmallModel,
) -> None:
    made = robust(model)
    with torch.no_grad():
        made.crf.clean_noisy.zero_()
        made.crf.hidden_noisy.zero_()
        made.crf.hidden_bias.zero_()
    made.network = GivenPotentials(silent(model))
    mean = frequencies(model.noisy)
    made.start_from_labels(mean, weights=False)
    assert not made.crf.clean_noisy.any()
    rows = torch.arange(ROWS)
    wanted = made.auxiliary.clean_mean(mean).expand(ROWS, -1)
    assert_close(made.predict_mean(rows, rows), wanted)
    joint = exact_joint(made.crf, made.network(rows))
    assert_close(joint.noisy_probability() @ joint.noisy, mean)


@paired
def test_the_start_gives_noisy_units_about_their_frequency(model: SmallModel) -> None:
    """Next to the latent units at their usual means, p(y) is what was counted."""
    made = robust(model)
    mean = frequencies(model.noisy)
    made.start_from_labels(mean)
    crf = made.crf
    usual = crf.latent.mean(crf.latent_logits(crf.fields(), mean))
    assert_close(crf.noisy.mean(crf.noisy_logits(crf.fields(), usual))[0], mean)


def test_gibbs_predictions_come_from_the_seed_and_the_row() -> None:
    """Layers too large to list: the same whatever batch a row comes in."""
    model = SmallModel(Bernoulli(13), Joint([Bernoulli(13), Categorical(3)]), hidden=2)
    made, x = robust(model), torch.arange(ROWS)
    whole = made.predict_mean(x, x)
    assert_close(made.predict_mean(x[2:], x[2:]), whole[2:])
    made.seed = 1
    assert not torch.equal(made.predict_mean(x, x), whole)
    assert_close(whole[:, 13:].sum(1), torch.ones(ROWS, dtype=whole.dtype))


@every_model
def test_a_teacher_joins_the_auxiliary_where_labels_are_cleaned(model: SmallModel) -> None:
    """Bayes' rule: at α = ∞ the odds are the auxiliary's times the teacher's over the prior's."""
    made, x = robust(model, float("inf")), torch.arange(ROWS)
    noisy, _ = model.labels(ROWS)
    predicted = made.predict_mean(x, x)
    other = GivenPotentials(model.potentials(ROWS)._replace(clean=-made.network(x).clean / 3))
    made.teacher = Teacher([made.network, other], model.clean.size)
    made.teacher.bias.copy_(torch.linspace(-1, 1, model.clean.size))
    made.teacher.scale.fill_(0.5)
    made.teacher.prior.copy_(torch.linspace(3, -2, model.clean.size))
    assert torch.equal(made.predict_mean(x, x), predicted)
    # The mean of 1 and −1/3 is 1/3.
    said = 0.5 * (made.network(x).clean / 3 + made.teacher.bias)
    seen = said - made.teacher.prior
    known = made.auxiliary.clean_logits(noisy)
    assert_close(made.clean_mean(x, noisy), model.clean.mean(known + seen))


@every_model
def test_students_predict_and_have_half_a_say_in_cleaning(model: SmallModel) -> None:
    """The geometric mean of two distributions: the mean of their logits."""
    made, x = robust(model, 2.0), torch.arange(ROWS)
    noisy, _ = model.labels(ROWS)
    alone = posterior_logits(made.crf, made.fields(x), noisy, made.auxiliary, 2.0)
    other = GivenPotentials(model.potentials(ROWS)._replace(clean=-made.network(x).clean / 3))
    made.students = Committee([made.network, other], model.clean.size)
    made.students.bias.copy_(torch.linspace(-1, 1, model.clean.size))
    said = made.network(x).clean / 3 + made.students.bias
    assert_close(made.predict_mean(x, x), model.clean.mean(said))
    wanted = model.clean.mean((alone[:, : model.clean.size] + said) / 2)
    assert_close(made.clean_mean(x, noisy), wanted)
