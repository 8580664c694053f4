"""The benchmarks on a GPU, as far as they can be tried without one: a rehearsal on the CPU."""

import gc
import json
import os
import sys
import time
import weakref
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from numba import config

from benchmarks import (
    compare,
    conditions,
    floor,
    gpu,
    ours,
    report,
    sanitize,
    targets,
    texts,
    timing,
    work,
)  # fmt: skip
from benchmarks.shapes import Shape, ragged_lengths

SIMULATED = pytest.param(
    "gru",
    "cuda",
    marks=[
        pytest.mark.gpu,
        pytest.mark.skipif(not config.ENABLE_CUDASIM, reason="needs NUMBA_ENABLE_CUDASIM=1"),
    ],
)
BENCH = gpu.Bench(
    "cpu", timing.Plan(0.0, 2, 2, sample=1e-9), {"bytes_per_s": 1e9, "flops_per_s": 1e9}, rehearsed=True
)


# --- what is measured -----------------------------------------------------------------------------
@pytest.mark.sampled(3)
@pytest.mark.parametrize(("cell", "device"), [("lstm", "cpu"), ("gru", "cpu"), ("rnn", "cpu"), SIMULATED])
def test_minibatches_read_by_the_device_are_those_that_were_prepared(cell, device):
    shape = Shape(3, 4, 2, 3)
    found = ours.device_forward(cell, shape, device).result()
    np.testing.assert_allclose(found, ours.forward(cell, shape, 1).result(), rtol=1e-5)
    lengths = ragged_lengths(shape.B, 1, shape.T)
    for own, other in [
        (ours.device_training_step(cell, shape, device), ours.training_step(cell, shape, 1)),
        (
            ours.device_training_step(cell, shape, device, lengths=lengths),
            ours.ragged_training_step(cell, shape, lengths, 1),
        ),
    ]:
        before = own.result()
        np.testing.assert_allclose(compare.result(own, 2), compare.result(other, 2), atol=1e-6)
        assert np.abs(own.result() - before).min() > 1e-3  # two steps of Adam


def test_more_calls_than_minibatches_go_round(monkeypatch):
    monkeypatch.setattr(ours, "REPEATS", 2)
    shape = Shape(2, 3, 2, 3)
    five = compare.result(ours.device_training_step("gru", shape, "cpu"), 5)
    np.testing.assert_allclose(
        five, compare.result(ours.training_step("gru", shape, 1), 5).ravel(), atol=1e-6
    )


def test_jax_and_cudnn_keep_weights_in_one_flat_array():
    pytest.importorskip("jax", reason="JAX is not installed")
    from jax.experimental.rnn import lstm_ref, unpack_lstm_weights

    from benchmarks.peers import jax_cudnn
    from benchmarks.shapes import data

    def in_jax(X, h, c, flat, lengths, F, H, layers, dropout, both, precision):
        return lstm_ref(
            X, h, c, *unpack_lstm_weights(flat, F, H, layers, both), lengths, F, H, layers, dropout, both
        )

    for shape in (Shape(3, 4, 2, 3), Shape(3, 4, 2, 3, layers=2, directions=2)):
        found = jax_cudnn.network(shape, in_jax)(jax_cudnn.parameters(shape), data(shape)[0])
        np.testing.assert_allclose(found, ours.forward("lstm", shape, 1).result(), atol=1e-6)


# --- floors and targets ---------------------------------------------------------------------------
def test_floor_is_the_longer_of_arithmetic_and_traffic():
    shape, n = Shape(2, 3, 5, 7), 4 * 7 * (5 + 7 + 2) + 7 + 1
    assert floor.parameters("lstm", shape) == n
    assert floor.least_bytes("forward", "lstm", shape) == 4 * (2 * 3 * 5 + n)
    # Gates and both states are written and read, the input is read twice.
    assert floor.least_bytes("training_step", "lstm", shape) == 4 * (2 * 30 + 2 * 6 * 2 * 3 * 7 + 9 * n)
    flops = 2 * 2 * 3 * 4 * 7 * (5 + 7)
    slow = {"flops_per_s": 1.0, "bytes_per_s": 1e12}
    assert floor.device_floor("forward", "lstm", shape, slow)["seconds"] == flops
    narrow = {"flops_per_s": 1e12, "bytes_per_s": 1.0}
    assert floor.device_floor("forward", "lstm", shape, narrow)["seconds"] == 4 * (30 + n)


