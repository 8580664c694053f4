"""Covariates that are constant per series: numbers as they are, categories as 0 and 1."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from .panel import first_few, quote, series_name


def read_static(table: pd.DataFrame, columns: tuple | None = None) -> tuple[np.ndarray, tuple]:
    """Code a table of covariates.

    Parameters
    ----------
    table : DataFrame of shape (n_series, k)
        One row per series, with their ids as the index.
    columns : tuple of (name, category), default=None
        The coding of `fit`, for data that come later. None: numeric columns and those of bools are
        numbers, all others categories, in the order in which they sort.

    Returns
    -------
    values : ndarray of shape (n_series, n_columns), float64
    columns : tuple of (name, category)
        What each column holds; the category is None for a number.

    Raises
    ------
    ValueError
        If a value is missing or infinite, a category was not there in `fit`, or a number is not one
        now; the series is named.
    """
    for name in table.columns:
        missing = table[name].isna().to_numpy()
        if missing.any():
            raise ValueError(f"{series_name(table.index[missing.argmax()])} has no value of {quote(name)}")
    if columns is None:
        columns = tuple((name, code) for name in table.columns for code in _codes(table[name]))
    parts = [np.empty((len(table), 0))]
    for name in table.columns:
        known = [category for column, category in columns if column == name]
        parts.append(_numbers(table[name]) if known == [None] else _one_hot(table[name], known))
    return np.hstack(parts), columns


def is_number(dtype: Any) -> bool:
    """Whether a column holds numbers or bools, of NumPy, Arrow or such as may be missing."""
    types = pd.api.types
    truths = types.is_bool_dtype(dtype) and not isinstance(dtype, pd.CategoricalDtype)
    return truths or (types.is_numeric_dtype(dtype) and getattr(dtype, "kind", "") != "c")


def _codes(column: pd.Series) -> list:
    if is_number(column.dtype):
        return [None]
    return list(pd.factorize(column, sort=True)[1])


def _numbers(column: pd.Series) -> np.ndarray:
    if not is_number(column.dtype):
        raise ValueError(f"{quote(column.name)} was a number in fit and is now {column.dtype}")
    values = column.to_numpy(np.float64)[:, None]
    if not np.isfinite(values).all():
        where = (~np.isfinite(values)).argmax()
        raise ValueError(f"{series_name(column.index[where])} has an infinite {quote(column.name)}")
    return values


def _one_hot(column: pd.Series, known: list) -> np.ndarray:
    codes = pd.Index(known, dtype=object).get_indexer(pd.Index(column.astype(object)))
    if (codes < 0).any():
        where = (codes < 0).argmax()
        raise ValueError(
            f"{series_name(column.index[where])} has {quote(column.iloc[where])} as {quote(column.name)}, "
            f"which was not there in fit; there were {first_few(known)}"
        )
    return (codes[:, None] == np.arange(len(known))).astype(np.float64)


def static_of_frame(table: pd.DataFrame, id_name: Any, ids: pd.Index, names: tuple) -> pd.DataFrame:
    """The rows of a `static_df` for some series, in their order.

    Raises
    ------
    ValueError
        If a column or a series is not there, or a series is there twice.
    """
    lacking = [name for name in (id_name, *names) if name not in table.columns]
    if lacking:
        raise ValueError(f"columns are not in static_df: {first_few(lacking)}")
    index = pd.Index(table[id_name].astype(object))
    if index.has_duplicates:
        raise ValueError(f"static_df has {series_name(index[index.duplicated()][0])} more than once")
    rows = index.get_indexer(ids.astype(object))
    if (rows < 0).any():
        raise ValueError(f"static_df has no row for {first_few(ids[rows < 0])}")
    return table[list(names)].iloc[rows].set_axis(ids, axis=0)


def static_of_rows(table: pd.DataFrame, starts: np.ndarray, ids: pd.Index) -> pd.DataFrame:
    """One row per series of columns that are constant within each.

    Parameters
    ----------
    table : DataFrame of shape (n_rows, k)
        Series below series.
    starts : ndarray of shape (n_series + 1,)
    ids : Index of shape (n_series,)

    Raises
    ------
    ValueError
        If a column changes within a series; both are named.
    """
    firsts = starts[:-1]
    for name in table.columns:
        codes = pd.factorize(table[name])[0]
        changed = codes != np.repeat(codes[firsts], np.diff(starts))
        if changed.any():
            i = int(np.searchsorted(starts, changed.argmax(), side="right")) - 1
            raise ValueError(
                f"{quote(name)} is not constant in {series_name(ids[i])}, as stat_exog has to be"
            )
    return table.iloc[firsts].set_axis(ids, axis=0)
