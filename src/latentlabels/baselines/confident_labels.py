"""Confident learning for rows with any number of labels, by cleanlab.

Source: Thyagarajan et al., Identifying incorrect annotations in multi-label classification data
(2022).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from latentlabels.baselines.confident_learning import Corrected, few_of_a_class
from latentlabels.baselines.held_out import fit_targets, out_of_sample
from latentlabels.baselines.problem import Baseline, Fitted, Problem, unless_named
from latentlabels.errors import needing


class ConfidentLabels(Baseline):
    """Labels that cleanlab finds wrong are turned round, and a network trained on the result.

    Each label is taken as a choice of two classes, 0 and 1, and confident learning finds the rows
    where it is wrong from what networks trained on the other folds say. That verified rows have
    their clean labels, and keep them, is ours, and so is training on the labels turned round.
    """

    name = "confident learning, labels"
    source = "Thyagarajan et al. (2022)"
    choices = (
        {"filter_by": "prune_by_noise_rate"},
        {"filter_by": "both"},
        {"filter_by": "confident_learning"},
    )

    def refuses(self, problem: Problem) -> str | None:
        if problem.is_multiclass:
            return "it is made for any number of labels a row"
        return unless_named(problem)

    def fit(self, problem: Problem, seed: int, **settings: Any) -> Fitted:
        with needing("cleanlab", "peers"):
            from cleanlab.multilabel_classification.filter import find_multilabel_issues_per_class
        filter_by: str = settings.pop("filter_by")
        labels = problem.all_read_as_clean()
        held_out = out_of_sample(problem, labels, seed, **settings).double().numpy()
        names = [np.flatnonzero(row).tolist() for row in labels.numpy()]
        with few_of_a_class():
            found = find_multilabel_issues_per_class(names, held_out, filter_by=filter_by, n_jobs=1)
        wrong = torch.from_numpy(found & ~problem.rows.verified[:, None])
        mended = torch.where(wrong, 1 - labels, labels)
        return Corrected(fit_targets(problem, mended, seed, **settings), labels, wrong)
