"""From what a user passes as X to one container, or to an error that names the place.

Kernels do not check bounds and never look for NaN, so whatever leaves this module is finite, of
one float type and of one number of features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
from sklearn.utils import assert_all_finite
from sklearn.utils.validation import validate_data

from ..sequences import Sequences, lies_on_host, object_array
from .devices import holds_arrays, to_host

KINDS = {
    "rows": "2-D X (one row per sequence)",
    "sequences": "sequences (a 3-D array, or a list of 2-D arrays)",
}


@dataclass(frozen=True, eq=False)
class Input:
    """X as read: the steps in time order and what is needed to answer in X's own form.

    Attributes
    ----------
    sequences : Sequences
        All steps, consecutive.
    kind : {"rows", "sequences"}
        "rows" for 2-D X; "sequences" for 3-D arrays, lists and object arrays.
    ragged : bool
        Whether X was a list or an object array. Per-step output is then always a 1-D object array,
        also where the lengths happen to agree, so that the folds of a search fit together.
    float_type : type
        `numpy.float32` where all of X is float32, else `numpy.float64`.
    """

    sequences: Sequences
    kind: Literal["rows", "sequences"]
    ragged: bool
    float_type: type[np.floating]


def read_X(
    estimator: Any,
    X: Any,
    *,
    reset: bool,
    dtype: Any = None,
    features_per_step: int = 1,
    newest_first: bool = False,
    allow_nan: bool = False,
    gpu: Any = None,
) -> Input:
    """Validate X and read it as sequences.

    Parameters
    ----------
    estimator : estimator
        Remembers (`reset=True`) or is checked for (`reset=False`) `n_features_in_`,
        `feature_names_in_` and `_input_kind`.
    X : array-like of shape (n, T * features_per_step), array of shape (n, T, F), or list or object
        array of n arrays of shape (T_i, F)
        A list of 1-D arrays of equal length is read as 2-D.
    reset : bool
        Whether this is a fit.
    dtype : dtype, default=None
        Type of the values; None keeps X's float type.
    features_per_step : int, default=1
        Of 2-D X: how many consecutive columns make one step.
    newest_first : bool, default=False
        Of 2-D X: whether the first step of a row is the newest. The steps are then reversed, so
        that the sequences are in time order; features keep their order inside a step.
    allow_nan : bool, default=False
        Whether NaN may pass; infinity never does.
    gpu : module, default=None
        The backend's `arrays` where X lies on a GPU: X is read there.

    Returns
    -------
    Input

    Raises
    ------
    ValueError
        If X is not one of these forms, holds what is not a finite number, or disagrees with what
        the estimator was fitted on. The message names the sequence and the step.
    """
    if isinstance(X, Sequences):  # windows over series, which hold numbers
        if X.values.dtype != dtype:
            raise ValueError(f"X has values of {X.values.dtype}, the network computes in {np.dtype(dtype)}")
        if reset:
            estimator._input_kind = "sequences"
        check_kind(estimator, "sequences")
        _agree_on_features(estimator, X.n_features, reset)
        return Input(X, "sequences", True, X.values.dtype.type)
    if isinstance(X, np.ma.MaskedArray):
        raise ValueError("X is a masked array; fill it, for example with X.filled(numpy.nan)")
    if gpu is not None:
        X = [gpu.adopt(item) for item in X] if holds_arrays(X) else gpu.adopt(X)
    else:
        X = to_host(X)  # PyTorch's tensors, say, which scikit-learn may otherwise leave as they are
    X, kind, ragged = recognise(X, gpu)
    if gpu is not None and kind == "rows" and X.ndim < 2:  # scikit-learn would show the stand-in's numbers
        raise ValueError(f"X has shape {X.shape}, expected 2 or 3 dimensions (sequence, step, feature)")
    if not reset:
        check_kind(estimator, kind)
    if kind == "rows":
        try:
            # scikit-learn looks at shape and type, not at values: of a GPU's array, another shows them
            shown = X if gpu is None else np.broadcast_to(np.zeros((), _numeric(X, "X").dtype), X.shape)
            shown = validate_data(estimator, shown, reset=reset, dtype="numeric", ensure_all_finite=False)
            X = shown if gpu is None else X
            names = getattr(estimator, "feature_names_in_", None)
            sequences, float_type = _read_rows(
                X, dtype, features_per_step, newest_first, allow_nan, names, gpu
            )
        except OverflowError as error:
            raise ValueError(f"X holds an integer too large for a float: {error}") from error
    else:
        sequences, float_type = read_sequences(X, dtype, allow_nan, gpu)
        _agree_on_features(estimator, sequences.n_features, reset)
    if reset:
        estimator._input_kind = kind
    return Input(sequences, kind, ragged, float_type)


def shape_like(input: Input, flat: np.ndarray) -> np.ndarray:
    """Put per-step output, shape (n_steps, ...) in sequence order, into the form of X.

    Returns
    -------
    ndarray of shape (n, T, ...), or 1-D object array of n arrays of shape (T_i, ...)
        The latter where X was a list or an object array. Steps are in time order: for 2-D X read
        with ``newest_first=True`` the oldest comes first, the reverse of X's columns.
    """
    sequences = input.sequences
    if input.ragged:
        return object_array(sequences.split(flat))
    return flat.reshape(len(sequences), -1, *flat.shape[1:])


def check_equal_lengths(sequences: Sequences, steps: int | None = None) -> int:
    """The steps of every sequence; raise a ValueError where they are not the same, or not `steps`."""
    expected = int(sequences.lengths[0]) if steps is None else steps
    wrong = np.flatnonzero(sequences.lengths != expected)
    if len(wrong):
        i = int(wrong[0])
        raise ValueError(
            f"linear_skip needs sequences of equal length: sequence {i} has {sequences.lengths[i]} steps, "
            f"expected {expected}"
        )
    return expected


def check_kind(estimator: Any, kind: str) -> None:
    """Raise a ValueError where the estimator was fitted on the other kind of X."""
    fitted_kind = getattr(estimator, "_input_kind", kind)
    if kind != fitted_kind:
        raise ValueError(
            f"{type(estimator).__name__} was fitted on {KINDS[fitted_kind]}, but X is now {KINDS[kind]}"
        )


def read_sequences(
    X: Any, dtype: Any = None, allow_nan: bool = False, gpu: Any = None
) -> tuple[Sequences, type[np.floating]]:
    """Read a 3-D array, or a list of (T_i, F) arrays; return it with X's float type."""
    if len(X) == 0:
        raise ValueError("X contains no sequences")
    dense = not isinstance(X, list)
    arrays: Any = (
        _numeric(X, "X") if dense else [_step_array(item, f"sequence {i}", gpu) for i, item in enumerate(X)]
    )
    n_features = arrays[0].shape[1]
    different = arrays[:1] if dense else arrays  # in shape or type
    for i, array in enumerate(different):
        if array.shape[1] != n_features:
            raise ValueError(f"sequence {i} has {array.shape[1]} features, expected {n_features}")
        if len(array) == 0:
            raise ValueError(f"sequence {i} has no time steps")
    if n_features == 0:
        raise ValueError("X has 0 features per step, while at least 1 is required")
    all_float32 = all(array.dtype == np.float32 for array in different)
    float_type: type[np.floating] = np.float32 if all_float32 else np.float64
    with np.errstate(over="ignore"):  # what became infinite is reported with its place
        sequences = _consecutive(arrays, dtype or float_type, gpu)
    _check_finite(sequences, arrays, allow_nan)
    return sequences, float_type


