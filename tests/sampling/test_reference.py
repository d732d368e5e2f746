"""The reference on any device: `pytest tests/sampling --device cuda` runs it on a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from tests.monte_carlo import STANDARD_ERRORS, assert_draws_follow
from tests.small_models import EVERY_MODEL, SmallModel, repeated
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from latentlabels.model.exact import exact_joint
from latentlabels.model.pairwise import Fields, PairwiseCRF
from latentlabels.sampling.gibbs import GibbsRun, run_gibbs
from latentlabels.sampling.uniforms import Purpose, Uniforms

ROWS, CHAINS, SWEEPS = 100, 20, 20

# Of every kind of layer some; all of them are sampled on the CPU in statistical/test_sampler.py.
SOME = dict(list(EVERY_MODEL.items())[::7])
every_model = pytest.mark.parametrize("model", SOME.values(), ids=SOME)


def start_on(
    device: torch.device, model: SmallModel
) -> tuple[PairwiseCRF, Fields, Tensor, Uniforms, Tensor]:
    """What a run needs, on the device."""
    crf = model.crf(torch.float32)
    fields = crf.fields(repeated(model.potentials(1), ROWS, torch.float32))
    rows = torch.arange(ROWS, device=device)
    return (
        crf.to(device),
        Fields(*(field.to(device) for field in fields)),
        torch.zeros(ROWS, CHAINS, crf.latent.size, device=device),
        Uniforms(0, Purpose.SWEEP, rows, CHAINS),
        torch.zeros_like(rows),
    )


def run_on(device: torch.device, model: SmallModel) -> GibbsRun:
    return run_gibbs(*start_on(device, model), sweeps=SWEEPS, sampler="reference")


@every_model
def test_chains_follow_the_enumerated_law(model: SmallModel, device: torch.device) -> None:
    run = run_on(device, model)
    assert run.latent.device.type == device.type
    joint = exact_joint(model.crf(), model.potentials(1))
    assert_draws_follow(joint, run.latent.cpu().flatten(0, 1), run.noisy.cpu().flatten(0, 1))


@every_model
def test_devices_give_the_same_states_but_for_ties(model: SmallModel, device: torch.device) -> None:
    """The numbers are integers' and the sums exact; logistic and softmax may round otherwise."""
    here, there = run_on(torch.device("cpu"), model), run_on(device, model)
    same = (here.latent == there.latent.cpu()).all(-1) & (here.noisy == there.noisy.cpu()).all(-1)
    draws = model.noisy.draws + model.clean.draws + model.hidden
    ties = 1e-6 * ROWS * CHAINS * SWEEPS * draws
    assert (~same).sum() <= ties + STANDARD_ERRORS * ties**0.5


class NoLooking(TorchDispatchMode):
    """Refuses what makes the host wait for the device: reading a value, or a size that depends."""

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = function.overloadpacket.__name__
        assert name not in ("_local_scalar_dense", "nonzero", "is_nonzero", "masked_select"), name
        return function(*args, **(kwargs or {}))


@every_model
def test_the_host_never_waits(model: SmallModel, device: torch.device) -> None:
    """On a GPU the driver watches too, over sweeps and not over what brings the data there."""
    begun = start_on(device, model)
    with NoLooking(), no_synchronisation(device):
        run_gibbs(*begun, sweeps=2, sampler="reference")


@contextmanager
def no_synchronisation(device: torch.device) -> Iterator[None]:
    """Let the GPU's driver raise where the host waits for it."""
    if device.type != "cuda":
        yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_look_at_a_value_would_be_caught(device: torch.device) -> None:
    value: Tensor = torch.ones((), device=device)
    with NoLooking(), pytest.raises(AssertionError, match="_local_scalar_dense"):
        value.item()
