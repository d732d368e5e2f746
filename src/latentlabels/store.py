"""A model's folder: weights as safetensors, everything else as JSON.

model/
  model.safetensors   every tensor of the network, the CRF and the auxiliary
  model.json          schema version, shapes, settings, provenance
  vocabulary.json     the clean and the noisy names, in unit order

It may come from a stranger. Nothing in it can run, is compressed, or names a file outside; and what
it describes is held against the tensors that are there before memory is taken for it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from latentlabels.architecture import Architecture
from latentlabels.data.labels import Form, LabelSpace
from latentlabels.description import (
    REMEDY,
    SCHEMA,
    Description,
    bounded_content,
    columns_of,
    described,
    plain_json,
    space_of,
)
from latentlabels.durable import put_in_place
from latentlabels.errors import BackboneError, LatentLabelsError, ModelFolderError
from latentlabels.rebuilding import located, rebuild, rebuild_labels, require_finite
from latentlabels.robust_model import RobustModel

WEIGHTS, DESCRIPTION, VOCABULARY = "model.safetensors", "model.json", "vocabulary.json"


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


def save_model(stored: StoredModel, folder: Path) -> None:
    """Write a model's folder under a temporary name, then rename it.

    An older model in its place is replaced.

    Raises:
        ModelFolderError: something else than a model's folder is in the place, or what is to be
            written could not be read again.
    """
    if folder.exists() and not (folder / DESCRIPTION).is_file():
        raise ModelFolderError(
            f"{folder} is there and is no model's folder. Name another folder, or remove it."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Names that a killed process used too, so that nothing of it stays for ever.
    temporary, replaced = (folder.with_name(f".{folder.name}.{what}") for what in ("new", "old"))
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir()
        tensors = _apart(stored.model.state_dict())
        require_finite(tensors)
        save_file(tensors, temporary / WEIGHTS)
        description = Description(
            schema=SCHEMA,
            alpha=stored.model.alpha,
            prediction=stored.model.prediction,
            seed=stored.model.seed,
            architecture=stored.architecture,
            clean=columns_of(stored.clean),
            noisy=columns_of(stored.noisy),
            clean_forms=stored.clean_forms,
            settings=stored.settings,
            provenance=stored.provenance,
            feature_names=stored.feature_names,
            held_out_changes=len(stored.model.calibrator.right),
        )
        vocabulary = {"clean": stored.clean.names, "noisy": stored.noisy.names}
        texts = {
            name: json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False) + "\n"
            for name, content in ((DESCRIPTION, asdict(description)), (VOCABULARY, vocabulary))
        }
        described(texts[DESCRIPTION].encode(), str(folder / DESCRIPTION))
        for name, text in texts.items():
            (temporary / name).write_text(text, encoding="utf-8")
        (temporary / WEIGHTS).chmod(0o644)
        if folder.exists():
            shutil.rmtree(replaced, ignore_errors=True)
            folder.rename(replaced)
        put_in_place(temporary, folder)
        shutil.rmtree(replaced, ignore_errors=True)
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
        backbone: what the model was fitted on, where it was a module of the caller's own, a folder,
            or a model that neither timm nor sentence-transformers publishes itself.
        weights: the file of its image model's weights, where it was fitted with one.

    Raises:
        ModelFolderError: no such folder, a missing or damaged file or a link, another schema,
            tensors that do not fit.
        BackboneError: a backbone that is missing or cannot be had.
    """
    description = read_description(folder)
    with _opened(folder, description) as tensors:
        architecture = located(description.architecture, backbone, weights)
        module = backbone if isinstance(backbone, nn.Module) else None
        return StoredModel(
            rebuild(description, architecture, tensors, module),
            architecture,
            space_of(description.clean),
            space_of(description.noisy),
            description.clean_forms,
            description.settings,
            description.provenance,
            description.feature_names,
        )


def load_labels(folder: Path) -> tuple[Description, RobustModel]:
    """What a model's folder says, and its model without networks: what labels alone say.

    Raises:
        ModelFolderError: as in `load_model`.
    """
    description = read_description(folder)
    with _opened(folder, description) as tensors:
        return description, rebuild_labels(description, tensors)


@contextmanager
def _opened(folder: Path, description: Description) -> Iterator[Any]:
    """The tensors of a model's folder, to build from; what is wrong with them names the folder."""
    vocabulary = plain_json(bounded_content(folder / VOCABULARY), str(folder / VOCABULARY))
    try:
        _require_names(description, vocabulary)
        # What is built draws weights, which the stored ones replace.
        with (
            torch.random.fork_rng(devices=[]),
            safe_open(folder / WEIGHTS, framework="pt") as tensors,
        ):
            yield tensors
    except (ModelFolderError, BackboneError):
        raise
    except (ValueError, TypeError, RuntimeError, SafetensorError) as error:
        reason = shorten(str(error).rstrip("."), 200, placeholder=" …") or "no reason given"
        if not isinstance(error, LatentLabelsError):
            reason = f"{type(error).__name__}: {reason}"
        raise ModelFolderError(f"{folder} is damaged: {reason}. {REMEDY}") from error


def read_description(folder: Path) -> Description:
    """What a model's folder says of the model, without its weights.

    Raises:
        ModelFolderError: as in `load_model`.
    """
    _require_files(folder)
    return described(bounded_content(folder / DESCRIPTION), str(folder / DESCRIPTION))


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


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors that share no memory, as safetensors wants them: tied weights are written twice."""
    taken: set[int] = set()
    apart = {}
    for name, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        apart[name] = tensor.clone() if place in taken else tensor
        taken.add(place)
    return {name: tensor.contiguous() for name, tensor in apart.items()}


def _require_files(folder: Path) -> None:
    for name in (WEIGHTS, DESCRIPTION, VOCABULARY):
        if (folder / name).is_symlink():
            raise ModelFolderError(
                f"{folder / name} is a link, and a model's folder holds its files themselves. "
                "Where you trust it, put a copy of the file in its place."
            )
        if not (folder / name).is_file():
            inside = folder / "model"
            hint = f" Did you mean {inside}?" if (inside / DESCRIPTION).is_file() else ""
            raise ModelFolderError(
                f"A model's folder holds {WEIGHTS}, {DESCRIPTION} and {VOCABULARY}; "
                f"{folder} has no {name}.{hint}"
            )


def _require_names(description: Description, vocabulary: Any) -> None:
    for side in ("clean", "noisy"):
        names = list(space_of(getattr(description, side)).names)
        if not isinstance(vocabulary, dict) or vocabulary.get(side) != names:
            raise LatentLabelsError(f"{VOCABULARY} has other {side} names than {DESCRIPTION}")
