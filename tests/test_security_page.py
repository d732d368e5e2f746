"""The list of dependencies in docs/security.md is that of constraints.txt."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_pinned_package_is_listed_with_its_licence() -> None:
    """`python docs/licences.py` writes the list anew."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    assert [f"{name}=={version}" for name, version, _ in rows[1:]] == [
        line for line in lines if "==" in line
    ]
    assert all(licence for _, _, licence in rows)
