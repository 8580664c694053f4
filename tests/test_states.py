"""Sequences read piece by piece, and streams: the bits of `predict` on the whole, whatever is pooled."""

import copy
import pickle

import numpy as np
import pytest

from skrnn import GRUClassifier, GRURegressor, LSTMRegressor, RNNRegressor
from skrnn.backends.cpu.bfloat16 import available
from skrnn.estimators.states import PooledState

CELLS = [
    {"cell": "rnn"},
    {"cell": "lstm"},
    {"cell": "gru"},
    {"cell": "gru", "reset_after": False},
]
needs_bfloat16 = pytest.mark.skipif(not available(), reason="needs AVX512_BF16")
DTYPES = ["float32", "float64", pytest.param("bfloat16", marks=needs_bfloat16)]


def label(options):
    return "-".join(map(str, options.values()))


def data(n=5, T=12, F=3):
    return np.random.default_rng(0).standard_normal((n, T, F)).astype(np.float32)


def fitted(X, cls=RNNRegressor, **options):
    """As its weights happen to be; a fit of several outputs, so that none of them hides another."""
    return cls(**{"hidden_size": 9, "max_iter": 1, "random_state": 0} | options).fit(X, X[:, -1])


def in_pieces(est, X, ends, through=lambda state: state):
    """The answer after the last piece, and the state there."""
    state, first = None, 0
    for end in ends:
        answer, state = est.predict_with_state(X[:, first:end], through(state))
        first = end
    return answer, state


def same(one, other):
    """Two pooled states."""
    assert (one.pooling, one.pooled.dtype) == (other.pooling, other.pooled.dtype)
    np.testing.assert_array_equal(one.h, other.h)
    np.testing.assert_array_equal(one.c, other.c)
    np.testing.assert_array_equal(one.pooled, other.pooled)


# --- piece by piece -------------------------------------------------------------------------------
@pytest.mark.sampled(5)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pooling", ["mean", "max"])
@pytest.mark.parametrize("cell", CELLS, ids=label)
def test_pieces_give_the_bits_of_the_whole(cell, pooling, dtype):
    X = data()
    est = fitted(X, **cell, pooling=pooling, dtype=dtype, num_layers=2)
    whole, last = est.predict_with_state(X)
    np.testing.assert_array_equal(whole, est.predict(X))
    for ends in ([5, 12], [1, 2, 9, 12], range(1, 13)):
        answer, state = in_pieces(est, X, ends)
        np.testing.assert_array_equal(answer, whole)
        same(state, last)
    # and it does matter what was pooled before
    alone, _ = est.predict_with_state(X[:, 5:], state.h if state.c is None else (state.h, state.c))
    assert np.abs(alone - whole).max() > 1e-3


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_what_is_pooled_is_the_mean_and_the_maximum(pooling):
    """By its definition, from the hidden states."""
    X = data().astype(np.float64)
    est = fitted(X, pooling=pooling, dtype="float64")
    answer, state = in_pieces(est, X, [4, 9])
    states = est.hidden_states(X[:, :9])
    W, b = est.weights_["head.weight"], est.weights_["head.bias"]
    np.testing.assert_allclose(answer, getattr(states, pooling)(axis=1) @ W.T + b, rtol=1e-12, atol=1e-14)
    if pooling == "mean":
        np.testing.assert_array_equal(state.pooled[:, -1], 9)
        np.testing.assert_allclose(state.pooled[:, :-1], states.sum(axis=1), rtol=1e-12, atol=1e-14)
    else:
        np.testing.assert_array_equal(state.pooled, states.max(axis=1))


