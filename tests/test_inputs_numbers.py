"""Parameters as NumPy's numbers: the same bits as with Python's, where the small ones would overflow."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.preprocessing import StandardScaler

from skrnn import GRUClassifier, LSTMRegressor, SequenceTransformer, make_windows
from skrnn.estimators.parameters import as_python
from skrnn.forecasting import LSTMForecaster, RollingOrigin

RNG = np.random.default_rng(0)
X = RNG.normal(size=(160, 12))
Y = X[:, -1] - X[:, 3]
SERIES = pd.Series(RNG.normal(size=460).cumsum(), pd.date_range("2024", periods=460, freq="D"), name="y")


@pytest.mark.parametrize(
    "kind", [np.int8, np.uint8, np.int16, np.uint64, np.float16, np.float32, np.longdouble]
)
def test_as_python(kind):
    value = as_python(kind(64))
    assert value == 64
    assert type(value) is (float if np.dtype(kind).kind == "f" else int)


def test_what_is_no_number_stays():
    for value in None, "auto", (0.1, 0.5), True:
        assert as_python(value) is value
    assert as_python(np.True_) is True


INTEGERS = {
    "hidden_size": 80,
    "num_layers": 2,
    "features_per_step": 2,
    "batch_size": 100,
    "warmup_steps": 100,
    "tbptt_steps": 3,
    "max_iter": 2,
    "n_iter_no_change": 100,
    "random_state": 1,
    "n_jobs": 1,
}
FLOATS = {  # powers of two, which are the same in any width
    "dropout": 0.25,
    "recurrent_dropout": 0.25,
    "alpha": 2.0**-10,
    "learning_rate_init": 2.0**-8,
    "momentum": 0.5,
    "beta_1": 0.875,
    "beta_2": 0.9375,
    "epsilon": 2.0**-14,
    "max_grad_norm": 0.5,
    "tol": 2.0**-14,
    "validation_fraction": 0.125,
}
BOOLEANS = {"early_stopping": True, "shuffle": False, "newest_first": True, "nesterovs_momentum": True}


def same(one, other, method="predict"):
    np.testing.assert_array_equal(getattr(one, method)(X), getattr(other, method)(X))
    assert one.loss_curve_ == other.loss_curve_
    assert one.validation_scores_ == other.validation_scores_


@pytest.mark.parametrize("cls", [LSTMRegressor, GRUClassifier])
@pytest.mark.parametrize(("integer", "real"), [(np.int8, np.float16), (np.uint8, np.float32)])
def test_estimators(cls, integer, real):
    y = (Y > 0).astype(int) if cls is GRUClassifier else Y
    plain = cls(**INTEGERS, **FLOATS, **BOOLEANS)
    given = {name: integer(value) for name, value in INTEGERS.items()}
    given |= {name: real(value) for name, value in FLOATS.items()}
    given |= {name: np.bool_(value) for name, value in BOOLEANS.items()}
    for est in cls(**given), clone(cls(**given)):
        assert all(est.get_params()[name] is value for name, value in given.items() if name != "random_state")
        same(est.fit(X, y), plain.fit(X, y))
        assert all(est.get_params()[name] is value for name, value in given.items() if name != "random_state")
    same(est.set_params(warm_start=True).fit(X, y), plain.set_params(warm_start=True).fit(X, y))
    same(est.partial_fit(X, y) if cls is LSTMRegressor else est, plain.partial_fit(X, y)
         if cls is LSTMRegressor else plain)  # fmt: skip
    same(pickle.loads(pickle.dumps(est)), plain)


@pytest.mark.parametrize("loss", ["huber", "quantile"])
def test_losses(loss):
    given = dict(loss=loss, max_iter=2, random_state=0)
    est = LSTMRegressor(np.uint8(8), huber_delta=np.float16(0.5), quantiles=np.float32([0.25, 0.5]), **given)
    plain = LSTMRegressor(8, huber_delta=0.5, quantiles=[0.25, 0.5], **given)
    np.testing.assert_array_equal(est.fit(X, Y).predict(X), plain.fit(X, Y).predict(X))


def test_streams_and_transformers():
    est = LSTMRegressor(np.int8(100), max_iter=1, random_state=0).fit(X, Y)
    stream = est.stream(batch=np.uint8(150))
    for step in X[:150].T:
        answer = stream.step(step[:, None])
    np.testing.assert_array_equal(answer, est.predict(X[:150].astype(np.float32)))
    steps = SequenceTransformer(StandardScaler(), features_per_step=np.int8(4)).fit(np.tile(X, 20))
    plain = SequenceTransformer(StandardScaler(), features_per_step=4).fit(np.tile(X, 20))
    out = steps.transform(np.tile(X, 20))
    np.testing.assert_array_equal(out, plain.transform(np.tile(X, 20)))
    np.testing.assert_array_equal(steps.inverse_transform(out), plain.inverse_transform(out))
    assert list(steps.get_feature_names_out()) == list(plain.get_feature_names_out())


@pytest.mark.parametrize(("integer", "strategy"), [(np.int8, "direct"), (np.uint8, "recursive")])
def test_forecasters(integer, strategy):
    sizes = dict(h=20, lags=120, hidden_size=70, max_steps=20, calibration_windows=9, random_state=0)
    given = dict(
        strategy=strategy, intervals="conformal", level=np.int8(80), differences=integer(7), n_jobs=integer(1)
    )
    plain = LSTMForecaster(**sizes, **given | {"level": 80, "differences": 7, "n_jobs": 1})
    est = LSTMForecaster(**{name: integer(value) for name, value in sizes.items()}, **given)
    pd.testing.assert_frame_equal(est.fit(SERIES).predict(), plain.fit(SERIES).predict())
    assert type(est.h) is integer
    more = SERIES.shift(460, freq="D")[:50]
    for each in est, plain:
        each.update(more, max_steps=integer(10) if each is est else 10)
    pd.testing.assert_frame_equal(est.predict(), plain.predict())


@pytest.mark.parametrize("refit", [True, False, 2])
def test_backtests(refit):
    est = LSTMForecaster(h=np.int8(70), lags=np.int8(60), max_steps=np.int8(2), random_state=0)
    plain = LSTMForecaster(h=70, lags=60, max_steps=2, random_state=0)
    given = np.bool_(refit) if isinstance(refit, bool) else np.int8(refit)
    frame = est.cross_validation(SERIES, n_windows=np.int8(4), step_size=np.int8(50), refit=given)
    pd.testing.assert_frame_equal(frame, plain.cross_validation(SERIES, 4, step_size=50, refit=refit))
    frame = est.cross_validation(SERIES, np.int8(2), h=np.uint8(130))
    pd.testing.assert_frame_equal(frame, plain.cross_validation(SERIES, 2, h=130))


def test_splits_and_windows():
    small, plain = RollingOrigin(np.int8(4), h=np.int8(100), step_size=np.int8(90)), RollingOrigin(4, 100, 90)
    for one, other in zip(small.split(SERIES), plain.split(SERIES), strict=True):
        for part, right in zip(one, other, strict=True):
            np.testing.assert_array_equal(part, right)
    assert repr(small) == repr(plain)
    for part, right in zip(
        make_windows(SERIES, np.int8(100), np.uint8(200)), make_windows(SERIES, 100, 200), strict=True
    ):
        pd.testing.assert_frame_equal(part, right)


@pytest.mark.parametrize("value", [np.int8(0), np.float32(8), np.int8(-3)])
def test_numbers_that_are_refused_are_refused_still(value):
    with pytest.raises(ValueError, match="hidden_size"):
        LSTMRegressor(value).fit(X, Y)
    with pytest.raises(ValueError, match="lags"):
        make_windows(SERIES, value)
