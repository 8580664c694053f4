"""Training: schedules, stopping, validation, going on."""

import itertools
import math

import numpy as np
import pytest
from sklearn.model_selection import GroupKFold, ShuffleSplit, StratifiedKFold, TimeSeriesSplit
from sklearn.utils._param_validation import InvalidParameterError

import skrnn.estimators.validation_data
from skrnn import GRUClassifier, GRURegressor, RNNClassifier, RNNRegressor


def data(n=40, T=5, F=2, dtype=np.float64, seed=0):
    X = np.random.default_rng(seed).standard_normal((n, T, F)).astype(dtype)
    return X, X[:, -2, 0]


def small(cls=GRURegressor, **options):
    defaults = {"hidden_size": 4, "max_iter": 4, "random_state": 0, "dtype": "float64"}
    return cls(**defaults | options)


def assert_same(one, other, **tolerance):
    """Same weights: to the bit, or within a tolerance."""
    for name, w in one.weights_.items():
        if tolerance:
            np.testing.assert_allclose(other.weights_[name], w, err_msg=name, **tolerance)
        else:
            np.testing.assert_array_equal(other.weights_[name], w, err_msg=name)


def differ(one, other):
    return any(np.any(w != other.weights_[name]) for name, w in one.weights_.items())


# Schedules ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [40, 16])
@pytest.mark.parametrize("warmup", [0, 1, 5])
def test_cosine_and_warmup_follow_their_formulas(batch_size, warmup):
    X, y = data()
    updates = math.ceil(40 / batch_size)
    last = np.arange(1, 11) * updates - 1  # number of each epoch's last update
    rise = np.minimum(1, (last + 1) / warmup) if warmup else 1
    options = dict(max_iter=10, batch_size=batch_size, warmup_steps=warmup, tol=0.0)
    est = small(learning_rate="cosine", learning_rate_init=0.02, **options).fit(X, y)
    expected = 0.02 * rise * 0.5 * (1 + np.cos(np.pi * last / (10 * updates)))
    np.testing.assert_allclose(est.history_["learning_rate"], expected, rtol=1e-12)
    est = small(learning_rate_init=0.02, **options).fit(X, y)
    np.testing.assert_allclose(est.history_["learning_rate"], 0.02 * rise * np.ones(10), rtol=1e-12)


def test_plateau_lowers_the_rate_by_fifths_to_a_thousandth():
    X, y = data()
    options = dict(max_iter=100, tol=1e9, n_iter_no_change=2)
    est = small(learning_rate="plateau", learning_rate_init=0.02, **options).fit(X, y)
    expected = 0.02 * 0.2 ** np.array([0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4])
    np.testing.assert_allclose(est.history_["learning_rate"], expected, rtol=1e-12)
    assert small(**options).fit(X, y).n_iter_ == 3


def test_the_rate_is_what_the_updates_use():
    """A rate of nearly zero moves nothing; warm-up makes the first of two updates half a step."""
    X, y = data()
    est = small(solver="sgd", momentum=0.0, max_grad_norm=None, alpha=0.0, max_iter=1)
    est.set_params(batch_size=40, learning_rate_init=1e-15)
    start = est.fit(X, y).weights_
    full = est.set_params(learning_rate_init=0.01).fit(X, y).weights_
    half = est.set_params(warmup_steps=2).fit(X, y).weights_
    for name, w in start.items():
        np.testing.assert_allclose(2 * (half[name] - w), full[name] - w, atol=1e-12)
    assert np.abs(full["head.bias"] - start["head.bias"]).max() > 1e-5


# Stopping ----------------------------------------------------------------------------------------


def test_stops_when_the_loss_no_longer_falls_by_tol():
    X, y = data()
    est = small(max_iter=300, tol=5e-3, n_iter_no_change=4).fit(X, y)
    assert 5 < est.n_iter_ < 300
    best, waiting, stops = math.inf, 0, []
    for i, loss in enumerate(est.loss_curve_):
        waiting = 0 if loss < best - 5e-3 else waiting + 1
        best = min(best, loss)
        if waiting >= 4:
            stops.append(i + 1)
    assert stops == [est.n_iter_]


