"""How many cases each test here tries: 25, always the same, or LATENTLABELS_FUZZ new ones."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, is_hypothesis_test, settings
from hypothesis.errors import InvalidArgument

HERE = Path(__file__).parent
CASES = os.environ.get("LATENTLABELS_FUZZ")

settings.register_profile(
    "fuzz",
    max_examples=int(CASES or 25),
    derandomize=CASES is None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the profile to this folder's tests; loaded, it would be every later test's too."""
    tests = {getattr(item, "function", None) for item in items if HERE in item.path.parents}
    for test in filter(is_hypothesis_test, tests):
        # A test that has settings of its own keeps them.
        with suppress(InvalidArgument):
            settings.get_profile("fuzz")(test)
