"""A model's folder: weights as safetensors, everything else as JSON.

model/
  model.safetensors   every tensor of the network, the CRF and the auxiliary
  model.json          schema version, shapes, settings, provenance
  vocabulary.json     the clean and the noisy names, in unit order
"""

from __future__ import annotations

import copy
import json
import math
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from textwrap import shorten
from typing import Any, Final, Literal

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from latentlabels.data.labels import Form, LabelSpace, Vocabulary
from latentlabels.errors import BackboneError, LatentLabelsError, ModelFolderError
from latentlabels.model.pairwise import PairwiseCRF
from latentlabels.model.posterior import Auxiliary
from latentlabels.model.schedule import GibbsSchedule
from latentlabels.network.backbones import own_backbone, vector_backbone
from latentlabels.network.encoders import Encoder, EncoderSpec, build_encoder
from latentlabels.network.potentials import PotentialNetwork
from latentlabels.robust_model import Committee, RobustModel, Teacher

SCHEMA = 3
MOST_NETWORKS: Final = 100
"""Teachers or students at most."""
PRECISIONS: Final = ("float32", "bfloat16")
MOST_SIZE: Final = 4096
"""An image's height and width in pixels at most."""
Tune = Literal["head", "all"]
WEIGHTS, DESCRIPTION, VOCABULARY = "model.safetensors", "model.json", "vocabulary.json"


@dataclass(frozen=True)
class Architecture:
    """All that is needed to build an untrained model of the same shape.

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
        precision: of a trained encoder's products, "float32" or "bfloat16".
        own_backbone: whether a module of the caller's stands in the place of the layers.
        teachers: networks of the verified rows alone that join the auxiliary.
        students: networks that learnt from the cleaned labels.
    """

    inputs: int
    hidden_layers: tuple[int, ...]
    dropout: float
    input_dropout: float
    hidden: int
    auxiliary_hidden: int
    auxiliary_kind: str
    pairwise: bool
    noisy_link: bool
    encoder: EncoderSpec | None = None
    tune: Tune = "head"
    fingerprint: str | None = None
    precision: str = "float32"
    own_backbone: bool = False
    teachers: int = 0
    students: int = 0


@dataclass(frozen=True)
class StoredModel:
    """What a model's folder holds.

    Attributes:
        model: the trained model.
        architecture: its shape.
        clean: the clean labels' space.
        noisy: the noisy labels' space.
        clean_forms: the form in which each column of clean labels was given.
        settings: parameters of the estimator.
        provenance: where the model came from, as its maker wrote it.
        feature_names: names of the input columns, where they had some.
    """

    model: RobustModel
    architecture: Architecture
    clean: LabelSpace
    noisy: LabelSpace
    clean_forms: tuple[Form, ...]
    settings: dict[str, Any]
    provenance: dict[str, Any]
    feature_names: tuple[str, ...] | None = None


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


