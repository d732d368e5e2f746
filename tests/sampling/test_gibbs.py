"""Sweeps: the fused path gives the reference's states, whatever the batch and whoever runs it.

That both follow the model's law is tested in statistical/test_sampler.py.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import pytest
import torch
from tests.monte_carlo import STANDARD_ERRORS
from tests.small_models import SmallModel
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.testing import assert_close

from latentlabels.model.pairwise import Fields, PairwiseCRF
from latentlabels.model.schedule import Sampler
from latentlabels.model.units import Bernoulli, Categorical, Joint
from latentlabels.sampling import fused, gibbs
from latentlabels.sampling.chains import pack_bits, unpack_bits
from latentlabels.sampling.gibbs import GibbsRun, chosen_products, run_gibbs
from latentlabels.sampling.uniforms import Purpose, Uniforms

ROWS, CHAINS, SWEEPS, BURN_IN = 40, 20, 20, 5

# Too large to list: sizes around the blocks of four random words, layers in layers, a lone class.
MODELS = {
    "bits": SmallModel(Bernoulli(37), Bernoulli(9), hidden=6),
    "classes": SmallModel(Categorical(21), Categorical(10), hidden=3),
    "annotators": SmallModel(Joint([Categorical(n) for n in (5, 1, 7)]), Categorical(5)),
    "whole words": SmallModel(Bernoulli(128), Bernoulli(40), hidden=24),
    "everything": SmallModel(
        Joint([Bernoulli(5), Joint([Categorical(3), Bernoulli(1)]), Bernoulli(2)]),
        Joint([Categorical(4), Bernoulli(6)]),
        hidden=2,
        noisy_link=False,
    ),
}

every_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
both_paths = pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64], ids=["fused", "reference"]
)


@pytest.fixture
def threads() -> Iterator[None]:
    """A test may change how many threads torch has."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def setting(
    model: SmallModel, dtype: torch.dtype = torch.float32, scale: float = 1.0
) -> tuple[PairwiseCRF, Fields, Tensor]:
    """A model, fields for 40 rows and a first state of their chains."""
    crf = model.crf(dtype)
    fields = crf.fields(model.potentials(ROWS, dtype)).detach()
    states = model.crf(dtype).latent.sample(
        torch.zeros(ROWS, CHAINS, crf.latent.size, dtype=dtype),
        torch.rand(ROWS, CHAINS, crf.latent.draws, generator=torch.Generator().manual_seed(0)),
    )
    return crf, Fields(*(scale * field for field in fields)), states


def chains_of(rows: Tensor) -> Uniforms:
    return Uniforms(7, Purpose.SWEEP, rows, CHAINS)


ALL = torch.arange(ROWS)
NEVER = torch.zeros(ROWS, dtype=torch.int64)


def assert_same_run(one: GibbsRun, other: GibbsRun) -> None:
    for name, part, twin in zip(GibbsRun._fields, one, other, strict=True):
        assert torch.equal(part, twin), name


def run(
    crf: PairwiseCRF, fields: Fields, start: Tensor, sampler: Sampler, *, sweeps: int = SWEEPS
) -> GibbsRun:
    return run_gibbs(
        crf, fields, start, chains_of(ALL), NEVER, sweeps=sweeps, burn_in=2, sampler=sampler
    )


@every_model
@pytest.mark.parametrize("scale", [1.0, 50.0], ids=["plain fields", "extreme fields"])
def test_fused_path_gives_the_references_states(model: SmallModel, scale: float) -> None:
    """But for ties: the sums are the same to the last bit, the paths' probabilities are not.

    They differ by rounding, up to 1e-6 with the power's polynomial. A number falls between the two
    with that chance, and takes its chain elsewhere.
    """
    crf, fields, start = setting(model, scale=scale)
    one = run(crf, fields, start, "float32")
    reference = run(crf, fields, start, "reference")
    same = (one.latent == reference.latent).all(-1) & (one.noisy == reference.noisy).all(-1)
    drawn = ROWS * CHAINS * SWEEPS * (crf.noisy.draws + crf.latent.draws)
    ties = 1e-6 * drawn
    assert (~same).sum() <= ties + STANDARD_ERRORS * ties**0.5
    assert_close(one.latent_mean[same], reference.latent_mean[same], rtol=0.0, atol=1e-5)
    # With the same numbers, a chain that a tie led elsewhere may have come back.
    apart = ((one.average - reference.average).abs() > 1e-5).any(-1)
    assert apart.sum() <= ties + STANDARD_ERRORS * ties**0.5


