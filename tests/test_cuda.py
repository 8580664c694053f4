"""The CUDA backend against the CPU's: the same numbers for every option, on a GPU or in the simulator."""

import numpy as np
import pytest
from gpu import Minibatch, assert_agree, needs_gpu, simulated
from passes import PackedSteps

from skrnn import backends, losses
from skrnn.inference import State, Stepper, run

pytestmark = needs_gpu

CELLS = [
    {"cell": "rnn", "activation": "tanh"},
    {"cell": "rnn", "activation": "relu"},
    {"cell": "rnn", "activation": "sigmoid"},
    {"cell": "lstm"},
    {"cell": "gru", "reset_after": True},
    {"cell": "gru", "reset_after": False},
]
SHAPES = [
    {},
    {"num_layers": 2, "dropout": 0.3},
    {"num_layers": 2, "bidirectional": True, "dropout": 0.3, "recurrent_dropout": 0.3},
]
HEADS = [
    {"pooling": "last"}, {"pooling": "mean"}, {"pooling": "max"}, {"pooling": "attention"},
    {"return_sequences": True},
]  # fmt: skip
RAGGED = [3, 1, 4, 1, 2]
TOLERANCE = {np.float64: 1e-10, np.float32: 1e-5}


def label(options):
    return "-".join(f"{value}" for value in options.values()) or "plain"


@pytest.fixture(params=["tile", "step"])
def regime(request, monkeypatch):
    """One block for all steps, or one launch for each."""
    if request.param == "step":
        monkeypatch.setattr("skrnn.backends.cuda.tiles.plan", lambda *args: None)
    return request.param


def check(options, lengths, dtype=np.float64, **sizes):
    minibatch = Minibatch(options, lengths, dtype, **sizes)
    expected = minibatch.results("cpu", losses.squared_error)
    assert_agree(minibatch.results("cuda", losses.squared_error), expected, TOLERANCE[dtype])


@pytest.mark.parametrize("head", HEADS, ids=label)
@pytest.mark.parametrize("shape", SHAPES, ids=label)
@pytest.mark.parametrize("cell", CELLS, ids=label)
def test_a_minibatch(cell, shape, head, regime):
    """Outputs, states, loss, and gradients of weights, inputs and first states, with dropout."""
    check({**cell, **shape, **head}, RAGGED)


@pytest.mark.parametrize("cell", CELLS, ids=label)
def test_single_precision(cell, regime):
    check({**cell, "recurrent_dropout": 0.3}, RAGGED, np.float32)


@pytest.mark.parametrize("lengths", [[1], [2, 2, 2], [1, 1]], ids=str)
def test_lengths(lengths, regime):
    check({"cell": "lstm", "bidirectional": True}, lengths)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("cell", CELLS[2:], ids=label)
@pytest.mark.parametrize(
    # On a GPU also those where shared memory begins, and where it comes near to what needs no asking.
    "hidden_size",
    [1, 5] if simulated() else [1, 7, 33, 64, 97, 107, 127, 128, 139, 168, 200, 300],
)
def test_hidden_sizes(cell, hidden_size, dtype):
    check(cell, RAGGED, dtype, hidden_size=hidden_size)


@pytest.mark.skipif(simulated(), reason="too slow for the simulator")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("cell", CELLS, ids=label)
def test_larger_ones(cell, dtype, regime):
    lengths = np.random.default_rng(0).integers(1, 60, 300)
    minibatch = Minibatch({**cell, "num_layers": 2, "bidirectional": True}, lengths, dtype, 9, 3, 40)
    expected, found = (minibatch.results(device, losses.squared_error) for device in ("cpu", "cuda"))
    # In single precision both are up to 1e-5 away from the exact numbers.
    assert_agree(found, expected, 3e-5 if dtype == np.float32 else 1e-10)


