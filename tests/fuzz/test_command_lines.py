"""Whatever stands on a command line: it works, or ends with one line and leaves all as it was."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import typer
from hypothesis import event, given
from hypothesis import strategies as st

from latentlabels.cli import main
from latentlabels.cli.app import app
from latentlabels.data.table import Format, write_table_atomically

ROWS = 24
FORMATS = (Format.CSV, Format.JSONL, Format.PARQUET)
TABLES = (*(f"table.{kind}" for kind in FORMATS), "row.parquet")
# So that what can be trained is trained within a fraction of a second.
SMALL = (
    *("--epochs", "1", "--chains", "2", "--sweeps", "2", "--hidden-layers", "4"),
    *("--auxiliary", "regression", "--students", "0"),
)
COLUMNS = ("id", "x", "n", "tags", "word", "labels", "class", "verified", "split", "odd", "one")
NAMES = st.sampled_from(COLUMNS) | st.sampled_from(["", "image", "\u202e"])
NUMBERS = st.sampled_from(
    ["0", "1", "2", "3", "7", "-1", "0.5", "1e-3", "nan", "inf", "-inf", "1e400", "9" * 30, "", "x"]
)
WORDS = st.sampled_from(
    [
        *("auto", "vector", "multilabel", "multiclass", "csv", "jsonl", "parquet", "arrow", "xlsx"),
        *("regression", "rbm", "transition", "magic", "zero", "constant", "one-cycle", "paper"),
        *("reference", "float32", "bfloat16", "fail", "skip", "head", "all", "8,4", ";", ",", "|"),
        *("", " ", "\t", "\n", "é", "\udcff", "\x1b[31m", "{}", "%s", "x" * 1000),
    ]
)
PATHS = st.sampled_from(
    ["labels.txt", "matrix.csv", "table.csv", "broken.csv", "folder", "model", "missing", ".", "/"]
)
ANYTHING = NAMES | NUMBERS | WORDS | PATHS
FITTING = st.sampled_from(["1", "2", "3"])
VALUES = {
    "--noisy-kind": st.sampled_from(["auto", "multilabel", "multiclass"]),
    "--clean-kind": st.sampled_from(["auto", "multilabel", "multiclass"]),
    "--format": st.sampled_from(["csv", "jsonl", "parquet", "arrow"]),
    "--auxiliary": st.sampled_from(["auto", "regression", "rbm", "transition"]),
    "--sampler": st.sampled_from(["auto", "reference", "float32", "bfloat16"]),
    "--schedule": st.sampled_from(["constant", "one-cycle"]),
    "--preset": st.sampled_from(["default", "paper"]),
    "--start": st.sampled_from(["auxiliary", "zero"]),
    "--on-bad-input": st.sampled_from(["fail", "skip"]),
    "--tune": st.sampled_from(["head", "all"]),
    "--backbone-precision": st.sampled_from(["auto", "float32", "bfloat16"]),
    "--precision": st.sampled_from(["0.95", "0", "1", "95", "nan"]),
    "--delimiter": st.sampled_from([";", ",", "|", "a"]),
    "--image-size": st.just("8"),
    "--input-dropout": st.just("0.5"),
    "--validation-fraction": st.sampled_from(["0", "0.9"]),
    **dict.fromkeys(("--input", "--noisy", "--clean", "--verified", "--split", "--id"), NAMES),
    **dict.fromkeys(("--clean-labels", "--noisy-labels", "--transition-matrix"), PATHS),
    **dict.fromkeys(("--folder", "--weights", "--model"), PATHS),
    **dict.fromkeys(("--cache", "--checkpoints", "--chain-file"), st.sampled_from(["kept", "/"])),
}
# These look for models on the network or start this program anew, and images or texts are another
# test's.
LEFT_OUT = {"--help", "--input-kind", "--backbone", "--out", "--devices", "--nodes"}
COMMANDS = {
    "clean": ("--input", "x", "--noisy", "tags", "--clean", "labels"),
    "fit": ("--input", "x", "--noisy", "word", "--clean", "class"),
    "apply": ("--model", "model"),
    "predict": ("--model", "model"),
}


def options_of(command: str) -> dict[str, bool]:
    """The options of a command, and whether each wants a value."""
    group = typer.main.get_command(app)
    parameters = group.commands[command].params  # type: ignore[attr-defined]
    return {
        name: not parameter.is_flag
        for parameter in parameters
        if parameter.param_type_name == "option"
        for name in (*parameter.opts, *parameter.secondary_opts)
        if name.startswith("--") and name not in LEFT_OUT
    }


OPTIONS = {command: options_of(command) for command in COMMANDS}


def written(folder: Path) -> None:
    """Tables and other files that a command line may name."""
    random = np.random.default_rng(0)
    x = random.normal(size=(ROWS, 2))
    names = [[name for name, value in zip("ab", row, strict=True) if value > 0] for row in x]
    classes = ["up" if row[0] > 0 else "down" for row in x]
    rows = np.arange(ROWS)
    table = pa.table(
        {
            "id": [f"k{row // 2}" for row in rows],
            "x": x.tolist(),
            "n": rows.astype(float),
            "tags": names,
            "word": classes,
            "labels": [name if row < ROWS // 2 else None for row, name in enumerate(names)],
            "class": [name if row < ROWS // 2 else None for row, name in enumerate(classes)],
            "verified": rows < ROWS // 4,
            "split": np.where(rows < ROWS // 2, "train", np.where(rows % 2, "test", "validation")),
            "odd": [None, "=1+1", "\u202e", "a;B;b", "[]", '["A"]'] * (ROWS // 6),
            "one": [1] * ROWS,
        }
    )
    for kind in FORMATS:
        write_table_atomically(table, folder / f"table.{kind}", kind)
    write_table_atomically(table.slice(0, 1), folder / "row.parquet", Format.PARQUET)
    (folder / "broken.csv").write_bytes(b"id,x\n1,\xff\n")
    (folder / "labels.txt").write_text("a\nb\n")
    (folder / "matrix.csv").write_text("0.9,0.1\n0.2,0.8\n")
    (folder / "folder").mkdir()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where commands run."""
    place = tmp_path_factory.mktemp("commands")
    written(place)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        fit = ["fit", "table.parquet", *COMMANDS["clean"], *SMALL, "--out", "fitted"]
        assert main(fit) == 0
        Path("fitted", "model").rename("model")
        shutil.rmtree("fitted")
        yield place


