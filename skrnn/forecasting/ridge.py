"""Ridge regression of several strengths at once: networks begin at it, views are judged by it."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin

STRENGTHS = 0.3, 3.0, 30.0, 300.0, 3000.0  # for windows and targets of unit size
ROUNDS = 20
MOST_ROWS = 20_000  # that are learnt; more change a linear map by less than what is left of it to learn


class RidgePath(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Linear maps ``X W' + b``, each with another penalty ``strength |W|^2`` (Hoerl & Kennard 1970).

    Rows whose targets are beyond unit size on the average weigh as much less as their mean square is more.

    Parameters
    ----------
    strengths : sequence of float

    Attributes
    ----------
    weights : ndarray of shape (n_strengths, n_outputs, n_features)
    biases : ndarray of shape (n_strengths, n_outputs)
    """

    weights: np.ndarray
    biases: np.ndarray

    def __init__(self, strengths: Any = STRENGTHS) -> None:
        self.strengths = strengths

    def fit(self, X: np.ndarray, Y: np.ndarray) -> Self:
        """Fit all of them by one decomposition of the smaller Gram matrix.

        Parameters
        ----------
        X : ndarray of shape (n, n_features)
        Y : ndarray of shape (n, n_outputs)
            NaN where it is not known: there it is taken to be what the map says, in a few rounds that come
            near the map of what is known (expectation and maximisation; Dempster et al. 1977).
        """
        rows = evenly(np.arange(len(X)), MOST_ROWS)
        X, Y = X[rows], Y[rows]
        X, Y = np.asarray(X, np.float64), np.asarray(Y, np.float64).reshape(len(Y), -1)
        unknown = np.isnan(Y)
        # What follows a quiet window may be many times its size: it counts as of unit size.
        w = 1 / np.maximum(1, np.mean(Y**2, axis=1, where=~unknown))[:, None]
        x = np.sum(w * X, axis=0) / w.sum()
        X = np.sqrt(w) * (X - x)
        wide = X.shape[1] > len(X)
        sizes, V = np.linalg.eigh(X @ X.T if wide else X.T @ X)
        weights, biases = [], []
        for strength in self.strengths:
            y = np.nansum(w * Y, axis=0) / np.maximum(np.sum(w * ~unknown, axis=0), np.finfo(float).tiny)
            filled = np.where(unknown, y, Y)
            for _ in range(ROUNDS if unknown.any() else 1):
                y = np.sum(w * filled, axis=0) / w.sum()
                centred = np.sqrt(w) * (filled - y)
                projected = V.T @ (centred if wide else X.T @ centred)
                shrunk = V @ (projected / (np.maximum(sizes, 0) + strength)[:, None])
                W = (X.T @ shrunk if wide else shrunk).T
                filled = np.where(unknown, X / np.sqrt(w) @ W.T + y, filled)
            weights.append(W)
            biases.append(y - W @ x)
        self.weights, self.biases = np.stack(weights), np.stack(biases)
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Answers (n, n_outputs, n_strengths)."""
        return np.moveaxis(np.asarray(X, np.float64) @ self.weights.swapaxes(1, 2), 0, 2) + self.biases.T


def evenly(places: np.ndarray, most: int) -> np.ndarray:
    """All places, or as many as are allowed, at even distances."""
    if len(places) <= most:
        return places
    return places[np.linspace(0, len(places) - 1, most).astype(np.intp)]
