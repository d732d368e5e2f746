"""A table under the protocol as the problem that a method from the literature sees."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from latentlabels.baselines.problem import Fitted, Problem
from latentlabels.data.labels import read_columns
from latentlabels.estimator import RobustClassifier
from latentlabels.experiments.task import Task
from latentlabels.fitting import ModelSettings
from latentlabels.inputs import EncodedInputs, Usable, new_encoder, usable_vectors
from latentlabels.network.backbones import Standardise, own_backbone, vector_backbone
from latentlabels.network.encoders import Encoder
from latentlabels.network.examples import Examples, Vectors, in_batches
from latentlabels.network.image_encoder import ImageEncoder
from latentlabels.network.regions import RegionEncoder
from latentlabels.preparation import prepare, verified_rows


@dataclass(frozen=True)
class PosedTask:
    """A task as a problem.

    Attributes:
        problem: what a method sees.
        rows: the task's rows that are the problem's training rows.
        read: the examples of some of the task's rows, as the method wants them.
    """

    problem: Problem
    rows: NDArray[np.intp]
    read: Callable[[NDArray[np.intp]], Usable]

    def predict(self, fitted: Fitted, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """p(ŷ | x) of some of the task's rows, (rows, clean); NaN for skipped examples."""
        given = self.read(rows)
        batches = in_batches(given.examples, workers=0, progress=False, doing="")
        said = torch.cat([fitted.predict(x) for _, x in batches]).numpy()
        predicted: NDArray[np.float32] = given.scattered(said, np.nan)
        return predicted


def pose(task: Task, settings: Mapping[str, Any], *, bags: bool = False) -> PosedTask:
    """A table as a problem.

    Args:
        task: the table; it needs validation rows.
        settings: arguments of `RobustClassifier`, whose network and training all methods share; a
            module as `backbone` is the network up to its features.
        bags: whether examples are to be bags of instances, where the table has some: an image's
            regions, or the task's own.

    Raises:
        BackboneError: regions are wanted of a network that has no maps.
    """
    classifier = RobustClassifier(**settings)
    encoder = _encoder(classifier, regions=bags)
    read = _reader(task, classifier, encoder, bags=bags)
    train, held = task.rows("train"), task.rows("validation")
    given, chosen = read(train), read(held)
    clean = read_columns(task.readable(train))
    prepared = prepare(
        given.examples,
        read_columns(task.noisy_of(train)),
        clean,
        verified_rows(clean, None),
        (chosen.examples, read_columns(task.clean_of(held))),
        noisy_labels=classifier.noisy_labels,
        clean_labels=classifier.clean_labels,
        validation_fraction=0.0,
        seed=0,
        rows=given.rows,
        validation_rows=chosen.rows,
    )
    assert prepared.validation is not None
    problem = Problem(
        prepared.rows,
        prepared.validation,
        prepared.noisy,
        prepared.clean,
        _networks(given.examples, classifier, encoder),
        classifier.training_settings(0),
    )
    return PosedTask(problem, train[given.rows], read)


def _encoder(classifier: RobustClassifier, *, regions: bool) -> Encoder | None:
    encoder = new_encoder(
        classifier.input_kind,
        classifier.backbone,
        weights=classifier.weights,
        pretrained=classifier.pretrained,
        size=classifier.image_size,
        augment=classifier.augment and classifier.tune == "all",
    )
    return RegionEncoder(encoder) if regions and isinstance(encoder, ImageEncoder) else encoder


def _reader(
    task: Task, classifier: RobustClassifier, encoder: Encoder | None, *, bags: bool
) -> Callable[[NDArray[np.intp]], Usable]:
    """What reads the examples of some of the task's rows."""
    if encoder is None:
        values = task.x if task.bags is None or not bags else task.bags
        return lambda rows: usable_vectors(values[rows].astype(np.float32))
    return lambda rows: _read(classifier, encoder, task.x[rows])


def in_regions(classifier: RobustClassifier, cells: Any) -> NDArray[np.float32]:
    """Images as bags of the features of their regions, (usable images, regions, features).

    Args:
        classifier: whose frozen backbone sees them.
        cells: the images.

    Raises:
        BackboneError: a network that has no maps.
    """
    encoder = _encoder(classifier, regions=True)
    assert isinstance(encoder, RegionEncoder)
    examples = _read(classifier, encoder, cells).examples
    assert isinstance(examples, Vectors)
    return examples.values


def _read(classifier: RobustClassifier, encoder: Encoder, cells: Any) -> Usable:
    """Images or texts, as the encoder wants them or as its features."""
    usable = EncodedInputs(
        encoder,
        tuned=classifier.tune == "all",
        cache=None if classifier.cache is None else Path(classifier.cache),
        workers=classifier.workers,
        skip=classifier.on_bad_input == "skip",
        seed=0,
        progress=classifier.verbose,
    ).read(cells)
    if isinstance(encoder, RegionEncoder) and isinstance(usable.examples, Vectors):
        values = usable.examples.values
        instances = values.reshape(len(values), encoder.regions, -1)
        return replace(usable, examples=Vectors(instances))
    return usable


def _networks(
    x: Examples, classifier: RobustClassifier, encoder: Encoder | None
) -> Callable[[int], nn.Module]:
    """What makes untrained networks for the examples."""
    shape = classifier.model_settings()
    if isinstance(x, Vectors):
        own = classifier.backbone
        return _on_vectors(
            x, shape, own if isinstance(own, nn.Module) and encoder is None else None
        )
    assert encoder is not None
    parts = encoder.regions if isinstance(encoder, RegionEncoder) else 1
    features = encoder.features // parts

    def network(outputs: int) -> nn.Module:
        split = [nn.Unflatten(1, (parts, features))] if parts > 1 else []
        return nn.Sequential(copy.deepcopy(encoder), *split, nn.Linear(features, outputs))

    return network


def _on_vectors(
    x: Vectors, shape: ModelSettings, backbone: nn.Module | None
) -> Callable[[int], nn.Module]:
    """What makes untrained networks for vectors or bags of them, which they standardise."""
    inputs, widths = x.values.shape[-1], shape.hidden_layers
    standard = Standardise(inputs)
    standard.fit(torch.from_numpy(x.values).reshape(-1, inputs))

    def network(outputs: int) -> nn.Module:
        if backbone is None:
            layers = vector_backbone(inputs, widths, shape.dropout, shape.input_dropout)
            features = widths[-1] if widths else inputs
        else:
            layers, features = own_backbone(backbone, inputs)
        layers[0].load_state_dict(standard.state_dict())
        return nn.Sequential(layers, nn.Linear(features, outputs))

    return network
