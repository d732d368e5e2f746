"""Writes the table of dependencies in security.md anew, from what is installed.

python docs/licences.py
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

FOLDER = Path(__file__).parent
PAGE, PINS = FOLDER / "security.md", FOLDER.parent / "constraints.txt"
HEADING = "| package | version | licence |"


def licence(name: str) -> str:
    """What a package says of its licence, in as few words as it does."""
    told = metadata.metadata(name)
    if expression := told.get("License-Expression"):
        return expression
    text = (told.get("License") or "").strip()
    kinds = [
        kind.rpartition(" :: ")[2]
        for kind in told.get_all("Classifier") or []
        if kind.startswith("License ::")
    ]
    if text and "\n" not in text and text != "UNKNOWN":
        return text
    return ", ".join(kinds) or text.replace("UNKNOWN", "").partition("\n")[0] or "not stated"


def main() -> None:
    """Replace the table, which is the page's end."""
    lines = PINS.read_text(encoding="utf-8").splitlines()
    pins = [line.split("==") for line in lines if "==" in line]
    rows = [f"| {name} | {version} | {licence(name)} |" for name, version in pins]
    page = PAGE.read_text(encoding="utf-8").partition(HEADING)[0]
    table = "\n".join([HEADING, "|---|---|---|", *rows])
    PAGE.write_text(f"{page}{table}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
