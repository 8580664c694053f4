"""Every CUDA kernel compiles for sm_80 and sm_90 without a GPU, and every tile can be launched on four kinds
of GPU: what a fit records is compiled, not run."""

import ctypes
import importlib.util
import math
import os
import re
import shutil
import struct
import subprocess

import numpy as np
import pytest
import test_tables as tables
from passes import random_weights

from benchmarks import tiles
from benchmarks.tiles import KINDS
from skrnn import losses
from skrnn.batches import Jobs
from skrnn.decoding import Choices, Decoder
from skrnn.links import Objective
from skrnn.optimizers import RULES, SetUp
from skrnn.recipe import recurrent_network, transcription_network, translation_network
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


@pytest.fixture(params=["sm_80", "sm_90"])
def cc(request):
    """Compute capability of the GPU that is compiled for; tapes are recorded and never run."""
    with tiles.on_paper(KINDS[request.param]):
        yield KINDS[request.param].cc[:2]


def trainer(dtype, loss=losses.squared_error, solver="adam", per_step=False, hidden_size=5, **options):
    rng, n_raw = np.random.default_rng(0), 2
    sequences = Sequences.from_arrays([rng.standard_normal((n, 3)).astype(dtype) for n in (2, 3, 1)])
    n = len(sequences.values) if per_step else 3
    network = recurrent_network(
        3, n_raw, dtype=dtype, device="cuda", hidden_size=hidden_size, return_sequences=per_step, **options
    )
    optimizer = network.backend.Optimizer(SetUp(
        solver, network.parameters.decay_ranges, network.size, network.dtype, alpha=0.1, momentum=0.9,
        nesterov=True, beta_1=0.9, beta_2=0.999, epsilon=1e-8, max_norm=1.0,
    ))  # fmt: skip
    settings = Settings(2, "constant", 0.1, 0, 1.0, 2, 1, True, 0.0, 1, False)
    return Trainer(
        network, network.pack(network.parameters.initial(np.random.RandomState(0))), optimizer, loss,
        settings, np.random.RandomState(0), 7,
        Data(sequences, Targets(np.zeros((n, 1 if loss.name == "quantile" else 2), dtype)), None),
    )  # fmt: skip


def compile_all(launches, cc, compiled):
    """PTX of every kernel and signature; those in `compiled` not again. Returns the kernels' names."""
    import numba
    from numba import cuda, types

    for launch in launches:
        assert 1 <= launch.grid < 2**31
        assert 1 <= math.prod(launch.block) <= 1024
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
def test_every_kernel(cc, dtype, monkeypatch):
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
    for pooling in "mean", "max", "attention":
        compile_tape(trainer(dtype, pooling=pooling, cell="rnn").tape)
    compile_tape(trainer(dtype, per_step=True, cell="rnn").tape)
    with monkeypatch.context() as patch:
        patch.setattr("skrnn.backends.cuda.tiles.plan", lambda *args: None)  # a launch for each step
        for cell in CELLS:
            compile_tape(trainer(dtype, **cell, recurrent_dropout=0.3).tape)

    network = recurrent_network(
        3, 2, dtype=dtype, device="cuda", return_sequences=True, crf=True, hidden_size=4
    )
    sequences = Sequences.from_dense(np.zeros((2, 2, 3), dtype))
    jobs, tape = Jobs(sequences.lengths, 2, None), backend.Tape()
    params, grads = (backend.aligned(network.size, network.dtype) for _ in range(2))
    rec = network.record(tape, jobs.room(), params, grads, keep=True)
    chain = network.forward(rec, network.read(rec, sequences, jobs))
    backend.scatter(rec, chain.labels(rec), sequences.offsets[1:], 1, np.zeros((4, 1), np.int32))
    backend.scatter(rec, chain.marginals(rec), sequences.offsets[1:], 2, np.zeros((4, 2)))
    for y in np.zeros((4, 1), np.int32), np.zeros((4, 1), dtype):
        chain.objective(rec, Targets(y), np.ones(4, dtype), learns=True)
    compile_tape(tape)

    network = transcription_network(
        3, 2, hidden_size=4, masked_steps=(1, 0.5), masked_features=(1, 0.5), dtype=dtype, device="cuda"
    )
    params = network.pack(network.parameters.initial(np.random.RandomState(0)))
    for texts in [[1, 2], [1]], [[], []]:
        jobs, tape, y = Jobs(sequences.lengths, 2, None), backend.Tape(), Targets.of_tokens(texts)
        grads = backend.aligned(network.size, network.dtype)
        rec = network.record(tape, jobs.room(), params, grads, dropout_seed=7, keep=True)
        scores = network.forward(rec, network.read(rec, sequences, jobs))
        _, d = scores.objective(rec, y, np.ones(2, dtype), learns=True)
        network.backward(rec, d)
        compile_tape(tape)

    network = recurrent_network(3, 2, cell="lstm", dtype=dtype, device="cuda", skip_steps=2)
    sequences = Sequences.from_dense(np.zeros((2, 2, 3), dtype))
    jobs, tape = Jobs(sequences.lengths, 2, None), backend.Tape()
    params = network.pack(network.parameters.initial(np.random.RandomState(0)))
    rec = network.record(tape, jobs.room(), params)
    X = network.read(rec, sequences, jobs)
    backend.start_from(rec, np.zeros((2, 32), dtype), network.carried(rec)[0][0])
    out = network.forward(rec, X)
    backend.scatter(rec, out, sequences.offsets[1:], 2, np.zeros((2, 2), dtype))
    backend.add(rec, out, out)
    backend.fold(rec, out, X["X"])
    compile_tape(tape)

    monkeypatch.setattr("skrnn.backends.cuda.embedding.FEW", 0)  # as for many tokens
    network = translation_network(4, 4, cell="lstm", hidden_size=4, dtype=dtype, device="cuda", dropout=0.3)
    params = network.pack(network.parameters.initial(np.random.RandomState(0)))
    sequences = Sequences.from_tokens([np.array([1, 2])] * 2)
    jobs, tape = Jobs(sequences.lengths, 2, None, sequences.lengths), backend.Tape()
    rec = network.record(tape, jobs.room(), params, backend.aligned(network.size, network.dtype), keep=True)
    scores = network.forward(rec, network.read(rec, sequences, jobs, sequences))
    y = Targets(np.zeros((4, 1), np.int32))
    loss = Objective("out", 4, losses.multiclass_log_loss, y, None, np.zeros(3), jobs.cursor)
    loss.forward(rec, scores)
    network.backward(rec, *loss.backward(rec, need=(True,)))
    network.alignment(rec)
    backend.add_flat(rec, params, params)
    compile_tape(tape)
    links = tables.network_of("lazy", np.dtype(dtype), dropout=0.3)
    weights, y = random_weights(links, dtype=dtype), Targets(tables.Y.values.astype(dtype))
    for solver in RULES:
        how = {"solver": solver, "device": "cuda", "dtype": np.dtype(dtype)}
        compile_tape(tables.trainer(links, weights, tables.SEQUENCES, y, **how).tape)
    for choices in Choices(2, 3, end=0), Choices(2, temperature=1.0):
        compile_tape(Decoder(network, params, choices, sequences)._tape)

    assert names == every_kernel()


