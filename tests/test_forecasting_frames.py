import numpy as np
import pandas as pd
import pytest

from skrnn.forecasting.frames import extend, futures, read_panel

NAN = np.nan


def days(n=6, start="2020-01-01", **kwargs):
    return pd.date_range(start, periods=n, freq="D", **kwargs)


def series(n=6, name="co2", index=None):
    return pd.Series(np.arange(n, dtype=float), days(n) if index is None else index, name=name)


def wide(n=6):
    """a, b and c are n, 10 n and 100 n in row n."""
    n = np.arange(n)
    return pd.DataFrame({"a": n, "b": 10 * n, "c": 100.0 * n}, index=days(len(n)))


@pytest.fixture
def long():
    """Series b has 4 rows, a starts a day later and has 6; shuffled, under an index that says nothing."""
    frame = pd.DataFrame(
        {
            "unique_id": list("bbbb") + list("aaaaaa"),
            "ds": days(4).append(days(6, "2020-01-02")),
            "y": [0.0, 1, 2, 3, 10, 11, 12, 13, 14, 15],
            "price": np.arange(10) / 2,
            "kind": ["red"] * 4 + ["blue"] * 6,
            "size": [4] * 4 + [7] * 6,
            "note": "text",
        },
        index=[7] * 10,
    )
    return frame.sample(frac=1, random_state=1)


def rows(panel, i):
    return slice(panel.starts[i], panel.stops[i])


# --- what is read ---------------------------------------------------------------------------------
def test_series():
    panel = read_panel(series())
    assert panel.ids.tolist() == ["co2"]
    assert panel.starts.tolist() == [0, 6]
    assert panel.starts.dtype == panel.stops.dtype == np.intp
    assert panel.values[:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert panel.values.dtype == np.float64
    assert panel.stamps.equals(days())
    assert panel.observed.all()
    assert panel.exog.shape == (6, 0)
    assert panel.static.shape == (1, 0)
    assert panel.freq == pd.offsets.Day()
    assert panel.form.kind == "series"


def test_wide_frame_is_a_panel_of_its_columns():
    panel = read_panel(wide())
    assert panel.ids.tolist() == ["a", "b", "c"]
    assert panel.starts.tolist() == [0, 6, 12, 18]
    assert panel.values.shape == (18, 1)
    assert panel.values[rows(panel, 1), 0].tolist() == [0, 10, 20, 30, 40, 50]
    assert panel.stamps[6:12].equals(days())


def test_multivariate_frame_is_one_series():
    panel = read_panel(wide(), multivariate=True)
    assert len(panel.ids) == 1
    assert panel.values.tolist() == wide().to_numpy().tolist()
    assert panel.starts.tolist() == [0, 6]
    assert panel.form.names.tolist() == ["a", "b", "c"]


def test_long_frame_in_any_order(long):
    panel = read_panel(long, hist_exog="price")
    assert panel.ids.tolist() == ["a", "b"]
    assert panel.lengths.tolist() == [6, 4]
    assert panel.values[:, 0].tolist() == [10, 11, 12, 13, 14, 15, 0, 1, 2, 3]
    assert panel.exog[:, 0].tolist() == [2, 2.5, 3, 3.5, 4, 4.5, 0, 0.5, 1, 1.5]
    assert panel.stamps[rows(panel, 0)].equals(days(6, "2020-01-02"))
    assert panel.stamps[rows(panel, 1)].equals(days(4))
    assert panel.last_stamps.astype(str).tolist() == ["2020-01-07", "2020-01-04"]


@pytest.mark.parametrize("order", ["sorted", "by time", "shuffled", "backwards"])
def test_every_order_of_rows_gives_the_same(order):
    frame = pd.DataFrame({"unique_id": np.repeat(np.arange(70_000), 2), "ds": np.tile([1, 2], 70_000)})
    frame["y"] = np.arange(140_000.0)
    order = {
        "sorted": frame.index,
        "by time": np.arange(140_000).reshape(-1, 2).T.reshape(-1),
        "shuffled": np.random.default_rng(0).permutation(140_000),
        "backwards": frame.index[::-1],
    }[order]
    panel = read_panel(frame.iloc[order])
    assert np.array_equal(panel.values[:, 0], np.arange(140_000))
    assert np.array_equal(panel.starts, np.arange(0, 140_001, 2))


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([2, 2, 1], [1, 2]),
        (pd.array([2, 2, 1], "Int64"), [1, 2]),
        (pd.Categorical(["x", "x", "y"], categories=["z", "y", "x"]), ["y", "x"]),  # as the categories sort
        (np.array(["x", "x", "y"], object), ["x", "y"]),
        (
            pd.to_datetime(["2021", "2021", "2020"], format="%Y"),
            list(pd.to_datetime(["2020", "2021"], format="%Y")),
        ),
        ([True, True, False], [False, True]),
    ],
)
def test_types_of_ids(ids, expected):
    frame = pd.DataFrame({"unique_id": ids, "ds": days(2).append(days(1)), "y": [1.0, 2, 3]})
    panel = read_panel(frame, freq="D")
    assert panel.ids.tolist() == expected
    assert panel.ids.dtype == frame["unique_id"].dtype
    assert panel.values[panel.starts[1] - 1, 0] == (3.0 if panel.lengths[0] == 1 else 2.0)


