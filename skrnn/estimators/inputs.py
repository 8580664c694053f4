"""From what a user passes as X to one container, or to an error that names the place.

Kernels do not check bounds and never look for NaN, so whatever leaves this module is finite, of
one float type and of one number of features.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
from sklearn.utils.validation import validate_data

from ..sequences import FLOATS, Sequences, object_array
from .containers import as_array, check_opened, check_table, depth_of, opened, opened_on_host, steps_of
from .devices import holds_arrays, is_packed, warn_the_caller
from .finite import advice_on_padded_rows, all_finite, check_finite, first_bad, problem_of
from .lags import Columns, arranged, by_position, choose_columns
from .names import check_names, rows_as_frame, with_rows_as_columns

KINDS = {
    "rows": "2-D X (one row per sequence)",
    "sequences": "sequences (a 3-D array, or a list of 2-D arrays)",
    "tokens": "tokens (a list of 1-D integer arrays, or a 2-D integer array)",
}
LONG_STEP = 4  # features from which a lone step is taken for a sequence whose axes are in another order


@dataclass(frozen=True, eq=False)
class Input:
    """X as read: the steps in time order and what is needed to answer in X's own form.

    Attributes
    ----------
    sequences : Sequences
        All steps, consecutive.
    kind : {"rows", "sequences", "tokens"}
        Of 2-D X; of 3-D arrays, lists and object arrays; of sequences of one token in each step.
    ragged : bool
        Whether X was a list or an object array. Output per step is then a 1-D object array, also where all
        lengths agree: folds of a search fit together.
    float_type : type
        `numpy.float32` where all of X is float32, else `numpy.float64`.
    """

    sequences: Sequences
    kind: Literal["rows", "sequences", "tokens"]
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
    static_columns: Any = None,
    channels_first: bool = False,
    allow_nan: bool = False,
    by_name: bool = False,
    gpu: Any = None,
) -> Input:
    """Validate X and read it as sequences.

    Parameters
    ----------
    estimator : estimator
        Remembers (`reset=True`) or is checked for (`reset=False`) `n_features_in_`,
        `feature_names_in_`, `_input_kind` and, with `by_name`, `step_columns_`.
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
    static_columns : columns as of scikit-learn's ColumnTransformer, or None
        Of 2-D X: which columns are fed to every step, after the step's own.
    channels_first : bool, default=False
        Of sequences: whether they come as (n, F, T), or as arrays of shape (F, T_i).
    allow_nan : bool, default=False
        Whether NaN may pass; infinity never does.
    by_name : bool, default=False
        Of 2-D X: whether names of columns may say which step they belong to.
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
        _check_no_static_columns(static_columns)
        if reset:
            estimator._input_kind = "sequences"
        check_kind(estimator, "sequences")
        check_names(estimator, X, reset)
        _agree_on_features(estimator, X.n_features, reset)
        return Input(X, "sequences", True, X.values.dtype.type)
    plain = not (reset or allow_nan or channels_first) and static_columns is None
    if plain and _is_like_in_fit(estimator, X, 3) and (again := _read_again(estimator, X, dtype)) is not None:
        return again
    if isinstance(X, np.ma.MaskedArray):
        raise ValueError("X is a masked array; fill it, for example with X.filled(numpy.nan)")
    if gpu is not None:
        X = opened(X)
        X = [gpu.adopt(item) for item in X] if holds_arrays(X) else gpu.adopt(X)
    X, kind, ragged = recognise(X, gpu)
    if not reset:
        check_kind(estimator, kind, X)
    if kind == "rows":
        given = Columns(features_per_step, newest_first, static_columns)
        sequences, float_type = _read_rows(estimator, X, reset, dtype, given, allow_nan, by_name, gpu)
    else:
        _check_no_static_columns(static_columns)
        sequences, float_type = read_sequences(X, dtype, allow_nan, gpu, channels_first)
        named = np.empty(0) if gpu is not None else with_rows_as_columns(X) if channels_first else X
        check_names(estimator, named, reset)
        _agree_on_features(estimator, sequences.n_features, reset)
        if reset and by_name:
            _warn_of_lone_steps(sequences, channels_first)
    if reset:
        estimator._input_kind = kind
    return Input(sequences, kind, ragged, float_type)


