"""Other people's packages, which some of the methods are taken from: optional, so imported late."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from latentlabels.errors import MissingPackageError


@contextmanager
def needing(package: str) -> Iterator[None]:
    """Import from a package inside, and have its absence said with the remedy.

    Raises:
        MissingPackageError: it cannot be imported.
    """
    try:
        yield
    except ImportError as error:
        raise MissingPackageError(
            f"This method needs {package}: pip install 'latentlabels[peers]'."
        ) from error