@pytest.mark.parametrize("pooling", ["mean", "max"])
@pytest.mark.parametrize("n", [1, 300])
def test_one_sequence_and_more_than_a_batch(pooling, n):
    X = data(n)
    est = fitted(X, LSTMRegressor, pooling=pooling)
    answer, _ = in_pieces(est, X, [3, 12])
    np.testing.assert_array_equal(answer, est.predict(X))


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_pieces_of_several_chunks(pooling):
    """Longer than what is read at a time, and cut elsewhere than the whole is."""
    X = data(1, T=100_000, F=1)
    est = fitted(X[:, :50], GRURegressor, pooling=pooling, hidden_size=2)
    whole, last = est.predict_with_state(X)
    answer, state = in_pieces(est, X, [40_000, 40_001, 100_000])
    np.testing.assert_array_equal(answer, whole)
    np.testing.assert_array_equal(answer, est.predict(X))
    same(state, last)


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_ragged_sequences_of_which_some_end(pooling):
    lengths = [2, 9, 4, 11, 3]
    X = [x[:n] for x, n in zip(data(T=11), lengths)]
    est = GRURegressor(9, pooling=pooling, tbptt_steps=3, max_iter=2, random_state=0).fit(X, lengths)
    whole = est.predict(X)
    answer, state = est.predict_with_state([x[:3] for x in X])
    np.testing.assert_array_equal(answer[[0, 4]], whole[[0, 4]])
    rest = [i for i, n in enumerate(lengths) if n > 3]
    for chosen in (rest, np.array(lengths) > 3):
        part = state.take(chosen)
        assert len(part) == 3
        second, _ = est.predict_with_state([X[i][3:] for i in rest], part)
        np.testing.assert_array_equal(second, whole[rest])
    same(state.take(slice(1, 3)), state.take([1, 2]))
    for none in [], (), np.zeros(5, bool), slice(0):
        assert len(state.take(none)) == 0


def test_classes():
    X = data(8)
    est = GRUClassifier(9, pooling="max", max_iter=1, random_state=0).fit(X, list("abcdabcd"))
    answer, _ = in_pieces(est, X, [5, 12])
    np.testing.assert_array_equal(answer, est.predict(X))


def test_states_can_be_pickled_and_seen():
    X = data()
    est = fitted(X, LSTMRegressor, pooling="mean")
    answer, state = in_pieces(est, X, [5, 12], through=lambda s: pickle.loads(pickle.dumps(s)))
    np.testing.assert_array_equal(answer, est.predict(X))
    assert repr(state) == "PooledState(pooling='mean', h, c of shape (1, 5, 9))"
    _, state = fitted(X, GRURegressor, pooling="max").predict_with_state(X)
    assert repr(state) == "PooledState(pooling='max', h of shape (1, 5, 9))"
    assert len(state) == 5


def test_states_alone_begin_anew():
    """PyTorch's first states; pooling is then over this call's steps."""
    X = data().astype(np.float64)
    est = fitted(X, LSTMRegressor, pooling="mean", dtype="float64")
    _, state = est.predict_with_state(X[:, :5])
    answer, later = est.predict_with_state(X[:, 5:], (state.h, state.c))
    states = est.hidden_states(X)[:, 5:]
    np.testing.assert_allclose(
        answer, states.mean(axis=1) @ est.weights_["head.weight"].T + est.weights_["head.bias"], rtol=1e-12
    )
    np.testing.assert_array_equal(later.pooled[:, -1], 7)


def test_states_that_do_not_belong_here_are_refused():
    X = data()
    by_pooling = {pooling: fitted(X, pooling=pooling, cell="gru") for pooling in ("mean", "max", "last")}
    est = by_pooling["mean"]
    _, state = est.predict_with_state(X)
    with pytest.raises(ValueError, match="pooling='mean', not of this one, which has pooling='max'"):
        by_pooling["max"].predict_with_state(X, state)
    with pytest.raises(ValueError, match="pooling='mean', not of this one, which does not pool"):
        by_pooling["last"].predict_with_state(X, state)
    with pytest.raises(ValueError, match="not of this one, which does not pool"):
        by_pooling["last"].stream(5).state = state
    with pytest.raises(ValueError, match=r"state pooled has shape \(5, 10\), expected \(4, 10\)"):
        est.predict_with_state(X[:4], state)
    lstm = fitted(X, LSTMRegressor, pooling="mean")
    with pytest.raises(ValueError, match=r"state must be a pair"):
        lstm.predict_with_state(X, state)
    with pytest.raises(ValueError, match=r"only an LSTM has a pair"):
        est.predict_with_state(X, lstm.predict_with_state(X)[1])
    for wrong in (np.nan, np.inf):
        pooled = state.pooled.copy()
        pooled[2, 3] = wrong
        with pytest.raises(ValueError, match="state pooled must hold finite numbers"):
            est.predict_with_state(X, PooledState(state.h, None, "mean", pooled))
    _, state = by_pooling["max"].predict_with_state(X)
    state.pooled[1, 2] = -np.inf
    with pytest.raises(ValueError, match="state pooled must hold finite numbers"):
        by_pooling["max"].predict_with_state(X, state)


