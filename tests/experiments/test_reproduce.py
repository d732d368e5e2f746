"""The paper's tables and figures end to end on miniatures, stopped and continued."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.small_paper import (
    SMALLEST_NETWORK,
    TINY_CIFAR,
    TINY_COCO,
    small_cifar,
    small_coco,
    small_tags,
)

from latentlabels import LatentLabelsError
from latentlabels.errors import TableError
from latentlabels.experiments import paper_figures, paper_tables
from latentlabels.experiments import reproduce as module
from latentlabels.experiments.kept import KeptResults
from latentlabels.experiments.paper import CIFAR_ROWS, COCO_ROWS, MEASURES
from latentlabels.experiments.paper_tables import as_markdown, as_rich, table_facts
from latentlabels.experiments.plan import Request, key_of
from latentlabels.experiments.protocol import Method, Outcome, run_method
from latentlabels.experiments.reproduce import reproduce
from latentlabels.experiments.task import Task
from latentlabels.training.module import RobustModule


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_coco(tmp_path_factory.mktemp("data") / "coco")


@pytest.fixture(scope="module")
def cifar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_cifar(tmp_path_factory.mktemp("data") / "cifar")


def on_coco(target: str, data: Path, **more: Any) -> Request:
    return Request(
        target,
        data,
        scale="small",
        backbone=SMALLEST_NETWORK,
        pretrained=False,
        changes=TINY_COCO,
        **more,
    )


def on_cifar(data: Path, **more: Any) -> Request:
    more = {"noise": (0.4,), "backbone": SMALLEST_NETWORK, "changes": TINY_CIFAR, **more}
    return Request("table2", data, scale="small", **more)


def run(request: Request, out: Path, **more: Any) -> list[str]:
    return reproduce(request, out, say=lambda _: None, **more)


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


class Runs:
    """Stands in for `run_method`: writes down what is run, and may stop the program."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.names: list[str] = []
        self.stop_at = stop_at

    def __call__(self, task: Task, method: Method, seed: int) -> tuple[Outcome, Any]:
        self.names.append(f"{method.name} {seed}")
        if len(self.names) == self.stop_at:
            raise KeyboardInterrupt
        quick = replace(method, settings={**method.settings, "epochs": 1})
        return run_method(task, quick, seed)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], Runs]:
    def begin(stop_at: int | None = None) -> Runs:
        spy = Runs(stop_at)
        monkeypatch.setattr(module, "run_method", spy)
        return spy

    return begin


