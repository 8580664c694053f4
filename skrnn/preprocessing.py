"""scikit-learn's transformers, applied to sequences step by step."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context, clone
from sklearn.utils import Tags, check_array, check_consistent_length, get_tags
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from .estimators.inputs import Input, check_kind, read_sequences, read_X, recognise, shape_like
from .estimators.parameters import COUNT, as_python
from .estimators.unchanged import unchanged_on_error
from .estimators.versions import Versioned
from .sequences import Sequences, object_array


def _inner_has(method: str) -> Any:
    def check(self: SequenceTransformer) -> bool:
        return hasattr(getattr(self, "transformer_", self.transformer), method)

    return check


def _can_name_columns(self: SequenceTransformer) -> bool:
    # Only 2-D output has columns. Without names scikit-learn does not try to make a DataFrame of
    # the output either (set_output), which 3-D arrays and lists could not become.
    is_2d = getattr(self, "_input_kind", "rows") == "rows"
    return is_2d and _inner_has("get_feature_names_out")(self)


class SequenceTransformer(Versioned, TransformerMixin, BaseEstimator):
    """Apply a scikit-learn transformer to every step of every sequence.

    The transformer sees all steps of all sequences stacked, shape (n_steps, features per step): one
    mean and one variance per feature for a `StandardScaler`, whatever the lengths. What comes back
    has the form of X: 3-D arrays stay 3-D, lists stay lists, object arrays stay object arrays, 2-D
    stays 2-D (a DataFrame where ``set_output(transform="pandas")`` asks for one).

    Parameters
    ----------
    transformer : transformer
        Any transformer of 2-D numbers; a clone is fitted. NaN reaches it if it accepts NaN.
    features_per_step : int, default=1
        Of 2-D X: how many consecutive columns make one step. A transformer that turns F features
        into F' turns T * F columns into T * F'.
    channels_first : bool, default=False
        Of 3-D X and lists: whether sequences come as (n, F, T), or as arrays of shape (F, T_i), as
        sktime and aeon have them; they go out so, too.

    Attributes
    ----------
    transformer_ : transformer
        The fitted clone.
    n_features_in_ : int
        Columns of 2-D X, else features per step.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Only where X was a DataFrame with string names, or a list of them.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skrnn import SequenceTransformer
    >>> X = [np.array([[1.0], [3.0]]), np.array([[5.0]])]
    >>> SequenceTransformer(StandardScaler()).fit_transform(X)[1]
    array([[1.22474487]])
    """

    _parameter_constraints: ClassVar[dict] = {
        "transformer": [HasMethods(["fit", "transform"])],
        "features_per_step": [COUNT],
        "channels_first": ["boolean"],
    }

    def __init__(self, transformer: Any, features_per_step: int = 1, *, channels_first: bool = False) -> None:
        self.transformer = transformer
        self.features_per_step = features_per_step
        self.channels_first = channels_first

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any = None) -> SequenceTransformer:
        """Fit the transformer on all steps.

        Parameters
        ----------
        X : array-like of shape (n, T * features_per_step), array of shape (n, T, F), or list or \
