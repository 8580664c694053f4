"""What is stored: the version it is of, nothing but plain parts, and what older versions have stored."""

import copy
import datetime
import io
import pickle
import warnings
from types import NoneType

import joblib
import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from sklearn import exceptions
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.multioutput import MultiOutputRegressor
from sklearn.preprocessing import StandardScaler

import skrnn
from skrnn import (
    GRUClassifier,
    GRURegressor,
    LSTMClassifier,
    LSTMRegressor,
    RNNClassifier,
    RNNRegressor,
    SequenceTargetRegressor,
    SequenceTransformer,
)
from skrnn.estimators import versions
from skrnn.forecasting import GRUForecaster, LSTMForecaster, RNNForecaster
from skrnn.forecasting.storage import from_plain, to_plain
from skrnn.history import Progress

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 5, 2))
RAGGED = [RNG.normal(size=(length, 2)) for length in (3, 5, 1, 4)]
DAYS = pd.date_range("2000-01-01", periods=40)
WIDE = pd.DataFrame({"a": np.sin(np.arange(40.0)), "b": np.cos(np.arange(40.0))}, DAYS)
SMALL = dict(max_iter=2, random_state=0)


def regressor(cls=LSTMRegressor, **parameters):
    return cls(3, **SMALL | parameters).fit(X, X[:, -1, 0])


def classifier(cls=LSTMClassifier, labels=("no", "yes"), **parameters):
    return cls(3, **SMALL | parameters).fit(X, np.array(labels)[np.arange(12) % len(labels)])


def forecaster(data=WIDE, cls=LSTMForecaster, **parameters):
    return cls(2, 4, max_steps=4, random_state=0, **parameters).fit(data)


def long(ids):
    """A series of each id."""
    return pd.DataFrame(
        {"unique_id": np.repeat(ids, 40), "ds": np.tile(DAYS, len(ids)), "y": np.tile(WIDE["a"], len(ids))}
    )


FITTED = {
    "LSTMRegressor": regressor,
    "GRURegressor": lambda: regressor(GRURegressor, loss="quantile", early_stopping=True),
    "RNNRegressor": lambda: regressor(RNNRegressor, cell="gru", linear_skip=True, solver="sgd"),
    "LSTMClassifier": classifier,
    "GRUClassifier": lambda: classifier(GRUClassifier, range(3)),
    "RNNClassifier": lambda: classifier(RNNClassifier, dropout=0.1, num_layers=2, class_weight="balanced"),
    "SequenceTransformer": lambda: SequenceTransformer(StandardScaler()).fit(X),
    "SequenceTargetRegressor": lambda: SequenceTargetRegressor(
        LSTMRegressor(3, **SMALL), transformer=StandardScaler()
    ).fit(X, X[:, -1, 0]),
    "LSTMForecaster": forecaster,
    "GRUForecaster": lambda: forecaster(
        long(["x", "y"]),
        GRUForecaster,
        level=80,
        intervals="conformal",
        calendar=["dayofweek"],
        differences=1,
    ),
    "RNNForecaster": lambda: forecaster(WIDE["a"], RNNForecaster, scaling="last", freq=pd.offsets.Day()),
    "forecaster of a regressor": lambda: forecaster(
        regressor=MultiOutputRegressor(Ridge()), multivariate=True
    ),
}
ESTIMATORS = [name for name in FITTED if name.endswith(("Regressor", "Classifier")) and "Target" not in name]


@pytest.fixture(scope="module")
def fitted():
    """Each model once, as bytes."""
    stored = {}

    def load(name):
        if name not in stored:
            stored[name] = pickle.dumps(FITTED[name]())
        return pickle.loads(stored[name])

    return load


def answer(model):
    if isinstance(model, SequenceTransformer):
        return model.transform(X)
    return model.predict().to_numpy() if hasattr(model, "make_future_dataframe") else model.predict(X)


def of_version(model, version, **changes):
    """The pickle that another version would have written."""
    state = {**model.__getstate__(), versions.VERSION: version, **changes}
    for name in [name for name, value in state.items() if value is None and name in changes]:
        del state[name]
    if version is None:
        state.pop(versions.VERSION)

    class Writes:
        def __reduce__(self):
            return object.__new__, (type(model),), state

    return pickle.dumps(Writes())


