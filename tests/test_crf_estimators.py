"""loss="crf" of the classifiers."""

import pickle
import re
from itertools import product

import gpu
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import KFold, cross_val_score
from sklearn.utils._param_validation import InvalidParameterError

from skrnn import GRUClassifier, LSTMClassifier, RNNClassifier, RNNRegressor, flat_f1_score

NAMES = "crf.transitions", "crf.start_transitions", "crf.end_transitions"
LETTERS = np.array(["a", "b", "c"])


def data(n=24, seed=0, n_classes=3, longest=9):
    """Sequences whose labels tend to stay what they are."""
    rng = np.random.default_rng(seed)
    X, y = [], []
    for length in rng.integers(2, longest, n):
        labels = np.repeat(rng.integers(0, n_classes, length), 3)[:length]
        X.append(np.eye(n_classes)[labels] + rng.normal(0, 1.0, (length, n_classes)))
        y.append(LETTERS[labels])
    return X, y


def tagger(cls=GRUClassifier, **options):
    options = {"hidden_size": 8, "dtype": "float64", "max_iter": 2, "random_state": 0} | options
    return cls(loss="crf", return_sequences=True, **options)


@pytest.fixture(scope="module")
def fitted():
    return tagger(max_iter=5, learning_rate_init=0.02).fit(*data())


def paths_of(est, x):
    """All label sequences of one sequence, and their scores."""
    (s,) = est.decision_function([x])
    A, first, last = (est.weights_[name] for name in NAMES)
    paths = np.array(list(product(range(s.shape[1]), repeat=len(s))))
    scores = first[paths[:, 0]] + s[np.arange(len(s)), paths].sum(axis=1) + last[paths[:, -1]]
    for t in range(1, len(s)):
        scores += A[paths[:, t - 1], paths[:, t]]
    return paths, scores


