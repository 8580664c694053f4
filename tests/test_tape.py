"""Tapes: what is recorded arrives, call by call, on any number of threads, and ends when it should."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
from numba import njit, typeof
from numba.core import config

from skrnn.backends.cpu import tape as tapes
from skrnn.backends.cpu import threads
from skrnn.backends.cpu.tape import THREAD_FLOPS, TYPES, Tape, words_of
from skrnn.backends.cpu.threads import own_range

MANY = 1e12  # operations: as many threads as a tape may have
LINE = 8  # words between numbers that different threads write


# Not `jit.kernel`: its files on disk would not see a change in this module.
kernel = njit(nogil=True, error_model="numpy")


@pytest.fixture
def compiled(monkeypatch):
    """Replays in compiled code, also where the tests run with NUMBA_BOUNDSCHECK=1."""
    monkeypatch.setattr(config, "BOUNDSCHECK", 0)


@pytest.fixture(params=["compiled", "python"])
def build(request, monkeypatch):
    """Replays in compiled code, and from Python as with NUMBA_BOUNDSCHECK=1."""
    monkeypatch.setattr(config, "BOUNDSCHECK", int(request.param == "python"))
    return request.param


@pytest.fixture
def pool(monkeypatch):
    """Three helpers, whatever the machine has, that stay awake; replays wait for those that they wake."""
    pool = threads.Pool(3)
    pool.boxes[threads.PATIENCE :: threads.BOX] = 2**60
    monkeypatch.setattr(threads, "_pool", pool)
    monkeypatch.setattr(threads, "usable_processors", lambda: 4)
    monkeypatch.setattr(threads, "LOOK_FLOPS", 1.0)
    yield pool
    pool.boxes[threads.PATIENCE :: threads.BOX] = 0
    wait_for(lambda: states(pool) <= {threads.ASLEEP})  # none is still hired or busy


def states(pool):
    return set(pool.boxes[threads.STATE :: threads.BOX].tolist())


def wait_for(what):
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.001)


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
def add_one(x):
    x[0] += 1


@kernel
def add_sum(x, total):
    total[0] += x.sum()


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


def in_threads(work, arguments):
    """``work(argument)`` in a thread each; fails where one hangs."""
    errors = []

    def caught(argument):
        try:
            work(argument)
        except BaseException as error:
            errors.append(error)

    workers = [threading.Thread(target=caught, args=(a,), daemon=True) for a in arguments]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=600)
        assert not worker.is_alive()
    assert errors == []


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


RACES = """
import os
import sys
import numpy as np
from numba import njit
from skrnn.backends.cpu import threads
from skrnn.backends.cpu.tape import Tape

# A helper, though there is one processor for both; replays begin without it, and it joins when it is there.
threads._pool, threads.usable_processors, threads.LOOK_FLOPS = threads.Pool(1), lambda: 2, np.inf
if hasattr(os, "sched_setaffinity"):  # one thread at a time: all others are late
    os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1])

@njit(nogil=True)
def flip(condition):
    condition[0] = 1 - condition[0]

@njit(nogil=True)
def count(thread, n_threads, counts):
    counts[8 * thread] += 1

@njit(nogil=True)
def stop_at(number, n, stop):
    n[0] += 1
    if n[0] == number:
        stop[0] = 1

if sys.argv[1] == "condition":
    tape, condition, counts = Tape(2), np.zeros(1, np.intp), np.zeros(16, np.intp)
    tape.call(flip, condition)
    with tape.only_if(condition):
        tape.share(count, counts)
    tape.run(1000, 3e8)
    while not counts[8]:
        tape.run(2, 3e8)
    assert counts[0] >= 500 and counts[8] <= counts[0], counts
else:
    for number in range(500, 520):
        tape, n = Tape(2), np.zeros(1, np.intp)
        tape.call(stop_at, number, n, tape.stop)
        tape.run(100_000, 3e8)
        assert n[0] == number, n
