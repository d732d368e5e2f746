"""The processes that work together, if there are several: what they tell each other.

All of them call these functions, in the same order. What is told are tensors and bytes, never
pickled objects.
"""

from __future__ import annotations

import json
from datetime import timedelta
from functools import cache
from typing import Any, Final

import torch
import torch.distributed as dist
from torch import Tensor

# Until the last has done its share; of a process that has ended the connection breaks at once.
LONGEST_WAIT: Final = timedelta(days=7)


def size() -> int:
    """How many there are."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return dist.get_rank() if size() > 1 else 0


def wait() -> None:
    """Go on when all have come here."""
    if size() > 1:
        dist.barrier(group=_on_cpu())


def summed(tensor: Tensor) -> Tensor:
    """The sum of everyone's tensor, all of one shape."""
    return _reduced(tensor, dist.ReduceOp.SUM) if size() > 1 else tensor


def largest(tensor: Tensor) -> Tensor:
    """The element by element largest of everyone's tensor, all of one shape."""
    return _reduced(tensor, dist.ReduceOp.MAX) if size() > 1 else tensor


def of_first(tensor: Tensor) -> Tensor:
    """The first process's tensor, all of one shape."""
    if size() == 1:
        return tensor
    first = tensor.detach().cpu().clone()
    dist.broadcast(first, 0, group=_on_cpu())
    return first.to(tensor.device)


def gathered(tensor: Tensor) -> list[Tensor]:
    """Everyone's tensor, which may differ in their number of rows, on the CPU."""
    if size() == 1:
        return [tensor.cpu()]
    own = tensor.detach().cpu().contiguous()
    lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(size())]
    dist.all_gather(lengths, torch.tensor([len(own)]), group=_on_cpu())
    most = int(max(lengths))
    padded = own.new_zeros(most, *own.shape[1:])
    padded[: len(own)] = own
    parts = [torch.empty_like(padded) for _ in lengths]
    dist.all_gather(parts, padded, group=_on_cpu())
    return [part[: int(length)] for part, length in zip(parts, lengths, strict=True)]


def everyones(content: bytes) -> list[bytes]:
    """What each process has to say, in their order."""
    own = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    return [part.numpy().tobytes() for part in gathered(own)]


def told(content: bytes | None) -> bytes:
    """What the first process has to say; the others pass None."""
    if size() == 1:
        assert content is not None
        return content
    own = torch.frombuffer(bytearray(content or b"\0"), dtype=torch.uint8)
    first = rank() == 0
    length = torch.tensor([len(own)])
    dist.broadcast(length, 0, group=_on_cpu())
    message = own if first else torch.empty(int(length), dtype=torch.uint8)
    dist.broadcast(message, 0, group=_on_cpu())
    return message.numpy().tobytes()


def agreed(value: Any) -> Any:
    """The first process's value of plain JSON."""
    return json.loads(told(json.dumps(value).encode() if rank() == 0 else None))


def _reduced(tensor: Tensor, operation: dist.ReduceOp.RedOpType) -> Tensor:
    total = tensor.detach().cpu().clone()
    dist.all_reduce(total, operation, group=_on_cpu())
    return total.to(tensor.device)


@cache
def _on_cpu() -> Any:
    """The processes as a group that passes tensors of the CPU on, whatever the devices."""
    return dist.new_group(backend="gloo", timeout=LONGEST_WAIT)
