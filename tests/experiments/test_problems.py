"""A task as a problem: images end to end, as features of the whole or of regions, and bad ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.small_images import COLOURS, NAMES, SIZE, Eye, png
from torch import nn
from torch.testing import assert_close

from latentlabels.baselines import BASELINES
from latentlabels.baselines.network import PlainModule, cross_entropy
from latentlabels.estimator import RobustClassifier
from latentlabels.experiments.problems import in_regions, pose
from latentlabels.experiments.protocol import Method, run_method
from latentlabels.experiments.task import Task
from latentlabels.network.encoders import Encoder
from latentlabels.network.regions import GRID, RegionEncoder

ROWS = 90


def mosaic(held: NDArray[np.bool_], seed: int) -> bytes:
    """A grey image, of whose regions one has each colour that is held."""
    random = np.random.default_rng(seed)
    pixels = np.full((SIZE, SIZE, 3), 128, dtype=np.uint8)
    side = SIZE // GRID
    for colour, place in zip(np.flatnonzero(held), random.permutation(GRID**2), strict=False):
        top, left = side * (place // GRID), side * (place % GRID)
        pixels[top : top + side, left : left + side] = COLOURS[NAMES[colour]]
    return png(pixels)


def mosaics() -> Task:
    """Which colours are somewhere on an image, a third of them not told of."""
    random = np.random.default_rng(0)
    held = random.random((ROWS, len(NAMES))) < 0.4
    told = held & (random.random(held.shape) < 0.7)
    cells = np.empty(ROWS, dtype=object)
    cells[:] = [mosaic(row, seed) for seed, row in enumerate(held)]
    part = np.arange(ROWS) % 5
    split = np.where(part == 0, "test", np.where(part == 1, "validation", "train"))
    names = np.array(NAMES)
    noisy, clean = ([list(names[row]) for row in labels] for labels in (told, held))
    return Task(cells, noisy, clean, split, (split == "train") & (part == 2))


TASK = mosaics()
SHARED: dict[str, Any] = {
    "input_kind": "image",
    "image_size": SIZE,
    "hidden_layers": (),
    "epochs": 2,
    "clean_labels": NAMES,
    "noisy_labels": NAMES,
    "backbone": Eye(),
}


@pytest.fixture
def frozen(tmp_path: Path) -> dict[str, Any]:
    return {**SHARED, "cache": tmp_path}


TUNED = {**SHARED, "tune": "all", "hidden_layers": None}


@pytest.mark.parametrize("bags", [False, True])
def test_a_frozen_network_is_seen_through_once(frozen: dict[str, Any], bags: bool) -> None:
    problem = pose(TASK, frozen, bags=bags).problem
    x = problem.rows.x.batch(np.arange(4))
    assert x.shape == ((4, GRID**2, 4) if bags else (4, 4))
    network = problem.network(7)
    assert network(x).shape == (*x.shape[:-1], 7)
    assert not any(isinstance(module, Encoder) for module in network.modules())
    seen = network.eval()[0](problem.features())  # type: ignore[index]
    assert_close(seen.flatten(0, -2).mean(0), torch.zeros(4), atol=1e-5, rtol=0)


@pytest.mark.parametrize("bags", [False, True])
def test_a_tuned_network_is_part_of_every_new_one(bags: bool) -> None:
    problem = pose(TASK, TUNED, bags=bags).problem
    x = problem.rows.x.batch(np.arange(4))
    assert x.shape == (4, 3, SIZE, SIZE)
    one, other = problem.network(7), problem.network(7)
    assert one(x).shape == ((4, GRID**2, 7) if bags else (4, 7))
    assert isinstance(one[0], RegionEncoder) is bags  # type: ignore[index]
    mine, theirs = (next(iter(network.parameters())) for network in (one, other))
    assert torch.equal(mine, theirs)
    assert mine is not theirs


def test_an_encoder_has_a_step_size_of_its_own() -> None:
    shared = {**TUNED, "encoder_learning_rate": 1e-5, "encoder_adam_epsilon": 1e-3}
    problem = pose(TASK, shared).problem
    network = problem.network(3)
    units = problem.units

    def loss(logits: torch.Tensor, *_: Any) -> torch.Tensor:
        return cross_entropy(units, logits, logits).mean()

    module = PlainModule(network, loss, units.mean, units, problem.training)
    optimizer = module.configure_optimizers()
    assert isinstance(optimizer, torch.optim.AdamW)
    rates = {
        parameter: (group["lr"], group["eps"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert rates.keys() == set(module.parameters())
    assert isinstance(network, nn.Sequential)
    for parameter in network[0].parameters():
        assert rates[parameter] == (1e-5, 1e-3)
    for parameter in network[-1].parameters():
        assert rates[parameter] == (problem.training.learning_rate, problem.training.epsilon)


@pytest.mark.parametrize("tuned", [False, True])
def test_images_that_cannot_be_used_are_left_out(frozen: dict[str, Any], tuned: bool) -> None:
    cells = TASK.x.copy()
    bad = np.array([TASK.rows(part)[0] for part in ("train", "validation", "test")])
    cells[bad] = b"no image"
    task = replace(TASK, x=cells)
    shared = {**(TUNED if tuned else frozen), "on_bad_input": "skip"}
    posed = pose(task, shared)
    assert list(posed.rows) == [row for row in TASK.rows("train") if row not in bad]
    assert len(posed.problem.rows) == len(posed.rows)
    fitted = BASELINES["cross-entropy"].fit(posed.problem, 0)
    said = posed.predict(fitted, TASK.rows("test"))
    assert np.array_equal(np.isnan(said).all(1), np.isin(TASK.rows("test"), bad))
    outcome, _ = run_method(task, Method("", "cross-entropy", shared), 0)
    assert outcome.test is not None
    assert outcome.recovery is not None


def test_regions_tell_what_the_whole_image_blurs(tmp_path: Path) -> None:
    """Red here and blue there are in the mean what purple twice is."""
    purple = [(red + blue) // 2 for red, blue in zip(COLOURS["red"], COLOURS["blue"], strict=True)]
    random = np.random.default_rng(0)
    side, cells, labels = SIZE // GRID, np.empty(ROWS, dtype=object), []
    for row in range(ROWS):
        pixels = np.full((SIZE, SIZE, 3), 128, dtype=np.uint8)
        pair = (purple, purple) if row % 2 else (COLOURS["red"], COLOURS["blue"])
        for colour, place in zip(pair, random.permutation(GRID**2), strict=False):
            top, left = side * (place // GRID), side * (place % GRID)
            pixels[top : top + side, left : left + side] = colour
        grain = random.normal(0, 6, pixels.shape)
        cells[row] = png((pixels + grain).clip(0, 255).astype(np.uint8))
        labels.append([] if row % 2 else ["red", "blue"])
    split = np.array(["train", "train", "train", "validation", "test"])[np.arange(ROWS) % 5]
    task = Task(cells, labels, labels, split, split == "train")
    shared = {**SHARED, "cache": tmp_path, "backbone": nn.AdaptiveAvgPool2d(GRID)}
    shared |= {"epochs": 60, "patience": 60, "learning_rate": 0.1, "input_dropout": 0.0}
    shared |= {"clean_labels": ["red", "blue"], "noisy_labels": ["red", "blue"]}
    bags, _ = run_method(task, Method("", "noisy-or", shared), 0)
    whole, _ = run_method(task, Method("", "cross-entropy", shared), 0)
    assert bags.test == 1.0
    assert whole.test is not None
    assert whole.test < 0.8


def test_bags_of_the_task_are_taken(tmp_path: Path) -> None:
    classifier = RobustClassifier(**{**SHARED, "cache": tmp_path})
    regions = in_regions(classifier, list(TASK.x))
    assert regions.shape == (ROWS, GRID**2, 4)
    vectors = replace(TASK, x=regions.mean(1), bags=regions)
    shared = {"hidden_layers": (), "epochs": 1}
    assert pose(vectors, shared, bags=True).problem.features().shape[1:] == (GRID**2, 4)
    assert pose(vectors, shared).problem.features().shape[1:] == (4,)