def test_other_column_names(long):
    other = long.rename(columns={"unique_id": 0, "ds": ("when", 1), "y": "sales"})
    panel = read_panel(other, id_col=0, time_col=("when", 1), target_col="sales")
    assert panel.values[:2, 0].tolist() == [10, 11]


def test_an_index_with_the_name_of_a_column(long):
    panel = read_panel(long.set_axis(pd.Index(long["ds"], name="ds"), axis=0))
    assert panel.values[:2, 0].tolist() == [10, 11]
    named = wide().rename_axis(index="a", columns="a")
    panel = read_panel(named)
    assert panel.ids.tolist() == ["a", "b", "c"]
    assert read_panel(named, like=panel).lengths.tolist() == [6, 6, 6]


@pytest.mark.parametrize(
    ("index", "freq"),
    [
        (pd.date_range("2020-01-31", periods=6, freq="ME"), pd.offsets.MonthEnd()),
        (pd.date_range("2020-01-31", periods=6, freq="B"), pd.offsets.BDay()),
        (pd.date_range("2020-03-27", periods=6, freq="D", tz="Europe/Berlin"), pd.offsets.Day()),
        (pd.date_range("2020-03-29", periods=6, freq="h", tz="Europe/Berlin"), pd.offsets.Hour()),
        (pd.period_range("2020Q1", periods=6, freq="Q"), pd.offsets.QuarterEnd(startingMonth=12)),
        (pd.RangeIndex(3, 33, 5), 5),
        (pd.Index([1, 2, 3, 4, 5, 6], dtype="Int64"), 1),
        (pd.date_range("2020", periods=6, freq="D").as_unit("s"), pd.offsets.Day()),
    ],
)
def test_kinds_of_time(index, freq):
    panel = read_panel(series(index=index))
    assert panel.freq == freq
    assert panel.stamps.dtype == index.dtype
    frame = pd.DataFrame({"unique_id": 1, "ds": index, "y": 1.0}).iloc[::-1]
    panel = read_panel(frame)
    assert panel.freq == freq  # without the frequency of an index
    assert panel.stamps.equals(index)


def test_the_index_frequency_serves_short_series():
    assert read_panel(series(1)).freq == pd.offsets.Day()
    plain = series(1).set_axis(pd.DatetimeIndex(["2020-01-01"]))
    assert read_panel(plain, freq="W-WED").freq == pd.offsets.Week(weekday=2)
    assert read_panel(pd.Series([3.0])).freq == 1


def test_series_of_one_row_in_a_long_frame(long):
    panel = read_panel(long[(long["unique_id"] == "a") | (long["y"] == 1)])
    assert panel.lengths.tolist() == [6, 1]
    assert panel.freq == pd.offsets.Day()


