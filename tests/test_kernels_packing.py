"""Who does what, and how minibatches come into packed order and out of it."""

from itertools import pairwise

import numpy as np
import pytest
from kernel_calls import DTYPES, RAGGED, THREADS, AtOnce, chunks_of, minibatches
from passes import PackedSteps, matrix, recording

from skrnn.backends.cpu import reading
from skrnn.backends.cpu.tape import Tape
from skrnn.backends.cpu.threads import own_range, own_sequences
from skrnn.backends.cpu.workspace import Workspace
from skrnn.batches import (
    JOB_CARRIED,
    JOB_LEARNS,
    SIZE_B,
    SIZE_CARRIED,
    SIZE_EPOCH,
    SIZE_FIRST,
    SIZE_R,
    SIZE_T,
    Jobs,
)
from skrnn.recipe import recurrent_network
from skrnn.recording import Rows
from skrnn.sequences import Sequences


# --- shares of the work ---------------------------------------------------------------------------
@pytest.mark.parametrize("n_threads", [1, 2, 3, 4, 7, 16])
def test_own_range(n_threads):
    """Neighbouring ranges that cover all things and differ by one at most."""
    for n in range(41):
        ranges = [own_range(thread, n_threads, n) for thread in range(n_threads)]
        assert (ranges[0][0], ranges[-1][1]) == (0, n)
        assert all(a[1] == b[0] for a, b in pairwise(ranges))
        sizes = [hi - lo for lo, hi in ranges]
        assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("lengths", [*RAGGED, [1] * 40, [100, *[1] * 20]], ids=str)
@pytest.mark.parametrize("n_threads", THREADS)
def test_own_sequences(lengths, n_threads):
    """Neighbouring ranges that cover all sequences, each but for one of them with its share of steps."""
    steps = PackedSteps(lengths).filled(room=3)
    ranges = [own_sequences(thread, n_threads, steps.sizes, steps.lengths) for thread in range(n_threads)]
    assert (ranges[0][0], ranges[-1][1]) == (0, len(lengths))
    assert all(a[1] == b[0] for a, b in pairwise(ranges))
    for lo, hi in ranges:
        assert lo <= hi
        work = steps.lengths[lo:hi].sum()
        assert abs(work - sum(lengths) / n_threads) <= max(lengths)


def test_own_sequences_are_even():
    lengths = np.random.default_rng(0).integers(1, 50, 200)
    steps = PackedSteps(lengths).filled()
    work = [steps.lengths[slice(*own_sequences(k, 4, steps.sizes, steps.lengths))].sum() for k in range(4)]
    assert max(work) - min(work) <= 2 * lengths.max()


# --- packed order ---------------------------------------------------------------------------------
def packed_places(lengths):
    """(time step, sequence) of every packed row, by the definition."""
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    return [(t, i) for t in range(max(lengths)) for i in order if lengths[i] > t], order


@pytest.mark.parametrize("lengths", RAGGED, ids=str)
def test_packed_steps(lengths):
    """What the other tests compare with."""
    places, order = packed_places(lengths)
    packed = PackedSteps(lengths)
    assert len(packed) == len(lengths)
    assert packed.n_rows == len(places) == sum(lengths)
    np.testing.assert_array_equal(packed.order, order)
    np.testing.assert_array_equal(packed.lengths, np.array(lengths)[order])
    np.testing.assert_array_equal(packed.step, [t for t, _ in places])
    np.testing.assert_array_equal(packed.order[packed.sequence], [i for _, i in places])
    for t, (count, row) in enumerate(zip(packed.counts, packed.row_at, strict=True)):
        assert count == sum(length > t for length in lengths)
        assert row == next(r for r, (step, _) in enumerate(places) if step == t)
    starts = 1000 * np.arange(len(lengths))
    np.testing.assert_array_equal(packed.rows_of(starts), [1000 * i + t for t, i in places])
    mirrored = [places.index((lengths[i] - 1 - t, i)) for t, i in places]
    np.testing.assert_array_equal(packed.reversed_rows, mirrored)
    np.testing.assert_array_equal(packed.reversed_rows[packed.reversed_rows], np.arange(len(places)))