def contents(folder: Path) -> dict[str, bytes | None]:
    """All that lies in a folder, but for what is kept on purpose."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        if path.relative_to(folder).parts[0] not in ("kept", "out")
    }


def one_in(draw: st.DrawFn, cases: int) -> bool:
    return draw(st.integers(1, cases)) == cases


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """A command, what it needs or some of it, and options with values that may be wrong."""
    command = draw(st.sampled_from(sorted(COMMANDS)))
    # Most of a line is right, or nothing would get far.
    table = draw(PATHS if one_in(draw, 8) else st.sampled_from(TABLES))
    needed = not one_in(draw, 8)
    line = [command, table, *(COMMANDS[command] if needed else ())]
    if command in ("clean", "fit"):
        line += SMALL
    for name in draw(st.lists(st.sampled_from(sorted(OPTIONS[command])), max_size=4)):
        line.append(name)
        if OPTIONS[command][name]:
            line.append(draw(ANYTHING if one_in(draw, 8) else VALUES.get(name, FITTING)))
    if one_in(draw, 8):
        line.insert(draw(st.integers(0, len(line))), draw(ANYTHING | st.text(max_size=5)))
    return line


def run(line: Sequence[str]) -> tuple[int, str]:
    """The exit code, and what was said on stderr."""
    said = io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(said):
        code = main(list(line))
    return code, said.getvalue()


def has_succeeded_or_left_nothing(line: Sequence[str], folder: Path, older: bool) -> None:
    """Run a command line in a folder, which may hold older results, and look at what it left."""
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    shutil.rmtree(folder / "kept", ignore_errors=True)
    if older:
        out.mkdir()
        (out / "metrics.json").write_text("older")
    before = contents(folder)
    code, said = run([*line, "--out", "out"])
    event(f"{line[0] if line and line[0] in COMMANDS else 'another command'}: {code}")
    assert code in (0, 1, 2)
    assert contents(folder) == before
    left = sorted(path.name for path in out.iterdir()) if out.exists() else []
    if code == 0:
        return
    *warnings, error = said.splitlines()
    assert error.startswith("latentlabels: error: ")
    assert all(warning.startswith("latentlabels: warning: ") for warning in warnings)
    assert len(error) < 2000
    assert left == (["metrics.json"] if older else [])
    assert not older or (out / "metrics.json").read_text() == "older"


@given(command_lines(), st.booleans())
def test_command_lines(folder: Path, line: list[str], older: bool) -> None:
    has_succeeded_or_left_nothing(line, folder, older)


@given(st.lists(st.sampled_from([*COMMANDS, "compare", "--", "-x", "table.csv"]) | st.text()))
def test_words_of_any_kind(folder: Path, line: list[str]) -> None:
    has_succeeded_or_left_nothing(line, folder, older=False)
