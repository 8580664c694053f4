"""Weights that come from elsewhere, into an estimator with a fit or without one."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from ..history import Progress
from ..interrupts import deferred
from ..recipe import array_dtype
from .categories import Categories, choose
from .chains import labels_in_order
from .devices import device_to_read
from .finite import problem_of
from .fitted import remembering
from .foreign_weights import CALLED, CHAIN_NAMES, Weights, read
from .labels import check_same_classes, in_order_of_classes, learn_outputs
from .parameters import as_python
from .prediction import FittedNetwork
from .tables import allows
from .unchanged import unchanged_on_error
from .weight_shapes import parameters_of, shapes, tables


class TakesWeights(FittedNetwork):
    """Mixin: `from_weights` and `set_weights`."""

    loss: Any
    _begin_random_numbers: Any
    _fitted_attributes: Any

    @property
    @abstractmethod
    def _cell(self) -> str: ...

    @abstractmethod
    def _take_head(self, weights: dict[str, np.ndarray], first: bool, classes: Any) -> dict[str, np.ndarray]:
        """The head as the network has it; with `first`, learn the outputs from it."""

    @classmethod
    def from_weights(cls, weights: Any, **parameters: Any) -> Self:
        """A fitted estimator from the weights of a network that was trained elsewhere.

        Arrays say `hidden_size`, `num_layers`, `bidirectional`, `linear_skip`, ``pooling="attention"`` (by
        ``attention.weight`` and ``attention.query``, as in `weights_`), ``loss="crf"`` with
        `return_sequences` (by ``transitions``, ``start_transitions`` and ``end_transitions`` of a module, as
        of pytorch-crf), `embedding_size` and `n_tokens`, the cell and the outputs. What they do not say is to
        be passed: `activation`, `pooling`, `return_sequences`, `loss`, `dtype`, `categorical_features` where
        there are numbers beside tokens, the layout of 2-D X and, but for Keras's lists with biases,
        `reset_after`.

        The estimator has trained no epoch; `fit` with `warm_start`, and `partial_fit`, go on from here. Until
        then it takes X of either kind, 2-D or sequences, and knows no names of features; `n_features_in_` are
        those of a time step.

        Parameters
        ----------
        weights : mapping of str to array, list of arrays, or path of an .npz archive
            One of

            - a state dict of PyTorch, of arrays or tensors: recurrent layers ``weight_ih_l0``, ... of one
              module and a head, one ``Linear`` of any name. Names may have prefixes, such as
              ``encoder.lstm.weight_ih_l0`` and ``fc.weight``; biases that are not there are zeros. An
              ``Embedding`` below them is one of a name such as ``embedding`` or ``word_emb``. Also `weights_`
              of an estimator;
            - the list that ``get_weights`` of a Keras model gives: layers SimpleRNN, LSTM or GRU, also in
              Bidirectional with ``merge_mode="concat"``, with Keras's own activations, and then one Dense;
            - an .npz archive of either, its path or what ``numpy.load`` gives; of lists, as
              ``numpy.savez(file, *weights)`` writes it.
        **parameters
            Of the estimator; those that shapes tell may be left out.

        Returns
        -------
        estimator

        Raises
        ------
        ValueError
            If an array is missing, unknown, not finite or no array of real numbers; if shapes contradict each
            other, the class, or the parameters.
        TypeError
            If weights are none of these, or for a parameter that there is not.

        Notes
        -----
        ``pooling="last"`` is what Keras gives with ``return_sequences=False``, and PyTorch in ``h_n``: of the
        reverse direction the state after the first step. In ``output[:, -1]`` of a bidirectional module of
        PyTorch, that direction has read the last step only.

        Examples
        --------
        >>> import numpy as np
        >>> from skrnn import GRURegressor
        >>> rng = np.random.default_rng(0)
        >>> shapes = {"gru.weight_ih_l0": (12, 2), "gru.weight_hh_l0": (12, 4), "gru.bias_ih_l0": (12,),
        ...           "gru.bias_hh_l0": (12,), "fc.weight": (1, 4), "fc.bias": (1,)}
        >>> state_dict = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
        >>> model = GRURegressor.from_weights(state_dict)
        >>> model.hidden_size, model.n_features_in_
        (4, 2)
        >>> model.predict(rng.standard_normal((3, 7, 2))).shape
        (3,)
        """
        return cls._from_weights(weights, parameters)

    @classmethod
    def _from_weights(cls, weights: Any, parameters: dict[str, Any], classes: Any = None) -> Self:
        read_weights = read(weights, parameters.get("reset_after", True))
        names = inspect.signature(cls).parameters
        told = {name: value for name, value in parameters_of(read_weights).items() if name in names}
        return cls(**told | parameters)._load(read_weights, classes)

    def set_weights(self, weights: Any) -> Self:
        """Set the weights, for example to those of a PyTorch or Keras model.

        An estimator that is not fitted is so afterwards, as by `from_weights`; but its parameters stay as
        they are and have to agree with the weights.

        Parameters
        ----------
        weights : mapping of str to array, list of arrays, or path of an .npz archive
            Any form that `from_weights` takes, `weights_` of an estimator among them.

        Returns
        -------
        self : estimator

        Raises
        ------
        ValueError
            If an array is missing, unknown, not finite or of another shape than the parameters (of a fitted
            estimator, those of its fit) ask for.
        TypeError
            If weights are none of these forms.
        """
        return self._set_weights(weights)

    def _set_weights(self, weights: Any, classes: Any = None) -> Self:
        if not hasattr(self, "weights_"):
            return self._load(read(weights, getattr(self, "reset_after", True)), classes)
        own = self._architecture.get("reset_after", True)
        found = read(weights, own)
        if found.reset_after not in (None, own) and self._architecture["cell"] == "gru":
            raise ValueError(f"the fit had reset_after={own}, but the weights say {found.reset_after}")
        network = self._predictor("cpu").network
        arrays = self._take_head(found.arrays, False, classes)
        self._check_shapes(arrays, network)
        arrays = _as_type(arrays, found.names, network.dtype)
        with deferred():
            ordered = {name: arrays[name] for name in network.parameters.shapes()}
            self.__dict__.update(remembering(ordered))
            self._seen_tokens = [np.full(n_tokens, True) for n_tokens, _ in self._tables]
            self._moments: Any = None  # they belong to the old weights
        return self

    def _load(self, weights: Weights, classes: Any) -> Self:
        """What a fit would have left with these weights and no epoch."""
        with unchanged_on_error(self):
            self._validate_params()
            self._check_parameters()
            told = parameters_of(weights)
            self._check_told(told, weights)
            self.device_ = device_to_read(self.device, self.dtype)
            arrays = self._take_head(weights.arrays, True, classes)
            arrays = {
                name: arrays[name] for name in shapes(arrays, told["num_layers"], told["bidirectional"])
            }
            arrays = _as_type(arrays, weights.names, array_dtype(self.dtype))
            self._row_layout = self._given_layout
            n_in = self.n_features_in_ = arrays["weight_ih_l0"].shape[1]
            self._take_tables(arrays)
            skip = arrays.get("skip.weight")
            self._skip_steps = None if skip is None else skip.shape[1] // n_in
            self._begin_random_numbers()
            attributes = self._fitted_attributes(arrays, Progress())
            with deferred():
                self.__dict__.update(attributes)
                self._moments = None
        return self

    def _take_tables(self, arrays: Mapping[str, np.ndarray]) -> None:
        """The tables of vectors, and which features of a step are the tokens."""
        self._tables = tuple(tables(arrays).values())
        self._seen_tokens, self._categories = [np.full(n_tokens, True) for n_tokens, _ in self._tables], None
        if not self._tables:
            return
        n, width, n_in = len(self._tables), sum(size for _, size in self._tables), self.n_features_in_
        if width > n_in:
            raise ValueError(f"weights have vectors of {width} numbers, of which weight_ih_l0 reads {n_in}")
        if width < n_in and self.categorical_features is None:
            raise ValueError(
                f"weight_ih_l0 reads {n_in - width} numbers beside vectors: pass categorical_features, which "
                "says which features of a step are tokens"
            )
        self.n_features_in_ = n_features = n + n_in - width
        columns = choose(self.categorical_features, n_features)
        if len(columns) != n:
            raise ValueError(f"categorical_features are {len(columns)}, but the weights have {n} tables")
        self._categories = Categories(columns, n_features, (None,) * n, self.return_sequences)

    def _check_told(self, told: Mapping[str, Any], weights: Weights) -> None:
        """Raise a ValueError where parameters are not what the weights say."""
        name = type(self).__name__
        if told["cell"] != self._cell:
            W, own = weights.arrays["weight_hh_l0"], f" with cell={self._cell!r}" * hasattr(self, "cell")
            raise ValueError(
                f"{weights.names['weight_hh_l0']} of shape {W.shape} is of {CALLED[told['cell']]}, but "
                f"{name}{own} is {CALLED[self._cell]}"
            )
        for parameter, value in told.items():
            given = as_python(getattr(self, parameter, value))
            if parameter in ("n_tokens", "embedding_size"):
                values = value if isinstance(value, list) else [value]
                given = value if allows(parameter, given, values) else given
            if given != value:
                raise ValueError(f"{parameter}={given!r}, but the weights say {value!r}")
        if self.loss == "crf" and "loss" not in told:
            raise ValueError(f"loss='crf', but the weights lack {CHAIN_NAMES[0]!r}")
        attends = self.pooling == "attention" and not self.return_sequences
        if attends != ("pooling" in told):
            raise ValueError(
                f"pooling={self.pooling!r} with return_sequences={self.return_sequences!r}, but the weights "
                f"{'lack' if attends else 'hold'} 'attention.weight' and 'attention.query'"
            )


class TakesWeightsOfClasses(TakesWeights):
    """Mixin of classifiers: the head's outputs are of classes."""

    classes_: np.ndarray
    label_values_: np.ndarray | None
    _multilabel: bool

    @classmethod
    def from_weights(cls, weights: Any, *, classes: Any = None, **parameters: Any) -> Self:
        """A fitted estimator from the weights of a network that was trained elsewhere, as of the regressors.

        Parameters
        ----------
        weights : mapping of str to array, list of arrays, or path of an .npz archive
            See `RNNRegressor.from_weights`. A head of one output, the log-odds of the second class, is for
            two classes; one of two outputs, of a softmax, is made into that, unless a CRF is behind it.
        classes : array-like of shape (n_classes,) or (n_labels, 2), default=None
            The classes in the order of the head's outputs; or, where these are label sets, the two values of
            each label, as in `label_values_`. None: classes 0, 1, 2, ...
        **parameters
            Of the estimator; those that shapes tell may be left out.

        Returns
        -------
        estimator

        Raises
        ------
        ValueError
            As of the regressors; and if `classes` do not fit the head.
        TypeError
            If weights are none of these, or for a parameter that there is not.
        """
        return cls._from_weights(weights, parameters, classes)

    def set_weights(self, weights: Any, classes: Any = None) -> Self:
        """Set the weights, for example to those of a PyTorch or Keras model, as of the regressors.

        Parameters
        ----------
        weights : mapping of str to array, list of arrays, or path of an .npz archive
            Any form that `from_weights` takes, `weights_` of an estimator among them.
        classes : array-like of shape (n_classes,) or (n_labels, 2), default=None
            As in `from_weights`; of a fitted estimator they are known, and their order is that of the head's
            outputs. None: the order of `classes_`.

        Returns
        -------
        self : estimator

        Raises
        ------
        ValueError
            As of the regressors; and if `classes` do not fit the head, or are not those of the fit.
        TypeError
            If weights are none of these forms.
        """
        return self._set_weights(weights, classes)

    def _take_head(self, weights: dict[str, np.ndarray], first: bool, classes: Any) -> dict[str, np.ndarray]:
        head = {name: rows for name, rows in weights.items() if name in ("head.weight", "head.bias")}
        if len(head) < 2:
            return weights  # which is found to lack them
        order = None
        if first or classes is not None:
            learnt, values, order = learn_outputs(len(head["head.bias"]), classes)
            if first:
                self.classes_, self.label_values_ = learnt, values
                self._multilabel, self._target_names = values is not None, None
            else:
                check_same_classes(classes, self.classes_, self.label_values_)
        if self.loss == "crf" if first else self._architecture["crf"]:
            if self._multilabel or len(head["head.bias"]) < 2:
                raise ValueError('loss="crf" needs a head with an output for each of two or more classes')
            return labels_in_order(weights, (*head, *CHAIN_NAMES), order)
        if self._multilabel:
            return weights
        return weights | {name: in_order_of_classes(rows, order) for name, rows in head.items()}


def _as_type(
    arrays: Mapping[str, np.ndarray], names: Mapping[str, str], dtype: np.dtype
) -> dict[str, np.ndarray]:
    """Copies in a network's type, all of them finite."""
    copies = {}
    for name, array in arrays.items():
        with np.errstate(over="ignore"):
            copies[name] = array.astype(dtype, order="C")
        bad = ~np.isfinite(copies[name])
        if bad.any():
            raise ValueError(f"{names[name]} holds {problem_of(array[bad][0], dtype)}")
    return copies
