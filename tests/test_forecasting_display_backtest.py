"""What `from_cross_validation` draws is what `cross_validation` says: each cutoff a line of its own."""

import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge

from skrnn.forecasting import ForecastDisplay, GRUForecaster

N, H = 60, 4
DAYS = pd.date_range("2024-01-01", periods=N, name="when")
INDICES = {
    "dates": DAYS,
    "zone": pd.date_range("2024-03-30", periods=N, freq="h", tz="Europe/Berlin", name="when"),
    "periods": pd.period_range("2001-01", periods=N, freq="M", name="when"),
    "integers": pd.RangeIndex(0, 2 * N, 2, name="when"),
}
LONG = dict(id_col="shop", time_col="when", target_col="sales")


@pytest.fixture
def plt():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    yield plt
    plt.close("all")


def wide(index=DAYS, n=3):
    """No two values are the same."""
    t, rng = np.arange(N)[:, None], np.random.default_rng(0)
    values = 10 * np.arange(n) + np.sin(t * 2 * np.pi / 7) + 0.1 * rng.normal(size=(N, n))
    return pd.DataFrame(values, index, [f"s{i}" for i in range(n)])


def data(form, index=DAYS, n=3):
    frame = wide(index, n)
    if form == "series":
        return frame["s1"]
    if form == "wide":
        return frame
    return frame.melt(ignore_index=False, var_name="shop", value_name="sales").reset_index()


def backtest(form="wide", step_size=H, level=None, index=DAYS, n=3, **parameters):
    """Of ridge regression, which needs no kernels to be compiled; three windows."""
    given = dict(h=H, lags=7, regressor=Ridge(), level=level, intervals="conformal", calibration_windows=3)
    model = GRUForecaster(**given | (LONG if form == "long" else {}) | parameters)
    return model.cross_validation(data(form, index, n), 3, step_size=step_size, refit=False)


def drawn(scores, form="wide", *args, **kwargs):
    return ForecastDisplay.from_cross_validation(scores, *args, **(LONG if form == "long" else {}) | kwargs)


def windows(scores, form, name):
    """Frames by stamp with the columns y and those of the model, one for each cutoff, in order."""
    if form == "wide":
        return [scores.loc[cutoff, name] for cutoff in scores.index.unique(0)]
    if form == "long":
        scores = scores[scores["shop"] == name].set_index("when").rename(columns={"sales": "y"})
    return [part for _, part in scores.groupby("cutoff", sort=True)]


def pieces(x, *columns):
    """Parts of a line between its gaps, as frames."""
    table = pd.DataFrame(dict(enumerate(columns)), x)
    whole = table.notna().all(axis=1).to_numpy()
    return [part for _, part in table[whole].groupby(np.cumsum(~whole)[whole])]


def as_dates(index):
    if isinstance(index, pd.PeriodIndex):
        return index.to_timestamp().to_numpy()
    return index.to_numpy() if getattr(index, "tz", None) is None else index.tz_convert(None).to_numpy()


def outlines(band):
    """Lower and upper edge of each polygon of a `fill_between`."""
    for path in band.get_paths():
        vertices, n = path.vertices[:, 1], len(path.vertices) // 2 - 1
        yield vertices[1 : n + 1], vertices[n + 2 : 2 * n + 2][::-1]


# --- what is drawn --------------------------------------------------------------------------------
@pytest.mark.parametrize("step_size", [1, H, H + 5], ids=["overlap", "adjoin", "apart"])
@pytest.mark.parametrize("form", ["series", "wide", "long"])
def test_each_cutoff_is_a_line_and_a_band_of_its_own(plt, form, step_size):
    scores = backtest(form, step_size, level=[80, 95])
    display = drawn(scores, form)
    names = ["y"] if form == "series" else ["s0", "s1", "s2"]
    assert list(display.lines_) == [axes.get_title(loc="left") for axes in display.axes_] == names
    for name, axes in zip(names, display.axes_):
        expected = windows(scores, form, name)
        assert len(expected) == 3
        past, line = display.lines_[name]
        assert past.axes is line.axes is axes
        found = pieces(line.get_xdata(), line.get_ydata())
        assert len(found) == 3
        for k, (part, window) in enumerate(zip(found, expected)):
            np.testing.assert_array_equal(part.index, as_dates(window.index))
            np.testing.assert_array_equal(part[0], window["GRUForecaster"], err_msg=f"{name}, {k}")
        for level, band in display.bands_[name].items():
            for (low, high), window in zip(outlines(band), expected, strict=True):
                np.testing.assert_array_equal(low, window[f"GRUForecaster-lo-{level:g}"])
                np.testing.assert_array_equal(high, window[f"GRUForecaster-hi-{level:g}"])
        assert list(display.bands_[name]) == [95, 80]


