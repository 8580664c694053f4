"""Frames of polars and pyarrow, and of libraries that are not read."""

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from sklearn.model_selection import GridSearchCV
from spies import forecaster

from skrnn.forecasting import RollingOrigin, evaluate
from skrnn.forecasting.frames import read_future, read_panel

pa, plt = pytest.importorskip("pyarrow"), pytest.importorskip("matplotlib.pyplot")
N = 30


def frame():
    rng = np.random.default_rng(0)
    days = pd.date_range("2024-03-10", periods=N, tz="Europe/Berlin").as_unit("ms")
    parts = [
        pd.DataFrame(
            {"unique_id": id, "ds": days, "y": rng.normal(size=N), "x": np.arange(N) % 7 == 0, "s": s}
        )
        for id, s in (("b", "large"), ("a", "small"))
    ]
    return pd.concat(parts, ignore_index=True)


def library(name):
    if name == "pyarrow":
        return pa.Table.from_pandas
    return pytest.importorskip(name).from_pandas


def plain(answer):
    return answer if isinstance(answer, pd.DataFrame) else answer.to_pandas()


@pytest.mark.parametrize("name", ["polars", "pyarrow"])
def test_frames_are_answered_in_kind(name):
    """With the numbers of pandas frames."""
    make = library(name)
    parameters = dict(futr_exog="x", stat_exog="s", level=80)

    def answers(own):
        model, data = forecaster(parameters), frame()
        static = data[["unique_id", "s"]].drop_duplicates()
        at = data["ds"].rank(method="dense")
        model.fit(own(data[at <= 20].drop(columns="s")), static_df=own(static))
        yield model.make_future_dataframe()
        yield model.predict(X_df=own(data[at > 20]))
        yield model.predict(own(data[at <= 18]), X_df=own(data[at > 18]))
        yield model.update(own(data[(at > 20) & (at <= 23)])).predict(X_df=own(data))
        yield model.cross_validation(own(data), 2)
        plt.close(model.plot(own(data), model.predict(X_df=own(data))).figure_)

    for answer, expected in zip(answers(make), answers(lambda data: data), strict=True):
        assert type(answer) is type(make(frame()))
        assert_frame_equal(plain(answer), expected, check_dtype=False)
    metrics = ["mae", "mase", "coverage"]
    result = evaluate(answer, metrics, train=make(frame()))
    assert_frame_equal(result, evaluate(expected, metrics, train=frame()))


@pytest.mark.parametrize("name", ["polars", "pyarrow"])
def test_types_of_columns(name):
    """Dates, decimals, truths and numbers with gaps, categories."""
    values = pa.table(
        {
            "unique_id": pa.array(["a"] * 5).dictionary_encode(),
            "ds": pa.array(pd.date_range("2024", periods=5).date),
            "y": pa.array([1, 2, None, 4, 5], pa.int32()),
            "x": pa.array([True, None, False, True, True]),
            "z": pa.array(["1.5", "2.5", "3.5", None, "5.5"]).cast(pa.decimal128(5, 2)),
        }
    )
    data = values if name == "pyarrow" else pytest.importorskip("polars").from_arrow(values)
    panel = read_panel(data, missing="interpolate", hist_exog=["x", "z"])
    assert panel.values[:, 0].tolist() == [1, 2, 3, 4, 5]
    assert panel.exog.tolist() == [[1, 1.5], [0.5, 2.5], [0, 3.5], [1, 4.5], [1, 5.5]]
    assert panel.stamps.equals(pd.date_range("2024", periods=5).as_unit("ms"))
    one = read_panel(
        data.drop(["unique_id"]) if name == "polars" else data.drop_columns("unique_id"), missing="mask"
    )
    assert one.ids.tolist() == ["y"]


def test_a_grid_search():
    polars = pytest.importorskip("polars")
    data = polars.from_pandas(frame().drop(columns=["x", "s"]))
    search = GridSearchCV(forecaster({}), {"lags": [4, 5]}, cv=RollingOrigin(2, h=3), error_score="raise")
    assert np.isfinite(search.fit(data).best_score_)
    assert isinstance(search.best_estimator_.predict(), polars.DataFrame)


class Lazy(dict):
    """A frame of a library that is not read."""

    columns = property(list)


@pytest.mark.parametrize("place", ["df", "X_df", "static_df", "forecast"])
def test_frames_that_are_not_read(place):
    other, data = Lazy(unique_id=["a"], s=[1.0]), frame()
    model = forecaster({"futr_exog": "x", "stat_exog": "s"}).fit(data)
    calls = {
        "df": lambda: model.fit(other),
        "X_df": lambda: model.predict(X_df=other),
        "static_df": lambda: model.fit(data.drop(columns="s"), static_df=other),
        "forecast": lambda: model.plot(forecast=other),
    }
    with pytest.raises(TypeError, match=r"got test_forecasting_libraries\.Lazy; .* its to_pandas\(\) gives"):
        calls[place]()


def test_what_has_no_index():
    polars = pytest.importorskip("polars")
    with pytest.raises(TypeError, match=r"expected a pandas Series or DataFrame, got polars.*Series"):
        forecaster({}).fit(polars.Series([1.0, 2.0]))
    with pytest.raises(TypeError, match=r"got polars.*LazyFrame; .*collect\(\)"):
        forecaster({}).fit(polars.from_pandas(frame()).lazy())


@pytest.mark.parametrize(
    "dtype",
    [
        "bool",
        "boolean",
        "bool[pyarrow]",
        "Int8",
        "uint8[pyarrow]",
        "Int64",
        "int64[pyarrow]",
        "Float32",
        "double[pyarrow]",
    ],
)
def test_truths_and_numbers_of_every_kind(dtype):
    """As targets, covariates of past and future, and of series, with gaps where there can be some."""
    days, truths = pd.date_range("2024", periods=8), np.array([0, 1, 1, 0, 0, 1, 0, 1])
    column = pd.Series(truths.astype(bool)).astype(dtype)
    gaps = dtype != "bool"
    values = column.where(np.arange(8) != 4, None) if gaps else column
    assert values.dtype == dtype
    expected = np.where(np.arange(8) == 4, 0.5, truths) if gaps else truths
    frame = pd.DataFrame({"unique_id": "a", "ds": days, "y": values, "x": values, "s": column[1]})
    frame["s"] = frame["s"].astype(dtype)
    panel = read_panel(frame, missing="mask", futr_exog="x", stat_exog="s")
    np.testing.assert_array_equal(panel.values[:, 0], expected)
    np.testing.assert_array_equal(panel.exog[:, 0], expected)
    assert (panel.static_columns, panel.static.tolist()) == ((("s", None),), [[1.0]])
    static = frame[["unique_id", "s"]][:1]
    assert read_panel(frame.drop(columns="s"), like=panel, static_df=static).static.tolist() == [[1.0]]
    future = pd.DataFrame({"unique_id": "a", "ds": pd.date_range("2024-01-09", periods=8), "x": column})
    np.testing.assert_array_equal(read_future(future, panel, 8, ["x"])[0, :, 0], truths)
    for data in values.set_axis(days), pd.DataFrame({"a": values, "b": column}).set_axis(days):
        np.testing.assert_array_equal(read_panel(data, missing="mask").values[:8, 0], expected)
