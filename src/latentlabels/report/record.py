"""What metrics.json says of a fit. It may be older than this version, or a stranger's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from latentlabels.description import bounded_content, first_mistake, plain_json
from latentlabels.errors import TableError

LENIENT: Final = ConfigDict(extra="ignore", allow_inf_nan=False)


@dataclass(frozen=True)
class Points:
    """A reliability plot's points; see `evaluation.calibration.Reliability`."""

    __pydantic_config__ = LENIENT

    said: list[float]
    found: list[float]
    count: list[int]


@dataclass(frozen=True)
class QualityTold:
    """How far probabilities can be trusted; see `calibrating.Quality`."""

    __pydantic_config__ = LENIENT

    ece: float
    brier: float
    reliability: Points


@dataclass(frozen=True)
class CalibrationTold:
    """Calibration, before and after."""

    __pydantic_config__ = LENIENT

    rows: int
    before: QualityTold
    after: QualityTold


@dataclass(frozen=True)
class ChainsTold:
    """How chains fared; see `sampling.diagnostics.ChainHealth`."""

    __pydantic_config__ = LENIENT

    mix: bool
    r_hat: float | None
    effective: float | None
    stuck: float | None
    weight: float | None


@dataclass(frozen=True)
class AuxiliaryTold:
    """Which auxiliary was taken, and how well each did."""

    __pydantic_config__ = LENIENT

    kind: str
    held_out_loss: dict[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class AcceptanceTold:
    """How many accepted changes are right; see `evaluation.acceptance.Acceptance`."""

    __pydantic_config__ = LENIENT

    wanted: float
    precision: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class ComparisonTold:
    """The model against networks that were trained on the verified rows alone.

    Attributes:
        rows_of: which rows they are compared on.
        rows: how many.
        measure: what the scores are.
        model: the model's score, from 0 to 1.
        verified_only: the other's.
        low: the model is better by at least this.
        high: and at most by this.
        why_not: why there is no comparison; None where there is one.
    """

    __pydantic_config__ = LENIENT

    rows_of: str = ""
    rows: int = 0
    measure: str = ""
    model: float = 0.0
    verified_only: float = 0.0
    low: float = 0.0
    high: float = 0.0
    why_not: str | None = None

    @property
    def measure_told(self) -> str:
        """What the scores are, in words."""
        return measure_told(self.measure)


@dataclass(frozen=True)
class ScoreTold:
    """A score or a gain that is expected of so many rows; see `evaluation.learning_curve`."""

    __pydantic_config__ = LENIENT

    rows: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class LearningCurveTold:
    """What more verified rows would bring.

    Attributes:
        measure: what the scores are.
        rows: verified rows there are.
        sizes: verified rows of the fits.
        scores: of these, from 0 to 1.
        expected: the score at some numbers of verified rows.
        gains: what so many rows more are expected to add.
    """

    __pydantic_config__ = LENIENT

    measure: str
    rows: int
    sizes: list[int]
    scores: list[float]
    expected: Annotated[list[ScoreTold], Field(min_length=1)]
    gains: list[ScoreTold]

    @property
    def measure_told(self) -> str:
        """What the scores are, in words."""
        return measure_told(self.measure)

    @property
    def now(self) -> ScoreTold:
        """What is expected of the verified rows there are."""
        return min(self.expected, key=lambda score: abs(score.rows - self.rows))


@dataclass(frozen=True)
class Record:
    """What is known of a fit; what an older version did not write down is None or empty."""

    __pydantic_config__ = LENIENT

    version: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    auxiliary: AuxiliaryTold | None = None
    negative_phase: str | None = None
    chains: ChainsTold | None = None
    best_epoch: int | None = None
    history: list[dict[str, float | None]] = field(default_factory=list)
    calibration: CalibrationTold | None = None
    acceptance: AcceptanceTold | None = None
    test: dict[str, Any] | None = None
    recovery: dict[str, Any] | None = None
    comparison: ComparisonTold | None = None
    learning_curve: LearningCurveTold | None = None


def measure_told(measure: str) -> str:
    """What scores are, in words."""
    return {"map": "mean average precision"}.get(measure, measure)


READER: Final = TypeAdapter(Record)


def read_record(path: Path) -> Record | None:
    """What a metrics.json says; None where there is none.

    Raises:
        ModelFolderError: it is no JSON.
        TableError: it does not say what a run's does.
    """
    if not path.is_file():
        return None
    value = plain_json(bounded_content(path), str(path))
    try:
        return record_of(value)
    except ValidationError as error:
        raise TableError(
            f"{path} is damaged: {first_mistake(error)}. Run again, or remove it."
        ) from error


def record_of(metrics: Mapping[str, Any]) -> Record:
    """The same of what would be written to metrics.json."""
    return READER.validate_python(metrics)
