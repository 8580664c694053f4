"""A link of one's own: it needs its file and its kernels, and nothing else of the package knows it."""

from types import SimpleNamespace

import gpu
import numpy as np
import pytest
import reference
from numba import cuda
from passes import Forward, PackedSteps

from skrnn import backends, losses
from skrnn.backends.cpu.jit import kernel
from skrnn.history import Progress
from skrnn.layout import Parameters, Place, Section
from skrnn.links import Dense, Dropout, Last, Link, Objective, Pool, Recurrent
from skrnn.network import Network
from skrnn.optimizers import SetUp
from skrnn.recording import INPUT
from skrnn.sequences import Sequences, Targets
from skrnn.training import Data, Settings, Trainer

FLOAT = np.dtype(np.float64)


# --- a link with a kernel on each backend -----------------------------------------------------------
class Scale(Link):
    """Each column times a number that is learnt: y = s x."""

    def __init__(self, name, read, width):
        super().__init__(name, read)
        self.width, self.part = width, "scale"

    def sections(self):
        yield Section(self.part, (self.width,), lambda rng, shape: rng.uniform(0.5, 2, shape), True)

    def places(self):
        yield self.part, [Place("scale", self.part, 1, (0,), (1, self.width, 1), (0, 1, 2))]

    def forward(self, rec, value):
        out = rec.new_rows(self.name, "out", row=self.width)
        operations(rec).scale(rec, value.rows(rec), rec.weights(self.part)["scale"], out)
        return out

    def backward(self, rec, d, *, need):
        dX, (read,) = rec.new_rows(self.name, "dX", row=self.width), self.reads
        X, ds = rec.values[read].rows(rec), rec.gradients(self.part)["scale"]
        operations(rec).scale_backward(rec, X, d, rec.weights(self.part)["scale"], dX, ds)
        return (dX,)


@kernel("test_scale")
def scale_on_cpu(sizes, row, past, width, X, s, out):
    skip = sizes[0] if past else 0
    for r in range(sizes[2]):
        for j in range(width):
            out[r * width + j] = s[j] * X[(skip + r) * row + j]


@kernel("test_scale_backward")
def scale_backward_on_cpu(sizes, row, past, d_row, width, X, d, s, dX, ds):
    skip = sizes[0] if past else 0
    ds[:] = 0
    for r in range(sizes[2]):
        for j in range(width):
            dX[r * width + j] = s[j] * d[r * d_row + j]
            ds[j] += X[(skip + r) * row + j] * d[r * d_row + j]


def on_cpu():
    return SimpleNamespace(
        scale=lambda rec, X, s, out: rec.tape.call(
            scale_on_cpu, rec.steps.sizes, X.row, X.past, out.row, X.array, s, out.array
        ),
        scale_backward=lambda rec, X, d, s, dX, ds: rec.tape.call(
            scale_backward_on_cpu, rec.steps.sizes, X.row, X.past, d.row, dX.row, X.array, d.array, s,
            dX.array, ds,
        ),
    )  # fmt: skip


