"""What is run for a table or figure of the paper: columns, rows, seeds, and each column's data."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

import latentlabels
from latentlabels.data.cifar import load_cifar10
from latentlabels.data.coco import load_coco_captions, load_coco_flickr
from latentlabels.data.labelled_images import LabelledImages
from latentlabels.data.noise import patrini_transition
from latentlabels.errors import BackboneError, LatentLabelsError, TableError
from latentlabels.experiments.paper import (
    CIFAR_ROWS,
    CIFAR_SCALES,
    COCO_ROWS,
    COCO_SCALES,
    FIGURE_ROW,
    NOISE_RATES,
    PaperConfiguration,
    TableRow,
    chosen,
    with_changes,
)
from latentlabels.experiments.protocol import Method
from latentlabels.experiments.task import Task
from latentlabels.network.cifar_resnet import CifarResNet
from latentlabels.store import as_json
from latentlabels.training.fit import own_randomness

TABLES: Final = ("table1", "table2")
FIGURES: Final = ("figure3", "figure4")
# Validation and test rows, against training rows, where fewer than all are taken.
HELD_OUT: Final = 4


@dataclass(frozen=True)
class Request:
    """What somebody wants to have reproduced.

    Attributes:
        target: "table1", "table2", "figure3" or "figure4".
        data: COCO's folder, or CIFAR-10's for table 2.
        scale: "paper" or "small".
        seeds: how many runs of each method, with the seeds 0, 1, ...
        only: keys of the methods to run; all where it is empty.
        tags: the file of Flickr tags, for COCO.
        noise: noise rates of table 2.
        backbone: another network than the configuration's, or one of them.
        weights: a safetensors file for it.
        pretrained: whether it starts from trained weights.
        changes: to the configuration, such as "epochs=3".
        workers: processes that read images.
    """

    target: str
    data: Path
    scale: str = "paper"
    seeds: int = 1
    only: tuple[str, ...] = ()
    tags: Path | None = None
    noise: tuple[float, ...] = NOISE_RATES
    backbone: str | None = None
    weights: Path | None = None
    pretrained: bool = True
    changes: tuple[str, ...] = ()
    workers: int = 0


@dataclass(frozen=True)
class Column:
    """A data set with a network: a column of a table.

    Attributes:
        name: its name in tables and files.
        configuration: network and settings.
        tags: the file of Flickr tags, where they are COCO's noisy labels.
        noise: the noise rate, for CIFAR-10; None for COCO.
    """

    name: str
    configuration: PaperConfiguration
    tags: Path | None = None
    noise: float | None = None

    def load(self, data: Path, seed: int) -> LabelledImages:
        """The images of the column; the seed is that of verified rows, noise and drawn rows."""
        share = self.configuration.verified_share
        if self.noise is not None:
            images = load_cifar10(
                data,
                patrini_transition(self.noise),
                validation=self.configuration.validation_records,
                verified_share=share,
                seed=seed,
            )
        elif self.tags is None:
            images = load_coco_captions(data, verified_share=share, seed=seed)
        else:
            images = load_coco_flickr(data, self.tags, verified_share=share, seed=seed)
        return drawn(images, self.configuration.training_rows, seed)

    def method(self, row: TableRow, images: LabelledImages, request: Request, seed: int) -> Method:
        """A row of the table as a method under the protocol."""
        settings: dict[str, Any] = {
            **self.configuration.settings(),
            **row.changes,
            "auxiliary": "rbm" if self.noise is None else patrini_transition(self.noise),
            "clean_labels": images.clean_names,
            "noisy_labels": images.noisy_names,
            "weights": request.weights,
            "workers": request.workers,
        }
        layers = re.fullmatch(r"cifar_resnet(\d+)", self.configuration.backbone)
        if layers:
            with own_randomness(seed):
                settings["backbone"] = CifarResNet(int(layers[1]))
        return Method(row.name, row.role, settings)


@dataclass(frozen=True)
class Cell:
    """A run: a method on a column's data with a seed."""

    column: Column
    row: TableRow
    seed: int

    @property
    def key(self) -> str:
        """Its name in files."""
        return key_of(self.column.name, self.row.key, self.seed)


@dataclass(frozen=True)
class Plan:
    """All runs for a request.

    Attributes:
        request: what was asked for.
        columns: data sets with networks.
        rows: methods that are run.
        all_rows: methods of the table.
    """

    request: Request
    columns: tuple[Column, ...]
    rows: tuple[TableRow, ...]
    all_rows: tuple[TableRow, ...]

    def cells(self) -> Iterator[Cell]:
        """The runs, those on the same data next to each other."""
        for column in self.columns:
            for seed in range(self.request.seeds):
                yield from (Cell(column, row, seed) for row in self.rows)

    def settings(self) -> dict[str, dict[str, Any]]:
        """By column, everything that decides what comes out, as JSON values."""
        request = self.request
        weights = None if request.weights is None else _digest(request.weights)
        return {
            column.name: {
                **asdict(column.configuration),
                **as_json(column.configuration.settings()),
                "version": latentlabels.__version__,
                "noise": column.noise,
                "data": str(request.data.resolve()),
                "tags": None if column.tags is None else str(column.tags.resolve()),
                "weights": weights,
            }
            for column in self.columns
        }