def every_kernel():
    """Names of the functions that are decorated as kernels, from the source."""
    from skrnn.backends import cuda as backend

    names = {"go_on"}  # which is written once, for both backends
    for path in sorted(os.listdir(os.path.dirname(backend.__file__))):
        if path.endswith(".py"):
            with open(os.path.join(os.path.dirname(backend.__file__), path), encoding="utf-8") as file:
                names |= set(re.findall(r"@kernel(?:\(.*\))?\n\s*def (\w+)", file.read()))
    assert len(names) > 30
    return names


# --- tiles ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", tiles.DTYPES, ids=str)
@pytest.mark.parametrize("cell", CELLS[2:], ids=lambda cell: "-".join(map(str, cell.values())))
def test_every_tile_can_be_launched(cell, dtype, kind):
    """With as many registers as it allows and all of its sequences, for every number of units."""
    from skrnn.backends.cuda.tiles import LONGEST_LOOP

    built = tiles.built(cell, dtype)
    planned = tiles.planned(built, dtype, KINDS[kind])
    for H, tile in planned.items():
        assert tile.in_registers + tile.in_shared == H
        assert tile.in_registers <= LONGEST_LOOP
        assert tile.in_registers * dtype.itemsize // 4 < tile.max_registers
        assert tiles.least_blocks(built, H, tile, dtype, KINDS[kind]) >= 1, H
    assert [*planned] == [*range(1, len(planned) + 1)]  # up to some number of units, without a gap
    assert len(planned) >= (96 if dtype == np.float32 else 64)


@pytest.mark.parametrize(
    ("name", "H", "dtype"),
    [
        ("rnn", 192, "float32"),
        ("rnn", 272, "float32"),
        ("lstm", 16, "float32"),
        ("lstm", 64, "float32"),
        ("lstm", 100, "float32"),
        ("lstm", 132, "float32"),
        ("lstm", 72, "float64"),
        ("gru", 64, "float32"),
        ("gru", 132, "float32"),
        ("gru", 92, "float64"),
        ("gru-reset-before", 16, "float32"),
        ("gru-reset-before", 132, "float32"),
    ],
)
def test_machine_code_of_tiles(name, H, dtype):
    """Weights are no array in memory, though the assembler may still keep some of the registers that PTX
    names there; the state is read sixteen bytes at a time. What is taken is not more than was planned."""
    dtype = np.dtype(dtype)
    own, cell, wide = tiles.CELLS[name], tiles.built(tiles.CELLS[name], dtype), 16 // dtype.itemsize
    with tiles.on_paper(KINDS["sm_90"]) as device:
        tile = tiles.plan(cell, H, dtype, device.shared_bytes)
        launches = tiles.tile_launches(own, H, dtype)
        kernels = {name: tiles.compiled(launch) for name, launch in launches.items()}
    assert [*kernels] == ["forward", "backward"]
    fixed, dynamic = tiles.most_shared(cell, H, tile, dtype)
    for kernel in kernels.values():
        ptx = kernel._codelibrary.get_asm_str(KINDS["sm_80"].cc)
        assert "ld.local" not in ptx
        assert "st.local" not in ptx
        loads = ptx.count(f"ld.shared.v{wide}.f{8 * dtype.itemsize}")
        assert loads >= min(tile.in_registers, 64) // wide
    assert {launch.shared_bytes for launch in launches.values()} == {dynamic}
    for kind in KINDS.values():
        taken = [tiles.usage(kernel, kind) for kernel in kernels.values()]
        assert 0 <= fixed - max(use.shared for use in taken) < 16
        for use in taken:
            assert tile.in_registers < use.registers <= tile.max_registers
            if tiles.plan(cell, H, dtype, kind.shared_of_block) is not None:
                threads = tile.columns * tile.most_rows
                assert tiles.resident_blocks(kind, threads, use.registers, use.shared + dynamic) >= 1


