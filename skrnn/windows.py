"""From pandas to sequences and back: lag windows of a series, and tables of many sequences."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd

from .columns import (
    as_list,
    as_pandas,
    check_columns,
    check_named_once,
    check_single,
    first,
    numbered,
    to_numbers,
)
from .sequences import object_array


def make_windows(
    frame_or_series: pd.DataFrame | pd.Series,
    lags: int,
    horizon: int = 1,
    target: Any = None,
    exog: Any = None,
) -> tuple[pd.DataFrame, pd.DataFrame | pd.Series]:
    """Turn a series into a supervised table: the last `lags` values, and the `horizon` after them.

    Row by row the window moves on by one row of the frame; gaps in time are not looked for, so give
    the frame its regular frequency first (``series.asfreq("W")``).

    Parameters
    ----------
    frame_or_series : DataFrame or Series of shape (n,) or (n, n_columns)
        Rows in time order. A Series without a name is called "y". Frames of other kinds that have
        ``to_pandas()``, such as those of polars, are converted by it.
    lags : int
        Time steps of the past in each row of X.
    horizon : int, default=1
        Time steps of the future in each row of y.
    target : column or list of columns, default=None
        What to forecast; None takes all columns that are not in `exog`.
    exog : column or list of columns, default=None
        Columns that are only inputs. X holds the past of `target` and of `exog`, never their
        future, and no other column.

    Returns
    -------
    X : DataFrame of shape (n - lags - horizon + 1, lags * k)
        For the k input columns in the frame's order, oldest step first, all columns of a step
        together: a(t-2), b(t-2), a(t-1), b(t-1). So estimators read it with
        ``features_per_step=k`` and ``newest_first=False``. float32 where all inputs are, else
        float64.
    y : Series, or DataFrame with `horizon` steps of each target
        A Series with the target's name where there is one target and ``horizon=1``, else a
        DataFrame with columns a(t), b(t), a(t+1), b(t+1).

        X and y have the same index: the stamp of t, the first step to forecast. NaN in the series
        is NaN in its windows; no row is dropped. To train without them::

            known = X.notna().all(axis=1) & y.notna()
            X, y = X[known], y[known]

    Raises
    ------
    TypeError
        If `frame_or_series` is none of these.
    ValueError
        If it is too short, not sorted in time or has a stamp twice, a column is unknown, named
        twice or not numeric, or `lags` or `horizon` is not a positive integer.

    Examples
    --------
    >>> import pandas as pd
    >>> from skrnn import make_windows
    >>> X, y = make_windows(pd.Series([1.0, 2.0, 3.0, 4.0], name="co2"), lags=2)
    >>> X
       co2(t-2)  co2(t-1)
    2       1.0       2.0
    3       2.0       3.0
    >>> y.tolist()
    [3.0, 4.0]
    """
    frame = as_pandas(frame_or_series, "DataFrame or Series", pd.DataFrame | pd.Series)
    if isinstance(frame, pd.Series):
        unnamed = frame.name is None or (
            frame.name == "" and frame is not frame_or_series
        )  # as polars has it
        frame = frame.to_frame("y" if unnamed else frame.name)
    lags, horizon = _count("lags", lags), _count("horizon", horizon)
    _check_time_index(frame.index)
    inputs, targets = _choose_columns(frame, target, exog)
    n_windows = len(frame) - lags - horizon + 1
    if n_windows < 1:
        raise ValueError(
            f"lags={lags} and horizon={horizon} need at least {lags + horizon} rows, got {len(frame)}"
        )
    stamps = slice(lags, lags + n_windows)
    X = _windows(frame, inputs, range(-lags, 0), stamps)
    y = _windows(frame, targets, range(horizon), stamps)
    return X, y if y.shape[1] > 1 else y.iloc[:, 0].rename(targets[0])


def from_long_frame(
    df: pd.DataFrame, id_col: Any, time_col: Any, feature_cols: Any, label_col: Any = None
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Turn a table with one row per (id, time) into one sequence per id.

    Parameters
    ----------
    df : DataFrame
        Rows in any order. A frame of another kind that has ``to_pandas()``, such as one of polars, is
        converted by it.
    id_col, time_col : column
        Which sequence a row belongs to, and what to sort it by there. Where several columns tell sequences
        apart, make one of them first: ``df.assign(id=df.groupby(["shop", "item"]).ngroup())``.
    feature_cols : column or list of columns
        Numeric columns; and categorical ones, of which an estimator is told by `embedding_size` and
        `categorical_features`, their places among these.
    label_col : column, default=None
        Targets.

    Returns
    -------
    sequences : 1-D object array of n arrays of shape (T_i, n_features)
        In time order; float32 where all features are, else float64. NaN is kept. A category is its place in
        the column's ``cat.categories``, from 1 on, which have to be the same in a later frame; a missing one
        is 0.
    labels : ndarray of shape (n,), 1-D object array of n arrays of shape (T_i,), or None
        One label per sequence where the label is constant within EVERY id, else one per step. None
        without `label_col`.
    ids : ndarray of shape (n,)
        In order of first appearance in `df`; also the `groups` for `GroupKFold`.

    Raises
    ------
    TypeError
        If `df` is no such frame.
    ValueError
        If a column is missing or a feature is not numeric, `id_col`, `time_col` or `label_col` does not
        name one column, the frame is empty, an id or a time is missing, or a pair of them appears twice.
    """
    df = as_pandas(df, "DataFrame", pd.DataFrame)
    features = as_list("feature_cols", feature_cols)
    single = {"id_col": id_col, "time_col": time_col}
    if label_col is not None:
        single["label_col"] = label_col
    check_single(single)
    check_columns(df, [*single.values(), *features])
    check_named_once(features)
    if not features:
        raise ValueError("feature_cols names no column")
    values = to_numbers(numbered(df, features), features)
    ids, order, lengths = _sort_long(df, id_col, time_col)
    bounds = np.cumsum(lengths)[:-1]
    sequences = object_array(np.split(values[order], bounds))
    if label_col is None:
        return sequences, None, ids
    labels = df[label_col].to_numpy()[order]
    codes = pd.factorize(labels)[0]  # NaN equals NaN among the codes
    firsts = np.concatenate([[0], bounds])
    if np.array_equal(codes, np.repeat(codes[firsts], lengths)):
        return sequences, labels[firsts], ids
    return sequences, object_array(np.split(labels, bounds)), ids


