"""The demo, end to end on fewer scenes: every row of its table is the method it says it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from latentlabels import RobustClassifier
from latentlabels.data.digits import digit_scenes
from latentlabels.experiments import demo
from latentlabels.experiments.demo import LEFT, METHODS, run_demo, scenes_task
from latentlabels.experiments.protocol import Method, run_method

Ran = tuple[Path, dict[str, dict[str, float]]]

ROWS = 400
SETTINGS: dict[str, Any] = {"epochs": 2, "hidden_layers": (16,), "auxiliary": "regression"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    out = tmp_path_factory.mktemp("demo") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "digit_scenes", lambda *, seed: digit_scenes(ROWS, seed=seed))
        patch.setattr(demo, "SETTINGS", SETTINGS)
        scores = run_demo(out, 1, Console(quiet=True))
    return out, scores


@pytest.mark.parametrize("role", METHODS)
def test_each_score_is_that_of_its_method(role: str, run: Ran) -> None:
    task = scenes_task(digit_scenes(ROWS, seed=1))
    outcome, _ = run_method(task, Method("", role, SETTINGS), seed=1)
    assert outcome.test is not None
    assert run[1]["test_map"][role] == pytest.approx(100 * outcome.test)


def test_methods_that_read_different_labels_score_differently(run: Ran) -> None:
    scores = run[1]["test_map"]
    assert list(scores) == ["verified_only", "mapped", "model", "all_clean"]
    assert len(set(scores.values())) == len(scores)


def test_what_it_leaves(run: Ran) -> None:
    out, scores = run
    assert sorted(path.name for path in out.iterdir()) == sorted(LEFT)
    metrics = json.loads((out / "metrics.json").read_text())
    assert {name: metrics[name] for name in (*scores, "seed")} == {**scores, "seed": 1}
    comparison = metrics["comparison"]
    assert 100 * comparison["model"] == pytest.approx(scores["test_map"]["model"])
    assert 100 * comparison["verified_only"] == pytest.approx(scores["test_map"]["verified_only"])
    assert list(metrics["recovery_map"]) == ["auxiliary", "model"]
    assert (out / "scenes.png").read_bytes().startswith(b"\x89PNG")
    assert "data:image/png;base64," in (out / "report.html").read_text()
    scenes, cleaned = (pq.read_table(out / name) for name in ("scenes.parquet", "cleaned.parquet"))
    assert cleaned["id"].to_pylist() == scenes["id"].to_pylist() == list(range(ROWS))
    assert cleaned["given"].to_pylist() == scenes["tags"].to_pylist()
    x = np.array(scenes["pixels"].to_pylist(), np.float32)
    model = RobustClassifier.load(out / "model")
    again = model.clean(x, scenes["tags"].to_pylist()).probabilities
    kept = ~np.array(cleaned["verified"].to_pylist())
    np.testing.assert_array_equal(np.array(cleaned["probabilities"].to_pylist())[kept], again[kept])
