"""scikit-learn's tools around the estimators: searches, pipelines, ensembles, routing, copies."""

import copy
import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import StackingRegressor, VotingClassifier
from sklearn.linear_model import Ridge
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    train_test_split,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from skrnn import (
    GRUClassifier,
    GRURegressor,
    LSTMClassifier,
    LSTMRegressor,
    RNNClassifier,
    RNNRegressor,
    SequenceTransformer,
    flat_accuracy_scorer,
    flat_f1_scorer,
    flat_r2_scorer,
    from_long_frame,
)
from skrnn.sequences import object_array

ALL = [RNNRegressor, LSTMRegressor, GRURegressor, RNNClassifier, LSTMClassifier, GRUClassifier]


def dense(n=40):
    X = np.random.default_rng(0).standard_normal((n, 5, 2))
    return X, X[:, -2, 0]


def ragged(n=24):
    rng = np.random.default_rng(0)
    X = [rng.standard_normal((k, 2)) for k in rng.integers(2, 8, n)]
    return X, object_array([x[:, 0] for x in X])


def small(cls=GRURegressor, **options):
    return cls(**{"hidden_size": 4, "max_iter": 3, "random_state": 0} | options)


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


# Searches and scores -----------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_grid_search_in_parallel(backend):
    """Over cells with parameters of one cell only; the same result as one after the other."""
    X, y = ragged()
    y = np.array([part[-1] for part in y])
    grid = [
        {"cell": ["rnn"], "activation": ["tanh", "relu"]},
        {"cell": ["lstm"], "hidden_size": [2, 4]},
        {"cell": ["gru"], "reset_after": [True, False]},
    ]
    search = GridSearchCV(small(RNNRegressor), grid, cv=2, error_score="raise")
    one = clone(search).fit(X, y)
    with joblib.parallel_backend(backend):
        two = search.set_params(n_jobs=2).fit(X, y)
    np.testing.assert_array_equal(one.cv_results_["mean_test_score"], two.cv_results_["mean_test_score"])
    assert len(set(one.cv_results_["mean_test_score"])) == 6
    np.testing.assert_array_equal(one.predict(X), two.predict(X))
    np.testing.assert_array_equal(
        one.predict(X), small(RNNRegressor).set_params(**one.best_params_).fit(X, y).predict(X)
    )


@pytest.mark.parametrize("form", ["list", "object", "3-D", "rows"])
def test_cross_validation_of_every_form(form):
    X, y = dense()
    X = {"list": list(X), "object": object_array(list(X)), "3-D": X, "rows": X.reshape(40, 10)}[form]
    est = small(features_per_step=2)
    scores = cross_val_score(est, X, y, cv=4, error_score="raise")
    predictions = cross_val_predict(est, X, y, cv=4)
    assert predictions.shape == (40,)
    first = est.fit(X[10:], y[10:])  # the first fold, by hand
    np.testing.assert_array_equal(predictions[:10], first.predict(X[:10]))
    assert scores[0] == first.score(X[:10], y[:10])
    labels = y > 0
    proba = cross_val_predict(
        small(GRUClassifier, features_per_step=2), X, labels, cv=4, method="predict_proba"
    )
    assert proba.shape == (40, 2)


@pytest.mark.parametrize("as_list", [False, True])
def test_ragged_steps_in_cross_validation(as_list):
    X, y = ragged()
    labels = [np.where(part > 0, "up", "down") for part in y]
    targets = list(y) if as_list else y
    labels = labels if as_list else object_array(labels)
    est = small(return_sequences=True)
    predictions = cross_val_predict(est, X, targets, cv=3)
    assert predictions.shape == (24,)
    assert [len(part) for part in predictions] == [len(x) for x in X]
    first = est.fit(X[8:], targets[8:])
    for a, b in zip(predictions[:8], first.predict(X[:8]), strict=True):
        np.testing.assert_array_equal(a, b)
    classifier = small(GRUClassifier, return_sequences=True)
    for estimator, t, scoring in [
        (est, targets, flat_r2_scorer),
        (classifier, labels, flat_accuracy_scorer),
        (classifier, labels, flat_f1_scorer),
        (est, targets, None),  # the estimators' own scores are flat, too
        (classifier, labels, None),
    ]:
        search = GridSearchCV(estimator, {"hidden_size": [2, 4]}, cv=3, scoring=scoring, error_score="raise")
        assert np.isfinite(search.fit(X, t).cv_results_["mean_test_score"]).all()
        got = search.score(X, t)
        expected = (scoring or (lambda e, a, b: e.score(a, b)))(search.best_estimator_, X, t)
        assert got == pytest.approx(expected, rel=1e-12)