def on_gpu():
    from skrnn.backends.cuda.jit import kernel

    @kernel("test_scale")
    def gpu_scale(sizes, row, width, X, s, out):
        for k in range(cuda.grid(1), sizes[2] * width, cuda.gridsize(1)):
            out[k] = s[k % width] * X[k // width * row + k % width]

    @kernel("test_scale_backward")
    def gpu_scale_backward(sizes, row, d_row, width, X, d, s, dX, ds):
        for j in range(cuda.grid(1), width, cuda.gridsize(1)):
            ds[j] = 0
            for r in range(sizes[2]):
                dX[r * width + j] = s[j] * d[r * d_row + j]
                ds[j] += X[r * row + j] * d[r * d_row + j]

    def scale(rec, X, s, out):
        sizes = rec.tape.steps(rec.steps).sizes
        rec.tape.each(gpu_scale, rec.steps.max_rows, sizes, X.row, out.row, X.array, s, out.array)

    def scale_backward(rec, X, d, s, dX, ds):
        sizes = rec.tape.steps(rec.steps).sizes
        rec.tape.each(
            gpu_scale_backward, dX.row, sizes, X.row, d.row, dX.row, X.array, d.array, s, dX.array, ds
        )

    return SimpleNamespace(scale=scale, scale_backward=scale_backward)


OPERATIONS = {}


def operations(rec):
    name = rec.backend.__name__
    if name not in OPERATIONS:
        OPERATIONS[name] = on_cpu() if name.endswith("cpu") else on_gpu()
    return OPERATIONS[name]


def scaled_network(device="cpu", pooling="last", n_in=2, H=3):
    backend = backends.get(device)
    states = Recurrent(backend, FLOAT, "states", INPUT, "_l0", "gru", n_in, H, directions=2)
    scale = Scale("scaled", "states", 2 * H)
    above = Recurrent(backend, FLOAT, "states above", "scaled", "_l1", "gru", 2 * H, H)
    pool = (
        Last("pooled", "states above", H) if pooling == "last" else Pool("pooled", "states above", H, pooling)
    )
    out = Dense(backend, FLOAT, "out", {"head": ("pooled", H)}, 1)
    return Network(n_in, [states, scale, above, pool, out], dtype=FLOAT, device=device)


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_its_gradients_are_central_differences(pooling):
    network, packed = scaled_network(pooling=pooling), PackedSteps([5, 1, 3, 4])
    weights = network.parameters.initial(np.random.RandomState(0))
    rng = np.random.default_rng(0)
    X, target = rng.standard_normal((packed.n_rows, 2)), rng.standard_normal((4, 1))

    def run(keep=False):
        return Forward(network, network.pack(weights), X, packed, keep=keep)

    pass_, grads = run(keep=True), np.full(network.size, np.nan)
    pass_.backprop(2 * (pass_.out - target), grads)
    gradients = network.unpack(grads)
    for name, array in weights.items():
        expected = reference.central_differences(lambda: ((run().out - target) ** 2).sum(), array)
        assert np.abs(gradients[name] - expected).max() < 1e-6 * max(1, np.abs(expected).max()), name


def fitted(device):
    """(losses, weights) of a few epochs."""
    rng = np.random.default_rng(0)
    sequences = Sequences.from_arrays([rng.standard_normal((n, 2)) for n in (5, 1, 3, 4, 2)])
    y = np.array([[x.sum()] for x in sequences.split(sequences.values)])
    with backends.turn(device):
        network = scaled_network(device)
        set_up = SetUp(
            "adam", network.parameters.decay_ranges, network.size, FLOAT, alpha=1e-3, momentum=0.9,
            nesterov=True, beta_1=0.9, beta_2=0.999, epsilon=1e-8, max_norm=None,
        )  # fmt: skip
        settings = Settings(2, "constant", 0.01, 0, None, None, 8, True, 0.0, 8, False)
        trainer = Trainer(
            network, network.pack(network.parameters.initial(np.random.RandomState(0))),
            network.backend.Optimizer(set_up), losses.squared_error, settings, np.random.RandomState(0), 7,
            Data(sequences, Targets(y), None),
        )  # fmt: skip
        progress = Progress()
        trainer.fit(progress)
        return progress.columns["loss"], network.unpack(trainer.params)


def test_it_is_trained():
    found, weights = fitted("cpu")
    assert found[-1] < found[0]
    initial = scaled_network().parameters.initial(np.random.RandomState(0))
    assert np.abs(weights["scale"] - initial["scale"]).min() > 1e-3


@pytest.mark.gpu
@pytest.mark.skipif(gpu.WHY_NOT is not None, reason=f"needs a GPU, or NUMBA_ENABLE_CUDASIM=1: {gpu.WHY_NOT}")
def test_it_is_trained_the_same_on_a_gpu():
    (here, weights), (there, others) = fitted("cpu"), fitted("cuda")
    np.testing.assert_allclose(there, here, rtol=1e-10)
    for name, array in weights.items():
        np.testing.assert_allclose(others[name], array, rtol=0, atol=1e-10)


# --- what networks of links can be ------------------------------------------------------------------
def test_a_value_that_is_read_twice_gets_both_gradients():
    """The states of all steps, by the mean, and the last ones."""
    backend, H = backends.get("cpu"), 3
    links = [
        Recurrent(backend, FLOAT, "states", INPUT, "_l0", "lstm", 2, H, directions=2),
        Last("last", "states", 2 * H),
        Pool("mean", "states", 2 * H, "mean"),
        Pool("max", "states", 2 * H, "max"),
        Dense(backend, FLOAT, "out", {f"of {name}": (name, 2 * H) for name in ("last", "mean", "max")}, 2),
    ]
    network, packed = Network(2, links, dtype=FLOAT), PackedSteps([4, 2, 5])
    rng = np.random.default_rng(0)
    weights = {name: rng.standard_normal(shape) for name, shape in network.parameters.shapes().items()}
    X, dout = rng.standard_normal((packed.n_rows, 2)), rng.standard_normal((3, 2))

    def run(keep=False):
        return Forward(network, network.pack(weights), X, packed, keep=keep)

    grads = np.full(network.size, np.nan)
    for _ in range(2):  # the second time in the buffers of the first
        dX, _ = run(keep=True).backprop(dout, grads, d_input=True)
    gradients = network.unpack(grads) | {"X": dX}
    for name, array in (weights | {"X": X}).items():
        expected = reference.central_differences(lambda: (run().out * dout).sum(), array)
        np.testing.assert_allclose(gradients[name], expected, rtol=0, atol=1e-7, err_msg=name)


@pytest.mark.parametrize("H", [3, 8])
def test_gradients_of_links_that_know_no_padding(H):
    """One direction's states, and a linear map of all steps, below a link whose rows are not padded."""
    backend, packed = backends.get("cpu"), PackedSteps([4, 2, 5])
    links = [
        Recurrent(backend, FLOAT, "states", INPUT, "_l0", "lstm", 2, H),
        Scale("scaled", "states", H),
        Dense(backend, FLOAT, "map", {"linear": ("scaled", H)}, H),
        Scale("scaled again", "map", H),
        Pool("mean", "scaled again", H, "mean"),
        Dense(backend, FLOAT, "out", {"head": ("mean", H)}, 1),
    ]
    links[3].part = "scale again"
    network, rng = Network(2, links, dtype=FLOAT), np.random.default_rng(0)
    weights = {name: rng.standard_normal(shape) for name, shape in network.parameters.shapes().items()}
    X = rng.standard_normal((packed.n_rows, 2))

    def run(keep=False):
        return Forward(network, network.pack(weights), X, packed, keep=keep)

    grads = np.full(network.size, np.nan)
    run(keep=True).backprop(np.ones((3, 1)), grads)
    gradients = network.unpack(grads)
    np.testing.assert_array_equal(network.pack(gradients), grads)  # zero where nobody asks
    for name, array in weights.items():
        expected = reference.central_differences(lambda: run().out.sum(), array)
        np.testing.assert_allclose(gradients[name], expected, rtol=0, atol=1e-7, err_msg=name)


def test_what_is_copied_for_one_reader_leaves_the_others_alone():
    """A bidirectional layer below dropout, and below a link beside it."""
    backend, H, packed = backends.get("cpu"), 3, PackedSteps([4, 2])
    links = [
        Recurrent(backend, FLOAT, "states", INPUT, "_l0", "gru", 2, H, directions=2),
        Dropout("dropped", "states", 2 * H, 0.5, 1),
        Dropout("dropped too", "states", 2 * H, 0.5, 3),
        *(Pool(f"mean of {name}", name, 2 * H, "mean") for name in ("dropped", "dropped too", "states")),
        Dense(
            backend, FLOAT, "out",
            {f"of {name}": (f"mean of {name}", 2 * H) for name in ("dropped", "dropped too", "states")}, 1,
        ),
    ]  # fmt: skip
    network, rng = Network(2, links, dtype=FLOAT), np.random.default_rng(0)
    weights = {name: rng.standard_normal(shape) for name, shape in network.parameters.shapes().items()}
    X, dropout = rng.standard_normal((packed.n_rows, 2)), (3, 0, np.arange(2))

    def run(keep=False):
        return Forward(network, network.pack(weights), X, packed, keep=keep, dropout=dropout)

    grads = np.full(network.size, np.nan)
    run(keep=True).backprop(np.ones((2, 1)), grads)
    for name, gradient in network.unpack(grads).items():
        expected = reference.central_differences(lambda: run().out.sum(), weights[name])
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-7, err_msg=name)


