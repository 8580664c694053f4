"""What is learnt and asked: windows, inputs, scales, intervals, strategies, and that nothing leaks."""

import math
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.multioutput import MultiOutputRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skrnn import GRURegressor, LSTMRegressor, RNNRegressor
from skrnn.forecasting import GRUForecaster, LSTMForecaster, RNNForecaster
from skrnn.forecasting.calendar import features
from skrnn.forecasting.frames import read_panel
from skrnn.forecasting.intervals import conformal_widths, from_quantiles, quantiles, spread
from skrnn.forecasting.model import Model
from skrnn.forecasting.windows import WINDOW_SCALES, window_scale

H, LAGS = 3, 5
QUICK = dict(h=H, lags=LAGS, max_steps=3, hidden_size=2, random_state=0)
WINDOW = {"scale_by": "window"}
SCALINGS = [
    {"scaling": scaling, "scale_by": by}
    for scaling in ("standard", "robust", "minmax", "mean", "last")
    for by in ("series", "window")
    if scaling != "last" or by == "window"
]


def name_of(parameters):
    return "-".join(map(str, parameters.values())) or "default"


def walk(n=60, seed=0):
    values = 20 + np.random.default_rng(seed).standard_normal(n).cumsum()
    return pd.Series(values, pd.date_range("2024-01-01", periods=n, freq="D"), name="y")


def panel_of(lengths=(30, 24), seed=0):
    """A long frame with covariates x (known ahead) and z (not), all values different."""
    rng = np.random.default_rng(seed)
    parts = [
        pd.DataFrame(
            {
                "unique_id": f"s{i}",
                "ds": np.arange(i, i + n),
                "y": rng.normal(10 * (i + 1), 1, n),
                "x": rng.normal(size=n),
                "z": rng.normal(size=n),
                "size": float(i),
            }
        )
        for i, n in enumerate(lengths)
    ]
    return pd.concat(parts, ignore_index=True)


def forecaster(parameters=None, cls=LSTMForecaster, **more):
    return cls(**QUICK | (parameters or {}) | more)


class Spy(RegressorMixin, BaseEstimator):
    """A regressor that keeps what it is given, and answers with the last columns of its input."""

    def fit(self, X, y):
        self.X_, self.y_ = X, np.asarray(y).reshape(len(X), -1)
        return self

    def predict(self, X):
        self.asked_ = X
        return np.tile(X[:, -1:], self.y_.shape[1])

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


class SpyNetwork(LSTMRegressor):
    """Keeps what it is given and trains for nothing."""

    def fit(self, X, y, sample_weight=None, **validation):
        self.X_, self.y_, self.w_, self.validation_ = X, y, sample_weight, validation
        return super().fit(X, y, sample_weight)


def spied(data, regressor=None, **parameters):
    model = forecaster(parameters, regressor=Spy() if regressor is None else regressor)
    return model.fit(data)


# --- windows ----------------------------------------------------------------------------------------
@pytest.mark.parametrize(("h", "lags"), [(1, 4), (3, 5), (7, 3), (6, 3), (4, 1)])
@pytest.mark.parametrize("strategy", ["direct", "recursive"])
def test_windows_are_those_of_loops_over_rows(h, lags, strategy):
    """Targets up to now, covariates of now, and of the steps to come what is known of them."""
    data, step = panel_of(), 1 if strategy == "recursive" else h
    hist = "z" if step == h else None
    model = spied(
        data, h=h, lags=lags, strategy=strategy, scaling=None, futr_exog="x", hist_exog=hist, stat_exog="size"
    )
    z = (data[["x", "z"]] - data[["x", "z"]].mean()) / data[["x", "z"]].std(ddof=0)
    size = np.array([-1.0, 1.0])  # of unit scale too
    X, y = [], []
    for i, rows in data.groupby("unique_id").indices.items():
        own, x, past = data["y"].to_numpy()[rows], z["x"].to_numpy()[rows], z["z"].to_numpy()[rows]
        for now in range(lags - 1, len(rows) - step):
            window = []
            for t in range(now - lags + 1, now + 1):
                window += [own[t], *([past[t]] if hist else [])]
                window += [x[t + ahead] for ahead in range(step, 0, -lags)]
                window.append(size[int(i[1])])
            X.append(window)
            y.append(own[now + 1 : now + 1 + step])
    assert_allclose(model.regressor_.X_, X, atol=1e-12)
    assert_allclose(model.regressor_.y_, y)
    # Every step to come is in the last window, whatever its length.
    steps_ahead = {t + ahead for t in range(-lags + 1, 1) for ahead in range(step, 0, -lags)}
    assert steps_ahead >= set(range(1, step + 1))


@pytest.mark.parametrize("lags", [LAGS, None])
def test_rows_without_a_difference_are_not_read(lags):
    """The first ones of every series."""
    data = panel_of()
    own = SpyNetwork(2, max_iter=1, random_state=0)
    model = spied(data, own, lags=lags, differences=[2, 1], scaling=None)
    X, steps = model.regressor_.X_, []
    for _, rows in data.groupby("unique_id"):
        y = rows["y"].to_numpy()
        steps.append((y[2:] - y[:-2])[1:] - (y[2:] - y[:-2])[:-1])
    if lags:
        expected = [
            window for y in steps for window in np.lib.stride_tricks.sliding_window_view(y[:-H], lags)
        ]
    else:
        expected = steps
    assert len(X) == len(expected)
    for start, length, each in zip(X.starts, X.lengths, expected):
        assert_allclose(X.values[start : start + length, 0], each, rtol=1e-4, atol=1e-5)
    assert np.isfinite(model.predict()["LSTMForecaster"]).all()


