"""Start the processes that train together, or join those that were started."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.strategies import DDPStrategy, Strategy

from latentlabels import processes
from latentlabels.errors import LatentLabelsError

STRATEGIES: Final = ("auto", "ddp", "ddp_find_unused_parameters_true")

FIRST: Final = "LATENTLABELS_FIRST_PROCESS"
"""Variable in which a process that starts others tells them its number."""

_started: tuple[int, int] | None = None
"""Processes on each machine and machines that `launch` has brought together."""


@dataclass(frozen=True)
class Machines:
    """Where training takes place.

    Attributes:
        devices: processes on each machine, one a device; None for as many as torchrun, SLURM or an
            earlier fit started, and one where they started none.
        nodes: machines; None likewise.
        strategy: "ddp", or "ddp_find_unused_parameters_true" for a backbone some of whose
            parameters have no part in the loss; "auto" is "ddp" where there are several processes.
    """

    devices: int | None = None
    nodes: int | None = None
    strategy: str = "auto"

    def counts(self) -> tuple[int, int]:
        """Processes on each machine, and machines.

        Raises:
            LatentLabelsError: not those that have been started.
        """
        there = _there()
        if there is None:
            return self.devices or 1, self.nodes or 1
        asked = self.devices or there[0], self.nodes or there[1]
        if asked != there:
            raise LatentLabelsError(
                f"{there[0]} processes on each of {there[1]} machines have been started, and "
                f"{asked[0]} on each of {asked[1]} are asked for. Leave devices and nodes out, or "
                "start the program anew."
            )
        return there

    def lightning_strategy(self) -> str | Strategy:
        """What Lightning is to be told."""
        if processes.size() == 1:
            return "auto"
        # Buffers change in batch norms alone, and each process keeps its own.
        return DDPStrategy(
            broadcast_buffers=False,
            find_unused_parameters=self.strategy == "ddp_find_unused_parameters_true",
        )


def launch(machines: Machines) -> None:
    """Start the other processes, which run this program from its beginning, and come to terms.

    Nothing happens where there is to be one, or where they have been started before.

    Raises:
        LatentLabelsError: numbers or a strategy that make no sense, others than those that have
            been started, or processes that cannot be started.
    """
    global _started
    for name, value in (("devices", machines.devices), ("nodes", machines.nodes)):
        if value is not None and value < 1:
            raise LatentLabelsError(f"{name} is a whole number from 1, got {value}.")
    if machines.strategy not in STRATEGIES:
        raise LatentLabelsError(
            f"strategy is one of {', '.join(STRATEGIES)}; got {machines.strategy!r}."
        )
    devices, nodes = machines.counts()
    if devices * nodes == 1 or processes.size() > 1:
        return
    if nodes > 1 and _in_a_batch_script():
        raise LatentLabelsError(
            f"{nodes} machines are asked for, and this program was not started on them. In a SLURM "
            "job start it with srun."
        )
    # What it tells of backends goes through the one or the other.
    for part in ("fabric", "pytorch"):
        logging.getLogger(f"lightning.{part}").setLevel(logging.ERROR)
    try:
        fabric = Fabric(
            accelerator="auto",
            devices=devices,
            num_nodes=nodes,
            strategy="ddp",
            plugins=[*environments()],
        )
        with _ending_together():
            fabric.launch()
    except (
        ValueError,
        RuntimeError,
        MisconfigurationException,
        torch.distributed.DistError,
    ) as error:
        raise LatentLabelsError(
            f"{devices} processes on each of {nodes} machines cannot be started: {error}"
        ) from error
    if processes.size() != devices * nodes:
        raise LatentLabelsError(
            f"{devices} processes on each of {nodes} machines were asked for, and there are "
            f"{processes.size()}. On several machines start the program with torchrun or srun."
        )
    atexit.register(_leave)
    _started = devices, nodes


@contextmanager
def _ending_together() -> Iterator[None]:
    """Let processes that are started within end when the one that started them has ended.

    They would wait for it, or work on for nobody.
    """
    first = os.environ.pop(FIRST, None)
    if first is not None:

        def watch() -> None:
            while str(os.getppid()) == first:
                time.sleep(1.0)
            os._exit(1)

        threading.Thread(target=watch, daemon=True).start()
    os.environ[FIRST] = str(os.getpid())
    try:
        yield
    finally:
        del os.environ[FIRST]


def _leave() -> None:
    """End the threads of the processes' group, which may abort the program if they outlive it."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def environments() -> list[ClusterEnvironment]:
    """What Lightning has to be told of where it runs; nothing where it finds out by itself.

    A SLURM batch script has no step: a program that it starts by itself, without srun, is none of
    the job's tasks, and Lightning would take it for the first. Of a job's tasks Lightning would
    make checkpoints of its own and queue the job again on a signal.
    """
    if _in_a_batch_script():
        return [LightningEnvironment()]
    if SLURMEnvironment.detect() and "TORCHELASTIC_RUN_ID" not in os.environ:
        return [SLURMEnvironment(auto_requeue=False)]
    return []


def _in_a_batch_script() -> bool:
    """Whether this is SLURM's doing, but none of a job's tasks."""
    return bool(SLURMEnvironment.detect()) and _started_from_outside() is None


def _there() -> tuple[int, int] | None:
    """Processes on each machine and machines, where they have been started; None otherwise."""
    return _started_from_outside() or _started


def _started_from_outside() -> tuple[int, int] | None:
    """The same of those that torchrun or srun have started."""
    environment = os.environ
    if "TORCHELASTIC_RUN_ID" in environment:
        world, local = (int(environment[name]) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
        return local, world // local
    if SLURMEnvironment.detect() and "SLURM_STEP_ID" in environment:
        world, nodes = (int(environment[name]) for name in ("SLURM_NTASKS", "SLURM_NNODES"))
        return world // nodes, nodes
    return None