@pytest.mark.parametrize("explicit", [False, True])
def test_early_stopping_keeps_the_best_weights(explicit):
    X, y = data(60)
    y = y + np.random.default_rng(1).standard_normal(60)  # noise: it will overfit
    est = small(
        early_stopping=True, validation_split="last", validation_fraction=0.25, max_iter=200,
        n_iter_no_change=5, learning_rate_init=0.05, hidden_size=16,
    )  # fmt: skip
    validation = X[45:], y[45:]
    if explicit:
        est.fit(X[:45], y[:45], X_val=validation[0], y_val=validation[1])
    else:
        est.fit(X, y)
    scores = est.validation_scores_
    assert est.n_iter_ == len(scores) < 200
    assert np.argmax(scores) < len(scores) - 1
    assert est.score(*validation) == pytest.approx(max(scores), rel=1e-12)
    assert est.best_validation_score_ == max(scores)
    assert max(scores) - scores[-1] > 1e-3  # so the last weights would not have passed

    # without early stopping the scores are recorded, and the last weights stay
    est.set_params(early_stopping=False, max_iter=est.n_iter_, tol=0.0, n_iter_no_change=1000)
    est.fit(X[:45], y[:45], X_val=validation[0], y_val=validation[1])
    assert est.validation_scores_ == scores
    assert est.score(*validation) == pytest.approx(scores[-1], rel=1e-12)


def test_validation_scores_are_those_of_score():
    """Class weights weigh the loss, not the validation score."""
    X, y = data()
    labels = (y > 0.8).astype(int)
    est = small(GRUClassifier, class_weight={0: 1.0, 1: 30.0})
    est.fit(X, labels, X_val=X[:30], y_val=labels[:30])
    assert est.validation_scores_[-1] == pytest.approx(est.score(X[:30], labels[:30]))


# Validation data ---------------------------------------------------------------------------------


@pytest.mark.parametrize("per_step", [False, True])
@pytest.mark.parametrize(
    "split",
    ["last", TimeSeriesSplit(3), ShuffleSplit(2, test_size=0.3, random_state=1), StratifiedKFold(4)],
    ids=str,
)
def test_a_split_is_what_X_val_would_be(split, per_step):
    X, y = data()
    y = (X[:, :, 0] if per_step else y) > 0
    w = np.random.default_rng(2).uniform(1, 2, y.shape)
    if split == "last":
        train, held_back = np.arange(32), np.arange(32, 40)
    elif per_step and isinstance(split, StratifiedKFold):  # it asks for a class per sequence
        with pytest.raises(ValueError, match="Supported target types"):
            small(GRUClassifier, validation_split=split, early_stopping=True, return_sequences=True).fit(X, y)
        return
    else:
        train, held_back = next(split.split(X, y))
    w[held_back] = 1  # X_val has no weights
    options = dict(validation_fraction=0.2, return_sequences=per_step, early_stopping=True)
    est = small(GRUClassifier, validation_split=split, **options).fit(X, y, w)
    other = small(GRUClassifier, **options)
    other.fit(X[train], y[train], w[train], X_val=X[held_back], y_val=y[held_back])
    assert_same(est, other)
    np.testing.assert_array_equal(est.predict(X[held_back]), other.predict(X[held_back]))
    if split != "last":
        with pytest.raises(InvalidParameterError, match="validation_split"):
            est.set_params(validation_split=split.split(X, y)).fit(X, y)