def save_model(stored: StoredModel, folder: Path) -> None:
    """Write a model's folder under a temporary name, then rename it.

    An older model in its place is replaced.

    Raises:
        ModelFolderError: something else than a model's folder is in the place.
    """
    if folder.exists() and not (folder / DESCRIPTION).is_file():
        raise ModelFolderError(
            f"{folder} is there and is no model's folder. Name another folder, or remove it."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        tensors = _apart(stored.model.state_dict())
        _require_finite(tensors)
        save_file(tensors, temporary / WEIGHTS)
        description = {
            "schema": SCHEMA,
            "alpha": stored.model.alpha,
            "prediction": vars(stored.model.prediction),
            "seed": stored.model.seed,
            "architecture": asdict(stored.architecture),
            "clean": _describe(stored.clean),
            "noisy": _describe(stored.noisy),
            "clean_forms": stored.clean_forms,
            "settings": stored.settings,
            "provenance": stored.provenance,
            "feature_names": stored.feature_names,
        }
        vocabulary = {"clean": stored.clean.names, "noisy": stored.noisy.names}
        for name, content in ((DESCRIPTION, description), (VOCABULARY, vocabulary)):
            text = json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False)
            (temporary / name).write_text(text + "\n", encoding="utf-8")
        temporary.chmod(0o755)
        (temporary / WEIGHTS).chmod(0o644)
        if folder.exists():
            replaced = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
            folder.rename(replaced / folder.name)
            temporary.rename(folder)
            shutil.rmtree(replaced, ignore_errors=True)
        else:
            temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def load_model(
    folder: Path,
    backbone: nn.Module | str | Path | None = None,
    weights: str | Path | None = None,
) -> StoredModel:
    """Read a model's folder.

    Args:
        folder: where it is.
        backbone: the module that the model was fitted with, where that was the caller's own; or
            where the folder of its text model is now.
        weights: where the file of its image model's weights is now.

    Raises:
        ModelFolderError: no such folder, a missing or damaged file, another schema, tensors that do
            not fit.
        BackboneError: a backbone that is missing or cannot be had.
    """
    for name in (WEIGHTS, DESCRIPTION, VOCABULARY):
        if not (folder / name).is_file():
            inside = folder / "model"
            hint = f" Did you mean {inside}?" if (inside / DESCRIPTION).is_file() else ""
            raise ModelFolderError(
                f"A model's folder holds {WEIGHTS}, {DESCRIPTION} and {VOCABULARY}; "
                f"{folder} has no {name}.{hint}"
            )
    try:
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        _require_schema(description.get("schema"), folder / DESCRIPTION)
        vocabulary = json.loads((folder / VOCABULARY).read_text(encoding="utf-8"))
        tensors = load_file(folder / WEIGHTS)
        # What is built draws weights, which the stored ones replace.
        with torch.random.fork_rng(devices=[]):
            return _restore(description, vocabulary, tensors, backbone, weights)
    except (ModelFolderError, BackboneError):
        raise
    except (
        KeyError,
        TypeError,
        AttributeError,
        ValueError,
        RuntimeError,
        SafetensorError,
    ) as error:
        reason = shorten(str(error), 200, placeholder=" …") or "no reason given"
        raise ModelFolderError(
            f"{folder} is damaged: {type(error).__name__}: {reason}. Copy or fit the model anew."
        ) from error


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors that share no memory, as safetensors wants them: tied weights are written twice."""
    taken: set[int] = set()
    apart = {}
    for name, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        apart[name] = tensor.clone() if place in taken else tensor
        taken.add(place)
    return {name: tensor.contiguous() for name, tensor in apart.items()}


def _require_finite(tensors: Mapping[str, Tensor]) -> None:
    wrong = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if wrong:
        raise LatentLabelsError(f"a weight is NaN or infinite, in {wrong[0]}")


def _require_schema(schema: object, path: Path) -> None:
    if schema != SCHEMA:
        raise ModelFolderError(
            f"{path} is of schema {schema!r}, this version reads {SCHEMA}. "
            "Fit the model anew, or install the version that wrote it."
        )


def as_json(value: Any) -> Any:
    """A value of plain Python, as JSON gives it back: arrays as lists, paths as texts."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(name): as_json(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(part) for part in value]
    return value


