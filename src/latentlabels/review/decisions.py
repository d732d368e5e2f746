"""What was decided of rows: an SQLite file that keeps its whole history.

A decision is one transaction. Nothing that was written is changed or deleted: what is undone stays,
and its undoing is one more entry. What stands of a row is its latest decision that is not undone.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Self

import pyarrow as pa

from latentlabels.errors import DecisionsError, shown
from latentlabels.runs.subject import Subject, row_names

APPLICATION: Final = 0x4C4C4453
"""Written into the file's head, by which one of ours is known."""
SCHEMA: Final = 1
WAIT: Final = 30.0
"""Seconds to wait for another process that writes."""

CREATE: Final = f"""
CREATE TABLE subject (about TEXT NOT NULL);
CREATE TABLE history (
    entry INTEGER PRIMARY KEY AUTOINCREMENT,
    row INTEGER NOT NULL CHECK (row >= 0),
    id TEXT NOT NULL,
    verdict TEXT NOT NULL CHECK (verdict IN ('accept', 'reject', 'edit', 'skip', 'undo')),
    labels TEXT CHECK ((labels IS NULL) = (verdict IN ('skip', 'undo'))),
    undoes INTEGER UNIQUE REFERENCES history CHECK ((undoes IS NULL) = (verdict <> 'undo')),
    time TEXT NOT NULL,
    seconds REAL
);
CREATE INDEX history_row ON history (row);
CREATE TRIGGER kept BEFORE UPDATE ON history
    BEGIN SELECT RAISE (ABORT, 'history is kept as it is'); END;
CREATE TRIGGER never_deleted BEFORE DELETE ON history
    BEGIN SELECT RAISE (ABORT, 'history is kept as it is'); END;
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {SCHEMA};
"""
# Of the other columns SQLite takes those of the row that has the maximum.
STANDING: Final = """
SELECT max(entry), row, id, verdict, labels, time FROM history
WHERE verdict <> 'undo' AND entry NOT IN (SELECT undoes FROM history WHERE undoes IS NOT NULL)
"""


class Verdict(StrEnum):
    """What somebody says of a proposal."""

    ACCEPT = "accept"
    REJECT = "reject"
    EDIT = "edit"
    SKIP = "skip"


@dataclass(frozen=True)
class Decision:
    """What was decided of a row.

    Attributes:
        entry: its number in the history.
        row: the row's number in the table, from 0.
        id: what names the row; see `row_name`.
        verdict: what was said.
        labels: the row's clean labels; None where it was skipped.
        time: when, in UTC.
    """

    entry: int
    row: int
    id: str
    verdict: Verdict
    labels: tuple[str, ...] | None
    time: str


class Conflict(DecisionsError):  # noqa: N818
    """A row was decided elsewhere since it was looked at."""


