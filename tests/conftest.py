"""Settings every test runs under: no deadline, no random seed, no window."""

from __future__ import annotations

import matplotlib as mpl
from hypothesis import settings

settings.register_profile("latentlabels", deadline=None, derandomize=True)
settings.load_profile("latentlabels")
mpl.use("Agg")
