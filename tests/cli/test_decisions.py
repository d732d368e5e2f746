"""`--decisions`: what was decided in a review is verified in the next fit, which starts warm."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from safetensors.numpy import load_file
from tests.cli.arguments import COLUMNS, PROTOCOL, SMALL, fails

from latentlabels.cli import main
from latentlabels.data.columns import InputKind
from latentlabels.description import space_of
from latentlabels.review.decisions import Decisions, Verdict
from latentlabels.runs.opening import open_run
from latentlabels.runs.run import Run
from latentlabels.runs.subject import Subject
from latentlabels.store import read_description

STILL = ("--learning-rate", "0")


@pytest.fixture
def run(tmp_path: Path, cleaned_run: Path) -> Path:
    """A run of one's own, with its table beside it."""
    shutil.copy(cleaned_run.parent / "scenes.parquet", tmp_path)
    return Path(shutil.copytree(cleaned_run, tmp_path / "run"))


def reviewed(run: Path) -> Run:
    """The run as the command opens it."""
    model = read_description(run / "model")
    return open_run(
        run,
        space_of(model.clean),
        model.provenance,
        table=None,
        inputs=["x"],
        kind=InputKind.VECTOR,
        show=[],
        pictures=None,
    )


def decide(run: Path, decided: Mapping[int, Sequence[str]]) -> Path:
    """A file of decisions as the page writes it."""
    path, page = run / "decisions.sqlite", reviewed(run)
    with Decisions(path, page.subject) as file:
        for row, labels in decided.items():
            file.decide(row, page.row(row).name, Verdict.EDIT, labels, seen=None)
    return path


def cleaned(folder: Path) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = pa.parquet.read_table(folder / "cleaned.parquet").to_pydict()
    return columns


def test_decided_rows_are_verified_and_the_fit_starts_warm(run, tmp_path, capsys):
    """Rows 1 and 3 were not verified, 2 was; 110 is a test row, which is not trained on."""
    before = read_description(run / "model")
    decided = {1: ["sky"], 3: [], 2: ["cat", "dog", "sky"], 110: ["dog"]}
    path = decide(run, decided)
    arguments = [str(tmp_path / "scenes.parquet"), *COLUMNS, *PROTOCOL, *SMALL]
    again = tmp_path / "again"
    assert main(["clean", *arguments, "--decisions", str(path), "--out", str(again)]) == 0
    # Of twenty test rows nothing can be told; there is no other warning.
    told = capsys.readouterr().err
    assert told.count("warning") == told.count("is not shown to predict better")
    table = cleaned(again)
    for row, labels in decided.items():
        if row != 110:
            assert table["verified"][row]
            assert table["proposed"][row] == labels
    assert not table["verified"][110]
    metrics = json.loads((again / "metrics.json").read_text())
    assert metrics["rows"]["verified"] == 40 + 2
    assert read_description(again / "model").clean == before.clean
    # Nothing is read from the table alone: it is not changed.
    assert pa.parquet.read_table(tmp_path / "scenes.parquet")["labels"][1].as_py() != ["sky"]


def test_the_model_beside_the_decisions_is_what_it_starts_from(run, tmp_path):
    """Without steps the weights are those of that model, or of a start of one's own."""
    path = decide(run, {1: ["sky"]})
    arguments = [str(tmp_path / "scenes.parquet"), *COLUMNS, *PROTOCOL, *SMALL, *STILL]
    arguments += ["--decisions", str(path)]
    assert main(["fit", *arguments, "--out", str(tmp_path / "warm")]) == 0
    assert main(["fit", *arguments, "--cold-start", "--out", str(tmp_path / "cold")]) == 0
    weights = [
        load_file(folder / "model" / "model.safetensors")
        for folder in (run, tmp_path / "warm", tmp_path / "cold")
    ]
    name = next(name for name in weights[0] if name.startswith("network.backbone.1.weight"))
    np.testing.assert_allclose(weights[1][name], weights[0][name], rtol=1e-6)
    assert not np.allclose(weights[2][name], weights[0][name])


def test_a_file_that_was_moved_starts_anew_and_says_so(run, tmp_path, capsys):
    moved = decide(run, {1: ["sky"]}).rename(tmp_path / "moved.sqlite")
    arguments = [str(tmp_path / "scenes.parquet"), *COLUMNS, *PROTOCOL, *SMALL]
    arguments += ["--decisions", str(moved), "--out", str(tmp_path / "again")]
    assert main(["fit", *arguments]) == 0
    assert "no model beside" in capsys.readouterr().err


def test_another_version_of_the_table_is_known_by_its_ids(run, tmp_path):
    path = decide(run, {1: ["sky"]})
    table = pa.parquet.read_table(tmp_path / "scenes.parquet")
    turned = table.take(pa.array(range(table.num_rows)[::-1]))
    pa.parquet.write_table(turned, tmp_path / "turned.parquet")
    arguments = [str(tmp_path / "turned.parquet"), *COLUMNS, *PROTOCOL, *SMALL]
    out = tmp_path / "again"
    assert main(["clean", *arguments, "--decisions", str(path), "--out", str(out)]) == 0
    found = cleaned(out)
    row = found["key"].index("k001")
    assert found["verified"][row]
    assert found["proposed"][row] == ["sky"]


def errors(tmp_path: Path, capsys: pytest.CaptureFixture[str], *more: str) -> str:
    arguments = ["fit", str(tmp_path / "scenes.parquet"), *COLUMNS, *PROTOCOL, *SMALL]
    return fails(capsys, [*arguments, *more, "--out", str(tmp_path / "again")])


