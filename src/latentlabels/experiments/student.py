"""A strong plain baseline: a student of what a network and a regression say together.

A network that was trained on the verified rows says what it sees, the regression y → ŷ says what
the noisy labels mean, and both know the labels' frequencies, which are taken off once:

    fused logits = network's + regression's − prior's

They are the soft labels of the rows that are not verified. A second network, the student, is
trained on them, or several, of which the mean of the logits counts. Its cleaned labels are its own
logits, fused in the same way.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from latentlabels.committees import prior_logits
from latentlabels.data.labels import encode, read_columns
from latentlabels.estimator import RobustClassifier
from latentlabels.experiments.task import Cells, Task
from latentlabels.fitting import fit_model
from latentlabels.network.examples import Vectors, in_batches
from latentlabels.robust_model import Committee
from latentlabels.training.rows import Rows


def student_of(
    teacher: RobustClassifier,
    task: Task,
    settings: RobustClassifier,
    seed: int,
    *,
    networks: int = 1,
) -> RobustClassifier:
    """Train a student on all training rows.

    Args:
        teacher: a plain classifier of vectors, fitted on the verified rows with a regression.
        task: the table.
        settings: an unfitted plain classifier, for its network and its training.
        seed: of training.
        networks: how many the student is the mean of.

    Returns:
        The student, with the teacher's regression for `fused_probabilities`.
    """
    train, held = task.rows("train"), task.rows("validation")
    soft = fused_probabilities(teacher, task.x[train], task.noisy_of(train))
    noisy, clean = teacher.noisy_space_, teacher.clean_space_
    readable = task.verified[train]
    truth = encode(read_columns(task.clean_of(train[readable])), clean, what="clean")
    soft[readable] = truth.toarray()
    states = encode(read_columns(task.noisy_of(train)), noisy, unknown="ignore")
    targets = csr_array(soft)
    rows = Rows(Vectors(task.x[train]), states, targets, np.ones(len(train), dtype=bool))
    chosen = encode(read_columns(task.clean_of(held)), clean, unknown="ignore", what="clean")
    nothing = csr_array((len(held), states.shape[1]), dtype="float32")
    validation = Rows(Vectors(task.x[held]), nothing, chosen, np.ones(len(held), dtype=bool))
    settings.set_params(random_state=seed)
    shape = replace(settings.model_settings(), auxiliary=teacher.model_.auxiliary)
    members = [
        fit_model(
            rows,
            validation,
            noisy.units,
            clean.units,
            shape,
            settings.training_settings((seed + number) % 2**32),
        )
        for number in range(networks)
    ]
    student = copy.copy(teacher)
    student.model_, student.history_ = members[0].model, members[0].history
    if networks > 1:
        committee = Committee([member.model.network for member in members], clean.units.size)
        committee.bias += torch.stack([m.model.crf.clean_bias.detach() for m in members]).mean(0)
        student.model_.students = committee
    return student


@torch.no_grad()
def fused_probabilities(
    classifier: RobustClassifier, x: NDArray[np.float32], noisy: Cells
) -> NDArray[np.float32]:
    """What a plain classifier's network and its regression say together, (rows, clean)."""
    model, space = classifier.model_, classifier.noisy_space_
    states = encode(read_columns(noisy), space, unknown="ignore")
    known = model.auxiliary.clean_logits(torch.from_numpy(states.toarray()))
    prior = prior_logits(states, model.auxiliary)
    seen: list[Tensor] = [
        model.fields(batch).latent if model.students is None else model.students.logits(batch)
        for _, batch in in_batches(Vectors(x), workers=0, progress=False, doing="")
    ]
    units = classifier.clean_space_.units
    fused: NDArray[np.float32] = units.mean(torch.cat(seen) + known - prior).numpy()
    return fused
