"""Reasons: the log-odds of a cleaned label as a sum of what each piece of evidence adds.

q's natural parameters are affine in the noisy labels, so the sum is exact: nothing is approximated,
and no piece's share hangs on the order in which pieces are taken away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from latentlabels.data.labels import LabelSpace, Name
from latentlabels.errors import LabelError, shortened, shown
from latentlabels.model.posterior import LabelEvidence

INPUT_WORDS: Final = {"image": "picture", "text": "text", "vector": "input"}
PRIOR: Final = "prior"
TOP: Final = 3
"""Terms that a sentence names."""

Kind = Literal["input", "label", "prior"]


@dataclass(frozen=True)
class Term:
    """One piece of evidence.

    Attributes:
        kind: "input", the example; "label", a noisy label; or "prior", what is said of every row.
        name: what a reader calls it.
        value: what it adds to the log-odds.
        auxiliary: how much of that comes from the auxiliary, which never looks at the example.
    """

    kind: Kind
    name: str
    value: float
    auxiliary: float


@dataclass(frozen=True)
class Reasons:
    """Why a row has a label, or has it not.

    Attributes:
        label: the label.
        against: the class it is held against, where labels exclude each other; the log-odds of any
            other label are those of having it against not having it.
        terms: what adds up to the log-odds, the largest first.
    """

    label: Name
    against: Name | None
    terms: tuple[Term, ...]

    @property
    def log_odds(self) -> float:
        """The sum of all terms, in nats."""
        return sum(term.value for term in self.terms)

    @property
    def top(self) -> str:
        """The largest terms in words; what is left out stands as one at the end."""
        named = [f"{shortened(term.name)} {signed(term.value)}" for term in self.terms[:TOP]]
        left = self.terms[TOP:]
        if left:
            named.append(f"{len(left)} more {signed(sum(term.value for term in left))}")
        return ", ".join(named)

    def as_json(self) -> dict[str, Any]:
        """The same as values that JSON keeps."""
        return {
            "label": self.label,
            "against": self.against,
            "log_odds": self.log_odds,
            "terms": [vars(term) for term in self.terms],
        }


@dataclass(frozen=True)
class Evidence:
    """What the cleaned labels of some rows rest on.

    Attributes:
        input_kind: "image", "text" or "vector".
        clean: the clean labels' space.
        noisy_names: the name of every noisy unit.
        said: what the examples say of the clean units, (rows, clean); NaN where one is skipped.
        noisy: noisy labels, (rows, noisy).
        labels: what labels say, and what is said of every row.
    """

    input_kind: str
    clean: LabelSpace
    noisy_names: Sequence[Name]
    said: NDArray[np.float32]
    noisy: csr_array
    labels: LabelEvidence

    def logits(self, row: int) -> NDArray[np.float64]:
        """Natural parameters of q(ŷ | y, x) of a row, (clean,)."""
        arrays = self._arrays
        known = arrays.weight[:, self._given(row)].sum(1)
        total: NDArray[np.float64] = self.said[row].astype(np.float64) + known + arrays.constant
        return total

    def reasons(self, row: int, unit: int, against: int | None = None) -> Reasons:
        """Why a row has a clean unit on or off.

        Args:
            row: which row.
            unit: the clean unit.
            against: the class that is weighed against it, where it is a class.
        """

        def of(values: NDArray[np.floating[Any]]) -> float:
            return float(values[unit]) - (0.0 if against is None else float(values[against]))

        arrays, names = self._arrays, self.clean.names
        terms = [
            Term("input", INPUT_WORDS[self.input_kind], of(self.said[row]), 0.0),
            Term("prior", PRIOR, of(arrays.constant), of(arrays.auxiliary_constant)),
        ]
        for noisy in self._given(row):
            value, known = of(arrays.weight[:, noisy]), of(arrays.auxiliary_weight[:, noisy])
            terms.append(Term("label", str(self.noisy_names[noisy]), value, known))
        terms.sort(key=lambda term: -abs(term.value))
        rival = None if against is None else names[against]
        return Reasons(names[unit], rival, tuple(terms))

    def _given(self, row: int) -> NDArray[np.int32]:
        """The noisy units of a row that are on."""
        start, stop = self.noisy.indptr[row : row + 2]
        units: NDArray[np.int32] = self.noisy.indices[start:stop]
        return units

    @cached_property
    def _arrays(self) -> _Arrays:
        return _Arrays(*(part.double().numpy() for part in self.labels))


class _Arrays(NamedTuple):
    """`LabelEvidence` outside torch, where picking single numbers is quick."""

    constant: NDArray[np.float64]
    weight: NDArray[np.float64]
    auxiliary_constant: NDArray[np.float64]
    auxiliary_weight: NDArray[np.float64]


def unit_of(space: LabelSpace, label: Name) -> int:
    """The unit of a clean label.

    Raises:
        LabelError: there is no such label.
    """
    if label in space.names:
        return space.names.index(label)
    raise LabelError(
        f"There is no clean label {shown(label)}. The model knows "
        f"{', '.join(shown(name) for name in space.names[:20])}."
    )


def signed(value: float) -> str:
    """A number with its sign, to one decimal."""
    return f"{value:+z.1f}".replace("-", "−")
