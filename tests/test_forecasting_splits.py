import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit

from skrnn.forecasting.frames import read_panel
from skrnn.forecasting.splits import RollingOrigin, hold_back_windows


def days(n, start="2020-01-01"):
    return pd.date_range(start, periods=n, freq="D")


@pytest.fixture
def panel():
    """y is the row of the series, and 100 more for b, which starts later and ends earlier."""
    frame = pd.DataFrame(
        {
            "unique_id": list("a" * 9 + "b" * 6),
            "ds": days(9).append(days(6, "2020-01-02")),
            "y": [*range(9), *range(100, 106)],
        }
    )
    return read_panel(frame.assign(x=-frame["y"]), futr_exog="x")


def test_folds_end_with_each_series(panel):
    folds = list(RollingOrigin(2, h=2, step_size=3).folds(panel))
    assert len(folds) == 2
    assert folds[1].y[:, :, 0].tolist() == [[7, 8], [104, 105]]
    assert folds[0].y[:, :, 0].tolist() == [[4, 5], [101, 102]]
    assert np.array_equal(folds[0].future, -folds[0].y)
    assert folds[0].panel.lengths.tolist() == [4, 1]
    assert folds[1].panel.lengths.tolist() == [7, 4]
    assert folds[0].panel.values is panel.values
    assert folds[0].panel.last_stamps.astype(str).tolist() == ["2020-01-04", "2020-01-02"]
    days_of_month = folds[0].stamps.day.tolist()
    assert days_of_month == [5, 6, 3, 4]


def test_windows_may_overlap(panel):
    folds = list(RollingOrigin(3, h=2).folds(panel))
    assert [fold.y[0, :, 0].tolist() for fold in folds] == [[5, 6], [6, 7], [7, 8]]


def test_folds_of_a_cut_panel(panel):
    inner = panel.until(panel.stops - 2)
    (fold,) = RollingOrigin(1, h=2).folds(inner)
    assert fold.y[:, :, 0].tolist() == [[5, 6], [102, 103]]


def test_folds_of_several_targets():
    frame = pd.DataFrame({"a": [1.0, 2, np.nan], "b": [4.0, 5, 6]}, days(3))
    (fold,) = RollingOrigin(1, h=2).folds(read_panel(frame, multivariate=True, missing="mask"))
    np.testing.assert_array_equal(fold.y, [[[2, 5], [np.nan, 6]]])


def test_short_series(panel):
    with pytest.raises(
        ValueError, match="series 'b' has 6 rows, but n_windows=3, h=2 and step_size=2 need 7, of which 1"
    ):
        next(RollingOrigin(3, h=2, step_size=2).folds(panel))
    next(RollingOrigin(3, h=1, step_size=2).folds(panel))
    with pytest.raises(ValueError, match="need 7, of which 2 before the first cutoff"):
        next(RollingOrigin(3, h=1, step_size=2).folds(panel, min_rows=2))


@pytest.mark.parametrize(("h", "n_windows"), [(1, 5), (3, 2)])
def test_split_is_that_of_scikit_learn_where_windows_do_not_overlap(h, n_windows):
    X = np.arange(20)
    ours = list(RollingOrigin(n_windows, h=h, step_size=h).split(X))
    theirs = list(TimeSeriesSplit(n_windows, test_size=h).split(X))
    assert len(ours) == len(theirs) == RollingOrigin(n_windows).get_n_splits()
    for (train, test), (their_train, their_test) in zip(ours, theirs):
        assert np.array_equal(train, their_train)
        assert np.array_equal(test, their_test)


def test_split_and_folds_agree():
    series = pd.Series(np.arange(12.0), days(12))
    origin = RollingOrigin(3, h=2, step_size=3)
    for (train, test), fold in zip(origin.split(series), origin.folds(read_panel(series)), strict=True):
        assert fold.panel.lengths[0] == len(train)
        assert series.iloc[test].tolist() == fold.y[0, :, 0].tolist()
        assert series.index[test].equals(fold.stamps)


def test_split_of_too_few_rows():
    origin = RollingOrigin(2, h=3)
    assert [len(train) for train, _ in origin.split(range(5))] == [1, 2]
    with pytest.raises(
        ValueError, match=r"RollingOrigin\(2, h=3, step_size=1\) needs at least 5 rows, got 4"
    ):
        next(origin.split(range(4)))


def test_split_of_a_long_frame():
    """Each series from its own end, whatever the order of the rows."""
    parts = [
        pd.DataFrame({"shop": name, "day": days(n), "y": np.arange(float(n))})
        for name, n in (("b", 9), ("a", 6))
    ]
    frame = pd.concat(parts).sample(frac=1, random_state=0)
    origin = RollingOrigin(2, h=2, id_col="shop", time_col="day")
    for k, (train, test) in enumerate(origin.split(frame)):
        for name, n in ("a", 6), ("b", 9):
            known, held_back = (
                sorted(frame.iloc[rows].loc[lambda f, name=name: f["shop"] == name, "y"])
                for rows in (train, test)
            )
            cutoff = n - 3 + k
            assert known == list(range(cutoff))
            assert held_back == [cutoff, cutoff + 1]
    with pytest.raises(ValueError, match="needs at least 7 rows, series 'a' has 6"):
        next(RollingOrigin(5, h=2, id_col="shop", time_col="day").split(frame))


