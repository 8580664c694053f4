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
from .finite import all_finite, first_bad
from .inputs import Input, check_kind, read_X, recognise


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
        if X.tokens is None or X.values.dtype != dtype:
            raise ValueError(f"X has to hold tokens, and values of {np.dtype(dtype)}")
        n_tables, n_features = X.tokens.shape[1], X.tokens.shape[1] + X.n_features
        if reset:
            estimator._input_kind = "sequences"
        own = Categories(tuple(range(n_tables)), n_features, (None,) * n_tables, per_step)
        return Input(X, "sequences", True, X.values.dtype.type), known or own
    X = opened_on_host(X)
    _check_no_texts(X)
    of_rows = getattr(estimator, "_input_kind", None) == "rows" and not reset
    if features is None and not of_rows and _reads_rows_of_tokens(X, layout):
        ragged = not isinstance(X, np.ndarray) or X.dtype == object
        if not reset:
            check_kind(estimator, "tokens")
        own = known or Categories((0,), 1, (None,), per_step)
        sequences = _rows_of_tokens(X, own.per_step, dtype)
        if reset:
            estimator._input_kind, estimator.n_features_in_ = "tokens", 1
            for name in ("feature_names_in_", "step_columns_"):
                vars(estimator).pop(name, None)
        return Input(sequences, "tokens", ragged, np.float64), own
    X, kind, _ = recognise(X)
    columns, values = None if known is None else known.columns, None if known is None else known.values
    if kind == "sequences":
        tables = list(X)
        if any(map(hold_values, tables)) and not layout["channels_first"]:
            columns = columns or choose(features, np.shape(tables[0])[1], tables[0])
            X, values = encoded(tables, columns, values)
        elif columns is None and not layout["channels_first"]:
            columns = choose(features, np.shape(tables[0])[1], tables[0])
    if features is None and reset:
        _check_integers(X)
    input = read_X(estimator, X, reset=reset, dtype=np.float64, by_name=True, **layout)
    n_features = input.sequences.n_features
    if known is None:
        columns = columns or choose(features, n_features)
        known = Categories(columns, n_features, values or (None,) * len(columns), per_step)
    return replace(input, sequences=_split(input.sequences, known, dtype)), known


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


def _reads_rows_of_tokens(X: Any, layout: dict[str, Any]) -> bool:
    """Whether X holds one token for each step, and no features."""
    if layout["newest_first"] or layout["static_columns"] is not None or layout["features_per_step"] > 1:
        return False
    if isinstance(X, np.ndarray) and X.dtype != object:
        return X.ndim == 2
    items = list(X) if isinstance(X, list | tuple | np.ndarray) else []
    return bool(items) and max(map(depth_of, items)) <= 1


def _rows_of_tokens(X: Any, per_step: bool, dtype: Any) -> Sequences:
    """Sequences of tokens, of which none is empty."""
    rows = []
    for i, item in enumerate(X):
        if np.ndim(item) == 0:
            raise ValueError(
                f"X[{i}] is {item!r}, and no sequence of tokens: one sequence alone is passed as [X]"
            )
        row = np.asarray(item)
        if row.size == 0:
            if per_step:
                raise ValueError(
                    f"sequence {i} has no tokens, and with return_sequences=True nothing to answer: leave it "
                    "out"
                )
            row = np.zeros(1, TOKEN)
        elif row.dtype == object or row.dtype.kind not in "iu":
            raise ValueError(
                f"sequence {i} holds {row.dtype}, {row[0]!r} first: tokens are integers. Steps of numbers "
                "need a second axis, of features, of which categorical_features names the tokens"
            )
        rows.append(row)
    if not rows:
        raise ValueError("X contains no sequences")
    return Sequences.from_tokens(rows, dtype)


# --- steps of features --------------------------------------------------------------------------------
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


def _split(sequences: Sequences, categories: Categories, dtype: Any) -> Sequences:
    """Tokens apart from numbers."""
    values, tokens = split(sequences.values, categories, dtype, sequences)
    return Sequences(values, sequences.starts, sequences.lengths, tokens=tokens)


def split(
    steps: np.ndarray, categories: Categories, dtype: Any, sequences: Sequences | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers and tokens of steps (n, n_features); `sequences` say where each of them is, else they are one
    each.

    Raises
    ------
    ValueError
        For a token that is no integer from 0 on, or a number that is too large.
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
        raise ValueError(f"{place(row)}: {steps[row, j]:g} in feature {j} is too large for {numbers.dtype}")
    return numbers, np.ascontiguousarray(found, TOKEN)
