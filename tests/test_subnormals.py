"""Subnormal numbers count as zero in kernels, and nowhere else."""

import platform
import threading
import time

import llvmlite.binding as llvm
import numpy as np
import pytest
from llvmlite import ir
from passes import Forward, PackedSteps

from skrnn import GRURegressor, LSTMRegressor, RNNRegressor
from skrnn.backends.cpu import subnormals, threads
from skrnn.backends.cpu.jit import kernel
from skrnn.backends.cpu.tape import Tape, replay
from skrnn.recipe import recurrent_network

known = pytest.mark.skipif(
    subnormals.control(platform.machine()) is None, reason="no way to the mode of this processor"
)
DTYPES = [np.float32, np.float64]


@kernel("test_multiply")
def multiply(thread, n_threads, x, y, out):
    out[thread] = x[0] * y[0]


def factors(dtype):
    """(x, y) whose product is subnormal, has a subnormal factor, and both."""
    tiny, half = np.finfo(dtype).tiny, dtype(0.5)
    return [(tiny, half), (tiny * half, dtype(4)), (tiny * half, dtype(1))]


def product(run, x, y):
    """x * y in a kernel, on a tape that `run` replays."""
    arrays, out = [np.array([v]) for v in (x, y)], np.full(2, np.nan, x.dtype)
    tape = Tape(2)
    tape.share(multiply, *arrays, out)
    run(tape)
    return out


def counts_here():
    """Whether a subnormal number is one to this thread, as in a process without kernels."""
    return all(x * y != 0 and np.array([x]) * y != 0 for dtype in DTYPES for x, y in factors(dtype))


@known
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("run", [Tape.run, lambda tape: tape.player()()])
def test_kernels_take_them_for_zero_and_leave_the_mode_as_it_was(run, dtype):
    for x, y in factors(dtype):
        assert counts_here()
        assert product(run, x, y)[0] == 0
        assert counts_here()
    assert product(run, dtype(3), np.finfo(dtype).tiny)[0] == 3 * np.finfo(dtype).tiny


@known
@pytest.mark.parametrize("dtype", DTYPES)
def test_helpers_do_so_too(dtype):
    """In the thread that helps, whose own mode is what it was when it has nothing more to do."""
    boxes, seen = np.zeros(threads.BOX, np.intp), []

    def help_out():
        seen.append(counts_here())
        threads.help_out(boxes, 0)
        seen.append(counts_here())

    boxes[threads.PATIENCE] = 2**60
    helper = threading.Thread(target=help_out)
    helper.start()
    while boxes[threads.STATE] != threads.READY:
        time.sleep(0.001)

    def together(tape):
        replay(1, *tape._compiled(), tape.stop, boxes, np.zeros(1, np.intp), 10**9)

    try:
        results = [product(together, x, y) for x, y in factors(dtype)]
    finally:
        boxes[threads.PATIENCE] = 0
        helper.join()
    np.testing.assert_array_equal(results, np.zeros((3, 2)))
    assert boxes[threads.CALLS] == 3
    assert seen == [True, True]
    assert counts_here()


@known
def test_a_mode_that_the_caller_has_set_stays():
    """Also where the caller flushes: its bits are put back, not cleared."""
    mode = subnormals.begin_flushing()
    try:
        inside = np.float32(np.finfo(np.float32).tiny) * np.float32(0.5)
        product(Tape.run, np.float32(1), np.float32(1))
        after = np.float32(np.finfo(np.float32).tiny) * np.float32(0.5)
    finally:
        subnormals.end_flushing(mode)
    assert inside == after == 0
    assert counts_here()


@pytest.mark.parametrize("cls", [RNNRegressor, LSTMRegressor, GRURegressor])
def test_estimators_leave_the_mode_as_it_was(cls):
    X = np.random.default_rng(0).standard_normal((6, 40, 2)).astype(np.float32)
    est = cls(4, max_iter=2, n_jobs=2).fit(X, X[:, 0, 0])
    assert counts_here()
    est.predict(X)
    assert counts_here()
    est.stream(6).step(X[:, 0])
    assert counts_here()


@pytest.mark.parametrize(
    ("triple", "machine", "words"),
    [
        ("aarch64-unknown-linux-gnu", "aarch64", ("mrs", "msr", "FPCR")),
        ("arm64-apple-macosx", "arm64", ("mrs", "msr", "FPCR")),
        ("x86_64-pc-windows-msvc", "AMD64", ("stmxcsr", "ldmxcsr", "stmxcsr")),
    ],
)
def test_machine_code_of_other_machines(triple, machine, words):
    """What the compiler makes of it there, where this test may not run."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    register, module = subnormals.control(machine), ir.Module()
    module.triple = triple
    function = ir.Function(module, ir.FunctionType(ir.IntType(64), []), "flush")
    builder = ir.IRBuilder(function.append_basic_block())
    before = register.read(builder)
    register.write(builder, builder.or_(before, ir.Constant(before.type, register.flush)))
    builder.ret(before)
    target = llvm.Target.from_triple(triple).create_target_machine()
    assembly = target.emit_assembly(llvm.parse_assembly(str(module)))
    for word in words:
        assert word.lower() in assembly.lower(), assembly


def test_machines_without_a_way_are_left_as_they_are():
    assert subnormals.control("riscv64") is None


@known
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_gradients_that_shrink_to_nothing_are_nothing(cell):
    """On the way back from the end of 1000 steps; as subnormal numbers they made a pass many times slower."""
    B, T, F, H = 4, 1000, 2, 20
    rng = np.random.default_rng(0)
    network = recurrent_network(F, 1, cell=cell, hidden_size=H, dtype=np.float32)
    params = (rng.uniform(-1, 1, network.size) / np.sqrt(H)).astype(np.float32)
    X = rng.standard_normal((T * B, F)).astype(np.float32)
    pass_ = Forward(network, params, X, PackedSteps([T] * B), keep=True)
    dX, _ = pass_.backprop(np.ones((B, 1), np.float32), np.zeros(network.size, np.float32), d_input=True)
    size = np.abs(dX)
    assert size[: 100 * B].max() == 0 < size[-B:].min()
    smallest = size[size > 0].min()
    assert np.finfo(np.float32).tiny <= smallest < 1e-30
