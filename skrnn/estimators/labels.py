"""Labels of a classification: classes or sets of labels, their numbers for the network, and their weights.

A set of labels is a row of two or more columns. Each column has two values, as 0 and 1, -1 and 1 or "no" and
"yes"; the larger one says that the label is there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from .finite import problem_of
from .inputs import Input
from .targets import TargetRows, place

MISSING = {"NoneType", "NAType"}  # None, and pd.NA, which is not even unequal to itself


def read_labels(
    rows: TargetRows, w: np.ndarray | None, input: Input, per_step: bool, name: str = "y"
) -> np.ndarray:
    """Labels of a classification.

    Returns
    -------
    ndarray of shape (m,), or (m, n_labels) where each row is a set of labels
        Unlabelled rows, which have weight 0, hold any value.
    """
    values = rows.values
    used = np.ones(len(values), bool) if w is None else w > 0
    if values.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: {name} has dtype {values.dtype}")
    known = values[used]
    if known.dtype.kind == "f" and not np.isfinite(known).all():
        row = np.flatnonzero(used)[np.argmax(~np.isfinite(known).all(axis=1))]
        value = values[row][~np.isfinite(values[row])][0]
        where = place(row, input, per_step, name)
        raise ValueError(f"Input {name} contains {problem_of(value, values.dtype)}: {where}")
    if known.dtype == object:
        missing = np.array([any(type(v).__name__ in MISSING or v != v for v in row) for row in known])
        if missing.any():
            row = np.flatnonzero(used)[np.argmax(missing)]
            raise ValueError(f"Input {name} contains NaN: {place(row, input, per_step, name)}")
    if known.dtype == object and np.array(known.tolist()).dtype.kind in "biuf":
        known = np.array(known.tolist())  # numbers, beside a None where there is no label
        values = np.zeros(values.shape, known.dtype)
        values[used] = known
    if values.shape[1] > 1:
        return values
    known = known[:, 0]
    if not rows.flat and not per_step:
        known = column_or_1d(rows.values[used], warn=True)
    check_classification_targets(known)
    return values[:, 0]


# --- classes ------------------------------------------------------------------------------------------
def learn_classes(labels: np.ndarray, classes: Any) -> np.ndarray:
    """Those of `labels`, or those given."""
    if classes is None:
        found = np.unique(labels)
        if len(found) < 2:
            raise ValueError(f"a classifier needs at least 2 classes, y holds 1 class: {found.tolist()}")
        return found
    if np.ndim(classes) != 1:
        raise ValueError(f"classes must be a list of classes, got {classes!r}")
    given = np.unique(classes)
    if len(given) < 2:
        raise ValueError(f"a classifier needs at least 2 classes, got classes={given.tolist()}")
    return given


def encode_classes(
    labels: np.ndarray, classes: np.ndarray, used: np.ndarray, input: Input, per_step: bool, name: str
) -> np.ndarray:
    """Class numbers (m,); 0 for the unlabelled.

    Raises
    ------
    ValueError
        For a class that is not known, which is named with its place.
    """
    codes = np.zeros(len(labels), np.intp)
    try:
        found = np.searchsorted(classes, labels[used]).clip(max=len(classes) - 1)
        unseen = classes[found] != labels[used]
    except TypeError:  # strings among numbers
        unseen = np.ones(used.sum(), bool)
    if np.any(unseen):
        row = int(np.flatnonzero(used)[np.argmax(unseen)])
        where = place(row, input, per_step, name)
        label = labels[row].item() if hasattr(labels[row], "item") else labels[row]
        raise ValueError(f"{where} is {label!r}, which is not among the classes {classes}")
    codes[used] = found
    return codes


def check_same_classes(classes: Any, fitted: np.ndarray, values: np.ndarray | None) -> None:
    """Raise a ValueError for `classes` that are not those of the first call; `values` are those of sets."""
    if values is None:
        same, known = np.array_equal(np.unique(classes), fitted), fitted
    elif np.ndim(classes) == 2:
        same, known = np.array_equal(np.sort(classes, axis=1), values), values
    else:
        same, known = np.array_equal(classes, fitted), fitted
    if not same:
        raise ValueError(f"classes={classes} are not those of the first call, {known}")


def learn_outputs(n: int, classes: Any) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Of a head with n outputs: the classes, the values of label sets or None, and the outputs' order.

    Raises
    ------
    ValueError
        If `classes` do not fit them.
    """
    if classes is not None and np.ndim(classes) == 2:
        values = np.sort(np.asarray(classes), axis=1)
        if n < 2 or values.shape != (n, 2) or not (values[:, 0] != values[:, 1]).all():
            raise ValueError(
                f"classes={classes} must hold two different values for each label of a set: as many labels, "
                f"from two on, as the head has outputs, here {n}"
            )
        return np.arange(n), values, None
    given = np.arange(max(n, 2)) if classes is None else np.asarray(classes)
    if given.ndim != 1 or len(np.unique(given)) != len(given):
        raise ValueError(f"classes must be a list of different classes, got {classes!r}")
    if len(given) != max(n, 2):
        raise ValueError(
            f"classes={classes} are {len(given)}, but the head has {n} outputs: one for each class, or one "
            "for two"
        )
    order = np.argsort(given)
    return given[order], None, order


