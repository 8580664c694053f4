"""Every form of data in and out of a forecaster: series, wide and long frames."""

import pickle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from forms import FORMS, MODEL, N, few_forms, head, kind, long, noise, same, tail
from pandas.testing import assert_frame_equal, assert_index_equal
from spies import H, forecaster

from skrnn.forecasting import evaluate


@pytest.fixture(params=FORMS)
def form(request):
    return FORMS[request.param]


def test_forecasts_have_the_form_of_the_data(form):
    """As the rows that were held back have it: index with its kind, frequency, zone and name; columns."""
    data, parameters = form
    forecast = forecaster(parameters).fit(head(data, H)).predict()
    expected = tail(data, H)
    assert type(forecast) is type(expected)
    if kind(data) == "long":
        assert forecast.columns.tolist() == [*expected.columns[:2], MODEL]
        assert_frame_equal(forecast.iloc[:, :2], expected.iloc[:, :2], check_column_type=False)
        values = forecast[MODEL]
    else:
        assert_index_equal(forecast.index, expected.index, exact="equiv")
        if isinstance(forecast.index, pd.DatetimeIndex):
            assert forecast.index.freq == data.index.freq
        if kind(data) == "series":
            assert forecast.name == data.name
        else:
            assert_index_equal(forecast.columns, data.columns)
        values = forecast
    assert values.to_numpy().dtype == np.float64
    assert np.isfinite(values.to_numpy()).all()
    assert np.ptp(values.to_numpy()) > 0


def test_levels_become_columns(form):
    data, parameters = form
    forecast = forecaster(parameters, level=[95, 80.5]).fit(data).predict()
    statistics = ["", "-lo-80.5", "-hi-80.5", "-lo-95", "-hi-95"]
    if kind(data) == "long":
        assert forecast.columns[2:].tolist() == [MODEL + name for name in statistics]
    elif kind(data) == "series":
        assert forecast.columns.tolist() == [
            ("y" if data.name is None else data.name) + s for s in statistics
        ]
    else:
        assert forecast.columns.names == ["shop", "statistic"]
        assert forecast.columns.tolist() == [(c, MODEL + s) for c in data.columns for s in statistics]
    point, lo, hi, lower, higher = forecast.to_numpy()[:, -5:].T.astype(float)
    assert (lower < lo).all()
    assert (lo < point).all()
    assert (point < hi).all()
    assert (hi < higher).all()


def test_histories_of_fit_and_others_of_their_form(form):
    data, parameters = form
    model = forecaster(parameters).fit(data)
    same(model.predict(data), model.predict())
    before = model.predict()
    other = model.predict(head(data, 4))
    for name, values in columns_of(other, data).items():
        assert (values != columns_of(before, data)[name]).all()
    same(model.predict(), before)  # nothing was kept


@few_forms
def test_a_window_of_history_is_enough(few):
    """Other forecasts would mean that something of `fit` or of rows before the window was read."""
    data, parameters = few
    model = forecaster(parameters).fit(data)
    same(model.predict(tail(data, 5)), model.predict())


def test_update_appends(form):
    """As if all had been the history: forecasts of the longer history by the same network."""
    data, parameters = form
    model = forecaster(parameters).fit(head(data, 6))
    expected = model.predict(data)
    assert model.update(head(tail(data, 6), 2)) is model
    model.update(tail(data, 2))
    same(model.predict(), expected)


def test_rows_to_fill_in(form):
    data, parameters = form
    model = forecaster(parameters).fit(data)
    future, forecast = model.make_future_dataframe(), model.predict()
    if kind(data) == "long":
        assert_frame_equal(future, forecast.iloc[:, :2])
    else:
        assert_index_equal(future.index, forecast.index)
        assert len(future.columns) == 0
    moved = model.update(model_rows(forecast, data)).make_future_dataframe()
    assert len(moved) == len(future)
    assert not moved.equals(future)


def model_rows(forecast, data):
    """A forecast as if it were data."""
    if kind(data) == "long":
        return forecast.set_axis(data.columns, axis=1)
    return forecast


def flat(scores, data):
    """Scores of any form with the columns series, cutoff, time, y and those of the statistics."""
    if kind(data) == "long":
        return scores.set_axis(["series", "time", "cutoff", "y", *scores.columns[4:]], axis=1)
    if kind(data) == "series":
        return scores.rename_axis("time").reset_index().assign(series=0)
    names = [*scores.index.names]
    stacked = scores.stack(level=0, future_stack=True).rename_axis(["cutoff", "time", "series"])
    assert names == ["cutoff", data.index.name]
    return stacked.reset_index()


def columns_of(forecast, data):
    """Point forecasts, a column for each series."""
    if kind(data) == "long":
        ids = forecast.iloc[:, 0]
        return {each: forecast[MODEL][ids == each].to_numpy() for each in ids.unique()}
    if kind(data) == "series":
        return {0: forecast.to_numpy()}
    return {name: forecast[name].to_numpy() for name in data.columns}


@pytest.mark.parametrize("step_size", [1, H, 5])
def test_backtests_are_fits_on_cut_data(form, step_size):
    """To the bit; the cutoff is the last stamp that was known, `y` are the data."""
    data, parameters = form
    model = forecaster(parameters, max_steps=2)
    scores = flat(model.cross_validation(data, n_windows=2, step_size=step_size), data)
    for k, held_back in enumerate([H + step_size, H]):
        known = head(data, held_back)
        expected = columns_of(model.fit(known).predict(), data)
        truth = head(tail(data, held_back), held_back - H)
        for name, values in expected.items():
            part = scores[scores["series"] == name].iloc[k * H : (k + 1) * H]
            np.testing.assert_array_equal(part[MODEL], values)
            if kind(data) == "long":
                mine = truth[truth.iloc[:, 0] == name]
                last = known[known.iloc[:, 0] == name].iloc[-1, 1]
                y, times = mine.iloc[:, 2], mine.iloc[:, 1]
            else:
                y, times, last = (truth if name == 0 else truth[name]), truth.index, known.index[-1]
            np.testing.assert_array_equal(part["y"], y)
            assert part["time"].tolist() == list(times)
            assert part["cutoff"].tolist() == [last] * H


