"""What the estimators' parameters may be, and what each of them means."""

from __future__ import annotations

import inspect
import textwrap
from numbers import Integral, Real
from typing import Any, TypeVar

import numpy as np
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from ..backends import GPU

POSITIVE = Interval(Real, 0, None, closed="neither")
FROM_ZERO = Interval(Real, 0, None, closed="left")
SHARE = Interval(Real, 0, 1, closed="left")
COUNT = Interval(Integral, 1, None, closed="left")


def as_python(value: Any) -> Any:
    """A number as Python's own: NumPy's small integers overflow where sizes are multiplied. Else as it is."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real) else value


class Devices(StrOptions):
    """The names of devices; a GPU's may end in its number."""

    def __init__(self) -> None:
        super().__init__({"cpu", "cuda", "auto"})

    def is_satisfied_by(self, value: Any) -> bool:
        return super().is_satisfied_by(value) or (isinstance(value, str) and bool(GPU.fullmatch(value)))

    def __str__(self) -> str:
        return f"{super().__str__()} or 'cuda:' with the number of a GPU"


CONSTRAINTS: dict[str, list[Any]] = {
    "hidden_size": [COUNT],
    "num_layers": [COUNT],
    "bidirectional": ["boolean"],
    "dropout": [SHARE],
    "recurrent_dropout": [SHARE],
    "pooling": [StrOptions({"last", "mean", "max", "attention"})],
    "return_sequences": ["boolean"],
    "linear_skip": ["boolean"],
    "features_per_step": [COUNT],
    "newest_first": ["boolean"],
    "static_columns": ["array-like", slice, Integral, str, callable, None],
    "channels_first": ["boolean"],
    "solver": [StrOptions({"adam", "adamw", "sgd", "rmsprop"})],
    "alpha": [FROM_ZERO],
    "batch_size": [StrOptions({"auto"}), COUNT],
    "learning_rate": [StrOptions({"constant", "cosine", "plateau"})],
    "warmup_steps": [Interval(Integral, 0, None, closed="left")],
    "learning_rate_init": [POSITIVE],
    "momentum": [SHARE],
    "nesterovs_momentum": ["boolean"],
    "beta_1": [SHARE],
    "beta_2": [SHARE],
    "epsilon": [POSITIVE],
    "max_grad_norm": [POSITIVE, None],
    "tbptt_steps": [COUNT, None],
    "max_iter": [COUNT],
    "shuffle": ["boolean"],
    "tol": [FROM_ZERO],
    "n_iter_no_change": [COUNT],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
    "validation_split": [StrOptions({"random", "last"}), HasMethods("split")],
    "warm_start": ["boolean"],
    "random_state": ["random_state"],
    "verbose": ["verbose"],
    "dtype": [StrOptions({"float32", "float64", "bfloat16"})],
    "device": [Devices()],
    "allow_tf32": ["boolean"],
    "n_jobs": [COUNT, Interval(Integral, None, -1, closed="right"), None],
}

CELL_CONSTRAINTS: dict[str, list[Any]] = {
    "cell": [StrOptions({"rnn", "lstm", "gru"})],
    "activation": [StrOptions({"tanh", "relu", "sigmoid"})],
    "reset_after": ["boolean"],
}

