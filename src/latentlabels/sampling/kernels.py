"""Compiled pieces of a sweep on the CPU: one pass over a layer draws, compares and averages.

A layer is drawn for a tile of chains at a time. What its units get from the layer opposite comes
either from a matrix product or, where few units are active, from `add_active`; all of these sums
are exact (`rounding`), so which it was, and in what order it added, cannot be seen in the states.

Sums and states are kept as integers: the bits of a float32 (int32), or of a bfloat16 (uint16), its
upper half.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from llvmlite import ir
from numba import extending, njit, types
from numba.core import cgutils
from numpy.polynomial import Chebyshev, Polynomial
from numpy.typing import NDArray

from latentlabels.sampling.uniforms import (
    BLOCKS_A_GROUP,
    FLOAT24,
    HALVES,
    MULTIPLIERS,
    PARTS,
    ROUNDS,
    UNITS_A_GROUP,
    WEYL,
)

Floats = NDArray[np.float32]
Bits = NDArray[np.uint16] | NDArray[np.int32]
Halves = NDArray[np.uint16]

M0, M1 = np.uint64(MULTIPLIERS[0]), np.uint64(MULTIPLIERS[1])
W0, W1 = np.uint32(WEYL[0]), np.uint32(WEYL[1])
HIGH = np.uint64(32)
SCALE24 = np.float32(FLOAT24)

ZERO, ONE, HALF_RANGE = np.float32(0.0), np.float32(1.0), np.float32(65536.0)
LOG2_E = np.float32(1.4426950408889634)
LARGEST_EXPONENT = np.float32(60.0)
# Added to a float32 it leaves the nearest whole number in the lowest bits.
TO_WHOLE = np.float32(1.5 * 2**23)
# A polynomial for 2^r on |r| <= 1/2, whose relative error is 1e-7 at most.
EXP2 = Chebyshev.interpolate(np.exp2, 5, domain=(-0.5, 0.5)).convert(kind=Polynomial).coef
E0, E1, E2, E3, E4, E5 = (np.float32(coefficient) for coefficient in EXP2)

SCANNED = 64
"""States that are scanned together; what is scanned or added is padded to a multiple."""

# It says nothing of types: a call has other arguments than the function that writes its code.
intrinsic = cast("Callable[[Callable[..., object]], Any]", extending.intrinsic)

# numpy's error model: a division that checks for zero does not vectorise. Contraction lets
# a product and a sum be one instruction, which rounds once; the rest of the arithmetic is strict.
compiled = njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})


@intrinsic
def _as_float(_context: Any, _bits: Any) -> Any:
    """The float32 of these bits."""
    signature = types.float32(types.int32)
    return signature, lambda _, builder, __, args: builder.bitcast(args[0], ir.FloatType())


@intrinsic
def _as_bits(_context: Any, _number: Any) -> Any:
    """The bits of a float32."""
    signature = types.int32(types.float32)
    return signature, lambda _, builder, __, args: builder.bitcast(args[0], ir.IntType(32))


@compiled
def _value(bits: Any, shift: np.int32) -> np.float32:
    """The number that a float32's bits or, shifted, a bfloat16's stand for."""
    number: np.float32 = _as_float(np.int32(np.int32(bits) << shift))
    return number


@compiled
def fill_halves(
    out: Halves,
    part: int,
    layer: int,
    seed: np.uint32,
    purpose: np.uint32,
    sweep: np.uint32,
    chain: np.uint32,
    row: np.uint32,
) -> None:
    """The upper or the lower 16 bits of a layer's uniform numbers, as `Uniforms.draw` deals them.

    Args:
        out: filled whole, a multiple of `UNITS_A_GROUP` long.
        part: 0 for the upper bits, 1 for the lower.
        layer: as for `Uniforms.draw`.
        seed: of the key.
        purpose: of the key.
        sweep: of the counter, as are the rest.
        chain: its number in its row.
        row: the row's number.
    """
    for group in range(out.shape[0] // UNITS_A_GROUP):
        own = out[group * UNITS_A_GROUP : (group + 1) * UNITS_A_GROUP]
        first = np.uint32(group * BLOCKS_A_GROUP)
        for b in range(BLOCKS_A_GROUP):
            c0 = np.uint32(np.uint32(PARTS) * np.uint32(first + np.uint32(b)))
            c0 = np.uint32(c0 + np.uint32(HALVES * layer + part))
            c1, c2, c3 = sweep, chain, row
            k0, k1 = seed, purpose
            for _ in range(ROUNDS):
                p, q = np.uint64(c0) * M0, np.uint64(c2) * M1
                c0 = np.uint32(q >> HIGH) ^ c1 ^ k0
                c2 = np.uint32(p >> HIGH) ^ c3 ^ k1
                c1, c3 = np.uint32(q), np.uint32(p)
                k0, k1 = np.uint32(k0 + W0), np.uint32(k1 + W1)
            own[b] = np.uint16(c0)
            own[b + BLOCKS_A_GROUP] = np.uint16(c1)
            own[b + 2 * BLOCKS_A_GROUP] = np.uint16(c2)
            own[b + 3 * BLOCKS_A_GROUP] = np.uint16(c3)
            own[b + 4 * BLOCKS_A_GROUP] = np.uint16(c0 >> np.uint32(16))
            own[b + 5 * BLOCKS_A_GROUP] = np.uint16(c1 >> np.uint32(16))
            own[b + 6 * BLOCKS_A_GROUP] = np.uint16(c2 >> np.uint32(16))
            own[b + 7 * BLOCKS_A_GROUP] = np.uint16(c3 >> np.uint32(16))


@compiled
def fill_upper_halves(
    out: NDArray[np.int32], seed: int, purpose: int, sweep: int, chain: int, rows: NDArray[np.int64]
) -> None:
    """The upper 16 bits of the first layer's uniform numbers of some rows.

    Args:
        out: filled, (rows, units).
        seed: of the key, as is purpose.
        purpose: what the numbers are for.
        sweep: of the counter, as is chain.
        chain: the same of every row.
        rows: their numbers, (rows,).
    """
    units = out.shape[1]
    room = np.empty(-(-units // UNITS_A_GROUP) * UNITS_A_GROUP, np.uint16)
    for r in range(out.shape[0]):
        row = np.uint32(rows[r])
        fill_halves(
            room, 0, 0, np.uint32(seed), np.uint32(purpose), np.uint32(sweep), np.uint32(chain), row
        )
        for unit in range(units):
            out[r, unit] = room[unit]


@compiled
def _power(logit: np.float32) -> np.float32:
    """exp(−logit), from 2^−60 to 2^60: the whole part of its power as bits, a polynomial's rest."""
    t = min(max(logit * -LOG2_E, -LARGEST_EXPONENT), LARGEST_EXPONENT)
    shifted = t + TO_WHOLE
    r = t - (shifted - TO_WHOLE)
    p = E5
    p = p * r + E4
    p = p * r + E3
    p = p * r + E2
    p = p * r + E1
    p = p * r + E0
    exponent = np.int32(_as_bits(shifted) << np.int32(23))
    power: np.float32 = _as_float(np.int32(_as_bits(p) + exponent))
    return power


