"""Series that are too short: left out of training, or lengthened, and no hindrance to the others."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from pandas.testing import assert_frame_equal
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from spies import LAGS, H, SpyNetwork, forecaster, name_of, panel_of, spied, walk

from skrnn.forecasting import LSTMForecaster, RollingOrigin
from skrnn.forecasting.frames import read_panel
from skrnn.forecasting.frequency import stamps_before
from skrnn.forecasting.short_series import lengthened, usual

MODEL = "LSTMForecaster"


def without(data, *names):
    return data[~data["unique_id"].isin(names)].reset_index(drop=True)


def warned(call, *arguments, **keywords):
    """What a call answers, and the one warning that it gives."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        answer = call(*arguments, **keywords)
    (warning,) = caught
    assert warning.category is UserWarning
    assert warning.filename == (spied.__code__.co_filename if call is spied else __file__)
    return answer, str(warning.message)


# --- drop -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("parameters", "needed"),
    [
        ({}, 8),
        ({"lags": None}, 4),
        ({"differences": [1, 2], "log1p": True}, 11),
        ({"scale_by": "window"}, 8),
        ({"strategy": "recursive"}, 6),
        ({"strategy": "encoder_decoder"}, 8),
        ({"regressor": Ridge()}, 8),
        ({"level": 80}, 8),
        ({"level": 80, "intervals": "conformal", "calibration_windows": 3}, 8),
        ({"stat_exog": "size", "hist_exog": "z"}, 8),
    ],
)
def test_dropped_series_have_no_part_in_training(parameters, needed):
    """The fit is that of the others to the bit, and so are their forecasts."""
    data = panel_of((40, needed - 1, 30, 2, 50))
    model, message = warned(forecaster(parameters, short_series="drop").fit, data)
    few = f"with fewer than {needed} rows, and left out in training"
    assert message == f"2 of 5 series are too short, {few}: 's1', 's3'"
    expected = forecaster(parameters).fit(without(data, "s1", "s3")).predict()
    found = model.predict(without(data, "s1", "s3"))
    assert_frame_equal(found, expected)


def test_what_is_forecast_of_dropped_series():
    """All that have the rows that a forecast reads, as series that were not there; no others."""
    data = panel_of((40, LAGS, 30, LAGS - 1, LAGS + H - 1))
    model, _ = warned(forecaster(short_series="drop").fit, data)
    found, message = warned(model.predict)
    assert message == "1 of 5 series is too short, with fewer than 5 rows, and not forecast: 's3'"
    assert found["unique_id"].unique().tolist() == ["s0", "s1", "s2", "s4"]
    expected = forecaster().fit(without(data, "s1", "s3", "s4")).predict(without(data, "s3"))
    assert_frame_equal(found, expected)
    rows, _ = warned(model.make_future_dataframe)
    assert_frame_equal(rows, found[["unique_id", "ds"]])


def test_a_wide_frame_keeps_its_columns():
    data = pd.DataFrame({name: walk(seed=k) for k, name in enumerate("abc")})
    data.iloc[:-4, 0] = data.iloc[:-6, 1] = np.nan
    model, message = warned(forecaster(short_series="drop", missing="interpolate", level=80).fit, data)
    assert (
        "2 of 3 series are too short, with fewer than 8 rows, and left out in training: 'a', 'b'" in message
    )
    found, _ = warned(model.predict)
    assert found.columns.unique(0).tolist() == ["a", "b", "c"]
    assert found["a"].isna().all(axis=None)
    assert found[["b", "c"]].notna().all(axis=None)
    assert_frame_equal(found[["c"]], forecaster(level=80).fit(data[["c"]]).predict())


def test_other_horizons_and_fitted_values_of_short_series():
    data = panel_of((40, 7, 30, 4))
    model, _ = warned(forecaster(short_series="drop").fit, data)
    found, _ = warned(model.predict, h=2 * H)
    data = without(data, "s3")
    expected = forecaster().fit(without(data, "s1"))
    assert_frame_equal(found, expected.predict(data, h=2 * H))
    model, _ = warned(forecaster(short_series="drop").fit, data)
    values = model.fitted_values()
    assert values[MODEL][values["unique_id"] == "s1"].isna().all()
    assert_frame_equal(without(values, "s1"), expected.fitted_values())


