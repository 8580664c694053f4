"""What the estimators' parameters may be, and what each of them means."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from ..backends import GPU
from .declare import parameter, with_parameters

POSITIVE = Interval(Real, 0, None, closed="neither")
FROM_ZERO = Interval(Real, 0, None, closed="left")
SHARE = Interval(Real, 0, 1, closed="left")
INNER_SHARE = Interval(Real, 0, 1, closed="neither")
COUNT = Interval(Integral, 1, None, closed="left")
THREADS = COUNT, Interval(Integral, None, -1, closed="right")


def as_python(value: Any) -> Any:
    """A number as Python's own: NumPy's small integers overflow where sizes are multiplied. Else as it is."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real) else value


def check_count(name: str, value: Any) -> None:
    """Raise a ValueError unless it is an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")


class Devices(StrOptions):
    """The names of devices; a GPU's may end in its number."""

    def __init__(self) -> None:
        super().__init__({"cpu", "cuda", "auto"})

    def is_satisfied_by(self, value: Any) -> bool:
        return super().is_satisfied_by(value) or (isinstance(value, str) and bool(GPU.fullmatch(value)))

    def __str__(self) -> str:
        return f"{super().__str__()} or 'cuda:' with the number of a GPU"


@with_parameters
class SharedParameters:
    """Of all estimators."""

    hidden_size: int = parameter(
        "Hidden units of each layer and direction.", COUNT, kw_only=False, default=32
    )
    num_layers: int = parameter(
        "Recurrent layers, each reading the states of the one below.", COUNT, default=1
    )
    bidirectional: bool = parameter(
        "Add a second direction that reads every sequence from its own end; both are concatenated.",
        default=False,
    )
    dropout: float = parameter(
        "Share of single values dropped between layers in training; of no effect with one layer.",
        SHARE,
        default=0.0,
    )
    head_dropout: float = parameter(
        "Share of single values dropped before the head in training: of what `pooling` gives, or each step.",
        SHARE,
        default=0.0,
    )
    recurrent_dropout: float = parameter(
        "Share of hidden units hidden from the recurrent weights in training, with one mask for all steps "
        "of a sequence (Gal & Ghahramani 2016).",
        SHARE,
        default=0.0,
    )
    pooling: Literal["last", "mean", "max", "attention"] = parameter(
        "What the head sees of a sequence: the state after its last step (of the reverse direction, after "
        "the first), the mean or the maximum over its steps, or a mean with weights that are learned: of "
        "step t, the softmax over time of v . tanh(W h_t) (Yang et al. 2016). `attention_weights` gives "
        "these; they need whole sequences, so that such a network cannot be streamed.",
        default="last",
    )
    return_sequences: bool = parameter(
        "Whether there is a target, and a prediction, for every time step.", default=False
    )
    features_per_step: int = parameter(
        "Of 2-D X only: how many neighbouring columns make one time step.", COUNT, default=1
    )
    newest_first: bool = parameter(
        "Of 2-D X only: whether the first step of a row is the newest. Targets, weights and predictions per "
        "step are in time order all the same, oldest first.",
        default=False,
    )
    static_columns: Any = parameter(
        "Of 2-D X only: columns that are no part of a time step, such as covariates behind the lags: names, "
        "positions (negative ones count from the end), a slice, a mask or a callable, as of scikit-learn's "
        "ColumnTransformer. They are fed to every step, as its last features. None: those that the names of "
        "a DataFrame tell from lags. Where the names are ``lag_1``, ``lag_2``, ... or ``x_lag_1``, ``lag1``, "
        "``lag_1__x``, ``x(t-1)``, ``x_t-1``, ``x.L1`` or, of all columns, ``x_L1``, for one or more series "
        "x, they also say the order of steps; a warning tells what was done where that is not what "
        "`features_per_step` and `newest_first` say. Without names, and with `newest_first`, columns behind "
        "windows that move along one series from row to row are static, with a warning; rows that are "
        "scaled, shuffled or left out hide that: name the columns here.",
        "array-like",
        slice,
        Integral,
        str,
        callable,
        None,
        kind="columns or None",
        default=None,
    )
    channels_first: bool = parameter(
        "Of 3-D X and lists only: whether sequences come as (n, F, T), or as arrays of shape (F, T_i), "
        "as sktime and aeon have them. Predictions per step still come as (n, T).",
        default=False,
    )
    embedding_size: int | Literal["auto"] | Sequence[int] | None = parameter(
        "Of sequences of tokens, such as the words of a text (`skrnn.text.TokenEncoder` numbers them), and "
        'of steps with categories: numbers in the vector of each, which are learnt. "auto" takes as many as '
        "there are tokens, 128 at most; of several categories a list says it for each. None: X are numbers.",
        COUNT,
        list,
        tuple,
        kind='int, "auto", list of int or None',
        default=None,
    )
    n_tokens: Any = parameter(
        "Rows of the table of vectors: tokens are 0 to n_tokens - 1; of several columns a list. Needed where "
        "a later call brings tokens that the first one has not. None: those of `embedding_weights`, or one "
        "more than the largest token, or than there are values of a category.",
        COUNT,
        "array-like",
        None,
        kind="int, list of int or None",
        default=None,
    )
    categorical_features: Any = parameter(
        "With `embedding_size`, of steps of several features: which are categories, each with a table of its "
        'own; the others go in as numbers. Positions, names or a mask, or "from_dtype": columns of '
        "frames that are of pandas's categorical type. Values are integers from 0 on; or strings, of objects "
        "and frames, and those of categorical columns, which are numbered from 1 on. An unknown or missing "
        "one is then 0. None: all, which have to be integers.",
        "array-like",
        StrOptions({"from_dtype"}),
        None,
        kind='array-like of int, str or bool, "from_dtype" or None',
        default=None,
    )
    embedding_weights: Any = parameter(
        "Vectors to begin with, such as pre-trained ones (see `TokenEncoder.vectors`), of shape (n_tokens, "
        "embedding_size); of several columns a list, with None for those that begin at random.",
        "array-like",
        list,
        None,
        kind="array-like, list of them or None",
        default=None,
    )
    freeze_embedding: bool = parameter(
        "Whether the vectors stay as they begin; `embedding_updates` is then of no effect.", default=False
    )
    embedding_updates: Literal["dense", "lazy"] = parameter(
        'Which vectors an update changes. "dense": all, as the solver says: momentum moves also those of '
        'tokens that a minibatch has not, and `alpha` shrinks them. "lazy": those of its tokens only, their '
        "moments and their decay (as TensorFlow's LazyAdam and PyTorch's SparseAdam do), in a time that does "
        "not depend on the size of the table.",
        default="dense",
    )
    embedding_dropout: float = parameter(
        "Share of tokens dropped in training, of each sequence by type: at all places of a token or at none "
        "(Gal & Ghahramani 2016).",
        SHARE,
        default=0.0,
    )
    solver: Literal["adam", "adamw", "sgd", "rmsprop"] = parameter(
        "Adam (Kingma & Ba 2015), AdamW (Loshchilov & Hutter 2019), momentum SGD, or RMSprop (Tieleman & "
        "Hinton 2012; its smoothing is `beta_2`).",
        default="adam",
    )
    alpha: float = parameter(
        'Weight decay: with solver="adamw" decoupled, weights shrink by learning rate times alpha; else '
        "alpha times the weight is added to its gradient (an L2 penalty of alpha / 2, which `loss_` does not "
        "include). Biases are exempt.",
        FROM_ZERO,
        default=1e-4,
    )
    batch_size: int | Literal["auto"] = parameter(
        'Sequences in a minibatch; "auto" takes 32, or all if there are fewer.',
        COUNT,
        kind='int or "auto"',
        default="auto",
    )
    learning_rate: Literal["constant", "cosine", "plateau"] = parameter(
        "Schedule: constant; half a cosine down to zero at `max_iter`; or, whenever training would stop for "
        "`n_iter_no_change`, a fifth of the rate until it is a thousandth of the first.",
        default="constant",
    )
    warmup_steps: int = parameter(
        "Updates over which the learning rate rises linearly from zero.",
        Interval(Integral, 0, None, closed="left"),
        default=0,
    )
    learning_rate_init: float = parameter("The first learning rate.", POSITIVE, default=2e-3)
    momentum: float = parameter('Momentum of solver="sgd".', SHARE, default=0.9)
    nesterovs_momentum: bool = parameter('Nesterov\'s form of it, for solver="sgd".', default=True)
    beta_1: float = parameter("Decay of Adam's running mean of gradients.", SHARE, default=0.9)
    beta_2: float = parameter(
        "Decay of the running mean of squared gradients, of Adam and RMSprop.", SHARE, default=0.999
    )
    epsilon: float = parameter("Added to the divisor of Adam and RMSprop.", POSITIVE, default=1e-8)
    max_grad_norm: float | None = parameter(
        "Gradients with a larger Euclidean norm are scaled down to it (Pascanu et al. 2013); None: never.",
        POSITIVE,
        default=1.0,
    )
    tbptt_steps: int | None = parameter(
        "Truncated back-propagation through time: read long sequences in chunks of this many steps, carry "
        "the state over, update after each chunk that holds a target. Memory then does not depend on the "
        "length of a sequence. Not with `bidirectional`, nor with attention.",
        COUNT,
        default=None,
    )
    max_iter: int = parameter("Epochs at most.", COUNT, default=200)
    shuffle: bool = parameter("Whether to draw minibatches in a new order each epoch.", default=True)
    tol: float = parameter(
        "An epoch counts as an improvement if the loss falls (with `early_stopping`, the validation score "
        "rises) by more than this.",
        FROM_ZERO,
        default=1e-4,
    )
    n_iter_no_change: int = parameter(
        "Training stops after this many epochs without an improvement.", COUNT, default=20
    )
    early_stopping: bool = parameter(
        "Hold back validation data, stop when their score does not improve, and keep the best weights.",
        default=False,
    )
    validation_fraction: float = parameter(
        "Share of the sequences held back by `early_stopping`, of those that have a weight. Regressors hold "
        "back at least two targets, which R^2 needs.",
        INNER_SHARE,
        default=0.1,
    )
    validation_split: Any = parameter(
        "Which sequences are held back: a random share (stratified by class), the last ones (for series in "
        "time order), or the first split of a scikit-learn splitter that has weights in both parts. It gets "
        "X and y as `fit` got them, and no groups: for these take PredefinedSplit, or X_val. Sequences of "
        "weight 0 are never held back.",
        StrOptions({"random", "last"}),
        HasMethods("split"),
        kind='{"random", "last"} or splitter',
        default="random",
    )
    warm_start: bool = parameter(
        "Whether `fit` goes on from the weights of the previous fit. A random split then holds back the same "
        "sequences again, whatever `random_state` is, and most of them where more sequences follow; a "
        "splitter does so if it has a fixed random_state. `partial_fit` trains on all that it is given.",
        default=False,
    )
    random_state: int | np.random.RandomState | None = parameter(
        "Initial weights, order of minibatches, validation split and dropout. The same seed gives the same "
        "bits on one kind of processor.",
        "random_state",
        kind="int, RandomState or None",
        default=None,
    )
    verbose: bool | int = parameter(
        "Show a progress bar: epoch, loss, validation score, time left.", "verbose", default=False
    )
    dtype: Literal["float32", "float64", "bfloat16"] = parameter(
        "Type of weights and arithmetic. With ``bfloat16``, for processors with AVX512_BF16, the products in "
        "time read numbers rounded to 8 bits of precision and add them up in float32, which is faster from "
        "about 64 hidden units on; all else, the weights too, is float32. Not for a GPU.",
        default="float32",
    )
    device: str = parameter(
        'Where to compute: "cuda" is the first NVIDIA GPU, "cuda:1" the next (with the extra ``cuda``). '
        '"auto" takes the GPU where X lies, or, if one works, the first where a training step has at least '
        "1e9 floating-point operations, else the CPU; `device_` says which, and predictions are made there. "
        "Like `n_jobs` it may be changed after `fit`: the next prediction follows. A model of a GPU predicts "
        "on the CPU, with a warning, where there is none.",
        Devices(),
        kind='{"cpu", "cuda", "cuda:N", "auto"}',
        default="cpu",
    )
    allow_tf32: bool = parameter(
        "Whether a GPU may round the factors of large float32 products to 10 bits of precision (TF32), which "
        "is faster; of no effect elsewhere.",
        default=False,
    )
    n_jobs: int | None = parameter(
        "Threads; None: as many as pay off, within the limits of joblib and threadpoolctl. The result does "
        "not depend on it.",
        *THREADS,
        default=None,
    )


