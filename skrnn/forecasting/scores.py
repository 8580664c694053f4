"""Forecasts beside true values, from frames of every form to one table."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ..columns import type_name
from .frames import read_panel
from .libraries import as_pandas
from .panel import first_few, quote
from .stamps import as_integers, as_stamps, check_same_time

_BOUND = re.compile(r"(?P<model>.*)-(?P<side>lo|hi)-(?P<level>\d+(\.\d+)?)", re.DOTALL)


class ScoreTable(NamedTuple):
    """The table.

    Attributes
    ----------
    frame : DataFrame
        With the columns series, cutoff and time, positions in `ids`, `cutoffs` and `times`; step, from 1 on;
        y, NaN where it is not known, and models.
    ids, cutoffs, times : Index
        The last with the name of the column, or of the index.
    models : list
        Columns of point forecasts.
    levels : dict from str to list
        Models with bounds of each level.
    plain : bool
        Whether there were no cutoffs: those are the first stamps of each forecast then, not known to it.
    """

    frame: pd.DataFrame
    ids: pd.Index
    cutoffs: pd.Index
    times: pd.Index
    models: list
    levels: dict
    plain: bool


def read_scores(scores: Any, id_col: Hashable, time_col: Hashable, target_col: Hashable) -> ScoreTable:
    """Read what `cross_validation` gives, or a forecast with the true values.

    Raises
    ------
    ValueError
        If there are no true values, or rows that several series may have.
    """
    scores = as_pandas(scores)
    if not isinstance(scores, pd.DataFrame):
        raise ValueError(f"scores must be a DataFrame as of cross_validation, got {type_name(scores)}")
    cutoff: Any = None
    if scores.columns.nlevels == 2:
        ids, names = scores.columns.unique(0), list(scores.columns.unique(1))
        rows = np.tile(np.arange(len(scores)), len(ids))
        series, time = np.repeat(np.arange(len(ids)), len(scores)), scores.index.get_level_values(-1)[rows]
        if scores.index.nlevels == 2:
            cutoff = scores.index.get_level_values(0)[rows]
        columns = {name: scores.xs(name, axis=1, level=1)[ids].to_numpy().T.reshape(-1) for name in names}
    else:
        columns = dict(scores.items())
        cutoff = columns.pop("cutoff", None)
        long = id_col in columns or (time_col in columns and isinstance(scores.index, pd.RangeIndex))
        time = pd.Index(columns.pop(time_col)) if long and time_col in columns else scores.index
        if id_col in columns:
            series, ids = pd.factorize(columns.pop(id_col), sort=True)
        else:
            series, ids = np.zeros(len(scores), np.intp), pd.Index([target_col if long else "y"])
        if long:
            if target_col != "y" and target_col in columns and "y" in columns:
                raise ValueError(f"scores have a column 'y' beside {quote(target_col)}: rename the model")
            columns = {"y" if name == target_col else name: column for name, column in columns.items()}
    if "y" not in columns:
        raise ValueError("scores have no true values to compare with")
    taken = [name for name in ("series", "cutoff", "time", "step") if name in columns]
    if taken:
        raise ValueError(f"a model of scores cannot be called {quote(taken[0])}: rename it")
    frame = pd.DataFrame({name: np.asarray(column, np.float64) for name, column in columns.items()})
    if scores.columns.nlevels == 2:  # of a wide frame, whose series need not share their stamps
        there = frame.notna().any(axis=1).to_numpy()
        frame, series, time = frame[there].reset_index(drop=True), series[there], time[there]
        cutoff = None if cutoff is None else cutoff[there]
    frame["series"] = series
    frame["time"], times = pd.factorize(time, sort=True)
    plain = cutoff is None
    if plain:
        cutoff = time[frame["time"].groupby(series).transform("idxmin").to_numpy()]
    frame["cutoff"], cutoffs = pd.factorize(pd.Index(cutoff), sort=True)
    own = frame.groupby(["series", "cutoff"])["time"]
    frame["step"] = own.rank(method="first").to_numpy(np.intp)
    if id_col not in scores.columns and frame.duplicated(["series", "cutoff", "time"]).any():
        raise ValueError(
            f"scores have several rows of one time and cutoff: of several series, a long frame has a column "
            f"{quote(id_col)} with their names"
        )
    models, levels = _models(list(columns))
    return ScoreTable(frame, ids, pd.Index(cutoffs), pd.Index(times, name=time.name), models, levels, plain)


def _models(names: list) -> tuple[list, dict[str, list]]:
    """Columns of point forecasts, and the models with bounds of each level."""
    models: list = []
    levels: dict[str, list] = {}
    for name in names:
        bound = _BOUND.fullmatch(name) if isinstance(name, str) else None
        if bound is None:
            models += [name] if name != "y" else []
        elif bound["side"] == "lo" and f"{bound['model']}-hi-{bound['level']}" in names:
            levels.setdefault(bound["level"], []).append(bound["model"])
    return models, levels


def read_train(train: Any, table: ScoreTable, freq: Any, **columns: Any) -> pd.DataFrame:
    """The true values, with positions of the series and, as `time`, of the first cutoff that knows them."""
    train = as_pandas(train)
    names = columns["id_col"], columns["time_col"]
    if isinstance(train, pd.DataFrame) and not any(name in train.columns for name in names):
        train = train[[name for name in train.columns if name in table.ids]]  # without its covariates
    panel = read_panel(train, freq=freq, missing="mask", **columns)
    series = table.ids.astype(object).get_indexer(panel.ids.astype(object))
    if panel.form.kind == "series" or len(table.ids) == len(panel.ids) == 1:
        series = np.zeros(1, np.intp)
    lacking = np.setdiff1d(np.arange(len(table.ids)), series)
    if len(lacking):
        raise ValueError(f"train lacks series {first_few(table.ids[lacking])}")
    cutoffs = check_same_time(as_stamps(table.cutoffs, "cutoff"), panel.stamps, "cutoff")
    side: Any = "right" if table.plain else "left"
    known = pd.DataFrame(
        {
            "series": np.repeat(series, panel.lengths),
            "time": as_integers(cutoffs).searchsorted(as_integers(panel.stamps), side=side),
            "y": np.where(panel.observed, panel.values, np.nan)[:, 0],
        }
    )
    return known[known["series"] >= 0]
