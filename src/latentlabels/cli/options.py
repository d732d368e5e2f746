"""The options of the commands, in groups that several commands share."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from latentlabels.architecture import MOST_NETWORKS
from latentlabels.data.cells import Kind
from latentlabels.data.table import Format
from latentlabels.estimator import RobustClassifier
from latentlabels.network.encoders import MOST_SIZE
from latentlabels.parameters import MOST_COUNT, MOST_WORKERS

MOST_SEED = 2**32 - 1
DEFAULTS: dict[str, Any] = {
    name: parameter.default
    for name, parameter in inspect.signature(RobustClassifier).parameters.items()
}


def _option(group: str, *names: str, metavar: str | None = None, help: str, **more: Any) -> Any:
    return typer.Option(*names, metavar=metavar, help=help, rich_help_panel=group, **more)


def _column(*names: str, help: str) -> Any:
    return _option("Columns", *names, metavar="COLUMN", help=help)


class InputChoice(StrEnum):
    """What an example is, or whatever its column looks like."""

    AUTO = "auto"
    VECTOR = "vector"
    IMAGE = "image"
    TEXT = "text"


class Tune(StrEnum):
    """Which part of a network on images or texts is trained."""

    HEAD = "head"
    ALL = "all"


class Precision(StrEnum):
    """Of a tuned backbone's products."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class Preset(StrEnum):
    """Defaults to start from."""

    DEFAULT = "default"
    PAPER = "paper"


class Schedule(StrEnum):
    """Of the step sizes."""

    CONSTANT = "constant"
    ONE_CYCLE = "one-cycle"


class SamplerChoice(StrEnum):
    """What draws the chains."""

    AUTO = "auto"
    REFERENCE = "reference"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class OnBadInput(StrEnum):
    """What to do at an example that cannot be used."""

    FAIL = "fail"
    SKIP = "skip"


INPUT = _column(
    "--input",
    help="Images (paths, bytes or Hugging Face images), texts, vectors, or numbers, of which "
    "several columns may be named.",
)
NOISY = _column("--noisy", help="Noisy labels. Repeat for several annotators.")

IdOption = Annotated[
    str | None, _column("--id", help="Names the rows; by default id, or else row numbers.")
]
InputOption = Annotated[list[str] | None, INPUT]
NoisyOption = Annotated[list[str] | None, NOISY]
CleanOption = Annotated[
    str | None, _column("--clean", help="Clean labels; a row with an empty cell is not verified.")
]
VerifiedOption = Annotated[
    str | None,
    _column("--verified", help="Training rows whose clean labels may be read; the rest score."),
]
SplitOption = Annotated[
    str | None,
    _column("--split", help="train, validation (chooses the epoch), or test (scores)."),
]
DelimiterOption = Annotated[
    str | None,
    _option(
        "Columns",
        "--delimiter",
        metavar="TEXT",
        help="Between labels in a text; by default the first of ; | , that occurs.",
    ),
]


@dataclass(frozen=True)
class FitColumns:
    """The columns to fit on."""

    input: Annotated[list[str], INPUT]
    noisy: Annotated[list[str], NOISY]
    clean: CleanOption = None
    verified: VerifiedOption = None
    split: SplitOption = None
    id: IdOption = None
    input_kind: Annotated[
        InputChoice,
        _option("Columns", "--input-kind", help="By default what the column looks like."),
    ] = InputChoice.AUTO


@dataclass(frozen=True)
class ApplyColumns:
    """The columns to apply a model to; those that are not named are those of fitting."""

    input: InputOption = None
    noisy: NoisyOption = None
    clean: CleanOption = None
    verified: VerifiedOption = None
    split: SplitOption = None
    id: IdOption = None
    delimiter: DelimiterOption = None


@dataclass(frozen=True)
class PredictColumns:
    """The columns to predict from; those that are not named are those of fitting."""

    input: InputOption = None
    id: IdOption = None


