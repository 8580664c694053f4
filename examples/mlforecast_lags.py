"""The networks inside Nixtla's MLForecast, as the plain regressors on lag columns that they are.

MLForecast makes a table with a column per lag and hands it to any scikit-learn regressor. The column of
lag 1, the newest, comes first; `newest_first=True` tells the network so, which reads a window from its
oldest step on. 24 monthly series are forecast a year ahead, one step after the other, by one network for
all. Printed are the mean absolute errors beside those of a linear model on the same lags and of the same
month of last year.

    pip install "skrnn[mlforecast]"

(In an environment of its own: MLForecast 1.1 needs pandas 2.)
"""

import numpy as np
import pandas as pd
from mlforecast import MLForecast
from mlforecast.target_transforms import LocalStandardScaler
from sklearn.linear_model import LinearRegression

from skrnn import LSTMRegressor

LAGS, HORIZON = 24, 12

rng = np.random.default_rng(0)
months = pd.date_range("2010-01", periods=180, freq="MS")
turn = np.arange(len(months)) * 2 * np.pi / 12


def series(name):
    """A yearly wave that flattens its lows, at a size and phase of the series' own."""
    wave = np.exp(1.2 * np.sin(turn - rng.uniform(0, 2 * np.pi)))
    values = rng.lognormal(3, 1) * (wave + 0.2 * rng.normal(size=len(months)))
    return pd.DataFrame({"unique_id": name, "ds": months, "y": values})


table = pd.concat([series(f"series {i:02}") for i in range(24)], ignore_index=True)
known, later = table[table["ds"] < months[-HORIZON]], table[table["ds"] >= months[-HORIZON]]

forecaster = MLForecast(
    models={
        "LSTM": LSTMRegressor(
            32, newest_first=True, linear_skip=True, max_iter=40, learning_rate="cosine",
            learning_rate_init=3e-3, random_state=0,
        ),
        "linear": LinearRegression(),
    },
    freq="MS",
    lags=range(1, LAGS + 1),
    target_transforms=[LocalStandardScaler()],
)  # fmt: skip
forecast = forecaster.fit(known).predict(HORIZON).merge(later, on=["unique_id", "ds"])
last_year = known.groupby("unique_id")["y"].apply(lambda y: y.iloc[-12:]).to_numpy()
forecast["last year"] = last_year

# In units of each series' mean, so that large ones do not decide.
size = forecast.groupby("unique_id")["y"].transform("mean")
print(f"mean absolute error of {HORIZON} months, in units of each series' mean")
for name in ("LSTM", "linear", "last year"):
    print(f"  {name:10} {((forecast[name] - forecast['y']).abs() / size).mean():.3f}")