# The functions below take whole arrays and cut them themselves: cut by the caller, every piece
# costs two atomic counts of references, which a chain of a small layer would spend its time on.


@compiled
def _draw_bits(
    sums: Bits,
    shift: np.int32,
    fields: Floats,
    place: tuple[int, int, int, int, int, int],
    upper: Halves,
    one: Any,
    states: Bits,
    means: Floats,
    wanted: bool,
) -> np.int32:
    """States of independent bits by the upper halves of their numbers, and means where wanted.

    A unit is on where its number, (upper + lower / 2^16) / 2^16, lies below its mean 1 / a, so
    where (upper + lower / 2^16) · a < 2^16, whose left side lies between upper · a and a more.

    Args:
        sums: as for `draw_layer`, as are all that follow but `place`.
        shift: of the sums.
        fields: of every row.
        place: the chain, its row, its place among `means`, the group's first unit and the one past
            its last, and its first uniform number.
        upper: the uniform numbers' upper halves.
        one: an active unit.
        states: replaced.
        means: replaced where wanted.
        wanted: whether they are.

    Returns:
        Below zero where the lower halves decide for some unit.
    """
    chain, row, kept, start, stop, first = place
    own, field, mean = sums[chain, start:stop], fields[row, start:stop], means[kept, start:stop]
    state, numbers = states[chain, start:stop], upper[first : first + stop - start]
    undecided = np.int32(0)
    for j in range(field.shape[0]):
        a = ONE + _power(_value(own[j], shift) + field[j])
        if wanted:
            mean[j] = ONE / a
        least = np.float32(np.int32(numbers[j])) * a - HALF_RANGE
        state[j] = np.int32(np.int32(_as_bits(least) >> np.int32(31)) & one)
        undecided = np.int32(undecided | (_as_bits(least) ^ _as_bits(least + a)))
    return undecided