def test_number_types():
    nullable = pd.DataFrame({"a": pd.array([1, 2, 3], "Int64"), "b": [True, False, True]}, index=days(3))
    assert read_panel(nullable).values[:, 0].tolist() == [1, 2, 3, 1, 0, 1]
    assert read_panel(series().astype(np.float32)).values.dtype == np.float64


@pytest.mark.parametrize("kind", ["series", "wide", "multivariate", "long"])
def test_nothing_is_shared_with_the_data(kind, long):
    data = {"series": series(), "long": long}.get(kind, wide().astype(float))
    panel = read_panel(data, multivariate=kind == "multivariate")
    before = panel.values.copy()
    if kind == "long":
        data.loc[:, "y"] = -1.0
    else:
        data.iloc[:] = -1.0
    assert np.array_equal(panel.values, before)


def test_names_of_series_and_columns():
    assert read_panel(series(name=None)).ids.tolist() == ["y"]
    assert read_panel(series(name=0)).ids.tolist() == [0]
    assert read_panel(wide().rename(columns={"a": 0})).ids.tolist() == [0, "b", "c"]


# --- covariates -----------------------------------------------------------------------------------
def test_covariates_of_a_wide_frame_are_shared():
    panel = read_panel(wide(), futr_exog=["c"], hist_exog="b")
    assert panel.ids.tolist() == ["a"]
    panel = read_panel(wide().assign(d=1.0), futr_exog=["d"], hist_exog="b")
    assert panel.ids.tolist() == ["a", "c"]
    assert panel.form.exog_columns == [("b", None), ("d", None)]
    assert panel.exog[6:].tolist() == [[10 * n, 1] for n in range(6)]
    together = read_panel(wide().assign(d=1.0), futr_exog=["d"], multivariate=True)
    assert together.exog.shape == (6, 1)


def test_static_columns_of_a_long_frame(long):
    panel = read_panel(long, stat_exog=["size", "kind"])
    assert panel.static_columns == (("size", None), ("kind", "blue"), ("kind", "red"))
    assert panel.static.tolist() == [[7, 1, 0], [4, 0, 1]]


def test_static_frame_in_any_order(long):
    table = pd.DataFrame(
        {"unique_id": ["c", "b", "a"], "kind": ["green", "red", "blue"], "flag": [True, True, False]}
    )
    panel = read_panel(long, stat_exog=["kind", "flag"], static_df=table)
    assert panel.static_columns == (("kind", "blue"), ("kind", "red"), ("flag", None))
    assert panel.static.tolist() == [[1, 0, 0], [0, 1, 1]]
    of_wide = read_panel(wide(), stat_exog="kind", static_df=table)
    assert of_wide.static.tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 0]]
    assert read_panel(series(name="b"), stat_exog="kind", static_df=table).static.tolist() == [[1]]


def test_static_numbers_that_are_categories(long):
    long["size"] = long["size"].astype("category")
    panel = read_panel(long, stat_exog=["size"])
    assert panel.static_columns == (("size", 4), ("size", 7))
    assert panel.static.tolist() == [[0, 1], [1, 0]]


def test_names_in_static_df_may_be_those_of_series():
    table = pd.DataFrame({"unique_id": list("abc"), "b": [1, 2, 3]})
    assert read_panel(wide(), stat_exog="b", static_df=table).static.tolist() == [[1], [2], [3]]


