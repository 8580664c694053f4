"""Users' arrays on a GPU: which of CuPy's doors each kind comes in by; with stand-ins, without a GPU."""

from types import SimpleNamespace

import numpy as np
import pytest

from skrnn.backends.cuda import arrays, turns


class CupyArray:
    """Of a library that records what is asked of it."""

    def __init__(self, source, number=0):
        self.source, self.device = source, SimpleNamespace(id=number)

    def copy(self):
        return CupyArray(("copy", self))

    def __dlpack__(self):
        raise AssertionError("CuPy knows its own")


@pytest.fixture(autouse=True)
def cupy(monkeypatch):
    xp = SimpleNamespace(
        ndarray=CupyArray,
        asarray=lambda x: x if isinstance(x, CupyArray) else CupyArray(("asarray", x)),
        from_dlpack=lambda x: CupyArray(("from_dlpack", x)),
    )
    monkeypatch.setattr(arrays, "SIMULATED", False)
    monkeypatch.setattr(turns, "current", lambda: SimpleNamespace(xp=xp, number=0))
    return xp


def test_cupy_arrays_are_taken_as_they_are():
    x = CupyArray(None)
    assert arrays.adopt(x) is x
    other = CupyArray(None, number=1)
    assert arrays.adopt(other).source == ("copy", other)  # to this GPU


def test_numpy_arrays_and_those_with_an_interface_are_converted():
    class Interface:
        __cuda_array_interface__ = None

    for x in (np.ones(2), Interface()):
        assert arrays.adopt(x).source == ("asarray", x)


def test_dlpack_comes_before_the_interface():
    """It tells the library on whose stream x is going to be read."""

    class Array:
        __cuda_array_interface__ = None

        def __dlpack__(self):
            raise AssertionError("CuPy asks for it")

    class Tensor(Array):
        def detach(self):
            return detached

    x, detached = Array(), Array()
    assert arrays.adopt(x).source == ("from_dlpack", x)
    assert arrays.adopt(Tensor()).source == ("from_dlpack", detached)


def test_answers_go_to_the_library_that_asked():
    torch = pytest.importorskip("torch")
    result = np.ones(3, np.float32)
    answer = arrays.give_back(result, torch.ones(1))
    assert isinstance(answer, torch.Tensor)
    answer[0] = 2
    assert result[0] == 2  # the same memory
    unknown = SimpleNamespace()
    assert arrays.give_back(result, unknown) is result


def test_cupy_has_these_names():
    cupy = pytest.importorskip("cupy", reason="needs skrnn[cuda]")
    for name in ("asarray", "from_dlpack", "concatenate", "isfinite", "isinf", "invert"):
        assert callable(getattr(cupy, name))
    asked = {"astype", "reshape", "argmax", "any", "all", "item", "copy", "get", "device", "flags", "ndim"}
    asked |= {"__array_ufunc__", "__dlpack_device__", "__cuda_array_interface__"}
    assert asked <= set(dir(cupy.ndarray))
