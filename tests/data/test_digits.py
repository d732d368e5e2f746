"""The demo scenes: real digits, honest labels, and tags typed at the rates that are stated."""

from __future__ import annotations

import io
from itertools import combinations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from latentlabels.data import digits
from latentlabels.data.digits import DIGIT_NAMES, RATES, TAGS, Scenes, digit_scenes
from latentlabels.errors import LatentLabelsError

SCANS = load_digits()
SEEDS = st.integers(0, 2**32 - 1)
STANDARD_ERRORS = 5


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    return digit_scenes()


@pytest.fixture(scope="module")
def present(scenes: Scenes) -> NDArray[np.bool_]:
    return np.array([[name in labels for name in DIGIT_NAMES] for labels in scenes.labels])


@pytest.fixture(scope="module")
def typed(scenes: Scenes) -> dict[str, NDArray[np.bool_]]:
    return {tag: np.array([tag in tags for tags in scenes.tags]) for tag in TAGS}


def look_alike_there(digit: int, present: NDArray[np.bool_]) -> NDArray[np.bool_]:
    there = np.zeros(len(present), bool)
    for pair in digits.LOOK_ALIKES:
        if digit in pair:
            there |= present[:, sum(pair) - digit]
    return there


def assert_rate(happened: NDArray[np.bool_], rate: float) -> None:
    error = np.sqrt(rate * (1 - rate) / len(happened))
    assert abs(happened.mean() - rate) <= STANDARD_ERRORS * error


@settings(max_examples=10)
@given(SEEDS, st.integers(digits.FEWEST_ROWS, 40), st.floats(0, 1))
def test_same_arguments_give_the_same_scenes(seed: int, rows: int, verified: float) -> None:
    one = digit_scenes(rows, verified=verified, seed=seed)
    other = digit_scenes(rows, verified=verified, seed=seed)
    assert one.to_table().equals(other.to_table())


def test_another_seed_gives_other_scenes() -> None:
    one, other = digit_scenes(40, seed=1), digit_scenes(40, seed=2)
    assert not np.array_equal(one.images, other.images)
    assert one.tags != other.tags


@settings(max_examples=10)
@given(SEEDS, st.floats(0, 1), st.floats(0, 1))
def test_verification_changes_nothing_else_and_grows(seed: int, one: float, other: float) -> None:
    fewer = digit_scenes(40, verified=min(one, other), seed=seed)
    more = digit_scenes(40, verified=max(one, other), seed=seed)
    assert np.array_equal(fewer.images, more.images)
    assert fewer.tags == more.tags
    assert not (fewer.verified & ~more.verified).any()
    assert more.verified.sum() == round(max(one, other) * more.split.count("train"))
    assert {split for split, read in zip(more.split, more.verified, strict=True) if read} <= {
        "train"
    }


def test_sizes_and_ranges(scenes: Scenes) -> None:
    assert scenes.images.shape == (6000, *digits.CANVAS)
    assert scenes.images.dtype == np.float32
    assert scenes.images.min() == 0
    assert scenes.images.max() == 1
    assert [scenes.split.count(name) for name in ("train", "validation", "test")] == [
        4500,
        600,
        900,
    ]
    assert scenes.verified.sum() == 900
    assert set().union(*scenes.tags) == set(TAGS)
    assert len(set(TAGS)) == len(TAGS)
    assert 35 <= len(TAGS) <= 45


@given(st.integers(digits.FEWEST_ROWS, 10**7))
def test_a_cut_loses_nothing_and_leaves_no_split_empty(count: int) -> None:
    sizes = digits.cut(count)
    assert sum(sizes) == count
    assert min(sizes) > 0


@given(SEEDS)
def test_pools_share_no_scan(seed: int) -> None:
    classes = SCANS.target
    pools = digits.source_pools(np.random.default_rng(seed), classes)
    assert np.array_equal(np.sort(np.concatenate(list(pools.values()))), np.arange(len(classes)))
    assert all(len(set(classes[pool])) == len(DIGIT_NAMES) for pool in pools.values())


