"""What a caller's frame and names of columns have to be: one of pandas, and columns that are there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd


def as_pandas(frame: Any, wanted: str, kinds: Any) -> Any:
    """The frame as one of pandas, or a TypeError that says what was given."""
    if isinstance(frame, kinds):
        return frame
    given = type_name(frame)
    hint = ""
    if isinstance(frame, pd.Series):
        hint = ": take series.reset_index()"
    elif hasattr(frame, "to_pandas"):
        try:
            converted = frame.to_pandas()
        except ImportError as error:  # polars converts by way of pyarrow
            raise TypeError(
                f"expected a pandas {wanted}, got {given}, which cannot be converted: {error}"
            ) from error
        if isinstance(converted, kinds):
            return converted
    else:
        for method in "collect", "compute", "toPandas":  # lazy frames of polars, dask and Spark
            if hasattr(frame, method):
                hint = f": pass what .{method}() gives"
                break
    raise TypeError(f"expected a pandas {wanted}, got {given}{hint}")


def type_name(thing: Any) -> str:
    """A class with its module: there are many a DataFrame."""
    return f"{type(thing).__module__}.{type(thing).__qualname__}"


def to_numbers(frame: pd.DataFrame, columns: list) -> np.ndarray:
    """Columns as one C-ordered array, float32 if all of them are, else float64."""
    dtypes = frame[columns].dtypes
    numeric = [pd.api.types.is_numeric_dtype(d) and getattr(d, "kind", "") != "c" for d in dtypes]
    if not all(numeric):
        raise ValueError(f"columns are not numeric: {first(dtypes.index[~np.array(numeric)])}")
    dtype = np.float32 if (dtypes == np.float32).all() else np.float64
    return np.ascontiguousarray(frame[columns].to_numpy(dtype, na_value=np.nan))


def numbered(frame: pd.DataFrame, columns: list) -> pd.DataFrame:
    """The frame, with the places of categories, from 1 on, in the place of those of categorical columns."""
    categorical = [c for c in columns if isinstance(frame[c].dtype, pd.CategoricalDtype)]
    if not categorical:
        return frame
    frame = frame.copy(deep=False)
    for column in categorical:
        frame[column] = frame[column].cat.codes.astype(np.int32) + 1
    return frame


def check_columns(frame: pd.DataFrame, columns: list) -> None:
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise ValueError(f"columns are not in the frame: {first(missing)}")
    if not frame.columns.is_unique:
        raise ValueError(f"column names are not unique: {first(frame.columns[frame.columns.duplicated()])}")
    several = [column for column in columns if not isinstance(frame.columns.get_loc(column), int)]
    if several:  # the first level of a MultiIndex
        raise ValueError(
            f"names of several columns, which have {frame.columns.nlevels} levels: {first(several)}"
        )


def check_single(columns: dict[str, Any]) -> None:
    """Raise a ValueError where a parameter does not name one column."""
    for parameter, column in columns.items():
        if not _hashable(column):
            hint = ""
            if parameter == "id_col" and isinstance(column, list):
                hint = f"; make one column of them first, for example by df.groupby({column!r}).ngroup()"
            raise ValueError(f"{parameter} must name one column, got {column!r}{hint}")


def check_named_once(columns: list) -> None:
    twice = [column for i, column in enumerate(columns) if column in columns[:i]]
    if twice:
        raise ValueError(f"columns are named twice: {first(twice)}")


def as_list(parameter: str, columns: Any) -> list:
    """Several columns as a list; a string or a tuple is the name of one."""
    names = list(columns) if isinstance(columns, list | pd.Index | pd.Series | np.ndarray) else [columns]
    if not all(map(_hashable, names)):
        raise ValueError(f"{parameter} must be a column or a list of columns, got {columns!r}")
    return names


def first(names: Any) -> str:
    """The first five."""
    return ", ".join(map(repr, list(names)[:5])) + (", ..." if len(names) > 5 else "")


def _hashable(name: Any) -> bool:
    try:
        hash(name)
    except TypeError:
        return False
    return True
