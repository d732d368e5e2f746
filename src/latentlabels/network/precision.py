"""Which precision is faster here, by trying."""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn


def faster_dtype(encoder: nn.Module, batch: Tensor, *, repeats: int = 2) -> torch.dtype:
    """The faster of bfloat16 autocast and float32, for a training step's forward and backward.

    Each is run once to warm up and then timed; the shortest time counts, and a tie goes to
    float32. Weights, gradients, running statistics, modes and random states stay as they are.

    Args:
        encoder: a network, on the batch's device.
        batch: one batch of its inputs, as large as training's.
        repeats: timed runs of each.
    """
    buffers = [(buffer, buffer.clone()) for buffer in encoder.buffers()]
    modes = [(part, part.training) for part in encoder.modules()]
    devices = [batch.device] if batch.is_cuda else []
    encoder.train()
    try:
        with torch.random.fork_rng(devices=devices):
            single = _seconds(encoder, batch, torch.float32, repeats)
            try:
                half = _seconds(encoder, batch, torch.bfloat16, repeats)
            except RuntimeError:  # an operation without a bfloat16 kernel here
                return torch.float32
    finally:
        for part, training in modes:
            part.training = training
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
    return torch.bfloat16 if half < single else torch.float32


def _seconds(encoder: nn.Module, batch: Tensor, dtype: torch.dtype, repeats: int) -> float:
    """The shortest time of a step, after one that warms up."""
    weights = [weight for weight in encoder.parameters() if weight.requires_grad]
    times = []
    for _ in range(repeats + 1):
        _wait_for(batch.device)
        start = time.perf_counter()
        with torch.autocast(batch.device.type, dtype, enabled=dtype is not torch.float32):
            features = encoder(batch)
        if weights:
            # Unlike backward(), this leaves the weights' own gradients alone.
            torch.autograd.grad(features.float().sum(), weights, allow_unused=True)
        _wait_for(batch.device)
        times.append(time.perf_counter() - start)
    return min(times[1:], default=times[0])


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
