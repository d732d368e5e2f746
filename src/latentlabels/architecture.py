"""The shape of a model, and untrained networks of that shape."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Final, Literal

import torch
from pydantic import Field
from torch import nn

from latentlabels.network.backbones import own_backbone, vector_backbone
from latentlabels.network.encoders import Encoder, EncoderSpec
from latentlabels.network.potentials import PotentialNetwork

MOST_NETWORKS: Final = 100
"""Teachers or students at most."""
MOST_LAYERS: Final = 100
"""Fully connected layers of a network at most."""
MOST_UNITS: Final = 1 << 24
"""Columns of a vector, and units of a layer, at most."""

Tune = Literal["head", "all"]
Count = Annotated[int, Field(ge=0, le=MOST_UNITS)]
Width = Annotated[int, Field(ge=1, le=MOST_UNITS)]
Share = Annotated[float, Field(ge=0, lt=1)]
Networks = Annotated[int, Field(ge=0, le=MOST_NETWORKS)]


@dataclass(frozen=True)
class Architecture:
    """All that is needed to build an untrained model of the same shape.

    The ranges are checked where one is read from a model's folder.

    Attributes:
        inputs: columns of a vector, or features of the encoder.
        hidden_layers: widths of the network's layers.
        dropout: share of features left out in training.
        input_dropout: share of input columns left out in training.
        hidden: hidden units of the CRF.
        auxiliary_hidden: hidden units of the auxiliary.
        auxiliary_kind: how the auxiliary came about.
        pairwise: whether the CRF has pairwise terms.
        noisy_link: whether the network speaks of the noisy units.
        encoder: what turns images or texts into features; None where examples are vectors.
        tune: "head" where the encoder is as it came and is not part of the model, "all" where it
            was trained with it.
        fingerprint: of an encoder that is not part of the model.
        precision: of a trained encoder's products.
        own_backbone: whether a module of the caller's stands in the place of the layers.
        teachers: networks of the verified rows alone that join the auxiliary.
        students: networks that learnt from the cleaned labels.
    """

    inputs: Width
    hidden_layers: Annotated[tuple[Width, ...], Field(max_length=MOST_LAYERS)]
    dropout: Share
    input_dropout: Share
    hidden: Count
    auxiliary_hidden: Count
    auxiliary_kind: str
    pairwise: bool
    noisy_link: bool
    encoder: EncoderSpec | None = None
    tune: Tune = "head"
    fingerprint: str | None = None
    precision: Annotated[str, Field(pattern=r"^(float32|bfloat16)$")] = "float32"
    own_backbone: bool = False
    teachers: Networks = 0
    students: Networks = 0


def build_network(
    architecture: Architecture,
    clean: int,
    noisy: int,
    encoder: Encoder | None = None,
    backbone: nn.Module | None = None,
) -> PotentialNetwork:
    """An untrained network of the given shape.

    Args:
        architecture: its shape.
        clean: number of clean units.
        noisy: number of noisy units.
        encoder: trained with the network, and then part of it.
        backbone: the caller's own, from vectors to features, instead of layers.

    Raises:
        BackboneError: a backbone that gives something else than a vector for a vector.
    """
    inputs, widths = architecture.inputs, architecture.hidden_layers
    if architecture.own_backbone:
        layers, features = own_backbone(backbone, inputs)
    else:
        layers = vector_backbone(inputs, widths, architecture.dropout, architecture.input_dropout)
        features = widths[-1] if widths else inputs
    return PotentialNetwork(
        layers,
        features,
        clean,
        noisy if architecture.noisy_link else None,
        encoder if architecture.tune == "all" else None,
        getattr(torch, architecture.precision),
    )


def build_member(
    architecture: Architecture, clean: int, backbone: nn.Module | None = None
) -> PotentialNetwork:
    """An untrained network of a committee: of the model's shape, without the x–y link."""
    return build_network(replace(architecture, noisy_link=False), clean, 0, backbone=backbone)
