"""Tapes: what is recorded arrives, call by call and in order, and ends when it should."""

import gc
import os
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import numpy as np
import pytest
from numba import typeof
from numba.core import config
from replays import MANY, add_one, add_sum, in_threads, kernel

from skrnn.backends.cpu import tape as tapes
from skrnn.backends.cpu.tape import TYPES, Tape, words_of


# --- arguments ------------------------------------------------------------------------------------
@kernel
def keep(single, a32, i, a64, yes, ai, x, au, j, ah, out32, out64, outi, outu, outh, scalars, whole):
    out32[:] = a32
    out64[:] = a64
    outi[:] = ai
    outu[:] = au
    outh[:] = ah
    scalars[0], scalars[1] = single, x
    whole[0], whole[1], whole[2] = i, j, 1 if yes else 0
    whole[3], whole[4], whole[5], whole[6] = len(a32), len(a64), len(ai), len(au)
    whole[7] = len(ah)


@pytest.mark.parametrize("writeable", [True, False])
@pytest.mark.parametrize(
    ("yes", "i", "j", "x", "single"),
    [
        (True, 0, np.int32(-5), 0.1, np.float32(0.1)),
        (False, -1, 2**63 - 1, -0.0, np.float32(-0.0)),
        (True, -(2**63), np.intp(7), 3e-308, np.float32(2e-38)),  # small, but not subnormal
        (False, 2**40, -(2**40), -np.inf, np.float32(np.inf)),
        (True, 1, 2, np.float64(np.nan), np.float32(-3e38)),
    ],
)
def test_arguments_arrive(build, writeable, yes, i, j, x, single):
    rng = np.random.default_rng(0)
    sources = [
        rng.standard_normal(3).astype(np.float32), rng.standard_normal(5),
        rng.integers(-(2**63), 2**63 - 1, 7), rng.integers(0, 2**64 - 1, 9, np.uint64),
        rng.integers(0, 2**16, 11, np.uint16),
    ]  # fmt: skip
    for array in sources:
        array.flags.writeable = writeable
    out = [np.zeros(len(array), array.dtype) for array in sources]
    scalars, whole = np.zeros(2), np.zeros(8, np.intp)
    a32, a64, ai, au, ah = sources
    tape = Tape()
    tape.call(keep, single, a32, i, a64, yes, ai, x, au, j, ah, *out, scalars, whole)
    tape.run()
    for array, copy in zip(sources, out, strict=True):
        np.testing.assert_array_equal(copy, array)
    # 0.1 in float32 is another number: it has come as what it is.
    assert scalars.tobytes() == np.array([single, x], float).tobytes()
    assert whole.tolist() == [i, j, yes, 3, 5, 7, 9, 11]


def test_arguments_have_the_types_of_direct_calls():
    """So that a kernel is compiled once for both: Python's numbers are of 64 bits, others what they are."""
    for value in (True, 3, -1, 0.5, np.float64(0.5), np.float32(0.5), np.intp(3)):
        ty, (_,) = words_of(value)
        assert TYPES[ty] == typeof(value)
    for dtype in (np.float32, np.float64, np.intp, np.uint64, np.uint16):
        array = np.zeros(3, dtype)
        ty, words = words_of(array)
        assert TYPES[ty] == typeof(array)
        assert words == (array.ctypes.data, 3)


def test_empty_arrays_and_no_arguments(build):
    @kernel
    def nothing():
        pass

    @kernel
    def nothing_shared(thread, n_threads):
        pass

    @kernel
    def length(x, out):
        out[0] += 1 + len(x)

    tape, out = Tape(), np.zeros(1, np.intp)
    tape.call(nothing)
    tape.share(nothing_shared)
    tape.call(length, np.zeros(0, np.float32), out)
    tape.run(3)
    assert out[0] == 3
    Tape().run(5)  # nor is there anything wrong with an empty tape


@pytest.mark.parametrize("array", [
    np.zeros((2, 3)), np.zeros((0, 3)), np.zeros((3, 2)).T, np.zeros(6)[::2], np.array(0.0),
], ids=lambda a: f"{a.shape}-{a.strides}")  # fmt: skip
def test_arrays_that_are_not_flat_are_refused(compiled, array):
    """Kernels are compiled for neighbouring elements in one dimension."""
    tape = Tape()
    with pytest.raises(ValueError, match="flat arrays"):
        tape.call(add_one, array)
    assert tape.calls == []


