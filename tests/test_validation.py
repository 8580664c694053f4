"""Validation data: what is held back, with which weights, and what a warm start keeps."""

import copy
import re
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.ensemble import BaggingClassifier, BaggingRegressor
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    GroupShuffleSplit,
    KFold,
    LeaveOneGroupOut,
    LeaveOneOut,
    PredefinedSplit,
    ShuffleSplit,
    StratifiedKFold,
    cross_validate,
)
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

import skrnn.estimators.validation_data
from skrnn import GRUClassifier, GRURegressor, LSTMRegressor, RNNClassifier, RNNRegressor, SequenceTransformer
from skrnn.sequences import object_array


def data(n=40, T=5, seed=0):
    X = np.random.default_rng(seed).standard_normal((n, T, 2))
    return X, X[:, -1, 0] + 0.5 * X[:, -2, 1]


def ragged(n=30, seed=0):
    rng = np.random.default_rng(seed)
    X = [rng.standard_normal((k, 2)) for k in rng.integers(2, 7, n)]
    return X, [x[:, 0].copy() for x in X]


def short(cls=GRURegressor, **options):
    return cls(**{"hidden_size": 4, "max_iter": 3, "random_state": 0, "dtype": "float64"} | options)


def same_weights(one, other):
    for name, w in one.weights_.items():
        np.testing.assert_array_equal(other.weights_[name], w, err_msg=name)


@pytest.fixture
def splits(monkeypatch):
    """The sequences held back by each fit, in a list that grows."""
    seen, hold_back = [], skrnn.estimators.validation_data.hold_back

    def record(data, *args, **kwargs):
        parts = hold_back(data, *args, **kwargs)
        all_starts = data.sequences.starts.tolist()
        train, held_back = ([all_starts.index(start) for start in part.sequences.starts] for part in parts)
        assert not set(train) & set(held_back)
        seen.append(held_back)
        return parts

    monkeypatch.setattr(skrnn.estimators.validation_data, "hold_back", record)
    return seen


# The score on what is held back ------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["classes", "sets", "steps"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("class_weight", ["balanced", "given"])
def test_class_weights_do_not_weigh_the_score_of_a_split(kind, weighted, class_weight):
    X, y = data(60)
    y = {"classes": y > 0.8, "sets": X[:, -1] > 0.8, "steps": X[:, :, 0] > 0.8}[kind].astype(int)
    given = {0: 1.0, 1: 20.0}
    if class_weight == "given":
        class_weight = [given, given] if kind == "sets" else given
    w = np.random.default_rng(1).uniform(0.2, 3, y.shape[:2] if kind == "steps" else 60) if weighted else None
    est = short(
        GRUClassifier, early_stopping=True, validation_split="last", validation_fraction=0.25, max_iter=10,
        class_weight=class_weight, return_sequences=kind == "steps",
    )  # fmt: skip
    est.fit(X, y, w)
    there = slice(45, 60)
    score = est.score(X[there], y[there], None if w is None else w[there])
    predicted = est.predict(X[there])
    flat = (lambda a: a.ravel()) if kind == "steps" else (lambda a: a)
    by_hand = accuracy_score(
        flat(y[there]), flat(predicted), sample_weight=None if w is None else flat(w[there])
    )
    assert est.best_validation_score_ == pytest.approx(score, abs=1e-12) == pytest.approx(by_hand, abs=1e-12)
    plain = copy.deepcopy(est).set_params(class_weight=None).fit(X, y, w)
    assert plain.loss_ != est.loss_  # they do weigh the loss


@pytest.mark.parametrize("per_step", [False, True])
def test_the_score_of_a_regressor_with_weights(per_step):
    X, y = data(60)
    y = X[:, :, 0] if per_step else y
    w = np.random.default_rng(1).uniform(0.2, 3, y.shape)
    options = dict(early_stopping=True, validation_split="last", return_sequences=per_step)
    est = short(**options).fit(X, y, w)
    expected = r2_score(y[54:].ravel(), est.predict(X[54:]).ravel(), sample_weight=w[54:].ravel())
    assert est.best_validation_score_ == pytest.approx(expected, abs=1e-12)


