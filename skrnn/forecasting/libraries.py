"""Frames of other libraries, such as polars and pyarrow: to pandas, and answers back in kind."""

from __future__ import annotations

from typing import Any

import narwhals as nw
import pandas as pd

from ..columns import type_name

PANDAS = "pandas"


def as_pandas(data: Any) -> Any:
    """A frame that narwhals knows as one in memory as one of pandas; all else as it is.

    Raises
    ------
    TypeError
        If the library cannot convert it here, as polars without pyarrow.
    """
    if isinstance(data, pd.Series | pd.DataFrame):
        return data
    frame = nw.from_native(data, eager_only=True, pass_through=True)
    if not isinstance(frame, nw.DataFrame):
        return data
    # To pandas, dates would be objects; so would decimals, and truths where some are missing.
    for name, dtype in frame.schema.items():
        column = nw.col(name)
        if dtype == nw.Date:
            frame = frame.with_columns(column.cast(nw.Datetime("ms")))
        elif dtype == nw.Decimal or (dtype == nw.Boolean and frame[name].null_count()):
            frame = frame.with_columns(column.cast(nw.Float64))
    try:
        return frame.to_pandas()
    except ImportError as error:
        raise TypeError(f"{type_name(data)} cannot be converted by its to_pandas(): {error}") from error


def library_of(data: Any) -> str:
    """The library of a frame, as narwhals calls it; pandas for all that it does not know."""
    if isinstance(data, pd.DataFrame):
        return PANDAS
    frame = nw.from_native(data, eager_only=True, pass_through=True)
    return frame.implementation.value if isinstance(frame, nw.DataFrame) else PANDAS


def in_kind(answer: pd.DataFrame, library: Any) -> Any:
    """An answer without an index as a frame of a library; of those without Arrow, as one of pandas."""
    if library not in ("polars", "pyarrow"):
        return answer
    return nw.from_arrow(nw.from_native(answer).to_arrow(), backend=library).to_native()


def not_a_frame(what: str, data: Any) -> TypeError:
    """The error that says what was given, and the way out for frames of libraries that are not read."""
    return TypeError(
        f"{what}, got {type_name(data)}; of a frame of another library, give what its to_pandas() gives "
        "(polars and pyarrow are read; lazy frames need collect(), compute() or toPandas())"
    )
