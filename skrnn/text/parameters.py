"""What the parameters of models of texts may be, and what each of them means."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from sklearn.utils._param_validation import StrOptions

from ..estimators.declare import like, parameter, with_parameters
from ..estimators.parameters import COUNT, FROM_ZERO, INNER_SHARE, SHARE, SharedParameters
from .encoder import TokenEncoder

ENCODER = StrOptions({"auto", "word", "char", "tokens"}), TokenEncoder


@with_parameters
class TrainingParameters:
    """Of all of them: how they learn."""

    recurrent_dropout: float = like(SharedParameters, "recurrent_dropout", default=0.0)
    solver: Literal["adam", "adamw", "sgd", "rmsprop"] = like(SharedParameters, "solver", default="adam")
    alpha: float = like(SharedParameters, "alpha", default=0.0)
    learning_rate: Literal["constant", "cosine", "plateau"] = like(
        SharedParameters, "learning_rate", default="cosine"
    )
    warmup_steps: int = like(SharedParameters, "warmup_steps", default=0)
    momentum: float = like(SharedParameters, "momentum", default=0.9)
    nesterovs_momentum: bool = like(SharedParameters, "nesterovs_momentum", default=True)
    beta_1: float = like(SharedParameters, "beta_1", default=0.9)
    beta_2: float = like(SharedParameters, "beta_2", default=0.999)
    epsilon: float = like(SharedParameters, "epsilon", default=1e-8)
    max_grad_norm: float | None = like(SharedParameters, "max_grad_norm", default=1.0)
    steps_per_row: int | None = parameter(
        "Updates of a row of the history, after which progress is shown and, with validation data, these are "
        "scored; a pass can last minutes. None: a tenth of a pass, but at least 100.",
        COUNT,
        default=None,
    )
    tol: float = parameter(
        "A row of the history counts as an improvement if the loss falls (with `early_stopping`, the "
        "validation score rises) by more than this.",
        FROM_ZERO,
        default=1e-4,
    )
    n_iter_no_change: int = parameter(
        "Training stops after this many passes without an improvement; of the loss not with the schedule "
        '"cosine", which ends by itself.',
        COUNT,
        default=5,
    )
    early_stopping: bool = parameter(
        "Hold back validation data, stop when their score does not improve, and keep the best weights.",
        default=False,
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


@with_parameters
class LanguageModelParameters:
    """Of all language models."""

    hidden_size: int = parameter("Hidden units of each layer.", COUNT, kw_only=False, default=256)
    num_layers: int = like(SharedParameters, "num_layers", default=1)
    encoder: Any = parameter(
        'What a token is: "char", each character; "word", words and, one by one, signs of punctuation and '
        'the ends of lines; "tokens", each item of documents that are lists of strings; or a '
        "`TokenEncoder`, fitted or not, which is copied. One that is not fitted "
        "learns its vocabulary from the texts. What one has learnt is lost where the model is cloned, as by "
        "searches: pass it as the encoder's `vocabulary` then.",
        StrOptions({"char", "word", "tokens"}),
        TokenEncoder,
        default="char",
        kind='{"char", "word", "tokens"} or TokenEncoder',
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
    embedding_dropout: float = like(SharedParameters, "embedding_dropout", default=0.0)
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
    learning_rate_init: float = like(SharedParameters, "learning_rate_init", default=6e-3)
    max_iter: int | Literal["auto"] = parameter(
        'Passes over the text at most; "auto" takes 10 to 20, in which there are about 10,000 updates, or up '
        "to 100 where 20 would have less than 1,000.",
        COUNT,
        kind='int or "auto"',
        default="auto",
    )
    shuffle: bool = parameter(
        "Whether documents are drawn in a new order each pass; one text is read in its own.", default=True
    )
    validation_fraction: float = parameter(
        "Share held back by `early_stopping`: of one text its end, of documents so many of them.",
        INNER_SHARE,
        default=0.1,
    )


@with_parameters
class TranslatorParameters:
    """Of all translators."""

    hidden_size: int = parameter(
        "Hidden units of each layer; of an encoder that reads both ways half of them read backwards.",
        COUNT,
        kw_only=False,
        default=256,
    )
    num_layers: int = parameter(
        "Recurrent layers of the encoder, and as many of the decoder, which begin in the last states of the "
        "encoder's.",
        COUNT,
        default=1,
    )
    bidirectional: bool = parameter(
        "Whether the encoder reads a source from both ends; `hidden_size` is even then.", default=True
    )
    embedding_size: int | Literal["auto"] = parameter(
        'Numbers in the vector of a token; "auto" takes `hidden_size`.',
        COUNT,
        kind='int or "auto"',
        default="auto",
    )
    attention: Literal["dot", "general"] | None = parameter(
        "How each step of the decoder finds what it needs of the source (Luong et al. 2015): by the product "
        'of its state with those of the encoder ("dot"), with a linear map between them ("general"), or not '
        "at all: then it has only the last states of the encoder.",
        default="dot",
    )
    source_encoder: Any = parameter(
        'What a token of the source is: "word", words and, one by one, signs of punctuation; "char", each '
        'character; "tokens", each item of a list of strings; "auto", words of texts and items of lists; or '
        "a `TokenEncoder`, fitted or not, which is copied.",
        *ENCODER,
        default="auto",
        kind='{"auto", "word", "char", "tokens"} or TokenEncoder',
    )
    target_encoder: Any = parameter(
        "Likewise of the target.",
        *ENCODER,
        default="auto",
        kind='{"auto", "word", "char", "tokens"} or TokenEncoder',
    )
    tie_weights: bool = parameter(
        "Whether the vectors of target tokens are the weights of the softmax, too (Press & Wolf 2017).",
        default=False,
    )
    dropout: float = parameter(
        "Share of single values dropped in training: of vectors, between layers and before the softmax "
        "(Zaremba et al. 2014).",
        SHARE,
        default=0.4,
    )
    embedding_dropout: float = like(SharedParameters, "embedding_dropout", default=0.0)
    label_smoothing: float = parameter(
        "Share of the target's probability that is spread over all tokens in training (Szegedy et al. 2016).",
        SHARE,
        default=0.1,
    )
    beam_size: int = parameter(
        "Beginnings of translations that are kept at each step of a search (Graves 2012); 1: always the most "
        "probable token.",
        COUNT,
        default=5,
    )
    length_penalty: float = parameter(
        "Searches rank translations by log p / length ** length_penalty: with 0 short ones win.",
        FROM_ZERO,
        default=0.6,
    )
    max_length: int | Literal["auto"] = parameter(
        "Tokens of a translation, its end included, at most: one that has not ended then is cut, with a "
        'warning. "auto": twice as many as the longest target has that was learnt from.',
        COUNT,
        kind='int or "auto"',
        default="auto",
    )
    batch_size: int | Literal["auto"] = parameter(
        'Pairs of a minibatch; "auto" takes 32, or fewer where a pass would have less than 100 updates.',
        COUNT,
        kind='int or "auto"',
        default="auto",
    )
    learning_rate_init: float = like(SharedParameters, "learning_rate_init", default=3e-3)
    max_iter: int | Literal["auto"] = parameter(
        'Passes over the pairs at most; "auto" takes 10 to 20, in which there are about 10,000 updates, or '
        "up to 100 where 20 would have less than 1,000.",
        COUNT,
        kind='int or "auto"',
        default="auto",
    )
    shuffle: bool = parameter("Whether pairs are drawn in a new order each pass.", default=True)
    validation_fraction: float = parameter(
        "Share of the pairs that `early_stopping` holds back.", INNER_SHARE, default=0.1
    )
