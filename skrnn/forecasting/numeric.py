"""Columns of frames as numbers; of covariates that are categories, a column of 0 and 1 for each."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from .panel import first_few, quote
from .static import is_number


def numbers(frame: pd.DataFrame, columns: Any, where: str = "", hint: str = "") -> np.ndarray:
    """Columns as a new float64 array of shape (n_rows, n_columns), NaN where a value is missing.

    Raises
    ------
    ValueError
        If a column is not numeric; it is named, behind `where` and before `hint`.
    """
    part = frame[list(columns)]
    for name, dtype in part.dtypes.items():
        if not is_number(dtype):
            raise ValueError(f"{where}column {quote(name)} is not numeric but {dtype}{hint}")
    return np.array(part.to_numpy(np.float64, na_value=np.nan), order="C")


def find_categories(frame: pd.DataFrame, names: tuple) -> tuple:
    """Which of some columns hold categories, and which these are.

    Parameters
    ----------
    frame : DataFrame
        Of `fit`.
    names : tuple
        Columns of covariates.

    Returns
    -------
    tuple of (name, tuple of categories)
        Of columns of text and of those of dtype category, in the order in which they sort.

    Raises
    ------
    ValueError
        If text is numbers, each of which would be a category.
    """
    return tuple((name, _categories(frame[name])) for name in names if _is_category(frame[name]))


def _is_category(column: pd.Series) -> bool:
    if isinstance(column.dtype, pd.CategoricalDtype):
        return True
    return not is_number(column.dtype) and pd.api.types.infer_dtype(column, skipna=True) == "string"


def _categories(column: pd.Series) -> tuple:
    found = pd.factorize(column, sort=True)[1].astype(object)
    if not isinstance(column.dtype, pd.CategoricalDtype) and _are_numbers(found):
        raise ValueError(
            f"column {quote(column.name)} holds numbers as text, such as {quote(found[0])}: convert it with "
            'pd.to_numeric or, if they are categories, astype("category")'
        )
    return tuple(found)


def _are_numbers(texts: pd.Index) -> bool:
    return bool(pd.to_numeric(pd.Series(texts), errors="coerce").notna().all())


def coded(frame: pd.DataFrame, names: Any, categories: tuple, where: str = "") -> np.ndarray:
    """Covariates as numbers.

    Parameters
    ----------
    frame : DataFrame
    names : list or tuple
        Columns of covariates.
    categories : tuple of (name, tuple of categories)
        As of `find_categories`, also of other columns.
    where : str, default=""
        What an error begins with.

    Returns
    -------
    ndarray of shape (n_rows, n_columns), float64
        One column for a number, one for each category; NaN where a value is missing.

    Raises
    ------
    ValueError
        If a column is not numeric that was in `fit`, or a category was not there; both are named.
    """
    known, parts = dict(categories), [np.empty((len(frame), 0))]
    for name in names:
        one_hot = name in known
        parts.append(_one_hot(frame[name], known[name], where) if one_hot else numbers(frame, [name], where))
    return np.hstack(parts)


def _one_hot(column: pd.Series, known: tuple, where: str) -> np.ndarray:
    codes = pd.Index(known, dtype=object).get_indexer(pd.Index(column.astype(object)))
    missing = column.isna().to_numpy()
    unknown = (codes < 0) & ~missing
    if unknown.any():
        raise ValueError(
            f"{where}column {quote(column.name)} has {quote(column.iloc[unknown.argmax()])}, which was not "
            f"there in fit; there were {first_few(known)}"
        )
    table = (codes[:, None] == np.arange(len(known))).astype(np.float64)
    table[missing] = np.nan
    return table
