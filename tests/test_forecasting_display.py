"""What `plot` draws is what the frames say; and `read_forecast` undoes `write_forecast`."""

import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge

from skrnn.forecasting import ForecastDisplay, GRUForecaster
from skrnn.forecasting.frames import futures, read_panel, write_forecast
from skrnn.forecasting.output import read_forecast

N, H = 150, 6
INDICES = {
    "dates": pd.date_range("2024-01-01", periods=N, freq="D", name="when"),
    "zone": pd.date_range(
        "2024-03-30", periods=N, freq="h", tz="Europe/Berlin", name="when"
    ),  # clocks change
    "periods": pd.period_range("2001-01", periods=N, freq="M", name="when"),
    "integers": pd.RangeIndex(0, 2 * N, 2, name="when"),
}
FORMS = "series", "wide", "multivariate", "long"


@pytest.fixture
def plt():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    yield plt
    plt.close("all")


def wide(index="dates", n=3):
    """Sines and a trend with noise, so that no two values are the same."""
    t, rng = np.arange(N)[:, None], np.random.default_rng(0)
    values = 10 * np.arange(n) + np.sin(t * 2 * np.pi / 7) + 0.01 * t + 0.1 * rng.normal(size=(N, n))
    return pd.DataFrame(values, INDICES[index], [f"s{i}" for i in range(n)])


def data(form, frame):
    if form == "series":
        return frame["s1"]
    if form != "long":
        return frame
    table = frame.melt(ignore_index=False, var_name="shop", value_name="sales").reset_index()
    return table.sample(frac=1, random_state=0)


def forecaster(form="series", level=None, **parameters):
    """Of ridge regression, which needs no kernels to be compiled."""
    long = dict(id_col="shop", time_col="when", target_col="sales") if form == "long" else {}
    settings = dict(h=H, lags=10, regressor=Ridge(), level=level, intervals="conformal")
    return GRUForecaster(**settings | long | dict(multivariate=form == "multivariate") | parameters)


def statistic(forecast, form, name, suffix=""):
    """A column of an answer of `predict`, by the names that its documentation gives."""
    if form == "long":
        return forecast.loc[forecast["shop"] == name, f"GRUForecaster{suffix}"].to_numpy()
    if form == "series":
        return (forecast if forecast.ndim == 1 else forecast[f"{name}{suffix}"]).to_numpy()
    part = forecast[name]
    return (part if part.ndim == 1 else part[f"GRUForecaster{suffix}"]).to_numpy()


def outline(band, n):
    """Lower and upper edge of a `fill_between` of n points: (n,) each."""
    vertices = band.get_paths()[0].vertices[:, 1]
    return vertices[1 : n + 1], vertices[n + 2 : 2 * n + 2][::-1]


def as_dates(index):
    """Stamps as they should lie on the axis."""
    if isinstance(index, pd.PeriodIndex):
        return index.to_timestamp().to_numpy()
    return index.to_numpy() if getattr(index, "tz", None) is None else index.tz_convert(None).to_numpy()


# --- what is drawn --------------------------------------------------------------------------------
@pytest.mark.parametrize("level", [None, [80, 95]])
@pytest.mark.parametrize("index", INDICES)
@pytest.mark.parametrize("form", FORMS)
def test_lines_and_bands_are_the_frames(plt, form, index, level):
    """The history before, the forecast from its last value on, and a band for each level."""
    frame = wide(index)
    model = forecaster(form, level).fit(data(form, frame))
    forecast = model.predict()
    display = model.plot()
    names = ["s1"] if form == "series" else ["s0", "s1", "s2"]
    assert [axes.get_title(loc="left") for axes in display.axes_] == list(display.lines_) == names
    later = frame.index[-1] + frame.index.freq * np.arange(1, H + 1) if index != "integers" else None
    stamps = INDICES["integers"][-1] + 2 * np.arange(1, H + 1) if later is None else later
    ahead = as_dates(pd.Index(stamps))
    for name, axes in zip(names, display.axes_):
        past, line = display.lines_[name]
        assert past.axes is line.axes is axes
        np.testing.assert_array_equal(past.get_xdata(), as_dates(frame.index[-100:]))
        np.testing.assert_array_equal(past.get_ydata(), frame[name][-100:])
        np.testing.assert_array_equal(line.get_xdata(), [past.get_xdata()[-1], *ahead])
        np.testing.assert_array_equal(line.get_ydata()[1:], statistic(forecast, form, name))
        assert line.get_ydata()[0] == frame[name].iloc[-1]
        assert list(display.bands_[name]) == ([95, 80] if level else [])
        for percent, band in display.bands_[name].items():
            low, high = outline(band, H + 1)
            np.testing.assert_array_equal(low[1:], statistic(forecast, form, name, f"-lo-{percent:g}"))
            np.testing.assert_array_equal(high[1:], statistic(forecast, form, name, f"-hi-{percent:g}"))
            assert low[0] == high[0] == frame[name].iloc[-1]
    assert display.figure_ is display.axes_[0].figure


