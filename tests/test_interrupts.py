"""Ctrl-C wherever it falls: it reaches the caller, and no block, kernel or helper is left half done."""

import gc
import os
import signal
import sys
import threading
import weakref
from functools import partial

import numpy as np
import pytest
from interrupting import at_event, press
from numba import njit
from numba.core import config
from numba.core.registry import cpu_target
from replays import wait_for

from skrnn.backends import kernel_cache
from skrnn.backends.cpu import jit, threads
from skrnn.backends.cpu.tape import Tape
from skrnn.interrupts import deferred, deferring, look


@pytest.fixture
def handler():
    """A function that sets the handler of SIGINT for this test."""
    before = signal.getsignal(signal.SIGINT)
    yield lambda function: signal.signal(signal.SIGINT, function)
    signal.signal(signal.SIGINT, before)


# --- a block that an interrupt cannot divide ------------------------------------------------------
def test_it_waits_for_the_end_of_the_block():
    done = []
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        with deferred():
            press()
            press()
            done.append(1)
        done.append(2)
    assert done == [1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with deferred():  # nothing is left over
        pass


def test_of_blocks_in_each_other_the_outer_one_counts():
    done = []
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        with deferred():
            with deferred():
                press()
            done.append(1)
        done.append(2)
    assert done == [1]


def test_an_error_of_the_block_does_not_lose_it():
    """Or a search would take the error for that of a bad candidate, and go on."""
    with pytest.raises(KeyboardInterrupt) as caught, deferred():  # noqa: PT012
        press()
        raise RuntimeError("of the block")
    assert isinstance(caught.value.__context__, RuntimeError)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_decorated_function():
    done = []

    @deferring
    def work(x, *, y):
        press()
        done.append((x, y))
        return x

    with pytest.raises(KeyboardInterrupt):
        work(1, y=2)
    assert done == [(1, 2)]


def test_a_handler_of_the_user_is_called_afterwards(handler):
    calls = []

    def own(number, frame):
        calls.append((number, frame.f_back.f_code.co_name, list(done)))

    def inner():
        press()

    done = []
    handler(own)
    with deferred():
        inner()
        inner()
        done.append(1)
        assert calls == []
    assert calls == [(signal.SIGINT, "inner", [1])] * 2
    assert signal.getsignal(signal.SIGINT) is own


@pytest.mark.parametrize("how", [signal.SIG_IGN, signal.SIG_DFL])
def test_who_ignores_it_goes_on_to_do_so(handler, how):
    handler(how)
    with deferred():
        assert signal.getsignal(signal.SIGINT) is how
    assert signal.getsignal(signal.SIGINT) is how


def test_a_handler_set_meanwhile_stays(handler):
    with deferred():
        handler(signal.SIG_IGN)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_other_threads_do_not_take_it():
    seen = []

    def work():
        with deferred():
            look()
            seen.append(type(signal.getsignal(signal.SIGINT)))

    with pytest.raises(KeyboardInterrupt), deferred():  # noqa: PT012
        press()
        for _ in range(3):
            worker = threading.Thread(target=work)
            worker.start()
            worker.join()
    worker = threading.Thread(target=work)
    worker.start()
    worker.join()
    assert seen[:3] == [deferred] * 3  # the main thread's
    assert seen[3] is type(signal.default_int_handler)


def test_a_look_lets_it_fall():
    done = []
    with pytest.raises(KeyboardInterrupt), deferred():  # noqa: PT012
        look()
        press()
        done.append(1)
        look()
        done.append(2)
    assert done == [1]


def test_a_callback_of_python_cannot_swallow_it():
    """Elsewhere it can: an exception in there is shown and ignored."""

    class Thing:
        pass

    thing = Thing()
    reference = weakref.ref(thing, lambda _: press())
    with pytest.raises(KeyboardInterrupt), deferred():  # noqa: PT012
        del thing
        gc.collect()
    assert reference() is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_of_another_thread_has_the_handler_back():
    codes = []

    def fork():
        child = os.fork()
        if child == 0:
            os._exit(0 if signal.getsignal(signal.SIGINT) is signal.default_int_handler else 1)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    with deferred():
        worker = threading.Thread(target=fork)
        worker.start()
        worker.join()
    assert codes == [0]


# --- compiling --------------------------------------------------------------------------------------
HOOKS = ["_object_cache_notify", "_object_cache_getbuffer"]  # Python that LLVM calls


@pytest.mark.skipif(config.BOUNDSCHECK, reason="calls are made from Python")
@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("what", ["the kernel", "its entry"])
def test_while_a_kernel_is_compiled(tmp_path, monkeypatch, hook, what):
    """What LLVM calls cannot hand it on: it was `RuntimeError: no compiled object yet`, for good."""
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))

    @jit.kernel("a test of interrupts", hook, what)
    def add_two(x):
        x[0] += 2

    engine = cpu_target.target_context.codegen()._engine._ee
    sent, landing = [], getattr(engine, hook)

    def press_once(module, *rest):
        if ("skrnn_entry_" in str(module)) == (what == "its entry") and not sent:
            sent.append(1)
            press()
        return landing(module, *rest)

    tape, x = Tape(), np.zeros(1)
    tape.call(add_two, x)
    monkeypatch.setattr(engine, hook, press_once)
    with pytest.raises(KeyboardInterrupt):
        tape.run()
    assert sent
    assert x[0] == 0
    tape.run()
    assert x[0] == 2


