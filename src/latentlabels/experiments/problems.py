"""A table under the protocol as the problem that a method from the literature sees."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from latentlabels.baselines.problem import Problem
from latentlabels.data.labels import read_columns
from latentlabels.estimator import RobustClassifier
from latentlabels.experiments.task import Task
from latentlabels.fitting import ModelSettings
from latentlabels.network.backbones import Standardise, own_backbone, vector_backbone
from latentlabels.network.examples import Vectors
from latentlabels.preparation import prepare, verified_rows


def problem_of(task: Task, settings: Mapping[str, Any]) -> Problem:
    """The problem of a table of vectors.

    Args:
        task: the table; it needs validation rows.
        settings: arguments of `RobustClassifier`, whose network and training all methods share; a
            module as `backbone` is the network up to its features.
    """
    classifier = RobustClassifier(**settings)
    backbone = classifier.backbone if isinstance(classifier.backbone, nn.Module) else None
    shape = classifier.model_settings()
    train, held = task.rows("train"), task.rows("validation")
    clean = read_columns(task.readable(train))
    x = Vectors(task.x[train])
    prepared = prepare(
        x,
        read_columns(task.noisy_of(train)),
        clean,
        verified_rows(clean, None),
        (Vectors(task.x[held]), read_columns(task.clean_of(held))),
        noisy_labels=classifier.noisy_labels,
        clean_labels=classifier.clean_labels,
        validation_fraction=0.0,
        seed=0,
    )
    assert prepared.validation is not None
    return Problem(
        prepared.rows,
        prepared.validation,
        prepared.noisy,
        prepared.clean,
        _networks(x, shape, backbone),
        classifier.training_settings(0),
    )


def _networks(
    x: Vectors, shape: ModelSettings, backbone: nn.Module | None
) -> Callable[[int], nn.Module]:
    """What makes untrained networks for the vectors, which they standardise."""
    inputs, widths = x.values.shape[1], shape.hidden_layers
    standard = Standardise(inputs)
    standard.fit(torch.from_numpy(x.values))

    def network(outputs: int) -> nn.Module:
        if backbone is None:
            layers = vector_backbone(inputs, widths, shape.dropout, shape.input_dropout)
            features = widths[-1] if widths else inputs
        else:
            layers, features = own_backbone(backbone, inputs)
        layers[0].load_state_dict(standard.state_dict())
        return nn.Sequential(layers, nn.Linear(features, outputs))

    return network
