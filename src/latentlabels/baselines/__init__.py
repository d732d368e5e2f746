"""Methods from the literature, each in a file of its own, behind one interface."""

from __future__ import annotations

from typing import Final

from latentlabels.baselines.bootstrapping import Bootstrapping
from latentlabels.baselines.confident_labels import ConfidentLabels
from latentlabels.baselines.confident_learning import ConfidentLearning
from latentlabels.baselines.dawid_skene import DawidSkene
from latentlabels.baselines.early_learning import EarlyLearning
from latentlabels.baselines.gold import GoldLossCorrection
from latentlabels.baselines.label_cleaning import LabelCleaning
from latentlabels.baselines.label_propagation import LabelPropagation
from latentlabels.baselines.large_loss import LargeLossRejection
from latentlabels.baselines.loss_correction import LossCorrection
from latentlabels.baselines.noise_layer import NoiseLayer
from latentlabels.baselines.noise_types import NoiseTypes
from latentlabels.baselines.noisy_or import NoisyOr
from latentlabels.baselines.plain import CrossEntropy
from latentlabels.baselines.problem import Baseline
from latentlabels.baselines.relationship import WeightedCrossEntropy
from latentlabels.baselines.reporting_bias import ReportingBias

BASELINES: Final[dict[str, Baseline]] = {
    "cross-entropy": CrossEntropy(),
    "bootstrap-soft": Bootstrapping("soft"),
    "bootstrap-hard": Bootstrapping("hard"),
    "early-learning": EarlyLearning(),
    "label-propagation": LabelPropagation(),
    "cleanlab-classes": ConfidentLearning(),
    "cleanlab-labels": ConfidentLabels(),
    "dawid-skene": DawidSkene(),
    "weighted": WeightedCrossEntropy(),
    "reporting-bias": ReportingBias(),
    "noisy-or": NoisyOr(),
    "label-cleaning": LabelCleaning(),
    "large-loss": LargeLossRejection(),
    "forward": LossCorrection("forward"),
    "backward": LossCorrection("backward"),
    "gold": GoldLossCorrection(),
    "noise-layer": NoiseLayer(),
    "noise-types": NoiseTypes(),
}
"""Every method by its key."""
