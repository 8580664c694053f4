"""How many steps a season has, by the frequency or, where it says nothing, by the data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset

from .panel import Panel

DAY, WEEK, YEAR = pd.Timedelta(days=1), pd.Timedelta(days=7), pd.Timedelta(days=365)
STEPS = {
    "W": [52],
    "M": [12],
    "Q": [4],
    "B": [5],
    "C": [5],
    "Y": [],
    "A": [],
}  # of a year, and of a working week
MOST = 1000  # steps of a season
LEAST_CORRELATION = 0.3  # at a season that nothing but the data tells
TIMES = 3  # that a season has to be there


def seasons(panel: Panel) -> list[int]:
    """Steps of the seasons that a panel may have, the shortest first.

    Parameters
    ----------
    panel : Panel
        Whose series of middling length holds each season three times.

    Returns
    -------
    list of int
        By the frequency: a day and a week of steps shorter than a day, a week and a year of days, a year of
        weeks, months and quarters. Of integer times the step at which the series are most like themselves.
    """
    length = int(np.median(panel.lengths))
    found = _of_integers(panel) if isinstance(panel.freq, int) else _of_freq(panel.freq)
    return [steps for steps in found if 2 <= steps <= min(MOST, length // TIMES)]


def _of_freq(freq: Any) -> list[int]:
    name = to_offset(freq).rule_code.split("-")[0].removesuffix("S").removesuffix("E")
    name = name.removeprefix("B") if len(name) > 1 else name
    if name in STEPS:
        return [steps // freq.n for steps in STEPS[name] if steps % freq.n == 0]
    try:
        step = pd.Timedelta(freq) if name != "D" else freq.n * DAY
    except ValueError:
        return []
    spans = [DAY, WEEK] if step < DAY else [WEEK, YEAR]
    return [span // step for span in spans if span % step == pd.Timedelta(0)]


def _of_integers(panel: Panel) -> list[int]:
    """The first peak of the mean autocorrelation of what is left after differences."""
    longest = np.argsort(panel.lengths, kind="stable")[-100:]
    most = min(MOST, int(np.median(panel.lengths)) // TIMES)
    if most < 2:
        return []
    correlations = []
    for i in longest:
        x = np.diff(panel.values[panel.starts[i] : panel.stops[i], 0])
        x = x - x.mean()
        if len(x) <= most or not x.any():
            continue
        power = np.abs(np.fft.rfft(x, 2 * len(x))) ** 2
        correlation = np.fft.irfft(power)[: most + 1]
        correlations.append(correlation / correlation[0])
    if not correlations:
        return []
    mean = np.mean(correlations, axis=0)
    inner = np.arange(2, most)
    peaks = inner[(mean[inner] > mean[inner - 1]) & (mean[inner] >= mean[inner + 1])]
    peaks = peaks[mean[peaks] > LEAST_CORRELATION]
    return [int(peaks[mean[peaks].argmax()])] if len(peaks) else []
