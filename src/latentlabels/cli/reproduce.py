"""`reproduce`: the paper's tables and figures, with the options of that command."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from latentlabels.cli import Stopped, one_line
from latentlabels.cli.console import Voice
from latentlabels.cli.options import DEFAULTS, OutputOptions, VoiceOptions, grouped

_data = partial(typer.Option, rich_help_panel="Data")
_experiment = partial(typer.Option, rich_help_panel="Experiment")

REMEMBERED = (
    "interrupted; what was done is kept in {out}: the same command goes on after its last epoch."
)


class Target(StrEnum):
    """A table or figure of the paper."""

    TABLE1 = "table1"
    TABLE2 = "table2"
    FIGURE3 = "figure3"
    FIGURE4 = "figure4"


class Scale(StrEnum):
    """The paper's settings, or some for a machine without a graphics card."""

    PAPER = "paper"
    SMALL = "small"


@dataclass(frozen=True)
class DataOptions:
    """What is run on."""

    data: Annotated[
        Path,
        _data(
            "--data",
            metavar="DIR",
            help="COCO 2014's folder, or for table2 that of CIFAR-10's binary version.",
        ),
    ]
    tags: Annotated[
        Path | None,
        _data(
            "--tags",
            metavar="FILE",
            help="Flickr tags of COCO's images: more columns in table1, or what a figure shows.",
        ),
    ] = None
    noise: Annotated[
        list[float] | None,
        _data("--noise", help="Noise rates of table2, by default 0.1 to 0.5. Repeat."),
    ] = None
    workers: Annotated[int, _data("--workers", min=0, help="Processes that read and decode.")] = (
        DEFAULTS["workers"]
    )


@dataclass(frozen=True)
class ExperimentOptions:
    """What is run."""

    scale: Annotated[
        Scale,
        _experiment("--scale", help="The paper's settings, or small ones for a laptop."),
    ] = Scale.PAPER
    seeds: Annotated[
        int,
        _experiment("--seeds", min=1, help="Runs of each method, with seeds 0, 1, ..."),
    ] = 1
    only: Annotated[
        list[str] | None,
        _experiment(
            "--only",
            metavar="METHOD",
            help="clean, mapped, no-pairwise, no-hidden, hidden, no-link or alpha-0. Repeat.",
        ),
    ] = None
    changes: Annotated[
        list[str] | None,
        _experiment("--set", metavar="NAME=VALUE", help="Change a setting. Repeat."),
    ] = None
    backbone: Annotated[
        str | None,
        _experiment(
            "--backbone",
            metavar="NAME",
            help="One of the configuration's networks, another timm model, or cifar_resnet and a "
            "number of layers.",
        ),
    ] = None
    weights: Annotated[
        Path | None,
        _experiment("--weights", metavar="FILE", help="The network's, as safetensors."),
    ] = None
    pretrained: Annotated[
        bool,
        _experiment(
            "--pretrained/--from-scratch",
            help="Start COCO's networks from trained weights, or train them from nothing.",
        ),
    ] = True


@grouped
def reproduce(
    target: Annotated[Target, typer.Argument(help="A table or figure of the paper.")],
    data: DataOptions,
    experiment: ExperimentOptions,
    output: OutputOptions,
    voice_options: VoiceOptions,
) -> None:
    """Run the paper's experiments: leaves a table beside its figures, or a picture.

    Every run is kept as it ends. The same command on the same folder goes on after the last epoch.
    """
    # These take a second to import, which other commands need not wait for.
    from latentlabels.experiments.paper import MEASURES, NOISE_RATES
    from latentlabels.experiments.paper_tables import as_rich
    from latentlabels.experiments.plan import FIGURES, Request
    from latentlabels.experiments.reproduce import reproduce as run

    voice = Voice(voice_options)
    request = Request(
        target=target.value,
        data=data.data,
        scale=experiment.scale.value,
        seeds=experiment.seeds,
        only=tuple(experiment.only or ()),
        tags=data.tags,
        noise=tuple(data.noise or NOISE_RATES),
        backbone=experiment.backbone,
        weights=experiment.weights,
        pretrained=experiment.pretrained,
        changes=tuple(experiment.changes or ()),
        workers=data.workers,
    )
    try:
        written = run(
            request,
            output.out,
            overwrite=output.overwrite,
            progress=voice.progress,
            say=voice.say,
        )
    except KeyboardInterrupt as error:
        raise Stopped(REMEMBERED.format(out=output.out)) from error
    if target not in FIGURES:
        facts = json.loads((output.out / f"{target}.json").read_text(encoding="utf-8"))
        for measure in MEASURES:
            voice.console.print(as_rich(facts, measure))
    voice.summary([("written", one_line(f"{', '.join(written)} in {output.out}"))])