DOCS = {
    "hidden_size": ("int", "Hidden units of each layer and direction."),
    "cell": (
        '{"rnn", "lstm", "gru"}',
        "The recurrent cell: Elman's network, the LSTM or the GRU. A parameter of another cell is ignored, "
        "so that a search over cells can hold all of them.",
    ),
    "activation": ('{"tanh", "relu", "sigmoid"}', "Activation of the RNN cell."),
    "reset_after": (
        "bool",
        "Of the GRU: apply the reset gate after the recurrent product, n = tanh(W x + b + r (U h + b')), "
        "h = (1 - z) n + z h (PyTorch, cuDNN), or before it, n = tanh(W x + U (r h) + b + b'), "
        "h = (1 - z) h + z n (Chung et al. 2014).",
    ),
    "num_layers": ("int", "Recurrent layers, each reading the states of the one below."),
    "bidirectional": (
        "bool",
        "Add a second direction that reads every sequence from its own end; both are concatenated.",
    ),
    "dropout": (
        "float in [0, 1)",
        "Share of single values dropped between layers in training; of no effect with one layer.",
    ),
    "recurrent_dropout": (
        "float in [0, 1)",
        "Share of hidden units hidden from the recurrent weights in training, with one mask for all steps "
        "of a sequence (Gal & Ghahramani 2016).",
    ),
    "pooling": (
        '{"last", "mean", "max", "attention"}',
        "What the head sees of a sequence: the state after its last step (of the reverse direction, after "
        "the first), the mean or the maximum over its steps, or a mean with weights that are learned: of "
        "step t, the softmax over time of v . tanh(W h_t) (Yang et al. 2016). `attention_weights` gives "
        "these; they need whole sequences, so that such a network cannot be streamed.",
    ),
    "return_sequences": (
        "bool",
        "Whether there is a target, and a prediction, for every time step.",
    ),
    "linear_skip": (
        "bool",
        "Add a linear map from all steps straight to the outputs, trained with the rest: what is linear in a "
        "window of a series, such as its last value or the one of a season ago, the network need not learn. "
        "For sequences of equal length with one target each. It sees what the network sees, with "
        "`static_columns` at each step.",
    ),
    "features_per_step": (
        "int",
        "Of 2-D X only: how many neighbouring columns make one time step.",
    ),
    "newest_first": (
        "bool",
        "Of 2-D X only: whether the first step of a row is the newest. Targets, weights and predictions per "
        "step are in time order all the same, oldest first.",
    ),
    "static_columns": (
        "columns or None",
        "Of 2-D X only: columns that are no part of a time step, such as covariates behind the lags: names, "
        "positions (negative ones count from the end), a slice, a mask or a callable, as of scikit-learn's "
        "ColumnTransformer. They are fed to every step, as its last features. None: those that the names of "
        "a DataFrame tell from lags. Where the names are ``lag_1``, ``lag_2``, ... or ``x_lag_1``, ``lag1``, "
        "``lag_1__x``, ``x(t-1)``, ``x_t-1``, ``x.L1`` or, of all columns, ``x_L1``, for one or more series "
        "x, they also say the order of steps; a warning tells what was done where that is not what "
        "`features_per_step` and `newest_first` say. Without names, and with `newest_first`, columns behind "
        "windows that move along one series from row to row are static, with a warning; rows that are "
        "scaled, shuffled or left out hide that: name the columns here.",
    ),
    "channels_first": (
        "bool",
        "Of 3-D X and lists only: whether sequences come as (n, F, T), or as arrays of shape (F, T_i), "
        "as sktime and aeon have them. Predictions per step still come as (n, T).",
    ),
    "alpha": (
        "float",
        'Weight decay: with solver="adamw" decoupled, weights shrink by learning rate times alpha; else '
        "alpha times the weight is added to its gradient (an L2 penalty of alpha / 2, which `loss_` does not "
        "include). Biases are exempt.",
    ),
    "solver": (
        '{"adam", "adamw", "sgd", "rmsprop"}',
        "Adam (Kingma & Ba 2015), AdamW (Loshchilov & Hutter 2019), momentum SGD, or RMSprop (Tieleman & "
        "Hinton 2012; its smoothing is `beta_2`).",
    ),
    "batch_size": (
        'int or "auto"',
        'Sequences in a minibatch; "auto" takes 32, or all if there are fewer.',
    ),
    "learning_rate": (
        '{"constant", "cosine", "plateau"}',
        "Schedule: constant; half a cosine down to zero at `max_iter`; or, whenever training would stop for "
        "`n_iter_no_change`, a fifth of the rate until it is a thousandth of the first.",
    ),
    "warmup_steps": ("int", "Updates over which the learning rate rises linearly from zero."),
    "learning_rate_init": ("float", "The first learning rate."),
    "momentum": ("float in [0, 1)", 'Momentum of solver="sgd".'),
    "nesterovs_momentum": ("bool", 'Nesterov\'s form of it, for solver="sgd".'),
    "beta_1": ("float in [0, 1)", "Decay of Adam's running mean of gradients."),
    "beta_2": (
        "float in [0, 1)",
        "Decay of the running mean of squared gradients, of Adam and RMSprop.",
    ),
    "epsilon": ("float", "Added to the divisor of Adam and RMSprop."),
    "max_grad_norm": (
        "float or None",
        "Gradients with a larger Euclidean norm are scaled down to it (Pascanu et al. 2013); None: never.",
    ),
    "tbptt_steps": (
        "int or None",
        "Truncated back-propagation through time: read long sequences in chunks of this many steps, carry "
        "the state over, update after each chunk that holds a target. Memory then does not depend on the "
        "length of a sequence. Not with `bidirectional`, nor with attention.",
    ),
    "max_iter": ("int", "Epochs at most."),
    "shuffle": ("bool", "Whether to draw minibatches in a new order each epoch."),
    "tol": (
        "float",
        "An epoch counts as an improvement if the loss falls (with `early_stopping`, the validation score "
        "rises) by more than this.",
    ),
    "n_iter_no_change": ("int", "Training stops after this many epochs without an improvement."),
    "early_stopping": (
        "bool",
        "Hold back validation data, stop when their score does not improve, and keep the best weights.",
    ),
    "validation_fraction": (
        "float in (0, 1)",
        "Share of the sequences held back by `early_stopping`, of those that have a weight. Regressors hold "
        "back at least two targets, which R^2 needs.",
    ),
    "validation_split": (
        '{"random", "last"} or splitter',
        "Which sequences are held back: a random share (stratified by class), the last ones (for series in "
        "time order), or the first split of a scikit-learn splitter that has weights in both parts. It gets "
        "X and y as `fit` got them, and no groups: for these take PredefinedSplit, or X_val. Sequences of "
        "weight 0 are never held back.",
    ),
    "warm_start": (
        "bool",
        "Whether `fit` goes on from the weights of the previous fit. A random split then holds back the same "
        "sequences again, whatever `random_state` is, and most of them where more sequences follow; a "
        "splitter does so if it has a fixed random_state. `partial_fit` trains on all that it is given.",
    ),
    "random_state": (
        "int, RandomState or None",
        "Initial weights, order of minibatches, validation split and dropout. The same seed gives the same "
        "bits on one kind of processor.",
    ),
    "verbose": ("bool or int", "Show a progress bar: epoch, loss, validation score, time left."),
    "dtype": (
        '{"float32", "float64", "bfloat16"}',
        "Type of weights and arithmetic. With ``bfloat16``, for processors with AVX512_BF16, the products in "
        "time read numbers rounded to 8 bits of precision and add them up in float32, which is faster from "
        "about 64 hidden units on; all else, the weights too, is float32. Not for a GPU.",
    ),
    "device": (
        '{"cpu", "cuda", "cuda:N", "auto"}',
        'Where to compute: "cuda" is the first NVIDIA GPU, "cuda:1" the next (with the extra ``cuda``). '
        '"auto" takes the GPU where X lies, or, if one works, the first where a training step has at least '
        "1e9 floating-point operations, else the CPU; `device_` says which, and predictions are made there. "
        "Like `n_jobs` it may be changed after `fit`: the next prediction follows. A model of a GPU predicts "
        "on the CPU, with a warning, where there is none.",
    ),
    "allow_tf32": (
        "bool",
        "Whether a GPU may round the factors of large float32 products to 10 bits of precision (TF32), which "
        "is faster; of no effect elsewhere.",
    ),
    "n_jobs": (
        "int or None",
        "Threads; None: as many as pay off, within the limits of joblib and threadpoolctl. The result does "
        "not depend on it.",
    ),
    "loss": (
        "str",
        'Regressors: "squared_error" (the plain mean of squares), "absolute_error", "huber", "poisson" (the '
        'head predicts the logarithm; targets from 0) or "quantile". Classifiers: "log_loss".',
    ),
    "huber_delta": ("float", 'Where loss="huber" turns from squares to absolute values.'),
    "quantiles": (
        "sequence of floats in (0, 1), or None",
        'Rising levels for loss="quantile"; None: (0.1, 0.5, 0.9). Predicted quantiles never cross.',
    ),
    "class_weight": (
        'dict, list of dicts, "balanced" or None',
        "Weights of the classes in training, as in scikit-learn; for label sets a dict for each column, from "
        'its values. "balanced" is over the targets that are trained on. Scores, those on validation data '
        "too, are weighed by sample weights only.",
    ),
}

