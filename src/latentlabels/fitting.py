"""Auxiliary, starting point and training in one go: from prepared rows to a trained model."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from numpy.typing import ArrayLike
from safetensors.torch import load, save
from torch import Tensor, nn

from latentlabels import processes
from latentlabels.architecture import Architecture, Tune, build_member, build_network
from latentlabels.auxiliary.choice import KINDS, AuxiliaryChoice, fit_auxiliary
from latentlabels.auxiliary.pairs import Pairs
from latentlabels.auxiliary.transition import given_transition, symmetric_transition
from latentlabels.committees import distil, member_seeds, teach, validation_score
from latentlabels.errors import LabelError, LatentLabelsError
from latentlabels.model.pairwise import PairwiseCRF
from latentlabels.model.posterior import Auxiliary
from latentlabels.model.units import Categorical, Units
from latentlabels.network.backbones import Standardise
from latentlabels.network.encoders import Encoder, faster_dtype
from latentlabels.network.examples import Vectors, in_batches, spread
from latentlabels.network.potentials import PotentialNetwork
from latentlabels.robust_model import Committee, RobustModel, Teacher
from latentlabels.sampling.diagnostics import Names
from latentlabels.training.fit import own_randomness, train
from latentlabels.training.position import History, run_of
from latentlabels.training.rows import Rows
from latentlabels.training.settings import TrainingSettings
from latentlabels.warm_start import WarmStart

ASSUMED_NOISE = 0.2
TIMED_EXAMPLES = 16
MOST_AVERAGED = 1000


@dataclass(frozen=True)
class ModelSettings:
    """The shape of a model and where it starts; the estimator's arguments of the same names."""

    auxiliary: str | ArrayLike | Auxiliary
    hidden: int
    pairwise: bool
    noisy_link: bool
    start: str
    hidden_layers: tuple[int, ...]
    dropout: float
    input_dropout: float = 0.0
    teachers: int = 0
    students: int = 0
    tune: Tune = "head"
    precision: str = "float32"


@dataclass(frozen=True)
class Fitted:
    """A trained model and what is to be told of its training."""

    model: RobustModel
    architecture: Architecture
    choice: AuxiliaryChoice
    history: History


def fit_model(
    rows: Rows,
    validation: Rows | None,
    noisy: Units,
    clean: Units,
    settings: ModelSettings,
    training: TrainingSettings,
    *,
    encoder: Encoder | None = None,
    backbone: nn.Module | None = None,
    warm: WarmStart | None = None,
    progress: bool = False,
    names: Names | None = None,
) -> Fitted:
    """Fit the auxiliary, start the model from it, and train.

    Args:
        rows: training rows.
        validation: rows for the choice of epoch.
        noisy: units of the noisy labels.
        clean: units of the clean labels.
        settings: the model's shape.
        training: how to train.
        encoder: what turned the examples into features or, where all is tuned, will.
        backbone: the caller's own, in the place of the network's layers.
        warm: a fitted model whose weights to start from.
        progress: whether to show a progress bar.
        names: of the clean and the noisy units, for messages.

    Raises:
        LatentLabelsError: a model to start from that has another shape.
        LabelError: an auxiliary that cannot be had for these labels.
        BackboneError: a backbone that cannot be used.
        LatentLabelsError: processes that train together were given different data or settings.
        ValueError: a given auxiliary for other units, or hidden units without pairwise terms.
    """
    _require_same(rows, validation, settings, training, encoder, backbone)
    with processes.together():
        crf, auxiliary, choice, architecture, network = _start(
            rows, noisy, clean, settings, training.seed, encoder, backbone
        )
        if warm is not None:
            warm.require_shape(architecture)

    def member(seed: int) -> PotentialNetwork:
        with own_randomness(seed):
            one = build_member(architecture, clean.size, backbone)
        for new, fitted in zip(_standards(one), _standards(network), strict=True):
            new.load_state_dict(fitted.state_dict())
        return one

    teacher = None
    if validation is not None and is_taught(rows, validation, settings):
        architecture = replace(architecture, teachers=settings.teachers)
        seeds = member_seeds(training.seed, "teacher", settings.teachers)
        teacher = Teacher([member(seed) for seed in seeds], clean.size)
        if warm is not None:
            warm.start_committee(teacher, warm.model.teacher)
        teach(teacher, seeds, rows, validation, auxiliary, training, progress=progress)
    model = RobustModel(
        network,
        crf,
        auxiliary,
        alpha=training.alpha.end,
        teacher=teacher,
        seed=training.seed,
    )
    if warm is None:
        model.start_from_labels(rows.noisy_mean(), weights=settings.start == "auxiliary")
    else:
        warm.start(model)
    history = train(model, rows, validation, training, progress=progress, names=names)
    if settings.students and settings.tune == "head" and not rows.verified.all():
        architecture = replace(architecture, students=settings.students)
        seeds = member_seeds(training.seed, "student", settings.students)
        students = Committee([member(seed) for seed in seeds], clean.size)
        if warm is not None:
            warm.start_committee(students, warm.model.students)
        distil(students, seeds, model, rows, validation, training, progress=progress)
        model.students = students
        if validation is not None:
            history.validation = validation_score(students, validation, clean)
    model.usual_input.copy_(_usual_input(model, rows))
    return Fitted(model, architecture, choice, history)