ARRAYS = ("counts", "row_at", "lengths", "whole", "sequence", "row")


@pytest.mark.parametrize("lengths", RAGGED, ids=str)
@pytest.mark.parametrize("size", [1, 2, 4, 100, None])
@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_jobs(lengths, size, batch_size):
    """Every step of every sequence exactly once and in order, each minibatch in packed order."""
    rng, lengths, n = np.random.default_rng(0), np.array(lengths), len(lengths)
    starts = rng.integers(0, 9, n)  # windows may overlap
    jobs = Jobs(lengths, batch_size, size)
    steps, flat = jobs.room(), jobs.table.reshape(-1)
    for epoch, order in enumerate([np.arange(n), rng.permutation(n), np.arange(n)[::-1]], 5):
        table, seen = jobs.plan(order, epoch), [[] for _ in lengths]
        assert np.shares_memory(table, jobs.table) or not len(table)
        assert (table[:, JOB_LEARNS] == 1).all()
        expected = list(minibatches(order, lengths, batch_size, size))
        assert len(table) == len(expected)
        for k, (first, sequences, start) in enumerate(expected):
            packed = PackedSteps(np.minimum(lengths[sequences] - first, size or lengths.max()))
            B, T, R = len(packed), len(packed.counts), packed.n_rows
            assert steps.max_sequences >= B
            assert steps.max_steps >= T
            assert steps.max_rows >= R
            for name in ARRAYS:
                getattr(steps, name)[:] = -7
            reading.next_job(flat, jobs.cursor, jobs.job)
            assert jobs.cursor[0] == k
            np.testing.assert_array_equal(jobs.job, table[k])
            reading.pack(
                jobs.job, jobs.order, jobs.mate, starts, lengths, *steps.layout, steps.whole, steps.sequence,
                steps.row, steps.mate,
            )  # fmt: skip
            assert (jobs.order[start : start + B] == sequences).all()
            sizes = {SIZE_B: B, SIZE_T: T, SIZE_R: R, SIZE_FIRST: first, SIZE_CARRIED: int(first > 0)}
            assert dict(enumerate(steps.sizes.tolist())) == sizes | {SIZE_EPOCH: epoch}
            assert jobs.job[JOB_CARRIED] == int(first > 0)
            rows = packed.rows_of(starts[sequences] + first)
            values = packed.counts, packed.row_at, packed.lengths, lengths[sequences], sequences, rows
            for name, value in zip(ARRAYS, values, strict=True):
                array = getattr(steps, name)
                np.testing.assert_array_equal(array[: len(value)], value, err_msg=name)
                assert (array[len(value) :] == -7).all()
            for i, row in zip(sequences[packed.sequence], steps.row):
                seen[i].append(row - starts[i])
        assert seen == [list(range(length)) for length in lengths]


