"""From what a user passes as y and sample_weight to flat arrays, or to an error that names the place.

Targets come either one per sequence, rows in the order of the sequences, or one per step
(`return_sequences=True`), rows in the order of the container's steps.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from sklearn.utils.validation import _check_sample_weight, check_array

from ..sequences import Targets
from .containers import as_array, check_opened, opened
from .devices import holds_arrays, warn_the_caller
from .finite import problem_of
from .inputs import Input
from .names import check_labels, labels_of, rows_as_frame


class TargetRows(NamedTuple):
    """Targets as rows.

    Attributes
    ----------
    values : ndarray of shape (m, k)
        One row per sequence or per step.
    flat : bool
        Whether the user gave one value, not a vector, per sequence or step.
    names : list of str or None
        Of the columns, where y was a frame or a list of frames.
    """

    values: np.ndarray
    flat: bool
    names: list[str] | None = None


def read_rows(y: Any, input: Input, per_step: bool, name: str = "y") -> TargetRows:
    """Read targets as rows, one per sequence or per step; lengths must agree with X's."""
    if y is None:
        raise ValueError(f"requires {name} to be passed, but the target {name} is None")
    if per_step:
        return _read_steps(y, input, name)
    if isinstance(y, list | tuple) and any(np.ndim(item) > 0 for item in y):
        check_labels(y, name)
        sizes = {np.shape(item) for item in y}
        if len(sizes) > 1:
            raise ValueError(f"{name} has a value per step, which needs return_sequences=True")
        y = rows_as_frame(list(y))
    if type(y) is np.ndarray and y.dtype.kind in "biuf" and y.ndim > 0 and y.size:
        values = y  # `check_array` would take 0.1 ms to say so
    else:
        values = check_array(
            y, ensure_2d=False, allow_nd=True, dtype=None, ensure_all_finite=False, input_name=name
        )
    if values.ndim > 2:
        raise ValueError(f"{name} has {values.ndim} dimensions; per step it needs return_sequences=True")
    if values.dtype == object and any(np.ndim(item) > 0 for item in values.ravel()):
        raise ValueError(f"{name} has a value per step, which needs return_sequences=True")
    n = len(input.sequences)
    if len(values) != n:
        raise ValueError(
            f"Found input variables with inconsistent numbers of samples: X has {n} sequences, "
            f"{name} has {len(values)}"
        )
    return TargetRows(values.reshape(n, -1), values.ndim == 1, names_of(y))


def read_window_weights(sample_weight: Any, n: int, name: str = "sample_weight") -> np.ndarray | None:
    """Weights of `Targets`, one for each."""
    if sample_weight is None:
        return None
    w = np.ascontiguousarray(sample_weight, np.float64)
    if w.shape != (n,) or not np.all(w >= 0) or not w.any():
        raise ValueError(f"{name} must hold {n} numbers of at least 0, not all of them 0")
    return w


def check_targets(y: Targets, input: Input, per_step: bool, dtype: Any, name: str) -> Targets:
    """Targets that are windows of a table, if there is one for each sequence or each row of steps."""
    expected = len(input.sequences.values) if per_step else len(input.sequences)
    if len(y) != expected:
        raise ValueError(f"{name} has {len(y)} targets, expected {expected}")
    if y.values.dtype != dtype:
        raise ValueError(f"{name} has values of {y.values.dtype}, the network computes in {np.dtype(dtype)}")
    return y


def _read_steps(y: Any, input: Input, name: str) -> TargetRows:
    sequences = input.sequences
    if not hasattr(y, "__len__"):
        raise ValueError(f"{name} must hold a target per step, got {y!r}")
    items = list(np.asarray(y) if hasattr(y, "shape") else y)  # a frame would list its columns
    if len(items) != len(sequences):
        raise ValueError(
            f"Found input variables with inconsistent numbers of samples: X has {len(sequences)} "
            f"sequences, {name} has {len(items)}"
        )
    check_labels(items, name)
    arrays = [as_array(item) for item in items]
    for i, (array, length) in enumerate(zip(arrays, sequences.lengths, strict=True)):
        if array.ndim == 0:
            check_opened(items[i], f"{name}[{i}]: ")
            raise ValueError(
                f"{name} has one value per sequence, but return_sequences=True needs one per step"
            )
        if len(array) != length:
            raise ValueError(f"{name}[{i}] has {len(array)} steps, sequence {i} has {length}")
        if array.ndim > 2 or array.shape[1:] != arrays[0].shape[1:]:
            raise ValueError(f"{name}[{i}] has shape {array.shape}, {name}[0] has {arrays[0].shape}")
    values = np.concatenate(arrays)
    if not values.size:
        raise ValueError(f"{name} has no columns")
    return TargetRows(
        values.reshape(len(values), -1), values.ndim == 1, next(filter(None, map(names_of, items)), None)
    )


def names_of(y: Any) -> list[str] | None:
    """The names of a frame's columns; those of a Series are stamps, or one target's."""
    return labels_of(y) if getattr(y, "ndim", len(getattr(y, "shape", ()))) == 2 else None