@dataclass(frozen=True)
class CellOptions:
    """How label cells are read."""

    delimiter: DelimiterOption = None
    noisy_kind: Annotated[
        Kind, _option("Columns", "--noisy-kind", help="Any number of noisy labels, or one class.")
    ] = Kind.AUTO
    clean_kind: Annotated[
        Kind, _option("Columns", "--clean-kind", help="Any number of clean labels, or one class.")
    ] = Kind.AUTO


@dataclass(frozen=True)
class InputOptions:
    """How images and texts are read."""

    folder: Annotated[
        Path | None,
        _option(
            "Input",
            "--folder",
            metavar="DIR",
            help="Where images' paths start; by default the table's folder.",
        ),
    ] = None
    on_bad_input: Annotated[
        OnBadInput,
        _option(
            "Input",
            "--on-bad-input",
            help="At images and texts that cannot be used: fail, or leave them out and list them "
            "in skipped.csv.",
        ),
    ] = OnBadInput.FAIL
    workers: Annotated[
        int,
        _option(
            "Input", "--workers", min=0, max=MOST_WORKERS, help="Processes that read and decode."
        ),
    ] = DEFAULTS["workers"]
    cache: Annotated[
        Path | None,
        _option(
            "Input",
            "--cache",
            metavar="DIR",
            help="Keeps features of images and texts; by default a user's cache folder.",
        ),
    ] = DEFAULTS["cache"]


@dataclass(frozen=True)
class BackboneOptions:
    """Arguments of `RobustClassifier` on backbones, of the same names but for `precision`."""

    backbone: Annotated[
        str | None,
        _option(
            "Backbone",
            "--backbone",
            metavar="NAME",
            help="A timm model for images; a sentence-transformers model or its folder for texts.",
        ),
    ] = DEFAULTS["backbone"]
    weights: Annotated[
        Path | None,
        _option("Backbone", "--weights", metavar="FILE", help="A timm model's, as safetensors."),
    ] = DEFAULTS["weights"]
    pretrained: Annotated[
        bool,
        _option("Backbone", "--pretrained/--from-scratch", help="Start from trained weights."),
    ] = DEFAULTS["pretrained"]
    tune: Annotated[
        Tune,
        _option(
            "Backbone",
            "--tune",
            help="Train layers on the backbone's features, computed once; or all, end to end.",
        ),
    ] = Tune.HEAD
    image_size: Annotated[
        int | None,
        _option(
            "Backbone",
            "--image-size",
            min=8,
            max=MOST_SIZE,
            help="Pixels; by default the model's own.",
        ),
    ] = DEFAULTS["image_size"]
    augment: Annotated[
        bool,
        _option("Backbone", "--augment/--no-augment", help="Crop and flip where all is tuned."),
    ] = DEFAULTS["augment"]
    precision: Annotated[
        Precision,
        _option(
            "Backbone",
            "--backbone-precision",
            help="Of a tuned backbone's products; auto takes the faster.",
        ),
    ] = Precision.AUTO
    encoder_learning_rate: Annotated[
        float,
        _option("Backbone", "--encoder-learning-rate", min=0, help="Adam's, for the backbone."),
    ] = DEFAULTS["encoder_learning_rate"]


