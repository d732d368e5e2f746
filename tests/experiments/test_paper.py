"""The paper's configurations, and what is run for a table or figure."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.small_paper import small_cifar, small_coco, small_tags

from latentlabels import LatentLabelsError, RobustClassifier
from latentlabels.experiments.paper import (
    CIFAR10,
    CIFAR_ROWS,
    CIFAR_SCALES,
    COCO_RESNET50,
    COCO_ROWS,
    COCO_SCALES,
    COCO_VGG16,
    MEASURES,
    PUBLISHED,
    chosen,
    with_changes,
)
from latentlabels.experiments.plan import Request, drawn, plan_for, task_of
from latentlabels.network.cifar_resnet import CifarResNet

ALL = (*COCO_SCALES["paper"], *COCO_SCALES["small"], *CIFAR_SCALES["paper"], *CIFAR_SCALES["small"])
NOWHERE = Path("nowhere")


def columns_of(request: Request) -> list[str]:
    return [column.name for column in plan_for(request).columns]


def test_the_papers_settings() -> None:
    for coco, size in ((COCO_RESNET50, 224), (COCO_VGG16, 256)):
        assert coco.image_size == size
        assert (coco.alpha_start, coco.alpha_end, coco.alpha_epochs) == (40, 5, 11)
        assert (coco.hidden, coco.chains, coco.sweeps) == (200, 50, 100)
        assert not coco.adaptive_sweeps
        assert (coco.verified_share, coco.training_rows) == (0.2, 0)
    assert CIFAR10.backbone == "cifar_resnet32"
    assert (CIFAR10.epochs, CIFAR10.alpha_start, CIFAR10.alpha_end) == (200, 8, 1)
    assert (CIFAR10.alpha_epochs, CIFAR10.verified_share) == (10, 0)


@pytest.mark.parametrize("configuration", ALL, ids=lambda configuration: configuration.network)
def test_settings_are_the_estimators(configuration: object) -> None:
    assert isinstance(configuration, type(CIFAR10))
    settings = configuration.settings()
    model = RobustClassifier(**settings)
    assert model.start == "zero"
    assert model.patience == model.epochs, "training does not stop early"
    for row in (*COCO_ROWS, *CIFAR_ROWS):
        RobustClassifier(**{**settings, **row.changes})


def test_small_scales_do_less() -> None:
    for scales in (COCO_SCALES, CIFAR_SCALES):
        paper, small = scales["paper"][0], scales["small"][0]
        assert 0 < small.training_rows < 10_000
        assert small.epochs <= paper.epochs
        assert small.chains * small.sweeps <= paper.chains * paper.sweeps


def test_published_figures_are_of_rows_and_measures_that_there_are() -> None:
    """The registry may be empty; what is in it stands in a table."""
    keys = {"table1": COCO_ROWS, "table2": CIFAR_ROWS}
    for target, _, row, measure in PUBLISHED:
        assert row in {known.key for known in keys[target]}
        assert measure in MEASURES
    assert all(0 < figure < 100 for figure in PUBLISHED.values())


def test_changes_are_of_the_kind_of_what_they_change() -> None:
    changes = ["epochs=3", "adam_epsilon=1e-6", "backbone=vgg11", "augment=false"]
    changed = with_changes(CIFAR10, changes)
    wanted = replace(CIFAR10, epochs=3, adam_epsilon=1e-6, backbone="vgg11", augment=False)
    assert changed == wanted
    assert with_changes(CIFAR10, ()) == CIFAR10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("epochs", "a setting and its value, such as epochs=3, got 'epochs'"),
        ("epoch=3", "Did you mean epochs?"),
        ("=3", "They are network, backbone,"),
        ("epochs=2.5", "epochs wants a whole number, got '2.5'"),
        ("alpha_end=low", "alpha_end wants a number, got 'low'"),
        ("augment=1", "augment wants true or false, got '1'"),
    ],
)
def test_changes_that_cannot_be_made(change: str, message: str) -> None:
    with pytest.raises(LatentLabelsError, match=message):
        with_changes(CIFAR10, [change])


def test_rows_are_chosen_by_their_keys() -> None:
    assert chosen(COCO_ROWS, ()) == COCO_ROWS
    assert [row.key for row in chosen(COCO_ROWS, ("hidden", "clean"))] == ["clean", "hidden"]
    for key in ("Misra", "CRF"):
        with pytest.raises(LatentLabelsError, match=f"clean, mapped, .*; got '{key}'"):
            chosen(COCO_ROWS, (key,))


def test_columns_of_table_1(tmp_path: Path) -> None:
    tags = small_tags(tmp_path / "tags.json")
    networks = ["captions, ResNet-50", "captions, VGG-16"]
    assert columns_of(Request("table1", NOWHERE)) == networks
    with_tags = columns_of(Request("table1", NOWHERE, tags=tags))
    assert with_tags == [*networks, "Flickr tags, ResNet-50", "Flickr tags, VGG-16"]
    assert columns_of(Request("table1", NOWHERE, backbone="vgg16")) == ["captions, VGG-16"]
    assert columns_of(Request("table1", NOWHERE, backbone="vgg19")) == ["captions, vgg19"]


def test_a_figure_shows_one_model(tmp_path: Path) -> None:
    tags = small_tags(tmp_path / "tags.json")
    for target in ("figure3", "figure4"):
        plan = plan_for(Request(target, NOWHERE))
        assert [cell.key for cell in plan.cells()] == ["captions, ResNet-50 | no-link | 0"]
        plan = plan_for(Request(target, NOWHERE, tags=tags))
        assert [column.name for column in plan.columns] == ["Flickr tags, ResNet-50"]


def test_cells_of_table_2() -> None:
    plan = plan_for(Request("table2", NOWHERE, seeds=2, only=("no-link",), noise=(0.1, 0.5, 0.1)))
    assert [cell.key for cell in plan.cells()] == [
        f"noise {rate} %, ResNet-32 | no-link | {seed}" for rate in (10, 50) for seed in (0, 1)
    ]
    assert len(list(plan_for(Request("table2", NOWHERE)).cells())) == 5 * len(CIFAR_ROWS)


def test_without_trained_weights_all_is_tuned() -> None:
    small = Request("table1", NOWHERE, scale="small")
    assert plan_for(small).columns[0].configuration.tune == "head"
    scratch = plan_for(replace(small, pretrained=False)).columns[0].configuration
    assert (scratch.tune, scratch.pretrained) == ("all", False)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request("table2", NOWHERE, tags=NOWHERE), "--tags is for COCO"),
        (Request("table1", NOWHERE, tags=NOWHERE), "There is no tag file nowhere"),
        (Request("table1", NOWHERE, noise=(0.3,)), "--noise is for table2"),
        (Request("figure3", NOWHERE, seeds=2), "--only and --seeds are for tables"),
        (Request("figure4", NOWHERE, only=("clean",)), "--only and --seeds are for tables"),
        (Request("table1", NOWHERE, weights=NOWHERE), "name one as --backbone"),
        (Request("table2", NOWHERE, weights=NOWHERE), "no weights file 'nowhere'"),
    ],
)
def test_options_that_contradict(request_: Request, message: str) -> None:
    with pytest.raises(LatentLabelsError, match=message):
        plan_for(request_)


def test_the_noise_is_the_columns_and_the_seeds(tmp_path: Path) -> None:
    data = small_cifar(tmp_path / "cifar")
    changes = ("validation_records=6", "training_rows=0")
    plan = plan_for(Request("table2", data, scale="small", noise=(0.0, 0.9), changes=changes))
    none, much = (column.load(data, 0) for column in plan.columns)
    assert none.noisy == none.clean
    assert much.noisy != much.clean
    assert plan.columns[1].load(data, 1).noisy != much.noisy
    method = plan.columns[1].method(CIFAR_ROWS[4], much, plan.request, 0)
    assert isinstance(method.settings["backbone"], CifarResNet)
    assert method.settings["auxiliary"][3, 5] == 0.9
    assert method.settings["clean_labels"] == method.settings["noisy_labels"] == much.clean_names


def test_a_network_starts_from_weights_of_its_seed(tmp_path: Path) -> None:
    data = small_cifar(tmp_path / "cifar")
    plan = plan_for(Request("table2", data, changes=("validation_records=6",)))
    images = plan.columns[0].load(data, 0)

    def first_weights(seed: int) -> Any:
        method = plan.columns[0].method(CIFAR_ROWS[0], images, plan.request, seed)
        return next(method.settings["backbone"].parameters()).detach().numpy()

    np.testing.assert_array_equal(first_weights(0), first_weights(0))
    assert not np.array_equal(first_weights(0), first_weights(1))


def test_drawn_rows_are_some_of_each_part(tmp_path: Path) -> None:
    data = small_coco(tmp_path / "coco")
    tags = small_tags(tmp_path / "tags.json")
    plan = plan_for(Request("table1", data, tags=tags))
    assert len(plan.columns) == 4
    images = plan.columns[3].load(data, 0)
    assert drawn(images, 0, 0) is images
    few = drawn(images, 12, 0)
    parts = {part: int((few.split == part).sum()) for part in ("train", "validation", "test")}
    assert parts == {"train": 12, "validation": 3, "test": 3}
    row_of = {number: row for row, number in enumerate(images.ids.tolist())}
    for row, number in enumerate(few.ids.tolist()):
        whole = row_of[number]
        assert few.images[row] == images.images[whole]
        assert (few.noisy[row], few.clean[row]) == (images.noisy[whole], images.clean[whole])
        assert few.verified[row] == images.verified[whole]
    assert drawn(images, 12, 1).ids.tolist() != few.ids.tolist()
    task = task_of(few)
    assert task.x.tolist() == [str(path) for path in few.images]
    assert task.clean == [list(cell) for cell in few.clean]


def test_settings_are_all_that_decides(tmp_path: Path) -> None:
    weights = tmp_path / "network.safetensors"
    weights.write_bytes(b"one")
    request = Request("table1", tmp_path, backbone="vgg16", weights=weights)
    (settings,) = plan_for(request).settings().values()
    assert asdict(COCO_VGG16).items() <= settings.items()
    assert settings["data"] == str(tmp_path)
    weights.write_bytes(b"other")
    assert plan_for(request).settings() != {"captions, VGG-16": settings}
