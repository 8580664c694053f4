"""Forward and backward passes of the network against the NumPy oracle and central differences."""

import itertools

import numpy as np
import pytest
import reference
from passes import Forward, PackedSteps

from skrnn.backends.cpu import workspace
from skrnn.backends.cpu.dropout import dropout_kernels
from skrnn.recipe import recurrent_network

LENGTHS = {"one": [1, 1], "two": [2, 2, 2], "five": [5], "ragged": [7, 3, 1, 5]}
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
    {"num_layers": 2},
    {"bidirectional": True},
    {"num_layers": 2, "bidirectional": True},
]
HEADS = [
    {"pooling": "last"},
    {"pooling": "mean"},
    {"pooling": "max"},
    {"pooling": "attention"},
    {"return_sequences": True},
]


def label(options):
    return "-".join(str(v) for v in options.values()) or "plain"


class Problem:
    """Random weights, inputs, first states and weighted targets for one configuration."""

    def __init__(self, options, lengths, hidden_size=3, n_features=2, n_outputs=2, seed=0):
        rng = np.random.default_rng(seed)
        self.options, self.lengths = options, lengths
        shape = {k: options[k] for k in ("num_layers", "bidirectional") if k in options}
        self.weights = reference.random_weights(
            rng, cell=options["cell"], n_features=n_features, hidden_size=hidden_size,
            n_outputs=n_outputs, pooling=options.get("pooling"), **shape,
        )  # fmt: skip
        self.X = reference.random_sequences(rng, lengths, n_features)
        self.state = reference.random_state(
            rng, cell=options["cell"], n=len(lengths), hidden_size=hidden_size, **shape
        )
        per_step = options.get("return_sequences", False)
        rows = [(n,) if per_step else () for n in lengths]
        self.y = [rng.standard_normal((*r, n_outputs)) for r in rows]
        self.w = [rng.uniform(0.5, 2, r) for r in rows]
        self.network = recurrent_network(
            n_features, n_outputs, hidden_size=hidden_size, dtype=np.float64, **options
        )
        self.steps = PackedSteps(np.array(lengths))
        self.starts = np.cumsum(lengths) - lengths

    def packed(self, per_step):
        return np.concatenate(per_step)[self.steps.rows_of(self.starts)]

    def sorted_state(self):
        if self.state is None:
            return None
        h, c = self.state if self.options["cell"] == "lstm" else (self.state, [None] * len(self.state))
        order = self.steps.order
        return [(a[order], None if b is None else b[order]) for a, b in zip(h, c, strict=True)]

    def forward(self, keep=False, params=None):
        params = self.network.pack(self.weights) if params is None else params
        X = self.packed(self.X).ravel()
        return Forward(self.network, params, X, self.steps, state=self.sorted_state(), keep=keep)

    def in_callers_order(self, out):
        """Sorted or packed rows as the oracle returns them."""
        if not self.options.get("return_sequences"):
            result = np.empty_like(out)
            result[self.steps.order] = out
            return list(result)
        return self.sequences(out)

    def sequences(self, packed):
        flat = np.empty((self.steps.n_rows, packed.shape[1]))
        flat[self.steps.rows_of(self.starts)] = packed
        return np.split(flat, self.starts[1:])

    def oracle(self, **kwargs):
        return reference.forward(self.weights, self.X, initial_state=self.state, **self.options, **kwargs)

    def loss(self):
        as_given = list if self.options.get("return_sequences") else np.array
        y, w = as_given(self.y), as_given(self.w)
        return reference.losses("squared_error", self.oracle().output, y, w)

    def gradients(self):
        """Of weights, inputs and first states, by the kernels."""
        per_step = self.options.get("return_sequences", False)
        pass_ = self.forward(keep=True)
        if per_step:
            y, w = self.packed(self.y), self.packed(self.w)
        else:
            y, w = np.array(self.y)[self.steps.order], np.array(self.w)[self.steps.order]
        dout = 2 * (pass_.out - y) / y.shape[1] * (w / w.sum())[:, None]
        grads = np.full(self.network.size, np.nan)
        dX, d_state = pass_.backprop(dout, grads, d_input=True)
        gradients = self.network.unpack(grads)
        for i, dx in enumerate(self.sequences(dX)):
            gradients["X", i] = dx
        for part, name in enumerate(("h", "c") if self.options["cell"] == "lstm" else ("h",)):
            for k, state in enumerate(d_state):
                unsorted = np.empty_like(state[part])
                unsorted[self.steps.order] = state[part]
                gradients["state", name, k] = unsorted
        return gradients

    def arrays(self):
        """The same arrays as in `gradients`, for central differences."""
        arrays = dict(self.weights)
        arrays |= {("X", i): x for i, x in enumerate(self.X)}
        states = self.state if self.options["cell"] == "lstm" else (self.state,)
        for name, state in zip(("h", "c"), states, strict=False):
            arrays |= {("state", name, k): state[k] for k in range(len(state))}
        return arrays


