"""A recurrent network: layers, directions, dropout, pooling and a dense head.

Everything here is bookkeeping between a backend's layers; all arrays are packed time-major (see
`skrnn.batches.PackedSteps`). Parameters are one flat vector; `pack` and `unpack` translate from and
to a dict of arrays with PyTorch's names, layout and gate order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from . import backends
from .batches import PackedSteps
from .cells import GATES


class Dropout(NamedTuple):
    """What makes a minibatch's dropout masks; they depend on nothing else."""

    seed: int
    epoch: int
    sequences: np.ndarray  # (B,) number of each sorted sequence in the training set
    first_step: int = 0  # time step of the chunk's first row (truncated BPTT)


class Pass(NamedTuple):
    """One forward pass.

    Attributes
    ----------
    out : ndarray of shape (B, n_out), or (R, n_out) with an output per step
        Raw head outputs, sorted sequences or packed rows.
    state : callable
        ``state() -> [(h, c), ...]``, last states of every layer and direction, each (B, H).
    hidden : callable
        ``hidden() -> (R, D)``, the top layer's states per step.
    backprop : callable
        ``backprop(dout, grads, d_input=False) -> (dX or None, [(dh, dc), ...])``; writes `grads`.
    pooled : ndarray of shape (B, D) or None
        Sum or maximum over time so far, for the next chunk of the same sequences.
    """

    out: np.ndarray
    state: Callable[[], list[tuple[np.ndarray, np.ndarray | None]]]
    hidden: Callable[[], np.ndarray]
    backprop: Callable[..., Any]
    pooled: np.ndarray | None