@compiled
def _number(upper: np.uint16, lower: np.uint16) -> np.float32:
    bits = np.uint32(np.uint32(np.uint32(upper) << np.uint32(16)) | np.uint32(lower))
    return np.float32(np.uint32(bits >> np.uint32(8))) * SCALE24


@compiled
def _compare(
    place: tuple[int, int, int, int, int, int],
    upper: Halves,
    lower: Halves,
    one: Any,
    states: Bits,
    means: Floats,
) -> None:
    """States of independent bits by their whole numbers; arguments as for `_draw_bits`."""
    chain, _, kept, start, stop, first = place
    for j in range(start, stop):
        number = _number(upper[first + j - start], lower[first + j - start])
        states[chain, j] = one if number < means[kept, j] else 0


@compiled
def _draw_class(
    sums: Bits,
    shift: np.int32,
    fields: Floats,
    place: tuple[int, int, int, int, int, int],
    number: np.float32,
    one: Any,
    states: Bits,
    means: Floats,
) -> None:
    """State and mean of one of several classes: the first whose cumulated mean is above `number`.

    Other arguments as for `_draw_bits`.
    """
    chain, row, kept, start, stop, _ = place
    own, field, mean = sums[chain, start:stop], fields[row, start:stop], means[kept, start:stop]
    highest = np.float32(-np.inf)
    for j in range(mean.shape[0]):
        mean[j] = _value(own[j], shift) + field[j]
        highest = max(highest, mean[j])
    total = ZERO
    for j in range(mean.shape[0]):
        mean[j] = np.exp(mean[j] - highest)
        total += mean[j]
    threshold, cumulated, chosen = number * total, ZERO, stop - start - 1
    for j in range(start, stop):
        states[chain, j] = 0
    for j in range(mean.shape[0]):
        cumulated += mean[j]
        if cumulated > threshold:
            chosen = j
            break
    for j in range(mean.shape[0]):
        mean[j] /= total
    states[chain, start + chosen] = one


@compiled
def _add_mean(average: Floats, row: int, means: Floats, kept: int, share: np.float32) -> None:
    total, mean = average[row], means[kept]
    for j in range(total.shape[0]):
        total[j] += mean[j] * share


@intrinsic
def _mask(_context: Any, states: Any, _start: Any) -> Any:
    """Which of 64 states from a place on are not zero, a bit each."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, args[0])
        many = ir.VectorType(ir.IntType(states.dtype.bitwidth), SCANNED)
        place = builder.bitcast(builder.gep(array.data, [args[1]]), many.as_pointer())
        read = builder.load(place, align=states.dtype.bitwidth // 8)
        active = builder.icmp_unsigned("!=", read, ir.Constant(many, [0] * SCANNED))
        return builder.bitcast(active, ir.IntType(SCANNED))

    return types.uint64(states, types.intp), generate


@compiled
def _pack(states: Bits, chain: int, packed: NDArray[np.uint64]) -> None:
    """A chain's states, one bit a unit, lowest first."""
    own = states[chain]
    for word in range(packed.shape[1]):
        packed[chain, word] = _mask(own, word * SCANNED)