def test_networks_that_would_mix_things_up_are_refused():
    backend = backends.get("cpu")
    states = Recurrent(backend, FLOAT, "states", INPUT, "_l0", "gru", 2, 3)
    other = Recurrent(backend, FLOAT, "other", "states", "_l1", "gru", 3, 4)
    last = Last("last", "states", 3)
    out = Dense(backend, FLOAT, "out", {"head": ("last", 3)}, 1)
    for links, message in (
        ([states, last, Dense(backend, FLOAT, "last", {"head": ("last", 3)}, 1)], "called 'last'"),
        ([states, last, Dense(backend, FLOAT, "out", {"last": ("last", 3)}, 1)], "called 'last'"),
        ([states, Last("loss", "states", 3), out], "called 'loss'"),
        ([states, last, Pool("mean", "states", 3, "mean"), out], "nothing reads what 'mean' makes"),
        ([Dense(backend, FLOAT, "out", {"head": (INPUT, 2)}, 1)], "all of one cell and size"),
        ([states, other, Last("last", "other", 4), out], "all of one cell and size"),
    ):
        with pytest.raises(ValueError, match=message):
            Network(2, links, dtype=FLOAT)


def test_the_loss_is_a_link():
    """Recorded like any other, its adjoint is the gradient of the mean loss."""
    network, packed = scaled_network(), PackedSteps([3, 2])
    rng, statistics = np.random.default_rng(0), np.zeros(3)
    weights = network.parameters.initial(np.random.RandomState(0))
    pass_ = Forward(network, network.pack(weights), rng.standard_normal((5, 2)), packed, keep=True)
    y = rng.standard_normal((2, 1))
    link = Objective("out", 1, losses.squared_error, Targets(y), None, statistics, np.zeros(1, np.intp))
    pass_.rec.tape = network.backend.Tape()
    link.forward(pass_.rec, pass_.raw)
    (d,) = link.backward(pass_.rec, need=(True,))
    pass_.rec.tape.run()
    np.testing.assert_allclose(statistics[:2], [((pass_.out - y) ** 2).sum(), 2])
    np.testing.assert_allclose(d.array.reshape(-1, d.row)[:2, :1], pass_.out - y)


