"""Forecasting from pandas: time series in and forecasts out, in the user's own form."""
