"""The file of decisions: a history that only grows, and what stands by it."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from latentlabels.errors import DecisionsError
from latentlabels.review.decisions import (
    Conflict,
    Decision,
    Decisions,
    Verdict,
    decided_rows,
    read_decisions,
)
from latentlabels.runs.subject import Subject, row_name

SUBJECT = Subject("t.parquet", "0" * 64, rows=5, ids=("key",), exclusive=False)
# What a JSON text, a database or a page could trip over.
ODD = [
    "<script>",
    'it\'s "so"',
    "x" * 10_000,
    "\u202e\u05e9\u05dc\u05d5\u05dd",
    "a\0b",
    "",
    "\ud800",
    "1",
]


def standing(path: Path) -> dict[int, Decision]:
    return {decision.row: decision for decision in read_decisions(path)[1]}


class Histories(RuleBasedStateMachine):
    """Decisions and undoings in any order, beside a list that is searched from its end."""

    path: Path

    def __init__(self) -> None:
        super().__init__()
        self.path.unlink(missing_ok=True)
        self.file = Decisions(self.path, SUBJECT)
        self.made: list[tuple[int, int, Verdict, tuple[str, ...] | None]] = []
        self.entries = 0

    def stands(self, row: int) -> tuple[int, int, Verdict, tuple[str, ...] | None] | None:
        return next((made for made in reversed(self.made) if made[1] == row), None)

    @rule(
        row=st.integers(0, 4),
        verdict=st.sampled_from(Verdict),
        labels=st.lists(st.sampled_from(ODD), unique=True),
    )
    def decide(self, row, verdict, labels):
        known = None if verdict == Verdict.SKIP else tuple(labels)
        last = self.stands(row)
        entry = self.file.decide(row, f"k{row}", verdict, known, seen=last and last[0])
        self.entries += 1
        assert entry == self.entries
        self.made.append((entry, row, verdict, known))

    @rule(row=st.integers(0, 4), seen=st.none() | st.integers(1, 9))
    def decide_what_has_changed(self, row, seen):
        last = self.stands(row)
        if (last and last[0]) == seen:
            return
        with pytest.raises(Conflict, match="decided elsewhere"):
            self.file.decide(row, f"k{row}", Verdict.ACCEPT, (), seen=seen)

    @rule(which=st.integers(0, 20))
    def undo(self, which):
        if which >= len(self.made):
            with pytest.raises(DecisionsError, match="nothing to undo"):
                self.file.undo(1000 + which)
            return
        made = self.made.pop(which)
        assert self.file.undo(made[0]).row == made[1]
        self.entries += 1
        with pytest.raises(DecisionsError, match="undone already"):
            self.file.undo(made[0])

    @rule()
    def start_again(self):
        self.file.close()
        self.file = Decisions(self.path, SUBJECT)

    @invariant()
    def what_stands_is_the_last_that_is_not_undone(self):
        found = {d.row: (d.entry, d.row, d.verdict, d.labels) for d in standing(self.path).values()}
        assert found == {row: made for row in range(5) if (made := self.stands(row))}
        last, rows = self.file.since(0)
        assert last == self.entries
        assert {row: v for row, v in rows.items() if v} == {r: m[2] for r, m in found.items()}

    def teardown(self):
        self.file.close()


def test_any_history(tmp_path):
    Histories.path = tmp_path / "decisions.sqlite"
    # Every entry waits for the disk.
    run_state_machine_as_test(Histories, settings=settings(max_examples=12, stateful_step_count=25))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with a decision on each of three rows, one of them skipped."""
    path = tmp_path / "decisions.sqlite"
    with Decisions(path, SUBJECT) as file:
        file.decide(0, row_name(["k0"]), Verdict.ACCEPT, ["cat"], seen=None, seconds=1.5)
        file.decide(3, row_name(["k3"]), Verdict.EDIT, [], seen=None)
        file.decide(4, row_name(["k4"]), Verdict.SKIP, None, seen=None)
    return path


def test_nothing_in_the_history_can_be_changed(path):
    file = sqlite3.connect(path)
    for statement in ("UPDATE history SET labels = '[]'", "DELETE FROM history"):
        with pytest.raises(sqlite3.IntegrityError, match="kept as it is"):
            file.execute(statement)
    assert file.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    file.close()


def test_a_killed_process_loses_nothing(tmp_path):
    """What is on the disk after an answer, while the file is still open, is all there is."""
    path, left = tmp_path / "decisions.sqlite", tmp_path / "left.sqlite"
    with Decisions(path, SUBJECT) as file:
        for row in range(3):
            file.decide(row, "k", Verdict.ACCEPT, ["cat"], seen=None)
            shutil.copy(path, left)
            shutil.copy(f"{path}-wal", f"{left}-wal")
            assert sorted(standing(left)) == list(range(row + 1))