def _is_like_in_fit(estimator: Any, X: Any, ndim: int) -> bool:
    """Whether X is an array of numbers of so many axes, as wide as X of the fit, which had no names: then all
    checks but that of its numbers, which take longer than a short prediction, have nothing to say."""
    if type(X) is not np.ndarray or X.ndim != ndim or X.size == 0 or hasattr(estimator, "feature_names_in_"):
        return False
    return X.dtype.kind in "fiu" and X.shape[-1] == estimator.n_features_in_


def _read_again(estimator: Any, X: np.ndarray, dtype: Any) -> Input | None:
    """A 3-D array like in `fit`; None for the other kind, and where a number is not finite."""
    if X.dtype not in FLOATS or getattr(estimator, "_input_kind", None) != "sequences":
        return None
    with np.errstate(over="ignore"):
        sequences = Sequences.from_dense(X, dtype)
    return Input(sequences, "sequences", False, X.dtype.type) if all_finite(sequences.values, False) else None


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


def check_kind(estimator: Any, kind: str, X: Any = None) -> None:
    """Raise a ValueError where the estimator was fitted on another kind of X."""
    fitted_kind = getattr(estimator, "_input_kind", kind)
    if kind != fitted_kind:
        shape: tuple[int, ...] = ()
        if kind == "rows" and X is not None:
            shape = X.shape if hasattr(X, "shape") else np.shape(X)
        alone = len(shape) == 2 and estimator.n_features_in_ in shape
        raise ValueError(
            f"{type(estimator).__name__} was fitted on {KINDS[fitted_kind]}, but X is now {KINDS[kind]}"
            + ("; if that is one sequence alone, pass [X], or X[:1] in place of X[0]" if alone else "")
        )


def _check_no_static_columns(static_columns: Any) -> None:
    if static_columns is not None:
        raise ValueError(
            f"static_columns={static_columns!r} is for 2-D X, and X is sequences: repeat static values as "
            "features of every step"
        )


def _warn_of_lone_steps(sequences: Sequences, channels_first: bool) -> None:
    if sequences.n_features >= LONG_STEP and (sequences.lengths == 1).all():
        axes = ("time, features", "features, time")
        warn_the_caller(
            f"every sequence of X is one step of {sequences.n_features} features, read as "
            f"({axes[channels_first]}): there is nothing to recur over. If its axes are "
            f"({axes[not channels_first]}), set channels_first={not channels_first}"
            + ("" if channels_first else ", as for data of sktime and aeon"),
            UserWarning,
        )


def read_sequences(
    X: Any, dtype: Any = None, allow_nan: bool = False, gpu: Any = None, channels_first: bool = False
) -> tuple[Sequences, type[np.floating]]:
    """Read a 3-D array, or a list of (T_i, F) arrays; return it with X's float type."""
    if len(X) == 0:
        raise ValueError("X contains no sequences")
    dense = not isinstance(X, list)
    arrays: Any = (
        _numeric(X, "X") if dense else [_step_array(item, f"sequence {i}", gpu) for i, item in enumerate(X)]
    )
    if channels_first:
        arrays = arrays.transpose(0, 2, 1) if dense else [array.T for array in arrays]
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
    check_finite(sequences, arrays, allow_nan, channels_first)
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
    # PyTorch's tensors on the host, too, which scikit-learn may otherwise leave as they are
    packed, X = is_packed(X), opened(X) if gpu is not None else opened_on_host(X)
    if isinstance(X, list | tuple) or (_is_object(X) and np.ndim(X) == 1):
        items = list(X)
        if not items:
            raise ValueError("X contains no sequences")
        depths = [depth_of(item) for item in items]
        if 0 in depths:
            for i, item in enumerate(items):
                check_opened(item, f"sequence {i}: ")
        if 1 in depths:  # which may hold lists
            items = [steps_of(item, i) for i, item in enumerate(items)]
            depths = [depth_of(item) for item in items]
        if packed and max(depths) == 1:  # which holds sequences, of one feature then
            return [item.reshape(-1, 1) for item in items], "sequences", True
        if max(depths) > 1:
            return items, "sequences", True
        if depths[0] == 1:
            _check_equal_lengths(items)
            X = rows_as_frame(items) if gpu is None else gpu.concatenate(items).reshape(len(items), -1)
        return X, "rows", False
    depth = depth_of(X)
    if depth > 3:
        raise ValueError(f"X has {depth} dimensions, expected 2 or 3 (sequence, step, feature)")
    if depth == 3 and not sp.issparse(X):
        return X if gpu is not None else np.asarray(X), "sequences", False
    return X, "rows", False


