"""The model's fields: what the network says, next to what the model says by itself."""

from __future__ import annotations

import pytest
import torch
from tests.small_models import SmallModel

from latentlabels.model.marginal import LARGEST_LIST, LARGEST_TABLE, is_tractable
from latentlabels.model.pairwise import PairwiseCRF, Potentials
from latentlabels.model.units import Bernoulli, Categorical

MODEL = SmallModel(Bernoulli(3), Categorical(4), hidden=2)


def test_fields_add_potentials_to_the_models_own_biases() -> None:
    crf, potentials = MODEL.crf(), MODEL.potentials(5)
    fields = crf.fields(potentials)
    assert fields.latent.shape == (5, 6)
    assert torch.equal(fields.latent[:, :4], crf.clean_bias + potentials.clean)
    assert torch.equal(fields.latent[:, 4:], crf.hidden_bias.expand(5, 2))
    assert potentials.noisy is not None
    assert torch.equal(fields.noisy, crf.noisy_bias + potentials.noisy)


def test_without_the_link_noisy_fields_are_one_row_for_all_examples() -> None:
    crf = MODEL.crf()
    fields = crf.fields(Potentials(MODEL.potentials(5).clean))
    assert torch.equal(fields.noisy, crf.noisy_bias[None])


def test_without_potentials_the_model_is_an_rbm() -> None:
    crf = MODEL.crf()
    silent = crf.fields(Potentials(torch.zeros(1, 4), torch.zeros(1, 3)))
    for alone, other in zip(crf.fields(), silent, strict=True):
        assert torch.equal(alone, other)


def test_weight_has_clean_rows_above_hidden_rows() -> None:
    crf = MODEL.crf()
    assert torch.equal(crf.weight[:4], crf.clean_noisy)
    assert torch.equal(crf.weight[4:], crf.hidden_noisy)


def test_first_weights_are_silent_but_for_hidden_units_that_differ() -> None:
    crf = PairwiseCRF(Bernoulli(3), Bernoulli(2), hidden=4)
    assert not crf.clean_noisy.any()
    assert len(crf.hidden_noisy.unique(dim=0)) == 4


def test_first_weights_are_the_generators() -> None:
    one, other, another = (
        PairwiseCRF(
            Bernoulli(3), Bernoulli(2), hidden=4, generator=torch.Generator().manual_seed(seed)
        ).hidden_noisy
        for seed in (1, 1, 2)
    )
    assert torch.equal(one, other)
    assert not torch.equal(one, another)


def test_without_pairs_the_weights_stay_zero() -> None:
    crf = PairwiseCRF(Bernoulli(3), Bernoulli(2), pairwise=False)
    assert not crf.clean_noisy.requires_grad
    assert not crf.weight.any()


def test_hidden_units_without_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match=r"no use for hidden units, got hidden=2\. Pass hidden=0"):
        PairwiseCRF(Bernoulli(3), Bernoulli(2), hidden=2, pairwise=False)


@pytest.mark.parametrize(
    ("clean", "hidden", "noisy", "tractable"),
    [
        (12, 0, LARGEST_TABLE // 4096, True),
        (12, 0, LARGEST_TABLE // 4096 + 1, False),
        (13, 0, 13, False),
        (13, 0, 12, True),
        (8, 4, 13, True),
        (8, 5, 13, False),
        (LARGEST_TABLE // 4096, 0, 12, True),
        (LARGEST_TABLE // 4096 + 1, 0, 12, False),
    ],
)
def test_a_list_of_the_states_of_one_layer_has_to_be_short(
    clean: int, hidden: int, noisy: int, tractable: bool
) -> None:
    assert is_tractable(PairwiseCRF(Bernoulli(noisy), Bernoulli(clean), hidden)) == tractable


def test_one_class_of_many_is_tractable() -> None:
    assert is_tractable(PairwiseCRF(Bernoulli(10), Categorical(LARGEST_LIST)))
    assert not is_tractable(PairwiseCRF(Bernoulli(10), Categorical(LARGEST_LIST + 1)))


def test_independent_layers_of_any_size_are_tractable() -> None:
    assert is_tractable(PairwiseCRF(Bernoulli(1000), Bernoulli(1000), pairwise=False))
