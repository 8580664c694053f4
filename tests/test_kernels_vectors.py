"""Functions on vectors, and what copies, clears and adds up memory."""

import numpy as np
import pytest
from kernel_calls import DTYPES
from numba import njit

from skrnn.backends.cpu.elementary import functions
from skrnn.backends.cpu.simd import clear, copy, lanes, machine, make_load, make_store
from skrnn.backends.cpu.sums import sum_of_squares

load1, store1 = make_load(1), make_store(1)


# --- functions on vectors -------------------------------------------------------------------------
def on_arrays(function, dtype):
    """A function on vectors as one on arrays of any length."""
    L = lanes(dtype)

    @njit(error_model="numpy")
    def run(x, out):
        for k in range(0, len(x), L):
            store1(out, k, (function(load1(x, k)[0]),))

    def apply(x):
        padded = np.zeros(-(-len(x) // L) * L, dtype)
        padded[: len(x)] = x
        out = np.empty_like(padded)
        run(padded, out)
        return out[: len(x)]

    return apply


@pytest.fixture(scope="module")
def apply():
    """``apply[name, dtype](x)`` for every function that a backend lends to the cells."""
    names = ("tanh", "sigmoid", "relu", "positive")
    return {
        (name, dtype): on_arrays(getattr(functions(dtype), name), dtype) for name in names for dtype in DTYPES
    }


def arguments(dtype):
    tiny = [10.0**e for e in range(-300 if dtype == np.float64 else -37, 1)]
    x = np.concatenate([
        np.linspace(-100, 100, 200_001), np.linspace(-1, 1, 200_001),
        np.linspace(-0.7, -0.5, 50_001), tiny, -np.array(tiny),
    ])  # fmt: skip
    return x.astype(dtype)


def exact(name, x):
    """In long double, where the platform has one."""
    x = x.astype(np.longdouble)
    if name == "tanh":
        return np.tanh(x)
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


@pytest.mark.parametrize("name", ["tanh", "sigmoid"])
def test_float32_accuracy(apply, name):
    """Absolute error over [-100, 100]. tanh: 2.4e-7 with fused multiply-add, 3.3e-7 without."""
    x = arguments(np.dtype(np.float32))
    y = apply[name, np.dtype(np.float32)](x)
    bound = {"tanh": 2.5e-7, "sigmoid": 1.5e-7} if machine().has_fma else {"tanh": 3.5e-7, "sigmoid": 2e-7}
    assert np.abs(y - exact(name, x)).max() <= bound[name]
    near = np.abs(x) < 1
    if name == "tanh":  # relative too, down to the smallest normal number
        assert (np.abs(y - exact(name, x)) <= 4e-6 * np.abs(exact(name, x)))[near].all()
    assert np.abs(y).max() <= 1  # a state never leaves [-1, 1]
    assert name == "tanh" or y.min() >= 0


@pytest.mark.parametrize(("name", "bound"), [("tanh", 5.5e-16), ("sigmoid", 4e-16)])
def test_float64_accuracy(apply, name, bound):
    """Relative error over [-100, 100], two or three units in the last place."""
    x = arguments(np.dtype(np.float64))
    y, expected = apply[name, np.dtype(np.float64)](x), exact(name, x)
    assert (np.abs(y - expected) <= bound * np.abs(expected)).all()
    assert np.abs(y).max() <= 1


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_special_values(apply, dtype):
    info = np.finfo(dtype)
    tolerance = 2.5e-7 if dtype == np.float32 else 0
    x = np.array([0.0, -0.0, np.inf, -np.inf, info.max, info.min], dtype)
    np.testing.assert_allclose(apply["tanh", dtype](x), [0, 0, 1, -1, 1, -1], atol=tolerance)
    np.testing.assert_allclose(
        apply["sigmoid", dtype](x), [0.5, 0.5, 1, 0, 1, 0], rtol=0, atol=tolerance + 1e-300
    )
    np.testing.assert_array_equal(apply["relu", dtype](x), [0, 0, np.inf, 0, info.max, 0])
    np.testing.assert_array_equal(apply["positive", dtype](x), [0, 0, 1, 0, 1, 0])
    tiny = np.array([info.tiny, -info.tiny, info.smallest_subnormal], dtype)
    np.testing.assert_allclose(apply["tanh", dtype](tiny), tiny, rtol=4e-6, atol=info.tiny)
    np.testing.assert_array_equal(apply["sigmoid", dtype](tiny), 0.5)
    np.testing.assert_array_equal(apply["positive", dtype](tiny), [1, 0, 1])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ["tanh", "sigmoid", "relu"])
def test_nan_stays_nan_in_its_own_lane(apply, name, dtype):
    x = np.linspace(-3, 3, 4 * lanes(dtype) + 3).astype(dtype)
    expected = apply[name, dtype](x)
    for k in range(len(x)):
        y = x.copy()
        y[k] = np.nan
        out = apply[name, dtype](y)
        assert np.isnan(out[k])
        np.testing.assert_array_equal(np.delete(out, k), np.delete(expected, k))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", ["tanh", "sigmoid", "relu", "positive"])
def test_a_value_does_not_depend_on_its_lane(apply, name, dtype):
    x = np.linspace(-9, 9, 3 * lanes(dtype) + 1).astype(dtype)
    one_by_one = [apply[name, dtype](x[k : k + 1])[0] for k in range(len(x))]
    np.testing.assert_array_equal(apply[name, dtype](x), one_by_one)


# --- memory ---------------------------------------------------------------------------------------
@njit
def copy_call(count, source, source_start, target, target_start):
    copy(count, source, source_start, target, target_start)


@njit
def clear_call(array, start, count):
    clear(array, start, count)


@pytest.mark.parametrize("dtype", [*DTYPES, np.dtype(np.intp)], ids=str)
def test_copy_and_clear(dtype):
    """Any number of elements from and to any place, and no other."""
    source = np.arange(1, 101).astype(dtype)
    for count, start, to in (
        (0, 0, 0),
        (0, 100, 90),
        (1, 99, 0),
        (7, 3, 83),
        (64, 5, 0),
        (90, 10, 0),
        (33, 0, 57),
    ):
        target, expected = -source[:90], -source[:90]
        expected[to : to + count] = source[start : start + count]
        copy_call(count, source, start, target, to)
        np.testing.assert_array_equal(target, expected)
        expected[to : to + count] = 0
        clear_call(target, to, count)
        np.testing.assert_array_equal(target, expected)
    np.testing.assert_array_equal(source, np.arange(1, 101))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_sum_of_squares(dtype):
    """In float64, of any number of elements."""
    x = np.random.default_rng(0).standard_normal(200).astype(dtype)
    x[-1] = x[0] = 1e30  # whose square float32 does not hold
    for start, count in ((0, 0), (200, 0), (1, 1), (3, 31), (7, 150), (1, 199), (0, 200)):
        expected = np.square(x[start : start + count].astype(float)).sum()
        np.testing.assert_allclose(sum_of_squares_call(x, start, count), expected, rtol=1e-14)


@njit
def sum_of_squares_call(array, start, count):
    return sum_of_squares(array, start, count)