def _consecutive(arrays: Any, dtype: Any, gpu: Any) -> Sequences:
    """Sequences from an array of shape (n, T, F), or from a list of arrays of shape (T_i, F)."""
    dense = not isinstance(arrays, list)
    if gpu is None:
        return Sequences.from_dense(arrays, dtype) if dense else Sequences.from_arrays(arrays, dtype)
    parts = [arrays.reshape(-1, arrays.shape[2])] if dense else arrays
    tables = [part.astype(dtype, order="C", copy=False) for part in parts]
    values = tables[0] if len(tables) == 1 else gpu.concatenate(tables)
    lengths = np.full(len(arrays), arrays.shape[1]) if dense else np.array([len(array) for array in arrays])
    return Sequences.consecutive(gpu.adopt(values), lengths.astype(np.intp))


def recognise(X: Any, gpu: Any = None) -> tuple[Any, Literal["rows", "sequences"], bool]:
    """X, made easier to read where possible, its kind, and whether its lengths may differ."""
    if not isinstance(X, list | tuple) and not hasattr(X, "shape") and hasattr(X, "__array__"):
        X = np.asarray(X)
    if isinstance(X, list | tuple) or (_is_object(X) and np.ndim(X) == 1):
        items = list(X)
        if not items:
            raise ValueError("X contains no sequences")
        depths = [_depth(item) for item in items]
        if max(depths) > 1:
            return items, "sequences", True
        if depths[0] == 1:
            _check_equal_lengths(items)
            X = items if gpu is None else gpu.concatenate(items).reshape(len(items), -1)
        return X, "rows", False
    depth = _depth(X)
    if depth > 3:
        raise ValueError(f"X has {depth} dimensions, expected 2 or 3 (sequence, step, feature)")
    if depth == 3 and not sp.issparse(X):
        return X if gpu is not None else np.asarray(X), "sequences", False
    return X, "rows", False


def _is_object(X: Any) -> bool:
    return getattr(X, "dtype", None) == np.dtype(object)


def _depth(item: Any) -> int:
    if hasattr(item, "shape"):  # numpy, pandas, scipy.sparse
        return len(item.shape)
    if isinstance(item, list | tuple):
        return 1 + (_depth(item[0]) if item else 0)
    return np.ndim(item)