def test_order_of_rows_of_a_long_frame_means_nothing():
    data, model = long(), forecaster()
    expected = model.fit(data).predict()
    shuffled = data.sample(frac=1, random_state=1)
    assert_frame_equal(model.fit(shuffled).predict(), expected)
    assert_frame_equal(model.predict(shuffled[shuffled["unique_id"] != "b"]).reset_index(drop=True),
                       expected[expected["unique_id"] != "b"].reset_index(drop=True))  # fmt: skip


@few_forms
def test_data_are_not_changed(few):
    data, parameters = few
    before = data.copy()
    model = forecaster(parameters, log1p=True, differences=1, scale_by="window").fit(data)
    model.predict(data)
    model.cross_validation(data, 2)
    same(data, before)
    forecast = model.predict()
    kept = forecast.copy()
    forecast.iloc[:] = forecast.iloc[::-1].to_numpy()
    same(model.predict(), kept)


@pytest.mark.parametrize("names", [("ds", "y"), ("date", "sales")])
def test_a_long_frame_of_one_series_needs_no_id(names):
    """Answers are those of the frame with an id, without its column."""
    days = pd.date_range("2024", periods=43)
    plain = pd.DataFrame({names[0]: days, names[1]: noise(43), "x": noise(43, 1), "unnamed": "text"})
    named = plain.assign(unique_id=names[1])
    parameters = dict(time_col=names[0], target_col=names[1], futr_exog="x", level=80)

    def answers(data):
        model = forecaster(parameters).fit(data[:37].sample(frac=1, random_state=0))
        yield model.make_future_dataframe()
        yield model.predict(X_df=data)
        yield model.predict(data[:35], X_df=data[35:40])
        yield model.update(data[37:40]).predict(X_df=data.drop(columns=names[1]))
        yield model.cross_validation(data, n_windows=2)
        plt.close(model.plot(forecast=model.predict(X_df=data)).figure_)

    for one, other in zip(answers(plain), answers(named), strict=True):
        assert_frame_equal(one, other.drop(columns="unique_id"))
    metrics = ["mae", "mase", "coverage"]
    keys = dict(time_col=names[0], target_col=names[1])
    scores = evaluate(one, metrics, train=plain, **keys)
    assert_frame_equal(scores, evaluate(other, metrics, train=named, **keys))
    copy = pickle.loads(pickle.dumps(forecaster(parameters).fit(plain)))
    assert list(copy.make_future_dataframe().columns) == [names[0]]


@pytest.mark.parametrize(
    ("changed", "parameters", "message"),
    [
        (lambda f: pd.concat([f, f]), {}, "series 'y' has .* more than once; of several series, id_col is"),
        (
            lambda f: f.rename(columns={"y": "sales"}),
            {},
            "not in the frame: 'y' .* target_col name its columns",
        ),
        (lambda f: f, dict(id_col="shop"), "columns are not in the frame: 'shop'"),
    ],
)
def test_a_long_frame_without_an_id_that_cannot_be_read(changed, parameters, message):
    data = pd.DataFrame({"ds": pd.date_range("2024", periods=40), "y": noise()})
    with pytest.raises(ValueError, match=message):
        forecaster(parameters).fit(changed(data))
    with pytest.raises(ValueError, match="static_df tells series apart by id_col"):
        forecaster({"stat_exog": "size"}).fit(data, static_df=pd.DataFrame({"unique_id": ["y"], "size": 1}))


@pytest.mark.parametrize("form", ["series", "wide", "long"])
@pytest.mark.parametrize("dtype", ["int8", "uint8", "uint16", "int64", "uint64", "Int8", "UInt64"])
@pytest.mark.parametrize("end", [None, "largest"])
def test_integers_of_any_width(dtype, end, form):
    """The numbers of int64, though differences and what comes next are beyond the width."""
    numbers = np.iinfo(dtype.lower())
    first = max(numbers.min, -(2**61)) if end is None else min(numbers.max, 2**61) - 5 * N
    stamps = pd.Index([first + 5 * i for i in range(N)], dtype=dtype)
    data = {
        "series": pd.Series(noise(), stamps),
        "wide": pd.DataFrame({"a": noise(), "b": noise(seed=1)}, stamps),
        "long": pd.DataFrame({"unique_id": "a", "ds": stamps, "y": noise(), "x": noise()}),
    }[form]
    plain = data.astype({"ds": "int64"}) if form == "long" else data.set_axis(stamps.astype("int64"), axis=0)
    model, other = (
        forecaster({"freq": np.int8(5), "futr_exog": "x" if form == "long" else None}) for _ in range(2)
    )

    def answers(model, data):
        known = model.fit(head(data, 2 * H)).make_future_dataframe()
        future = dict(X_df=data) if form == "long" else {}
        yield model.predict(**future)
        yield model.update(head(tail(data, 2 * H), H)).predict(**future)
        yield model.cross_validation(data, 2)
        yield known

    for one, expected in zip(answers(model, data), answers(other, plain), strict=True):
        if one.index.nlevels == 1:  # pandas takes an index of Int64 for another one
            one = one.set_axis(one.index.astype("int64"), axis=0)
        same(one, expected, check_dtype=False, check_index_type=False)
