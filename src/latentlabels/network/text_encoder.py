"""Texts to features: any sentence-transformers model, by name or from a folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from latentlabels.data.texts import read_text
from latentlabels.errors import BackboneError
from latentlabels.network.encoders import CUSTOM, Encoder, EncoderSpec, evaluating
from latentlabels.network.quiet import quiet

TRANSFORM_VERSION: Final = 1
"""Goes up when `prepare` changes what it makes of a text."""
MOST_TOKENS: Final = 256

INSTALL: Final = "Texts need sentence-transformers: pip install 'latentlabels[text]'."
LOCAL_FOLDER: Final = (
    "On a machine with a network it is fetched once and kept in the hub's cache. Without one, give "
    "a local folder that sentence-transformers saved with its model.safetensors: backbone=PATH, "
    "--backbone PATH on the command line."
)


class TextEncoder(Encoder):
    """A text's tokens through a sentence-transformers model to its sentence embedding.

    Args:
        spec: what it was built from.
        model: a SentenceTransformer.
    """

    def __init__(self, spec: EncoderSpec, model: Any) -> None:
        super().__init__(spec)
        self.model = model
        self.tokens = min(int(model.max_seq_length or MOST_TOKENS), MOST_TOKENS)
        self.prompt = (model.prompts or {}).get(model.default_prompt_name) or ""
        self.features = self._features()

    def content(self, cell: Any) -> bytes:
        return read_text(cell).encode()

    def prepare(self, content: bytes, rng: torch.Generator | None = None) -> Tensor:
        """A text as (2, tokens): the tokens' numbers, and ones where there is a token.

        What is longer than the model's length, or `MOST_TOKENS`, is cut off. Texts are not varied.
        """
        encoded = self.model.tokenizer(
            self.prompt + content.decode(),
            padding="max_length",
            truncation=True,
            max_length=self.tokens,
        )
        return torch.tensor([encoded["input_ids"], encoded["attention_mask"]])

    def forward(self, batch: Tensor) -> Tensor:
        """Sentence embeddings (batch, features) of prepared texts (batch, 2, tokens)."""
        # Columns that are padding in every text would only cost time.
        batch = batch[:, :, batch[:, 1].any(0)]
        output = self.model({"input_ids": batch[:, 0], "attention_mask": batch[:, 1]})
        embedding: Tensor = output["sentence_embedding"]
        return embedding.float()

    def transform_key(self) -> str:
        tokenizer = self.model.tokenizer
        return json.dumps(
            {
                "version": TRANSFORM_VERSION,
                "tokens": self.tokens,
                "prompt": self.prompt,
                "tokenizer": type(tokenizer).__name__,
                "vocabulary": len(tokenizer),
            }
        )

    def name(self) -> str:
        # Often a folder, which may be moved.
        return ""

    def architecture(self) -> str:
        # Pooling has no weights, and its kind decides the embedding.
        config = getattr(getattr(self.model[0], "auto_model", None), "config", None)
        layers = {} if config is None else config.to_diff_dict()
        layers.pop("_name_or_path", None)
        return f"{self.model!r} {json.dumps(layers, sort_keys=True, default=str)}"

    def _features(self) -> int:
        """How many there are, by a dry run."""
        with evaluating(self), torch.no_grad():
            output = self(self.prepare(b"text")[None].to(self.device))
        return int(output.shape[1])


def build_text_encoder(spec: EncoderSpec) -> TextEncoder:
    """A text encoder; see `build_encoder`.

    Raises:
        BackboneError: not at hand, without a tokenizer, or a library is missing.
    """
    if spec.name == CUSTOM:
        raise BackboneError("A module of one's own is for images. Name a text model or its folder.")
    if spec.weights is not None:
        raise BackboneError(
            f"A text model's weights come with its folder, and the file {spec.weights!r} came. "
            "Leave it out and give the folder as the model's name."
        )
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        raise BackboneError(INSTALL) from None
    _require_no_code(spec.name)
    try:
        with quiet(), _no_loading_bar():
            model = SentenceTransformer(
                spec.name,
                device="cpu",
                trust_remote_code=False,
                model_kwargs={"use_safetensors": True},
            )
    except Exception as error:  # hub, network, configuration: each raises its own
        text = str(error).strip() or type(error).__name__
        raise BackboneError(
            f"The text model {spec.name!r} cannot be had: {text.splitlines()[0]} " + LOCAL_FOLDER
        ) from error
    if not hasattr(getattr(model, "tokenizer", None), "pad_token_id"):
        raise BackboneError(
            f"The text model {spec.name!r} has no tokenizer of the transformers library. Name a "
            "model that is a transformer."
        )
    model.float()
    if not spec.pretrained:
        _reset(model)
    return TextEncoder(spec, model)


def _require_no_code(name: str) -> None:
    """Refuse a folder that names modules of its own, or holds weights in a pickle alone.

    Older versions of sentence-transformers run the code of any local folder, or read its pickles.
    """
    try:
        modules = json.loads((Path(name) / "modules.json").read_text(encoding="utf-8"))
        kinds = [str(module["type"]) for module in modules]
    except (OSError, ValueError, KeyError, TypeError):
        return  # a name, or nothing that can be loaded
    own = [kind for kind in kinds if not kind.startswith("sentence_transformers.")]
    if own:
        raise BackboneError(
            f"The text model {name!r} has the module {own[0]!r}, which is its own code and is not "
            "run. Name a model of sentence-transformers' own modules."
        )
    for pickle in sorted(Path(name).rglob("pytorch_model.bin")):
        if not pickle.with_name("model.safetensors").is_file():
            raise BackboneError(
                f"{str(pickle)!r} is a pickle, which can run code when it is read, so it is not "
                "read here. Where you trust it, save the model anew with sentence-transformers, "
                "which writes a model.safetensors."
            )


def _reset(model: nn.Module) -> None:
    """Random weights, in every layer that can draw its own."""
    for part in model.modules():
        draw = getattr(part, "reset_parameters", None)
        if callable(draw):
            draw()


@contextmanager
def _no_loading_bar() -> Iterator[None]:
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
