"""What the forecasters' parameters may be, and what each of them means."""

from __future__ import annotations

import inspect
from numbers import Integral, Real
from typing import Any, TypeVar

from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from ..estimators.parameters import COUNT, Devices, parameters_section
from .scaling import SCALES
from .windows import WINDOW_SCALES

CONSTRAINTS: dict[str, list[Any]] = {
    "h": [COUNT],
    "lags": [COUNT, None],
    "regressor": [HasMethods(["fit", "predict"]), None],
    "strategy": [StrOptions({"direct", "recursive"})],
    "linear_skip": ["boolean"],
    "scaling": [StrOptions({*SCALES, *WINDOW_SCALES}), None],
    "scale_by": [StrOptions({"series", "window"})],
    "log1p": ["boolean"],
    "differences": ["array-like", COUNT, None],
    "calendar": [str, "array-like", None],
    "multivariate": ["boolean"],
    "level": ["array-like", Interval(Real, 0, 100, closed="neither"), None],
    "intervals": [StrOptions({"quantile", "conformal"})],
    "calibration_windows": [Interval(Integral, 2, None, closed="left")],
    "loss": [StrOptions({"squared_error", "absolute_error", "huber"})],
    "hidden_size": [COUNT],
    "max_steps": [COUNT, None],
    "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
    "validation_fraction": [Interval(Real, 0, 1, closed="neither"), None],
    "missing": [StrOptions({"error", "interpolate", "mask"})],
    "random_state": ["random_state"],
    "device": [Devices()],
    "verbose": ["verbose"],
}

DOCS = {
    "h": ("int", "The horizon: steps to forecast."),
    "lags": (
        "int or None",
        "Steps of a window from which to forecast. None: a network reads each history from its first step, "
        "its state carried through, and answers after every step.",
    ),
    "regressor": (
        "regressor or None",
        "What is trained, for instance `skrnn.LSTMRegressor(64, num_layers=2)` or a regressor of "
        "scikit-learn, which gets the window as one row of features. None: the network of the forecaster's "
        "name with `hidden_size`, `linear_skip`, `loss`, `max_steps`, `learning_rate_init`, `device`, "
        "`n_jobs` and `verbose`, which a regressor that is given has of its own.",
    ),
    "strategy": (
        '{"direct", "recursive"}',
        "Answer all steps of the horizon at once, or one step, which is then read as if it had been "
        "observed.",
    ),
    "linear_skip": (
        "bool",
        "Add a linear map from the window to the horizon, trained together with the network. With lags only.",
    ),
    "scaling": (
        '{"standard", "robust", "minmax", "mean", "last"} or None',
        'What is taken off the targets, and their unit: "standard", the mean and the standard deviation; '
        '"robust", the median and the interquartile range; "minmax", the minimum and the range; "mean", '
        'nothing and the mean absolute value; "last", nothing and the window\'s last value. Where the unit '
        "would be 0, it is that of the level, or 1. Forecasts are always in the units of the data.",
    ),
    "scale_by": (
        '{"series", "window"}',
        "Whether the scale is that of each series' history in `fit`, or of each window; the latter for many "
        'series of different levels. "last" is always of the window.',
    ),
    "log1p": ("bool", "Learn log(1 + y), before anything else."),
    "differences": (
        "int, list of int or None",
        "Learn differences to the values these lags before, one after the other, after `log1p` and before "
        "the scaling: 12 for the change to the month one year before.",
    ),
    "calendar": (
        "str, list of str or None",
        'Features from the stamps, each a point on a circle: "minute", "hour", "dayofweek", "day", '
        '"dayofyear", "week", "month", "quarter".',
    ),
    "futr_exog": (
        "name, list of names or None",
        "Columns that are known in the future; `predict` needs them for the horizon.",
    ),
    "hist_exog": ("name, list of names or None", "Columns that are known up to now only."),
    "stat_exog": (
        "name, list of names or None",
        "Columns that are constant per series, numbers or categories, of a long frame or of `static_df`.",
    ),
    "multivariate": (
        "bool",
        "Whether the columns of a wide frame are targets that are forecast together, each from all; else "
        "they are series that share one network.",
    ),
    "level": (
        "float, list of float or None",
        "Prediction intervals in per cent, 80 for that from the 10th to the 90th percentile. With quantiles, "
        "the point forecast is the median.",
    ),
    "intervals": (
        '{"quantile", "conformal"}',
        "Quantiles that the network learns, which never cross, but are too narrow where it has seen few "
        "windows; or widths such that intervals would have covered their share of the last windows, which a "
        "model that had not seen them forecast: one fit more.",
    ),
    "calibration_windows": (
        "int",
        "How many windows, at most, are held back for conformal intervals; those of short series overlap.",
    ),
    "loss": (
        '{"absolute_error", "squared_error", "huber"}',
        "What the network minimises in units of the scale, where it has no quantiles.",
    ),
    "hidden_size": ("int", "Hidden units of the network."),
    "max_steps": (
        "int or None",
        "Updates of the weights, rounded to whole passes over the windows; each from a sixteenth of them, "
        "but 8 at least and 64 at most. Where there are more than 64 for each update, as many are drawn at "
        "random. None: 1000, in 30 passes at most.",
    ),
    "learning_rate_init": ("float", "Adam's step size at the start; it falls along a cosine."),
    "validation_fraction": (
        "float or None",
        "Share of every series' last windows that is held back to stop early, with a gap so that no target "
        "is in both parts. None: what a `regressor` with `early_stopping` has, else no early stopping.",
    ),
    "freq": (
        "str, offset, int or None",
        "The step in time. None: that of the index, or what can be inferred.",
    ),
    "missing": (
        '{"error", "interpolate", "mask"}',
        "What to do about gaps and NaN in the data: refuse them; fill them linearly; or fill them, tell the "
        "network where, and learn only windows with no such target, which with a long horizon may be few.",
    ),
    "id_col": ("name", "The column of a long frame that tells its series apart."),
    "time_col": ("name", "The column of a long frame with the stamps."),
    "target_col": ("name", "The column of a long frame to forecast."),
    "random_state": (
        "int, RandomState or None",
        "Seed of the weights and of which windows are taken, also of a `regressor` that has none.",
    ),
    "device": ('{"cpu", "cuda", "cuda:N", "auto"}', "Where the network computes, as in `LSTMRegressor`."),
    "n_jobs": (
        "int or None",
        "Threads, of a fit or of the fits of a backtest; None: the processors, within the limits that "
        "joblib, threadpoolctl and OMP_NUM_THREADS set.",
    ),
    "verbose": ("bool or int", "Show a progress bar."),
}

ATTRIBUTES = """\
Attributes
----------
regressor_ : regressor
    What was trained; several targets or steps of a regressor that has only one are in a
    `MultiOutputRegressor`.
panel_ : Panel
    The histories as they were read.
model_ : Model
    The regressor with what is done to its data.
widths_ : ndarray of shape (n_levels, h) or None
    Half widths of conformal intervals, in mean absolute steps of a series.
"""

Class = TypeVar("Class", bound=type)


def documented(cls: Class) -> Class:
    """Put the sections Parameters and Attributes into a class's docstring, from its signature."""
    section = f"{parameters_section(cls, DOCS)}\n{ATTRIBUTES}"
    cls.__doc__ = inspect.cleandoc(cls.__doc__ or "").replace("{parameters}", section)
    return cls
