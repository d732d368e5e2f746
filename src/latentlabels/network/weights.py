"""Weights from a local file: safetensors only, and every name and shape has to fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from latentlabels.errors import BackboneError

PICKLES: Final = (".pth", ".pt", ".bin", ".ckpt", ".pkl", ".tar")
NAMED: Final = 4


def load_weights(module: nn.Module, path: str, ignored: Sequence[str] = ()) -> None:
    """Load a .safetensors file's tensors into a module.

    Args:
        module: the network.
        path: the file, with the names of the module's state.
        ignored: prefixes of names that the module leaves out, as a classifier's.

    Raises:
        BackboneError: no such file, another format, or names and shapes that do not fit.
    """
    file = Path(path)
    if not file.is_file():
        raise BackboneError(
            f"There is no weights file {path!r}. Say where it is: weights=PATH, --weights PATH on "
            "the command line."
        )
    if file.suffix.lower() in PICKLES:
        raise _pickle(file)
    if file.suffix.lower() != ".safetensors":
        raise BackboneError(f"Weights are read from a .safetensors file, and {path!r} came.")
    try:
        state = load_file(file)
    except (SafetensorError, OSError) as error:
        raise BackboneError(
            f"The weights file {path!r} cannot be read: {error}. Copy or convert it again."
        ) from error
    wanted = module.state_dict()
    for name in [name for name in state if name.startswith(tuple(ignored)) and name not in wanted]:
        del state[name]
    # Counts of batches; older files lack them, and nothing here uses them.
    missing = [
        name for name in wanted if name not in state and not name.endswith("num_batches_tracked")
    ]
    unexpected = [name for name in state if name not in wanted]
    reshaped = [
        f"{name} {tuple(value.shape)} instead of {tuple(wanted[name].shape)}"
        for name, value in state.items()
        if name in wanted and value.shape != wanted[name].shape
    ]
    problems = [
        f"{kind}: {', '.join(names[:NAMED])}"
        + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
        for kind, names in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of another shape", reshaped),
        )
        if names
    ]
    if problems:
        raise BackboneError(
            f"The weights file {path!r} does not fit the network. {'; '.join(problems)}. Name the "
            "model and size that the file was written for, or rename its tensors."
        )
    module.load_state_dict(state, strict=False)


def _pickle(file: Path) -> BackboneError:
    target = file.with_suffix(".safetensors")
    return BackboneError(
        f"{str(file)!r} is a pickle, which can run code when it is read, so it is not read here. "
        'Convert it once, where you trust it: python -c "import torch; from safetensors.torch '
        f"import save_file; state = torch.load('{file}', map_location='cpu', weights_only=True); "
        "save_file({k: v.contiguous() for k, v in state.get('state_dict', state).items()}, "
        f"'{target}')\""
    )
