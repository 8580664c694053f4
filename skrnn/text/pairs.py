"""How models learn from pairs: something that is read, and what it is to become."""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from typing import Any, Self

import numpy as np

from ..estimators.parameters import as_python
from ..estimators.unchanged import unchanged_on_error
from ..training import Data, Settings
from .text_model import TextModel, passes_of

# With batch_size="auto": more updates of fewer pairs learn more in a given time.
PAIRS, FEWEST_PAIRS, LEAST_UPDATES = 32, 8, 100  # the last of a pass
Pairs = tuple[list[Any], list[np.ndarray]]  # what is read, and tokens of what it is to become


class LearnsPairs(TextModel):
    """`fit` and `partial_fit` of models of pairs; subclasses read them."""

    warm_start: Any
    early_stopping: Any
    validation_fraction: Any
    batch_size: Any
    max_iter: Any

    @abstractmethod
    def _read_pairs(self, X: Any, y: Any, again: bool) -> Pairs:
        """To learn from; learns encoders, unless training goes on."""

    @abstractmethod
    def _validation_pairs(self, X: Any, y: Any) -> Pairs:
        """Of X_val and y_val."""

    @abstractmethod
    def _training_data(self, pairs: Pairs, numbers: np.ndarray | None = None) -> Data:
        """With the numbers of the pairs in X, where they are not all of it."""

    @abstractmethod
    def _data(self, *pairs: Any) -> Data: ...

    def _fit_pairs(self, X: Any, y: Any, X_val: Any, y_val: Any) -> Self:
        with unchanged_on_error(self):
            again = self.warm_start and hasattr(self, "weights_")
            if (X_val is None) != (y_val is None):
                raise ValueError("X_val and y_val go together: one of them is missing")
            pairs, held_back, numbers = self._read_pairs(X, y, again), None, None
            if X_val is None and self.early_stopping:
                pairs, held_back, numbers = self._hold_back(pairs, again)
            data = self._training_data(pairs, numbers)
            if X_val is not None:
                held_back = self._validation_pairs(X_val, y_val)
            validation = None if held_back is None else self._data(*held_back)
            del pairs, held_back  # signals may take much memory
            progress = self._learn(data, validation, again, partial(self._run_fit, X=X, y=y))
        self._raise_if_interrupted(progress)
        return self

    def _pass_over_pairs(self, X: Any, y: Any) -> Self:
        with unchanged_on_error(self):
            again = hasattr(self, "weights_")
            self._learn(self._training_data(self._read_pairs(X, y, again)), None, again, self._pass_over)
        return self

    def _hold_back(self, pairs: Pairs, again: bool) -> tuple[Pairs, Pairs, np.ndarray]:
        """Pairs to learn from, others to validate on, and the numbers of the first."""
        sources, targets = pairs
        learnt, held_back = self._split(len(sources), as_python(self.validation_fraction), again)
        if not len(learnt):
            raise ValueError(f"early_stopping holds back all of {len(sources)} pairs")
        first, second = (
            ([sources[i] for i in own], [targets[i] for i in own]) for own in (learnt, held_back)
        )
        return first, second, learnt

    def _settings(self, n: int, data: Data) -> Settings:
        settings = super()._settings(n, data)
        if self.batch_size == "auto":
            settings.batch_size = min(n, int(np.clip(n // LEAST_UPDATES, FEWEST_PAIRS, PAIRS)))
        n_updates = -(-n // settings.batch_size)
        if self.max_iter == "auto":
            settings.max_iter = passes_of(n_updates)
        self._set_rows(settings, n_updates)
        return settings
