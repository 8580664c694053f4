import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.decomposition import PCA, IncrementalPCA
from sklearn.feature_selection import SelectKBest, f_regression
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks

from skrnn.preprocessing import SequenceTransformer
from skrnn.sequences import object_array

RNG = np.random.default_rng(0)
RAGGED = [RNG.normal(3, 2, size=(length, 2)) for length in (4, 1, 3)]
DENSE = RNG.normal(3, 2, size=(5, 4, 2))


@parametrize_with_checks([SequenceTransformer(StandardScaler())])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def test_scikit_learn_checks_are_many():
    results = check_estimator(SequenceTransformer(StandardScaler()), on_skip=None)
    assert sum(result["status"] == "passed" for result in results) > 30


def scale(transformer=None, **kwargs):
    return SequenceTransformer(transformer or StandardScaler(), **kwargs)


def assert_same_form(result, X):
    assert type(result) is type(X)
    if isinstance(X, np.ndarray):
        assert result.shape == X.shape
        assert result.dtype == X.dtype


@pytest.mark.parametrize("X", [RAGGED, object_array(RAGGED), RAGGED[:1] * 2, DENSE])
def test_steps_are_scaled_together_and_back(X):
    scaler = scale().fit(X)
    steps = np.concatenate(list(X))
    expected = (steps - steps.mean(axis=0)) / steps.std(axis=0)
    scaled = scaler.transform(X)
    assert_same_form(scaled, X)
    assert scaler.n_features_in_ == 2
    np.testing.assert_allclose(np.concatenate(list(scaled)), expected)
    back = scaler.inverse_transform(scaled)
    assert_same_form(back, X)
    np.testing.assert_allclose(np.concatenate(list(back)), steps)


def test_a_tuple_comes_back_as_a_list():
    scaler = scale().fit(tuple(RAGGED))
    assert [len(part) for part in scaler.transform(tuple(RAGGED))] == [4, 1, 3]
    assert [len(part) for part in scaler.inverse_transform(tuple(RAGGED))] == [4, 1, 3]


def test_rows():
    X = RNG.normal(size=(6, 8))
    np.testing.assert_allclose(scale().fit_transform(X), (X - X.mean()) / X.std())
    by_step = scale(features_per_step=2).fit(X)
    expected = scale().fit_transform(X.reshape(6, 4, 2)).reshape(6, 8)
    np.testing.assert_allclose(by_step.transform(X), expected)
    np.testing.assert_allclose(by_step.inverse_transform(expected), X)
    assert by_step.n_features_in_ == 8


@pytest.mark.parametrize("X", [RAGGED, DENSE, DENSE.reshape(5, 8)], ids=["list", "3-D", "2-D"])
def test_number_of_features_may_change(X):
    reducer = scale(PCA(1, random_state=0), features_per_step=2).fit(X)
    reduced, expected = reducer.transform(X), PCA(1).fit_transform(np.concatenate(RAGGED))
    if X is RAGGED:
        np.testing.assert_allclose(np.abs(np.concatenate(reduced)), np.abs(expected))
        assert reducer.inverse_transform(reduced)[0].shape == (4, 2)
    else:
        assert reduced.shape == ((5, 4, 1) if X.ndim == 3 else (5, 4))
        assert reducer.inverse_transform(reduced).shape == X.shape


@pytest.mark.parametrize("transformer", [StandardScaler(), FunctionTransformer(np.float64)])
def test_float32_stays_float32(transformer):
    X = [part.astype(np.float32) for part in RAGGED]
    fitted = scale(transformer).fit(X)
    assert fitted.transform(X)[0].dtype == np.float32
    assert fitted.inverse_transform(X)[0].dtype == np.float32
    assert fitted.transform(RAGGED)[0].dtype == np.float64


def test_missing_values_reach_an_imputer():
    X = [part.copy() for part in RAGGED]
    X[2][1, 0] = np.nan
    imputed = make_pipeline(scale(SimpleImputer()), scale()).fit_transform(X)
    # the mean of all other steps, so 0 after scaling
    assert imputed[2][1, 0] == pytest.approx(0, abs=1e-12)


def test_missing_values_stop_at_a_transformer_that_refuses_them():
    X = [RAGGED[0], RAGGED[1] * np.nan]
    with pytest.raises(ValueError, match="sequence 1 contains NaN at step 0"):
        scale(PCA()).fit(X)
    assert scale(StandardScaler()).fit(X).transformer_.n_samples_seen_ == 4


def test_sparse_output_is_made_dense():
    X = np.array([[0.0, 1.0], [2.0, 1.0]])
    encoded = scale(OneHotEncoder()).fit_transform(X[:, :, None])
    np.testing.assert_array_equal(encoded[1], [[0, 0, 1], [0, 1, 0]])


class LastTarget(TransformerMixin, BaseEstimator):
    """Remembers what it is fitted on."""

    def fit(self, X, y=None):
        self.X_, self.y_ = X, y
        return self

    def transform(self, X):
        return X


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        (None, None),
        ([7, 8, 9], [7, 7, 7, 7, 8, 9, 9, 9]),
        (np.array(["a", "b", "c"], object), list("aaaabccc")),
        (pd.Series([7, 8, 9], index=[3, 4, 5]), [7, 7, 7, 7, 8, 9, 9, 9]),
        ([np.arange(4), np.array([4]), np.arange(5, 8)], list(range(8))),
        (object_array([np.arange(4), np.array([4]), np.arange(5, 8)]), list(range(8))),
        ([[1, 2, 3, 4], [5], [6, 7, 8]], [1, 2, 3, 4, 5, 6, 7, 8]),
    ],
)
def test_y_per_step(y, expected):
    seen = scale(LastTarget()).fit(RAGGED, y).transformer_.y_
    assert (seen if seen is None else seen.tolist()) == expected


