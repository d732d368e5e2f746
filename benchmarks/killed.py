"""Kill a command at random moments, resume it, and look whether anything is different.

    python benchmarks/killed.py --moments 30

The command is `latentlabels clean` on a table of small pictures, with a frozen network whose
features are cached, teachers, hidden units and with them persistent chains mapped from a file, and
students. It is run once as a reference. Then it is started again and again, each time in a folder
of its own, ended by SIGKILL at a random moment, and started anew with the same words, `--resume`
among them; every third time this second process is killed too. Every second time the results'
folder holds a file of the user's, so that results are moved into it one by one.

In the end model, cleaned table, metrics and report have to be those of the reference byte by byte
(but for the date of the fit), and the same files have to be there: in the results' folder, among
checkpoints, in the cache, in the folder for temporary files and beside them. Processes are forked
from one that has imported the library, which would take each of them longer than the command. And
no embeddings that were written, nor a network that another followed, may have been made anew.

Moments are spread over phases. A phase is known by what the process has left on the disk so far,
which is the same whatever the machine is busy with: a moment is a random share of the time the
reference took for the phase, from when its first file appears.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from latentlabels.cli import main as latentlabels
from latentlabels.network.embedding_cache import SHARD_ROWS

# In the order of a run. A process that is killed when results are in their place has ended: to
# resume it says that they are there.
PHASES = ("reading", "embedding", "auxiliary", "teachers", "fitting", "students", "writing")
RESUMED, ENDED = "a resumed run", "ended"
BACKBONE = "test_resnet.r160_in1k"
COLOURS = {"blue": (30, 40, 220), "green": (40, 200, 60), "red": (220, 50, 30)}
POLL = 0.001
RESULTS = ("cleaned.parquet", "metrics.json", "model", "report.html")
TOLD = "told.txt"
NOTES = "notes.txt"
NETWORKS = ("teacher-1", "teacher-2", "", "student-1", "student-2")
IMPORTED = ["latentlabels.cli.app", "lightning", "timm"]


@dataclass
class Command:
    """The command, the same words in every folder.

    Attributes:
        data: the folder of table and weights.
        rows: of the table.
        epochs: of training.
        processes: where they come from.
    """

    data: Path
    rows: int
    epochs: int
    processes: ForkServerContext

    def words(self) -> list[str]:
        """What stands behind the program's name."""
        return [
            *("clean", str(self.data / "pictures.parquet"), "--out", "run"),
            *("--input", "image", "--noisy", "tags", "--clean", "labels"),
            *("--verified", "verified", "--split", "split"),
            *("--backbone", BACKBONE, "--weights", str(self.data / "weights.safetensors")),
            *("--image-size", "48", "--cache", "cache", "--hidden-layers", "32"),
            *("--auxiliary", "rbm", "--hidden", "20", "--teachers", "2", "--students", "2"),
            *("--chains", "5", "--sweeps", "10", "--chain-file", "chains"),
            *("--epochs", str(self.epochs), "--patience", str(self.epochs)),
            *("--checkpoints", "checkpoints", "--resume"),
        ]

    def start(self, folder: Path) -> ForkServerProcess:
        """Start it in a folder."""
        process = self.processes.Process(target=run, args=(folder, self.words()))
        process.start()
        return process

    def phase(self, folder: Path) -> str:
        """How far a run has come that was never killed before, by what it has left."""
        checkpoints = folder / "checkpoints"
        asides = [*folder.glob(".latentlabels-*"), *folder.glob("run/.latentlabels-*")]
        if are_there(folder):
            return "writing" if asides else ENDED
        if any(any(aside.glob(f"{part}/*")) for aside in asides for part in ("new", "moving")):
            return "writing"
        if (checkpoints / "student-1").exists():
            return "students"
        if any(checkpoints.glob("*.ckpt*")) or any(checkpoints.glob(".*.partial")):
            return "fitting"
        if (checkpoints / "teacher-1").exists():
            return "teachers"
        if len(list(folder.glob("cache/*/*.safetensors"))) * SHARD_ROWS >= self.rows:
            return "auxiliary"
        return "embedding" if (folder / "cache").exists() else "reading"


def run(folder: Path, words: list[str]) -> None:
    """Be the command, in a folder, and end with its code."""
    os.chdir(folder)
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder / "tmp")
    with (
        Path(os.devnull).open("w") as nowhere,
        folder.with_name(f"{folder.name}-{TOLD}").open("w") as told,
    ):
        for stream, file in ((sys.stdout, nowhere), (sys.stderr, told)):
            os.dup2(file.fileno(), stream.fileno())
        sys.exit(latentlabels(words))


