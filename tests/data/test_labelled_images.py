"""What all loaders of images share."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from latentlabels.data.labelled_images import in_unit_order, most_common, verified_rows
from latentlabels.errors import LatentLabelsError

SPLIT = np.array(["train", "test", "validation"] * 20 + ["train"] * 20)
SEEDS = st.integers(0, 2**32 - 1)
SHARES = st.floats(0, 1)


@given(SHARES, SHARES, SEEDS)
def test_verified_rows_are_a_share_of_training_and_grow(
    one: float, other: float, seed: int
) -> None:
    fewer = verified_rows(SPLIT, min(one, other), seed)
    more = verified_rows(SPLIT, max(one, other), seed)
    assert not (fewer & ~more).any()
    assert more.sum() == round(40 * max(one, other))
    assert set(SPLIT[more]) <= {"train"}


def test_another_seed_verifies_other_rows() -> None:
    assert not np.array_equal(verified_rows(SPLIT, 0.5, 0), verified_rows(SPLIT, 0.5, 1))


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_is_from_0_to_1(share: float) -> None:
    with pytest.raises(LatentLabelsError, match="share from 0 to 1, got"):
        verified_rows(SPLIT, share, 0)


def test_common_names_go_by_count_then_spelling() -> None:
    counts = Counter({"b": 2, "a": 2, "c": 3, "d": 1})
    assert most_common(counts, 3) == ("c", "a", "b")
    assert most_common(counts, 9) == ("c", "a", "b", "d")


def test_a_rows_names_stand_in_the_vocabularys_order() -> None:
    rows = [{"a", "z", "c"}, set(), {"unknown"}]
    assert in_unit_order(rows, ("z", "c", "b", "a")) == (("z", "c", "a"), (), ())