def test_static_covariates_of_new_data_are_coded_alike(long):
    panel = read_panel(long, stat_exog=["size", "kind"])
    new = long[long["unique_id"] == "b"]
    assert read_panel(new, like=panel).static.tolist() == [[4, 0, 1]]
    assert read_panel(new.assign(kind="blue", size=1), like=panel).static.tolist() == [[1, 1, 0]]
    assert read_panel(new.drop(columns=["kind", "size"]), like=panel).static.tolist() == [[4, 0, 1]]
    table = pd.DataFrame({"unique_id": ["b"], "size": [2.5], "kind": ["blue"]})
    assert read_panel(new, like=panel, static_df=table).static.tolist() == [[2.5, 1, 0]]
    with pytest.raises(
        ValueError, match=r"series 'b' has 'pink' as 'kind', which was not .* were 'blue', 'red'"
    ):
        read_panel(long.assign(kind=long["kind"].replace("red", "pink")), like=panel)
    with pytest.raises(ValueError, match=r"'size' was a number in fit and is now (str|object)"):
        read_panel(new.assign(size="big"), like=panel)


@pytest.mark.parametrize(
    ("change", "static", "message"),
    [
        (
            lambda f: f.assign(kind=f["note"].where(f["y"] != 12, "x")),
            None,
            "'kind' is not constant in series 'a'",
        ),
        (
            lambda f: f.assign(kind=f["kind"].where(f["kind"] == "red")),
            None,
            "series 'a' has no value of 'kind'",
        ),
        (lambda f: f.assign(kind=np.inf), None, "series 'a' has an infinite 'kind'"),
        (lambda f: f.drop(columns="kind"), None, "not in the frame: 'kind' .stat_exog are columns"),
        (None, {"unique_id": ["a", "b"]}, "columns are not in static_df: 'kind'"),
        (None, {"unique_id": ["a"], "kind": [1]}, "static_df has no row for 'b'"),
        (None, {"unique_id": ["a", "b", "a"], "kind": [1, 2, 3]}, "static_df has series 'a' more than once"),
    ],
)
def test_static_mistakes(long, change, static, message):
    long = long if change is None else change(long)
    with pytest.raises(ValueError, match=message):
        read_panel(long, stat_exog="kind", static_df=None if static is None else pd.DataFrame(static))