def test_threads_and_files_write_side_by_side(tmp_path):
    """Two tabs are two threads of a server, two servers two connections."""
    path = tmp_path / "decisions.sqlite"
    files = [Decisions(path, replace(SUBJECT, rows=80)) for _ in range(2)]

    def write(part: int) -> None:
        for row in range(part, 80, 4):
            files[part % 2].decide(row, "k", Verdict.ACCEPT, ["cat"], seen=None)

    threads = [threading.Thread(target=write, args=[part]) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(standing(path)) == list(range(80))
    assert files[0].since(0) == files[1].since(0)
    for file in files:
        file.close()


def test_what_changed_since_is_told(path):
    with Decisions(path, SUBJECT) as file:
        last, rows = file.since(0)
        assert (last, rows) == (3, {0: "accept", 3: "edit", 4: "skip"})
        with Decisions(path, SUBJECT) as other:
            other.undo(1)
            other.decide(2, "k2", Verdict.REJECT, [], seen=None)
        assert file.since(last) == (5, {0: None, 2: "reject"})
        assert file.since(5) == (5, {})


def test_a_file_is_about_one_table(path):
    with Decisions(path, replace(SUBJECT, table="renamed.parquet")):
        pass
    with pytest.raises(DecisionsError, match="Name another file with --decisions"):
        Decisions(path, replace(SUBJECT, sha256="1" * 64))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"key,labels\n1,cat\n", "no file of decisions"),
        (b"SQLite format 3\0" + b"\0" * 200, "no file of decisions"),
    ],
)
def test_other_files_are_refused_and_left_alone(tmp_path, content, said):
    path = tmp_path / "other"
    path.write_bytes(content)
    for use in (read_decisions, lambda path: Decisions(path, SUBJECT)):
        with pytest.raises(DecisionsError, match=said):
            use(path)
    assert path.read_bytes() == content


def test_another_database_is_refused(tmp_path):
    path = tmp_path / "other.sqlite"
    file = sqlite3.connect(path)
    file.execute("CREATE TABLE history (entry)")
    file.close()
    with pytest.raises(DecisionsError, match="no file of decisions"):
        read_decisions(path)
    with pytest.raises(DecisionsError, match="There is no file"):
        read_decisions(tmp_path / "nowhere.sqlite")


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE subject SET about = '{}'",
        "UPDATE subject SET about = 'cat'",
        "UPDATE subject SET about = json_set(about, '$.rows', 2)",
        "UPDATE subject SET about = json_set(about, '$.exclusive', json('true'))",
        "DROP TABLE history",
        "INSERT INTO history VALUES (9, 1, 'k', 'edit', 'cat', NULL, 't', NULL)",
        "INSERT INTO history VALUES (9, 1, 'k', 'edit', '3', NULL, 't', NULL)",
        "PRAGMA user_version = 99",
    ],
)
def test_a_damaged_file_is_one_error(path, damage):
    file = sqlite3.connect(path)
    file.execute(damage)
    file.commit()
    file.close()
    with pytest.raises(DecisionsError, match=r"damaged|schema 99"):
        read_decisions(path)


def ids(*names: str) -> pa.Table:
    return pa.table({"key": names})


def test_in_the_reviewed_table_rows_are_known_by_number(path):
    subject, found = decided_rows(path, pa.table({"row": range(5)}), SUBJECT.sha256, named=False)
    assert subject == SUBJECT
    assert found == {0: ["cat"], 3: []}


def test_in_another_table_rows_are_known_by_name(path):
    _, found = decided_rows(path, ids("k9", "k3", "k0", "k9"), "1" * 64, named=True)
    assert found == {2: ["cat"], 1: []}


@pytest.mark.parametrize(
    ("table", "named", "said"),
    [
        (ids("k0", "k1"), True, 'on 1 rows that the table does not have, such as ."k3"'),
        (ids("k0", "k3", "k3"), True, 'on ."k3".*names several rows'),
        (pa.table({"other": ["k0", "k3"]}), True, "by column 'key'.*--id"),
        (pa.table({"key": [0, 1]}), False, "--id"),
    ],
)
def test_rows_that_cannot_be_told_are_an_error(path, table, named, said):
    with pytest.raises(DecisionsError, match=said):
        decided_rows(path, table, "1" * 64, named=named)


def test_numbers_mean_nothing_in_another_table(tmp_path):
    path = tmp_path / "decisions.sqlite"
    with Decisions(path, replace(SUBJECT, ids=())) as file:
        file.decide(0, "0", Verdict.ACCEPT, ["cat"], seen=None)
    with pytest.raises(DecisionsError, match="may have moved"):
        decided_rows(path, ids("k0"), "1" * 64, named=True)
