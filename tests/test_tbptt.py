"""Truncated back-propagation through time against a re-implementation with finite differences."""

import tracemalloc

import numpy as np
import pytest
import reference

import skrnn.training
from skrnn import GRURegressor, LSTMRegressor, RNNRegressor

CELLS = {"rnn": RNNRegressor, "lstm": LSTMRegressor, "gru": GRURegressor}
LENGTHS = [7, 3, 1, 5, 6]


def small(cls, **options):
    defaults = {"hidden_size": 3, "max_iter": 2, "random_state": 0, "dtype": "float64"}
    return cls(**defaults | options)


def random_weights(est, rng):
    """Random everywhere: zero biases and small weights would hide mistakes."""
    return {name: rng.normal(0, 0.7, w.shape) for name, w in est.weights_.items()}


def pool(pooling, carried, states, length):
    """What the head sees of one sequence so far, and what the next chunk goes on with."""
    if pooling == "last":
        return states[-1], None
    if pooling == "max":
        top = states.max(axis=0) if carried is None else np.maximum(carried, states.max(axis=0))
        return top, top
    total = states.sum(axis=0) + (0 if carried is None else carried)
    return total / length, total


def truncated_epoch(weights, X, y, w, *, size, lr, cell, pooling, layers):
    """One epoch of plain gradient descent in one minibatch, one update per chunk with a target."""
    weights = {name: a.copy() for name, a in weights.items()}
    per_step = pooling is None
    H = weights["weight_hh_l0"].shape[1]
    zeros = np.zeros((layers, len(X), H))
    state = (zeros, zeros) if cell == "lstm" else zeros
    carried = [None] * len(X)
    for first in range(0, max(map(len, X)), size):
        active = [i for i, x in enumerate(X) if len(x) > first]
        part = [X[i][first : first + size] for i in active]
        begin = np.array(state)[..., active, :]
        begin = tuple(begin) if cell == "lstm" else begin

        def run():
            return reference.forward(
                weights, part, cell=cell, num_layers=layers, initial_state=begin,  # noqa: B023
                return_sequences=per_step,
            )  # fmt: skip

        def loss():
            result = run()
            if per_step:
                return reference.losses(
                    "squared_error",
                    result.output,
                    [y[i][first : first + size, None] for i in active],  # noqa: B023
                    [w[i][first : first + size] for i in active],  # noqa: B023
                )
            rows = [k for k, i in enumerate(active) if first + size >= len(X[i])]  # noqa: B023
            seen = [pool(pooling, carried[active[k]], result.hidden[k], len(X[active[k]]))[0] for k in rows]  # noqa: B023
            out = np.array(seen) @ weights["head.weight"].T + weights["head.bias"]
            ends = [active[k] for k in rows]  # noqa: B023
            return reference.losses("squared_error", out, np.array(y)[ends, None], np.array(w)[ends])

        before = run()  # the state that is carried on belongs to the weights before the update
        if per_step or any(first + size >= len(X[i]) for i in active):
            grads = {name: reference.central_differences(loss, a) for name, a in weights.items()}
            for name, g in grads.items():
                weights[name] -= lr * g
        if not per_step:
            for k, i in enumerate(active):
                carried[i] = pool(pooling, carried[i], before.hidden[k], len(X[i]))[1]
        new = np.array(state)
        new[..., active, :] = np.array(before.state)
        state = tuple(new) if cell == "lstm" else new
    return weights


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("pooling", ["last", "mean", "max", None])
@pytest.mark.parametrize("layers", [1, 2])
def test_chunks_are_the_reimplementations(cell, pooling, layers):
    if layers == 2 and pooling in ("mean", "max"):
        layers, size = 1, 3  # other chunks instead
    else:
        size = 2
    rng = np.random.default_rng(0)
    X = reference.random_sequences(rng, LENGTHS, 1)
    shapes = [(n,) if pooling is None else () for n in LENGTHS]
    y = [rng.standard_normal(s) for s in shapes]
    w = [rng.uniform(0.5, 2, s) for s in shapes]
    est = small(
        CELLS[cell], hidden_size=2, num_layers=layers, solver="sgd", momentum=0.0, alpha=0.0,
        max_grad_norm=None, shuffle=False, batch_size=10, tbptt_steps=size, max_iter=1,
        return_sequences=pooling is None, pooling=pooling or "last", warm_start=True,
    ).fit(X, y)  # fmt: skip
    start = random_weights(est, rng)
    est.set_weights(start).set_params(learning_rate_init=0.05).fit(X, y, w)
    expected = truncated_epoch(start, X, y, w, size=size, lr=0.05, cell=cell, pooling=pooling, layers=layers)
    moved = max(np.abs(a - start[name]).max() for name, a in expected.items())
    assert moved > 1e-3
    for name, a in expected.items():
        np.testing.assert_allclose(est.weights_[name], a, rtol=1e-7, atol=1e-8, err_msg=name)
    # and the truncation is seen: whole sequences give other weights
    est.set_weights(start).set_params(tbptt_steps=None).fit(X, y, w)
    assert max(np.abs(a - est.weights_[name]).max() for name, a in expected.items()) > 1e-6


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("pooling", ["last", "mean", "max", None])
@pytest.mark.parametrize("steps", [7, 8, 1000])
def test_chunks_that_hold_everything_change_no_bit(cell, pooling, steps):
    rng = np.random.default_rng(0)
    X = reference.random_sequences(rng, LENGTHS, 2)
    y = [rng.standard_normal(n if pooling is None else ()) for n in LENGTHS]
    options = dict(
        return_sequences=pooling is None, pooling=pooling or "last", dtype="float32", batch_size=3,
        num_layers=2, dropout=0.2, recurrent_dropout=0.2,
    )  # fmt: skip
    plain = small(CELLS[cell], **options).fit(X, y)
    chunked = small(CELLS[cell], tbptt_steps=steps, **options).fit(X, y)
    for name, w in plain.weights_.items():
        np.testing.assert_array_equal(chunked.weights_[name], w)
    other = small(CELLS[cell], tbptt_steps=2, **options).fit(X, y)
    assert any(np.any(other.weights_[name] != w) for name, w in plain.weights_.items())