ATTRIBUTES = """
weights_ : dict of str to ndarray
    Read-only: `set_weights` changes them. With PyTorch's names, layout and gate order (``weight_ih_l0``,
    ``weight_hh_l0``, ``bias_ih_l0``, ``bias_hh_l0``, ``..._reverse``), plus ``head.weight`` and
    ``head.bias``, and ``skip.weight`` (outputs, steps times features) with `linear_skip`, and
    ``attention.weight`` and ``attention.query``, the W and v of ``pooling="attention"``.
n_iter_ : int
    Epochs trained.
device_ : str
    Where `fit` computed: "cpu", "cuda:0", ...
loss_, best_loss_ : float or None
    Training loss of the last epoch, and the lowest of all; the mean over minibatches while the weights
    were changing. None where there was no epoch, after `from_weights`.
loss_curve_ : list of float
    Training loss of every epoch.
validation_scores_ : list of float or None
    `score` on the validation data after every epoch, with their sample weights and without class weights;
    None without validation data.
best_validation_score_ : float or None
    The highest of them; after a `warm_start`, of all fits.
history_ : dict of str to ndarray
    Columns ready for ``pandas.DataFrame``: epoch, loss, validation_score, learning_rate, gradient_norm
    (mean over the epoch's updates, before clipping), seconds (since the fit began; NaN for
    `partial_fit`). Of many calls of `partial_fit` it keeps, as `loss_curve_` does, the last 1,000.
n_features_in_ : int
    Columns of 2-D X, else features per time step.
feature_names_in_ : ndarray of str
    Column names, where X was a DataFrame with string names, or a list of them; with `channels_first` those of
    their rows.
step_columns_ : ndarray of int of shape (T, features per step)
    Which columns of 2-D X each time step reads, oldest step first, those of `static_columns` last.
n_outputs_ : int
    Targets (regressors), or raw scores of the head (classifiers).
""".strip()

