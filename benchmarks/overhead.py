"""What sampling adds to a step of training: the negative phase beside a ResNet-50 at 224 pixels.

    python benchmarks/overhead.py

Both at the paper's COCO shape (73 clean, 200 hidden and 1,000 noisy units, about 15 of them on) on
random images, in turns: forward, backward and update of the network, and the robust loss's negative
phase with its gradient, at 50 chains of 100 sweeps and at 5 of 20. The paper has 16 %.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import timm
import torch
from torch.nn import functional

from latentlabels.model.pairwise import PairwiseCRF, Potentials
from latentlabels.model.schedule import GibbsSchedule
from latentlabels.model.units import Bernoulli
from latentlabels.objective import PersistentGibbs

SCHEDULES = ((50, 100), (5, 20))
CLEAN, HIDDEN, NOISY = 73, 200, 1000
PIXELS = 224


def paper_crf() -> PairwiseCRF:
    """A model of the paper's shape, whose noisy layer is as sparse as captions are."""
    crf = PairwiseCRF(Bernoulli(NOISY), Bernoulli(CLEAN), HIDDEN)
    with torch.no_grad():
        crf.clean_noisy.normal_(0, 0.1)
        crf.hidden_noisy.normal_(0, 0.1)
        crf.noisy_bias.fill_(-5.0)
    return crf


def sampling_step(crf: PairwiseCRF, batch: int, schedule: GibbsSchedule) -> Callable[[], None]:
    """The negative phase of a batch and its gradient, whose chains go on from call to call."""
    phase = PersistentGibbs(batch, crf.latent.size, schedule)
    potentials = Potentials(torch.randn(batch, CLEAN, requires_grad=True))
    rows, start = torch.arange(batch), torch.full((batch, crf.latent.size), 0.3)

    def step() -> None:
        phase.log_partition(crf, crf.fields(potentials), rows, start).mean().backward()

    return step


def network_step(name: str, batch: int, precision: torch.dtype) -> Callable[[], None]:
    """Forward, backward and update of a network with an output for every clean label."""
    network = timm.create_model(name, num_classes=CLEAN)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4, foreach=True)
    images, labels = torch.randn(batch, 3, PIXELS, PIXELS), torch.zeros(batch, CLEAN)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
            logits = network(images)
        loss = functional.binary_cross_entropy_with_logits(logits.float(), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


def timed(step: Callable[[], None]) -> float:
    """Seconds of one call."""
    begun = time.perf_counter()
    step()
    return time.perf_counter() - begun


def main(argv: list[str] | None = None) -> None:
    """Time all of them in turns, and print milliseconds an image and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="resnet50", help="a timm model, of random weights")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    batch, crf = arguments.batch_size, paper_crf()
    networks = {
        name: network_step(arguments.backbone, batch, getattr(torch, name))
        for name in ("float32", "bfloat16")
    }
    samplers = {
        f"{chains} chains, {sweeps} sweeps": sampling_step(
            crf, batch, GibbsSchedule(chains, sweeps)
        )
        for chains, sweeps in SCHEDULES
    }
    steps = networks | samplers
    for step in steps.values():
        step()
    rounds = [{name: timed(step) for name, step in steps.items()} for _ in range(arguments.rounds)]
    print(f"{arguments.backbone}, batches of {batch}, {arguments.threads} threads")
    print("| what | ms an image | of a float32 step | of a bfloat16 step |\n|---|---|---|---|")
    for name in steps:
        each = 1000 * median(one[name] for one in rounds) / batch
        shares = [median(one[name] / one[network] for one in rounds) for network in networks]
        print(f"| {name} | {each:.1f} | " + " | ".join(f"{share:.1%}" for share in shares) + " |")


if __name__ == "__main__":
    main()
