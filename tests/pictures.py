"""Pictures of estimators, to be compared."""

import numpy as np


def bits(value):
    """A deep picture of what is stored of an estimator or an attribute, which can be compared."""
    if isinstance(value, dict):
        return {k: bits(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [bits(v) for v in value]
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, np.random.RandomState):
        return bits(list(value.get_state()))
    return bits(value.__getstate__()) if hasattr(value, "__dict__") else repr(value)
