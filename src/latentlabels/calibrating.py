"""Calibration: cleaned labels' probabilities made true to verified rows that nothing was fitted on.

Labels of which a row may have any number go through Platt's logistic function of the log-odds: one
slope, and a bias for each label, which is shrunk, for few labels have many held-out rows. Classes
have one temperature. Both are affine in q's natural parameters, so reasons stay exact.

Source: Platt (1999); Guo et al. (2017).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold
from torch import Tensor

from latentlabels.cleaning import clean_labels
from latentlabels.committees import likeliest_scale
from latentlabels.data.labels import LabelSpace, Name, Span
from latentlabels.evaluation.calibration import (
    Reliability,
    brier_score,
    calibration_error,
    reliability,
)
from latentlabels.model.units import Categorical
from latentlabels.robust_model import Calibrator

MOST_ROWS: Final = 10_000
"""More would tell little more."""
FOLDS: Final = 5
SHRINKAGE: Final = 0.1
"""Variance, in nats squared, that a label's bias is expected to have."""
SLOPE_SCALE: Final = 10.0
"""Log-odds are handed over so many times larger, so that the slope is next to not shrunk."""


@dataclass(frozen=True)
class Quality:
    """How far probabilities of held-out rows can be trusted.

    Attributes:
        ece: expected calibration error, from 0 to 1.
        brier: Brier score.
        reliability: how often what is said to be so likely is so.
    """

    ece: float
    brier: float
    reliability: Reliability

    def as_json(self) -> dict[str, Any]:
        """The same as values that JSON keeps."""
        return {"ece": self.ece, "brier": self.brier, "reliability": self.reliability.as_json()}


@dataclass(frozen=True)
class Calibration:
    """What held-out rows say of the probabilities.

    Attributes:
        rows: how many there are.
        before: as the model has them.
        after: as a calibrator has them that was fitted on other held-out rows.
    """

    rows: int
    before: Quality
    after: Quality


def calibrate(
    space: LabelSpace,
    logits: NDArray[np.float32],
    truth: NDArray[np.float32],
    given: list[list[Name]],
) -> tuple[Calibrator, Calibration]:
    """Fit a calibrator on held-out rows, and measure by cross-validation what it is worth.

    Its held-out changes come from cross-validation too.

    Args:
        space: the clean labels' space.
        logits: q's natural parameters on rows whose clean labels nothing was fitted on,
            (rows, clean).
        truth: their clean labels, (rows, clean).
        given: the names that came with them.
    """
    said, known = torch.from_numpy(logits), torch.from_numpy(truth)
    held_out = torch.empty_like(said)
    for fitted, left_out in KFold(FOLDS, shuffle=True, random_state=0).split(logits):
        held_out[left_out] = _fitted(space, said[fitted], known[fitted])(said[left_out])
    means = space.units.mean(held_out).numpy()
    nobody = np.zeros(len(logits), dtype=bool)
    changes = clean_labels(space, given, means, truth, nobody).changes
    final = _fitted(space, said, known)
    calibrator = Calibrator(len(space.names), len(changes))
    calibrator.slope.copy_(final.slope)
    calibrator.offset.copy_(final.offset)
    calibrator.confidence.copy_(torch.tensor([change.confidence for change in changes]))
    calibrator.added.copy_(torch.tensor([float(change.on) for change in changes]))
    right = [float(bool(truth[change.row, change.unit]) == change.on) for change in changes]
    calibrator.right.copy_(torch.tensor(right))
    before = _quality(space, truth, space.units.mean(said).numpy())
    return calibrator, Calibration(len(logits), before, _quality(space, truth, means))


def _fitted(space: LabelSpace, logits: Tensor, truth: Tensor) -> Calibrator:
    """The likeliest calibrator; where nothing can be told, one that changes nothing."""
    calibrator = Calibrator(len(space.names))
    for span in space.spans:
        part = slice(span.start, span.stop)
        if span.exclusive:
            units = Categorical(span.stop - span.start)
            calibrator.slope[part] = likeliest_scale(units, logits[:, part], truth[:, part])
            continue
        slope, offset = _platt(span, logits[:, part].numpy(), truth[:, part].numpy())
        if slope > 0:
            calibrator.slope[part] = slope
            calibrator.offset[part] = torch.from_numpy(offset).float()
    return calibrator


def _platt(
    span: Span, logits: NDArray[np.float32], truth: NDArray[np.float32]
) -> tuple[float, NDArray[np.float64]]:
    """One slope, and a bias for each label, (labels,); a slope of 0 where all labels are alike."""
    labels = span.stop - span.start
    if len(np.unique(truth)) < 2:
        return 0.0, np.zeros(labels)
    # A row for each label of each example: its log-odds, and a 1 in the label's column.
    said = SLOPE_SCALE * logits.astype(np.float64).ravel()
    columns = np.stack([np.zeros(len(said), int), np.tile(np.arange(labels), len(logits)) + 1], 1)
    values = np.stack([said, np.ones(len(said))], 1)
    starts = 2 * np.arange(len(said) + 1)
    evidence = csr_array((values.ravel(), columns.ravel(), starts), (len(said), 1 + labels))
    fitted = LogisticRegression(C=SHRINKAGE, max_iter=1000).fit(evidence, truth.ravel())
    slope, *biases = fitted.coef_[0]
    return float(SLOPE_SCALE * slope), np.array(biases) + fitted.intercept_[0]


def _quality(
    space: LabelSpace, truth: NDArray[np.float32], probabilities: NDArray[np.float32]
) -> Quality:
    units = space.units
    return Quality(
        calibration_error(units, truth, probabilities),
        brier_score(units, truth, probabilities),
        reliability(units, truth, probabilities),
    )
