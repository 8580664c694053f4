"""Forecasts, from arrays back to the form in which the user's data came.

A long frame gets Nixtla's columns: the name of the model for the point forecast, and ``<name>-lo-80`` and
the like for the rest. The same names are the statistics of a wide frame.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd

from .features import ranges
from .frame_rows import read_indexed, read_long
from .future import as_index
from .gaps import PanelRows, only
from .libraries import as_pandas, in_kind, not_a_frame
from .panel import Form, Panel, check_known, first_few, quote
from .splits import Fold

POINT = "point"
_BOUND = re.compile(r"(lo|hi)-(\d+(\.\d+)?)")


def is_bound(name: str) -> bool:
    """Whether a name is that of a bound of some model."""
    return re.fullmatch(rf".*-{_BOUND.pattern}", name, re.DOTALL) is not None


def check_names(form: Form, model_name: str, levels: list[float], backtest: bool) -> None:
    """Refuse names that the answer of `predict`, or of `cross_validation`, would have twice.

    Raises
    ------
    ValueError
        If there are some; they are named.
    """
    models = [model_name, *(f"{model_name}-{side}-{level:g}" for level in levels for side in ("lo", "hi"))]
    own = ["cutoff"] if backtest else []
    data = list(form.keys) if form.kind == "long" else []
    if backtest:
        data = [*data, form.names[0]] if form.kind == "long" else [form.stamp_name, "y"]
    twice = [name for name in models if name in own + data] or [name for name in own if name in data]
    if twice:
        what = "cross_validation" if backtest else "predict"
        remedy = "set alias, the name of the model" if twice[0] in models else "rename that of the data"
        raise ValueError(f"the answer of {what} would have two columns {quote(twice[0])}: {remedy}")


def write_forecast(panel: Panel, stamps: pd.Index, statistics: dict[str, np.ndarray], model_name: str) -> Any:
    """The answer of `predict`.

    Parameters
    ----------
    panel : Panel
        The history.
    stamps : Index of shape (n_series * h,)
        As of `futures`.
    statistics : dict from str to ndarray of shape (n_series, h, n_targets)
        "point" for the point forecast; other names, such as "lo-80", are appended to the column's.
    model_name : str
        Name of the point forecast in a long frame and among the statistics of a wide one.

    Returns
    -------
    Series or DataFrame
        - For a Series: a Series of its name; with more than one statistic a DataFrame with the columns
          ``name, name-lo-80, ...``, and "y" for a Series without a name.
        - For a wide frame: a DataFrame with its columns; with more than one statistic, with columns of
          two levels, (series, statistic). Where series end at different stamps, it has all of theirs, and
          NaN where a series has no forecast.
        - For a long frame: a DataFrame with the id, the time and one column per statistic.
    """
    form = panel.form
    if form.kind == "long":
        columns = {name: values.reshape(-1) for name, values in _named(model_name, statistics).items()}
        return in_kind(pd.DataFrame(form.key_columns(panel.ids, stamps) | columns), form.library)
    rows, times = pd.factorize(stamps, sort=True)
    index = as_index(times, panel)
    if form.kind == "series":
        if len(statistics) == 1:
            (values,) = statistics.values()
            return pd.Series(values.reshape(-1), index, name=form.names[0])
        columns = _named(_point_name(form), statistics)
        return pd.DataFrame({name: values.reshape(-1) for name, values in columns.items()}, index)
    series = np.repeat(form.series_columns(panel.ids), len(stamps) // len(panel.ids))
    tables = [_by_column(form, rows, series, values) for values in statistics.values()]
    if len(tables) == 1:
        return pd.DataFrame(tables[0], index, form.names)
    return pd.DataFrame(_interleave(tables), index, _two_levels(panel, _named(model_name, statistics)))


def read_forecast(panel: Panel, forecast: Any, model_name: str) -> tuple[PanelRows, list[str]]:
    """What `write_forecast` has written, of all series or some.

    Parameters
    ----------
    panel : Panel
        The history.
    forecast : Series or DataFrame
        Rows of a long frame may be in any order, and it may have other columns.
    model_name : str
        Name of the point forecast in a long frame and among the statistics of a wide one.

    Returns
    -------
    rows : PanelRows
        One series or target below the other, with a column of `values` for each statistic.
    statistics : list of str
        "point" first, then such as "lo-80" and "hi-80".

    Raises
    ------
    TypeError
        If `forecast` is no Series or DataFrame.
    ValueError
        If it is not in the form of the history, lacks a column, or has series that are not there; as of
        `read_panel`, if its stamps or its values cannot be read.
    """
    form = panel.form
    forecast = as_pandas(forecast)
    if not isinstance(forecast, pd.Series | pd.DataFrame):
        raise not_a_frame("the forecast has to be a Series or DataFrame", forecast)
    if not len(forecast):
        raise ValueError("the forecast has no rows")
    point = _point_name(form) if form.kind == "series" else model_name
    frame = forecast
    if isinstance(forecast, pd.Series):
        if form.kind != "series":
            raise ValueError(f"the forecast is a Series, but the data are a {form.kind} frame")
        if forecast.name not in (form.names[0], point, None):
            raise ValueError(f"series of the forecast were not there in fit: {quote(forecast.name)}")
        frame = forecast.to_frame(point)
    cutoff = frame.index.names if form.kind == "wide" else [*frame.columns, *frame.index.names]
    if "cutoff" in cutoff and "cutoff" not in [form.stamp_name, form.id_name]:
        raise ValueError("the forecast has a cutoff: give what predict answers, not cross_validation")
    if form.kind == "long":
        _check_there(frame.columns, form.keys)
        columns, statistics = _statistics_of(frame.columns, point)
        rows, _ = read_long(frame, Form("long", columns, form.id_name, form.stamp_name), panel)
        check_known(rows.ids, panel.ids)
        return rows, statistics
    names = panel.ids
    if form.kind == "series":
        columns, statistics = _statistics_of(frame.columns, point)
    else:
        names = frame.columns.get_level_values(0).unique()
        unseen = names[~names.isin(form.names)]
        if len(unseen):
            raise ValueError(f"series of the forecast were not there in fit: {first_few(unseen)}")
        columns, statistics = names, [POINT]
        if frame.columns.nlevels > 1:
            own, statistics = _statistics_of(frame.columns.get_level_values(1).unique(), point)
            columns = pd.MultiIndex.from_product([names, own])
            _check_there(frame.columns, columns)
    rows = read_indexed(frame, Form("wide", columns, None, form.stamp_name, multivariate=True), panel)
    n, h = len(names), len(frame)
    values = rows.values.reshape(h, n, -1).swapaxes(0, 1).reshape(n * h, -1)
    stamps = rows.stamps[np.tile(np.arange(h), n)]
    table = PanelRows(names, h * np.arange(n + 1), stamps, values, np.empty((n * h, 0)))
    return only(table, ~np.isnan(values).all(axis=1)), statistics


def write_cross_validation(
    panel: Panel, folds: list[Fold], statistics: list[dict[str, np.ndarray]], model_name: str
) -> pd.DataFrame:
    """The answer of `cross_validation`.

    Parameters
    ----------
    panel : Panel
        All the data.
    folds : list of Fold
        With one and the same horizon, each of all series or some.
    statistics : list of dict from str to ndarray of shape (n_series, h, n_targets)
        For each fold, as of `write_forecast`.
    model_name : str
        Name of the point forecast.

    Returns
    -------
    DataFrame
        With the true values, NaN where they were missing, and the cutoff, the
        last stamp that the forecast knew:

        - For a long frame: the id, the time, ``cutoff``, the target and one column per statistic, sorted
          by series, then cutoff.
        - For a Series: the time as the index, and the columns ``cutoff, y`` and one per statistic.
        - For a wide frame: rows of two levels, (cutoff, time), and columns of two levels, (series,
          statistic), where "y" is one of the statistics; NaN where a series has not that cutoff.
    """
    form = panel.form
    h = folds[0].y.shape[1]
    columns = {"y": [fold.y for fold in folds]}
    for key, name in zip(statistics[0], _named(model_name, statistics[0])):
        columns[name] = [forecast[key] for forecast in statistics]
    series = np.concatenate([np.repeat(panel.ids.get_indexer(fold.panel.ids), h) for fold in folds])
    stamps = _join([fold.stamps for fold in folds])
    cutoffs = _join([fold.panel.last_stamps.repeat(h) for fold in folds])
    n_targets = panel.values.shape[1]
    flat = {
        name: np.concatenate([part.reshape(-1, n_targets) for part in parts])
        for name, parts in columns.items()
    }
    if form.kind == "wide":
        (of_cutoff, known), (of_time, times) = (pd.factorize(each, sort=True) for each in (cutoffs, stamps))
        keys, rows = np.unique(of_cutoff * len(times) + of_time, return_inverse=True)
        at = form.series_columns(panel.ids)[series]
        tables = [_by_column(form, rows, at, values) for values in flat.values()]
        levels = [known[keys // len(times)], times[keys % len(times)]]
        index = pd.MultiIndex.from_arrays(levels, names=["cutoff", form.stamp_name])
        return pd.DataFrame(_interleave(tables), index, _two_levels(panel, flat))
    # From window by window to series by series.
    order = np.argsort(series, kind="stable")
    stamps, cutoffs = stamps[order], cutoffs[order]
    flat = {name: values[order, 0] for name, values in flat.items()}
    if form.kind == "series":
        return pd.DataFrame({"cutoff": cutoffs} | flat).set_axis(stamps.rename(form.stamp_name), axis=0)
    flat = {form.names[0] if name == "y" else name: values for name, values in flat.items()}
    keyed = form.key_columns(panel.ids[series[order]], stamps) | {"cutoff": cutoffs} | flat
    return in_kind(pd.DataFrame(keyed), form.library)


def write_fitted(panel: Panel, point: np.ndarray, model_name: str) -> pd.DataFrame:
    """The answer of `fitted_values`.

    Parameters
    ----------
    panel : Panel
        The histories.
    point : ndarray of shape (n_history_rows, n_targets)
    model_name : str

    Returns
    -------
    DataFrame
        As `cross_validation` answers, without cutoffs.
    """
    form, rows = panel.form, ranges(panel.starts[:-1], panel.stops)
    y = np.where(panel.measured[rows], panel.values[rows], np.nan)
    stamps = panel.stamps[rows]
    if form.kind == "long":
        keys = dict(zip(form.keys, (panel.ids.repeat(panel.lengths), stamps)[-len(form.keys) :]))
        return in_kind(pd.DataFrame(keys | {form.names[0]: y[:, 0], model_name: point[:, 0]}), form.library)
    columns = {"y": y, model_name: point}
    if form.kind == "series":
        flat = {name: table[:, 0] for name, table in columns.items()}
        return pd.DataFrame(flat, as_index(stamps, panel))
    names = _two_levels(panel, columns)
    if form.multivariate:
        return pd.DataFrame(_interleave(list(columns.values())), as_index(stamps, panel), names)
    ends = np.cumsum(panel.lengths)
    parts = [
        pd.Series(table[end - n : end, 0], stamps[end - n : end])
        for end, n in zip(ends, panel.lengths)
        for table in columns.values()
    ]
    return pd.concat(parts, axis=1, sort=True).set_axis(names, axis=1).rename_axis(form.stamp_name)


def _point_name(form: Form) -> Any:
    """The column of the point forecast of a Series."""
    return "y" if form.names[0] is None else form.names[0]


def _statistics_of(columns: pd.Index, point: Any) -> tuple[pd.Index, list[str]]:
    """The columns of a point forecast of this name and of its bounds, and what each of them is."""
    _check_there(columns, [point])
    start, own = f"{point}-", {point: POINT}
    for column in columns:
        if isinstance(column, str) and column.startswith(start) and _BOUND.fullmatch(column[len(start) :]):
            own[column] = column[len(start) :]
    levels = dict.fromkeys(key[3:] for key in own.values() if key != POINT)
    _check_there(columns, [f"{start}{side}-{level}" for level in levels for side in ("lo", "hi")])
    return pd.Index(list(own), dtype=object), list(own.values())


def _check_there(columns: pd.Index, wanted: Any) -> None:
    lacking = [column for column in wanted if column not in columns]
    if lacking:
        raise ValueError(
            f"columns are not in the forecast: {first_few(lacking)}; it has {first_few(columns)}"
        )


def _named(point: Any, statistics: dict[str, np.ndarray]) -> dict[Any, np.ndarray]:
    """Statistics by column name."""
    return {point if key == POINT else f"{point}-{key}": values for key, values in statistics.items()}


def _by_column(form: Form, rows: np.ndarray, columns: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values of series or of targets by row and column of a wide frame; NaN where there is none."""
    table = np.full((rows.max() + 1, len(form.names)), np.nan)
    if form.multivariate:
        table[rows] = values.reshape(len(rows), -1)
    else:
        table[rows, columns] = values.reshape(-1)
    return table


def _interleave(tables: list[np.ndarray]) -> np.ndarray:
    """Statistics of shape (n_rows, n_columns) side by side for each column."""
    return np.stack(tables, axis=2).reshape(len(tables[0]), -1)


def _two_levels(panel: Panel, statistics: Any) -> pd.MultiIndex:
    names = panel.form.names
    return pd.MultiIndex.from_product([names, list(statistics)], names=[names.name, "statistic"])


def _join(parts: list[pd.Index]) -> pd.Index:
    return parts[0].append(parts[1:])
