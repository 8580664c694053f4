"""What a forecaster is asked for, and whether that fits together."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, is_classifier
from sklearn.utils._param_validation import InvalidParameterError

from ..estimators.base import RecurrentEstimator
from ..estimators.parameters import as_python
from .automatic import AUTO, Given
from .output import is_bound
from .parameters import ForecasterParameters

COUNTS = "poisson"


class Asked(BaseEstimator, ForecasterParameters):
    """Parameters in the words of what follows."""

    @property
    def _levels(self) -> list[float]:
        return [] if self.level is None else sorted({float(level) for level in np.atleast_1d(self.level)})

    @property
    def _name(self) -> str:
        """Of the model, in answers."""
        return type(self).__name__ if self.alias is None else self.alias

    @property
    def _given(self) -> Given:
        """What the user says of the views."""
        differences = () if self.differences is None else tuple(np.atleast_1d(self.differences).tolist())
        by, log1p = "window" if self.scaling == "last" else self.scale_by, self.log1p
        if self.loss == COUNTS:  # few of which tell nothing of the size of a window
            differences, log1p = (() if differences == AUTO else differences), (log1p is True)
            by = "series" if by == "auto" else by
        step = 1 if self.strategy == "recursive" else as_python(self.h)
        fewer = self.strategy == "direct" and self.hist_exog is None
        return Given(self._lags, by, differences, log1p, self.scaling is not None, step, fewer)

    @property
    def _scaling(self) -> str | None:
        """Of counts nothing is taken off."""
        return "mean" if self.loss == COUNTS and self.scaling == "standard" else self.scaling

    @property
    def _lags(self) -> Any:
        """A list as a tuple, in order."""
        if self.lags is None or np.ndim(self.lags) == 0:
            return as_python(self.lags)
        return tuple(sorted(np.asarray(self.lags).tolist()))

    @property
    def _pairs(self) -> bool:
        return self.strategy == "encoder_decoder"

    @property
    def _heads(self) -> bool:
        """Whether the network is to have an output for each quantile."""
        return bool(self._levels) and self.intervals == "quantile"

    @property
    def _may_have_heads(self) -> bool:
        own = self.regressor is None or isinstance(self.regressor, RecurrentEstimator)
        return own and self.strategy != "recursive"

    @property
    def _validation_fraction(self) -> float | None:
        """The share of windows to hold back, which may be what the user's own regressor asks for."""
        own = self.regressor
        if self.validation_fraction is None and isinstance(own, RecurrentEstimator) and own.early_stopping:
            return own.validation_fraction
        return self.validation_fraction

    def _check_parameters(self) -> None:
        self._validate_params()
        recurrent = self.regressor is None or isinstance(self.regressor, RecurrentEstimator)
        if self.regressor is not None and is_classifier(self.regressor):
            raise InvalidParameterError(f"regressor is {type(self.regressor).__name__}, a classifier")
        try:
            known = all(1 <= level < 100 for level in self._levels)
        except (TypeError, ValueError):
            known = False
        if not known:
            raise InvalidParameterError(f"level must be in per cent, from 1 to below 100, got {self.level!r}")
        if self.differences is not None and not isinstance(self.differences, str):
            steps = [as_python(n) for n in np.ravel(np.asarray(self.differences, object))]
            if not all(type(n) is int and n > 0 for n in steps):
                raise InvalidParameterError(
                    f"differences have to be integers of at least 1, got {self.differences!r}"
                )
        if isinstance(self._lags, tuple):
            known = all(type(lag) is int and lag > 0 for lag in self._lags)
            if not self._lags or not known or len({*self._lags}) < len(self._lags):
                raise InvalidParameterError(
                    f"a list of lags has to be of different integers of at least 1, got {self.lags!r}"
                )
            if self._pairs:
                raise InvalidParameterError(
                    'lags one by one are of strategy="direct" or "recursive": an encoder reads all steps'
                )
        if self.loss == COUNTS and (
            self._given.differences or self._given.log1p or self.scaling in ("robust", "minmax")
        ):
            raise InvalidParameterError(
                'loss="poisson" learns values from 0 on: set neither differences nor log1p, and no scaling '
                'that takes something off, as "mean" and "last" do not'
            )
        if is_bound(self._name):
            raise InvalidParameterError(f"alias={self.alias!r} is what a bound would be called")
        if self.lags is None and self.scaling is not None and self._given.scale_by == "window":
            raise InvalidParameterError(
                f"scaling={self.scaling!r} with scale_by={self.scale_by!r} is for windows: set lags"
            )
        if self.lags is None and not recurrent:
            raise InvalidParameterError(
                f"lags=None lets a network read whole histories, which {type(self.regressor).__name__} "
                "cannot: set lags"
            )
        if self._pairs:
            self._check_regressor_of_pairs()
        elif self.autoregressive:
            raise InvalidParameterError(
                f'autoregressive=True is of strategy="encoder_decoder", not {self.strategy!r}'
            )
        if self.lags is None and not self._pairs and getattr(self.regressor, "bidirectional", False):
            raise InvalidParameterError(
                "a bidirectional network reads the steps of a history that it is to forecast: set lags"
            )
        if self.hist_exog is not None and self.strategy == "recursive" and self.h > 1:
            raise InvalidParameterError(
                'a recursive forecast reads steps of which hist_exog are not known: use strategy="direct"'
            )
        if self._heads and self.strategy == "recursive":
            raise InvalidParameterError(
                'quantiles of recursive forecasts are not those of the series: use intervals="conformal" or '
                'strategy="direct"'
            )
        if not recurrent and self.validation_fraction is not None:
            raise InvalidParameterError(
                f"{type(self.regressor).__name__} cannot stop early: leave validation_fraction=None"
            )
        if self.lags is None and self._validation_fraction is not None:
            raise InvalidParameterError(
                "windows are held back to stop early, of which whole histories have none: set lags, or "
                "neither validation_fraction nor early_stopping"
            )
        if self._heads and not recurrent:
            raise InvalidParameterError(
                f'{type(self.regressor).__name__} has no quantiles: use intervals="conformal"'
            )

    def _check_regressor_of_pairs(self) -> None:
        """Raise an error where a regressor's parameters are not those of an encoder and a decoder."""
        own, what = self.regressor, 'strategy="encoder_decoder"'
        if own is None:
            return
        if not isinstance(own, RecurrentEstimator):
            raise InvalidParameterError(
                f"{what} takes the cell and the parameters of an RNNRegressor, LSTMRegressor or "
                f"GRURegressor, which {type(own).__name__} has not: leave regressor=None"
            )
        for name, needed, why in (
            ("pooling", "last", "a decoder begins in the last states of the encoder"),
            ("tbptt_steps", None, "a decoder looks back at a whole history"),
            ("embedding_size", None, "histories are numbers"),
        ):
            if getattr(own, name) != needed:
                raise InvalidParameterError(
                    f"{what} cannot be combined with {name}={getattr(own, name)!r} of the regressor: {why}"
                )
        if own.bidirectional and own.hidden_size % 2:
            raise InvalidParameterError(
                f"half of the encoder's hidden_size={own.hidden_size} units read backwards: make it even, or "
                "set bidirectional=False"
            )
