"""Losses: value and gradient together, and the link from raw outputs to predictions.

A loss maps the head's raw outputs ``raw`` (M, n_raw) and targets ``y`` (M, n_outputs) to one value
per row; a row's value is the mean over its outputs. With weights ``w`` (M,), a minibatch's loss is
sum(w l) / sum(w). Rows of weight 0 take no part, whatever their target.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

Arrays = tuple[np.ndarray, np.ndarray]


class Loss(NamedTuple):
    """A loss and its link.

    Attributes
    ----------
    n_raw : callable
        ``n_raw(n_outputs)``, raw outputs of the head.
    rows : callable
        ``rows(raw, y) -> (l, dl)``, the value of each row (M,) and its gradient by `raw` (M, n_raw).
    link : callable
        ``link(raw) -> predictions`` (M, n_outputs), or class probabilities.
    """

    n_raw: Callable[[int], int]
    rows: Callable[[np.ndarray, np.ndarray], Arrays]
    link: Callable[[np.ndarray], np.ndarray]

    def __call__(
        self, raw: np.ndarray, y: np.ndarray, w: np.ndarray | None
    ) -> tuple[float, float, np.ndarray]:
        """(sum of w l, sum of w, gradient of sum(w l) / sum(w) by `raw`)."""
        # Overflow to infinity is not hidden: the training loop stops at a loss that is not finite.
        with np.errstate(over="ignore", invalid="ignore"):
            if w is None:
                value, gradient = self.rows(raw, y)
                count = len(y)
                return float(value.sum(dtype=np.float64)), float(count), gradient / raw.dtype.type(count)
            total = float(w.sum(dtype=np.float64))
            if total == 0:
                return 0.0, 0.0, np.zeros_like(raw)
            used = w > 0
            value, gradient = self.rows(raw, np.where(used[:, None], y, 0))
            value = np.where(used, value * w, 0)
            gradient = np.where(used[:, None], gradient * (w / total).astype(raw.dtype)[:, None], 0)
        return float(value.sum(dtype=np.float64)), total, gradient


def identity(raw: np.ndarray) -> np.ndarray:
    return raw


def _squared_error(raw, y):
    error = raw - y
    return (error * error).mean(axis=1), error * raw.dtype.type(2 / y.shape[1])


def _absolute_error(raw, y):
    error = raw - y
    return np.abs(error).mean(axis=1), np.sign(error) / raw.dtype.type(y.shape[1])


def huber(delta: float) -> Loss:
    """0.5 e^2 near zero, delta (|e| - 0.5 delta) beyond |e| = delta (Huber 1964)."""

    def rows(raw, y):
        error = raw - y
        clipped = np.clip(error, -delta, delta)
        return (clipped * (error - clipped / 2)).mean(axis=1), clipped / raw.dtype.type(y.shape[1])

    return Loss(lambda n: n, rows, identity)


def _poisson(raw, y):
    rate = np.exp(raw)
    return (rate - y * raw).mean(axis=1), (rate - y) / raw.dtype.type(y.shape[1])


def _exp(raw):
    with np.errstate(over="ignore"):
        return np.exp(raw)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)) without overflow."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, small) / (1 + small)


def softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(x, x.dtype.type(0))


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def ordered_quantiles(raw: np.ndarray, n_quantiles: int, anchor: int) -> np.ndarray:
    """(M, n_outputs n_quantiles) raw -> (M, n_outputs, n_quantiles) that never decrease.

    The quantile number `anchor` is free; its neighbours are positive steps (softplus) away.
    """
    raw = raw.reshape(len(raw), -1, n_quantiles)
    steps = softplus(raw)
    up = np.cumsum(steps[:, :, anchor + 1 :], axis=2)
    down = np.cumsum(steps[:, :, :anchor][:, :, ::-1], axis=2)[:, :, ::-1]
    middle = raw[:, :, anchor : anchor + 1]
    return np.concatenate([middle - down, middle, middle + up], axis=2)


def quantile(levels: ArrayLike) -> Loss:
    """Mean pinball loss over rising `levels` (Koenker & Bassett 1978); outputs never cross.

    `link` gives all quantiles, (M, n_outputs, n_quantiles).
    """
    q = np.asarray(levels, dtype=float)
    n = len(q)
    anchor = nearest_to_median(levels)

    def link(raw):
        return ordered_quantiles(raw, n, anchor)

    def rows(raw, y):
        outputs = y.shape[1]
        error = y[:, :, None] - link(raw)
        level = q.astype(raw.dtype)
        value = np.maximum(level * error, (level - 1) * error).mean(axis=(1, 2))
        d = np.where(error > 0, -level, 1 - level) / raw.dtype.type(outputs * n)
        # A step above the anchor moves every quantile from it upward; below, downward.
        slope = sigmoid(raw.reshape(len(raw), outputs, n))
        above = np.cumsum(d[:, :, ::-1], axis=2)[:, :, ::-1]
        below = np.cumsum(d, axis=2)
        gradient = np.concatenate([
            -below[:, :, :anchor] * slope[:, :, :anchor],
            d.sum(axis=2, keepdims=True),
            above[:, :, anchor + 1 :] * slope[:, :, anchor + 1 :],
        ], axis=2)  # fmt: skip
        return value, gradient.reshape(raw.shape).astype(raw.dtype, copy=False)

    return Loss(lambda n_outputs: n_outputs * n, rows, link)


def nearest_to_median(levels: ArrayLike) -> int:
    """Index of the level nearest to 0.5, the lower one of two."""
    return int(np.argmin(np.round(np.abs(np.asarray(levels) - 0.5), 12)))


def _multiclass(raw, y):
    """y (M, 1): class numbers; softmax and cross-entropy."""
    classes = y[:, 0].astype(np.intp)
    shifted = raw - raw.max(axis=1, keepdims=True)
    e = np.exp(shifted)
    total = e.sum(axis=1)
    rows = np.arange(len(raw))
    gradient = e / total[:, None]
    gradient[rows, classes] -= 1
    return np.log(total) - shifted[rows, classes], gradient


def _independent(raw, y):
    """y (M, n) of 0 and 1: one sigmoid and one cross-entropy per column."""
    return (softplus(raw) - y * raw).mean(axis=1), (sigmoid(raw) - y) / raw.dtype.type(y.shape[1])


def _same(n: int) -> int:
    return n


squared_error = Loss(_same, _squared_error, identity)
absolute_error = Loss(_same, _absolute_error, identity)
poisson = Loss(_same, _poisson, _exp)
multiclass_log_loss = Loss(_same, _multiclass, softmax)
binary_log_loss = Loss(_same, _independent, sigmoid)
