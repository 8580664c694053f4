"""A small forecaster, and regressors that keep what it gives them."""

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, RegressorMixin

from skrnn import LSTMRegressor
from skrnn.forecasting import LSTMForecaster

H, LAGS = 3, 5
# Nothing is chosen by the data.
PLAIN = dict(scale_by="series", differences=None, log1p=False, intervals="quantile", calibration_windows=10)
QUICK = PLAIN | dict(h=H, lags=LAGS, max_steps=3, hidden_size=2, random_state=0)
WINDOW = {"scale_by": "window"}
SCALINGS = [
    {"scaling": scaling, "scale_by": by}
    for scaling in ("standard", "robust", "minmax", "mean", "last")
    for by in ("series", "window")
    if scaling != "last" or by == "window"
]


def forecaster(parameters=None, cls=LSTMForecaster, **more):
    return cls(**QUICK | (parameters or {}) | more)


def name_of(parameters):
    return "-".join(map(str, parameters.values())) or "default"


def walk(n=60, seed=0):
    values = 20 + np.random.default_rng(seed).standard_normal(n).cumsum()
    return pd.Series(values, pd.date_range("2024-01-01", periods=n, freq="D"), name="y")


def panel_of(lengths=(30, 24), seed=0):
    """A long frame with covariates x (known ahead) and z (not), all values different."""
    rng = np.random.default_rng(seed)
    parts = [
        pd.DataFrame(
            {
                "unique_id": f"s{i}",
                "ds": np.arange(i, i + n),
                "y": rng.normal(10 * (i + 1), 1, n),
                "x": rng.normal(size=n),
                "z": rng.normal(size=n),
                "size": float(i),
            }
        )
        for i, n in enumerate(lengths)
    ]
    return pd.concat(parts, ignore_index=True)


class Spy(RegressorMixin, BaseEstimator):
    """A regressor that keeps what it is given, and answers with the last columns of its input."""

    def fit(self, X, y):
        self.X_, self.y_ = X, np.asarray(y).reshape(len(X), -1)
        return self

    def predict(self, X):
        self.asked_ = X
        return np.tile(X[:, -1:], self.y_.shape[1])

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


class SpyNetwork(LSTMRegressor):
    """Keeps what it is given and trains for nothing."""

    def fit(self, X, y, sample_weight=None, **validation):
        self.X_, self.y_, self.w_, self.validation_ = X, y, sample_weight, validation
        return super().fit(X, y, sample_weight)


def spied(data, regressor=None, **parameters):
    model = forecaster(parameters, regressor=Spy() if regressor is None else regressor)
    return model.fit(data)