def test_what_does_not_fit_is_one_error(run, tmp_path, capsys):
    path = decide(run, {1: ["sky"]})
    decisions = ("--decisions", str(path))
    said = errors(tmp_path, capsys, *decisions, "--hidden", "3")
    assert "has hidden 0, and this fit 3" in said
    assert "--cold-start" in said
    both = errors(tmp_path, capsys, *decisions, "--cold-start", "--warm-start", str(run / "model"))
    assert "exclude each other" in both
    none = errors(tmp_path, capsys, "--decisions", str(tmp_path / "scenes.parquet"))
    assert "no file of decisions" in none
    assert "There is no file" in errors(tmp_path, capsys, "--decisions", "nowhere.sqlite")
    assert "has no model.safetensors" in errors(tmp_path, capsys, "--warm-start", str(tmp_path))
    table = pa.parquet.read_table(tmp_path / "scenes.parquet")
    pa.parquet.write_table(table.slice(2), tmp_path / "scenes.parquet")
    assert 'does not have, such as ["k001"]' in errors(tmp_path, capsys, *decisions)
    assert not (tmp_path / "again").exists()


def test_decisions_of_another_kind_are_an_error(run, tmp_path, capsys):
    path, page = tmp_path / "classes.sqlite", reviewed(run)
    subject = Subject(page.subject.table, page.subject.sha256, 120, ("key",), exclusive=True)
    with Decisions(path, subject) as file:
        file.decide(1, page.row(1).name, Verdict.EDIT, ["sky"], seen=None)
    said = errors(tmp_path, capsys, "--decisions", str(path))
    assert "about multiclass labels" in said
    assert "--clean-kind multiclass" in said


# The command that serves the page; the page itself is tested in tests/review.


def test_the_page_is_served_and_told_of(run, monkeypatch, capsys):
    served: dict[str, object] = {}

    def serve(page, decisions, *, port, ready):
        served.update(page=page, port=port)
        decisions.decide(1, page.row(1).name, Verdict.SKIP, None, seen=None)
        decisions.decide(3, page.row(3).name, Verdict.ACCEPT, ["sky"], seen=None)
        ready("http://127.0.0.1:1/?token=t")
        raise KeyboardInterrupt

    monkeypatch.setattr("latentlabels.review.server.serve", serve)
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    assert main(["review", str(run), "--port", "77", "--show", "tags", "--quiet"]) == 0
    assert capsys.readouterr().out == "http://127.0.0.1:1/?token=t\n"
    assert opened == ["http://127.0.0.1:1/?token=t"]
    assert served["port"] == 77


@pytest.mark.parametrize(
    ("change", "more", "said"),
    [
        (lambda run: (run / "cleaned.parquet").unlink(), [], "cleaned.parquet"),
        (lambda run: shutil.rmtree(run / "model"), [], "has no model.safetensors"),
        (lambda run: (run.parent / "scenes.parquet").unlink(), [], "--table"),
        (lambda run: None, ["--show", "nothing"], "no column 'nothing'"),
        (lambda run: None, ["--folder", "nowhere"], "there is no nowhere"),
        (lambda run: None, ["--decisions", "scenes.parquet"], "no file of decisions"),
    ],
)
def test_a_run_that_cannot_be_reviewed_is_one_error(run, capsys, monkeypatch, change, more, said):
    change(run)
    monkeypatch.chdir(run.parent / "run")
    more = [str(run.parent / part) if part.endswith(".parquet") else part for part in more]
    assert said in fails(capsys, ["review", str(run), "--no-browser", *more])


def test_a_run_of_apply_says_which_table_it_cleaned(run, tmp_path, capsys, monkeypatch):
    """Of the model's name alone it would be another: the one that it was fitted on."""
    table = pa.parquet.read_table(run.parent / "scenes.parquet")
    pa.parquet.write_table(table.slice(3), tmp_path / "new.parquet")
    model = ["--model", str(run / "model")]
    applied = ["apply", str(tmp_path / "new.parquet"), *model, "--out", str(tmp_path / "new")]
    assert main([*applied, "--quiet"]) == 0
    pages: list[Run] = []
    monkeypatch.setattr(
        "latentlabels.review.server.serve", lambda page, *_, **__: pages.append(page)
    )
    review = ["review", str(tmp_path / "new"), *model, "--no-browser", "--quiet"]
    assert main(review) == 0
    assert pages[0].subject.table == "new.parquet"
    pa.parquet.write_table(table.slice(3).drop_columns(["split"]), tmp_path / "new.parquet")
    assert "not that of 'new.parquet' as it was" in fails(capsys, review)
    # Beside the run is another version; in it is the one that was cleaned.
    pa.parquet.write_table(table.slice(3), tmp_path / "new" / "new.parquet")
    assert main(review) == 0


def test_text_does_not_say_which_table_was_cleaned(run, tmp_path, capsys):
    model, table = ["--model", str(run / "model")], str(run.parent / "scenes.parquet")
    applied = ["apply", table, *model, "--out", str(tmp_path / "new"), "--format", "jsonl"]
    assert main([*applied, "--quiet"]) == 0
    assert "name it with --table" in fails(capsys, ["review", str(tmp_path / "new"), *model])


def test_another_table_is_an_error(run, capsys):
    table = pa.parquet.read_table(run.parent / "scenes.parquet")
    for other, said in (
        (table.slice(1), "119 rows, not 120"),
        (table.take(list(range(120))[::-1]), "'key' differs"),
    ):
        pa.parquet.write_table(other, run.parent / "other.parquet")
        arguments = ["review", str(run), "--table", str(run.parent / "other.parquet")]
        assert said in fails(capsys, arguments)