@dataclass(frozen=True)
class Reference:
    """A run that nobody disturbed.

    Attributes:
        folder: where it was.
        seconds: that each phase took.
    """

    folder: Path
    seconds: dict[str, float]


def refer(command: Command, folder: Path) -> Reference:
    """Run the command once, and measure its phases."""
    prepare(folder, used=False)
    process, begun = command.start(folder), dict.fromkeys(PHASES[:1], time.monotonic())
    while process.is_alive():
        begun.setdefault(command.phase(folder), time.monotonic())
        time.sleep(POLL)
    if process.exitcode:
        sys.exit(f"the command failed: {told_by(folder)}")
    known = [phase for phase in PHASES if phase in begun]
    moments = [begun[phase] for phase in known] + [begun.get(ENDED, time.monotonic())]
    spans = (later - earlier for earlier, later in itertools.pairwise(moments))
    return Reference(folder, dict(zip(known, spans, strict=True)))


def kill_in(command: Command, folder: Path, phase: str, wait: float) -> str | None:
    """Start the command, and kill it some time after a phase has begun.

    Returns:
        The phase in which it was killed; None where it had ended before.
    """
    process = command.start(folder)
    until = [*PHASES[PHASES.index(phase) :], ENDED]
    while process.is_alive() and command.phase(folder) not in until:
        time.sleep(POLL)
    return command.phase(folder) if kill_after(process, wait) else None


def kill_after(process: ForkServerProcess, wait: float) -> bool:
    """Kill a process after some time; whether it had not ended before."""
    process.join(wait)
    process.kill()
    process.join()
    return process.exitcode is not None and process.exitcode < 0


def resume(command: Command, folder: Path) -> str | None:
    """Start the command anew and let it end; says what went wrong, if anything did."""
    there = are_there(folder)
    process = command.start(folder)
    process.join()
    told = told_by(folder)
    if there:
        refused = process.exitcode == 2 and "Pass --overwrite to replace them" in told
        return None if refused else f"results were there, and the command said {told!r}"
    return f"it ended with {process.exitcode}: {told}" if process.exitcode else None


def are_there(folder: Path) -> bool:
    """Whether all results are in their place."""
    return all((folder / "run" / name).exists() for name in RESULTS)


def told_by(folder: Path) -> str:
    """What the last command in a folder said of what went wrong."""
    return folder.with_name(f"{folder.name}-{TOLD}").read_text()


def prepare(folder: Path, *, used: bool) -> None:
    """Make a folder to run in; the results' folder is there already if it is used for more."""
    (folder / "tmp").mkdir(parents=True)
    if used:
        (folder / "run").mkdir()
        (folder / "run" / NOTES).write_text(NOTES)


def files_of(folder: Path) -> Counter[str]:
    """The files in a folder; shards of embeddings have names of their own, and hold any rows."""
    files: Counter[str] = Counter()
    for path in folder.rglob("*"):
        place = path.relative_to(folder)
        shard = path.suffix == ".safetensors" and place.parts[0] == "cache"
        files[str(place.parent / "shard" if shard else place)] = 1
    return files


def results_of(folder: Path) -> dict[str, Any]:
    """What a run left, but for the date."""
    run = folder / "run"
    found: dict[str, Any] = {
        str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*") if path.is_file()
    }
    description = json.loads(found["model/model.json"])
    date = description["provenance"].pop("date").encode()
    report = found["report.html"].replace(date, b"").replace(date[:10], b"")
    return {**found, "model/model.json": description, "report.html": report}


def done(folder: Path) -> dict[Path, int]:
    """What is not done again, and when it was written: shards, networks that others followed."""
    places = [folder / "checkpoints" / name / "last.ckpt" for name in NETWORKS]
    trained = [place for place in places if place.exists()][:-1]
    shards = folder.glob("cache/*/*.safetensors")
    return {path: path.stat().st_mtime_ns for path in (*shards, *trained)}


def differences(folder: Path, reference: Reference) -> list[str]:
    """In what a run differs from the reference."""
    here, there = files_of(folder), files_of(reference.folder)
    here.pop(f"run/{NOTES}", None)
    found = [f"stray: {name}" for name in here - there]
    found += [f"missing: {name}" for name in there - here]
    if not found:
        ours, theirs = results_of(folder), results_of(reference.folder)
        found += [f"differs: {name}" for name in theirs if ours[name] != theirs[name]]
    return found


