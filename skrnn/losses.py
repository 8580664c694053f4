"""Losses: value and gradient together, and the link from raw outputs to predictions.

A loss maps a row of the head's raw outputs and its targets to a number, the mean over the outputs. It
is written once, for one row, with the functions of `math` that every backend has. With weights ``w``, a
minibatch's loss is sum(w l) / sum(w). Numbers to learn may be NaN, not known: the mean is over the others,
and with the share of those as the weight of a row, a minibatch's is over all that is known.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Loss(NamedTuple):
    """A loss and its link.

    Attributes
    ----------
    name : str
    n_raw : callable
        ``n_raw(n_outputs)``, raw outputs of the head.
    row : callable
        ``row(jit) -> f(raw, y, d, p) -> l``: the value for raw outputs (n_raw,) and targets
        (n_outputs,); writes the gradient with respect to `raw` into d (n_raw,). `p`: the parameters.
    link : callable
        ``link(raw) -> predictions`` (M, n_outputs), or class probabilities.
    parameters : tuple of float
    """

    name: str
    n_raw: Callable[[int], int]
    row: Callable[[Callable], Callable]
    link: Callable[[np.ndarray], np.ndarray]
    parameters: tuple[float, ...] = ()


def same(x: Any) -> Any:
    return x


# --- regression -------------------------------------------------------------------------------------
def elementwise(term: Callable) -> Callable:
    """A loss whose outputs count one by one, from ``term(jit) -> f(raw, y, p) -> (l, d)`` of one of them."""

    @wraps(term)  # its name, by which losses are pickled
    def make(jit):
        term_of, known_of = term(jit), _known(jit)

        @jit
        def row(raw, y, d, p):
            total, n = 0.0, known_of(y)
            for j in range(len(y)):
                d[j] = 0
                if y[j] == y[j]:
                    value, slope = term_of(raw[j], y[j], p)
                    total += value
                    d[j] = slope / n
            return total / n

        return row

    return make


def _known(jit):
    @jit
    def known_of(y):
        """How many targets are no NaN, but at least 1."""
        n = 0
        for j in range(len(y)):
            n += y[j] == y[j]
        return max(n, 1)

    return known_of


@elementwise
def _squared_error(jit):
    @jit
    def term(raw, y, p):
        error = raw - y
        return error * error, 2 * error

    return term


@elementwise
def _absolute_error(jit):
    @jit
    def term(raw, y, p):
        error = raw - y
        return abs(error), 1 if error > 0 else -1 if error < 0 else error  # NaN stays NaN

    return term


@elementwise
def _huber(jit):
    @jit
    def term(raw, y, p):
        error, delta = raw - y, p[0]
        clipped = delta if error > delta else -delta if error < -delta else error
        return clipped * (error - clipped / 2), clipped

    return term


@elementwise
def _poisson(jit):
    @jit
    def term(raw, y, p):
        rate = math.exp(raw)
        return rate - y * raw, rate - y

    return term


def _quantile(jit):
    softplus_of, sigmoid_of, known_of = _softplus(jit), _sigmoid(jit), _known(jit)

    @jit
    def row(raw, y, d, p):
        anchor, n = int(p[0]), len(p) - 1  # p: place of the free quantile, levels
        total, scale = 0.0, known_of(y) * n
        for j in range(len(y)):
            q, dq = raw[j * n : (j + 1) * n], d[j * n : (j + 1) * n]
            if y[j] != y[j]:
                for k in range(n):
                    dq[k] = 0
                continue
            for side in (-1, 1):  # from the anchor downward, then upward
                value, k = q[anchor], anchor
                while 0 <= k < n:
                    if k != anchor:
                        value += side * softplus_of(q[k])
                    if k != anchor or side == 1:
                        error, level = y[j] - value, p[1 + k]
                        total += max(level * error, (level - 1) * error)
                        dq[k] = -level if error > 0 else 1 - level
                    k += side
            # A step below the anchor moves every quantile from it downward, one above it upward.
            below, above = 0.0, 0.0
            for k in range(anchor):
                below += dq[k]
                dq[k] = -below * sigmoid_of(q[k]) / scale
            for k in range(n - 1, anchor, -1):
                above += dq[k]
                dq[k] = above * sigmoid_of(q[k]) / scale
            dq[anchor] = (below + dq[anchor] + above) / scale
        return total / scale

    return row


def huber(delta: float) -> Loss:
    """0.5 e^2 near zero, delta (|e| - 0.5 delta) beyond |e| = delta (Huber 1964)."""
    return Loss("huber", same, _huber, same, (delta,))


def quantile(levels: ArrayLike) -> Loss:
    """Mean pinball loss over rising `levels` (Koenker & Bassett 1978); outputs never cross.

    `link` gives all quantiles, (M, n_outputs, n_quantiles).
    """
    levels = [float(level) for level in np.asarray(levels)]
    n, anchor = len(levels), nearest_to_median(levels)
    return Loss(
        "quantile", lambda n_outputs: n_outputs * n, _quantile,
        lambda raw: ordered_quantiles(raw, n, anchor), (float(anchor), *levels),
    )  # fmt: skip


def nearest_to_median(levels: ArrayLike) -> int:
    """Index of the level nearest to 0.5, the lower one of two."""
    return int(np.argmin(np.round(np.abs(np.asarray(levels) - 0.5), 12)))


def ordered_quantiles(raw: np.ndarray, n_quantiles: int, anchor: int) -> np.ndarray:
    """(M, n_outputs n_quantiles) raw -> (M, n_outputs, n_quantiles) that never decrease.

    The quantile number `anchor` is free; its neighbours are positive steps (softplus) away.
    """
    raw = raw.reshape(len(raw), -1, n_quantiles)
    steps = np.logaddexp(raw, raw.dtype.type(0))
    up = np.cumsum(steps[:, :, anchor + 1 :], axis=2)
    down = np.cumsum(steps[:, :, :anchor][:, :, ::-1], axis=2)[:, :, ::-1]
    middle = raw[:, :, anchor : anchor + 1]
    return np.concatenate([middle - down, middle, middle + up], axis=2)


# --- classification ---------------------------------------------------------------------------------
def _multiclass(jit):
    """y: the class number; softmax and cross-entropy."""

    @jit
    def row(raw, y, d, p):
        largest = raw[0]
        for k in range(1, len(raw)):
            largest = max(largest, raw[k])
        total = 0.0
        for k in range(len(raw)):
            d[k] = math.exp(raw[k] - largest)
            total += d[k]
        for k in range(len(raw)):
            d[k] /= total
        right = int(y[0])
        d[right] -= 1
        return math.log(total) - (raw[right] - largest)

    return row


SMOOTHED = "smoothed_log_loss"


def _smoothed(jit):
    """The same, where p[0] of the probability of the right class is every class's."""
    row_of = _multiclass(jit)

    @jit
    def row(raw, y, d, p):
        loss, n, right, lost = row_of(raw, y, d, p), len(raw), int(y[0]), 0.0
        for k in range(n):
            lost += (raw[right] - raw[k]) / n
            d[k] -= p[0] / n
        d[right] += p[0]
        return loss + p[0] * lost

    return row