@dataclass(frozen=True)
class ModelOptions:
    """Arguments of `RobustClassifier`, of the same names, and files that hold some."""

    preset: Annotated[
        Preset,
        _option(
            "Model",
            "--preset",
            help="Where the options that are not given start: ours, or the paper's own method.",
        ),
    ] = Preset.DEFAULT
    auxiliary: Annotated[
        str,
        _option(
            "Model",
            "--auxiliary",
            metavar="KIND",
            help="What is known of noisy → clean: auto, regression, rbm or transition.",
        ),
    ] = DEFAULTS["auxiliary"]
    transition_matrix: Annotated[
        list[Path] | None,
        _option(
            "Model",
            "--transition-matrix",
            metavar="FILE",
            help="A CSV of p(noisy | clean): a row for each clean class, a column for each noisy "
            "one, ordered as in the files of labels or else by spelling. One for each annotator.",
        ),
    ] = None
    clean_labels: Annotated[
        Path | None,
        _option("Model", "--clean-labels", metavar="FILE", help="All clean labels, one a line."),
    ] = DEFAULTS["clean_labels"]
    noisy_labels: Annotated[
        Path | None,
        _option("Model", "--noisy-labels", metavar="FILE", help="All noisy labels, one a line."),
    ] = DEFAULTS["noisy_labels"]
    min_count: Annotated[
        int,
        _option(
            "Model",
            "--min-count",
            min=1,
            max=MOST_COUNT,
            help="Leave noisy labels that fewer training rows have out of account.",
        ),
    ] = DEFAULTS["min_count"]
    normalise_labels: Annotated[
        bool,
        _option(
            "Model",
            "--normalise-labels/--labels-as-they-are",
            help="Labels that differ only by case, spaces or Unicode form are one label.",
        ),
    ] = DEFAULTS["normalise_labels"]
    hidden: Annotated[
        int, _option("Model", "--hidden", min=0, help="Hidden units that join noisy labels.")
    ] = DEFAULTS["hidden"]
    pairwise: Annotated[
        bool, _option("Model", "--pairwise/--no-pairwise", help="Join clean and noisy labels.")
    ] = DEFAULTS["pairwise"]
    noisy_link: Annotated[
        bool,
        _option("Model", "--noisy-link/--no-noisy-link", help="Join input and noisy labels."),
    ] = DEFAULTS["noisy_link"]
    teachers: Annotated[
        int | None,
        _option(
            "Model",
            "--teachers",
            min=0,
            max=MOST_NETWORKS,
            help="Networks of the verified rows alone that join the auxiliary, by default 4 on a "
            "frozen backbone.",
        ),
    ] = DEFAULTS["teachers"]
    students: Annotated[
        int | None,
        _option(
            "Model",
            "--students",
            min=0,
            max=MOST_NETWORKS,
            help="Networks that learn from the cleaned labels, and predict in the model's place; "
            "by default 4 on a frozen backbone, 1 elsewhere.",
        ),
    ] = DEFAULTS["students"]
    hidden_layers: Annotated[
        str | None,
        _option(
            "Model",
            "--hidden-layers",
            metavar="WIDTHS",
            help="The network's, by default 512,512; none on a backbone that is tuned.",
        ),
    ] = DEFAULTS["hidden_layers"]
    input_dropout: Annotated[
        float | None,
        _option(
            "Model",
            "--input-dropout",
            min=0,
            max=0.999,
            help="Share of inputs left out in training, by default half of a frozen backbone's.",
        ),
    ] = DEFAULTS["input_dropout"]
    start: Annotated[
        str,
        _option(
            "Training",
            "--start",
            metavar="WHERE",
            help='Where pairwise weights start: "auxiliary", or "zero" as in the paper.',
        ),
    ] = DEFAULTS["start"]
    alpha_start: Annotated[
        float | None,
        _option(
            "Training",
            "--alpha-start",
            min=0,
            help="The auxiliary's first weight, by default 8 with teachers, 2 without.",
        ),
    ] = DEFAULTS["alpha_start"]
    alpha_end: Annotated[
        float | None,
        _option(
            "Training",
            "--alpha-end",
            min=0,
            help="The auxiliary's last weight, by default 2 with teachers, 0.1 without.",
        ),
    ] = DEFAULTS["alpha_end"]
    alpha_epochs: Annotated[
        float | None,
        _option(
            "Training",
            "--alpha-epochs",
            min=0,
            help="Epochs from first to last, by default 10, or a quarter of all if less.",
        ),
    ] = DEFAULTS["alpha_epochs"]
    chains: Annotated[int, _option("Training", "--chains", min=1, help="Gibbs chains a row.")] = (
        DEFAULTS["chains"]
    )
    sweeps: Annotated[
        int, _option("Training", "--sweeps", min=1, help="Gibbs sweeps an update, at most.")
    ] = DEFAULTS["sweeps"]
    adaptive_sweeps: Annotated[
        bool,
        _option(
            "Training",
            "--adaptive-sweeps/--fixed-sweeps",
            help="Stop sweeping once chains have forgotten their start, or never before --sweeps.",
        ),
    ] = DEFAULTS["adaptive_sweeps"]
    sampler: Annotated[
        SamplerChoice,
        _option("Training", "--sampler", help="What draws the chains; auto takes the quickest."),
    ] = SamplerChoice.AUTO
    chain_file: Annotated[
        Path | None,
        _option(
            "Training",
            "--chain-file",
            metavar="FILE",
            help="Map chains from this file, one bit a unit, instead of keeping them in memory.",
        ),
    ] = DEFAULTS["chain_file"]
    epochs: Annotated[
        int, _option("Training", "--epochs", min=1, help="Passes over the rows at most.")
    ] = DEFAULTS["epochs"]
    patience: Annotated[
        int, _option("Training", "--patience", min=1, help="Epochs without a better score.")
    ] = DEFAULTS["patience"]
    batch_size: Annotated[
        int, _option("Training", "--batch-size", min=2, help="Rows an update.")
    ] = DEFAULTS["batch_size"]
    learning_rate: Annotated[
        float, _option("Training", "--learning-rate", min=0, help="Adam's step size.")
    ] = DEFAULTS["learning_rate"]
    crf_learning_rate: Annotated[
        float,
        _option("Training", "--crf-learning-rate", min=0, help="Adam's step size for the CRF."),
    ] = DEFAULTS["crf_learning_rate"]
    weight_decay: Annotated[
        float,
        _option("Training", "--weight-decay", min=0, help="Weight decay of network and CRF."),
    ] = DEFAULTS["weight_decay"]
    schedule: Annotated[
        Schedule,
        _option(
            "Training",
            "--schedule",
            help="Step sizes: constant, or risen and fallen to nothing over all epochs.",
        ),
    ] = DEFAULTS["schedule"]
    validation_fraction: Annotated[
        float,
        _option(
            "Training",
            "--validation-fraction",
            min=0,
            max=0.9,
            help="Share of the verified rows that chooses the epoch, without validation rows.",
        ),
    ] = DEFAULTS["validation_fraction"]
    checkpoints: Annotated[
        Path | None,
        _option("Training", "--checkpoints", metavar="DIR", help="Keep training's checkpoints."),
    ] = DEFAULTS["checkpoints"]
    resume: Annotated[
        bool,
        _option(
            "Training",
            "--resume/--no-resume",
            help="Go on after the last epoch in --checkpoints, if there is one.",
        ),
    ] = DEFAULTS["resume"]


