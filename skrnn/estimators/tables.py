"""Tables of vectors, one for each column of tokens: their sizes, what they begin with, and what is read where
nothing was learnt."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..sequences import Sequences
from .categories import Categories
from .devices import warn_the_caller
from .parameters import as_python

Tables = tuple[tuple[int, int], ...]  # tokens of each, and numbers in the vector of one
MOST_NUMBERS = 128  # in a vector, of embedding_size="auto"
LARGE, SPARSE = 100_000, 10  # rows of a table in all, and for each token there is, that may be a mistake


def tables_of(
    sequences: Sequences, categories: Categories, n_tokens: Any, size: Any, weights: list[np.ndarray | None]
) -> Tables:
    """Tokens and numbers of each table, from the estimators' `n_tokens`, `embedding_size` and
    `embedding_weights`.

    Raises
    ------
    ValueError
        If they contradict each other, or the tokens.
    """
    n = len(categories.columns)
    asked = each("n_tokens", n_tokens, n)
    sizes = each("embedding_size", size, n)
    tables = []
    for k, (rows, size, known, given) in enumerate(
        zip(asked, sizes, categories.values, weights, strict=True)
    ):
        largest = int(sequences.token_range[1, k])
        if rows is None:
            rows = len(given) if given is not None else 1 + (largest if known is None else len(known))
            if known is None and given is None and rows >= LARGE:
                _warn_of_large_table(sequences, k, rows)
        width = auto_size(rows) if size == "auto" else size
        if given is not None:
            width = given.shape[1] if size == "auto" else width
            if given.shape != (rows, width):
                raise ValueError(
                    f"embedding_weights has shape {given.shape}, but {rows} tokens and embedding_size="
                    f"{size!r} ask for {(int(rows), width)}"
                )
        tables.append((int(rows), width))
    return tuple(tables)


def each(name: str, value: Any, n: int) -> list[Any]:
    """What a parameter says of each of n columns: it holds one value for all, or a list of them."""
    if not isinstance(value, list | tuple | np.ndarray):
        return [as_python(value)] * n
    values = [as_python(one) for one in value]
    if len(values) != n:
        raise ValueError(f"{name}={value!r} has {len(values)} values for {n} columns of tokens")
    for one in values:
        if not (isinstance(one, int) and not isinstance(one, bool) and one > 0) and one not in ("auto", None):
            raise ValueError(f"{name}={value!r} must hold integers of at least 1")
    return values


def says(given: Any, value: int) -> bool:
    """Whether a value that was given for a column lets this be."""
    return given in (None, "auto", value)


def auto_size(n_tokens: int) -> int:
    """Numbers in a vector of so many tokens.

    As many as could tell all of them apart. fastai's rule for categories, 1.6 V^0.56, gives fewer: 16 for 60
    letters, with which surnames are told to come from 76 % of the right languages, and from 77 % with 64.
    """
    return min(n_tokens, MOST_NUMBERS)


def _warn_of_large_table(sequences: Sequences, k: int, n_rows: int) -> None:
    tokens = sequences.tokens
    n_distinct = 0 if tokens is None else len(np.unique(tokens[:, k]))
    if n_rows > SPARSE * n_distinct:
        warn_the_caller(
            f"column {k} holds {n_distinct} different tokens, up to {n_rows - 1}, and its table has a row "
            "for each number up to there: number them, for example with pandas.factorize",
            UserWarning,
        )


def read_vectors(weights: Any, n: int) -> list[np.ndarray | None]:
    """The estimators' `embedding_weights`, a table or None for each of n columns.

    Raises
    ------
    ValueError
        If they are no tables of finite numbers.
    """
    if weights is None:
        return [None] * n
    several = isinstance(weights, list | tuple) and (
        n > 1 or any(w is None or np.ndim(w) == 2 for w in weights)
    )
    given = list(weights) if several else [weights]
    if len(given) != n:
        raise ValueError(f"embedding_weights holds {len(given)} tables for {n} columns of tokens")
    tables = []
    for k, table in enumerate(given):
        name = f"embedding_weights[{k}]" if several else "embedding_weights"
        array = None if table is None else np.asarray(table)
        if array is not None and (array.ndim != 2 or array.dtype.kind not in "fiu" or 0 in array.shape):
            raise ValueError(f"{name} must be numbers of shape (n_tokens, embedding_size), got {array.shape}")
        if array is not None and not np.isfinite(array).all():
            raise ValueError(
                f"{name} holds NaN or infinity in row {int(np.argmin(np.isfinite(array).all(axis=1)))}"
            )
        tables.append(array)
    return tables


def check_tokens(sequences: Sequences, tables: Tables) -> None:
    """Raise a ValueError for a token that has no row in its table."""
    tokens: Any = sequences.tokens
    for k, (n_tokens, _) in enumerate(tables):
        if sequences.token_range[1, k] < n_tokens:
            continue
        of = f" in column {k} of the tokens" if len(tables) > 1 else ""
        for i, (start, n) in enumerate(zip(sequences.starts, sequences.lengths, strict=True)):
            own = tokens[start : start + n, k]
            if own.max() >= n_tokens:
                t = int(np.argmax(own >= n_tokens))
                raise ValueError(
                    f"sequence {i}, step {t}: token {own[t]}{of} is beyond the table, whose tokens are 0 to "
                    f"{n_tokens - 1}. They have to be those of the fit, by the same encoder; n_tokens makes "
                    "room for later ones, 0 stands for what is unknown"
                )


# --- tokens that were never seen ----------------------------------------------------------------------
def seen_in(sequences: Sequences, tables: Tables) -> list[np.ndarray]:
    """Of each table, which tokens there are."""
    tokens: Any = sequences.tokens
    rows, seen = sequences.row_index(), []
    for k, (n_tokens, _) in enumerate(tables):
        of_table = np.zeros(n_tokens, bool)
        of_table[tokens[rows, k]] = True
        seen.append(of_table)
    return seen


def with_means(weights: dict[str, np.ndarray], seen: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Weights, with the mean of the others for each vector that nothing was learnt for; themselves, if there
    is none."""
    changed = {}
    for name, known in seen.items():
        if not known.all() and known.any():
            changed[name] = table = weights[name].copy()
            table[~known] = table[known].mean(axis=0, dtype=np.float64)
    return weights | changed if changed else weights