def test_later_rows_make_a_series_long_enough():
    data = panel_of((40, 4, 30))
    model, _ = warned(forecaster(short_series="drop").fit, data)
    later = pd.DataFrame({"unique_id": "s1", "ds": [5, 6], "y": 1.0, "x": 0.0, "z": 0.0, "size": 1.0})
    assert model.update(later).predict()["unique_id"].unique().tolist() == ["s0", "s1", "s2"]
    other = pickle.loads(pickle.dumps(model))
    assert_frame_equal(other.predict(), model.predict())
    model.update(later.assign(ds=[7, 8]), max_steps=3)
    assert not model.predict().equals(other.update(later.assign(ds=[7, 8])).predict())


def test_scores_of_series_that_are_forecast():
    data = panel_of((40, 7, 30))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search = GridSearchCV(
            forecaster(short_series="drop"), {"lags": [3, 6]}, cv=RollingOrigin(2, h=H), error_score="raise"
        ).fit(data)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    train, test = next(RollingOrigin(1, h=H).split(without(data, "s1")))
    rest = without(data, "s1")
    expected = forecaster(lags=6).fit(rest.iloc[train]).score(rest.iloc[test])
    train, test = next(RollingOrigin(1, h=H).split(data))
    model, _ = warned(forecaster(lags=6, short_series="drop").fit, data.iloc[train])
    assert model.score(data.iloc[test]) == expected


# --- pad ------------------------------------------------------------------------------------------------
def test_what_a_padded_series_is_taught_as():
    """The first value before the first, as far as a window needs; no target, and nothing of the scale."""
    own, data = SpyNetwork(2, max_iter=1, random_state=0), panel_of((40, 6))
    model, message = warned(spied, data, own, short_series="pad")
    assert message == (
        "1 of 2 series is too short, with fewer than 8 rows, and lengthened with their first values in "
        "training: 's1'"
    )
    network, y = model.regressor_, data["y"][40:].to_numpy()
    scaled = (y - y.mean()) / y.std()
    assert len(network.X_) == 40 - LAGS - H + 1 + 1
    last = network.X_.take(np.array([len(network.X_) - 1]))
    rows = last.values[last.starts[0] : last.starts[0] + LAGS, 0]
    np.testing.assert_allclose(rows, scaled[[0, 0, 0, 1, 2]], rtol=1e-6)
    assert (network.w_ == 1).all()  # of targets that are all the user's own


def test_targets_before_the_first_value_are_not_learnt():
    own, data = SpyNetwork(2, max_iter=1, random_state=0), panel_of((40, H - 1))
    model, _ = warned(spied, data, own, short_series="pad")
    np.testing.assert_allclose(model.regressor_.w_, [1.0] * 33 + [(H - 1) / H])
    np.testing.assert_array_equal(np.isnan(model.regressor_.y_.matrix()[-1]), [True, False, False])


@pytest.mark.parametrize(
    "parameters",
    [{}, {"lags": None}, {"differences": [1, 2]}, {"regressor": Ridge()}, {"missing": "mask"},
     {"calendar": "dayofweek"}, {"strategy": "encoder_decoder"}],
    ids=name_of,
)  # fmt: skip
def test_a_padded_series_is_forecast(parameters):
    data = pd.concat([walk(40), walk(3, seed=1)], keys=["a", "b"], names=["unique_id", "ds"]).reset_index()
    model, _ = warned(forecaster(parameters, short_series="pad", scaling=None).fit, data)
    found = model.predict()
    assert found["unique_id"].tolist() == ["a"] * H + ["b"] * H
    assert np.isfinite(found[MODEL]).all()
    if "missing" in parameters or not model.lags:
        return
    # By hand, as a longer history of the same model.
    longer = pd.concat([pd.DataFrame({"unique_id": "b", "ds": pd.date_range("2023-12-20", "2023-12-31"),
                                      "y": data["y"][40]}), data[40:]])  # fmt: skip
    np.testing.assert_array_equal(model.predict(longer)[MODEL], found[MODEL][H:])


def test_the_spread_of_a_padded_series_is_its_own():
    data = panel_of((60, 6))
    parameters = dict(level=80, intervals="conformal", calibration_windows=3)
    model, _ = warned(forecaster(parameters, short_series="pad").fit, data)
    found = model.predict()[H:]
    half = model.widths_.by_step * model.widths_.sizes.mean() * data["y"][60:].diff().abs().mean()
    np.testing.assert_allclose(found[f"{MODEL}-hi-80"] - found[MODEL], half)
    alone = forecaster(parameters).fit(without(data, "s1"))
    assert_array_equal(model.widths_.by_step, alone.widths_.by_step)