def relative_error(a, b):
    return np.abs(a - b).max() / max(np.abs(b).max(), 1e-3)


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("head", HEADS, ids=label)
@pytest.mark.parametrize("shape", SHAPES, ids=label)
@pytest.mark.parametrize("cell", CELLS, ids=label)
def test_forward_is_the_textbooks(cell, shape, head, lengths):
    problem = Problem({**cell, **shape, **head}, lengths)
    expected = problem.oracle()
    pass_ = problem.forward()
    for a, b in zip(problem.in_callers_order(pass_.out), expected.output, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)
    for a, b in zip(problem.sequences(pass_.hidden()), expected.hidden, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)
    states = expected.state if cell["cell"] == "lstm" else (expected.state,)
    for part, expected_state in enumerate(states):
        for k, state in enumerate(pass_.state()):
            np.testing.assert_allclose(state[part], expected_state[k][problem.steps.order], atol=1e-12)


@pytest.mark.parametrize("cell", CELLS, ids=label)
def test_inputs_multiplied_before_their_steps(cell):
    """Of panels that do not fit in the L1 cache, those of several steps together."""
    problem = Problem({**cell, "return_sequences": True}, [40, 3, 33, 1, 12], n_features=600)
    out = problem.forward().out
    for a, b in zip(problem.in_callers_order(out), problem.oracle().output, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-11)
    np.testing.assert_array_equal(problem.forward(keep=True).out, out)


@pytest.mark.sampled(5)
@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("head", HEADS, ids=label)
@pytest.mark.parametrize("shape", [SHAPES[0], SHAPES[3]], ids=label)
@pytest.mark.parametrize("cell", CELLS, ids=label)
def test_gradients_are_central_differences(cell, shape, head, lengths):
    """Every weight, input and first state; the differences are taken of the oracle's loss."""
    problem = Problem({**cell, **shape, **head}, lengths, hidden_size=2)
    gradients = problem.gradients()
    arrays = problem.arrays()
    assert gradients.keys() == arrays.keys()
    for name, array in arrays.items():
        expected = reference.central_differences(problem.loss, array)
        assert relative_error(gradients[name], expected) < 1e-6, name


@pytest.mark.parametrize("pooling", ["last", "mean"])
@pytest.mark.parametrize("n_outputs", [1, 2, 19])
@pytest.mark.parametrize("shape", [SHAPES[0], SHAPES[3]], ids=label)
def test_a_skip_adds_a_linear_map_of_all_steps(shape, n_outputs, pooling):
    """To the outputs; its gradient is that of a linear map, and the rest has the same as without it."""
    rng, options = np.random.default_rng(0), {"cell": "gru", **shape, "pooling": pooling}
    lengths = [5, 5, 5]
    problem = Problem(options, lengths, n_outputs=n_outputs)
    network = recurrent_network(2, n_outputs, hidden_size=3, dtype=np.float64, skip_steps=5, **options)
    W, dout = rng.standard_normal((n_outputs, 10)), rng.standard_normal((3, n_outputs))
    flat = np.stack(problem.X).reshape(3, -1)[problem.steps.order]
    plain = problem.forward(keep=True)
    params = network.pack(problem.weights | {"skip.weight": W})
    X, state = problem.packed(problem.X).ravel(), problem.sorted_state()
    pass_ = Forward(network, params, X, problem.steps, state=state, keep=True)
    np.testing.assert_allclose(pass_.out, plain.out + flat @ W.T, atol=1e-12)
    grads, plain_grads = np.full(network.size, np.nan), np.full(problem.network.size, np.nan)
    dX, _ = pass_.backprop(dout, grads, d_input=True)
    plain_dX, _ = plain.backprop(dout, plain_grads, d_input=True)
    through_skip = (dout @ W).reshape(3, 5, 2)[problem.steps.sequence, problem.steps.step]
    np.testing.assert_allclose(dX, plain_dX + through_skip, atol=1e-12)
    gradients = network.unpack(grads)
    np.testing.assert_allclose(gradients.pop("skip.weight"), dout.T @ flat, atol=1e-12)
    for name, expected in problem.network.unpack(plain_grads).items():
        np.testing.assert_array_equal(gradients[name], expected)
    np.testing.assert_array_equal(network.unpack(params)["skip.weight"], W)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("hidden_size", [1, 7, 33, 70])
