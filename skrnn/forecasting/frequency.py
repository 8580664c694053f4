"""Steps in time: finding the frequency of stamps, what is missing between them, and what comes next.

Days and longer steps count on the local clock, so that midnight stays midnight when the clocks change;
hours and shorter ones pass as they do, and 24 of them need not lead to the same time of day. Where the clocks
skip midnight, the day begins at the first time there is, such as 01:00.
"""

from __future__ import annotations

import warnings
from collections import Counter
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset
from pandas.tseries.offsets import BaseOffset, Day, Tick, Week

from .panel import quote
from .stamps import as_index_like, as_integers


def find_freq(stamps: pd.Index, starts: np.ndarray, given: Any = None) -> Any:
    """The step from one stamp to the next.

    Parameters
    ----------
    stamps : DatetimeIndex, PeriodIndex or Index of integers, shape (n_rows,)
        In time order within each series.
    starts : ndarray of shape (n_series + 1,)
        First row of each series.
    given : str, offset or int, default=None
        What the user says. None: the frequency of the periods, the smallest difference of integers, or
        what `pandas.infer_freq` finds for the longest series. Where that finds none because of gaps, it
        is what most of its gapless stretches say.

    Returns
    -------
    offset or int

    Raises
    ------
    TypeError
        If an offset is given for integers, or an int for dates.
    ValueError
        If none is given and none can be found, or the one given does not go forward or is not that of
        the periods.
    """
    if isinstance(stamps, pd.PeriodIndex):
        return _period_freq(stamps, given)
    if not isinstance(stamps, pd.DatetimeIndex):
        return _integer_freq(stamps, starts, given)
    if given is not None:
        return _as_offset(given)
    longest = int(np.diff(starts).argmax())
    part = stamps[starts[longest] : starts[longest + 1]]
    found = infer_freq(part)
    if found is None:
        why = "is too short" if len(part) < 3 else "has no regular one, or gaps"
        raise ValueError(
            f"the frequency is not known, and the longest series ({len(part)} rows) {why}: give freq="
        )
    return found


def infer_freq(stamps: pd.DatetimeIndex) -> BaseOffset | None:
    """As `pandas.infer_freq`, but an offset, and what most gapless stretches say where there are gaps."""
    if len(stamps) < 3:
        return None
    found = _infer_whole(stamps)
    if found is None and len(stamps) > 10:
        # Ten rows: fewer may lie in one working week, and look like days.
        begins = np.unique(np.linspace(0, len(stamps) - 10, 50).astype(int))
        votes = Counter(_infer_whole(stamps[b : b + 10]) for b in begins)
        del votes[None]
        best = votes.most_common(1)
        if best and 2 * best[0][1] > votes.total():
            return best[0][0]
    return found


def freq_name(freq: Any) -> str:
    return str(freq) if isinstance(freq, int) else repr(freq.freqstr)


def off_freq(stamps: pd.Index, freq: Any) -> np.ndarray:
    """Positions of the stamps that cannot be counted from, as the 15th of a month for month ends."""
    if not isinstance(stamps, pd.DatetimeIndex) or isinstance(freq, Tick):
        return np.empty(0, np.intp)
    codes, uniques = pd.factorize(stamps)
    fits = np.array([freq.is_on_offset(stamp) for stamp in uniques], bool)
    return np.flatnonzero(~fits[codes])


def missing_after(stamps: pd.Index, starts: np.ndarray, freq: Any) -> np.ndarray:
    """How many stamps are missing between each row and the next one of its series.

    Parameters
    ----------
    stamps : Index of shape (n_rows,)
        In time order within each series.
    starts : ndarray of shape (n_series + 1,)
    freq : offset or int

    Returns
    -------
    ndarray of shape (n_rows,), int64
        0 in the last row of a series; -1 where no number of steps leads to the next row.
    """
    missing = np.zeros(len(stamps), np.int64)
    inside = np.ones(len(stamps), bool)
    inside[starts[1:] - 1] = False
    usual = times_of_day(stamps, starts)
    clock, step = _clock(stamps, freq, None if usual is None else np.repeat(usual, np.diff(starts)))
    if step is not None:
        gaps = np.diff(clock)
        odd = np.flatnonzero((gaps != step) & inside[:-1])
        steps, rest = np.divmod(gaps[odd], step)
        missing[odd] = np.where(rest == 0, steps - 1, -1)
        return missing
    codes, uniques = pd.factorize(clock)
    following = _add(uniques, freq).asi8
    odd = np.flatnonzero((following[codes[:-1]] != clock.asi8[1:]) & inside[:-1])
    missing[odd] = _count_between(clock[odd], clock[odd + 1], freq)
    return missing


