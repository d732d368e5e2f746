"""The review page over many rows: time to the first page on loopback, and the server's memory.

    python benchmarks/review.py --rows 100000 --labels 80

A table of texts and the cleaned table of a run are made up, `latentlabels review` is started in a
process of its own, and asked over HTTP as a browser asks: the page with its first row, the style
sheet and the script. Memory is the most that the process ever held; that of a process which has
imported the same modules, and no more, stands beside it.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import numpy as np
import pyarrow as pa
import pyarrow.parquet

from latentlabels import RobustClassifier

SERVE = "import sys; from latentlabels.cli import main; sys.exit(main(sys.argv[1:]))"
IMPORT = (
    "import latentlabels.cli.app, latentlabels.review.server, sys; print('ready', flush=True); "
    "sys.stdin.read()"
)
WORDS = ["sky", "dog", "house", "river", "street", "night", "people", "water", "green", "light"]


def write_run(folder: Path, rows: int, labels: int, random: np.random.Generator) -> Path:
    """A table of texts, and what a run of `clean` on it leaves, as far as a review reads it."""
    names = [f"label {unit:03}" for unit in range(labels)]
    p = random.beta(0.05, 0.9, size=(rows, labels)).astype(np.float32)
    given = [{names[u] for u in units} for units in random.integers(0, labels, (rows, 3)).tolist()]
    proposed = [{names[u] for u in np.flatnonzero(row > 0.5)} for row in p]
    pairs = list(zip(given, proposed, strict=True))
    run = folder / "run"
    run.mkdir()
    cleaned = {
        "id": np.arange(rows),
        "given": [list(old) for old, _ in pairs],
        "proposed": [list(new) for _, new in pairs],
        "added": [list(new - old) for old, new in pairs],
        "removed": [list(old - new) for old, new in pairs],
        "verified": np.zeros(rows, dtype=np.bool_),
        "probabilities": pa.array(list(p), pa.list_(pa.float32())),
    }
    pa.parquet.write_table(pa.table(cleaned), run / "cleaned.parquet")
    texts = [" ".join(random.choice(WORDS, 25)) for _ in range(rows)]
    table = pa.table({"id": cleaned["id"], "text": texts})
    pa.parquet.write_table(table, folder / "table.parquet")
    # A review asks the model for its labels alone.
    known = [[name] for name in names]
    model = RobustClassifier(auxiliary="regression", hidden_layers=(), epochs=1, students=0)
    model.fit(np.eye(labels, dtype=np.float32), known, clean=known)
    model.save(run / "model", provenance={"table": "table.parquet"})
    return run


def most_memory(process: subprocess.Popen[str]) -> float:
    """The most memory that a process held, in MB."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def milliseconds(ask: Callable[[], object], times: int) -> str:
    """Median and maximum of several calls."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        ask()
        taken.append(1000 * (time.perf_counter() - start))
    return f"median {statistics.median(taken):.0f} ms, at most {max(taken):.0f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--labels", type=int, default=80)
    parser.add_argument("--times", type=int, default=20)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        run = write_run(Path(temporary), asked.rows, asked.labels, np.random.default_rng(0))
        size = sum(path.stat().st_size for path in Path(temporary).rglob("*.parquet"))
        print(f"{asked.rows:,} rows, {asked.labels} labels, {size / 1e6:.0f} MB of Parquet")
        measure(run, asked.times)


def measure(run: Path, times: int) -> None:
    """Start the server, ask it, and print what it took."""
    idle = subprocess.Popen(
        [sys.executable, "-c", IMPORT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert idle.stdout is not None
    idle.stdout.readline()
    print(f"a process with the modules alone: {most_memory(idle):.0f} MB")
    idle.kill()
    start = time.perf_counter()
    arguments = ["review", str(run), "--show", "text", "--no-browser", "--quiet"]
    server = subprocess.Popen(
        [sys.executable, "-c", SERVE, *arguments], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    address = server.stdout.readline().strip()
    print(f"start to address: {time.perf_counter() - start:.1f} s, modules included")
    own = address.partition("/?")[0]
    client = httpx2.Client(base_url=own, headers={"Origin": own}, timeout=60)

    def page() -> None:
        for path in (address, "/static/review.css", "/static/review.js"):
            client.get(path).raise_for_status()

    start = time.perf_counter()
    page()
    print(f"the very first page: {1000 * (time.perf_counter() - start):.0f} ms")
    print(f"first page: {milliseconds(page, times)}")
    row = 0

    def decide() -> None:
        nonlocal row
        said = {"row": row, "verdict": "accept"}
        client.post("/decide", json=said).raise_for_status()
        client.get("/row", params={"after": row}).raise_for_status()
        row += 1

    print(f"decide and next row: {milliseconds(decide, times)}")
    search = iter(range(10**6))

    def find() -> None:
        client.get("/row", params={"search": f"river {next(search)}"}).raise_for_status()

    print(f"a new search: {milliseconds(find, times)}")
    filtered = milliseconds(
        lambda: client.get("/row", params={"label": next(search) % 50, "change": "added"}), times
    )
    print(f"another label: {filtered}")
    print(f"the server at most: {most_memory(server):.0f} MB")
    server.kill()


if __name__ == "__main__":
    main()