# the version ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FITTED)
def test_the_version_is_stored_and_another_one_warns(name, fitted):
    model = fitted(name)  # without a warning, which would be an error
    assert model.__getstate__()[versions.VERSION] == skrnn.__version__
    assert versions.VERSION not in vars(model)
    expected = answer(model)
    message = rf"{type(model).__name__} was stored by skrnn 9\.8 and is loaded by skrnn {skrnn.__version__}"
    with pytest.warns(exceptions.InconsistentVersionWarning, match=message) as warned:
        other = pickle.loads(of_version(model, "9.8"))
    assert warned[-1].filename == __file__
    np.testing.assert_array_equal(answer(other), expected)
    with pytest.warns(versions.InconsistentVersionWarning, match="was stored by skrnn before 0.1.0"):
        other = pickle.loads(of_version(model, None))
    np.testing.assert_array_equal(answer(other), expected)


@pytest.mark.parametrize("name", FITTED)
def test_copies_are_of_this_version(name, fitted):
    model = fitted(name)
    for duplicate in (copy.copy(model), copy.deepcopy(model)):
        np.testing.assert_array_equal(answer(duplicate), answer(model))
        assert vars(duplicate).keys() == vars(model).keys()
    assert not hasattr(clone(model), "n_features_in_")
    assert joblib.hash(model) == joblib.hash(model)
    file = io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    np.testing.assert_array_equal(answer(joblib.load(file)), answer(model))


@pytest.mark.parametrize("name", ESTIMATORS)
def test_what_versions_before_the_first_have_stored(name, fitted):
    """They lacked parameters and attributes, and kept the history as an object."""
    model = fitted(name)
    y = model.classes_[np.arange(12) % len(model.classes_)] if hasattr(model, "classes_") else X[:, -1, 0]
    architecture = dict(model._architecture)
    lacking = dict.fromkeys(["device", "allow_tf32", "n_jobs", "device_"])
    if not getattr(model, "linear_skip", False):
        lacking["linear_skip"] = None
        del architecture["skip_steps"]
    old = lacking | {
        "_architecture": architecture,
        "_row_layout": {"features_per_step": 1},
        "_progress": Progress(),
    }
    with pytest.warns(versions.InconsistentVersionWarning):
        other = pickle.loads(of_version(model, None, **old))
    assert other.get_params() == model.get_params()
    assert vars(other).keys() - {"linear_skip"} == vars(model).keys() - {"linear_skip"}
    np.testing.assert_array_equal(other.predict(X), model.predict(X))
    for m in (other, model):
        m.set_params(warm_start=True).fit(X, y)
        if getattr(m, "class_weight", None) is None:
            m.partial_fit(X, y)
    np.testing.assert_array_equal(other.predict(X), model.predict(X))
    assert other.loss_curve_ == model.loss_curve_
    assert other.n_iter_ == model.n_iter_ > 3
    assert other.history_["epoch"].tolist() == list(range(1, model.n_iter_ + 1))


def test_an_unfitted_one_of_another_version():
    with pytest.warns(versions.InconsistentVersionWarning):
        est = pickle.loads(of_version(LSTMRegressor(7), None, device=None))
    assert est.get_params() == LSTMRegressor(7).get_params()
    with pytest.warns(versions.InconsistentVersionWarning):
        model = pickle.loads(of_version(LSTMForecaster(7), "9.8", device=None))
    assert repr(model) == "LSTMForecaster(h=7)"


def test_after_an_update(monkeypatch):
    stored, before = pickle.dumps(LSTMRegressor(7)), skrnn.__version__
    monkeypatch.setattr(skrnn, "__version__", "9.9")
    message = rf"stored by skrnn {before} and is loaded by skrnn 9\.9\."
    with pytest.warns(versions.InconsistentVersionWarning, match=message):
        assert pickle.loads(stored).hidden_size == 7
    assert pickle.loads(pickle.dumps(LSTMRegressor(7))).hidden_size == 7


