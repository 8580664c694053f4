"""Recurrent networks (RNN, LSTM, GRU) as scikit-learn estimators, on vectorised Numba kernels.

Importing this package compiles nothing. Names load their module when first used, so that pandas is
imported only by who works with frames.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .about import show_versions as show_versions
    from .compose import SequenceTargetRegressor as SequenceTargetRegressor
    from .display import LossCurveDisplay as LossCurveDisplay
    from .estimators import GRUClassifier as GRUClassifier
    from .estimators import GRURegressor as GRURegressor
    from .estimators import LSTMClassifier as LSTMClassifier
    from .estimators import LSTMRegressor as LSTMRegressor
    from .estimators import RNNClassifier as RNNClassifier
    from .estimators import RNNRegressor as RNNRegressor
    from .metrics import flat_accuracy_score as flat_accuracy_score
    from .metrics import flat_accuracy_scorer as flat_accuracy_scorer
    from .metrics import flat_f1_score as flat_f1_score
    from .metrics import flat_f1_scorer as flat_f1_scorer
    from .metrics import flat_neg_log_loss_scorer as flat_neg_log_loss_scorer
    from .metrics import flat_neg_mean_absolute_error_scorer as flat_neg_mean_absolute_error_scorer
    from .metrics import flat_neg_mean_squared_error_scorer as flat_neg_mean_squared_error_scorer
    from .metrics import flat_r2_score as flat_r2_score
    from .metrics import flat_r2_scorer as flat_r2_scorer
    from .metrics import flat_score as flat_score
    from .metrics import flat_scorer as flat_scorer
    from .preprocessing import SequenceTransformer as SequenceTransformer
    from .windows import from_long_frame as from_long_frame
    from .windows import make_windows as make_windows
    from .windows import to_long_frame as to_long_frame

_HOMES = {
    "about": ("show_versions",),
    "estimators": (
        "GRUClassifier",
        "GRURegressor",
        "LSTMClassifier",
        "LSTMRegressor",
        "RNNClassifier",
        "RNNRegressor",
    ),
    "preprocessing": ("SequenceTransformer",),
    "compose": ("SequenceTargetRegressor",),
    "windows": ("from_long_frame", "make_windows", "to_long_frame"),
    "metrics": (
        "flat_accuracy_score",
        "flat_accuracy_scorer",
        "flat_f1_score",
        "flat_f1_scorer",
        "flat_neg_log_loss_scorer",
        "flat_neg_mean_absolute_error_scorer",
        "flat_neg_mean_squared_error_scorer",
        "flat_r2_score",
        "flat_r2_scorer",
        "flat_score",
        "flat_scorer",
    ),
    "display": ("LossCurveDisplay",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