object array of n arrays of shape (T_i, F)
            The sequences.
        y : array-like, default=None
            Targets for a supervised transformer. One of shape (n, T, ...), or n arrays of shape
            (T_i, ...), is per step; any other is per sequence and counts for each of its steps.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If X cannot be read or y does not fit it; the message names the sequence.
        """
        return self._fit(X, y, clone(self.transformer), "fit", reset=True)

    @available_if(_inner_has("partial_fit"))
    @_fit_context(prefer_skip_nested_validation=False)
    def partial_fit(self, X: Any, y: Any = None) -> SequenceTransformer:
        """Go on fitting on more sequences; errors as of `fit`.

        Parameters
        ----------
        X, y : as in `fit`
            More sequences, of the same kind.

        Returns
        -------
        SequenceTransformer
        """
        first = not hasattr(self, "transformer_")
        transformer = clone(self.transformer) if first else self.transformer_
        return self._fit(X, y, transformer, "partial_fit", reset=first)

    def transform(self, X: Any) -> Any:
        """Transform every step.

        Parameters
        ----------
        X : array-like, as in `fit` and of the same kind
            The sequences.

        Returns
        -------
        array, list or object array
            In the form of X; float32 where X is float32.

        Raises
        ------
        ValueError
            If X cannot be read or is of another kind or number of features than in `fit`.
        """
        check_is_fitted(self)
        return self._apply(self.transformer_.transform, X, self._read(X, reset=False))

    @available_if(_inner_has("inverse_transform"))
    def inverse_transform(self, X: Any) -> Any:
        """Undo `transform`.

        Parameters
        ----------
        X : array-like
            What `transform` returned, or of that form.

        Returns
        -------
        array, list or object array
            In the form of X, in the units of fit's X.

        Raises
        ------
        ValueError
            If X cannot be read or is not of the form that `transform` returns.
        """
        check_is_fitted(self)
        readable, kind, ragged = recognise(X)
        check_kind(self, kind)
        if kind == "sequences":
            sequences, float_type = read_sequences(
                readable, allow_nan=True, channels_first=self.channels_first
            )
        else:  # T steps as in fit, but of the features that come out of the transformer
            columns = check_array(readable, ensure_all_finite="allow-nan")
            n_steps = self.n_features_in_ // as_python(self.features_per_step)
            if columns.shape[1] % n_steps:
                raise ValueError(
                    f"X has {columns.shape[1]} columns, which is not a multiple of the "
                    f"{n_steps} steps seen in fit"
                )
            float_type = np.float32 if columns.dtype == np.float32 else np.float64
            steps = columns.reshape(len(columns), n_steps, -1)
            sequences = Sequences.from_dense(steps, float_type)
        data = Input(sequences, kind, ragged, float_type)
        return self._apply(self.transformer_.inverse_transform, X, data)

    @available_if(_can_name_columns)
    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the columns of 2-D output; only after a fit on 2-D X.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of X's columns; None takes those seen in fit, else x0, x1, ...

        Returns
        -------
        ndarray of str
            The transformer's names for each step's columns, with the step as a suffix ("pca0_2")
            where they would not differ between steps.
        """
        check_is_fitted(self)
        columns = _check_feature_names_in(self, input_features)
        steps = columns.reshape(-1, self.features_per_step)
        names = [self.transformer_.get_feature_names_out(step) for step in steps]
        if len(np.unique(np.concatenate(names))) < sum(map(len, names)):
            names = [[f"{name}_{t}" for name in step] for t, step in enumerate(names)]
        return np.concatenate(names).astype(object)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        inner = get_tags(self.transformer)
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = inner.input_tags.allow_nan
        tags.target_tags.required = inner.target_tags.required
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _read(self, X: Any, reset: bool) -> Input:
        allow_nan = get_tags(self.transformer).input_tags.allow_nan
        return read_X(
            self,
            X,
            reset=reset,
            features_per_step=as_python(self.features_per_step),
            channels_first=self.channels_first,
            allow_nan=allow_nan,
        )

    def _apply(self, function: Any, X: Any, data: Input) -> Any:
        """Map all steps of X, read as `data`, and give them X's form."""
        steps = function(data.sequences.values)
        steps = steps.toarray() if sp.issparse(steps) else np.asarray(steps)
        if len(steps) != data.sequences.n_steps:
            raise ValueError(f"the transformer made {len(steps)} of {data.sequences.n_steps} steps")
        if steps.dtype.kind == "f":
            steps = steps.astype(data.float_type, copy=False)
        if data.ragged:
            parts = data.sequences.split(steps)
            parts = [part.T for part in parts] if self.channels_first else parts
            return parts if isinstance(X, list | tuple) else object_array(parts)
        shaped = shape_like(data, steps)
        if data.kind == "rows":
            return shaped.reshape(len(shaped), -1)
        return shaped.transpose(0, 2, 1) if self.channels_first else shaped

    def _fit(self, X: Any, y: Any, transformer: Any, method: str, reset: bool) -> SequenceTransformer:
        with unchanged_on_error(self):
            sequences = self._read(X, reset).sequences
            getattr(transformer, method)(sequences.values, _targets_per_step(y, sequences))
            self.transformer_ = transformer
        return self


def _targets_per_step(y: Any, sequences: Sequences) -> np.ndarray | None:
    """y for each step: as given where y is per step, else that of the step's sequence."""
    if y is None:
        return None
    check_consistent_length(y, sequences)
    if not isinstance(y, list | tuple):
        y = np.asarray(y)
    shapes = [np.shape(target) for target in y]
    lengths = sequences.lengths.tolist()
    if all(shape[:1] == (length,) for shape, length in zip(shapes, lengths)):
        return np.concatenate(list(y))
    if len(set(shapes)) > 1:
        for i, (shape, length) in enumerate(zip(shapes, lengths)):
            if shape[:1] != (length,):
                raise ValueError(f"y of sequence {i} has shape {shape}, expected {length} steps")
    return np.repeat(np.asarray(y), sequences.lengths, axis=0)
