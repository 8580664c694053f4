"""Errors of forecasts, from what `cross_validation` gives. The formulas are those of `utilsforecast`."""

from __future__ import annotations

import re
import warnings
from collections.abc import Hashable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..columns import type_name
from .frames import read_panel
from .panel import first_few, quote
from .stamps import as_stamps, check_same_time

METRICS = ("mae", "rmse", "smape", "mase", "pinball", "coverage")
ROUNDING = 1e-10  # steps of a season that are smaller, beside the level, are roundings of 0
_BOUND = re.compile(r"(?P<model>.*)-(?P<side>lo|hi)-(?P<level>\d+(\.\d+)?)", re.DOTALL)


def evaluate(
    scores: pd.DataFrame,
    metrics: Any = ("mae", "rmse", "smape"),
    *,
    by: str = "overall",
    train: pd.Series | pd.DataFrame | None = None,
    seasonality: int = 1,
    freq: Any = None,
    id_col: Hashable = "unique_id",
    time_col: Hashable = "ds",
    target_col: Hashable = "y",
) -> pd.DataFrame:
    """Errors of forecasts.

    Parameters
    ----------
    scores : DataFrame
        As of `cross_validation`, for a Series, a wide or a long frame. Other models can be added to it,
        with their columns or statistics. Rows without a true value are left out.
    metrics : str or list of str, default=("mae", "rmse", "smape")
        - "mae", "rmse": the mean absolute error and the root of the mean squared one.
        - "smape": 200 |y - f| / (|y| + |f|), in per cent from 0 to 200 as in the M4 competition
          (`utilsforecast.losses.smape` goes from 0 to 1); 0 where both are 0.
        - "mase": the mean absolute error, divided by that with which the value of `seasonality` steps
          before forecasts `train` up to the cutoff. Series that repeat themselves there, being constant or of
          exactly this season, or are shorter than it, have none: means are over the others.
        - "pinball": the mean quantile loss over the bounds of all levels.
        - "coverage": for each level, as "coverage-80", the share of true values that are within.
    by : {"overall", "series", "cutoff"}, default="overall"
        Errors of each series over all its cutoffs; of each cutoff, as the mean over series; or the mean
        over series of the first. Every series counts alike.
    train : Series or DataFrame, default=None
        What `cross_validation` was given, for "mase". Where it has gaps, steps over them do not count.
    seasonality : int, default=1
        Steps of a season, for "mase".
    freq : str, offset or int, default=None
        The step in time of `train`, where it cannot be inferred.
    id_col, time_col, target_col : names
        Columns of a long frame.

    Returns
    -------
    DataFrame
        One column per model. The index is the metric for "overall", else (series, metric) or (cutoff,
        metric).

    Warns
    -----
    UserWarning
        If some series have no "mase"; they are named.

    Raises
    ------
    ImportError
        If `utilsforecast` is not installed.
    ValueError
        If a metric is unknown or lacks what it needs, or `scores` has no true value.
    """
    metrics = [metrics] if isinstance(metrics, str) else list(metrics)
    unknown = [metric for metric in metrics if metric not in METRICS]
    if unknown:
        raise ValueError(f"metrics are {', '.join(METRICS)}; got {first_few(unknown)}")
    if by not in ("overall", "series", "cutoff"):
        raise ValueError(f"by must be 'overall', 'series' or 'cutoff', got {by!r}")
    losses = _losses()
    table = _read_scores(scores, id_col, time_col, target_col)
    if "mase" in metrics:
        if train is None:
            raise ValueError("mase needs train=, the data that cross_validation was given")
        columns = dict(id_col=id_col, time_col=time_col, target_col=target_col)
        units = _units(_read_train(train, table, freq, columns), table, seasonality)
        lacking = table.frame.loc[units.isna(), "series"].unique()
        if len(lacking):
            names = first_few(table.ids[np.sort(lacking)])
            warnings.warn(
                f"mase is not defined for series {names}: up to a cutoff, train "
                f"repeats itself after {seasonality} steps or has no more; means are over the others",
                stacklevel=2,
            )
    # Without the cutoffs, a series is scored over all of them at once.
    frame = table.frame if by == "cutoff" else table.frame.drop(columns="cutoff")
    parts = {}
    for metric in metrics:
        if metric == "mase":
            score = losses.mae(_in_units(frame, units, table.models), table.models, **_COLUMNS)
            parts[metric] = _by(score, by)
        elif metric in ("pinball", "coverage"):
            parts |= {
                name: _by(score, by) for name, score in _of_levels(metric, losses, frame, table).items()
            }
        else:
            score = _by(getattr(losses, metric)(frame, table.models, **_COLUMNS), by)
            parts[metric] = 200 * score if metric == "smape" else score
    if by == "overall":
        result = pd.DataFrame({name: part.mean() for name, part in parts.items()}).T
        return result.reindex(columns=table.models).rename_axis("metric")
    groups = np.unique(table.frame["series" if by == "series" else "cutoff"])
    tables = [part.reindex(index=groups, columns=table.models).to_numpy() for part in parts.values()]
    names, label = (table.ids, id_col) if by == "series" else (table.cutoffs, "cutoff")
    index = pd.MultiIndex.from_product([names[groups], list(parts)], names=[label, "metric"])
    return pd.DataFrame(np.stack(tables, axis=1).reshape(len(index), -1), index, table.models)


