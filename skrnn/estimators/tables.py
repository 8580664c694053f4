"""Tables of vectors, one for each column of tokens: their sizes, what they begin with, and the mean for
tokens that were never seen."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..sequences import Sequences
from .categories import Categories
from .containers import depth_of
from .devices import warn_the_caller
from .foreign_weights import real_numbers
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
        If they contradict each other.
    """
    n, tables = len(categories.columns), []
    asked = zip(per_column("n_tokens", n_tokens, n), per_column("embedding_size", size, n), strict=True)
    for k, (rows, width) in enumerate(asked):
        known, given = categories.values[k], weights[k]
        if rows is None and given is not None:
            rows = len(given)
        elif rows is None:
            rows = 1 + (int(sequences.token_range[1, k]) if known is None else len(known))
            if known is None and rows >= LARGE:
                _warn_of_large_table(sequences, categories, k, rows)
        if width == "auto":
            width = auto_size(rows) if given is None else given.shape[1]
        if given is not None and given.shape != (rows, width):
            raise ValueError(
                f"embedding_weights{f'[{k}]' * (n > 1)} has shape {given.shape}, but {rows} tokens and "
                f"embedding_size={size!r} ask for {(rows, width)}"
            )
        tables.append((rows, width))
    return tuple(tables)


NOT_SAID = {"n_tokens": None, "embedding_size": "auto"}  # by parameters of columns


def per_column(name: str, value: Any, n: int) -> list[Any]:
    """What a parameter says of each of n columns: it holds one value for all, or a list of them."""
    if np.ndim(value) == 0:
        return [as_python(value.item() if isinstance(value, np.ndarray) else value)] * n
    values = [as_python(one) for one in value]
    if len(values) != n:
        raise ValueError(f"{name}={value!r} has {len(values)} values for {n} columns of tokens")
    for k, one in enumerate(values):
        if one != NOT_SAID[name] and (not isinstance(one, int) or isinstance(one, bool) or one < 1):
            raise ValueError(
                f"{name}[{k}] must be an integer of at least 1 or {NOT_SAID[name]!r}, got {one!r}"
            )
    return values


def allows(name: str, given: Any, own: list[int]) -> bool:
    """Whether what a parameter says of columns lets them have these values."""
    asked = per_column(name, given, len(own))
    return all(a in (NOT_SAID[name], value) for a, value in zip(asked, own, strict=True))


def auto_size(n_tokens: int) -> int:
    """Numbers in a vector: as many as there are tokens, within a limit. fastai's rule for categories,
    1.6 V^0.56, gives too few for characters."""
    return min(n_tokens, MOST_NUMBERS)


def _warn_of_large_table(sequences: Sequences, categories: Categories, k: int, n_rows: int) -> None:
    tokens = sequences.tokens
    n_distinct = 0 if tokens is None else len(np.unique(tokens[:, k]))
    if n_rows > SPARSE * n_distinct:
        warn_the_caller(
            f"{feature(categories, k)} has {n_distinct} different tokens, up to {n_rows - 1}, and its table "
            "a row for each number up to there: number them, for example with pandas.factorize",
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
        n > 1 or any(w is None or depth_of(w) == 2 for w in weights)
    )
    given = list(weights) if several else [weights]
    if len(given) != n:
        raise ValueError(f"embedding_weights holds {len(given)} tables for {n} columns of tokens")
    tables = []
    for k, table in enumerate(given):
        name = f"embedding_weights[{k}]" if several else "embedding_weights"
        array = None if table is None else real_numbers(table, name)
        if array is not None and array.ndim != 2:
            raise ValueError(f"{name} must be numbers of shape (n_tokens, embedding_size), got {array.shape}")
        if array is not None and not np.isfinite(array).all():
            raise ValueError(
                f"{name} holds NaN or infinity in row {int(np.argmin(np.isfinite(array).all(axis=1)))}"
            )
        tables.append(array)
    return tables


def feature(categories: Categories, k: int) -> str:
    """What a user calls column k of the tokens."""
    return "X" if categories.n_features == 1 else f"feature {categories.columns[k]}"


def check_tokens(sequences: Sequences, categories: Categories | None, tables: Tables) -> None:
    """Raise a ValueError for a token that has no row in its table."""
    for k, (n_tokens, _) in enumerate(tables):
        beyond = sequences.token_beyond(k, n_tokens)
        if beyond is not None and categories is not None:
            i, step, token = beyond
            of = f" of {feature(categories, k)}" * (categories.n_features > 1)
            raise ValueError(
                f"sequence {i}, step {step}: token {token}{of} is beyond the table, whose tokens are 0 to "
                f"{n_tokens - 1}. They have to be those of the fit, by the same encoder; n_tokens makes room "
                "for later ones, 0 stands for what is unknown"
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


def unseen_as_means(weights: dict[str, np.ndarray], seen: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Weights, with the mean of the others for each vector that nothing was learnt for; themselves, if there
    is none."""
    changed = {}
    for name, known in seen.items():
        if not known.all() and known.any():
            changed[name] = table = weights[name].copy()
            table[~known] = table[known].mean(axis=0, dtype=np.float64)
    return weights | changed if changed else weights