def write_data(folder: Path, rows: int) -> None:
    """Pictures of one to three colours with noisy tags, and a small network's weights."""
    generator = np.random.default_rng(0)
    names = list(COLOURS)
    truth = generator.random((rows, len(names))) < 0.5
    # Tags: the colour under two names, each now and then missed, and some that mean nothing.
    chance = np.where(np.repeat(truth, 2, 1), 0.7, 0.1)
    noisy = generator.random(chance.shape) < chance
    junk = generator.random((rows, 14)) < 0.15
    tags = [f"{name} {number}" for name in names for number in (1, 2)]
    tags += [f"junk {number}" for number in range(junk.shape[1])]
    images = []
    for row in truth:
        pixels = generator.normal(40, 30, (48, 48, 3))
        for place in np.flatnonzero(row):
            pixels[:, 16 * place : 16 * place + 16] += COLOURS[names[place]]
        file = io.BytesIO()
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "PNG")
        images.append(file.getvalue())
    part = np.arange(rows) / rows
    table = {
        "image": images,
        "tags": named(np.hstack([noisy, junk]), tags),
        "labels": named(truth, names),
        "split": np.select([part < 0.7, part < 0.85], ["train", "validation"], "test"),
        "verified": (part < 0.7) & (np.arange(rows) % 3 == 0),
    }
    pyarrow.parquet.write_table(pa.table(table), folder / "pictures.parquet")
    torch.manual_seed(0)
    network = timm.create_model(BACKBONE, pretrained=False)
    save_file(network.state_dict(), folder / "weights.safetensors")


def named(states: np.ndarray, names: list[str]) -> list[list[str]]:
    """Rows of booleans as lists of names."""
    return [[name for name, on in zip(names, row, strict=True) if on] for row in states]


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moments", type=int, default=30, help="kills, over all phases")
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seed", type=int, help="of the moments; another each time by default")
    arguments = parser.parse_args(argv)
    if arguments.moments < 1 or arguments.rows < 2 * SHARD_ROWS:
        parser.error(f"take at least one moment and {2 * SHARD_ROWS} rows")
    return arguments


def main(argv: list[str] | None = None) -> int:
    """Kill and resume, and print what came of it; 1 if anything differs."""
    arguments = parse(argv)
    seed = random.randrange(2**32) if arguments.seed is None else arguments.seed
    moments = random.Random(seed)
    kills: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as scratch:
        write_data(Path(scratch), arguments.rows)
        os.environ |= {
            "HF_HUB_OFFLINE": "1",
            "NUMBA_CACHE_DIR": str(Path(scratch) / "numba"),
            "OMP_NUM_THREADS": "1",
        }
        processes = multiprocessing.get_context("forkserver")
        processes.set_forkserver_preload(IMPORTED)
        command = Command(Path(scratch), arguments.rows, arguments.epochs, processes)
        # Once more for the time: the first compiles.
        refer(command, Path(scratch) / "first")
        reference = refer(command, Path(scratch) / "reference")
        failed = differences(Path(scratch) / "first", reference)
        if failed:
            sys.exit(f"two undisturbed runs differ: {failed}")
        print(f"seed {seed}; {sum(reference.seconds.values()):.1f} s undisturbed:", end=" ")
        print(", ".join(f"{phase} {took:.2f} s" for phase, took in reference.seconds.items()))
        aims = itertools.cycle(reference.seconds)
        number = 0
        while kills.total() - kills[ENDED] < arguments.moments:
            number += 1
            folder, aim = Path(scratch) / f"run-{number}", next(aims)
            prepare(folder, used=number % 2 == 0)
            wait = moments.random() * reference.seconds[aim]
            phase = kill_in(command, folder, aim, wait)
            if phase is None:
                # Too late, for the machine is quicker than it was.
                reference.seconds[aim] *= 0.7
                shutil.rmtree(folder)
                continue
            kills[phase] += 1
            if number % 3 == 0 and phase != ENDED:
                wait = moments.random() * sum(reference.seconds.values())
                kills[RESUMED] += kill_after(command.start(folder), wait)
            before = done(folder)
            said = resume(command, folder)
            failed = [said] if said else differences(folder, reference)
            after = done(folder)
            failed += [f"done again: {path}" for path in before if after.get(path) != before[path]]
            wrong[phase] += bool(failed)
            print(f"{number:3} killed in {phase:10} {'; '.join(failed) or 'same'}", flush=True)
            shutil.rmtree(folder)
    print(f"\n{'killed in':15}{'moments':>8}{'differ':>8}")
    for phase in (*PHASES, RESUMED, ENDED):
        if kills[phase]:
            print(f"{phase:15}{kills[phase]:8}{wrong[phase]:8}")
    print(f"{'all':15}{kills.total():8}{wrong.total():8}")
    return int(wrong.total() > 0)


if __name__ == "__main__":
    sys.exit(main())
