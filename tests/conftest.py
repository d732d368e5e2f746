"""Settings every test runs under: no deadline, no random seed, no window, no network.

`--device cuda` runs the sampler's tests on a GPU.
"""

from __future__ import annotations

import os

import matplotlib as mpl
import pytest
import torch
from hypothesis import settings

settings.register_profile("latentlabels", deadline=None, derandomize=True)
settings.load_profile("latentlabels")
mpl.use("Agg")
# Read where the hub's client is first imported.
os.environ["HF_HUB_OFFLINE"] = "1"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="cpu", help="where the sampler's reference is tested")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the tests that need a browser out, unless they are asked for."""
    if "browser" in config.option.markexpr:
        return
    left = [item for item in items if item.get_closest_marker("browser")]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if item not in left]


@pytest.fixture
def device(request: pytest.FixtureRequest) -> torch.device:
    """Where to test what runs on any device."""
    return torch.device(request.config.getoption("--device"))