def smoothed_log_loss(share: float) -> Loss:
    """The log loss of targets of which every class has an equal part of that share (Szegedy et al. 2016,
    "Rethinking the inception architecture for computer vision")."""
    return Loss(SMOOTHED, same, _smoothed, softmax, (share,)) if share else multiclass_log_loss


@elementwise
def _independent(jit):
    """y of 0 and 1: one sigmoid and one cross-entropy per column."""
    softplus_of, sigmoid_of = _softplus(jit), _sigmoid(jit)

    @jit
    def term(raw, y, p):
        return softplus_of(raw) - y * raw, sigmoid_of(raw) - y

    return term


def _sigmoid(jit):
    @jit
    def sigmoid_of(x):
        small = math.exp(-abs(x))
        return (1 if x >= 0 else small) / (1 + small)

    return sigmoid_of


def _softplus(jit):
    @jit
    def softplus_of(x):
        return max(x, 0) + math.log1p(math.exp(-abs(x)))

    return softplus_of


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)) without overflow."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, small) / (1 + small)


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def _exp(raw: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.exp(raw)


squared_error = Loss("squared_error", same, _squared_error, same)
absolute_error = Loss("absolute_error", same, _absolute_error, same)
poisson = Loss("poisson", same, _poisson, _exp)
multiclass_log_loss = Loss("multiclass_log_loss", same, _multiclass, softmax)
binary_log_loss = Loss("binary_log_loss", same, _independent, sigmoid)
