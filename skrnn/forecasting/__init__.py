"""Forecasting from pandas: time series in and forecasts out, in the user's own form."""

from __future__ import annotations

from .assessment import forecast_scorer
from .display import ForecastDisplay
from .forecasters import GRUForecaster, LSTMForecaster, RNNForecaster
from .metrics import evaluate
from .splits import RollingOrigin

__all__ = [
    "ForecastDisplay",
    "GRUForecaster",
    "LSTMForecaster",
    "RNNForecaster",
    "RollingOrigin",
    "evaluate",
    "forecast_scorer",
]
