import numpy as np
import pandas as pd
import pytest

from skrnn.sequences import object_array
from skrnn.windows import from_long_frame, make_windows, to_long_frame

# make_windows ------------------------------------------------------------------------------------


def series(n=6):
    return pd.Series(np.arange(n, dtype=float), pd.date_range("2020-01-05", periods=n, freq="W"))


@pytest.fixture
def frame():
    """a, b and c are n, 10 n and 100 n in row n."""
    n = np.arange(6)
    index = pd.date_range("2020", periods=6, freq="D")
    return pd.DataFrame({"a": n, "b": 10 * n, "c": 100 * n}, index=index)


def test_series():
    X, y = make_windows(series(), lags=3)
    assert X.columns.tolist() == ["y(t-3)", "y(t-2)", "y(t-1)"]
    assert X.to_numpy().tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 4]]
    assert isinstance(y, pd.Series)
    assert y.name == "y"
    assert y.tolist() == [3, 4, 5]
    pd.testing.assert_index_equal(X.index, series().index[3:])
    pd.testing.assert_index_equal(y.index, X.index)
    pd.testing.assert_series_equal(y, series().rename("y")[3:], check_freq=False)


def test_series_name_and_horizon():
    X, y = make_windows(series().rename("co2"), lags=2, horizon=3)
    assert X.columns.tolist() == ["co2(t-2)", "co2(t-1)"]
    assert y.columns.tolist() == ["co2(t)", "co2(t+1)", "co2(t+2)"]
    assert X.to_numpy().tolist() == [[0, 1], [1, 2]]
    assert y.to_numpy().tolist() == [[2, 3, 4], [3, 4, 5]]
    assert y.index.tolist() == series().index[2:4].tolist()


def test_all_rows_are_used_down_to_one_window():
    X, y = make_windows(series(5), lags=3, horizon=2)
    assert X.to_numpy().tolist() == [[0, 1, 2]]
    assert y.to_numpy().tolist() == [[3, 4]]


def test_frame_is_step_major_and_all_columns_are_targets(frame):
    X, y = make_windows(frame, lags=2)
    names = ["a(t-2)", "b(t-2)", "c(t-2)", "a(t-1)", "b(t-1)", "c(t-1)"]
    assert X.columns.tolist() == names
    assert X.iloc[1].tolist() == [1, 10, 100, 2, 20, 200]
    assert y.columns.tolist() == ["a(t)", "b(t)", "c(t)"]
    assert y.iloc[1].tolist() == [3, 30, 300]
    steps = X.to_numpy().reshape(len(X), 2, 3)  # what features_per_step=3 reads
    np.testing.assert_array_equal(steps[:, :, 1], 10 * steps[:, :, 0])


@pytest.mark.parametrize(
    ("target", "exog", "inputs", "outputs"),
    [
        ("b", None, "b", ["b"]),
        (["c", "a"], None, "ac", ["c(t)", "a(t)"]),
        ("b", "a", "ab", ["b"]),
        ("b", ["c", "a"], "abc", ["b"]),
        (None, ["a", "b"], "abc", ["c"]),
        (None, "a", "abc", ["b(t)", "c(t)"]),
    ],
)
def test_target_and_exog(frame, target, exog, inputs, outputs):
    X, y = make_windows(frame, 2, target=target, exog=exog)
    assert X.columns.tolist() == [f"{name}(t-{lag})" for lag in (2, 1) for name in inputs]
    assert ([y.name] if y.ndim == 1 else y.columns.tolist()) == outputs
    if y.ndim == 1:
        assert y.tolist() == frame[outputs[0]].tolist()[2:]


def test_missing_values_stay_where_they_are():
    broken = series()
    broken.iloc[1] = np.nan
    X, y = make_windows(broken, lags=1)
    assert np.isnan(X.iloc[1, 0])
    assert np.isnan(y.iloc[0])
    assert len(X) == len(y) == 5
    nullable = pd.Series([1, pd.NA, 3], dtype="Int64")
    assert np.isnan(make_windows(nullable, lags=1)[0].iloc[1, 0])


def test_float_type(frame):
    assert (make_windows(frame, 1)[0].dtypes == np.float64).all()
    assert (make_windows(frame.astype(np.float32), 1)[0].dtypes == np.float32).all()
    mixed = frame.astype({"a": np.float32})
    assert (make_windows(mixed, 1)[0].dtypes == np.float64).all()
    assert (make_windows(frame > 100, 1)[0].dtypes == np.float64).all()


