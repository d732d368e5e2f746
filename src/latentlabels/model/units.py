"""What a label is: independent bits, one of several, or several kinds side by side.

A layer of units is an exponential family on vectors of 0 and 1: with natural parameters (logits) η,

    p(s) = exp(η · s − A(η)),        E[s] = ∇A(η).

Everything the model needs of a label is A (`log_partition`), the mean, a draw, and, where it is
small, the list of all states. Nothing else says what a layer's mean is, but for the fused kernel,
which is held against this module state by state.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional


class Units(ABC):
    """A layer of label units, encoded as a vector of `size` zeros and ones."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Length of the encoded vector."""

    @property
    @abstractmethod
    def draws(self) -> int:
        """Number of uniform numbers that one draw of the layer consumes."""

    @property
    @abstractmethod
    def configurations_count(self) -> int:
        """Number of distinct states of the layer."""

    @abstractmethod
    def mean(self, logits: Tensor) -> Tensor:
        """E[s] for natural parameters `logits` of shape (..., size); the same shape."""

    @abstractmethod
    def log_partition(self, logits: Tensor) -> Tensor:
        """A(η) for natural parameters `logits` of shape (..., size); shape (...)."""

    @abstractmethod
    def sample(self, logits: Tensor, uniforms: Tensor) -> Tensor:
        """The state that `uniforms` select.

        Args:
            logits: natural parameters, (..., size).
            uniforms: numbers in [0, 1), (..., draws).

        Returns:
            States of 0 and 1 in the type of `logits`, (..., size).
        """

    @abstractmethod
    def configurations(self) -> Tensor:
        """Every state once, (configurations_count, size), float64."""

    @abstractmethod
    def mode(self, mean: Tensor) -> Tensor:
        """The most probable state for means of shape (..., size), as booleans of the same shape."""

    @abstractmethod
    def are_states(self, vectors: Tensor) -> Tensor:
        """Which of the vectors (..., size) encode a state of the layer; booleans of shape (...)."""

    @abstractmethod
    def logits_of(self, mean: Tensor) -> Tensor:
        """Natural parameters with the given mean, the inverse of `mean` (up to a constant)."""

    def log_probability(self, logits: Tensor, states: Tensor) -> Tensor:
        """log p(s) = η · s − A(η) for `logits` and `states` of shape (..., size); shape (...)."""
        return (logits * states).sum(-1) - self.log_partition(logits)


@dataclass(frozen=True)
class Bernoulli(Units):
    """`n` independent bits: labels of which any number may hold.

    Args:
        n: number of bits; zero makes an empty layer.
    """

    n: int

    def __post_init__(self) -> None:
        _require_count("Bernoulli", self.n, at_least=0)

    @property
    def size(self) -> int:
        return self.n

    @property
    def draws(self) -> int:
        return self.n

    @property
    def configurations_count(self) -> int:
        return int(2**self.n)

    def mean(self, logits: Tensor) -> Tensor:
        return torch.sigmoid(logits)

    def log_partition(self, logits: Tensor) -> Tensor:
        return functional.softplus(logits).sum(-1)

    def sample(self, logits: Tensor, uniforms: Tensor) -> Tensor:
        return (uniforms < torch.sigmoid(logits)).to(logits.dtype)

    def configurations(self) -> Tensor:
        codes = torch.arange(self.configurations_count)[:, None]
        return ((codes >> torch.arange(self.n)) & 1).double()

    def mode(self, mean: Tensor) -> Tensor:
        return mean > 0.5

    def are_states(self, vectors: Tensor) -> Tensor:
        return ((vectors == 0) | (vectors == 1)).all(-1)

    def logits_of(self, mean: Tensor) -> Tensor:
        return torch.logit(mean)


