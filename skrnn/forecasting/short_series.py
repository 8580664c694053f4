"""Series with fewer rows than are needed: refused, left out, or lengthened.

What lengthens a series is the value that it begins with, which says least: nothing changed before what is
known. Such rows are read, but they are no targets and do not count for scales, and there are only as many of
them as are needed, so that nothing is learnt of how they go on.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ..estimators.devices import warn_the_caller
from .frequency import stamps_before, times_of_day
from .panel import Panel, first_few

DONE = {"drop": "left out", "pad": "lengthened with their first values"}


def usual(panel: Panel, n_rows: int, short_series: str) -> Panel:
    """The series by whose lengths is chosen what suits all.

    Parameters
    ----------
    panel : Panel
    n_rows : int
        What a series needs at least.
    short_series : {"raise", "drop", "pad"}

    Returns
    -------
    Panel
        With "raise", or if no series has as many rows, all of them. Else those that have, and are not less
        than half as long as one of middling length.
    """
    if short_series == "raise" or panel.lengths.max() < n_rows:
        return panel
    return _of_length(panel, max(n_rows, math.ceil(np.median(panel.lengths) / 2)))


def to_learn(panel: Panel, n_rows: int, short_series: str) -> Panel:
    """What is learnt of a panel.

    Parameters
    ----------
    panel : Panel
    n_rows : int
        Of which one window, or one step of a history, can be learnt.
    short_series : {"raise", "drop", "pad"}

    Returns
    -------
    Panel
        With "drop" without the series that have fewer rows, with "pad" with longer ones; all of it where
        none has as many, and with "raise", so that an error names them.
    """
    if short_series == "pad":
        return lengthened(panel, n_rows)
    return _of_length(panel, n_rows) if short_series == "drop" else panel


def to_read(panel: Panel, n_rows: int, short_series: str) -> Panel:
    """What a forecast is made from: with "drop", the series with so many rows, unless there is none."""
    return _of_length(panel, n_rows) if short_series == "drop" else panel


def lengthened(panel: Panel, n_rows: int) -> Panel:
    """All series with so many rows of history at least; those before it have the values of its first row.

    Parameters
    ----------
    panel : Panel
    n_rows : int

    Returns
    -------
    Panel
        Where a value is before the history, it is not `observed`, and `filled`.
    """
    lacking = np.maximum(n_rows - panel.lengths, 0)
    if not lacking.any():
        return panel
    lengths = np.diff(panel.starts) + lacking
    starts = np.concatenate([[0], np.cumsum(lengths)])
    position = np.arange(starts[-1]) - np.repeat(starts[:-1] + lacking, lengths)  # negative before a series
    before = position < 0
    source = np.repeat(panel.starts[:-1], lengths) + np.maximum(position, 0)
    usual_times = times_of_day(panel.stamps, panel.starts)
    earlier = stamps_before(panel.stamps[panel.starts[:-1]], lacking, panel.freq, usual_times)
    stamp_of = source.copy()
    stamp_of[before] = len(panel.stamps) + np.arange(len(earlier))
    return replace(
        panel,
        starts=starts,
        stops=starts[:-1] + lacking + panel.lengths,
        stamps=panel.stamps.append(earlier)[stamp_of],
        values=panel.values[source],
        observed=panel.observed[source] & ~before[:, None],
        exog=panel.exog[source],
        filled=panel.filled[source] | before[:, None],
    )


def warn_of_short(panel: Panel, short: np.ndarray, what: str) -> None:
    """One warning for all series that are too short.

    Parameters
    ----------
    panel : Panel
    short : ndarray of shape (n_series,), bool
    what : str
        For what they are too short, and what is done about it.

    Warns
    -----
    UserWarning
        If there are some; they are counted, and the first few named.
    """
    if short.any():
        n = np.count_nonzero(short)
        some = f"{n} of {len(short)} series {'is' if n == 1 else 'are'} too short"
        warn_the_caller(f"{some}, {what}: {first_few(panel.ids[short])}", UserWarning)


def _of_length(panel: Panel, n_rows: int) -> Panel:
    long = np.flatnonzero(panel.lengths >= n_rows)
    return panel if len(long) in (0, len(panel.ids)) else panel.take(long)
