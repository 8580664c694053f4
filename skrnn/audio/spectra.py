"""From signals to the energies of mel filters and their cepstra, in the conventions of Kaldi and librosa."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.fft import dct, rfft, rfftfreq
from scipy.ndimage import correlate1d
from scipy.signal import get_window
from scipy.sparse import csr_array

BLOCK = 512  # frames at a time: their spectra stay in the processor's cache
SLOPE = np.arange(-2, 3) / 10  # of the regression line through five frames
CONSTANT = 1e-6  # a deviation below it is rounding: features are logarithms, with values of 1 to 100


class Spectra(ABC):
    """How a signal becomes the logarithms of the energies of mel filters, and these become cepstra.

    Every frame is computed by itself, in the same order of operations however many there are: what comes of
    a part of a signal has the same bits as what comes of the whole.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    length, step : int
        Of frames, in samples.
    n_mels : int
        Filters.
    f_min, f_max : float
        In Hz, where the first filter begins and the last one ends.

    Raises
    ------
    ValueError
        If a filter lies between two frequencies of the spectrum.
    """

    window: np.ndarray
    n_fft: int

    def __init__(
        self, sample_rate: int, length: int, step: int, n_mels: int, f_min: float, f_max: float
    ) -> None:
        self.length, self.step, self.n_mels = length, step, n_mels
        self.prepare()
        first, last = self.mel_of(np.array([f_min, f_max]))
        edges = np.linspace(first, last, n_mels + 2)
        filters = self.filters(edges, rfftfreq(self.n_fft, 1 / sample_rate))
        empty = np.flatnonzero(~filters.any(axis=1))
        if len(empty):
            raise ValueError(
                f"n_mels={n_mels} is too many for frames of {length} samples: filter {empty[0]} lies between "
                "two frequencies of their spectrum; take fewer, or a longer frame_length"
            )
        self.mel = csr_array(filters)

    def log_mel(self, signal: np.ndarray) -> np.ndarray:
        """Of a signal of shape (n_samples,), the frames, shape (T, n_mels), float64."""
        signal = self.padded(signal.astype(np.float64))
        frames = sliding_window_view(signal, self.length)[:: self.step]
        energies = np.empty((len(frames), self.n_mels))
        for first in range(0, len(frames), BLOCK):
            block = slice(first, first + BLOCK)
            spectrum = rfft(self.windowed(np.array(frames[block], order="C")), self.n_fft, axis=1)
            power = spectrum.real**2 + spectrum.imag**2
            energies[block] = (self.mel @ power.T).T  # sparse: a dense product depends on how many there are
        return self.logarithm(energies)

    def cepstra(self, log_mel: np.ndarray, n_mfcc: int) -> np.ndarray:
        """The discrete cosine transform of each frame, shape (T, n_mfcc)."""
        return dct(log_mel, type=2, norm="ortho", axis=1)[:, :n_mfcc]

    @abstractmethod
    def prepare(self) -> None:
        """Set `window` and `n_fft`."""

    @abstractmethod
    def mel_of(self, f: np.ndarray) -> np.ndarray:
        """Mel of Hz."""

    @abstractmethod
    def filters(self, edges: np.ndarray, f: np.ndarray) -> np.ndarray:
        """Shape (n_mels, len(f)): weights of the frequencies f, in Hz, for filters with `edges` in mel."""

    @abstractmethod
    def padded(self, signal: np.ndarray) -> np.ndarray:
        """The signal that frames are cut from, first at its beginning."""

    @abstractmethod
    def windowed(self, frames: np.ndarray) -> np.ndarray:
        """What the spectrum is taken of; may write to `frames`."""

    @abstractmethod
    def logarithm(self, energies: np.ndarray) -> np.ndarray:
        """Of energies of shape (T, n_mels), floored where there is silence."""


class KaldiSpectra(Spectra):
    """As ``compute-fbank-feats`` and ``compute-mfcc-feats`` of Kaldi with ``--dither=0``."""

    emphasis = 0.97
    floor = float(np.finfo(np.float32).eps)
    lifter = 22

    def prepare(self) -> None:
        self.window = np.hanning(self.length) ** 0.85  # Povey's
        self.n_fft = 1 << (self.length - 1).bit_length()

    def mel_of(self, f: np.ndarray) -> np.ndarray:
        return 1127 * np.log1p(f / 700)

    def filters(self, edges: np.ndarray, f: np.ndarray) -> np.ndarray:
        return triangles(edges, self.mel_of(f))

    def padded(self, signal: np.ndarray) -> np.ndarray:
        return np.pad(signal, (0, max(0, self.length - len(signal))))

    def windowed(self, frames: np.ndarray) -> np.ndarray:
        frames -= frames.mean(axis=1, keepdims=True)
        frames[:, 1:] -= self.emphasis * frames[:, :-1]  # the window takes out the first sample
        return frames * self.window

    def logarithm(self, energies: np.ndarray) -> np.ndarray:
        return np.log(np.maximum(energies, self.floor))

    def cepstra(self, log_mel: np.ndarray, n_mfcc: int) -> np.ndarray:
        k = np.arange(n_mfcc)
        return super().cepstra(log_mel, n_mfcc) * (1 + self.lifter / 2 * np.sin(np.pi * k / self.lifter))


class LibrosaSpectra(Spectra):
    """As ``power_to_db(melspectrogram(...))`` and ``feature.mfcc`` of librosa."""

    floor, range_in_db = 1e-10, 80.0

    def prepare(self) -> None:
        self.window = get_window("hann", self.length)
        self.n_fft = self.length

    def mel_of(self, f: np.ndarray) -> np.ndarray:
        """Slaney's: linear up to 1,000 Hz, then 27 to a factor of 6.4."""
        return np.where(f < 1000, 3 * f / 200, 15 + 27 * np.log(np.maximum(f, 1000) / 1000) / np.log(6.4))

    def filters(self, edges: np.ndarray, f: np.ndarray) -> np.ndarray:
        f_edges = np.where(edges < 15, 200 * edges / 3, 1000 * 6.4 ** ((edges - 15) / 27))  # mel to Hz
        return triangles(f_edges, f) * (2 / (f_edges[2:] - f_edges[:-2]))[:, None]

    def padded(self, signal: np.ndarray) -> np.ndarray:
        return np.pad(signal, self.length // 2)

    def windowed(self, frames: np.ndarray) -> np.ndarray:
        return frames * self.window

    def logarithm(self, energies: np.ndarray) -> np.ndarray:
        decibels = 10 * np.log10(np.maximum(energies, self.floor))
        return np.maximum(decibels, decibels.max() - self.range_in_db)


def triangles(edges: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Filter k rises from 0 at ``edges[k]`` to 1 at the next edge and falls to 0 at the one after that; the
    weights of the places `at`, shape (len(edges) - 2, len(at))."""
    left, center, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    return np.maximum(0, np.minimum((at - left) / (center - left), (right - at) / (right - center)))


def with_deltas(features: np.ndarray, order: int) -> np.ndarray:
    """The features and, to their right, their first `order` derivatives over time, like Kaldi's
    ``add-deltas``: slopes of regression lines, and slopes of slopes. The first and the last frame are
    repeated beyond the ends."""
    parts, weights = [features], np.ones(1)
    for _ in range(order):
        weights = np.convolve(weights, SLOPE)
        parts.append(correlate1d(features, weights, axis=0, mode="nearest"))
    return np.hstack(parts)


def normalized(features: np.ndarray) -> np.ndarray:
    """Each feature with mean 0 and deviation 1 over the frames; 0 where it is constant."""
    centered = features - features.mean(axis=0)
    deviation = centered.std(axis=0)
    constant = deviation < CONSTANT
    return np.where(constant, 0.0, centered / np.where(constant, 1.0, deviation))
