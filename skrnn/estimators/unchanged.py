"""An error leaves an estimator as it was."""

from __future__ import annotations

from typing import Any

from ..interrupts import deferred

# Of vars(estimator), what scikit-learn's callbacks need to find again after an error.
CALLBACK_STATE = ("_callback", "_skl_callbacks", "_parent_callback")


class unchanged_on_error:
    """``with unchanged_on_error(estimator):`` after an error or an interrupt it is what it was before, fitted
    or not. Of attributes alone: what they hold is not to be changed in place."""

    def __init__(self, estimator: Any) -> None:
        self.attributes = vars(estimator)
        self.before = dict(self.attributes)

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, *error: object) -> None:
        if kind is None:
            return
        with deferred():
            for name in list(self.attributes):
                if not name.startswith(CALLBACK_STATE):
                    del self.attributes[name]
            kept = {k: v for k, v in self.before.items() if not k.startswith(CALLBACK_STATE)}
            self.attributes.update(kept)
