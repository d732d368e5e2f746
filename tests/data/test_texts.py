"""Texts are taken as they are, and what is none says why."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from latentlabels.data.texts import read_text
from latentlabels.errors import InputError


@pytest.mark.parametrize("text", ["a dog", "  two\nlines ", "0", "猫 🐈"])
def test_a_text_is_unchanged(text: str) -> None:
    assert read_text(text) == text
    assert read_text(pa.scalar(text)) == text
    assert read_text(np.array([text])[0]) == text


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (None, "is empty"),
        (float("nan"), "is empty"),
        (pd.NA, "is empty"),
        (pa.scalar(None, pa.string()), "is empty"),
        ("", "is empty"),
        (" \t\n\u2003", "is empty"),
        (3, "is no text but int"),
        (b"bytes", "is no text but bytes"),
        ("\ud83d", "holds half a character"),
    ],
    ids=repr,
)
def test_what_is_no_text_says_why(cell: object, reason: str) -> None:
    with pytest.raises(InputError, match=f"^{reason}$"):
        read_text(cell)
