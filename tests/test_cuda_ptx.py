"""Every CUDA kernel compiles for sm_80 and sm_90 without a GPU: what a fit records is compiled, not run."""

import importlib.util
import itertools
import os
import re
from types import SimpleNamespace

import numpy as np
import pytest

from skrnn import losses
from skrnn.batches import Jobs
from skrnn.network import Network
from skrnn.sequences import Sequences, Targets
from skrnn.training import Data, Settings, Trainer


def missing():
    if os.environ.get("NUMBA_ENABLE_CUDASIM") == "1":
        return "the simulator compiles nothing: unset NUMBA_ENABLE_CUDASIM"
    if importlib.util.find_spec("numba_cuda") is None:
        return "needs numba-cuda[cu13]"
    return None


MISSING = missing()
pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))

CELLS = [
    {"cell": "rnn", "activation": "tanh"},
    {"cell": "rnn", "activation": "relu"},
    {"cell": "rnn", "activation": "sigmoid"},
    {"cell": "lstm"},
    {"cell": "gru", "reset_after": True},
    {"cell": "gru", "reset_after": False},
]
RICH = {"num_layers": 2, "bidirectional": True, "dropout": 0.3, "recurrent_dropout": 0.3}
LOSSES = [
    losses.squared_error, losses.absolute_error, losses.huber(1.0), losses.poisson,
    losses.quantile([0.1, 0.5]), losses.multiclass_log_loss, losses.binary_log_loss,
]  # fmt: skip


@pytest.fixture(params=[(8, 0), (9, 0)], ids=["sm_80", "sm_90"])
def cc(request, monkeypatch):
    """Compute capability of the GPU that is compiled for."""
    cuda_device = SimpleNamespace(compute_capability=request.param)
    monkeypatch.setattr("numba.cuda.dispatcher.get_current_device", lambda: cuda_device)
    monkeypatch.setattr("numba.cuda.codegen.devices.get_context", lambda: SimpleNamespace(device=cuda_device))
    return request.param


@pytest.fixture
def paper(monkeypatch):
    """A device on which tapes are recorded and never run."""
    from skrnn.backends.cuda import devices
    from skrnn.backends.cuda.seam import Device

    class Paper(Device):
        shared_bytes, n_multiprocessors = 163 * 1024, 108  # of an A100

        def _allocate(self, size, dtype):
            return np.zeros(size, dtype)

        def copy_in(self, array, host):
            array[:] = host.reshape(-1)

        def copy_out(self, host, array):
            host.reshape(-1)[:] = array

        def synchronize(self):
            pass

        def multiply(self, *args):
            raise AssertionError("a tape of this device is not run")

    device = Paper()
    monkeypatch.setattr(devices._mine, "device", device, raising=False)
    return device


def trainer(dtype, loss=losses.squared_error, solver="adam", per_step=False, hidden_size=5, **options):
    rng, n_raw = np.random.default_rng(0), 2
    sequences = Sequences.from_arrays([rng.standard_normal((n, 3)).astype(dtype) for n in (2, 3, 1)])
    n = len(sequences.values) if per_step else 3
    network = Network(
        3, n_raw, dtype=dtype, device="cuda", hidden_size=hidden_size, return_sequences=per_step, **options
    )
    optimizer = network.backend.Optimizer(
        solver, network.decay_ranges, network.size, network.dtype, alpha=0.1, momentum=0.9, nesterov=True,
        beta_1=0.9, beta_2=0.999, epsilon=1e-8, max_norm=1.0,
    )  # fmt: skip
    settings = Settings(2, "constant", 0.1, 0, 1.0, 2, 1, True, 0.0, 1, False)
    return Trainer(
        network, network.pack(network.initial_weights(np.random.RandomState(0))), optimizer, loss, settings,
        np.random.RandomState(0), 7,
        Data(sequences, Targets(np.zeros((n, 1 if loss.name == "quantile" else 2), dtype)), None),
    )  # fmt: skip


def compile_all(launches, cc, compiled):
    """PTX of every kernel and signature; those in `compiled` not again. Returns the kernels' names."""
    import numba
    from numba import cuda, types

    for launch in launches:
        signature = types.void(*map(numba.typeof, launch.args))
        key = launch.kernel, str(signature)
        # The cache on disk tells kernels apart by their keys: two kernels must not share one.
        on_disk = launch.kernel._cache._name, launch.kernel._cache._key
        assert compiled.setdefault(on_disk, launch.kernel) is launch.kernel
        if key in compiled:
            continue
        ptx, _ = cuda.compile(
            launch.kernel.py_func, signature, device=False, abi="numba", cc=cc, output="ptx"
        )
        assert f".target sm_{cc[0]}{cc[1]}" in ptx
        assert ".entry" in ptx
        compiled[key] = ptx
    return {launch.kernel.__name__ for launch in launches}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_kernel(paper, cc, dtype, monkeypatch):
    from skrnn.backends import cuda as backend

    compiled, names = {}, set()

    def compile_tape(tape):
        nonlocal names
        names |= compile_all(tape.launches(), cc, compiled)

    for cell in CELLS:
        compile_tape(trainer(dtype, **cell, **RICH).tape)
    for loss in LOSSES:
        compile_tape(trainer(dtype, loss, cell="rnn").tape)
    for solver in "adamw", "sgd", "rmsprop":
        compile_tape(trainer(dtype, solver=solver, cell="rnn").tape)
    for pooling in "mean", "max":
        compile_tape(trainer(dtype, pooling=pooling, cell="rnn").tape)
    compile_tape(trainer(dtype, per_step=True, cell="rnn").tape)
    with monkeypatch.context() as patch:
        patch.setattr("skrnn.backends.cuda.tiles.plan", lambda *args: None)  # a launch for each step
        for cell in CELLS:
            compile_tape(trainer(dtype, **cell, recurrent_dropout=0.3).tape)

    network = Network(3, 2, cell="lstm", dtype=dtype, device="cuda", skip_steps=2)
    sequences = Sequences.from_dense(np.zeros((2, 2, 3), dtype))
    jobs, tape = Jobs(sequences.lengths, 2, None), backend.Tape()
    steps = jobs.room()
    params = network.pack(network.initial_weights(np.random.RandomState(0)))
    X = network.read(tape, sequences, steps, jobs)
    backend.start_from(tape, np.zeros((2, 32), dtype), network.carried(steps)[0][0].array, 32, steps)
    pass_ = network.forward(tape, params, X, steps)
    backend.scatter(tape, pass_.out, steps, False, sequences.offsets[1:], 2, np.zeros((2, 2), dtype))
    compile_tape(tape)

    assert names == every_kernel()


