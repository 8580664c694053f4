"""Whether there is a GPU, or the simulator in its place, and one minibatch on any device."""

import os

import numpy as np
import pytest

from skrnn import backends
from skrnn.batches import SIZE_R, Jobs
from skrnn.links import Objective
from skrnn.recipe import recurrent_network
from skrnn.sequences import Sequences, Targets


def why_not():
    """Why nothing runs on "cuda" here, or None."""
    try:
        with backends.turn("cuda"):
            return None
    except backends.Unavailable as error:
        if os.environ.get("NUMBA_ENABLE_CUDASIM") == "1":
            raise  # what was asked for is not to be skipped
        return str(error)


WHY_NOT = why_not()
needs_gpu = [
    pytest.mark.gpu,
    pytest.mark.skipif(WHY_NOT is not None, reason=f"needs a GPU, or NUMBA_ENABLE_CUDASIM=1: {WHY_NOT}"),
    # 64-bit counters are meant to wrap around; the simulator's are NumPy's, which warns.
    pytest.mark.filterwarnings("ignore:overflow encountered in scalar:RuntimeWarning"),
]


def simulated():
    from skrnn.backends.cuda.jit import SIMULATED

    return SIMULATED


class Minibatch:
    """One training step on a device, from the same data, weights, masks and first states everywhere.

    Everything that it computes is in `results`, by name, in the caller's order.
    """

    def __init__(self, options, lengths, dtype=np.float64, n_in=2, n_out=2, hidden_size=3):
        self.options, self.lengths, self.dtype = options, lengths, np.dtype(dtype)
        self.shape, rng = (n_in, n_out, hidden_size), np.random.default_rng(0)
        self.sequences = Sequences.from_arrays(
            [rng.standard_normal((n, n_in)).astype(dtype) for n in lengths]
        )
        rows = len(self.sequences.values) if options.get("return_sequences") else len(lengths)
        self.y = Targets(rng.standard_normal((rows, n_out)).astype(dtype))
        self.w = rng.random(rows).astype(dtype)
        n_layers = options.get("num_layers", 1) * (1 + options.get("bidirectional", False))
        self.state = rng.standard_normal((n_layers, 2, len(lengths), hidden_size)).astype(dtype)
        self.bias = rng.standard_normal(4 * hidden_size).astype(dtype)

    def network(self, device):
        n_in, n_out, hidden_size = self.shape
        return recurrent_network(
            n_in, n_out, hidden_size=hidden_size, dtype=self.dtype, device=device, **self.options
        )

    def weights(self, network):
        """Initial ones, with biases that are not zero."""
        weights = network.parameters.initial(np.random.RandomState(1))
        for array in weights.values():
            if array.ndim == 1:
                array += self.bias[: len(array)]
        return weights

    def results(self, device, loss, between=lambda work: None, times=1):
        """Outputs, states and gradients; `between`: called with the network between two runs."""
        with backends.turn(device):
            network = self.network(device)
            backend, jobs = network.backend, Jobs(self.sequences.lengths, len(self.lengths), None)
            params, grads = network.pack(self.weights(network)), backend.aligned(network.size, self.dtype)
            steps, tape, n = jobs.room(), backend.Tape(), len(self.lengths)
            D, H, statistics = network.recurrent[-1].width, network.hidden_size, np.zeros(3)
            rec = network.record(tape, steps, params, grads, dropout_seed=7, keep=True, carry=True)
            X = network.read(rec, self.sequences, jobs)
            for given, own in zip(self.state, network.carried(rec), strict=True):
                for array, rows in zip(given, own, strict=False):
                    backend.start_from(rec, np.ascontiguousarray(array), rows)
            if network.pool is not None:
                backend.start_from(rec, network.new_pool(n), network.pooled(rec))
            out, hidden = network.forward(rec, X), network.hidden(rec)
            objective = Objective("out", network.n_out, loss, self.y, self.w, statistics, jobs.cursor)
            objective.forward(rec, out)
            outputs = {"out": (out, network.n_out), "hidden": (hidden, D)}
            for k, own in enumerate(network.carried(rec)):
                outputs |= {f"state {k} {part}": (rows, H) for part, rows in enumerate(own)}
            # Before the backward pass, which consumes what the forward pass has left.
            results = self._scatter(rec, outputs)
            dX = network.backward(rec, *objective.backward(rec, need=(True,)), d_input=True)
            results |= self._scatter(rec, {"X": (dX, network.n_in)})
            for time in range(times):
                jobs.plan(np.argsort(-self.sequences.lengths, kind="stable"), epoch=5)
                if time:
                    between(rec.work)
                tape.run()
            results["loss"] = statistics
            for name, gradient in network.unpack(grads).items():
                results[f"gradient of {name}"] = gradient
            layers = [item for link in network.recurrent for item in link.layers.items()]
            for k, (name, layer) in enumerate(layers):
                for part, rows in enumerate(layer.gradient_of_states(rec, name)):
                    sorted_rows = backend.to_host(rows.array).reshape(-1, layer.width)[:n, :H]
                    results[f"gradient of state {k} {part}"] = unsorted = np.empty_like(sorted_rows)
                    unsorted[jobs.order] = sorted_rows
            return results

    def _scatter(self, rec, outputs):
        results = {}
        for name, (rows, width) in outputs.items():
            n = self.sequences.n_steps if rows.per == SIZE_R else len(self.lengths)
            results[name] = np.full((n, width), np.nan, self.dtype)
            rec.backend.scatter(rec, rows, self.sequences.offsets[1:], width, results[name])
        return results


def assert_agree(results, expected, tolerance):
    """Relative to the largest number of each array."""
    assert results.keys() == expected.keys()
    for name, array in expected.items():
        assert np.isfinite(array).all(), name
        np.testing.assert_allclose(
            results[name], array, rtol=0, atol=tolerance * max(1e-3, np.abs(array).max()), err_msg=name
        )