# What has no weight ------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [RNNRegressor, RNNClassifier])
@pytest.mark.parametrize("per_step", [False, True])
@pytest.mark.parametrize(
    "split", ["random", "last", ShuffleSplit(50, test_size=0.1, random_state=0)], ids=str
)
def test_any_seed_splits_what_has_a_weight(cls, per_step, split, splits):
    """12 of 100 sequences are labelled, one step each where targets are per step."""
    X, y = data(100)
    rng = np.random.default_rng(3)
    known = np.sort(rng.choice(100, 12, replace=False))
    shape = (100, 5) if per_step else (100,)
    w, target = np.zeros(shape), np.full(shape, np.nan)
    for i in known:
        place = (i, rng.integers(5)) if per_step else i
        w[place] = 1
        target[place] = y[i] if cls is RNNRegressor else y[i] > 0
    for seed in range(25):
        est = short(
            cls, early_stopping=True, max_iter=1, validation_split=split, random_state=seed,
            return_sequences=per_step,
        )  # fmt: skip
        est.fit(X, target, w)
        assert np.isfinite(est.best_validation_score_)
        if isinstance(split, str):
            expected = 2 if split == "random" or cls is RNNRegressor else 1
            assert len(splits[-1]) == expected
            assert set(splits[-1]) <= set(known)
        else:
            assert set(splits[-1]) & set(known)
        if split == "last":
            assert splits[-1] == known[-len(splits[-1]) :].tolist()
    assert len({tuple(s) for s in splits}) > (5 if split == "random" else 0)


def test_weights_of_zero_are_as_if_the_sequences_were_not_there():
    """The same sequences are held back, and the same scores come out, in full batches."""
    X, y = data(40)
    w = np.ones(40)
    w[30:] = 0  # later ones do not change a split
    options = dict(early_stopping=True, validation_fraction=0.2, batch_size=100, shuffle=False)
    for split in ("random", "last"):
        one = short(validation_split=split, **options).fit(X, np.where(w > 0, y, np.nan), w)
        other = short(validation_split=split, **options).fit(X[:30], y[:30])
        np.testing.assert_allclose(one.validation_scores_, other.validation_scores_, rtol=1e-9)
        assert one.validation_scores_[0] != one.validation_scores_[-1]


def test_bagging_with_early_stopping():
    """Bagging passes how often each of 20 sequences was drawn as its weight, 0 for many."""
    X, y = data(20, T=6)
    rows, labels = X[:, :, 0], np.arange(20) % 2
    options = dict(early_stopping=True, max_iter=1)
    for seed in range(12):
        bag = BaggingRegressor(short(LSTMRegressor, **options), n_estimators=2, random_state=seed)
        assert np.isfinite(bag.fit(rows, y).predict(rows)).all()
        bag = BaggingClassifier(short(GRUClassifier, **options), n_estimators=2, random_state=seed)
        assert set(bag.fit(rows, labels).predict(rows)) <= {0, 1}