@given(SEEDS)
def test_a_scene_shows_what_was_placed(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pool = digits.source_pools(rng, SCANS.target)["test"]
    scene = digits.place_digits(rng, SCANS.target, pool)
    canvas = digits.blend(scene, SCANS.images)

    assert 1 <= len(scene) <= 4
    assert len({SCANS.target[placed.source] for placed in scene}) == len(scene)
    assert {placed.source for placed in scene} <= set(pool)
    brightest = np.zeros(digits.CANVAS)
    for placed in scene:
        for row, column in np.ndindex(digits.STAMP, digits.STAMP):
            at = placed.top + row, placed.left + column
            brightest[at] = max(brightest[at], SCANS.images[placed.source, row, column])
    assert np.array_equal(canvas, brightest)


def test_single_digits_are_those_of_their_labels_and_split(scenes: Scenes) -> None:
    """Which scan a scene shows is found again by least squares over all scans and positions."""
    stamps = SCANS.images.reshape(len(SCANS.images), -1) / 16
    sources: dict[str, set[int]] = {name: set() for name in digits.SPLIT_SHARES}
    single = np.array([len(labels) == 1 for labels in scenes.labels])
    for split, found in sources.items():
        for row in np.flatnonzero(single & (np.array(scenes.split) == split))[:60]:
            windows = np.lib.stride_tricks.sliding_window_view(scenes.images[row], (8, 8))
            fit = windows.reshape(-1, 64) @ stamps.T - (stamps**2).sum(axis=1) / 2
            source = int(fit.max(axis=0).argmax())
            assert (DIGIT_NAMES[SCANS.target[source]],) == scenes.labels[row]
            found.add(source)
    assert all(one.isdisjoint(other) for one, other in combinations(sources.values(), 2))


def test_labels_and_tags_stand_in_order(scenes: Scenes) -> None:
    for names, order in ((scenes.labels, DIGIT_NAMES), (scenes.tags, TAGS)):
        for row in names:
            units = [order.index(name) for name in row]
            assert units == sorted(set(units))
    assert all(scenes.labels)


@pytest.mark.parametrize("digit", range(10))
def test_names_are_typed_at_their_rates(
    digit: int, present: NDArray[np.bool_], typed: dict[str, NDArray[np.bool_]]
) -> None:
    named = typed[DIGIT_NAMES[digit]]
    there, other = present[:, digit], look_alike_there(digit, present)
    assert 0.4 <= RATES.name[digit] <= 0.6
    assert_rate(named[there & ~other], RATES.name[digit])
    assert_rate(named[~there & ~other], RATES.false_name)
    if other.any():
        assert_rate(named[~there & other], 1 - (1 - RATES.look_alike) * (1 - RATES.false_name))


@pytest.mark.parametrize("digit", range(10))
def test_synonyms_are_typed_for_their_digit_alone(
    digit: int, present: NDArray[np.bool_], typed: dict[str, NDArray[np.bool_]]
) -> None:
    words = digits.SYNONYMS[DIGIT_NAMES[digit]]
    there = present[:, digit]
    paraphrased = np.any([typed[word] for word in words], axis=0)
    assert not paraphrased[~there].any()
    assert_rate(paraphrased[there], RATES.synonym)
    for word in words:
        assert_rate(typed[word][there], RATES.synonym / len(words))


@pytest.mark.parametrize("quality", digits.QUALITIES)
def test_remarks_follow_the_share_of_digits(
    quality: str, present: NDArray[np.bool_], typed: dict[str, NDArray[np.bool_]]
) -> None:
    share = present[:, digits.QUALITIES[quality]].sum(axis=1) / present.sum(axis=1)
    for level in np.unique(share):
        assert_rate(typed[quality][share == level], RATES.remark * level)


def test_the_sum_is_remarked_upon_when_it_is_over_ten(
    present: NDArray[np.bool_], typed: dict[str, NDArray[np.bool_]]
) -> None:
    over = present @ np.arange(10) > 10
    assert_rate(typed[digits.SUM_OVER_TEN][over], RATES.remark)
    assert not typed[digits.SUM_OVER_TEN][~over].any()


def test_topic_words_go_together_and_with_nothing_else(
    present: NDArray[np.bool_], typed: dict[str, NDArray[np.bool_]]
) -> None:
    topic_of = {word: topic for topic, words in digits.TOPICS.items() for word in words}
    once, twice = (
        RATES.topic * RATES.topic_word**power + (1 - RATES.topic) * RATES.stray_word**power
        for power in (1, 2)
    )
    for word in topic_of:
        assert_rate(typed[word], once)
        for digit in range(10):
            assert_rate(typed[word][present[:, digit]], once)
    for words in digits.TOPICS.values():
        # The rate of stray words shows where a topic leaves no word at all.
        silent = RATES.topic * (1 - RATES.topic_word) ** len(words) + (1 - RATES.topic) * (
            1 - RATES.stray_word
        ) ** len(words)
        assert_rate(~np.any([typed[word] for word in words], axis=0), silent)
    for one, other in combinations(topic_of, 2):
        together = twice if topic_of[one] == topic_of[other] else once**2
        assert_rate(typed[one] & typed[other], together)


def test_the_table_holds_the_scenes(scenes: Scenes) -> None:
    table = scenes.to_table()
    pixels = digits.CANVAS[0] * digits.CANVAS[1]
    words = pa.list_(pa.string())
    assert table.schema == pa.schema(
        {
            "id": pa.int64(),
            "pixels": pa.list_(pa.float32(), pixels),
            "picture": pa.binary(),
            "tags": words,
            "labels": words,
            "verified": pa.bool_(),
            "split": pa.string(),
        }
    )
    last = table.slice(table.num_rows - 1).to_pylist()[0]
    assert last["id"] == len(scenes.images) - 1
    assert np.array_equal(np.float32(last["pixels"]), scenes.images[-1].reshape(-1))
    with Image.open(io.BytesIO(last["picture"])) as picture:
        assert np.abs(np.asarray(picture) / 255 - scenes.images[-1]).max() <= 0.5 / 255 + 1e-6
    assert tuple(last["tags"]) == scenes.tags[-1]
    assert tuple(last["labels"]) == scenes.labels[-1]
    assert (last["verified"], last["split"]) == (False, "test")
    assert sum(table["verified"].to_pylist()) == 900


@pytest.mark.parametrize(
    ("rows", "verified", "message"),
    [
        (digits.FEWEST_ROWS - 1, 0.1, "rows must be at least 20"),
        (100, -0.1, "share from 0 to 1, got -0.1"),
        (100, 1.1, "share from 0 to 1"),
        (100, float("nan"), "share from 0 to 1, got nan"),
    ],
)
def test_arguments_that_cannot_be_used(rows: int, verified: float, message: str) -> None:
    with pytest.raises(LatentLabelsError, match=message):
        digit_scenes(rows, verified=verified)