AS_LISTS = {
    "lists": lambda tags: [tag.tolist() for tag in tags],
    "tuples": lambda tags: tuple(tuple(tag.tolist()) for tag in tags),
    "objects": lambda tags: object_array([tag.tolist() for tag in tags]),
}
AS_ARRAYS = {"arrays": list, "object array of arrays": object_array, "tuple of arrays": tuple}


@pytest.mark.parametrize("form", [*AS_LISTS, *AS_ARRAYS])
@pytest.mark.parametrize("labels", ["strings", "numbers"])
def test_labels_per_step_and_the_folds_of_an_integer(form, labels):
    """scikit-learn takes lists of lists for its old multilabel form, before an estimator sees them: arrays,
    or a splitter, as README says."""
    X, y = ragged()
    values = np.array(["down", "up"]) if labels == "strings" else np.array([0, 1])
    tags = [values[(part > 0).astype(int)] for part in y]
    given = (AS_LISTS | AS_ARRAYS)[form](tags)
    classifier = small(GRUClassifier, return_sequences=True)
    assert classifier.fit(X, given).score(X, given) == classifier.score(X, tags)
    expected = cross_val_score(classifier, X, tags, cv=KFold(3), scoring=flat_accuracy_scorer)
    scores = cross_val_score(classifier, X, given, cv=KFold(3), scoring=flat_accuracy_scorer)
    np.testing.assert_array_equal(scores, expected)
    if form in AS_ARRAYS:
        scores = cross_val_score(classifier, X, given, cv=3, scoring=flat_accuracy_scorer)
        np.testing.assert_array_equal(scores, expected)
    else:
        with pytest.raises(ValueError, match="legacy multi-label"):
            cross_val_score(classifier, X, given, cv=3, scoring=flat_accuracy_scorer)
        again = [np.asarray(part) for part in given]  # what to do
        scores = cross_val_score(classifier, X, again, cv=3, scoring=flat_accuracy_scorer)
        np.testing.assert_array_equal(scores, expected)


def test_train_test_split_keeps_sequences_and_targets_together():
    X, y = ragged()
    for given in (X, object_array(X)):
        X_train, X_test, y_train, y_test = train_test_split(given, y, random_state=0)
        est = small(return_sequences=True).fit(X_train, y_train)
        assert [len(p) for p in est.predict(X_test)] == [len(p) for p in y_test]
        for x, target in zip(X_test, y_test, strict=True):
            np.testing.assert_array_equal(x[:, 0], target)


def test_groups_of_a_long_frame():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "id": np.repeat(np.arange(12), 5),
            "time": np.tile(np.arange(5), 12),
            "a": rng.standard_normal(60),
            "b": rng.standard_normal(60),
        }
    )
    frame["label"] = (frame["a"] > 0).astype(int)
    sequences, labels, ids = from_long_frame(frame, "id", "time", ["a", "b"], "label")
    est = small(GRUClassifier, return_sequences=True)
    scores = cross_val_score(
        est, sequences, labels, groups=np.asarray(ids) // 2, cv=GroupKFold(3), error_score="raise"
    )
    assert np.isfinite(scores).all()
    assert len(scores) == 3


# Around the estimator ----------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["list", "object", "3-D", "rows"])
def test_pipeline_with_a_sequence_transformer(form):
    X, y = dense()
    X = 100 + 30 * X
    X = {"list": list(X), "object": object_array(list(X)), "3-D": X, "rows": X.reshape(40, 10)}[form]
    pipeline = make_pipeline(
        SequenceTransformer(StandardScaler(), features_per_step=2), small(features_per_step=2)
    )
    pipeline.fit(X, y)
    scaled = pipeline[:-1].transform(X)
    np.testing.assert_array_equal(
        pipeline.predict(X), small(features_per_step=2).fit(scaled, y).predict(scaled)
    )
    assert abs(np.mean(np.concatenate([np.ravel(part) for part in scaled]))) < 1e-6
    search = GridSearchCV(pipeline, {"gruregressor__hidden_size": [2, 3]}, cv=2, error_score="raise")
    assert np.isfinite(search.fit(X, y).best_score_)