def same(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


# --- what it answers --------------------------------------------------------------------------------
@pytest.mark.parametrize("cls", [RNNClassifier, LSTMClassifier, GRUClassifier])
def test_against_all_label_sequences(cls):
    X, y = data()
    est = tagger(cls).fit(X, y)
    rng = np.random.default_rng(1)
    est.set_weights({name: rng.normal(0, 1.5, w.shape) for name, w in est.weights_.items()})
    short = [x for x in X if len(x) < 7][:6]
    answers = zip(short, est.predict(short), est.predict_proba(short), strict=True)
    greedy = [LETTERS[s.argmax(axis=1)] for s in est.decision_function(short)]
    assert any((a != b).any() for a, b in zip(greedy, est.predict(short)))
    for x, labels, p in answers:
        paths, scores = paths_of(est, x)
        np.testing.assert_array_equal(labels, LETTERS[paths[scores.argmax()]])
        weights = np.exp(scores - np.logaddexp.reduce(scores))
        expected = [[weights[paths[:, t] == k].sum() for k in range(3)] for t in range(len(x))]
        np.testing.assert_allclose(p, expected, rtol=0, atol=1e-12)


def test_it_learns_how_labels_follow_on_one_another():
    """Better than step by step, where what is read says little."""
    X, y = data(40)
    options = {"max_iter": 40, "learning_rate_init": 0.02}
    est = tagger(RNNClassifier, **options).fit(X, y)
    alone = clone(est).set_params(loss="log_loss").fit(X, y)
    later = data(100, seed=1)
    assert est.score(*later) > alone.score(*later) + 0.03
    A, same_label = est.weights_[NAMES[0]], np.eye(3, dtype=bool)
    assert A[same_label].min() > A[~same_label].max() + 0.5
    assert est.loss_ < 0.5 * est.loss_curve_[0]


def test_two_classes():
    """There is a score for each, too."""
    X, y = data(n_classes=2)
    est = tagger(max_iter=10, learning_rate_init=0.02).fit(X, y)
    assert est.weights_["head.weight"].shape == (2, 8)
    assert est.n_outputs_ == 2
    assert {s.shape[1] for s in est.decision_function(X)} == {2}
    assert {p.shape[1] for p in est.predict_proba(X)} == {2}
    assert est.score(X, y) > 0.7
    est.set_params(loss="log_loss")  # for the next fit: this one is what it was
    assert {p.shape[1] for p in est.predict_proba(X)} == {2}
    again = GRUClassifier(8, return_sequences=True, max_iter=1).fit(X, y).set_params(loss="crf")
    assert {p.shape[1] for p in again.predict_proba(X)} == {2}
    assert {s.ndim for s in again.decision_function(X)} == {1}


def test_arrays_and_float32():
    X = np.random.default_rng(0).standard_normal((6, 5, 3)).astype(np.float32)
    y = (X[..., 0] > 0).astype(int) + (X[..., 1] > 0)
    est = tagger(dtype="float32").fit(X, y)
    assert (est.predict(X).shape, est.predict(X).dtype) == ((6, 5), y.dtype)
    p = est.predict_proba(X)
    assert (p.shape, p.dtype) == ((6, 5, 3), np.float32)
    np.testing.assert_allclose(p.sum(axis=2), 1, rtol=1e-6)
    np.testing.assert_allclose(est.score(X, y), (est.predict(X) == y).mean())
    np.testing.assert_array_equal(est.predict(X[:1]), est.predict(X)[:1])


# --- training ---------------------------------------------------------------------------------------
def loss_of(est, X, y, w=None):
    """By definition: nats per labelled step."""
    total = count = 0.0
    for i, (x, labels) in enumerate(zip(X, y, strict=True)):
        own = np.ones(len(x)) if w is None else w[i]
        paths, scores = paths_of(est, x)
        agrees = ((LETTERS[paths] == labels) | (own == 0)).all(axis=1)
        total += own.max() * (np.logaddexp.reduce(scores) - np.logaddexp.reduce(scores[agrees]))
        count += own.sum()
    return total / count


def test_the_loss_is_that_of_a_labelled_step():
    X, y = data(8, longest=6)
    rng = np.random.default_rng(0)
    w = [rng.choice([0.5, 2.0]) * (rng.random(len(x)) > 0.4) for x in X]
    w[1][:] = 0
    w[2][:] = 1
    for weights in None, w:
        begun = tagger(learning_rate_init=1e-12, max_iter=1).fit(X, y, weights)
        np.testing.assert_allclose(begun.loss_, loss_of(begun, X, y, weights), rtol=1e-9)


def test_what_has_no_weight_is_not_read():
    X, y = data()
    rng = np.random.default_rng(0)
    w = [(rng.random(len(x)) > 0.3).astype(float) for x in X]
    w[3][:] = 0
    other = [np.where(weights > 0, labels, "?") for labels, weights in zip(y, w, strict=True)]
    one, two = (tagger().fit(X, labels, w) for labels in (y, other))
    for name, array in one.weights_.items():
        np.testing.assert_array_equal(two.weights_[name], array)
    twice = tagger().fit(X, y, [3 * weights for weights in w])
    np.testing.assert_allclose(twice.loss_, one.loss_, rtol=1e-12)
    three = tagger().fit(X, y, np.arange(1.0, 1 + len(X)))  # one weight for each sequence
    assert three.loss_ != one.loss_


def test_any_number_of_threads(pool):
    X, y = data(64, longest=60)
    ones = [tagger(n_jobs=n, dtype="float32", hidden_size=24).fit(X, y) for n in (1, 2)]
    for name, w in ones[0].weights_.items():
        np.testing.assert_array_equal(ones[1].weights_[name], w)
    same(ones[0].predict_proba(X), ones[1].predict_proba(X))
    for i in 0, 7, 63:
        same(ones[0].predict_proba([X[i]]), ones[0].predict_proba(X)[i : i + 1])
        same(ones[0].predict([X[i]]), ones[0].predict(X)[i : i + 1])


def test_validation_scores_are_accuracies_of_best_paths():
    X, y = data()
    held_out = data(9, seed=5)
    est = tagger(early_stopping=True, max_iter=6).fit(X, y, X_val=held_out[0], y_val=held_out[1])
    assert max(est.validation_scores_) == est.best_validation_score_ == est.score(*held_out)
    weights = [np.linspace(0, 1, len(x)) for x in held_out[0]]  # of a score, step by step
    est.fit(X, y, X_val=held_out[0], y_val=held_out[1], sample_weight_val=weights)
    assert est.best_validation_score_ == pytest.approx(est.score(*held_out, weights), abs=1e-12)
    assert len(tagger(early_stopping=True, max_iter=3).fit(X, y).validation_scores_) == 3


def test_partial_fit_and_warm_start():
    X, y = data()
    online = tagger(shuffle=False)
    for _ in range(3):
        online.partial_fit(X, y, classes=LETTERS)
    whole = tagger(shuffle=False, max_iter=3).fit(X, y)
    for name, array in whole.weights_.items():
        np.testing.assert_array_equal(online.weights_[name], array)
    warm = tagger(shuffle=False, max_iter=1, warm_start=True)
    for _ in range(3):
        warm.fit(X, y)
    np.testing.assert_array_equal(warm.weights_[NAMES[0]], whole.weights_[NAMES[0]])
    with pytest.raises(ValueError, match="weights hold unknown arrays: \\['crf"):
        warm.set_params(loss="log_loss").fit(X, y)


def test_tools_of_scikit_learn(fitted):
    X, y = data()
    for other in pickle.loads(pickle.dumps(fitted)), clone(fitted).fit(X, y):
        same(other.predict_proba(X), fitted.predict_proba(X))
    scores = cross_val_score(tagger(), X, y, cv=KFold(3))
    assert np.isfinite(scores).all()
    assert 0 < flat_f1_score(y, fitted.predict(X), average="macro") <= 1
    assert fitted.hidden_states(X)[0].shape == (len(X[0]), 8)


# --- weights from elsewhere -------------------------------------------------------------------------
def test_weights_go_round_trip(fitted, tmp_path):
    X, _ = data()
    assert list(fitted.weights_)[-3:] == list(NAMES)
    assert [fitted.weights_[name].shape for name in NAMES] == [(3, 3), (3,), (3,)]
    np.savez(tmp_path / "weights.npz", **fitted.weights_)
    # of a module around pytorch-crf's
    foreign = {
        re.sub("^crf", "tagger.chain", re.sub("^head", "tagger.fc", name)): w
        for name, w in fitted.weights_.items()
    }
    for weights in fitted.weights_, foreign, tmp_path / "weights.npz":
        again = GRUClassifier.from_weights(weights, classes=LETTERS, dtype="float64")
        assert (again.loss, again.return_sequences) == ("crf", True)
        assert list(again.weights_) == list(fitted.weights_)
        same(again.predict_proba(X), fitted.predict_proba(X))
        same(tagger().set_weights(weights, classes=LETTERS).predict(X), fitted.predict(X))
    again.fit(X, data()[1])  # goes on
    online = clone(again).set_weights(fitted.weights_, classes=LETTERS)
    online.partial_fit(*data())


def test_classes_in_another_order(fitted):
    """Rows of the head and all transitions go with them."""
    X, _ = data()
    order = np.array([2, 0, 1])
    turned = dict(fitted.weights_)
    for name in ("head.weight", "head.bias", *NAMES):
        turned[name] = turned[name][order]
    turned["crf.transitions"] = turned["crf.transitions"][:, order]
    again = GRUClassifier.from_weights(turned, classes=LETTERS[order], dtype="float64")
    for name, w in fitted.weights_.items():
        np.testing.assert_array_equal(again.weights_[name], w)
    same(again.predict(X), fitted.predict(X))
    other = clone(fitted).fit(*data()).set_weights(turned, classes=LETTERS[order])
    same(other.predict_proba(X), fitted.predict_proba(X))


def test_weights_that_do_not_fit(fitted):
    own = dict(fitted.weights_)
    plain = {name: w for name, w in own.items() if name not in NAMES}
    without = {name: w for name, w in own.items() if name != NAMES[2]}
    for weights, options, message in (
        (own, {"loss": "log_loss"}, "loss='log_loss', but the weights say 'crf'"),
        (own, {"return_sequences": False}, 'loss="crf" needs return_sequences=True'),
        (
            plain,
            {"loss": "crf", "return_sequences": True},
            "loss='crf', but the weights lack 'crf.transitions'",
        ),
        (without, {}, "weights lack 'crf.end_transitions'"),
        (own | {NAMES[0]: np.ones((2, 3))}, {}, r"crf.transitions'\] has shape \(2, 3\)"),
        (own | {NAMES[0]: np.ones(3)}, {}, r"crf.transitions'\] has shape \(3,\), expected two axes"),
        (own | {NAMES[1]: np.ones(2)}, {}, r"crf.start_transitions'\] has shape \(2,\)"),
        (own | {NAMES[1]: np.full(3, -np.inf)}, {}, "crf.start_transitions'\\] holds -?infinity"),
        (own | {"other.transitions": np.ones((3, 3))}, {}, "unknown arrays"),
        (own, {"classes": [[0, 1], [0, 1], [0, 1]]}, "two or more classes"),
    ):
        with pytest.raises(ValueError, match=message):
            GRUClassifier.from_weights(weights, **options)
    with pytest.raises(ValueError, match=r"weights lack 'crf.transitions'"):
        pickle.loads(pickle.dumps(fitted)).set_weights(plain)
    with pytest.raises(ValueError, match=r"'crf.transitions'\] has shape \(2, 2\)"):
        pickle.loads(pickle.dumps(fitted)).set_weights(
            own | {NAMES[0]: np.ones((2, 2))}, classes=LETTERS[::-1]
        )
    with pytest.raises(ValueError, match="loss"):
        RNNRegressor.from_weights(own, cell="gru")


# --- what is refused --------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"return_sequences": False}, 'loss="crf" needs return_sequences=True'),
        ({"tbptt_steps": 3}, 'tbptt_steps cannot be combined with loss="crf"'),
        ({"class_weight": "balanced"}, 'class_weight cannot be combined with loss="crf"'),
        ({"class_weight": {"a": 2}}, 'class_weight cannot be combined with loss="crf"'),
    ],
    ids=str,
)
def test_parameters_that_do_not_go_together(options, message):
    X, y = data()
    with pytest.raises(InvalidParameterError, match=message):
        tagger().set_params(**options).fit(X, y)