@with_parameters
class RNNParameters:
    """Of estimators whose cell is a parameter."""

    cell: Literal["rnn", "lstm", "gru"] = parameter(
        "The recurrent cell: Elman's network, the LSTM or the GRU. A parameter of another cell is ignored, "
        "so that a search over cells can hold all of them.",
        default="rnn",
    )
    activation: Literal["tanh", "relu", "sigmoid"] = parameter("Activation of the RNN cell.", default="tanh")


@with_parameters
class GRUParameters:
    """Of estimators that may be a GRU."""

    reset_after: bool = parameter(
        "Of the GRU: apply the reset gate after the recurrent product, n = tanh(W x + b + r (U h + b')), "
        "h = (1 - z) n + z h (PyTorch, cuDNN), or before it, n = tanh(W x + U (r h) + b + b'), "
        "h = (1 - z) h + z n (Chung et al. 2014).",
        default=True,
    )


@with_parameters
class RegressorParameters:
    """Of regressors."""

    loss: Literal["squared_error", "absolute_error", "huber", "poisson", "quantile"] = parameter(
        'What the network minimises: "squared_error" (the plain mean of squares), "absolute_error", "huber", '
        '"poisson" (the head predicts the logarithm; targets from 0) or "quantile".',
        default="squared_error",
    )
    huber_delta: float = parameter(
        'Where loss="huber" turns from squares to absolute values.', POSITIVE, default=1.0
    )
    quantiles: Sequence[float] | None = parameter(
        'Rising levels for loss="quantile"; None: (0.1, 0.5, 0.9). Predicted quantiles never cross.',
        "array-like",
        kind="sequence of floats in (0, 1), or None",
        default=None,
    )
    linear_skip: bool = parameter(
        "Add a linear map from all steps straight to the outputs, trained with the rest: what is linear in a "
        "window of a series, such as its last value or the one of a season ago, the network need not learn. "
        "For sequences of equal length with one target each. It sees what the network sees, with "
        "`static_columns` at each step.",
        default=False,
    )


@with_parameters
class ClassifierParameters:
    """Of classifiers."""

    loss: Literal["log_loss", "crf"] = parameter(
        'What the network minimises. "log_loss": the cross-entropy. "crf", with `return_sequences`: that of '
        "the labels of all steps of a sequence together, by a conditional random field (Lafferty, McCallum & "
        "Pereira 2001), which also scores how labels follow on one another, begin and end; like biases, "
        "these scores do not decay. `predict` then gives the best path (Viterbi 1967), `predict_proba` "
        "marginal probabilities, and `loss_` is the mean over labelled steps. A step of weight 0 is "
        "unlabelled, and summed over; other weights are equal within a sequence. For one label per step; not "
        "with `class_weight` or `tbptt_steps`. Whole sequences are needed, so that such a network cannot be "
        "streamed.",
        default="log_loss",
    )
    class_weight: dict | Literal["balanced"] | None = parameter(
        "Weights of the classes in training, as in scikit-learn; for label sets a dict for each column, from "
        'its values. "balanced" is over the targets that are trained on. Scores, those on validation data '
        "too, are weighed by sample weights only.",
        dict,
        list,
        kind='dict, list of dicts, "balanced" or None',
        default=None,
    )