@torch.no_grad()
def _usual_input(model: RobustModel, rows: Rows) -> Tensor:
    """What examples say on average, (clean,), by training rows of all parts of the table."""
    some = rows.x.take(spread(len(rows), MOST_AVERAGED))
    examples = in_batches(some, workers=0, progress=False, doing="")
    return torch.cat([model.said_of_input(x) for _, x in examples]).mean(0)


def _start(
    rows: Rows,
    noisy: Units,
    clean: Units,
    settings: ModelSettings,
    seed: int,
    encoder: Encoder | None,
    backbone: nn.Module | None,
) -> tuple[PairwiseCRF, Auxiliary, AuxiliaryChoice, Architecture, PotentialNetwork]:
    """What a model starts from, before it has teachers; arguments as for `fit_model`."""
    if settings.start not in ("auxiliary", "zero"):
        raise LabelError(f'start is "auxiliary" or "zero", got {settings.start!r}.')
    with own_randomness(seed):
        crf = PairwiseCRF(noisy, clean, settings.hidden, pairwise=settings.pairwise)
    auxiliary, choice = _same_auxiliary(rows, noisy, clean, settings, seed)
    trained = encoder if settings.tune == "all" else None
    architecture = Architecture(
        inputs=_inputs(rows, trained),
        hidden_layers=settings.hidden_layers,
        dropout=settings.dropout,
        input_dropout=settings.input_dropout,
        hidden=settings.hidden,
        auxiliary_hidden=auxiliary.hidden.size,
        auxiliary_kind=auxiliary.kind,
        pairwise=settings.pairwise,
        noisy_link=settings.noisy_link,
        encoder=None if encoder is None else encoder.spec,
        tune=settings.tune,
        fingerprint=None if encoder is None or trained else encoder.fingerprint(),
        precision=_same_precision(trained, rows, settings.precision),
        own_backbone=backbone is not None and encoder is None,
    )
    with own_randomness(seed):
        network = build_network(architecture, clean.size, noisy.size, encoder, backbone)
    _standardise(network, rows)
    return crf, auxiliary, choice, architecture, network


def is_taught(rows: Rows, validation: Rows | None, settings: ModelSettings) -> bool:
    """Whether teachers are wanted, and there are rows to train them on and to choose their epochs.

    Where all rows are verified there is nothing to be taught, and a tuned backbone would have to be
    tuned for each of them.
    """
    some = bool(rows.verified.any()) and not rows.verified.all()
    wanted = settings.teachers > 0 and settings.tune == "head"
    return wanted and some and validation is not None


def _standardise(network: nn.Module, rows: Rows) -> None:
    if isinstance(rows.x, Vectors):
        for module in _standards(network):
            module.fit(rows.x.columns())


def _standards(network: nn.Module) -> list[Standardise]:
    return [module for module in network.modules() if isinstance(module, Standardise)]


