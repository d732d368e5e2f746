"""What model.json may say: types, ranges, and parts that fit each other.

It may come from a stranger. Everything is checked before anything is built from it, and an error
names the field.
"""

from __future__ import annotations

import json
import os
import reprlib
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Annotated, Any, ClassVar, Final

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import from_json

from latentlabels.architecture import Architecture, Count
from latentlabels.data.labels import Form, LabelSpace, Vocabulary, plain_name
from latentlabels.errors import LatentLabelsError, ModelFolderError
from latentlabels.model.schedule import GibbsSchedule

SCHEMA: Final = 4
MOST_BYTES: Final = 1 << 24
"""Bytes of a JSON file at most."""
MOST_RUNS: Final = 10_000
"""Chains and sweeps of a prediction at most."""
REMEDY: Final = "Copy or fit the model anew."


def _affordable(schedule: GibbsSchedule) -> GibbsSchedule:
    if max(schedule.chains, schedule.sweeps) > MOST_RUNS:
        raise LatentLabelsError(f"chains and sweeps are {MOST_RUNS} at most, got {schedule}")
    return schedule


@dataclass(frozen=True)
class LabelColumn:
    """A column of labels.

    Attributes:
        column: its name; "" for a single unnamed one.
        exclusive: whether a row has exactly one of the names.
        names: in unit order, each once.
    """

    column: str
    exclusive: bool
    names: tuple[Annotated[Any, AfterValidator(plain_name)], ...]

    def __post_init__(self) -> None:
        # Refuses a name that stands there twice.
        Vocabulary(self.names, self.exclusive)


LabelColumns = Annotated[tuple[LabelColumn, ...], Field(min_length=1)]


@dataclass(frozen=True)
class Description:
    """The content of model.json.

    Attributes:
        schema: version of this description.
        alpha: weight of the auxiliary in the posterior.
        prediction: schedule of the chains that predict.
        seed: of those chains.
        architecture: the model's shape.
        clean: columns of clean labels.
        noisy: columns of noisy labels.
        clean_forms: the form in which each column of clean labels was given.
        settings: parameters of the estimator.
        provenance: where the model came from.
        feature_names: names of the input columns, where they had some.
        held_out_changes: how many changes of held-out rows the calibrator keeps.
    """

    __pydantic_config__: ClassVar = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    schema: int
    alpha: Annotated[float, Field(ge=0)]
    prediction: Annotated[GibbsSchedule, AfterValidator(_affordable)]
    seed: Annotated[int, Field(ge=0, lt=2**32)]
    architecture: Architecture
    clean: LabelColumns
    noisy: LabelColumns
    clean_forms: tuple[Form, ...]
    settings: dict[str, Any]
    provenance: dict[str, Any]
    feature_names: tuple[str, ...] | None
    held_out_changes: Count

    def __post_init__(self) -> None:
        shape, encoder = self.architecture, self.architecture.encoder
        exclusive = [form == "classes" for form in self.clean_forms]
        if exclusive != [column.exclusive for column in self.clean]:
            raise LatentLabelsError("clean_forms are not those of the columns in clean")
        for side, columns in (("clean", self.clean), ("noisy", self.noisy)):
            if len({column.column for column in columns}) != len(columns):
                raise LatentLabelsError(f"{side} has two columns of the same name")
        if self.feature_names is not None and len(self.feature_names) != shape.inputs:
            raise LatentLabelsError(
                f"feature_names are {len(self.feature_names)}, and inputs {shape.inputs}"
            )
        if shape.tune == "all" and (encoder is None or shape.teachers or shape.students):
            raise LatentLabelsError(
                "an architecture of tune='all' has an encoder, and neither teachers nor students"
            )
        kind = "vector" if encoder is None else encoder.kind
        if self.settings.get("input_kind", "vector") != kind:
            raise LatentLabelsError(f"settings.input_kind is not that of the model, {kind!r}")
        for setting, known in (
            ("backbone", encoder and encoder.name),
            ("weights", encoder and encoder.weights),
        ):
            if self.settings.get(setting) not in (None, known):
                raise LatentLabelsError(
                    f"settings.{setting} is not that of the architecture's encoder, {known!r}"
                )


READER: Final = TypeAdapter(Description)


def described(content: bytes, source: str) -> Description:
    """The description in a JSON text.

    Args:
        content: the text.
        source: what it is called in an error.

    Raises:
        ModelFolderError: another schema, or a field that is missing, unknown, or holds what it may
            not hold.
    """
    value = plain_json(content, source)
    _require_schema(value.get("schema") if isinstance(value, dict) else None, source)
    try:
        return READER.validate_json(content)
    except ValidationError as error:
        raise ModelFolderError(f"{source} is damaged: {first_mistake(error)}. {REMEDY}") from error


def plain_json(content: bytes, source: str) -> Any:
    """The value of a JSON text of bounded size and depth, in which every number is finite.

    Args:
        content: the text.
        source: what it is called in an error.

    Raises:
        ModelFolderError: it is none.
    """
    if len(content) > MOST_BYTES:
        raise ModelFolderError(
            f"{source} is larger than the {MOST_BYTES:,} bytes that a model's JSON may have."
        )
    try:
        value = from_json(content, allow_inf_nan=False)
        # 1e999 is a number to the reader, and infinite.
        json.dumps(value, allow_nan=False)
    except ValueError as error:
        raise ModelFolderError(f"{source} is damaged: no JSON ({error}). {REMEDY}") from error
    return value


def bounded_content(path: Path) -> bytes:
    """A JSON file's bytes, but no more of them than it takes to see that they are too many."""
    with path.open("rb") as file:
        # The memory for as many as are asked for is taken at once.
        return file.read(min(MOST_BYTES, os.fstat(file.fileno()).st_size) + 1)


def columns_of(space: LabelSpace) -> tuple[LabelColumn, ...]:
    """A label space as it is written down."""
    return tuple(
        LabelColumn(column, vocabulary.exclusive, vocabulary.names)
        for column, vocabulary in zip(space.columns, space.vocabularies, strict=True)
    )


def space_of(columns: tuple[LabelColumn, ...]) -> LabelSpace:
    """The label space that was written down as these columns."""
    return LabelSpace(
        tuple(column.column for column in columns),
        tuple(Vocabulary(column.names, column.exclusive) for column in columns),
    )


def first_mistake(error: ValidationError) -> str:
    """The first mistake: which field, what was wanted, and what came."""
    mistake = error.errors(include_url=False)[0]
    field = ".".join(map(str, mistake["loc"]))
    wanted = mistake["msg"].removeprefix("Value error, ").rstrip(".")
    told = mistake["type"] in ("missing", "value_error")
    came = "" if told else f", got {reprlib.repr(mistake['input'])}"
    return shorten(f"{field}: {wanted}{came}" if field else wanted, 300, placeholder=" …")


def _require_schema(schema: object, source: str) -> None:
    if type(schema) is int and schema > SCHEMA:
        raise ModelFolderError(
            f"{source} is of schema {schema}, this version reads {SCHEMA}. "
            "Install a newer latentlabels."
        )
    if type(schema) is not int or schema != SCHEMA:
        raise ModelFolderError(
            f"{source} is of schema {reprlib.repr(schema)}, this version reads {SCHEMA}. "
            "Fit the model anew, or install the version that wrote it."
        )
