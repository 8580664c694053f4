"""Kernels for other machines, and with bounds checked: in processes of their own."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest


def run_python(code, *arguments, **environment):
    """Run `code` with Numba's variables set; they are read when it is imported."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")}
    root = Path(__file__).parents[1]
    path = os.pathsep.join([str(root), str(root / "tests"), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        env=clean | {"PYTHONPATH": path} | environment,
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


OTHER_MACHINE = """
import sys

import numpy as np
import reference
from passes import Forward
from skrnn.backends.cpu.simd import machine
from skrnn.links import Pool
from skrnn.links.recurrent import States
from skrnn.recipe import recurrent_network
from skrnn.recording import Rows
from test_network import Problem, relative_error

m = machine()
print(m.vector_bytes, m.registers, m.has_fma)
options = {"cell": "lstm", "bidirectional": True}
problem = Problem(options, [4, 1, 3, 4, 2, 4, 4, 3, 4], hidden_size=5)
expected = np.array(problem.oracle().output)
out = np.array(problem.in_callers_order(problem.forward().out))
assert np.abs(out - expected).max() < 1e-12, np.abs(out - expected).max()
gradients = problem.gradients()
double = {name: gradients[name] for name in problem.weights}
for name, array in problem.weights.items():
    difference = reference.central_differences(problem.loss, array)
    assert relative_error(gradients[name], difference) < 1e-6, name
if sys.argv[1] == "float64":
    raise SystemExit

# float32 through the same steps: a second problem with a network of that type.
single = Problem(options, problem.lengths, hidden_size=5)
single.network = network = recurrent_network(2, 2, hidden_size=5, dtype=np.float32, **options)
params = network.pack(single.weights)
X = single.packed(single.X).astype(np.float32).ravel()
pass_ = Forward(network, params, X, single.steps, state=single.sorted_state(), keep=True)
out = np.array(single.in_callers_order(pass_.out))
assert np.abs(out - expected).max() < 2e-6, np.abs(out - expected).max()
y, w = (np.array(v)[single.steps.order] for v in (single.y, single.w))
grads = np.empty(network.size, np.float32)
pass_.backprop((pass_.out - y) * (w / w.sum())[:, None], grads)
for name, gradient in network.unpack(grads).items():
    assert relative_error(gradient, double[name]) < 1e-5, name
"""


@pytest.mark.sampled(3)
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names of x86 processors")
@pytest.mark.parametrize(("dtype", "cpu", "expected"), [
    ("float64", "haswell", "32 16 True"),
    ("float32", "haswell", "32 16 True"),
    ("float32", "generic", "16 16 False"),
])  # fmt: skip
def test_other_machines(dtype, cpu, expected, tmp_path):
    """8 lanes, and 4 lanes without a fused multiply-add: outputs and gradients are right there."""
    result = run_python(
        OTHER_MACHINE, dtype, NUMBA_CPU_NAME=cpu, NUMBA_CPU_FEATURES="", NUMBA_CACHE_DIR=str(tmp_path)
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == expected


BOUNDS = """
import numpy as np
from numba import njit
from skrnn.backends.cpu.bfloat16 import available, store_bf16
from skrnn.backends.cpu.gemm import make_column_sums, make_multiply, make_preactivations
from skrnn.backends.cpu.simd import (
    clear, copy, lanes, make_load, make_store, transpose_square
)
from skrnn.backends.cpu.sums import sum_of_squares

dtype = np.dtype(np.float32)
L = lanes(dtype)
load3, store3, multiply3, sums3 = make_load(3), make_store(3), make_multiply(3), make_column_sums(3)
fetching3 = make_multiply(3, "ahead")
preactivations = make_preactivations(4, (0, 3), (1, 4))
n_checked = 0

@njit
def read(x, at):
    load3(x, at)

@njit
def write(x, at):
    store3(x, at, load3(np.zeros(3 * L, np.float32), 0))

@njit
def multiply(M, a, b, c, a0, b0, c0):  # A (M, 2 blocks of 5), B (10, 3 L), C (M, 3 L)
    multiply3(M, a, a0, 12, 1, 6, b, b0, 3 * L, c, c0, 3 * L, 5, 2)

@njit
def fetching(M, a, b, c, a0, b0, c0):
    fetching3(M, a, a0, 12, 1, 6, b, b0, 3 * L, c, c0, 3 * L, 5, 2, 1000)

@njit
def multiply_columns(M, a, b, c, a0, b0, c0):  # A stored by columns: (5, M)
    multiply3(M, a, a0, 1, max(M, 1), 0, b, b0, 3 * L, c, c0, 3 * L, 5, 1)

@njit
def cell(M, x, w, h, u, bias, z, x0, w0, h0, u0, bias0, z0):  # 3 inputs, 5 hidden units
    preactivations(M, x, x0, 3, 3, w, w0, h, h0, 7, 5, u, u0, bias, bias0, 0, z, z0, 4 * L)

@njit
def column_sums(depth, g, sums, g0, sums0):
    sums3(depth, g, g0, 4 * L, sums, sums0)

@njit
def multiply_pairs(M, a, b, c, a0, b0, c0):  # the same of bfloat16, 10 elements and 20 rows
    multiply3(M, a, a0, 24, 2, 12, b, b0, 2 * 3 * L, c, c0, 3 * L, 5, 2)

@njit
def pairs(M, x, w, h, u, bias, z, x0, w0, h0, u0, bias0, z0):  # 6 inputs, 10 hidden units
    preactivations(M, x, x0, 6, 3, w, w0, h, h0, 14, 5, u, u0, bias, bias0, 0, z, z0, 4 * L)

@njit
def write_bf16(x, at):
    store_bf16(x, at, load3(np.zeros(3 * L, np.float32), 0)[0])

@njit
def square(x, y, x_at, y_at):  # rows of L + 1 and of L + 2
    transpose_square(x, x_at, L + 1, y, y_at, L + 2)

@njit
def squares(x, at):
    sum_of_squares(x, at, 3 * L + 1)

@njit
def clear_5(x, at):
    clear(x, at, 5)

@njit
def copy_5(x, y, x_at, y_at):
    copy(5, x, x_at, y, y_at)

@njit
def nothing(x, y, x_at, y_at):
    copy(0, x, x_at, y, y_at)
    clear(y, y_at, 0)
    sum_of_squares(y, y_at, 0)

def check(function, sizes, *rows, halves=()):
    '''`function` takes arrays of exactly these sizes, at offset 0, and nothing beyond them.'''
    global n_checked
    arrays = [np.zeros(n, np.uint16 if k in halves else dtype) for k, n in enumerate(sizes)]
    zeros = [0] * len(sizes)
    function(*rows, *arrays, *zeros)
    for k, size in enumerate(sizes):
        for shorter, offset in ((1, 0), (0, 1), (0, -1), (size, 0)):
            cut, offsets = list(arrays), list(zeros)
            cut[k], offsets[k] = np.zeros(size - shorter, arrays[k].dtype), offset
            try:
                function(*rows, *cut, *offsets)
            except IndexError:
                n_checked += 1
            else:
                raise SystemExit(f"{function.__name__}{rows}: operand {k} size -{shorter} at {offset}")

check(read, [3 * L])
check(write, [3 * L])
check(clear_5, [5])
check(copy_5, [5, 5])
check(square, [(L - 1) * (L + 1) + L, (L - 1) * (L + 2) + L])
check(squares, [3 * L + 1])
for M in (1, 2, 19):
    check(multiply, [(M - 1) * 12 + 6 + 5, 10 * 3 * L, M * 3 * L], M)
    check(fetching, [(M - 1) * 12 + 6 + 5, 10 * 3 * L, M * 3 * L], M)
    check(multiply_columns, [M * 5, 5 * 3 * L, M * 3 * L], M)
    check(cell, [M * 3, 3 * 3 * L, (M - 1) * 7 + 5, 5 * 3 * L, 4 * L, M * 4 * L], M)
    check(column_sums, [(M - 1) * 4 * L + 3 * L, 3 * L], M)
print(n_checked)
n_checked = 0
if available():
    check(write_bf16, [L], halves=[0])
    for M in (1, 2, 19):
        check(multiply_pairs, [(M - 1) * 24 + 12 + 10, 20 * 3 * L, M * 3 * L], M, halves=[0, 1])
        sizes = [M * 6, 6 * 3 * L, (M - 1) * 14 + 10, 10 * 3 * L, 4 * L, M * 4 * L]
        check(pairs, sizes, M, halves=[0, 1, 2, 3])
    assert n_checked == 4 * (1 + 3 * (3 + 6))

# No rows: a share of nothing begins where the rows before it end.
a, b, c, z = (np.zeros(n, dtype) for n in (2 * 12, 10 * 3 * L, 2 * 3 * L, 2 * 4 * L))
x, w, h, u, bias = (np.zeros(n, dtype) for n in (2 * 3, 3 * 3 * L, 2 * 7, 5 * 3 * L, 4 * L))
for k in range(3):
    nothing(a, c, 12 * k, 3 * L * k)
    multiply(0, a, b, c, 12 * k, 0, 3 * L * k)
    fetching(0, a, b, c, 12 * k, 0, 3 * L * k)
    multiply_columns(0, a, b, c, k, 0, 3 * L * k)
    cell(0, x, w, h, u, bias, z, 3 * k, 0, 7 * k, 0, 0, 4 * L * k)
"""


def test_checked_build(tmp_path):
    """NUMBA_BOUNDSCHECK=1 covers vectors, products and copies, which Numba's own check does not see."""
    result = run_python(BOUNDS, NUMBA_BOUNDSCHECK="1", NUMBA_CACHE_DIR=str(tmp_path))
    assert result.returncode == 0, result.stdout + result.stderr
    assert int(result.stdout) == 4 * (1 + 1 + 1 + 2 + 2 + 1 + 3 * (3 + 3 + 3 + 6 + 2))
