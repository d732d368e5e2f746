"""Train on noisy labels and clean them, with a probability for every proposal."""

from latentlabels.auxiliary.choice import fit_auxiliary
from latentlabels.auxiliary.transition import given_transition
from latentlabels.cleaning import CleanedLabels
from latentlabels.errors import LatentLabelsError
from latentlabels.estimator import RobustClassifier
from latentlabels.evaluation.learning_curve import LearningCurve
from latentlabels.exports.cleanlab import from_pred_probs, to_cleanlab
from latentlabels.model.pairwise import PairwiseCRF, Potentials
from latentlabels.model.posterior import Auxiliary
from latentlabels.model.schedule import AlphaSchedule, GibbsSchedule
from latentlabels.model.units import Bernoulli, Categorical, Joint
from latentlabels.objective import ExactPhase, PersistentGibbs, RobustLoss
from latentlabels.verifying import learning_curve

__all__ = [
    "AlphaSchedule",
    "Auxiliary",
    "Bernoulli",
    "Categorical",
    "CleanedLabels",
    "ExactPhase",
    "GibbsSchedule",
    "Joint",
    "LatentLabelsError",
    "LearningCurve",
    "PairwiseCRF",
    "PersistentGibbs",
    "Potentials",
    "RobustClassifier",
    "RobustLoss",
    "fit_auxiliary",
    "from_pred_probs",
    "given_transition",
    "learning_curve",
    "to_cleanlab",
]
__version__ = "0.1.0"
