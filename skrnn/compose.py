"""Targets that are transformed before a regressor learns them, per sequence or per step."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import _fit_context, clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.metrics import r2_score
from sklearn.utils import Tags, get_tags
from sklearn.utils._param_validation import HasMethods
from sklearn.utils.metadata_routing import _routing_enabled, process_routing
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from .estimators.answers import Answers, read_answers
from .estimators.devices import in_kind_of, to_host
from .estimators.targets import check_same_targets
from .estimators.unchanged import unchanged_on_error
from .estimators.versions import Versioned
from .preprocessing import SequenceTransformer
from .sequences import object_array


def _regressor_has_quantiles(self: SequenceTargetRegressor) -> bool:
    return hasattr(getattr(self, "regressor_", self.regressor), "predict_quantiles")


class SequenceTargetRegressor(Versioned, TransformedTargetRegressor):
    """Regression on transformed targets, which may be one per sequence or one per step, ragged too.

    As `sklearn.compose.TransformedTargetRegressor`, which cannot read ragged targets. The transformer sees
    all targets stacked, one column per output: one mean and one variance per output for a `StandardScaler`,
    whatever the lengths. Targets of weight 0 are not seen, and those of `y_val` only transformed.

    Parameters
    ----------
    regressor : regressor
        Any of this package, or a pipeline or a search that ends in one; a clone is fitted. Targets are per
        step where it has ``return_sequences=True``.
    transformer : transformer, default=None
        Of 2-D numbers, with `inverse_transform`; a clone is fitted. A `SequenceTransformer` will do. None:
        `func` and `inverse_func`; without these, too, the targets are learned as they are.
    func : callable, default=None
        A function in place of a transformer, such as `numpy.log1p`. It needs its inverse.
    inverse_func : callable, default=None
        Its inverse, such as `numpy.expm1`.
    check_inverse : bool, default=True
        Whether to warn where the way back does not lead to the targets.

    Attributes
    ----------
    regressor_ : regressor
        The fitted clone, for `stream`, `weights_` and the like; what it answers is transformed.
    transformer_ : transformer
        The fitted clone.
    n_features_in_ : int
        Of `regressor_`.
    feature_names_in_ : ndarray of str
        Of `regressor_`, where it has them.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skrnn import GRURegressor, SequenceTargetRegressor
    >>> X = [np.linspace(0, 1, length)[:, None] for length in (4, 6, 5)]
    >>> y = [1000 + 100 * x[:, 0] for x in X]  # far from unit size
    >>> network = GRURegressor(8, return_sequences=True, learning_rate_init=0.01, random_state=0)
    >>> model = SequenceTargetRegressor(network, transformer=StandardScaler()).fit(X, y)
    >>> model.predict(X)[2].shape
    (5,)
    >>> model.score(X, y) > 0.9
    True
    """

    _target_names: list[str] | None = None

    _parameter_constraints: ClassVar[dict] = TransformedTargetRegressor._parameter_constraints | {
        "regressor": [HasMethods(["fit", "predict", "get_params"])]
    }

    def __init__(
        self,
        regressor: Any,
        *,
        transformer: Any = None,
        func: Any = None,
        inverse_func: Any = None,
        check_inverse: bool = True,
    ) -> None:
        super().__init__(
            regressor,
            transformer=transformer,
            func=func,
            inverse_func=inverse_func,
            check_inverse=check_inverse,
        )

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: Any, y: Any, **fit_params: Any) -> Self:
        """Fit the transformer on the targets, and the regressor on X and the transformed targets.

        Parameters
        ----------
        X : array-like
            As of the regressor.
        y : array-like of shape (n,) or (n, k); per step (n, T), (n, T, k), or a list or object array of \
