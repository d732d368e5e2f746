"""The residual networks for CIFAR: their depth, their size, and what passes through them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from latentlabels.errors import BackboneError
from latentlabels.network.cifar_resnet import CifarResNet, ResidualBlock


@pytest.mark.parametrize("depth", [8, 20, 32])
def test_a_depth_is_its_number_of_layers(depth: int) -> None:
    network = CifarResNet(depth)
    convolutions = [part for part in network.modules() if isinstance(part, nn.Conv2d)]
    assert len(convolutions) + 1 == depth, "and the layer that reads the features"


def test_32_layers_have_the_sources_number_of_weights() -> None:
    """Table 6 of He et al. gives 0.46 M; ten classes on 64 features are among them."""
    weights = sum(parameter.numel() for parameter in CifarResNet(32).parameters())
    assert round((weights + 64 * 10 + 10) / 1e6, 2) == 0.46


@pytest.mark.parametrize("depth", [2, 18, 33, 0, -4])
def test_another_depth_is_refused(depth: int) -> None:
    with pytest.raises(BackboneError, match=rf"6n \+ 2 layers.* got {depth}\."):
        CifarResNet(depth)


def test_features_and_gradients() -> None:
    network = CifarResNet(8)
    features = network(torch.randn(4, 3, 32, 32))
    assert features.shape == (4, 64)
    features.sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_stages_halve_height_and_width() -> None:
    shapes = []
    x = torch.randn(1, 3, 32, 32)
    for layer in CifarResNet(8):
        x = layer(x)
        shapes.append(tuple(x.shape[1:]))
    assert [shape for shape in shapes if len(shape) == 3 and shape[1] > 1][-3:] == [
        (16, 32, 32),
        (32, 16, 16),
        (64, 8, 8),
    ]


def test_a_shortcut_has_no_weights_and_fills_with_zeros() -> None:
    block = ResidualBlock(2, 4, 2)
    nn.init.zeros_(block.second.weight)
    x = torch.rand(1, 2, 4, 4)
    given = block.eval()(x)
    torch.testing.assert_close(given[:, 1:3], x[:, :, ::2, ::2])
    assert not given[:, [0, 3]].any()
