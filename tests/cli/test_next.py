"""`latentlabels next`: the rows of the review page, in its order."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from tests.cli.arguments import fails

from latentlabels.cli import main
from latentlabels.data.columns import InputKind
from latentlabels.description import space_of
from latentlabels.review.decisions import Decisions, Verdict
from latentlabels.review.queue import Filters, Queue
from latentlabels.runs.opening import open_run
from latentlabels.runs.run import Run
from latentlabels.store import read_description


def opened(run: Path) -> Run:
    described = read_description(run / "model")
    return open_run(
        run,
        space_of(described.clean),
        described.provenance,
        table=None,
        inputs=["x"],
        kind=InputKind.VECTOR,
        show=[],
        pictures=None,
    )


def on_the_page(queue: Queue) -> list[str]:
    """The names of the rows that are to do, as somebody sees them who presses →."""
    rows, row = [], queue.first(Filters())
    while row is not None and row not in rows:
        rows.append(row)
        row = queue.next(Filters(), row)
    return [queue.run.row(row).id for row in rows]


@pytest.fixture
def run(tmp_path: Path, cleaned_run: Path) -> Path:
    """A run of one's own, with its table beside it."""
    shutil.copytree(cleaned_run.parent, tmp_path / "all")
    return tmp_path / "all" / cleaned_run.name


def test_rows_and_order_are_those_of_the_page(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reviewed = opened(run)
    with Decisions(run / "decisions.sqlite", reviewed.subject) as decisions:
        queue = Queue(reviewed, decisions)
        first = queue.first(Filters())
        assert first is not None
        second = queue.next(Filters(), first)
        assert second is not None
        decisions.decide(first, reviewed.row(first).name, Verdict.ACCEPT, ["cat"], seen=None)
        decisions.decide(second, reviewed.row(second).name, Verdict.SKIP, None, seen=None)
        wanted = on_the_page(queue)
    assert main(["next", str(run), "--rows", "1000", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [row["key"] for row in listed] == wanted
    scenes = pa.parquet.read_table(run.parent / "scenes.parquet").to_pylist()
    training = [row["key"] for row in scenes if row["split"] == "train" and not row["verified"]]
    assert {reviewed.row(row).id for row in (first, second)} | set(wanted) == set(training)
    assert main(["next", str(run), "--rows", "7", "--out", str(tmp_path / "next.parquet")]) == 0
    table = pa.parquet.read_table(tmp_path / "next.parquet")
    assert table.to_pylist() == listed[:7]
    assert table.column_names == ["key", "bits", "label", "probability", "given", "proposed"]


def test_a_csv_holds_no_formula(run: Path, tmp_path: Path) -> None:
    path = run / "cleaned.parquet"
    table = pa.parquet.read_table(path)
    names = pa.array([f"=cmd|{row}" for row in range(len(table))])
    pa.parquet.write_table(table.set_column(0, "key", names), path)
    assert main(["next", str(run), "--rows", "3", "--out", str(tmp_path / "next.csv")]) == 0
    written = pa.csv.read_csv(tmp_path / "next.csv").column("key").to_pylist()
    assert len(written) == 3
    assert all(name.startswith("'=cmd|") for name in written)


def test_a_terminal_gets_a_table(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["next", str(run), "--rows", "2"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in ("key", "bits", "label", "probability"))
    assert said.count("k0") + said.count("k1") == 2


def test_mistakes(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--out is a table that ends in" in fails(
        capsys, ["next", str(run), "--out", str(tmp_path / "next.txt")]
    )
    (tmp_path / "next.csv").write_text("mine")
    assert "--overwrite" in fails(capsys, ["next", str(run), "--out", str(tmp_path / "next.csv")])
    assert (tmp_path / "next.csv").read_text() == "mine"
    assert "decisions" in fails(
        capsys, ["next", str(run), "--decisions", str(run / "metrics.json")]
    )
    table = pa.parquet.read_table(run / "cleaned.parquet")
    renamed = table.rename_columns(["label", *table.column_names[1:]])
    pa.parquet.write_table(renamed, run / "cleaned.parquet")
    assert "column 'label' of its own" in fails(capsys, ["next", str(run)])