"""


def run_alone(code, *args):
    """In a process of its own: threads that wait for one another in vain cannot be ended."""
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_BOUNDSCHECK"}
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    result = subprocess.run(
        [sys.executable, "-c", code, *args], env=environment | {"PYTHONPATH": path}, capture_output=True,
        text=True, timeout=600, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr


ASLEEP_AND_HIRED = """
import numpy as np
from numba import njit
from skrnn.backends.cpu import threads
from skrnn.backends.cpu.tape import Tape

pool = threads._pool = threads.Pool(1)
threads.usable_processors = lambda: 2

@njit(nogil=True)
def count(thread, n_threads, counts):
    counts[8 * thread] += 1

tape, counts = Tape(2), np.zeros(16, np.intp)
tape.share(count, counts)
for k in range(5_000):
    pool.boxes[threads.PATIENCE] = k % 7 * 5
    tape.run(1, 3e8)
pool.boxes[threads.PATIENCE] = 2**60
while not counts[8]:
    tape.run(1, 1e9)
assert counts[0] >= 5_000, counts
"""


def test_a_helper_is_hired_or_goes_to_sleep():
    """Never both: with hardly any patience it does one of them all the time. Both would be a hang."""
    run_alone(ASLEEP_AND_HIRED)


@pytest.mark.parametrize("what", ["condition", "stop"])
def test_no_thread_reads_what_the_next_repetition_sets(what):
    """The first thread is ahead where calls are left out at the end, or where the first call stops."""
    run_alone(RACES, what)


# --- threads --------------------------------------------------------------------------------------
@kernel
def count_call(thread, n_threads, counts):
    """counts (n + 1, n): how often each thread of a team of each size has called."""
    counts[(n_threads * 5 + thread) * LINE] += 1


@pytest.mark.parametrize("n_threads", [1, 2, 3, 4])
def test_each_thread_calls_once(build, pool, n_threads):
    tape, counts, alone = Tape(n_threads), np.zeros(5 * 5 * LINE, np.intp), np.zeros(1, np.intp)
    tape.share(count_call, counts)
    tape.call(add_one, alone)
    tape.share(count_call, counts)
    tape.run(50, MANY)
    expected = np.zeros((5, 5), int)
    expected[n_threads, :n_threads] = 100
    np.testing.assert_array_equal(counts.reshape(5, 5, LINE)[:, :, 0], expected)
    assert alone[0] == 50


@kernel
def write_own(thread, n_threads, parts):
    parts[thread * LINE] += 1


@kernel
def read_all(thread, n_threads, parts, wrong):
    for k in range(n_threads):
        if parts[k * LINE] != parts[thread * LINE]:
            wrong[thread * LINE] += 1


@kernel
def add_up(parts, n_threads, total, wrong):
    total[0] += 1
    for k in range(n_threads):
        if parts[k * LINE] != total[0]:
            wrong[0] += 1


@kernel
def read_total(thread, n_threads, parts, total, wrong):
    if parts[thread * LINE] != total[0]:
        wrong[thread * LINE] += 1


@pytest.mark.parametrize("n_threads", [2, 3, 4])
@pytest.mark.parametrize("between", ["shared calls", "shared and single calls"])
def test_no_call_begins_before_the_last_has_ended(compiled, pool, n_threads, between):
    """One kernel writes, another reads what all have written; neither sees the other half done."""
    tape, parts, wrong = Tape(n_threads), np.zeros(4 * LINE, np.intp), np.zeros(4 * LINE, np.intp)
    total = np.zeros(1, np.intp)
    tape.share(write_own, parts)
    if between == "shared calls":
        tape.share(read_all, parts, wrong)
    else:
        tape.call(add_up, parts, n_threads, total, wrong)
        tape.share(read_total, parts, total, wrong)
    tape.run(300, MANY)
    assert parts[::LINE][:n_threads].tolist() == [300] * n_threads
    assert not wrong.any()


@pytest.mark.parametrize(("flops", "expected"), [
    (0, 1), (0.99 * THREAD_FLOPS, 1), (THREAD_FLOPS, 2), (2.5 * THREAD_FLOPS, 3), (MANY, 4),
])  # fmt: skip
def test_small_work_is_not_shared(compiled, pool, monkeypatch, flops, expected):
    monkeypatch.setattr(threads, "WAKE_FLOPS", 0)
    tape, counts = Tape(4), np.zeros(5 * 5 * LINE, np.intp)
    tape.share(count_call, counts)
    tape.run(1, flops)
    assert counts.reshape(5, 5, LINE)[expected, :expected, 0].tolist() == [1] * expected
    assert counts.sum() == expected


@pytest.mark.parametrize("flops", [threads.WAKE_FLOPS / 2, threads.WAKE_FLOPS])
def test_helpers_are_woken_for_long_work_or_one_piece_after_another(compiled, pool, monkeypatch, flops):
    """Not for a short one alone: it would be over before they are there."""
    tape, counts, now = Tape(2), np.zeros(5 * 5 * LINE, np.intp), [100.0]
    tape.share(count_call, counts)
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    teams, patience = [], pool.boxes[threads.PATIENCE :: threads.BOX]
    for pause in (1.0, 1.0, 1e-3):
        patience[:] = 0
        wait_for(lambda: states(pool) == {threads.ASLEEP})
        patience[:] = 2**60
        now[0] += pause
        counts[:] = 0
        tape.run(1, flops)
        teams.append(1 + int(counts.reshape(5, 5, LINE)[2, 0, 0]))
    assert teams == ([1, 1, 2] if flops < threads.WAKE_FLOPS else [2, 2, 2])


@pytest.mark.parametrize("state", [threads.HIRED, threads.BUSY])
@pytest.mark.parametrize("busy", [0, 1, 2, 3])
def test_only_free_threads_are_asked(compiled, pool, busy, state):
    """Nobody waits for those that work elsewhere."""
    boxes = pool.boxes.reshape(3, threads.BOX)
    boxes[:busy, threads.STATE] = state
    tape, counts = Tape(64), np.zeros(5 * 5 * LINE, np.intp)
    tape.share(count_call, counts)
    tape.run(10, MANY)
    n = 4 - busy
    assert counts.reshape(5, 5, LINE)[n, :n, 0].tolist() == [10] * n
    assert boxes[:busy, threads.STATE].tolist() == [state] * busy
    assert boxes[:, threads.CALLS].tolist() == [0] * busy + [10] * (3 - busy)
    boxes[:busy, threads.STATE] = threads.ASLEEP


@kernel
def wait_until(flag):
    while threads.load_atomically(flag, 0) == 0:
        threads.give_way()


def test_who_wakes_up_late_joins(compiled, pool, monkeypatch):
    """The replay has begun without a helper; the call after next has one."""
    monkeypatch.setattr(threads, "LOOK_FLOPS", np.inf)  # waits for none
    ring = pool._ring
    monkeypatch.setattr(pool, "_ring", lambda i: True)  # not yet

    tape, counts, flag = Tape(2), np.zeros(5 * 5 * LINE, np.intp), np.zeros(1, np.intp)
    by_team = counts.reshape(5, 5, LINE)[:, :, 0]
    tape.share(count_call, counts)
    tape.call(wait_until, flag)
    tape.share(count_call, counts)
    leader = threading.Thread(target=tape.run, args=(1, MANY), daemon=True)
    leader.start()
    wait_for(lambda: by_team[1, 0] == 1)
    ring(0)
    wait_for(lambda: pool.boxes[threads.STATE] == threads.READY)
    flag[0] = 1
    leader.join(timeout=60)
    assert not leader.is_alive()
    assert by_team[1, 0] == 1
    assert by_team[2, :2].tolist() == [1, 1]


def test_helpers_go_to_sleep(compiled, pool):
    tape, counts = Tape(4), np.zeros(5 * 5 * LINE, np.intp)
    tape.share(count_call, counts)
    for _ in range(2):  # and wake up again
        pool.boxes[threads.PATIENCE :: threads.BOX] = 2**60
        tape.run(1, MANY)
        assert states(pool) == {threads.READY}
        pool.boxes[threads.PATIENCE :: threads.BOX] = threads.LAST_LOOK
        wait_for(lambda: states(pool) == {threads.ASLEEP})
    assert counts.reshape(5, 5, LINE)[4, :4, 0].tolist() == [2] * 4


@kernel
def add_index(thread, n_threads, teams, x):
    if thread == 0:
        teams[n_threads] += 1
    lo, hi = own_range(thread, n_threads, len(x))
    for i in range(lo, hi):
        x[i] += i


@kernel
def mirror(thread, n_threads, x, y):
    lo, hi = own_range(thread, n_threads, len(x))
    for i in range(lo, hi):
        y[i] = x[len(x) - 1 - i]


@pytest.mark.parametrize("many", ["one process", "eight threads"])
def test_results_do_not_depend_on_who_is_free(compiled, pool, monkeypatch, many):
    """Eight threads replay tapes that want four threads each, where there are three to spare."""
    if many == "eight threads":  # they would wait for each other's helpers
        monkeypatch.setattr(threads, "LOOK_FLOPS", MANY / 100)
    n_runs, teams = 300, np.zeros((8, 5), np.intp)

    def work(k):
        x, y, total = np.zeros(101), np.zeros(101), np.zeros(1)
        tape = Tape(4)
        tape.share(add_index, teams[k], x)
        tape.share(mirror, x, y)
        tape.call(add_sum, y[:7], total)
        expected = np.zeros(1)
        for run in range(1, n_runs + 1):
            tape.run(1, MANY)
            np.testing.assert_array_equal(y, run * np.arange(100, -1, -1))
            expected += run * np.arange(100, 93, -1).sum()
            assert total == expected

    in_threads(work, range(8) if many == "eight threads" else [0])
    if many == "eight threads":
        assert teams.sum(axis=1).tolist() == [n_runs] * 8
        assert teams[:, 1].any()  # some had no help,
        assert teams[:, 2:].any()  # some had
    else:
        assert teams[0].tolist() == [0, 0, 0, 0, n_runs]


# --- interrupts -----------------------------------------------------------------------------------
@pytest.mark.parametrize("rung", [0, 1, 2])
def test_an_interrupt_before_the_replay(compiled, pool, monkeypatch, rung):
    """Helpers that are awake already are free for the next one."""
    tape, counts = Tape(4), np.zeros(5 * 5 * LINE, np.intp)
    tape.share(count_call, counts)
    ring, asked = pool._ring, []

    def interrupted(i):
        if len(asked) == rung:
            raise KeyboardInterrupt
        asked.append(i)
        ring(i)

    with monkeypatch.context() as patch:
        patch.setattr(pool, "_ring", interrupted)
        with pytest.raises(KeyboardInterrupt):
            tape.run(100, MANY)
    assert not counts.any()
    tape.run(7, MANY)
    assert counts.reshape(5, 5, LINE)[4, :4, 0].tolist() == [7] * 4


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")
@pytest.mark.parametrize("n_threads", [1, 4])
def test_an_interrupt_ends_a_long_replay(compiled, pool, n_threads):
    """After the running burst, and with whole repetitions."""
    tape, count, counts = Tape(n_threads), np.zeros(1, np.intp), np.zeros(5 * 5 * LINE, np.intp)
    tape.call(add_one, count)
    tape.share(count_call, counts)
    tape.run(1, MANY)

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        start = time.perf_counter()
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(KeyboardInterrupt):
            tape.run(10**12, MANY)
        seconds = time.perf_counter() - start
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert 0.2 < seconds < 20
    assert counts.reshape(5, 5, LINE)[n_threads, :n_threads, 0].tolist() == [count[0]] * n_threads
    assert count[0] > 1  # how many, is the scheduler's: four threads may share one processor


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
