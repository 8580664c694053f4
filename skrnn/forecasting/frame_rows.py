"""From the rows of frames to the table of a panel, sorted and with NaN where a value is missing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from .gaps import PanelRows
from .numeric import coded, numbers
from .panel import Form, Panel, quote, series_name
from .stamps import as_integers, as_stamps, check_same_time


def read_indexed(data: Any, form: Form, like: Panel | None) -> PanelRows:
    """Read a Series or a wide frame; the columns of the latter go one below the other, unless multivariate.

    Raises
    ------
    ValueError
        If the index is not sorted, has a stamp twice or holds no times, or, with `like`, those of another
        kind; or a column is not numeric, or has a category that was not in `fit`.
    """
    stamps = as_stamps(data.index, "the index")
    if like is not None:
        stamps = check_same_time(stamps, like.stamps, "the index")
    steps = np.diff(as_integers(stamps))
    if (steps <= 0).any():
        k = int((steps <= 0).argmax())
        if steps[k] == 0:
            raise ValueError(f"the index has {stamps[k]} more than once")
        raise ValueError(
            f"the index is not sorted: {stamps[k]} is followed by {stamps[k + 1]}; use sort_index()"
        )
    if form.kind == "series":
        frame = data.to_frame("y" if data.name is None else data.name)
        ids = frame.columns
    else:
        frame, ids = data, form.names
    hint = "; the time of a wide frame is its index (set_index), a long one has id_col, time_col, target_col"
    values = numbers(frame, ids, hint=hint if form.kind == "wide" else "")
    exog = coded(frame, [*form.hist_exog, *form.futr_exog], form.categories)
    n_rows, n_series = values.shape
    if form.multivariate:
        return PanelRows(pd.Index(["all"]), np.array([0, n_rows]), stamps, values, exog)
    starts = n_rows * np.arange(n_series + 1)
    if like is not None and form.kind == "series" and None in (data.name, like.form.names[0]):
        ids = like.ids  # a Series may have a name in one place only
    stamps = stamps if n_series == 1 else stamps[np.tile(np.arange(n_rows), n_series)]
    return PanelRows(ids, starts, stamps, values.T.reshape(-1, 1), np.tile(exog, (n_series, 1)))


def read_long(data: pd.DataFrame, form: Form, like: Panel | None) -> tuple[PanelRows, np.ndarray]:
    """Read a long frame; the order that sorts its rows comes with it.

    Raises
    ------
    ValueError
        If an id or a time is missing, or a series has a stamp twice; the times are none, or of another kind;
        or a column is not numeric, or has a category that was not in `fit`.
    """
    if form.id_name is None:
        codes, ids = np.zeros(len(data), np.intp), form.names[:1] if like is None else like.ids
    else:
        codes, ids = pd.factorize(data[form.id_name], sort=True)
    if (codes < 0).any():
        raise ValueError(f"{quote(form.id_name)} is missing in row {(codes < 0).argmax()}")
    if like is not None:
        where = like.ids.astype(object).get_indexer(ids.astype(object))
        if (where >= 0).all():
            codes, ids = np.argsort(np.argsort(where))[codes], like.ids[np.sort(where)]
    column = f"column {quote(form.stamp_name)}"
    stamps = as_stamps(pd.Index(data[form.stamp_name]), column)
    if like is not None:
        stamps = check_same_time(stamps, like.stamps, column)
    order = _sort(codes, as_integers(stamps))
    starts = np.concatenate([[0], np.cumsum(np.bincount(codes, minlength=len(ids)))])
    stamps = stamps[order]
    again = np.diff(as_integers(stamps)) == 0
    again[starts[1:-1] - 1] = False
    if again.any():
        row = int(again.argmax())
        i = np.searchsorted(starts, row, side="right") - 1
        hint = (
            "; of several series, id_col is the column that tells them apart" if form.id_name is None else ""
        )
        raise ValueError(f"{series_name(ids[i])} has {stamps[row]} more than once{hint}")
    values = numbers(data, form.names)[order]
    exog = coded(data, [*form.hist_exog, *form.futr_exog], form.categories)[order]
    return PanelRows(ids.rename(None), starts, stamps.rename(None), values, exog), order


def _sort(codes: np.ndarray, times: np.ndarray) -> np.ndarray:
    """The order that sorts by code, then time."""
    order = _counting_sort(codes)
    if ((np.diff(codes[order]) == 0) & (np.diff(times[order]) < 0)).any():
        order = _counting_sort(pd.factorize(times, sort=True)[0])
        order = order[_counting_sort(codes[order])]
    return order


def _counting_sort(codes: np.ndarray) -> np.ndarray:
    """The order that sorts small integers and changes nothing else; NumPy counts where they are short."""
    return np.argsort(codes.astype(np.uint16) if codes.max() < 2**16 else codes, kind="stable")
