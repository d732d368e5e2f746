"""`clean` and `fit`: what they read, what they leave."""

from __future__ import annotations

import csv
import hashlib
import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from tests.cli.arguments import COLUMNS, PROTOCOL, ROWS, SMALL, TRAINING, VALIDATION, WORDS, fails

from latentlabels import RobustClassifier, __version__
from latentlabels.cli import main
from latentlabels.data.cells import label_cells
from latentlabels.data.table import Format, read_table, write_table_atomically
from latentlabels.evaluation.metrics import mean_average_precision
from latentlabels.training.module import RobustModule

CLEAN = ["cat", "dog", "sky"]


def metrics_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return content


def test_clean_leaves_a_table_a_model_and_metrics(cleaned_run: Path) -> None:
    assert sorted(path.name for path in cleaned_run.iterdir()) == [
        "cleaned.parquet",
        "metrics.json",
        "model",
        "reliability.png",
        "report.html",
    ]
    assert sorted(path.name for path in cleaned_run.parent.iterdir()) == ["run", "scenes.parquet"]
    assert not any("pickle" in path.name for path in (cleaned_run / "model").iterdir())


def test_the_cleaned_table_keeps_ids_order_and_what_was_verified(
    cleaned_run: Path, scenes: pa.Table
) -> None:
    cleaned = pa.parquet.read_table(cleaned_run / "cleaned.parquet")
    assert cleaned.column_names == [
        *("key", "given", "proposed", "added", "removed", "verified", "probabilities", "reasons"),
        "split",
    ]
    assert cleaned.column("split").to_pylist() == scenes.column("split").to_pylist()
    assert cleaned.schema.field("proposed").type == pa.list_(pa.string())
    assert cleaned.schema.field("probabilities").type == pa.list_(pa.float32())
    for ours, theirs in (("key", "key"), ("given", "tags"), ("verified", "verified")):
        assert cleaned.column(ours).to_pylist() == scenes.column(theirs).to_pylist()
    for row, labels in zip(cleaned.to_pylist(), scenes.column("labels").to_pylist(), strict=True):
        assert row["added"] == [name for name in row["proposed"] if name not in row["given"]]
        told = [f"added {name}: " for name in row["added"]]
        assert [reason.partition(": ")[0] + ": " for reason in row["reasons"]] == told
        if row["verified"]:
            assert row["proposed"] == labels
            assert row["probabilities"] == [float(name in labels) for name in CLEAN]
        else:
            likely = [n for n, p in zip(CLEAN, row["probabilities"], strict=True) if p > 0.5]
            assert row["proposed"] == likely


