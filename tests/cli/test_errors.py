"""Whatever goes wrong: one clear line, an exit code, and everything as it was before."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from click import unstyle
from safetensors import SafetensorError
from tests.cli.arguments import COLUMNS, PROTOCOL, ROWS, SMALL, fails

from latentlabels import RobustClassifier
from latentlabels.cli import app, main, run
from latentlabels.training.position import History

Said = pytest.CaptureFixture[str]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(autouse=True)
def _no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mistakes are found before the model is trained."""

    def trains(*_: Any) -> None:
        raise AssertionError("training has begun")

    monkeypatch.setattr("latentlabels.fitting.train", trains)


def changed(scenes: pa.Table, name: str, change: Callable[[list[Any]], None]) -> pa.Table:
    values = scenes[name].to_pylist()
    change(values)
    return scenes.set_column(scenes.column_names.index(name), name, pa.array(values))


def setting(row: int, value: object) -> Callable[[list[Any]], None]:
    def change(values: list[Any]) -> None:
        values[row] = value

    return change


def emptying(values: list[Any]) -> None:
    values[:] = [None] * len(values)


def saying_nothing(values: list[Any]) -> None:
    values[:] = [[] for _ in values]


def forgetting(values: list[Any]) -> None:
    values[:] = [False] * len(values)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--inptu", "x"], "No such option: --inptu"),
        (["--epochs", "many"], "Invalid value for '--epochs'"),
        (["--epochs", "0"], "Invalid value for '--epochs'"),
        (["--format", "xlsx"], "'xlsx' is not one of"),
        (["--noisy-kind", "both"], "'both' is not one of"),
        (["more"], "unexpected extra argument"),
        (["--input", "x"], "--input x is given twice"),
        (["--input", "y"], "no column 'y'"),
        (["--input", "image"], "no column 'image', and --input names a column. What it holds"),
        (["--noisy", "tasg"], "no column 'tasg'. Did you mean 'tags'?"),
        (["--id", "nothing"], "no column 'nothing'"),
        (["--id", "verified"], "'verified' of their own"),
        (["--clean", "label"], "no column 'label'. Did you mean 'labels'?"),
        (["--verified", "split"], "row 0 has 'train'"),
        (["--split", "key"], "row 0 has 'k000'"),
        (["--verified", "nothing"], "no column 'nothing'"),
        (["--split", "nothing"], "no column 'nothing'"),
        (["--input", "tags"], "'tags' holds list<"),
        (["--hidden-layers", "256;128"], "--hidden-layers wants whole numbers"),
        (["--hidden-layers", "0"], "--hidden-layers wants whole numbers"),
        (["--delimiter", ""], "at least one character"),
        (["--auxiliary", "magic"], "'magic'"),
        (["--auxiliary", "transition"], "label"),
        (["--transition-matrix", "nothing.csv"], "nothing.csv is no file"),
        (["--clean-labels", "nothing.txt"], "nothing.txt is none"),
        (
            ["--noisy-kind", "multiclass"],
            "Row 0 of column 'tags' (rows count from 0): One class is wanted, got 2 labels",
        ),
    ],
)
def test_arguments_that_cannot_be_used(
    tmp_path: Path, table: Path, capsys: Said, arguments: list[str], message: str
) -> None:
    out = tmp_path / "run"
    line = fails(capsys, ["clean", str(table), *COLUMNS, "--out", str(out), *arguments])
    assert line.startswith("error: ")
    assert message in line
    assert [path.name for path in tmp_path.iterdir()] == [table.name]


def test_a_command_or_option_that_is_missing(capsys: Said) -> None:
    assert "No such command" in fails(capsys, ["claen"])
    assert "Missing argument 'TABLE'" in fails(capsys, ["clean"])
    assert "Missing option '--noisy'" in fails(capsys, ["clean", "t.csv", "--input", "x"])


