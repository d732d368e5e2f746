"""A comparison runs what is missing, chooses settings on validation rows, and keeps every run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.experiments.test_protocol import SETTINGS, TASK

from latentlabels.errors import LatentLabelsError
from latentlabels.experiments import comparison
from latentlabels.experiments.comparison import Comparison, chosen_setting, compare, run_key
from latentlabels.experiments.comparison_table import as_markdown, as_rich, facts_of
from latentlabels.experiments.entries import ENTRIES, OURS, chosen_entries
from latentlabels.experiments.task import Task

KEYS = ("verified-only", "regression", "cross-entropy", OURS, "all-clean")
WANTED = Comparison(chosen_entries(KEYS), {**SETTINGS, "hidden_layers": [8]}, seeds=2, budget=2)
TABLE = {"name": "made up"}


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """Every run of this process: entry, choice and seed."""
    runs: list[tuple[str, int, int]] = []

    def here(task: Task, shared: Any, entry: Any, choice: int, seed: int) -> dict[str, Any]:
        runs.append((entry.key, choice, seed))
        return comparison.measured(task, shared, entry, choice, seed)

    monkeypatch.setattr(comparison, "isolated", here)
    return runs


def test_each_setting_is_tried_once_and_the_best_has_all_seeds(
    tmp_path: Path, ran: list[tuple[str, int, int]]
) -> None:
    outcomes = compare(TASK, WANTED, tmp_path, table=TABLE)
    for entry in WANTED.entries:
        tried = [choice for key, choice, seed in ran if key == entry.key and seed == 0]
        assert tried == list(range(min(2, len(entry.choices))))
        best = chosen_setting(entry, outcomes)
        assert [(c, s) for key, c, s in ran if key == entry.key and s > 0] == [(best, 1)]
    facts = facts_of(WANTED, outcomes)
    own = {method["key"]: method for method in facts["methods"]}
    assert list(own) == list(KEYS)
    first = chosen_setting(ENTRIES["cross-entropy"], outcomes)
    tests = [outcomes[run_key(ENTRIES["cross-entropy"], first, s)]["test"] for s in (0, 1)]
    assert own["cross-entropy"]["test"]["mean"] == pytest.approx(sum(tests) / 2)
    assert own["cross-entropy"]["runs"] == 2
    assert own["regression"]["test"] is None
    assert own["all-clean"]["recovery"] is None
    assert own[OURS]["memory"]["mean"] > 0
    for method in facts["methods"]:
        assert method["name"] in as_markdown(facts)
    assert as_rich(facts).row_count == len(KEYS)


def test_a_stopped_comparison_goes_on(tmp_path: Path, ran: list[tuple[str, int, int]]) -> None:
    fewer = replace(WANTED, entries=chosen_entries(["verified-only"]), seeds=1)
    compare(TASK, fewer, tmp_path, table=TABLE)
    before = list(ran)
    outcomes = compare(
        TASK, replace(WANTED, entries=chosen_entries(KEYS[:2])), tmp_path, table=TABLE
    )
    assert len(set(ran)) == len(ran)
    assert [key for key, _, _ in ran[len(before) :]] == [
        "verified-only",
        "regression",
        "regression",
    ]
    assert len(outcomes) == len(ran)


def test_results_of_another_table_or_setting_are_refused(
    tmp_path: Path, ran: list[tuple[str, int, int]]
) -> None:
    one = replace(WANTED, entries=chosen_entries(["regression"]), seeds=1)
    compare(TASK, one, tmp_path, table=TABLE)
    with pytest.raises(LatentLabelsError, match="other settings"):
        compare(TASK, one, tmp_path, table={"name": "another"})
    with pytest.raises(LatentLabelsError, match="other settings"):
        compare(TASK, replace(one, budget=3), tmp_path, table=TABLE)
    compare(TASK, replace(one, budget=3), tmp_path, table=TABLE, overwrite=True)
    assert len(ran) == 2


def test_validation_chooses_the_first_of_equals() -> None:
    entry = ENTRIES["cross-entropy"]
    scores = (0.4, 0.6, 0.6)
    cells = {run_key(entry, c, 0): {"validation": score} for c, score in enumerate(scores)}
    assert chosen_setting(entry, cells) == 1
    del cells[run_key(entry, 1, 0)]
    assert chosen_setting(entry, cells) == 2


def test_a_method_that_cannot_be_had_is_told_of(
    tmp_path: Path, ran: list[tuple[str, int, int]]
) -> None:
    unnamed = replace(TASK, noisy=[["a"] if cell else ["b"] for cell in TASK.clean])
    one = replace(WANTED, entries=chosen_entries(["cross-entropy"]))
    facts = facts_of(one, compare(unnamed, one, tmp_path, table=TABLE))
    assert not ran
    assert "only 0% of the clean labels are named" in as_markdown(facts)


def test_there_have_to_be_rows_that_choose_and_rows_that_score(tmp_path: Path) -> None:
    for part in ("validation", "test"):
        split = TASK.split.copy()
        split[split == part] = "train"
        with pytest.raises(LatentLabelsError, match=f"needs {part} rows"):
            compare(replace(TASK, split=split), WANTED, tmp_path, table=TABLE)
    assert not list(tmp_path.iterdir())


def test_an_unknown_method_is_met_with_all_of_them() -> None:
    with pytest.raises(LatentLabelsError, match=r"cross-entropy, .* got 'no-such'"):
        chosen_entries(["no-such"])


@pytest.mark.slow
def test_a_run_has_a_process_of_its_own(tmp_path: Path) -> None:
    one = replace(WANTED, entries=chosen_entries(["regression"]), seeds=1)
    outcomes = compare(TASK, one, tmp_path, table=TABLE)
    assert outcomes["regression/0/0"]["recovery"] > 0.5
