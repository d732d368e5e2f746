"""One process, or several that each write a share of a table's rows and end together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from latentlabels import processes
from latentlabels.cli.roles import Roles
from latentlabels.cli.rows import Rows, read_examples, read_rows
from latentlabels.data.columns import InputKind
from latentlabels.data.parts import in_parts
from latentlabels.data.shards import Shard, shard_name, write_manifest
from latentlabels.data.table import Format, written_in_parts
from latentlabels.errors import LatentLabelsError
from latentlabels.estimator import RobustClassifier
from latentlabels.inputs import Usable
from latentlabels.results import staged

# Shares begin where a batch of vectors does, so that sums are those of one process.
BATCH: Final = 512
FAILURES: Final[dict[str, type[BaseException]]] = {
    "interrupt": KeyboardInterrupt,
    "input": LatentLabelsError,
    "memory": MemoryError,
    "system": OSError,
}


@dataclass
class Answers:
    """What processes tell one another when each has done its share.

    Attributes:
        own: of this process, as JSON values.
        all: of each process; empty until all have come to the end.
    """

    own: dict[str, Any] = field(default_factory=dict)
    all: list[dict[str, Any]] = field(default_factory=list)


def share_of(rows: int) -> tuple[int, int]:
    """The first row of this process, and the one behind its last; it may have none."""
    batches, size = -(-rows // BATCH), processes.size()
    start, stop = (
        min(rows, batches * rank // size * BATCH)
        for rank in (processes.rank(), processes.rank() + 1)
    )
    return start, stop


@dataclass(frozen=True)
class TableParts:
    """The rows of this process, read a part at a time.

    Vectors are read with their rows. Images and texts have been looked at before, all of them by
    all processes together, so that a bad one is told of before anything is computed.

    Attributes:
        table: the table.
        roles: of its columns.
        estimator: fitted, which reads the examples.
        folder: where images' paths start.
        x: the images or texts; None for vectors.
    """

    table: Any
    roles: Roles
    estimator: RobustClassifier
    folder: Path
    x: Usable | None

    @classmethod
    def of(cls, table: Any, roles: Roles, estimator: RobustClassifier, folder: Path) -> TableParts:
        """The parts of a table; errors are those of `RobustClassifier.usable`."""
        x = None
        if roles.input_kind != InputKind.VECTOR:
            x = estimator.usable(read_examples(table, roles, folder))
        return cls(table, roles, estimator, folder, x)

    @property
    def bad(self) -> dict[int, str]:
        """Why examples cannot be used, by row of the whole table."""
        return {} if self.x is None else self.x.bad

    def __iter__(self) -> Iterator[tuple[int, pa.Table]]:
        """The number of a part's first row, and the part as it lies in the table."""
        columns = self.roles.labels() + (self.roles.input if self.x is None else [])
        start, stop = share_of(self.table.num_rows)
        return in_parts(self.table, list(dict.fromkeys(columns)), start, stop)

    def read(self, first: int, part: pa.Table) -> Rows:
        """The rows of a part, with their examples read."""
        x = None if self.x is None else self.x.between(first, first + len(part))
        rows = read_rows(part, self.roles, self.folder, x, first)
        if x is None:
            x = replace(self.estimator.usable(rows.x), first=first)
        return replace(rows, x=x)


@contextmanager
def staged_together(
    out: Path, names: Sequence[str], kind: Format | None, *, overwrite: bool
) -> Iterator[Path]:
    """`results.staged` for all processes: the first moves what they all have written.

    Args:
        out: as there, as are the others.
        names: what will be written.
        kind: of the table among it that they share; None if the first writes all.
        overwrite: whether results of these names may be replaced.

    Raises:
        LatentLabelsError: shards of another kind than Parquet.
    """
    with ExitStack() as stack:
        with agreed() as answers:
            if processes.size() > 1 and kind not in (None, Format.PARQUET):
                raise LatentLabelsError(
                    f"Several processes write Parquet, got --format {kind}. Leave it out, or take "
                    "one process."
                )
            if processes.rank() == 0:
                folder = stack.enter_context(staged(out, names, overwrite=overwrite))
                answers.own = {"folder": str(folder)}
        yield Path(answers.all[0]["folder"])


@contextmanager
def agreed() -> Iterator[Answers]:
    """Go on when all processes have ended well, knowing what each has to tell.

    Where one fails, the first raises its error, and the others end without a word.
    """
    answers, failure = Answers(), None
    try:
        yield answers
    except (Exception, KeyboardInterrupt) as error:
        if processes.size() == 1:
            raise
        failure = error
    try:
        heard = processes.everyones([_told(failure), answers.own])
    except RuntimeError as error:  # of torch, where a connection breaks
        raise failure or OSError("another process has ended; nothing was written.") from error
    failed = next((outcome for outcome, _ in heard if outcome), None)
    if failed and processes.rank() > 0:
        # The first process tells; its launcher would kill it if a code were not 0.
        raise SystemExit(0) from failure
    if failed:
        raise failure or FAILURES[failed[0]](failed[1])
    answers.all = [answer for _, answer in heard]


def _told(failure: BaseException | None) -> list[str] | None:
    """A failure's kind and message."""
    kinds = {KeyboardInterrupt: "interrupt", ValueError: "input", MemoryError: "memory"}
    if failure is None:
        return None
    kind = next((kind for cls, kind in kinds.items() if isinstance(failure, cls)), "system")
    return [kind, str(failure)]


@contextmanager
def written_share(
    path: Path, kind: Format, answers: Answers
) -> Iterator[Callable[[pa.Table], None]]:
    """Write the rows of this process: the table, or one shard of it.

    Args:
        path: of the table; of a folder of shards, where there are several processes.
        kind: of file.
        answers: where to tell of the shard.

    Yields:
        What writes a part of the rows.
    """
    if processes.size() == 1:
        with written_in_parts(path, kind) as write:
            yield write
        return
    path.mkdir(exist_ok=True)
    shard = path / shard_name(processes.rank(), processes.size())
    with written_in_parts(shard, kind) as write:
        yield write
    answers.own["shard"] = asdict(Shard.of(shard)) if shard.exists() else None


def commit(path: Path, answers: Answers) -> None:
    """Commit the shards that all processes have written, if there are several."""
    if processes.size() > 1:
        told = [answer["shard"] for answer in answers.all]
        write_manifest(path, [Shard(**shard) for shard in told if shard])
