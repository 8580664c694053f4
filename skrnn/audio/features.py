"""From recordings to sequences of features: log mel spectrograms and cepstra."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, Literal, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context, clone
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval

from ..estimators.declare import parameter, with_parameters
from ..estimators.parameters import COUNT, FROM_ZERO, POSITIVE, as_python
from ..estimators.versions import Versioned
from ..sequences import object_array
from .files import recordings_of, signal_of
from .spectra import KaldiSpectra, LibrosaSpectra, Spectra, normalized, with_deltas

SECONDS = Interval(Real, 0, 1, closed="right")  # which milliseconds are outside of
CONVENTIONS: dict[str, type[Spectra]] = {"kaldi": KaldiSpectra, "librosa": LibrosaSpectra}
TINY = 1e-6  # of a sample: 0.018 * 48000 is 864, if not in floating point


@with_parameters
class AudioFeatures(  # type: ignore[call-arg]  # which mypy cannot see
    Versioned, TransformerMixin, BaseEstimator, auto_wrap_output_keys=None
):
    """What the transformers of recordings share."""

    sample_rate: int = parameter(
        "Sampling rate of the signals, in Hz; files of another one are resampled to it.",
        COUNT,
        default=16000,
        kw_only=False,
    )
    frame_length: float = parameter(
        "Length of a frame, in seconds; cut to whole samples.", SECONDS, default=0.025
    )
    frame_step: float = parameter(
        "From the beginning of a frame to that of the next one, in seconds; cut to whole samples, and no "
        "longer than a frame.",
        SECONDS,
        default=0.010,
    )
    n_mels: int = parameter(
        "Filters of the mel scale. 40 are enough for small data; 80 are usual for large ones.",
        COUNT,
        default=40,
    )
    f_min: float = parameter("Where the first filter begins, in Hz.", FROM_ZERO, default=20.0)
    f_max: float | None = parameter(
        "Where the last filter ends, in Hz; None: at half the sampling rate.", POSITIVE, default=None
    )
    convention: Literal["kaldi", "librosa"] = parameter(
        'Whose numbers these are; see above. "kaldi" is what most speech recognisers read.', default="kaldi"
    )
    deltas: int = parameter(
        "How many derivatives over time stand beside the features, each with as many columns: slopes of the "
        "regression line through five frames, and slopes of slopes, like Kaldi's add-deltas. The first and "
        "the last frame are repeated beyond the ends.",
        Interval(Integral, 0, 2, closed="both"),
        default=0,
        kind="{0, 1, 2}",
    )
    normalize: Literal["recording"] | None = parameter(
        'With "recording" every feature, derivatives too, has mean 0 and standard deviation 1 over the '
        "frames of each recording, which takes out loudness and much of a microphone; where it is constant, "
        "as in silence, it becomes 0. None: as it is.",
        default="recording",
    )

    _attributes = """
n_features_out_ : int
    Features of a frame, with derivatives.
