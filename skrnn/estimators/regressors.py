"""RNNRegressor, LSTMRegressor, GRURegressor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils import Tags

from .. import losses
from ..losses import Loss
from ..network import Network
from ..recipe import array_dtype
from ..sequences import Targets
from ..training import Data
from .attributes import ATTRIBUTES, QUANTILES
from .base import RecurrentEstimator
from .declare import with_parameters
from .fitting import Weights
from .inputs import Input
from .parameters import GRUParameters, RegressorParameters, RNNParameters, as_python
from .targets import check_same_targets, check_targets, hint_at_scale, place, read_numbers, read_rows

DEFAULT_QUANTILES = (0.1, 0.5, 0.9)


class _Regressor(RegressorMixin, RecurrentEstimator, RegressorParameters):
    """Targets, losses and predictions of the regressors."""

    _attributes = ATTRIBUTES + QUANTILES
    _needed_to_score = 2  # by R^2
    # A linear map (weights and biases of the outputs) that `linear_skip` begins at in the next fit.
    _first_map: tuple[np.ndarray, np.ndarray] | None = None

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for one pass over X and y, in minibatches.

        Goes on from the present weights, with the parameters as they are now. Schedule, warm-up,
        early stopping and callbacks take no part.

        Parameters
        ----------
        X, y, sample_weight : like in `fit`

        Returns
        -------
        self : estimator
        """
        key = self._validate_once()
        return self._partial_fit(key, X, y, sample_weight, first=not hasattr(self, "weights_"))

    def _read_targets(
        self,
        y: Any,
        w: np.ndarray | None,
        input: Input,
        *,
        reset: bool,
        name: str = "y",
    ) -> Targets:
        dtype = array_dtype(self.dtype)
        if isinstance(y, Targets):
            targets, flat = check_targets(y, input, self.return_sequences, dtype, name), False
            names = None
        else:
            rows = read_rows(y, input, self.return_sequences, name)
            flat, names = rows.flat, rows.names
            targets = Targets(read_numbers(rows, w, input, self.return_sequences, dtype, name))
            if reset and self.loss != "poisson":  # which learns a logarithm
                hint_at_scale(targets.values, w)
        if reset:
            self._flat_targets, self._n_targets, self._target_names = flat, targets.width, names
        elif targets.width != self._n_targets:
            raise ValueError(f"{name} has {targets.width} outputs, expected {self._n_targets}")
        check_same_targets(names, self._target_names, name)
        if self.loss == "poisson" and (targets.values < 0).any():
            row = int(np.argmax((targets.values < 0).any(axis=1)))
            where = place(row, input, self.return_sequences, name)
            raise ValueError(f'loss="poisson" needs y >= 0, but {where} is negative')
        self._freeze_loss()
        return targets

    def _freeze_loss(self) -> None:
        self._fitted_loss = self.loss
        if self.loss == "quantile":
            self.quantiles_ = self._levels()

    def _take_head(self, weights: dict[str, np.ndarray], first: bool, classes: Any) -> dict[str, np.ndarray]:
        if first:
            self._freeze_loss()
            n_raw, each = len(weights["head.weight"]), self._make_loss().n_raw(1)
            if n_raw % each:
                raise ValueError(
                    f"weights hold a head of {n_raw} outputs, which is no multiple of the {each} quantiles"
                )
            self._n_targets, self._target_names = n_raw // each, None
            self._flat_targets = self._n_targets == 1
        return weights

    def _first_weights(self, network: Network, rng: np.random.RandomState, data: Data) -> Weights:
        weights = super()._first_weights(network, rng, data)
        if self._first_map is None:
            return weights
        own = {name: np.zeros_like(weights[name]) for name in ("skip.weight", "head.bias")}
        n = self._make_loss().n_raw(1)
        free = losses.nearest_to_median(self.quantiles_) if self._fitted_loss == "quantile" else 0
        own["skip.weight"][free::n], own["head.bias"][free::n] = self._first_map
        return weights | own

    def _levels(self) -> np.ndarray:
        levels = np.asarray(DEFAULT_QUANTILES if self.quantiles is None else self.quantiles, float)
        if levels.ndim != 1 or not len(levels) or not np.all((levels > 0) & (levels < 1)):
            raise ValueError(f"quantiles must be levels between 0 and 1, got {self.quantiles!r}")
        if np.any(np.diff(levels) <= 0):
            raise ValueError(f"quantiles must rise strictly, got {self.quantiles!r}")
        return levels

    def _make_loss(self) -> Loss:
        if self._fitted_loss == "huber":
            return losses.huber(as_python(self.huber_delta))
        if self._fitted_loss == "quantile":
            return losses.quantile(self.quantiles_)
        return getattr(losses, self._fitted_loss)

    def _n_outputs(self) -> int:
        return self._n_targets

    def _n_raw(self) -> int:
        return self._make_loss().n_raw(self._n_targets)

    def _values(self, raw: np.ndarray) -> np.ndarray:
        """Raw outputs (m, n_raw) to predictions (m, n_targets)."""
        values = self._make_loss().link(raw)
        if self._fitted_loss == "quantile":
            return values[:, :, losses.nearest_to_median(self.quantiles_)]
        return values

    def _answer(self, method: str) -> Callable[[np.ndarray], np.ndarray]:
        if method == "predict_quantiles":
            if self._fitted_loss != "quantile":
                raise ValueError(f'{method} needs loss="quantile", fitted was {self._fitted_loss!r}')
            values = self._make_loss().link
        else:
            self._check_method(method, "predict", "predict_quantiles")
            values = self._make_loss().link if self._fitted_loss != "quantile" else self._values
        return (lambda raw: values(raw)[:, 0]) if self._flat_targets else values

    def predict_quantiles(self, X: Any) -> np.ndarray:
        """Predict all quantiles of ``loss="quantile"``.

        Parameters
        ----------
        X : like in `fit`

        Returns
        -------
        ndarray
            The shape of `predict`'s result plus a last axis of quantiles, in the order of
            `quantiles_`; they never decrease along it.

        Raises
        ------
        ValueError
            If the estimator was fitted with another loss.
        """
        return self._ask("predict_quantiles", X)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Coefficient of determination R^2; per step, over all steps of all sequences.

        Parameters
        ----------
        X, y, sample_weight : like in `fit`

        Returns
        -------
        float
            The mean over outputs.
        """
        raw, rows, w, input, per_step = self._score_data(X, y, sample_weight)
        targets = read_numbers(rows, w, input, per_step, np.dtype(np.float64))
        return self._score_rows(raw, targets, w)

    def _score_rows(self, raw: np.ndarray, y: np.ndarray, w: np.ndarray | None) -> float:
        values = self._values(raw)
        if not np.isnan(y).any():
            return float(r2_score(y, values, sample_weight=w))
        # Targets of forecasters, where they are not known: the mean over outputs, as without.
        w = np.ones(len(y)) if w is None else w
        each = zip(y.T, values.reshape(y.shape).T)
        scores = [
            r2_score(true[known], value[known], sample_weight=w[known])
            for true, value in each
            if np.count_nonzero(known := ~np.isnan(true)) > 1
        ]
        return float(np.mean(scores))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


@with_parameters
class RNNRegressor(_Regressor, GRUParameters, RNNParameters):
    """Regression on sequences with a recurrent network whose cell is a parameter.

    {parameters}
    See Also
    --------
    LSTMRegressor, GRURegressor : The cell fixed.

    Examples
    --------
    >>> import numpy as np
    >>> from skrnn import RNNRegressor
    >>> X = np.random.default_rng(0).standard_normal((200, 10, 1))
    >>> y = X[:, -3, 0]
    >>> RNNRegressor(16, cell="gru", random_state=0).fit(X, y).predict(X[:2]).shape
    (2,)
    """


@with_parameters
class LSTMRegressor(_Regressor):
    """Regression on sequences with a long short-term memory network.

    {parameters}
    See Also
    --------
    RNNRegressor : The cell as a parameter.

    References
    ----------
    Hochreiter & Schmidhuber (1997), Long short-term memory; Gers, Schmidhuber & Cummins (2000),
    Learning to forget.

    Examples
    --------
    >>> import numpy as np
    >>> from skrnn import LSTMRegressor
    >>> X = np.random.default_rng(0).standard_normal((200, 10, 1))
    >>> y = X[:, -3, 0]
    >>> model = LSTMRegressor(16, learning_rate_init=5e-3, random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.9
    True
    """

    @property
    def _cell(self) -> str:
        return "lstm"


@with_parameters
class GRURegressor(_Regressor, GRUParameters):
    """Regression on sequences with gated recurrent units.

    {parameters}
    See Also
    --------
    RNNRegressor : The cell as a parameter.

    References
    ----------
    Cho et al. (2014), Learning phrase representations using RNN encoder-decoder; Chung et al. (2014),
    Empirical evaluation of gated recurrent neural networks on sequence modeling.

    Examples
    --------
    >>> import numpy as np
    >>> from skrnn import GRURegressor
    >>> X = np.random.default_rng(0).standard_normal((200, 10, 1))
    >>> y = X[:, -3, 0]
    >>> model = GRURegressor(16, learning_rate_init=5e-3, random_state=0).fit(X, y)
    >>> model.score(X, y) > 0.9
    True
    """

    @property
    def _cell(self) -> str:
        return "gru"
