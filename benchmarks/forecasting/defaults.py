"""The shortest call, ``LSTMForecaster(h=h).fit(data)``, beside the methods of statsforecast.

Public series and panels of all frequencies (`benchmarks/forecasting/series.py`), from ten cutoffs with a fit
of its own at each. The rule that chooses was made by looking at one half of the series; the other half was
tried afterwards. Figures are mean absolute errors in units of those of the seasonal naive forecast. "chosen":
of SeasonalNaive, AutoETS, AutoTheta and AutoARIMA that which a backtest before the first cutoff would have
chosen; "best": in hindsight. "linear": the same views and ridge regressions, without networks. What
statsforecast said is kept in `results/statsforecast.csv`, which ``python -m
benchmarks.forecasting.with_statsforecast`` writes. As many series at once as there are cores, each on one
thread; seconds are of that.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from scipy.stats import gmean

from benchmarks.forecasting.series import HORIZONS, MADE, N_CUTOFFS, SERIES, TRIED, as_frame, cutoffs, error
from benchmarks.forecasting.table import Table
from skrnn.forecasting import GRUForecaster, LSTMForecaster
from skrnn.forecasting.ensemble import Ensemble
from skrnn.forecasting.model import Model
from skrnn.forecasting.panel import Panel
from skrnn.forecasting.ridge import RidgePath

OTHERS = Path(__file__).parents[1] / "results" / "statsforecast.csv"
LEVELS = [80, 95]


class Linear(LSTMForecaster):
    """What is left without networks."""

    def _learn(self, panel: Panel, seed: int, heads: bool = False) -> Ensemble:
        views = self._views(panel)
        models = [Model(self._task(view), panel, RidgePath([view.ridge])) for view in views]
        return OneStrength(models, self._least(panel)).learn(panel, np.random.RandomState(seed))


class OneStrength(Ensemble):
    """Of regressions that answer for each of their strengths."""

    def forecast(self, *args: Any) -> np.ndarray:
        return super().forecast(*args)[..., 0]


def others() -> pd.DataFrame:
    """Of each series the errors of "SeasonalNaive", and of the method "chosen" and the "best"."""
    rows = pd.read_csv(OTHERS)
    tested = rows[rows["cutoff"] >= 0].pivot_table("error", "series", "method")
    before = rows[rows["cutoff"] < 0].pivot_table("error", "series", "method")
    names = before.reindex(tested.index).idxmin(axis=1)
    return pd.DataFrame(
        {
            "SeasonalNaive": tested["SeasonalNaive"],
            "name": names,
            "chosen": [tested.loc[series, name] for series, name in names.items()],
            "best": tested.min(axis=1),
        }
    )


def backtest(forecaster: LSTMForecaster | GRUForecaster, name: str) -> float:
    frame, h = as_frame(SERIES[name].load()), HORIZONS[SERIES[name].freq]
    return float(
        np.mean(
            [
                error(forecaster.fit(frame.iloc[:end]).predict().to_numpy(), frame, end)
                for end in cutoffs(len(frame), h).values()
            ]
        )
    )


def covered(name: str) -> dict[int, list[float]]:
    """Of the values that came, the shares within the intervals of each level, by cutoff."""
    frame, h = as_frame(SERIES[name].load()), HORIZONS[SERIES[name].freq]
    shares: dict[int, list[float]] = {level: [] for level in LEVELS}
    for end in cutoffs(len(frame), h).values():
        forecaster = LSTMForecaster(h=h, level=LEVELS, random_state=0)
        found = forecaster.fit(frame.iloc[:end]).predict()
        truth = frame.iloc[end : end + h].to_numpy()
        for level in LEVELS:
            low, high = (
                found.xs(f"LSTMForecaster-{side}-{level}", axis=1, level=1).to_numpy()
                for side in ("lo", "hi")
            )
            shares[level].append(float(((low <= truth) & (truth <= high)).mean()))
    return shares


def measured(name: str, seeds: list[int]) -> dict:
    """All that is told of one series."""
    h, naive = HORIZONS[SERIES[name].freq], others().loc[name, "SeasonalNaive"]
    linear = backtest(Linear(h=h, random_state=0), name) / naive
    start = time.perf_counter()
    lstm = [backtest(LSTMForecaster(h=h, random_state=seed), name) / naive for seed in seeds]
    seconds = (time.perf_counter() - start) / len(seeds) / N_CUTOFFS
    gru = [backtest(GRUForecaster(h=h, random_state=seed), name) / naive for seed in seeds]
    found = {"linear": linear, "gru": float(np.mean(gru)), "lstm": float(np.mean(lstm)), "each": lstm}
    found |= {"seconds": seconds, "covered": covered(name)}
    print(f"{name}: {found}", file=sys.stderr, flush=True)
    return found


def run(seeds: list[int]) -> Table:
    columns = ["series", "half", "chosen", "best", "linear", "GRU", "LSTM, each seed", "seconds of a fit"]
    table = Table("The shortest call", __doc__, [*columns, "LSTM"])
    known, ratios, inside = others(), [], {level: [] for level in LEVELS}
    longest_first = sorted(SERIES, key=lambda name: -len(SERIES[name].load()))
    results = dict(zip(longest_first, Parallel(-1)(delayed(measured)(name, seeds) for name in longest_first)))
    for name, source in SERIES.items():
        found, naive = results[name], known.loc[name, "SeasonalNaive"]
        chosen, best = (known.loc[name, each] / naive for each in ("chosen", "best"))
        for level, shares in found["covered"].items():
            inside[level] += shares
        ratios.append(found | {"half": source.half, "chosen": chosen, "best": best, "naive": 1.0})
        method = f"{chosen:.3f} ({known.loc[name, 'name']})"
        each = ", ".join(f"{value:.3f}" for value in found["each"])
        own = [f"{value:.3f}" for value in (best, found["linear"], found["gru"])]
        table.add([name, source.half, method, *own, each, f"{found['seconds']:.1f}"], found["lstm"])
    every = pd.DataFrame(ratios)
    for half in (MADE, TRIED, "both"):
        part = every if half == "both" else every[every["half"] == half]
        for of, bound in (("chosen", 0.95), ("best", 1.05), ("naive", 0.65), ("linear", None)):
            gru = f"{gmean(part['gru'] / part[of]):.3f}"
            cells = [f"geometric mean of the ratios to {of}", half, "", "", "", gru, "", ""]
            target = {} if bound is None else {"at_most": bound}
            table.add(cells, float(gmean(part["lstm"] / part[of])), **target)
        table.add(["the worst series", half, *[""] * 6], float(part["lstm"].max()), at_most=1.5)
    for level, shares in inside.items():
        cells = [f"coverage of {level} %, pooled", *[""] * 7]
        table.add(cells, float(np.mean(shares)), level / 100 + 0.05, level / 100 - 0.05)
    return table