def test_windows_do_not_share_memory_with_the_series():
    original = series()
    X, y = make_windows(original, 1)
    X.iloc[:] = -1.0
    y.iloc[:] = -1.0
    assert original.tolist() == list(range(6))


@pytest.mark.parametrize(
    ("change", "arguments", "error", "message"),
    [
        (lambda f: f[:4], dict(lags=3, horizon=2), ValueError, "need at least 5 rows, got 4"),
        (lambda f: f[::-1], {}, ValueError, "not sorted in time"),
        (lambda f: f.iloc[[0, 1, 1, 2]], {}, ValueError, "stamps twice: Timestamp.'2020-01-02"),
        (lambda f: f.set_index(f.index.where(f["a"] != 2)), {}, ValueError, "missing stamps"),
        (lambda f: f.set_index("b", append=True), {}, ValueError, "several levels"),
        (None, dict(target="z"), ValueError, "columns are not in the frame: 'z'"),
        (None, dict(exog=["a", "y", "z"]), ValueError, "not in the frame: 'y', 'z'"),
        (None, dict(target="a", exog="a"), ValueError, "columns are named twice: 'a'"),
        (None, dict(target=["a", "a"]), ValueError, "columns are named twice"),
        (None, dict(exog=list("abc")), ValueError, "no column is left to forecast"),
        (None, dict(lags=0), ValueError, "lags must be an integer of at least 1, got 0"),
        (None, dict(horizon=1.0), ValueError, "horizon must be an integer .* got 1.0"),
        (None, dict(lags=True), ValueError, "lags must be an integer .* got True"),
        (lambda f: f.assign(b="x", c=1j), {}, ValueError, "columns are not numeric: 'b', 'c'"),
        (lambda f: f.rename(columns={"b": "a"}), {}, ValueError, "names are not unique: 'a'"),
        (lambda f: f.to_numpy(), {}, TypeError, "expected a pandas DataFrame or Series, got numpy.nd"),
    ],
)
def test_make_windows_mistakes(frame, change, arguments, error, message):
    if change is not None:
        frame = change(frame)
    with pytest.raises(error, match=message):
        make_windows(frame, **dict(lags=2) | arguments)


def test_other_columns_need_not_be_numeric(frame):
    X, _ = make_windows(frame.assign(note="text"), 2, target="a")
    assert X.shape == (4, 2)


# long frames -------------------------------------------------------------------------------------


@pytest.fixture
def table():
    """Two sequences, b before a, rows mixed and out of order."""
    return pd.DataFrame(
        {
            "id": ["b", "a", "b", "a", "b"],
            "time": pd.to_datetime(["2020-03", "2020-02", "2020-01", "2020-01", "2020-02"]),
            "u": [3.0, 20.0, 1.0, 10.0, 2.0],
            "v": [6, 40, 2, 20, 4],
            "kind": ["x", "y", "x", "y", "x"],
            "state": [2, 1, 0, 0, 1],
        },
        index=[100, 101, 102, 103, 104],
    )


def test_from_long_frame(table):
    sequences, labels, ids = from_long_frame(table, "id", "time", ["u", "v"])
    assert ids.tolist() == ["b", "a"]
    assert labels is None
    assert sequences.shape == (2,)
    assert sequences[0].tolist() == [[1, 2], [2, 4], [3, 6]]
    assert sequences[1].tolist() == [[10, 20], [20, 40]]
    assert sequences[0].dtype == np.float64


def test_one_feature_and_float32(table):
    sequences, _, _ = from_long_frame(table.astype({"u": np.float32}), "id", "time", "u")
    assert sequences[1].tolist() == [[10], [20]]
    assert sequences[1].dtype == np.float32


def test_labels_constant_within_every_id_are_per_sequence(table):
    _, labels, _ = from_long_frame(table, "id", "time", "u", "kind")
    assert labels.tolist() == ["x", "y"]
    table["kind"] = np.where(table["id"] == "a", 1.0, np.nan)
    assert np.array_equal(from_long_frame(table, "id", "time", "u", "kind")[1], [np.nan, 1.0], equal_nan=True)


def test_labels_that_change_within_one_id_are_per_step(table):
    _, labels, _ = from_long_frame(table, "id", "time", "u", "state")
    assert labels.dtype == object
    assert [part.tolist() for part in labels] == [[0, 1, 2], [0, 1]]
    table["state"] = [0, 1, 0, 2, 0]  # constant for b only
    _, labels, _ = from_long_frame(table, "id", "time", "u", "state")
    assert [part.tolist() for part in labels] == [[0, 0, 0], [2, 1]]