@pytest.mark.parametrize("cell", CELLS, ids=label)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_any_hidden_size(cell, hidden_size, dtype):
    """Tails of the vector lanes: one unit, less than a vector, one more than two, more than four."""
    lengths = [7, 3, 1, 5, 7, 2, 6, 6, 9, 3, 4, 4, 4]  # more rows than one tile
    problem = Problem({**cell, "num_layers": 2, "bidirectional": True}, lengths, hidden_size, 5)
    for name in problem.weights:
        problem.weights[name] /= np.sqrt(hidden_size)
    expected = problem.oracle().output
    network = recurrent_network(5, 2, hidden_size=hidden_size, dtype=dtype, **problem.options)
    X = problem.packed(problem.X).astype(dtype).ravel()
    state = problem.sorted_state()
    pass_ = Forward(network, network.pack(problem.weights), X, problem.steps, state=state)
    out = problem.in_callers_order(pass_.out)
    np.testing.assert_allclose(out, expected, atol=2e-6 if dtype == np.float32 else 1e-12)


# The recurrent mask has a test of its own below.
@pytest.mark.parametrize("mutant", sorted(set(reference.MUTANTS) - {"recurrent_mask_ignored"}))
def test_no_mutant_passes(mutant):
    """The comparison of this file tells every deliberately wrong network from the right one."""
    caught = 0
    for cell, shape, head in itertools.product(CELLS, SHAPES, HEADS):
        options = {**cell, **shape, **head}
        if not reference.MUTANTS[mutant](options | {"initial_state": True}):
            continue
        problem = Problem(options, LENGTHS["ragged"])
        expected = problem.oracle(mutant=mutant).output
        out = problem.in_callers_order(problem.forward().out)
        assert not all(np.allclose(a, b, rtol=0, atol=1e-9) for a, b in zip(out, expected, strict=True)), (
            options
        )
        caught += 1
    assert caught > 0


@pytest.mark.parametrize("pooling", ["max", "attention"])
def test_a_poisoned_workspace_changes_nothing(pooling, monkeypatch):
    """Every element that is read was written before."""
    aligned, buffers = workspace.aligned, []

    def poisoned(size, dtype):
        buffers.append(aligned(size, dtype))
        buffers[-1][:] = -(2**60) if dtype == np.intp else np.nan
        return buffers[-1]

    for cell in CELLS:
        options = {**cell, "num_layers": 2, "bidirectional": True, "pooling": pooling}
        expected = Problem(options, LENGTHS["ragged"]).gradients()
        with monkeypatch.context() as patch:
            patch.setattr(workspace, "aligned", poisoned)
            found = Problem(options, LENGTHS["ragged"]).gradients()
        for name, gradient in found.items():
            np.testing.assert_array_equal(gradient, expected[name])
    assert len(buffers) > 100


def test_dropout_masks_are_the_sequences_own():
    """Masks depend on seed, epoch, sequence and unit, not on the batch or its order."""
    options = {"cell": "lstm", "num_layers": 2, "dropout": 0.4, "recurrent_dropout": 0.3}
    lengths = [5, 2, 7]
    problem = Problem({k: v for k, v in options.items() if "dropout" not in k}, lengths)
    network = recurrent_network(2, 2, hidden_size=3, dtype=np.float64, **options)
    params = network.pack(problem.weights)

    def outputs(sequences, seed=3, epoch=1):
        steps = PackedSteps(np.array([lengths[i] for i in sequences]))
        X = np.concatenate([problem.X[i] for i in sequences])
        starts = np.cumsum([0, *(lengths[i] for i in sequences[:-1])])
        dropout = seed, epoch, np.array(sequences)[steps.order]
        pass_ = Forward(network, params, X[steps.rows_of(starts)], steps, dropout=dropout)
        return {sequences[i]: out.copy() for i, out in zip(steps.order, pass_.out, strict=True)}

    together = outputs([0, 1, 2])
    for order in ([2, 0, 1], [1], [2, 1]):
        for i, out in outputs(order).items():
            np.testing.assert_array_equal(out, together[i])
    for other in (outputs([0, 1, 2], seed=4), outputs([0, 1, 2], epoch=2)):
        assert not np.array_equal(other[0], together[0])