def test_a_filter_for_scikit_learns_warning_holds():
    stored = of_version(LSTMRegressor(), "9.8")
    with warnings.catch_warnings():
        warnings.simplefilter("error", exceptions.InconsistentVersionWarning)
        with pytest.raises(versions.InconsistentVersionWarning) as caught:
            pickle.loads(stored)
    assert (caught.value.estimator_name, caught.value.original_version) == ("LSTMRegressor", "9.8")


def test_a_history_goes_on_where_it_stopped():
    """Also where it has no validation score, no time, or a loss that is no number."""
    est = LSTMRegressor(3, **SMALL, warm_start=True).partial_fit(X, X[:, 0, 0])
    est.set_params(early_stopping=True).fit(X, X[:, 0, 0])
    est.history_["loss"][0] = np.nan
    scores, before = est.validation_scores_, {name: column.copy() for name, column in est.history_.items()}
    est.set_params(early_stopping=False).fit(X, X[:, 0, 0])
    assert est.n_iter_ == len(est.history_["epoch"]) == 5
    for name, column in before.items():
        np.testing.assert_array_equal(est.history_[name][:3], column)
    assert est.validation_scores_ == scores
    assert np.isnan(est.history_["seconds"]).tolist() == [True, False, False, False, False]
    assert np.isnan(est.loss_curve_[0])


# plain parts ---------------------------------------------------------------------------------------
PLAIN = (NoneType, bool, int, float, str, np.bool_, np.integer, np.floating, np.random.RandomState)


def parts_that_are_not_plain(value, at="state"):
    if isinstance(value, dict):
        assert all(isinstance(key, str) for key in value), at
        return [p for key, part in value.items() for p in parts_that_are_not_plain(part, f"{at}.{key}")]
    if type(value) in (list, tuple):
        return [p for part in value for p in parts_that_are_not_plain(part, f"{at}[]")]
    if isinstance(value, np.ndarray):
        return [f"{at}: object array"] * (value.dtype == object)
    if hasattr(value, "get_params"):  # an estimator, ours or scikit-learn's
        return parts_that_are_not_plain(value.__getstate__(), f"{at}.{type(value).__name__}")
    return [] if isinstance(value, PLAIN) else [f"{at}: {type(value)}"]


@pytest.mark.parametrize("name", FITTED)
def test_a_state_has_plain_parts_only(name, fitted):
    assert not parts_that_are_not_plain(fitted(name))


@pytest.mark.parametrize("name", FITTED)
def test_skops_knows_all_but_the_classes_of_the_models(name, fitted):
    skops = pytest.importorskip("skops.io")
    model = fitted(name)
    stored = skops.dumps(model)
    unknown = skops.get_untrusted_types(data=stored)
    assert all(kind.startswith("skrnn.") for kind in unknown)
    assert {kind.rpartition(".")[2] for kind in unknown} <= set(skrnn.__all__) | {type(model).__name__}
    inside = hasattr(model, "regressor_") and not isinstance(model.regressor_, MultiOutputRegressor)
    assert len(unknown) == 1 + inside
    loaded = skops.loads(stored, trusted=unknown)
    np.testing.assert_array_equal(answer(loaded), answer(model))
    if name in ESTIMATORS:
        y = model.classes_[np.arange(12) % len(model.classes_)] if hasattr(model, "classes_") else X[:, -1, 0]
        for m in (loaded, model):
            m.set_params(warm_start=True, max_iter=1).fit(X, y)
    if hasattr(model, "make_future_dataframe"):
        assert loaded.regressor_ is loaded.model_.models[0].regressor
    np.testing.assert_array_equal(answer(loaded), answer(model))


