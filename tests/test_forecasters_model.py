"""What is learnt and asked: windows, numbers, strategies, regressors of the user."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.multioutput import MultiOutputRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from spies import LAGS, QUICK, SCALINGS, WINDOW, H, SpyNetwork, forecaster, name_of, panel_of, spied, walk

from skrnn import GRURegressor, LSTMRegressor, RNNRegressor
from skrnn.forecasting import GRUForecaster, LSTMForecaster, RNNForecaster
from skrnn.forecasting.calendar import features


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
    shift, scale = model.model_.models[0].features.exog
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


# --- numbers ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("cls", [RNNForecaster, LSTMForecaster, GRUForecaster])
@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"strategy": "recursive"},
        {"strategy": "encoder_decoder", "max_steps": 400},
        {"lags": None, "max_steps": 300},
    ],
    ids=name_of,
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
    transform = model.model_.models[0].transform
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
    transform, (shift, scale) = model.model_.models[0].transform, model.model_.models[0].features.exog
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
    shift, scale = (getattr(model.model_.models[0].transform, name).ravel() for name in ("shift", "scale"))
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


# --- seeds and updates ------------------------------------------------------------------------------
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