@pytest.mark.parametrize("array", [np.zeros(3, np.int16), np.zeros(3, bool), np.zeros(3, ">f8")])
def test_other_types_are_refused(array):
    with pytest.raises(TypeError, match="no arrays of"):
        words_of(array)


def test_calls_may_be_added_after_a_run(build):
    tape, x = Tape(), np.zeros(1)
    tape.call(add_one, x)
    tape.run()
    tape.call(add_one, x)
    tape.run()
    assert x[0] == 3


def test_a_stopped_tape_stays_stopped(build):
    tape, x = Tape(), np.zeros(1)
    tape.call(add_one, x)
    tape.stop[0] = 1
    tape.run(5)
    assert x[0] == 0


def test_a_player_keeps_its_tape(compiled):
    tape, x = Tape(), np.zeros(1)
    tape.call(add_one, x)
    play, words = tape.player(), weakref.ref(tape)
    del tape
    gc.collect()
    assert words() is not None
    play()
    assert x[0] == 1


def test_what_only_the_tape_holds_stays_alive(build):
    tape, total = Tape(), np.zeros(1)
    for k in range(50):
        with tape.only_if(np.full(1, k, np.intp)):
            tape.call(add_sum, np.full(1000, float(k)), total)
    for _ in range(3):
        gc.collect()
        garbage = [np.full(size, np.nan) for size in (1, 1000) * 100]
        tape.run()
        del garbage
    assert total[0] == 3 * 1000 * sum(range(50))


@kernel
def note(number, log):
    """log: how many numbers it holds, and those."""
    log[0] += 1
    log[log[0]] = number


def entries(log):
    return log[1 : log[0] + 1].tolist()


# --- order and number of the calls ----------------------------------------------------------------
@pytest.mark.parametrize("n_threads", [1, 4])
def test_calls_keep_their_order(build, pool, n_threads):
    tape, log = Tape(n_threads), np.zeros(100, np.intp)
    for number in (3, 1, 2):
        tape.call(note, number, log)
    tape.run(4, MANY)
    tape.run(1, MANY)
    assert entries(log) == [3, 1, 2] * 5


@pytest.mark.parametrize("times", [0, 1, 2, 3, 1000, 300_000])
def test_the_number_of_repetitions(compiled, times):
    """In bursts of any size."""
    tape, count = Tape(), np.zeros(1, np.intp)
    tape.call(add_one, count)
    tape.run(times)
    assert count[0] == times
    tape.run(times)
    assert count[0] == 2 * times


def test_bursts_do_not_change_the_number(compiled, monkeypatch):
    monkeypatch.setattr(tapes, "BURST_FLOPS", 1e6)
    for flops in (0.0, 2e5, 1e9):
        tape, count = Tape(), np.zeros(1, np.intp)
        tape.call(add_one, count)
        tape.run(10_001, flops)
        assert count[0] == 10_001


def test_one_kernel_for_several_types(build):
    tape = Tape()
    arrays = [np.zeros(1, dtype) for dtype in (np.float32, np.float64, np.intp, np.uint64, np.uint16)]
    for x in arrays:
        tape.call(add_one, x)
    tape.run(3)
    assert [x[0] for x in arrays] == [3] * 5


def test_a_player_replays_once(build):
    tape, log, condition = Tape(4), np.zeros(100, np.intp), np.ones(1, np.intp)
    tape.call(note, 1, log)
    tape.share(note_thread, log)
    with tape.only_if(condition):
        tape.call(note, 2, log)
    play = tape.player()
    assert entries(log) == []
    play()
    condition[0] = 0
    play()
    assert entries(log) == [1, 100, 2, 1, 100]
    tape.run()
    assert entries(log) == [1, 100, 2, 1, 100, 1, 100]


@kernel
def note_thread(thread, n_threads, log):
    note(100 * n_threads + thread, log)


