"""What is stored carries the version that stored it, and what an older version stored can be read."""

from __future__ import annotations

import inspect
from typing import Any

from sklearn import exceptions

import skrnn  # for its version

from .devices import warn_the_caller

VERSION = "_skrnn_version"  # its name in what is stored
OLDER = "before 0.1.0"  # than the first that stored it


class InconsistentVersionWarning(exceptions.InconsistentVersionWarning):
    """A model of another version of this package is loaded; filters for scikit-learn's warning catch it, too.

    Parameters
    ----------
    estimator_name, original_version : str
        What was stored, and by which version.
    """

    def __init__(self, estimator_name: str, original_version: str) -> None:
        self.estimator_name, self.original_version = estimator_name, original_version

    def __str__(self) -> str:
        return (
            f"{self.estimator_name} was stored by skrnn {self.original_version} and is loaded by skrnn "
            f"{skrnn.__version__}. What is known to have changed is brought up to date; compare a "
            "prediction, or fit anew"
        )


class Versioned:
    """Mixin, before `BaseEstimator`: its state says which version of the package it is of.

    Copies have a state, too, which is of this version and costs nothing.
    """

    def __getstate__(self) -> dict[str, Any]:
        state: Any = super().__getstate__()
        return state | {VERSION: skrnn.__version__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        version = state.pop(VERSION, OLDER)
        if version != skrnn.__version__:
            warn_the_caller(InconsistentVersionWarning(type(self).__name__, version))
            state = default_parameters(type(self)) | state
        self.__dict__.update(self._read_state(state))
        if version != skrnn.__version__:
            self._migrate()

    def _read_state(self, state: dict[str, Any]) -> dict[str, Any]:
        """The attributes, from what `__getstate__` has made of them."""
        return state

    def _migrate(self) -> None:
        """Bring what another version stored up to date; parameters that it lacked have their defaults."""


def default_parameters(cls: type) -> dict[str, Any]:
    """The parameters of a constructor that have a default, and it."""
    parameters = inspect.signature(cls).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}