def test_words(plt):
    """The user's own: names of series as titles, of the columns at the axes, the levels in the legend."""
    model = forecaster("long", level=[95, 50, 80.5]).fit(data("long", wide()))
    display = model.plot()
    first, *_, last = display.axes_
    legend = [text.get_text() for text in first.get_legend().get_texts()]
    assert legend == ["history", "forecast", "95 %", "80.5 %", "50 %"]
    assert last.get_legend() is None
    assert (first.get_xlabel(), last.get_xlabel(), last.get_ylabel()) == ("", "when", "sales")
    opacity = [band.get_alpha() for band in display.bands_["s0"].values()]
    assert opacity == sorted(set(opacity)), "the narrower, the darker"


def test_a_series_without_a_name(plt):
    display = forecaster(level=80).fit(wide()["s1"].rename(None)).plot()
    assert display.axes_[0].get_title(loc="left") == "y"
    assert list(display.bands_["y"]) == [80]


def test_labels_of_time(plt):
    """Local time, where the data have a zone; whole numbers for integers."""

    def ticks(series, n):
        axes = forecaster().fit(series).plot(max_rows=n).axes_[0]
        axes.figure.draw_without_rendering()
        times = pd.to_datetime(axes.get_xticks(), unit="D", utc=True).round("s").tz_convert("Europe/Berlin")
        return times, [label.get_text() for label in axes.get_xticklabels()]

    hours = wide("zone")["s1"]
    times, labels = ticks(hours[:40], 6)  # to 17:00 in summer time
    assert {"14:00", "16:00"} <= set(labels)
    assert labels == [f"{time:%H:%M}" for time in times]
    times, _ = ticks(hours, N)
    assert (times.hour == 0).all()
    axes = forecaster().fit(wide("integers")["s1"]).plot(max_rows=5).axes_[0]
    assert (axes.get_xticks() % 1 == 0).all()


def test_rows_that_are_drawn(plt):
    """The last 8 horizons or 100 rows, or as many as asked for."""
    series = wide()["s1"]
    for h, given, drawn in (
        (1, {}, 100),
        (15, {}, 120),
        (2, dict(max_rows=7), 7),
        (2, dict(max_rows=N + 10), N),
    ):
        display = forecaster(h=h, lags=4).fit(series).plot(**given)
        np.testing.assert_array_equal(display.lines_["s1"][0].get_ydata(), series[-drawn:])


def test_what_came_true_beside_the_forecast(plt):
    """A history that goes on is drawn as far as the forecast; that begins where it was made."""
    series = wide()["s1"]
    model = forecaster().fit(series[:-20])
    past, line = model.plot(series, model.predict(), max_rows=5).lines_["s1"]
    np.testing.assert_array_equal(past.get_ydata(), series[-25 : -20 + H])
    assert line.get_ydata()[0] == series.iloc[-21]
    assert line.get_xdata()[1] == series.index[-20].to_numpy()


