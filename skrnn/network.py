"""A recurrent network: layers, directions, dropout, pooling and a dense head.

Everything here is bookkeeping between a backend's layers. A pass is recorded once on a backend's tape
and then replayed for every minibatch; all arrays are packed time-major (see `skrnn.batches.Steps`).
Parameters are one flat vector; `pack` and `unpack` translate from and to a dict of arrays with
PyTorch's names, layout and gate order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from . import backends
from .batches import Jobs, Steps
from .cells import GATES
from .sequences import Sequences


class Pass(NamedTuple):
    """A recorded forward pass: where its results will be, as rows of the backend.

    Attributes
    ----------
    out : rows (B, n_out), or (R, n_out) with an output per step
        Raw head outputs, of sorted sequences or packed steps.
    hidden : rows (R, D), or None
        The top layer's states per step, where they were asked for.
    traces, features, where, unfolded
        What the backward pass needs.
    """

    out: Any
    hidden: Any
    traces: dict[tuple[int, int], Any]
    features: Any
    where: Any
    unfolded: Any


class Network:
    """The network's shape and its passes; holds no parameters.

    Parameters
    ----------
    n_in, n_out : int
        Features per time step, outputs of the head.
    skip_steps : int or None
        Steps of every sequence, for a linear map from all of them straight to the outputs.
    n_threads : int
        Upper bound; results do not depend on it.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        cell: str = "rnn",
        hidden_size: int = 32,
        num_layers: int = 1,
        bidirectional: bool = False,
        activation: str = "tanh",
        reset_after: bool = True,
        pooling: str = "last",
        return_sequences: bool = False,
        skip_steps: int | None = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        dtype: np.dtype | type | str = np.float32,
        device: str = "cpu",
        n_threads: int = 1,
    ) -> None:
        self.backend = backend = backends.get(device)
        bf16, self.dtype = dtype == "bfloat16", array_dtype(dtype)
        dtype = self.dtype
        self.cell, self.hidden_size, self.num_layers = cell, hidden_size, num_layers
        self.directions = 2 if bidirectional else 1
        self.pooling, self.return_sequences = pooling, return_sequences
        self.dropout, self.recurrent_dropout = dropout, recurrent_dropout
        self.n_in, self.n_out, self.width = n_in, n_out, hidden_size * self.directions
        self.work, self.n_threads = backend.Workspace(dtype), n_threads
        options = {"activation": activation, "reset_after": reset_after, "bf16": bf16}
        self.layers = [
            [
                backend.RecurrentLayer(cell, self.width if k else n_in, hidden_size, dtype, **options)
                for _ in range(self.directions)
            ]
            for k in range(num_layers)
        ]
        self.head = backend.Dense(self.width, n_out, dtype, "head")
        self.skip_steps, self.skip = skip_steps, None
        if skip_steps is not None:
            self.skip = backend.Dense(skip_steps * n_in, n_out, dtype, "skip", bias=False)
        self._slices: dict[Any, slice] = {}
        self.decay_ranges: list[tuple[int, int, bool]] = []
        at = 0
        maps = {"head": self.head} | ({} if self.skip is None else {"skip": self.skip})
        for key, part in [*self._recurrent(), *maps.items()]:
            self._slices[key] = slice(at, at + part.size)
            self.decay_ranges += [
                (at, at + part.bias_from, True),
                (at + part.bias_from, at + part.size, False),
            ]
            at += part.size
        self.size = at

    def _recurrent(self):
        for k, layer in enumerate(self.layers):
            for d, direction in enumerate(layer):
                yield (k, d), direction

    # --- parameters --------------------------------------------------------------------------------
    @staticmethod
    def suffix(key: tuple[int, int]) -> str:
        return f"_l{key[0]}" + ("_reverse" if key[1] else "")

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every array of `unpack`, in PyTorch's order."""
        shapes, rows = {}, len(GATES[self.cell]) * self.hidden_size
        for key, layer in self._recurrent():
            s = self.suffix(key)
            shapes |= {
                f"weight_ih{s}": (rows, layer.n_in),
                f"weight_hh{s}": (rows, self.hidden_size),
            }
            shapes |= {f"bias_ih{s}": (rows,), f"bias_hh{s}": (rows,)}
        shapes |= {"head.weight": (self.n_out, self.width), "head.bias": (self.n_out,)}
        return shapes if self.skip is None else shapes | {"skip.weight": (self.n_out, self.skip.n_in)}

    def pack(self, weights: Mapping[str, np.ndarray]) -> Any:
        """Flat parameters on the device, from arrays with PyTorch's names."""
        flat = np.empty(self.size, self.dtype)
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        for key, layer in self._recurrent():
            layer.pack({n: weights[n + self.suffix(key)] for n in names}, flat[self._slices[key]])
        head = {n: weights[f"head.{n}"] for n in ("weight", "bias")}
        self.head.pack(head, flat[self._slices["head"]])
        if self.skip is not None:
            self.skip.pack({"weight": weights["skip.weight"]}, flat[self._slices["skip"]])
        return self.backend.to_device(flat)

    def unpack(self, flat: Any) -> dict[str, np.ndarray]:
        """Arrays with PyTorch's names, copied out of the flat parameters."""
        flat, weights = self.backend.to_host(flat), {}
        for key, layer in self._recurrent():
            part = layer.unpack(flat[self._slices[key]])
            weights |= {name + self.suffix(key): value for name, value in part.items()}
        head = self.head.unpack(flat[self._slices["head"]])
        weights |= {f"head.{name}": value for name, value in head.items()}
        if self.skip is not None:
            weights["skip.weight"] = self.skip.unpack(flat[self._slices["skip"]])["weight"]
        return {name: weights[name] for name in self.shapes()}

    def initial_weights(self, rng: np.random.RandomState) -> dict[str, np.ndarray]:
        """Glorot-uniform input weights (Glorot & Bengio 2010), orthogonal recurrent weights (Saxe et
        al. 2014), zero biases but 1 for the forget gate (Gers et al. 2000); a skip of zeros."""
        H, gates, weights = self.hidden_size, GATES[self.cell], {}
        for name, shape in self.shapes().items():
            if name.startswith("weight_hh"):
                value = np.concatenate([orthogonal(rng, H) for _ in gates])
            elif len(shape) == 1 or name == "skip.weight":
                value = np.zeros(shape)
                if name.startswith("bias_ih") and "f" in gates:
                    forget = gates.index("f") * H
                    value[forget : forget + H] = 1
            else:
                fan_out = self.n_out if name == "head.weight" else H  # gates are separate matrices
                bound = np.sqrt(6 / (shape[1] + fan_out))
                value = rng.uniform(-bound, bound, shape)
            weights[name] = value.astype(self.dtype)
        return weights

    # --- passes ------------------------------------------------------------------------------------
    def read(self, tape, sequences: Sequences, steps: Steps, jobs: Jobs) -> Any:
        """Record that the next job is read: fills `steps`; returns the input as rows (R, n_in)."""
        return self.backend.read(tape, steps, jobs, sequences, self.work)

    def forward(
        self,
        tape: Any,
        params: np.ndarray,
        X: Any,
        steps: Steps,
        *,
        dropout_seed: int | None = None,
        keep: bool = False,
        carry: bool = False,
        hidden: bool = False,
    ) -> Pass:
        """Record a forward pass.

        Parameters
        ----------
        tape : the backend's
        X : rows (R, n_in)
        dropout_seed : of the masks of a training pass, or None for no dropout; with the epoch in
            `steps` and the sequences' numbers it makes the masks
        keep : whether `backward` will follow; without it memory stays small
        carry : whether the last states go where a later chunk of the same sequences takes them from
        hidden : whether the top layer's states are wanted
        """
        backend, work = self.backend, self.work
        drops = dropout_seed is not None and self.dropout > 0
        traces: dict[tuple[int, int], Any] = {}
        below, n_in, top = X, self.n_in, self.num_layers - 1
        for k, layer in enumerate(self.layers):
            for d, direction in enumerate(layer):
                index, mask = k * self.directions + d, None
                # Streams of random numbers: even ones for the recurrent masks of a layer's directions, odd
                # ones for the dropout above a layer.
                if dropout_seed is not None and self.recurrent_dropout > 0:
                    mask = backend.sequence_mask(
                        tape, steps, dropout_seed, 2 * index, direction, self.recurrent_dropout, work, index
                    )
                read = backend.reverse(tape, below, steps, n_in, work, k) if d else below
                traces[k, d] = direction.forward(
                    tape, params[self._slices[k, d]], read, steps, mask, keep, work, index
                )
                if carry:
                    direction.keep_last(tape, traces[k, d], steps, keep, work, index)
            if k < top:
                below, n_in = self._join(tape, traces, k, steps, copy=drops), self.width
                if drops:
                    backend.drop_steps(tape, below, steps, dropout_seed, 2 * k + 1, n_in, self.dropout)

        where = joined = None
        if hidden or self.return_sequences or self.pooling != "last":
            joined = self._join(tape, traces, top, steps)
        if self.return_sequences:
            features = joined
        elif self.pooling == "last":
            parts = [(direction, traces[top, d]) for d, direction in enumerate(self.layers[top])]
            features = backend.last_states(tape, parts, steps, work)
        else:
            features, where = backend.pool(tape, self.pooling, joined, self.width, steps, work)
        out = self.head.forward(
            tape, params[self._slices["head"]], features, steps, self.return_sequences, work
        )
        unfolded = None
        if self.skip is not None:
            unfolded = backend.unfold(tape, X, steps, self.n_in, work)
            self.skip.forward(tape, params[self._slices["skip"]], unfolded, steps, False, work, onto=out)
        return Pass(out, joined, traces, features, where, unfolded)

    def _join(self, tape, traces, k, steps, copy=False):
        """The states of a layer's directions side by side, in forward order."""
        parts = [(direction, traces[k, d]) for d, direction in enumerate(self.layers[k])]
        if len(parts) == 1 and not copy:
            ((direction, trace),) = parts
            return direction.states(trace)
        return self.backend.join(tape, parts, steps, self.work, k)

    def carried(self, steps: Steps) -> list[list[Any]]:
        """For every layer and direction, where h (and c) are carried over, as rows (B, hidden_size)."""
        return [
            direction.carried(steps, self.work, k * self.directions + d)
            for (k, d), direction in self._recurrent()
        ]

    def pooled(self, steps: Steps) -> Any:
        """Where what has been pooled over time is carried over, as rows (B, .); None without pooling."""
        if self.return_sequences or self.pooling == "last":
            return None
        return self.backend.pooled(self.pooling, self.width, steps, self.work)

    def new_pool(self, n: int) -> np.ndarray | None:
        """What `pooled` is to hold of n sequences that begin."""
        if self.return_sequences or self.pooling == "last":
            return None
        if self.pooling == "max":
            return np.full((n, self.width), -np.inf, self.dtype)
        return np.zeros((n, self.width + 1))

    def output_gradient(self, steps: Steps) -> Any:
        """Rows for the gradient of the outputs, which `backward` reads."""
        return self.head.gradient_of_output(steps, self.return_sequences, self.work)

    def backward(
        self, tape, params, grads, pass_: Pass, steps: Steps, *, dropout_seed=None, d_input=False
    ) -> Any:
        """Record back-propagation from `output_gradient` into `grads`, all of which is written.

        With `d_input`, returns the rows (R, n_in) of the input's gradient. The first states' gradients
        are left in the layers' `gradient_of_states`.
        """
        backend, work, per_step = self.backend, self.work, self.return_sequences
        d, s = self.output_gradient(steps), self._slices["head"]
        dY = self.head.backward(tape, params[s], grads[s], pass_.features, d, steps, per_step, True, work)
        if self.skip is not None:
            s = self._slices["skip"]
            self.skip.backward(tape, params[s], grads[s], pass_.unfolded, d, steps, False, False, work)
        from_last = not per_step and self.pooling == "last"
        if not per_step and not from_last:
            dY = backend.pool_backward(tape, self.pooling, dY, pass_.where, self.width, steps, work)
        for k in reversed(range(self.num_layers)):
            layer, dX = self.layers[k], []
            for d, direction in enumerate(layer):
                index, need_dX = k * self.directions + d, k > 0 or d_input
                column = d * self.hidden_size
                backend.begin_backward(tape, direction, dY if from_last else None, column, steps, work, index)
                own = None
                if not from_last:
                    own = dY if len(layer) == 1 else backend.split(
                        tape, dY, column, direction, d == 1, steps, work, index
                    )  # fmt: skip
                s = self._slices[k, d]
                dX.append(
                    direction.backward(
                        tape, params[s], grads[s], pass_.traces[k, d], own, steps, need_dX, work, index
                    )
                )
            if len(layer) == 2 and dX[0] is not None:
                backend.add_reversed(tape, dX[0], dX[1], steps)
            dY, from_last = dX[0], False
            if k > 0 and dropout_seed is not None and self.dropout > 0:
                backend.drop_steps(tape, dY, steps, dropout_seed, 2 * (k - 1) + 1, self.width, self.dropout)
        return dY

    def flops(self, n_rows: float, training: bool = False) -> float:
        """Of a forward pass over so many steps; a backward pass takes twice as many."""
        return (3 if training else 1) * sum(direction.flops(n_rows) for _, direction in self._recurrent())


def array_dtype(dtype: Any) -> np.dtype:
    """The type of all arrays: bfloat16 is a way to multiply, what is multiplied is kept as float32."""
    return np.dtype(np.float32 if dtype == "bfloat16" else dtype)


def orthogonal(rng: np.random.RandomState, n: int) -> np.ndarray:
    """A random orthogonal matrix, uniformly distributed (QR of a Gaussian, signs made unique)."""
    q, r = np.linalg.qr(rng.standard_normal((n, n)))
    return q * np.sign(np.diag(r))