class Network:
    """The network's shape and its passes; holds no parameters.

    Parameters
    ----------
    n_in, n_out : int
        Features per time step, outputs of the head.
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
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        dtype: np.dtype | type = np.float32,
        device: str = "cpu",
        n_threads: int = 1,
    ) -> None:
        self.backend = backend = backends.get(device)
        self.dtype = dtype = np.dtype(dtype)
        self.cell, self.hidden_size, self.num_layers = cell, hidden_size, num_layers
        self.directions = 2 if bidirectional else 1
        self.pooling, self.return_sequences = pooling, return_sequences
        self.dropout, self.recurrent_dropout = dropout, recurrent_dropout
        self.n_in, self.n_out, self.width = n_in, n_out, hidden_size * self.directions
        self.work = backend.Workspace(dtype, n_threads)
        options = {"activation": activation, "reset_after": reset_after}
        self.layers = [
            [
                backend.RecurrentLayer(cell, self.width if k else n_in, hidden_size, dtype, **options)
                for _ in range(self.directions)
            ]
            for k in range(num_layers)
        ]
        self.head = backend.Dense(self.width, n_out, dtype)
        self._slices: dict[Any, slice] = {}
        self.decay_ranges: list[tuple[int, int, bool]] = []
        at = 0
        for key, part in [*self._recurrent(), ("head", self.head)]:
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
        return shapes | {"head.weight": (self.n_out, self.width), "head.bias": (self.n_out,)}

    def pack(self, weights: Mapping[str, np.ndarray]) -> np.ndarray:
        """Flat parameters from arrays with PyTorch's names."""
        flat = self.backend.aligned(self.size, self.dtype)
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        for key, layer in self._recurrent():
            layer.pack({n: weights[n + self.suffix(key)] for n in names}, flat[self._slices[key]])
        head = {n: weights[f"head.{n}"] for n in ("weight", "bias")}
        self.head.pack(head, flat[self._slices["head"]])
        return flat

    def unpack(self, flat: np.ndarray) -> dict[str, np.ndarray]:
        """Arrays with PyTorch's names, copied out of the flat parameters."""
        weights = {}
        for key, layer in self._recurrent():
            part = layer.unpack(flat[self._slices[key]])
            weights |= {name + self.suffix(key): value for name, value in part.items()}
        head = self.head.unpack(flat[self._slices["head"]])
        weights |= {f"head.{name}": value for name, value in head.items()}
        return {name: weights[name] for name in self.shapes()}

    def initial_weights(self, rng: np.random.RandomState) -> dict[str, np.ndarray]:
        """Glorot-uniform input weights (Glorot & Bengio 2010), orthogonal recurrent weights (Saxe et
        al. 2014), zero biases but 1 for the forget gate (Gers et al. 2000)."""
        H, gates, weights = self.hidden_size, GATES[self.cell], {}
        for name, shape in self.shapes().items():
            if name.startswith("weight_hh"):
                value = np.concatenate([orthogonal(rng, H) for _ in gates])
            elif len(shape) == 1:
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
    def forward(
        self,
        params: np.ndarray,
        X: np.ndarray,
        steps: PackedSteps,
        *,
        state: list | None = None,
        dropout: Dropout | None = None,
        keep: bool = False,
        pooled: np.ndarray | None = None,
        lengths: np.ndarray | None = None,
    ) -> Pass:
        """Run the network on packed inputs.

        Parameters
        ----------
        X : flat (R, n_in)
        state : first states ``[(h, c), ...]`` of every layer and direction, or None for zeros
        dropout : masks of a training pass, or None
        keep : whether `backprop` will be called; without it memory stays small
        pooled, lengths : of sequences read in chunks, what the earlier chunks' pass returned and the
            whole sequences' lengths (B,), for pooling over all of their steps

        Returns
        -------
        Pass
            Its arrays are views of the workspace: valid until the next pass.
        """
        backend, work, sequences = self.backend, self.work, self.return_sequences
        traces: dict[tuple[int, int], Any] = {}
        joined, n_in = X, self.n_in
        for k, layer in enumerate(self.layers):
            for d, direction in enumerate(layer):
                index = k * self.directions + d
                mask = None
                if dropout is not None and self.recurrent_dropout > 0:
                    mask = backend.sequence_mask(
                        dropout,
                        2 * index,
                        direction.n_hidden,
                        direction.width,
                        self.recurrent_dropout,
                        work,
                        index,
                    )
                read = backend.reverse(joined, steps, n_in, work, k) if d else joined
                traces[k, d] = direction.forward(
                    params[self._slices[k, d]],
                    read,
                    steps,
                    state[index] if state else None,
                    mask,
                    keep,
                    work,
                    index,
                )
            top = k == self.num_layers - 1
            if not top or sequences or self.pooling != "last":
                joined, n_in = self._join(traces, k, steps), self.width
            if not top and dropout is not None and self.dropout > 0:
                backend.drop_steps(dropout, 2 * k + 1, joined, n_in, self.dropout, steps, work)

        where = None
        lengths = steps.lengths if lengths is None else lengths
        if sequences:
            features, n_rows = joined, steps.n_rows
        elif self.pooling == "last":
            last = [
                direction.last_states(traces[self.num_layers - 1, d])[0] for d, direction in enumerate(layer)
            ]
            features, n_rows = np.concatenate(last, axis=1).ravel(), len(steps)
        else:
            features, pooled, where = backend.pool(
                self.pooling, joined, self.width, steps, lengths, pooled, work
            )
            pooled = pooled.reshape(len(steps), self.width)
            n_rows = len(steps)
        out = self.head.forward(params[self._slices["head"]], features, n_rows, work)

        def last_states():
            return [direction.last_states(traces[key]) for key, direction in self._recurrent()]

        def hidden():
            return self._join(traces, self.num_layers - 1, steps).reshape(-1, self.width)

        def backprop(dout, grads, d_input=False):
            pooling = where, lengths
            return self._backward(params, grads, dout, traces, features, pooling, dropout, d_input)

        return Pass(out, last_states, hidden, backprop, pooled)

    def _join(self, traces, k, steps):
        parts = [
            (traces[k, d].H, layer.width, layer.n_hidden, d == 1) for d, layer in enumerate(self.layers[k])
        ]
        return self.backend.join(parts, steps, self.work, k)

    def _backward(self, params, grads, dout, traces, features, pooling, dropout, d_input):
        backend, work, steps = self.backend, self.work, traces[0, 0].steps
        B = len(steps)
        s = self._slices["head"]
        d_features, d_row = self.head.backward(params[s], grads[s], features, dout, work)
        dY, dY_row = (
            d_features,
            d_row,
        )  # gradient of the layer's joined output; None: of its last states
        if not self.return_sequences and self.pooling != "last":
            where, lengths = pooling
            dY = backend.pool_backward(
                self.pooling, d_features, d_row, where, self.width, steps, lengths, work
            )
            dY_row = self.width
        from_last = not self.return_sequences and self.pooling == "last"
        d_state = {}
        for k in reversed(range(self.num_layers)):
            dX = None
            for d, layer in enumerate(self.layers[k]):
                index, H, row = k * self.directions + d, layer.n_hidden, layer.width
                dH = work.get("dH", index, size=B * row)
                dC = work.get("dC", index, size=B * row)
                dH[:], dC[:] = 0, 0
                if from_last:
                    dH.reshape(B, row)[:, :H] = d_features.reshape(B, d_row)[:, d * H : (d + 1) * H]
                    dY_own = None
                else:
                    dY_own = backend.spread(dY, dY_row, d * H, row, H, d == 1, steps, work, index)
                s = self._slices[k, d]
                need = k > 0 or d_input
                dX_own = layer.backward(params[s], grads[s], traces[k, d], dY_own, dH, dC, need, work, index)
                d_state[k, d] = (
                    dH.reshape(B, row)[:, :H],
                    dC.reshape(B, row)[:, :H] if layer.cell.has_c else None,
                )
                if need and d == 0:
                    dX, dX_row = dX_own, len(dX_own) // steps.n_rows
                elif need:
                    backend.add_reversed(dX, dX_own, dX_row, steps, work)
            from_last = False
            if k > 0:
                dY, dY_row = dX, dX_row
                if dropout is not None and self.dropout > 0:
                    dY, dY_row = (
                        np.ascontiguousarray(dX.reshape(-1, dX_row)[:, : self.width]).ravel(),
                        self.width,
                    )
                    backend.drop_steps(dropout, 2 * (k - 1) + 1, dY, self.width, self.dropout, steps, work)
        return (dX.reshape(-1, dX_row)[:, : self.n_in] if d_input else None), [
            d_state[key] for key in sorted(d_state)
        ]


def orthogonal(rng: np.random.RandomState, n: int) -> np.ndarray:
    """A random orthogonal matrix, uniformly distributed (QR of a Gaussian, signs made unique)."""
    q, r = np.linalg.qr(rng.standard_normal((n, n)))
    return q * np.sign(np.diag(r))
