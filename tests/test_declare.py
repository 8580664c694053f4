"""Parameters that are declared once: what follows for constructors, validation and documentation."""

import dataclasses
import inspect
import typing
from typing import Any, Literal

import numpy as np
import pytest
from sklearn.base import BaseEstimator, clone
from sklearn.utils._param_validation import InvalidParameterError

import skrnn
from skrnn.estimators.declare import parameter, with_parameters
from skrnn.estimators.parameters import COUNT, SHARE, SharedParameters
from skrnn.forecasting import GRUForecaster


@with_parameters
class Base:
    size: int = parameter("How many.", COUNT, kw_only=False, default=3)
    share: float = parameter("Which part.", SHARE, default=0.5)
    rest: Any = parameter("Anything.", kind="object", default=None)


@with_parameters
class Own:
    how: Literal["so", "thus"] | None = parameter("In which way.", default="so")
    loud: bool = parameter("Whether to be heard.", default=False)


@with_parameters
class Both(BaseEstimator, Base, Own):
    """Two sets of parameters.

    {parameters}
    See Also
    --------
    Base : One of them.
    """


@with_parameters
class Other(Both):
    size: int = parameter("How many of another kind.", COUNT, kw_only=False, default=4)
    more: int | None = parameter("Or none.", COUNT, default=None)


def test_the_constructor():
    names = list(inspect.signature(Both).parameters)
    assert names == ["size", "how", "loud", "share", "rest"]  # positional first, then those of the last base
    estimator = Both(5, how=None)
    assert estimator.get_params() == {"size": 5, "share": 0.5, "rest": None, "how": None, "loud": False}
    assert repr(clone(estimator)) == repr(estimator) == "Both(how=None, size=5)"
    with pytest.raises(TypeError, match=r"Both\.__init__\(\) got an unexpected keyword argument 'sise'"):
        Both(sise=2)
    with pytest.raises(TypeError, match="from 1 to 2 positional"):
        Both(1, 2)
    assert len({Both(), Both()}) == 2  # estimators are compared by identity


def test_a_class_changes_what_its_base_declares():
    assert (Other().size, Both().size) == (4, 3)
    assert list(inspect.signature(Other).parameters) == ["size", "how", "loud", "share", "rest", "more"]
    assert len(Other._parameter_constraints["how"]) == 2  # not those of its base once more


def test_types_can_be_asked_for_at_runtime():
    hints = typing.get_type_hints(skrnn.LSTMRegressor.__init__)
    assert hints["solver"] == Literal["adam", "adamw", "sgd", "rmsprop"]
    assert typing.get_type_hints(GRUForecaster.__init__)["h"] is int


def test_estimators_are_no_dataclasses():
    """Tools would take two of them with equal parameters for the same model, fitted or not."""
    for cls in (Both, skrnn.LSTMRegressor, skrnn.RNNClassifier, GRUForecaster):
        assert not dataclasses.is_dataclass(cls)


def test_none_is_let_pass_once():
    for cls in (skrnn.LSTMRegressor, GRUForecaster):
        assert len(cls._parameter_constraints["random_state"]) == 1
        assert cls._parameter_constraints["validation_fraction"].count(None) <= 1
    with pytest.raises(InvalidParameterError, match=r"or None\. Got 'a'"):
        skrnn.LSTMRegressor(random_state="a")._validate_params()


def test_an_estimator_declares_a_parameter():
    @with_parameters
    class Mine(skrnn.LSTMRegressor):
        extra: int = parameter("Of this class.", COUNT, default=2)

    assert Mine(4, extra=3).get_params()["extra"] == 3
    with pytest.raises(InvalidParameterError, match="'extra' parameter"):
        Mine(extra=0).fit(np.zeros((2, 2, 1)), [0, 1])


@pytest.mark.parametrize(
    "wrong",
    [{"size": 0}, {"share": 1.0}, {"how": "otherwise"}, {"loud": "no"}, {"size": None}, {"share": None}],
    ids=str,
)
def test_what_is_let_pass(wrong):
    Both(how=None, rest=object())._validate_params()
    Other(more=None)._validate_params()
    with pytest.raises(InvalidParameterError, match=next(iter(wrong))):
        Both(**wrong)._validate_params()


def test_the_docstring():
    assert inspect.getdoc(Both) == inspect.cleandoc("""Two sets of parameters.

        Parameters
        ----------
        size : int, default=3
            How many.
        how : {"so", "thus"} or None, default='so'
            In which way.
        loud : bool, default=False
            Whether to be heard.
        share : float in [0, 1), default=0.5
            Which part.
        rest : object, default=None
            Anything.

        See Also
        --------
        Base : One of them.
        """)


def test_a_new_parameter_of_all_estimators_is_one_declaration():
    """The class that all of them inherit from is the only place."""

    @with_parameters
    class More:
        made_up: bool = parameter("Made up.", default=False)

    for cls in (skrnn.RNNRegressor, skrnn.LSTMRegressor, skrnn.GRUClassifier):
        assert issubclass(cls, SharedParameters)
        own = with_parameters(type(cls.__name__, (cls, More), {}))
        assert own(made_up=True).get_params()["made_up"] is True
        X = np.random.default_rng(0).standard_normal((6, 3, 1))
        with pytest.raises(InvalidParameterError, match="'made_up' parameter"):
            own(made_up="yes", max_iter=1).fit(X, [0, 1] * 3)
