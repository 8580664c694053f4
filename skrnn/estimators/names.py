"""Names of columns in lists: every frame must have those of the first, in the same order.

What scikit-learn checks for one frame is checked here for each of many, by the same function.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from sklearn.utils.validation import _check_feature_names, _get_feature_names

from ..sequences import Sequences
from .containers import as_array, as_table
from .devices import warn_the_caller

NAMELESS = {np.ndarray, list, tuple, Sequences}  # as most items are; there may be many


def check_names(estimator: Any, items: Any, reset: bool) -> None:
    """Remember the feature names of sequences (`reset=True`), or compare with those of the fit.

    Parameters
    ----------
    estimator : estimator
        Its `feature_names_in_` is set, deleted or looked up.
    items : list of sequences, or array
        An array has no names.

    Raises
    ------
    ValueError
        If the names of a sequence are others, or in another order; the sequence is named.
    TypeError
        If some names of a frame are strings and others are not.

    Warns
    -----
    UserWarning
        Once, if only some sequences have names, or only those of `fit` or those of now.
    """
    named: list[tuple[int, Any, np.ndarray]] = []
    nameless: list[int] = []
    seen, names = None, None
    items = items if isinstance(items, list) else [items]
    if NAMELESS.issuperset(map(type, items)):
        nameless, items = [0], []
    for i, item in enumerate(items):
        if type(item) in NAMELESS:
            nameless.append(i)
            continue
        item = as_table(item)
        index = getattr(item, "columns", None)  # of pandas, which says in a microsecond that it is the same
        if seen is None or index is None or not seen.equals(index):
            names, seen = _names_of(item, i), index if hasattr(index, "equals") else None
        if names is None:
            nameless.append(i)
        else:
            named.append((i, item, names))
    fitted = getattr(estimator, "feature_names_in_", None)
    if reset:
        fitted = named[0][2] if named else None
    for i, item, names in named:
        if fitted is not None and not np.array_equal(names, fitted):
            try:
                _check_feature_names(SimpleNamespace(feature_names_in_=fitted), item, reset=False)
            except ValueError as error:
                raise ValueError(f"sequence {i}: {error}") from error
    if not reset:
        _warn_of_names_on_one_side(type(estimator).__name__, fitted, bool(named), bool(nameless))
        return
    if named and nameless:
        warn_the_caller(
            f"sequence {named[0][0]} has feature names, but sequence {nameless[0]} has none: whether its "
            "features are in the same order is not known",
            UserWarning,
        )
    if fitted is not None:
        estimator.feature_names_in_ = fitted
    elif hasattr(estimator, "feature_names_in_"):
        del estimator.feature_names_in_


def with_rows_as_columns(items: Any) -> Any:
    """Frames whose rows are the features, turned round; those but of pandas have no names of rows."""
    if not isinstance(items, list):
        return items
    nameless = np.empty(0)
    return [item.T if hasattr(item, "iloc") else nameless for item in items]


def _names_of(item: Any, i: int) -> np.ndarray | None:
    try:
        return _get_feature_names(item)
    except (TypeError, ValueError) as error:  # of mixed types, or twice the same
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"sequence {i}: {error}") from error


def _warn_of_names_on_one_side(name: str, fitted: Any, named: bool, nameless: bool) -> None:
    """In scikit-learn's words."""
    if fitted is None and named:
        warn_the_caller(f"X has feature names, but {name} was fitted without feature names", UserWarning)
    if fitted is not None and nameless:
        warn_the_caller(
            f"X does not have valid feature names, but {name} was fitted with feature names", UserWarning
        )


def labels_of(row: Any) -> list[str] | None:
    """The labels of a Series (or the column names of a frame), where all of them are strings."""
    if type(row) in NAMELESS:
        return None
    row = as_table(row)
    if len(getattr(row, "shape", ())) == 2:
        try:
            labels = _get_feature_names(row)
        except (TypeError, ValueError):  # of mixed types, or twice the same
            return None
        return None if labels is None else labels.tolist()
    labels = getattr(row, "index", None)
    if labels is None or callable(labels):
        return None
    labels = list(labels)
    return labels if labels and all(isinstance(label, str) for label in labels) else None


def check_labels(items: Any, name: str) -> None:
    """Raise a ValueError where rows or tables have the labels of the first one in another order.

    Parameters
    ----------
    items : list
        Of frames, of Series, or of anything without labels. Labels of one item alone, such as stamps, are not
        compared.
    name : str
        What the items are called, such as "y".
    """
    first = None
    for i, item in enumerate(items):
        labels = labels_of(item)
        if labels is None:
            continue
        if first is None:
            first, at = labels, i
        elif labels != first and sorted(labels) == sorted(first):
            raise ValueError(
                f"{name}[{i}] has the labels of {name}[{at}] in another order: {labels} and {first}"
            )
        elif labels != first and len(item.shape) == 2 and len(labels) > 1:
            raise ValueError(f"{name}[{i}] has the columns {labels}, {name}[{at}] has {first}")


def check_step(estimator: Any, x: Any) -> None:
    """Raise a ValueError where the features of one step, `x`, are labelled otherwise than in `fit`.

    Of an estimator fitted on 2-D X, whose names are each of one step, another order alone is told.
    """
    fitted = getattr(estimator, "feature_names_in_", None)
    if fitted is None:
        return
    columns = getattr(estimator, "step_columns_", None)
    steps = [fitted.tolist()] if columns is None else fitted[columns].tolist()
    for row in x if isinstance(x, list | tuple) else [x]:
        labels = labels_of(row)
        if labels is None or labels in steps:
            continue
        turned = next((names for names in steps if sorted(names) == sorted(labels)), None)
        if columns is None or turned is not None:
            raise ValueError(f"x has the labels {labels}, expected the features {turned or steps[0]}")


def rows_as_frame(rows: list[Any]) -> Any:
    """Series of equal length with the same strings as labels as one frame, whose columns they name; else
    the rows as they are.

    Raises
    ------
    ValueError
        If the labels of a row are those of the first in another order.
    """
    if type(rows[0]) in NAMELESS or not hasattr(rows[0], "to_frame"):
        return rows
    check_labels(rows, "X")
    labels = labels_of(rows[0])
    if labels is None or len(set(labels)) < len(labels) or any(labels_of(row) != labels for row in rows):
        return rows
    frame = type(rows[0].to_frame())
    return frame(np.stack([as_array(row) for row in rows]), columns=labels)