def test_equal_lengths_stay_an_object_array(table):
    sequences, labels, _ = from_long_frame(table[1:], "id", "time", ["u", "v"], "state")
    assert sequences.shape == labels.shape == (2,)


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        (None, dict(feature_cols=["u", "w"]), "not in the frame: 'w'"),
        (None, dict(label_col="w"), "not in the frame: 'w'"),
        (None, dict(id_col="w"), "not in the frame: 'w'"),
        (None, dict(feature_cols=["kind"]), "not numeric: 'kind'"),
        (None, dict(feature_cols=[]), "feature_cols names no column"),
        (None, dict(feature_cols=["u", "v", "u"]), "named twice: 'u'"),
        (lambda t: t[:0], {}, "no rows"),
        (lambda t: t.assign(id=["b", None, "b", "a", "b"]), {}, "column 'id' has missing values"),
        (lambda t: t.assign(time=pd.NaT), {}, "column 'time' has missing values"),
        (
            lambda t: t.assign(time=[1, 2, 3, 2, 2]),
            {},
            "id a has time 2 more than once",
        ),
    ],
)
def test_from_long_frame_mistakes(table, change, arguments, message):
    table = table if change is None else change(table)
    arguments = dict(id_col="id", time_col="time", feature_cols=["u"]) | arguments
    with pytest.raises(ValueError, match=message):
        from_long_frame(table, **arguments)


@pytest.mark.parametrize("as_list", [True, False])
def test_to_long_frame_brings_steps_back(table, as_list):
    sequences, _, _ = from_long_frame(table, "id", "time", ["u"])
    predictions = [part[:, 0] * 2 for part in sequences]
    predictions = predictions if as_list else object_array(predictions)
    result = to_long_frame(predictions, table, "id", "time")
    assert result.columns.tolist() == ["id", "time", "prediction"]
    pd.testing.assert_frame_equal(result[["id", "time"]], table[["id", "time"]])
    assert result["prediction"].tolist() == (2 * table["u"]).tolist()


def test_several_outputs(table):
    sequences, _, _ = from_long_frame(table, "id", "time", ["u", "v"])
    result = to_long_frame(sequences, table, "id", "time", name="p")
    assert result["p_0"].tolist() == table["u"].tolist()
    assert result["p_1"].tolist() == table["v"].tolist()
    one = to_long_frame([part[:, :1] for part in sequences], table, "id", "time", name="p")
    assert one["p"].tolist() == table["u"].tolist()


@pytest.mark.parametrize("form", [np.asarray, list, lambda y: np.array(y, object), pd.Series])
def test_predictions_per_sequence_are_repeated(table, form):
    result = to_long_frame(form(["x", "y"]), table, "id", "time", name="kind")
    assert result["kind"].tolist() == table["kind"].tolist()


def test_dense_predictions(table):
    table = table[1:]  # two steps each; a comes first now
    result = to_long_frame(np.array([[1, 2], [3, 4]]), table, "id", "time", per_step=True)
    assert result["prediction"].tolist() == [2, 3, 1, 4]
    assert result["prediction"].dtype == int
    outputs = to_long_frame(np.arange(8).reshape(2, 2, 2), table, "id", "time")
    assert outputs["prediction_1"].tolist() == [3, 5, 1, 7]


PROBABILITIES = np.array([[0.25, 0.75], [0.5, 0.5]])


def test_an_array_that_may_be_steps_or_outputs_is_refused_until_it_is_said(table):
    """Of two sequences of two steps, probabilities of two classes; wrong numbers, if taken for steps."""
    table = table[1:]  # a comes first
    for ambiguous in (PROBABILITIES, np.array([["x", "y"], ["y", "x"]]), pd.DataFrame(PROBABILITIES)):
        with pytest.raises(ValueError, match=r"may be of 2 steps, or of 2 outputs per sequence: pass per_st"):
            to_long_frame(ambiguous, table, "id", "time")
    result = to_long_frame(PROBABILITIES, table, "id", "time", per_step=False)
    assert result["prediction_0"].tolist() == [0.25, 0.5, 0.25, 0.5]
    assert result["prediction_1"].tolist() == [0.75, 0.5, 0.75, 0.5]
    # what a ragged X or a list gives is per step, and one output is the same either way
    steps = to_long_frame(object_array(list(PROBABILITIES)), table, "id", "time")
    assert steps["prediction"].tolist() == [0.75, 0.5, 0.25, 0.5]
    assert to_long_frame(list(PROBABILITIES), table, "id", "time").equals(steps)
    assert to_long_frame(list(PROBABILITIES), table, "id", "time", per_step=False).equals(result)
    alone = to_long_frame(PROBABILITIES[:1], table, "id", "time", ids=["a"], per_step=True)
    assert alone["prediction"].tolist() == [0.75, 0.25]


