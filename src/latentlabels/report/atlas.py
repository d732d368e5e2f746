"""The noise atlas: which noisy label says what about which clean one, and which go together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from latentlabels.data.labels import LabelSpace
from latentlabels.model.posterior import LabelEvidence

LINKS: Final = 5
FEWEST_TOGETHER: Final = 5
LEAST_NATS: Final = 0.05
LEAST_Z: Final = 4.0
"""φ √rows, which is about standard normal of two labels that have nothing to do with each other."""


@dataclass(frozen=True)
class Link:
    """What a noisy label says of a clean one.

    Attributes:
        noisy: its name.
        nats: what it adds to the log-odds of the clean label.
        auxiliary: how much of that is the auxiliary's.
    """

    noisy: str
    nats: float
    auxiliary: float


@dataclass(frozen=True)
class Meaning:
    """What speaks for a clean label, and what against it, among noisy ones.

    Attributes:
        label: the clean label.
        raises: noisy labels that make it likelier, the strongest first.
        lowers: noisy labels that make it less likely, the strongest first.
    """

    label: str
    raises: tuple[Link, ...]
    lowers: tuple[Link, ...]


@dataclass(frozen=True)
class Pair:
    """Two clean labels and how they go together.

    Attributes:
        one: a label.
        other: another.
        together: rows that have both.
        lift: how many times as often as if they had nothing to do with each other.
        phi: correlation of the two, from −1 to 1.
    """

    one: str
    other: str
    together: int
    lift: float
    phi: float


@dataclass(frozen=True)
class Swap:
    """A class that was given where another is proposed.

    Attributes:
        given: the one.
        proposed: the other.
        rows: in how many rows.
    """

    given: str
    proposed: str
    rows: int


def meanings(
    evidence: LabelEvidence, noisy: LabelSpace, clean: LabelSpace, units: Sequence[int]
) -> list[Meaning]:
    """What noisy labels say of some clean ones.

    Of classes it is what one says more than the mean of all classes, since the same for all of them
    changes nothing.

    Args:
        evidence: what labels say in the cleaned labels' natural parameters.
        noisy: the noisy labels' space.
        clean: the clean labels' space.
        units: which clean labels.
    """
    weight, known = (
        _centred(part.double().numpy(), noisy, clean)
        for part in (evidence.weight, evidence.auxiliary_weight)
    )
    names = [str(name) for name in noisy.names]
    told = []
    for unit in units:
        links = [
            Link(names[k], float(weight[unit, k]), float(known[unit, k]))
            for k in np.argsort(-weight[unit], kind="stable")
            if abs(weight[unit, k]) >= LEAST_NATS
        ]
        raises = [link for link in links if link.nats > 0]
        lowers = [link for link in reversed(links) if link.nats < 0]
        told.append(Meaning(str(clean.names[unit]), tuple(raises[:LINKS]), tuple(lowers[:LINKS])))
    return told


def _centred(
    weight: NDArray[np.float64], noisy: LabelSpace, clean: LabelSpace
) -> NDArray[np.float64]:
    """Weights (clean, noisy) without what classes have in common."""
    centred = weight.copy()
    for span in clean.spans:
        if span.exclusive:
            part = slice(span.start, span.stop)
            centred[part] -= centred[part].mean(0, keepdims=True)
    for span in noisy.spans:
        if span.exclusive:
            part = slice(span.start, span.stop)
            centred[:, part] -= centred[:, part].mean(1, keepdims=True)
    return centred


def pairs(states: csr_array, names: Sequence[str], most: int) -> list[Pair]:
    """The labels that go together most, by φ, of those that a few rows have both.

    Args:
        states: labels of rows, 0 and 1, (rows, labels).
        names: of the labels.
        most: how many pairs.
    """
    rows = states.shape[0]
    together = csr_array(states.T @ states).tocoo()
    count = np.asarray(states.sum(0), dtype=np.float64).ravel()
    i, j, both = together.row, together.col, together.data.astype(np.float64)
    varies = (count > 0) & (count < rows)
    some = (i < j) & (both >= FEWEST_TOGETHER) & varies[i] & varies[j]
    i, j, both = i[some], j[some], both[some]
    spread = count * (rows - count)
    phi = (rows * both - count[i] * count[j]) / np.sqrt(spread[i] * spread[j])
    lift = rows * both / (count[i] * count[j])
    best = [k for k in np.lexsort((j, i, -phi))[:most] if phi[k] * np.sqrt(rows) > LEAST_Z]
    return [
        Pair(names[i[k]], names[j[k]], int(both[k]), float(lift[k]), float(phi[k])) for k in best
    ]


def swaps(given: csr_array, proposed: csr_array, names: Sequence[str], most: int) -> list[Swap]:
    """The commonest replacements of a class.

    Args:
        given: classes that came with rows, (rows, classes).
        proposed: classes that they should have, (rows, classes).
        names: of the classes.
        most: how many replacements.
    """
    counts: NDArray[Any] = (given.T @ proposed).toarray()
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:most]
    places = (np.unravel_index(place, counts.shape) for place in order)
    return [Swap(names[i], names[j], int(counts[i, j])) for i, j in places if counts[i, j]]
