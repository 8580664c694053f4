"""From a Series, a wide or a long frame to a `Panel`, and on from there with more data.

What comes after the history is in `future.py`, the way back to frames in `output.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from .frame_rows import read_indexed, read_long
from .frequency import find_freq
from .future import future_frame, futures, read_future
from .gaps import PanelRows, complete, ends_itself, until_last_values
from .libraries import as_pandas, library_of, not_a_frame
from .numeric import find_categories
from .output import write_cross_validation, write_forecast
from .panel import Form, Panel, check_known, first_few, series_name
from .stamps import as_integers
from .static import read_static, static_of_frame, static_of_rows

__all__ = [
    "Form",
    "Panel",
    "extend",
    "future_frame",
    "futures",
    "read_future",
    "read_panel",
    "write_cross_validation",
    "write_forecast",
]


def read_panel(
    data: pd.Series | pd.DataFrame,
    *,
    freq: Any = None,
    missing: str = "error",
    id_col: Hashable = "unique_id",
    time_col: Hashable = "ds",
    target_col: Hashable = "y",
    futr_exog: Any = (),
    hist_exog: Any = (),
    stat_exog: Any = (),
    static_df: pd.DataFrame | None = None,
    multivariate: bool = False,
    like: Panel | None = None,
) -> Panel:
    """Read time series.

    Parameters
    ----------
    data : Series or DataFrame
        Of pandas, or a frame of polars, pyarrow or another library that narwhals converts; a long frame is
        answered in kind, all others by pandas. A Series, or a wide frame with one series per column that is
        no covariate, have a sorted index of dates, periods or integers. A frame with a column `id_col` or
        `time_col` is a long one; its rows may be in any order and its index says nothing. Without `id_col`,
        where that has its default, it is one series, of the name of `target_col`. Columns of a long frame
        that nothing names are left out. Data are copied.
    freq : str, offset or int, default=None
        The step in time. None: the frequency of the index, else what can be inferred from the longest
        series; for integers, the smallest difference.
    missing : {"error", "interpolate", "mask"}, default="error"
        What to do about gaps and about NaN in targets and covariates: refuse them; fill them, linearly
        in time and at the end of a series with the last value; or fill them and remember which targets.
        A series then begins with the first row in which all its targets and covariates have a value, and a
        column of a wide frame, unless `multivariate`, ends with its last value.
    id_col, time_col, target_col : names
        Columns of a long frame. `id_col` is also that of `static_df`.
    futr_exog, hist_exog, stat_exog : name or list of names, default=()
        Columns that are known in the future; columns that are not; and covariates that are constant per
        series: numbers or categories (with numbers for names, use ``astype("category")``). The first two are
        shared by the series of a wide frame.
    static_df : DataFrame, default=None
        One row per series with `id_col` and the columns of `stat_exog`. None: they are columns of the
        long frame.
    multivariate : bool, default=False
        Whether the columns of a wide frame are one series with several targets.
    like : Panel, default=None
        What was read for `fit`. The data must have its form, covariates and frequency, but may have other
        series, unless these are the targets of one. All other parameters except `static_df` are taken from
        it; without that, and without such columns, the static covariates are too.

    Returns
    -------
    Panel
        Series of a long frame in the order of their sorted ids, those of a wide frame as the columns.

    Raises
    ------
    TypeError
        If `data` is no Series or DataFrame, or `freq` is of the wrong kind.
    ValueError
        If the data are not as described here. The message names the series and the stamp.
    """
    library, data, static_df = library_of(data), as_pandas(data), as_pandas(static_df)
    if like is None:
        if missing not in ("error", "interpolate", "mask"):
            raise ValueError(f"missing must be 'error', 'interpolate' or 'mask', got {missing!r}")
        hist, futr, stat = (_as_tuple(names) for names in (hist_exog, futr_exog, stat_exog))
        form = _recognise(data, id_col, time_col, target_col, hist, futr, stat, multivariate, missing)
        form = replace(form, library=library, categories=find_categories(data, hist + futr))
    else:
        form = _form_like(data, like.form)
    rows, static = _read(data, form, like, static_df)
    inferred = False
    if like is not None:
        freq = like.freq
    else:
        if freq is None and form.kind != "long":
            freq = getattr(data.index, "freq", None)
        inferred = freq is None
        freq = find_freq(rows.stamps, rows.starts, freq)
    values, columns = _read_static(static, rows.ids, like)
    if form.missing != "error" and ends_itself(form):
        ended = until_last_values(rows)
        never = rows.ids[~rows.ids.isin(ended.ids)]
        if len(never):
            raise ValueError(f"{series_name(never[0])} has no value at all")
        rows = ended
    rows, observed, filled = complete(rows, form, freq, inferred)
    stops = rows.starts[1:]
    return Panel(
        rows.ids,
        rows.starts,
        stops,
        rows.stamps,
        rows.values,
        observed,
        rows.exog,
        filled,
        values,
        columns,
        freq,
        form,
    )


def extend(panel: Panel, data: pd.Series | pd.DataFrame) -> Panel:
    """Append new rows to the histories of some or all series.

    Parameters
    ----------
    panel : Panel
    data : Series or DataFrame
        In the form of the panel; the rows of each series come after its history. With
        ``missing="interpolate"`` or ``"mask"`` there may be a gap in between.

    Returns
    -------
    Panel
        With the series of `panel`.

    Raises
    ------
    ValueError
        As of `read_panel`; and if a stamp is not after the end of its series.
    """
    form, data = panel.form, as_pandas(data)
    _check_like(data, form)
    new, _ = _read(data, form, panel, None)
    if form.missing != "error" and ends_itself(form):
        new = until_last_values(new)
        if not len(new.ids):
            raise ValueError("there is no value to go on with: all are NaN")
    mine = check_known(new.ids, panel.ids)
    late = as_integers(new.stamps[new.starts[:-1]]) > as_integers(panel.last_stamps[mine])
    if not late.all():
        i = int(late.argmin())
        known = f"which is not after {panel.last_stamps[mine[i]]}, the last one known"
        raise ValueError(f"{series_name(new.ids[i])} goes on at {new.stamps[new.starts[i]]}, {known}")
    own = np.repeat(np.arange(len(panel.ids)), panel.lengths)
    old = np.arange(len(own)) + np.repeat(
        panel.starts[:-1] - np.cumsum(panel.lengths) + panel.lengths, panel.lengths
    )
    series = np.concatenate([own, np.repeat(mine, np.diff(new.starts))])
    order = np.argsort(series, kind="stable")
    table = np.where(panel.filled, np.nan, np.hstack([panel.values, panel.exog]))  # it is filled anew
    values, exog = np.hsplit(table[old], [panel.values.shape[1]])
    rows = PanelRows(
        panel.ids,
        np.searchsorted(series[order], np.arange(len(panel.ids) + 1)),
        panel.stamps[old].append(new.stamps)[order],
        np.concatenate([values, new.values])[order],
        np.concatenate([exog, new.exog])[order],
    )
    rows, observed, filled = complete(rows, form, panel.freq, inferred=False)
    return replace(
        panel,
        starts=rows.starts,
        stops=rows.starts[1:],
        stamps=rows.stamps,
        values=rows.values,
        observed=observed,
        exog=rows.exog,
        filled=filled,
    )


def _recognise(
    data: Any,
    id_col: Hashable,
    time_col: Hashable,
    target_col: Hashable,
    hist_exog: tuple,
    futr_exog: tuple,
    stat_exog: tuple,
    multivariate: bool,
    missing: str,
) -> Form:
    """The form of the data, its columns checked."""
    exog = hist_exog + futr_exog
    kind = _kind(data, id_col, time_col)
    if kind == "wide" and (id_col, time_col, target_col) != ("unique_id", "ds", "y"):
        kind = "long"  # its names are given, so a column is missing
    if kind == "series":
        if exog:
            raise ValueError(f"a Series has no columns, but {first_few(exog)} are to be: give a DataFrame")
        names = pd.Index([data.name], dtype=object)
    elif kind == "long":
        if multivariate:
            raise ValueError("multivariate=True needs a wide frame, with one target per column")
        if id_col == "unique_id" and id_col not in data.columns:
            id_col = None
        keys = [time_col] if id_col is None else [id_col, time_col]
        hint = (
            "a long frame has one row per series and time; id_col, time_col and target_col name its columns"
        )
        _check_columns(data, [*keys, target_col, *exog], hint)
        names = pd.Index([target_col], dtype=object)
    else:
        _check_columns(data, exog)
        names = data.columns[~data.columns.isin(exog)]
        if not len(names):
            raise ValueError("no column is left to forecast")
    if multivariate and stat_exog:
        raise ValueError("stat_exog tells series apart, of which multivariate=True has one")
    roles = Counter([*names, *exog, *([*keys, *stat_exog] if kind == "long" else [])])
    twice = [name for name, count in roles.items() if count > 1]
    if twice:
        raise ValueError(f"columns have two roles: {first_few(twice)}")
    stamp_name = time_col if kind == "long" else data.index.name
    return Form(kind, names, id_col, stamp_name, hist_exog, futr_exog, stat_exog, bool(multivariate), missing)


def _kind(data: Any, id_col: Hashable, time_col: Hashable) -> str:
    if isinstance(data, pd.Series):
        return "series"
    if not isinstance(data, pd.DataFrame):
        raise not_a_frame("expected a pandas Series or DataFrame", data)
    if data.columns.nlevels > 1:
        raise ValueError("the columns have several levels; give every series one name")
    if not data.columns.is_unique:
        twice = data.columns[data.columns.duplicated()]
        raise ValueError(f"column names are not unique: {first_few(twice)}")
    return "long" if id_col in data.columns or time_col in data.columns else "wide"


def _form_like(data: Any, form: Form) -> Form:
    """The form of data that may have other series than those of a form; their covariates are checked."""
    words = {"series": "a Series", "wide": "a wide frame", "long": "a long frame"}
    kind = _kind(data, form.id_name, form.stamp_name if form.kind == "long" else form.id_name)
    if kind != form.kind:
        raise ValueError(f"the model was fitted on {words[form.kind]}, got {words[kind]}")
    exog = [*form.hist_exog, *form.futr_exog]
    if kind == "series":
        nameless = None in (data.name, form.names[0])
        return form if nameless else replace(form, names=pd.Index([data.name], dtype=object))
    if kind == "long":
        _check_columns(data, [*form.keys, *form.names, *exog])
        return form
    names = data.columns[~data.columns.isin(exog)]
    if form.multivariate:
        _check_columns(data, [*form.names, *exog])
        new = names[~names.isin(form.names)]
        if len(new):
            hint = "the model forecasts its targets together, with weights for each: fit anew"
            raise ValueError(f"targets were not there in fit: {first_few(new)}; {hint}")
        return form
    _check_columns(data, exog)
    if not len(names):
        raise ValueError("no column is left to forecast")
    known, new = form.names[form.names.isin(names)], names[~names.isin(form.names)]
    return replace(form, names=known.append(new) if len(new) else known)


def _check_like(data: Any, form: Form) -> None:
    """Refuse data of another form, or with other series or columns."""
    own = _form_like(data, form)
    if form.kind == "wide":
        _check_columns(data, list(form.names))
    check_known(own.names, form.names)


def _check_columns(frame: pd.DataFrame, columns: list | tuple, hint: str = "") -> None:
    lacking = [column for column in columns if column not in frame.columns]
    if lacking:
        hint = f" ({hint})" if hint else ""
        raise ValueError(f"columns are not in the frame: {first_few(lacking)}{hint}")


def _read(data: Any, form: Form, like: Panel | None, static_df: pd.DataFrame | None) -> tuple[PanelRows, Any]:
    """The rows, sorted, and a frame of the static covariates, or None to take those of `like`."""
    if not len(data):
        raise ValueError("there are no rows")
    if static_df is not None and not form.stat_exog:
        raise ValueError("there is a static_df, but stat_exog names none of its columns")
    if static_df is not None and not isinstance(static_df, pd.DataFrame):
        raise not_a_frame("static_df has to be a DataFrame", static_df)
    if static_df is not None and form.kind == "long" and form.id_name is None:
        raise ValueError("static_df tells series apart by id_col, but the data have no such column")
    if form.kind == "long":
        rows, order = read_long(data, form, like)
    else:
        rows, order = read_indexed(data, form, like), None
    if static_df is not None:
        return rows, static_of_frame(static_df, form.id_name, rows.ids, form.stat_exog)
    names = list(form.stat_exog)
    if like is not None and (order is None or not set(names) <= set(data.columns)):
        return rows, None
    if order is None:
        if names:
            raise ValueError(
                f"stat_exog={names} of a Series or a wide frame is read from static_df: give one"
            )
        return rows, pd.DataFrame(index=rows.ids)
    _check_columns(data, names, "stat_exog are columns of the long frame where there is no static_df")
    return rows, static_of_rows(data[names].iloc[order], rows.starts, rows.ids)


def _read_static(static: pd.DataFrame | None, ids: pd.Index, like: Panel | None) -> tuple[np.ndarray, tuple]:
    if static is not None or like is None:
        return read_static(static, None if like is None else like.static_columns)
    known = like.ids.astype(object).get_indexer(ids.astype(object))
    new = ids[known < 0]
    if len(new) and len(like.form.stat_exog):
        raise ValueError(
            f"series were not there in fit: {first_few(new)}; of these, {first_few(like.form.stat_exog)} has "
            "to be given, by static_df or as a column of the long frame"
        )
    return like.static[known], like.static_columns


def _as_tuple(names: Any) -> tuple:
    """Several names as a tuple; a string is one name, and so is a number."""
    if names is None:
        return ()
    return tuple(names) if isinstance(names, list | tuple | pd.Index | np.ndarray) else (names,)