def test_weights_in_shared_memory(monkeypatch):
    """Where the registers end, in the simulator too."""
    monkeypatch.setattr("skrnn.backends.cuda.tiles.LONGEST_LOOP", 5)
    for cell in CELLS[2:]:
        check(cell, RAGGED, hidden_size=7)


def test_several_sequences_in_a_block(monkeypatch):
    """Of different lengths, and a last block with room to spare."""
    from skrnn.backends.cuda import turns

    monkeypatch.setattr(turns.find(0), "n_multiprocessors", 2)
    for cell in CELLS[3:]:
        check(cell, RAGGED)


def test_a_linear_skip():
    check({"cell": "gru", "skip_steps": 3}, [3, 3, 3])


# --- memory ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("pooling", ["max", "attention"])
@pytest.mark.parametrize("cell", CELLS[2:], ids=label)
def test_a_poisoned_workspace_changes_nothing(cell, pooling, regime):
    """Every element that is read was written before: a second run on NaN gives the same bits."""
    minibatch = Minibatch({**cell, **SHAPES[2], "pooling": pooling}, RAGGED)
    expected = minibatch.results("cuda", losses.squared_error)
    poisoned = []

    def poison(work):
        for name, buffer in work._buffers.items():
            if name not in (("ones",), ("nothing",)):
                buffer[:] = -(2**60) if buffer.dtype == np.intp else np.nan
                poisoned.append(name)

    results = minibatch.results("cuda", losses.squared_error, poison, times=2)
    assert len(poisoned) > 20
    for name, array in expected.items():
        np.testing.assert_array_equal(results[name], array)


def test_the_same_bits_each_time():
    minibatch = Minibatch({"cell": "lstm", **SHAPES[2]}, RAGGED, np.float32)
    expected = minibatch.results("cuda", losses.squared_error)
    for name, array in minibatch.results("cuda", losses.squared_error, times=3).items():
        np.testing.assert_array_equal(array, expected[name])


# --- predictions ----------------------------------------------------------------------------------
def network_and_weights(minibatch, device):
    network = minibatch.network(device)
    return network, network.pack(minibatch.weights(network))


@pytest.mark.parametrize("n_rows", [2, 1000])
@pytest.mark.parametrize("head", HEADS, ids=label)
def test_predictions_and_last_states(head, n_rows):
    """In chunks of a few steps, too; from given states, then from where these have led."""
    minibatch, results = Minibatch({"cell": "lstm", **head}, RAGGED), []
    for device in "cpu", "cuda":
        with backends.turn(device):
            network, params = network_and_weights(minibatch, device)
            state = State([(h, c) for h, c in minibatch.state], network.new_pool(len(RAGGED)))
            for _ in range(2):
                out, state = run(network, params, minibatch.sequences, state=state, last=True, n_rows=n_rows)
                results.append((out, state))
    for (expected, expected_state), (out, state) in zip(results[:2], results[2:], strict=True):
        np.testing.assert_allclose(out, expected, atol=1e-12)
        agree(state, expected_state, 1e-12)
    assert np.abs(results[0][0] - results[1][0]).max() > 1e-3


def agree(state, other, tolerance):
    np.testing.assert_allclose(np.array(state.layers), np.array(other.layers), rtol=0, atol=tolerance)
    assert (state.pooled is None) == (other.pooled is None)
    if state.pooled is not None:
        np.testing.assert_allclose(state.pooled, other.pooled, rtol=0, atol=tolerance)


def test_sequences_on_the_device():
    """What is there is read there, and the output stays there on request."""
    from dataclasses import replace

    from skrnn.sequences import lies_on_host

    minibatch = Minibatch({"cell": "gru"}, RAGGED)
    with backends.turn("cpu"):
        expected, _ = run(*network_and_weights(minibatch, "cpu"), minibatch.sequences)
    with backends.turn("cuda"):
        network, params = network_and_weights(minibatch, "cuda")
        values = network.backend.to_device(minibatch.sequences.values.ravel()).reshape(-1, 2)
        out, _ = run(network, params, replace(minibatch.sequences, values=values))
        assert not lies_on_host(out)
        np.testing.assert_allclose(network.backend.to_host(out.reshape(-1)), expected.ravel(), atol=1e-12)


