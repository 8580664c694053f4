"""Dropout's masks: which elements fall out is said by published random numbers."""

import numpy as np
import pytest
from kernel_calls import THREADS, layer_of, packed_cases
from numba import njit

from skrnn.backends.cpu.dropout import drop_out, mix, sequence_mask
from skrnn.recording import Rows

GOLDEN, M64 = 0x9E3779B97F4A7C15, 2**64 - 1


def mixed(x):
    """SplitMix64's finaliser on Python's integers."""
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & M64
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & M64
    return x ^ (x >> 31)


def kept(seed, epoch, stream, sequence, counters, rate):
    key = 0
    for number in (seed, epoch, stream, sequence):
        key = mixed((key + number * GOLDEN + GOLDEN if number is not seed else number + GOLDEN) & M64)
    bits = [mixed((key + (counter + 1) * GOLDEN) & M64) for counter in counters]
    return np.array([(b >> 11) * 2.0**-53 >= rate for b in bits])


def test_mix_is_splitmix64():
    """The generator's first numbers for the seed 1234567, as published."""
    published = [
        6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431,
        16408922859458223821,
    ]  # fmt: skip
    counters = [(1234567 + k * GOLDEN) & M64 for k in range(1, 6)]
    assert [mixed(x) for x in counters] == published
    compiled_mix = njit(lambda x: mix(x))
    assert [int(compiled_mix(np.uint64(x))) for x in counters] == published


@packed_cases
@pytest.mark.parametrize("n_threads", THREADS)
def test_drop_out(packed, n_threads):
    """Each element by its sequence's number, step and column; again, by the same mask, as its gradient."""
    width, row, rate, numbers = packed.width, packed.width + 2, 0.4, 100 + packed.rng.permutation(packed.n)
    first, order = 6, packed.order
    steps = order.filled(sequence=numbers, first=first, epoch=3, room=2)
    X, d = packed.whole(packed.n_rows, row), packed.whole(packed.n_rows, row)
    masks = [
        kept(11, 3, 2, int(number), range(first * width, (first + n) * width), rate).reshape(n, width)
        for number, n in zip(numbers, order.lengths)
    ]
    mask = np.stack([masks[i][t] for t, i in zip(order.step, order.sequence)])
    assert packed.n_rows < 7 or 0 < mask.mean() < 1
    for rows in (X, d):
        expected = rows.copy()
        expected[:, :width] *= mask * packed.dtype.type(1 / (1 - rate))
        flat = rows.ravel()
        drop_out(packed.recording(n_threads, steps, dropout_seed=11), Rows(flat, row), 2, width, rate)
        np.testing.assert_array_equal(flat.reshape(rows.shape), expected)


@packed_cases
def test_sequence_mask(packed):
    numbers, layer = 100 + packed.rng.permutation(packed.n), layer_of(5, 8)
    steps = packed.order.filled(sequence=numbers, epoch=3)
    rec = packed.recording(steps=steps, dropout_seed=2**31 - 1)
    mask = sequence_mask(rec, 4, layer, 0.4, "m").reshape(-1, 8)
    expected = [kept(2**31 - 1, 3, 4, int(number), range(5), 0.4) for number in numbers]
    np.testing.assert_array_equal(mask[:, :5], np.array(expected) * packed.dtype.type(1 / 0.6))
    np.testing.assert_array_equal(mask[:, 5:], 0)
