"""Dropout by row: which units are left out hangs on seed, step, layer and row alone."""

from __future__ import annotations

import pytest
import torch
from tests.monte_carlo import STANDARD_ERRORS
from torch import Tensor, nn

from latentlabels.network import dropout
from latentlabels.network.dropout import RowDropout, dropping_by_row

ROWS = torch.arange(50)
UNITS = 300


def dropped(rows: Tensor, *, seed: int = 0, step: int = 3, share: float = 0.5) -> Tensor:
    layer = RowDropout(share)
    with dropping_by_row(layer, seed, step, rows):
        out: Tensor = layer(torch.ones(len(rows), UNITS))
    return out


def test_a_rows_units_do_not_depend_on_the_batch() -> None:
    part = torch.tensor([41, 3, 7])
    assert torch.equal(dropped(part), dropped(ROWS)[part])


def test_no_rows_are_no_units() -> None:
    assert dropped(ROWS[:0]).shape == (0, UNITS)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.75])
def test_the_share_is_left_out_and_the_rest_makes_up_for_it(share: float) -> None:
    out = dropped(torch.arange(400), share=share)
    deviation = (share * (1 - share) / out.numel()) ** 0.5
    assert abs(float((out == 0).float().mean()) - share) < STANDARD_ERRORS * deviation
    assert torch.allclose(out[out > 0], torch.tensor(1 / (1 - share)), atol=1e-4)


def test_seed_step_and_row_each_change_what_is_left_out() -> None:
    """Independent masks of half agree in half of their places."""
    base = dropped(ROWS)
    others = (dropped(ROWS, seed=1), dropped(ROWS, step=4), dropped(ROWS + 50))
    for other in others:
        agree = float((base == other).float().mean())
        assert abs(agree - 0.5) < STANDARD_ERRORS * 0.5 / base.numel() ** 0.5


def test_layers_of_a_network_leave_out_others() -> None:
    network = nn.Sequential(RowDropout(0.5), RowDropout(0.5))
    with dropping_by_row(network, 0, 0, ROWS):
        first, both = network[0](torch.ones(50, UNITS)), network(torch.ones(50, UNITS))
    quarter = float((both > 0).float().mean())
    assert abs(quarter - 0.25) < STANDARD_ERRORS * (0.1875 / both.numel()) ** 0.5
    assert (first > 0)[both > 0].all()


def test_the_path_of_other_devices_gives_the_same_units() -> None:
    place = dropout.Place(5, 70_000, 2, ROWS)
    kept = round(0.7 * dropout.STEPS)
    here = dropout._kept(place, UNITS, kept, torch.device("cpu"))
    assert torch.equal(here, dropout._kept(place, UNITS, kept, torch.device("meta")))


def test_nothing_is_left_out_in_evaluation_nor_with_a_share_of_zero() -> None:
    layer = RowDropout(0.5).eval()
    with dropping_by_row(layer, 0, 0, ROWS):
        assert torch.equal(layer(torch.ones(50, 4)), torch.ones(50, 4))
    assert torch.equal(dropped(ROWS, share=0.0), torch.ones(50, UNITS))
    assert not dropped(ROWS, share=1.0).any()


def test_features_of_bags_are_left_out_each_on_its_own() -> None:
    layer = RowDropout(0.5)
    with dropping_by_row(layer, 0, 0, ROWS):
        out = layer(torch.ones(50, 3, UNITS))
    assert not torch.equal(out[:, 0], out[:, 1])


def test_without_a_place_it_is_torchs_own() -> None:
    layer, own = RowDropout(0.3), nn.Dropout(0.3)
    x = torch.ones(50, UNITS)
    torch.manual_seed(1)
    drawn = layer(x)
    torch.manual_seed(1)
    assert torch.equal(drawn, own(x))