def test_the_window_that_is_asked_goes_on_with_what_is_known_ahead():
    """The window behind those that were learnt, as if its targets had been known."""
    data = panel_of()
    after = data.groupby("unique_id").cumcount(ascending=False)
    model = spied(data[after >= H], futr_exog="x", hist_exog="z", calendar=None, scaling=None)
    shift, scale = model.model_.inputs.exog
    model.predict(X_df=data[after < H])
    asked = model.regressor_.asked_.reshape(2, LAGS, -1)
    for i, rows in enumerate(data.groupby("unique_id").indices.values()):
        now = len(rows) - H
        known = data.iloc[rows]
        assert_allclose(asked[i, :, 0], known["y"].iloc[now - LAGS : now])
        assert_allclose(asked[i, :, 1] * scale[0] + shift[0], known["z"].iloc[now - LAGS : now])
        assert_allclose(asked[i, :, 2] * scale[1] + shift[1], known["x"].iloc[now - LAGS + H : now + H])


def test_calendar_of_the_steps_to_come():
    data = walk()
    model = spied(data.iloc[:-H], calendar=["dayofweek", "month"], scaling=None)
    model.predict()
    expected = features(data.index, ["dayofweek", "month"])
    asked = model.regressor_.asked_.reshape(LAGS, 5)
    assert_allclose(asked[:, 1:], expected[len(data) - LAGS :])
    learnt = model.regressor_.X_.reshape(-1, LAGS, 5)
    assert_allclose(learnt[7, :, 1:], expected[7 + H : 7 + H + LAGS])


@pytest.mark.parametrize("multivariate", [False, True])
def test_windows_of_a_wide_frame(multivariate):
    data = pd.DataFrame({"a": walk(20), "b": walk(20, 1)})
    model = spied(data, multivariate=multivariate, scaling=None)
    both = np.lib.stride_tricks.sliding_window_view(data.to_numpy(), LAGS + H, axis=0)  # (n, target, step)
    if multivariate:
        X = both[:, :, :LAGS].swapaxes(1, 2).reshape(len(both), -1)
        y = both[:, :, LAGS:].swapaxes(1, 2).reshape(len(both), -1)
    else:
        X, y = (np.concatenate(part.swapaxes(0, 1)) for part in (both[:, :, :LAGS], both[:, :, LAGS:]))
    assert_allclose(model.regressor_.X_, X)
    assert_allclose(model.regressor_.y_, y)
    forecast = model.predict()
    if multivariate:  # the regressor says the last value of b for all
        assert_allclose(forecast, data["b"].iloc[-1])
    else:
        assert_allclose(forecast, np.tile(data.iloc[-1:], (H, 1)))


def test_no_more_windows_than_updates_need():
    """64 for each of max_steps, drawn at random from all series, in time order."""
    data = panel_of((400, 300))
    seen = []

    class Network(LSTMRegressor):
        def fit(self, X, y, sample_weight=None, **kwargs):
            seen.append((X, y))
            return super().fit(X, y, sample_weight, **kwargs)

    class Forecaster(LSTMForecaster):
        _regressor_class = Network

    Forecaster(**QUICK | {"max_steps": 2}).fit(data)
    X, y = seen[0]
    assert len(X) == len(y) == 128
    assert len(set(X.starts)) == 128
    assert (np.diff(X.starts) > 0).all()
    assert 40 < np.count_nonzero(X.starts < 400) < 110
    assert_array_equal(y.at, X.starts + LAGS)
    inside = (X.starts <= 400 - LAGS - H) | ((X.starts >= 400) & (X.starts <= 700 - LAGS - H))
    assert inside.all()


