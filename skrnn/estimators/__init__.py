"""The scikit-learn estimators."""

from .classifiers import GRUClassifier, LSTMClassifier, RNNClassifier
from .regressors import GRURegressor, LSTMRegressor, RNNRegressor

__all__ = [
    "GRUClassifier",
    "GRURegressor",
    "LSTMClassifier",
    "LSTMRegressor",
    "RNNClassifier",
    "RNNRegressor",
]