arrays of shape (T_i,) or (T_i, k)
            Targets.
        **fit_params
            For the regressor's `fit`. A `sample_weight` of 0 hides a target, which may be NaN, from the
            transformer, and a `y_val` is transformed. In a pipeline they have the name of their step in
            front, such as ``gruregressor__sample_weight``.

        Returns
        -------
        self : estimator

        Raises
        ------
        ValueError
            If the targets are not numbers, or a NaN among them has weight; the place is named. If columns
            of frames come in another order than those of the first. What the regressor raises is passed on.
            The estimator is then what it was before.
        """
        with unchanged_on_error(self):
            self._fit(X, y, fit_params)
        return self

    def _fit(self, X: Any, y: Any, fit_params: dict[str, Any]) -> None:
        self._per_step = _answers_per_step(self.regressor)
        targets = read_answers("y", y, self._per_step)
        self._target_names = targets.names
        weights = [value for name, value in fit_params.items() if _is_named(name, "sample_weight")]
        used = targets.used(weights[0] if weights else None)
        self._fit_transformer(self._rows(targets.rows[used]))
        fit_params = {
            name: self._transformed(self._read_targets(name, value))
            if value is not None and _is_named(name, "y_val")
            else value
            for name, value in fit_params.items()
        }
        if _routing_enabled():
            fit_params = process_routing(self, "fit", **fit_params).regressor.fit
        self.regressor_ = clone(self.regressor).fit(X, self._transformed(targets), **fit_params)
        self.__dict__.pop("feature_names_in_", None)  # of an earlier fit
        if hasattr(self.regressor_, "feature_names_in_"):
            self.feature_names_in_ = self.regressor_.feature_names_in_

    def predict(self, X: Any, **predict_params: Any) -> Any:
        """Predict, in the units of the targets.

        Parameters
        ----------
        X : array-like
            As of the regressor.
        **predict_params
            For the regressor's `predict`.

        Returns
        -------
        ndarray, or 1-D object array of arrays
            In the form and the float type of the regressor's.
        """
        check_is_fitted(self)
        if _routing_enabled():
            predict_params = process_routing(self, "predict", **predict_params).regressor.predict
        return _in_kind(X, self._inverted(self.regressor_.predict(X, **predict_params)))

    @available_if(_regressor_has_quantiles)
    def predict_quantiles(self, X: Any) -> Any:
        """Predict all quantiles of a regressor with ``loss="quantile"``, in the units of the targets.

        Parameters
        ----------
        X : array-like
            As of the regressor.

        Returns
        -------
        ndarray, or 1-D object array of arrays
            As the regressor's, with a last axis of quantiles; those of a transformer that rises with the
            target, column by column, as scalers and logarithms do.
        """
        check_is_fitted(self)
        answers = self.regressor_.predict_quantiles(X)
        if ragged := answers.dtype == object:
            answers = object_array(to_host(list(answers)))
        else:
            answers = to_host(answers)
        n_levels = answers[0].shape[-1]
        levels = [
            self._inverted(object_array([a[..., q] for a in answers]) if ragged else answers[..., q])
            for q in range(n_levels)
        ]
        if not ragged:
            return _in_kind(X, np.stack(levels, axis=-1))
        return _in_kind(X, object_array([np.stack(parts, axis=-1) for parts in zip(*levels)]))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Coefficient of determination R^2, in the units of the targets; per step, over all steps.

        Parameters
        ----------
        X, y : array-like
            As in `fit`.
        sample_weight : array-like of shape (n,), or per step in the form of y; default=None
            Targets of weight 0 may be NaN.

        Returns
        -------
        float
            The mean over outputs.

        Raises
        ------
        ValueError
            If lengths differ, or a target that has weight is no finite number; the place is named.
        """
        check_is_fitted(self)
        targets = self._read_targets("y", y)
        predicted = read_answers("the prediction", self.predict(X), self._per_step)
        targets.check_lengths(predicted)
        used = targets.used(sample_weight)
        weights = None if sample_weight is None else targets.weights(sample_weight)[used]
        return float(r2_score(targets.rows[used], predicted.rows[used], sample_weight=weights))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags = get_tags(self.regressor).input_tags
        tags.regressor_tags.poor_score = False
        return tags

    # --- the way there and back ------------------------------------------------------------------------
    def _read_targets(self, name: str, y: Any) -> Answers:
        """Targets beside those of `fit`."""
        targets = read_answers(name, y, self._per_step)
        check_same_targets(targets.names, self._target_names, name)
        return targets

    def _rows(self, rows: np.ndarray) -> np.ndarray:
        """Rows (m, k) as the transformer reads them: a `SequenceTransformer`, as sequences of one step."""
        return rows[:, None, :] if isinstance(self.transformer, SequenceTransformer) else rows

    def _transformed(self, targets: Answers) -> Any:
        known = np.isfinite(targets.rows).all(axis=1)
        some = np.asarray(self.transformer_.transform(self._rows(targets.rows[known])))
        some = some.reshape(len(some), -1)
        rows = np.full((len(known), some.shape[1]), np.nan)  # the others have weight 0, or the regressor says
        rows[known] = some
        return targets.shaped(rows)

    def _inverted(self, answers: Any) -> Any:
        answered = read_answers("prediction", answers, self._per_step)
        rows = np.asarray(self.transformer_.inverse_transform(self._rows(answered.rows)))
        return answered.shaped(rows.reshape(len(rows), -1).astype(answered.rows.dtype, copy=False))


def _answers_per_step(regressor: Any) -> bool:
    """Whether it, or the last step of a pipeline or the estimator of a search, has targets per step."""
    return any(
        _is_named(name, "return_sequences") and bool(value) for name, value in regressor.get_params().items()
    )


def _is_named(name: str, parameter: str) -> bool:
    """Whether a parameter has this name, or that of a step of a pipeline in front of it."""
    return name == parameter or name.endswith(f"__{parameter}")


def _in_kind(X: Any, answers: Any) -> Any:
    if answers.dtype == object:
        return object_array([in_kind_of(X, part) for part in answers])
    return in_kind_of(X, answers)
