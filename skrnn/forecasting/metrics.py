"""Errors of forecasts, from what `cross_validation` gives. The formulas are those of `utilsforecast`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import pandas as pd

from .panel import check_integer, first_few
from .scores import ScoreTable, read_scores, read_train

METRICS = ("mae", "rmse", "smape", "mape", "bias", "mase", "rmsse", "pinball", "coverage")
PER_CENT = {"smape": 200, "mape": 100}
SCALED = {"mase": "mae", "rmsse": "rmse"}  # errors in units of a season's steps, and what they are then
ROUNDING = 1e-10  # steps of a season that are smaller, beside the level, are roundings of 0


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
        As of `cross_validation`, for a Series, a wide or a long frame; or without the cutoffs, a forecast
        with the true values in a column, or a statistic, of the target. Other models can be added to it, with
        their columns or statistics. Rows without a true value are left out.
    metrics : str, callable or list of them, default=("mae", "rmse", "smape")
        - "mae", "rmse": the mean absolute error and the root of the mean squared one.
        - "smape": 200 |y - f| / (|y| + |f|), in per cent from 0 to 200 as in the M4 competition
          (`utilsforecast.losses.smape` goes from 0 to 1); 0 where both are 0.
        - "mape": 100 |y - f| / |y|, in per cent, over the true values that are not 0.
        - "bias": the mean of f - y.
        - "mase", "rmsse": "mae" and "rmse" in units of the mean, or root mean squared, step over
          `seasonality` rows of `train` up to the cutoff. Series that repeat themselves there, being constant
          or of exactly this season, or are shorter than it, have none: means are over the others.
        - "pinball": the mean quantile loss over the bounds of all levels.
        - "coverage": for each level, as "coverage-80", the share of true values that are within.
        - a function of y and f, arrays of shape (n,), that gives a number, such as those of
          `sklearn.metrics`; its row has its name.
    by : {"overall", "series", "cutoff", "step"}, default="overall"
        Errors of each series over all its cutoffs; of each cutoff or each step of the horizon, from 1 on, as
        the mean over series; or the mean over series of the first. Every series counts alike.
    train : Series or DataFrame, default=None
        What `cross_validation` was given, for "mase" and "rmsse". Where it has gaps, steps over them do not
        count.
    seasonality : int, default=1
        Steps of a season, for "mase" and "rmsse".
    freq : str, offset or int, default=None
        The step in time of `train`, where it cannot be inferred.
    id_col, time_col, target_col : names
        Columns of a long frame.

    Returns
    -------
    DataFrame
        One column per model. The index is the metric for "overall", else (series, metric), (cutoff, metric)
        or (step, metric).

    Warns
    -----
    UserWarning
        If some series have no "mase" or "rmsse"; they are named.

    Raises
    ------
    ImportError
        If `utilsforecast` is not installed.
    ValueError
        If a metric is unknown or lacks what it needs, or `scores` has no true value.
    """
    metrics = [metrics] if isinstance(metrics, str) or callable(metrics) else list(metrics)
    unknown = [metric for metric in metrics if not callable(metric) and metric not in METRICS]
    if unknown:
        raise ValueError(f"metrics are {', '.join(METRICS)} or callables; got {first_few(unknown)}")
    if by not in ("overall", "series", "cutoff", "step"):
        raise ValueError(f"by must be 'overall', 'series', 'cutoff' or 'step', got {by!r}")
    seasonality = check_integer("seasonality", seasonality)
    losses = _losses()
    names = dict(id_col=id_col, time_col=time_col, target_col=target_col)
    table = read_scores(scores, **names)
    table = table._replace(frame=table.frame[table.frame["y"].notna()])
    if table.frame.empty:
        raise ValueError("all true values are NaN")
    if by == "cutoff" and table.plain:
        raise ValueError("by='cutoff' needs a column cutoff, as of cross_validation: there is none in scores")
    # Without the cutoffs, a series is scored over all of them at once.
    frame = table.frame.drop(columns={"cutoff", "step", "time"} - {by})
    if by == "step":
        frame = frame.rename(columns={"step": "cutoff"})
    scaled = [metric for metric in metrics if not callable(metric) and metric in SCALED]
    known = None
    if scaled:
        if train is None:
            raise ValueError(f"{scaled[0]} needs train=, the data that cross_validation was given")
        known = read_train(train, table, freq, **names)
        _warn_of_no_units(_units(known, table, seasonality, 1), table, scaled[0], seasonality)
    parts: dict[str, pd.DataFrame] = {}
    for metric in metrics:
        # A model is scored where it has a forecast, which need not be where others have.
        each = [
            _score(metric, losses, frame, table, [model], known, seasonality, by) for model in table.models
        ]
        for name in dict.fromkeys(name for found in each for name in found):
            if name in parts:
                raise ValueError(f"two metrics are called {name!r}")
            parts[name] = pd.concat([found[name] for found in each if name in found], axis=1, sort=True)
    if by == "overall":
        result = pd.DataFrame({name: part.mean() for name, part in parts.items()}).T
        return result.reindex(columns=table.models).rename_axis("metric")
    groups = np.unique(table.frame[by])
    tables = [part.reindex(index=groups, columns=table.models).to_numpy() for part in parts.values()]
    labels = {"series": (table.ids, id_col), "cutoff": (table.cutoffs, "cutoff"), "step": (None, "step")}
    values, label = labels[by]
    keys = groups if values is None else values[groups]
    index = pd.MultiIndex.from_product([keys, list(parts)], names=[label, "metric"])
    return pd.DataFrame(np.stack(tables, axis=1).reshape(len(index), -1), index, table.models)


