"""A stand-in for a GPU: the CPU's kernels behind the manners of a device.

Its arrays refuse, like CuPy's, to become NumPy's unasked, and its work has to be done in a turn.
"""

import re
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from skrnn import backends, inference
from skrnn.backends import cpu

COUNT = 2  # of GPUs
TURNS = []  # devices that were taken, in order
running = []  # those that are being used


def at_work():
    assert running, "work on a GPU outside of a turn"


class GpuArray(NDArrayOperatorsMixin):
    """Like a CuPy array, as far as it is used."""

    def __init__(self, host, number=0):
        assert isinstance(host, np.ndarray)
        self.host, self.number = host, number

    __cuda_array_interface__ = property(lambda self: {"shape": self.shape, "version": 3})
    shape = property(lambda self: self.host.shape)
    ndim = property(lambda self: self.host.ndim)
    dtype = property(lambda self: self.host.dtype)
    flags = property(lambda self: SimpleNamespace(c_contiguous=self.host.flags.c_contiguous))  # no `aligned`

    def __dlpack_device__(self):
        return 2, self.number

    def __array__(self, *args, **kwargs):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`.")

    def __array_ufunc__(self, ufunc, method, *inputs):
        at_work()
        assert not any(isinstance(x, np.ndarray) and x.ndim for x in inputs), "a host array among a GPU's"
        return GpuArray(getattr(ufunc, method)(*(getattr(x, "host", x) for x in inputs)))

    def __array_function__(self, function, types, args, options):
        raise AssertionError(f"NumPy's {function.__name__} for an array of a GPU")

    def __len__(self):
        return len(self.host)

    def __getitem__(self, index):
        return GpuArray(np.asarray(self.host[index]), self.number)

    def __bool__(self):
        return bool(self.host)

    def __int__(self):
        return int(self.host)

    def reshape(self, *shape):
        return GpuArray(self.host.reshape(*shape), self.number)

    def astype(self, dtype, order="K", copy=True):
        at_work()
        return GpuArray(self.host.astype(dtype, order=order, copy=copy), self.number)

    def any(self):
        at_work()
        return GpuArray(np.asarray(self.host.any()))

    def all(self):
        at_work()
        return GpuArray(np.asarray(self.host.all()))

    def argmax(self):
        at_work()
        return GpuArray(np.asarray(self.host.argmax()))

    def item(self):
        return self.host.item()

    def get(self):
        return self.host.copy()


class Tensor:
    """Like a PyTorch tensor of a GPU that is part of a graph."""

    def __init__(self, host, number=0):
        self.host, self.number, self.dtype = host, number, f"torch.{host.dtype}"

    shape = property(lambda self: self.host.shape)
    ndim = property(lambda self: self.host.ndim)

    @property
    def __cuda_array_interface__(self):
        raise RuntimeError("Can't get __cuda_array_interface__ on Variable that requires grad.")

    def __dlpack_device__(self):
        return 2, self.number

    def __array__(self, *args, **kwargs):
        raise TypeError("can't convert cuda:0 device type tensor to numpy.")

    def __len__(self):
        return len(self.host)

    def __getitem__(self, index):
        return Tensor(self.host[index], self.number)

    def reshape(self, *shape):
        return Tensor(self.host.reshape(*shape), self.number)

    def detach(self):
        tensor = Tensor(self.host, self.number)
        tensor.cpu = self.host.copy
        return tensor


class Arrays:
    """The part `arrays` of the backend."""

    @staticmethod
    def concatenate(arrays):
        return GpuArray(np.concatenate([a.host for a in arrays]))

    @staticmethod
    def adopt(x):
        at_work()
        return x if isinstance(x, GpuArray) else GpuArray(x if isinstance(x, np.ndarray) else x.host)

    @staticmethod
    def give_back(result, like):
        at_work()
        assert isinstance(result, GpuArray)
        return Tensor(result.host) if isinstance(like, Tensor) else result


class Tape(cpu.Tape):
    def run(self, *args, **options):
        at_work()
        super().run(*args, **options)

    def player(self):
        play = super().player()

        def in_turn():
            at_work()
            play()

        return in_turn


@contextmanager
def turn(device, allow_tf32=False):
    number = int(device.partition(":")[2] or 0)
    if number >= COUNT:
        raise backends.Unavailable(f"there is no GPU number {number}")
    TURNS.append(device + " with TF32" * allow_tf32)
    running.append(device)
    try:
        yield
    finally:
        running.pop()


def gather(rec, table, *args):
    cpu.gather(rec, getattr(table, "host", table), *args)


def to_device(flat):
    at_work()
    return cpu.to_device(flat)


# What the contract's table names, in its first column.
NAMES = {
    name
    for line in backends.__doc__.splitlines()
    for name in re.findall(r"(?:``|^``)(\w+)(?=\(|`` {9})", line[:40])
}
BACKEND = SimpleNamespace(
    **{name: getattr(cpu, name) for name in NAMES}
    | {
        "Tape": Tape,
        "gather": gather,
        "to_device": to_device,
        "supports_bfloat16": lambda: False,
    },
    arrays=Arrays,
)


def install(monkeypatch):
    """Let "cuda" mean this backend."""
    real_get, real_turn, real_run = backends.get, backends.turn, inference.run

    def get(device):
        return BACKEND if device.startswith("cuda") else real_get(device)

    def run(network, params, sequences, **options):
        output, states = real_run(network, params, sequences, **options)
        return GpuArray(output) if isinstance(sequences.values, GpuArray) else output, states

    def take(device, allow_tf32=False):
        return real_turn(device) if device == "cpu" else turn(device, allow_tf32)

    TURNS.clear()
    monkeypatch.setattr(backends, "turn", take)
    monkeypatch.setattr(inference, "run", run)
    monkeypatch.setattr(backends, "get", get)


def remove(monkeypatch):
    """Let no GPU work."""

    def turn(device, allow_tf32=False):
        if device != "cpu":
            raise backends.Unavailable("no working GPU")
        return nullcontext()

    monkeypatch.setattr(backends, "turn", turn)