def test_a_forecast_from_other_histories(plt):
    """Those of `df`, and those that `update` made longer."""
    series = wide()["s1"]
    model = forecaster().fit(series[:-20])
    past, line = model.plot(series[:-10]).lines_["s1"]
    np.testing.assert_array_equal(line.get_ydata()[1:], model.predict(series[:-10]))
    assert past.get_xdata()[-1] == series.index[-11].to_numpy()
    past, _ = model.update(series[-20:]).plot().lines_["s1"]
    assert past.get_xdata()[-1] == series.index[-1].to_numpy()


def test_filled_values_are_not_drawn(plt):
    """There is a gap, and the forecast begins at the last value that was measured."""
    series = wide()["s1"]
    series.iloc[[-20, -2, -1]] = np.nan
    past, line = forecaster(missing="mask").fit(series).plot(max_rows=30).lines_["s1"]
    np.testing.assert_array_equal(past.get_ydata(), series[-30:])
    assert line.get_ydata()[0] == series.iloc[-3]
    assert line.get_xdata()[0] == series.index[-3].to_numpy()


# --- which, and where -----------------------------------------------------------------------------
def test_which_series(plt):
    """Four of many, those that the forecast has, or those asked for, in that order."""
    table = data("long", wide(n=6))
    model = forecaster("long").fit(table)
    forecast = model.predict()
    assert list(model.plot().lines_) == ["s0", "s1", "s2", "s3"]
    assert list(model.plot(ids="s5").lines_) == ["s5"]
    some = forecast[forecast["shop"].isin(["s5", "s2"])].sample(frac=1, random_state=1)
    display = model.plot(forecast=some)
    assert list(display.lines_) == ["s2", "s5"]
    np.testing.assert_array_equal(display.lines_["s5"][1].get_ydata()[1:], statistic(forecast, "long", "s5"))
    assert list(model.plot(table[table["shop"] > "s2"]).lines_) == ["s3", "s4", "s5"]
    assert list(forecaster("multivariate").fit(wide()).plot(ids=["s2", "s0"]).lines_) == ["s2", "s0"]


def test_given_axes_and_style(plt):
    """On the user's axes; a second forecast there is not explained twice."""
    _, axes = plt.subplots(1, 2)
    model = forecaster("wide", level=80).fit(wide())
    forecaster("wide", level=80, lags=5).fit(wide()).plot(ids=["s0", "s1"], ax=axes)
    styles = dict(
        history_kwargs={"color": "black"}, forecast_kwargs={"label": "ten"}, band_kwargs={"alpha": 1}
    )
    display = model.plot(ids=["s0", "s1"], ax=axes, **styles)
    assert list(display.axes_) == list(axes)
    past, line = display.lines_["s1"]
    assert (past.get_color(), line.get_label(), display.bands_["s1"][80].get_alpha()) == ("black", "ten", 1)
    legend = [text.get_text() for text in axes[0].get_legend().get_texts()]
    assert sorted(legend) == ["80 %", "forecast", "history", "ten"]
    with pytest.raises(ValueError, match="there are 3 series, but ax has 2 axes"):
        model.plot(ax=axes)


# --- errors ---------------------------------------------------------------------------------------
def test_not_fitted():
    with pytest.raises(NotFittedError):
        forecaster().plot()


def test_missing_matplotlib_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r'pip install "skrnn\[plot\]"'):
        ForecastDisplay(history={}, forecast={}).plot()


def test_covariates_need_a_forecast(plt):
    """`plot` cannot make one without their future values, but draws one."""
    frame = wide(n=2)
    model = forecaster("wide", futr_exog="s1").fit(frame)
    with pytest.raises(ValueError, match=r"it cannot know 's1': give it what predict\(X_df=...\) answers"):
        model.plot()
    forecast = model.predict(X_df=model.make_future_dataframe().assign(s1=1.0))
    assert list(model.plot(forecast=forecast).lines_) == ["s0"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(ids=["s0", "s9"]), "ids are not in the forecast: 's9'"),
        (dict(ids=[]), "ids names no series"),
        (dict(max_rows=0), "max_rows must be an integer of at least 1, got 0"),
    ],
)
def test_what_cannot_be_drawn(plt, arguments, message):
    model = forecaster("long").fit(data("long", wide()))
    with pytest.raises(ValueError, match=message):
        model.plot(**arguments)