@pytest.mark.parametrize("per_step", [False, True])
def test_memory_does_not_depend_on_the_length(per_step, monkeypatch):
    trainers, fit = [], skrnn.training.Trainer.fit

    def record(self, *args, **kwargs):
        trainers.append(self)
        return fit(self, *args, **kwargs)

    monkeypatch.setattr(skrnn.training.Trainer, "fit", record)
    held, peaks = [], []
    for T in (200, 200, 4000):
        X = np.random.default_rng(0).standard_normal((4, T, 1)).astype(np.float32)
        y = X[:, :, 0] if per_step else X[:, 0, 0]
        est = LSTMRegressor(32, tbptt_steps=50, max_iter=1, return_sequences=per_step, random_state=0)
        tracemalloc.start()
        est.fit(X, y)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        held.append(trainers[-1].work.nbytes)
    assert held[0] == held[2]
    # What grows is X, y and their copies; without chunks it would be 6 * 32 numbers per step.
    assert peaks[2] - peaks[1] < 4 * 3800 * 4 * 32


def test_learns_over_chunks_what_the_state_carries():
    """A mark in the first chunk is answered in later ones: only the carried state knows it."""
    rng = np.random.default_rng(0)
    X = np.zeros((64, 12, 1), np.float32)
    X[:, 0, 0] = rng.choice([-1.0, 1.0], 64)
    y = np.repeat(X[:, :1, 0], 12, axis=1)
    est = GRURegressor(
        16, return_sequences=True, tbptt_steps=4, max_iter=60, learning_rate_init=5e-3, random_state=0
    ).fit(X, y)
    assert np.abs(est.predict(X)[:, 4:] - y[:, 4:]).max() < 0.3


def test_every_chunk_is_an_update_of_its_own():
    """Counted by the warm-up, which rises with each update."""
    X = np.random.default_rng(0).standard_normal((8, 10, 1))
    est = small(
        GRURegressor, return_sequences=True, tbptt_steps=3, batch_size=8, warmup_steps=100, max_iter=3
    ).fit(X, X[:, :, 0])
    rates = est.learning_rate_init * np.array([4, 8, 12]) / 100
    np.testing.assert_allclose(est.history_["learning_rate"], rates, rtol=1e-12)
    # many to one: only the chunk with the end holds a target
    est.set_params(return_sequences=False).fit(X, X[:, 0, 0])
    rates = est.learning_rate_init * np.array([1, 2, 3]) / 100
    np.testing.assert_allclose(est.history_["learning_rate"], rates, rtol=1e-12)