def times_of_day(stamps: pd.Index, starts: np.ndarray) -> np.ndarray | None:
    """When in the day the stamps of each series are, if the clocks let them.

    Parameters
    ----------
    stamps : Index of shape (n_rows,)
    starts : ndarray of shape (n_series + 1,)

    Returns
    -------
    ndarray of shape (n_series,), int64, or None
        In units of the stamps. Of the first two stamps, only one can be where the clocks went forward. None:
        there are no clocks to change.
    """
    if getattr(stamps, "tz", None) is None:
        return None
    firsts = starts[:-1]
    firsts = np.where(_skipped(stamps[firsts]) > 0, np.minimum(firsts + 1, starts[1:] - 1), firsts)
    stamps = stamps[firsts]
    return (stamps.tz_localize(None).asi8 - _skipped(stamps)) % _in_units(pd.Timedelta(days=1), stamps)


def stamps_after(
    stamps: pd.Index, counts: np.ndarray | int, freq: Any, usual: np.ndarray | None = None
) -> pd.Index:
    """The next stamps.

    Parameters
    ----------
    stamps : Index of shape (n,)
    counts : int, or ndarray of shape (n,)
        How many, after each.
    freq : offset or int
    usual : ndarray of shape (n,), default=None
        As of `times_of_day`, of the series of each stamp; None: what the stamp alone says.

    Returns
    -------
    Index of shape (sum of counts,)
        Those after the first stamp, those after the second and so on; of the dtype of `stamps`, but int64
        where integers do not fit. Where the clocks go forward over a local time, the stamp is the time to
        which they go; where they go back over it, the earlier of the two.

    Raises
    ------
    ValueError
        If they are beyond 64 bits.
    """
    counts = np.broadcast_to(counts, len(stamps))
    if usual is None:
        usual = times_of_day(stamps, np.arange(len(stamps) + 1))
    clock, step = _clock(stamps, freq, usual)
    if step is not None:
        firsts = np.cumsum(counts) - counts
        if len(clock) and abs(int(clock.max())) + step * int(counts.max(initial=0)) >= 2**63:
            raise ValueError(f"what comes after {stamps[clock.argmax()]} is beyond 64 bits")
        number = 1 + np.arange(counts.sum()) - np.repeat(firsts, counts)
        return _unclock(np.repeat(clock, counts) + step * number, stamps, freq)
    codes, uniques = pd.factorize(clock)
    columns = [uniques]
    for _ in range(counts.max(initial=0)):
        columns.append(_add(columns[-1], freq))
    table = np.stack([column.asi8 for column in columns[1:]] or [np.empty(0, np.int64)], axis=-1)
    wanted = np.arange(table.shape[-1]) < counts[:, None]
    return _unclock(table[codes][wanted], stamps, freq)


def stamps_before(
    stamps: pd.Index, counts: np.ndarray, freq: Any, usual: np.ndarray | None = None
) -> pd.Index:
    """The stamps that lead up to each, the earliest first; as of `stamps_after`.

    Raises
    ------
    ValueError
        If they are earlier than dates can be.
    """
    if usual is None:
        usual = times_of_day(stamps, np.arange(len(stamps) + 1))
    clock, step = _clock(stamps, freq, usual)
    if step is not None:
        number = np.repeat(np.cumsum(counts), counts) - np.arange(counts.sum())  # 1 for the one right before
        return _unclock(np.repeat(clock, counts) - step * number, stamps, freq)
    codes, uniques = pd.factorize(clock)
    columns = [uniques]
    for _ in range(counts.max(initial=0)):
        columns.append(_add(columns[-1], -freq))
    table = np.stack([column.asi8 for column in columns[:0:-1]] or [np.empty(0, np.int64)], axis=-1)
    wanted = np.arange(table.shape[-1], 0, -1) <= counts[:, None]
    return _unclock(table[codes][wanted], stamps, freq)


def _period_freq(stamps: pd.PeriodIndex, given: Any) -> BaseOffset:
    if given is not None:
        try:
            same = pd.PeriodDtype(given) == stamps.dtype
        except (TypeError, ValueError):
            same = False
        if not same:
            own = quote(stamps.freqstr)
            raise ValueError(
                f"freq={given!r} is not {own}, the frequency of the periods; use asfreq or drop it"
            )
    return stamps.freq


def _integer_freq(stamps: pd.Index, starts: np.ndarray, given: Any) -> int:
    if given is not None:
        if isinstance(given, bool) or not isinstance(given, Integral):
            raise TypeError(f"the time is in integers, so freq has to be one too, got {given!r}")
        if given < 1:
            raise ValueError(f"freq={given} does not go forward")
        return int(given)
    steps = np.diff(as_integers(stamps))
    steps = np.delete(steps, starts[1:-1] - 1)  # from one series to the next
    return int(steps.min(initial=np.iinfo(np.int64).max)) if len(steps) else 1


