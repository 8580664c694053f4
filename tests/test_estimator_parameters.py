"""Unknown parameter values, and parameters with which training diverges: errors, never NaN."""

import copy
import re
import warnings

import numpy as np
import pytest
from pictures import bits
from sklearn.exceptions import NotFittedError
from sklearn.utils._param_validation import InvalidParameterError

from skrnn import (
    GRUClassifier,
    GRURegressor,
    LSTMClassifier,
    LSTMRegressor,
    RNNClassifier,
    RNNRegressor,
)

ALL = [RNNRegressor, LSTMRegressor, GRURegressor, RNNClassifier, LSTMClassifier, GRUClassifier]
X0 = np.random.default_rng(0).standard_normal((8, 4, 2))
Y0 = (X0[:, -1, 0] > 0).astype(int)


def short(cls, **options):
    return cls(**{"hidden_size": 3, "max_iter": 2, "random_state": 0} | options)


# Divergence --------------------------------------------------------------------------------------

EXPLODING = dict(activation="relu", solver="sgd", learning_rate_init=1e6, max_grad_norm=None, hidden_size=8)


@pytest.mark.parametrize("options", [{}, {"early_stopping": True}, {"max_iter": 1}], ids=str)
@pytest.mark.parametrize("batch_size", [4, 100])
def test_divergence_raises_with_advice(options, batch_size):
    X = np.tile(np.random.default_rng(0).standard_normal((20, 6, 2)), (1, 20, 1))
    y = X[:, -1, 0]
    options = {"max_iter": 20, "batch_size": batch_size} | options
    est = short(RNNRegressor, **EXPLODING | options)
    advice = "smaller learning_rate_init .*max_grad_norm=1.0.*scaling X and y"
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # no overflow warnings on the way
        with pytest.raises(ValueError, match=advice):
            est.fit(X, y)
    assert not hasattr(est, "weights_")
    with pytest.raises(NotFittedError):
        est.predict(X)

    est = short(RNNRegressor, **options).fit(X, y)
    expected = est.predict(X)
    for method in ("fit", "partial_fit", "warm"):
        other = copy.deepcopy(est).set_params(**EXPLODING, warm_start=method == "warm")
        other.set_params(hidden_size=3, max_iter=20)
        before = bits({k: v for k, v in other.__getstate__().items() if k not in other.get_params()})
        raised = False
        for _ in range(20):  # one call of partial_fit need not explode
            try:
                getattr(other, "partial_fit" if method == "partial_fit" else "fit")(X, y)
            except ValueError as error:
                raised = re.search(advice, str(error))
                break
            before = bits({k: v for k, v in other.__getstate__().items() if k not in other.get_params()})
            assert np.isfinite(other.predict(X)).all()
        assert raised
        after = bits({k: v for k, v in other.__getstate__().items() if k not in other.get_params()})
        assert after == before
        if method != "partial_fit":
            other.set_params(activation="tanh")
            np.testing.assert_array_equal(other.predict(X), expected)


def test_an_epsilon_below_float32_is_not_zero():
    """Units whose gradient is zero would get 0 / 0."""
    for solver in ("adam", "rmsprop"):
        est = short(RNNRegressor, epsilon=1e-60, solver=solver).fit(np.zeros((8, 4, 2)), Y0)
        assert np.isfinite(est.predict(X0)).all()


# Parameters --------------------------------------------------------------------------------------

