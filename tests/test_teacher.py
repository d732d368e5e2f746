"""A teacher's scale makes it as sure as it has a right to be."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from tests.test_robust_model import GivenPotentials

from latentlabels.fitting import calibrated_scale
from latentlabels.model.pairwise import Potentials
from latentlabels.model.units import Bernoulli, Categorical, Units
from latentlabels.network.examples import Examples
from latentlabels.robust_model import Teacher
from latentlabels.training.rows import Rows

ROWS = 4000


class Numbers(Examples):
    """Examples that are their row numbers."""

    def __len__(self) -> int:
        return ROWS

    def take(self, rows: np.ndarray) -> Numbers:
        raise NotImplementedError

    def batch(self, rows: np.ndarray, visit: int | None = None) -> torch.Tensor:
        return torch.from_numpy(rows)


@pytest.mark.parametrize("units", [Bernoulli(2), Categorical(4)], ids=repr)
@pytest.mark.parametrize("exaggeration", [0.7, 1.0, 3.0])
def test_exaggeration_is_taken_back(units: Units, exaggeration: float) -> None:
    """Labels are drawn from p; a teacher says `exaggeration` times p's logits.

    The estimate of the scale s has the standard error 1/√(rows · Var[d/ds log p]), by Fisher.
    """
    generator = torch.Generator().manual_seed(0)
    logits = 1.5 * torch.randn(ROWS, units.size, generator=generator)
    uniforms = torch.rand(ROWS, units.draws, generator=generator)
    truth = units.sample(logits, uniforms).float()
    said = exaggeration * logits
    teacher = Teacher([GivenPotentials(Potentials(said))], units.size)
    rows = Rows(Numbers(), csr_array((ROWS, 1)), csr_array(truth.numpy()), np.ones(ROWS, bool))
    found = float(calibrated_scale(teacher, rows, units))
    scores = ((truth - units.mean(logits)) * said).sum(1)
    error = 1 / math.sqrt(ROWS * float(scores.var()))
    step = 10 ** (2 / 80)  # between the scales that are tried
    assert abs(found - 1 / exaggeration) < 5 * error + (step - 1) / exaggeration