@pytest.mark.parametrize("index", INDICES)
@pytest.mark.parametrize("form", ["series", "wide", "long"])
def test_true_values_are_those_of_the_data(plt, form, index):
    """Between windows that lie apart there are others, which scores do not tell: the line has a gap."""
    frame = wide(INDICES[index])
    apart = drawn(backtest(form, H + 3, index=INDICES[index]), form)
    adjoining = drawn(backtest(form, H, index=INDICES[index]), form)
    name = "y" if form == "series" else "s1"
    for display, rows in (apart, [N - 18, N - 11, N - 4]), (adjoining, [N - 12]):
        past = display.lines_[name][0]
        n = H if len(rows) == 3 else 3 * H
        found = pieces(past.get_xdata(), past.get_ydata())
        assert len(found) == len(rows)
        for part, first in zip(found, rows):
            np.testing.assert_array_equal(part.index, as_dates(frame.index[first : first + n]))
            np.testing.assert_array_equal(part[0], frame["s1"][first : first + n])


def test_missing_values_are_gaps(plt):
    series = wide()["s1"]
    series.iloc[-3] = np.nan
    model = GRUForecaster(h=H, lags=7, regressor=Ridge(), missing="mask")
    past, line = drawn(model.cross_validation(series, 1)).lines_["y"]
    np.testing.assert_array_equal(past.get_ydata()[-H:], series[-H:])
    assert not np.isnan(line.get_ydata()).any()


def test_a_horizon_of_one_step_is_dots(plt):
    """There is no line to see of one point between two gaps."""
    line = drawn(backtest(h=1, step_size=3)).lines_["s0"][1]
    assert line.get_marker() == "."
    assert line.get_markevery() == np.flatnonzero(~np.isnan(line.get_ydata())).tolist() == [0, 2, 4]


# --- words ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("form", ["series", "wide", "long"])
def test_words(plt, form):
    """The user's own: of the column, or of the index; each level once in the legend."""
    display = drawn(backtest(form, level=[95, 80.5]), form)
    legend = [text.get_text() for text in display.axes_[0].get_legend().get_texts()]
    assert legend == ["history", "forecast", "95 %", "80.5 %"]
    assert display.axes_[-1].get_xlabel() == "when"
    assert display.axes_[-1].get_ylabel() == ("sales" if form == "long" else "y")


def test_which_series_and_where(plt):
    scores = backtest(n=6)
    assert list(drawn(scores).lines_) == ["s0", "s1", "s2", "s3"]
    assert list(drawn(scores, ids="s5").lines_) == ["s5"]
    figure, axes = plt.subplots(2)
    display = drawn(scores, ids=["s4", "s1"], ax=axes, history_kwargs={"color": "red"})
    assert list(display.lines_) == ["s4", "s1"]
    assert display.figure_ is figure
    assert display.lines_["s1"][0].get_color() == "red"
    expected = [window["GRUForecaster"] for window in windows(scores, "wide", "s4")]
    for part, forecast in zip(pieces(*display.lines_["s4"][1].get_data()), expected, strict=True):
        np.testing.assert_array_equal(part[0], forecast)


def test_which_model(plt):
    """The first, or that of the name, with bands where it has them."""
    scores = backtest("long", level=80)
    scores["naive"] = scores["sales"] + 1
    display = drawn(scores, "long", "naive")
    line = display.lines_["s0"][1]
    expected = [window["naive"] for window in windows(scores, "long", "s0")]
    for part, forecast in zip(pieces(*line.get_data()), expected, strict=True):
        np.testing.assert_array_equal(part[0], forecast)
    assert display.bands_["s0"] == {}
    assert list(drawn(scores, "long").bands_["s0"]) == [80]
    named = backtest("long", alias="mine", level=80)
    assert list(drawn(named, "long", "mine").bands_["s1"]) == [80]


def test_rows_in_any_order(plt):
    scores = backtest("long", 2, level=80)
    shuffled = scores.sample(frac=1, random_state=0)
    one, other = (drawn(each, "long", ids="s2").lines_["s2"] for each in (scores, shuffled))
    for line, expected in zip(other, one):
        np.testing.assert_array_equal(line.get_xydata(), expected.get_xydata())


def test_frames_of_polars(plt):
    polars = pytest.importorskip("polars")
    scores = backtest("long")
    line = drawn(polars.from_pandas(scores), "long").lines_["s1"][1]
    np.testing.assert_array_equal(line.get_ydata(), drawn(scores, "long").lines_["s1"][1].get_ydata())


# --- errors ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(model="LSTM"), "model 'LSTM' is not in scores, which have 'GRUForecaster'"),
        (dict(ids=["s0", "s9"]), "ids are not in scores: 's9'"),
        (dict(ids=[]), "ids names no series to draw"),
        (dict(ids="s0", ax=[None, None]), "there are 1 series, but ax has 2 axes"),
        (dict(target_col="y"), "scores have no true values to compare with"),
        (dict(id_col="store"), "scores have several rows of one time and cutoff"),
    ],
)
def test_what_cannot_be_drawn(plt, arguments, message):
    scores = backtest("long")
    if "id_col" in arguments:
        scores = scores.drop(columns="shop")
    with pytest.raises(ValueError, match=message):
        drawn(scores, "long", **arguments)


def test_no_frame_at_all(plt):
    with pytest.raises(ValueError, match=r"scores must be a DataFrame as of cross_validation, got .*ndarray"):
        ForecastDisplay.from_cross_validation(np.zeros(3))


def test_missing_matplotlib_names_the_extra(monkeypatch):
    scores = backtest()
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r'pip install "skrnn\[plot\]"'):
        ForecastDisplay.from_cross_validation(scores)