@pytest.mark.parametrize("head", HEADS[:3], ids=label)
def test_one_step_at_a_time(head):
    minibatch, steppers = Minibatch({"cell": "lstm", **head}, [1, 1]), []
    for device in "cpu", "cuda":
        with backends.turn(device):
            network, params = network_and_weights(minibatch, device)
            steppers.append(Stepper(network, params, 2))
    rng = np.random.default_rng(0)
    for _ in range(3):
        x, out = rng.standard_normal((2, 2)), []
        for device, stepper in zip(("cpu", "cuda"), steppers, strict=True):
            with backends.turn(device):
                stepper.x[:] = x
                assert stepper.advance()
                out.append(stepper.out.copy())
        np.testing.assert_allclose(out[1], out[0], atol=1e-12)
    states = []
    for device, stepper in zip(("cpu", "cuda"), steppers, strict=True):
        with backends.turn(device):
            before = stepper.state()
            stepper.x[:] = np.nan
            assert not stepper.advance()
            states.append(stepper.state())
            agree(states[-1], before, 0)
            stepper.reset()
            stepper.reset(before)
            agree(stepper.state(), before, 0)
    agree(states[1], states[0], 1e-12)


# --- long sums ------------------------------------------------------------------------------------
def test_products_of_many_terms():
    """What float32 adds up term by term would be 1e-3 off; see `test_long_sums`."""
    from skrnn.backends.cuda import turns
    from skrnn.backends.cuda.device import Matrix
    from skrnn.backends.cuda.tape import SPAN, Tape

    n, tenth = 12 * SPAN + 7, np.float32(0.1)
    for ta, tb, add in (
        (True, False, False),
        (False, False, True),
        (False, True, False),
        (True, True, True),
    ):
        with backends.turn("cuda"):
            tape, device = Tape(), turns.current()
            a, b, c = (device.new(np.full(size, tenth, np.float32)) for size in (4 * n + 4, 3 * n + 3, 8))
            A = Matrix(a, n, 2, 4, 1) if ta else Matrix(a, 2, n, 2 * n, 3)
            B = Matrix(b, 3, n, n, 2) if tb else Matrix(b, n, 3, 3, 2)
            tape.multiply(A, B, Matrix(c, 2, 3, 4), ta=ta, tb=tb, add=add)
            tape.run()
            found = backends.get("cuda").to_host(c).reshape(2, 4)
        np.testing.assert_allclose(found[:, :3], n * float(tenth) ** 2 + add * tenth, rtol=2e-4)
        np.testing.assert_array_equal(found[:, 3], tenth)


def test_mean_pooling_of_many_steps():
    from skrnn.backends.cuda import turns
    from skrnn.backends.cuda.tape import Tape
    from skrnn.backends.cuda.workspace import Workspace
    from skrnn.layout import Parameters
    from skrnn.links import Pool
    from skrnn.recording import Recording, Rows

    n, tenth = 20_000, np.float32(0.1)
    packed = PackedSteps([n, 3])
    with backends.turn("cuda"):
        tape, steps, work = Tape(), packed.filled(), Workspace(np.dtype(np.float32))
        for name in ("sizes", "row_at", "lengths"):
            tape.sent(getattr(steps, name))
        X = Rows(turns.current().new(np.full(packed.n_rows, tenth)), 1)
        rec = Recording(backends.get("cuda"), tape, work, steps, Parameters([], work.dtype))
        out = Pool("pool", "x", 1, "mean").forward(rec, X)
        tape.run()
        np.testing.assert_array_equal(backends.get("cuda").to_host(out.array), [tenth, tenth])