def test_a_stratified_split_holds_the_share_of_each_class():
    for counts in [(90, 10), (50, 30, 20), (60, 60, 60), (97, 3)]:
        labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
        n = len(labels)
        order = skrnn.estimators.validation_data._stratified_order(np.random.default_rng(1).random(n), labels)
        assert sorted(order) == list(range(n))
        for held_back in (n // 10, n // 4, n // 2):
            got = np.bincount(labels[order[:held_back]], minlength=len(counts))
            assert (abs(got - held_back * np.array(counts) / n) < 1).all()


# A splitter --------------------------------------------------------------------------------------


class Recorder(KFold):
    """A splitter that keeps what it was given."""

    def split(self, X, y=None, groups=None):
        self.given = X, y, groups
        return super().split(X, y, groups)


@pytest.mark.parametrize("form", ["3-D", "list", "rows", "frame", "two targets", "steps", "ragged steps"])
def test_a_splitter_is_given_what_fit_got(form):
    X, y = data()
    options = {}
    if form == "list":
        X, y = list(X), y.tolist()
    elif form in ("rows", "frame"):
        X = X.reshape(40, 10)
        X, y = (X, y) if form == "rows" else (pd.DataFrame(X).add_prefix("c"), pd.Series(y, name="y"))
    elif form == "two targets":
        y = np.column_stack([y, -y])
    elif form == "steps":
        y, options = X[:, :, 0], {"return_sequences": True}
    elif form == "ragged steps":
        (X, y), options = ragged(), {"return_sequences": True}
    split = Recorder(4)
    est = short(early_stopping=True, validation_split=split, **options).fit(X, y)
    assert split.given[0] is X
    assert split.given[1] is y
    assert split.given[2] is None
    assert est.validation_scores_ is not None


def test_a_splitter_sees_the_labels(splits):
    X, y = data()
    labels = np.where(y > 0.8, "high", "low")
    split = StratifiedKFold(4, shuffle=True, random_state=3)
    short(GRUClassifier, early_stopping=True, validation_split=split).fit(X, labels)
    assert splits[-1] == next(split.split(X, labels))[1].tolist()
    groups = np.arange(40) // 8
    short(early_stopping=True, validation_split=PredefinedSplit(np.where(groups == 2, 0, -1))).fit(X, y)
    assert splits[-1] == list(range(16, 24))


@pytest.mark.parametrize("split", [GroupKFold(2), GroupShuffleSplit(), LeaveOneGroupOut()])
def test_a_splitter_that_needs_groups(split):
    message = re.escape(repr(split)) + ": The 'groups' .* no groups: take PredefinedSplit, or X_val"
    with pytest.raises(ValueError, match=f"validation_split={message}"):
        short(early_stopping=True, validation_split=split).fit(*data())


def test_what_a_splitter_refuses_has_its_name():
    with pytest.raises(ValueError, match=r"(?s)validation_split=StratifiedKFold\(.*\): Supported target"):
        short(early_stopping=True, validation_split=StratifiedKFold(4)).fit(*data())
    with pytest.raises(ValueError, match=r"(?s)validation_split=KFold\(.*\): Cannot have number of splits"):
        short(early_stopping=True, validation_split=KFold(41)).fit(*data())


def test_the_first_split_with_weights_on_both_sides(splits):
    X, y = data()
    w = np.ones(40)
    w[:17] = 0
    short(early_stopping=True, validation_split=KFold(5)).fit(X, y, w)
    assert splits[-1] == list(range(17, 24))  # of 16 to 23; two folds before have no weight
    with pytest.raises(ValueError, match=r"LeaveOneOut\(\): none of its splits of 40 sequences .* 2 or more"):
        short(early_stopping=True, validation_split=LeaveOneOut()).fit(X, y)
    with pytest.raises(ValueError, match="picks sequences that are not among the 30 of X"):
        short(early_stopping=True, validation_split=PredefinedSplit(np.arange(40) // 20 - 1)).fit(
            X[:30], y[:30]
        )


# X_val, y_val and their weights ------------------------------------------------------------------


@pytest.mark.parametrize("cls", [GRURegressor, GRUClassifier])
@pytest.mark.parametrize("form", ["sequence", "steps", "ragged steps"])
def test_weights_of_validation_data(cls, form):
    X, y = data() if form != "ragged steps" else ragged(40)
    if form == "steps":
        y = X[:, :, 0]
    per_step = form != "sequence"
    rng = np.random.default_rng(1)
    if cls is GRUClassifier:
        y = [(part > 0).astype(float) for part in y]
    y = [np.array(part) for part in y]
    w = [rng.uniform(0.5, 2, part.shape) * (rng.random(part.shape) < 0.7) for part in y]
    unlabelled = [np.where(weight > 0, part, np.nan) for part, weight in zip(y, w)]
    options = dict(return_sequences=per_step, early_stopping=True)
    est = short(cls, **options)
    est.fit(X[:30], y[:30], X_val=X[30:], y_val=unlabelled[30:], sample_weight_val=w[30:])
    score = est.score(X[30:], unlabelled[30:], w[30:])
    assert est.best_validation_score_ == pytest.approx(score, abs=1e-12)
    predicted = est.predict(X[30:])
    flat = (lambda parts: np.concatenate(list(parts))) if per_step else np.array
    known = flat(w[30:]) > 0
    metric = r2_score if cls is GRURegressor else accuracy_score
    by_hand = metric(flat(y[30:])[known], flat(predicted)[known], sample_weight=flat(w[30:])[known])
    assert score == pytest.approx(by_hand, abs=1e-12)
    plain = short(cls, **options).fit(X[:30], y[:30], X_val=X[30:], y_val=y[30:])
    assert plain.validation_scores_ != est.validation_scores_
    if form == "sequence":  # weight 0 is as if it were not there
        w = [np.float64(weight > 0) for weight in w]
        rows = [i for i in range(30, 40) if w[i]]
        est.fit(X[:30], y[:30], X_val=X[30:], y_val=unlabelled[30:], sample_weight_val=w[30:])
        plain.fit(X[:30], y[:30], X_val=X[rows], y_val=[y[i] for i in rows])
        assert est.validation_scores_ == pytest.approx(plain.validation_scores_, abs=1e-12)


def test_weights_of_a_sequence_are_those_of_its_steps_in_validation():
    X, y = ragged(40)
    w = np.random.default_rng(1).uniform(0.5, 2, 10)
    one, other = short(return_sequences=True), short(return_sequences=True)
    one.fit(X[:30], y[:30], X_val=X[30:], y_val=y[30:], sample_weight_val=w)
    steps = [np.full(len(x), weight) for x, weight in zip(X[30:], w)]
    other.fit(X[:30], y[:30], X_val=X[30:], y_val=y[30:], sample_weight_val=steps)
    assert one.validation_scores_ == other.validation_scores_


def test_bad_weights_of_validation_data_are_named():
    X, y = data(20)
    est = short()
    for given, message in [
        ({"sample_weight_val": np.ones(20)}, "sample_weight_val goes with X_val and y_val"),
        (
            {"X_val": X[:5], "y_val": y[:5], "sample_weight_val": np.ones(4)},
            r"sample_weight_val has shape \(4,\)",
        ),
        (
            {"X_val": X[:5], "y_val": y[:5], "sample_weight_val": np.zeros(5)},
            "sample_weight_val: .* one non-zero",
        ),
        ({"X_val": X[:5], "y_val": y[:5], "sample_weight_val": [1, -1, 1, 1, 1]}, r"sample_weight_val\[1\]"),
        (
            {"X_val": X[:5], "y_val": y[:5], "sample_weight_val": [1, np.nan, 1, 1, 1]},
            r"NaN: sample_weight_val\[1\]",
        ),
        ({"X_val": X[:5], "y_val": y[:5], "sample_weight_val": [0, 0, 1, 0, 0]}, "at least 2 .* hold 1"),
        (
            {"X_val": X[:5], "y_val": [*y[:4], np.nan], "sample_weight_val": [0, 1, 1, 1, 1]},
            r"NaN: y_val\[4\]",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            est.fit(X, y, **given)
        assert vars(est) == vars(short())


def test_weights_of_validation_data_are_routed():
    X, y = data()
    X_val, y_val, w = X[:12] + 0.1, y[:12], np.arange(12.0)
    params = dict(X_val=X_val, y_val=y_val, sample_weight_val=w)
    with sklearn.config_context(enable_metadata_routing=True):
        est = short(early_stopping=True).set_fit_request(X_val=True, y_val=True, sample_weight_val=True)
        steps = [("scale", SequenceTransformer(StandardScaler())), ("gru", est)]
        search = GridSearchCV(Pipeline(steps, transform_input=["X_val"]), {"gru__alpha": [0.1]}, cv=2)
        search.fit(X, y, **params)
        with pytest.raises(ValueError, match="X_val has as many sequences as X"):  # as scikit-learn cut it
            cross_validate(
                est, X, y, cv=2, error_score="raise",
                params=dict(X_val=X + 1, y_val=y, sample_weight_val=np.ones(40)),
            )  # fmt: skip
    scale = SequenceTransformer(StandardScaler()).fit(X)
    by_hand = short(early_stopping=True, alpha=0.1)
    by_hand.fit(scale.transform(X), y, **params | {"X_val": scale.transform(X_val)})
    assert search.best_estimator_[-1].validation_scores_ == by_hand.validation_scores_
    without = short(early_stopping=True, alpha=0.1)
    without.fit(scale.transform(X), y, X_val=scale.transform(X_val), y_val=y_val)
    assert without.validation_scores_ != by_hand.validation_scores_


# Going on ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("random_state", [None, 0, "RandomState"])
@pytest.mark.parametrize("cls", [GRURegressor, GRUClassifier])
def test_a_warm_start_holds_back_the_same_sequences(cls, random_state, splits):
    X, y = data(60)
    y = y if cls is GRURegressor else y > 0.3
    if random_state == "RandomState":
        random_state = np.random.RandomState(5)
    est = short(cls, early_stopping=True, warm_start=True, max_iter=1, random_state=random_state)
    est.fit(X, y)
    copied = copy.deepcopy(est)
    for model in (est, est, copied):
        model.fit(X, y)
    est.partial_fit(X, y).fit(X, y)
    assert all(held_back == splits[0] for held_back in splits)
    est.set_params(warm_start=False)
    if not isinstance(random_state, int):
        for _ in range(3):
            est.fit(X, y)  # anew, so drawn anew
        assert len({tuple(s) for s in splits[-3:]}) > 1


def test_more_sequences_leave_most_where_they_were(splits):
    X, y = data(100)
    est = short(early_stopping=True, warm_start=True, max_iter=1, validation_fraction=0.25, random_state=None)
    est.fit(X[:80], y[:80]).fit(X, y)
    before, after = set(splits[0]), {i for i in splits[1] if i < 80}
    assert len(before) == 20
    assert len(splits[1]) == 25
    assert len(before ^ after) <= 6  # of another split, 30 would differ


def test_sequences_without_weight_leave_the_others_where_they_were(splits):
    X, y = data(100)
    w = np.ones(100)
    w[5:15] = 0
    est = short(early_stopping=True, warm_start=True, max_iter=1, validation_fraction=0.25, random_state=None)
    est.fit(X, y).fit(X, y, w)
    assert not set(splits[1]) & set(range(5, 15))
    assert len(set(splits[0]) - set(range(5, 15)) ^ set(splits[1])) <= 4


def test_a_warm_start_on_noise_does_not_score():
    """It would, if it were validated on what it was trained on."""
    np.random.seed(1)  # noqa: NPY002 - without a random_state, fits draw from it
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((80, 4, 3)), rng.standard_normal(80)
    est = LSTMRegressor(
        32, early_stopping=True, warm_start=True, validation_fraction=0.25, max_iter=20, n_iter_no_change=20,
        learning_rate_init=0.02,
    )  # fmt: skip
    for _ in range(12):
        est.fit(X, y)
    assert est.best_validation_score_ < 0.3


def test_a_failed_fit_does_not_draw_a_split():
    X, y = data()
    est = short(early_stopping=True)
    with pytest.raises(ValueError, match="leaves nothing"):
        est.fit(X, y, np.arange(40) < 2)
    assert vars(est) == vars(short(early_stopping=True))


# Time order ---------------------------------------------------------------------------------------


def test_targets_per_step_are_in_time_order_with_newest_first():
    """The target of the oldest step comes first, whichever way the columns go, and so do weights."""
    X, _ = data()
    y, w = X[:, :, 0], np.random.default_rng(1).uniform(0.5, 2, (40, 5))
    options = dict(return_sequences=True, features_per_step=2)
    expected = short(**options).fit(X.reshape(40, 10), y, w)
    reversed_rows = X[:, ::-1].reshape(40, 10)
    est = short(newest_first=True, **options).fit(reversed_rows, y, w)
    same_weights(expected, est)
    np.testing.assert_array_equal(est.predict(reversed_rows), expected.predict(X.reshape(40, 10)))
    assert est.score(reversed_rows, y, w) == expected.score(X.reshape(40, 10), y, w)


# A hint at scale ----------------------------------------------------------------------------------

MESSAGE = "networks learn targets of about unit size"


@pytest.mark.parametrize(
    ("mean", "deviation", "shown"),
    [
        (3e5, 1e5, r"y has targets of .*e\+05"),
        (300, 1, "y has targets of 300"),
        (0, 1e-3, "y has"),
        (0, 99, "y has"),
    ],
)
@pytest.mark.parametrize("loss", ["squared_error", "absolute_error", "huber", "quantile"])
def test_targets_far_from_unit_size_are_hinted_at_once(mean, deviation, shown, loss):
    X, y = data()
    y = mean + deviation * (y - y.mean()) / y.std()
    est = short(max_iter=1, loss=loss, warm_start=True)
    with pytest.warns(UserWarning, match=f"{shown}.*{MESSAGE}") as record:
        est.fit(X, y)
    assert len(record) == 1
    assert record[0].filename == __file__
    est.fit(X, y).partial_fit(X, y).predict(X)  # goes on, and says nothing more
    with pytest.warns(UserWarning, match=MESSAGE) as record:
        short(loss=loss).partial_fit(X, y)
    assert len(record) == 1
    with pytest.warns(UserWarning, match=f"column 1 of {shown}"):
        short(max_iter=1, loss=loss).fit(X, np.column_stack([X[:, 0, 0], y]))
    with warnings.catch_warnings():  # as an error it leaves the estimator alone
        warnings.simplefilter("error")
        est = short(loss=loss)
        with pytest.raises(UserWarning, match=MESSAGE):
            est.fit(X, y)
        assert vars(est) == vars(short(loss=loss))


def test_targets_of_unit_size_are_not_hinted_at():
    X, y = data()
    w = (np.arange(40) < 30).astype(float)
    short().fit(X, 10 + 10 * y)
    short().fit(X, 0.1 * y)
    short().fit(X, np.zeros(40))
    short().fit(X, np.where(w > 0, y, 1e6), w)  # what has no weight has no size
    short(loss="poisson").fit(X, np.arange(40) * 100.0)
    short(GRUClassifier).fit(X, np.where(y > 0, 10_000, 20_000))
    with pytest.warns(UserWarning, match="y has targets of 60"):
        short().fit(
            X, np.where(np.arange(40) < 21, 60 + y - y[:21].mean(), 0), (np.arange(40) < 21).astype(float)
        )
    with pytest.warns(UserWarning, match=MESSAGE):
        short(return_sequences=True).fit(list(X), object_array([1e3 * x[:, 0] for x in X]))
