"""Every variant of the model against plain classifiers, under one protocol, over several seeds.

    python benchmarks/quality.py demo
    python benchmarks/quality.py films.parquet --text overview --noisy keywords --clean genres

A table needs the columns `split` (train / validation / test) and `verified`, or others named with
--split and --verified. Its input is `--input` columns of numbers or vectors; an `--image` column,
seen through the frozen network `--backbone`; or a `--text` column, through a text model's folder as
`--backbone` or, without, as TF-IDF vectors and their leading singular directions, both fitted on
the training rows. `benchmarks/pretrained.py` leaves weights for both.

On the demo's data every seed makes scenes of its own; on a table the rows stay and the seed is that
of training.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from latentlabels import LatentLabelsError
from latentlabels.data.arrow_cells import ArrowCells
from latentlabels.data.cells import label_cells
from latentlabels.data.columns import column_of, flags, input_matrix, splits
from latentlabels.data.digits import digit_scenes
from latentlabels.data.table import read_table
from latentlabels.estimator import FEATURE_DROPOUT, STUDENTS, TEACHERS
from latentlabels.experiments.protocol import (
    Method,
    Outcome,
    names_in_common,
    paper_methods,
    run_method,
)
from latentlabels.experiments.task import Task
from latentlabels.inputs import EncodedInputs, new_encoder

TEXT_DIRECTIONS = 300


def methods(arguments: argparse.Namespace) -> list[Method]:
    """All rows of the table."""
    shared: dict[str, Any] = {"chains": arguments.chains, "sweeps": arguments.sweeps}
    if arguments.backbone:
        # The features come as vectors here, and are treated as a frozen backbone's.
        shared |= {"input_dropout": FEATURE_DROPOUT, "teachers": TEACHERS, "students": STUDENTS}
    kinds: list[dict[str, Any]] = [
        {"kind": "regression"},
        {"kind": "rbm", "hidden": 0},
        {"kind": "rbm", "hidden": arguments.hidden},
    ]
    return [
        Method("verified rows only", "verified_only", shared),
        Method("noisy names mapped by hand", "mapped", shared),
        *(
            Method(
                " ".join(f"{v}" if k == "kind" else f"{v} {k}" for k, v in kind.items()) + " alone",
                "auxiliary",
                kind,
            )
            for kind in kinds
        ),
        Method("student of verified rows and regression", "student", {**shared, "students": 1}),
        Method("four of these students", "student", {**shared, "students": 4}),
        *paper_methods(arguments.hidden, shared),
        Method("default configuration", "model", shared),
        Method("default, hidden units", "model", {**shared, "hidden": arguments.hidden}),
        Method("default, x–y link", "model", {**shared, "noisy_link": True}),
        Method(
            "default, α = 0",
            "model",
            {**shared, "alpha_start": 0.0, "alpha_end": 0.0, "alpha_epochs": 0.0},
        ),
        Method("default, no teachers", "model", {**shared, "teachers": 0}),
        Method("default, no students", "model", {**shared, "students": 0}),
        Method("default, W from zero", "model", {**shared, "start": "zero"}),
        Method("all labels clean", "all_clean", shared),
    ]


@lru_cache(maxsize=1)
def task_of(source: str, seed: int, columns: tuple[tuple[str, Any], ...]) -> Task:
    """The demo's scenes of a seed, or a table."""
    if source == "demo":
        scenes = digit_scenes(seed=seed)
        x = scenes.images.reshape(len(scenes.images), -1)
        noisy, clean = ([list(c) for c in cells] for cells in (scenes.tags, scenes.labels))
        return Task(x, noisy, clean, np.array(scenes.split), scenes.verified)
    named = dict(columns)
    table = read_table(Path(source))
    split = splits(table, named["split"])
    verified = flags(table, named["verified"]) & (split == "train")
    if named["backbone"]:
        x = encoded(table, named, Path(source).parent)
    elif named["text"]:
        x = text_vectors(column_of(table, named["text"]).to_pylist(), split == "train")
    else:
        x = input_matrix(table, named["input"])
    noisy, clean = (label_cells(table, [named[side]]) for side in ("noisy", "clean"))
    return Task(x, noisy, clean, split, verified)


def encoded(table: pa.Table, named: dict[str, Any], folder: Path) -> np.ndarray:
    """Features of a frozen network, kept in the cache."""
    kind = "image" if named["image"] else "text"
    column = column_of(table, named[kind])
    encoder = new_encoder(
        kind,
        named["backbone"],
        weights=named["weights"],
        pretrained=True,
        size=None,
        augment=False,
    )
    reading = EncodedInputs(
        encoder,
        tuned=False,
        cache=named["cache"],
        workers=0,
        skip=False,
        seed=0,
        progress=False,
    )
    return reading.read(ArrowCells.of(column, folder if kind == "image" else None)).examples.values


