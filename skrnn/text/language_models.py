"""Language models: what the next token of a text is, by all that came before."""

from __future__ import annotations

from ..estimators.declare import with_parameters
from ..estimators.parameters import GRUParameters, RNNParameters
from .language_model import LanguageModel
from .parameters import LanguageModelParameters, TrainingParameters

ATTRIBUTES = """
encoder_ : TokenEncoder
    Fitted: from texts to tokens and back.
weights_ : dict of str to ndarray
    ``embedding.weight`` (the vectors of tokens; with `tie_weights` those of ``head.weight``), arrays of
    the layers with PyTorch's names, ``head.weight`` and ``head.bias`` of the softmax, and where a map
    leads to tied weights ``projection.weight`` and ``projection.bias``; read-only.
n_tokens_ : int
    Rows of the table: the unknown token, 0, those of the encoder, and two for the begin of a text and the end
    of a document.
history_ : dict of str to ndarray
    ``epoch`` (passes so far), ``loss`` (nats for each token), ``validation_score``, ``learning_rate``,
    ``gradient_norm`` and ``seconds``, a value for each row; see `steps_per_row`.
n_iter_ : int
    Whole passes.
loss_, best_loss_ : float or None
    Of the last row, and the lowest; None where training was interrupted within the first.
best_validation_score_ : float or None
device_ : str
    Where it was trained.
"""


@with_parameters
class RNNLanguageModel(
    TrainingParameters, LanguageModelParameters, RNNParameters, GRUParameters, LanguageModel
):
    """A recurrent network that reads a text and says of each token how probable it was.

    It learns from one text, or from documents; scores others, and writes some. Its network are vectors of
    tokens, recurrent layers, and a softmax over all tokens, trained by truncated back-propagation through
    time (Mikolov et al. 2010, "Recurrent neural network based language model").

    {parameters}
    Examples
    --------
    >>> from skrnn.text import RNNLanguageModel
    >>> text = "the quick brown fox jumps over the lazy dog. " * 20
    >>> model = RNNLanguageModel(32, cell="gru", max_iter=30, random_state=0).fit(text)
    >>> model.perplexity("the lazy fox.") < 10
    True
    """

    _attributes = ATTRIBUTES

    @property
    def _cell(self) -> str:
        return self.cell


@with_parameters
class LSTMLanguageModel(TrainingParameters, LanguageModelParameters, LanguageModel):
    """A network of LSTM layers that reads a text and says of each token how probable it was.

    See `RNNLanguageModel`.

    {parameters}
    Examples
    --------
    >>> from skrnn.text import LSTMLanguageModel
    >>> names = ["anna", "hanna", "johanna", "susanna", "marianna", "rosanna"] * 10
    >>> model = LSTMLanguageModel(32, max_iter=40, random_state=0).fit(names)
    >>> model.log_prob("anna") > model.log_prob("naan")
    True
    """

    _attributes = ATTRIBUTES

    @property
    def _cell(self) -> str:
        return "lstm"


@with_parameters
class GRULanguageModel(TrainingParameters, LanguageModelParameters, GRUParameters, LanguageModel):
    """A network of GRU layers that reads a text and says of each token how probable it was.

    See `RNNLanguageModel`.

    {parameters}
    Examples
    --------
    >>> from skrnn.text import GRULanguageModel
    >>> model = GRULanguageModel(16, max_iter=40, tbptt_steps=16, random_state=0)
    >>> model = model.fit("to be or not " * 40)
    >>> model.generate("to be or", max_tokens=9, temperature=0)
    ' not to b'
    """

    _attributes = ATTRIBUTES

    @property
    def _cell(self) -> str:
        return "gru"
