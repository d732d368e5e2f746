"""Networks give potentials of the right shape, start out saying nothing, and stand on any scale."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from latentlabels.network import examples
from latentlabels.network.backbones import Standardise, vector_backbone
from latentlabels.network.examples import Vectors
from latentlabels.network.potentials import PotentialNetwork

INPUTS, CLEAN, NOISY = 5, 3, 4
X = torch.randn(40, INPUTS, generator=torch.Generator().manual_seed(0))


def network(
    widths: tuple[int, ...] = (7,), noisy: int | None = NOISY, dropout: float = 0.5
) -> PotentialNetwork:
    torch.manual_seed(0)
    backbone = vector_backbone(INPUTS, widths, dropout)
    return PotentialNetwork(backbone, widths[-1] if widths else INPUTS, CLEAN, noisy)


def with_random_heads(made: PotentialNetwork) -> PotentialNetwork:
    for head in (made.clean, made.noisy):
        if head is not None:
            torch.nn.init.normal_(head.weight, generator=torch.Generator().manual_seed(1))
    return made


@pytest.fixture(autouse=True)
def _own_randomness() -> object:
    with torch.random.fork_rng(devices=[]):
        yield


@pytest.mark.parametrize("widths", [(), (7,), (8, 6)], ids=str)
def test_potentials_have_a_column_for_every_unit(widths: tuple[int, ...]) -> None:
    linked = network(widths)(X)
    assert linked.clean.shape == (40, CLEAN)
    assert linked.noisy is not None
    assert linked.noisy.shape == (40, NOISY)
    alone = network(widths, noisy=None)(X)
    assert alone.clean.shape == (40, CLEAN)
    assert alone.noisy is None


def test_the_first_potentials_are_zero_and_have_no_bias() -> None:
    """Training starts from what the labels alone say; the biases are the CRF's."""
    made = network()
    potentials = made(X)
    assert potentials.noisy is not None
    assert not potentials.clean.any()
    assert not potentials.noisy.any()
    assert made.clean.bias is None
    # The gradient reaches the heads all the same, and from there the backbone.
    potentials.clean.sum().backward()
    assert made.clean.weight.grad is not None
    assert made.clean.weight.grad.any()


def test_both_heads_and_the_backbone_learn() -> None:
    made = with_random_heads(network())
    potentials = made(X)
    (potentials.clean.square().sum() + potentials.noisy.square().sum()).backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


def test_without_layers_the_potentials_are_linear() -> None:
    made = with_random_heads(network(widths=()))
    whole, parts = made(X[:1] + X[1:2]).clean, made(X[:1]).clean + made(X[1:2]).clean
    assert_close(whole, parts)


def test_dropout_acts_in_training_only() -> None:
    made = with_random_heads(network())
    assert not torch.equal(made(X).clean, made(X).clean)
    made.eval()
    assert torch.equal(made(X).clean, made(X).clean)


def test_inputs_are_standardised() -> None:
    layer = Standardise(INPUTS)
    assert torch.equal(layer(X), X), "not fitted, it changes nothing"
    layer.fit(3 * X + 100)
    columns = layer(3 * X + 100)
    assert_close(columns.mean(0), torch.zeros(INPUTS), atol=1e-4, rtol=0)
    assert_close(columns.std(0, correction=0), torch.ones(INPUTS), atol=1e-4, rtol=0)
    assert set(dict(layer.named_parameters())) == set()
    assert set(layer.state_dict()) == {"mean", "deviation"}


def test_columns_are_standardised_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32)
    chosen = np.arange(1, 50, 3)
    whole, blocks = Standardise(7), Standardise(7)
    whole.fit(torch.from_numpy(values[chosen]))
    monkeypatch.setattr(examples, "COLUMNS_OF", 2 * len(chosen))
    columns = list(Vectors(values, chosen).columns())
    assert [block.shape[1] for block in columns] == [2, 2, 2, 1]
    blocks.fit(columns)
    assert torch.equal(blocks.mean, whole.mean)
    assert torch.equal(blocks.deviation, whole.deviation)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e6, 1e30])
def test_a_constant_column_is_centred(value: float) -> None:
    """Rounding must not make noise of it."""
    layer = Standardise(2)
    x = torch.full((1000, 2), value)
    x[:, 1] = torch.arange(1000)
    layer.fit(x)
    assert layer(x).isfinite().all()
    assert_close(layer(x)[:, 0], torch.zeros(1000), atol=1e-6 * abs(value), rtol=0)
    assert_close(layer(x)[:, 1].std(correction=0), torch.tensor(1.0))


def test_potentials_do_not_depend_on_the_inputs_scale() -> None:
    outputs = []
    for x in (X, 1000 * X - 50):
        made = with_random_heads(network()).eval()
        next(layer for layer in made.modules() if isinstance(layer, Standardise)).fit(x)
        outputs.append(made(x).clean)
    assert_close(outputs[0], outputs[1], atol=1e-4, rtol=1e-4)