@dataclass(frozen=True)
class ReviewOptions:
    """What a review left, for the next fit."""

    decisions: Annotated[
        list[Path] | None,
        _option(
            "Review",
            "--decisions",
            metavar="FILE",
            help="Rows that were decided in a review are verified. Repeat for several files; a "
            "later one counts more.",
        ),
    ] = None
    warm_start: Annotated[
        Path | None,
        _option(
            "Review",
            "--warm-start",
            metavar="DIR",
            help="Start from this model's weights; by default from the model beside the last "
            "--decisions.",
        ),
    ] = None
    cold_start: Annotated[
        bool, _option("Review", "--cold-start", help="Start anew, whatever was reviewed.")
    ] = False
    learning_curve: Annotated[
        bool,
        _option(
            "Review",
            "--learning-curve",
            help="Estimate what more verified rows would bring: by twelve more fits, on parts of "
            "those there are.",
        ),
    ] = False


@dataclass(frozen=True)
class OutputOptions:
    """Where results go."""

    out: Annotated[Path, _option("Output", "--out", metavar="DIR", help="The results' folder.")]
    overwrite: Annotated[
        bool, _option("Output", "--overwrite", help="Replace results that are there.")
    ] = False


@dataclass(frozen=True)
class TableOutput(OutputOptions):
    """Where results go, and as which kind of table."""

    format: Annotated[
        Format,
        _option(
            "Output",
            "--format",
            help="The table's kind. A CSV has lists in JSON, and an apostrophe before text that "
            "begins like a formula.",
        ),
    ] = Format.PARQUET


