"""One network for many shops: static and future covariates, the calendar, and backtests.

A long frame holds the daily sales of 20 shops, which opened at different times and sell from tens to
thousands. Each has its weekly pattern, by region, and sells more on the days of a promotion, which are
planned ahead. The network learns all shops at once, each day in units of its window's mean. Printed are
the scores of backtests with and without what is known besides the sales, and beside the sales of two
weeks before; then the forecast of the two weeks to come, with the promotions that are planned.
"""

import numpy as np
import pandas as pd

from skrnn.forecasting import GRUForecaster, evaluate

HORIZON = 14

rng = np.random.default_rng(0)
WEEKS = {"city": [1.0, 1.0, 1.0, 1.1, 1.4, 1.6, 0.4], "coast": [0.7, 0.7, 0.7, 0.8, 1.1, 1.8, 1.7]}


def shop(name):
    """Sales of a shop from its opening on: level x weekday x promotion x noise."""
    days = pd.date_range(end="2024-06-30", periods=rng.integers(200, 500), freq="D")
    region = rng.choice(list(WEEKS))
    promotion = rng.random(len(days)) < 0.1
    sales = rng.lognormal(5, 1) * np.array(WEEKS[region])[days.day_of_week] * (1 + 0.8 * promotion)
    sales *= rng.lognormal(0, 0.1, len(days))
    return pd.DataFrame(
        {"shop": name, "date": days, "sales": sales, "promotion": promotion.astype(int), "region": region}
    )


table = pd.concat([shop(f"shop {i:02}") for i in range(20)], ignore_index=True)
print(f"{len(table)} days of {table['shop'].nunique()} shops")

columns = dict(id_col="shop", time_col="date", target_col="sales")
settings = dict(
    h=HORIZON, lags=28, level=80, scaling="mean", scale_by="window", max_steps=600, random_state=0, **columns
)
model = GRUForecaster(**settings, futr_exog="promotion", stat_exog="region", calendar=["dayofweek"])
alone = GRUForecaster(**settings)

# Each fitted once, on what was known two months before the end, then asked at four cutoffs.
backtests = {
    name: each.cross_validation(table, n_windows=4, refit=False)
    for name, each in (("with covariates", model), ("sales alone", alone))
}
naive = table.rename(columns={"sales": "before"})[["shop", "date", "before"]]
naive["date"] += pd.Timedelta(days=HORIZON)
metrics = ["smape", "mase", "coverage"]
scores = {
    name: evaluate(scores, metrics, train=table, seasonality=7, **columns)["GRUForecaster"]
    for name, scores in backtests.items()
}
known = backtests["sales alone"][["shop", "date", "cutoff", "sales"]].merge(naive, on=["shop", "date"])
scores["two weeks before"] = evaluate(known, metrics[:2], train=table, seasonality=7, **columns)["before"]
print(f"\n{len(known) // HORIZON} backtests\n{pd.DataFrame(scores).round(3)}")

model.fit(table)
planned = model.make_future_dataframe()
planned["promotion"] = planned["date"].between("2024-07-05", "2024-07-06").astype(int)
forecast = model.predict(X_df=planned)
one = forecast[forecast["shop"] == "shop 00"].merge(planned)
print(f"\n{one.to_string(index=False, float_format='{:.1f}'.format)}")