class Decisions:
    """The decisions in a file, for several threads.

    Args:
        path: the file, which is made where there is none.
        subject: what the decisions are about.

    Raises:
        DecisionsError: something else is there, or decisions about another table.
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path, subject: Subject) -> None:
        self._lock = threading.Lock()
        if path.exists() and path.stat().st_size:
            _require_ours(path)
        try:
            self._file = sqlite3.connect(
                path, timeout=WAIT, isolation_level=None, check_same_thread=False
            )
        except sqlite3.OperationalError as error:
            raise OSError(f"{path}: {error}") from error
        self._file.execute("PRAGMA journal_mode = WAL")
        # What was answered to is on the disk.
        self._file.execute("PRAGMA synchronous = FULL")
        self._file.execute("PRAGMA foreign_keys = ON")
        with self._transaction() as file:
            if not file.execute("PRAGMA user_version").fetchone()[0]:
                for statement in _statements(CREATE):
                    file.execute(statement)
                file.execute("INSERT INTO subject VALUES (?)", [json.dumps(asdict(subject))])
            about = _subject(file, path)
        if replace(about, table=subject.table) != subject:
            self.close()
            raise DecisionsError(
                f"{path} holds decisions about {shown(about.table)} as it was then, and this run "
                f"is of {shown(subject.table)} as it is now. Name another file with --decisions."
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what was decided is in it already."""
        self._file.close()

    def decide(
        self,
        row: int,
        name: str,
        verdict: Verdict,
        labels: Collection[str] | None,
        *,
        seen: int | None,
        seconds: float | None = None,
    ) -> int:
        """Write down a decision.

        Args:
            row: the row's number in the table.
            name: what names it.
            verdict: what is said.
            labels: its clean labels; None where it is skipped.
            seen: entry of the decision that stood when the row was looked at, None for none.
            seconds: how long that took.

        Returns:
            Its entry in the history.

        Raises:
            Conflict: another decision stands by now.
        """
        with self._transaction() as file:
            stands = _standing(file, row)
            if (stands and stands.entry) != seen:
                raise Conflict(
                    "This row was decided elsewhere in the meantime. Here is what stands now; "
                    "decide again to replace it."
                )
            return _append(file, row, name, verdict, labels=_as_json(labels), seconds=seconds)

    def undo(self, entry: int) -> Decision:
        """Take back a decision, which stays in the history.

        Args:
            entry: its number.

        Returns:
            What was taken back.

        Raises:
            DecisionsError: there is no such decision, or it is undone already.
        """
        with self._transaction() as file:
            found = file.execute(f"{STANDING} AND entry = ? GROUP BY row", [entry]).fetchone()
            if found is None:
                raise DecisionsError("There is nothing to undo: it is undone already.")
            undone = _decision(found)
            _append(file, undone.row, undone.id, "undo", undoes=entry)
            return undone

    def of(self, row: int) -> Decision | None:
        """What stands of a row."""
        with self._lock:
            return _standing(self._file, row)

    def since(self, entry: int) -> tuple[int, dict[int, Verdict | None]]:
        """What stands of the rows that later entries than this one are about.

        Returns:
            The last entry, and what was said of those rows, None where it was undone.
        """
        later = "SELECT row FROM history WHERE entry > ?"
        with self._lock:
            # Whatever another process writes in between is looked at again the next time.
            (last,) = self._file.execute("SELECT max(entry) FROM history").fetchone()
            rows: dict[int, Verdict | None] = {}
            if (last or 0) > entry:
                rows = dict.fromkeys(row for (row,) in self._file.execute(later, [entry]))
                query = f"{STANDING} AND row IN ({later}) GROUP BY row"
                for _, row, _, verdict, *_ in self._file.execute(query, [entry]):
                    rows[row] = Verdict(verdict)
            return last or 0, rows

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Everything in the block is written, or nothing."""
        with self._lock:
            self._file.execute("BEGIN IMMEDIATE")
            try:
                yield self._file
            except BaseException:
                self._file.execute("ROLLBACK")
                raise
            self._file.execute("COMMIT")


def read_decisions(path: Path) -> tuple[Subject, list[Decision]]:
    """What a file's decisions are about, and those that stand.

    Raises:
        DecisionsError: no such file, or no decisions file.
    """
    _require_ours(path)
    with _reading(path) as file:
        try:
            subject = _subject(file, path)
            found = file.execute(f"{STANDING} GROUP BY row ORDER BY row")
            decisions = [_decision(values) for values in found]
        except (sqlite3.Error, ValueError, TypeError) as error:
            raise DecisionsError(f"{path} is a damaged decisions file: {error}.") from error
    for decision in decisions:
        labels = decision.labels
        none = decision.row >= subject.rows
        if none or (subject.exclusive and labels is not None and len(labels) != 1):
            raise DecisionsError(
                f"{path} is a damaged decisions file: row {decision.row} of {subject.rows} is "
                f"{shown(list(labels or ()))}."
            )
    return subject, decisions


def decided_rows(
    path: Path, ids: pa.Table, sha256: str, *, named: bool
) -> tuple[Subject, dict[int, list[str]]]:
    """What was decided of a table: the clean labels by row.

    In the very table that was reviewed a row is known by its number; in any other by what names it.

    Args:
        path: a decisions file.
        ids: the columns that name the table's rows.
        sha256: of the table.
        named: whether these are columns of the table, and not the rows' numbers.

    Raises:
        DecisionsError: no decisions file, or rows that are not there or not to be told apart.
    """
    subject, decisions = read_decisions(path)
    decided = [d for d in decisions if d.labels is not None]
    if sha256 == subject.sha256:
        rows = [d.row for d in decided]
    elif not subject.ids:
        raise DecisionsError(
            f"{path} knows rows by their numbers in {shown(subject.table)}, and this is another "
            "table, in which they may have moved. Fit on that table, or review one with ids."
        )
    elif not named or tuple(ids.column_names) != subject.ids:
        raise DecisionsError(
            f"{path} knows rows by column {', '.join(map(shown, subject.ids))}, and here they have "
            "other names. Name that column with --id."
        )
    else:
        rows = _rows_by_name(path, ids, decided)
    return subject, {row: list(d.labels or ()) for row, d in zip(rows, decided, strict=True)}


def _rows_by_name(path: Path, ids: pa.Table, decided: Sequence[Decision]) -> list[int]:
    places: dict[str, int] = {}
    twice = set()
    for row, name in enumerate(row_names(ids)):
        if name in places:
            twice.add(name)
        places[name] = row
    missing = [d.id for d in decided if d.id not in places]
    if missing:
        raise DecisionsError(
            f"{path} has decisions on {len(missing)} rows that the table does not have, such as "
            f"{missing[0]}. Fit on a table that has them."
        )
    ambiguous = [d.id for d in decided if d.id in twice]
    if ambiguous:
        raise DecisionsError(
            f"{path} has a decision on {ambiguous[0]}, which names several rows of the table. "
            "Give every row an id of its own."
        )
    return [places[d.id] for d in decided]


def _require_ours(path: Path) -> None:
    if not path.is_file():
        raise DecisionsError(f"There is no file of decisions {path}.")
    try:
        with _reading(path) as file:
            (application,) = file.execute("PRAGMA application_id").fetchone()
            (version,) = file.execute("PRAGMA user_version").fetchone()
    except sqlite3.DatabaseError as error:
        raise DecisionsError(_no_decisions(path, str(error))) from error
    if application != APPLICATION:
        raise DecisionsError(_no_decisions(path, "it has another mark"))
    if version != SCHEMA:
        raise DecisionsError(
            f"{path} is of schema {version}, this version reads {SCHEMA}. Use the version of "
            "latentlabels that wrote it."
        )


def _no_decisions(path: Path, why: str) -> str:
    return (
        f"{path} is no file of decisions, as `latentlabels review` writes it ({why}). Name "
        "decisions.sqlite of a reviewed run."
    )


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    file = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=WAIT)
    try:
        # It may be a stranger's: nothing in it is a function that may run.
        file.execute("PRAGMA trusted_schema = OFF")
        yield file
    finally:
        file.close()


def _statements(script: str) -> Iterator[str]:
    """The statements of a script, which `executescript` would not leave in the transaction."""
    statement = ""
    for line in script.splitlines():
        statement += f"{line}\n"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _subject(file: sqlite3.Connection, path: Path) -> Subject:
    (text,) = file.execute("SELECT about FROM subject").fetchone() or ("null",)
    try:
        content = json.loads(text)
        return Subject(**{**content, "ids": tuple(content["ids"])})
    except (ValueError, TypeError, KeyError) as error:
        raise DecisionsError(f"{path} is a damaged decisions file: {error}.") from error


def _append(
    file: sqlite3.Connection,
    row: int,
    name: str,
    verdict: str,
    *,
    labels: str | None = None,
    undoes: int | None = None,
    seconds: float | None = None,
) -> int:
    time = datetime.now(UTC).isoformat(timespec="milliseconds")
    written = file.execute(
        "INSERT INTO history (row, id, verdict, labels, undoes, time, seconds) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        [row, name, verdict, labels, undoes, time, seconds],
    )
    assert written.lastrowid is not None
    return written.lastrowid


def _standing(file: sqlite3.Connection, row: int) -> Decision | None:
    found = file.execute(f"{STANDING} AND row = ? GROUP BY row", [row]).fetchone()
    return None if found is None else _decision(found)


def _decision(found: Sequence[Any]) -> Decision:
    entry, row, name, verdict, labels, time = found
    known = None if labels is None else tuple(map(str, json.loads(labels)))
    return Decision(entry, row, name, Verdict(verdict), known, time)


def _as_json(labels: Collection[str] | None) -> str | None:
    return None if labels is None else json.dumps(list(labels))
