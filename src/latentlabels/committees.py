"""Committees: networks that are trained as plain classifiers before the model and after it.

Teachers learn from the verified rows before it, students from its cleaned labels after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from rich.console import Console
from scipy.sparse import csr_array, vstack
from torch import Tensor

from latentlabels.evaluation.metrics import score
from latentlabels.model.pairwise import PairwiseCRF
from latentlabels.model.posterior import Auxiliary
from latentlabels.model.units import Units
from latentlabels.network.examples import in_batches
from latentlabels.robust_model import Committee, RobustModel, Teacher
from latentlabels.training.fit import train
from latentlabels.training.rows import Rows, passes_for_as_many_updates
from latentlabels.training.settings import TrainingSettings

SMALLEST_MEAN = 1e-6
SCALES = torch.logspace(-1.5, 0.5, 81)


def member_seeds(seed: int, kind: str, count: int) -> list[int]:
    """A seed for each network of a committee, below 2³², unlike the model's and one another.

    Args:
        seed: of training.
        kind: "teacher" or "student".
        count: of networks.
    """
    path = [seed, *kind.encode()]
    return [int(state) for state in np.random.SeedSequence(path).generate_state(count)]


def teach(
    teacher: Teacher,
    seeds: Sequence[int],
    rows: Rows,
    validation: Rows,
    auxiliary: Auxiliary,
    training: TrainingSettings,
    *,
    progress: bool,
) -> None:
    """Train a teacher in place on the verified rows, by as many updates as the model will get."""
    known = np.flatnonzero(rows.verified)
    few = Rows(rows.x.take(known), rows.noisy[known], rows.clean[known], rows.verified[known])
    longer = passes_for_as_many_updates(len(few), len(rows), training.batch_size)
    patient = replace(
        training, epochs=longer * training.epochs, patience=longer * training.patience
    )
    _train(teacher, seeds, few, validation, auxiliary, patient, "teacher", progress=progress)
    teacher.prior.copy_(prior_logits(rows.noisy, auxiliary))
    teacher.scale.copy_(calibrated_scale(teacher, validation, auxiliary.clean))


def distil(
    students: Committee,
    seeds: Sequence[int],
    model: RobustModel,
    rows: Rows,
    validation: Rows | None,
    training: TrainingSettings,
    *,
    progress: bool,
) -> None:
    """Train students in place on the cleaned labels of all rows, those of verified ones as given.

    Source: Hinton et al. (2015), at temperature 1.
    """
    soft = []
    examples = in_batches(rows.x, workers=0, progress=progress, doing="cleaning")
    for batch, x in examples:
        taken = batch.numpy()
        noisy = torch.from_numpy(rows.noisy[taken].astype(np.float32).toarray())
        mean = model.clean_mean(x, noisy).numpy()
        known = rows.verified[taken]
        mean[known] = rows.clean[taken[known]].toarray()
        soft.append(csr_array(mean))
    cleaned = Rows(
        rows.x, rows.noisy, csr_array(vstack(soft, format="csr")), np.ones(len(rows), dtype=bool)
    )
    auxiliary = model.auxiliary
    _train(students, seeds, cleaned, validation, auxiliary, training, "student", progress=progress)


def _train(
    committee: Committee,
    seeds: Sequence[int],
    rows: Rows,
    validation: Rows | None,
    auxiliary: Auxiliary,
    training: TrainingSettings,
    kind: str,
    *,
    progress: bool,
) -> None:
    """Train each network on its own, as a plain classifier of rows that are all verified."""
    for number, (network, seed) in enumerate(zip(committee.networks, seeds, strict=True), 1):
        if progress:
            Console(stderr=True).print(f"{kind} {number} of {len(seeds)}")
        crf = PairwiseCRF(auxiliary.noisy, auxiliary.clean, pairwise=False)
        plain = RobustModel(network, crf, auxiliary.without_hidden(), alpha=0.0)
        plain.start_from_labels(rows.noisy_mean())
        own = None if training.checkpoints is None else training.checkpoints / f"{kind}-{number}"
        settings = replace(training, seed=seed, checkpoints=own)
        train(plain, rows, validation, settings, progress=progress)
        committee.bias += crf.clean_bias.detach() / len(committee.networks)
    committee.eval().requires_grad_(False)


@torch.no_grad()
def calibrated_scale(teacher: Teacher, validation: Rows, clean: Units) -> Tensor:
    """The scale of a teacher's logits under which the validation rows' labels are most likely."""
    truth = torch.from_numpy(validation.clean.toarray()).float()
    said = teacher.eval().logits(validation.x.batch(np.arange(len(validation))))
    return likeliest_scale(clean, said, truth)


def likeliest_scale(units: Units, logits: Tensor, states: Tensor) -> Tensor:
    """The scale of the logits under which states are most likely; both (rows, units).

    Source: Guo et al. (2017), whose temperature it is one over.
    """
    likely = torch.stack([units.log_probability(scale * logits, states).sum() for scale in SCALES])
    return SCALES[likely.argmax()]


@torch.no_grad()
def validation_score(students: Committee, validation: Rows, clean: Units) -> float:
    """The score of what students say of the validation rows, from 0 to 1."""
    examples = in_batches(validation.x, workers=0, progress=False, doing="")
    said = torch.cat([students.logits(x) for _, x in examples])
    return score(clean, validation.clean.toarray(), clean.mean(said).double().numpy())


def prior_logits(noisy: csr_array, auxiliary: Auxiliary) -> Tensor:
    """Natural parameters of p_aux(ŷ) = mean over rows of p_aux(ŷ | y), (clean,).

    What the auxiliary would say of no row in particular.

    Args:
        noisy: given labels, sparse (rows, noisy).
        auxiliary: what is known of noisy → clean.
    """
    clean = auxiliary.clean
    weight = auxiliary.weight[: clean.size].numpy()
    logits = torch.from_numpy(noisy.astype(np.float32, copy=False) @ weight.T)
    mean = clean.mean(logits + auxiliary.bias[: clean.size]).double().mean(0)
    return clean.logits_of(mean.clamp(SMALLEST_MEAN, 1 - SMALLEST_MEAN)).float()
