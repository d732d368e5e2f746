"""The command line, from a table to cleaned labels: what a shell would run, run from Python."""

import json
from pathlib import Path

import pyarrow.parquet as pq

from latentlabels.cli import main
from latentlabels.data.digits import digit_scenes

pq.write_table(digit_scenes(rows=1500, seed=0).to_table(), "scenes.parquet")
columns = "--input pixels --noisy tags --clean labels --verified verified --split split"
code = main(f"clean scenes.parquet {columns} --epochs 20 --out run".split())
assert code == 0

cleaned = pq.read_table("run/cleaned.parquet")
names = json.loads(cleaned.schema.metadata[b"latentlabels.clean"])
first = cleaned.slice(0, 1).to_pylist()[0]
print(first["given"], "→", first["proposed"], "of", names)
written = {"cleaned.parquet", "model", "metrics.json", "reliability.png", "report.html"}
assert {path.name for path in Path("run").iterdir()} == written