@pytest.mark.parametrize("options", [{}, {"pooling": "mean"}, {"return_sequences": True}], ids=label)
def test_both_directions_cannot_be_read_piece_by_piece(options):
    X = data()
    y = X[:, :, 0] if "return_sequences" in options else X[:, 0, 0]
    est = LSTMRegressor(4, bidirectional=True, max_iter=1, **options).fit(X, y)
    for state in (None, (np.zeros((2, 5, 4)), np.zeros((2, 5, 4)))):
        with pytest.raises(ValueError, match="reads a sequence from both ends: it cannot be read piece by"):
            est.predict_with_state(X, state)


def test_windows_cannot_be_read_piece_by_piece():
    X = data()
    est = GRURegressor(4, linear_skip=True, max_iter=1).fit(X, X[:, 0, 0])
    with pytest.raises(ValueError, match="linear_skip reads all steps of a window at once"):
        est.predict_with_state(X)


# --- streams --------------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pooling", ["mean", "max"])
@pytest.mark.parametrize("cell", CELLS, ids=label)
def test_streams_give_and_take_states(cell, pooling, dtype):
    X = data().astype("float64" if dtype == "float64" else "float32")
    est = fitted(X, **cell, pooling=pooling, dtype=dtype)
    expected, last = est.predict_with_state(X)
    stream = est.stream(5)
    for t in range(4):
        stream.step(X[:, t])
    state = stream.state
    same(state, est.predict_with_state(X[:, :4])[1])
    answer, end = est.predict_with_state(X[:, 4:], state)
    np.testing.assert_array_equal(answer, expected)
    same(end, last)
    other = est.stream(5)
    other.step(X[:, 7])  # what it has pooled is to go
    other.state = state
    for t in range(4, 12):
        answer = other.step(X[:, t])
    np.testing.assert_array_equal(answer, expected)
    same(other.state, last)
    other.reset()
    np.testing.assert_array_equal(other.step(X[:, 0]), est.predict(X[:, :1]))
    other.state = state.h if state.c is None else (state.h, state.c)
    anew, _ = est.predict_with_state(X[:, 4:5], other.state)
    other.state = state.h if state.c is None else (state.h, state.c)
    np.testing.assert_array_equal(other.step(X[:, 4]), anew)


def test_a_stream_before_its_first_step_has_a_state():
    X = data()
    for pooling in ("mean", "max"):
        est = fitted(X, pooling=pooling, cell="gru")
        answer, _ = est.predict_with_state(X, est.stream(5).state)
        np.testing.assert_array_equal(answer, est.predict(X))


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])
@pytest.mark.parametrize("options", [{}, {"pooling": "mean"}, {"pooling": "max"}], ids=label)
def test_copies_of_a_stream_go_on_by_themselves(options, copied):
    X = data()
    est = fitted(X, LSTMRegressor, num_layers=2, **options)
    expected, stream = est.predict(X), est.stream(5)
    for t in range(6):
        stream.step(X[:, t])
    other = copied(stream)
    for t in range(6, 12):
        answer = stream.step(X[:, t])
    np.testing.assert_array_equal(answer, expected)
    est.fit(X, -X[:, -1])  # reaches neither of them
    for t in range(6, 12):
        answer = other.step(X[:, t])
    np.testing.assert_array_equal(answer, expected)


def test_a_copied_stream_answers_as_its_own_does():
    X = data(6)
    est = GRUClassifier(4, max_iter=1, random_state=0).fit(X, list("abcabc"))
    stream = est.stream(6, "predict_proba")
    stream.step(X[:, 0])
    other = copy.deepcopy(stream)
    np.testing.assert_array_equal(other.step(X[:, 1]), stream.step(X[:, 1]))
    one = pickle.loads(pickle.dumps(est.stream()))
    np.testing.assert_array_equal(one.step(X[2, 0]), est.predict(X[2:3, :1])[0])