def _as_offset(given: Any) -> BaseOffset:
    if isinstance(given, Integral):
        raise TypeError(f"freq={given} is a number, but the time is in dates: give an offset such as 'D'")
    try:
        freq = to_offset(given)
    except (ValueError, TypeError) as error:
        raise ValueError(f"freq={given!r} is not a frequency of pandas: {error}") from error
    if freq.n < 1:
        raise ValueError(f"freq={given!r} does not go forward")
    return freq


def _infer_whole(stamps: pd.DatetimeIndex) -> BaseOffset | None:
    if stamps.tz is not None:
        found = _infer_whole(_wall_times(stamps, times_of_day(stamps, np.array([0, len(stamps)]))))
        if found is not None and _on_local_clock(found):
            return found
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a future release that answers with an offset
        found = pd.infer_freq(stamps)
    return None if found is None else to_offset(found)


def _on_local_clock(freq: BaseOffset) -> bool:
    return isinstance(freq, Day) or not isinstance(freq, Tick)  # a day was a tick before pandas 3


def _clock(stamps: pd.Index, freq: Any, usual: np.ndarray | None) -> tuple[Any, int | None]:
    """The stamps on a clock where one step is always `step`: integers; or dates if there is no such step."""
    if isinstance(stamps, pd.PeriodIndex):
        return stamps.asi8, freq.n
    if not isinstance(stamps, pd.DatetimeIndex):
        return as_integers(stamps), freq
    local = _on_local_clock(freq)
    if stamps.tz is not None:
        stamps = _wall_times(stamps, usual) if local else stamps.tz_convert(None)
    if local and not isinstance(freq, Day | Week):
        return stamps, None
    span = pd.Timedelta(days=freq.n * (7 if isinstance(freq, Week) else 1)) if local else pd.Timedelta(freq)
    step = _in_units(span, stamps)
    if step < 1:
        raise ValueError(f"freq={freq_name(freq)} is finer than the stamps, which count in {stamps.unit!r}")
    return stamps.asi8, step


def _in_units(span: pd.Timedelta, stamps: pd.DatetimeIndex) -> int:
    return span // pd.Timedelta(1, unit=stamps.unit)


def _skipped(stamps: pd.DatetimeIndex) -> np.ndarray:
    """How much local time the clocks skipped right before each stamp, in its units."""
    before = stamps - pd.Timedelta(1, unit=stamps.unit)
    return np.maximum(stamps.tz_localize(None).asi8 - before.tz_localize(None).asi8 - 1, 0)


def _wall_times(stamps: pd.DatetimeIndex, usual: Any) -> pd.DatetimeIndex:
    """Local times; the first after a skip counts as the usual time of day, if that was skipped."""
    clock = stamps.tz_localize(None).asi8
    late = (clock - usual) % _in_units(pd.Timedelta(days=1), stamps)
    clock = clock - np.where(late <= _skipped(stamps), late, 0)
    return pd.DatetimeIndex(clock.view(f"M8[{stamps.unit}]"))


def _unclock(clock: np.ndarray, like: pd.Index, freq: Any) -> pd.Index:
    """From integers of the clock back to stamps such as those of `like`."""
    if isinstance(like, pd.PeriodIndex):
        return pd.PeriodIndex.from_ordinals(clock, freq=like.freq)
    if not isinstance(like, pd.DatetimeIndex):
        return as_index_like(clock, like)
    stamps = pd.DatetimeIndex(clock.view(f"M8[{like.unit}]"))
    if like.tz is None:
        return stamps
    if not _on_local_clock(freq):
        return stamps.tz_localize("UTC").tz_convert(like.tz)
    return stamps.tz_localize(like.tz, ambiguous=np.ones(len(stamps), bool), nonexistent="shift_forward")


def _add(stamps: pd.DatetimeIndex, freq: BaseOffset) -> pd.DatetimeIndex:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pd.errors.PerformanceWarning)  # custom offsets go stamp by stamp
        return (stamps + freq).as_unit(stamps.unit)


def _count_between(left: pd.DatetimeIndex, right: pd.DatetimeIndex, freq: BaseOffset) -> np.ndarray:
    """Stamps strictly between pairs, shape (n,); -1 where no steps lead from the left to the right one."""
    counts = np.full(len(left), -1, np.int64)
    active, steps = np.arange(len(left)), 0
    while len(active):
        left = _add(left, freq)
        counts[active[left == right]] = steps
        before = left < right
        active, left, right, steps = active[before], left[before], right[before], steps + 1
    return counts