def test_categories_without_rows_are_no_series():
    frame = pd.DataFrame({"unique_id": pd.Categorical(list("aab" * 4), list("zab")), "ds": days(12)})
    splits = list(RollingOrigin(2, h=1).split(frame))
    assert [frame["ds"].dt.day.iloc[test].tolist() for _, test in splits] == [[9, 10], [11, 12]]


def test_split_of_a_long_frame_of_one_series():
    frame = pd.DataFrame({"ds": days(9)[::-1], "y": 1.0})
    splits = [(train.tolist(), test.tolist()) for train, test in RollingOrigin(2, h=2).split(frame)]
    assert splits == [([3, 4, 5, 6, 7, 8], [1, 2]), ([2, 3, 4, 5, 6, 7, 8], [0, 1])]


LONG = pd.DataFrame({"shop": list("ab") * 5, "day": days(5).repeat(2), "y": 1.0})


@pytest.mark.parametrize(
    ("frame", "names", "message"),
    [
        (LONG, {}, "column 'day' of X is not in time order.* id_col and time_col, which are 'unique_id'"),
        (LONG.sort_values(["shop", "day"]), {}, "column 'day' of X is not in time order"),
        (LONG.assign(day=LONG["day"].dt.to_period("D")), {}, "column 'day' of X is not in time order"),
        (LONG.set_index("day"), {}, "the index of X is not in time order"),
        (LONG, dict(id_col="shop"), "X has no column 'ds': give .* the time_col of X"),
        (LONG.replace("b", None), dict(id_col="shop", time_col="day"), "'shop' is missing in row 1"),
        (
            LONG.assign(day=LONG["day"].shift()),
            dict(id_col="shop", time_col="day"),
            "'day' is missing in row 0",
        ),
    ],
)
def test_rows_that_are_not_in_time_order(frame, names, message):
    with pytest.raises(ValueError, match=message):
        next(RollingOrigin(1, h=2, **names).split(frame))


def test_columns_of_dates_beside_rows_in_time_order():
    frame = pd.DataFrame({"day": days(6), "delivery": [days(1)[0]] * 6})
    for X in frame, frame[["delivery"]].set_axis(days(6), axis=0), pd.DataFrame({"x": range(6)}):
        assert next(RollingOrigin(1, h=2).split(X))[1].tolist() == [4, 5]


class LastValue(BaseEstimator):
    """Says what was `lag` rows before the end."""

    def __init__(self, lag=1):
        self.lag = lag

    def fit(self, X, y=None):
        assert X.index.is_monotonic_increasing
        self.value_ = X.iloc[-self.lag]
        return self

    def score(self, X, y=None):
        return -np.abs(X - self.value_).to_numpy().mean()


@pytest.mark.parametrize("wide", [False, True])
def test_in_a_grid_search(wide):
    series = pd.Series(np.arange(20.0), days(20))
    X = pd.DataFrame({"a": series, "b": series}) if wide else series
    search = GridSearchCV(LastValue(), {"lag": [2, 1, 3]}, cv=RollingOrigin(4, h=2), refit=True)
    search.fit(X)
    assert search.best_params_ == {"lag": 1}
    assert search.best_score_ == -1.5
    assert search.n_splits_ == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(n_windows=0), "n_windows must be an integer of at least 1, got 0"),
        (dict(h=1.5), "h must be an integer of at least 1, got 1.5"),
        (dict(step_size=True), "step_size must be .* got True"),
    ],
)
def test_parameters(arguments, message):
    with pytest.raises(ValueError, match=message):
        RollingOrigin(**arguments)


# --- windows --------------------------------------------------------------------------------------
def test_held_back_windows_are_the_last_of_each_series():
    train, held_back = hold_back_windows(np.array([10, 5, 2, 3]), 0.2, gap=1)
    assert held_back.tolist() == [8, 9, 14, 19]
    assert train.tolist() == [*range(7), 10, 11, 12, 15, 16, 17]  # nothing would be left of the third series


@pytest.mark.parametrize(("h", "lags"), [(1, 3), (4, 3), (4, 9)])
def test_gaps_keep_windows_apart(h, lags):
    counts = np.array([60, 33, 90]) - h - lags + 1
    firsts = np.concatenate([start + np.arange(count) for start, count in zip([0, 60, 93], counts)])

    def shared(gap, begin):
        """Rows that windows on both sides have, from their row `begin` on."""
        sides = hold_back_windows(counts, 0.25, gap)
        train, held_back = (
            (firsts[side][:, None] + np.arange(begin, lags + h)).reshape(-1) for side in sides
        )
        return np.intersect1d(train, held_back)

    for gap, begin in (h - 1, lags), (h - 1 + lags, 0):  # the targets; all rows
        assert not len(shared(gap, begin))
        if gap:
            assert len(shared(gap - 1, begin))


@pytest.mark.parametrize("share", [0, 1, -0.5, 3])
def test_share_of_windows(share):
    with pytest.raises(
        ValueError, match=f"share of windows to validate on must be between 0 and 1, got {share}"
    ):
        hold_back_windows(np.array([10]), share, 0)


def test_too_few_windows():
    with pytest.raises(
        ValueError, match=r"no series is long enough to validate on 20% .* leave out 8 .* longest has 10"
    ):
        hold_back_windows(np.array([10, 3]), 0.2, 8)
    with pytest.raises(ValueError, match="longest has 0"):
        hold_back_windows(np.array([], int), 0.2, 8)
