"""The processes that work together, if there are several: what they tell each other.

All of them call these functions, in the same order. What is told are tensors and bytes, never
pickled objects.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import Any, Final

import torch
import torch.distributed as dist
from torch import Tensor

from latentlabels.errors import LatentLabelsError, OtherProcessError

LONGEST_AGREEMENT: Final = 20.0
"""Seconds: processes that meet the same error meet it at the same step."""
LONGEST_WAIT: Final = timedelta(days=7)
"""One may have to fit or to read for days while the others wait; a broken connection ends it."""


def size() -> int:
    """How many there are."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return dist.get_rank() if size() > 1 else 0


def summed(tensor: Tensor) -> Tensor:
    """The sum of everyone's tensor, all of one shape."""
    if size() == 1:
        return tensor
    total = tensor.detach().cpu().clone()
    dist.all_reduce(total, group=_on_cpu())
    return total.to(tensor.device)


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


def everyones(value: Any) -> list[Any]:
    """Everyone's value of plain JSON."""
    own = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
    return [json.loads(part.numpy().tobytes()) for part in gathered(own)]


def collected(own: Tensor, rows: Tensor) -> Tensor | None:
    """Everyone's rows in one tensor in the first process; None in the others.

    Args:
        own: values of this process's rows, (own rows, ...), on the CPU.
        rows: which of all rows these are, (own rows,); each is one process's.
    """
    counts = [int(count) for count in gathered(torch.tensor([len(rows)]))]
    if rank() > 0:
        for part in (rows, own):
            dist.send(part.contiguous(), 0, group=_on_cpu())
        return None
    whole = own.new_empty(sum(counts), *own.shape[1:])
    whole[rows] = own
    for sender, count in enumerate(counts[1:], 1):
        places, part = rows.new_empty(count), own.new_empty(count, *own.shape[1:])
        for incoming in (places, part):
            dist.recv(incoming, sender, group=_on_cpu())
        whole[places] = part
    return whole


def follow_first(tensors: Iterable[Tensor]) -> None:
    """Give everyone's tensors the values of the first process's, in place."""
    if size() == 1:
        return
    for tensor in tensors:
        value = tensor.detach().cpu().contiguous()
        dist.broadcast(value, 0, group=_on_cpu())
        tensor.detach().copy_(value)


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


def give_up_unless_all_failed(error: Exception) -> None:
    """Of an error in the middle of joint work: return if all meet one, or else end this process.

    Others would wait in that work until it times out; they are freed when this process has ended.
    """
    if size() == 1:
        return

    def end() -> None:
        what = "another process has ended" if _is_of_connection(error) else str(error)
        sys.stderr.write(f"latentlabels: error: process {rank()} of {size()}: {what}\n")
        sys.stderr.flush()
        os._exit(1)

    patience = threading.Timer(LONGEST_AGREEMENT, end)
    patience.start()
    try:
        dist.barrier(group=_on_cpu())
    except RuntimeError:
        end()
    patience.cancel()


def _is_of_connection(error: Exception) -> bool:
    return isinstance(error, RuntimeError) and "onnection" in str(error)


@contextmanager
def together() -> Iterator[None]:
    """What cannot be done in one process is an error in all, and none is left waiting for it.

    Within, processes tell one another something directly after another `together` alone: who fails
    tells so where the others tell that they have not.

    Raises:
        OtherProcessError: what was done within has failed in another process.
    """
    if size() == 1:
        yield
        return
    note = f"Raised in process {rank()} of {size()}, counted from 0."
    try:
        yield
    except OtherProcessError:
        raise
    except Exception as error:
        # With the note, another `together` within has told everyone.
        if note not in getattr(error, "__notes__", ()):
            kind = "" if isinstance(error, LatentLabelsError) else f"{type(error).__name__}: "
            everyones(f"{kind}{error}")
            error.add_note(note)
        raise
    for process, failure in enumerate(everyones(None)):
        if failure is not None:
            raise OtherProcessError(
                f"Process {process} of {size()}, counted from 0, cannot go on: {failure}"
            )


@cache
def _on_cpu() -> Any:
    """The processes as a group that passes tensors of the CPU on, whatever the devices."""
    return dist.new_group(backend="gloo", timeout=LONGEST_WAIT)