def text_vectors(texts: list[str | None], train: np.ndarray) -> np.ndarray:
    """TF-IDF of words, projected on the leading singular directions of the training rows."""
    filled = np.array([text or "" for text in texts], dtype=object)
    words = TfidfVectorizer(min_df=3, sublinear_tf=True, stop_words="english")
    train_words = words.fit_transform(filled[train])
    directions = TruncatedSVD(min(TEXT_DIRECTIONS, train_words.shape[1] - 1), random_state=0)
    directions.fit(train_words)
    return directions.transform(words.transform(filled)).astype(np.float32)


def run(job: tuple[argparse.Namespace, Method, int]) -> Outcome:
    """One method and one seed, in a process of its own."""
    arguments, method, seed = job
    torch.set_num_threads(1)
    return run_method(task(arguments, seed), method, seed)[0]


def task(arguments: argparse.Namespace, seed: int) -> Task:
    """The task of a seed, kept by the process that asked last."""
    named = (
        *("text", "image", "input", "noisy", "clean", "split", "verified"),
        *("backbone", "weights", "cache"),
    )
    columns = tuple(
        (n, tuple(v) if isinstance(v := getattr(arguments, n), list) else v) for n in named
    )
    return task_of(arguments.source, seed if arguments.source == "demo" else 0, columns)


def rows(results: dict[str, list[Outcome]]) -> Iterator[str]:
    """The table in Markdown: mean ± standard deviation over seeds, in per cent."""
    yield "| method | test | recovery | epoch | seconds |"
    yield "|---|---|---|---|---|"
    for name, outcomes in results.items():
        parts = [_spread([getattr(o, key) for o in outcomes]) for key in ("test", "recovery")]
        epochs = [o.epoch for o in outcomes if o.epoch is not None]
        epoch = f"{np.mean(epochs):.0f}" if epochs else "–"
        seconds = np.mean([o.seconds for o in outcomes])
        yield f"| {name} | {parts[0]} | {parts[1]} | {epoch} | {seconds:.0f} |"


def _spread(values: list[float | None]) -> str:
    numbers = [100 * v for v in values if v is not None]
    if not numbers:
        return "–"
    spread = f" ± {np.std(numbers, ddof=1):.1f}" if len(numbers) > 1 else ""
    return f"{np.mean(numbers):.1f}{spread}"


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", help='"demo", or a table (CSV, Parquet, JSON Lines)')
    parser.add_argument(
        "--input", nargs="+", default=[], help="columns of numbers or one of vectors"
    )
    parser.add_argument("--text", help="a column of texts, instead of --input")
    parser.add_argument("--image", help="a column of images, instead of --input")
    parser.add_argument("--backbone", help="a timm model, or the folder of a text model")
    parser.add_argument("--weights", type=Path, help="the timm model's, as safetensors")
    parser.add_argument("--cache", type=Path, help="folder for features")
    parser.add_argument("--noisy", default="noisy")
    parser.add_argument("--clean", default="clean")
    parser.add_argument("--split", default="split")
    parser.add_argument("--verified", default="verified")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--hidden", type=int, default=20, help="hidden units, where a variant has them"
    )
    parser.add_argument("--chains", type=int, default=50)
    parser.add_argument("--sweeps", type=int, default=100)
    parser.add_argument("--only", nargs="+", help="names of methods, to run no others")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--out", type=Path, help="a JSON file for every outcome")
    arguments = parser.parse_args(argv)
    if arguments.source != "demo" and not Path(arguments.source).is_file():
        parser.error(f"{arguments.source} is not there: name a table, or demo")
    given = [bool(way) for way in (arguments.text, arguments.image, arguments.input)]
    if arguments.source != "demo" and sum(given) != 1:
        parser.error("a table needs --input columns, an --image column or a --text column")
    if arguments.image and not arguments.backbone:
        parser.error("--image needs a --backbone to see through")
    return arguments


def main(argv: list[str] | None = None) -> None:
    """Run every method on every seed and print the table."""
    arguments = parse(argv)
    chosen = [m for m in methods(arguments) if not arguments.only or m.name in arguments.only]
    first = task(arguments, 0)
    labels = len({name for cell in first.clean for name in cell})
    common = names_in_common(first)
    print(f"{common} of {labels} clean labels are named by a noisy label.", file=sys.stderr)
    if 2 * common < labels:
        chosen = [method for method in chosen if method.role != "mapped"]
    jobs = [(arguments, method, seed) for seed in range(arguments.seeds) for method in chosen]
    results: dict[str, list[Outcome]] = {method.name: [] for method in chosen}
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.jobs, mp_context=spawn) as pool:
        for (_, method, seed), outcome in zip(jobs, pool.map(run, jobs), strict=True):
            results[method.name].append(outcome)
            print(f"seed {seed}  {method.name}: {outcome}", file=sys.stderr, flush=True)
    print("\n".join(rows(results)))
    if arguments.out:
        content = {name: [vars(o) for o in outcomes] for name, outcomes in results.items()}
        arguments.out.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    try:
        main()
    except LatentLabelsError as error:
        sys.exit(f"quality.py: {error}")