def test_verified_rows_without_a_clean_column(tmp_path: Path, table: Path, capsys: Said) -> None:
    arguments = ["--input", "x", "--noisy", "tags", "--verified", "verified"]
    line = fails(capsys, ["clean", str(table), *arguments, "--out", str(tmp_path / "run")])
    assert "name them with --clean" in line


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("x", setting(7, [1.0, float("nan"), 2.0]), "Row 7 of input column 'x' is nan at place 1"),
        ("x", setting(7, [1.0, 2.0]), "Row 7 of input column 'x' has 2 numbers, row 0 has 3"),
        ("x", setting(7, None), "Row 7 of input column 'x' is empty"),
        ("labels", setting(4, None), "Row 4 is verified and column 'labels' is empty"),
        ("labels", emptying, "Row 0 is verified and column 'labels' is empty"),
        ("verified", forgetting, "No training row is verified"),
        ("tags", saying_nothing, "No training row has a noisy label in column 'tags'"),
        (
            "split",
            lambda s: s.__setitem__(slice(None), ["test"] * ROWS),
            "No row is a training row",
        ),
        ("split", setting(5, "trian"), "row 5 has 'trian'"),
        ("labels", saying_nothing, "there is nothing to learn"),
    ],
)
def test_cells_that_cannot_be_used(
    tmp_path: Path,
    scenes: pa.Table,
    capsys: Said,
    name: str,
    change: Callable[[list[Any]], None],
    message: str,
) -> None:
    path, out = tmp_path / "t.parquet", tmp_path / "run"
    pa.parquet.write_table(changed(scenes, name, change), path)
    line = fails(capsys, ["clean", str(path), *COLUMNS, *PROTOCOL, "--out", str(out), *SMALL])
    assert message in line
    assert [path.name for path in tmp_path.iterdir()] == ["t.parquet"]


def test_no_verified_row_without_a_verified_column(
    tmp_path: Path, scenes: pa.Table, capsys: Said
) -> None:
    path = tmp_path / "t.parquet"
    pa.parquet.write_table(changed(scenes, "labels", emptying), path)
    arguments = [*COLUMNS, "--out", str(tmp_path / "run")]
    assert "No training row is verified" in fails(capsys, ["clean", str(path), *arguments])
    # Without a clean column there is nobody to ask but the library.
    arguments = ["--input", "x", "--noisy", "tags", "--out", str(tmp_path / "run")]
    assert "no verified rows" in fails(capsys, ["clean", str(path), *arguments])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", None, "There is no file"),
        ("t.txt", b"a", "none of the tables that can be read"),
        ("t.csv", b"", "is empty"),
        ("t.csv", b"x,tags\n", "has no rows"),
        ("t.parquet", b"x,tags\n1,a\n", "is not a Parquet file"),
        ("t.csv", b"\x89PNG\0\0", "is not a CSV file"),
        ("t.jsonl", b'{"x": 1}\n{"x"\n', "Line 2 of"),
    ],
)
def test_files_that_cannot_be_used(
    tmp_path: Path, capsys: Said, name: str, content: bytes | None, message: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    assert message in fails(capsys, ["clean", str(path), *COLUMNS, "--out", str(tmp_path / "run")])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("cat\ndog\ncat\n", "'cat' twice"),
        ("cat\nsky\n", "clean label 'dog' (rows count from 0), which is not in"),
        (b"caf\xe9", "wants a text file"),
    ],
)
def test_vocabularies_that_cannot_be_used(
    tmp_path: Path, table: Path, capsys: Said, content: str | bytes, message: str
) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    arguments = [*COLUMNS, *PROTOCOL, "--out", str(tmp_path / "run"), "--clean-labels", str(path)]
    assert message in fails(capsys, ["clean", str(table), *arguments])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "rows of []"),
        ("a,b\n1,0\n", "could not convert"),
        ("1,0\n1\n", "rows of [1, 2]"),
        ("0.5,0.5\n0.5,0.5\n", "classes"),
    ],
)
def test_transition_matrices_that_cannot_be_used(
    tmp_path: Path, table: Path, capsys: Said, content: str, message: str
) -> None:
    path = tmp_path / "matrix.csv"
    path.write_text(content)
    arguments = [*COLUMNS, "--out", str(tmp_path / "run"), "--transition-matrix", str(path)]
    assert message in fails(capsys, ["clean", str(table), *arguments])
    arguments += ["--auxiliary", "rbm"]
    if message == "classes":
        assert "exclude each other" in fails(capsys, ["clean", str(table), *arguments])


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["a", "b", "a", None], "Row 3 of column 'y' is empty"),
        (["a", "b", "a", "c"], "Row 3 has the class 'c' in column 'y'"),
    ],
)
def test_classes_that_training_does_not_know(
    tmp_path: Path, capsys: Said, cells: list[str | None], message: str
) -> None:
    path = tmp_path / "t.parquet"
    split = ["train", "train", "train", "test"]
    content = {"x": [1.0, 2.0, 3.0, 4.0], "y": cells, "z": ["a", "b", None, None], "split": split}
    pa.parquet.write_table(pa.table(content), path)
    arguments = ["--input", "x", "--noisy", "y", "--clean", "z", "--split", "split"]
    line = fails(capsys, ["clean", str(path), *arguments, "--out", str(tmp_path / "run")])
    assert message in line