# --- reading what predict wrote -------------------------------------------------------------------
def read(form, forecast, **parameters):
    long = dict(id_col="shop", time_col="when", target_col="sales") if form == "long" else {}
    panel = read_panel(data(form, wide()), multivariate=form == "multivariate", **long)
    return read_forecast(panel, forecast(panel) if callable(forecast) else forecast, "M")


def written(panel, bounds=()):
    """A forecast of which every value differs."""
    rng = np.random.default_rng(1)
    shape = len(panel.ids), H, panel.values.shape[1]
    statistics = {key: rng.normal(size=shape) for key in ["point", *bounds]}
    return statistics, write_forecast(panel, futures(panel, H), statistics, "M")


@pytest.mark.parametrize("bounds", [(), ("lo-80", "hi-80", "lo-99.5", "hi-99.5")])
@pytest.mark.parametrize("form", FORMS)
def test_reading_undoes_writing(form, bounds):
    """Series, or targets, one below the other; statistics beside each other."""
    kept = {}

    def forecast(panel):
        kept["panel"], (kept["statistics"], answer) = panel, written(panel, bounds)
        return answer

    rows, statistics = read(form, forecast)
    assert statistics == ["point", *bounds]
    for k, key in enumerate(statistics):
        values = kept["statistics"][key]
        expected = values[0].T if form == "multivariate" else values[:, :, 0]
        np.testing.assert_array_equal(rows.values[:, k], expected.reshape(-1))
    n = len(rows.ids)
    assert rows.ids.tolist() == (["s1"] if form == "series" else ["s0", "s1", "s2"])
    assert rows.starts.tolist() == [H * i for i in range(n + 1)]
    stamps = futures(kept["panel"], H)[:H]
    assert rows.stamps.tolist() == stamps.tolist() * n


LONG = dict(shop=["s0"], when=[pd.Timestamp("2024-06-01")])
WIDE = pd.DataFrame({"s0": [1.0]}, [pd.Timestamp("2024-06-01")])


@pytest.mark.parametrize(
    ("form", "forecast", "message"),
    [
        ("long", pd.DataFrame(LONG | dict(Other=1.0)), "not in the forecast: 'M'; it has 'shop',"),
        ("long", pd.DataFrame(LONG | {"M": 1.0, "M-lo-80": 0.0}), "are not in the forecast: 'M-hi-80'"),
        ("long", pd.DataFrame(LONG | dict(shop="x", M=1.0)), "series were not there in fit: 'x'"),
        ("long", pd.DataFrame(LONG | dict(M=1.0, cutoff=1)), "what predict answers, not cross_validation"),
        ("long", pd.DataFrame(LONG | dict(M="a")), "column 'M' is not numeric"),
        ("long", pd.DataFrame(LONG | dict(when=7, M=1.0)), "holds integers, but those of fit are dates"),
        ("long", pd.concat([pd.DataFrame(LONG | dict(M=1.0))] * 2), "'s0' has 2024-06-01 .* more than once"),
        ("long", WIDE, "columns are not in the forecast: 'shop', 'when'; it has 's0'"),
        ("long", WIDE["s0"], "the forecast is a Series, but the data are a long frame"),
        ("wide", WIDE.rename(columns={"s0": "x"}), "series of the forecast were not there in fit: 'x'"),
        ("wide", pd.concat({"s0": WIDE}, axis=1), "columns are not in the forecast: 'M'; it has 's0'"),
        ("wide", WIDE[:0], "the forecast has no rows"),
        ("wide", WIDE.set_axis(WIDE.index.tz_localize("UTC")), "has time zone UTC, but the data of fit"),
        ("series", WIDE["s0"], "series of the forecast were not there in fit: 's0'"),
        ("series", WIDE, "columns are not in the forecast: 's1'; it has 's0'"),
    ],
)  # fmt: skip
def test_what_is_no_forecast_of_these_series(form, forecast, message):
    with pytest.raises(ValueError, match=message):
        read(form, forecast)


def test_no_frame_at_all():
    with pytest.raises(TypeError, match=r"has to be a Series or DataFrame, got numpy\.ndarray"):
        read("wide", np.zeros(3))
