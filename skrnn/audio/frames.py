"""Recordings as frames: sequences of features, as networks read them."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np

from ..estimators.devices import to_host
from .files import PATH, SPEEDS, is_signal


def frames_of(items: list[Any], name: str, n_features: int | None = None) -> list[np.ndarray]:
    """Of each its features, frame by frame: (T_i, n_features), float32 or float64.

    Raises
    ------
    ValueError
        If one has another shape, no frame, or anything but finite numbers; it is named.
    """
    found = []
    for i, item in enumerate(items):
        place, kind = f"{name}[{i}]", "frames of shape (n_frames, n_features)"
        if is_signal(item):
            what = "path" if isinstance(item, PATH) else "signal"
            raise ValueError(f"{place} is a {what}, not {kind}: see `features`")
        try:
            frames = np.asarray(to_host(item))
        except ValueError as error:
            raise ValueError(f"{place} must be {kind}: {error}") from None
        if frames.ndim != 2 or frames.dtype.kind not in "biuf":
            raise ValueError(f"{place} must be {kind}, got shape {frames.shape} of {frames.dtype}")
        if frames.dtype not in (np.float32, np.float64):
            frames = frames.astype(np.float64)
        n_features = frames.shape[1] if n_features is None else n_features
        if frames.shape[1] != n_features:
            raise ValueError(f"{place} has {frames.shape[1]} features, expected {n_features}")
        if not frames.size:
            raise ValueError(f"{place} has no frames" if n_features else f"{place} has no features")
        if not np.isfinite(frames).all():
            t, column = np.argwhere(~np.isfinite(frames))[0]
            raise ValueError(f"{place} holds {frames[t, column]} in feature {column} of frame {t}")
        found.append(frames)
    return found


def faster(frames: np.ndarray, factor: float) -> np.ndarray:
    """As of a recording played `factor` times as fast, by linear interpolation between frames; of features,
    which a change of pitch does not reach."""
    places, steps = np.arange(max(1, round(len(frames) / factor))) * factor, np.arange(len(frames))
    return np.stack([np.interp(places, steps, own) for own in frames.T], axis=1).astype(frames.dtype)


def checked_speeds(speeds: Any) -> list[float]:
    """As numbers, of None none.

    Raises
    ------
    ValueError
        If one is outside of what `change_speed` takes.
    """
    found = [] if speeds is None else list(speeds)
    for speed in found:
        if not isinstance(speed, Real) or not SPEEDS[0] <= float(speed) <= SPEEDS[1]:
            raise ValueError(f"speeds must be numbers from {SPEEDS[0]} to {SPEEDS[1]}, got {speed!r}")
    return [float(speed) for speed in found]


def stacked(frames: np.ndarray, n: int) -> np.ndarray:
    """Of n neighbouring frames one; the last frame again where there are too few."""
    if n == 1:
        return frames
    missing = -len(frames) % n
    if missing:
        frames = np.concatenate([frames, np.repeat(frames[-1:], missing, axis=0)])
    return frames.reshape(len(frames) // n, -1)