@pytest.mark.parametrize("cls", [RNNRegressor, RNNClassifier])
def test_a_random_split(cls, monkeypatch):
    X, y = data(50)
    y = y > 1.0 if cls is RNNClassifier else y  # the rarer class is a fifth or less
    splits, hold_back = [], skrnn.estimators.validation_data.hold_back

    def record(*args, **kwargs):
        parts = hold_back(*args, **kwargs)
        splits.append([part.sequences.starts // 5 for part in parts])
        return parts

    monkeypatch.setattr(skrnn.estimators.validation_data, "hold_back", record)
    est = small(cls, early_stopping=True, validation_fraction=0.3, max_iter=1)
    for seed in (0, 0, 1):
        est.set_params(random_state=seed).fit(X, y)
    for train, held_back in splits:
        assert len(held_back) == 15
        assert sorted([*train, *held_back]) == list(range(50))
        if cls is RNNClassifier:
            assert abs(y[held_back].mean() - y.mean()) < 0.05
    np.testing.assert_array_equal(splits[0][1], splits[1][1])
    assert set(splits[0][1]) != set(splits[2][1])


def test_X_val_wins_over_the_split():
    X, y = data()
    est = small(early_stopping=True, validation_split=GroupKFold(2))  # it would ask for groups
    est.fit(X, y, X_val=X[:10], y_val=y[:10])
    plain = small().fit(X, y)  # trained on all of X
    assert est.loss_curve_ == plain.loss_curve_


# Going on ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"shuffle": False},
        {"shuffle": True},
        {"recurrent_dropout": 0.3, "dropout": 0.3, "num_layers": 2},
        {"solver": "sgd"},
        {"solver": "rmsprop", "tbptt_steps": 2},
        {"random_state": None},
    ],
    ids=str,
)
def test_warm_start_goes_on_as_if_nothing_had_happened(options):
    X, y = data()
    whole = small(max_iter=10, **options)
    parts = small(max_iter=5, warm_start=True, **options)
    if "random_state" in options:
        np.random.seed(3)  # noqa: NPY002
    whole.fit(X, y)
    if "random_state" in options:
        np.random.seed(3)  # noqa: NPY002
    parts.fit(X, y)
    assert differ(whole, parts)
    parts.fit(X, y)
    assert_same(whole, parts)
    assert parts.n_iter_ == 10
    assert parts.loss_curve_ == whole.loss_curve_
    assert parts.history_["epoch"].tolist() == list(range(1, 11))
    fresh = parts.set_params(warm_start=False, max_iter=10)
    if "random_state" not in options:
        assert_same(fresh.fit(X, y), whole)


@pytest.mark.parametrize("options", [{"shuffle": False}, {"shuffle": True}, {"dropout": 0.5}], ids=str)
def test_partial_fit_is_an_epoch_of_fit(options):
    X, y = data()
    options = {"num_layers": 2} | options
    one = small(max_iter=1, **options).fit(X, y)
    parts = small(**options).partial_fit(X, y)
    assert_same(one, parts)
    assert parts.loss_curve_ == one.loss_curve_
    two = small(max_iter=2, **options).fit(X, y)
    assert_same(two, parts.partial_fit(X, y))
    assert parts.n_iter_ == 2
    assert_same(two, one.partial_fit(X, y))  # also after fit


def test_partial_fit_reads_parameters_again_and_leaves_schedules_out():
    X, y = data()
    plain = small().partial_fit(X, y)
    scheduled = small(learning_rate="cosine", warmup_steps=10, early_stopping=True, max_iter=1).partial_fit(
        X, y
    )
    assert_same(plain, scheduled)
    assert scheduled.validation_scores_ is None
    before = {k: w.copy() for k, w in plain.weights_.items()}
    first_rate = plain.learning_rate_init
    plain.set_params(learning_rate_init=1e-15).partial_fit(X, y)
    for name, w in plain.weights_.items():
        np.testing.assert_allclose(w, before[name], atol=1e-11)
    assert plain.history_["learning_rate"].tolist() == [first_rate, 1e-15]


