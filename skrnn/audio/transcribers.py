"""Transcribers: what is said in a recording, learnt without knowing where."""

from __future__ import annotations

from ..estimators.declare import with_parameters
from ..estimators.parameters import GRUParameters, RNNParameters
from ..text.parameters import TrainingParameters
from .parameters import TranscriberParameters
from .transcriber import Transcriber

ATTRIBUTES = """
features_ : transformer or None
    Fitted: from recordings to frames.
label_encoder_ : TokenEncoder
    Fitted: from texts to labels and back.
feature_means_, feature_deviations_ : ndarray of shape (n_features,)
    Of the frames of `fit`: the network reads what is left when these are taken out.
weights_ : dict of str to ndarray
    Arrays of the layers with PyTorch's names, and ``head.weight`` and ``head.bias`` of the map to the scores
    of labels, the blank first; read-only.
n_tokens_ : int
    Labels that are scored, and the blank: those of ``label_encoder_.get_feature_names_out()``, whose first,
    its unknown token, stands for the blank.
n_features_in_ : int
    Of a frame.
history_ : dict of str to ndarray
    ``epoch`` (passes so far), ``loss`` (nats for each recording), ``validation_score`` (1 - label error
    rate), ``learning_rate``, ``gradient_norm`` and ``seconds``, a value for each row; see `steps_per_row`.
n_iter_ : int
    Whole passes.
loss_, best_loss_ : float or None
    Of the last row, and the lowest; None where training was interrupted within the first.
best_validation_score_ : float or None
device_ : str
    Where it was trained.
"""


@with_parameters
class RNNTranscriber(TrainingParameters, TranscriberParameters, RNNParameters, GRUParameters, Transcriber):
    """A recurrent network that says what is said in a recording: from signals to labels, which are fewer and
    lie at unknown places.

    It scores all labels and a blank at each step, and learns by connectionist temporal classification (Graves
    et al. 2006): the probability of a label sequence is that of all paths through the steps that say it.
    Anything will do where labels are shorter than frames and not aligned to them: speech, call signs, machine
    sounds, gestures, strokes of handwriting.

    {parameters}
    Examples
    --------
    Frames that are near to one of three vectors, "a", "b" and silence, for some steps each:

    >>> import numpy as np
    >>> from skrnn.audio import RNNTranscriber
    >>> rng = np.random.default_rng(0)
    >>> def frames(text):
    ...     steps = [np.eye(3)[[label] * rng.integers(2, 5)] for c in text for label in ("ab".index(c), 2)]
    ...     return np.concatenate(steps) + rng.normal(scale=0.1, size=(sum(map(len, steps)), 3))
    >>> texts = ["".join(rng.choice(["a", "b"], rng.integers(1, 6))) for _ in range(60)]
    >>> model = RNNTranscriber(16, cell="gru", num_layers=1, max_iter=20, random_state=0)
    >>> model.fit([frames(text) for text in texts], texts).predict([frames("abba")])[0]
    'abba'
    """

    _attributes = ATTRIBUTES

    @property
    def _cell(self) -> str:
        return self.cell


@with_parameters
class LSTMTranscriber(TrainingParameters, TranscriberParameters, Transcriber):
    """A network of LSTM layers that says what is said in a recording.

    See `RNNTranscriber`.

    {parameters}
    Examples
    --------
    From signals, by features that are asked for:

    >>> import numpy as np
    >>> from skrnn.audio import LSTMTranscriber, LogMelSpectrogram
    >>> rng, t = np.random.default_rng(0), np.arange(1600) / 8000
    >>> def signal(text):
    ...     tones = [np.sin(2 * np.pi * {"a": 500, "b": 1500}[c] * t) * np.hanning(1600) for c in text]
    ...     return np.concatenate(tones) + rng.normal(scale=0.05, size=1600 * len(text))
    >>> texts = ["".join(rng.choice(["a", "b"], rng.integers(1, 4))) for _ in range(40)]
    >>> mel = LogMelSpectrogram(8000, n_mels=16, frame_step=0.02)
    >>> model = LSTMTranscriber(16, features=mel, num_layers=1, random_state=0)
    >>> model.fit([signal(text) for text in texts], texts).predict([signal("ab")])[0]
    'ab'
    """

    _attributes = ATTRIBUTES

    @property
    def _cell(self) -> str:
        return "lstm"


@with_parameters
class GRUTranscriber(TrainingParameters, TranscriberParameters, GRUParameters, Transcriber):
    """A network of GRU layers that says what is said in a recording.

    See `RNNTranscriber`.

    {parameters}
    Examples
    --------
    Labels need not be characters:

    >>> import numpy as np
    >>> from skrnn.audio import GRUTranscriber
    >>> X = [np.eye(3)[[0, 0, 1, 1, 0]], np.eye(3)[[0, 2, 2, 0, 1, 0]]] * 8
    >>> y = [["knock"], ["ring", "knock"]] * 8
    >>> model = GRUTranscriber(16, num_layers=1, time_masks=0, feature_masks=0, max_iter=40, random_state=0)
    >>> [spoken.label for spoken in model.fit(X, y).predict_alignment(X[1:2])[0]]
    ['ring', 'knock']
    """

    _attributes = ATTRIBUTES

    @property
    def _cell(self) -> str:
        return "gru"
