"""An image as a bag of regions: what the maps say of each cell of a grid."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from latentlabels.errors import BackboneError
from latentlabels.network.encoders import EncoderSpec, build_encoder
from latentlabels.network.image_encoder import ImageEncoder
from latentlabels.network.regions import GRID, RegionEncoder

SIZE = 12


class Maps(nn.Module):
    """Colours themselves as maps, in a size of one's own."""

    def __init__(self, places: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(places)

    def forward(self, batch: Tensor) -> Tensor:
        maps: Tensor = self.pool(batch)
        return maps


def whole(module: nn.Module) -> ImageEncoder:
    encoder = build_encoder(EncoderSpec("image", "custom", size=SIZE), module)
    assert isinstance(encoder, ImageEncoder)
    return encoder


@pytest.mark.parametrize("places", [SIZE, 6, 3])
def test_each_region_has_the_mean_of_its_places(places: int) -> None:
    encoder = RegionEncoder(whole(Maps(places)))
    assert encoder.features == GRID**2 * 3
    batch = torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    found = encoder(batch).unflatten(1, (GRID**2, 3))
    side = SIZE // GRID
    for region in range(GRID**2):
        top, left = side * (region // GRID), side * (region % GRID)
        cell = batch[:, :, top : top + side, left : left + side]
        assert_close(found[:, region], cell.mean((2, 3)))


def test_the_mean_over_regions_is_what_the_whole_image_has() -> None:
    module = nn.Conv2d(3, 5, 1)
    one, other = whole(module), RegionEncoder(whole(module))
    batch = torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    assert_close(other(batch).unflatten(1, (GRID**2, 5)).mean(1), one(batch))


def test_a_named_network_is_asked_for_its_maps() -> None:
    named = build_encoder(
        EncoderSpec("image", "test_resnet.r160_in1k", pretrained=False, size=96)
    ).eval()
    assert isinstance(named, ImageEncoder)
    encoder = RegionEncoder(named).eval()
    assert encoder.features == GRID**2 * named.features
    picture = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    batch = encoder.prepare(encoder.content(picture))[None]
    regions = encoder(batch).unflatten(1, (GRID**2, -1))
    assert_close(regions.mean(1), named(batch), msg="three places a side, one for each region")


def test_regions_are_not_taken_for_the_whole_image() -> None:
    one = whole(Maps(3))
    other = RegionEncoder(one)
    assert other.fingerprint() != one.fingerprint()
    assert (other.name(), other.transform_key()) == (one.name(), one.transform_key())


def test_a_network_without_maps_is_refused() -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, 4))
    with pytest.raises(BackboneError, match=r"feature maps .* gives the shape \(1, 4\)"):
        RegionEncoder(whole(flat))
