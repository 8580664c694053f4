"""Arrays like those of the fit, of which the checks of X have nothing to say but about their numbers. For a
short prediction these checks take longer than the network."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..sequences import FLOATS


def are_sequences(estimator: Any, X: Any) -> bool:
    """Whether X is a 3-D array of floats with as many features as X of the fit, sequences without names."""
    return (
        type(X) is np.ndarray
        and X.ndim == 3
        and X.dtype in FLOATS
        and X.size > 0
        and getattr(estimator, "_input_kind", None) == "sequences"
        and X.shape[2] == estimator.n_features_in_
        and not hasattr(estimator, "feature_names_in_")
    )


def are_rows(estimator: Any, X: Any) -> bool:
    """Whether X is a 2-D array of numbers with as many columns as X of the fit, which had no names."""
    return (
        type(X) is np.ndarray
        and X.ndim == 2
        and X.dtype.kind in "fiu"
        and len(X) > 0
        and X.shape[1] == estimator.n_features_in_
        and not hasattr(estimator, "feature_names_in_")
    )