def test_y_of_several_outputs():
    per_sequence, per_step = np.arange(10).reshape(5, 2), np.arange(20).reshape(5, 4)
    seen = scale(LastTarget()).fit(DENSE, per_sequence).transformer_.y_
    np.testing.assert_array_equal(seen, np.repeat(per_sequence, 4, axis=0))
    assert scale(LastTarget()).fit(DENSE, per_step).transformer_.y_.tolist() == list(range(20))
    with pytest.raises(ValueError, match=r"y of sequence 2 has shape \(2,\), expected 3 steps"):
        scale(LastTarget()).fit(RAGGED, [[1, 2, 3, 4], [5], [6, 7]])
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[2, 3\]"):
        scale(LastTarget()).fit(RAGGED, [1, 2])


def test_supervised():
    y = np.round(DENSE[:, :, 1])  # per step
    selector = scale(SelectKBest(f_regression, k=1)).fit(DENSE, y)
    np.testing.assert_array_equal(selector.transform(DENSE), DENSE[:, :, 1:])


def test_partial_fit_goes_on():
    scaler = scale()
    scaler.partial_fit(RAGGED[:1]).partial_fit(RAGGED[1:])
    whole = scale().fit(RAGGED)
    np.testing.assert_allclose(scaler.transformer_.mean_, whole.transformer_.mean_)
    assert not hasattr(scale(PCA()), "partial_fit")
    assert hasattr(scale(IncrementalPCA()), "partial_fit")
    scaler.fit(RAGGED[:1])  # starts anew
    np.testing.assert_allclose(scaler.transformer_.mean_, RAGGED[0].mean(axis=0))


def test_inverse_only_where_the_transformer_has_one():
    assert hasattr(scale(), "inverse_transform")
    assert not hasattr(scale(LastTarget()), "inverse_transform")


FRAME = pd.DataFrame(
    RNG.normal(size=(6, 4)), columns=["a(t-2)", "b(t-2)", "a(t-1)", "b(t-1)"], index=list("uvwxyz")
)


def test_set_output_and_names():
    scaler = scale(features_per_step=2).set_output(transform="pandas")
    scaled = scaler.fit_transform(FRAME)
    assert scaled.columns.tolist() == FRAME.columns.tolist()
    assert scaled.index.tolist() == list("uvwxyz")
    assert isinstance(scale().fit_transform(FRAME), np.ndarray)
    assert scale(PCA(), features_per_step=2).fit(FRAME).get_feature_names_out().tolist() == [
        "pca0_0",
        "pca1_0",
        "pca0_1",
        "pca1_1",
    ]
    selector = scale(SelectKBest(lambda X, y: np.array([0.0, 1.0]), k=1), features_per_step=2)
    selector.fit(FRAME, np.zeros(6))
    assert selector.get_feature_names_out().tolist() == ["b(t-2)", "b(t-1)"]


def test_set_output_leaves_sequences_alone():
    with sklearn.config_context(transform_output="pandas"):
        assert isinstance(scale().fit_transform(RAGGED), list)
        assert scale().fit_transform(DENSE).shape == DENSE.shape
        assert isinstance(scale().fit_transform(FRAME), pd.DataFrame)
    pipeline = make_pipeline(scale(), scale(PCA(1))).set_output(transform="pandas")
    assert pipeline.fit_transform(RAGGED)[0].shape == (4, 1)
    assert not hasattr(pipeline[0], "get_feature_names_out")


def test_clone_and_pickle():
    scaler = scale(features_per_step=2).fit(FRAME)
    copy = pickle.loads(pickle.dumps(scaler))
    np.testing.assert_array_equal(copy.transform(FRAME), scaler.transform(FRAME))
    fresh = clone(scaler)
    assert not hasattr(fresh, "transformer_")
    assert fresh.features_per_step == 2
    assert not hasattr(scaler.transformer, "mean_")  # a clone was fitted


class DropsSteps(LastTarget):
    def transform(self, X):
        return X[1:]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: scale().fit([RAGGED[0], RAGGED[1][:0]]), "sequence 1 has no time steps"),
        (lambda: scale().fit([RAGGED[0], np.ones((2, 3))]), "sequence 1 has 3 features, expected"),
        (lambda: scale().fit(RAGGED).transform(FRAME), "SequenceTransformer was fitted on seq"),
        (lambda: scale().fit(RAGGED).inverse_transform(FRAME), "SequenceTransformer was fitted"),
        (lambda: scale().fit(RAGGED).transform(np.ones((1, 2, 3))), "X has 3 features, but Seq"),
        (lambda: scale(features_per_step=3).fit(FRAME), "X has 4 columns.*features_per_step=3"),
        (lambda: scale(features_per_step=0).fit(FRAME), "The 'features_per_step' parameter"),
        (lambda: SequenceTransformer(None).fit(FRAME), "The 'transformer' parameter"),
        (lambda: scale().fit(FRAME).inverse_transform(np.ones((2, 6))), "X has 6 columns.*4 steps"),
        (lambda: scale(DropsSteps()).fit(RAGGED).transform(RAGGED), "made 7 of 8 steps"),
    ],
)
def test_mistakes(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_not_fitted():
    with pytest.raises(sklearn.exceptions.NotFittedError):
        scale().transform(RAGGED)
