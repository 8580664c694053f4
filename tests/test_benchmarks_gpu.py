"""The benchmarks on a GPU, as far as they can be tried without one: a rehearsal on the CPU."""

import json

import numpy as np
import pytest
from numba import config

from benchmarks import compare, floor, gpu, ours, report, run, sanitize, targets, texts, timing, work
from benchmarks.shapes import Shape, ragged_lengths

DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=pytest.mark.skipif(not config.ENABLE_CUDASIM, reason="needs NUMBA_ENABLE_CUDASIM=1")
    ),
]
BENCH = gpu.Bench(
    "cpu", timing.Plan(0.0, 2, 2, sample=1e-9), {"bytes_per_s": 1e9, "flops_per_s": 1e9}, rehearsed=True
)


# --- what is measured -----------------------------------------------------------------------------
@pytest.mark.sampled(5)
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
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
    found = row({"skrnn": 1.0, "pytorch_ragged_packed": 5.0, "pytorch_ragged_padded": 1.5})
    (target,) = targets.of_row("gpu_ragged", found)
    assert (target.figure, target.met) == (1.5, False)


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
    monkeypatch.setattr(run, "HERE", tmp_path)
    monkeypatch.setattr(gpu, "why_not", lambda: "no driver")
    assert gpu.main([]) == 2
    assert "no driver" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_simulator_is_no_gpu(monkeypatch):
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", "1")
    assert "SIM" in gpu.why_not()


def test_a_rehearsal_goes_through_and_resumes(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(run, "HERE", tmp_path / "here")
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


@pytest.mark.parametrize(
    ("printed", "status", "found"),
    [
        ("========= ERROR SUMMARY: 0 errors", 0, {"problems": 0}),
        ("========= RACECHECK SUMMARY: 3 hazards displayed (2 errors, 1 warning)", 99, {"problems": 3}),
        (f"a fit: {sanitize.OTHER_BITS}\n========= ERROR SUMMARY: 0 errors", 1, {"problems": 1}),
        ("========= Error: the target terminated", 255, {}),
    ],
)
def test_what_compute_sanitizer_prints(monkeypatch, tmp_path, printed, status, found):
    program = tmp_path / "compute-sanitizer"
    program.write_text(f"#!/bin/sh\necho '{printed}'\nexit {status}\n")
    program.chmod(0o755)
    monkeypatch.setattr(gpu, "sanitizer_program", lambda: str(program))
    bench = BENCH._replace(rehearsed=False, device="cuda")
    row = {"label": "memcheck, gru"} | gpu.sanitizer(bench, "memcheck", "gru")
    assert {name: value for name, value in row.items() if name == "problems"} == found
    assert [target.met for target in targets.of_row("gpu_sanitizer", row)] == [n == 0 for n in found.values()]
    assert bool(found) != ("compute-sanitizer" in row["notes"])


# --- the report -----------------------------------------------------------------------------------
def test_every_table_is_named_before_it_is_measured():
    text = report.gpu_markdown(None)
    for part in gpu.PARTS:
        section = text.split(f"### {texts.TITLES[f'gpu_{part}']}\n")[1].split("\n### ")[0]
        assert "Not measured." in section


def test_the_written_report_is_that_of_the_stored_results():
    cpu, on_gpu = (report.stored(report.HERE / name) for name in ("results.json", "results_gpu.json"))
    written = (report.HERE / "RESULTS.md").read_text(encoding="utf-8")
    assert written == report.whole(cpu, on_gpu), "run: python -m benchmarks.report"
