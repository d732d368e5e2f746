"""The ranges of the estimator's arguments."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from torch import nn

from latentlabels.architecture import MOST_LAYERS, MOST_NETWORKS
from latentlabels.errors import LatentLabelsError
from latentlabels.model.schedule import SAMPLERS
from latentlabels.network.encoders import MOST_SIZE

PAPER: Final[Mapping[str, Any]] = {
    "auxiliary": "rbm",
    "start": "zero",
    "alpha_start": 8.0,
    "alpha_end": 1.0,
    "alpha_epochs": 11.0,
    "input_dropout": 0.0,
    "teachers": 0,
    "students": 0,
    "averaging": 0.0,
    "adaptive_sweeps": False,
}
"""The paper's method as arguments of `RobustClassifier`, where the defaults differ from it.

How many hidden units there are, and whether the x–y link is on, is for the user to say. Its α on
COCO falls from 40 to 5.
"""

PLAIN: Final[Mapping[str, Any]] = {
    "pairwise": False,
    "auxiliary": "regression",
    "hidden": 0,
    "noisy_link": False,
    "teachers": 0,
    "students": 0,
}
"""Arguments that make of `RobustClassifier` a plain classifier of the labels it may read."""

MOST_WORKERS: Final = 256
"""Processes that read; more would only stand in each other's way."""
MOST_COUNT: Final = 2**31 - 1
"""Rows that a noisy label may be asked to have."""


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Say which argument of `RobustClassifier` is out of its range, before anything is done.

    Raises:
        LatentLabelsError: the first that is.
    """
    ranges: dict[str, tuple[float, float]] = {
        "hidden": (0, np.inf),
        "epochs": (1, np.inf),
        "patience": (1, np.inf),
        "batch_size": (2, np.inf),
        "dropout": (0, 0.999),
        "input_dropout": (0, 0.999),
        "learning_rate": (0, 1e6),
        "crf_learning_rate": (0, 1e6),
        "adam_epsilon": (0, 1e6),
        "encoder_adam_epsilon": (0, 1e6),
        "weight_decay": (0, 1e6),
        "averaging": (0, 0.999999),
        "encoder_learning_rate": (0, 1e6),
        "validation_fraction": (0, 0.9),
        "alpha_start": (0, np.inf),
        "alpha_end": (0, np.inf),
        "alpha_epochs": (0, np.inf),
        "chains": (1, np.inf),
        "sweeps": (1, np.inf),
    }
    for name, (least, most) in ranges.items():
        value = parameters[name]
        if value is None and name in ("input_dropout", "alpha_start", "alpha_end", "alpha_epochs"):
            continue
        if not (_is_number(value) and least <= value <= most):
            upper = f" to {most:g}" if np.isfinite(most) else " upwards"
            raise LatentLabelsError(f"{name} is a number from {least:g}{upper}, got {value!r}.")
    whole: dict[str, tuple[int, int]] = {
        "workers": (0, MOST_WORKERS),
        "image_size": (1, MOST_SIZE),
        "teachers": (0, MOST_NETWORKS),
        "students": (0, MOST_NETWORKS),
        "min_count": (1, MOST_COUNT),
    }
    for name, (fewest, largest) in whole.items():
        value = parameters[name]
        if value is None and name in ("image_size", "teachers", "students"):
            continue
        if not _is_whole(value) or not fewest <= value <= largest:
            raise LatentLabelsError(
                f"{name} is a whole number from {fewest} to {largest}, got {value!r}."
            )
    for name in ("pretrained", "augment", "pairwise", "noisy_link", "adaptive_sweeps", "resume"):
        if not isinstance(parameters[name], bool | np.bool_ | int):
            raise LatentLabelsError(f"{name} is True or False, got {parameters[name]!r}.")
    for name in ("weights", "cache", "chain_file", "checkpoints"):
        if not isinstance(parameters[name], str | Path | None):
            raise LatentLabelsError(f"{name} is a path, got {parameters[name]!r}.")
    if parameters["tune"] == "all" and parameters["input_kind"] != "vector":
        for name in ("teachers", "students"):
            if parameters[name]:
                raise LatentLabelsError(
                    f"{name} would each need the whole backbone trained, and a backbone that is "
                    f"tuned has none; got {parameters[name]!r}. Leave {name} out, or the backbone "
                    'frozen (tune="head").'
                )
    if parameters["min_count"] > 1 and parameters["noisy_labels"] is not None:
        raise LatentLabelsError(
            "min_count and noisy_labels both say which noisy labels there are "
            "(--min-count, --noisy-labels): pass one of them."
        )
    if parameters["resume"] and parameters["checkpoints"] is None:
        raise LatentLabelsError("resume goes on from checkpoints=... (--checkpoints): name them.")
    choices: dict[str, tuple[str, ...]] = {
        "input_kind": ("vector", "image", "text"),
        "tune": ("head", "all"),
        "precision": ("auto", "float32", "bfloat16"),
        "on_bad_input": ("fail", "skip"),
        "schedule": ("constant", "one-cycle"),
        "sampler": SAMPLERS,
    }
    for name, allowed in choices.items():
        if parameters[name] not in allowed:
            raise LatentLabelsError(
                f"{name} is one of {', '.join(allowed)}; got {parameters[name]!r}."
            )
    backbone = parameters["backbone"]
    if not (backbone is None or isinstance(backbone, str | Path | nn.Module)):
        raise LatentLabelsError(
            f"backbone is a name or a module, got {type(backbone).__name__}. Leave it out for a "
            "small default model."
        )
    if parameters["input_kind"] == "vector" and isinstance(backbone, str | Path):
        raise LatentLabelsError(
            f"A backbone by name ({backbone}) takes images or texts: pass "
            'input_kind="image" or "text". For vectors pass a module, or none.'
        )
    if parameters["input_kind"] != "image" and (
        parameters["weights"] is not None or not parameters["pretrained"]
    ):
        raise LatentLabelsError(
            "weights and pretrained are for images. For texts pass a model's folder as backbone."
        )
    widths = () if parameters["hidden_layers"] is None else parameters["hidden_layers"]
    if not isinstance(widths, tuple | list) or not all(
        _is_number(width) and width >= 1 for width in widths
    ):
        raise LatentLabelsError(
            f"hidden_layers is a tuple of whole numbers above zero, such as (256,), got {widths!r}."
        )
    if len(widths) > MOST_LAYERS:
        raise LatentLabelsError(f"hidden_layers are {MOST_LAYERS} at most, got {len(widths)}.")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