def every_kernel():
    """Names of the functions that are decorated as kernels, from the source."""
    from skrnn.backends import cuda as backend

    names = set()
    for path in sorted(os.listdir(os.path.dirname(backend.__file__))):
        if path.endswith(".py"):
            with open(os.path.join(os.path.dirname(backend.__file__), path), encoding="utf-8") as file:
                names |= set(re.findall(r"@kernel(?:\(.*\))?\n\s*def (\w+)", file.read()))
    assert len(names) > 30
    return names


@pytest.mark.parametrize(
    ("cell", "hidden_size"),
    [*itertools.product(CELLS[3:], [16, 64, 128]), (CELLS[0], 192)],
    ids=lambda x: "-".join(map(str, x.values())) if isinstance(x, dict) else str(x),
)
def test_weights_are_no_array_in_memory(paper, cc, cell, hidden_size):
    """And the state is read four numbers at a time. Of the registers that PTX names, the assembler may still
    keep some in memory."""
    launches = [
        launch
        for launch in trainer(np.float32, hidden_size=hidden_size, **cell).tape.launches()
        if launch.kernel.__name__ in ("forward", "backward")
    ]
    assert len(launches) == 2
    compiled = {}
    compile_all(launches, cc, compiled)
    ptxs = [value for value in compiled.values() if isinstance(value, str)]
    assert len(ptxs) == 2
    for ptx in ptxs:
        assert "ld.local" not in ptx
        assert "st.local" not in ptx
        assert ptx.count("ld.shared.v4.f32") >= min(hidden_size, 64) // 4


# --- how the weights of a layer are kept ----------------------------------------------------------
@pytest.mark.parametrize("shared_bytes", [99 * 1024, 163 * 1024, 227 * 1024])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("cell", CELLS[2:], ids=lambda cell: "-".join(map(str, cell.values())))
def test_a_tile_keeps_within_its_block(cell, dtype, shared_bytes):
    from skrnn import cells
    from skrnn.backends.cuda.elementary import functions
    from skrnn.backends.cuda.tiles import LONGEST_LOOP, REGISTERS, plan

    dtype = np.dtype(dtype)
    options = {"name": cell["cell"]} | {k: v for k, v in cell.items() if k != "cell"}
    built, planned = cells.build(functions(dtype), **options), []
    for H in range(1, 400):
        tile = plan(built, H, dtype, shared_bytes)
        if tile is None:
            continue
        planned.append(H)
        assert tile.in_registers + tile.in_shared == H
        assert tile.in_registers <= LONGEST_LOOP
        threads = -(-tile.columns * tile.most_rows // 32) * 32
        assert threads <= 1024
        assert threads * tile.max_registers <= REGISTERS
        assert tile.in_registers * dtype.itemsize // 4 < tile.max_registers <= 255
        fixed = tile.most_rows * (2 * H + tile.columns + built.n_slots * H)  # of the arrays of one size
        assert (tile.in_shared * tile.columns + fixed) * dtype.itemsize <= shared_bytes
    assert planned == list(range(1, planned[-1] + 1))  # up to some number of units, without a gap
    assert planned[-1] >= (64 if dtype == np.float32 else 32)


# --- kernels on disk ------------------------------------------------------------------------------
def test_a_kernel_is_compiled_once(paper, cc, tmp_path, monkeypatch):
    """Machine code is written to disk and found there by the next process: by a cache that begins anew."""
    from numba.cuda.dispatcher import _Kernel

    from skrnn.backends.cuda.jit import GpuKernelCache

    monkeypatch.setattr("numba.core.config.CACHE_DIR", str(tmp_path))
    launch = next(
        launch
        for launch in trainer(np.float32, cell="gru").tape.launches()
        if launch.kernel.__name__ == "forward"
    )
    dispatcher = launch.kernel
    signature = tuple(map(dispatcher.typeof_pyval, launch.args))
    compiled = _Kernel(dispatcher.py_func, signature, **dispatcher.targetoptions)
    code = compiled._codelibrary.get_cubin(cc=cc).code
    dispatcher._cache.__class__(dispatcher.py_func, dispatcher._cache._key).save_overload(signature, compiled)
    assert len(list(tmp_path.rglob("*.nbc"))) == 1

    def load(key=dispatcher._cache._key):
        return GpuKernelCache(dispatcher.py_func, key).load_overload(signature, dispatcher.targetctx)

    assert load(("another", "key")) is None
    loaded = load()
    assert loaded.entry_name == compiled.entry_name
    monkeypatch.setattr(loaded._codelibrary, "get_asm_str", None)  # compiling again would fail
    assert loaded._codelibrary.get_cubin(cc=cc).code == code
