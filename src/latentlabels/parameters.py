"""The ranges of the estimator's arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from latentlabels.errors import LatentLabelsError


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
        "learning_rate": (0, 1e6),
        "crf_learning_rate": (0, 1e6),
        "adam_epsilon": (0, 1e6),
        "encoder_adam_epsilon": (0, 1e6),
        "weight_decay": (0, 1e6),
        "averaging": (0, 0.999999),
        "encoder_learning_rate": (0, 1e6),
        "workers": (0, np.inf),
        "validation_fraction": (0, 0.9),
    }
    for name, (least, most) in ranges.items():
        value = parameters[name]
        if not least <= value <= most:
            upper = f" to {most:g}" if np.isfinite(most) else " upwards"
            raise LatentLabelsError(f"{name} is a number from {least:g}{upper}, got {value!r}.")
    choices: dict[str, tuple[str, ...]] = {
        "input_kind": ("vector", "image", "text"),
        "tune": ("head", "all"),
        "precision": ("auto", "float32", "bfloat16"),
        "on_bad_input": ("fail", "skip"),
    }
    for name, allowed in choices.items():
        if parameters[name] not in allowed:
            raise LatentLabelsError(
                f"{name} is one of {', '.join(allowed)}; got {parameters[name]!r}."
            )
    if parameters["input_kind"] == "vector" and isinstance(parameters["backbone"], str):
        raise LatentLabelsError(
            f"A backbone by name ({parameters['backbone']}) takes images or texts: pass "
            'input_kind="image" or "text". For vectors pass a module, or none.'
        )
    if parameters["input_kind"] == "text" and (
        parameters["weights"] is not None or not parameters["pretrained"]
    ):
        raise LatentLabelsError(
            "weights and pretrained are for images. For texts pass a model's folder as backbone."
        )
    widths = () if parameters["hidden_layers"] is None else parameters["hidden_layers"]
    if not isinstance(widths, tuple | list) or any(width < 1 for width in widths):
        raise LatentLabelsError(
            f"hidden_layers is a tuple of whole numbers above zero, such as (256,), got {widths!r}."
        )