def test_refused_before_anything_runs(fitted):
    X, y = data()
    with pytest.raises(ValueError, match=r"loss='crf' .* cannot be streamed"):
        fitted.stream()
    with pytest.raises(ValueError, match=r"loss='crf' .* cannot be read piece by piece"):
        fitted.predict_with_state(X)
    with pytest.raises(ValueError, match=r"a bidirectional network .* cannot be streamed"):
        tagger(bidirectional=True).fit(X, y).stream()
    with pytest.raises(ValueError, match='loss="crf" wants one label for each step, y holds sets of labels'):
        tagger().fit(X, [np.stack([labels == "a", labels == "b"], axis=1).astype(int) for labels in y])
    X[5], y[5] = np.ones((4, 3)), LETTERS[[0, 1, 2, 0]]
    w = [np.ones(len(x)) for x in X]
    w[5][:2] = 0.0, 0.5
    message = (
        r"sample_weight\[5\] at step 1 differs from that of another step, but a CRF weighs whole sequences"
    )
    with pytest.raises(ValueError, match=message):
        tagger().fit(X, y, w)
    with pytest.raises(ValueError, match=message):
        tagger().partial_fit(X, y, classes=LETTERS, sample_weight=w)
    assert np.isfinite(fitted.score(X, y, w))  # a score is over steps


def test_a_loss_that_is_not_finite_is_told():
    X, y = data()
    with pytest.raises(ValueError, match="is not finite any more"):
        tagger(RNNClassifier, activation="relu", learning_rate_init=1e200, max_iter=5).fit(X, y)


# --- on a GPU ---------------------------------------------------------------------------------------
class TestOnAGpu:
    pytestmark = gpu.needs_gpu

    def test_fit_and_predict(self):
        X, y = data(5, longest=5)
        options = {"max_iter": 1, "shuffle": False, "batch_size": 3}
        expected, est = tagger(**options).fit(X, y), tagger(device="cuda", **options).fit(X, y)
        assert est.loss_ == pytest.approx(expected.loss_, rel=1e-10)
        for name, w in expected.weights_.items():
            np.testing.assert_allclose(est.weights_[name], w, rtol=0, atol=1e-9, err_msg=name)
        est.set_weights(expected.weights_)
        same(est.predict(X), expected.predict(X))
        for a, b in zip(est.predict_proba(X), expected.predict_proba(X), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)
