"""How an estimator reads X: as sequences of numbers, of tokens or of both, and the vectors of those."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils._param_validation import InvalidParameterError

from ..recipe import array_dtype, table_name
from ..sequences import Sequences
from ..training import Data
from .categories import Categories
from .devices import arrays_for
from .inputs import Input, read_X
from .parameters import SharedParameters, as_python
from .tables import Tables, allows, check_tokens, read_vectors, seen_in, tables_of, unseen_as_means
from .token_inputs import read_tokens


class ReadsSequences(SharedParameters):
    """Mixin: from X to `Sequences`, as in the fit."""

    weights_: dict[str, np.ndarray]
    _row_layout: dict[str, Any]
    _categories: Categories | None = None  # where X holds tokens
    _tables: Tables = ()
    _seen_tokens: list[np.ndarray]  # of each table, which tokens had a part in training

    @property
    def _given_layout(self) -> dict[str, Any]:
        return {
            "features_per_step": as_python(self.features_per_step),
            "newest_first": self.newest_first,
            "static_columns": self.static_columns,
            "channels_first": self.channels_first,
        }

    def _read_X(self, X: Any, reset: bool, device: str, dtype: str | None = None) -> Input:
        if reset:  # kept with the model: reading the same columns in another way would be nonsense
            self._row_layout = self._given_layout
        if self.embedding_size is not None if reset else self._categories is not None:
            return self._read_tokens(X, reset, dtype)
        if reset:
            self._categories, self._tables = None, ()
        return read_X(
            self,
            X,
            reset=reset,
            dtype=array_dtype(dtype or self.dtype),
            by_name=True,
            gpu=arrays_for(X, device),
            **self._row_layout,
        )

    def _check_parameters_of_tokens(self) -> None:
        for name in "n_tokens", "categorical_features", "embedding_weights":
            if self.embedding_size is None and getattr(self, name) is not None:
                raise InvalidParameterError(f"{name} needs embedding_size, without which X are numbers")

    def _read_tokens(self, X: Any, reset: bool, dtype: str | None) -> Input:
        fitted = {"features": self.categorical_features, "per_step": self.return_sequences} if reset else {}
        input, categories = read_tokens(
            self, X, reset=reset, dtype=array_dtype(dtype or self.dtype), layout=self._row_layout, **fitted
        )
        if reset:
            self._categories = categories
        return input

    def _learn_tables(self, input: Input) -> None:
        """The sizes of the tables of vectors for these tokens."""
        if self._categories is not None:
            vectors = read_vectors(self.embedding_weights, len(self._categories.columns))
            self._tables = tables_of(
                input.sequences, self._categories, self.n_tokens, self.embedding_size, vectors
            )
            check_tokens(input.sequences, self._categories, self._tables)

    def _check_same_tables(self, input: Input) -> None:
        """Raise a ValueError where training goes on, but the parameters ask for other tables, or X does."""
        n, fitted = len(self._tables), [list(column) for column in zip(*self._tables, strict=True)]
        if (self.embedding_size is None) != (n == 0):
            raise ValueError(
                f"embedding_size={self.embedding_size!r}, but training goes on from a fit with"
                f"{'' if n else 'out'} vectors of tokens"
            )
        for name, own in zip(("n_tokens", "embedding_size"), fitted, strict=False):
            given = getattr(self, name)
            if not allows(name, given, own):
                raise ValueError(f"{name}={given!r}, but training goes on from a fit with {own}")
        self._check_features(input)

    def _begin_tables(self, weights: dict[str, np.ndarray], data: Data) -> dict[str, np.ndarray]:
        """Weights to begin with, and the vectors that are given in their place."""
        vectors = read_vectors(self.embedding_weights, len(self._tables))
        self._seen_tokens = [
            np.full(n_tokens, table is not None) for (n_tokens, _), table in zip(self._tables, vectors)
        ]
        for name, table in zip(self._table_names, vectors, strict=True):
            if table is not None:
                with np.errstate(over="ignore"):
                    weights[name] = table.astype(weights[name].dtype)
                if not np.isfinite(weights[name]).all():
                    raise ValueError(f"embedding_weights holds a value too large for {weights[name].dtype}")
        return self._with_means(weights, data)

    def _with_means(self, weights: dict[str, np.ndarray], data: Data) -> dict[str, np.ndarray]:
        """Weights, where the vector of a token that no data have had so far, nor these, is the mean of the
        others; no new ones, if there is none."""
        if not self._tables:
            return weights
        sequences, w = data.sequences, data.w
        if w is not None and len(w) == len(sequences) and not self.return_sequences:
            sequences = sequences.take(np.flatnonzero(w))
        seen = seen_in(sequences, self._tables)
        self._seen_tokens = [known | new for known, new in zip(self._seen_tokens, seen, strict=True)]
        return unseen_as_means(weights, dict(zip(self._table_names, self._seen_tokens, strict=True)))

    @property
    def _table_names(self) -> list[str]:
        """Of their arrays among the weights."""
        return [f"{table_name(k, len(self._tables))}.weight" for k in range(len(self._tables))]

    @property
    def _n_numbers(self) -> int:
        """Features of a step that are no tokens."""
        return self.weights_["weight_ih_l0"].shape[1] - sum(size for _, size in self._tables)

    def _check_features(self, input: Input) -> None:
        """Raise a ValueError where X has not the network's features per step, or tokens without a vector:
        kernels do not check."""
        n_features, expected = input.sequences.n_features, self._n_numbers
        if n_features != expected:
            alone = "; 2-D X has a row per sequence and takes features_per_step, one sequence alone is [X]"
            raise ValueError(
                f"X has {n_features} features per step, expected {expected}{alone * (input.kind == 'rows')}"
            )
        tokens = input.sequences.tokens
        if (n := 0 if tokens is None else tokens.shape[1]) != len(self._tables):
            raise ValueError(f"X has {n} tokens per step, expected {len(self._tables)}")
        check_tokens(input.sequences, self._categories, self._tables)


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
