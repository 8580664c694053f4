"""What the transcribers' parameters may be, and what each of them means."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any, Literal

from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from ..estimators.declare import like, parameter, with_parameters
from ..estimators.parameters import COUNT, INNER_SHARE, SHARE, SharedParameters
from ..text.encoder import TokenEncoder

HOW_MANY = Interval(Integral, 0, None, closed="left")


@with_parameters
class TranscriberParameters:
    """Of all transcribers."""

    hidden_size: int = parameter(
        "Hidden units of each layer and direction.", COUNT, kw_only=False, default=128
    )
    num_layers: int = parameter(
        "Recurrent layers, each reading the states of the one below.", COUNT, default=2
    )
    bidirectional: bool = parameter(
        "Whether every recording is read from both ends; `stream` needs False.", default=True
    )
    features: Any = parameter(
        "What makes frames of recordings: a `LogMelSpectrogram`, an `MFCC`, or any transformer from signals "
        'or paths to arrays (n_frames, n_features), which is copied. "auto": of signals and paths '
        "`LogMelSpectrogram()`, which takes signals to have 16,000 samples a second; else X are frames. "
        "None: X are frames.",
        HasMethods(["fit", "transform"]),
        StrOptions({"auto"}),
        None,
        default="auto",
        kind='transformer, "auto" or None',
    )
    label_encoder: Any = parameter(
        'What a label is: "char", each character of a text; "word", words and, one by one, signs of '
        'punctuation; "tokens", each item of a list of strings; "auto", characters of texts and items of '
        "lists; or a `TokenEncoder`, fitted or not, which is copied.",
        StrOptions({"auto", "word", "char", "tokens"}),
        TokenEncoder,
        default="auto",
        kind='{"auto", "word", "char", "tokens"} or TokenEncoder',
    )
    stack_frames: int = parameter(
        "So many neighbouring frames are one step of the network (frame stacking and skipping, Sak et al. "
        "2015): fewer steps, which take less time. A recording needs one for each of its labels.",
        COUNT,
        default=1,
    )
    speeds: Sequence[float] | None = parameter(
        "Speed perturbation (Ko et al. 2015): training hears every recording at these speeds, too, such as "
        "(0.9, 1.1), beside its own. Of signals pitch changes with speed; frames that are given are "
        "interpolated.",
        "array-like",
        None,
        default=None,
        kind="sequence of float or None",
    )
    time_masks: int = parameter(
        "Masks over neighbouring steps that each recording gets in training, others in each pass: they "
        'become 0, which is the mean of every feature (Park et al. 2019, "SpecAugment").',
        HOW_MANY,
        default=2,
    )
    time_mask_share: float = parameter(
        "Share of a recording's steps that one of them hides at most.", SHARE, default=0.1
    )
    feature_masks: int = parameter(
        "Likewise over neighbouring features: frequency masks, where these are mel bands.",
        HOW_MANY,
        default=3,
    )
    feature_mask_share: float = parameter("Share of the features that one hides at most.", SHARE, default=0.3)
    dropout: float = parameter(
        "Share of single values dropped between layers and before the head in training.", SHARE, default=0.4
    )
    beam_size: int = parameter(
        "Beginnings of label sequences that are kept at each step of a search, in which the probabilities of "
        "all paths that say the same are added up (Graves 2012); 1: the most probable label of each step.",
        COUNT,
        default=10,
    )
    batch_size: int | Literal["auto"] = parameter(
        'Recordings of a minibatch; "auto" takes 32, or fewer where a pass would have less than 100 updates.',
        COUNT,
        kind='int or "auto"',
        default="auto",
    )
    learning_rate_init: float = like(SharedParameters, "learning_rate_init", default=3e-3)
    max_iter: int | Literal["auto"] = parameter(
        'Passes over the recordings at most; "auto" takes 10 to 20, in which there are about 10,000 updates, '
        "or up to 100 where 20 would have less than 1,000.",
        COUNT,
        kind='int or "auto"',
        default="auto",
    )
    shuffle: bool = parameter("Whether recordings are drawn in a new order each pass.", default=True)
    validation_fraction: float = parameter(
        "Share of the recordings that `early_stopping` holds back.", INNER_SHARE, default=0.1
    )
