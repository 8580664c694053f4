"""RNNRegressor, LSTMRegressor, GRURegressor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils import Tags
from sklearn.utils._param_validation import StrOptions

from .. import losses
from ..losses import Loss
from ..recipe import array_dtype
from ..sequences import Targets
from .base import RecurrentEstimator
from .inputs import Input
from .parameters import CELL_CONSTRAINTS, CONSTRAINTS, POSITIVE, as_python, documented
from .targets import check_same_targets, check_targets, hint_at_scale, place, read_numbers, read_rows

DEFAULT_QUANTILES = (0.1, 0.5, 0.9)


class _Regressor(RegressorMixin, RecurrentEstimator):
    """Targets, losses and predictions of the regressors."""

    _needed_to_score = 2  # by R^2

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = CONSTRAINTS | {
        "loss": [StrOptions({"squared_error", "absolute_error", "huber", "poisson", "quantile"})],
        "huber_delta": [POSITIVE],
        "quantiles": ["array-like", None],
    }

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
        self._validate_once()
        return self._partial_fit(X, y, sample_weight, first=not hasattr(self, "weights_"))

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
        return float(r2_score(y, self._values(raw), sample_weight=w))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


@documented
class RNNRegressor(_Regressor):
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

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = (
        _Regressor._parameter_constraints | CELL_CONSTRAINTS
    )

    def __init__(
        self,
        hidden_size: int = 32,
        *,
        cell: str = "rnn",
        activation: str = "tanh",
        reset_after: bool = True,
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        pooling: str = "last",
        return_sequences: bool = False,
        linear_skip: bool = False,
        features_per_step: int = 1,
        newest_first: bool = False,
        static_columns: Any = None,
        channels_first: bool = False,
        loss: str = "squared_error",
        huber_delta: float = 1.0,
        quantiles: Sequence[float] | None = None,
        solver: str = "adam",
        alpha: float = 1e-4,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        warmup_steps: int = 0,
        learning_rate_init: float = 2e-3,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        max_grad_norm: float | None = 1.0,
        tbptt_steps: int | None = None,
        max_iter: int = 200,
        shuffle: bool = True,
        tol: float = 1e-4,
        n_iter_no_change: int = 20,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        validation_split: Any = "random",
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | int = False,
        dtype: str = "float32",
        device: str = "cpu",
        allow_tf32: bool = False,
        n_jobs: int | None = None,
    ) -> None:
        self.hidden_size = hidden_size
        self.cell = cell
        self.activation = activation
        self.reset_after = reset_after
        self.num_layers = num_layers
        self.bidirectional = bidirectional
        self.dropout = dropout
        self.recurrent_dropout = recurrent_dropout
        self.pooling = pooling
        self.return_sequences = return_sequences
        self.linear_skip = linear_skip
        self.features_per_step = features_per_step
        self.newest_first = newest_first
        self.static_columns = static_columns
        self.channels_first = channels_first
        self.loss = loss
        self.huber_delta = huber_delta
        self.quantiles = quantiles
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.warmup_steps = warmup_steps
        self.learning_rate_init = learning_rate_init
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.max_grad_norm = max_grad_norm
        self.tbptt_steps = tbptt_steps
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.validation_split = validation_split
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        self.dtype = dtype
        self.device = device
        self.allow_tf32 = allow_tf32
        self.n_jobs = n_jobs


@documented
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

    def __init__(
        self,
        hidden_size: int = 32,
        *,
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        pooling: str = "last",
        return_sequences: bool = False,
        linear_skip: bool = False,
        features_per_step: int = 1,
        newest_first: bool = False,
        static_columns: Any = None,
        channels_first: bool = False,
        loss: str = "squared_error",
        huber_delta: float = 1.0,
        quantiles: Sequence[float] | None = None,
        solver: str = "adam",
        alpha: float = 1e-4,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        warmup_steps: int = 0,
        learning_rate_init: float = 2e-3,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        max_grad_norm: float | None = 1.0,
        tbptt_steps: int | None = None,
        max_iter: int = 200,
        shuffle: bool = True,
        tol: float = 1e-4,
        n_iter_no_change: int = 20,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        validation_split: Any = "random",
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | int = False,
        dtype: str = "float32",
        device: str = "cpu",
        allow_tf32: bool = False,
        n_jobs: int | None = None,
    ) -> None:
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bidirectional = bidirectional
        self.dropout = dropout
        self.recurrent_dropout = recurrent_dropout
        self.pooling = pooling
        self.return_sequences = return_sequences
        self.linear_skip = linear_skip
        self.features_per_step = features_per_step
        self.newest_first = newest_first
        self.static_columns = static_columns
        self.channels_first = channels_first
        self.loss = loss
        self.huber_delta = huber_delta
        self.quantiles = quantiles
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.warmup_steps = warmup_steps
        self.learning_rate_init = learning_rate_init
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.max_grad_norm = max_grad_norm
        self.tbptt_steps = tbptt_steps
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.validation_split = validation_split
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        self.dtype = dtype
        self.device = device
        self.allow_tf32 = allow_tf32
        self.n_jobs = n_jobs

    @property
    def _cell(self) -> str:
        return "lstm"


@documented
class GRURegressor(_Regressor):
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

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = _Regressor._parameter_constraints | {
        "reset_after": CELL_CONSTRAINTS["reset_after"]
    }

    def __init__(
        self,
        hidden_size: int = 32,
        *,
        reset_after: bool = True,
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        pooling: str = "last",
        return_sequences: bool = False,
        linear_skip: bool = False,
        features_per_step: int = 1,
        newest_first: bool = False,
        static_columns: Any = None,
        channels_first: bool = False,
        loss: str = "squared_error",
        huber_delta: float = 1.0,
        quantiles: Sequence[float] | None = None,
        solver: str = "adam",
        alpha: float = 1e-4,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        warmup_steps: int = 0,
        learning_rate_init: float = 2e-3,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        max_grad_norm: float | None = 1.0,
        tbptt_steps: int | None = None,
        max_iter: int = 200,
        shuffle: bool = True,
        tol: float = 1e-4,
        n_iter_no_change: int = 20,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        validation_split: Any = "random",
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | int = False,
        dtype: str = "float32",
        device: str = "cpu",
        allow_tf32: bool = False,
        n_jobs: int | None = None,
    ) -> None:
        self.hidden_size = hidden_size
        self.reset_after = reset_after
        self.num_layers = num_layers
        self.bidirectional = bidirectional
        self.dropout = dropout
        self.recurrent_dropout = recurrent_dropout
        self.pooling = pooling
        self.return_sequences = return_sequences
        self.linear_skip = linear_skip
        self.features_per_step = features_per_step
        self.newest_first = newest_first
        self.static_columns = static_columns
        self.channels_first = channels_first
        self.loss = loss
        self.huber_delta = huber_delta
        self.quantiles = quantiles
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.warmup_steps = warmup_steps
        self.learning_rate_init = learning_rate_init
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.max_grad_norm = max_grad_norm
        self.tbptt_steps = tbptt_steps
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.validation_split = validation_split
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        self.dtype = dtype
        self.device = device
        self.allow_tf32 = allow_tf32
        self.n_jobs = n_jobs

    @property
    def _cell(self) -> str:
        return "gru"
