"""The order in which checks help most: by what a check is expected to tell, and not by suspicion.

What somebody says of row i is certain, so it tells as much as was uncertain: the entropy of the
row's labels under the cleaned probabilities p, in bits,

    H_i = Σ_k h(p_ik)             any number of labels, h(p) = −p log₂ p − (1 − p) log₂ (1 − p)
    H_i = −Σ_k p_ik log₂ p_ik     one class

A row whose given label is surely wrong has little: the proposal has righted it already. But rows
are in doubt together: where it is not known how often "dog" is forgotten, all rows that may be
such a case are uncertain, and each that is checked tells of the others. Say that half of the
variance of a doubt is common to the rows of a cell, those in doubt about the same label that were
given it alike. A common effect that is as large as the rows' own keeps 1 / (1 + r) of its variance
after r of them are known. With r_i rows of i's cell before it, in the order of H,

    score_i = H_i (1 + 1 / (1 + r_i)) / 2

so that doubts of many kinds come first, and no row loses more than half.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.special import entr

BATCH: Final = 1 << 22
"""Probabilities that are looked at together."""


@dataclass(frozen=True)
class Doubt:
    """How uncertain rows are.

    Attributes:
        bits: entropy of each row's labels; NaN where nothing is proposed, (rows,).
        label: the label that is most in doubt, (rows,).
    """

    bits: NDArray[np.float64]
    label: NDArray[np.intp]

    @classmethod
    def of(cls, probabilities: NDArray[np.floating], exclusive: bool | NDArray[np.bool_]) -> Doubt:
        """The doubt that is left in cleaned labels.

        Args:
            probabilities: of each label, NaN where nothing is proposed, (rows, labels).
            exclusive: whether a row has exactly one of them; or whether each is one of a column of
                which a row has exactly one, (labels,).
        """
        p = probabilities.astype(np.float64)
        terms = entr(p) + np.where(exclusive, 0.0, entr(1 - p))
        return cls(terms.sum(1) / np.log(2), terms.argmax(1))


def doubt(probabilities: pa.ChunkedArray, labels: int, *, exclusive: bool) -> Doubt:
    """The doubt that is left in the cleaned labels of a table, a part at a time.

    Args:
        probabilities: a list of one number a label for each row, or null.
        labels: how many there are.
        exclusive: whether a row has exactly one of them.
    """
    rows = len(probabilities)
    bits, label = np.full(rows, np.nan), np.zeros(rows, dtype=np.intp)
    size = max(1, BATCH // labels)
    for start in range(0, rows, size):
        part = probabilities.slice(start, size)
        known = start + np.flatnonzero(part.is_valid().to_numpy())
        if not len(known):
            continue
        found = Doubt.of(pc.list_flatten(part).to_numpy().reshape(len(known), labels), exclusive)
        bits[known], label[known] = found.bits, found.label
    return Doubt(bits, label)


def given_alike(
    given: pa.ChunkedArray, names: Sequence[str], label: NDArray[np.intp]
) -> NDArray[np.bool_]:
    """Whether each row was given the label it is most in doubt about, (rows,)."""
    units = pc.index_in(pc.list_flatten(given), value_set=pa.array(names, pa.string()))
    rows = pc.list_parent_indices(given).to_numpy()
    found = units.fill_null(-1).to_numpy() == label[rows]
    alike = np.zeros(len(label), dtype=np.bool_)
    alike[rows[found]] = True
    return alike


def order_of_checks(found: Doubt, alike: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Rows in the order in which to check them; those without a proposal at the end.

    Args:
        found: how uncertain they are.
        alike: whether each was given the label it is most in doubt about, (rows,).
    """
    return by_information(found.bits, 2 * found.label + alike)


def by_information(bits: NDArray[np.float64], cell: NDArray[np.integer]) -> NDArray[np.intp]:
    """Rows in the order in which to check them; those without a proposal at the end.

    Args:
        bits: H, NaN without a proposal, (rows,).
        cell: which rows are in doubt together, (rows,).
    """
    first = np.argsort(-np.nan_to_num(bits, nan=-1.0), kind="stable")
    together = first[np.argsort(cell[first], kind="stable")]
    starts = np.flatnonzero(np.diff(cell[together], prepend=-1))
    before = np.empty(len(bits))
    lengths = np.diff(np.append(starts, len(bits)))
    before[together] = np.arange(len(bits)) - np.repeat(starts, lengths)
    score = np.nan_to_num(bits, nan=-1.0) * (1 + 1 / (1 + before)) / 2
    # A NaN's score stays below zero, whatever its cell.
    return np.argsort(-score, kind="stable")