FORMULA = """
#include <limits.h>
#include "cuda_occupancy.h"

int blocks(int major, int minor, int most_threads, int shared_of_block, int shared, int threads,
           int registers, int fixed, int dynamic) {
    cudaOccDeviceProp device = {
        .computeMajor = major, .computeMinor = minor, .maxThreadsPerBlock = 1024,
        .maxThreadsPerMultiprocessor = most_threads, .regsPerBlock = 65536, .regsPerMultiprocessor = 65536,
        .warpSize = 32, .sharedMemPerBlock = 49152, .sharedMemPerMultiprocessor = shared, .numSms = 1,
        .sharedMemPerBlockOptin = shared_of_block, .reservedSharedMemPerBlock = 1024,
    };
    cudaOccFuncAttributes kernel = {
        .maxThreadsPerBlock = INT_MAX, .numRegs = registers, .sharedSizeBytes = fixed,
        .shmemLimitConfig = FUNC_SHMEM_LIMIT_OPTIN, .maxDynamicSharedSizeBytes = dynamic,
        .numBlockBarriers = 1,
    };
    cudaOccDeviceState state = {.carveoutConfig = SHAREDMEM_CARVEOUT_DEFAULT};
    cudaOccResult result;
    int status = cudaOccMaxActiveBlocksPerMultiprocessor(&result, &device, &kernel, &state, threads, dynamic);
    return status ? -status : result.activeBlocksPerMultiprocessor;
}
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_blocks_of_a_multiprocessor_are_those_of_the_toolkit(tmp_path):
    """Against NVIDIA's own header."""
    from cuda.pathfinder import find_nvidia_header_directory

    (tmp_path / "formula.c").write_text(FORMULA)
    command = ["cc", "-w", "-shared", "-fPIC", "-I", find_nvidia_header_directory("cudart"), "formula.c"]
    subprocess.run([*command, "-o", "formula.so"], check=True, cwd=tmp_path)
    formula, rng, none = ctypes.CDLL(str(tmp_path / "formula.so")).blocks, np.random.default_rng(0), 0
    for kind in KINDS.values():
        limits = (*kind.cc[:2], kind.threads, kind.shared_of_block, kind.shared)
        for _ in range(20_000):
            threads, registers = int(rng.integers(1, 1025)), int(rng.integers(1, 256))
            share = rng.choice([0.1, 1.0])
            fixed, dynamic = (int(share * rng.integers(n)) for n in (48 * 1024, kind.shared_of_block))
            found = tiles.resident_blocks(kind, threads, registers, fixed + dynamic)
            assert found == formula(*limits, threads, registers, fixed, dynamic)
            none += found == 0
    assert 10_000 < none < 70_000


# --- kernels on disk ------------------------------------------------------------------------------
def test_a_kernel_is_compiled_once(cc, tmp_path, monkeypatch):
    """Machine code is written to disk and found there by the next process: by a cache that begins anew. It
    takes the registers that the assembler reports."""
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
    (kind,) = (kind for kind in KINDS.values() if kind.cc[:2] == cc)
    code = compiled._codelibrary.get_cubin(cc=kind.cc).code
    assert registers_of(code) == tiles.usage(compiled, kind).registers
    dispatcher._cache.__class__(dispatcher.py_func, dispatcher._cache._key).save_overload(signature, compiled)
    assert len(list(tmp_path.rglob("*.nbc"))) == 1

    def load(key=dispatcher._cache._key):
        return GpuKernelCache(dispatcher.py_func, key).load_overload(signature, dispatcher.targetctx)

    assert load(("another", "key")) is None
    loaded = load()
    assert loaded.entry_name == compiled.entry_name
    monkeypatch.setattr(loaded._codelibrary, "get_asm_str", None)  # compiling again would fail
    assert loaded._codelibrary.get_cubin(cc=kind.cc).code == code


def registers_of(code):
    """Of the one kernel of a file of machine code: its attribute EIATTR_REGCOUNT, a symbol and a number."""
    (at,) = (match.end() for match in re.finditer(rb"\x04\x2f\x08\x00", code))
    return struct.unpack_from("<II", code, at)[1]
