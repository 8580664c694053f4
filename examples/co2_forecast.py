"""Forecast a year of weekly CO2 at Mauna Loa, beside what last year alone would say.

The series (1958 to 2001, from statsmodels) has 59 weeks without a measurement. The last 52 weeks
are held back. A grid search over rolling origins picks how many weeks the network reads, and whether
each of these windows is scaled by itself; it answers with the next 52 at once. Printed are the mean
absolute errors in ppm of the network (three seeds) and of two naive forecasts:

- seasonal naive: the same week of last year;
- with drift: the same, plus the mean yearly change over the training years.

The plot also shows 80 and 95 % intervals. co2_windows.py is the same by hand, without a forecaster.

    python examples/co2_forecast.py [where/to/save/the/plot.png]
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from statsmodels.datasets import co2

from skrnn.forecasting import GRUForecaster, RollingOrigin

HORIZON = 52

series = co2.load_pandas().data["co2"]
train, test = series[:-HORIZON], series[-HORIZON:]

search = GridSearchCV(
    GRUForecaster(h=HORIZON, missing="interpolate", n_networks=1, log1p=False, max_steps=600, random_state=0),
    {"lags": [52, 104], "scale_by": ["series", "window"]},
    cv=RollingOrigin(n_windows=3, h=HORIZON, step_size=HORIZON),
    n_jobs=2,
).fit(train)
for tried, score in zip(search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True):
    print(f"  error of {tried}, in mean weekly steps: {-score:.2f}")

filled = train.interpolate(limit=4, limit_area="inside")
last_year = filled.to_numpy()[-52:]
drift = filled.diff(52).mean()


def mae(prediction):
    return np.nanmean(np.abs(test - prediction))


seeds = [mae(search.best_estimator_.predict())]  # the search ran with seed 0
for seed in (1, 2):
    again = clone(search.best_estimator_).set_params(random_state=seed).fit(train)
    seeds.append(mae(again.predict()))

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

# The same model with intervals, beside what came true.
model = clone(search.best_estimator_).set_params(level=[80, 95], intervals="conformal").fit(train)
figure, ax = plt.subplots(figsize=(8, 3.6), layout="constrained")
ax.plot(test.index, last_year + drift, color="C1", lw=1, ls="--", label="last year with drift")
model.plot(series, model.predict(), ax=ax, max_rows=3 * 52, history_kwargs={"label": "measured"})
ax.set(ylabel="CO2 (ppm)", xlabel=None)
default = Path(__file__).parent / "output" / "co2_forecast.png"
path = Path(sys.argv[1]) if len(sys.argv) > 1 else default
path.parent.mkdir(parents=True, exist_ok=True)
figure.savefig(path, dpi=150)
print(f"plot saved: {path}")