def _is_object(X: Any) -> bool:
    return getattr(X, "dtype", None) == np.dtype(object)


def _check_equal_lengths(rows: list[Any]) -> None:
    for i, row in enumerate(rows):
        length = len(row) if depth_of(row) == 1 else None
        if length != len(rows[0]):
            raise ValueError(
                f"a list of 1-D arrays is read as 2-D X, but item {i} has "
                f"{'no length' if length is None else f'length {length}'} and item 0 has length "
                f"{len(rows[0])}. For sequences of different lengths, shape each as (T, 1), for "
                "example with array.reshape(-1, 1): X = [numpy.array(x).reshape(-1, 1) for x in X]. "
                "Sequences of tokens need embedding_size"
            )


def _read_rows(
    estimator: Any,
    X: Any,
    reset: bool,
    dtype: Any,
    given: Columns,
    allow_nan: bool,
    by_name: bool,
    gpu: Any,
) -> tuple[Sequences, type[np.floating]]:
    """2-D X, with what scikit-learn checks of it."""
    if not reset and not hasattr(estimator, "_input_kind"):
        # Its weights came without a fit: nothing is known of columns, and nothing is to be learnt here.
        estimator, reset = copy(estimator), True
    objects = check_table(X)
    try:
        # scikit-learn looks at shape and type, not at values: of a GPU's array, another shows them
        shown = X if gpu is None else np.broadcast_to(np.zeros((), _numeric(X, "X").dtype), X.shape)
        if objects:
            shown = X.mask(X.isna())  # NaN in place of pd.NA, which is not numeric
        if reset or not _is_like_in_fit(estimator, shown, 2):
            shown = validate_data(estimator, shown, reset=reset, dtype="numeric", ensure_all_finite=False)
        values = shown if gpu is None else X
        names = getattr(estimator, "feature_names_in_", None)
        if not by_name:
            columns = by_position(values.shape[1], given)
        elif reset:
            columns = choose_columns(X if hasattr(X, "shape") else values, values, names, given)
        else:  # a model of an earlier version has no such attribute
            known = getattr(estimator, "step_columns_", None)
            columns = by_position(values.shape[1], given) if known is None else known
        float_type: type[np.floating] = np.float32 if values.dtype == np.float32 else np.float64
        with np.errstate(over="ignore"):
            sequences = _consecutive(arranged(values, columns), dtype or float_type, gpu)
            if not all_finite(sequences.values, allow_nan):
                cast = values.astype(sequences.values.dtype)
                row, column = first_bad(cast, allow_nan)
                where = f"column {column}" if names is None else f"column {names[column]!r}"
                problem = problem_of(values[row, column], cast.dtype)
                raise ValueError(
                    f"Input X contains {problem}: row {row}, {where}{advice_on_padded_rows(cast)}"
                )
    except OverflowError as error:
        raise ValueError(f"X holds an integer too large for a float: {error}") from error
    if reset and by_name:
        estimator.step_columns_ = columns
    return sequences, float_type


def _step_array(item: Any, place: str, gpu: Any) -> np.ndarray:
    """One (T_i, F) array of numbers."""
    if isinstance(item, np.ma.MaskedArray):
        raise ValueError(f"{place} is a masked array; fill it first")
    if sp.issparse(item):
        raise ValueError(f"{place} is sparse; convert it with toarray()")
    try:
        array = item if gpu is not None else as_array(item)
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


def _agree_on_features(estimator: Any, n_features: int, reset: bool) -> None:
    if reset:
        estimator.n_features_in_ = n_features
        if hasattr(estimator, "step_columns_"):
            del estimator.step_columns_  # of an earlier fit on 2-D X
    elif n_features != estimator.n_features_in_:
        raise ValueError(
            f"X has {n_features} features, but {type(estimator).__name__} is expecting "
            f"{estimator.n_features_in_} features as input"
        )
