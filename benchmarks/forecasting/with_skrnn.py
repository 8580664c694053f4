"""A whole forecasting script: long frame in, forecasts out. ``with_skrnn.py IN.csv OUT.csv H SEED``."""

import sys

import pandas as pd

from skrnn.forecasting import LSTMForecaster

source, target, h, seed = sys.argv[1:]
train = pd.read_csv(source)
model = LSTMForecaster(int(h), lags=52, scale_by="window", random_state=int(seed))
model.fit(train).predict().to_csv(target, index=False)