@every_model
@pytest.mark.parametrize("products", [torch.float32, torch.bfloat16], ids=str)
def test_adding_active_units_gives_the_products_states(
    model: SmallModel, products: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit by bit: the sums are exact on their grid, whoever adds them."""
    sampler: Sampler = "float32" if products == torch.float32 else "bfloat16"
    crf, fields, start = setting(model)
    runs = []
    for share in (-1.0, 2.0):
        kind = fused.PRODUCTS[products]._replace(sparse=share)
        monkeypatch.setitem(fused.PRODUCTS, products, kind)
        runs.append(run(crf, fields, start, sampler))
    assert_same_run(*runs)


@every_model
def test_auto_fuses_float32_and_leaves_the_rest_to_the_reference(model: SmallModel) -> None:
    crf, fields, start = setting(model)
    assert_same_run(run(crf, fields, start, "auto"), run(crf, fields, start, "float32"))
    crf, fields, start = setting(model, torch.float64)
    assert_same_run(run(crf, fields, start, "auto"), run(crf, fields, start, "reference"))


def test_bfloat16_is_refused_for_other_types() -> None:
    crf, fields, start = setting(MODELS["bits"], torch.float64)
    with pytest.raises(ValueError, match=r"float32 on the CPU, got torch\.float64"):
        run(crf, fields, start, "bfloat16")


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize(
    ("scale", "bears"), [(0.1, True), (3.0, False)], ids=["small weights", "large weights"]
)
def test_auto_takes_bfloat16_where_the_weights_bear_it(
    scale: float, bears: bool, native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gibbs, "_multiplies_bfloat16", lambda: native)
    weight = scale * torch.randn(80, 90, generator=torch.Generator().manual_seed(0))
    state = torch.zeros(1, 1, 80)
    expected = torch.bfloat16 if bears and native else torch.float32
    assert chosen_products("auto", weight, state) == expected
    assert chosen_products("auto", weight[:5], state[..., :5]) == torch.float32
    assert chosen_products("float32", weight, state) == torch.float32
    assert chosen_products("bfloat16", weight, state) == torch.bfloat16
    assert chosen_products("reference", weight, state) is None


@pytest.mark.parametrize("active", [0.5, 0.02], ids=["dense", "sparse"])
@pytest.mark.usefixtures("threads")
def test_a_sweep_allocates_nothing(active: float) -> None:
    """A longer run takes as many tensors as a short one, and as much of numpy's memory."""
    torch.set_num_threads(1)
    crf = PairwiseCRF(Bernoulli(300), Bernoulli(20), 40)
    bias = float(torch.logit(torch.tensor(active)))
    fields = Fields(torch.full((ROWS, 60), bias), torch.full((1, 300), bias))
    taken = []
    for sweeps in (1, 2, 40):  # The first run compiles.
        tracemalloc.start()
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
            run(crf, fields, torch.zeros(ROWS, CHAINS, 60), "float32", sweeps=max(3, sweeps))
        largest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        tensors = sum(event.cpu_memory_usage > 0 for event in profiled.events())
        taken.append((tensors, largest))
    (tensors, short), (more_tensors, long) = taken[1:]
    assert tensors == more_tensors > 0
    assert long - short < 300 * 4 * CHAINS, "sums of one row's chains"


@every_model
@pytest.mark.parametrize("sampler", ["float32", "bfloat16", "reference"])
def test_states_are_packed_as_they_are_drawn(model: SmallModel, sampler: Sampler) -> None:
    ended = run(*setting(model), sampler)
    assert torch.equal(ended.packed, pack_bits(ended.latent))


def test_more_units_than_a_word_are_packed() -> None:
    crf = PairwiseCRF(Bernoulli(3), Bernoulli(64), 69)
    fields = Fields(torch.zeros(ROWS, 133), torch.zeros(1, 3))
    ended = run(crf, fields, torch.zeros(ROWS, CHAINS, 133), "float32")
    assert torch.equal(ended.packed, pack_bits(ended.latent))
    assert torch.equal(unpack_bits(ended.packed, 133), ended.latent.bool())


def test_no_sweep_is_refused() -> None:
    for sampler in ("float32", "reference"):
        with pytest.raises(ValueError, match="at least one sweep, got 0"):
            run(*setting(MODELS["bits"]), sampler, sweeps=0)


def test_a_run_of_burn_in_alone_has_no_average() -> None:
    for sampler in ("float32", "reference"):
        crf, fields, start = setting(MODELS["everything"])
        alone = run(crf, fields, start, sampler, sweeps=2)
        assert not alone.average.any()


@every_model
def test_a_rows_chains_do_not_depend_on_the_batch(model: SmallModel) -> None:
    """Bit by bit, whichever rows are there and in whatever order."""
    crf, fields, start = setting(model)
    together = run_gibbs(crf, fields, start, chains_of(ALL), NEVER, sweeps=SWEEPS)
    part = torch.randperm(ROWS, generator=torch.Generator().manual_seed(1))[:13]
    some = Fields(*(f[part] if len(f) > 1 else f for f in fields))
    alone = run_gibbs(crf, some, start[part], chains_of(part), NEVER[part], sweeps=SWEEPS)
    assert_same_run(alone, GibbsRun(*(t[part] for t in together)))


@every_model
@pytest.mark.usefixtures("threads")
def test_chains_do_not_depend_on_the_number_of_threads(model: SmallModel) -> None:
    runs = []
    for threads in (1, 2, 3, 64):
        torch.set_num_threads(threads)
        crf, fields, start = setting(model)
        runs.append(run_gibbs(crf, fields, start, chains_of(ALL), NEVER, sweeps=SWEEPS))
    for other in runs[1:]:
        assert_same_run(other, runs[0])


@every_model
@pytest.mark.usefixtures("threads")
def test_chains_do_not_depend_on_the_number_of_tiles(
    model: SmallModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(2)
    crf, fields, start = setting(model)
    whole = run(crf, fields, start, "auto")
    monkeypatch.setattr(fused, "TILE_BYTES", 1)
    assert_same_run(run(crf, fields, start, "auto"), whole)


@every_model
@both_paths
def test_going_on_is_as_good_as_never_having_stopped(model: SmallModel, dtype: torch.dtype) -> None:
    crf, fields, start = setting(model, dtype)
    whole = run_gibbs(crf, fields, start, chains_of(ALL), NEVER, sweeps=SWEEPS)
    first = run_gibbs(crf, fields, start, chains_of(ALL), NEVER, sweeps=8)
    rest = run_gibbs(crf, fields, first.latent, chains_of(ALL), NEVER + 8, sweeps=SWEEPS - 8)
    assert torch.equal(rest.latent, whole.latent)
    assert torch.equal(rest.noisy, whole.noisy)


@every_model
@both_paths
def test_average_is_over_chains_and_over_the_sweeps_after_burn_in(
    model: SmallModel, dtype: torch.dtype
) -> None:
    crf, fields, latent = setting(model, dtype)
    whole = run_gibbs(crf, fields, latent, chains_of(ALL), NEVER, sweeps=SWEEPS, burn_in=BURN_IN)
    means = []
    for sweep in range(SWEEPS):
        one = run_gibbs(crf, fields, latent, chains_of(ALL), NEVER + sweep, sweeps=1)
        latent = one.latent
        means.append(one.latent_mean)
    expected = torch.stack(means[BURN_IN:]).mean((0, 2))
    # float32 sums of 300 numbers below one.
    assert_close(whole.average, expected, rtol=0.0, atol=1e-5)


@both_paths
def test_fields_of_one_row_serve_all_rows(dtype: torch.dtype) -> None:
    """As they do in an RBM, whose fields have a batch of one."""
    crf, _, start = setting(MODELS["everything"], dtype)
    one = crf.fields()
    each = Fields(*(field.expand(ROWS, -1) for field in one))
    shared = run_gibbs(crf, one, start, chains_of(ALL), NEVER, sweeps=3)
    assert_same_run(shared, run_gibbs(crf, each, start, chains_of(ALL), NEVER, sweeps=3))


@both_paths
def test_no_rows_give_no_chains(dtype: torch.dtype) -> None:
    crf, fields, start = setting(MODELS["bits"], dtype)
    none = Fields(*(field[:0] for field in fields))
    none_run = run_gibbs(crf, none, start[:0], chains_of(ALL[:0]), NEVER[:0], sweeps=3)
    assert none_run.latent.shape == (0, CHAINS, crf.latent.size)
    assert none_run.average.shape == (0, crf.latent.size)


@both_paths
def test_a_run_leaves_its_start_alone(dtype: torch.dtype) -> None:
    crf, fields, start = setting(MODELS["everything"], dtype)
    before = start.clone()
    run_gibbs(crf, fields, start, chains_of(ALL), NEVER, sweeps=2)
    assert torch.equal(start, before)


@both_paths
def test_states_carry_no_gradient(dtype: torch.dtype) -> None:
    model = MODELS["everything"]
    crf, _, start = setting(model, dtype)
    fields = crf.fields(model.potentials(ROWS, dtype))
    assert fields.latent.requires_grad
    parts = run_gibbs(crf, fields, start, chains_of(ALL), NEVER, sweeps=2)
    assert not any(part.requires_grad for part in parts)


@pytest.mark.parametrize("sampler", ["float32", "bfloat16"])
@pytest.mark.parametrize("active", [0.5, 0.02], ids=["dense", "sparse"])
@pytest.mark.usefixtures("threads")
def test_large_layers_do_not_depend_on_batch_order_or_threads(
    sampler: Sampler, active: float
) -> None:
    """Bit by bit, with layers as wide as products in tiles need and rows of several tiles."""
    rows, chains, sweeps = 30, 20, 4
    generator = torch.Generator().manual_seed(0)
    crf = PairwiseCRF(Bernoulli(700), Joint([Bernoulli(30), Categorical(5)]), 150)
    with torch.no_grad():
        crf.clean_noisy.normal_(0.0, 0.2, generator=generator)
        crf.hidden_noisy.normal_(0.0, 0.2, generator=generator)
    bias = torch.logit(torch.tensor(active))
    fields = Fields(
        torch.randn(rows, crf.latent.size, generator=generator),
        bias + torch.randn(rows, 700, generator=generator),
    )
    start = torch.zeros(rows, chains, crf.latent.size)

    def go_on(part: Tensor, threads: int) -> GibbsRun:
        torch.set_num_threads(threads)
        return run_gibbs(
            crf,
            Fields(*(field[part] for field in fields)),
            start[part],
            Uniforms(1, Purpose.SWEEP, part, chains),
            torch.zeros_like(part),
            sweeps=sweeps,
            sampler=sampler,
        )

    together = go_on(torch.arange(rows), 1)
    assert 0.5 * active < together.noisy.mean() < 0.5 + active
    for part in (torch.arange(rows), torch.randperm(rows, generator=generator), torch.arange(3)):
        for threads in (1, 2, 5):
            assert_same_run(go_on(part, threads), GibbsRun(*(t[part] for t in together)))
