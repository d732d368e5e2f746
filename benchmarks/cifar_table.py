"""A table of CIFAR-10 for `latentlabels compare`: flipped labels as columns, and validation rows.

    python benchmarks/cifar_table.py cifar10n.parquet cifar.parquet --rows 10000

Columns `patrini10` to `patrini50` have the labels of the training rows flipped as Patrini et al.
(2017) do, at 10 to 50 %. Every second verified row becomes a validation row. Of the training rows
that are not verified some are drawn at random; test rows stay.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from latentlabels import LatentLabelsError
from latentlabels.data.columns import column_of, flags, splits
from latentlabels.data.noise import CIFAR10_CLASSES, flip_labels, patrini_transition
from latentlabels.data.table import Format, read_table, write_table_atomically

RATES = (10, 20, 30, 40, 50)
PEOPLE = ("human1", "human2", "human3", "aggregate", "worst")


def table_of(source: Path, rows: int, seed: int) -> pa.Table:
    """The table, with so many training rows that are not verified."""
    table = read_table(source)
    names = np.array(CIFAR10_CLASSES)
    truth = column_of(table, "label").to_pylist()
    codes = np.array([CIFAR10_CLASSES.index(name) for name in truth])
    split = splits(table, "split").astype("U10")
    verified = flags(table, "verified")
    train = split == "train"
    for rate in RATES:
        given = codes.copy()
        given[train] = flip_labels(codes[train], patrini_transition(rate / 100), seed=seed)
        table = table.append_column(f"patrini{rate}", pa.array(names[given].tolist()))
    for name in PEOPLE:
        # Nobody labelled the test rows, and no method looks at what stands there.
        at = table.column_names.index(name)
        filled = pc.coalesce(column_of(table, name), column_of(table, "label"))
        table = table.set_column(at, name, filled)
    choosing = np.flatnonzero(verified)[1::2]
    split[choosing] = "validation"
    known = verified.copy()
    known[choosing] = False
    for name, values in (("split", split), ("verified", known)):
        at = table.column_names.index(name)
        table = table.set_column(at, name, pa.array(values.tolist()))
    drawn = np.random.default_rng(seed).permutation(np.flatnonzero(train & ~verified))[:rows]
    return table.take(np.sort(np.concatenate([drawn, np.flatnonzero(~train | verified)])))


def main(argv: list[str] | None = None) -> None:
    """Read, flip, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--rows", type=int, default=50_000, help="unverified training rows")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    if not arguments.source.is_file():
        parser.error(f"{arguments.source} is not there: name a table of CIFAR-10")
    table = table_of(arguments.source, arguments.rows, arguments.seed)
    write_table_atomically(table, arguments.target, Format.PARQUET)
    print(f"{arguments.target}: {table.num_rows} rows")


if __name__ == "__main__":
    try:
        main()
    except LatentLabelsError as error:
        sys.exit(f"cifar_table.py: {error}")