CLASSES = """
classes_ : ndarray of shape (n_classes,)
    Class labels; of label sets the numbers of the columns, or their names from `partial_fit`.
label_values_ : ndarray of shape (n_labels, 2) or None
    The two values of each column of label sets, the one for "is there" last; None for classes. They are
    learnt from y: 0 and 1, -1 and 1, False and True, "no" and "yes". A column that holds one value only has
    the pair of the other columns, if they have one in common, else 0 and 1, else that value twice.
"""

Class = TypeVar("Class", bound=type)


def fill(text: str) -> str:
    return textwrap.fill(text, 96, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)


def parameters_section(cls: type, docs: dict[str, tuple[str, str]]) -> str:
    """The section Parameters of a class, from its signature and, for each name, a type and a text."""
    lines = ["Parameters", "----------"]
    for name, parameter in inspect.signature(cls).parameters.items():
        kind, text = docs[name]
        lines += [f"{name} : {kind}, default={parameter.default!r}", fill(text)]
    return "\n".join(lines) + "\n"


def documented(cls: Class) -> Class:
    """Put the sections Parameters and Attributes into a class's docstring, from its signature."""
    attributes = ATTRIBUTES
    if "class_weight" in inspect.signature(cls).parameters:
        attributes += CLASSES.rstrip()
    if "quantiles" in inspect.signature(cls).parameters:
        attributes += '\nquantiles_ : ndarray of shape (n_quantiles,)\n    Levels of loss="quantile".'
    section = f"{parameters_section(cls, DOCS)}\nAttributes\n----------\n{attributes}\n"
    cls.__doc__ = inspect.cleandoc(cls.__doc__ or "").replace("{parameters}", section)
    return cls