_COLUMNS = dict(id_col="series", target_col="y")


class _Table(NamedTuple):
    """Scores as a frame with the columns series, cutoff (positions in `ids` and `cutoffs`), y and models."""

    frame: pd.DataFrame
    ids: pd.Index
    cutoffs: pd.Index
    models: list
    levels: dict


def _losses() -> Any:
    try:
        from utilsforecast import losses
    except ImportError as error:
        raise ImportError("forecast metrics need utilsforecast: pip install 'skrnn[forecasting]'") from error
    return losses


def _units(known: pd.DataFrame, table: _Table, seasonality: int) -> pd.Series:
    """For each row of the scores, the mean absolute step of a season up to its cutoff; NaN: there is none."""
    series, values = known["series"], known["y"].abs()
    steps = known["y"].groupby(series).diff(seasonality).abs()
    means = [steps.groupby(series.where(known["time"] <= k)).mean() for k in range(len(table.cutoffs))]
    units = pd.concat(means, axis=1).reindex(range(len(table.ids))).to_numpy()
    level = values.groupby(series).max().reindex(range(len(table.ids))).to_numpy()
    units = np.where(units > ROUNDING * level[:, None], units, np.nan)
    return pd.Series(units[table.frame["series"], table.frame["cutoff"]], table.frame.index)


def _in_units(frame: pd.DataFrame, units: pd.Series, models: list) -> pd.DataFrame:
    """Errors in these units, where there are some, as forecasts of 0."""
    errors = frame[models].sub(frame["y"], axis=0).div(units, axis=0)
    return frame.drop(columns=models).assign(y=0.0).join(errors)[units.notna()]


def _by(score: pd.DataFrame, by: str) -> pd.DataFrame:
    """Scores by series, where a frame has the cutoffs too the mean over them, or by cutoff."""
    key, other = ("cutoff", "series") if by == "cutoff" else ("series", "cutoff")
    return score.drop(columns=other, errors="ignore").groupby(key).mean()


def _of_levels(metric: str, losses: Any, frame: pd.DataFrame, table: _Table) -> dict[str, pd.DataFrame]:
    """Frames of "pinball", or of "coverage-80" and the like, as the functions of `losses` give them."""
    if not table.levels:
        raise ValueError(
            f"{metric} needs columns such as {table.models[0]}-lo-80 and {table.models[0]}-hi-80"
        )
    if metric == "coverage":
        return {
            f"coverage-{level}": losses.coverage(frame, models, level, **_COLUMNS)
            for level, models in table.levels.items()
        }
    every = []
    for level, models in table.levels.items():
        for side, q in ("lo", 0.5 - float(level) / 200), ("hi", 0.5 + float(level) / 200):
            bounds = {model: f"{model}-{side}-{level}" for model in models}
            every.append(losses.quantile_loss(frame, bounds, q, **_COLUMNS))
    keys = [key for key in ("series", "cutoff") if key in frame.columns]
    return {"pinball": pd.concat(every).groupby(keys, as_index=False).mean()}


