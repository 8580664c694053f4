"""Lag windows by hand: forecast a year of weekly CO2 with a pipeline and scikit-learn's own tools.

co2_forecast.py does the same with a forecaster, which hides these steps. Here they are in the open, to
change at will: fill the gaps, cut the series into windows with `make_windows`, take each window relative
to its last week, scale, search over cells on time-ordered folds, and undo it all for the forecast.
Printed are the mean absolute errors in ppm of the 52 weeks held back, of the network and of the same week
of last year plus the mean yearly change.
"""

import numpy as np
import pandas as pd
from sklearn.compose import TransformedTargetRegressor
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from statsmodels.datasets import co2

from skrnn import RNNRegressor, SequenceTransformer, make_windows

LAGS, HORIZON = 104, 52

series = co2.load_pandas().data["co2"]
train, test = series[:-HORIZON], series[-HORIZON:]

# Gaps: up to four weeks in a row are interpolated, windows that touch what is left are dropped.
filled = train.interpolate(limit=4, limit_area="inside")
X, Y = make_windows(filled, lags=LAGS, horizon=HORIZON)
complete = X.notna().all(axis=1) & Y.notna().all(axis=1)
print(
    f"{len(train)} weeks to learn from, {train.isna().sum()} of them missing, "
    f"{filled.isna().sum()} after interpolation: {complete.sum()} of {len(X)} windows are complete"
)
X, Y = X[complete], Y[complete]

# CO2 rises: no level of the test year occurs in training. Each window is read, and each forecast
# made, relative to the last week known, so that only the shape of the curve has to be learnt.
X, Y = X.sub(X.iloc[:, -1], axis=0), Y.sub(X.iloc[:, -1], axis=0)
level = filled.iloc[-1]
latest = pd.DataFrame([filled.iloc[-LAGS:].to_numpy() - level], columns=X.columns)

network = RNNRegressor(max_iter=20, learning_rate="cosine", learning_rate_init=3e-3, random_state=0)
model = TransformedTargetRegressor(
    Pipeline([("scale", SequenceTransformer(StandardScaler())), ("rnn", network)]),
    transformer=StandardScaler(),
)
search = GridSearchCV(
    model,
    {"regressor__rnn__cell": ["rnn", "lstm", "gru"]},
    # The gap keeps every target of a training window before the first target of the fold.
    cv=TimeSeriesSplit(n_splits=3, gap=HORIZON - 1),
    scoring="neg_mean_absolute_error",
    n_jobs=2,
).fit(X, Y)
for cell, score in zip(("rnn", "lstm", "gru"), search.cv_results_["mean_test_score"], strict=True):
    print(f"  cross-validated MAE of {cell:4}  {-score:.3f}")

forecast = search.predict(latest)[0] + level
last_year = filled.to_numpy()[-52:] + filled.diff(52).mean()
print(f"\nMAE of {HORIZON} weeks from {test.index[0]:%Y-%m-%d}, in ppm of CO2")
print(f"  last year with drift  {np.nanmean(np.abs(test - last_year)):.3f}")
print(f"  skrnn                 {np.nanmean(np.abs(test - forecast)):.3f}")