@pytest.mark.parametrize("cell", CELLS, ids=label)
def test_recurrent_dropout_is_the_textbooks(cell):
    """The mask multiplies the state wherever a recurrent matrix reads it, and nowhere else."""
    lengths, H = [7, 3, 1, 5], 3
    problem = Problem({**cell, "num_layers": 2, "bidirectional": True}, lengths)
    network = recurrent_network(
        2, 2, hidden_size=H, dtype=np.float64, recurrent_dropout=0.4, **problem.options
    )
    dropout = 5, 2, problem.steps.order
    pass_ = Forward(
        network,
        network.pack(problem.weights),
        problem.packed(problem.X).ravel(),
        problem.steps,
        state=problem.sorted_state(),
        dropout=dropout,
    )
    out = problem.in_callers_order(pass_.out)
    masks = np.empty((4, len(lengths), H))
    for k in range(4):
        layer = list(network.recurrent[k // 2].layers.values())[k % 2]
        mask = np.empty(len(lengths) * layer.width)
        kernel = dropout_kernels(network.dtype).sequence_mask
        kernel(pass_.steps.sizes, dropout[2], dropout[0], 2 * k, H, layer.width, 0.4, mask)
        masks[k, problem.steps.order] = mask.reshape(len(lengths), -1)[:, :H]
    assert 0 < (masks == 0).mean() < 1
    np.testing.assert_allclose(out, problem.oracle(recurrent_mask=masks).output, rtol=0, atol=1e-12)
    ignored = problem.oracle(recurrent_mask=masks, mutant="recurrent_mask_ignored").output
    assert not np.allclose(out, ignored, rtol=0, atol=1e-9)


@pytest.mark.parametrize("cell", CELLS, ids=label)
def test_gradients_under_dropout(cell):
    """Central differences of the network's own loss with its masks held fixed."""
    problem = Problem({**cell, "num_layers": 2, "bidirectional": True}, [7, 3, 1, 5])
    network = recurrent_network(
        2, 2, hidden_size=3, dtype=np.float64, dropout=0.4, recurrent_dropout=0.4, **problem.options
    )
    problem.network = network
    X, y = problem.packed(problem.X).ravel(), np.array(problem.y)[problem.steps.order]
    dropout = 5, 2, np.arange(4)

    def run(keep=False):
        params = network.pack(problem.weights)
        return Forward(network, params, X, problem.steps, dropout=dropout, keep=keep)

    def loss():
        return ((run().out - y) ** 2).sum()

    pass_, grads = run(keep=True), np.empty(network.size)
    pass_.backprop(2 * (pass_.out - y), grads)
    gradients = network.unpack(grads)
    for name, array in problem.weights.items():
        expected = reference.central_differences(loss, array)
        assert relative_error(gradients[name], expected) < 1e-6, name


def test_dropout_keeps_the_stated_share():
    kernels = dropout_kernels(np.dtype(np.float32))
    out, steps = np.empty(1000 * 64, np.float32), PackedSteps(np.ones(1000)).filled()
    kernels.sequence_mask(steps.sizes, np.arange(1000), 0, 0, 60, 64, 0.3, out)
    mask = out.reshape(1000, 64)
    assert np.all(mask[:, 60:] == 0)
    assert set(np.unique(mask[:, :60])) == {np.float32(0), np.float32(1 / 0.7)}
    kept = (mask[:, :60] > 0).mean()
    assert abs(kept - 0.7) < 4 * np.sqrt(0.21 / 60_000)  # four standard errors
    columns = (mask[:, :60] > 0).mean(axis=0)  # no unit is favoured
    assert np.abs(columns - 0.7).max() < 5 * np.sqrt(0.21 / 1000)


def test_pack_and_unpack_are_inverse():
    for cell, shape in itertools.product(CELLS, SHAPES):
        problem = Problem({**cell, **shape}, [3], hidden_size=33)
        unpacked = problem.network.unpack(problem.network.pack(problem.weights))
        assert unpacked.keys() == problem.weights.keys() == problem.network.parameters.shapes().keys()
        for name, weight in problem.weights.items():
            np.testing.assert_array_equal(unpacked[name], weight)


def test_initial_weights():
    rng = np.random.RandomState(0)
    weights = recurrent_network(3, 2, cell="lstm", hidden_size=8, bidirectional=True).parameters.initial(rng)
    for suffix in ("", "_reverse"):
        for block in np.split(weights[f"weight_hh_l0{suffix}"], 4):
            np.testing.assert_allclose(block @ block.T, np.eye(8), atol=1e-6)
        forget = np.repeat([0, 1, 0, 0], 8)
        np.testing.assert_array_equal(weights[f"bias_ih_l0{suffix}"], forget)
        np.testing.assert_array_equal(weights[f"bias_hh_l0{suffix}"], 0 * forget)
        bound = np.sqrt(6 / (3 + 8))
        largest = np.abs(weights[f"weight_ih_l0{suffix}"]).max()
        assert 0.8 * bound < largest <= bound