@pytest.mark.parametrize("size", [1, 4, None])
def test_the_room_is_that_of_the_longest(size):
    """No more memory than the largest minibatch can ask for."""
    steps = Jobs(np.array([3, 9, 1, 7, 9, 2]), 3, size).room()
    lengths = np.minimum([9, 9, 7], size or 9)
    assert (steps.max_sequences, steps.max_steps, steps.max_rows) == (3, lengths[0], lengths.sum())


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("lengths", RAGGED, ids=str)
def test_read(lengths, dtype, scaled):
    """The rows of overlapping windows, shifted and scaled by sequence, of a table that may be read-only."""
    rng, n, F = np.random.default_rng(0), len(lengths), 5
    values = rng.standard_normal((20, F)).astype(dtype)
    values.flags.writeable = False
    starts = rng.integers(0, 20 - max(lengths), n)
    shift, scale = rng.standard_normal((2, n, F)).astype(dtype) if scaled else (None, None)
    sequences, order = Sequences(values, starts, np.array(lengths), shift, scale), rng.permutation(n)
    for size, n_threads in ((None, 1), (2, 2), (3, 7)):
        jobs = Jobs(sequences.lengths, 4, size)
        steps, work = jobs.room(), Workspace(dtype)
        jobs.plan(order)
        for first, own, _ in minibatches(order, sequences.lengths, 4, size):
            packed = PackedSteps(np.minimum(sequences.lengths[own] - first, size or max(lengths)))
            X = recording(AtOnce(n_threads), steps, work).read(sequences, jobs)["X"]
            expected = values[packed.rows_of(starts[own] + first)]
            if scaled:
                i = own[packed.sequence]
                expected = (expected - shift[i]) * scale[i]
            np.testing.assert_array_equal(matrix(X, steps, packed.n_rows, F), expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("per_step", [False, True])
@pytest.mark.parametrize("size", [1, 2, 4, None])
def test_scatter(size, per_step, dtype):
    """Steps, or what a sequence's last chunk gives, go to the places of their sequences."""
    rng, lengths, n = np.random.default_rng(0), np.array(RAGGED[-1]), 3
    of_sequence = np.sort(lengths)  # number i is the i-th from the end of the sorted ones
    ends = np.cumsum(of_sequence)
    n_rows = ends[-1] if per_step else len(lengths)
    table, out = rng.standard_normal((n_rows, n)).astype(dtype), np.full((n_rows, n), np.nan, dtype)
    for first, packed, steps in chunks_of(lengths, size):
        B, number = len(packed), steps.sequence
        for past in (False, True) if per_step else (False,):
            X = np.zeros((B * past + packed.n_rows, n + 2), dtype)
            if per_step:
                i = number[packed.sequence]
                X[B * past :, :n] = table[ends[i] - of_sequence[i] + first + packed.step]
            else:
                ended = first + packed.lengths == of_sequence[number[:B]]
                X[:B][ended, :n] = table[number[:B][ended]]
            rows = Rows(X.ravel(), n + 2, SIZE_R if per_step else SIZE_B, past)
            reading.scatter(recording(AtOnce(), steps, Workspace(dtype)), rows, ends, n, out)
        if not per_step:  # nothing of those that go on
            assert np.isnan(out[number[:B][~ended]]).all()
    np.testing.assert_array_equal(out, table)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_start_from(dtype):
    """The first chunk begins in the states that were given for its sequences; later ones carry on."""
    given, width = np.random.default_rng(0).standard_normal((9, 3)).astype(dtype), 5
    packed, numbers = PackedSteps([4, 4, 2]), np.array([7, 0, 3])
    steps, carried = packed.filled(sequence=numbers), np.full((3, width), np.nan, dtype)
    rows = Rows(carried.reshape(-1), width, SIZE_B)
    reading.start_from(recording(AtOnce(), steps, Workspace(dtype)), given, rows)
    np.testing.assert_array_equal(carried[:, :3], given[numbers])
    np.testing.assert_array_equal(carried[:, 3:], 0)
    assert steps.sizes[SIZE_CARRIED] == 1
    later, before = packed.filled(sequence=numbers, first=4, carried=1), carried.copy()
    reading.start_from(recording(AtOnce(), later, Workspace(dtype)), given + 1, rows)
    np.testing.assert_array_equal(carried, before)
    assert later.sizes[SIZE_CARRIED] == 1


def test_sequences_of_another_type_are_refused():
    """A kernel of one float type would read the numbers of the other as nonsense."""
    network = recurrent_network(2, 1, hidden_size=3, dtype=np.float32)
    sequences = Sequences.from_arrays([np.zeros((4, 2))])
    jobs = Jobs(sequences.lengths, 1, None)
    with pytest.raises(TypeError, match="sequences of float64 for a network of float32"):
        network.read(network.record(Tape(), jobs.room()), sequences, jobs)
