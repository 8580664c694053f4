"""From what a user passes as sequences of tokens, alone or beside numbers, to one container, or to an error
that names the place.

A token is the number of a word, a character, a product, a kind of event: a row of a table of vectors. They
come as sequences of integers, or as some of the features of steps, which are then categories.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..sequences import TOKEN, Sequences
from .categories import Categories, choose, encoded, hold_values
from .containers import depth_of, opened_on_host
from .devices import holds_arrays
from .finite import all_finite, first_bad, problem_of
from .inputs import Input, check_kind, read_X, recognise
from .names import check_names


def read_tokens(
    estimator: Any,
    X: Any,
    *,
    reset: bool,
    dtype: Any,
    features: Any = None,
    per_step: bool = False,
    layout: dict[str, Any],
) -> tuple[Input, Categories]:
    """Validate X and read it as sequences of tokens, with the numbers beside them.

    Parameters
    ----------
    estimator : estimator
        Remembers or is checked for what `read_X` says; after a fit it has `_categories`.
    X : list or object array of n arrays of integers (T_i,), array of integers (n, T), or what `read_X` takes
        Sequences of tokens, or of steps of which some features are tokens.
    reset : bool
        Whether this is a fit.
    dtype : dtype
        Of the numbers beside tokens.
    features : columns, "from_dtype" or None
        Of a fit: the estimators' `categorical_features`.
    per_step : bool
        Of a fit: see `Categories`.
    layout : dict
        How 2-D X is read: see `read_X`.

    Raises
    ------
    ValueError
        If X is none of these, or disagrees with what the estimator was fitted on. The message names the
        sequence and the step.
    """
    known: Categories | None = None if reset else estimator._categories
    if isinstance(X, Sequences):
        return _read_given(estimator, X, known, dtype, per_step)
    X = opened_on_host(X)
    _check_no_texts(X)
    kind = getattr(estimator, "_input_kind", None)  # None: its weights came without a fit
    fits = known is None or known.n_features == 1 or kind is not None
    if not (kind == "rows" and not reset) and fits and _holds_rows_of_tokens(X, layout):
        if features is not None:
            raise ValueError(
                f"categorical_features={features!r} is for steps of several features: X has one token in each"
            )
        return _read_rows_of_tokens(estimator, X, known, dtype, per_step)
    return _read_steps(estimator, X, known, dtype, features, per_step, layout)


def _read_given(
    estimator: Any, X: Sequences, known: Categories | None, dtype: Any, per_step: bool
) -> tuple[Input, Categories]:
    """Sequences that the package itself passes."""
    if X.tokens is None or X.values.dtype != dtype:
        raise ValueError(f"X has to hold tokens, and values of {np.dtype(dtype)}")
    n = X.tokens.shape[1]
    if known is None:
        estimator._input_kind = "sequences"
        known = Categories(tuple(range(n)), n + X.n_features, (None,) * n, per_step)
    return Input(X, "sequences", True, X.values.dtype.type), known


# --- sequences of tokens ------------------------------------------------------------------------------
def _check_no_texts(X: Any) -> None:
    """Raise a ValueError for strings in the place of tokens."""
    advice = (
        "number its words or characters with skrnn.text.TokenEncoder, in a pipeline before this estimator"
    )
    if isinstance(X, str | bytes):
        raise ValueError(f"X is a text, {X[:30]!r}: pass a list of texts, and {advice}")
    if isinstance(X, np.ndarray) and X.dtype.kind in "US":
        raise ValueError(f"X holds texts: {advice}")
    if hasattr(X, "iloc"):
        cell = X.iloc[0] if X.ndim == 1 and len(X) else X.iloc[0, 0] if X.size else None
        if isinstance(cell, str):
            raise ValueError(f"X holds texts, {cell[:30]!r} first: {advice}")
    if not holds_arrays(X):
        return
    for i, item in enumerate(X):
        if isinstance(item, str | bytes):
            raise ValueError(f"X[{i}] is a text, {item[:30]!r}: {advice}")
        if depth_of(item) == 1 and len(item) and isinstance(item[0], str | bytes):
            raise ValueError(
                f"X[{i}] holds strings, {item[0]!r} first: number them with skrnn.text.TokenEncoder("
                'analyzer="tokens"), in a pipeline before this estimator'
            )


def _holds_rows_of_tokens(X: Any, layout: dict[str, Any]) -> bool:
    """Whether X holds one token for each step, and no features."""
    if layout["newest_first"] or layout["static_columns"] is not None or layout["features_per_step"] > 1:
        return False
    if isinstance(X, np.ndarray) and X.dtype != object:
        return X.ndim == 2
    items = list(X) if isinstance(X, list | tuple | np.ndarray) else []
    return bool(items) and max(map(depth_of, items)) <= 1


def _read_rows_of_tokens(
    estimator: Any, X: Any, known: Categories | None, dtype: Any, per_step: bool
) -> tuple[Input, Categories]:
    if known is not None:
        check_kind(estimator, "tokens")
    own = known or Categories((0,), 1, (None,), per_step)
    rows = [_row_of_tokens(item, i, own.per_step) for i, item in enumerate(X)]
    if not rows:
        raise ValueError("X contains no sequences")
    sequences = Sequences.from_tokens(rows, dtype)
    if known is None:
        estimator._input_kind, estimator.n_features_in_ = "tokens", 1
        for name in ("feature_names_in_", "step_columns_"):
            vars(estimator).pop(name, None)
    ragged = not isinstance(X, np.ndarray) or X.dtype == object
    return Input(sequences, "tokens", ragged, np.float64), own


def _row_of_tokens(item: Any, i: int, per_step: bool) -> np.ndarray:
    """Sequence number i, which is not empty any more."""
    if np.ndim(item) == 0:
        raise ValueError(
            f"X[{i}] is {item!r}, and no sequence of tokens: one sequence alone is passed as [X]"
        )
    if isinstance(item, np.ma.MaskedArray):
        raise ValueError(f"sequence {i} is a masked array; cut what is padding, with skrnn.text.cut_padding")
    row = np.asarray(item)
    if row.dtype == object:
        row = np.array(row.tolist())
    if row.size == 0:
        if per_step:
            raise ValueError(
                f"sequence {i} has no tokens, and with return_sequences=True nothing to answer: leave it out"
            )
        return np.zeros(1, TOKEN)
    if row.dtype.kind not in "iu":
        raise ValueError(
            f"sequence {i} holds {row.dtype}, {row[0]!r} first: tokens are integers. Steps of numbers need a "
            "second axis, of features, of which categorical_features names the tokens"
        )
    return row


# --- steps of features --------------------------------------------------------------------------------
def _read_steps(
    estimator: Any, X: Any, known: Categories | None, dtype: Any, features: Any, per_step: bool,
    layout: dict[str, Any],
) -> tuple[Input, Categories]:  # fmt: skip
    """Steps of which some features are tokens."""
    reset = known is None
    X, kind, _ = recognise(X)
    columns, values = (None, None) if known is None else (known.columns, known.values)
    if kind == "sequences" and not layout["channels_first"]:
        steps = list(X)
        width = _check_widths(steps)
        columns = columns or choose(features, width, steps[0])
        if any(map(hold_values, steps)) or (known is not None and known.learnt):
            if not reset:
                check_names(estimator, steps, False)
            if width <= max(columns):
                raise ValueError(f"sequence 0 has {width} features, expected {estimator.n_features_in_}")
            X, values = encoded(steps, columns, values)
    if features is None and reset:
        _check_integers(X)
    input = read_X(estimator, X, reset=reset, dtype=np.float64, by_name=True, **layout)
    sequences = input.sequences
    if known is not None and sequences.n_features != known.n_features:
        raise ValueError(f"X has {sequences.n_features} features per step, expected {known.n_features}")
    if known is None:
        columns = columns or choose(features, sequences.n_features)
        known = Categories(columns, sequences.n_features, values or (None,) * len(columns), per_step)
    numbers, tokens = numbers_and_tokens(sequences.values, known, dtype, sequences)
    apart = Sequences(numbers, sequences.starts, sequences.lengths, tokens=tokens)
    return replace(input, sequences=apart), known


def _check_widths(steps: list[Any]) -> int:
    """Features of a step, which all sequences have."""
    shapes = [np.shape(item) for item in steps]
    for i, shape in enumerate(shapes):
        if len(shape) != 2:
            raise ValueError(f"sequence {i} has shape {shape}, expected (time steps, features)")
        if shape[1] != shapes[0][1]:
            raise ValueError(f"sequence {i} has {shape[1]} features, expected {shapes[0][1]}")
    return shapes[0][1]


def _check_integers(X: Any) -> None:
    """Raise a ValueError where features are to be tokens, all of them, and are not integers."""
    for item in X if isinstance(X, list) else [X]:
        dtypes = list(item.dtypes) if hasattr(item, "iloc") else [np.asarray(item).dtype]
        for dtype in dtypes:
            if dtype.kind not in "iuO":
                raise ValueError(
                    f"with embedding_size, features are tokens, which are integers, but X holds {dtype}: "
                    "name those that are tokens in categorical_features; without any, embedding_size is None"
                )


def numbers_and_tokens(
    steps: np.ndarray, categories: Categories, dtype: Any, sequences: Sequences | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers and tokens of steps (n, n_features); `sequences` say where each of them is, else they are one
    each.

    Raises
    ------
    ValueError
        For a token that is no integer from 0 on, or a number that is not finite.
    """

    def place(row: int) -> str:
        if sequences is None:
            return f"sequence {row}"
        i = int(np.searchsorted(sequences.offsets, row, side="right")) - 1
        return f"sequence {i}, step {row - sequences.offsets[i]}"

    columns = list(categories.columns)
    found = steps[:, columns]
    wrong = ~((found >= 0) & (found <= np.iinfo(TOKEN).max) & (found == np.floor(found)))
    if wrong.any():
        row, k = np.argwhere(wrong)[0]
        raise ValueError(
            f"{place(row)}: {found[row, k]:g} in feature {columns[k]} is no token, an integer from 0 on"
        )
    with np.errstate(over="ignore"):
        numbers = np.ascontiguousarray(steps[:, categories.numbers], dtype)
    if not all_finite(numbers, False):
        row, k = first_bad(numbers, False)
        j = categories.numbers[k]
        raise ValueError(f"{place(row)}: {problem_of(steps[row, j], numbers.dtype)} in feature {j}")
    return numbers, np.ascontiguousarray(found, TOKEN)
