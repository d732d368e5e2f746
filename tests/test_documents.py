"""Runs what README, CONTRIBUTING and docs/ show, each from top to bottom in its own directory.

Python blocks share one namespace per document. Of the commands in console and bash blocks,
`latentlabels` is run, what sets a machine up is left alone, and any other is an error.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from sybil import Example, Sybil
from sybil.parsers.myst import CodeBlockParser, PythonCodeBlockParser

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SCRIPT = Path(sys.executable).with_name("latentlabels")
# What a reader types to set up a machine or to start this very test.
NOT_RUN = ("cd ", "git clone ", "make ", "pip install ", "python -m venv ", "source ")


def commands(block: str) -> list[str]:
    """The commands of a shell block: the lines after `$`, or, where no line has one, all lines."""
    lines = [line.strip() for line in block.replace("\\\n", " ").splitlines()]
    prompted = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return prompted or [line for line in lines if line and not line.startswith("#")]


def run_commands(example: Example) -> None:
    for command in commands(example.parsed):
        if command.startswith(NOT_RUN):
            continue
        program, *arguments = shlex.split(command, comments=True)
        assert program == "latentlabels", f"only latentlabels can be run from a document: {command}"
        finished = subprocess.run([SCRIPT, *arguments], capture_output=True, text=True, check=False)
        assert finished.returncode == 0, f"{command}\n{finished.stdout}\n{finished.stderr}"


BLOCKS = Sybil(
    parsers=[
        PythonCodeBlockParser(),
        CodeBlockParser("console", run_commands),
        CodeBlockParser("bash", run_commands),
    ]
)


@pytest.mark.slow
@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_document_runs_from_top_to_bottom(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for example in BLOCKS.parse(path).examples():
        example.evaluate()


def test_shell_blocks_yield_their_commands() -> None:
    prompted = "$ latentlabels fit a.csv \\\n    --out run\nwrote run/\n$ latentlabels report run\n"
    assert [shlex.split(command) for command in commands(prompted)] == [
        ["latentlabels", "fit", "a.csv", "--out", "run"],
        ["latentlabels", "report", "run"],
    ]
    assert commands("# first\nmake demo\n") == ["make demo"]


def test_a_failing_command_fails_its_document(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text("```console\n$ latentlabels no-such-command\n```\n")
    (example,) = BLOCKS.parse(document).examples()
    with pytest.raises(AssertionError, match="no-such-command"):
        example.evaluate()


def test_an_unknown_command_fails_its_document(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text("```bash\ncurl example.org\n```\n")
    (example,) = BLOCKS.parse(document).examples()
    with pytest.raises(AssertionError, match="only latentlabels"):
        example.evaluate()
