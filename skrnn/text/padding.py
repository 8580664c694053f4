"""Padded arrays of other tools as sequences of their own lengths."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..sequences import object_array


def cut_padding(X: Any, padding: Any = 0, *, lengths: Any = None) -> np.ndarray:
    """Sequences without their padding.

    Parameters
    ----------
    X : array-like of shape (n, T) or (n, T, k)
        Tokens, or steps of k columns, filled up to one length before or behind each sequence; or targets of
        such steps.
    padding : scalar, default=0
        What it is filled with; a step is padding if all of its columns are. It is cut off at both ends,
        never from within.
    lengths : array-like of shape (n,), default=None
        Steps of each sequence, which begin at the first column, in the place of `padding`: for targets, and
        where padding may also be a token.

    Returns
    -------
    ndarray of shape (n,), dtype object
        Arrays of shape (T_i,) or (T_i, k), in the type of X. One that is nothing but padding has no steps.

    Raises
    ------
    ValueError
        If X has another number of dimensions, a length is not one of 0 to T, or `padding` is no scalar, or no
        text where X is.

    Examples
    --------
    >>> from skrnn.text import cut_padding
    >>> list(cut_padding([[4, 2, 7], [5, 0, 0], [0, 3, 0]]))
    [array([4, 2, 7]), array([5]), array([3])]
    """
    X = np.asarray(X)
    if X.ndim not in (2, 3):
        raise ValueError(f"X must have shape (n, T) or (n, T, k), got {X.shape}")
    if np.ndim(padding) > 0 or padding is None:
        raise ValueError(f"padding must be one number or string, got {padding!r}")
    if lengths is not None:
        lengths = np.asarray(lengths)
        if lengths.shape != X.shape[:1] or lengths.dtype.kind not in "iu":
            raise ValueError(
                f"lengths must be {len(X)} integers, got {lengths.dtype} of shape {lengths.shape}"
            )
        wrong = np.flatnonzero((lengths < 0) | (lengths > X.shape[1]))
        if len(wrong):
            i = wrong[0]
            raise ValueError(f"lengths[{i}] is {lengths[i]}, but sequence {i} has {X.shape[1]} columns")
        return object_array([row[:length] for row, length in zip(X, lengths, strict=True)])
    if X.shape[1] == 0:
        return object_array(list(X))
    if (X.dtype.kind in "US") != isinstance(padding, str | bytes):
        raise ValueError(f"X holds {X.dtype}: say which of them is padding, got {padding!r}")
    known = ~np.isnan(X) if padding != padding else np.not_equal(X, padding)
    known = known if X.ndim == 2 else known.any(axis=2)
    first, last = known.argmax(axis=1), X.shape[1] - known[:, ::-1].argmax(axis=1)
    return object_array(
        [row[a:b] if some else row[:0] for row, a, b, some in zip(X, first, last, known.any(1), strict=True)]
    )
