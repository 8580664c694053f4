"""Which features of a step are categories, and the tokens that stand for their values."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from sklearn.utils.validation import _get_feature_names

from .labels import MISSING


class Categories(NamedTuple):
    """What a fit has learnt of tokens.

    Attributes
    ----------
    columns : tuple of int
        The features that are categories.
    n_features : int
        All features of a step.
    values : tuple of (ndarray or None)
        Of each of those columns what its tokens stand for, from 1 on; None: integers, which are the tokens.
    per_step : bool
        Whether each step is answered. Else a sequence without tokens, as an empty text is, is read as one
        unknown token, 0.
    """

    columns: tuple[int, ...]
    n_features: int
    values: tuple[np.ndarray | None, ...]
    per_step: bool

    @property
    def learnt(self) -> bool:
        """Whether X holds values, for which tokens stand."""
        return any(values is not None for values in self.values)

    @property
    def numbers(self) -> list[int]:
        """The other features."""
        return [j for j in range(self.n_features) if j not in self.columns]


def choose(features: Any, n_features: int, table: Any = None) -> tuple[int, ...]:
    """The columns that the estimators' `categorical_features` says; None: all of them.

    Parameters
    ----------
    table : frame or array of steps, optional
        Where names and types are found.

    Raises
    ------
    ValueError
        If a feature is not there, or none is a category.
    """
    said = f"categorical_features={features!r}"
    if features is None:
        return tuple(range(n_features))
    if isinstance(features, str):  # "from_dtype"
        dtypes = list(table.dtypes) if hasattr(table, "iloc") else []
        found = [j for j, dtype in enumerate(dtypes) if getattr(dtype, "name", None) == "category"]
        if not found:
            raise ValueError(
                f"{said}, but X holds no frames of pandas with categorical columns: make them, with "
                'astype("category"), or name the features that are categories'
            )
        return tuple(found)
    asked = np.asarray(features)
    if asked.ndim != 1:
        raise ValueError(f"{said} must be a list of features, or a mask")
    if asked.dtype == bool:
        if len(asked) != n_features:
            raise ValueError(f"{said} is a mask of {len(asked)} features, but steps have {n_features}")
        asked = np.flatnonzero(asked)
    elif asked.dtype.kind in "USO":
        names = [] if table is None else _get_feature_names(table)
        known = [] if names is None else list(names)
        for name in asked:
            if name not in known:
                among = f"among {known}" if known else "known: X's features have no names"
                raise ValueError(f"{said}: {str(name)!r} is not {among}")
        asked = np.array([known.index(name) for name in asked], int)
    elif asked.size and asked.dtype.kind not in "iu":
        raise ValueError(f"{said} must hold positions, names or a mask")
    if not asked.size:
        raise ValueError(f"{said} names no feature: without categories, embedding_size is None")
    wrong = asked[(asked < -n_features) | (asked >= n_features)]
    if len(wrong):
        raise ValueError(f"{said}: there is no feature {wrong[0]}, steps have {n_features}")
    columns = tuple(sorted({int(j) % n_features for j in asked}))
    if len(columns) < len(asked):
        raise ValueError(f"{said} names a feature twice")
    return columns


def hold_values(table: Any) -> bool:
    """Whether these steps may hold other than numbers: strings, objects, a categorical column."""
    if hasattr(table, "iloc"):
        return any(getattr(dtype, "kind", "O") not in "biuf" for dtype in table.dtypes)
    return np.asarray(table).dtype.kind in "OUS"


def encoded(
    tables: list[Any], columns: tuple[int, ...], known: tuple[np.ndarray | None, ...] | None
) -> tuple[list[Any], tuple[np.ndarray | None, ...]]:
    """Tables of steps with the tokens of the values of those columns, as numbers; and the values.

    Parameters
    ----------
    tables : list of n frames of pandas or arrays of shape (T_i, n_features)
        One at least holds other than numbers.
    known : tuple of (ndarray or None), or None
        Values that have been learnt; None: they are to be.

    Raises
    ------
    ValueError
        For what is no number in another column.
    """
    plain = [
        table.to_numpy(object) if hasattr(table, "iloc") else np.asarray(table, object) for table in tables
    ]
    whole = np.concatenate(plain)
    learnt: list[np.ndarray | None] = []
    for k, j in enumerate(columns):
        cells = whole[:, j].tolist()
        values = _values(tables, j, cells) if known is None else known[k]
        learnt.append(values)
        if values is not None:
            token_of = {value: token for token, value in enumerate(values.tolist(), 1)}
            whole[:, j] = [0 if _is_missing(cell) else token_of.get(cell, 0) for cell in cells]
    ends = np.cumsum([len(table) for table in tables])[:-1]
    numbers = np.split(whole, ends)
    again: list[Any] = [
        type(table)(own, columns=table.columns).infer_objects() if hasattr(table, "iloc") else own
        for table, own in zip(tables, numbers, strict=True)
    ]
    return again, tuple(learnt)


def _values(tables: list[Any], j: int, cells: list[Any]) -> np.ndarray | None:
    """What a column holds, in order; None where that are numbers, and not of a categorical type."""
    frames = [table for table in tables if hasattr(table, "iloc")]
    categorical = any(getattr(frame.dtypes.iloc[j], "name", None) == "category" for frame in frames)
    found = {cell for cell in cells if not _is_missing(cell)}
    if not categorical and not any(isinstance(cell, str) for cell in found):
        return None
    try:
        ordered = sorted(found)
    except TypeError:  # strings and numbers
        ordered = sorted(found, key=str)
    array = np.array(ordered)
    return array if array.tolist() == ordered else np.array(ordered, object)


def _is_missing(cell: Any) -> bool:
    return type(cell).__name__ in MISSING or cell != cell
