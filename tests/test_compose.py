"""Targets scaled outside of the network; by hand they are scaled with NumPy."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from stand_in import GpuArray, install

from skrnn import LSTMRegressor, SequenceTargetRegressor, SequenceTransformer, flat_r2_scorer
from skrnn.sequences import object_array

RNG = np.random.default_rng(0)
LENGTHS = (7, 3, 5, 4, 6, 1, 4, 5, 7, 3)
X = [RNG.normal(size=(length, 2)) for length in LENGTHS]
Y = [np.array([300.0, -7.0]) + np.array([1e3, 2.0]) * part for part in X]  # two outputs
ONE = [part[:, 0] for part in Y]
DENSE = RNG.normal(size=(10, 4, 2))


@parametrize_with_checks([SequenceTargetRegressor(Ridge(), transformer=StandardScaler())])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


def network(**parameters):
    return LSTMRegressor(
        **dict(hidden_size=3, return_sequences=True, max_iter=3, random_state=0) | parameters
    )


def scaled(regressor=None, transformer=None, **parameters):
    regressor = network() if regressor is None else regressor
    transformer = StandardScaler() if transformer is None else transformer
    return SequenceTargetRegressor(regressor, transformer=transformer, **parameters)


def stacked(parts):
    return np.concatenate(list(parts))


def statistics(y):
    return stacked(y).mean(axis=0), stacked(y).std(axis=0)


def assert_all_close(one, other, rtol=1e-5):
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=rtol)


@pytest.mark.parametrize("form", [list, object_array, tuple, lambda y: [part.tolist() for part in y]])
@pytest.mark.parametrize("transformer", [StandardScaler(), SequenceTransformer(StandardScaler())])
@pytest.mark.parametrize("y", [ONE, Y], ids=["one", "two"])
def test_ragged_targets_are_scaled_output_by_output(y, transformer, form):
    model = scaled(transformer=transformer).fit(X, form(y))
    mean, std = statistics(y)
    by_hand = network().fit(X, [(part - mean) / std for part in y])
    expected = [mean + std * part for part in by_hand.predict(X)]
    predicted = model.predict(X)
    assert predicted.dtype == object
    assert_all_close(predicted, expected)
    assert_all_close(model.regressor_.predict(X), by_hand.predict(X), rtol=1e-12)
    score = r2_score(stacked(y), stacked(expected))
    assert model.score(X, form(y)) == pytest.approx(score, rel=1e-6)
    weights = [RNG.uniform(size=len(part)) for part in X]
    score = r2_score(stacked(y), stacked(expected), sample_weight=stacked(weights))
    assert model.score(X, form(y), weights) == pytest.approx(score, rel=1e-6)


@pytest.mark.parametrize("outputs", [1, 2])
def test_dense_targets_per_step(outputs):
    y = 300 + 1e3 * DENSE[:, :, :outputs]
    y = y[:, :, 0] if outputs == 1 else y
    model = scaled().fit(DENSE, y)
    axes = (0, 1)
    mean, std = y.mean(axis=axes), y.std(axis=axes)
    expected = mean + std * network().fit(DENSE, (y - mean) / std).predict(DENSE)
    assert model.predict(DENSE).shape == y.shape
    np.testing.assert_allclose(model.predict(DENSE), expected, rtol=1e-5)


@pytest.mark.parametrize("form", [np.asarray, pd.DataFrame, lambda y: y.tolist(), lambda y: y[:, 0]])
@pytest.mark.parametrize(
    "how", [dict(transformer=StandardScaler()), dict(func=np.cbrt, inverse_func=lambda y: y**3)]
)
def test_targets_per_sequence_as_scikit_learn_has_them(form, how):
    regressor, y = network(return_sequences=False, dtype="float64"), form(300 + 1e3 * DENSE[:, -1])
    ours = SequenceTargetRegressor(regressor, **how).fit(DENSE, y)
    theirs = TransformedTargetRegressor(regressor, **how).fit(DENSE, np.asarray(y))
    np.testing.assert_array_equal(ours.predict(DENSE), theirs.predict(DENSE))
    assert ours.score(DENSE, y) == pytest.approx(theirs.score(DENSE, np.asarray(y)), rel=1e-12)


@pytest.mark.parametrize("per_step", [False, True])
def test_without_a_transformer_targets_stay_as_they_are(per_step):
    y = [x[:, :1] for x in X] if per_step else np.array([x[-1, 0] for x in X])
    regressor = network(return_sequences=per_step)
    answers = SequenceTargetRegressor(regressor).fit(X, y).predict(X), clone(regressor).fit(X, y).predict(X)
    for ours, alone in zip(*answers, strict=True):
        np.testing.assert_array_equal(ours, alone)
    with pytest.raises(ValueError, match="'inverse_func' must also be provided"):
        SequenceTargetRegressor(regressor, func=np.cbrt).fit(X, y)


@pytest.mark.filterwarnings("ignore:.*networks learn targets:UserWarning")  # on purpose, they are not scaled
def test_the_float_type_is_that_of_the_regressor():
    X32 = [part.astype(np.float32) for part in X]
    for given, kind in (X, np.float64), (X32, np.float32):
        regressor = network().fit(given, ONE)
        assert regressor.predict(given)[0].dtype == scaled().fit(given, ONE).predict(given)[0].dtype == kind


def test_what_has_no_weight_is_not_seen():
    weights = [np.ones(len(part)) for part in X]
    weights[0][2:4] = weights[5][:] = 0
    known = np.concatenate(weights) > 0
    for nothing in (np.nan, 1e9):
        y = [np.where(w > 0, part, nothing) for part, w in zip(ONE, weights, strict=True)]
        model = scaled().fit(X, y, sample_weight=weights)
        assert model.transformer_.mean_[0] == pytest.approx(stacked(ONE)[known].mean(), rel=1e-12)
        assert model.transformer_.n_samples_seen_ == known.sum()
        assert model.score(X, y, weights) == pytest.approx(model.score(X, ONE, weights), rel=1e-12)
    per_sequence = np.ones(len(X))
    per_sequence[0] = 0
    y = [ONE[0] * np.nan, *ONE[1:]]
    model = scaled().fit(X, y, sample_weight=per_sequence)
    assert model.transformer_.mean_[0] == pytest.approx(stacked(ONE[1:]).mean(), rel=1e-12)
    # weights reach the network
    mean, std = statistics(ONE[1:])
    by_hand = network().fit(X, [(part - mean) / std for part in y], sample_weight=per_sequence)
    assert_all_close(model.regressor_.predict(X), by_hand.predict(X), rtol=1e-12)


def test_validation_targets_are_transformed_too():
    mean, std = statistics(ONE[2:])
    y, y_val = ([(part - mean) / std for part in some] for some in (ONE[2:], ONE[:2]))
    by_hand = network().fit(X[2:], y, X_val=X[:2], y_val=y_val)
    model = scaled().fit(X[2:], ONE[2:], X_val=X[:2], y_val=ONE[:2])
    np.testing.assert_allclose(model.regressor_.validation_scores_, by_hand.validation_scores_, rtol=1e-6)
    pipeline = make_pipeline(SequenceTransformer(StandardScaler()), network())
    inside = scaled(pipeline).fit(
        X[2:], ONE[2:], lstmregressor__X_val=X[:2], lstmregressor__y_val=ONE[:2],
        lstmregressor__sample_weight=np.ones(8),
    )  # fmt: skip
    assert max(np.abs(inside.regressor_[-1].validation_scores_)) < 50  # and not millions, as unscaled


def test_with_metadata_routing():
    weights = np.r_[np.zeros(2), np.ones(8)]
    with sklearn.config_context(enable_metadata_routing=True):
        regressor = network().set_fit_request(sample_weight=True, X_val=True, y_val=True)
        routed = scaled(regressor).fit(X, ONE, sample_weight=weights, X_val=X[:3], y_val=ONE[:3])
    plain = scaled().fit(X, ONE, sample_weight=weights, X_val=X[:3], y_val=ONE[:3])
    assert_all_close(routed.predict(X), plain.predict(X), rtol=1e-12)
    assert routed.regressor_.validation_scores_ == plain.regressor_.validation_scores_


@pytest.mark.parametrize("ragged", [True, False])
@pytest.mark.parametrize("outputs", [1, 2])
def test_quantiles(ragged, outputs):
    y = [part if outputs == 2 else part[:, 0] for part in Y]
    own = X
    if not ragged:
        own, y = DENSE, 300 + 1e3 * (DENSE if outputs == 2 else DENSE[:, :, 0])
    model = scaled(network(loss="quantile", quantiles=np.array([0.1, 0.5, 0.8, 0.9]))).fit(own, y)
    raw, answers = model.regressor_.predict_quantiles(own), model.predict_quantiles(own)
    mean, std = statistics(y)
    for level in range(4):
        assert_all_close(
            [part[..., level] for part in answers], [mean + std * part[..., level] for part in raw]
        )
    assert_all_close([part[..., 1] for part in answers], model.predict(own), rtol=1e-12)
    assert not hasattr(scaled(Ridge()), "predict_quantiles")


def test_in_searches():
    grid = {
        "regressor__hidden_size": [2, 3],
        "transformer": [StandardScaler(), QuantileTransformer(n_quantiles=5)],
    }
    search = GridSearchCV(scaled(), grid, cv=2, scoring=flat_r2_scorer, error_score="raise")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # quantiles are not strictly the inverse of each other
        search.fit(X, ONE)
    assert search.best_estimator_.regressor_.hidden_size in (2, 3)
    scores = cross_val_score(scaled(), X, ONE, cv=2)
    assert scores[0] == scaled().fit(X[5:], ONE[5:]).score(X[:5], ONE[:5])
    assert_all_close(
        cross_val_predict(scaled(), X, object_array(ONE), cv=2)[:5],
        scaled().fit(X[5:], ONE[5:]).predict(X[:5]),
        rtol=1e-12,
    )


def test_copies():
    model = scaled(SequenceTargetRegressor(network(), transformer=StandardScaler())).fit(X, ONE)
    assert model._per_step  # of the network within
    assert_all_close(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X), rtol=0)
    fresh = clone(model)
    assert not hasattr(fresh, "regressor_")
    assert not hasattr(model.regressor.regressor, "weights_")
    assert fresh.set_params(regressor__regressor__hidden_size=2).regressor.regressor.hidden_size == 2


def test_features():
    frame = pd.DataFrame(DENSE[:, :, 0], columns=list("abcd"))
    model = scaled(network(return_sequences=False)).fit(frame, DENSE[:, 0, 0])
    assert model.feature_names_in_.tolist() == list("abcd")
    assert model.n_features_in_ == 4
    assert not hasattr(model.fit(frame.to_numpy(), DENSE[:, 0, 0]), "feature_names_in_")
    assert not hasattr(scaled(), "n_features_in_")


@pytest.mark.filterwarnings("ignore:.*networks learn targets:UserWarning")  # on purpose, they are not scaled
def test_number_of_outputs_may_change():
    y = [np.column_stack([part, part[:, 0] + part[:, 1]]) for part in Y]  # three numbers, two of them free
    model = scaled(transformer=PCA(2)).fit(X, y)
    assert model.regressor_.n_outputs_ == 2
    assert model.predict(X)[0].shape == (7, 3)


def spoilt(i, value):
    y = [part.copy() for part in ONE]
    y[i][-1] = value
    return y


@pytest.mark.parametrize(
    ("y", "fit_params", "message"),
    [
        (None, {}, "requires y to be passed"),
        (spoilt(3, np.nan), {}, r"Input y contains NaN: y\[3\] at step 3"),
        (spoilt(0, np.inf), {}, r"Input y contains infinity: y\[0\] at step 6"),
        ([*ONE[:-1], ["a", "b", "c"]], {}, "y is not numeric"),
        ([*ONE[:-1], Y[-1]], {}, r"y\[9\] has shape \(3, 2\), y\[0\] has \(7,\)"),
        (ONE[:-1], {}, "X has 10 sequences, y has 9"),
        ([*ONE[:-1], ONE[0]], {}, r"y\[9\] has 7 steps, sequence 9 has 3"),
        (ONE, dict(sample_weight=np.zeros(10)), "all weights are zero"),
        (ONE, dict(sample_weight=np.ones(9)), "y has 10 sequences, sample_weight has 9"),
        (ONE, dict(sample_weight=[[1.0]] * 10), r"y\[0\] has 7 steps, sample_weight\[0\] has 1"),
        (np.ones(10), {}, "one value per sequence"),
    ],
)
def test_mistakes_name_the_place_and_leave_the_model_alone(y, fit_params, message):
    model = scaled().fit(X, ONE)
    before, state = model.predict(X), dict(vars(model))
    with pytest.raises(ValueError, match=message):
        model.fit(X, y, **fit_params)
    assert vars(model) == state
    assert_all_close(model.predict(X), before, rtol=0)
    unfitted = scaled()
    state = dict(vars(unfitted))
    with pytest.raises(ValueError, match=message):
        unfitted.fit(X, y, **fit_params)
    assert vars(unfitted) == state


def test_of_what_a_regressor_is_made():
    for wrong in (None, 3):
        with pytest.raises(ValueError, match="'regressor' parameter of SequenceTargetRegressor must be"):
            SequenceTargetRegressor(wrong).fit(X, ONE)
    with pytest.raises(ValueError, match="cannot both be set"):
        scaled(func=np.log).fit(X, ONE)
    with pytest.raises(sklearn.exceptions.NotFittedError):
        scaled().score(X, ONE)


@pytest.mark.filterwarnings("ignore:.*networks learn targets:UserWarning")  # on purpose, they are not scaled
def test_a_warning_where_the_way_back_leads_elsewhere():
    with pytest.warns(UserWarning, match="not strictly inverse"):
        SequenceTargetRegressor(network(), func=np.abs, inverse_func=np.abs).fit(X, ONE)


@pytest.mark.parametrize("ragged", [True, False])
def test_arrays_of_a_gpu(monkeypatch, ragged):
    """On a stand-in: targets pass through the host, answers lie where X does."""
    install(monkeypatch)
    own, y = (X, ONE) if ragged else (DENSE, 300 + 1e3 * DENSE[:, :, 0])
    on_gpu = (lambda a: [GpuArray(part) for part in a]) if ragged else GpuArray
    expected = scaled(network(loss="quantile")).fit(own, y)
    model = scaled(network(loss="quantile", device="cuda")).fit(on_gpu(own), on_gpu(y))
    for method in ("predict", "predict_quantiles"):
        ours, theirs = getattr(model, method)(on_gpu(own)), getattr(expected, method)(own)
        for one, other in zip(ours, theirs, strict=True):
            assert isinstance(one, GpuArray)
            np.testing.assert_array_equal(one.host, other)
    assert model.score(on_gpu(own), on_gpu(y)) == expected.score(own, y)


# --- names of targets ---------------------------------------------------------------------------------
NAMED = [pd.DataFrame(part, columns=["a", "b"]) for part in Y]
TURNED = [frame[["b", "a"]] for frame in NAMED]


def objects(frames):
    return object_array(frames)


@pytest.mark.parametrize("form", [list, tuple, objects, pd.Series])
def test_frames_of_targets_have_their_columns_in_one_order(form):
    mixed = [*NAMED[:4], TURNED[4], *NAMED[5:]]
    model = SequenceTargetRegressor(network(), transformer=StandardScaler())
    with pytest.raises(ValueError, match=r"y\[4\] has the labels of y\[0\] in another order"):
        model.fit(X, form(mixed))
    model.fit(X, form(NAMED))
    by_numbers = SequenceTargetRegressor(network(), transformer=StandardScaler()).fit(X, Y)
    assert model.score(X, form(NAMED)) == by_numbers.score(X, Y)
    with pytest.raises(ValueError, match=r"y has the columns \['b', 'a'\], but in fit they came as"):
        model.score(X, form(TURNED))
    with pytest.raises(ValueError, match=r"y_val has the columns \['b', 'a'\]"):
        model.fit(X, form(NAMED), X_val=X[:4], y_val=form(TURNED[:4]))


def test_a_column_of_ragged_targets():
    by_arrays = SequenceTargetRegressor(network(), transformer=StandardScaler()).fit(X, object_array(ONE))
    model = SequenceTargetRegressor(network(), transformer=StandardScaler()).fit(X, pd.Series(ONE))
    for expected, answer in zip(by_arrays.predict(X), model.predict(X), strict=True):
        np.testing.assert_array_equal(answer, expected)
    assert model.score(X, pd.Series(ONE)) == by_arrays.score(X, ONE)


@pytest.mark.parametrize("read", [lambda frame: frame, lambda frame: [row for _, row in frame.iterrows()]])
def test_targets_per_sequence_have_names_too(read):
    y = pd.DataFrame(DENSE[:, 0], columns=["a", "b"])
    model = SequenceTargetRegressor(network(return_sequences=False), transformer=StandardScaler())
    model.fit(DENSE, read(y))
    assert model.score(DENSE, read(y)) == model.score(DENSE, y.to_numpy())
    if read(y) is y:
        with pytest.raises(ValueError, match=r"y has the columns \['b', 'a'\]"):
            model.score(DENSE, y[["b", "a"]])
    else:
        rows = read(y)
        rows[2] = rows[2][["b", "a"]]
        with pytest.raises(ValueError, match=r"y\[2\] has the labels of y\[0\] in another order"):
            model.fit(DENSE, rows)
