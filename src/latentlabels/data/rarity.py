"""How many rows have a label: the rare ones left out, and too many refused."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from typing import Final

from latentlabels.data.labels import Column, LabelSpace
from latentlabels.errors import LabelError

# A batch holds all noisy labels of its rows, and the model a weight for each pair, which training
# keeps several times over.
MOST_LABELS: Final = 100_000
MOST_PAIRS: Final = 2**28


def without_rare(columns: Mapping[str, Column], least: int) -> Mapping[str, Column]:
    """The columns without the names that fewer than so many rows have.

    Raises:
        LabelError: classes or an indicator matrix, where no name can be left out, or none is left.
    """
    if least <= 1:
        return columns
    return {title: _without_rare(column, least) for title, column in columns.items()}


def _without_rare(column: Column, least: int) -> Column:
    if column.form != "names":
        raise LabelError(
            "min_count (--min-count) leaves out rare names where a row has a list of them: every "
            "row needs its class, and the columns of an indicator matrix are its vocabulary."
        )
    counts = column.counts()
    if counts and max(counts.values()) < least:
        raise LabelError(
            f"No noisy label occurs in {least} rows, the most frequent one in "
            f"{max(counts.values())}. Lower min_count (--min-count)."
        )
    return column.among({name for name, count in counts.items() if count >= least})


def require_bearable(noisy: LabelSpace, clean: LabelSpace, columns: Mapping[str, Column]) -> None:
    """Check that a model of these labels can be held in memory and trained.

    Args:
        noisy: the noisy labels' space.
        clean: the clean labels' space.
        columns: noisy labels, to say which of them may be left out.

    Raises:
        LabelError: too many labels on one side, or too many pairs of them.
    """
    sizes = {"noisy": noisy.units.size, "clean": clean.units.size}
    for what, size in sizes.items():
        if size > MOST_LABELS:
            remedy = _fewer(columns) if what == "noisy" else "Merge or leave out rare ones."
            raise LabelError(f"There are {size:,} {what} labels, {MOST_LABELS:,} at most. {remedy}")
    pairs = sizes["noisy"] * sizes["clean"]
    if pairs > MOST_PAIRS:
        raise LabelError(
            f"{sizes['noisy']:,} noisy and {sizes['clean']:,} clean labels are {pairs:,} pairs, "
            f"each with a weight; {MOST_PAIRS:,} at most. Leave out rare noisy labels with "
            "min_count=... (--min-count)."
        )


def _fewer(columns: Mapping[str, Column]) -> str:
    """What to do about too many noisy labels."""
    named = [column for column in columns.values() if column.form == "names"]
    counts = sorted(count for column in named for count in column.counts().values())
    beyond = len(counts) - MOST_LABELS
    if beyond <= 0 or counts[-1] <= counts[beyond - 1]:
        return "Merge or leave out rare ones."
    least = counts[beyond - 1] + 1
    left = len(counts) - bisect_left(counts, least)
    return (
        f"Leave out rare ones: min_count={least} (--min-count {least}) keeps the {left:,} that "
        f"{least} rows or more have."
    )