# --- mistakes -------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("change", "arguments", "error", "message"),
    [
        (lambda f: f.to_numpy(), {}, TypeError, "expected a pandas Series or DataFrame, got numpy.ndarray"),
        (lambda f: f[:0], {}, ValueError, "there are no rows"),
        (lambda f: f.drop(columns="y"), {}, ValueError, "not in the frame: 'y' .a long frame has one row"),
        (
            lambda f: f.drop(columns="unique_id"),
            {},
            ValueError,
            "series 'y' has .* more than once; of several series, id_col is",
        ),
        (lambda f: f.drop(columns="ds"), {}, ValueError, "not in the frame: 'ds'"),
        (None, dict(futr_exog=["price", "holiday"]), ValueError, "not in the frame: 'holiday'"),
        (lambda f: f.rename(columns={"note": "y"}), {}, ValueError, "column names are not unique: 'y'"),
        (None, dict(futr_exog="price", hist_exog="price"), ValueError, "columns have two roles: 'price'"),
        (None, dict(hist_exog="y"), ValueError, "columns have two roles: 'y'"),
        (None, dict(target_col="ds"), ValueError, "columns have two roles: 'ds'"),
        (None, dict(missing="drop"), ValueError, "missing must be .* got 'drop'"),
        (None, dict(multivariate=True), ValueError, "multivariate=True needs a wide frame"),
        (None, dict(static_df=pd.DataFrame()), ValueError, "a static_df, but stat_exog names none"),
        (None, dict(target_col="note"), ValueError, "column 'note' is not numeric but (str|object)"),
        (
            lambda f: f.assign(note=f["ds"]),
            dict(hist_exog="note"),
            ValueError,
            "column 'note' is not numeric but datetime64",
        ),
        (lambda f: f.assign(y=1j), {}, ValueError, "column 'y' is not numeric but complex"),
        (
            lambda f: f.assign(ds=f["ds"].astype(str)),
            {},
            ValueError,
            "'ds' holds (str|object), .* pd.to_datetime",
        ),
        (
            lambda f: f.assign(ds=1.5),
            {},
            ValueError,
            "column 'ds' holds float64, not dates, periods or integers$",
        ),
        (
            lambda f: f.assign(unique_id=f["unique_id"].where(f["y"] != 2)).sort_values("y"),
            {},
            ValueError,
            "'unique_id' is missing in row 2",
        ),
        (
            lambda f: f.assign(ds=f["ds"].where(f["y"] != 2)).sort_values("y"),
            {},
            ValueError,
            r"column 'ds' has no time \(NaT\) in row 2",
        ),
        (
            lambda f: pd.concat([f, f[f["y"] == 12]]),
            {},
            ValueError,
            "series 'a' has 2020-01-04 00:00:00 more than once",
        ),
        (
            lambda f: f.assign(y=f["y"].replace(2, np.inf)),
            {},
            ValueError,
            "series 'b' is infinite at 2020-01-03",
        ),
        (
            lambda f: f.assign(y=f["y"].replace([11, 13, 2], NAN)),
            {},
            ValueError,
            "series 'a' is NaN at 2020-01-03 00:00:00, the first of 2 times; missing='interpolate'",
        ),
        (
            lambda f: f.assign(y=f["y"].replace(2, NAN)),
            {},
            ValueError,
            "series 'b' is NaN at 2020-01-03 00:00:00; missing='interpolate' and missing='mask' fill it",
        ),
        (
            lambda f: f.assign(price=f["price"].replace(1, NAN)),
            dict(futr_exog="price"),
            ValueError,
            "'price' of series 'b' is NaN at 2020-01-03",
        ),
        (lambda f: f.iloc[:2], {}, ValueError, "the frequency is not known"),
    ],
)
def test_long_frame_mistakes(long, change, arguments, error, message):
    with pytest.raises(error, match=message):
        read_panel(long if change is None else change(long), **arguments)


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        (lambda f: f[::-1], {}, "not sorted: 2020-01-30 00:00:00 is followed by 2020-01-29 00:00:00"),
        (lambda f: f.iloc[[0, 1, 1, 2]], {}, "the index has 2020-01-02 00:00:00 more than once"),
        (lambda f: f.set_index(f.index.where(f["a"] != 2)), {}, r"the index has no time \(NaT\) in row 2"),
        (lambda f: f.set_index("b", append=True), {}, "the index has several levels; reset_index"),
        (
            lambda f: f.set_axis(f.index.astype(str), axis=0),
            {},
            "the index holds (str|object), .* pd.to_datetime",
        ),
        (lambda f: f.set_axis(f.index.date, axis=0), {}, "the index holds object, .* pd.to_datetime"),
        (lambda f: f.set_axis(f["a"] / 2, axis=0), {}, "the index holds float64"),
        (lambda f: f.drop(f.index[2]), {}, "the index has gaps: 2020-01-03 00:00:00 is missing; .* is 'D'"),
        (
            lambda f: f.assign(b="x"),
            {},
            "'b' is not numeric but (str|object); the time of a wide .* id_col",
        ),
        (lambda f: pd.concat([f, f], axis=1, keys=["x", "y"]), {}, "the columns have several levels"),
        (lambda f: f.assign(c=f["c"].replace(300, NAN)), {}, "series 'c' is NaN at 2020-01-04"),
        (
            lambda f: f.assign(c=f["c"].replace(300, NAN)),
            dict(multivariate=True),
            "series 'c' is NaN at 2020-01-04",
        ),
        (
            lambda f: f.assign(c=f["c"].replace(300, NAN)),
            dict(hist_exog="c"),
            "column 'c' is NaN at 2020-01-04",
        ),
        (None, dict(hist_exog=["a", "b", "c"]), "no column is left to forecast"),
        (None, dict(hist_exog="d"), "columns are not in the frame: 'd'$"),
        (None, dict(stat_exog="d"), "is read from static_df: give one"),
        (None, dict(stat_exog="d", multivariate=True), "stat_exog tells series apart"),
        (None, dict(freq="W-WED"), "the index has the frequency 'D', not 'W-WED'$"),
        (None, dict(freq="ME"), "the index has the frequency 'D', not 'ME'$"),
        (
            lambda f: f["a"],
            dict(futr_exog="b"),
            "a Series has no columns, but 'b' are to be: give a DataFrame",
        ),
        (lambda f: f["a"].drop(f.index[2]), dict(freq="D"), "series 'a' has gaps: 2020-01-03"),
        (lambda f: f["a"].iloc[[3, 1]].rename(None), {}, "not sorted: 2020-01-04"),
    ],
)
def test_wide_frame_and_series_mistakes(change, arguments, message):
    with pytest.raises(ValueError, match=message):
        read_panel(wide(30) if change is None else change(wide(30)), **arguments)