@pytest.mark.parametrize("solvers", [("adam", "sgd"), ("sgd", "adam"), ("rmsprop", "sgd")])
def test_another_solver_starts_without_moments(solvers):
    """Adam's mean gradient is not SGD's velocity: it points uphill."""
    X, y = data()
    est = small(solver=solvers[0], max_iter=30).fit(X, y)
    fresh = small(solver=solvers[1], max_iter=1).fit(X, y).set_weights(est.weights_)
    how = dict(solver=solvers[1], learning_rate_init=1e-3, shuffle=False)
    est.set_params(**how).partial_fit(X, y)
    fresh.set_params(**how).partial_fit(X, y)
    assert_same(fresh, est)


def test_best_weights_are_of_this_fit():
    """A warm start with other weights or validation data does not fall back on an old best score."""
    X, y = data(150)
    est = small(early_stopping=True, max_iter=80, learning_rate_init=0.02, warm_start=True)
    est.fit(X, y)
    best = est.best_validation_score_
    assert best > 0.5
    est.set_weights({name: np.full_like(w, 0.1) for name, w in est.weights_.items()})
    before = est.score(X[:20], y[:20])
    n = len(est.validation_scores_)
    est.set_params(max_iter=5).fit(X, y, X_val=X[:20], y_val=y[:20])
    this_fit = est.validation_scores_[n:]
    assert before < max(this_fit) < best
    assert est.score(X[:20], y[:20]) == pytest.approx(max(this_fit), rel=1e-12)


def test_a_failed_warm_start_leaves_the_generator_where_it_was():
    X, y = data()
    est = small(max_iter=2, warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match="inconsistent"):
        est.fit(X, y[:-1])
    assert_same(est.fit(X, y), small(max_iter=4).fit(X, y))


def test_a_warm_start_measures_improvement_by_its_own_losses():
    """On new, larger targets the earlier fit's low loss must not stop the training."""
    X, y = data()
    est = small(warm_start=True, max_iter=60, n_iter_no_change=3, tol=0.0).fit(X, 0.1 * y)
    earlier = est.n_iter_
    est.set_params(max_iter=30).fit(X, 3 * y + 2)
    assert est.n_iter_ == earlier + 30
    losses = est.loss_curve_[earlier:]
    assert all(b < a for a, b in itertools.pairwise(losses[:6]))


def test_a_warm_start_without_validation_keeps_the_best_score_of_all():
    X, y = data()
    est = small(early_stopping=True, warm_start=True).fit(X, y)
    best = max(est.validation_scores_)
    est.set_params(early_stopping=False).fit(X, y)
    assert est.best_validation_score_ == best


@pytest.mark.parametrize("per_step", [False, True])
def test_cosine_ends_near_zero_with_truncated_sequences(per_step):
    X, y = data(n=8, T=40)
    y = X[:, :, 0] if per_step else y
    est = small(learning_rate="cosine", tbptt_steps=5, max_iter=10, return_sequences=per_step, tol=0.0)
    rates = est.fit(X, y).history_["learning_rate"]
    expected = est.learning_rate_init * 0.5 * (1 + np.cos(np.pi * (np.arange(10) + 7 / 8) / 10))
    np.testing.assert_allclose(rates, expected, rtol=1e-12)


def test_going_on_cannot_read_rows_in_another_way():
    X = np.random.default_rng(0).standard_normal((20, 6))
    est = small(warm_start=True).fit(X, X[:, 0])
    before = est.predict(X)
    est.set_params(features_per_step=3)
    for go_on in (est.fit, est.partial_fit):
        with pytest.raises(ValueError, match="features_per_step"):
            go_on(X, X[:, 0])
    np.testing.assert_array_equal(est.predict(X), before)


@pytest.mark.parametrize("beta_2", [0.9999999, 0.99999999])
def test_slow_running_means_in_float32(beta_2):
    """1 - beta_2 is rounded once, so that float32 trains as float64 does."""
    X, y = data()
    losses = [small(dtype=dtype, beta_2=beta_2).fit(X, y).loss_ for dtype in ("float32", "float64")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