def test_one_output_of_one_step_needs_no_word():
    one = pd.DataFrame({"id": ["a", "b"], "time": [0, 0]})
    for per_step in (None, True, False):
        result = to_long_frame(np.array([[1], [2]]), one, "id", "time", per_step=per_step)
        assert result["prediction"].tolist() == [1, 2]


@pytest.mark.parametrize("outputs", [1, 4])
def test_several_outputs_per_sequence_are_repeated(table, outputs):
    scores = np.arange(2.0 * outputs).reshape(2, outputs)
    for form in (scores, list(scores), scores.tolist(), object_array(list(scores))):
        for per_step in (None, False) if form is scores else (False,):
            result = to_long_frame(form, table, "id", "time", per_step=per_step)
            for k in range(outputs):
                column = result["prediction" if outputs == 1 else f"prediction_{k}"]
                assert column.tolist() == [scores["ba".index(i), k] for i in table["id"]]


def test_ids_of_a_test_set_in_any_order(table):
    result = to_long_frame([np.array([5, 6])], table, "id", "time", ids=["a"])
    assert result.index.tolist() == [101, 103]
    assert result["prediction"].tolist() == [6, 5]
    both = to_long_frame([[5, 6], [7, 8, 9]], table, "id", "time", ids=np.array(["a", "b"]))
    assert both["prediction"].tolist() == [9, 6, 7, 5, 8]


@pytest.mark.parametrize(
    ("predictions", "arguments", "message"),
    [
        ([1.0], {}, "got predictions for 1 sequences, expected 2"),
        ([[1, 2, 3], [1]], {}, "id a has 2 rows but 1 predictions"),
        ([[1, 2, 3], 1], {}, "id a has 2 rows but a single prediction"),
        (np.ones((2, 2)), {}, "id b has 3 rows but 2 predictions; for 2 outputs per seq.* per_step=False"),
        (np.ones((2, 4)), dict(per_step=True), "id b has 3 rows but 4 predictions"),
        (np.ones(2), dict(per_step=True), "id b has 3 rows but a single prediction"),
        ([[1, 2, 3], [1, 2]], dict(per_step=False), r"got items of shapes \(2,\), \(3,\)"),
        (np.ones((2, 3, 1)), dict(per_step=False), r"\(n, n_outputs\), got items of shapes \(3, 1\)"),
        ([1, 2], dict(per_step="no"), "per_step must be True, False or None, got 'no'"),
        ([[1, 2]], dict(ids=["z"]), "ids are not in df: 'z'"),
        ([[1, 2]] * 2, dict(ids=["a", "a"]), "ids are not unique"),
        ([1, 2], dict(name="time"), "'time' is already a column"),
        ([1, 2], dict(time_col="when"), "not in the frame: 'when'"),
    ],
)
def test_to_long_frame_mistakes(table, predictions, arguments, message):
    with pytest.raises(ValueError, match=message):
        to_long_frame(predictions, **dict(df=table, id_col="id", time_col="time") | arguments)


# what is given in place of a frame of pandas ------------------------------------------------------


CALLS = {
    "from": lambda df: from_long_frame(df, "id", "time", ["u", "v"], "state"),
    "to": lambda df: to_long_frame([np.arange(3), np.arange(2)], df, "id", "time"),
    "windows": lambda df: make_windows(df.select("u", "v"), 2, target="u", exog="v"),
}


class Foreign:
    """A frame of another library, which knows how to become one of pandas."""

    def __init__(self, frame):
        self._frame = frame

    def select(self, *columns):
        return Foreign(self._frame[list(columns)])

    def to_pandas(self):
        return self._frame.copy()


def polars_frame(table):
    polars = pytest.importorskip("polars")
    pytest.importorskip("pyarrow")
    return polars.from_pandas(table)