def test_models_that_cannot_be_used(tmp_path: Path, table: Path, capsys: Said) -> None:
    arguments = ["--model", str(tmp_path / "nothing"), "--out", str(tmp_path / "out")]
    for command in ("apply", "predict"):
        assert "model" in fails(capsys, [command, str(table), *arguments])
    assert not (tmp_path / "out").exists()


def test_results_are_not_replaced_unasked(tmp_path: Path, table: Path, capsys: Said) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / "metrics.json").write_text("mine")
    arguments = ["clean", str(table), *COLUMNS, "--out", str(out)]
    assert "holds metrics.json already. Pass --overwrite" in fails(capsys, arguments)
    (out / "model").mkdir()
    assert "is no folder of such results" in fails(capsys, [*arguments, "--overwrite"])
    assert contents(out) == {"metrics.json": b"mine"}
    assert "is a file" in fails(capsys, [*arguments[:-1], str(table)])


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch, cleaned_run: Path) -> None:
    """Fitting takes no time: the model is there already."""
    model = RobustClassifier.load(cleaned_run / "model")

    def fit(self: RobustClassifier, *_: Any, **__: Any) -> RobustClassifier:
        for name, value in vars(model).items():
            if name.startswith("_") or name.endswith("_"):
                setattr(self, name, value)
        self.history_, self.calibration_ = History(), None
        return self

    monkeypatch.setattr(RobustClassifier, "fit", fit)
    monkeypatch.setattr("latentlabels.cli.fitting.metrics_of", lambda *_: {"rows": {}})


def full_disk(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def full_disk_for_tensors(*_: Any, **__: Any) -> None:
    raise SafetensorError("I/O error: No space left on device")


def interrupted(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.usefixtures("trained")
@pytest.mark.parametrize(
    ("place", "failure", "code"),
    [
        ("latentlabels.cli.app.written_in_parts", full_disk, 1),
        ("latentlabels.data.table.pa.parquet.ParquetWriter", full_disk, 1),
        ("latentlabels.store.save_file", full_disk_for_tensors, 1),
        ("latentlabels.cli.app.write_json", full_disk, 1),
        ("latentlabels.estimator.RobustClassifier.fit", interrupted, 130),
        ("latentlabels.estimator.RobustClassifier.clean", interrupted, 130),
        ("latentlabels.cli.app.write_json", interrupted, 130),
    ],
)
@pytest.mark.parametrize("older", [False, True])
def test_a_failure_leaves_everything_as_it_was(
    tmp_path: Path,
    table: Path,
    cleaned_run: Path,
    capsys: Said,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    failure: Callable[..., None],
    code: int,
    older: bool,
) -> None:
    out = tmp_path / "run"
    if older:
        (out / "model").mkdir(parents=True)
        for name in ("cleaned.parquet", "model/model.json", "metrics.json", "mine"):
            (out / name).write_text("older")
    before = contents(tmp_path)
    monkeypatch.setattr(place, failure)
    arguments = [*COLUMNS, *PROTOCOL, "--out", str(out), "--overwrite"]
    line = fails(capsys, ["clean", str(table), *arguments], code)
    wanted = "No space left on device" if code == 1 else "interrupted; nothing was written."
    assert wanted in line
    assert contents(tmp_path) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == (
        ["run", table.name] if older else [table.name]
    )


@pytest.mark.parametrize("failing", ["cleaned.parquet", "metrics.json", "model"])
@pytest.mark.usefixtures("trained")
def test_a_failure_at_the_last_moment_puts_everything_back(
    tmp_path: Path, table: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    out = tmp_path / "run"
    (out / "model").mkdir(parents=True)
    (out / "model" / "model.json").write_text("older")
    (out / "metrics.json").write_text("older")
    before = contents(tmp_path)
    rename = Path.rename

    def fails_once(self: Path, target: Path) -> Path:
        if self.name == failing and self.parent.name == "moving":
            raise OSError(errno.EIO, "Input/output error", str(target))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails_once)
    arguments = [*COLUMNS, *PROTOCOL, "--out", str(out), "--overwrite"]
    line = fails(capsys, ["clean", str(table), *arguments], 1)
    assert line == f"error: Input/output error: {out / failing}"
    monkeypatch.undo()
    assert contents(tmp_path) == before


def test_what_may_not_be_written_is_said_first(
    tmp_path: Path, table: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: Any, **__: Any) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path))

    monkeypatch.setattr(Path, "mkdir", refuses)
    line = fails(capsys, ["clean", str(table), *COLUMNS, "--out", str(tmp_path / "run")], 1)
    assert line == f"error: Permission denied: {tmp_path}"


