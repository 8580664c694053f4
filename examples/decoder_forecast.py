"""Demand with promotions and prices that are known ahead: an encoder and a decoder.

Thirty products over fourteen months. Whoever buys during a promotion needs less in the days after it, and
less still after a long one: what a day sells depends on the plan of all days before it, those of the horizon
among them. ``strategy="direct"`` has to find out which row of its window holds the plan of which step. With
``strategy="encoder_decoder"`` the history is read first, and then the plan, day by day, in order. Printed are
the errors of both, of "recursive", and of the same weekday two weeks before, over four fortnights that were
held back; then what the decoder expects of one product with and without a promotion in the days to come.

When to use it: where the steps to come differ by what is known of them, and their order matters. There
"recursive" is as good, but has no quantiles and reads no `hist_exog`. Where nothing is known of the steps to
come but the calendar, "direct" is as good and faster.
"""

import numpy as np
import pandas as pd

from skrnn.forecasting import GRUForecaster

HORIZON, WINDOWS = 14, 4
rng = np.random.default_rng(0)


def product(name, n=425):
    """Units sold: level x weekday x price x promotion x what customers still have at home."""
    days = pd.date_range("2023-01-01", periods=n, freq="D")
    promotion, at_home = np.zeros(n), 0.0
    for start in rng.choice(n - 10, n // 20, replace=False):
        promotion[start : start + rng.integers(2, 7)] = 1
    price = 1 + 0.15 * rng.standard_normal(n // 28 + 1).repeat(28)[:n]
    week = 1 + 0.3 * np.sin(2 * np.pi * days.day_of_week.to_numpy() / 7)
    units = np.exp(rng.normal(3, 0.7)) * week * price**-1.5
    for day in range(n):
        units[day] *= (1 + promotion[day]) * np.exp(-0.5 * at_home) * rng.lognormal(0, 0.1)
        at_home = 0.8 * at_home + 0.5 * promotion[day]
    columns = {"units": units, "promotion": promotion, "price": price}
    return pd.DataFrame({"product": name, "day": days, **columns})


table = pd.concat([product(f"product {i:02}") for i in range(30)], ignore_index=True)
print(f"{len(table)} days of {table['product'].nunique()} products")

columns = dict(id_col="product", time_col="day", target_col="units")
settings = dict(
    h=HORIZON, lags=28, scaling="mean", scale_by="window", futr_exog=["promotion", "price"],
    calendar="dayofweek", random_state=0, **columns,
)  # fmt: skip

# Each fitted once, on what was known eight weeks before the end, then asked at four cutoffs.
before = table[["product", "day", "units"]].rename(columns={"units": "before"})
before["day"] += pd.Timedelta(days=HORIZON)
errors = {}
for strategy in "direct", "recursive", "encoder_decoder":
    model = GRUForecaster(strategy=strategy, **settings)
    scores = model.cross_validation(table, n_windows=WINDOWS, refit=False)
    errors[strategy] = (scores["units"] - scores["GRUForecaster"]).abs().sum() / scores["units"].sum()
naive = scores.merge(before, on=["product", "day"])
errors["two weeks before"] = (naive["units"] - naive["before"]).abs().sum() / naive["units"].sum()
print("\nabsolute errors in per cent of what was sold:")
for name, error in sorted(errors.items(), key=lambda item: -item[1]):
    print(f"  {name:<18} {100 * error:.1f}")

model.fit(table)
plan = model.make_future_dataframe().assign(promotion=0.0, price=1.0)
promoted = plan["day"].between("2024-03-02", "2024-03-05")
without = model.predict(X_df=plan)
planned = model.predict(X_df=plan.assign(promotion=promoted.astype(float)))
one = planned["product"] == "product 00"
expected = pd.DataFrame(
    {
        "day": planned.loc[one, "day"].dt.strftime("%a %d %b"),
        "promotion": np.where(promoted[one], "yes", ""),
        "units": planned.loc[one, "GRUForecaster"],
        "units without": without.loc[one, "GRUForecaster"],
    }
)
print(f"\nproduct 00\n{expected.to_string(index=False, float_format='{:.1f}'.format)}")