FREQS = ["D", "h", "ME", "MS", "QE-NOV", "B", "W-SUN", "2W", "YS", "15min", "2MS"]


@pytest.mark.parametrize("freq", FREQS)
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_stamps_before(freq, zone):
    stamps = pd.date_range("2023-03-10 06:00", periods=60, freq=freq, tz=zone)
    firsts, counts = stamps[[40, 0, 59, 7]], np.array([30, 0, 2, 7])
    found = stamps_before(firsts, counts, stamps.freq)
    assert found.equals(stamps[[*range(10, 40), 57, 58, *range(7)]])


def test_stamps_before_of_other_kinds():
    months = pd.period_range("2020-01", periods=9, freq="M")
    assert stamps_before(months[[5]], np.array([3]), months.freq).equals(months[2:5])
    assert stamps_before(pd.Index([3, 50], dtype="uint8"), np.array([2, 1]), 5).tolist() == [-7, -2, 45]


def test_a_lengthened_panel():
    data = pd.DataFrame({"a": walk(9), "b": walk(9, seed=1)})
    data.iloc[:6, 1] = np.nan
    panel = read_panel(data.assign(x=np.arange(9.0)), hist_exog="x", missing="interpolate")
    known = panel.until(panel.stops - 1)
    longer = lengthened(known, 5)
    assert longer.lengths.tolist() == [8, 5]
    assert np.diff(longer.starts).tolist() == [9, 6]
    assert longer.stamps.equals(data.index.append(data.index[3:]))
    b = data["b"].to_numpy()
    assert_array_equal(longer.values[9:, 0], b[[6, 6, 6, 6, 7, 8]])
    assert_array_equal(longer.exog[9:, 0], [6, 6, 6, 6, 7, 8])
    assert longer.observed[9:, 0].tolist() == [False] * 3 + [True] * 3
    assert longer.filled[9:].tolist() == [[True, True]] * 3 + [[False, False]] * 3
    assert lengthened(known, 2) is known


# --- what is chosen -------------------------------------------------------------------------------------
@pytest.mark.parametrize("short_series", ["drop", "pad"])
def test_lags_are_chosen_without_the_shortest(short_series):
    """One short series takes nothing from the others, though with "raise" it does."""
    data = pd.concat(
        [walk(120 if k else 9, seed=k) for k in range(4)], keys=list("abcd"), names=["unique_id", "ds"]
    ).reset_index()
    parameters = dict(h=H, max_steps=5, hidden_size=2, random_state=0, n_networks=2)
    expected = LSTMForecaster(**parameters).fit(without(data, "a"))
    model, _ = warned(LSTMForecaster(**parameters, short_series=short_series).fit, data)
    assert max(expected.lags_) > 9
    assert (model.lags_, model.differences_) == (expected.lags_, expected.differences_)
    assert max(LSTMForecaster(**parameters).fit(data).lags_) < 9
    if short_series == "pad":
        assert len(model.predict()) == 4 * H
    else:
        assert_frame_equal(warned(model.predict)[0], expected.predict())


def test_the_usual_lengths():
    """Half of the median, and as many rows as are needed."""

    def lengths(of, n_rows=1, short_series="drop"):
        return usual(read_panel(panel_of(of)), n_rows, short_series).lengths.tolist()

    assert lengths((5, 40)) == [40]
    assert lengths((15, 40)) == [15, 40]
    assert lengths((5,)) == [5]
    assert lengths((5, 6, 40), short_series="raise") == [5, 6, 40]
    assert lengths((19, 20, 40, 41, 40)) == [20, 40, 41, 40]
    assert lengths((19, 20, 40, 41, 40), n_rows=41) == [41]
    assert lengths((5, 6), n_rows=7) == [5, 6]


@pytest.mark.parametrize("short_series", ["drop", "pad"])
def test_windows_to_calibrate_with_are_those_of_the_others(short_series):
    data = panel_of((60, 9, 50))
    parameters = dict(level=80, intervals="conformal", calibration_windows=3)
    with pytest.raises(ValueError, match="'s1' has 9 rows, but conformal intervals need at least 16"):
        forecaster(parameters).fit(data)
    model = forecaster(parameters, short_series=short_series).fit(data)
    alone = forecaster(parameters).fit(without(data, "s1")).widths_
    assert_array_equal(model.widths_.by_step, alone.by_step)
    assert_array_equal(model.widths_.sizes, alone.sizes)
    assert model.model_.models[0].transform.ids.tolist() == ["s0", "s1", "s2"]
    automatic = forecaster(parameters, intervals="auto")
    assert automatic.fit(data).widths_ is None
    assert automatic.set_params(short_series=short_series).fit(data).widths_ is not None