def test_a_label_that_is_never_verified_is_warned_of(
    tmp_path: Path, table: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("cat\ndog\nhorse\nsky\n")
    monkeypatch.setattr("latentlabels.estimator.RobustClassifier.fit", interrupted)
    arguments = [*COLUMNS, *PROTOCOL, "--out", str(tmp_path / "run"), "--clean-labels", str(path)]
    assert main(["clean", str(table), *arguments]) == 130
    warned, _ = capsys.readouterr().err.splitlines()
    assert warned == (
        "latentlabels: warning: 1 of 4 clean labels never occur among verified rows: 'horse'. "
        "Little can be learnt of them."
    )


def test_what_a_terminal_would_act_on_is_escaped(tmp_path: Path, capsys: Said, table: Path) -> None:
    name = "\x1b[31mred\nα"
    line = fails(
        capsys, ["clean", str(table), "--input", name, "--noisy", "y", "--out", str(tmp_path)]
    )
    assert "\x1b" not in line
    path = tmp_path / "\x1b[31mα.csv"
    assert r"\x1b[31mα.csv" in fails(
        capsys, ["clean", str(path), *COLUMNS, "--out", str(tmp_path / "run")]
    )


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: ...")]
)
def test_too_little_memory_is_told(
    tmp_path: Path, table: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def allocates(*_: Any) -> None:
        raise error

    monkeypatch.setattr("latentlabels.cli.app.open_table", allocates)
    arguments = ["clean", str(table), *COLUMNS, "--out", str(tmp_path / "run")]
    assert "out of memory" in fails(capsys, arguments, 1)


def test_a_mistake_of_ours_is_not_hidden(
    tmp_path: Path, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistaken(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("latentlabels.cli.app.open_table", mistaken)
    with pytest.raises(ZeroDivisionError):
        main(["clean", str(table), *COLUMNS, "--out", str(tmp_path / "run")])
    assert [path.name for path in tmp_path.iterdir()] == [table.name]


@pytest.mark.parametrize("command", ["clean", "fit", "apply", "predict", "demo"])
def test_every_command_has_help_with_an_example(
    capsys: Said, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main([command, "--help"]) == 0
    # Where the environment asks for colours, every option's name is in pieces.
    said = unstyle(capsys.readouterr().out)
    assert f"Example: latentlabels {command}" in said
    for option in ("--seed", "--quiet", "--progress", "--out"):
        assert option in said


def test_without_arguments_there_is_help(capsys: Said) -> None:
    assert main([]) == 0
    said = capsys.readouterr().out
    assert all(command in said for command in ("clean", "fit", "apply", "predict", "demo"))


def test_the_script_exits_with_the_code(monkeypatch: pytest.MonkeyPatch, capsys: Said) -> None:
    monkeypatch.setattr(sys, "argv", ["latentlabels", "--nothing"])
    with pytest.raises(SystemExit) as caught:
        run()
    assert caught.value.code == 2
    assert "--nothing" in capsys.readouterr().err


def test_the_demo_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    monkeypatch.setattr(
        "latentlabels.experiments.demo.run_demo", lambda *arguments: called.append(arguments)
    )
    assert main(["demo", "--out", str(tmp_path), "--seed", "3", "--quiet"]) == 0
    ((out, seed, console),) = called
    assert (out, seed, console.quiet) == (tmp_path, 3, True)


def test_the_installed_script_runs() -> None:
    script = [sys.executable, "-c", "from latentlabels.cli import run; run()", "--nothing"]
    finished = subprocess.run(script, capture_output=True, text=True, check=False)
    assert finished.returncode == 2
    assert finished.stderr == "latentlabels: error: No such option: --nothing\n"


def test_the_app_is_there_for_documentation() -> None:
    names = [getattr(command.callback, "__name__", None) for command in app.app.registered_commands]
    assert names == [
        *("clean", "fit", "apply", "predict", "explain_row", "demo"),
        *("export", "import_decisions", "compare", "reproduce", "report", "review", "next_rows"),
    ]
