"""What the parameters of language models may be, and what each of them means."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from sklearn.utils._param_validation import HasMethods, StrOptions

from ..estimators.declare import like, parameter, with_parameters
from ..estimators.parameters import COUNT, FROM_ZERO, INNER_SHARE, SHARE, SharedParameters


@with_parameters
class LanguageModelParameters:
    """Of all language models."""

    hidden_size: int = parameter("Hidden units of each layer.", COUNT, kw_only=False, default=256)
    num_layers: int = like(SharedParameters, "num_layers", default=1)
    encoder: Any = parameter(
        'What a token is: "char", each character; "word", words and, one by one, signs of punctuation and '
        "the ends of lines; or a `TokenEncoder`, fitted or not, which is copied. One that is not fitted "
        "learns its vocabulary from the texts. What one has learnt is lost where the model is cloned, as by "
        "searches: pass it as the encoder's `vocabulary` then.",
        StrOptions({"char", "word"}),
        HasMethods(["fit", "transform", "inverse_transform", "get_feature_names_out"]),
        default="char",
        kind='{"char", "word"} or TokenEncoder',
    )
    embedding_size: int | Literal["auto"] = parameter(
        'Numbers in the vector of a token; "auto" takes `hidden_size` or, unless `tie_weights`, as many as '
        "there are tokens, if they are fewer.",
        COUNT,
        kind='int or "auto"',
        default="auto",
    )
    tie_weights: bool = parameter(
        "Whether the vectors of tokens are the weights of the softmax, too (Press & Wolf 2017); with another "
        "`embedding_size` than `hidden_size` a linear map leads from the layers to them.",
        default=False,
    )
    dropout: float = parameter(
        "Share of single values dropped in training: of vectors, between layers and before the softmax "
        "(Zaremba et al. 2014).",
        SHARE,
        default=0.0,
    )
    recurrent_dropout: float = like(SharedParameters, "recurrent_dropout", default=0.0)
    embedding_dropout: float = like(SharedParameters, "embedding_dropout", default=0.0)
    solver: Literal["adam", "adamw", "sgd", "rmsprop"] = like(SharedParameters, "solver", default="adam")
    alpha: float = like(SharedParameters, "alpha", default=0.0)
    batch_size: int | Literal["auto"] = parameter(
        "Streams that are read side by side: one text is cut into so many, of documents each stream is one. "
        '"auto" takes 16, or fewer where a pass would have less than 100 updates.',
        COUNT,
        kind='int or "auto"',
        default="auto",
    )
    tbptt_steps: int = parameter(
        "Tokens of each stream between two updates (truncated back-propagation through time); the state is "
        "carried over.",
        COUNT,
        default=64,
    )
    learning_rate: Literal["constant", "cosine", "plateau"] = like(
        SharedParameters, "learning_rate", default="cosine"
    )
    warmup_steps: int = like(SharedParameters, "warmup_steps", default=0)
    learning_rate_init: float = like(SharedParameters, "learning_rate_init", default=6e-3)
    momentum: float = like(SharedParameters, "momentum", default=0.9)
    nesterovs_momentum: bool = like(SharedParameters, "nesterovs_momentum", default=True)
    beta_1: float = like(SharedParameters, "beta_1", default=0.9)
    beta_2: float = like(SharedParameters, "beta_2", default=0.999)
    epsilon: float = like(SharedParameters, "epsilon", default=1e-8)
    max_grad_norm: float | None = like(SharedParameters, "max_grad_norm", default=1.0)
    max_iter: int | Literal["auto"] = parameter(
        'Passes over the text at most; "auto" takes 10 to 20, in which there are about 10,000 updates, or up '
        "to 100 where 20 would have less than 1,000.",
        COUNT,
        kind='int or "auto"',
        default="auto",
    )
    steps_per_row: int | None = parameter(
        "Updates of a row of the history, after which progress is shown and, with validation data, these are "
        "scored; a pass can last minutes. None: a tenth of a pass, but at least 100.",
        COUNT,
        default=None,
    )
    shuffle: bool = parameter(
        "Whether documents are drawn in a new order each pass; one text is read in its own.", default=True
    )
    tol: float = parameter(
        "A row of the history counts as an improvement if the loss falls (with `early_stopping`, the "
        "validation score rises) by more than this.",
        FROM_ZERO,
        default=1e-4,
    )
    n_iter_no_change: int = parameter(
        "Training stops after this many rows of the history without an improvement.", COUNT, default=20
    )
    early_stopping: bool = parameter(
        "Hold back validation data, stop when their score does not improve, and keep the best weights.",
        default=False,
    )
    validation_fraction: float = parameter(
        "Share held back by `early_stopping`: of one text its end, of documents so many of them.",
        INNER_SHARE,
        default=0.1,
    )
    warm_start: bool = parameter(
        "Whether `fit` goes on from the weights and the vocabulary of the previous fit.", default=False
    )
    random_state: int | np.random.RandomState | None = like(SharedParameters, "random_state", default=None)
    verbose: bool | int = like(SharedParameters, "verbose", default=False)
    dtype: Literal["float32", "float64", "bfloat16"] = like(SharedParameters, "dtype", default="float32")
    device: str = like(SharedParameters, "device", default="cpu")
    allow_tf32: bool = like(SharedParameters, "allow_tf32", default=False)
    n_jobs: int | None = like(SharedParameters, "n_jobs", default=None)