# --- backtests ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("refit", [True, False, 2])
def test_short_series_are_left_out_of_some_cutoffs(refit):
    """Of the first ones; whoever is there is forecast as by a fit on the data until there."""
    data, n_windows = panel_of((40, LAGS + 2 * H, 30, H)), 4
    model = forecaster(short_series="drop")
    scores, message = warned(model.cross_validation, data, n_windows, refit=refit)
    assert message == (
        "2 of 4 series are too short, before some of the cutoffs, and left out there: 's1', 's3'"
    )
    counts = scores.groupby("unique_id")["cutoff"].nunique()
    assert counts.to_dict() == {"s0": 4, "s1": 2, "s2": 4}
    after = data.groupby("unique_id").cumcount(ascending=False)
    every = {True: 1, False: n_windows}.get(refit, refit)
    for k in range(n_windows):
        cut, learnt = (H * (n_windows - j) for j in (k, k // every * every))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = model.fit(data[after >= learnt]).predict(data[after >= cut])
        last = data[after >= cut].groupby("unique_id")["ds"].last()
        found = scores[scores["cutoff"] == scores["unique_id"].map(last)]
        assert_array_equal(found[MODEL], expected[MODEL])
        assert found["ds"].tolist() == expected["ds"].tolist()
    truth = scores.merge(data, on=["unique_id", "ds"])
    assert len(truth) == len(scores)
    assert (truth["y_x"] == truth["y_y"]).all()


def test_a_backtest_of_padded_series():
    data = panel_of((40, 3 * H + 1, 30))
    scores, message = warned(forecaster(short_series="pad").cross_validation, data, 3)
    assert "'s1'" in message
    assert len(scores) == 3 * 3 * H
    assert np.isfinite(scores[MODEL]).all()
    with pytest.raises(ValueError, match="'s1' has 10 rows, but n_windows=3, h=3 and step_size=3 need 17"):
        forecaster().cross_validation(data, 3)


def test_a_wide_backtest_has_gaps():
    data = pd.DataFrame({name: walk(seed=k) for k, name in enumerate("abc")})
    data.iloc[: -LAGS - H, 0] = np.nan
    model = forecaster(short_series="drop", missing="interpolate")
    scores, _ = warned(model.cross_validation, data, 3)
    assert scores.columns.unique(0).tolist() == ["a", "b", "c"]
    assert scores["a"].isna().all(axis=1).tolist() == [True] * 2 * H + [False] * H
    expected = forecaster().cross_validation(data[["b", "c"]], 2)
    assert_frame_equal(scores[["b", "c"]].iloc[H : 2 * H], expected.iloc[:H])


# --- errors ---------------------------------------------------------------------------------------------
def test_none_is_long_enough():
    for short_series in "raise", "drop":
        model = forecaster(short_series=short_series)
        message = "'s0' has 7 rows, but lags=5 with a horizon of 3 needs at least 8 .2 series are too short"
        with pytest.raises(ValueError, match=message):
            model.fit(panel_of((7, 6)))
    with pytest.raises(ValueError, match="'s1' has 16 rows, but n_windows=3, h=3 and step_size=3 need 17"):
        forecaster(short_series="drop").cross_validation(panel_of((7, 16)), 3)
    padded, _ = warned(forecaster(short_series="pad").fit, panel_of((2, 1)))
    assert np.isfinite(padded.predict()[MODEL]).all()
    model = forecaster(short_series="drop").fit(panel_of((20, 30)))
    with pytest.raises(ValueError, match="'s0' has 4 rows, but a forecast from lags=5 needs at least 5"):
        model.predict(panel_of((4, 3)))


def test_no_warning_without_short_series():
    data = panel_of((40, 30))
    for short_series in "drop", "pad":
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            model = forecaster(short_series=short_series).fit(data)
            assert_frame_equal(model.predict(), forecaster().fit(data).predict())
            scores = model.cross_validation(data, 2)
        assert_frame_equal(scores, forecaster().cross_validation(data, 2))