def in_order_of_classes(rows: np.ndarray, order: np.ndarray | None) -> np.ndarray:
    """A head's rows, one for each class, in that order; of two classes the one row that tells them apart."""
    if order is not None:
        rows = np.concatenate([np.zeros_like(rows), rows])[order] if len(rows) == 1 else rows[order]
    return rows[1:] - rows[:1] if len(rows) == 2 else rows


# --- sets of labels -----------------------------------------------------------------------------------
def two_values(sets: np.ndarray, name: str = "y") -> np.ndarray:
    """The two values of each column, the smaller one first; shape (n_labels, 2).

    Of a column that holds one value only, the other is that of the other columns, where they agree; or, of a
    0 or a 1, the other one of these; or there is none, and it stands twice.

    Raises
    ------
    ValueError
        For a column of more than two values, or of numbers that are no labels.
    """
    n_columns = sets.shape[1]
    found = []
    for j in range(n_columns):
        column = sets[:, j]
        if column.dtype == object:
            if len({isinstance(value, str) for value in column}) > 1:
                raise ValueError(f"{name} holds strings and numbers in column {j}")
            column = np.array(column.tolist())
        values = np.unique(column).tolist()
        if len(values) > 2:
            shown = ", ".join(map(repr, values[:3]))
            raise ValueError(
                f"{name} has {n_columns} columns but is not multilabel: column {j} holds more than two "
                f"values ({shown}{', ...' if len(values) > 3 else ''}), and several outputs of several "
                "classes are not supported"
            )
        check_classification_targets(column)
        found.append(values)
    pairs = {tuple(values) for values in found if len(values) == 2}
    alone = {values[0] for values in found if len(values) == 1}
    if not pairs and len(alone) == 2 and sets.dtype != object:
        pairs = {tuple(sorted(alone))}
    of_all = pairs.pop() if len(pairs) == 1 else ()
    for values in found:
        if len(values) == 1:
            value = values[0]
            values[:] = of_all if value in of_all else (0, 1) if value in (0, 1) else (value, value)
    return np.array(found, sets.dtype)


def learn_sets(sets: np.ndarray, classes: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Names of the columns, and the two values of each; from `classes` what they say.

    Raises
    ------
    ValueError
        If `classes` do not fit the columns.
    """
    k = sets.shape[1]
    if classes is None:
        return np.arange(k), two_values(sets, name)
    given = np.asarray(classes, object if sets.dtype == object else None)
    if given.shape == (k, 2):
        values = np.sort(given, axis=1)
        if not (values[:, 0] != values[:, 1]).all():
            raise ValueError(f"classes={classes} must hold two different values for each column")
        return np.arange(k), values
    if given.shape == (k,) and len(np.unique(given)) == k:
        return given, two_values(sets, name)
    raise ValueError(
        f"classes={classes} do not fit {name}, which holds sets of {k} labels: pass a name for each of its "
        f"{k} columns, such as range({k}), or a pair of values for each"
    )


def encode_sets(
    sets: np.ndarray, values: np.ndarray, used: np.ndarray, input: Input, per_step: bool, name: str
) -> np.ndarray:
    """0 and 1 for the values of each column; 0 for the unlabelled.

    Raises
    ------
    ValueError
        For another value, which is named with its column and place.
    """
    if sets.shape[1] != len(values):
        raise ValueError(f"{name} has {sets.shape[1]} columns of labels, expected {len(values)}")
    codes = np.zeros(sets.shape, np.intp)
    known = sets[used]
    codes[used] = known == values[:, 1]
    unseen = (known != values[:, 0]) & (known != values[:, 1])
    if unseen.any():
        row, column = divmod(int(np.argmax(unseen)), len(values))
        where = place(int(np.flatnonzero(used)[row]), input, per_step, name)
        low, high = values[column].tolist()
        known_values = repr(low) if low == high else f"{low!r} or {high!r}"
        raise ValueError(
            f"{where} holds {known[row].tolist()[column]!r} in column {column}, which was {known_values} in "
            "the first fit"
        )
    return codes


# --- weights of classes -------------------------------------------------------------------------------
def weights_of_sets(class_weight: Any, values: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Weights of rows (m, n_labels) of codes: the product of those of their labels, as in scikit-learn."""
    if isinstance(class_weight, dict):
        raise ValueError(
            "For multi-output, class_weight should be a list of dicts, or the string 'balanced': one dict "
            f"for each of the {len(values)} columns of label sets"
        )
    if isinstance(class_weight, str):
        class_weight = [class_weight] * len(values)
    if len(class_weight) != len(values):
        raise ValueError(
            f"class_weight has {len(class_weight)} dicts for {len(values)} columns of label sets, which need "
            "one each"
        )
    columns = zip(class_weight, values, codes.T, strict=True)
    return np.prod([weights_of_classes(*column) for column in columns], axis=0)


def weights_of_classes(class_weight: Any, classes: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Weights of rows (m,) of class numbers. "balanced" is over the classes that these rows hold."""
    if isinstance(class_weight, str):
        present, codes = np.unique(codes, return_inverse=True)
        return compute_class_weight(class_weight, classes=present, y=present[codes])[codes]
    classes = np.array(classes.tolist())  # scikit-learn looks for numbers among the keys as Python's
    return compute_class_weight(class_weight, classes=classes, y=classes[codes])[codes]
