"""Peak memory of a global fit: 2,000 series of 2,000 steps, windows of 100 lags.

In a process of its own, data and imports included; one pass over all 3.8 million windows. They are views: a
copy of all of them would be 1.5 GB in single precision.
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd

from benchmarks.forecasting.table import Table
from benchmarks.memory import status

N_SERIES, N_STEPS, LAGS = 2000, 2000, 100


def peak() -> float:
    """Bytes of this process at its peak, after the fit."""
    from skrnn import LSTMRegressor
    from skrnn.forecasting import LSTMForecaster

    rng = np.random.default_rng(0)
    season = np.sin(np.arange(N_STEPS) * 2 * np.pi / 7)
    values = rng.uniform(1, 1e4, (N_SERIES, 1)) * (2 + season + rng.normal(0, 0.1, (N_SERIES, N_STEPS)))
    frame = pd.DataFrame(
        {
            "unique_id": np.repeat(np.arange(N_SERIES), N_STEPS),
            "ds": np.tile(pd.date_range("2019-01-01", periods=N_STEPS), N_SERIES),
            "y": values.ravel(),
        }
    )
    LSTMForecaster(7, LAGS, regressor=LSTMRegressor(8, max_iter=1, batch_size=1024)).fit(frame).predict()
    return status("VmHWM")


def run(seeds: list[int]) -> Table:
    table = Table("Memory", __doc__, ["series", "steps", "lags", "peak in MB"])
    command = [sys.executable, "-m", "benchmarks.forecasting.memory"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    table.add([N_SERIES, N_STEPS, LAGS], float(result.stdout) / 1e6, at_most=1000)
    return table


if __name__ == "__main__":
    print(peak())
