"""Update rules, each a few textbook lines on one weight; a backend applies them to all.

Every rule is ``update(w, g, m, v, h) -> w, m, v``: a weight, its (clipped) gradient, two moments that
start at zero, and the step's hyperparameters `h`. Decoupled decay (`adamw`) and L2 (all others) are
applied by the caller, which knows the weights from the biases.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np


@dataclass
class SetUp:
    """What an optimiser is made with; see the estimators' parameters of the same names.

    Attributes
    ----------
    solver : {"adam", "adamw", "sgd", "rmsprop"}
    ranges : list of (start, stop, decays)
        Stretches of the flat parameters, as far as each step updates all of them; biases do not decay.
    size : int
        Of the flat parameters.
    n_dense : int
        How many of them that are.
    max_norm : float or None
        To which gradients are clipped.
    """

    solver: str
    ranges: list[tuple[int, int, bool]]
    size: int
    dtype: np.dtype
    alpha: float
    momentum: float
    nesterov: bool
    beta_1: float
    beta_2: float
    epsilon: float
    max_norm: float | None

    def __post_init__(self) -> None:
        self.flat_ranges, self.n_dense = np.array(self.ranges, np.intp).ravel(), self.ranges[-1][1]
        epsilon = max(self.epsilon, float(np.finfo(self.dtype).tiny))  # must not become 0 in float32
        hyper = self.alpha, self.momentum, self.nesterov, self.beta_1, self.beta_2, epsilon
        self.hyper = tuple(map(float, hyper))
        self.largest_norm = math.inf if self.max_norm is None else float(self.max_norm)


# What a backend finds out for one step, in float64: whether it is made, the factor that clips, rate and
# corrections.
STEP_GOES, STEP_CLIP, STEP_RATE, STEP_CORRECTION_1, STEP_CORRECTION_2 = range(5)
STEP_FIELDS = 5


class Hyper(NamedTuple):
    """Hyperparameters of one step, all in the dtype of the weights."""

    learning_rate: Any
    momentum: Any
    nesterov: Any  # 1 or 0
    beta_1: Any
    beta_2: Any
    rest_1: Any  # 1 - beta_1, rounded once: float32 would make 1 - 0.99999999 a zero
    rest_2: Any
    epsilon: Any
    correction_1: Any  # 1 - beta_1 ** step
    correction_2: Any
    one: Any


def sgd(jit: Callable, sqrt: Callable) -> Callable:
    """Momentum, Nesterov's form on request (Sutskever et al. 2013)."""

    @jit
    def update(w, g, m, v, h):
        m = h.momentum * m - h.learning_rate * g
        ahead = h.momentum * m - h.learning_rate * g
        return w + h.nesterov * ahead + (h.one - h.nesterov) * m, m, v

    return update


def rmsprop(jit: Callable, sqrt: Callable) -> Callable:
    """Running mean of squares with smoothing `beta_2` (Tieleman & Hinton 2012)."""

    @jit
    def update(w, g, m, v, h):
        v = h.beta_2 * v + h.rest_2 * g * g
        return w - h.learning_rate * g / (sqrt(v) + h.epsilon), m, v

    return update


def adam(jit: Callable, sqrt: Callable) -> Callable:
    """Adam with bias correction (Kingma & Ba 2015, algorithm 1)."""

    @jit
    def update(w, g, m, v, h):
        m = h.beta_1 * m + h.rest_1 * g
        v = h.beta_2 * v + h.rest_2 * g * g
        step = (m / h.correction_1) / (sqrt(v / h.correction_2) + h.epsilon)
        return w - h.learning_rate * step, m, v

    return update


RULES = {"sgd": sgd, "rmsprop": rmsprop, "adam": adam, "adamw": adam}