def _restore(
    description: Mapping[str, Any],
    vocabulary: Mapping[str, Any],
    tensors: dict[str, Tensor],
    backbone: nn.Module | str | Path | None,
    weights: str | Path | None,
) -> StoredModel:
    parts = dict(description["architecture"])
    parts["hidden_layers"] = tuple(parts["hidden_layers"])
    if parts["encoder"] is not None:
        parts["encoder"] = _moved(_encoder_spec(parts["encoder"]), backbone, weights)
    architecture = Architecture(**parts)
    module = backbone if isinstance(backbone, nn.Module) else None
    teachers, students = architecture.teachers, architecture.students
    if not (0 <= teachers <= MOST_NETWORKS and 0 <= students <= MOST_NETWORKS):
        raise LatentLabelsError(f"teachers and students are from 0 to {MOST_NETWORKS}")
    if architecture.tune not in ("head", "all"):
        raise LatentLabelsError(f"tune is head or all, got {architecture.tune!r}")
    if architecture.precision not in PRECISIONS:
        raise LatentLabelsError(f"precision is unknown: {architecture.precision!r}")
    encoder = None
    if architecture.encoder is not None and architecture.tune == "all":
        # Its weights are among the model's tensors.
        bare = replace(architecture.encoder, pretrained=False, weights=None)
        encoder = build_encoder(bare, copy.deepcopy(module))
    clean, noisy = _space(description["clean"]), _space(description["noisy"])
    for side, space in (("clean", clean), ("noisy", noisy)):
        if list(space.names) != vocabulary[side]:
            raise LatentLabelsError(f"{VOCABULARY} has other {side} names than {DESCRIPTION}")
    for part in ("settings", "provenance"):
        if not isinstance(description[part], dict):
            raise LatentLabelsError(f"{part} is no object")
    alpha, seed = float(description["alpha"]), int(description["seed"])
    if not (0 <= alpha < math.inf and 0 <= seed < 2**32):
        raise LatentLabelsError(f"alpha or seed is out of range: {alpha}, {seed}")
    noisy_units, clean_units = noisy.units, clean.units
    _require_finite(tensors)
    latent = clean_units.size + architecture.auxiliary_hidden

    def committee(members: int) -> list[PotentialNetwork]:
        return [build_member(architecture, clean_units.size, module) for _ in range(members)]

    model = RobustModel(
        build_network(architecture, clean_units.size, noisy_units.size, encoder, module),
        PairwiseCRF(noisy_units, clean_units, architecture.hidden, pairwise=architecture.pairwise),
        Auxiliary(
            noisy_units,
            clean_units,
            torch.zeros(latent),
            torch.zeros(latent, noisy_units.size),
            kind=architecture.auxiliary_kind,
        ),
        alpha=alpha,
        teacher=Teacher(committee(teachers), clean_units.size) if teachers else None,
        students=Committee(committee(students), clean_units.size) if students else None,
        prediction=GibbsSchedule(**description["prediction"]),
        seed=seed,
    )
    model.load_state_dict(tensors)
    model.eval()
    names = description["feature_names"]
    return StoredModel(
        model,
        architecture,
        clean,
        noisy,
        tuple(description["clean_forms"]),
        description["settings"],
        description["provenance"],
        None if names is None else tuple(names),
    )


def _encoder_spec(parts: dict[str, Any]) -> EncoderSpec:
    """Which encoder, with every part of the type it has to have."""
    spec = EncoderSpec(**parts)
    wrong = [
        name
        for name, fits in (
            ("kind", spec.kind in ("image", "text")),
            ("name", isinstance(spec.name, str) and spec.name != ""),
            ("weights", spec.weights is None or isinstance(spec.weights, str)),
            ("pretrained", isinstance(spec.pretrained, bool)),
            ("size", spec.size is None or (type(spec.size) is int and 0 < spec.size <= MOST_SIZE)),
            ("augment", isinstance(spec.augment, bool)),
        )
        if not fits
    ]
    if wrong:
        raise LatentLabelsError(f"the encoder's {wrong[0]} is {parts[wrong[0]]!r}")
    return spec


def _moved(
    spec: EncoderSpec, backbone: nn.Module | str | Path | None, weights: str | Path | None
) -> EncoderSpec:
    """The encoder with its files where they are now."""
    if isinstance(backbone, str | Path):
        if spec.kind != "text":
            raise BackboneError(
                f"The model was fitted on {spec.name!r}, and {str(backbone)!r} came. A folder is "
                "given for texts; for images leave it out."
            )
        spec = replace(spec, name=str(backbone))
    return spec if weights is None else replace(spec, weights=str(weights))


def _describe(space: LabelSpace) -> list[dict[str, Any]]:
    return [
        {"column": column, "exclusive": vocabulary.exclusive, "names": vocabulary.names}
        for column, vocabulary in zip(space.columns, space.vocabularies, strict=True)
    ]


def _space(description: list[dict[str, Any]]) -> LabelSpace:
    return LabelSpace(
        tuple(part["column"] for part in description),
        tuple(Vocabulary(tuple(part["names"]), part["exclusive"]) for part in description),
    )