@pytest.mark.skipif(config.BOUNDSCHECK, reason="calls are made from Python")
def test_while_kernels_are_loaded_or_stored(tmp_path, monkeypatch):
    """The file is whole, and the kernel that was loaded is there."""
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))

    def make():
        def add_three(x):
            x[0] += 3

        return jit.kernel("a test of interrupts")(add_three)

    for name in ("save_overload", "load_overload"):
        method = getattr(kernel_cache.KernelCache, name)

        def interrupted(self, *args, method=method):
            press()
            result = method(self, *args)
            press()
            return result

        function, x = make(), np.zeros(1)
        with monkeypatch.context() as patch:
            patch.setattr(kernel_cache.KernelCache, name, interrupted)
            with pytest.raises(KeyboardInterrupt):
                function(x)
        function(x)
        assert x[0] == 3
        assert len(list(tmp_path.rglob("*.nbc"))) == 1
        assert not list(tmp_path.rglob("*.tmp"))
    assert sum(function.stats.cache_hits.values()) == 1


def test_kernels_are_compiled_to_the_end_of_the_one_at_hand(monkeypatch):
    """Not all those of a tape."""
    compiled, entry = [], sys.modules[Tape.__module__].entry

    def press_first(*args):
        compiled.append(args)
        press()
        return entry(*args)

    monkeypatch.setattr(sys.modules[Tape.__module__], "entry", press_first)
    monkeypatch.setattr(config, "BOUNDSCHECK", 0)
    tape = Tape()
    for _ in range(3):
        tape.call(threads.help_out, np.zeros(threads.BOX, np.intp), 0)
    with pytest.raises(KeyboardInterrupt), deferred():
        tape.run()
    assert len(compiled) == 1


# --- helpers ------------------------------------------------------------------------------------------
def test_while_a_helper_is_started_and_woken(monkeypatch):
    """At every place: no helper is lost, none is there twice, and no lock stays taken."""
    monkeypatch.setattr(config, "BOUNDSCHECK", 0)
    monkeypatch.setattr(threads, "usable_processors", lambda: 2)
    monkeypatch.setattr(threads, "LOOK_FLOPS", 1.0)
    started, start_new_thread = [], threads.start_new_thread

    def count(*args):
        started.append(args)
        return start_new_thread(*args)

    monkeypatch.setattr(threads, "start_new_thread", count)
    tape, counts = Tape(2), np.zeros(2 * 8, np.intp)
    tape.share(count_call, counts)
    tape.run(1)  # compiles
    threads.compile_help_out()

    def run():
        tape.run(1, 1e12)

    pool, patience = threads.Pool(1), 2**60
    for first in (True, False):
        number, ended = 1, False
        while not ended:
            if first:  # the thread has to be started
                pool = threads.Pool(1)
            else:
                pool.boxes[threads.PATIENCE] = 0
                wait_for(partial(is_asleep, pool), seconds=600)
            pool.boxes[threads.PATIENCE] = patience
            monkeypatch.setattr(threads, "_pool", pool)
            started.clear()
            error, n, _ = at_event(number, run)
            ended = error is None and n < number
            assert ended or isinstance(error, KeyboardInterrupt), number
            counts[:] = 0
            run()
            assert counts[::8].tolist() == [1, 1], number
            assert len(started) == first
            assert len(pool.bells) == 1
            if first:
                pool.boxes[threads.PATIENCE] = 0
            number += 2
        assert number > 20


def is_asleep(pool):
    return pool.boxes[threads.STATE] == threads.ASLEEP


@njit(nogil=True)
def count_call(thread, n_threads, counts):
    counts[8 * thread] += 1
