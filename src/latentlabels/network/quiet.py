"""Other libraries' remarks and progress bars, kept off the terminal while a model is loaded."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

LOGGERS: Final = ("timm", "transformers", "sentence_transformers", "huggingface_hub")


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings, and from the libraries that load models nothing below an error."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
