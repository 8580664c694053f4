"""The strategies beside one another, with the same network, window and number of updates.

ETTh1 is the part of that name, with seven columns and 24 steps; nothing is known of its future. The panel
"demand" is made: 20 shops over 400 days, two weeks ahead, with promotions and prices that are known. After a
promotion customers have stocked up, so that a day depends on the promotions of the days before it, those of
the horizon among them. Errors are mean squared ones, of the panel in units of each shop's mean, over the last
four fortnights after a fit on what was before. "reading its answers": with ``autoregressive=True``.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pandas as pd

from benchmarks.forecasting import etth1
from benchmarks.forecasting.table import Table
from skrnn.forecasting import GRUForecaster

STRATEGIES = {
    "direct": {"strategy": "direct"},
    "recursive": {"strategy": "recursive"},
    "decoder, reading its answers": {"strategy": "encoder_decoder", "autoregressive": True},
    "decoder": {"strategy": "encoder_decoder"},
}
FORTNIGHT = 14


def demand(seed: int, n_shops: int = 20, n_days: int = 400) -> pd.DataFrame:
    """Level x weekday x promotion x what customers have in stock x price x a slowly moving demand."""
    rng, parts, days = np.random.default_rng(seed), [], np.arange(n_days)
    for shop in range(n_shops):
        level, promotion = rng.lognormal(0, 0.5), np.zeros(n_days)
        for start in rng.choice(n_days - 10, n_days // 25, replace=False):
            promotion[start : start + rng.integers(2, 6)] = 1
        price = 1 + 0.2 * rng.standard_normal(n_days // FORTNIGHT + 1).repeat(FORTNIGHT)[:n_days]
        stock, trend = np.zeros((2, n_days))
        for day in range(1, n_days):
            stock[day] = 0.8 * stock[day - 1] + 0.5 * promotion[day - 1]
            trend[day] = 0.8 * trend[day - 1] + 0.1 * rng.standard_normal()
        week = 1 + 0.3 * np.sin(2 * np.pi * days / 7 + 1)
        y = level * week * (1 + promotion) * np.exp(trend - 0.5 * stock - 0.8 * (price - 1))
        own = {"y": y, "promotion": promotion, "price": price}
        stamps = pd.date_range("2023-01-01", periods=n_days)
        parts.append(pd.DataFrame({"unique_id": f"shop {shop:02}", "ds": stamps, **own}))
    return pd.concat(parts, ignore_index=True)


def of_etth1() -> Callable[[dict, int], float]:
    frame = etth1.load()

    def error(strategy: dict, seed: int) -> float:
        model = etth1.forecaster("all", 24, seed).set_params(**strategy)
        return etth1.test_error(model.fit(frame.iloc[: etth1.TRAIN]), frame.iloc[: etth1.END])

    return error


def of_demand() -> Callable[[dict, int], float]:
    frame = demand(0)

    def error(strategy: dict, seed: int) -> float:
        model = GRUForecaster(
            FORTNIGHT, 2 * FORTNIGHT, scaling="mean", scale_by="window", loss="squared_error",
            futr_exog=["promotion", "price"], calendar="dayofweek", random_state=seed, **strategy,
        )  # fmt: skip
        scores = model.cross_validation(frame, n_windows=4, refit=False)
        errors = (scores["y"] - scores["GRUForecaster"]) / scores.groupby("unique_id")["y"].transform("mean")
        return float((errors**2).mean())

    return error


def run(seeds: list[int]) -> Table:
    table = Table("Strategies", __doc__, ["data", "strategy", "each seed", "seconds a seed", "MSE"])
    # The decoder's error is compared with that of "direct".
    for data, make, most in ("ETTh1", of_etth1, 1.02), ("demand", of_demand, 0.9):
        error, found = make(), {}
        for name, strategy in STRATEGIES.items():
            error(strategy, seeds[0])  # compiles
            start = time.perf_counter()
            errors = [error(strategy, seed) for seed in seeds]
            seconds = (time.perf_counter() - start) / len(seeds)
            found[name] = float(np.mean(errors))
            bound = {"at_most": round(most * found["direct"], 4)} if name == "decoder" else {}
            each = ", ".join(f"{value:.4f}" for value in errors)
            table.add([data, name, each, f"{seconds:.1f}"], found[name], **bound)
    return table
