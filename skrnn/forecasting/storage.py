"""What a forecaster has learnt, as arrays, dicts and names: what a file of a model is best made of.

Pickles of pandas' objects are for one version of pandas, and formats that load no foreign code, such as that
of skops, know neither them nor the classes of this package. So a state holds plain parts, and `from_plain`
makes of them what `to_plain` was given. What has no such form stays what it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset
from pandas.tseries.offsets import BaseOffset

from .ensemble import Ensemble
from .features import Features
from .intervals import Widths
from .model import Model, Task
from .panel import Form, Panel
from .scaling import FittedTransform, Transform

KIND = "class"  # in a dict that stands for something else
CLASSES = {
    cls.__name__: cls
    for cls in (Ensemble, FittedTransform, Form, Features, Model, Panel, Task, Transform, Widths)
}


def to_plain(value: Any) -> Any:
    """The value in plain parts.

    Parameters
    ----------
    value : any
        Objects of this package's classes, indexes and offsets of pandas, dtypes, and what objects, tuples and
        lists hold. Anything else is returned as it is, arrays and estimators too; nothing is copied.

    Returns
    -------
    any
        An object or an index is a dict with the name of its kind; a tuple or a list is one again.
    """
    if type(value) in CLASSES.values():
        attributes = {name: to_plain(part) for name, part in vars(value).items()}
        return {KIND: type(value).__name__} | attributes
    if isinstance(value, pd.Index):
        return _plain_index(value)
    if isinstance(value, np.dtype):
        return {KIND: "dtype", "name": value.name}
    if isinstance(value, BaseOffset):
        plain = {KIND: "offset", "name": value.freqstr}
        return plain if _gives_back(plain, value) else value
    if type(value) in (tuple, list):
        return type(value)(map(to_plain, value))
    return value


def from_plain(plain: Any) -> Any:
    """What `to_plain` was given; anything else as it is."""
    if type(plain) in (tuple, list):
        return type(plain)(map(from_plain, plain))
    kind = plain.get(KIND) if type(plain) is dict else None
    if kind not in ("dtype", "index", "offset", *CLASSES):
        return plain
    parts = {name: from_plain(part) for name, part in plain.items() if name != KIND}
    if kind == "dtype":
        return np.dtype(parts["name"])
    if kind == "offset":
        return to_offset(parts["name"])
    if kind == "index":
        return _index(**parts)
    made = object.__new__(CLASSES[kind])  # a frozen one, too, and what it may be was checked before
    made.__dict__.update(parts)
    return made


def _plain_index(index: pd.Index) -> Any:
    values: Any
    if isinstance(index, pd.CategoricalIndex):
        values = index.codes, to_plain(index.categories), bool(index.ordered)
        dtype = "category"
    else:
        dtype = str(index.dtype)
        if isinstance(index, pd.DatetimeIndex | pd.TimedeltaIndex | pd.PeriodIndex):
            values = index.asi8
        elif isinstance(index.dtype, np.dtype) and index.dtype != object:
            values = index.to_numpy()
        else:
            values = index.tolist()
    plain = {KIND: "index", "values": values, "dtype": dtype, "name": index.name}
    return plain if _gives_back(plain, index) else index


def _index(values: Any, dtype: str, name: Any) -> pd.Index:
    if dtype == "category":
        codes, categories, ordered = values
        return pd.CategoricalIndex(pd.Categorical.from_codes(codes, categories, ordered), name=name)
    kind = pd.api.types.pandas_dtype(dtype)
    if isinstance(kind, pd.PeriodDtype):
        return pd.PeriodIndex.from_ordinals(values, freq=kind.freq, name=name)
    if isinstance(kind, pd.DatetimeTZDtype):
        stamps = pd.DatetimeIndex(values.view(f"M8[{kind.unit}]"), name=name)
        return stamps.tz_localize("UTC").tz_convert(kind.tz)
    if isinstance(kind, np.dtype) and kind.kind in "mM":
        return pd.Index(values.view(kind), name=name)
    return pd.Index(values, dtype=kind, name=name, tupleize_cols=False)


def _gives_back(plain: dict[str, Any], value: Any) -> bool:
    """Whether nothing that counts is lost on the way back."""
    try:
        back = from_plain(plain)
    except (TypeError, ValueError, KeyError):  # a time zone or a frequency that its name does not say
        return False
    if not isinstance(value, pd.Index):
        return bool(back == value)
    same_type = isinstance(back, type(value)) or isinstance(value, pd.RangeIndex)
    return same_type and back.dtype == value.dtype and back.equals(value)
