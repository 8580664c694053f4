"""RNNClassifier, LSTMClassifier, GRUClassifier."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils import Tags

from .. import losses
from ..losses import Loss
from ..recipe import array_dtype
from ..sequences import Targets
from ..training import Data
from .attributes import ATTRIBUTES, CLASSES
from .base import RecurrentEstimator
from .chains import check_chain_parameters, check_chain_weights
from .declare import with_parameters
from .devices import to_host
from .inputs import Input
from .labels import (
    check_same_classes,
    encode_classes,
    encode_sets,
    learn_classes,
    learn_sets,
    read_labels,
    weights_of_classes,
    weights_of_sets,
)
from .loading import TakesWeightsOfClasses
from .parameters import ClassifierParameters, GRUParameters, RNNParameters
from .targets import check_same_targets, read_rows
from .validation_data import target_rows


class _Classifier(ClassifierMixin, TakesWeightsOfClasses, RecurrentEstimator, ClassifierParameters):
    """Labels, loss and predictions of the classifiers."""

    _attributes = ATTRIBUTES + CLASSES
    label_values_: np.ndarray | None = None

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Train for one pass over X and y, in minibatches.

        Goes on from the present weights, with the parameters as they are now. Schedule, warm-up,
        early stopping and callbacks take no part.

        Parameters
        ----------
        X, y, sample_weight : like in `fit`
        classes : array-like of shape (n_classes,); for label sets (n_labels,) or (n_labels, 2); default=None
            All classes that later calls may hold; needed on the first call. For label sets: names of the
            columns, for `classes_`, or the two values of each column, where the first y may lack one.

        Returns
        -------
        self : estimator

        Raises
        ------
        ValueError
            As `fit`; if `classes` are missing on the first call, do not fit y, or are not those of the
            first call.
        """
        key = self._validate_once()
        first = not hasattr(self, "weights_")
        if first and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit")
        if isinstance(self.class_weight, str):
            raise ValueError('class_weight="balanced" is not known to partial_fit: pass a dict of weights')
        return self._partial_fit(key, X, y, sample_weight, first, classes=to_host(classes))

    def _read_targets(
        self,
        y: Any,
        w: np.ndarray | None,
        input: Input,
        *,
        reset: bool,
        name: str = "y",
        classes: Any = None,
    ) -> Targets:
        if isinstance(y, Targets):
            raise TypeError(f"{name} holds numbers, for regressors: {type(self).__name__} needs labels")
        rows = read_rows(y, input, self.return_sequences, name)
        labels = read_labels(rows, w, input, self.return_sequences, name)
        used = np.ones(len(labels), bool) if w is None else w > 0
        if self.loss == "crf":
            if labels.ndim > 1:
                raise ValueError(f'loss="crf" wants one label for each step, {name} holds sets of labels')
            if name == "y":  # others are weighed in a score, step by step
                check_chain_weights(w, input)
        if reset:
            self._multilabel, self._target_names = labels.ndim > 1, rows.names
            if self._multilabel:
                self.classes_, self.label_values_ = learn_sets(labels[used], classes, name)
            else:
                self.classes_, self.label_values_ = learn_classes(labels[used], classes), None
        else:
            self._check_kind_of_labels(labels, name)
            if classes is not None:
                check_same_classes(classes, self.classes_, self.label_values_)
        check_same_targets(rows.names, self._target_names, name)
        codes = self._encode(labels, used, input, self.return_sequences, name)
        return Targets(codes.reshape(len(codes), -1).astype(array_dtype(self.dtype), order="C"))

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.loss == "crf":
            check_chain_parameters(self)

    def _check_order(self, what: str) -> None:
        super()._check_order(what)
        if self._architecture["crf"]:
            raise ValueError(
                f"loss='crf' weighs the labels of a whole sequence together: the network cannot be {what}"
            )

    def _migrate(self) -> None:
        super()._migrate()
        if getattr(self, "_multilabel", False) and self.label_values_ is None:  # sets of 0 and 1, then
            self.label_values_ = np.tile([0, 1], (len(self.classes_), 1))

    def _check_kind_of_labels(self, labels: np.ndarray, name: str) -> None:
        if (labels.ndim > 1) != self._multilabel:
            raise ValueError(f"{name} is of another kind (classes or label sets) than the y of the first fit")

    def _encode(
        self, labels: np.ndarray, used: np.ndarray, input: Input, per_step: bool, name: str
    ) -> np.ndarray:
        if self.label_values_ is not None:
            return encode_sets(labels, self.label_values_, used, input, per_step, name)
        return encode_classes(labels, self.classes_, used, input, per_step, name)

    def _training_weights(self, data: Data) -> np.ndarray | None:
        """`class_weight` is over the targets to train on, and of no effect on validation scores."""
        if self.class_weight is None:
            return data.w
        weights = np.ones(len(data.y)) if data.w is None else data.w.copy()
        rows = np.arange(len(data.y))[target_rows(data, self.return_sequences)]
        rows = rows[weights[rows] > 0]
        codes = data.y.take(rows).matrix().astype(np.intp)
        if self.label_values_ is not None:
            of_class = weights_of_sets(self.class_weight, self.label_values_, codes)
        else:
            of_class = weights_of_classes(self.class_weight, self.classes_, codes[:, 0])
        if not (np.isfinite(of_class).all() and (of_class >= 0).all()):
            raise ValueError(f"class_weight must be finite and not negative, got {self.class_weight}")
        weights[rows] *= of_class
        return weights

    def _stratify(self, data: Data) -> np.ndarray | None:
        return None if self._multilabel or self.return_sequences else data.y.matrix()[:, 0]

    def _make_loss(self) -> Loss:
        if self._multilabel or self._n_raw() == 1:
            return losses.binary_log_loss
        return losses.multiclass_log_loss

    def _n_raw(self) -> int:
        alone = len(self.classes_) == 2 and not self._multilabel and self.loss != "crf"
        return 1 if alone else len(self.classes_)

    def _n_outputs(self) -> int:
        return self._n_raw()

    def _codes(self, raw: np.ndarray) -> np.ndarray:
        """Class numbers (m,), or label sets (m, n_labels) of 0 and 1."""
        if raw.dtype.kind == "i":  # of best paths
            return raw[:, 0]
        if self.label_values_ is not None:
            only_one = self.label_values_[:, 0] == self.label_values_[:, 1]
            return ((raw > 0) | only_one).astype(int)
        return (raw[:, 0] > 0).astype(int) if raw.shape[1] == 1 else raw.argmax(axis=1)

    def _labels(self, raw: np.ndarray) -> np.ndarray:
        codes = self._codes(raw)
        if self.label_values_ is not None:
            return self.label_values_[np.arange(codes.shape[1]), codes]
        return self.classes_[codes]

    def _probabilities(self, raw: np.ndarray) -> np.ndarray:
        if self._architecture["crf"]:  # marginals
            return raw
        if self._multilabel:
            return losses.sigmoid(raw)
        if raw.shape[1] == 1:
            probability = losses.sigmoid(raw)
            return np.concatenate([1 - probability, probability], axis=1)
        return losses.softmax(raw)

    def _scores(self, raw: np.ndarray) -> np.ndarray:
        return raw[:, 0] if raw.shape[1] == 1 and not self._multilabel else raw

    def _wanted(self, method: str) -> str:
        if not (hasattr(self, "weights_") and self._architecture["crf"]):
            return super()._wanted(method)
        return {"predict": "labels", "predict_proba": "marginals"}.get(method, "outputs")

    def _answer(self, method: str) -> Callable[[np.ndarray], np.ndarray]:
        answers = {
            "predict": self._labels,
            "predict_proba": self._probabilities,
            "decision_function": self._scores,
        }
        self._check_method(method, *answers)
        return answers[method]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of the classes, or of each label: of the larger of its two values. With
        ``loss="crf"`` those of the classes at each step, summed over all paths through the others.

        Parameters
        ----------
        X : like in `fit`

        Returns
        -------
        ndarray of shape (n, n_classes); with `return_sequences` (n, T, n_classes), or a 1-D object
        array of arrays of shape (T_i, n_classes)
            Columns in the order of `classes_`.
        """
        return self._ask("predict_proba", X)

    def decision_function(self, X: Any) -> np.ndarray:
        """Raw scores of the head: log-odds of the second class, or one score per class or label. With
        ``loss="crf"`` one score per class, also of two, before the scores of transitions.

        Parameters
        ----------
        X : like in `fit`

        Returns
        -------
        ndarray of shape (n,) for two classes, else (n, n_classes); per step like `predict_proba`, with
        ``loss="crf"`` always one column per class
        """
        return self._ask("decision_function", X)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy; per step, over all steps of all sequences; of label sets, the share that is right
        in every label.

        Parameters
        ----------
        X, y, sample_weight : like in `fit`

        Returns
        -------
        float
        """
        raw, rows, w, input, per_step = self._score_data(X, y, sample_weight)
        labels = read_labels(rows, w, input, per_step)
        self._check_kind_of_labels(labels, "y")
        predicted = self._codes(raw)
        used = np.ones(len(labels), bool) if w is None else w > 0
        if self._multilabel:
            labels = self._encode(labels, used, input, per_step, "y")
        else:  # a class that is not known is an error of the prediction
            predicted = self.classes_[predicted]
        return float(
            accuracy_score(labels[used], predicted[used], sample_weight=None if w is None else w[used])
        )

    def _score_rows(self, raw: np.ndarray, y: np.ndarray, w: np.ndarray | None) -> float:
        y = y if self._multilabel else y[:, 0]
        return float(accuracy_score(y, self._codes(raw), sample_weight=w))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        tags.target_tags.multi_output = True  # of two values each, that is
        return tags


