"""The report over many rows: its size, the time to write it, and the time until a browser has it.

    python benchmarks/report.py --rows 100000 --labels 80

A table of texts and of paths to photos, and the cleaned table of a run on it, are made up;
`latentlabels report` is started in a process of its own, and a Chromium opens the file and decodes
every picture. Photos are noise, which takes more bytes than any other picture of their size.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from PIL import Image
from playwright.sync_api import sync_playwright
from review import SERVE, write_run

PHOTOS = 100
OPENED = """async () => {
    const shown = [...document.images];
    await Promise.all(shown.map(image => image.decode()));
    return shown.length;
}"""


def add_photos(folder: Path, rows: int, random: np.random.Generator) -> None:
    """Give every row of the table the path of a photo; so many differ."""
    names = [f"{number}.jpg" for number in range(PHOTOS)]
    for name in names:
        pixels = random.integers(0, 256, (480, 640, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    table = pa.parquet.read_table(folder / "table.parquet")
    paths = pa.array([names[row % PHOTOS] for row in range(rows)])
    pa.parquet.write_table(table.append_column("photo", paths), folder / "table.parquet")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--labels", type=int, default=80)
    asked = parser.parse_args()
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        run = write_run(folder, asked.rows, asked.labels, random)
        add_photos(folder, asked.rows, random)
        for columns in (["text"], ["photo", "text"]):
            shown = [part for name in columns for part in ("--show", name)]
            report = folder / f"{columns[0]}.html"
            start = time.perf_counter()
            arguments = ["report", str(run), *shown, "--out", str(report), "--quiet"]
            subprocess.run([sys.executable, "-c", SERVE, *arguments], check=True)
            seconds = time.perf_counter() - start
            print(
                f"{asked.rows:,} rows, {' and '.join(columns)}: {report.stat().st_size / 1e6:.2f} "
                f"MB, written in {seconds:.1f} s with the start of Python"
            )
            opened(report)


def opened(report: Path) -> None:
    """Open the file in a browser, and print what it took."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=path, args=["--no-sandbox"]) as browser,
    ):
        page = browser.new_page(viewport={"width": 390, "height": 844})
        page.goto("about:blank")
        start = time.perf_counter()
        page.goto(report.as_uri())
        loaded = time.perf_counter() - start
        pictures = page.evaluate(OPENED)
        seconds = time.perf_counter() - start
        print(f"  open after {loaded:.2f} s, all {pictures} pictures decoded after {seconds:.2f} s")


if __name__ == "__main__":
    main()
