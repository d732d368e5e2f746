"""`reproduce` on the command line: what it writes, what it says, and where it goes on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tests.small_paper import SMALLEST_NETWORK, TINY_CIFAR, TINY_COCO, small_cifar, small_coco

from latentlabels.cli import main
from latentlabels.experiments import reproduce as module
from latentlabels.network.cifar_resnet import CifarResNet

Said = pytest.CaptureFixture[str]


def setting(changes: Sequence[str]) -> list[str]:
    return [part for change in changes for part in ("--set", change)]


SMALL = ["--scale", "small", "--backbone", SMALLEST_NETWORK]


@pytest.fixture(scope="module")
def cifar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_cifar(tmp_path_factory.mktemp("data") / "cifar")


def table2(cifar: Path, out: Path, *more: str) -> list[str]:
    arguments = ["reproduce", "table2", "--data", str(cifar), "--out", str(out), *SMALL]
    return [*arguments, *setting(TINY_CIFAR), "--noise", "0.3", "--only", "no-link", *more]


def fails(capsys: Said, arguments: list[str], code: int = 2) -> str:
    assert main(arguments) == code
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    return said.err


def test_a_table_with_weights_from_a_file(cifar: Path, tmp_path: Path, capsys: Said) -> None:
    weights = tmp_path / "network.safetensors"
    torch.manual_seed(0)
    save_file(CifarResNet(8).state_dict(), weights)
    out = tmp_path / "out"
    assert main(table2(cifar, out, "--only", "mapped", "--weights", str(weights))) == 0
    said = capsys.readouterr()
    assert said.err == ""
    for part in ("Prediction: accuracy of p(ŷ | x)", "Recovery: accuracy", "(paper –)", "not run"):
        assert part in said.out
    assert "results.json, table2.json, table2.md" in said.out
    cells = json.loads((out / "results.json").read_text())["cells"]
    assert [key.split(" | ")[1] for key in cells] == ["mapped", "no-link"]
    # Going on with nothing left to do, and nothing to say.
    assert main(table2(cifar, out, "--weights", str(weights), "--quiet")) == 0
    assert capsys.readouterr() == ("", "")
    assert json.loads((out / "results.json").read_text())["cells"] == cells
    assert "settings for noise 30 %" in fails(capsys, table2(cifar, out))


def test_a_figure(tmp_path: Path, capsys: Said) -> None:
    coco = small_coco(tmp_path / "coco")
    out = tmp_path / "out"
    arguments = ["reproduce", "figure4", "--data", str(coco), "--out", str(out), *SMALL]
    assert main([*arguments, "--from-scratch", *setting(TINY_COCO)]) == 0
    assert "results.json, figure4.png in" in capsys.readouterr().out
    assert (out / "figure4.png").read_bytes().startswith(b"\x89PNG")


def test_an_interrupt_says_what_is_kept(
    cifar: Path, tmp_path: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "run_method", stop)
    out = tmp_path / "out"
    line = fails(capsys, table2(cifar, out), 130)
    assert f"interrupted; what was done is kept in {out}: the same command goes on" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["table3"], "'table3' is not one of"),
        (["table2"], "CIFAR-10 is read from its binary version"),
        (["table1"], "2014 Train"),
        (["table1", "--tags", "tags.json"], "There is no tag file tags.json"),
        (["table2", "--tags", "tags.json"], "--tags is for COCO"),
        (["table2", "--noise", "1.5"], "a probability from 0 to 1, got 1.5"),
        (["table2", "--only", "clean", "--set", "epoch=1"], "Did you mean epochs?"),
        (["table2", "--weights", "none.safetensors"], "no weights file 'none.safetensors'"),
        (["table2", "--backbone", "cifar_resnet9"], "6n + 2 layers"),
        (["figure3", "--seeds", "3"], "--only and --seeds are for tables"),
    ],
)
def test_mistakes_are_one_line(
    cifar: Path, tmp_path: Path, capsys: Said, arguments: list[str], message: str
) -> None:
    data = cifar if "cifar_resnet9" in arguments else tmp_path
    changes = setting(("validation_records=6",)) if data == cifar else []
    out = str(tmp_path / "out")
    whole = ["reproduce", *arguments, "--data", str(data), "--out", out, *changes]
    assert message in fails(capsys, whole)


def test_the_help_has_an_example(capsys: Said) -> None:
    assert main(["reproduce", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Example: latentlabels reproduce table2" in said
    for name in ("--data", "--scale", "--seeds", "--only", "--tags", "--noise", "--set"):
        assert name in said