def test_table_1_from_captions_and_tags(coco: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    tags = small_tags(tmp_path / "tags.json")
    written = run(on_coco("table1", coco, tags=tags), out)
    assert written == ["results.json", "table1.json", "table1.md"]
    assert sorted(path.name for path in out.iterdir()) == sorted(written)
    facts = read(out / "table1.json")
    columns = [f"{source}, {SMALLEST_NETWORK}" for source in ("captions", "Flickr tags")]
    assert facts["columns"] == columns
    cells = read(out / "results.json")["cells"]
    for row in COCO_ROWS:
        for column in columns:
            for measure in MEASURES:
                own = facts[measure][row.key][column]
                assert own["paper"] is None
                if (row.key, measure) == ("clean", "recovery"):
                    assert (own["runs"], own["mean"]) == (1, None), "it was trained on them"
                else:
                    found = cells[key_of(column, row.key, 0)][measure]
                    assert own["mean"] == pytest.approx(100 * found)
                    assert 0 < own["mean"] <= 100


def test_rows_are_different_methods(coco: Path, tmp_path: Path) -> None:
    """Else a change to the configuration was lost on its way to the estimator."""
    run(on_coco("table1", coco), tmp_path)
    cells = read(tmp_path / "results.json")["cells"]
    outcomes = {(cell["prediction"], cell["recovery"]) for cell in cells.values()}
    # Without hidden units, W at zero and one epoch leave nothing of the x–y link.
    assert len(outcomes) >= len(cells) - 1 == 8


def test_table_2_over_two_seeds(cifar: Path, tmp_path: Path) -> None:
    run(on_cifar(cifar, seeds=2, only=("mapped", "no-link")), tmp_path)
    facts = read(tmp_path / "table2.json")
    column = f"noise 40 %, {SMALLEST_NETWORK}"
    cells = read(tmp_path / "results.json")["cells"]
    found = [100 * cells[key_of(column, "no-link", seed)]["recovery"] for seed in (0, 1)]
    own = facts["recovery"]["no-link"][column]
    assert own["runs"] == 2
    assert own["mean"] == pytest.approx(np.mean(found))
    assert own["deviation"] == pytest.approx(np.std(found, ddof=1))
    assert facts["recovery"]["clean"][column]["runs"] == 0
    assert [row["key"] for row in facts["rows"]] == [row.key for row in CIFAR_ROWS]


def test_a_stopped_run_goes_on_where_it_was(
    cifar: Path, tmp_path: Path, runs: Callable[..., Runs]
) -> None:
    request = on_cifar(cifar, only=("mapped", "no-pairwise", "no-link"))
    stopped = runs(stop_at=2)
    with pytest.raises(KeyboardInterrupt):
        run(request, tmp_path)
    assert len(stopped.names) == 2
    kept = read(tmp_path / "results.json")["cells"]
    assert len(kept) == 1
    assert "not run" in (tmp_path / "table2.md").read_text(encoding="utf-8")
    said: list[str] = []
    continued = runs()
    reproduce(request, tmp_path, say=said.append)
    assert said[0] == "1 of 3 runs are there already."
    assert continued.names == ["no pairwise terms 0", "CRF, no x–y link 0"]
    cells = read(tmp_path / "results.json")["cells"]
    assert kept.items() < cells.items()
    again = runs()
    table = (tmp_path / "table2.md").read_bytes()
    run(request, tmp_path)
    assert again.names == []
    assert (tmp_path / "table2.md").read_bytes() == table


def test_a_run_stopped_in_its_middle_goes_on_after_its_last_epoch(
    cifar: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = on_cifar(cifar, only=("mapped", "no-link"))
    request = replace(request, changes=(*request.changes, "epochs=3"))
    run(request, tmp_path / "whole")
    step, seen = RobustModule.training_step, []

    def counted(trained: RobustModule, *arguments: Any) -> Any:
        seen.append(trained.trainer.current_epoch)
        if len(seen) == stop_at:
            raise KeyboardInterrupt
        return step(trained, *arguments)

    monkeypatch.setattr(RobustModule, "training_step", counted)
    stop_at = 0
    run(request, tmp_path / "counted")
    stop_at, steps = len(seen) - 1, len(seen)
    seen.clear()
    out = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        run(request, out)
    assert seen[-1] == 2, "it was in the last epoch of its last run"
    assert list((out / "training").iterdir())
    seen.clear()
    run(request, out)
    assert set(seen) == {2}
    assert len(seen) < steps / 3
    whole, again = (
        read(tmp_path / name / "results.json")["cells"] for name in ("whole", "stopped")
    )
    for key in whole:
        for cell in (whole[key], again[key]):
            del cell["seconds"]
    assert again == whole
    assert not (out / "training").exists()


def test_seeds_rates_and_methods_can_be_added(
    cifar: Path, tmp_path: Path, runs: Callable[..., Runs]
) -> None:
    run(on_cifar(cifar, only=("no-link",)), tmp_path)
    more = runs()
    run(on_cifar(cifar, only=("no-link", "mapped"), noise=(0.4, 0.2), seeds=2), tmp_path)
    assert sorted(more.names) == sorted(
        ["cross entropy, noisy labels 0", "cross entropy, noisy labels 1"] * 2
        + ["CRF, no x–y link 1"] * 2
        + ["CRF, no x–y link 0"]
    )
    assert len(read(tmp_path / "table2.json")["columns"]) == 2


def test_other_settings_are_refused_or_begin_anew(
    cifar: Path, tmp_path: Path, runs: Callable[..., Runs]
) -> None:
    request = on_cifar(cifar, only=("mapped",))
    run(request, tmp_path)
    before = (tmp_path / "results.json").read_bytes()
    other = replace(request, changes=(*TINY_CIFAR, "alpha_start=9"))
    with pytest.raises(LatentLabelsError, match=r"\(alpha_start: 8\.0 there, 9\.0 here\)"):
        run(other, tmp_path)
    assert (tmp_path / "results.json").read_bytes() == before
    anew = runs()
    run(other, tmp_path, overwrite=True)
    assert anew.names == ["cross entropy, noisy labels 0"]
    (settings,) = read(tmp_path / "results.json")["settings"].values()
    assert settings["alpha_start"] == 9


def test_results_of_another_target_are_refused(cifar: Path, coco: Path, tmp_path: Path) -> None:
    run(on_cifar(cifar, only=("mapped",)), tmp_path)
    with pytest.raises(LatentLabelsError, match="holds results of table2, not of table1"):
        run(on_coco("table1", coco), tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"schema": 1, "target": "table2"}', "null"])
def test_damaged_results_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(TableError, match=r"results\.json is damaged.*--overwrite"):
        KeptResults(tmp_path, "table2", {})
    KeptResults(tmp_path, "table2", {}, overwrite=True).add("cell", {"prediction": 0.5})
    assert KeptResults(tmp_path, "table2", {}).cells == {"cell": {"prediction": 0.5}}
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


def test_a_file_is_no_folder_for_results(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("")
    with pytest.raises(TableError, match="wants a folder"):
        KeptResults(path, "table2", {})


def test_the_papers_figures_stand_beside_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = {("table2", "noise 10 %", "no-link", "prediction"): 55.5}
    monkeypatch.setattr(paper_tables, "PUBLISHED", figures)
    cells = {
        key_of("noise 10 %", "no-link", seed): {"prediction": value, "recovery": None}
        for seed, value in enumerate((0.5, 0.6))
    }
    facts = table_facts("table2", CIFAR_ROWS, ["noise 10 %"], cells)
    table = as_markdown(facts)
    assert "| CRF, no x–y link | 55.0 ± 7.1 (paper 55.5) |" in table
    assert "| CRF, no x–y link | – (paper –) |" in table
    assert "| CRF | not run (paper –) |" in table
    assert as_rich(facts, "prediction").row_count == len(CIFAR_ROWS)


def test_bad_images_do_not_matter(tmp_path: Path) -> None:
    data = small_coco(tmp_path / "coco")
    for name in ("train2014/COCO_train2014_000000000001", "val2014/COCO_val2014_000000000115"):
        (data / f"{name}.jpg").write_bytes(b"no image")
    run(on_coco("table1", data, only=("no-link",)), tmp_path / "out")
    (cell,) = read(tmp_path / "out" / "results.json")["cells"].values()
    assert cell["skipped"] == 1
    assert cell["prediction"] > 0
    assert cell["recovery"] > 0


def test_features_of_a_frozen_network_are_computed_once(coco: Path, tmp_path: Path) -> None:
    request = on_coco("table1", coco, only=("no-pairwise", "no-link"))
    run(replace(request, changes=(*TINY_COCO, "tune=head")), tmp_path)
    assert (tmp_path / "features").is_dir()
    cells = read(tmp_path / "results.json")["cells"]
    assert all(cell["prediction"] > 0 for cell in cells.values())


@pytest.mark.parametrize("target", ["figure3", "figure4"])
def test_figures_are_drawn_from_what_was_kept(
    target: str, coco: Path, tmp_path: Path, runs: Callable[..., Runs]
) -> None:
    written = run(on_coco(target, coco), tmp_path)
    assert written == ["results.json", f"{target}.png"]
    path = tmp_path / f"{target}.png"
    with Image.open(path) as image:
        assert image.width == 1800
    (cell,) = read(tmp_path / "results.json")["cells"].values()
    examples = cell["examples"]
    assert 0 < len(examples) <= paper_figures.EXAMPLES[target]
    for example in examples:
        assert (coco / example["image"]).is_file()
        assert example["image"].startswith("train2014/")
        given, proposed = set(example["labels"]), set(example["proposed"])
        assert set(example["certainty"]) == given ^ proposed
    if target == "figure4":
        certain = [max(example["certainty"].values()) for example in examples]
        assert certain == sorted(certain, reverse=True)
    path.unlink()
    again = runs()
    run(on_coco(target, coco), tmp_path)
    assert again.names == []
    assert path.exists()
    assert not list(tmp_path.glob("*.partial"))


EXAMPLE: dict[str, Any] = {
    "image": "x.jpg",
    "given": ["a", "cat", "dog", "sofa"],
    "labels": ["cat", "dog"],
    "auxiliary": ["cat", "dog"],
    "proposed": ["cat", "person"],
    "certainty": {"person": 0.912, "dog": 0.7},
}


def test_a_line_for_words_one_for_the_auxiliary_and_one_for_the_model() -> None:
    lines = paper_figures.lines_of(EXAMPLE)
    texts = {name: [chip.text for chip in chips] for name, chips in lines.items()}
    assert texts == {
        "given": ["cat", "dog", "sofa", "a"],
        "auxiliary": ["cat", "− dog"],
        "model": ["cat", "+ person"],
    }


def test_changes_are_told_with_their_certainty() -> None:
    row = paper_figures.changed_row(np.zeros((2, 2, 3)), EXAMPLE)
    assert (row.kept, row.added, row.removed) == (("cat",), ("person 91 %",), ("dog 70 %",))
    assert row.words == ("sofa", "a")
    many = {**EXAMPLE, "given": [f"word{number}" for number in range(40)]}
    assert paper_figures.changed_row(np.zeros((2, 2, 3)), many).words[-2:] == ("word28", "…")


def test_nothing_to_show(tmp_path: Path) -> None:
    with pytest.raises(LatentLabelsError, match="nothing to show in figure4"):
        paper_figures.draw_figure(tmp_path / "figure4.png", "figure4", [], tmp_path)
    assert not list(tmp_path.iterdir())
