"""Images become features by any timm model or module, with weights that fit or a clear error."""

from __future__ import annotations

import dataclasses
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.testing import assert_close

from latentlabels.errors import BackboneError, InputError
from latentlabels.network import encoders, precision
from latentlabels.network.encoders import (
    Encoder,
    EncoderSpec,
    build_encoder,
    evaluating,
    faster_dtype,
)

NAME = "test_resnet.r160_in1k"
TINY = EncoderSpec("image", NAME, pretrained=False, size=32)
PICTURE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


class Maps(nn.Module):
    """Feature maps, with what only training changes."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 5, 3, stride=2)
        self.norm = nn.BatchNorm2d(5)
        self.dropout = nn.Dropout(0.5)

    def forward(self, batch: Tensor) -> Tensor:
        maps: Tensor = self.dropout(self.norm(self.convolution(batch)))
        return maps


def custom(module: nn.Module, size: int | None = 16, augment: bool = False) -> Encoder:
    return build_encoder(EncoderSpec("image", "custom", size=size, augment=augment), module)


def prepared(encoder: Encoder, image: NDArray[np.uint8], seed: int | None = None) -> Tensor:
    rng = None if seed is None else torch.Generator().manual_seed(seed)
    return encoder.prepare(encoder.content(image), rng)


@pytest.fixture(autouse=True)
def _own_randomness() -> object:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture(scope="module")
def full_model() -> nn.Module:
    model: nn.Module = timm.create_model(NAME, pretrained=False, num_classes=7)
    return model


@pytest.fixture
def weights(full_model: nn.Module, tmp_path: Path) -> Path:
    path = tmp_path / "weights.safetensors"
    save_file(full_model.state_dict(), path)
    return path


def test_a_timm_model_gives_features_of_its_own_size() -> None:
    encoder = build_encoder(dataclasses.replace(TINY, size=None))
    batch = torch.stack([prepared(encoder, PICTURE)] * 2)
    assert batch.shape == (2, 3, 160, 160)
    assert batch.dtype == torch.float32
    features = encoder(batch)
    assert features.shape == (2, encoder.features)
    assert features.dtype == torch.float32
    assert encoder.spec.size is None
    assert prepared(build_encoder(TINY), PICTURE).shape == (3, 32, 32)


@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "test_efficientnet"])
def test_architectures_of_every_kind_take_another_size(name: str) -> None:
    """A transformer has to be made for its size."""
    encoder = build_encoder(EncoderSpec("image", name, pretrained=False, size=64))
    assert encoder(torch.zeros(2, 3, 64, 64)).shape == (2, encoder.features)


def test_a_spec_goes_through_json() -> None:
    spec = EncoderSpec("image", NAME, "weights.safetensors", False, 64, True)
    assert EncoderSpec(**json.loads(json.dumps(dataclasses.asdict(spec)))) == spec


def test_the_gradient_reaches_every_weight() -> None:
    encoder = build_encoder(TINY)
    for part in encoder.modules():
        # A fresh residual network starts with branches that are multiplied by zero.
        if isinstance(part, nn.BatchNorm2d):
            nn.init.ones_(part.weight)
    encoder(torch.randn(4, 3, 32, 32)).square().sum().backward()
    for name, weight in encoder.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.any(), name


def test_the_same_seed_starts_from_the_same_weights() -> None:
    prints = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        prints.append(build_encoder(TINY).fingerprint())
    assert prints[0] == prints[1] != prints[2]


def test_the_features_are_the_models_without_its_classifier(
    full_model: nn.Module, weights: Path
) -> None:
    encoder = build_encoder(dataclasses.replace(TINY, weights=str(weights)))
    batch = torch.randn(2, 3, 32, 32)
    with evaluating(full_model), evaluating(encoder), torch.inference_mode():
        scores = full_model(batch)
        assert_close(full_model.get_submodule("fc")(encoder(batch)), scores)


def test_weights_without_classifier_or_counts_of_batches_fit(
    full_model: nn.Module, tmp_path: Path
) -> None:
    path = tmp_path / "bare.safetensors"
    state = full_model.state_dict()
    kept = {
        name: value
        for name, value in state.items()
        if not name.startswith("fc.") and not name.endswith("num_batches_tracked")
    }
    assert len(kept) < len(state) - 2
    save_file(kept, path)
    encoder = build_encoder(dataclasses.replace(TINY, weights=str(path)))
    assert_close(encoder.state_dict()["module.conv1.0.weight"], state["conv1.0.weight"])


def test_weights_of_another_model_are_refused(weights: Path) -> None:
    spec = EncoderSpec("image", "test_efficientnet", str(weights), size=32)
    with pytest.raises(BackboneError) as caught:
        build_encoder(spec)
    message = str(caught.value)
    assert "weights.safetensors' does not fit the network. missing: conv_stem.weight" in message
    assert "; unexpected: " in message
    assert " more" in message
    assert "Name the model and size that the file was written for" in message


def test_weights_of_another_shape_are_refused(full_model: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(full_model.state_dict() | {"bn1.bias": torch.zeros(99)}, path)
    with pytest.raises(BackboneError, match=r"of another shape: bn1\.bias \(99,\) instead of"):
        build_encoder(dataclasses.replace(TINY, weights=str(path)))


@pytest.mark.parametrize("name", ["best.pth", "best.pt", "pytorch_model.bin", "last.ckpt"])
def test_a_pickle_is_refused_with_its_conversion(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    torch.save(timm.create_model(NAME, pretrained=False).state_dict(), path)
    spec = dataclasses.replace(TINY, weights=str(path))
    with pytest.raises(BackboneError, match="is a pickle, which can run code") as caught:
        build_encoder(spec)
    # The line works as it is printed.
    line = str(caught.value).partition('python -c "')[2].removesuffix('"')
    exec(line, {})
    build_encoder(dataclasses.replace(TINY, weights=str(path.with_suffix(".safetensors"))))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.safetensors", None, "There is no weights file .*gone"),
        ("weights.onnx", b"x", "Weights are read from a .safetensors file"),
        ("cut.safetensors", b"\x08\0\0\0\0\0\0\0{}", "cannot be read: .*Copy or convert it again"),
    ],
)
def test_files_that_are_no_weights(
    name: str, content: bytes | None, message: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(BackboneError, match=message):
        build_encoder(dataclasses.replace(TINY, weights=str(tmp_path / name)))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet51", "no image model 'resnet51'. Did you mean .*'resnet50'"),
        ("resnet18.a9_in1k", "no image model 'resnet18.a9_in1k'. Did you mean .*'resnet18.a"),
        ("!", r"no image model '!'. timm.list_models\(\)"),
    ],
)
def test_an_unknown_name_is_met_with_close_ones(name: str, message: str) -> None:
    with pytest.raises(BackboneError, match=message):
        build_encoder(EncoderSpec("image", name))


@pytest.mark.parametrize("name", ["resnet18", "hf-hub:nobody/nothing"])
def test_weights_that_cannot_be_had_offline_may_come_from_a_file(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError("Offline, and not in the cache.\nMore lines.")

    monkeypatch.setattr("timm.models._hub.hf_hub_download", refused)
    with pytest.raises(BackboneError) as caught:
        build_encoder(EncoderSpec("image", name))
    message = str(caught.value)
    assert message.startswith(f"The weights of the image model {name!r} cannot be had: Offline,")
    assert "local .safetensors file: weights=PATH, --weights PATH" in message
    assert "More lines" not in message


@pytest.mark.parametrize("library", ["timm", "timm.data", "torchvision"])
def test_a_missing_library_is_named_with_its_extra(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(BackboneError, match=r"pip install 'latentlabels\[images\]'"):
        build_encoder(TINY)


def test_a_module_may_give_features() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 6))
    encoder = custom(module)
    assert encoder.features == 6
    batch = torch.randn(2, 3, 16, 16)
    assert_close(encoder(batch), module(batch))


def test_a_modules_feature_maps_are_averaged() -> None:
    module = Maps()
    encoder = custom(module)
    assert encoder.features == 5
    assert module.training, "the dry run leaves the mode as it was"
    assert not module.norm.num_batches_tracked
    batch = torch.randn(2, 3, 16, 16)
    with evaluating(encoder):
        assert_close(encoder(batch), module(batch).mean((2, 3)))


def test_a_module_may_give_a_sequence_which_is_averaged() -> None:
    module = nn.Sequential(nn.Conv2d(3, 5, 4, stride=4), nn.Flatten(2), nn.Linear(16, 7))
    assert custom(module).features == 7


def test_a_module_may_find_its_widths_by_itself() -> None:
    """The dry run is what makes them, and they can be trained all the same."""
    encoder = custom(nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(6)))
    assert encoder.features == 6
    encoder(torch.randn(2, 3, 16, 16)).sum().backward()
    assert all(weight.grad is not None for weight in encoder.parameters())


def test_a_modules_weights_may_come_from_a_file(tmp_path: Path) -> None:
    path, written, module = tmp_path / "weights.safetensors", Maps(), Maps()
    save_file(written.state_dict(), path)
    build_encoder(EncoderSpec("image", "custom", str(path), size=16), module)
    assert_close(module.state_dict(), written.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("spec", "module", "message"),
    [
        (
            EncoderSpec("image", "custom", size=16),
            None,
            "none came. Give it as backbone=..., or name a timm",
        ),
        (EncoderSpec("image", "custom"), Maps(), "Give image_size=PIXELS"),
        (EncoderSpec("image", NAME, size=16), Maps(), "A module of one's own is for images"),
        (EncoderSpec("text", "custom"), Maps(), "A module of one's own is for images"),
        (EncoderSpec("text", "custom"), None, "A module of one's own is for images"),
        (EncoderSpec("image", "custom", size=0), Maps(), "at least 1 pixel, and 0 came"),
        (EncoderSpec("image", "custom", size=9), nn.Flatten(0), r"and shape \(243,\) came"),
        (EncoderSpec("image", "custom", size=9), nn.Linear(7, 2), r"\(1, 3, 9, 9\): .*size="),
        (EncoderSpec("sound", "custom"), None, "is for 'image' or 'text', and 'sound' came"),  # type: ignore[arg-type]
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_built_says_why(
    spec: EncoderSpec, module: nn.Module | None, message: str
) -> None:
    with pytest.raises(BackboneError, match=message):
        build_encoder(spec, module)


def test_the_centre_is_taken_whole_and_normalised() -> None:
    encoder = custom(Maps(), size=40)
    expected = torch.from_numpy(PICTURE[:, 10:50].copy()).permute(2, 0, 1) / 127.5 - 1
    assert_close(prepared(encoder, PICTURE), expected)
    assert_close(prepared(encoder, PICTURE.swapaxes(0, 1)), expected.mT)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (2, 3)], ids=str)
@pytest.mark.parametrize("seed", [None, 0])
def test_any_shape_of_image_can_be_prepared(shape: tuple[int, int], seed: int | None) -> None:
    encoder = custom(Maps(), augment=True)
    tensor = prepared(encoder, np.full((*shape, 3), 255, np.uint8), seed)
    assert_close(tensor, torch.ones(3, 16, 16))


def test_augmentation_is_a_function_of_the_seed() -> None:
    encoder = custom(Maps(), augment=True)
    state = torch.get_rng_state()
    varied = [prepared(encoder, PICTURE, seed) for seed in range(20)]
    assert torch.equal(state, torch.get_rng_state())
    for seed, tensor in enumerate(varied):
        assert torch.equal(tensor, prepared(encoder, PICTURE, seed))
    distinct = {tensor.numpy().tobytes() for tensor in varied}
    assert len(distinct) == len(varied)


def test_only_what_asks_for_augmentation_is_augmented() -> None:
    plain, augmented = custom(Maps()), custom(Maps(), augment=True)
    still = prepared(plain, PICTURE)
    assert torch.equal(still, prepared(plain, PICTURE, 0))
    assert torch.equal(still, prepared(augmented, PICTURE))
    assert not torch.equal(still, prepared(augmented, PICTURE, 0))


def test_augmentation_crops_and_mirrors_within_its_limits() -> None:
    """Red grows to the right and green downwards, so that a crop's edges can be read off."""
    side = 256
    ramp = np.arange(side, dtype=np.uint8)
    picture = np.zeros((side, side, 3), np.uint8)
    picture[:, :, 0], picture[:, :, 1] = ramp, ramp[:, None]
    encoder = custom(Maps(), size=64, augment=True)
    mirrored, areas = 0, []
    for seed in range(200):
        tensor = prepared(encoder, picture, seed)
        across = tensor[0, 32, -1] - tensor[0, 32, 0]
        down = tensor[1, -1, 32] - tensor[1, 0, 32]
        mirrored += int(across < 0)
        areas.append(float(across.abs() * down) / 4 * (64 / 63) ** 2)
    assert 0.33 < min(areas) < 0.45
    assert 0.85 < max(areas) < 1.05
    # A fair coin, within five standard errors.
    assert abs(mirrored - 100) < 5 * np.sqrt(200 / 4)


