"""Missing values: filled or told to the network, and never learnt as if they were known."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn.linear_model import Ridge
from spies import LAGS, H, SpyNetwork, forecaster, name_of, spied, walk

from skrnn.forecasting.model import Model


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
    assert max(calls) >= 4


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


@pytest.mark.parametrize("missing", ["interpolate", "mask"])
@pytest.mark.parametrize("parameters", [{}, {"lags": None}, {"scale_by": "window"}], ids=name_of)
def test_columns_that_begin_late(missing, parameters):
    """As in a long frame without the rows before; and all columns are forecast for the same stamps."""
    wide = pd.DataFrame({"a": with_gaps(), "b": walk(60, seed=3), "c": walk(60, seed=4)})
    wide.iloc[:15, 1] = wide.iloc[56:, 2] = np.nan
    long = wide.rename_axis("ds").melt(ignore_index=False, var_name="unique_id", value_name="y").reset_index()
    long = long[(long["unique_id"] != "b") | (long["ds"] >= wide.index[15])]
    model = forecaster(parameters, missing=missing, level=80)
    answers = []
    for data in wide, long:
        forecast = model.fit(data).predict()
        again = model.predict(data[10:] if data is wide else data[data["ds"] >= wide.index[10]])
        folds = model.cross_validation(data, 2)
        answers.append([forecast, again, folds])
    assert answers[0][0].index[0] == wide.index[-1] + wide.index.freq
    for one, other in zip(*answers):
        name = type(model).__name__
        for id in "abc":
            assert_array_equal(one[id][name], other[name][other["unique_id"] == id])


def test_a_series_without_its_name():
    named = walk().rename("sales")
    for history, later in (named, named.rename(None)), (named.rename(None), named):
        model = forecaster({}).fit(history[:-5])
        model.update(later[-5:])
        assert model.predict().name == history.name
        pd.testing.assert_series_equal(model.predict(later), model.predict())