@pytest.mark.parametrize(
    ("cell", "B", "H", "bound"),
    [
        ("lstm", 1024, 128, 1.5),
        ("gru", 1024, 256, 2),
        ("lstm", 256, 256, 1),
        ("lstm", 1024, 256, None),
        ("gru", 256, 512, 1),
        ("gru", 64, 1024, None),
    ],
)
def test_bounds(cell, B, H, bound):
    assert targets.gpu_bound(cell, Shape(B, 100, 64, H)) == bound


def row(times, notes=()):
    """A training step of ours that may take twice as long as cuDNN."""
    found = timing.compared({name: [seconds] for name, seconds in times.items()})
    return {"cell": "gru", "shape": (64, 100, 64, 256), "threads": 1, **found, "notes": dict(notes)}


@pytest.mark.parametrize(
    ("found", "figures"),
    [
        (row({"skrnn": 1.0, "pytorch": 3.0}), [3.0]),
        (row({"skrnn": 1.0, "pytorch": 1.0}), [1.0]),
        (row({"skrnn": 1.0, "pytorch": 3.0, "pytorch_graph": 1.9}), [1.9]),
        (row({"skrnn": 1.0, "pytorch": 1.9, "pytorch_graph": 3.0}), [1.9]),
        (row({"skrnn": 1.0}, {"pytorch": "not installed: torch"}), []),
        (row({"skrnn": 1.0}, {"pytorch": work.DOES_NOT_FIT}), []),
        # These must not pass for rows without a target.
        (row({"skrnn": 1.0}, {"pytorch": f"{compare.DIFFER} by 1"}), [0.0]),
        (row({"pytorch": 1.0}, {"skrnn": "ValueError"}), [0.0]),
        (row({}, {"skrnn": work.DOES_NOT_FIT, "pytorch": work.DOES_NOT_FIT}), []),
    ],
)
def test_what_did_not_run_beside_cudnn_is_missed(found, figures):
    those = targets.of_row("gpu_training", found)
    assert [target.figure for target in those] == figures
    assert [target.met for target in those] == [figure >= 2 for figure in figures]


def test_ragged_is_held_against_the_faster_form():
    found = {"skrnn": 1.0, "pytorch_ragged_packed": 5.0, "pytorch_ragged_padded": 2.5}
    (target,) = targets.of_row("gpu_ragged", row(found))
    assert (target.figure, target.met) == (2.5, True)
    (target,) = targets.of_row("gpu_ragged", row(found | {"pytorch_ragged_padded_graph": 1.5}))
    assert (target.figure, target.met) == (1.5, False)


def test_a_size_that_is_no_power_of_two_is_measured_in_every_run():
    for shapes in (gpu.GPU_GRID, gpu.GPU_SHORT_SHAPES):
        assert 100 in [shape.H for shape in shapes]
    assert all(gpu.GPU_GRID[0] in shapes for shapes, _ in list(gpu.PARTS.values())[:3])


@pytest.mark.parametrize(
    "problem",
    [
        MemoryError("900 MiB"),
        RuntimeError("CUDA out of memory. Tried"),
        RuntimeError("RESOURCE_EXHAUSTED: 1"),
    ],
)
def test_whatever_a_library_calls_it_it_does_not_fit(problem):
    assert work.reason(problem) == work.DOES_NOT_FIT


# --- memory ---------------------------------------------------------------------------------------
class Memory:
    """Room for so many works at a time."""

    def __init__(self, room):
        self.room, self.used = room, 0

    def maker(self, size, seconds):
        def make():
            if self.used + size > self.room:
                raise MemoryError("full")
            held = Held(self, size)
            return work.Work(lambda calls: calls * seconds * held.one, lambda: np.zeros(1))

        return make


class Held:
    one = 1

    def __init__(self, memory, size):
        self.memory, self.size = memory, size
        memory.used += size

    def __del__(self):
        self.memory.used -= self.size


def test_libraries_that_do_not_fit_side_by_side_are_measured_one_after_another():
    memory = Memory(3)
    mine = {
        "skrnn": memory.maker(2, 1.0),
        "skrnn_tf32": memory.maker(3, 0.5),
        "skrnn_steps": memory.maker(4, 1.0),
    }
    found = gpu.compared(BENCH, 0, mine, {})
    assert memory.used == 0
    assert found["alone"]
    assert {name: time["median"] for name, time in found["times"].items()} == {
        "skrnn": 1.0,
        "skrnn_tf32": 0.5,
    }
    assert found["ratios"]["skrnn_tf32"]["ratio"] == 0.5
    assert found["notes"] == {"skrnn_steps": work.DOES_NOT_FIT}