def test_a_damaged_image_is_an_input_error() -> None:
    encoder = custom(Maps())
    with pytest.raises(InputError, match=r"^no such file: gone\.png$"):
        encoder.content("gone.png")
    file = io.BytesIO()
    Image.fromarray(PICTURE).save(file, "PNG")
    with pytest.raises(InputError, match=r"^is truncated$"):
        encoder.prepare(file.getvalue()[:1000])


def test_the_fingerprint_knows_what_decides_the_features() -> None:
    module = Maps()
    base = custom(module).fingerprint()
    assert base == custom(module).fingerprint()
    assert base == custom(module, augment=True).fingerprint(), "augmentation is not embedded"
    assert base != custom(module, size=32).fingerprint()
    # The same weights in another network.
    assert base != custom(nn.Sequential(module, nn.ReLU())).fingerprint()
    assert base != custom(nn.Sequential(module, nn.GELU())).fingerprint()
    with torch.no_grad():
        module.convolution.weight[0, 0, 0, 0] += 1e-6
    changed = custom(module).fingerprint()
    assert base != changed
    module.get_buffer("norm.running_var").mul_(2)
    assert changed != custom(module).fingerprint()


def test_the_transform_key_is_json() -> None:
    encoder = build_encoder(TINY)
    assert json.loads(encoder.transform_key())["size"] == 32