"""

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any = None, y: Any = None) -> Self:
        """Check the parameters; there is nothing to learn, and `transform` needs no fit.

        Parameters
        ----------
        X, y : ignored

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If parameters do not go together; they are named.
        """
        self._spectra()
        self.n_features_out_ = len(self._names())
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Features of recordings.

        Parameters
        ----------
        X : list or array of n signals or paths, or array of shape (n, n_samples)
            Signals of shape (n_samples,) at `sample_rate`: floats in [-1, 1], or integers of 8, 16 or 32
            bits, which are scaled like those of a WAV file. Or paths of files, see `read_audio`. A signal
            shorter than a frame is padded with zeros to one.

        Returns
        -------
        ndarray of shape (n,), dtype object
            Arrays of shape (T_i, n_features), float32: T_i is 1 + (n_samples - length) // step frames with
            ``convention="kaldi"``, 1 + n_samples // step with "librosa" (of frames with an odd length,
            1 + (n_samples - 1) // step), where length and step are in samples.

        Raises
        ------
        ValueError, OSError
            If parameters do not go together; if X is one signal or one path, or a recording is empty, has
            several channels as an array, holds NaN, or cannot be read: X[i], or the file, is named.
        ImportError
            If a file needs soundfile, which comes with the extra ``audio``.

        Warns
        -----
        UserWarning
            Once, if files have several channels, whose mean is taken.
        """
        spectra = self._spectra()
        signals = recordings_of(X, as_python(self.sample_rate))
        return object_array([self._features(spectra, signal) for signal in signals])

    def stream(self) -> FrameStream:
        """Frames of a recording that is still going on.

        Needs ``convention="kaldi"``, ``deltas=0`` and ``normalize=None``: all else would have to know what
        comes later.

        Returns
        -------
        FrameStream

        Raises
        ------
        ValueError
            If a parameter has another value, which is named; or as of `fit`.

        Examples
        --------
        >>> import numpy as np
        >>> from skrnn.audio import LogMelSpectrogram
        >>> mel = LogMelSpectrogram(normalize=None)
        >>> signal = np.random.default_rng(0).normal(size=1000) / 10
        >>> stream = mel.stream()
        >>> parts = [stream.push(signal[i : i + 300]) for i in range(0, 1000, 300)]
        >>> [len(part) for part in parts]
        [0, 2, 2, 0]
        >>> np.array_equal(np.concatenate(parts), mel.transform([signal])[0])
        True
        """
        spectra = self._spectra()
        for name, value, reason in (
            ("convention", "kaldi", "librosa's frames are centred, and its range ends below the loudest one"),
            ("deltas", 0, "derivatives look at later frames"),
            ("normalize", None, "the mean of a recording is known at its end"),
        ):
            if getattr(self, name) != value:
                raise ValueError(
                    f"a stream cannot have {name}={getattr(self, name)!r}, since {reason}: "
                    f"set {name}={value!r}"
                )
        return FrameStream(clone(self), spectra)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the features of a frame.

        Parameters
        ----------
        input_features : ignored

        Returns
        -------
        ndarray of shape (n_features,), dtype object
            "mel0" or "mfcc0" and so on, then "delta_mel0" and "delta2_mel0" where there are `deltas`.
        """
        self._validate_params()
        return object_array(self._names())

    def set_output(self, *, transform: str | None = None) -> Self:
        """Nothing changes: sequences are no columns of a frame.

        Parameters
        ----------
        transform : ignored

        Returns
        -------
        self
        """
        return self

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.requires_fit = False
        tags.transformer_tags.preserves_dtype = []
        return tags

    @property
    def seconds_per_frame(self) -> float:
        """From one frame to the next: `frame_step` in whole samples."""
        return int(as_python(self.frame_step) * as_python(self.sample_rate) + TINY) / as_python(
            self.sample_rate
        )

    def _spectra(self) -> Spectra:
        """What computes spectra with these parameters, once they are found to go together."""
        self._validate_params()
        rate, n_mels = as_python(self.sample_rate), as_python(self.n_mels)
        length = int(as_python(self.frame_length) * rate + TINY)
        step = int(as_python(self.frame_step) * rate + TINY)
        f_min, f_max = float(self.f_min), rate / 2 if self.f_max is None else float(self.f_max)
        if length < 2:
            raise ValueError(
                f"frame_length={self.frame_length} is {length} samples at sample_rate={rate}: it must be at "
                "least 2"
            )
        if step < 1:
            raise ValueError(f"frame_step={self.frame_step} is less than a sample at sample_rate={rate}")
        if step > length:
            raise ValueError(
                f"frame_step={self.frame_step} is longer than frame_length={self.frame_length}: samples in "
                "between would be left out"
            )
        if f_max > rate / 2:
            raise ValueError(
                f"f_max={self.f_max} is above half of sample_rate={rate}, where spectra end: {rate / 2}"
            )
        if f_min >= f_max:
            raise ValueError(f"f_min={self.f_min} must be below f_max={f_max}")
        return CONVENTIONS[self.convention](rate, length, step, n_mels, f_min, f_max)

    def _features(self, spectra: Spectra, signal: np.ndarray) -> np.ndarray:
        """Of one signal, shape (T, n_features), float32."""
        features = with_deltas(self._of_log_mel(spectra, spectra.log_mel(signal)), as_python(self.deltas))
        return (features if self.normalize is None else normalized(features)).astype(np.float32)

    def _names(self) -> list[str]:
        names = self._names_of_one()
        return [f"{order}{name}" for order in ("", "delta_", "delta2_")[: self.deltas + 1] for name in names]

    def _of_log_mel(self, spectra: Spectra, log_mel: np.ndarray) -> np.ndarray:
        return log_mel

    def _names_of_one(self) -> list[str]:
        """Names of the features that derivatives are taken of."""
        return [f"mel{k}" for k in range(self.n_mels)]


@with_parameters
class LogMelSpectrogram(AudioFeatures):
    """Recordings as sequences of log mel spectra: the logarithms of the energies in bands of frequencies that
    are as wide as ears tell them apart.

    The numbers are those of a library's functions:

    - ``convention="kaldi"``: Kaldi's ``compute-fbank-feats`` without dither, as kaldi-native-fbank has it for
      samples in [-1, 1]. Of each frame that lies wholly within the signal the mean is taken out, then come
      pre-emphasis (0.97), Povey's window, zeros up to a power of two, the power spectrum, triangular filters
      on HTK's mel scale, 1127 ln(1 + f / 700), and the natural logarithm, floored at that of 1.2e-7. (Kaldi
      itself takes samples as large as 16-bit integers: its numbers are greater by ln(32,768²).)
    - ``convention="librosa"``: librosa's ``power_to_db(feature.melspectrogram(...))``. Frames are centred at
      multiples of the step, with zeros beyond the ends of the signal; then come Hann's window, the power
      spectrum, filters of equal area on Slaney's mel scale, and decibels down to 80 below the loudest.

    {parameters}
    See Also
    --------
    MFCC : Cepstra of these spectra.

    Examples
    --------
    >>> import numpy as np
    >>> from skrnn.audio import LogMelSpectrogram
    >>> rng = np.random.default_rng(0)
    >>> signals = [rng.normal(scale=0.1, size=n) for n in (16000, 8000)]
    >>> frames = LogMelSpectrogram(n_mels=40).fit_transform(signals)
    >>> [f.shape for f in frames]
    [(98, 40), (48, 40)]

    In a pipeline, which also reads files (``["a.wav", "b.wav"]``):

    >>> from sklearn.pipeline import make_pipeline
    >>> from skrnn import GRUClassifier
    >>> t = np.arange(4000) / 16000
    >>> tones = [np.sin(2 * np.pi * f * t) + rng.normal(scale=0.1, size=4000) for f in [300, 3000] * 8]
    >>> mel = LogMelSpectrogram(normalize=None)
    >>> model = make_pipeline(mel, GRUClassifier(8, max_iter=20, random_state=0))
    >>> model.fit(tones, ["low", "high"] * 8).predict(tones[:2])
    array(['low', 'high'], dtype='<U4')
    """


@with_parameters
class MFCC(AudioFeatures):
    """Recordings as sequences of mel frequency cepstral coefficients: the first coefficients of a discrete
    cosine transform over the log mel spectrum, which tell its shape by few numbers with little correlation.

    The numbers are those of a library's functions: of `LogMelSpectrogram` in the same convention,

    - ``convention="kaldi"``: Kaldi's ``compute-mfcc-feats`` without dither and with ``--use-energy=false``:
      the orthonormal DCT-II, coefficient k times 1 + 11 sin(pi k / 22).
    - ``convention="librosa"``: librosa's ``feature.mfcc``, the orthonormal DCT-II of the decibels.

    {parameters}
    See Also
    --------
    LogMelSpectrogram : The spectra that these are of, with more about both conventions.

    Examples
    --------
    >>> import numpy as np
    >>> from skrnn.audio import MFCC
    >>> signal = np.random.default_rng(0).normal(scale=0.1, size=16000)
    >>> MFCC(deltas=2).fit_transform([signal])[0].shape
    (98, 39)
    """

    n_mfcc: int = parameter(
        "Coefficients, the first of which is the loudness; at most `n_mels`.", COUNT, default=13
    )

    def _spectra(self) -> Spectra:
        spectra = super()._spectra()
        if self.n_mfcc > self.n_mels:
            raise ValueError(f"n_mfcc={self.n_mfcc} must be n_mels={self.n_mels} at most")
        return spectra

    def _of_log_mel(self, spectra: Spectra, log_mel: np.ndarray) -> np.ndarray:
        return spectra.cepstra(log_mel, as_python(self.n_mfcc))

    def _names_of_one(self) -> list[str]:
        return [f"mfcc{k}" for k in range(self.n_mfcc)]


class FrameStream:
    """Frames of a recording as its samples arrive; made by `LogMelSpectrogram.stream` or `MFCC.stream`.

    The frames so far are, to the bit, those of `transform` of all samples so far; `transform` pads a signal
    that is shorter than a frame, where a stream waits. It keeps less than a frame and a step of samples, and
    can be pickled and copied.
    """

    def __init__(self, transformer: AudioFeatures, spectra: Spectra) -> None:
        self._transformer, self._spectra = transformer, spectra
        self._n_features = len(transformer._names())
        self._rest = np.empty(0)  # samples from the beginning of the next frame on

    def push(self, samples: Any) -> np.ndarray:
        """The frames that these samples make whole.

        Parameters
        ----------
        samples : array-like of shape (n_samples,)
            The next ones, as many as there are: also none, or less than a frame. Floats in [-1, 1], or
            integers of 8, 16 or 32 bits.

        Returns
        -------
        ndarray of shape (n_new, n_features), float32

        Raises
        ------
        ValueError
            If they are no signal, or hold NaN or infinity; the stream is then what it was before.
        """
        signal = np.concatenate([self._rest, signal_of(samples, "samples", allow_empty=True)])
        length, step = self._spectra.length, self._spectra.step
        n_new = 1 + (len(signal) - length) // step
        self._rest = signal[max(0, n_new) * step :].copy()
        if n_new < 1:
            return np.empty((0, self._n_features), np.float32)
        return self._transformer._features(self._spectra, signal)

    def reset(self) -> None:
        """Begin a new recording."""
        self._rest = np.empty(0)