@dataclass(frozen=True)
class CleanedOutput(TableOutput):
    """Where cleaned labels go, and which of their changes are made."""

    wanted: Annotated[
        float | None,
        _option(
            "Output",
            "--precision",
            metavar="SHARE",
            help="Make only changes of which such a share is right, as 0.95, judged by held-out "
            "verified rows; mark the others for review.",
        ),
    ] = None


@dataclass(frozen=True)
class SharingOptions:
    """Processes that share a table's rows, each of which writes a Parquet file of its own."""

    devices: Annotated[
        int | None,
        _option(
            "Processes",
            "--devices",
            min=1,
            help="Processes on each machine that share the rows; by default one, or those that "
            "torchrun or SLURM started.",
        ),
    ] = DEFAULTS["devices"]
    nodes: Annotated[
        int | None,
        _option("Processes", "--nodes", min=1, help="Machines; by default one, or theirs."),
    ] = DEFAULTS["nodes"]


class Strategy(StrEnum):
    """How processes that train together tell one another of their gradients."""

    AUTO = "auto"
    DDP = "ddp"
    DDP_UNUSED = "ddp_find_unused_parameters_true"


@dataclass(frozen=True)
class TrainingOptions(SharingOptions):
    """Processes that train together; the first writes."""

    strategy: Annotated[
        Strategy,
        _option(
            "Processes",
            "--strategy",
            help="auto is ddp; the other is for a backbone with parameters that have no part in "
            "the loss.",
        ),
    ] = Strategy.AUTO


@dataclass(frozen=True)
class VoiceOptions:
    """What a command says."""

    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing but errors.")] = False
    progress: Annotated[
        bool | None,
        typer.Option(
            "--progress/--no-progress",
            help="Show what is going on; by default on a terminal.",
            show_default=False,
        ),
    ] = None


@dataclass(frozen=True)
class RunOptions(VoiceOptions):
    """What a command that makes something new has."""

    seed: Annotated[
        int, typer.Option("--seed", min=0, max=MOST_SEED, help="Of everything random.")
    ] = 0


@dataclass(frozen=True)
class RerunOptions(VoiceOptions):
    """What a command that uses a fitted model has."""

    seed: Annotated[
        int | None,
        typer.Option(
            "--seed",
            min=0,
            max=MOST_SEED,
            help="Of the chains that predict where no students do; by default the model's.",
        ),
    ] = None
    weights: Annotated[
        Path | None,
        _option(
            "Input",
            "--weights",
            metavar="FILE",
            help="The file of the image model's weights, where fitting was given one.",
        ),
    ] = None
    backbone: Annotated[
        str | None,
        _option(
            "Input",
            "--backbone",
            metavar="NAME",
            help="The backbone of fitting, where it was a folder or another publisher's model.",
        ),
    ] = None


def grouped(function: Callable[..., None]) -> Callable[..., None]:
    """A command for Typer from a function that takes groups of options.

    Typer wants one parameter for each option. The command has one for each field of the function's
    dataclasses, and puts the dataclasses together again.
    """
    parameters: list[inspect.Parameter] = []
    groups: dict[str, Any] = {}
    own = inspect.signature(function).parameters
    for name, hint in get_type_hints(function, include_extras=True).items():
        if name == "return":
            continue
        if not is_dataclass(hint):
            parameters.append(_parameter(name, hint, own[name].default))
            continue
        groups[name] = hint
        hints = get_type_hints(hint, include_extras=True)
        for field in fields(hint):
            default = inspect.Parameter.empty if field.default is MISSING else field.default
            parameters.append(_parameter(field.name, hints[field.name], default))

    @wraps(function)
    def command(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
        function(**values)

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, annotation=annotation, default=default)