@with_parameters
class RNNClassifier(_Classifier, GRUParameters, RNNParameters):
    """Classification of sequences, or of their steps, with a recurrent network whose cell is a parameter.

    {parameters}
    See Also
    --------
    LSTMClassifier, GRUClassifier : The cell fixed.

    Examples
    --------
    >>> import numpy as np
    >>> from skrnn import RNNClassifier
    >>> rng = np.random.default_rng(0)
    >>> X = [rng.standard_normal((n, 2)) for n in rng.integers(3, 9, 100)]  # ragged
    >>> y = [int(x[:, 0].sum() > 0) for x in X]
    >>> RNNClassifier(16, cell="lstm", random_state=0).fit(X, y).predict_proba(X[:3]).shape
    (3, 2)
    """


@with_parameters
class LSTMClassifier(_Classifier):
    """Classification of sequences, or of their steps, with a long short-term memory network.

    {parameters}
    See Also
    --------
    RNNClassifier : The cell as a parameter.

    References
    ----------
    Hochreiter & Schmidhuber (1997), Long short-term memory; Gers, Schmidhuber & Cummins (2000),
    Learning to forget.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skrnn import LSTMClassifier
    >>> X, y = load_digits(return_X_y=True)  # images of 8 rows of 8 pixels
    >>> model = LSTMClassifier(32, features_per_step=8, max_iter=10, random_state=0)
    >>> model.fit(X[:1200] / 16, y[:1200]).score(X[1200:] / 16, y[1200:]) > 0.8
    True
    """

    @property
    def _cell(self) -> str:
        return "lstm"


@with_parameters
class GRUClassifier(_Classifier, GRUParameters):
    """Classification of sequences, or of their steps, with gated recurrent units.

    {parameters}
    See Also
    --------
    RNNClassifier : The cell as a parameter.

    References
    ----------
    Cho et al. (2014), Learning phrase representations using RNN encoder-decoder; Chung et al. (2014),
    Empirical evaluation of gated recurrent neural networks on sequence modeling.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skrnn import GRUClassifier
    >>> X, y = load_digits(return_X_y=True)  # images of 8 rows of 8 pixels
    >>> model = GRUClassifier(32, features_per_step=8, max_iter=10, random_state=0)
    >>> model.fit(X[:1200] / 16, y[:1200]).score(X[1200:] / 16, y[1200:]) > 0.8
    True
    """

    @property
    def _cell(self) -> str:
        return "gru"
