"""Odd and hostile tables: each is read as it should be, warned of, or refused in one line."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.cli.arguments import COLUMNS, ROWS, SMALL, fails

from latentlabels.cli import main
from latentlabels.data.cells import label_cells
from latentlabels.data.table import FORMULA_STARTS, Format, read_table, write_table_atomically

Said = pytest.CaptureFixture[str]
TEXTS = pytest.mark.parametrize("kind", [Format.CSV, Format.JSONL, Format.PARQUET])
QUICK = (*SMALL, "--epochs", "1", "--students", "0")
FORMULAS = tuple(f"{start}1+1" for start in FORMULA_STARTS)


def with_column(scenes: pa.Table, name: str, values: Sequence[Any] | pa.Array) -> pa.Table:
    return scenes.set_column(scenes.column_names.index(name), name, pa.array(values))


def renamed(scenes: pa.Table, column: str, names: dict[str, str]) -> pa.Table:
    """The scenes with other names for tags or labels."""
    cells = scenes[column].to_pylist()
    return with_column(scenes, column, [[names.get(n, n) for n in cell] for cell in cells])


def written(folder: Path, table: pa.Table, kind: Format = Format.PARQUET) -> str:
    path = folder / f"table.{kind}"
    write_table_atomically(table, path, kind)
    return str(path)


def cleaned(table: str, out: Path, *more: str, verified: bool = True) -> pa.Table:
    """Clean a table into a CSV, and apply the model and predict with it too."""
    columns = (*COLUMNS, "--verified", "verified") if verified else COLUMNS
    options = ["--out", str(out), "--format", "csv"]
    assert main(["clean", table, *columns, *QUICK, *options, *more]) == 0
    model = ["--model", str(out / "model"), *options, "--overwrite"]
    result = read_table(out / "cleaned.csv")
    assert main(["apply", table, *model]) == 0
    again = read_table(out / "cleaned.csv")
    for name in ("given", "verified"):
        assert again[name].to_pylist() == result[name].to_pylist()
    assert main(["predict", table, *model]) == 0
    assert len(read_table(out / "predicted.csv")) == len(result)
    return result


def spelt(scenes: pa.Table) -> pa.Table:
    """Tags and labels in several spellings."""
    ways = (str.upper, str.title, lambda name: f" {name}  ")
    parts = {
        column: [
            [ways[row % 3](name) if row % 4 else name for name in cell]
            for row, cell in enumerate(scenes[column].to_pylist())
        ]
        for column in ("tags", "labels")
    }
    for column, cells in parts.items():
        scenes = with_column(scenes, column, cells)
    return scenes


def names_in(cells: Any) -> set[str]:
    return {name for cell in cells for name in cell}


@TEXTS
@pytest.mark.parametrize(
    "names",
    [
        {"kitty": "new\nline", "puppy": "carriage\rreturn", "blue": "a\r\nb"},
        {"kitty": "nul\0", "puppy": "\0", "blue": "a\0b"},
        {
            "kitty": "\U0001f431",
            "puppy": "\U0001f44d\U0001f3fd",
            "blue": "\U0001f468\u200d\U0001f467",
        },
        {"kitty": "\u05d7\u05ea\u05d5\u05dc", "puppy": "\u0643\u0644\u0628", "blue": "\u202eeulb"},
        {"kitty": FORMULAS[0], "puppy": FORMULAS[3], "blue": FORMULAS[-1]},
        {"kitty": "k" * 100_000, "puppy": "p" * 100_000, "blue": "b" * 100_000},
    ],
)
def test_odd_names_come_back_as_they_went_in(
    tmp_path: Path, scenes: pa.Table, capsys: Said, kind: Format, names: dict[str, str]
) -> None:
    table = renamed(scenes, "tags", names)
    # A text column strips names; lists in a CSV do so too.
    tags = [[name.strip() for name in cell] for cell in table["tags"].to_pylist()]
    result = cleaned(written(tmp_path, table, kind), tmp_path / "run")
    assert label_cells(result, ["given"]) == tags
    assert len(capsys.readouterr().err) < 1000


def test_mixed_encodings_are_refused_by_line(tmp_path: Path, capsys: Said) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("x,tags,labels\n1,café,a\n".encode() + "2,café,b\n".encode("latin-1"))
    line = fails(capsys, ["clean", str(path), *COLUMNS, "--out", str(tmp_path / "run")])
    assert "not text in UTF-8 in line 3 (byte 0xe9). Save the whole file as UTF-8." in line
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_byte_order_marks_quotes_and_line_ends(tmp_path: Path, scenes: pa.Table) -> None:
    source = Path(written(tmp_path, scenes, Format.CSV))
    plain = cleaned(str(source), tmp_path / "plain")
    content = source.read_bytes()
    for number, odd in enumerate(
        [b"\xef\xbb\xbf" + content, content.replace(b"\n", b"\r\n"), content.replace(b"\n", b"\r")]
    ):
        source.write_bytes(odd)
        assert cleaned(str(source), tmp_path / str(number)).equals(plain)


@pytest.mark.parametrize("kind", [Format.CSV, Format.PARQUET])
def test_labels_that_differ_in_spelling_alone(
    tmp_path: Path, scenes: pa.Table, capsys: Said, kind: Format
) -> None:
    table = written(tmp_path, spelt(scenes), kind)
    cleaned(table, tmp_path / "many")
    warned = [line for line in capsys.readouterr().err.splitlines() if "Unicode form" in line]
    (line,) = warned
    assert line.startswith("latentlabels: warning: 21 labels differ from another only by case")
    assert "--normalise-labels" in line

    result = cleaned(table, tmp_path / "one", "--normalise-labels")
    assert capsys.readouterr().err == ""
    assert names_in(label_cells(result, ["given"])) == {"kitty", "puppy", "blue", "junk"}
    vocabulary = json.loads((tmp_path / "one" / "model" / "vocabulary.json").read_text())
    assert vocabulary == {
        "clean": ["cat", "dog", "sky"],
        "noisy": ["blue", "junk", "kitty", "puppy"],
    }
    # The file of labels says how they are spelt, and what is scored is spelt so too.
    labels = tmp_path / "labels.txt"
    labels.write_text("CAT\nDOG\nSKY\n")
    options = ["--normalise-labels", "--clean-labels", str(labels), "--split", "split"]
    cleaned(table, tmp_path / "given", *options)
    metrics = json.loads((tmp_path / "given" / "metrics.json").read_text())
    assert "unknown_labels" not in metrics["test"]
    assert metrics["settings"]["clean_labels"] == ["CAT", "DOG", "SKY"]


def test_compare_takes_labels_in_one_spelling_and_without_the_rare(
    tmp_path: Path, scenes: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(
        "latentlabels.experiments.comparison.compare", lambda task, *_, **__: seen.append(task)
    )
    monkeypatch.setattr("latentlabels.experiments.comparison_table.facts_of", lambda *_: {})
    monkeypatch.setattr("latentlabels.experiments.comparison_table.as_markdown", lambda _: "")
    monkeypatch.setattr("latentlabels.experiments.comparison_table.as_rich", lambda _: "")
    tags = spelt(scenes)["tags"].to_pylist()
    tags[0] = [*tags[0], "rare"]
    table = written(tmp_path, with_column(scenes, "tags", tags))
    (tmp_path / "out").mkdir()
    options = ["--verified", "verified", "--split", "split", "--out", str(tmp_path / "out")]
    options += ["--normalise-labels", "--min-count", "2"]
    assert main(["compare", table, *COLUMNS, *options]) == 0
    assert names_in(seen[0].noisy) == {"kitty", "puppy", "blue", "junk"}


def test_rare_labels_are_left_out(tmp_path: Path, scenes: pa.Table, capsys: Said) -> None:
    tags = scenes["tags"].to_pylist()
    table = with_column(scenes, "tags", [[*cell, f"rare{i}"] for i, cell in enumerate(tags)])
    result = cleaned(written(tmp_path, table), tmp_path / "run", "--min-count", "2")
    assert f"{ROWS} noisy labels are not in the model's vocabulary" in capsys.readouterr().err
    assert label_cells(result, ["given"]) == table["tags"].to_pylist()
    vocabulary = json.loads((tmp_path / "run" / "model" / "vocabulary.json").read_text())
    assert vocabulary["noisy"] == ["blue", "junk", "kitty", "puppy"]


def test_duplicate_ids_are_counted(tmp_path: Path, scenes: pa.Table, capsys: Said) -> None:
    keys = scenes["key"].to_pylist()
    keys[7], keys[8], keys[9] = keys[6], keys[6], keys[5]
    table = written(tmp_path, with_column(scenes, "key", keys))
    result = cleaned(table, tmp_path / "run", "--id", "key")
    warned = capsys.readouterr().err.splitlines()
    assert len(warned) == 3  # once for each command
    assert set(warned) == {
        "latentlabels: warning: 5 rows share their key with another, such as the 2 named 'k005'. "
        "The results have a row for each, in the table's order; name a column that tells rows "
        "apart with --id to join by it."
    }
    assert result["key"].to_pylist() == keys


@TEXTS
def test_all_rows_verified(tmp_path: Path, scenes: pa.Table, kind: Format) -> None:
    table = written(tmp_path, with_column(scenes, "verified", [True] * ROWS), kind)
    result = cleaned(table, tmp_path / "run")
    assert label_cells(result, ["proposed"]) == scenes["labels"].to_pylist()


@TEXTS
def test_one_class(tmp_path: Path, scenes: pa.Table, kind: Format) -> None:
    table = with_column(scenes, "tags", ["a"] * ROWS)
    table = with_column(table, "labels", ["a"] * 10 + [None] * (ROWS - 10))
    result = cleaned(written(tmp_path, table, kind), tmp_path / "run", verified=False)
    assert label_cells(result, ["proposed"]) == [["a"]] * ROWS


def test_noise_is_not_said_to_be_assumed_where_it_is_not(
    tmp_path: Path, scenes: pa.Table, capsys: Said
) -> None:
    table = written(tmp_path, with_column(scenes, "tags", ["a", "b"] * (ROWS // 2)))
    arguments = ["clean", table, "--input", "x", "--noisy", "tags", "--out", str(tmp_path / "run")]
    assert "no verified rows" in fails(capsys, [*arguments, "--auxiliary", "regression"])


@TEXTS
def test_constant_features(tmp_path: Path, scenes: pa.Table, kind: Format) -> None:
    table = with_column(scenes, "x", [[1.5, -2.0]] * ROWS)
    cleaned(written(tmp_path, table, kind), tmp_path / "run")


@TEXTS
def test_infinities_are_refused_by_row_and_column(
    tmp_path: Path, scenes: pa.Table, capsys: Said, kind: Format
) -> None:
    x = scenes["x"].to_pylist()
    x[7][1] = float("-inf")
    table = written(tmp_path, with_column(scenes, "x", x), kind)
    line = fails(capsys, ["clean", table, *COLUMNS, "--out", str(tmp_path / "run")])
    assert "Row 7 of input column 'x' is -inf at place 1 of its vector" in line


@TEXTS
def test_rows_with_no_label(tmp_path: Path, scenes: pa.Table, capsys: Said, kind: Format) -> None:
    tags = scenes["tags"].to_pylist()
    tags[3], tags[4] = None, []
    table = written(tmp_path, with_column(scenes, "tags", tags), kind)
    given = label_cells(cleaned(table, tmp_path / "run"), ["given"])
    assert isinstance(given, list)
    assert given[3:5] == [[], []]
    capsys.readouterr()
    classes = ["a", "b", None, "a"] * (ROWS // 4)
    table = written(tmp_path, with_column(scenes, "tags", classes), kind)
    line = fails(capsys, ["clean", table, *COLUMNS, "--out", str(tmp_path / "new")])
    assert "Row 2 of column 'tags' is empty" in line
    assert "every row needs one class" in line


@TEXTS
def test_one_row(tmp_path: Path, scenes: pa.Table, cleaned_run: Path, kind: Format) -> None:
    table = written(tmp_path, scenes.slice(0, 1), kind)
    assert len(cleaned(table, tmp_path / "run")) == 1
    for command, name in (("apply", "cleaned"), ("predict", "predicted")):
        options = ["--model", str(cleaned_run / "model"), "--out", str(tmp_path / "out")]
        assert main([command, table, *options]) == 0
        assert len(read_table(tmp_path / "out" / f"{name}.parquet")) == 1


def test_inputs_without_any_value(tmp_path: Path, scenes: pa.Table, capsys: Said) -> None:
    """They are no texts: no language model is looked for."""
    table = written(tmp_path, with_column(scenes, "x", pa.nulls(ROWS)), Format.CSV)
    line = fails(capsys, ["clean", table, *COLUMNS, "--out", str(tmp_path / "run")])
    assert "Row 0 of input column 'x' is empty" in line


LONG = "L" * 100_000


@pytest.mark.parametrize(
    ("column", "values", "options"),
    [
        ("verified", [LONG] * ROWS, ()),
        ("split", [LONG] * ROWS, ("--split", "split")),
        ("x", [LONG] * ROWS, ("--input-kind", "vector")),
        ("tags", [f"['{LONG}']"] * ROWS, ()),
        ("tags", [LONG + "a", LONG + "b"] * (ROWS // 2), ("--split", "split")),
        ("key", [LONG] * ROWS, ("--id", LONG)),
        ("key", [LONG] * ROWS, ("--hidden-layers", LONG)),
        ("labels", [[LONG]] * ROWS, ("--clean-labels", "labels.txt")),
    ],
)
def test_long_texts_flood_no_message(
    tmp_path: Path,
    scenes: pa.Table,
    capsys: Said,
    monkeypatch: pytest.MonkeyPatch,
    column: str,
    values: list[Any],
    options: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("labels.txt").write_text("cat\n" + LONG[1:])
    if column == "tags":
        scenes = with_column(scenes, "split", ["train"] + ["test"] * (ROWS - 1))
    table = written(tmp_path, with_column(scenes, column, values))
    arguments = [*COLUMNS, "--verified", "verified", *options, "--out", str(tmp_path / "run")]
    assert len(fails(capsys, ["clean", table, *arguments])) < 600


def test_an_id_that_results_cannot_hold_is_refused_first(
    tmp_path: Path, scenes: pa.Table, capsys: Said
) -> None:
    spans = pa.array([(1, 2, 3)] * ROWS, pa.month_day_nano_interval())
    table = written(tmp_path, with_column(scenes, "key", spans), Format.ARROW)
    line = fails(capsys, ["clean", table, *COLUMNS, "--id", "key", "--out", str(tmp_path / "run")])
    assert "'key' holds month_day_nano_interval, which results cannot hold" in line


@pytest.mark.parametrize(
    "ids",
    [
        pa.array([f"{FORMULAS[row % len(FORMULAS)]}{row}" for row in range(ROWS)]),
        pa.array([f"={row}".encode() for row in range(ROWS)]),
        pa.array([b"\xff"] * ROWS),
        pa.array([{"=a": row} for row in range(ROWS)]),
        pa.array([-row for row in range(ROWS)], pa.decimal128(9, 2)),
    ],
)
def test_no_cell_of_a_csv_begins_like_a_formula(
    tmp_path: Path, scenes: pa.Table, ids: pa.Array
) -> None:
    table = renamed(with_column(scenes, "key", ids), "tags", {"kitty": FORMULAS[0]})
    table = table.rename_columns(["=key", *table.column_names[1:]])
    path = written(tmp_path, table)
    out = tmp_path / "run"
    cleaned(path, out, "--id", "=key")
    for name in ("cleaned.csv", "predicted.csv"):
        with (out / name).open(newline="", encoding="utf-8") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        assert cells[0] == "'=key"
        assert not [cell for cell in cells if cell.startswith(FORMULA_STARTS)]


def test_reasons_and_ids_of_skipped_rows_are_no_formulas(tmp_path: Path) -> None:
    from latentlabels.results import skipped_table

    ids = pa.table({"+id": ["=1+1", "b"]})
    table = skipped_table(ids, {0: "@reason", 1: "-reason"})
    write_table_atomically(table, tmp_path / "skipped.csv", Format.CSV)
    with (tmp_path / "skipped.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [
            ["'+id", "reason"],
            ["'=1+1", "'@reason"],
            ["b", "'-reason"],
        ]


def test_too_many_labels_are_refused_early(tmp_path: Path, scenes: pa.Table, capsys: Said) -> None:
    each = 150_000 // ROWS
    tags = [[str(row * each + place) for place in range(each)] + ["a"] for row in range(ROWS)]
    table = written(tmp_path, with_column(scenes, "tags", tags))
    arguments = [*COLUMNS, "--verified", "verified", "--out", str(tmp_path / "run")]
    line = fails(capsys, ["clean", table, *arguments])
    assert "noisy labels, 100,000 at most. Leave out rare ones: min_count=2 (--min-count 2)" in line