def test_trying_precisions_changes_nothing() -> None:
    module = Maps()
    encoder = custom(module)
    module.dropout.eval()
    batch = torch.randn(3, 3, 16, 16)
    encoder(batch).sum().backward()
    weights = list(encoder.parameters())
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    gradients = [None if weight.grad is None else weight.grad.clone() for weight in weights]
    modes = [part.training for part in encoder.modules()]
    drawn = torch.get_rng_state()
    assert faster_dtype(encoder, batch) in (torch.float32, torch.bfloat16)
    assert_close(dict(encoder.state_dict()), before, rtol=0, atol=0)
    assert_close([weight.grad for weight in weights], gradients, rtol=0, atol=0)
    assert [part.training for part in encoder.modules()] == modes
    assert torch.equal(torch.get_rng_state(), drawn)


@pytest.mark.parametrize(
    ("single", "half", "expected"),
    [
        (2.0, 1.0, torch.bfloat16),
        (1.0, 2.0, torch.float32),
        (1.0, 1.0, torch.float32),
        (1.0, None, torch.float32),
    ],
)
def test_the_faster_precision_wins(
    single: float,
    half: float | None,
    expected: torch.dtype,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def seconds(_: object, __: object, dtype: torch.dtype, ___: int) -> float:
        if dtype is torch.float32:
            return single
        if half is None:
            raise RuntimeError("not implemented for bfloat16")
        return half

    monkeypatch.setattr(precision, "_seconds", seconds)
    assert encoders.faster_dtype(custom(Maps()), torch.zeros(1, 3, 16, 16)) is expected


def test_a_frozen_network_is_timed_too() -> None:
    encoder = custom(Maps()).requires_grad_(False)
    faster_dtype(encoder, torch.zeros(2, 3, 16, 16), repeats=1)
