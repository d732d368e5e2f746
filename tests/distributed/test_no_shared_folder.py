"""Machines that share no folder train together, and say so where one is needed."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.distributed import test_two_processes as together

PROGRAM = Path(__file__).with_name("fit_apart.py")


@pytest.fixture(autouse=True)
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "PROGRAM", PROGRAM)


def test_the_best_weights_come_from_the_first_process(tmp_path: Path) -> None:
    alone = together.fitted(tmp_path / "alone.json", **together.EXACT)
    both = together.fitted(tmp_path / "both.json", devices=2, **together.EXACT)
    assert both["processes"] == 2
    together.assert_same_training(both, alone)


def test_a_checkpoint_that_not_all_can_see_is_an_error_for_all(tmp_path: Path) -> None:
    kept = {"checkpoints": str(tmp_path / "kept"), "resume": True, **together.EXACT}
    together.fitted(tmp_path / "alone.json", stop_after=2, **kept)
    with pytest.raises(AssertionError) as raised:
        together.fitted(tmp_path / "both.json", devices=2, **kept)
    assert str(raised.value).count("last.ckpt is not there for all processes") >= 2
    assert not (tmp_path / "both.json").exists()
