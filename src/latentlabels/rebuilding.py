"""A model from its description and its tensors.

What is described is held against the tensors that there are before memory is taken for it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from latentlabels.architecture import Architecture, build_member, build_network
from latentlabels.description import Description, space_of
from latentlabels.errors import BackboneError, LatentLabelsError
from latentlabels.model.pairwise import PairwiseCRF
from latentlabels.model.posterior import Auxiliary
from latentlabels.network.backbones import Standardise
from latentlabels.network.encoders import CUSTOM, Encoder, EncoderSpec, build_encoder
from latentlabels.network.potentials import PotentialNetwork
from latentlabels.robust_model import Calibrator, Committee, RobustModel, Teacher

Shapes = Mapping[str, tuple[int, ...]]


def rebuild(
    description: Description, architecture: Architecture, file: Any, module: nn.Module | None
) -> RobustModel:
    """The model that was described, with the weights of an open safetensors file.

    Args:
        description: what model.json says.
        architecture: the shape it gives, with the encoder's files where they are.
        file: what `safetensors.safe_open` gave.
        module: the caller's own backbone.

    Raises:
        LatentLabelsError: tensors that are missing, too many, of another shape or type, or hold
            NaN or infinity.
        BackboneError: a backbone that is missing or cannot be had.
    """
    found = _shapes(file)
    model = _untrained(description, architecture, found, module)
    left = found.keys() - model.state_dict()
    filled = _filled(model, file, found)
    if left:
        raise LatentLabelsError(f"there is a tensor too many: {min(left)!r}")
    return filled


def rebuild_labels(description: Description, file: Any) -> RobustModel:
    """The same model without its networks, for what labels alone say: no backbone is needed.

    Raises:
        LatentLabelsError: as in `rebuild`, of the tensors that it has.
    """
    found = _shapes(file)
    clean = space_of(description.clean).units.size
    students = Committee([], clean) if description.architecture.students else None
    model = _assembled(
        description, description.architecture, found, nn.Identity(), students=students
    )
    return _filled(model, file, found)


def _shapes(file: Any) -> Shapes:
    """The shape of every tensor in an open file."""
    return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118


def _filled(model: RobustModel, file: Any, found: Shapes) -> RobustModel:
    """A model with the weights of a file, which fit it and are finite."""
    wanted = model.state_dict()
    _require_shapes({name: tuple(tensor.shape) for name, tensor in wanted.items()}, found)
    # Copied, for the file may change.
    tensors = {name: file.get_tensor(name).clone() for name in wanted}
    for name, tensor in tensors.items():
        if tensor.dtype != wanted[name].dtype:
            raise LatentLabelsError(
                f"the tensor {name!r} is of type {tensor.dtype}, not {wanted[name].dtype}"
            )
    require_finite(tensors)
    model.load_state_dict(tensors, assign=True)
    model.calibrator.require_sound()
    for part in model.modules():
        if isinstance(part, Standardise):
            part.require_sound()
    return model.eval()


def located(
    architecture: Architecture,
    backbone: nn.Module | str | Path | None,
    weights: str | Path | None,
) -> Architecture:
    """The architecture with its encoder's files where the caller says that they are.

    Raises:
        BackboneError: the folder names files or another publisher's model, which may be a
            stranger's choice, and the caller does not.
    """
    spec = architecture.encoder
    named = isinstance(backbone, str | Path)
    if spec is None:
        if named or weights is not None:
            raise BackboneError(
                "The model takes vectors, and a backbone or weights by name came with it. Leave "
                "them out."
            )
        return architecture
    if not (named or spec.is_public):
        raise BackboneError(_refused(spec, "backbone", spec.name))
    if spec.weights is not None and weights is None and architecture.tune == "head":
        raise BackboneError(_refused(spec, "weights", spec.weights))
    if named:
        spec = replace(spec, name=str(backbone))
    if weights is not None:
        spec = replace(spec, weights=str(weights))
    return replace(architecture, encoder=spec)


def require_finite(tensors: Mapping[str, Tensor]) -> None:
    """Check that no weight is NaN or infinite.

    Raises:
        LatentLabelsError: the first tensor with one that is.
    """
    wrong = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if wrong:
        raise LatentLabelsError(f"a weight is NaN or infinite, in {wrong[0]}")


def _require_shapes(wanted: Shapes, found: Shapes) -> None:
    """Check that tensors are there, and of the shapes that the description gives them."""
    for name, shape in wanted.items():
        if name not in found:
            raise LatentLabelsError(f"there is no tensor {name!r}")
        if found[name] != shape:
            raise LatentLabelsError(
                f"the tensor {name!r} is of shape {found[name]}, and {shape} is described"
            )


def _untrained(
    description: Description,
    architecture: Architecture,
    found: Shapes,
    module: nn.Module | None,
) -> RobustModel:
    """A model of the described shape, most of it without memory, on torch's "meta" device.

    Args:
        description: what to build.
        architecture: its shape, with the encoder's files where they are.
        found: the tensors that there are.
        module: the caller's own backbone.

    Raises:
        LatentLabelsError: what takes memory does not fit the tensors that there are.
    """
    noisy, clean = (
        space_of(columns).units.size for columns in (description.noisy, description.clean)
    )
    teachers, students = (
        [f"{committee}.networks.{member}" for member in range(members)]
        for committee, members in (
            ("teacher", architecture.teachers),
            ("students", architecture.students),
        )
    )
    # Before a module of the caller's is copied for each network.
    columns = {
        f"{network}.backbone.0.mean": (architecture.inputs,)
        for network in ("network", *teachers, *students)
    }
    _require_shapes(columns, found)
    encoder = _trained_encoder(architecture, module, found)

    def committee(members: list[str]) -> list[PotentialNetwork]:
        return [build_member(architecture, clean, module) for _ in members]

    with torch.device("cpu" if architecture.own_backbone else "meta"):
        network = build_network(architecture, clean, noisy, encoder, module)
        teacher = Teacher(committee(teachers), clean) if teachers else None
        learnt = Committee(committee(students), clean) if students else None
    return _assembled(description, architecture, found, network, teacher, learnt)


def _assembled(
    description: Description,
    architecture: Architecture,
    found: Shapes,
    network: nn.Module,
    teacher: Teacher | None = None,
    students: Committee | None = None,
) -> RobustModel:
    """The described model around its networks; arguments and errors as for `_untrained`."""
    noisy_units = space_of(description.noisy).units
    clean_units = space_of(description.clean).units
    latent = clean_units.size + architecture.auxiliary_hidden
    bias, weight = (latent,), (latent, noisy_units.size)
    _require_shapes({"auxiliary.bias": bias, "auxiliary.weight": weight}, found)
    auxiliary = Auxiliary(
        noisy_units,
        clean_units,
        torch.zeros(bias),
        torch.zeros(weight),
        kind=architecture.auxiliary_kind,
    )
    with torch.device("meta"):
        crf = PairwiseCRF(
            noisy_units, clean_units, architecture.hidden, pairwise=architecture.pairwise
        )
        model = RobustModel(
            network,
            crf,
            auxiliary,
            alpha=description.alpha,
            teacher=teacher,
            students=students,
            prediction=description.prediction,
            seed=description.seed,
        )
        model.calibrator = Calibrator(clean_units.size, description.held_out_changes)
    return model


def _trained_encoder(
    architecture: Architecture, module: nn.Module | None, found: Shapes
) -> Encoder | None:
    """The encoder that was trained with the model, if there is one."""
    if architecture.encoder is None or architecture.tune != "all":
        return None
    # Its weights are among the model's tensors.
    bare = replace(architecture.encoder, pretrained=False, weights=None)
    if bare.kind == "image" and bare.name != CUSTOM:
        with torch.device("meta"):
            sketch = build_encoder(bare)
        shapes = {name: tuple(tensor.shape) for name, tensor in sketch.state_dict().items()}
        _require_shapes({f"network.encoder.{name}": shapes[name] for name in shapes}, found)
    encoder = build_encoder(bare, copy.deepcopy(module))
    if encoder.features != architecture.inputs:
        raise LatentLabelsError(
            f"the encoder gives {encoder.features} features, not {architecture.inputs}"
        )
    return encoder


def _refused(spec: EncoderSpec, argument: str, name: str) -> str:
    return (
        f"The model was fitted on the {spec.kind} {argument} {name[:200]!r}, which is "
        "not followed on a file's word: it leads out of the model's folder. Where you trust it, "
        f"name it yourself, or where it is now: {argument}=..., --{argument} on the command line."
    )
