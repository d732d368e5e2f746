"""Start the processes that train together, or join those that were started."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from typing import Final

import torch
from lightning.fabric import Fabric
from lightning.pytorch.strategies import DDPStrategy, Strategy

from latentlabels import processes
from latentlabels.errors import LatentLabelsError

STRATEGIES: Final = ("auto", "ddp", "ddp_find_unused_parameters_true")


@dataclass(frozen=True)
class Machines:
    """Where training takes place.

    Attributes:
        devices: processes on each machine, one a device; None for as many as torchrun started, and
            one where it started none.
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
            LatentLabelsError: not those that torchrun started.
        """
        world, local = (
            int(os.environ.get(name, "1")) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE")
        )
        if "TORCHELASTIC_RUN_ID" not in os.environ:
            return self.devices or 1, self.nodes or 1
        started = local, world // local
        asked = self.devices or started[0], self.nodes or started[1]
        if asked != started:
            raise LatentLabelsError(
                f"torchrun started {started[0]} processes on each of {started[1]} machines, and "
                f"{asked[0]} on each of {asked[1]} were asked for. Leave devices and nodes out."
            )
        return started

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
        LatentLabelsError: numbers or a strategy that make no sense, or processes that cannot be
            started.
    """
    for name, value in (("devices", machines.devices), ("nodes", machines.nodes)):
        if value is not None and value < 1:
            raise LatentLabelsError(f"{name} is a whole number from 1, got {value}.")
    if machines.strategy not in STRATEGIES:
        raise LatentLabelsError(
            f"strategy is one of {', '.join(STRATEGIES)}; got {machines.strategy!r}."
        )
    devices, nodes = machines.counts()
    if devices * nodes == 1:
        return
    if processes.size() > 1:
        if processes.size() != devices * nodes:
            raise LatentLabelsError(
                f"{processes.size()} processes work together already, and {devices * nodes} are "
                "asked for. Ask for as many, or start the program anew."
            )
        return
    logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
    try:
        Fabric(accelerator="auto", devices=devices, num_nodes=nodes, strategy="ddp").launch()
    except (ValueError, RuntimeError, torch.distributed.DistError) as error:
        raise LatentLabelsError(
            f"{devices} processes on each of {nodes} machines cannot be started: {error}"
        ) from error
