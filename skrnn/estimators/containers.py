"""Sequences as other libraries keep them: packed, nested, or as a column of lists."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import scipy.sparse as sp

from .devices import gpu_of, is_packed, to_host


def opened(x: Any) -> Any:
    """What holds sequences in a way of its own as a list of them; anything else as it is.

    Returns
    -------
    list
        Of a `PackedSequence` or a nested tensor of PyTorch, of a column of lists of Arrow, polars or pandas,
        or of a Series of frames.

    Raises
    ------
    ValueError
        For what cannot be looked into: a lazy frame, groups of a frame, a generator, a set, a dict.
    """
    if type(x) in (np.ndarray, list, tuple):
        return x
    x = as_table(x)
    if is_packed(x):
        return _unpacked(x)
    if getattr(x, "is_nested", False) is True:
        return list(x.unbind())
    check_opened(x)
    if sp.issparse(x):
        return x
    if not hasattr(x, "shape") and hasattr(x, "__array__"):
        if not hasattr(x, "to_pylist"):
            return np.asarray(x)
        return _items(x, np.asarray(x))  # an array of Arrow
    if getattr(x, "ndim", None) == 1 or (hasattr(x, "shape") and len(x.shape) == 1):
        return _items(x, x)
    return x


def check_opened(x: Any, place: str = "") -> None:
    """Raise a ValueError for what cannot be looked into."""
    name = f"{place}a {type(x).__name__}"
    if hasattr(x, "shape") or hasattr(x, "__array__"):
        return
    if hasattr(x, "collect"):
        raise ValueError(f"{name} holds no numbers yet: pass what its collect() returns")
    if hasattr(x, "agg"):  # of pandas and polars: groups, or windows
        raise ValueError(f"{name} is not read: pass a list of its frames, [frame for _, frame in groups]")
    if isinstance(x, dict | set | frozenset) or hasattr(x, "__next__"):
        raise ValueError(f"{name} is not read: pass a list or an array")


def opened_on_host(x: Any) -> Any:
    """Likewise, with the arrays of a GPU or of another library as NumPy's."""
    return to_host(opened(x))


def as_array(x: Any) -> np.ndarray:
    """As NumPy's array; what pandas has for a gap, pd.NA, is NaN in it."""
    array = np.asarray(x)
    return x.to_numpy(na_value=np.nan) if array.dtype == object and hasattr(x, "iloc") else array


def as_table(x: Any) -> Any:
    """A RecordBatch of Arrow as a Table, whose names scikit-learn reads; anything else as it is."""
    if type(x).__name__ != "RecordBatch" or type(x).__module__.partition(".")[0] != "pyarrow":
        return x
    return sys.modules["pyarrow"].Table.from_batches([x])


def _items(column: Any, array: Any) -> Any:
    """The cells of a column, where those hold several values each; else the column."""
    dtype: Any = getattr(array, "dtype", None)
    if isinstance(dtype, np.dtype) and dtype.kind != "O":
        return array
    if hasattr(dtype, "inner"):  # of polars
        if hasattr(dtype, "shape"):  # all of one shape
            return np.asarray(column)
        if hasattr(dtype.inner, "fields"):  # each step has named fields, as a row of a frame has
            return [None if cell is None else cell.struct.unnest() for cell in column]
        return [None if cell is None else np.asarray(cell) for cell in column]
    cells = list(array)
    return cells if any(depth_of(cell) for cell in cells) else array


def steps_of(item: Any, i: int) -> Any:
    """An array of arrays, as columns of lists of lists give them, as one of shape (T_i, F); else the item.

    Raises
    ------
    ValueError
        If the steps differ in length, or are dicts.
    """
    if type(item) not in (np.ndarray, list) or not depth_of(item) or not len(item):
        return item
    if isinstance(item[0], dict):
        raise ValueError(f"sequence {i} is a list of dicts: pass a DataFrame of them")
    if type(item) is list or item.dtype != object or item.ndim != 1 or np.ndim(item[0]) != 1:
        return item
    try:
        return np.stack([np.asarray(step) for step in item])
    except ValueError as error:
        raise ValueError(f"sequence {i} cannot be read as (time steps, features): {error}") from error


def _unpacked(packed: Any) -> list[Any]:
    """The sequences of a PackedSequence, in the order in which they were before it was sorted."""
    data = packed.data.detach() if hasattr(packed.data, "detach") else packed.data
    if gpu_of(data) is None:
        data = to_host(data)
    sizes = np.asarray(packed.batch_sizes)  # sequences, longest first, that have a step t
    if sizes.ndim != 1 or not len(sizes) or sizes.sum() != len(data) or np.any(np.diff(sizes) > 0):
        raise ValueError(f"batch_sizes={sizes} do not fit the {len(data)} steps of a packed sequence")
    first = np.cumsum(sizes) - sizes
    sequences = [data[first[: np.count_nonzero(sizes > i)] + i] for i in range(sizes[0])]
    order = getattr(packed, "unsorted_indices", None)
    return sequences if order is None else [sequences[int(i)] for i in order]


def depth_of(item: Any) -> int:
    """How many axes an array, a frame or a list of lists has."""
    if hasattr(item, "shape"):  # numpy, pandas, scipy.sparse
        return len(item.shape)
    if isinstance(item, list | tuple):
        return 1 + (depth_of(item[0]) if item else 0)
    return np.ndim(item)


def check_table(X: Any) -> bool:
    """Raise a ValueError for what is no 2-D table of numbers, where scikit-learn's advice would mislead.
    Returns whether X is a frame of pandas with columns of objects."""
    if sp.issparse(X):
        return False
    shape = getattr(X, "shape", (0,) * depth_of(X))
    if len(shape) == 0:
        raise ValueError(f"Expected 2D array, got scalar array instead: X is {X!r}")
    if len(shape) == 1:
        raise ValueError(
            "Expected 2D array, got 1D array instead. Reshape your data: one sequence alone is "
            "X.reshape(1, -1), or X[:1] in place of X[0]; a long series becomes many sequences by "
            "skrnn.make_windows"
        )
    objects = len(shape) == 2 and hasattr(X, "iloc") and any(dtype.kind == "O" for dtype in X.dtypes)
    cells = _first_row(X, objects) if len(shape) == 2 and 0 not in shape else ()
    if any(depth_of(cell) for cell in cells if not isinstance(cell, str | bytes)):
        raise ValueError(
            "a cell of 2-D X holds several numbers. Pass sequences as a list of arrays of shape (steps, "
            "features): X = [numpy.column_stack([*row]) for row in numpy.asarray(X, dtype=object)]"
        )
    return objects


def _first_row(table: Any, objects: bool) -> Any:
    """The cells of a row, where they may be other than numbers."""
    if hasattr(table, "iloc"):  # pandas
        return table.iloc[0].tolist() if objects else ()
    if hasattr(table, "to_pylist"):  # Arrow
        return table.slice(0, 1).to_pylist()[0].values()
    if hasattr(table, "row"):  # polars
        return table.row(0)
    return table[0] if getattr(getattr(table, "dtype", None), "kind", None) == "O" else ()