def test_only_changes_that_are_sure_enough_are_made(
    cleaned_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--precision`: the same model, and the others are left for review."""
    table, model = cleaned_run.parent / "scenes.parquet", cleaned_run / "model"
    command = ["apply", str(table), "--model", str(model), "--out", str(tmp_path / "some")]
    assert main([*command, "--precision", "0.5"]) == 0
    said = capsys.readouterr().out
    every = pa.parquet.read_table(cleaned_run / "cleaned.parquet").to_pylist()
    some = pa.parquet.read_table(tmp_path / "some" / "cleaned.parquet").to_pylist()
    for whole, part in zip(every, some, strict=True):
        for side, waiting in (("added", "review_added"), ("removed", "review_removed")):
            assert sorted(part[side] + part[waiting]) == sorted(whole[side])
        left = part["review_added"] + part["review_removed"]
        changed = part["added"] + part["removed"]
        assert part["status"] == ("review" if left else "accepted" if changed else "kept")
        assert len(part["reasons"]) == len(left) + len(changed)
        assert not (part["verified"] and left)
    open_ = sum(len(row["review_added"] + row["review_removed"]) for row in some)
    changes = sum(len(row["added"] + row["removed"]) for row in every if not row["verified"])
    told = " ".join(said.split())
    assert f"accepted {changes - open_} of {changes} changes; the others" in told


def test_a_precision_that_cannot_be_reached_is_told_of(
    cleaned_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, model = cleaned_run.parent / "scenes.parquet", cleaned_run / "model"
    command = ["apply", str(table), "--model", str(model), "--out", str(tmp_path / "none")]
    assert main([*command, "--precision", "0.999", "--quiet"]) == 0
    rows = pa.parquet.read_table(tmp_path / "none" / "cleaned.parquet").to_pylist()
    assert all(row["status"] != "accepted" for row in rows if not row["verified"])
    assert main([*command, "--precision", "0.999", "--overwrite"]) == 0
    assert "--precision 0.999: no change is accepted" in capsys.readouterr().err


def test_a_precision_that_is_no_share_is_refused_before_the_fit(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["clean", str(table), *COLUMNS, *PROTOCOL, "--out", str(tmp_path / "out"), *SMALL]
    assert "got 95. Did you mean 0.95?" in fails(capsys, [*command, "--precision", "95"])
    assert not (tmp_path / "out").exists()


def test_the_vocabulary_stands_in_the_model_and_in_the_table(cleaned_run: Path) -> None:
    vocabulary = json.loads((cleaned_run / "model" / "vocabulary.json").read_text())
    assert vocabulary == {"clean": CLEAN, "noisy": ["blue", "junk", "kitty", "puppy"]}
    metadata = pa.parquet.read_schema(cleaned_run / "cleaned.parquet").metadata
    assert json.loads(metadata[b"latentlabels.clean"]) == CLEAN


def test_the_model_says_where_it_came_from(cleaned_run: Path) -> None:
    table = cleaned_run.parent / "scenes.parquet"
    told = RobustClassifier.load(cleaned_run / "model").provenance_
    assert told["table"] == "scenes.parquet"
    assert told["sha256"] == hashlib.sha256(table.read_bytes()).hexdigest()
    assert told["rows"] == ROWS
    assert told["columns"]["input"] == ["x"]
    assert told["columns"]["noisy"] == ["tags"]
    assert told["seed"] == 0
    assert told["versions"]["latentlabels"] == __version__
    typed = ["clean", str(table), *COLUMNS, *PROTOCOL, "--out", str(cleaned_run), *SMALL]
    assert shlex.split(told["command"]) == ["latentlabels", *typed]


def test_metrics_say_what_happened(cleaned_run: Path, scenes: pa.Table) -> None:
    metrics = metrics_of(cleaned_run)
    cleaned = pa.parquet.read_table(cleaned_run / "cleaned.parquet")
    assert metrics["schema"] == 1
    assert metrics["version"] == __version__
    assert metrics["seed"] == 0
    assert metrics["settings"]["chains"] == 5
    assert metrics["settings"]["hidden_layers"] == [8]
    assert metrics["rows"] == {
        "all": ROWS,
        "train": TRAINING,
        "validation": VALIDATION - TRAINING,
        "test": ROWS - VALIDATION,
        "verified": TRAINING // 2,
        "skipped": 0,
    }
    assert metrics["labels"] == {"noisy": 4, "clean": 3}
    assert metrics["auxiliary"] == {"kind": "regression", "held_out_loss": {}}
    assert metrics["negative_phase"] == "exact"
    assert len(metrics["history"]) == 2
    scores = [epoch["validation"] for epoch in metrics["history"]]
    assert scores[metrics["best_epoch"]] == max(scores)
    assert metrics["calibration"]["rows"] == VALIDATION - TRAINING
    for part in ("before", "after"):
        measured = metrics["calibration"][part]
        assert 0 <= measured["ece"] <= 1
        assert 0 <= measured["brier"] <= 1
        assert sum(measured["reliability"]["count"]) == 3 * (VALIDATION - TRAINING)
    assert metrics["acceptance"] is None
    assert metrics["changes"]["for_review"] == 0
    added = [len(row["added"]) for row in cleaned.to_pylist() if not row["verified"]]
    assert metrics["changes"]["added"] == sum(added)
    assert metrics["changes"]["removed"] == 0
    assert metrics["changes"]["rows"] == sum(map(bool, added))


def test_scores_are_those_of_the_rows_nobody_read(cleaned_run: Path, scenes: pa.Table) -> None:
    metrics = metrics_of(cleaned_run)
    truth = np.array([[name in row for name in CLEAN] for row in scenes["labels"].to_pylist()])
    found = np.array(
        pa.parquet.read_table(cleaned_run / "cleaned.parquet")["probabilities"].to_pylist()
    )
    hidden = np.arange(1, TRAINING, 2)
    assert metrics["recovery"] == {
        "map": pytest.approx(mean_average_precision(truth[hidden], found[hidden])),
        "rows": len(hidden),
    }
    model = RobustClassifier.load(cleaned_run / "model")
    x = np.array(scenes["x"].to_pylist(), np.float32)
    held = np.arange(TRAINING, VALIDATION)
    assert metrics["validation"] == {
        "map": pytest.approx(mean_average_precision(truth[held], model.predict_proba(x[held])))
    }
    test = np.arange(VALIDATION, ROWS)
    assert metrics["test"] == {
        "map": pytest.approx(mean_average_precision(truth[test], model.predict_proba(x[test]))),
        "rows": len(test),
    }


def test_clean_labels_that_may_not_be_read_change_nothing(
    tmp_path: Path, cleaned_run: Path, scenes: pa.Table
) -> None:
    labels = scenes["labels"].to_pylist()
    hidden = ~np.array(scenes["verified"].to_pylist()) & (np.arange(ROWS) < TRAINING)
    hidden |= np.arange(ROWS) >= VALIDATION
    for row in np.flatnonzero(hidden):
        labels[row] = ["cat", "nonsense"]
    place = scenes.column_names.index("labels")
    path = tmp_path / "other.parquet"
    pa.parquet.write_table(scenes.set_column(place, "labels", pa.array(labels)), path)
    out = tmp_path / "run"
    assert main(["clean", str(path), *COLUMNS, *PROTOCOL, "--out", str(out), *SMALL]) == 0
    other, cleaned = (
        pa.parquet.read_table(folder / "cleaned.parquet") for folder in (out, cleaned_run)
    )
    assert other.equals(cleaned)
    assert metrics_of(out)["test"]["unknown_labels"] == ["nonsense"]
    assert metrics_of(out)["history"] == metrics_of(cleaned_run)["history"]


def test_without_a_verified_column_a_row_with_labels_is_verified(
    tmp_path: Path, scenes: pa.Table
) -> None:
    labels = [
        names if row % 3 == 0 else None for row, names in enumerate(scenes["labels"].to_pylist())
    ]
    path, out = tmp_path / "scenes.parquet", tmp_path / "run"
    content = pa.table({"x": scenes["x"], "tags": scenes["tags"], "labels": labels})
    pa.parquet.write_table(content, path)
    assert main(["clean", str(path), *COLUMNS, "--out", str(out), *SMALL, "--seed", "7"]) == 0
    cleaned = pa.parquet.read_table(out / "cleaned.parquet")
    assert cleaned["row"].to_pylist() == list(range(ROWS))
    assert cleaned["verified"].to_pylist() == [row % 3 == 0 for row in range(ROWS)]
    metrics = metrics_of(out)
    assert metrics["seed"] == 7
    assert metrics["test"] is metrics["recovery"] is None


@pytest.mark.parametrize("kind", list(Format))
def test_every_kind_of_table_gives_the_same_labels(
    tmp_path: Path, cleaned_run: Path, scenes: pa.Table, kind: Format
) -> None:
    path, out = tmp_path / f"scenes.{kind}", tmp_path / "deep" / "run"
    write_table_atomically(scenes, path, kind)
    arguments = [*COLUMNS, *PROTOCOL, "--out", str(out), *SMALL, "--format", kind.value]
    assert main(["clean", str(path), *arguments]) == 0
    ours = read_table(out / f"cleaned.{kind}")
    expected = pa.parquet.read_table(cleaned_run / "cleaned.parquet")
    assert ours.column_names == expected.column_names
    assert ours["key"].to_pylist() == expected["key"].to_pylist()
    for name in ("given", "proposed", "added"):
        assert label_cells(ours, [name]) == expected[name].to_pylist()


def test_delimited_tags_and_several_numeric_columns_do_too(
    tmp_path: Path, cleaned_run: Path, scenes: pa.Table
) -> None:
    x = np.array(scenes["x"].to_pylist())
    path, out = tmp_path / "scenes.csv", tmp_path / "run"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "x0", "x1", "x2", "tags", "labels", "split", "verified"])
        for number, row in enumerate(scenes.to_pylist()):
            labels = "|".join(row["labels"]) or "[]"
            cells = [*x[number], " | ".join(row["tags"]), labels, row["split"], row["verified"]]
            writer.writerow([f"{number:03}", *cells])
    inputs = ["--input", "x0", "--input", "x1", "--input", "x2"]
    arguments = [*inputs, *COLUMNS[2:], *PROTOCOL[:4], "--out", str(out), *SMALL]
    assert main(["clean", str(path), *arguments]) == 0
    ours = pa.parquet.read_table(out / "cleaned.parquet")
    expected = pa.parquet.read_table(cleaned_run / "cleaned.parquet")
    assert ours["id"].to_pylist() == [f"{number:03}" for number in range(ROWS)]
    for name in ("given", "proposed", "probabilities"):
        assert ours[name].to_pylist() == expected[name].to_pylist()


def test_classes_of_several_annotators(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    truth = random.integers(3, size=90)
    x = np.eye(3)[truth] + 0.1 * random.normal(size=(90, 3))
    votes = [np.where(random.random(90) < 0.7, truth, random.integers(3, size=90)) for _ in "ab"]
    content = pa.table(
        {
            **{f"x{column}": x[:, column] for column in range(3)},
            **{f"vote{number}": vote for number, vote in enumerate(votes)},
            "label": [int(c) if row < 60 else None for row, c in enumerate(truth)],
        }
    )
    path, out = tmp_path / "votes.csv", tmp_path / "run"
    write_table_atomically(content, path, Format.CSV)
    arguments = ["--input", "x0", "--input", "x1", "--input", "x2", "--clean", "label"]
    arguments += ["--noisy", "vote0", "--noisy", "vote1", "--out", str(out)]
    arguments += ["--epochs", "8", "--learning-rate", "0.01", "--auxiliary", "transition"]
    assert main(["clean", str(path), *arguments]) == 0
    cleaned = pa.parquet.read_table(out / "cleaned.parquet")
    assert all(len(names) == 1 for names in cleaned["proposed"].to_pylist())
    found = np.array([int(names[0]) for names in cleaned["proposed"].to_pylist()])
    assert (found == truth).mean() > 0.9
    model = ["--model", str(out / "model"), "--out", str(tmp_path / "again")]
    renamed = content.rename_columns([*content.column_names[:3], "b0", "b1", "label"])
    write_table_atomically(renamed, path, Format.CSV)
    assert main(["apply", str(path), *model, "--noisy", "b0", "--noisy", "b1"]) == 0
    assert pa.parquet.read_table(tmp_path / "again" / "cleaned.parquet").equals(cleaned)


def test_a_transition_matrix_needs_no_verified_rows(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    truth = random.integers(2, size=80)
    typed = np.where(random.random(80) < 0.8, truth, 1 - truth)
    names = np.array(["no", "yes"])
    x = 2.0 * truth - 1.0 + 0.3 * random.normal(size=80)
    path, out = tmp_path / "t.parquet", tmp_path / "run"
    pa.parquet.write_table(pa.table({"x": x, "typed": names[typed], "label": [None] * 80}), path)
    matrix, labels = tmp_path / "matrix.csv", tmp_path / "labels.txt"
    matrix.write_text("0.8,0.2\n0.2,0.8\n")
    labels.write_text("no\nyes\n")
    arguments = ["--input", "x", "--noisy", "typed", "--out", str(out), "--epochs", "20"]
    arguments += ["--transition-matrix", str(matrix), "--clean-labels", str(labels)]
    arguments += ["--noisy-labels", str(labels), "--learning-rate", "0.01"]
    assert main(["clean", str(path), *arguments]) == 0
    found = pa.parquet.read_table(out / "cleaned.parquet")["proposed"].to_pylist()
    right = [names[c] == cell[0] for c, cell in zip(truth, found, strict=True)]
    assert np.mean(right) > np.mean(typed == truth)
    assert metrics_of(out)["auxiliary"]["kind"] == "given"
    assert metrics_of(out)["settings"]["auxiliary"] == [[0.8, 0.2], [0.2, 0.8]]
    # The same with a column of clean labels that nobody has filled in yet.
    arguments += ["--clean", "label", "--overwrite"]
    assert main(["clean", str(path), *arguments]) == 0
    assert pa.parquet.read_table(out / "cleaned.parquet")["proposed"].to_pylist() == found


def test_fit_leaves_the_same_model_and_no_table(
    tmp_path: Path, table: Path, cleaned_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert main(["fit", str(table), *COLUMNS, *PROTOCOL, "--out", str(out), *SMALL]) == 0
    left = sorted(path.name for path in out.iterdir())
    assert left == ["metrics.json", "model", "reliability.png"]
    assert metrics_of(out) == metrics_of(cleaned_run)
    weights = "model/model.safetensors"
    assert (out / weights).read_bytes() == (cleaned_run / weights).read_bytes()
    assert "changed" not in capsys.readouterr().out


def test_a_plot_of_an_older_run_does_not_stay(tmp_path: Path, table: Path) -> None:
    """Where there is nothing to calibrate on, none is left."""
    out = tmp_path / "run"
    out.mkdir()
    (out / "reliability.png").write_bytes(b"of another model")
    fewer = [*COLUMNS, "--verified", "verified", "--out", str(out), *SMALL, "--overwrite"]
    assert main(["fit", str(table), *fewer, "--validation-fraction", "0"]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["metrics.json", "model"]
    assert metrics_of(out)["calibration"] is None


def test_a_run_in_another_format_replaces_the_older_table(
    tmp_path: Path, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of two tables nobody, and no export, could tell which is the last; a user's files stay."""
    out = tmp_path / "run"
    out.mkdir()
    for name in ("cleaned.parquet", "skipped.csv", "decisions.sqlite", "notes.txt"):
        (out / name).write_text("older")
    arguments = ["clean", str(table), *COLUMNS, *PROTOCOL, "--out", str(out), *SMALL]
    arguments += ["--format", "csv", "--quiet"]
    told = fails(capsys, arguments)
    assert "holds skipped.csv and cleaned.parquet already. Pass --overwrite" in told
    assert main([*arguments, "--overwrite"]) == 0
    left = {path.name for path in out.iterdir()}
    assert left == {
        *("cleaned.csv", "model", "metrics.json", "reliability.png", "report.html"),
        *("decisions.sqlite", "notes.txt"),
    }


def test_the_summary_says_what_was_done(
    tmp_path: Path, table: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    out = tmp_path / "run"
    arguments = [*COLUMNS, *PROTOCOL, "--out", str(out), *SMALL]
    assert main(["clean", str(table), *arguments]) == 0
    said = capsys.readouterr()
    for fact in ("120 (80 train, 20 validation, 20 test)", "40", "regression", "map", "recovery"):
        assert fact in said.out
    assert (
        f"cleaned.parquet, model, metrics.json, reliability.png, report.html in {out}" in said.out
    )
    # Of twenty test rows nothing can be told.
    assert said.err.count("\n") == 1
    assert "The model is not shown to predict better than the verified rows alone" in said.err
    assert main(["clean", str(table), *arguments, "--overwrite", "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_progress_is_shown_on_request(
    tmp_path: Path, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*COLUMNS, *PROTOCOL, "--out", str(tmp_path / "run"), *SMALL, "--progress"]
    assert main(["fit", str(table), *arguments]) == 0
    assert "Epoch" in "".join(capsys.readouterr())


def test_checkpoints_are_kept_on_request(tmp_path: Path, table: Path) -> None:
    kept = tmp_path / "kept"
    arguments = ["--out", str(tmp_path / "run"), *SMALL, "--checkpoints", str(kept)]
    assert main(["fit", str(table), *COLUMNS, *PROTOCOL, *arguments]) == 0
    assert any(path.suffix == ".ckpt" for path in kept.iterdir())
    assert metrics_of(tmp_path / "run")["settings"]["checkpoints"] == str(kept)


def test_a_stopped_command_goes_on_from_its_checkpoints(
    tmp_path: Path, table: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["clean", str(table), *COLUMNS, *PROTOCOL, *SMALL, "--checkpoints", str(tmp_path)]
    command += ["--epochs", "3"]
    assert main([*command, "--out", str(tmp_path / "whole")]) == 0
    for path in tmp_path.rglob("*.ckpt"):
        path.unlink()
    step, epochs = RobustModule.training_step, []

    def stopping(trained: RobustModule, *arguments: Any) -> Any:
        epochs.append(trained.trainer.current_epoch)
        if stop and epochs[-1] == 2:
            raise KeyboardInterrupt
        return step(trained, *arguments)

    monkeypatch.setattr(RobustModule, "training_step", stopping)
    stop = True
    assert main([*command, "--out", str(tmp_path / "run")]) == 130
    assert not (tmp_path / "run").exists()
    stop = False
    epochs.clear()
    assert main([*command, "--out", str(tmp_path / "run"), "--resume"]) == 0
    assert epochs[0] == 2
    one, other = (
        pa.parquet.read_table(tmp_path / run / "cleaned.parquet") for run in ("whole", "run")
    )
    assert one.equals(other)
    capsys.readouterr()
    (tmp_path / "last.ckpt").write_bytes(b"damaged")
    assert main([*command, "--out", str(tmp_path / "again"), "--resume"]) == 0
    told = capsys.readouterr().err
    assert f"latentlabels: warning: The checkpoint {tmp_path / 'last.ckpt'} is damaged" in told
    assert one.equals(pa.parquet.read_table(tmp_path / "again" / "cleaned.parquet"))
    assert main([*command[:-4], "--resume", "--out", str(tmp_path / "more")]) == 2
    assert "--checkpoints" in capsys.readouterr().err


def test_weights_that_run_away_are_told_of_by_name(
    tmp_path: Path, table: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("latentlabels.training.fit.is_tractable", lambda crf: not crf.pairwise)
    out = tmp_path / "run"
    arguments = [*SMALL, "--hidden", "14", "--crf-learning-rate", "50"]
    assert main(["clean", str(table), *COLUMNS, *PROTOCOL, *arguments, "--out", str(out)]) == 0
    chains = metrics_of(out)["chains"]
    assert not chains["mix"]
    largest = chains["largest_weights"]
    assert largest.keys() == {"W", "W′", "a", "b", "c"}
    assert largest["W"]["clean"] in WORDS
    assert largest["W′"]["hidden"] < 14
    for name in (largest["W"]["noisy"], largest["W′"]["noisy"], largest["b"]["noisy"]):
        assert name in {*WORDS.values(), "junk"}
    told = capsys.readouterr().err
    assert "warning: Weights have run away: " in told
    assert f"W is {largest['W']['value']:.1f} for clean '{largest['W']['clean']}'" in told


def test_the_table_is_left_as_it_was(cleaned_run: Path, scenes: pa.Table) -> None:
    assert pa.parquet.read_table(cleaned_run.parent / "scenes.parquet").equals(scenes)
