"""Recordings as frames: sequences of features, as networks read them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from numbers import Number, Real
from typing import Any

import numpy as np

from ..estimators.containers import opened_on_host
from ..estimators.devices import to_host
from .files import PATH


def items_of(X: Any, name: str) -> list[Any]:
    """The recordings of X.

    Raises
    ------
    TypeError, ValueError
        If X is none of several recordings.
    """
    if isinstance(X, PATH):
        raise ValueError(f"{name} is one path: pass a list, [{name}] for one of them")
    if isinstance(X, Mapping | Set) or not isinstance(X, Iterable):
        raise TypeError(f"{name} must be a list of recordings, got {type(X).__name__}")
    items = list(opened_on_host(X))
    if not items:
        raise ValueError(f"{name} has no recordings")
    if isinstance(items[0], Number):
        raise ValueError(f"{name} is one recording: pass a list, [{name}] for one of them")
    return items


def are_signals(items: list[Any]) -> bool:
    """Whether recordings are paths or signals, and not frames."""
    return isinstance(items[0], PATH) or np.ndim(items[0]) == 1


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
        if isinstance(item, PATH) or np.ndim(item) == 1:
            what = "path" if isinstance(item, PATH) else "signal"
            raise ValueError(f"{place} is a {what}, not {kind}: see `features`")
        frames = np.asarray(to_host(item))
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
    places = np.arange(max(1, round(len(frames) / factor))) * factor
    below = np.minimum(places.astype(np.intp), len(frames) - 1)
    above, share = np.minimum(below + 1, len(frames) - 1), (places - below).clip(0, 1)[:, None]
    return ((1 - share) * frames[below] + share * frames[above]).astype(frames.dtype)


def checked_speeds(speeds: Any) -> list[float]:
    """Raise a ValueError unless they are positive numbers, or None."""
    if speeds is None:
        return []
    for speed in speeds:
        if not isinstance(speed, Real) or not 0 < float(speed) < np.inf:
            raise ValueError(f"speeds must be positive numbers, got {speed!r}")
    return [float(speed) for speed in speeds]


def stacked(frames: np.ndarray, n: int) -> np.ndarray:
    """Of n neighbouring frames one; the last frame again where there are too few."""
    if n == 1:
        return frames
    missing = -len(frames) % n
    if missing:
        frames = np.concatenate([frames, np.repeat(frames[-1:], missing, axis=0)])
    return frames.reshape(len(frames) // n, -1)