@pytest.mark.parametrize("by", ["series", "window"])
def test_windows_are_views_on_the_series(by):
    """O(rows) memory, not O(rows x lags): a network gets one table, in its own precision."""
    n, lags, given = 20_000, 500, []

    class Network(LSTMRegressor):
        def fit(self, X, y, sample_weight=None):
            given.extend([X, y])

    data = pd.Series(np.random.default_rng(0).standard_normal(n))
    model = forecaster(regressor=Network(2), lags=lags, scale_by=by)
    tracemalloc.start()
    try:
        model.fit(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    X, y = given
    assert X.values.shape == y.values.shape == (n, 1)
    assert X.values.dtype == np.float32
    assert X.lengths.sum() == (n - lags - H + 1) * lags
    assert peak < 300 * n  # the windows alone would be 2,000 n


# --- scales -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("scale", WINDOW_SCALES)
def test_scales_of_windows_by_hand(scale):
    rng = np.random.default_rng(0)
    values = np.concatenate(
        [rng.normal(0, 1e9, 40), rng.normal(1, 0.1, 40), rng.normal(-1e6, 1e4, 40)]  # series side by side
    )[:, None] * [1.0, -2.0]  # fmt: skip
    starts = np.concatenate([np.arange(40 * i, 40 * i + 34) for i in range(3)])
    shift, size = window_scale(scale, values, 7, starts)
    statistics = {
        "standard": (np.mean, np.std),
        "robust": (np.median, lambda x: np.subtract(*np.percentile(x, [75, 25]))),
        "minmax": (np.min, np.ptp),
        "mean": (lambda x: 0, lambda x: np.abs(x).mean()),
        "last": (lambda x: 0, lambda x: abs(x[-1])),
    }[scale]
    for k, start in enumerate(starts):
        for column in range(2):
            window = values[start : start + 7, column]
            expected = [function(window) for function in statistics]
            assert_allclose([shift[k, column], size[k, column]], expected, rtol=1e-9, err_msg=f"{start}")


@pytest.mark.parametrize("scale", WINDOW_SCALES)
def test_windows_without_a_size(scale):
    """Their level, or 1."""
    values = np.r_[np.zeros(6), np.full(6, -4.0)][:, None]
    _, size = window_scale(scale, values, 3, np.array([0, 6]))
    assert size[:, 0].tolist() == [1, 4]


@pytest.mark.parametrize("scaling", SCALINGS, ids=name_of)
def test_a_window_is_learnt_in_units_of_its_scale(scaling):
    data = walk()
    model = spied(data, **scaling)
    windows = np.lib.stride_tricks.sliding_window_view(data.to_numpy(), LAGS + H)
    if scaling["scale_by"] == "window":
        shift, size = window_scale(
            scaling["scaling"], data.to_numpy()[:, None], LAGS, np.arange(len(windows))
        )
    else:
        shift, size = model.model_.transform.shift, model.model_.transform.scale
    assert_allclose(model.regressor_.X_, ((windows - shift) / size)[:, :LAGS], rtol=1e-6)
    assert_allclose(model.regressor_.y_, ((windows - shift) / size)[:, LAGS:], rtol=1e-6)
    assert_allclose(model.predict(), data.iloc[-1])  # what the spy says, back in the units of the data


def test_each_target_of_a_window_has_its_scale_and_covariates_have_none():
    data = pd.DataFrame({"a": walk(), "b": -1000 * walk(seed=1), "z": walk(seed=2)})
    model = spied(data, multivariate=True, hist_exog="z", scaling="minmax", **WINDOW)
    z = (data["z"] - data["z"].mean()) / data["z"].std(ddof=0)
    windows = np.lib.stride_tricks.sliding_window_view(data.assign(z=z), LAGS + H, axis=0).swapaxes(1, 2)
    X, y = windows[:, :LAGS], windows[:, LAGS:, :2]
    low, high = X[:, :, :2].min(axis=1, keepdims=True), X[:, :, :2].max(axis=1, keepdims=True)
    expected = np.dstack([(X[:, :, :2] - low) / (high - low), X[:, :, 2:]])
    assert_allclose(model.regressor_.X_, expected.reshape(len(X), -1), atol=1e-6)
    assert_allclose(model.regressor_.y_, ((y - low) / (high - low)).reshape(len(y), -1), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("log1p", [False, True])
@pytest.mark.parametrize("differences", [None, 1, [7, 1]])
@pytest.mark.parametrize("scaling", [*SCALINGS, {"scaling": None}], ids=name_of)
def test_every_transform_is_undone(scaling, differences, log1p):
    """The last change that was learnt, repeated: by hand from the transformed series."""
    data = walk()
    model = spied(data, **scaling, differences=differences, log1p=log1p)
    forecast = model.predict()
    changed = np.log1p(data.to_numpy()) if log1p else data.to_numpy()
    lags = [] if differences is None else [differences] if isinstance(differences, int) else differences
    stages = [changed]
    for lag in lags:
        stages.append(stages[-1][lag:] - stages[-1][:-lag])
    expected = np.repeat(stages[-1][-1], H)
    for lag, before in zip(lags[::-1], stages[-2::-1]):
        past = before.tolist()
        for step in expected:
            past.append(step + past[-lag])
        expected = np.array(past[-H:])
    assert_allclose(forecast, np.expm1(expected) if log1p else expected, rtol=1e-5)


@pytest.mark.parametrize("scaling", SCALINGS, ids=name_of)
@pytest.mark.parametrize("differences", [None, 1])
def test_units_do_not_matter(scaling, differences):
    """The same fit in other units; and from another zero, where the scale has a shift."""
    data = walk()
    model = forecaster(scaling, differences=differences, max_steps=20)
    expected = model.fit(data).predict()
    for factor in 1e-3, 1e5:
        assert_allclose(model.fit(factor * data).predict() / factor, expected, rtol=1e-4)
    if differences or scaling["scaling"] not in ("mean", "last"):
        for level in 1e3, -1e7:
            assert_allclose(model.fit(data + level).predict() - level, expected, atol=1e-3)


@pytest.mark.parametrize("scaling", [*SCALINGS, {"scaling": None}], ids=name_of)
@pytest.mark.parametrize("differences", [None, 1])
@pytest.mark.parametrize("value", [0.0, 7.3, -1e6])
def test_constant_series(scaling, differences, value):
    """No division by zero, no NaN; the forecast is the constant, in units of the size of its level."""
    data = pd.Series(np.full(60, value))
    model = forecaster(scaling, differences=differences, max_steps=200, learning_rate_init=0.05, level=80)
    if scaling["scaling"] is None and not differences and value == -1e6:
        data = data / 1e6  # a network does not reach a million by itself
    forecast = model.fit(data).predict()
    assert_allclose(forecast, data.iloc[0], atol=0.1 * max(1, abs(value)))
    conformal = model.set_params(intervals="conformal").fit(data).predict()
    assert np.isfinite(conformal.to_numpy()).all()


def test_a_constant_series_among_others():
    data = panel_of()
    data.loc[data["unique_id"] == "s1", "y"] = 5.0
    for scaling in SCALINGS:
        forecast = forecaster(scaling, max_steps=100, learning_rate_init=0.01).fit(data).predict()
        assert_allclose(forecast["LSTMForecaster"][H:], 5, atol=1)


# --- numbers ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("cls", [RNNForecaster, LSTMForecaster, GRUForecaster])
@pytest.mark.parametrize(
    "parameters", [{}, {"strategy": "recursive"}, {"lags": None, "max_steps": 300}], ids=name_of
)
def test_a_noiseless_sine(cls, parameters):
    t = np.arange(300)
    data = pd.Series(50 + 10 * np.sin(2 * np.pi * t / 12))
    model = cls(
        **dict(h=6, lags=24, max_steps=200, learning_rate_init=0.01, hidden_size=12, random_state=0)
        | parameters
    )
    forecast = model.fit(data[:-6]).predict()
    assert np.abs(forecast - data[-6:]).max() < 1.5


@pytest.mark.parametrize("lags", [4, None])
def test_a_trend_with_differences(lags):
    data = pd.Series(3.0 * np.arange(80) - 1000)
    forecast = forecaster(lags=lags, differences=1, max_steps=100).fit(data).predict()
    assert_allclose(forecast, 3 * np.arange(80, 80 + H) - 1000, atol=0.3)


@pytest.mark.parametrize(
    "scaling", [{"scaling": "standard"}, {"scaling": "last"}, {"scaling": "mean", **WINDOW}], ids=name_of
)
def test_series_of_very_different_levels(scaling):
    """Each is forecast in its own units."""
    t = np.arange(200)
    shape = 2 + np.sin(2 * np.pi * t / 10)
    data = pd.DataFrame({"small": shape, "large": 1e6 * shape[::-1]})
    model = GRUForecaster(h=5, lags=10, max_steps=300, learning_rate_init=0.01, random_state=0, **scaling)
    forecast = model.fit(data[:-5]).predict()
    assert (np.abs(forecast / data[-5:] - 1) < 0.1).all(axis=None)


def test_one_series_does_not_matter_to_the_forecast_of_another():
    """Histories that `predict` is given come alone or together."""
    data = panel_of().assign(y=lambda d: d["y"] * np.where(d["unique_id"] == "s0", 1e9, 1))
    for scaling in SCALINGS:
        model = forecaster(scaling).fit(data)
        both, alone = model.predict(), model.predict(data[data["unique_id"] == "s1"])
        assert_allclose(both["LSTMForecaster"][H:], alone["LSTMForecaster"], rtol=1e-12)


# --- strategies -------------------------------------------------------------------------------------
def by_hand(model, data, rows):
    """The fitted network's last answer to a history, with rows to come that it is to read as well."""
    transform = model.model_.transform
    history = (np.r_[data.to_numpy(), rows] - transform.shift[0]) / transform.scale[0]
    answer = model.regressor_.predict([history.astype(model.regressor_.dtype)[:, None]])[0][-1]
    return answer * transform.scale[0] + transform.shift[0]


@pytest.mark.parametrize(
    "regressor",
    [
        None,
        GRURegressor(4, num_layers=2, max_iter=3, random_state=0),
        LSTMRegressor(3, dtype="float64", max_iter=2, tbptt_steps=10, random_state=0),
    ],
    ids=["own", "GRU", "float64"],
)
def test_free_running_over_the_whole_history(regressor):
    """Each answer is the network's to the history with the answers before it."""
    data = walk()
    model = forecaster(lags=None, strategy="recursive", regressor=regressor, max_steps=20).fit(data)
    forecast, rows = model.predict(), []
    for _ in range(H):
        rows.append(float(by_hand(model, data, rows)[0]))
    assert_allclose(forecast, rows, rtol=1e-6)
    direct = forecaster(lags=None, regressor=regressor, max_steps=20).fit(data)
    assert_allclose(direct.predict(), by_hand(direct, data, []), rtol=1e-6)


def test_histories_are_learnt_step_by_step():
    """After each step the next H targets, where there are as many, of its own series."""
    data = panel_of((30, 24))
    own = SpyNetwork(2, max_iter=1, random_state=0)
    network = spied(data, own, lags=None, scaling=None).regressor_
    assert network.return_sequences
    assert network.X_.starts.tolist() == [0, 30]
    assert network.X_.lengths.tolist() == [30, 24]
    assert_allclose(network.X_.values[:, 0], data["y"], rtol=1e-6)
    targets = network.y_.matrix()
    learnt = np.flatnonzero(network.w_)
    assert learnt.tolist() == [*range(30 - H), *range(30, 54 - H)]
    for row in learnt:
        assert_allclose(targets[row], data["y"][row + 1 : row + 1 + H], rtol=1e-6)


@pytest.mark.parametrize(
    "regressor",
    [Ridge(0.1), GRURegressor(4, max_iter=5, random_state=0, dtype="float64")],
    ids=["Ridge", "GRU"],
)
def test_recursive_windows(regressor):
    """By hand: the window moves on over the answers, with the covariates of the step to come."""
    data = panel_of((40,)).drop(columns="z").set_index("ds")[["y", "x"]]
    known, held_back = data.iloc[:-H], data.iloc[-H:]
    model = forecaster(strategy="recursive", regressor=regressor, futr_exog="x").fit(known)
    forecast = model.predict(X_df=held_back)["y"]
    transform, (shift, scale) = model.model_.transform, model.model_.inputs.exog
    y = ((known["y"] - transform.shift[0, 0]) / transform.scale[0, 0]).tolist()
    x = ((data["x"] - shift[0]) / scale[0]).tolist()
    for k in range(H):
        now = len(known) + k
        window = np.stack([y[now - LAGS : now], x[now - LAGS + 1 : now + 1]], axis=1)
        X = window.reshape(1, -1) if isinstance(regressor, Ridge) else window[None]
        y.append(float(np.ravel(model.regressor_.predict(X))[0]))
    assert_allclose(forecast, np.array(y[-H:]) * transform.scale[0, 0] + transform.shift[0, 0], rtol=1e-9)


@pytest.mark.parametrize("lags", [LAGS, None])
@pytest.mark.parametrize(
    "parameters", [{}, {"missing": "mask"}, {"differences": [1, 7]}, {"log1p": True}], ids=name_of
)
def test_a_recursive_forecast_reads_its_answers_as_observed(lags, parameters):
    """A history that ends with the first answers goes on with the others."""
    data = walk()
    if "missing" in parameters:
        data.iloc[[20, 31, 32]] = np.nan
    model = forecaster(parameters, lags=lags, strategy="recursive", max_steps=50).fit(data)
    forecast = model.predict()
    for known in 1, 2:
        longer = model.predict(pd.concat([data, forecast[:known]]).asfreq("D"))
        assert_allclose(longer[: H - known], forecast[known:], rtol=1e-5)


@pytest.mark.parametrize("strategy", ["direct", "recursive"])
@pytest.mark.parametrize("scaling", ["standard", "robust", "minmax", "mean", None])
def test_a_linear_regression_finds_a_linear_rule(strategy, scaling):
    """y(t) = 1.6 y(t-1) - y(t-2): exactly, for whole horizons at once and for one step after the other."""
    values = [1.0, 2.0]
    for _ in range(60):
        values.append(1.6 * values[-1] - values[-2])
    data = pd.Series(values)
    model = forecaster(lags=2, scaling=scaling, regressor=LinearRegression(), strategy=strategy)
    assert_allclose(model.fit(data[:-H]).predict(), data[-H:], atol=1e-9)


@pytest.mark.parametrize(
    "regressor",
    [
        LSTMRegressor(3, max_iter=2, random_state=0),
        GRURegressor(3, bidirectional=True, num_layers=2, linear_skip=True, max_iter=2, random_state=0),
        RNNRegressor(3, cell="gru", dtype="float64", pooling="mean", max_iter=2, random_state=0),
        LSTMRegressor(3, return_sequences=True, max_iter=2, random_state=0),  # of which the last step counts
        Ridge(),
    ],
    ids=["LSTM", "bidirectional", "float64", "per step", "Ridge"],
)
@pytest.mark.parametrize("multivariate", [False, True])
def test_regressors_of_the_user(regressor, multivariate):
    """The forecast is their answer to the last window, in the units of the data."""
    data = pd.DataFrame({"a": walk(), "b": 100 * walk(seed=1)})
    model = forecaster(regressor=regressor, multivariate=multivariate).fit(data)
    assert type(model.regressor_) is type(regressor)
    shift, scale = (getattr(model.model_.transform, name).ravel() for name in ("shift", "scale"))
    windows = ((data.iloc[-LAGS:].to_numpy() - shift) / scale)[None]  # (1, lags, target)
    windows = windows if multivariate else windows.transpose(2, 1, 0)
    if isinstance(regressor, Ridge):
        windows = windows.reshape(len(windows), -1)
    else:
        windows = windows.astype(regressor.dtype)
    answers = model.regressor_.predict(windows).reshape(len(windows), H, -1)
    answers = answers[0] if multivariate else answers[:, :, 0].T
    assert_allclose(model.predict(), answers * scale + shift, rtol=1e-5)


def test_a_regressor_of_one_output():
    data = walk()
    model = forecaster(regressor=GradientBoostingRegressor(n_estimators=5, random_state=0)).fit(data)
    assert isinstance(model.regressor_, MultiOutputRegressor)
    assert len(model.regressor_.estimators_) == H
    assert model.predict().nunique() > 1
    single = forecaster(h=1, regressor=GradientBoostingRegressor(n_estimators=5, random_state=0)).fit(data)
    assert isinstance(single.regressor_, GradientBoostingRegressor)


# --- intervals --------------------------------------------------------------------------------------
def test_quantiles_of_levels():
    assert quantiles([80, 95]) == [0.025, 0.1, 0.5, 0.9, 0.975]
    assert quantiles([99.9, 33.3]) == [0.0005, 0.3335, 0.5, 0.6665, 0.9995]
    assert quantiles([]) == [0.5]


def test_statistics_are_picked_from_the_quantiles():
    answers = np.arange(2 * 3 * 5).reshape(2, 3, 1, 5)
    statistics = from_quantiles(answers, [80, 95])
    assert list(statistics) == ["point", "lo-80", "hi-80", "lo-95", "hi-95"]
    for name, column in {"point": 2, "lo-80": 1, "hi-80": 3, "lo-95": 0, "hi-95": 4}.items():
        assert_array_equal(statistics[name], answers[..., column])


@pytest.mark.parametrize(
    "parameters",
    [{}, {"lags": None}, {"multivariate": True}, {"differences": [1, 7]}, {"log1p": True, **WINDOW}],
    ids=name_of,
)
def test_quantiles_never_cross(parameters):
    """And the point forecast is the median, of the same network."""
    data = pd.DataFrame({"a": walk(), "b": walk(seed=1)})
    model = forecaster(parameters, level=[1, 50, 99.5], max_steps=30).fit(data)
    forecast = model.predict()
    for name in "a", "b":
        columns = (
            forecast[name].droplevel(0, axis=1) if forecast[name].columns.nlevels > 1 else forecast[name]
        )
        point = "LSTMForecaster"
        order = [f"{point}-lo-99.5", f"{point}-lo-50", f"{point}-lo-1", point]
        order += [f"{point}-hi-1", f"{point}-hi-50", f"{point}-hi-99.5"]
        assert (np.diff(columns[order].to_numpy(), axis=1) >= 0).all()
        assert (columns[order[-1]] > columns[order[0]]).all()
    assert_allclose(model.regressor_.quantiles_, [0.0025, 0.25, 0.495, 0.5, 0.505, 0.75, 0.9975])


def test_widths_by_hand():
    """The error of rank ceil((n + 1) level), of all errors in units of the mean of their step."""
    rng = np.random.default_rng(0)
    errors = (
        rng.exponential(1, (6, 2, 3, 1)) * np.array([1.0, 2, 5])[:, None]
    )  # (window, series, step, target)
    errors[0, 1, 2] = np.nan
    widths = conformal_widths(errors, [50, 80, 100])
    means = [np.nanmean(errors[:, :, step]) for step in range(3)]
    relative = sorted(e / means[k] for (_, _, k, _), e in np.ndenumerate(errors) if not math.isnan(e))
    n = len(relative)
    assert n == 35
    expected = [relative[min(n, math.ceil((n + 1) * share)) - 1] for share in (0.5, 0.8, 1.0)]
    assert_allclose(widths, np.outer(expected, means))
    assert relative[28] == expected[1]  # rank 29 of 35


def test_errors_of_zero_make_intervals_of_width_zero():
    assert_array_equal(conformal_widths(np.zeros((3, 1, 2, 1)), [80]), np.zeros((1, 2)))


def test_spread():
    """The mean absolute step of the history; 1 for a constant."""
    data = pd.DataFrame({"a": [1.0, 3, 2, 100], "b": [5.0, 5, 5, 9]})
    panel = read_panel(data)
    assert spread(panel.until(panel.stops - 1)).tolist() == [[1.5], [1.0]]
    assert spread(read_panel(data, multivariate=True)).tolist() == [[101 / 3, 4 / 3]]
    assert spread(panel.until(panel.starts[:-1] + 1)).tolist() == [[1], [1]]


def test_conformal_intervals_from_errors_of_windows_held_back():
    """Of a model that knew nothing of them; in units of each series' spread at each cutoff."""
    data = pd.DataFrame({"a": walk(), "b": 50 * walk(seed=1)})
    parameters = dict(level=[60, 90], intervals="conformal", calibration_windows=4)
    forecast = forecaster(parameters).fit(data).predict()
    scores = forecaster().cross_validation(data, n_windows=4, refit=False)
    errors = np.empty((4, 2, H, 1))
    for k, cutoff in enumerate(scores.index.unique(0)):
        for i, name in enumerate(data):
            part = scores.loc[cutoff, name]
            size = data[name][:cutoff].diff().abs().mean()
            errors[k, i, :, 0] = np.abs(part["y"] - part["LSTMForecaster"]) / size
    widths = conformal_widths(errors, [60, 90])
    plain = forecaster().fit(data).predict()
    for name in data:
        size = data[name].diff().abs().mean()
        for level, width in zip((60, 90), widths):
            for sign, side in (-1, "lo"), (1, "hi"):
                bound = forecast[name, f"LSTMForecaster-{side}-{level}"]
                assert_allclose(bound, plain[name] + sign * width * size, rtol=1e-9)


def test_coverage_of_conformal_intervals():
    """On noise that no model can foresee: near the level, over many held-back points."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((400, 8))
    for t in range(1, 400):
        noise[t] += 0.6 * noise[t - 1]
    data = pd.DataFrame(noise, columns=list("abcdefgh"))
    model = forecaster(h=4, regressor=Ridge(), level=80, intervals="conformal", calibration_windows=20)
    scores = model.cross_validation(data, n_windows=25, refit=False)
    y, lo, hi = (
        scores.xs(name, axis=1, level=1) for name in ("y", "LSTMForecaster-lo-80", "LSTMForecaster-hi-80")
    )
    covered = ((lo <= y) & (y <= hi)).to_numpy()
    assert covered.size == 800
    assert 0.74 < covered.mean() < 0.86


# --- nothing leaks ----------------------------------------------------------------------------------
ROLES = dict(futr_exog="x", hist_exog="z")
LEAKS = {
    "direct": ROLES,
    "h > lags": ROLES | {"lags": 2},
    "window": ROLES | {"scaling": "standard", **WINDOW},
    "differences": ROLES | {"differences": [1, 2]},
    "whole histories": ROLES | {"lags": None},
    "recursive": {"futr_exog": "x", "strategy": "recursive"},
    "quantiles": ROLES | {"level": 80},
    "conformal": ROLES | {"level": 80, "intervals": "conformal", "calibration_windows": 3},
    "early stopping": ROLES | {"validation_fraction": 0.3},
    "Ridge": ROLES | {"regressor": Ridge()},
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("refit", [True, False])
@pytest.mark.parametrize("name", LEAKS)
def test_no_value_of_the_future_moves_a_forecast(name, refit):
    """Each value behind a cutoff, one at a time; but for the known ahead covariates of its horizon."""
    n, n_windows, step = 34, 2, 2
    data = panel_of((n, n - 2))
    model = forecaster(LEAKS[name], max_steps=2)
    columns = ["y", "x"] + (["z"] if "hist_exog" in LEAKS[name] else [])

    def answers(frame):
        scores = model.cross_validation(frame, n_windows, step_size=step, refit=refit)
        return scores.drop(columns="y").iloc[:, 3:].to_numpy().reshape(2, n_windows, H, -1)

    before = answers(data)
    ends = data.groupby("unique_id").indices
    for column in columns:
        for behind in range(1, H + step + 1):  # rows from the end
            frame = data.copy()
            frame.loc[[rows[-behind] for rows in ends.values()], column] += 3.0
            moved = (answers(frame) != before).any(axis=(2, 3))  # (series, window)
            for window in range(n_windows):
                held_back = H + (n_windows - 1 - window) * step
                if behind > held_back:  # known at the cutoff
                    continue
                ahead = held_back - behind + 1  # steps from the cutoff on
                assert moved[:, window].any() == (column == "x" and ahead <= H), (column, behind, window)


@pytest.mark.parametrize("missing", ["interpolate", "mask"])
@pytest.mark.parametrize("rows", [slice(20, 24), slice(22, 27)])
def test_gaps_are_not_filled_from_behind_a_cutoff(missing, rows):
    """The backtest of data with a gap over a cutoff knows what a fit on the data until there knows."""
    data = walk(33)
    data.iloc[rows] = np.nan
    model = forecaster(missing=missing, max_steps=5)
    scores = model.cross_validation(data, n_windows=5, step_size=2)
    for k, cutoff in enumerate(scores["cutoff"].unique()):
        known = model.fit(data[:cutoff])
        assert_array_equal(scores["LSTMForecaster"].iloc[k * H : (k + 1) * H], known.predict())


@pytest.mark.parametrize("missing", ["interpolate", "mask"])
def test_a_gap_at_the_end_is_filled_anew_by_what_follows(missing):
    data = pd.DataFrame({"y": walk(), "z": walk(seed=1)})
    data.iloc[-9:-4] = np.nan
    model = forecaster(missing=missing, hist_exog="z").fit(data[:-6])
    expected = model.predict(data)
    pd.testing.assert_frame_equal(model.update(data[-6:]).predict(), expected)


@pytest.mark.parametrize("lengths", [(60, 40), (60, 10)])
def test_windows_that_are_held_back_share_no_target(lengths):
    data = panel_of(lengths)
    own = SpyNetwork(2, max_iter=2, random_state=0)
    network = spied(data, own, validation_fraction=0.25).regressor_
    learnt = {row for at in network.y_.at for row in range(at, at + H)}
    held_back = {row for at in network.validation_["y_val"].at for row in range(at, at + H)}
    assert not learnt & held_back
    assert max(row for row in learnt if row < 60) < min(held_back)
    first = 60 - LAGS - H + 1
    assert sum(at < 60 for at in network.validation_["y_val"].at) == math.ceil(0.25 * first)
    assert len(network.X_) + len(network.validation_["X_val"]) == first - (H - 1) + (
        lengths[1] - LAGS - H + 1 - (H - 1 if lengths[1] == 40 else 0)
    )


def test_early_stopping_of_the_users_regressor():
    """Asked for there, with its own share; the split is by time all the same."""
    own = SpyNetwork(2, max_iter=2, early_stopping=True, validation_fraction=0.3, random_state=0)
    network = spied(walk(), own).regressor_
    n = 60 - LAGS - H + 1
    assert len(network.validation_["X_val"]) == math.ceil(0.3 * n)
    assert network.X_.starts.max() + LAGS + H <= network.validation_["y_val"].at.min()


def test_early_stopping_keeps_the_best_weights():
    t = np.arange(200)
    data = pd.Series(np.sin(t / 3) + np.random.default_rng(0).normal(0, 0.3, 200))
    model = forecaster(validation_fraction=0.2, max_steps=400, hidden_size=16, learning_rate_init=0.02).fit(
        data
    )
    network = model.regressor_
    assert network.best_validation_score_ == max(network.validation_scores_)
    assert network.n_iter_ < network.max_iter


# --- what is missing --------------------------------------------------------------------------------
def with_gaps(n=60):
    data = walk(n)
    data.iloc[[10, 11, 30, 47]] = np.nan
    return data


@pytest.mark.parametrize("lags", [LAGS, None])
def test_the_network_is_told_what_was_missing(lags):
    """A second column says what was observed, and what was not is no target."""
    own = SpyNetwork(2, max_iter=1, random_state=0)
    data = with_gaps()
    model = spied(data, own, missing="mask", lags=lags)
    network, observed = model.regressor_, data.notna().to_numpy()
    assert_array_equal(network.X_.values[:, 1], observed)
    if lags:
        expected = [observed[at : at + H].all() for at in network.y_.at]
        assert_array_equal(network.w_, expected)
    else:
        expected = [t + H < 60 and observed[t + 1 : t + 1 + H].all() for t in range(60)]
        assert_array_equal(network.w_ > 0, expected)
    assert 0 < sum(expected) < len(expected)


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"lags": None},
        {"regressor": Ridge()},
        {"differences": 1},
        {"validation_fraction": 0.3},
        {"multivariate": True},
    ],
    ids=name_of,
)
def test_filled_values_are_never_learnt(parameters, monkeypatch):
    """Other values there, as targets only, and the fit is the same to the bit."""
    data = pd.DataFrame({"a": with_gaps(), "b": walk(seed=3)})
    model = forecaster(parameters, missing="mask", max_steps=5, scaling=None)
    expected = model.fit(data).predict()
    method = "_windows" if model.lags else "_learn_histories"
    place = 1 if model.lags else 2  # of the targets among its arguments; which are unknown comes next
    original, calls = getattr(Model, method), []

    def spoilt(self, *arguments):
        targets, unknown = arguments[place : place + 2]
        calls.append(np.count_nonzero(unknown))
        other = np.where(unknown[:, None], 1e3, targets).astype(targets.dtype)
        return original(self, *arguments[:place], other, *arguments[place + 1 :])

    monkeypatch.setattr(Model, method, spoilt)
    pd.testing.assert_frame_equal(model.fit(data).predict(), expected)
    assert min(calls) >= 4


def test_missing_values_do_not_stop_a_fit_early():
    """Windows that are held back with targets that are known, all of them."""
    own = SpyNetwork(2, max_iter=2, random_state=0)
    data = with_gaps()
    network = spied(data, own, missing="mask", validation_fraction=0.3).regressor_
    held_back, observed = network.validation_["y_val"], data.notna().to_numpy()
    windows = [at for at in range(held_back.at.min(), 60 - H + 1) if observed[at : at + H].all()]
    assert held_back.at.tolist() == windows
    assert network.validation_["X_val"].starts.tolist() == [at - LAGS for at in windows]
    assert 47 in range(min(windows), 60)


def test_interpolated_values_are_targets_like_others():
    data = with_gaps()
    model = spied(data, missing="interpolate")
    filled = data.interpolate()
    assert len(model.regressor_.X_) == 60 - LAGS - H + 1
    pd.testing.assert_series_equal(spied(filled).predict(), model.predict())


def test_true_values_that_were_missing_are_no_errors():
    data = walk()
    data.iloc[-2] = np.nan
    scores = forecaster(missing="mask").cross_validation(data, n_windows=2)
    assert scores["y"].isna().tolist() == [False] * 4 + [True, False]
    model = forecaster(missing="mask").fit(data[:-H])
    error = (model.predict() - data[-H:]).abs() / data[:-H].diff().abs().mean()
    assert model.score(data[-H:]) == pytest.approx(-error.dropna().mean())


@pytest.mark.parametrize(
    "regressor",
    [
        GRURegressor(3, max_iter=1),
        make_pipeline(StandardScaler(), MLPRegressor(hidden_layer_sizes=3, max_iter=2)),
    ],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_seed_reaches_a_regressor_without_one(regressor):
    first, again, other = (
        forecaster(regressor=regressor, random_state=seed).fit(walk()).predict() for seed in (1, 1, 2)
    )
    assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_seed_of_the_regressors_own_stays():
    model = forecaster(regressor=GRURegressor(3, max_iter=1, random_state=5), random_state=1).fit(walk())
    assert model.regressor_.random_state == 5


def test_updates_do_not_count_windows_held_back():
    whole, half = (
        forecaster(max_steps=100, validation_fraction=share).fit(walk(2500)).regressor_
        for share in (None, 0.5)
    )
    assert whole.batch_size == half.batch_size == 64
    assert (whole.max_iter, half.max_iter) == (round(100 / 39), round(100 / 20))
