"""One process at a time. What a killed process held is free."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock


@contextmanager
def locked(path: Path, wait: float = 0.0) -> Iterator[None]:
    """Hold the lock that a file stands for.

    The system takes it back when its process ends, whatever ends it. On a file system that knows no
    locks nobody is kept out.

    Args:
        path: the file, which is made where there is none.
        wait: how many seconds to wait for another process.

    Raises:
        TimeoutError: another process holds it.
        OSError: the file cannot be written.
    """
    lock = FileLock(path, timeout=wait)
    try:
        lock.acquire()
    except NotImplementedError:
        yield
        return
    try:
        yield
    finally:
        lock.release()
