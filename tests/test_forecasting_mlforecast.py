"""Inside Nixtla's MLForecast the networks are plain regressors, whose lag columns run newest first."""

from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest

from skrnn import LSTMRegressor

nixtla = pytest.importorskip("mlforecast", reason="mlforecast needs pandas 2; .ci/run has a step for it")

LAGS, H = 6, 4
SETTINGS = dict(hidden_size=4, max_iter=3, learning_rate_init=0.01, random_state=0)


def series(n):
    return np.sin(np.arange(n)) + 0.1 * np.random.default_rng(n).normal(size=n)


@pytest.mark.parametrize("newest_first", [True, False])
def test_lag_columns_are_windows(newest_first):
    """The same bits as windows made by hand, oldest step first, and forecasts read one after the other; the
    names lag1, lag2, ... say the order, with a warning where the parameter does not."""
    known = {"a": series(40), "b": series(30)}
    table = pd.concat(
        pd.DataFrame({"unique_id": name, "ds": np.arange(len(y)), "y": y}) for name, y in known.items()
    )
    network = LSTMRegressor(**SETTINGS, newest_first=newest_first)
    forecaster = nixtla.MLForecast(models={"LSTM": network}, freq=1, lags=range(1, LAGS + 1))
    with nullcontext() if newest_first else pytest.warns(UserWarning, match="Set newest_first=True"):
        forecast = forecaster.fit(table).predict(H)

    def window(y, end):
        return y[end - LAGS : end]

    ends = [(y, end) for y in known.values() for end in range(LAGS, len(y))]
    by_hand = LSTMRegressor(**SETTINGS)
    by_hand.fit(np.array([window(y, end) for y, end in ends]), np.array([y[end] for y, end in ends]))
    for name, y in known.items():
        longer = y
        for _ in range(H):
            step = by_hand.predict(window(longer, len(longer))[None])
            longer = np.append(longer, step)
        np.testing.assert_array_equal(forecast.loc[forecast["unique_id"] == name, "LSTM"], longer[len(y) :])