# --- new data -------------------------------------------------------------------------------------
def test_new_data_in_the_order_of_fit(long):
    long["unique_id"] = long["unique_id"].replace({"a": "z"}).astype("category")
    panel = read_panel(long, missing="mask", hist_exog="price")
    new = long[long["unique_id"] == "z"].assign(unique_id="z", y=NAN).iloc[::-1]
    new["y"] = new["y"].where(new["ds"] > new["ds"].min(), 5.0)
    read = read_panel(new, like=panel)
    assert read.ids.tolist() == ["z"]
    assert read.ids.dtype == panel.ids.dtype
    assert read.form is panel.form
    assert read.freq == panel.freq
    assert read.observed[:, 0].tolist() == [True] + [False] * 5
    both = read_panel(long.iloc[::-1], like=panel)
    assert both.ids.tolist() == panel.ids.tolist()
    assert np.array_equal(both.values, panel.values)


def test_new_data_need_no_frequency_of_their_own():
    panel = read_panel(series())
    assert read_panel(series().iloc[[3]], like=panel).freq == panel.freq
    assert read_panel(wide().iloc[[3]], like=read_panel(wide())).lengths.tolist() == [1, 1, 1]
    unnamed = read_panel(series(name=None))
    assert read_panel(series(name="x"), like=unnamed).ids.tolist() == ["y"]


def test_new_columns_in_another_order():
    panel = read_panel(wide(), hist_exog="b")
    read = read_panel(wide()[["c", "b", "a"]], like=panel)
    assert read.ids.tolist() == ["a", "c"]
    assert np.array_equal(read.values, panel.values)
    assert np.array_equal(read.exog, panel.exog)


@pytest.mark.parametrize(
    ("fitted", "new", "message"),
    [
        (series(), wide(), "fitted on a Series, got a wide frame"),
        (wide(), series(), "fitted on a wide frame, got a Series"),
        (
            series(),
            series(index=days(6, tz="UTC")),
            "the index has time zone UTC, but the data of fit have no time",
        ),
        (series(index=days(6, tz="UTC")), series(), "the index has no time zone, but .* have time zone UTC"),
        (
            series(),
            series(index=days(6).to_period()),
            "the index holds periods of 'D', but those of fit are dates",
        ),
        (series(), series(index=range(6)), "the index holds integers, but those of fit are dates"),
        (series(), series(index=days(12)[::2]), "series 'co2' has the frequency '2D', not 'D'"),
        (
            series(),
            series(4, index=days(4) + pd.Timedelta("1h")).iloc[[0, 2, 3]],
            "has gaps: 2020-01-02 01:00:00 is",
        ),
    ],
)
def test_new_data_mistakes(fitted, new, message):
    panel = read_panel(fitted)
    with pytest.raises(ValueError, match=message):
        read_panel(new, like=panel)


def test_series_that_were_not_there(long):
    """They are read as if they had been; those of a wide frame come after the others."""
    panel = read_panel(long[long["unique_id"] == "a"])
    both = read_panel(long)
    read = read_panel(long, like=panel)
    assert read.ids.tolist() == both.ids.tolist() == ["a", "b"]
    assert np.array_equal(read.values, both.values)
    assert read_panel(series(name="x"), like=read_panel(series())).ids.tolist() == ["x"]
    panel = read_panel(wide())
    for names in ["c", "a"], ["d", "c", "b", "e"]:
        new = wide().assign(d=4.0, e=5.0)[names]
        expected = [name for name in "abcde" if name in names]
        read = read_panel(new, like=panel)
        assert read.ids.tolist() == read.form.names.tolist() == expected
        assert np.array_equal(read.values[:, 0], new[expected].to_numpy().T.reshape(-1))


