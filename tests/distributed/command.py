"""The command line as a program, which the tests start on one or on several processes.

python command.py ARGUMENTS; with DIE=1 in the environment the second process ends in mid-work.
"""

from __future__ import annotations

import os
from typing import Any

from latentlabels import processes
from latentlabels.cli import run
from latentlabels.estimator import RobustClassifier


def dies(*_: Any, **__: Any) -> Any:
    """End without a word, as a process that runs out of memory does."""
    if processes.rank() == 1:
        os._exit(9)
    return [[0.5] * 3]


if __name__ == "__main__":
    if os.environ.get("DIE"):
        RobustClassifier.predict_proba = dies  # type: ignore[method-assign]
    run()