INDEXES = {
    "strings": pd.Index(["b", "a"], name="shop"),
    "objects": pd.Index(["b", 1, None, ("x", 2), 2.5], dtype=object),
    "tuples": pd.Index([("a", 1), ("b", 2)], dtype=object, tupleize_cols=False),
    "integers": pd.Index([3, 1], dtype=np.int8),
    "floats": pd.Index([0.5, np.nan]),
    "range": pd.RangeIndex(2, 8, 3, name="t"),
    "nullable": pd.Index([1, 2], dtype="Int64"),
    "categories": pd.CategoricalIndex(
        ["b", "a", "b"], categories=["c", "b", "a"], ordered=True, name=("k", 1)
    ),
    "days": pd.date_range("2000", periods=3, name="ds"),
    "seconds": pd.date_range("2000", periods=3, unit="s"),
    "zone": pd.date_range("2000-10-28", periods=3, tz="Europe/Berlin"),
    "utc": pd.date_range("2000", periods=2, tz="UTC"),
    "offset": pd.date_range("2000", periods=2, tz=datetime.timezone(datetime.timedelta(hours=5, minutes=30))),
    "periods": pd.period_range("2000-01", periods=3, freq="M", name="m"),
    "weeks": pd.period_range("2000-01", periods=3, freq="W-TUE"),
    "durations": pd.to_timedelta([1, 5], unit="h"),
    "levels": pd.MultiIndex.from_product([["a"], [1, 2]]),
    "intervals": pd.interval_range(0, 2),
}


@pytest.mark.parametrize("name", INDEXES)
def test_indexes(name):
    index = INDEXES[name]
    plain = to_plain(index)
    back = from_plain(pickle.loads(pickle.dumps(plain)))
    if isinstance(index, pd.DatetimeIndex):
        index.freq = None  # is that of the panel
    pd.testing.assert_index_equal(back, index, exact="equiv")
    assert [type(label) for label in back] == [type(label) for label in index]
    if name not in ("levels", "intervals"):
        assert isinstance(plain, dict)
        assert not any(isinstance(part, pd.Index) for part in plain.values())


@pytest.mark.parametrize(
    "offset",
    [
        pd.offsets.Day(2),
        pd.offsets.Hour(),
        pd.offsets.Week(weekday=1),
        pd.offsets.BusinessDay(),
        pd.offsets.QuarterEnd(startingMonth=2),
        pd.offsets.CustomBusinessDay(holidays=["2000-01-04"]),  # of which the name does not tell
    ],
    ids=lambda offset: offset.freqstr,
)
def test_offsets(offset):
    plain = to_plain(offset)
    assert (plain is offset) == isinstance(offset, pd.offsets.CustomBusinessDay)
    back = from_plain(plain)
    assert back == offset
    assert pd.Timestamp("2000-01-03") + back == pd.Timestamp("2000-01-03") + offset


def test_other_things_stay_what_they_are():
    kept = [object(), Ridge(), {"class": "of the user"}, {1: 2}, {3}, "x", None]
    for thing in kept:
        assert to_plain(thing) is thing
        assert from_plain(thing) is thing
    assert from_plain(to_plain((1, [np.dtype(np.float32), ("a",)]))) == (1, [np.dtype(np.float32), ("a",)])


IDS = {
    "strings": pd.Series(["x", "y"]),
    "integers": pd.Series([3, 1]),
    "tuples": pd.Series([("a", 1), ("a", 2)], dtype=object),
    "categories": pd.Series(["v", "u"], dtype="category"),
}


@pytest.mark.parametrize("ids", IDS)
def test_forecasters_of_any_ids(ids):
    data = long(["x", "y"]).assign(unique_id=IDS[ids].iloc[np.repeat([0, 1], 40)].array)
    model = forecaster(data)
    loaded = pickle.loads(pickle.dumps(model))
    assert_frame_equal(loaded.predict(), model.predict())
    more = model.make_future_dataframe().assign(y=0.5)
    assert_frame_equal(loaded.update(more, max_steps=2).predict(), model.update(more, max_steps=2).predict())


# names ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [LSTMForecaster, GRUForecaster, RNNForecaster])
def test_an_unknown_parameter_names_the_class_that_was_asked(cls):
    with pytest.raises(TypeError, match=rf"^{cls.__name__}\.__init__\(\) got an unexpected .* 'horizon'"):
        cls(horizon=3)
    with pytest.raises(TypeError, match=rf"^{cls.__name__}\.__init__\(\) takes from 1 to 3 positional"):
        cls(1, 2, 3)
    with pytest.raises(ValueError, match=f"Invalid parameter 'horizon' for estimator {cls.__name__}"):
        cls().set_params(horizon=3)
    assert clone(cls(3, lags=4)).get_params() == cls(3, 4).get_params()