@compiled
def draw_layer(
    layer: int,
    groups: NDArray[np.int64],
    sums: Bits,
    shift: np.int32,
    fields: Floats,
    one: Any,
    states: Bits,
    means: Floats,
    wanted: bool,
    average: Floats,
    share: np.float32,
    packed: NDArray[np.uint64],
    seed: np.uint32,
    purpose: np.uint32,
    done: NDArray[np.int64],
    rows: NDArray[np.int64],
    step: int,
    upper: Halves,
    lower: Halves,
) -> None:
    """Draw a layer of every chain of a tile.

    Args:
        layer: 0 for the noisy layer, 1 for the latent.
        groups: of (first unit, past the last, 1 for classes or 0 for bits), (groups, 3).
        sums: what the layer opposite gives, (chains, units).
        shift: by how many bits to the left a sum is a float32's.
        fields: biases of every row, (rows, units); its chains lie one after the other.
        one: an active unit, in the bits of `states`.
        states: replaced by the drawn states, (chains, a multiple of `SCANNED` from the units).
        means: replaced by the means, (chains, units); or room for those of one chain, (1, units).
        wanted: whether means are, beyond what drawing takes.
        average: share · means is added to it where share is above zero, (rows, units).
        share: weight of a chain's mean in the average.
        packed: replaced by the states, one bit a unit, (chains, 64-bit words); or of none, (0, 0).
        seed: of the uniform numbers.
        purpose: of the uniform numbers.
        done: sweeps that every row's chains have done before the run, (rows,).
        rows: the rows' numbers, (rows,).
        step: the sweep's number in the run.
        upper: room for the upper halves of a chain's uniform numbers.
        lower: room for the lower halves.
    """
    chains = states.shape[0] // max(1, fields.shape[0])
    for c in range(states.shape[0]):
        r = c // chains
        row, sweep = np.uint32(rows[r]), np.uint32(done[r] + step)
        kept = min(c, means.shape[0] - 1)
        fill_halves(upper, 0, layer, seed, purpose, sweep, np.uint32(c % chains), row)
        complete = False
        first = 0
        for g in range(groups.shape[0]):
            place = (c, r, kept, groups[g, 0], groups[g, 1], first)
            of_classes = groups[g, 2] != 0
            undecided = np.int32(-1)
            if not of_classes:
                undecided = _draw_bits(
                    sums, shift, fields, place, upper, one, states, means, wanted
                )
            if undecided < 0 and not complete:
                fill_halves(lower, 1, layer, seed, purpose, sweep, np.uint32(c % chains), row)
                complete = True
            if of_classes:
                number = _number(upper[first], lower[first])
                _draw_class(sums, shift, fields, place, number, one, states, means)
                first += 1
                continue
            if undecided < 0:
                _draw_bits(sums, shift, fields, place, upper, one, states, means, True)
                _compare(place, upper, lower, one, states, means)
            first += groups[g, 1] - groups[g, 0]
        if share > ZERO:
            _add_mean(average, r, means, kept, share)
        if packed.shape[0] > 0:
            _pack(states, c, packed)


@intrinsic
def _trailing_zeros(_context: Any, _mask: Any) -> Any:
    """How many bits of a mask, which is not zero, lie below its lowest."""
    never_zero = ir.Constant(ir.IntType(1), 1)
    signature = types.int64(types.uint64)
    return signature, lambda _, builder, __, args: builder.cttz(args[0], never_zero)


