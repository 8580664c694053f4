"""Translators: an encoder reads one text, a decoder writes another."""

from __future__ import annotations

from ..estimators.declare import with_parameters
from ..estimators.parameters import GRUParameters, RNNParameters
from .parameters import TrainingParameters, TranslatorParameters
from .translator import Translator

ATTRIBUTES = """
source_encoder_, target_encoder_ : TokenEncoder
    Fitted: from texts to tokens and back.
weights_ : dict of str to ndarray
    ``encoder.embedding.weight`` and ``decoder.embedding.weight`` (the vectors of tokens; with `tie_weights`
    the latter are ``head.weight``), arrays of the layers with PyTorch's names behind ``encoder.`` and
    ``decoder.``, ``attention.keys.weight`` of "general" attention, ``attention.weight`` and
    ``attention.bias`` of the layer that joins its outcome with a state, ``head.weight`` and ``head.bias`` of
    the softmax; read-only.
n_tokens_ : int
    That are scored: an unknown one, 0, those of the target's encoder, and two for begin and end.
max_length_ : int
    Tokens of a translation and its end, at most.
history_ : dict of str to ndarray
    ``epoch`` (passes so far), ``loss`` (nats for each target token, smoothed as `label_smoothing` says),
    ``validation_score``, ``learning_rate``, ``gradient_norm`` and ``seconds``, a value for each row; see
    `steps_per_row`.
n_iter_ : int
    Whole passes.
loss_, best_loss_ : float or None
    Of the last row, and the lowest; None where training was interrupted within the first.
best_validation_score_ : float or None
device_ : str
    Where it was trained.
"""


@with_parameters
class RNNTranslator(TrainingParameters, TranslatorParameters, RNNParameters, GRUParameters, Translator):
    """A recurrent network that reads a text and writes another: sequence to sequence.

    An encoder reads the source; a decoder begins in its last states, reads at each step its own last token
    and scores the next one (Sutskever, Vinyals & Le 2014, "Sequence to sequence learning with neural
    networks"). With attention each of its steps also looks back at all states of the encoder (Luong, Pham &
    Manning 2015, "Effective approaches to attention-based neural machine translation"). It learns from the
    right tokens before, and translates by a search with its own.

    {parameters}
    Examples
    --------
    >>> from skrnn.text import RNNTranslator
    >>> words = ["one", "two", "three", "four", "five"]
    >>> X = [f"{a} {b}" for a in words for b in words]
    >>> y = [f"{b} {a}" for a in words for b in words]
    >>> model = RNNTranslator(32, cell="gru", max_iter=60, random_state=0).fit(X, y)
    >>> model.predict(["one two", "five three"]).tolist()
    ['two one', 'three five']
    """

    _attributes = ATTRIBUTES

    @property
    def _cell(self) -> str:
        return self.cell


@with_parameters
class LSTMTranslator(TrainingParameters, TranslatorParameters, Translator):
    """A network of LSTM layers that reads a text and writes another: sequence to sequence.

    See `RNNTranslator`.

    {parameters}
    Examples
    --------
    From letters to sounds:

    >>> from skrnn.text import LSTMTranslator
    >>> words = ["cat", "tack", "act", "kit", "tick"]
    >>> sounds = [["K", "AE", "T"], ["T", "AE", "K"], ["AE", "K", "T"], ["K", "IH", "T"], ["T", "IH", "K"]]
    >>> model = LSTMTranslator(32, source_encoder="char", max_iter=100, random_state=0).fit(words, sounds)
    >>> model.predict(["tick"])[0]
    ['T', 'IH', 'K']
    """

    _attributes = ATTRIBUTES

    @property
    def _cell(self) -> str:
        return "lstm"


@with_parameters
class GRUTranslator(TrainingParameters, TranslatorParameters, GRUParameters, Translator):
    """A network of GRU layers that reads a text and writes another: sequence to sequence.

    See `RNNTranslator`.

    {parameters}
    Examples
    --------
    >>> from skrnn.text import GRUTranslator
    >>> X, y = ["un", "deux", "trois", "deux trois", "un deux"] * 4, ["1", "2", "3", "2 3", "1 2"] * 4
    >>> model = GRUTranslator(32, dropout=0.0, max_iter=40, random_state=0).fit(X, y)
    >>> [text for text, log_prob in model.predict_n_best(["deux trois"], 1)[0]]
    ['2 3']
    """

    _attributes = ATTRIBUTES

    @property
    def _cell(self) -> str:
        return "gru"
