"""Forecast a year of weekly CO2 at Mauna Loa, beside what last year alone would say.

The series (1958 to 2001, from statsmodels) has 59 weeks without a measurement. The last 52 weeks
are held back. A grid search over time-ordered folds picks the cell; the network reads the last
104 weeks and answers with the next 52 at once. Printed are the mean absolute errors in ppm of the
network (three seeds) and of two naive forecasts:

- seasonal naive: the same week of last year;
- with drift: the same, plus the mean yearly change over the training years.

    python examples/co2_forecast.py [where/to/save/the/plot.png]
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.base import clone
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
last_year = filled.to_numpy()[-52:]
drift = filled.diff(52).mean()


def mae(prediction):
    return np.nanmean(np.abs(test - prediction))


seeds = [mae(forecast)]  # the search ran with seed 0
for seed in (1, 2):
    again = clone(search.best_estimator_).set_params(regressor__rnn__random_state=seed).fit(X, Y)
    seeds.append(mae(again.predict(latest)[0] + level))

naive, naive_drift = mae(last_year), mae(last_year + drift)
print(f"\nMAE of {HORIZON} weeks from {test.index[0]:%Y-%m-%d}, in ppm of CO2")
print(f"  seasonal naive             {naive:.3f}")
print(f"  seasonal naive with drift  {naive_drift:.3f}")
each = ", ".join(f"{value:.3f}" for value in seeds)
print(f"  skrnn, mean of three seeds {np.mean(seeds):.3f}  ({each})")
print(
    f"  that is {1 - np.mean(seeds) / naive:.0%} below seasonal naive "
    f"and {1 - np.mean(seeds) / naive_drift:.0%} below seasonal naive with drift"
)

figure, ax = plt.subplots(figsize=(8, 3.6), layout="constrained")
ax.plot(series[-4 * 52 :], color="0.6", label="measured")
ax.plot(test.index, last_year + drift, color="C1", lw=1, ls="--", label="last year with drift")
ax.plot(test.index, forecast, color="C0", label="forecast")
ax.axvline(test.index[0], color="0.8", lw=1, zorder=0)
ax.set(ylabel="CO2 (ppm)", title="Mauna Loa, 52 weeks ahead")
ax.legend(frameon=False)
default = Path(__file__).parent / "output" / "co2_forecast.png"
path = Path(sys.argv[1]) if len(sys.argv) > 1 else default
path.parent.mkdir(parents=True, exist_ok=True)
figure.savefig(path, dpi=150)
print(f"plot saved: {path}")
