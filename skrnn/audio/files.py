"""Recordings from files and from arrays, as signals of one sampling rate."""

from __future__ import annotations

import os
import struct
import warnings
from collections.abc import Iterable
from fractions import Fraction
from math import gcd
from numbers import Number, Real
from typing import Any, NamedTuple

import numpy as np
from scipy.io import wavfile
from scipy.signal import resample_poly

from ..estimators.containers import opened_on_host
from ..estimators.devices import to_host, warn_the_caller
from ..estimators.parameters import as_python, check_count

PATH = str, bytes, os.PathLike
SAMPLE_TYPES = "uint8", "int16", "int32"  # of the integers that WAV files hold
SPEEDS, FINEST = (0.01, 100), 1000  # of `change_speed`: the range of factors, and the largest denominator
HIGHEST_RATE = 10_000_000
# What scipy raises for headers that lie.
BROKEN = ValueError, TypeError, ArithmeticError, LookupError, NameError, struct.error


class Audio(NamedTuple):
    """A recording, as `read_audio` reads it.

    Parameters
    ----------
    signal : ndarray of shape (n_samples,), float32
        The samples, in [-1, 1].
    sample_rate : int
        Samples per second, in Hz.
    """

    signal: np.ndarray
    sample_rate: int


def read_audio(path: str | os.PathLike, sample_rate: int | None = None) -> Audio:
    """The signal of an audio file.

    WAV files are read by SciPy, others (FLAC, Ogg, MP3, and WAV files that are compressed) by soundfile.
    Integers are scaled to [-1, 1]: 16 bits are divided by 32,768, 24 and 32 bits likewise, and 8 bits, which
    have no sign, become (x - 128) / 128. Floats are taken as they are.

    Parameters
    ----------
    path : str or path-like
        The file.
    sample_rate : int or None, default=None
        The sampling rate, in Hz, that the signal is wanted at; None: that of the file. A file of another rate
        is resampled by the ratio of the two, with the anti-aliasing filter of `scipy.signal.resample_poly`.

    Returns
    -------
    Audio
        A named tuple of `signal`, an ndarray of shape (n_samples,) and float32, and `sample_rate`, in Hz.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is empty, has no samples, cannot be read as audio, or holds NaN or infinity; the message
        names it. If `sample_rate` is no positive integer.
    ImportError
        If the file is no WAV file and soundfile is not installed: it comes with the extra ``audio``.

    Warns
    -----
    UserWarning
        If the file has several channels, whose mean is taken; if it ends before its header says.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from scipy.io import wavfile
    >>> from skrnn.audio import read_audio
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "a.wav"
    ...     wavfile.write(path, 8000, np.array([0, 16384, -32768], np.int16))
    ...     audio = read_audio(path)
    >>> audio.signal, audio.sample_rate
    (array([ 0. ,  0.5, -1. ], dtype=float32), 8000)
    """
    if sample_rate is not None:
        check_count("sample_rate", sample_rate)
    audio, n_channels = _read(path, as_python(sample_rate))
    if n_channels > 1:
        warn_the_caller(f"{_name(path)!r} has {n_channels} channels: the mean of them is taken", UserWarning)
    return audio


def change_speed(signal: Any, factor: Any) -> np.ndarray:
    """A signal played `factor` times as fast, at the same sampling rate. Pitch changes as well, as with
    ``sox speed`` and Kaldi's speed perturbation.

    Recordings at 0.9 and 1.1 times their speed, beside those at their own, are the usual augmentation for
    speech (Ko, Peddinti, Povey & Khudanpur 2015, "Audio augmentation for speech recognition").

    Parameters
    ----------
    signal : array-like of shape (n_samples,)
        Floats, or integers of 8, 16 or 32 bits, which are scaled to [-1, 1] like those of a WAV file.
    factor : float in [0.01, 100]
        How many times as fast; above 1 the signal becomes shorter. Its nearest fraction with a denominator of
        at most 1,000 is taken.

    Returns
    -------
    ndarray of shape (ceil(n_samples / factor),)
        float64 where the signal is, else float32. Resampled by `scipy.signal.resample_poly`, whose filter
        takes out what the faster signal could not hold.

    Raises
    ------
    ValueError
        If `signal` is no signal, or `factor` lies outside of its range.

    Examples
    --------
    >>> import numpy as np
    >>> from skrnn.audio import change_speed
    >>> tone = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    >>> change_speed(tone, 1.25).shape
    (12800,)
    """
    if not isinstance(factor, Real) or not SPEEDS[0] <= float(factor) <= SPEEDS[1]:
        raise ValueError(f"factor must be a number from {SPEEDS[0]} to {SPEEDS[1]}, got {factor!r}")
    signal = signal_of(signal, "signal")
    exact = Fraction(float(factor)).limit_denominator(FINEST)
    return _resampled(signal, exact.denominator, exact.numerator)