def test_transformed_targets():
    X, y = dense()
    y = 1000 + 50 * y
    est = TransformedTargetRegressor(small(), transformer=StandardScaler()).fit(X, y)
    scaled = (y - y.mean()) / y.std()
    expected = small().fit(X, scaled).predict(X) * y.std() + y.mean()
    np.testing.assert_allclose(est.predict(X), expected, rtol=1e-6)
    two = np.column_stack([y, -y])
    assert TransformedTargetRegressor(small(), transformer=StandardScaler()).fit(X, two).predict(
        list(X)
    ).shape == (40, 2)


def test_stacking_and_voting():
    X, y = dense()
    members = [("gru", small()), ("rnn", small(RNNRegressor))]
    for given in (X, list(X)):
        stack = StackingRegressor(members, Ridge(), cv=3).fit(given, y)
        assert stack.predict(given).shape == (40,)
        vote = VotingClassifier(
            [("gru", small(GRUClassifier)), ("rnn", small(RNNClassifier))], voting="soft"
        ).fit(given, np.where(y > 0, "up", "down"))
        assert set(vote.predict(given)) <= {"up", "down"}
        expected = np.mean([e.predict_proba(given) for e in vote.estimators_], axis=0)
        np.testing.assert_array_equal(vote.predict_proba(given), expected)


# Metadata ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("routing")
@pytest.mark.parametrize("per_step", [False, True])
def test_weights_are_routed(per_step):
    X, y = dense()
    y = X[:, :, 0] if per_step else y
    w = np.random.default_rng(1).uniform(0, 2, y.shape)
    est = small(return_sequences=per_step).set_fit_request(sample_weight=True)
    est.set_score_request(sample_weight=False)
    result = cross_validate(
        est, X, y, cv=2, params={"sample_weight": w}, return_estimator=True, error_score="raise"
    )
    by_hand = small(return_sequences=per_step).fit(X[20:], y[20:], w[20:])
    np.testing.assert_array_equal(result["estimator"][0].predict(X), by_hand.predict(X))
    pipeline = make_pipeline(SequenceTransformer(StandardScaler()), est).fit(X, y, sample_weight=w)
    scaled = pipeline[:-1].transform(X)
    by_hand = small(return_sequences=per_step).fit(scaled, y, w)
    np.testing.assert_array_equal(pipeline.predict(X), by_hand.predict(scaled))
    est.set_score_request(sample_weight=True)
    search = GridSearchCV(est, {"hidden_size": [4]}, cv=[(np.arange(20, 40), np.arange(20))])
    search.fit(X, y, sample_weight=w)
    by_hand = small(return_sequences=per_step).fit(X[20:], y[20:], w[20:])
    assert search.best_score_ == by_hand.score(X[:20], y[:20], w[:20])


@pytest.mark.usefixtures("routing")
def test_a_pipeline_transforms_X_val():
    X, y = dense()
    X = 50 + 10 * X
    est = small(early_stopping=True, max_iter=8).set_fit_request(X_val=True, y_val=True)
    steps = [("scale", SequenceTransformer(StandardScaler())), ("gru", est)]
    X_val, y_val = X[:12], y[:12]
    fitted = Pipeline(steps, transform_input=["X_val"]).fit(X, y, X_val=X_val, y_val=y_val)
    scale = SequenceTransformer(StandardScaler()).fit(X)
    by_hand = clone(est).fit(scale.transform(X), y, X_val=scale.transform(X_val), y_val=y_val)
    assert fitted[-1].validation_scores_ == by_hand.validation_scores_
    plain = Pipeline(steps).fit(X, y, X_val=X_val, y_val=y_val)  # not transformed: another score
    assert plain[-1].validation_scores_ != by_hand.validation_scores_

    # inside of a search, with lengths that scikit-learn cannot take for X's
    search = GridSearchCV(
        Pipeline(steps, transform_input=["X_val"]), {"gru__hidden_size": [4]}, cv=2, error_score="raise"
    ).fit(X, y, X_val=X_val, y_val=y_val)
    assert search.best_estimator_[-1].validation_scores_ == by_hand.validation_scores_