@pytest.mark.parametrize("foreign", [Foreign, polars_frame])
@pytest.mark.parametrize("name", CALLS)
def test_other_frames_are_converted(table, name, foreign):
    table = table.reset_index(drop=True)
    given = CALLS[name](foreign(table))
    table.select = lambda *columns: table[list(columns)]
    expected = CALLS[name](table)
    if name == "from":
        for ours, theirs in zip(expected[0], given[0], strict=True):
            np.testing.assert_array_equal(ours, theirs)
        assert [part.tolist() for part in given[1]] == [part.tolist() for part in expected[1]]
        assert given[2].tolist() == expected[2].tolist()
    elif name == "to":
        pd.testing.assert_frame_equal(given, expected, check_dtype=False)
    else:
        for ours, theirs in zip(expected, given, strict=True):
            assert ours.equals(theirs)


def test_a_series_of_polars_is_converted():
    polars = pytest.importorskip("polars")
    pytest.importorskip("pyarrow")
    X, _ = make_windows(polars.Series("co2", [1.0, 2.0, 3.0]), 1)
    assert X.columns.tolist() == ["co2(t-1)"]
    assert make_windows(polars.Series([1.0, 2.0, 3.0]), 1)[1].name == "y"


class Lazy:
    """A frame whose rows are not there yet."""

    def compute(self):
        raise AssertionError("work that nobody asked for")


class Unconvertible:
    def to_pandas(self):
        raise ImportError("pyarrow is not installed")


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ({"id": [1]}, r"expected a pandas DataFrame( or Series)?, got builtins.dict$"),
        (np.ones((2, 2)), r"got numpy.ndarray$"),
        (Lazy(), r"got .*test_windows\.Lazy: pass what \.compute\(\) gives"),
        (Unconvertible(), r"got .*Unconvertible, which cannot be converted: pyarrow is not installed"),
    ],
)
def test_what_is_no_frame_is_named(frame, message):
    for call in (
        lambda: make_windows(frame, 1),
        lambda: from_long_frame(frame, "id", "time", "u"),
        lambda: to_long_frame([1], frame, "id", "time"),
    ):
        with pytest.raises(TypeError, match=message):
            call()


def test_a_series_is_no_long_frame(table):
    with pytest.raises(TypeError, match=r"got pandas.*Series: take series.reset_index\(\)"):
        from_long_frame(table.set_index(["id", "time"])["u"], "id", "time", "u")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            dict(id_col=["id", "kind"]),
            r"id_col must name one column, got \['id', 'kind'\]; make one .*ngroup",
        ),
        (dict(time_col=["time"]), r"time_col must name one column, got \['time'\]"),
        (dict(label_col={"state"}), r"label_col must name one column, got \{'state'\}"),
        (
            dict(feature_cols=[["u"], "v"]),
            r"feature_cols must be a column or a list of columns, got \[\['u'\]",
        ),
        (dict(feature_cols={"u": 1}), "feature_cols must be a column or a list of columns"),
        (dict(id_col=(["id"],)), "id_col must name one column"),
    ],
)
def test_a_name_is_one_column(table, arguments, message):
    with pytest.raises(ValueError, match=message):
        from_long_frame(table, **dict(id_col="id", time_col="time", feature_cols="u") | arguments)
    arguments = {name: value for name, value in arguments.items() if name in ("id_col", "time_col")}
    if arguments:
        with pytest.raises(ValueError, match=message):
            to_long_frame([1, 2], table, **dict(id_col="id", time_col="time") | arguments)


def test_the_advice_for_several_ids_works(table):
    joined = table.assign(both=table.groupby(["id", "kind"]).ngroup())
    sequences, _, _ = from_long_frame(joined, "both", "time", "u")
    assert [len(part) for part in sequences] == [3, 2]
    with pytest.raises(ValueError, match=r"exog must be a column or a list of columns, got \{'b'\}"):
        make_windows(table[["u", "v"]], 1, exog={"b"})


def test_columns_of_several_levels(table):
    levels = table.set_axis(pd.MultiIndex.from_product([table.columns, ["x"]]), axis=1)
    with pytest.raises(ValueError, match=r"names of several columns, which have 2 levels: 'id', 'time'"):
        from_long_frame(levels, "id", "time", [("u", "x")])
    sequences, _, _ = from_long_frame(levels, ("id", "x"), ("time", "x"), [("u", "x")])
    assert sequences[1].tolist() == [[10], [20]]