_COLUMNS = dict(id_col="series", target_col="y")


def _score(
    metric: Any, losses: Any, frame: pd.DataFrame, table: ScoreTable, models: list, known: Any,
    seasonality: int, by: str,
) -> dict[str, pd.DataFrame]:  # fmt: skip
    """Of some models, where they have forecasts, by what the rows of the answer are called."""
    frame = frame[frame[models].notna().all(axis=1)]
    if callable(metric):
        return {getattr(metric, "__name__", repr(metric)): _by(_called(metric, frame, models), by)}
    if metric in SCALED:
        units = _units(known, table, seasonality, 1 if metric == "mase" else 2)[frame.index]
        formula = getattr(losses, SCALED[metric])
        return {metric: _by(formula(_in_units(frame, units, models), models, **_COLUMNS), by)}
    if metric in ("pinball", "coverage"):
        found = _of_levels(metric, losses, frame, table, models)
        return {name: _by(score, by) for name, score in found.items()}
    return {metric: PER_CENT.get(metric, 1) * _by(getattr(losses, metric)(frame, models, **_COLUMNS), by)}


def _losses() -> Any:
    try:
        from utilsforecast import losses
    except ImportError as error:
        raise ImportError("forecast metrics need utilsforecast: pip install 'skrnn[forecasting]'") from error
    return losses


def _units(known: pd.DataFrame, table: ScoreTable, seasonality: int, power: int) -> pd.Series:
    """For each row of the scores, the size of a season's step up to its cutoff; NaN where there is none."""
    series, level = known["series"], known["y"].abs().groupby(known["series"]).max()
    steps = known["y"].groupby(series).diff(seasonality).abs() ** power
    means = [steps.groupby(series.where(known["time"] <= k)).mean() for k in range(len(table.cutoffs))]
    units = pd.concat(means, axis=1).reindex(range(len(table.ids))).to_numpy() ** (1 / power)
    rounded = ROUNDING * level.reindex(range(len(table.ids))).to_numpy()[:, None]
    units = np.where(units > rounded, units, np.nan)
    return pd.Series(units[table.frame["series"], table.frame["cutoff"]], table.frame.index)


def _warn_of_no_units(units: pd.Series, table: ScoreTable, metric: str, seasonality: int) -> None:
    lacking = np.unique(table.frame.loc[units.isna(), "series"])
    if len(lacking):
        warnings.warn(
            f"{metric} is not defined for series {first_few(table.ids[lacking])}: up to a cutoff, train "
            f"repeats itself after {seasonality} steps or has no more; means are over the others",
            stacklevel=3,
        )


def _in_units(frame: pd.DataFrame, units: pd.Series, models: list) -> pd.DataFrame:
    """Errors in these units, where there are some, as forecasts of 0."""
    errors = frame[models].sub(frame["y"], axis=0).div(units, axis=0)
    return frame.drop(columns=models).assign(y=0.0).join(errors)[units.notna()]


def _called(metric: Callable[[Any, Any], float], frame: pd.DataFrame, models: list) -> pd.DataFrame:
    """A user's metric of each series, in a frame as those of `losses`."""
    keys = [key for key in ("series", "cutoff") if key in frame.columns]
    rows = []
    for key, part in frame.groupby(keys):
        y = part["y"].to_numpy()
        rows.append([*key, *(float(metric(y, part[model].to_numpy())) for model in models)])
    return pd.DataFrame(rows, columns=[*keys, *models])


def _by(score: pd.DataFrame, by: str) -> pd.DataFrame:
    """ScoreTable by series; or by cutoff or step, which is in its place then, as the mean over series."""
    key, other = ("cutoff", "series") if by in ("cutoff", "step") else ("series", "cutoff")
    return score.drop(columns=other, errors="ignore").groupby(key).mean()


def _of_levels(
    metric: str, losses: Any, frame: pd.DataFrame, table: ScoreTable, models: list
) -> dict[str, pd.DataFrame]:
    """Frames of "pinball", or of "coverage-80" and the like, as the functions of `losses` give them."""
    if not table.levels:
        raise ValueError(
            f"{metric} needs columns such as {table.models[0]}-lo-80 and {table.models[0]}-hi-80"
        )
    levels = {level: [m for m in models if m in having] for level, having in table.levels.items()}
    levels = {level: having for level, having in levels.items() if having}
    if metric == "coverage":
        return {
            f"coverage-{level}": losses.coverage(frame, having, level, **_COLUMNS)
            for level, having in levels.items()
        }
    every = []
    for level, having in levels.items():
        for side, q in ("lo", 0.5 - float(level) / 200), ("hi", 0.5 + float(level) / 200):
            bounds = {model: f"{model}-{side}-{level}" for model in having}
            every.append(losses.quantile_loss(frame, bounds, q, **_COLUMNS))
    if not every:
        return {}
    keys = [key for key in ("series", "cutoff") if key in frame.columns]
    return {"pinball": pd.concat(every).groupby(keys, as_index=False).mean()}