def test_threads_that_record_the_same_kernel_first(compiled):
    """Its entry is compiled once or more, and stays when one of the tapes goes."""

    @kernel
    def add_three(x):
        x[0] += 3

    counts, start = [np.zeros(1, np.intp) for _ in range(8)], threading.Barrier(8)

    def work(count):
        tape = Tape()
        tape.call(add_three, count)
        start.wait()
        tape.run(10)

    in_threads(work, counts)
    gc.collect()
    tape = Tape()
    tape.call(add_three, counts[0])
    tape.run(10)
    assert [count[0] for count in counts] == [60, *[30] * 7]


# --- conditions and stops -------------------------------------------------------------------------
@kernel
def next_value(values, at, condition):
    condition[0] = values[at[0]]
    at[0] += 1


@pytest.mark.parametrize("n_threads", [1, 2, 4])
def test_only_if(build, pool, n_threads):
    """A condition that an earlier call of the same repetition sets; what comes after is unconditional."""
    values = np.array([0, 1, 0, 0, -1, 2**62, 0, 1], np.intp)
    condition, log, tape = np.zeros(3, np.intp), np.zeros(200, np.intp), Tape(n_threads)
    tape.call(note, 1, log)
    tape.call(next_value, values, np.zeros(1, np.intp), condition[1:])
    with tape.only_if(condition[1:]):
        tape.call(note, 2, log)
        tape.call(note, 3, log)
    tape.call(note, 4, log)
    tape.run(len(values), MANY)
    assert entries(log) == [n for value in values for n in ([1, 2, 3, 4] if value else [1, 4])]


def test_a_condition_ends_with_its_block(build):
    tape, log = Tape(), np.zeros(100, np.intp)

    with pytest.raises(LookupError), tape.only_if(np.zeros(1, np.intp)):  # noqa: PT012
        tape.call(note, 1, log)
        raise LookupError
    tape.call(note, 2, log)
    with tape.only_if(np.ones(1, np.intp)):
        tape.call(note, 3, log)
    tape.call(note, 4, log)
    tape.run(2)
    assert entries(log) == [2, 3, 4] * 2


@kernel
def stop_at(number, count, stop):
    count[0] += 1
    if count[0] == number:
        stop[0] = 1


@pytest.mark.parametrize("n_threads", [1, 2, 4])
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("number", [1, 2, 777])
def test_stop_ends_after_the_running_repetition(build, pool, n_threads, place, number):
    tape, count, others = Tape(n_threads), np.zeros(1, np.intp), np.zeros((2, 1), np.intp)
    calls = [(add_one, others[0]), (add_one, others[1])]
    calls.insert(place, (stop_at, number, count, tape.stop))
    for call in calls:
        tape.call(*call)
    tape.run(1000, MANY)
    assert count[0] == number
    assert others.ravel().tolist() == [number, number]
    assert tape.stop[0] == 1


# --- the checked build ----------------------------------------------------------------------------
@pytest.mark.parametrize("n_threads", [1, 3])
def test_a_checked_replay_raises(monkeypatch, n_threads):
    """From Python, where a kernel's error is an error; the calls before it were made, none after it."""
    monkeypatch.setattr(config, "BOUNDSCHECK", 1)

    @kernel
    def outside(x, at):
        x[at[0]] = 1

    tape, log, at = Tape(n_threads), np.zeros(50, np.intp), np.zeros(1, np.intp)
    tape.share(note_thread, log)
    tape.call(outside, np.zeros(3), at)
    tape.call(note, 1, log)
    tape.run(1, MANY)
    at[0] = 3
    for n, replay in ((n_threads, lambda: tape.run(2, MANY)), (1, tape.player())):
        log[:] = 0
        with pytest.raises(IndexError):
            replay()
        assert entries(log) == [100 * n + thread for thread in range(n)]


def test_a_checked_build_has_its_errors_raised():
    """By the variable itself, in a process that starts with it."""
    code = """
import numpy as np
from numba import njit
from skrnn.backends.cpu.tape import Tape

@njit
def outside(x, at):
    x[at] = 1

tape = Tape()
tape.call(outside, np.zeros(3), 3)
try:
    tape.run()
except IndexError:
    print("raised")
"""
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True,
        env=os.environ | {"PYTHONPATH": path, "NUMBA_BOUNDSCHECK": "1"},
    )  # fmt: skip
    assert result.stdout.strip() == "raised"
