"""ONNX Runtime, on graphs written by hand from the weights: one LSTM, GRU or RNN node per layer."""

from __future__ import annotations

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from benchmarks.shapes import GATES, LABELS, Shape, suffixes, time_major, weights
from benchmarks.work import Work, work

# Where ONNX's gates are in PyTorch's order: ifgo -> iofc, rzn -> zrh.
ORDER = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2), "rnn": (0,)}
OPSET, IR_VERSION = 17, 9


def gates(cell: str, array: np.ndarray) -> np.ndarray:
    return np.concatenate([np.split(array, GATES[cell])[k] for k in ORDER[cell]])


def model(cell: str, shape: Shape, state: bool = False) -> bytes:
    """The network on ``X`` (T, B, F) to ``y`` (B, 1); with `state`, also ``h`` and ``c`` in and out."""
    w, D, H = weights(cell, shape), shape.directions, shape.H
    constants: dict[str, np.ndarray] = {}
    nodes = []
    carried = (["h", "c"] if cell == "lstm" else ["h"]) if state else []
    options: dict = {"linear_before_reset": 1} if cell == "gru" else {}
    read = "X"
    for k, layer in enumerate(suffixes(shape)):
        constants |= {
            f"W{k}": np.stack([gates(cell, w[f"weight_ih{s}"]) for s in layer]),
            f"R{k}": np.stack([gates(cell, w[f"weight_hh{s}"]) for s in layer]),
            f"B{k}": np.stack([
                np.concatenate([gates(cell, w[f"bias_{x}{s}"]) for x in ("ih", "hh")]) for s in layer
            ]),
        }  # fmt: skip
        top = k == shape.layers - 1
        inputs = [read, f"W{k}", f"R{k}", f"B{k}", *([""] if carried else []), *carried]
        outputs = [f"Y{k}", *([f"{name}_last" for name in carried or ["h"]] if top else [])]
        options["direction"] = "bidirectional" if D == 2 else "forward"
        nodes.append(helper.make_node(LABELS[cell], inputs, outputs, hidden_size=H, **options))
        if not top:  # (T, D, B, H) -> (T, B, D H)
            read, constants["merged"] = f"X{k + 1}", np.array([0, 0, -1])
            nodes += [
                helper.make_node("Transpose", [f"Y{k}"], [f"Z{k}"], perm=[0, 2, 1, 3]),
                helper.make_node("Reshape", [f"Z{k}", "merged"], [read]),
            ]
    constants |= {"rows": np.array([-1, D * H]), "A": w["head.weight"], "b": w["head.bias"]}
    nodes += [
        helper.make_node("Transpose", ["h_last"], ["by_sequence"], perm=[1, 0, 2]),
        helper.make_node("Reshape", ["by_sequence", "rows"], ["features"]),
        helper.make_node("Gemm", ["features", "A", "b"], ["y"], transB=1),
    ]

    def value(name, size):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, size)

    states = [D, shape.B, H]
    graph = helper.make_graph(
        nodes,
        "network",
        [value("X", [shape.T, shape.B, shape.F]), *[value(name, states) for name in carried]],
        [value("y", [shape.B, 1]), *[value(f"{name}_last", states) for name in carried]],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION).SerializeToString()


def session(graph: bytes, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    # Its idle threads would go on spinning beside whoever comes next; within a run they still spin.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def bound(session, arrays: dict[str, np.ndarray]):
    """Input and output buffers bound in advance: the fastest way to call a session."""
    binding = session.io_binding()
    inputs = {value.name for value in session.get_inputs()}
    for name, array in arrays.items():
        bind = binding.bind_ortvalue_input if name in inputs else binding.bind_ortvalue_output
        bind(name, onnxruntime.OrtValue.ortvalue_from_numpy(array))  # shares the memory
    return binding


def forward(cell: str, shape: Shape, threads: int) -> Work:
    call = session(model(cell, shape), threads)
    y = np.zeros((shape.B, 1), np.float32)
    binding = bound(call, {"X": time_major(shape)[0], "y": y})
    return work(lambda: call.run_with_iobinding(binding), lambda: (call.run_with_iobinding(binding), y)[1])


# --- one step at a time ---------------------------------------------------------------------------
def stream_start(cell: str, F: int, H: int, threads: int):
    """A session for single steps, the step (1, 1, F), and the names of the carried states."""
    shape = Shape(1, 1, F, H)
    call = session(model(cell, shape, state=True), threads)
    x = time_major(shape._replace(T=10))[0][:1]
    return call, x, ["h", "c"] if cell == "lstm" else ["h"]


def stream(cell: str, F: int, H: int, threads: int) -> Work:
    """`run`, its last states fed back to the next call."""
    call, x, names = stream_start(cell, F, H, threads)
    state = {name: np.zeros((1, 1, H), np.float32) for name in names}
    outputs = ["y", *[f"{name}_last" for name in names]]

    def run():
        nonlocal state
        y, *last = call.run(outputs, {"X": x, **state})
        state = dict(zip(names, last))
        return y

    return work(run)


def stream_bound(cell: str, F: int, H: int, threads: int) -> Work:
    """Two sets of bound buffers in turn, the outputs of one the inputs of the other."""
    call, x, names = stream_start(cell, F, H, threads)
    buffer, y = np.empty_like(x), np.zeros((1, 1), np.float32)
    states = [{name: np.zeros((1, 1, H), np.float32) for name in names} for _ in range(2)]
    bindings = [
        bound(call, {"X": buffer, "y": y, **a, **{f"{name}_last": array for name, array in b.items()}})
        for a, b in (states, states[::-1])
    ]

    def run():
        buffer[:] = x
        call.run_with_iobinding(bindings[0])
        bindings.reverse()
        return y

    return work(run)