def is_signal(item: Any) -> bool:
    """Whether a recording is a path or a signal, and not frames."""
    try:
        return isinstance(item, PATH) or np.ndim(item) == 1
    except ValueError:  # of lists of different lengths, which are neither
        return False


def items_of(X: Any, name: str) -> list[Any]:
    """The recordings of X, each still as it is: a path, a signal, or frames.

    Raises
    ------
    ValueError
        If X is none of several recordings.
    """
    if isinstance(X, PATH):
        raise ValueError(f"{name} is one path: pass a list of recordings, [{name}] for one of them")
    if not isinstance(X, Iterable):
        raise ValueError(f"{name} must be a list of recordings, got {X!r}")
    X = opened_on_host(X)
    if hasattr(X, "shape"):
        X = np.asarray(X)
        if X.ndim == 2 and X.shape[1] == 2:
            raise ValueError(
                f"{name} has shape {X.shape} and looks like one stereo recording: pass a list of signals, "
                f"[{name}.mean(axis=1)]"
            )
        if X.ndim > 1 and X.dtype.kind not in "biuf":
            raise ValueError(f"{name} must be a list of recordings, got {X.dtype} of shape {X.shape}")
    items = list(X)
    if not items:
        raise ValueError(f"{name} has no recordings")
    if isinstance(items[0], Number):
        raise ValueError(f"{name} is one signal: pass a list of recordings, [{name}] for one of them")
    return items


def recordings_of(X: Any, sample_rate: int, name: str = "X") -> list[np.ndarray]:
    """Recordings as signals.

    Parameters
    ----------
    X : list or array of n signals or paths, or array of shape (n, n_samples)
        Signals of shape (n_samples,), which are taken to have the sampling rate asked for: floats as they
        are, integers of 8, 16 or 32 bits scaled to [-1, 1] like those of a WAV file. Or paths of files, which
        are read by `read_audio` at that rate. A list may hold both.
    sample_rate : int
        In Hz.
    name : str, default="X"
        What error messages call X.

    Returns
    -------
    list of ndarrays of shape (n_samples,)
        float64 where a signal is, else float32.

    Raises
    ------
    ValueError, OSError
        If X is one signal or one path, has no recordings, or one of them is empty, has more than one axis,
        holds NaN or infinity, or cannot be read; its index is named, and its file.

    Warns
    -----
    UserWarning
        Once, if files have several channels, whose mean is taken.
    """
    items = items_of(X, name)
    signals, several = [], []
    for i, item in enumerate(items):
        place = f"{name}[{i}]"
        if not isinstance(item, PATH):
            signals.append(signal_of(item, place))
            continue
        try:
            audio, n_channels = _read(item, sample_rate)
        except OSError as error:
            raise type(error)(f"{place}: {error}") from error
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from error
        signals.append(audio.signal)
        if n_channels > 1:
            several.append(i)
    if several:
        warn_the_caller(
            f"{len(several)} of {len(items)} recordings have several channels, {name}[{several[0]}] first "
            f"({_name(items[several[0]])!r}): the mean of them is taken",
            UserWarning,
        )
    return signals


