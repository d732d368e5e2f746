"""The paper's whole sampling set-up: what all chains take up, in memory and mapped from a file.

    python benchmarks/chains.py

One update after the other on random batches: 87,000 rows of 50 chains, 73 clean, 200 hidden and
1,000 noisy units, 100 sweeps. The two stores are timed side by side, and end in the same states.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch

from latentlabels.model.pairwise import PairwiseCRF
from latentlabels.model.schedule import GibbsSchedule
from latentlabels.model.units import Bernoulli
from latentlabels.objective import PersistentGibbs


def main(argv: list[str] | None = None) -> None:
    """Build both stores, run updates on both, and print sizes and the ratio of times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=87_000)
    parser.add_argument("--chains", type=int, default=50)
    parser.add_argument("--sweeps", type=int, default=100)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--updates", type=int, default=6)
    parser.add_argument("--folder", type=Path, help="where the file goes, by default a temporary")
    arguments = parser.parse_args(argv)
    torch.manual_seed(0)
    crf = PairwiseCRF(Bernoulli(1000), Bernoulli(73), 200)
    with torch.no_grad():
        for parameter in crf.parameters():
            parameter.normal_(0, 0.05)
        crf.noisy_bias.fill_(-4.2)  # about 15 of 1,000 words a caption
    fields = crf.fields()
    latent = crf.latent.size
    schedule = GibbsSchedule(arguments.chains, arguments.sweeps, adaptive=False)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as scratch:
        file = Path(scratch) / "chains"
        phases = {
            "in memory": PersistentGibbs(arguments.rows, latent, schedule),
            "mapped": PersistentGibbs(arguments.rows, latent, schedule, file=file),
        }
        seconds = dict.fromkeys(phases, 0.0)
        batches = torch.randperm(arguments.rows).split(arguments.batch)[: arguments.updates]
        for number, rows in enumerate(batches):
            start = torch.full((len(rows), latent), 0.1)
            # Which goes first changes, so that neither always finds the machine warm.
            for name in sorted(phases, reverse=bool(number % 2)):
                begun = time.perf_counter()
                phases[name].log_partition(crf, fields, rows, start)
                seconds[name] += time.perf_counter() - begun
        stores = [phase.store.bits for phase in phases.values()]
        assert torch.equal(*stores)
        print(f"chains: {stores[0].nbytes / 1e6:.0f} MB for {arguments.rows:,} rows")
        print(f"file: {file.stat().st_size / 1e6:.0f} MB")
        print(
            f"time of an update, mapped / in memory: {seconds['mapped'] / seconds['in memory']:.2f}"
        )


if __name__ == "__main__":
    main()