def test_of_another_form(long):
    panel = read_panel(long)
    with pytest.raises(ValueError, match="fitted on a long frame, got a wide frame"):
        read_panel(wide(), like=panel)


# --- extend ---------------------------------------------------------------------------------------
def test_extend_some_series(long):
    early = long[long["ds"] <= "2020-01-03"]
    panel = read_panel(early, hist_exog="price", freq="D")
    assert panel.lengths.tolist() == [2, 3]
    later = extend(panel, long[(long["ds"] > "2020-01-03") & (long["unique_id"] == "a")])
    whole = read_panel(long, hist_exog="price")
    assert later.lengths.tolist() == [6, 3]
    assert np.array_equal(later.values[:6], whole.values[:6])
    assert np.array_equal(later.exog[:6], whole.exog[:6])
    assert later.values[6:, 0].tolist() == [0, 1, 2]
    assert later.stamps[:6].equals(whole.stamps[:6])
    assert futures(later, 1).astype(str).tolist() == ["2020-01-08", "2020-01-04"]


@pytest.mark.parametrize("multivariate", [False, True])
def test_extend_a_wide_frame_and_a_cut_one(multivariate):
    whole = read_panel(wide(), multivariate=multivariate)
    panel = extend(read_panel(wide(4), multivariate=multivariate), wide()[4:])
    assert np.array_equal(panel.values, whole.values)
    assert np.array_equal(panel.starts, whole.starts)
    cut = whole.until(whole.stops - 3)
    assert np.array_equal(extend(cut, wide()[3:]).values, whole.values)


def test_extend_over_a_gap():
    panel = read_panel(series(4).where(series(4) != 3), missing="mask")
    assert panel.values[:, 0].tolist() == [0, 1, 2, 2]  # the last known value
    panel = extend(panel, series()[5:])
    assert panel.values[:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert panel.observed[:, 0].tolist() == [True, True, True, False, False, True]


def test_extend_mistakes():
    panel = read_panel(series(4))
    with pytest.raises(
        ValueError, match="series 'co2' goes on at 2020-01-04 00:00:00, which is not after 2020-01-04"
    ):
        extend(panel, series()[3:])
    with pytest.raises(ValueError, match="series 'co2' has gaps: 2020-01-05 00:00:00 is missing"):
        extend(panel, series()[5:])


def test_the_second_series_goes_on_too_early(long):
    panel = read_panel(long)
    late = long.assign(ds=long["ds"] + pd.Timedelta("6D"))
    with pytest.raises(
        ValueError, match="series 'b' goes on at 2020-01-04 00:00:00, which is not after 2020-01-04"
    ):
        extend(panel, pd.concat([late[late["unique_id"] == "a"], long[long["y"] == 3]]))


# --- until ----------------------------------------------------------------------------------------
def test_until_shares_the_tables(long):
    panel = read_panel(long)
    cut = panel.until(panel.stops - [3, 1])
    assert cut.values is panel.values
    assert cut.stamps is panel.stamps
    assert cut.lengths.tolist() == [3, 3]
    assert cut.last_stamps.astype(str).tolist() == ["2020-01-04", "2020-01-03"]
    assert futures(cut, 1).astype(str).tolist() == ["2020-01-05", "2020-01-04"]
    with pytest.raises(ValueError, match="series 'b' has 3 rows, of which 0 cannot be kept"):
        cut.until(cut.starts[:-1] + np.array([1, 0]))
    with pytest.raises(ValueError, match="series 'a' has 3 rows, of which 6 cannot be kept"):
        cut.until(panel.stops)
