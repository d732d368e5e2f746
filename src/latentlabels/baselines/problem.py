"""One interface for every method that ours is compared with: what it sees, and what it is asked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from latentlabels.data.labels import LabelSpace, Name
from latentlabels.model.units import Categorical, Units
from latentlabels.training.rows import Batch, Rows
from latentlabels.training.settings import TrainingSettings

Settings = Mapping[str, Any]

STEP_SIZES: Final[Sequence[Settings]] = ({}, {"learning_rate": 5e-4}, {"learning_rate": 1e-4})
"""Settings to choose from of a method that has none of its own; the first is that of all."""

FEWEST_NAMED = 0.5
"""A method that reads noisy labels as clean ones needs so many of the clean labels named."""


@dataclass(frozen=True)
class Problem:
    """What a method may see of a table: a row that is not verified has no clean label here.

    Attributes:
        rows: training rows; `rows.clean` is zero where a row is not verified.
        validation: rows that choose epoch and hyper-parameters, with clean labels.
        noisy: the noisy labels' space.
        clean: the clean labels' space.
        network: an untrained network of the size that all methods share, from examples to so many
            outputs (batch, outputs).
        training: how networks are trained.
    """

    rows: Rows
    validation: Rows
    noisy: LabelSpace
    clean: LabelSpace
    network: Callable[[int], nn.Module]
    training: TrainingSettings

    @property
    def units(self) -> Units:
        """The units of the clean labels."""
        return self.clean.units

    @property
    def is_multiclass(self) -> bool:
        """Whether a row has exactly one clean class."""
        return isinstance(self.units, Categorical)

    @cached_property
    def naming(self) -> Tensor:
        """Which noisy unit names which clean one, in whatever case, 0 or 1, (noisy, clean)."""
        clean = {_spelt(name): unit for unit, name in enumerate(self.clean.vocabularies[0].names)}
        noisy = [name for part in self.noisy.vocabularies for name in part.names]
        table = torch.zeros(len(noisy), len(clean))
        for row, name in enumerate(noisy):
            if _spelt(name) in clean:
                table[row, clean[_spelt(name)]] = 1.0
        return table

    @property
    def named(self) -> float:
        """Share of the clean labels that some noisy label names."""
        return float(self.naming.any(0).float().mean())

    def given(self, noisy: Tensor) -> Tensor:
        """Noisy labels read as clean ones by their names, (batch, clean).

        Of several annotators' classes it is the share of their votes; a class that names no clean
        one leaves a row of zeros.
        """
        votes = noisy @ self.naming.to(noisy.device)
        if self.is_multiclass:
            return votes / votes.sum(-1, keepdim=True).clamp(min=1.0)
        return votes.clamp(max=1.0)

    def read_as_clean(self, batch: Batch) -> Tensor:
        """The clean label where it is verified, and elsewhere the given one, (batch, clean)."""
        return torch.where(batch.verified[:, None], batch.clean, self.given(batch.noisy))

    def all_noisy(self) -> Tensor:
        """The noisy labels of all training rows, (rows, noisy)."""
        return torch.from_numpy(self.rows.noisy.toarray().astype(np.float32))

    def all_clean(self) -> Tensor:
        """The clean labels of all training rows, zero where not verified, (rows, clean)."""
        return torch.from_numpy(self.rows.clean.toarray().astype(np.float32))

    def all_read_as_clean(self) -> Tensor:
        """Of all training rows: the clean label where verified, else the given, (rows, clean)."""
        known = torch.from_numpy(self.rows.verified)[:, None]
        return torch.where(known, self.all_clean(), self.given(self.all_noisy()))

    def features(self, rows: NDArray[np.intp] | None = None) -> Tensor:
        """The training examples, or some of them, as one tensor, (rows, ...)."""
        chosen = np.arange(len(self.rows)) if rows is None else rows
        return self.rows.x.batch(chosen)


class Fitted(ABC):
    """A method after training."""

    @abstractmethod
    def predict(self, x: Tensor) -> Tensor:
        """p(ŷ | x) of new examples, (batch, clean)."""

    @abstractmethod
    def cleaned(self, rows: NDArray[np.intp]) -> Tensor:
        """Probabilities of the clean labels of some training rows, (rows, clean)."""


class Baseline(ABC):
    """A method from the literature.

    Attributes:
        name: its name in tables.
        source: where it was published.
        choices: settings to choose from on the validation rows, the likeliest first.
        bags: whether an image is wanted as the bag of its regions, (instances, inputs).
    """

    name: str
    source: str
    choices: Sequence[Settings] = ({},)
    bags: bool = False

    def refuses(self, problem: Problem) -> str | None:
        """Why the method cannot be had for these labels; None where it can."""
        return None

    @abstractmethod
    def fit(self, problem: Problem, seed: int, **settings: Any) -> Fitted:
        """Train on the training rows; validation rows choose the epoch.

        Args:
            problem: what may be seen.
            seed: of everything random.
            settings: one of `choices`.
        """


def unless_named(problem: Problem) -> str | None:
    """For `refuses`: the noisy labels are not in the clean vocabulary."""
    if problem.named >= FEWEST_NAMED:
        return None
    return f"only {problem.named:.0%} of the clean labels are named by a noisy one"


def unless_multilabel(problem: Problem) -> str | None:
    """For `refuses`: a row has one class, or the noisy labels are not in the clean vocabulary."""
    if problem.is_multiclass:
        return "it is made for labels of which any number may hold"
    return unless_named(problem)


def unless_multiclass(problem: Problem) -> str | None:
    """For `refuses`: a row has not exactly one clean and one noisy class, of the same classes."""
    if problem.is_multiclass and problem.noisy.units == problem.units and problem.named == 1.0:
        return None
    return "it is made for one class a row, noisy and clean of the same classes"


def _spelt(name: Name) -> str:
    return str(name).casefold()
