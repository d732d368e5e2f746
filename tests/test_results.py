"""Results appear whole or not at all, even if the process that writes them is killed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from latentlabels.errors import TableError
from latentlabels.results import staged

NAMES = ("cleaned.parquet", "metrics.json", "skipped.csv")
OLDER = {"cleaned.parquet": "older", "metrics.json": "older", "notes.txt": "mine"}
NEWER = {**dict.fromkeys(NAMES, "newer"), "notes.txt": "mine"}


class KilledError(BaseException):
    """What ends a process in these tests: it does nothing any more, and the system frees locks."""


def write(out: Path) -> None:
    with staged(out, NAMES, overwrite=True) as folder:
        for name in NAMES:
            (folder / name).write_text("newer")


def read(out: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in out.iterdir() if path.is_file()}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder with older results, and a file of the user's."""
    folder = tmp_path / "run"
    folder.mkdir()
    for name, text in OLDER.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Write results, or try to, and be killed before a rename."""
    rename, rmtree = Path.rename, shutil.rmtree

    def write_until(out: Path, renames: int) -> bool:
        left = [renames]

        def counted(path: Path, target: Path) -> Path:
            left[0] -= 1
            if left[0] < 0:
                raise KilledError
            return rename(path, target)

        def removes(*arguments: Any, **named: Any) -> None:
            if left[0] >= 0:
                rmtree(*arguments, **named)

        monkeypatch.setattr(Path, "rename", counted)
        monkeypatch.setattr(shutil, "rmtree", removes)
        try:
            write(out)
        except KilledError:
            return True
        else:
            return False
        finally:
            monkeypatch.undo()

    return write_until


def test_whoever_is_killed_leaves_what_was_there_to_the_next(out: Path, killed: Any) -> None:
    renames = 0
    while killed(out, renames):
        with pytest.raises(KilledError), staged(out, NAMES, overwrite=True):
            raise KilledError
        assert read(out) == OLDER, renames
        assert [path.name for path in out.parent.iterdir()] == ["run"]
        renames += 1
    assert renames == 1 + 2 * 2 + 1
    assert read(out) == NEWER


@pytest.mark.parametrize("first", range(1, 6))
def test_being_killed_while_putting_back_is_no_harm(first: int, out: Path, killed: Any) -> None:
    for second in range(4):
        killed(out, first)
        killed(out, second)
        with pytest.raises(KilledError), staged(out, NAMES, overwrite=True):
            raise KilledError
        assert read(out) == OLDER
    write(out)
    assert read(out) == NEWER
    assert sorted(path.name for path in out.iterdir()) == sorted(NEWER)


def test_a_new_folder_appears_at_once(tmp_path: Path, killed: Any) -> None:
    out = tmp_path / "new" / "run"
    assert killed(out, 0)
    assert not out.exists()
    write(out)
    assert read(out) == dict.fromkeys(NAMES, "newer")
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    assert [path.name for path in out.parent.iterdir()] == ["run"]


def test_two_processes_do_not_write_to_one_folder(out: Path) -> None:
    with staged(out, NAMES, overwrite=True) as folder:
        with pytest.raises(TableError, match=r"Another process is writing to .*run"):
            write(out)
        for name in NAMES:
            (folder / name).write_text("newer")
        write(out.parent / "other")
    assert read(out) == NEWER