def key_of(column: str, row: str, seed: int) -> str:
    """A cell's name in files."""
    return f"{column} | {row} | {seed}"


def plan_for(request: Request) -> Plan:
    """What to run for a request.

    Raises:
        LatentLabelsError: options that are not for this target, or contradict each other, or a
            file that is not there.
    """
    if request.target == "table2":
        return _cifar_plan(request)
    if request.noise != NOISE_RATES:
        raise LatentLabelsError(f"--noise is for table2, {request.target} has COCO's own noise.")
    configurations = _configurations(request, COCO_SCALES[request.scale])
    figure = request.target in FIGURES
    if figure:
        if request.only or request.seeds != 1:
            raise LatentLabelsError(
                f"--only and --seeds are for tables: {request.target} shows one model's labels."
            )
        configurations = configurations[:1]
    if request.tags is not None and not request.tags.is_file():
        # Else it would be missed only when all runs on captions are over.
        raise TableError(f"There is no tag file {request.tags}. Correct --tags.")
    sources: list[tuple[str, Path | None]] = []
    if request.tags is None or not figure:
        sources.append(("captions", None))
    if request.tags is not None:
        sources.append(("Flickr tags", request.tags))
    columns = tuple(
        Column(f"{source}, {configuration.network}", configuration, tags)
        for source, tags in sources
        for configuration in configurations
    )
    rows = chosen(COCO_ROWS, (FIGURE_ROW,) if figure else request.only)
    return Plan(request, columns, rows, COCO_ROWS)


def _cifar_plan(request: Request) -> Plan:
    if request.tags is not None:
        raise LatentLabelsError("--tags is for COCO's images: table2 has CIFAR-10's.")
    columns = tuple(
        Column(f"noise {100 * rate:g} %, {configuration.network}", configuration, noise=rate)
        for configuration in _configurations(request, CIFAR_SCALES[request.scale])
        for rate in dict.fromkeys(request.noise)
    )
    return Plan(request, columns, chosen(CIFAR_ROWS, request.only), CIFAR_ROWS)


def _configurations(
    request: Request, known: Sequence[PaperConfiguration]
) -> list[PaperConfiguration]:
    """The scale's networks, or the one that was asked for."""
    wanted = request.backbone
    if wanted is not None:
        named = [c for c in known if c.backbone == wanted or c.backbone.startswith(f"{wanted}.")]
        own = wanted.startswith("cifar_resnet")
        pretrained = known[0].pretrained if named else not own
        other = replace(known[0], backbone=wanted, network=wanted, pretrained=pretrained)
        known = named or [other]
    if request.weights is not None:
        if len(known) > 1:
            networks = " and ".join(configuration.backbone for configuration in known)
            raise LatentLabelsError(
                f"--weights is for one network, and there are {networks}: name one as --backbone."
            )
        if not request.weights.is_file():
            raise BackboneError(f"There is no weights file {str(request.weights)!r}.")
    if not request.pretrained:
        # A frozen network without trained weights would tell nothing.
        known = [replace(c, pretrained=False, tune="all") for c in known]
    return [with_changes(configuration, request.changes) for configuration in known]


def drawn(images: LabelledImages, training: int, seed: int) -> LabelledImages:
    """Some images, chosen at random: so many training rows, a quarter as many of each other part.

    Args:
        images: to choose from.
        training: how many; 0, or more than there are, takes all.
        seed: of the choice.
    """
    if training == 0:
        return images
    rng = np.random.default_rng(seed).spawn(2)[1]
    kept = []
    for part in ("train", "validation", "test"):
        rows = np.flatnonzero(images.split == part)
        most = training if part == "train" else max(1, training // HELD_OUT)
        kept.append(rng.permutation(rows)[:most])
    return images.take(np.sort(np.concatenate(kept)))


def task_of(images: LabelledImages) -> Task:
    """Images under the protocol."""
    pictures = images.images
    x = np.array([str(path) for path in pictures]) if isinstance(pictures, tuple) else pictures
    noisy, clean = (
        [list(cell) if isinstance(cell, tuple) else cell for cell in labels]
        for labels in (images.noisy, images.clean)
    )
    return Task(x, noisy, clean, images.split, images.verified)


def _digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
