"""How good the labels are, where there are clean ones to compare with."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentlabels.data.labels import Column, LabelSpace, encode
from latentlabels.evaluation.metrics import score, score_name
from latentlabels.results import number


def compared(
    space: LabelSpace, clean: Column, probabilities: NDArray[np.floating[Any]]
) -> dict[str, Any] | None:
    """Probabilities held against clean labels.

    Labels that the model does not know cannot be found by it, and are named: a row whose class is
    one of them counts as wrong, and among several labels a row's they are left out of account.

    Args:
        space: of the clean labels.
        clean: clean labels of the rows.
        probabilities: of the same rows, (rows, clean).

    Returns:
        The score, from 0 to 1, by its name; on how many rows; unknown labels. None without rows.
    """
    known = set(space.names)
    unknown = sorted(name for name in map(str, clean.counts()) if name not in known)
    if not len(clean):
        return None
    truth = encode({"": clean}, space, unknown="ignore", what="clean").toarray()
    value = score(space.units, truth, probabilities.astype(np.float64))
    result: dict[str, Any] = {score_name(space.units): number(value), "rows": len(clean)}
    if unknown:
        result["unknown_labels"] = unknown
    return result
