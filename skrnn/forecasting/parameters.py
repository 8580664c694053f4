"""What the forecasters' parameters may be, and what each of them means."""

from __future__ import annotations

from collections.abc import Hashable
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from ..estimators.declare import parameter, with_parameters
from ..estimators.parameters import COUNT, INNER_SHARE, POSITIVE, THREADS, Devices
from .scaling import SCALES
from .views import WINDOW_SCALES


@with_parameters
class ForecasterParameters:
    """Of all forecasters."""

    h: int = parameter("The horizon: steps to forecast.", COUNT, kw_only=False, default=1)
    lags: Any = parameter(
        'Steps of a window from which to forecast. "auto": one, two or four seasons or, where there is none, '
        "up to two horizons. A list names them one by one, as [1, 2, 24] hours before, which are read in the "
        "order of time; a window's scale is that of all steps up to the longest. None: a network reads "
        "each history from its first step, its state carried through, and answers after every step.",
        COUNT,
        StrOptions({"auto"}),
        None,
        "array-like",
        kind='int, list of int, "auto" or None',
        kw_only=False,
        default="auto",
    )
    regressor: Any = parameter(
        "What is trained, for instance `skrnn.LSTMRegressor(64, num_layers=2)` or a regressor of "
        "scikit-learn, which gets the window as one row of features. None: the network of the forecaster's "
        "name with `hidden_size`, `linear_skip`, `loss`, `max_steps`, `learning_rate_init`, `device`, "
        "`n_jobs` and `verbose`, which a regressor that is given has of its own.",
        HasMethods(["fit", "predict"]),
        None,
        kind="regressor or None",
        default=None,
    )
    strategy: Literal["direct", "recursive", "encoder_decoder"] = parameter(
        '"direct": answer all steps of the horizon at once; with `lags="auto"`, of a history shorter than '
        'three horizons a part of them, which is read to answer the next. "recursive": answer one step, '
        'which is then read as if it had been observed. "encoder_decoder": a second network, the decoder, '
        "begins in the last states of the one that has read the history, and goes through the steps of the "
        "horizon, each with the calendar, the `futr_exog` and the `stat_exog` of its own (Sutskever et al. "
        "2014). It is for horizons whose steps depend on what is known of them and of those before, such as "
        'prices and promotions, where "recursive" is as good but has no quantiles and no `hist_exog`; '
        'without such columns "direct" is as good and faster. Of `regressor`, an `RNNRegressor`, '
        "`LSTMRegressor` or `GRURegressor`, it takes the cell and the parameters; an encoder that reads "
        "both ways has half of its units for each. With `lags=None` each history is read anew from its "
        "first step for every horizon that is learnt, so set `lags` for long ones.",
        default="direct",
    )
    autoregressive: bool = parameter(
        'Of the strategy "encoder_decoder": whether a step also reads the answer to the one before, in '
        "training the true one (teacher forcing; Williams & Zipser 1989), in forecasts and in scores of "
        "validation data its own. A network that knows true ones only goes astray over long horizons.",
        default=False,
    )
    linear_skip: bool = parameter(
        "Add a linear map from the window to the horizon, trained together with the network; with lags only. "
        "A decoder has one from what a step reads to its answer, too; where there is none from the window, "
        "without lags or if it is autoregressive, it attends to all states of the history (Luong et al. "
        "2015).",
        default=True,
    )
    scaling: str | None = parameter(
        'What is taken off the targets, and their unit: "standard", the mean and the standard deviation; '
        '"robust", the median and the interquartile range; "minmax", the minimum and the range; "mean", '
        'nothing and the mean absolute value; "last", nothing and the window\'s last value. Where the unit '
        "would be 0, it is that of the level, or 1. Forecasts are always in the units of the data.",
        StrOptions({*SCALES, *WINDOW_SCALES}),
        kind='{"standard", "robust", "minmax", "mean", "last"} or None',
        default="standard",
    )
    scale_by: Literal["auto", "series", "window"] = parameter(
        "Whether the scale is that of each series' history in `fit`, or of each window; the latter for many "
        'series of different levels. "last" is always of the window. "auto": of all scales, differences and '
        "logarithms that are left to choose, those by which ridge regression forecasts the last windows best "
        "from what lies before them; up to five that differ, for a network each.",
        default="auto",
    )
    log1p: bool | Literal["auto"] = parameter(
        "Learn log(1 + y), before anything else.",
        "boolean",
        StrOptions({"auto"}),
        kind='bool or "auto"',
        default="auto",
    )
    differences: Any = parameter(
        "Learn differences to the values these lags before, one after the other, after `log1p` and before "
        "the scaling: 12 for the change to the month one year before. None: learn the values.",
        "array-like",
        COUNT,
        StrOptions({"auto"}),
        None,
        kind='int, list of int, "auto" or None',
        default="auto",
    )
    n_networks: int | Literal["auto"] = parameter(
        "How many networks are trained, from different random numbers and each on the best view of another "
        "kind, if there are several; the forecast is their mean, of four and more without the highest and "
        'the lowest. "auto": one for each of the best five kinds of views, but a single one of a `regressor` '
        "that is given, of a decoder, and of whole histories.",
        COUNT,
        StrOptions({"auto"}),
        kind='int or "auto"',
        default="auto",
    )
    calendar: Any = parameter(
        'Features from the stamps, each a point on a circle: "minute", "hour", "dayofweek", "day", '
        '"dayofyear", "week", "month", "quarter".',
        str,
        "array-like",
        None,
        kind="str, list of str or None",
        default=None,
    )
    futr_exog: Any = parameter(
        "Columns that are known in the future; `predict` needs them for the horizon. Numbers, or categories: "
        "a column of text or of dtype category becomes one of 0 and 1 for each category of `fit`, and other "
        "categories are refused later.",
        kind="name, list of names or None",
        default=None,
    )
    hist_exog: Any = parameter(
        "Columns that are known up to now only, numbers or categories.",
        kind="name, list of names or None",
        default=None,
    )
    stat_exog: Any = parameter(
        "Columns that are constant per series, numbers or categories, of a long frame or of `static_df`.",
        kind="name, list of names or None",
        default=None,
    )
    multivariate: bool = parameter(
        "Whether the columns of a wide frame are targets that are forecast together, each from all; else "
        "they are series that share one network.",
        default=False,
    )
    level: Any = parameter(
        "Prediction intervals in per cent, 80 for that from the 10th to the 90th percentile. With quantiles, "
        "the point forecast is the median.",
        "array-like",
        Interval(Real, 0, 100, closed="neither"),
        None,
        kind="float, list of float or None",
        default=None,
    )
    intervals: Literal["auto", "conformal", "quantile"] = parameter(
        '"conformal": widths such that intervals would have covered their share of the last windows, which a '
        'model that had not seen them forecast: one fit more. "quantile": quantiles that the network learns, '
        "which never cross, but are too narrow where it has seen few windows; with `differences`, those of "
        'the steps are added up as of independent steps. "auto": conformal, unless a series is too short.',
        default="auto",
    )
    calibration_windows: int | Literal["auto"] = parameter(
        "How many windows, at most, are held back for conformal intervals; those of short series overlap. "
        '"auto": so many that five lie outside of the widest interval, 25 for 80 % and 100 for 95 %.',
        Interval(Integral, 2, None, closed="left"),
        StrOptions({"auto"}),
        kind='int or "auto"',
        default="auto",
    )
    loss: Literal["auto", "absolute_error", "squared_error", "huber", "poisson"] = parameter(
        "What the network minimises in units of the scale, where it has no quantiles. The absolute error "
        'leads to medians, the squared one to means. "auto": the absolute one; but the squared one of series '
        "that are never negative and 0 in a quarter of the steps, such as intermittent demand, whose median "
        'may be 0. "poisson": that of counts, whose mean the network answers by its logarithm; nothing is '
        'taken off the values then, and scaling="standard" stands for "mean".',
        default="auto",
    )
    non_negative: bool | Literal["auto"] = parameter(
        'Whether forecasts and their bounds below 0 become 0. "auto": of targets never negative in `fit`.',
        "boolean",
        StrOptions({"auto"}),
        kind='bool or "auto"',
        default="auto",
    )
    hidden_size: int = parameter("Hidden units of the network.", COUNT, default=32)
    max_steps: int | None = parameter(
        "Updates of the weights, rounded to whole passes over the windows; each from a sixteenth of them, "
        "but 8 at least and 64 at most. Where there are more than 64 for each update, as many are drawn at "
        "random. None: 1000, in 30 passes at most, or a tenth of them where those tell more about the last "
        "windows than all: where noise is all that a network could add to the ridge regression it begins at.",
        COUNT,
        default=None,
    )
    learning_rate_init: float = parameter(
        "Adam's step size at the start; it falls along a cosine.", POSITIVE, default=2e-3
    )
    validation_fraction: float | None = parameter(
        "Share of every series' last windows that is held back to stop early, with a gap so that no target "
        "is in both parts. None: what a `regressor` with `early_stopping` has, else no early stopping.",
        INNER_SHARE,
        default=None,
    )
    freq: Any = parameter(
        "The step in time. None: that of the index, or what can be inferred.",
        kind="str, offset, int or None",
        default=None,
    )
    missing: Literal["error", "interpolate", "mask"] = parameter(
        "What to do about gaps and NaN in the data: refuse them; fill them linearly; or fill them, tell the "
        "network where, and learn only windows with no such target, which with a long horizon may be few. "
        "A series that is filled begins with the first row in which all its columns have a value, and keeps "
        "the last value to the end of its rows; but columns of a wide frame, unless `multivariate`, end with "
        "their last values and are forecast from there, and answers have NaN where others go on.",
        default="error",
    )
    short_series: Literal["raise", "drop", "pad"] = parameter(
        'What to do about series of fewer rows than `lags`, `differences` and the horizon need: "raise" an '
        'error; "drop" them from training; or "pad" them with the value they begin with, which says least: '
        "it is read, but never learnt as a target, and does not count for the scale. One warning counts "
        'them. With "pad" all are forecast, with "drop" those that have the rows that a forecast reads, '
        "`lags` and what `differences` need; a wide frame has NaN for the others. What is chosen by the "
        "lengths of series, such as `lags`, is with both chosen without those less than half as long as the "
        "median, and conformal widths are found without those that are too short for it.",
        default="raise",
    )
    id_col: Hashable = parameter(
        "The column of a long frame that tells its series apart. A frame that has `time_col` but no column "
        "of the default name is one series.",
        kind="name",
        default="unique_id",
    )
    time_col: Hashable = parameter("The column of a long frame with the stamps.", kind="name", default="ds")
    target_col: Hashable = parameter("The column of a long frame to forecast.", kind="name", default="y")
    alias: str | None = parameter(
        "The name of the model in answers, such as the column of a long frame; None: that of its class.",
        str,
        None,
        kind="str or None",
        default=None,
    )
    random_state: int | np.random.RandomState | None = parameter(
        "Seed of the weights and of which windows are taken, also of a `regressor` that has none.",
        "random_state",
        kind="int, RandomState or None",
        default=None,
    )
    device: str = parameter(
        "Where the network computes, as in `LSTMRegressor`.",
        Devices(),
        kind='{"cpu", "cuda", "cuda:N", "auto"}',
        default="cpu",
    )
    n_jobs: int | None = parameter(
        "Threads, of a fit or of the fits of a backtest; None: the processors, within the limits that "
        "joblib, threadpoolctl and OMP_NUM_THREADS set.",
        *THREADS,
        default=None,
    )
    verbose: bool | int = parameter("Show a progress bar.", "verbose", default=False)


ATTRIBUTES = """\
regressor_ : regressor
    What was trained, on the view that was judged best where there are several networks; several targets or
    steps of a regressor that has only one are in a `MultiOutputRegressor`.
lags_, scale_by_, differences_, log1p_ : lists of length n_networks
    What each network is shown, the best view first.
panel_ : Panel
    The histories as they were read.
model_ : Ensemble
    The regressors, each with what is done to its data.
widths_ : Widths or None
    Half widths of conformal intervals: ``widths_.by_step``, of shape (h,), times ``widths_.sizes``, of shape
    (n_levels, n_series, n_targets), and ``widths_.units``, the mean absolute steps of each series in `fit`.
"""