@pytest.mark.usefixtures("routing")
@pytest.mark.parametrize("tool", ["GridSearchCV", "cross_validate", "cross_val_predict", "pipeline"])
def test_X_val_as_long_as_X_is_not_cut_in_silence(tool):
    """scikit-learn cuts whatever is as long as X down to the training fold."""
    X, y = dense()
    est = small().set_fit_request(X_val=True, y_val=True)
    params = {"X_val": X + 1, "y_val": y}
    pipeline = Pipeline(
        [("scale", SequenceTransformer(StandardScaler())), ("gru", est)], transform_input=["X_val"]
    )
    search = GridSearchCV(est, {"hidden_size": [2]}, cv=2, error_score="raise")
    run = {
        "GridSearchCV": lambda: search.fit(X, y, **params),
        "cross_validate": lambda: cross_validate(est, X, y, cv=2, params=params, error_score="raise"),
        "pipeline": lambda: cross_validate(pipeline, X, y, cv=2, params=params, error_score="raise"),
        "cross_val_predict": lambda: cross_val_predict(est, X, y, cv=2, params=params),
    }[tool]
    with pytest.raises(ValueError, match="X_val has as many sequences as X"):
        run()
    est.fit(X, y, **params)  # outside of a search nothing is cut
    assert len(est.validation_scores_) == 3


# Copies ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize("how", ["pickle", "joblib", "mmap", "deepcopy"])
def test_copies_predict_and_train_on_the_same(cls, how, tmp_path):
    X, y = dense()
    y = y > 0 if "Classifier" in cls.__name__ else y
    est = small(cls, early_stopping=True, dropout=0.2, num_layers=2).fit(X, y)
    if how == "pickle":
        other = pickle.loads(pickle.dumps(est))
    elif how == "deepcopy":
        other = copy.deepcopy(est)
    else:
        joblib.dump(est, tmp_path / "model")
        other = joblib.load(tmp_path / "model", mmap_mode="r" if how == "mmap" else None)
    np.testing.assert_array_equal(other.predict(X), est.predict(X))
    np.testing.assert_array_equal(other.partial_fit(X, y).predict(X), est.partial_fit(X, y).predict(X))
    assert other.loss_curve_ == est.loss_curve_
    assert other.get_params() == est.get_params()


@pytest.mark.parametrize("cls", ALL)
def test_clone_is_unfitted_and_fits_alike(cls):
    X, y = dense()
    y = y > 0 if "Classifier" in cls.__name__ else y
    est = small(cls, quantiles=[0.2, 0.8], loss="quantile") if cls is GRURegressor else small(cls)
    est.fit(X, y)
    other = clone(est)
    assert not [name for name in vars(other) if name.endswith("_") and not name.startswith("_")]
    np.testing.assert_array_equal(other.fit(X, y).predict(X), est.predict(X))


@pytest.mark.parametrize("form", ["3-D", "rows", "list"])
def test_memory_mapped_input(form, tmp_path):
    X, y = dense()
    given = {"3-D": X, "rows": X.reshape(40, 10), "list": list(X)}[form]
    joblib.dump((given, y), tmp_path / "data")
    mapped, y_mapped = joblib.load(tmp_path / "data", mmap_mode="r")
    est = small(dtype="float64", features_per_step=2)
    expected = est.fit(given, y).predict(given)
    est = clone(est).fit(mapped, y_mapped)
    np.testing.assert_array_equal(est.predict(mapped), expected)


def test_input_is_left_as_it_was():
    X, y = dense()
    w = np.arange(40.0)
    for dtype in ("float32", "float64"):
        given = X.astype(dtype), y.astype(dtype), w.astype(dtype)
        kept = [a.copy() for a in given]
        small(dtype=dtype, num_layers=2, dropout=0.5).fit(*given).predict(given[0])
        for a, b in zip(given, kept, strict=True):
            np.testing.assert_array_equal(a, b)


# Looks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", ALL)
def test_representations(cls):
    X, y = dense()
    est = small(cls)
    assert cls.__name__ in est._repr_html_()
    assert repr(est) == f"{cls.__name__}(hidden_size=4, max_iter=3, random_state=0)"
    est.fit(X, y > 0)
    assert "Fitted" in est._repr_html_()


def test_set_output_concerns_transformers_only():
    X, y = dense()
    frame = pd.DataFrame(X.reshape(40, 10), columns=[f"c{i}" for i in range(10)])
    pipeline = make_pipeline(StandardScaler(), small(features_per_step=2))
    expected = pipeline.fit(frame, y).predict(frame)
    pipeline.set_output(transform="pandas").fit(frame, y)
    assert isinstance(pipeline.predict(frame), np.ndarray)
    np.testing.assert_array_equal(pipeline.predict(frame), expected)
    assert not hasattr(small(), "set_output")