BAD_PARAMETERS = [
    ("hidden_size", [0, -1, 2.5, "32", None]),
    ("num_layers", [0, 1.5]),
    ("bidirectional", ["yes", 2]),
    ("dropout", [-0.1, 1.0, "a"]),
    ("recurrent_dropout", [-0.1, 1.0]),
    ("pooling", ["first", None]),
    ("return_sequences", ["no"]),
    ("linear_skip", ["no", 2]),
    ("features_per_step", [0, 1.5]),
    ("newest_first", ["no"]),
    ("static_columns", [1.5, object()]),
    ("channels_first", ["no", 2]),
    ("loss", ["mse", None]),
    ("solver", ["lbfgs", None]),
    ("alpha", [-1e-4, "a"]),
    ("embedding_size", [0, 2.5, "large"]),
    ("n_tokens", [0, -1, "many"]),
    ("categorical_features", ["all", 0]),
    ("embedding_weights", ["random", 3]),
    ("freeze_embedding", ["no"]),
    ("embedding_updates", ["sparse", True]),
    ("embedding_dropout", [-0.1, 1.0]),
    ("head_dropout", [-0.1, 1.0]),
    ("batch_size", [0, 2.5, "all"]),
    ("learning_rate", ["adaptive", 0.1]),
    ("warmup_steps", [-1, 2.5]),
    ("learning_rate_init", [0, -1e-3, "fast"]),
    ("momentum", [-0.1, 1.0]),
    ("nesterovs_momentum", ["no"]),
    ("beta_1", [-0.1, 1.0]),
    ("beta_2", [-0.1, 1.0]),
    ("epsilon", [0, -1e-8]),
    ("max_grad_norm", [0, -1.0, "a"]),
    ("tbptt_steps", [0, 2.5]),
    ("max_iter", [0, 2.5]),
    ("shuffle", ["no"]),
    ("tol", [-1e-4]),
    ("n_iter_no_change", [0, 2.5]),
    ("early_stopping", ["no"]),
    ("validation_fraction", [0, 1.0, -0.1]),
    ("validation_split", ["foo", "", 0.1, None, (i for i in range(3))]),
    ("warm_start", ["no"]),
    ("random_state", ["a", -1, 2.5]),
    ("verbose", ["yes", -1]),
    ("dtype", ["float16", np.float32, "f4"]),
    ("device", ["gpu", "cuda:", "cuda:x", "cuda:-1", "cpu:0", 0, None]),
    ("allow_tf32", ["no", 2]),
    ("n_jobs", [2.5, "all", 0]),
    ("cell", ["elman", None]),
    ("activation", ["swish", None]),
    ("reset_after", ["no"]),
    ("huber_delta", [0, -1.0]),
    ("quantiles", ["abc", 0.5]),
    ("class_weight", ["even", 3]),
]


@pytest.mark.parametrize(("parameter", "values"), BAD_PARAMETERS)
def test_unknown_parameter_values(parameter, values):
    for value in values:
        for cls in ALL:
            if parameter not in cls().get_params():
                continue
            for method in ("fit", "partial_fit"):
                est = short(cls).set_params(**{parameter: value})
                classes = {"classes": [0, 1]} if "Classifier" in cls.__name__ else {}
                kwargs = classes if method == "partial_fit" else {}
                with pytest.raises((InvalidParameterError, ValueError), match=parameter) as error:
                    getattr(est, method)(X0, Y0, **kwargs)
                if parameter != "n_jobs" or value != 0:
                    assert error.type is InvalidParameterError, (parameter, value)
                assert not hasattr(est, "weights_")


def test_every_parameter_has_bad_values():
    names = set().union(*(cls().get_params() for cls in ALL))
    assert names == {parameter for parameter, _ in BAD_PARAMETERS}


def test_parameters_of_other_cells_do_not_exist():
    for cls in (LSTMRegressor, LSTMClassifier):
        for parameter in ("activation", "reset_after", "cell"):
            with pytest.raises(TypeError, match=parameter):
                cls(**{parameter: "tanh"})
    for cls in (GRURegressor, GRUClassifier):
        with pytest.raises(TypeError, match="activation"):
            cls(activation="tanh")
    for cls in ALL:
        with pytest.raises(TypeError, match="positional"):
            cls(8, 2)  # keyword-only after hidden_size
        assert cls(8).hidden_size == 8


@pytest.mark.parametrize("cls", ALL)
def test_truncation_and_two_directions_exclude_each_other(cls):
    est = short(cls, tbptt_steps=2, bidirectional=True)
    for fit in (est.fit, est.partial_fit):
        kwargs = {"classes": [0, 1]} if fit == est.partial_fit and "Class" in cls.__name__ else {}
        with pytest.raises(ValueError, match="tbptt_steps cannot be combined with bidirectional"):
            fit(X0, Y0, **kwargs)
        assert not hasattr(est, "weights_")


def test_class_weight_balanced_is_unknown_to_partial_fit():
    est = short(RNNClassifier, class_weight="balanced")
    with pytest.raises(ValueError, match=re.escape('class_weight="balanced"')):
        est.partial_fit(X0, Y0, classes=[0, 1])