def _inputs(rows: Rows, trained: Encoder | None) -> int:
    if trained is not None:
        return trained.features
    assert isinstance(rows.x, Vectors)
    return rows.x.inputs


def _precision(encoder: Encoder, rows: Rows, wanted: str) -> str:
    """What was asked for, or the faster one on a few examples."""
    if wanted != "auto":
        return wanted
    few = rows.x.batch(np.arange(min(TIMED_EXAMPLES, len(rows))))
    return "bfloat16" if faster_dtype(encoder, few) == torch.bfloat16 else "float32"


def _same_precision(encoder: Encoder | None, rows: Rows, wanted: str) -> str:
    """What is asked for, or is faster in the first process; float32 where nothing is tuned."""
    if encoder is None:
        return "float32"
    with processes.together():
        own = _precision(encoder, rows, wanted)
    same: str = processes.agreed(own)
    return same


def _require_same(
    rows: Rows,
    validation: Rows | None,
    settings: ModelSettings,
    training: TrainingSettings,
    encoder: Encoder | None,
    backbone: nn.Module | None,
) -> None:
    """Compare what the processes that train together were given; arguments as for `fit_model`.

    Raises:
        LatentLabelsError: not the same.
    """
    if processes.size() == 1:
        return
    # The first process's auxiliary is everyone's.
    given = replace(settings, auxiliary="auto")
    told = [
        run_of(nn.Module() if backbone is None else backbone, rows, validation, training),
        repr(given),
        None if encoder is None else encoder.fingerprint(),
    ]
    if any(other != told for other in processes.everyones(told)):
        raise LatentLabelsError(
            "The processes that train together were given different data or settings. Let the "
            "program do the same in each of them up to fit."
        )


def _same_auxiliary(
    rows: Rows, noisy: Units, clean: Units, settings: ModelSettings, seed: int
) -> tuple[Auxiliary, AuxiliaryChoice]:
    """What the first process fits, for all of them."""
    if processes.size() == 1:
        return _auxiliary(rows, noisy, clean, settings, seed)
    tensors, about = None, None
    with processes.together():
        if processes.rank() == 0:
            auxiliary, choice = _auxiliary(rows, noisy, clean, settings, seed)
            tensors = save({"bias": auxiliary.bias, "weight": auxiliary.weight})
            about = {"kind": auxiliary.kind, "choice": asdict(choice)}
    about = processes.agreed(about)
    same = Auxiliary(noisy, clean, **load(processes.told(tensors)), kind=about["kind"])
    return same, AuxiliaryChoice(**about["choice"])


def _auxiliary(
    rows: Rows, noisy: Units, clean: Units, settings: ModelSettings, seed: int
) -> tuple[Auxiliary, AuxiliaryChoice]:
    wanted = settings.auxiliary
    if isinstance(wanted, str) and wanted not in ("auto", *KINDS):
        raise LabelError(
            f"auxiliary is auto, {', '.join(KINDS)}, a transition matrix or an Auxiliary; "
            f"got {wanted!r}."
        )
    if isinstance(wanted, Auxiliary):
        return wanted, AuxiliaryChoice("given")
    if not isinstance(wanted, str):
        return given_transition(wanted, noisy, clean), AuxiliaryChoice("given")
    verified = np.flatnonzero(rows.verified)
    if len(verified):
        known = rows.clean[verified].toarray().astype(np.float32)
        pairs = Pairs(noisy, clean, rows.noisy[verified], known)
        return fit_auxiliary(pairs, wanted, hidden=settings.hidden, seed=seed)
    if wanted == "auto" and noisy == clean and isinstance(clean, Categorical):
        matrix = symmetric_transition(clean.n, ASSUMED_NOISE)
        return given_transition(matrix, noisy, clean), AuxiliaryChoice("symmetric")
    raise LabelError(
        "There are no verified rows, and these labels need some to tell what a noisy label says "
        "of a clean one. Verify some rows and pass them as clean=... (--clean), or pass "
        "auxiliary=... (--transition-matrix)."
    )