@dataclass(frozen=True)
class Categorical(Units):
    """One of `n` classes, encoded with a single 1.

    Args:
        n: number of classes, at least one.
    """

    n: int

    def __post_init__(self) -> None:
        _require_count("Categorical", self.n, at_least=1)

    @property
    def size(self) -> int:
        return self.n

    @property
    def draws(self) -> int:
        return 1

    @property
    def configurations_count(self) -> int:
        return self.n

    def mean(self, logits: Tensor) -> Tensor:
        return torch.softmax(logits, -1)

    def log_partition(self, logits: Tensor) -> Tensor:
        return torch.logsumexp(logits, -1)

    def sample(self, logits: Tensor, uniforms: Tensor) -> Tensor:
        cumulative = torch.softmax(logits, -1).cumsum(-1)
        # Rounding may leave the last cumulative sum below one; the uniform number is scaled to it.
        threshold = uniforms * cumulative[..., -1:]
        chosen = (cumulative <= threshold).sum(-1, keepdim=True).clamp(max=self.n - 1)
        # Not `one_hot`, which looks at the classes and makes the host wait.
        return (chosen == torch.arange(self.n, device=logits.device)).to(logits.dtype)

    def configurations(self) -> Tensor:
        return torch.eye(self.n, dtype=torch.float64)

    def mode(self, mean: Tensor) -> Tensor:
        return functional.one_hot(mean.argmax(-1), self.n).bool()

    def are_states(self, vectors: Tensor) -> Tensor:
        return ((vectors == 0) | (vectors == 1)).all(-1) & (vectors.sum(-1) == 1)

    def logits_of(self, mean: Tensor) -> Tensor:
        return torch.log(mean)


@dataclass(frozen=True)
class Joint(Units):
    """Several layers side by side: several annotators, or labels of different kinds.

    Args:
        parts: the layers, in the order of their columns.
    """

    parts: tuple[Units, ...]

    def __init__(self, parts: Sequence[Units]) -> None:
        object.__setattr__(self, "parts", tuple(parts))

    @cached_property
    def _sizes(self) -> list[int]:
        return [part.size for part in self.parts]

    @cached_property
    def _draws(self) -> list[int]:
        return [part.draws for part in self.parts]

    @property
    def size(self) -> int:
        return sum(self._sizes)

    @property
    def draws(self) -> int:
        return sum(self._draws)

    @property
    def configurations_count(self) -> int:
        return math.prod(part.configurations_count for part in self.parts)

    def split(self, vectors: Tensor) -> list[tuple[Units, Tensor]]:
        """The parts, each with its columns of `vectors` (..., size)."""
        return list(zip(self.parts, vectors.split(self._sizes, -1), strict=True))

    def mean(self, logits: Tensor) -> Tensor:
        return torch.cat([part.mean(columns) for part, columns in self.split(logits)], -1)

    def log_partition(self, logits: Tensor) -> Tensor:
        total = torch.zeros(logits.shape[:-1], dtype=logits.dtype, device=logits.device)
        for part, columns in self.split(logits):
            total = total + part.log_partition(columns)
        return total

    def sample(self, logits: Tensor, uniforms: Tensor) -> Tensor:
        drawn = uniforms.split(self._draws, -1)
        parts = zip(self.split(logits), drawn, strict=True)
        return torch.cat([part.sample(columns, u) for (part, columns), u in parts], -1)

    def configurations(self) -> Tensor:
        states = torch.zeros(1, 0, dtype=torch.float64)
        for part in self.parts:
            own = part.configurations()
            left = states.repeat_interleave(len(own), 0)
            states = torch.cat([left, own.repeat(len(states), 1)], -1)
        return states

    def mode(self, mean: Tensor) -> Tensor:
        return torch.cat([part.mode(columns) for part, columns in self.split(mean)], -1)

    def are_states(self, vectors: Tensor) -> Tensor:
        valid = torch.ones(vectors.shape[:-1], dtype=torch.bool, device=vectors.device)
        for part, columns in self.split(vectors):
            valid = valid & part.are_states(columns)
        return valid

    def logits_of(self, mean: Tensor) -> Tensor:
        return torch.cat([part.logits_of(columns) for part, columns in self.split(mean)], -1)


def _require_count(kind: str, count: int, *, at_least: int) -> None:
    if isinstance(count, bool) or not isinstance(count, int) or count < at_least:
        raise ValueError(f"{kind} units need a whole number of at least {at_least}, got {count!r}.")
