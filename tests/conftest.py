"""Settings every test runs under: no deadline, no random seed, no window, no network."""

from __future__ import annotations

import os

import matplotlib as mpl
from hypothesis import settings

settings.register_profile("latentlabels", deadline=None, derandomize=True)
settings.load_profile("latentlabels")
mpl.use("Agg")
# Read where the hub's client is first imported.
os.environ["HF_HUB_OFFLINE"] = "1"
