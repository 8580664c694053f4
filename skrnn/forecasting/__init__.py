"""Forecasting from pandas: time series in and forecasts out, in the user's own form."""

from __future__ import annotations

from .forecasters import GRUForecaster, LSTMForecaster, RNNForecaster
from .metrics import evaluate
from .splits import RollingOrigin

__all__ = ["GRUForecaster", "LSTMForecaster", "RNNForecaster", "RollingOrigin", "evaluate"]