def names_in(y: Any, name: str) -> list[str] | None:
    """The names of a frame's columns, or of those of the frames of a list, which must agree on them."""
    y = opened(y)
    if not holds_arrays(y):
        return names_of(y)
    check_labels(list(y), name)
    return next(filter(None, map(names_of, y)), None)


def check_same_targets(
    names: list[str] | None, known: list[str] | None, name: str = "y", where: str = "fit"
) -> None:
    """Raise a ValueError where several targets have other names than in `where`, or in another order.

    The name of a single target says nothing, and of another number of targets more is told elsewhere.
    """
    if names and known and names != known and len(names) == len(known) > 1:
        raise ValueError(f"{name} has the columns {names}, but in {where} they came as {known}")


def place(row: int, input: Input, per_step: bool, name: str = "y") -> str:
    """Where row number `row` of the targets came from."""
    if not per_step:
        return f"{name}[{row}]"
    offsets = input.sequences.offsets
    i = int(np.searchsorted(offsets, row, side="right")) - 1
    return f"{name}[{i}] at step {row - offsets[i]}"


def read_numbers(
    rows: TargetRows, w: np.ndarray | None, input: Input, per_step: bool, dtype: np.dtype, name: str = "y"
) -> np.ndarray:
    """Targets of a regression as finite numbers (m, k); what has weight 0 may be anything."""
    values = rows.values
    if values.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: {name} has dtype {values.dtype}")
    if values.dtype.kind not in "biufO":
        raise ValueError(f"{name} is not numeric: it has dtype {values.dtype}")
    try:
        values = values.astype(np.float64, order="C")  # a copy
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name} is not numeric: {error}") from error
    if w is not None:
        values[w == 0] = 0
    with np.errstate(over="ignore"):
        cast = values.astype(dtype)
    bad = ~np.isfinite(cast).all(axis=1)
    if bad.any():
        row = int(np.argmax(bad))
        value = values[row][~np.isfinite(cast[row])][0]
        where = place(row, input, per_step, name)
        raise ValueError(f"Input {name} contains {problem_of(value, dtype)}: {where}")
    return cast


def read_weights(
    sample_weight: Any, input: Input, per_step: bool, name: str = "sample_weight"
) -> np.ndarray | None:
    """Weights in float64 per sequence, or per step where targets are; None: all equal.

    Raises
    ------
    ValueError
        For negative, NaN or all-zero weights, or a wrong shape.
    """
    if sample_weight is None:
        return None
    n = len(input.sequences)
    if hasattr(sample_weight, "shape"):
        sample_weight = np.asarray(sample_weight)
    nested = per_step and not np.isscalar(sample_weight) and any(np.ndim(w) > 0 for w in sample_weight)
    if nested:
        sample_weight = _read_steps(sample_weight, input, name).values
        if sample_weight.shape[1] != 1:
            raise ValueError(f"{name} must have one weight per step")
        n, sample_weight = len(sample_weight), sample_weight[:, 0].astype(np.float64)
    values = np.asarray(sample_weight)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        row = int(np.argmax(~np.isfinite(values)))
        problem, where = problem_of(values.flat[row], values.dtype), place(row, input, nested, name)
        raise ValueError(f"Input {name} contains {problem}: {where}")
    if values.ndim and values.shape != (n,):
        raise ValueError(f"{name} has shape {values.shape}, expected ({n},)")
    weights = _check_sample_weight(sample_weight, np.arange(n), dtype=np.float64, allow_all_zero_weights=True)
    if (weights < 0).any():
        where = place(int(np.argmax(weights < 0)), input, nested, name)
        raise ValueError(f"Negative values in data passed to `{name}`: {where}")
    if per_step and not nested:
        weights = np.repeat(weights, input.sequences.lengths)
    if not weights.any():
        raise ValueError(f"{name}: Sample weights must contain at least one non-zero number.")
    # Only ratios count: a power of two brings them into float32's range without a rounding.
    weights = weights / 2.0 ** np.floor(np.log2(weights.max()))
    weights[weights < np.finfo(np.float32).tiny] = 0  # which float32 could not hold
    return weights


# Of a target: a larger mean or deviation takes more steps of training than there are, and of a smaller
# deviation the loss is below `tol`. A few targets do not tell.
FAR, NEAR, FEW = 50.0, 0.01, 20


def hint_at_scale(values: np.ndarray, w: np.ndarray | None) -> None:
    """One warning where targets (m, k) of a regression are far from unit size."""
    used = values if w is None else values[w > 0]
    if len(used) < FEW:
        return
    mean, deviation = used.mean(axis=0, dtype=np.float64), used.std(axis=0, dtype=np.float64)
    far = (np.maximum(abs(mean), deviation) > FAR) | ((deviation > 0) & (deviation < NEAR))
    if far.any():
        k = int(np.argmax(far))
        which = f"column {k} of y has" if len(far) > 1 else "y has"
        warn_the_caller(
            f"{which} targets of {mean[k]:.3g} +- {deviation[k]:.3g}, and networks learn targets of about "
            "unit size. Scale them, for example with skrnn.SequenceTargetRegressor(model, "
            "transformer=StandardScaler())",
            UserWarning,
        )