def to_long_frame(
    predictions: Any,
    df: pd.DataFrame,
    id_col: Any,
    time_col: Any,
    name: str = "prediction",
    ids: Any = None,
    per_step: bool | None = None,
) -> pd.DataFrame:
    """Bring predictions for the sequences of `from_long_frame` back to the rows of its table.

    Parameters
    ----------
    predictions : array-like
        Per step: n arrays of shape (T_i,) or (T_i, n_outputs), or one array of shape (n, T) or
        (n, T, n_outputs). Per sequence, and repeated for each of its steps: an array of shape (n,) or
        (n, n_outputs), as of ``predict_proba``. A list of arrays, or an object array of them, is per step:
        of ``list(predict_proba(X))`` say ``per_step=False``.
    df : DataFrame
        The table; rows in any order. Other kinds of frames are converted as in `from_long_frame`.
    id_col, time_col : column
        As in `from_long_frame`.
    name : str, default="prediction"
        Name of the new column; several outputs are called ``prediction_0``, ``prediction_1``, ...
    ids : array-like of shape (n,), default=None
        Which sequences the predictions are for, for instance those of a test set. None: all, in
        order of first appearance.
    per_step : bool, default=None
        Whether there is a prediction per step, or per sequence. None: an array of shape (n, k) is per
        sequence where no sequence has k rows, and refused where all have, as it may then be either. All
        other shapes tell, and a list of arrays is taken to be per step.

    Returns
    -------
    DataFrame
        Of pandas: the id, the time and the predictions, with the index and the order of `df`; the rows
        of `ids` only, where it is given.

    Raises
    ------
    TypeError
        If `df` is no such frame.
    ValueError
        If the number of sequences or the length of one differs from the table, and the id is named; if an
        array may be per step or per sequence and `per_step` does not say which; if `id_col` or `time_col`
        does not name one column.

    Examples
    --------
    >>> import pandas as pd
    >>> from skrnn import to_long_frame
    >>> table = pd.DataFrame({"id": ["b", "a", "b"], "minute": [1, 0, 0]})
    >>> to_long_frame([[0.2, 0.8], [0.5]], table, "id", "minute")["prediction"].tolist()
    [0.8, 0.5, 0.2]
    """
    df = as_pandas(df, "DataFrame", pd.DataFrame)
    check_single({"id_col": id_col, "time_col": time_col})
    check_columns(df, [id_col, time_col])
    if ids is not None:
        wanted = pd.Index(ids)
        unknown = wanted[~wanted.isin(df[id_col])]
        if len(unknown) or wanted.has_duplicates:
            problem = f"not in df: {first(unknown)}" if len(unknown) else "not unique"
            raise ValueError(f"ids are {problem}")
        df = df[df[id_col].isin(wanted)]
    found, order, lengths = _sort_long(df, id_col, time_col)
    if ids is not None:  # the caller's order of sequences in place of the table's
        position = pd.Index(found).get_indexer(wanted)
        order = np.concatenate([np.split(order, np.cumsum(lengths)[:-1])[p] for p in position])
        found, lengths = found[position], lengths[position]
    predictions = predictions if isinstance(predictions, list | tuple) else np.asarray(predictions)
    if len(predictions) != len(found):
        raise ValueError(f"got predictions for {len(predictions)} sequences, expected {len(found)}")
    if per_step not in (None, True, False):
        raise ValueError(f"per_step must be True, False or None, got {per_step!r}")
    if per_step is None:
        per_step = _is_per_step(predictions, lengths)
    flat = _flatten(predictions, found, lengths) if per_step else _repeat(predictions, lengths)
    flat = flat.reshape(len(flat), -1)
    placed = np.empty_like(flat)
    placed[order] = flat
    result = df[[id_col, time_col]].copy()
    for output in range(flat.shape[1]):
        column = name if flat.shape[1] == 1 else f"{name}_{output}"
        if column in result.columns:
            raise ValueError(f"{column!r} is already a column; choose another name")
        result[column] = placed[:, output]
    return result