@compiled
def _find_active(states: Bits, chain: int, found: NDArray[np.int64]) -> int:
    """The numbers of a chain's active units go into `found`; how many there are is returned."""
    own = states[chain]
    count = 0
    for start in range(0, own.shape[0], SCANNED):
        mask = _mask(own, start)
        while mask != 0:
            found[count] = start + _trailing_zeros(mask)
            mask &= mask - np.uint64(1)
            count += 1
    return count


@compiled
def count_active(states: Bits, found: NDArray[np.int64]) -> int:
    """How many units are active over all chains; arguments as for `add_active`."""
    total = 0
    for c in range(states.shape[0]):
        total += _find_active(states, c, found)
    return total


@intrinsic
def _add_rows(_context: Any, weight: Any, _found: Any, _count: Any, _total: Any) -> Any:
    """Replace a total by the sum of the rows of weights whose numbers were found.

    Blocks of columns are summed one after the other, so that the sums of a block stay in registers.
    Its bits are a float32's or, of 16, a bfloat16's.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        rows, numbers, out = (
            context.make_array(signature.args[k])(context, builder, args[k]) for k in (0, 1, 3)
        )
        width = cgutils.unpack_tuple(builder, rows.shape)[1]
        bits = ir.VectorType(ir.IntType(weight.dtype.bitwidth), SCANNED)
        whole = ir.VectorType(ir.IntType(32), SCANNED)
        numbers_type = ir.VectorType(ir.FloatType(), SCANNED)
        total = cgutils.alloca_once(builder, numbers_type)
        blocks = builder.udiv(width, ir.Constant(width.type, SCANNED))
        with cgutils.for_range(builder, blocks) as block:
            first = builder.mul(block.index, ir.Constant(width.type, SCANNED))
            builder.store(ir.Constant(numbers_type, [0.0] * SCANNED), total)
            with cgutils.for_range(builder, args[2]) as active:
                row = builder.load(builder.gep(numbers.data, [active.index]))
                place = builder.gep(rows.data, [builder.add(builder.mul(row, width), first)])
                read = builder.load(
                    builder.bitcast(place, bits.as_pointer()), align=weight.dtype.bitwidth // 8
                )
                if weight.dtype.bitwidth == 16:
                    sixteen = ir.Constant(whole, [16] * SCANNED)
                    read = builder.shl(builder.zext(read, whole), sixteen)
                value = builder.bitcast(read, numbers_type)
                builder.store(builder.fadd(builder.load(total), value), total)
            place = builder.bitcast(builder.gep(out.data, [first]), numbers_type.as_pointer())
            builder.store(builder.load(total), place, align=4)
        return context.get_dummy_value()

    return types.none(weight, _found, types.intp, _total), generate


@compiled
def _keep(total: Floats, shift: np.int32, sums: Bits, chain: int) -> None:
    """Write sums in their bits; a shift of 16 rounds to the nearest bfloat16, ties to even."""
    own = sums[chain]
    if shift == 0:
        for j in range(own.shape[0]):
            own[j] = _as_bits(total[j])
    else:
        for j in range(own.shape[0]):
            bits = _as_bits(total[j])
            odd = np.int32(np.int32(bits >> np.int32(16)) & np.int32(1))
            own[j] = np.int32(np.int32(bits + np.int32(0x7FFF) + odd) >> np.int32(16))


@compiled
def add_active(
    states: Bits,
    weight: Bits,
    sums: Bits,
    shift: np.int32,
    total: Floats,
    found: NDArray[np.int64],
) -> None:
    """For every chain of a tile the sum over its active units of their rows of weights.

    Args:
        states: (chains, a multiple of `SCANNED`).
        weight: of the layer opposite, (units opposite, at least as many as sums).
        sums: replaced, (chains, units).
        shift: by how many bits to the left weights and sums are float32's.
        total: room for a chain's sums, as long as a row of weights.
        found: room for the numbers of a chain's active units.
    """
    for c in range(states.shape[0]):
        _add_rows(weight, found, _find_active(states, c, found), total)
        _keep(total, shift, sums, c)