# --- where parameters lie ---------------------------------------------------------------------------
def test_parameters_are_packed_by_their_places():
    """Gates in another order, units padded, columns apart; what nobody asks for is zero."""
    sections = [
        Section("w", (6, 2), lambda rng, shape: np.zeros(shape), True),
        Section("b", (2,), lambda rng, shape: np.ones(shape), False),
    ]
    places = [
        Place("second and first", "w", 3, (1, 0), (2, 2, 4), (1, 2, 0)),  # (column, gate, unit), padded to 4
        Place("third", "w", 3, (2,), (1, 2, 2), (0, 1, 2)),
        Place("b", "b", 1, (0,), (1, 1, 2), (0, 2, 1)),
    ]
    link = SimpleNamespace(sections=lambda: sections, places=lambda: [("part", places)])
    parameters = Parameters([link], FLOAT)
    w, b = np.arange(12.0).reshape(6, 2) + 1, np.array([20.0, 21])
    flat = parameters.pack({"w": w, "b": b})
    assert flat.tolist() == [
        5, 7, 0, 0, 1, 3, 0, 0, 6, 8, 0, 0, 2, 4, 0, 0, 9, 10, 11, 12, 20, 21
    ]  # fmt: skip
    found = parameters.unpack(flat)
    np.testing.assert_array_equal(found["w"], w)
    np.testing.assert_array_equal(found["b"], b)
    assert parameters.decay_ranges == [(0, 20, True), (20, 22, False)]
    assert {name: view.tolist() for name, view in parameters.views("part", flat).items()}["third"] == [
        9, 10, 11, 12
    ]  # fmt: skip