def signal_of(x: Any, name: str, *, allow_empty: bool = False) -> np.ndarray:
    """A signal as an array of shape (n_samples,), float32 or float64; integers scaled like a WAV file's.

    Raises
    ------
    ValueError
        If it is none, with the name it is given here.
    """
    try:
        signal = np.asarray(to_host(x))
    except ValueError as error:
        raise ValueError(f"{name} must be a signal of shape (n_samples,): {error}") from None
    if signal.ndim == 2 and 2 in signal.shape:
        raise ValueError(
            f"{name} has shape {signal.shape} and looks like stereo: pass the mean of its channels, "
            f"mean(axis={signal.shape.index(2)})"
        )
    if signal.ndim != 1:
        raise ValueError(f"{name} must be a signal of shape (n_samples,), got shape {signal.shape}")
    if not signal.size:
        if allow_empty:
            return np.empty(0, np.float32)
        raise ValueError(f"{name} is empty")
    if signal.dtype.kind in "iu" and signal.dtype.name in SAMPLE_TYPES:
        return _scaled(signal)
    if signal.dtype.kind != "f":
        raise ValueError(
            f"{name} must hold floats, or integers of {', '.join(SAMPLE_TYPES)} like those of a WAV file, "
            f"got {signal.dtype}"
        )
    _check_finite(signal, name)
    return signal.astype(np.float32 if signal.dtype.itemsize <= 4 else np.float64, copy=False)


def _read(path: Any, sample_rate: int | None) -> tuple[Audio, int]:
    """A file's signal, and of how many channels it is the mean."""
    path = os.fspath(path)
    name = _name(path)
    try:
        with open(path, "rb") as file:
            head = file.read(12)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {name!r}") from None
    if not head:
        raise ValueError(f"{name!r} is empty")
    is_wav = head[:4] in (b"RIFF", b"RIFX") and head[8:] == b"WAVE"
    samples, rate = (_read_wav if is_wav else _read_other)(path, name)
    if not samples.size:
        raise ValueError(f"{name!r} has no samples")
    n_channels = 1 if samples.ndim == 1 else samples.shape[1]
    with np.errstate(over="ignore"):  # what is too large becomes infinity, and is refused
        signal = samples if samples.ndim == 1 else samples.mean(axis=1, dtype=np.float64)
        signal = signal.astype(np.float32)
    _check_finite(signal, repr(name))
    if sample_rate is None or sample_rate == rate:
        return Audio(signal, rate), n_channels
    return Audio(_resampled(signal, sample_rate, rate), sample_rate), n_channels


def _read_wav(path: str | bytes, name: str) -> tuple[np.ndarray, int]:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            with open(path, "rb") as file:
                rate, samples = wavfile.read(file)
        except BROKEN as error:
            if "Unknown wave file format" in str(error):  # compressed
                return _read_other(path, name)
            raise ValueError(f"{name!r} cannot be read as a WAV file: {error}") from error
    if any("prematurely" in str(each.message) for each in said):  # the others say what else is in the file
        warn_the_caller(f"{name!r} ends before its header says: {len(samples)} samples are read", UserWarning)
    if not 1 <= rate <= HIGHEST_RATE:  # resampling by what a broken header says would take all memory
        raise ValueError(f"{name!r} cannot be read as a WAV file: its sampling rate is {rate}")
    return (samples if samples.dtype.kind == "f" else _scaled(samples)), int(rate)


def _read_other(path: str | bytes, name: str) -> tuple[np.ndarray, int]:
    try:
        import soundfile
    except ImportError as error:
        raise ImportError(
            f'{name!r} is no WAV file that SciPy reads, and others need soundfile: pip install "skrnn[audio]"'
        ) from error
    try:
        samples, rate = soundfile.read(path, dtype="float32")
    except soundfile.LibsndfileError as error:
        raise ValueError(f"{name!r} cannot be read as audio: {error.error_string}") from error
    return samples, rate


def _name(path: Any) -> str:
    return os.fsdecode(path)


def _scaled(samples: np.ndarray) -> np.ndarray:
    """Integers in [-1, 1], as float32; those without a sign have their zero amid their range."""
    largest = 2.0 ** (8 * samples.dtype.itemsize - 1)
    zero = largest if samples.dtype.kind == "u" else 0.0
    return ((samples - zero) / largest).astype(np.float32)


def _check_finite(samples: np.ndarray, name: str) -> None:
    finite = np.isfinite(samples)
    if not finite.all():
        place = tuple(np.argwhere(~finite)[0])
        raise ValueError(f"{name} has {samples[place]} at sample {place[0]}")


def _resampled(signal: np.ndarray, up: int, down: int) -> np.ndarray:
    common = gcd(up, down)
    return resample_poly(signal, up // common, down // common).astype(signal.dtype, copy=False)
