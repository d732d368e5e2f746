"""From a table's columns to what the estimator takes, with everything checked before any training."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from latentlabels.cli.roles import Roles
from latentlabels.data.cells import Kind, Labels, MultiClass, MultiLabel, read_labels
from latentlabels.data.columns import flags, input_matrix, splits
from latentlabels.errors import LabelError, TableError

ROW_COLUMN = "row"
NAMES_SHOWN = 5

Cell = TypeVar("Cell")
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Rows:
    """All rows of a table.

    Attributes:
        ids: what names the rows: one column.
        x: examples, (rows, inputs).
        noisy: noisy labels.
        clean: clean labels, None where there are none.
        split: "train", "validation" or "test", (rows,).
        verified: training rows whose clean labels may be read, (rows,).
    """

    ids: pa.Table
    x: NDArray[np.float32]
    noisy: Labels
    clean: MultiLabel | MultiClass
    split: NDArray[np.str_]
    verified: Mask

    def __len__(self) -> int:
        return len(self.x)

    @property
    def labelled(self) -> Mask:
        """Rows with a clean label, whether or not it may be read, (rows,)."""
        return np.array([cell is not None for cell in self.clean], dtype=np.bool_)

    @property
    def validation(self) -> Mask:
        """Validation rows with a clean label, (rows,)."""
        return self.labelled & (self.split == "validation")

    @property
    def test(self) -> Mask:
        """Test rows with a clean label, (rows,)."""
        return self.labelled & (self.split == "test")

    @property
    def recovery(self) -> Mask:
        """Training rows whose clean labels are there to be compared with what is found, (rows,)."""
        return self.labelled & (self.split == "train") & ~self.verified


def read_rows(table: pa.Table, roles: Roles, keys: Sequence[str] | None = None) -> Rows:
    """Read and check the columns.

    Args:
        table: the table.
        roles: of its columns.
        keys: names of the noisy columns in the model, where they have other names in the table.

    Raises:
        TableError: cells that cannot be read.
        LabelError: a verified row without a clean label, a row without the one class it needs.
    """
    columns = dict(
        zip(
            keys or roles.noisy,
            (
                read_labels(table, name, form)
                for name, form in zip(roles.noisy, roles.noisy_forms, strict=True)
            ),
            strict=True,
        )
    )
    for name, form in zip(roles.noisy, roles.noisy_forms, strict=True):
        if form.kind == Kind.MULTICLASS:
            ...
    return None