def _check_equal_lengths(rows: list[Any]) -> None:
    for i, row in enumerate(rows):
        length = len(row) if _depth(row) == 1 else None
        if length != len(rows[0]):
            raise ValueError(
                f"a list of 1-D arrays is read as 2-D X, but item {i} has "
                f"{'no length' if length is None else f'length {length}'} and item 0 has length "
                f"{len(rows[0])}. For sequences of different lengths, shape each as (T, 1), for "
                "example with array.reshape(-1, 1)"
            )


def _read_rows(
    X: np.ndarray,
    dtype: Any,
    features_per_step: int,
    newest_first: bool,
    allow_nan: bool,
    names: np.ndarray | None,
    gpu: Any,
) -> tuple[Sequences, type[np.floating]]:
    n, columns = X.shape
    if columns % features_per_step:
        raise ValueError(
            f"X has {columns} columns, which is not a multiple of features_per_step={features_per_step}"
        )
    float_type = np.float32 if X.dtype == np.float32 else np.float64
    steps = X.reshape(n, columns // features_per_step, features_per_step)
    with np.errstate(over="ignore"):
        sequences = _consecutive(steps[:, ::-1] if newest_first else steps, dtype or float_type, gpu)
    values = sequences.values
    if not _all_finite(values, allow_nan):
        read = values.reshape(n, -1, features_per_step)
        row, column = _first_bad((read[:, ::-1] if newest_first else read).reshape(n, columns), allow_nan)
        where = f"column {column}" if names is None else f"column {names[column]!r}"
        raise ValueError(f"Input X contains {_problem(X[row, column], values.dtype)}: row {row}, {where}")
    return sequences, float_type


def _step_array(item: Any, place: str, gpu: Any) -> np.ndarray:
    """One (T_i, F) array of numbers."""
    if isinstance(item, np.ma.MaskedArray):
        raise ValueError(f"{place} is a masked array; fill it first")
    if sp.issparse(item):
        raise ValueError(f"{place} is sparse; convert it with toarray()")
    try:
        array = item if gpu is not None else np.asarray(item)
    except ValueError as error:  # nested lists of different lengths
        raise ValueError(f"{place} cannot be read as (time steps, features): {error}") from error
    if array.ndim != 2:
        if array.shape == (0,):  # an empty list
            raise ValueError(f"{place} has no time steps")
        raise ValueError(f"{place} has shape {array.shape}, expected (time steps, features)")
    return _numeric(array, place)


def _numeric(array: np.ndarray, place: str) -> np.ndarray:
    if array.dtype == object:
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{place} is not numeric: {error}") from error
    if array.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: {place} has dtype {array.dtype}")
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{place} has dtype {array.dtype}, expected numbers")
    return array


def _all_finite(values: np.ndarray, allow_nan: bool) -> bool:
    if not lies_on_host(values):  # on a GPU, where NumPy's functions of elements are that device's
        return not _is_bad(values, allow_nan).any()
    try:
        with np.errstate(invalid="ignore"):  # inf - inf in the sum that is looked at first
            assert_all_finite(values, allow_nan=allow_nan)
    except ValueError:
        return False
    return True


def _is_bad(values: np.ndarray, allow_nan: bool) -> np.ndarray:
    return np.isinf(values) if allow_nan else ~np.isfinite(values)


def _first_bad(values: np.ndarray, allow_nan: bool) -> tuple[int, int]:
    """Row and column of the first value that may not be there."""
    return divmod(int(_is_bad(values, allow_nan).argmax()), values.shape[1])


def _problem(original: Any, dtype: np.dtype) -> str:
    """What is wrong with a value that is not finite as `dtype`."""
    original = original.item()  # from a GPU, where it may lie
    if np.isfinite(original):
        return f"a value too large for {dtype}"
    return "NaN" if np.isnan(original) else "infinity"


def _check_finite(sequences: Sequences, source: Any, allow_nan: bool) -> None:
    """Find the first value that is not finite; `source` are the values before their cast."""
    values = sequences.values
    if _all_finite(values, allow_nan):
        return
    row, feature = _first_bad(values, allow_nan)
    i = int(np.searchsorted(sequences.offsets, row, side="right")) - 1
    t = row - sequences.offsets[i]
    problem = _problem(source[i][t, feature], values.dtype)
    raise ValueError(f"sequence {i} contains {problem} at step {t}")


def _agree_on_features(estimator: Any, n_features: int, reset: bool) -> None:
    if reset:
        estimator.n_features_in_ = n_features
        if hasattr(estimator, "feature_names_in_"):
            del estimator.feature_names_in_  # of an earlier fit on a DataFrame
    elif n_features != estimator.n_features_in_:
        raise ValueError(
            f"X has {n_features} features, but {type(estimator).__name__} is expecting "
            f"{estimator.n_features_in_} features as input"
        )
