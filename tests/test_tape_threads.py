"""Replays by several threads: each call once and in order, by whoever is free, until an interrupt."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from replays import MANY, add_one, add_sum, in_threads, kernel, states, wait_for

from skrnn.backends.cpu import threads
from skrnn.backends.cpu.tape import THREAD_FLOPS, Tape
from skrnn.backends.cpu.threads import own_range

LINE = 8  # words between numbers that different threads write


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


# --- in processes of their own --------------------------------------------------------------------
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


@pytest.mark.parametrize("what", ["condition", "stop"])
def test_no_thread_reads_what_the_next_repetition_sets(what):
    """The first thread is ahead where calls are left out at the end, or where the first call stops."""
    run_alone(RACES, what)
