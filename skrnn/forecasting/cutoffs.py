"""Cutoffs that all series share, wherever each of them begins and ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..estimators.devices import warn_the_caller
from .panel import Panel, first_few
from .splits import Fold, cut
from .stamps import as_integers, as_stamps, check_same_time


def folds_at(panel: Panel, cutoffs: Any, h: int, min_rows: int, least: int | None = None) -> list[Fold]:
    """Histories up to some stamps, and what was held back from them.

    Parameters
    ----------
    panel : Panel
    cutoffs : stamp or list of stamps
        The last stamp that may be known, of the kind of those of the panel, or text that says it; in any
        order. Need not be a stamp of the data.
    h : int
        Series that do not go on for so many rows after a cutoff are learnt there, but not forecast.
    min_rows, least : int
        As of `RollingOrigin.folds`.

    Returns
    -------
    list of Fold
        One for each cutoff, in time order.

    Raises
    ------
    ValueError
        If a cutoff is no such stamp, or there twice; if a series has too few rows up to one, unless others
        may be left out; if there is no series to learn from, or to forecast.

    Warns
    -----
    UserWarning
        If series do not go on for `h` rows after a cutoff; they are counted, and the first few named.
    """
    times, ended, folds = as_integers(panel.stamps), np.zeros(len(panel.ids), bool), []
    stamps = _read(cutoffs, panel)
    for cutoff, time in zip(stamps, as_integers(stamps)):
        known = np.add.reduceat(times <= time, panel.starts[:-1], dtype=np.intp)
        goes_on = known + h <= panel.lengths
        _check(panel, known, goes_on, cutoff, min_rows, least)
        there = known >= (1 if least is None else least)
        learnt = cut(panel, known, 0, there).panel
        folds.append(cut(panel, known, h, there & goes_on)._replace(learnt=learnt))
        ended |= ~goes_on
    if ended.any():
        n = np.count_nonzero(ended)
        some = f"{n} of {len(ended)} series {'does' if n == 1 else 'do'} not go on for h={h} rows after each"
        warn_the_caller(
            f"{some} cutoff, and have no forecast there: {first_few(panel.ids[ended])}", UserWarning
        )
    return folds


def _check(
    panel: Panel, known: np.ndarray, goes_on: np.ndarray, cutoff: Any, min_rows: int, least: int | None
) -> None:
    i = int(known.argmin() if least is None else known.argmax())
    if known[i] < min_rows:
        hint = (
            "; short_series='drop' leaves such series out there" if len(known) > 1 and least is None else ""
        )
        raise ValueError(
            f"{panel.name(i)} has {known[i]} rows up to the cutoff {cutoff}, but {min_rows} are needed{hint}"
        )
    if not (goes_on & (known >= (1 if least is None else least))).any():
        raise ValueError(f"no series goes on for as many rows as the horizon has after the cutoff {cutoff}")


def _read(cutoffs: Any, panel: Panel) -> pd.Index:
    """Cutoffs as stamps such as those of the panel, in order."""
    given = pd.Index([cutoffs] if pd.api.types.is_scalar(cutoffs) else cutoffs)
    if not len(given):
        raise ValueError("cutoffs has no stamp")
    if given.inferred_type in ("string", "date"):
        try:
            if isinstance(panel.stamps, pd.PeriodIndex):
                given = pd.PeriodIndex(given, freq=panel.stamps.freq)
            elif isinstance(panel.stamps, pd.DatetimeIndex):
                given = pd.DatetimeIndex(given, tz=panel.stamps.tz)
        except ValueError as error:
            raise ValueError(f"cutoffs has text that is no time: {error}") from error
    stamps = check_same_time(as_stamps(given, "cutoffs"), panel.stamps, "cutoffs").sort_values()
    if stamps.has_duplicates:
        raise ValueError(f"cutoffs has {stamps[stamps.duplicated()][0]} more than once")
    return stamps