def _read_scores(scores: Any, id_col: Hashable, time_col: Hashable, target_col: Hashable) -> _Table:
    if not isinstance(scores, pd.DataFrame):
        raise ValueError(f"scores must be a DataFrame as of cross_validation, got {type_name(scores)}")
    if scores.columns.nlevels == 2 and scores.index.nlevels == 2:
        ids, names = scores.columns.unique(0), list(scores.columns.unique(1))
        series = np.repeat(np.arange(len(ids)), len(scores))
        cutoff = scores.index.get_level_values(0)
        cutoff = cutoff[np.tile(np.arange(len(scores)), len(ids))]
        columns = {name: scores.xs(name, axis=1, level=1)[ids].to_numpy().T.reshape(-1) for name in names}
    elif "cutoff" not in scores.columns:
        raise ValueError(
            "scores have no column cutoff, as of cross_validation: the last stamp that a forecast knew"
        )
    elif id_col in scores.columns:
        series, ids = pd.factorize(scores[id_col], sort=True)
        cutoff = pd.Index(scores["cutoff"])
        columns = {name: scores[name] for name in scores.columns if name not in (id_col, time_col, "cutoff")}
        columns = {"y" if name == target_col else name: column for name, column in columns.items()}
    else:
        series, ids, cutoff = np.zeros(len(scores), np.intp), pd.Index(["y"]), pd.Index(scores["cutoff"])
        columns = {name: scores[name] for name in scores.columns if name != "cutoff"}
        if isinstance(scores.index, pd.RangeIndex) and time_col in scores.columns:
            raise ValueError(
                f"scores of a long frame have a column {quote(id_col)} with the names of the series"
            )
    if "y" not in columns:
        raise ValueError("scores have no true values to compare with")
    codes, cutoffs = pd.factorize(cutoff, sort=True)
    frame = pd.DataFrame({name: np.asarray(column, np.float64) for name, column in columns.items()})
    frame = frame.assign(series=series, cutoff=codes)[frame["y"].notna()]
    if frame.empty:
        raise ValueError("all true values are NaN")
    models: list = []
    levels: dict[str, list] = {}
    for name in columns:
        bound = _BOUND.fullmatch(name) if isinstance(name, str) else None
        if bound is None:
            models += [name] if name != "y" else []
        elif bound["side"] == "lo" and f"{bound['model']}-hi-{bound['level']}" in columns:
            levels.setdefault(bound["level"], []).append(bound["model"])
    return _Table(frame, ids, pd.Index(cutoffs), models, levels)


def _read_train(train: Any, table: _Table, freq: Any, columns: dict) -> pd.DataFrame:
    """The true values, with positions of the series and, as `time`, of the first cutoff that knows them."""
    if isinstance(train, pd.DataFrame) and columns["id_col"] not in train.columns:
        train = train[[name for name in train.columns if name in table.ids]]  # without its covariates
    panel = read_panel(train, freq=freq, missing="mask", **columns)
    series = table.ids.astype(object).get_indexer(panel.ids.astype(object))
    if panel.form.kind == "series":
        series = np.zeros(1, np.intp)
    lacking = np.setdiff1d(np.arange(len(table.ids)), series)
    if len(lacking):
        raise ValueError(f"train lacks series {first_few(table.ids[lacking])}")
    cutoffs = check_same_time(as_stamps(table.cutoffs, "cutoff"), panel.stamps, "cutoff")
    known = pd.DataFrame(
        {
            "series": np.repeat(series, panel.lengths),
            "time": cutoffs.searchsorted(panel.stamps, side="left"),
            "y": np.where(panel.observed, panel.values, np.nan)[:, 0],
        }
    )
    return known[known["series"] >= 0]