def _count(name: str, count: Any) -> int:
    """The number as Python's integer, which does not overflow."""
    if isinstance(count, bool) or not isinstance(count, Integral) or int(count) < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {count!r}")
    return int(count)


def _choose_columns(frame: pd.DataFrame, target: Any, exog: Any) -> tuple[list, list]:
    """Input columns in the frame's order, and target columns."""
    exogenous = [] if exog is None else as_list("exog", exog)
    if target is None:
        targets = [column for column in frame.columns if column not in exogenous]
    else:
        targets = as_list("target", target)
    check_columns(frame, targets + exogenous)
    check_named_once(targets + exogenous)
    if not targets:
        raise ValueError("no column is left to forecast")
    chosen = set(targets + exogenous)
    return [column for column in frame.columns if column in chosen], targets


def _windows(frame: pd.DataFrame, columns: list, steps: range, stamps: slice) -> pd.DataFrame:
    """One row per row of `stamps`, one column per step, relative to the stamp, and column."""
    values = to_numbers(frame, columns)
    table = np.hstack([values[stamps.start + step : stamps.stop + step] for step in steps])
    names = [f"{c}(t{step:+d})" if step else f"{c}(t)" for step in steps for c in columns]
    return pd.DataFrame(table, index=frame.index[stamps], columns=names)


def _check_time_index(index: pd.Index) -> None:
    if isinstance(index, pd.MultiIndex):
        raise ValueError("the index has several levels; make the windows of one series at a time")
    if index.hasnans:
        raise ValueError("the index has missing stamps")
    if index.has_duplicates:
        raise ValueError(f"the index has stamps twice: {first(index[index.duplicated()].unique())}")
    if not index.is_monotonic_increasing:
        raise ValueError("the index is not sorted in time; sort it with sort_index()")


def _sort_long(df: pd.DataFrame, id_col: Any, time_col: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids by first appearance, rows sorted by (id, time), and the number of rows of each id."""
    if df.empty:
        raise ValueError("the frame has no rows")
    for column in id_col, time_col:
        if df[column].isna().any():
            raise ValueError(f"column {column!r} has missing values")
    codes, ids = pd.factorize(df[id_col])
    times = pd.factorize(df[time_col], sort=True)[0]
    order = np.lexsort((times, codes))
    repeated = (np.diff(codes[order]) == 0) & (np.diff(times[order]) == 0)
    if repeated.any():
        id_, time = (df[column].iloc[order[repeated.argmax()]] for column in (id_col, time_col))
        raise ValueError(f"id {id_} has time {time} more than once")
    return np.asarray(ids), order, np.bincount(codes)


def _is_per_step(predictions: Any, lengths: np.ndarray) -> bool:
    """What the shape of predictions says; a ValueError where it does not say."""
    if isinstance(predictions, list | tuple) or predictions.ndim != 2:
        return any(np.ndim(prediction) > 0 for prediction in predictions)
    k = predictions.shape[1]
    if k > 1 and (lengths == k).all():  # with k = 1 it comes to the same
        raise ValueError(
            f"predictions of shape {predictions.shape} may be of {k} steps, or of {k} outputs per sequence: "
            "pass per_step=True or per_step=False"
        )
    return bool((lengths == k).any())


def _flatten(predictions: Any, ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """All steps of all predictions per step."""
    for id_, prediction, length in zip(ids, predictions, lengths):
        shape = np.shape(prediction)
        if shape[:1] != (length,):
            given = f"{shape[0]} predictions" if shape else "a single prediction"
            hint = f"; for {shape[0]} outputs per sequence pass per_step=False" if len(shape) == 1 else ""
            raise ValueError(f"id {id_} has {length} rows but {given}{hint}")
    return np.concatenate(list(predictions))


def _repeat(predictions: Any, lengths: np.ndarray) -> np.ndarray:
    """Predictions per sequence, (n,) or (n, k), for each of its steps."""
    shapes = [np.shape(prediction) for prediction in predictions]
    if len(set(shapes)) > 1 or len(shapes[0]) > 1:
        raise ValueError(
            "per_step=False needs predictions of shape (n,) or (n, n_outputs), got items of shapes "
            f"{first(sorted(set(shapes)))}"
        )
    # an object array of arrays is stacked, too
    return np.repeat(np.array(list(predictions)), lengths, axis=0)