def test_libraries_that_fit_are_measured_side_by_side():
    memory = Memory(3)
    found = gpu.compared(BENCH, 0, {"skrnn": memory.maker(2, 1.0), "skrnn_tf32": memory.maker(1, 2.0)}, {})
    assert "alone" not in found
    assert found["ratios"]["skrnn_tf32"]["ratio"] == 2.0


def test_the_table_says_what_does_not_fit():
    about = {"cell": "lstm", "shape": (1024, 1000, 64, 1024), "threads": 1, "floor": {"seconds": 0.5}}
    rows = [
        about | timing.compared({"pytorch": [1.0]}) | {"notes": {"skrnn": work.DOES_NOT_FIT}, "alone": True},
        about | timing.compared({"skrnn": [1.0]}) | {"notes": {"pytorch": work.DOES_NOT_FIT}},
    ]
    lines = report.network_table("gpu_forward", rows).splitlines()
    assert lines[2:] == [
        "| LSTM (1024, 1000, 64, 1024) * | does not fit | 500 | 1000 |  |",
        "| LSTM (1024, 1000, 64, 1024) | 1000 | 500 (50 %) | does not fit |  |",
    ]


# --- the command ----------------------------------------------------------------------------------
def test_without_a_gpu_nothing_is_touched(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(report, "RESULTS", tmp_path)
    monkeypatch.setattr(gpu, "why_not", lambda: "no driver")
    assert gpu.main([]) == 2
    assert "no driver" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_simulator_is_no_gpu(monkeypatch):
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", "1")
    assert "SIM" in gpu.why_not()


def test_a_rehearsal_goes_through_and_resumes(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(report, "RESULTS", tmp_path / "here")
    command = ["--rehearse", "--output", str(tmp_path / "there"), "--only"]
    monkeypatch.setattr(gpu, "CELLS", ("gru",))
    gpu.main([*command, "ragged"])  # whether it meets its targets is chance
    monkeypatch.setattr(gpu, "CELLS", ("gru", "lstm"))
    stored = tmp_path / "there" / "results_gpu.json"
    (first,) = json.loads(stored.read_text())["parts"]["gpu_ragged"]["rows"]
    gpu.main([*command, "ragged", "epoch", "--resume"])
    parts = json.loads(stored.read_text())["parts"]
    assert parts["gpu_ragged"]["rows"][0] == first
    assert [found["cell"] for found in parts["gpu_ragged"]["rows"]] == ["gru", "lstm"]
    assert not any("error" in part for part in parts.values())
    notes = {note for part in parts.values() for found in part["rows"] for note in found["notes"].values()}
    assert notes <= {"not installed: torch"}
    written = (tmp_path / "there" / "RESULTS.md").read_text(encoding="utf-8")
    assert "GRU (3, 4, 2, 4)" in written
    assert not (tmp_path / "here").exists()


NO_ERRORS = "========= ERROR SUMMARY: 0 errors"


@pytest.mark.parametrize(
    ("printed", "status", "problems", "note"),
    [
        (f"{sanitize.FINISHED}\n{NO_ERRORS}", 0, 0, None),
        (f"{sanitize.FINISHED}\n========= RACECHECK SUMMARY: 3 hazards displayed (2 errors)", 99, 3, None),
        (f"a fit: {sanitize.OTHER_BITS}\n{sanitize.FINISHED}\n{NO_ERRORS}", 1, 1, None),
        # what breaks off
        (
            "========= Error: the target terminated",
            255,
            1,
            "broke off with 255: Error: the target terminated",
        ),
        ("", 0, 1, "broke off with 0"),
        (sanitize.FINISHED, 0, 1, "broke off with 0"),  # the tool does not say what it has found
        (NO_ERRORS, 0, 1, "broke off with 0"),  # the fits were not all made
        (NO_ERRORS, 1, 1, "broke off with 1"),
        ("========= ERROR SUMMARY: 5 errors", 99, 6, "broke off with 99"),
        (f"{sanitize.FINISHED}\n{NO_ERRORS}", 99, 1, "broke off with 99"),
        (f"{sanitize.FINISHED}\n========= ERROR SUMMARY: 5 errors", -11, 6, "broke off with -11"),
    ],
)
def test_what_compute_sanitizer_prints(monkeypatch, tmp_path, printed, status, problems, note):
    """Only a run that went to its end without a finding has no problems."""
    kill = "kill -SEGV $$" if status < 0 else f"exit {status}"
    found = sanitized(monkeypatch, tmp_path, f"cat <<'END'\n{printed}\nEND\n{kill}")
    assert found["problems"] == problems
    assert found["notes"].get("compute-sanitizer", "").startswith(note or "")
    assert bool(found["notes"]) == bool(note)
    assert [target.met for target in targets.of_row("gpu_sanitizer", found)] == [problems == 0]


def sanitized(monkeypatch, tmp_path, script):
    """The row of a stand-in for compute-sanitizer."""
    program = tmp_path / "compute-sanitizer"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(gpu, "sanitizer_program", lambda: str(program))
    bench = BENCH._replace(rehearsed=False, device="cuda")
    return {"label": "memcheck, gru"} | gpu.sanitizer(bench, "memcheck", "gru")


def test_a_sanitizer_that_hangs_is_a_problem(monkeypatch, tmp_path):
    """And what it has started is ended with it."""
    monkeypatch.setattr(gpu, "SANITIZER_SECONDS", 1)
    mark = tmp_path / "mark"
    script = f"echo {sanitize.FINISHED}; echo '{NO_ERRORS}'; (sleep 3; touch {mark}) & sleep 60"
    start = time.monotonic()
    found = sanitized(monkeypatch, tmp_path, script)
    assert time.monotonic() - start < 30
    assert found["problems"] == 1
    assert found["notes"]["compute-sanitizer"].startswith("not at an end after 1 s")
    time.sleep(3)
    assert not mark.exists()


def test_without_compute_sanitizer_nothing_is_claimed(monkeypatch):
    monkeypatch.setattr(gpu, "sanitizer_program", lambda: None)
    found = gpu.sanitizer(BENCH._replace(rehearsed=False, device="cuda"), "memcheck", "gru")
    assert found["notes"] == {"compute-sanitizer": "not installed"}
    assert "problems" not in found


def test_all_tools_run_on_all_cells():
    labels = [about["label"] for about, _ in gpu.tasks("sanitizer", BENCH)]
    assert labels == [
        f"{tool}, {cell}" for tool in ("memcheck", "racecheck", "synccheck") for cell in sanitize.CELLS
    ]


def test_fits_for_the_sanitizer_end_with_the_line_that_says_so(monkeypatch, capsys):
    monkeypatch.setattr(sanitize, "OPTIONS", {"plain": {}})
    monkeypatch.setattr(sanitize, "CELLS", {"gru": sanitize.CELLS["gru"]})
    assert sanitize.main(["--device", "cpu"]) == 0
    assert capsys.readouterr().out.strip().endswith(f"\n{sanitize.FINISHED}")


# --- clocks ---------------------------------------------------------------------------------------
def smi(monkeypatch, tmp_path, script):
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)


@pytest.mark.parametrize(
    ("bits", "held_back"),
    [
        ("0x0000000000000000", []),
        ("0x0000000000000001", []),
        ("0x0000000000000024", ["power cap", "heat, by software"]),
    ],
)
def test_state_of_a_gpu(monkeypatch, tmp_path, bits, held_back):
    smi(monkeypatch, tmp_path, f"echo '1755, 1980, 312.50, 61, {bits}'; echo \"$@\" > {tmp_path}/asked")
    assert conditions.device_state("0000:0A:00.0") == {
        "clock": 1755, "highest_clock": 1980, "watts": 312.5, "degrees": 61, "held_back": held_back
    }  # fmt: skip
    asked = (tmp_path / "asked").read_text()
    assert (
        "--query-gpu=clocks.sm,clocks.max.sm,power.draw,temperature.gpu,clocks_event_reasons.active" in asked
    )
    assert "-i 0000:0A:00.0" in asked


def test_state_by_an_older_driver(monkeypatch, tmp_path):
    smi(
        monkeypatch,
        tmp_path,
        "case $1 in *event*) exit 2;; esac; echo '1410, 1410, [N/A], 40, 0x0000000000000008'",
    )
    assert conditions.device_state() == {
        "clock": 1410, "highest_clock": 1410, "watts": None, "degrees": 40, "held_back": ["hardware slowdown"]
    }  # fmt: skip


@pytest.mark.parametrize("script", ["exit 9", "echo", "echo '1410, 1410, 300, 40, [N/A]'", "true"])
def test_state_that_is_not_known(monkeypatch, tmp_path, script):
    smi(monkeypatch, tmp_path, script)
    assert conditions.device_state() is None


def test_a_run_on_a_gpu_stores_its_conditions(monkeypatch, tmp_path, capsys):
    """With stand-ins for CuPy and nvidia-smi: the whole command but for the work of a row."""
    answer = (
        "if [ $1 = --query-gpu=driver_version,power.limit,clocks.max.sm ]; then echo '580.1, 700.00, 1980';"
    )
    smi(monkeypatch, tmp_path, f"{answer} else echo '1755, 1980, 650.0, 61, 0x4'; fi")
    runtime = SimpleNamespace(
        getDeviceCount=lambda: 1,
        getDeviceProperties=lambda number: {
            "name": b"Stand-in", "totalGlobalMem": 80 * 2**30, "multiProcessorCount": 132
        },
        deviceGetPCIBusId=lambda number: "0000:0A:00.0",
        driverGetVersion=lambda: 13000,
        runtimeGetVersion=lambda: 13000,
        deviceSynchronize=lambda: None,
    )  # fmt: skip
    cupy = SimpleNamespace(
        **{name: getattr(np, name) for name in ("zeros", "empty", "random", "copyto", "matmul", "float32")},
        cuda=SimpleNamespace(runtime=runtime),
        get_default_memory_pool=lambda: SimpleNamespace(free_all_blocks=lambda: None),
    )
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setattr(floor, "COPIED", 1 << 16)
    monkeypatch.setattr(floor, "MULTIPLIED", 64)
    monkeypatch.setattr(gpu, "why_not", lambda: None)

    def work_of_a_row(bench, cell, shape):
        assert bench.device == "cuda"
        found = gpu.compared(bench._replace(plan=BENCH.plan), 0, {"skrnn": Memory(1).maker(1, 1.0)}, {})
        return found | {"floor": {"seconds": 0.5}}

    monkeypatch.setattr(gpu, "PARTS", {"training": (gpu.GPU_GRID, {"training_step": work_of_a_row})})
    assert gpu.main(["--short", "--output", str(tmp_path)]) == 0
    written = (tmp_path / "RESULTS.md").read_text(encoding="utf-8")
    assert "Stand-in, 80 GiB, 132 multiprocessors" in written
    assert "580.1, 700.00 W, 1980 MHz" in written
    assert "clocks of 1755 to 1755 MHz, of 1980 at most; 650 to 650 W; 61 to 61 degrees" in written
    assert "- held back by power cap: LSTM (64, 100, 64, 64), LSTM (64, 100, 64, 100)" in written


def test_states_are_read_before_and_after_each_row_and_reported(monkeypatch):
    clocks = iter(range(1000, 2000, 100))

    def state(bus):
        return {
            "clock": next(clocks), "highest_clock": 1980, "watts": 300.0, "degrees": 50,
            "held_back": ["power cap"] if bus == "hot" else [],
        }  # fmt: skip

    monkeypatch.setattr(gpu, "device_state", state)
    monkeypatch.setattr(gpu, "release", lambda device: None)
    rows = []
    for bus in ("cool", "hot"):
        bench = BENCH._replace(device="cuda", bus=bus)
        memory = Memory(3)
        found = gpu.compared(bench, 0, {"skrnn": memory.maker(1, 1.0)}, {})
        rows.append(row({"skrnn": 1.0}) | found | {"shape": (1, 2, 3, len(rows))})
    assert [[state["clock"] for state in found["states"]] for found in rows] == [[1000, 1100], [1200, 1300]]
    text = report.gpu_clocks({"parts": {"gpu_training": {"rows": rows}}})
    assert "clocks of 1100 to 1300 MHz, of 1980 at most; 300 to 300 W" in text
    assert text.endswith("- held back by power cap: GRU (1, 2, 3, 1)")
    unknown = [found | {"states": [None, None]} for found in rows]
    assert "not known" in report.gpu_clocks({"parts": {"gpu_training": {"rows": unknown}}})
    free = {"parts": {"gpu_training": {"rows": rows[:1]}}}
    assert report.gpu_clocks(free).endswith("No clock was held back at the beginning or end of a row.")


# --- PyTorch as a CUDA graph ----------------------------------------------------------------------
@pytest.fixture
def torch(monkeypatch):
    """PyTorch with stand-ins for streams and graphs; `log`: what was asked of them."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    log = []

    class Stream:
        def wait_stream(self, other):
            log.append("wait")

    class Graph:
        def replay(self):
            log.append("replay")

    @contextmanager
    def logged(name, *arguments):
        log.append(f"enter {name}")
        yield
        log.append(f"leave {name}")

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "stream", partial(logged, "stream"))
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", partial(logged, "graph"))
    return SimpleNamespace(log=log, torch=torch)


def test_a_capture(torch):
    """Runs on a stream of its own first; what those have changed is undone before the capture; what the work
    holds of the memory lives as long as the graph."""
    from benchmarks.peers import pytorch

    class Run:
        def __call__(self):
            torch.log.append(f"run with TF32 {torch.torch.backends.cudnn.allow_tf32}")
            return 7

    run = Run()
    alive = weakref.ref(run)
    replay = pytorch.captured(run, lambda: torch.log.append("restore"), "cuda", True)
    ran = "run with TF32 True"
    assert torch.log == [
        "wait", "enter stream", ran, ran, ran, "leave stream", "wait", "restore", "enter graph", ran,
        "leave graph",
    ]  # fmt: skip
    del run, torch.log[:]
    gc.collect()
    assert [replay(), replay()] == [7, 7]
    assert torch.log == ["replay", "replay"]
    assert alive() is not None
    torch.torch.backends.cudnn.allow_tf32 = False


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_a_training_step_begins_anew_after_a_capture(torch, cell):
    """After it has been restored, it computes the same as if it had not been run before."""
    from torch.nn.functional import mse_loss

    from benchmarks.peers import pytorch
    from benchmarks.shapes import time_major

    shape = Shape(3, 4, 2, 5)
    net, (X, y) = pytorch.network(cell, shape), pytorch.tensors(time_major(shape), "cpu")
    update, places = pytorch.Updater(net), [param.data_ptr() for param in net.parameters()]

    def three_steps():
        for _ in range(3):
            update(mse_loss(net(X), y))
        return [param.detach().clone() for param in net.parameters()]

    first = three_steps()
    further = three_steps()
    update.restore()
    again = three_steps()
    assert all(map(torch.torch.equal, first, again))
    assert not any(map(torch.torch.equal, further, again))
    assert [param.data_ptr() for param in net.parameters()] == places


@pytest.mark.parametrize("kind", ["training_step", "forward", "ragged_padded", "epoch"])
def test_graphs_compute_what_launches_do(torch, kind):
    """On the CPU, where a rehearsal has the same works without a capture."""
    from benchmarks.peers import pytorch

    shape = Shape(3, 4, 2, 5)
    more = {"ragged_padded": [np.array([4, 1, 2])], "epoch": [3]}.get(kind, [])
    found = []
    for graph in (False, True):
        torch.torch.manual_seed(0)
        work_ = getattr(pytorch, kind)("gru", shape, *more, 1, graph=graph)
        found.append(compare.result(work_, 0 if kind == "forward" else 3))
    np.testing.assert_allclose(*found, rtol=1e-5)


# --- the report -----------------------------------------------------------------------------------
def test_every_table_is_named_before_it_is_measured():
    text = report.gpu_markdown(None)
    assert "### GPU: tiles" in text
    for part in gpu.PARTS:
        section = text.split(f"### {texts.TITLES[f'gpu_{part}']}\n")[1].split("\n### ")[0]
        assert "Not measured." in section


@pytest.mark.parametrize("machine", [".", "intel"])
def test_the_written_report_is_that_of_the_stored_results(machine):
    folder = report.RESULTS / machine
    written = (folder / "RESULTS.md").read_text(encoding="utf-8")
    assert written == report.whole(folder), "run: python -m benchmarks.report"


def test_the_written_tiles_can_be_launched():
    """And those of all networks are there."""
    rows = report.stored(report.RESULTS / "results_tiles.json")["rows"]
    assert {(row["cell"], row["dtype"]) for row in rows} == {
        (cell, dtype) for cell in texts.TILES_OF for dtype in ("float32", "float64")
    }
    for found in rows:
        assert min(low for low, _ in found["blocks"].values()) >= 1
        for kernels in found["compiled"].values():
            for kinds in kernels.values():
                assert all(use["registers"] <= found["registers_allowed"][1] for use in kinds.values())
