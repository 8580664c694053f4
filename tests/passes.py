"""Passes of a network one at a time, on arrays in packed order: what the tests compare with the oracle.

`PackedSteps` is that order by its definition, in NumPy.
"""

import numpy as np
import reference

from skrnn import backends, losses
from skrnn.batches import SIZE_B, SIZE_CARRIED, SIZE_EPOCH, SIZE_FIRST, SIZE_R, SIZE_T, Jobs, Steps
from skrnn.layout import Parameters
from skrnn.links import Dense, Objective
from skrnn.network import Network
from skrnn.recording import Recording, Rows
from skrnn.sequences import Targets

FLOAT = np.dtype(np.float64)


class PackedSteps:
    """The time-major order of some sequences, sorted by falling length, without padding.

    `order`: the caller's position of each sorted sequence. `step`, `sequence`: of each packed row.
    """

    def __init__(self, lengths):
        lengths = np.asarray(lengths, dtype=np.intp)
        self.order = np.argsort(-lengths, kind="stable")
        self.lengths = lengths[self.order]
        places = [(t, i) for t in range(self.lengths[0]) for i in range(len(lengths)) if self.lengths[i] > t]
        self.step, self.sequence = np.array(places).T
        self.counts = np.bincount(self.step)
        self.row_at = np.cumsum(self.counts) - self.counts
        self.n_rows = len(places)

    def __len__(self):
        return len(self.lengths)

    @property
    def reversed_rows(self):
        """(n_rows,): packed row of the same sequence's mirrored step."""
        return self.row_at[self.lengths[self.sequence] - 1 - self.step] + self.sequence

    def rows_of(self, starts):
        """(n_rows,): row of a table behind each packed row; `starts` in the caller's order."""
        return starts[self.order][self.sequence] + self.step

    def filled(self, *, whole=None, sequence=None, first=0, carried=0, epoch=0, room=0):
        """`Steps` that hold this order, with `room` to spare."""
        steps = Steps(len(self) + room, len(self.counts) + room, self.n_rows + room)
        steps.sizes[[SIZE_B, SIZE_T, SIZE_R]] = len(self), len(self.counts), self.n_rows
        steps.sizes[[SIZE_FIRST, SIZE_CARRIED, SIZE_EPOCH]] = first, carried, epoch
        steps.counts[: len(self.counts)], steps.row_at[: len(self.counts)] = self.counts, self.row_at
        steps.lengths[: len(self)] = self.lengths
        steps.whole[: len(self)] = self.lengths if whole is None else whole
        steps.sequence[: len(self)] = np.arange(len(self)) if sequence is None else sequence
        steps.row[: self.n_rows] = np.arange(self.n_rows)
        return steps


def matrix(rows, steps, n_rows, n):
    """A copy of the first `n` columns of `rows` as an array (n_rows, n)."""
    skip = steps.sizes[SIZE_B] if rows.past else 0
    return rows.array[: (skip + n_rows) * rows.row].reshape(-1, rows.row)[skip:, :n].copy()


class Forward:
    """One forward pass, replayed at once, and its backward pass on request.

    Parameters
    ----------
    X : array (R, n_in) in packed order
    state : [(h, c), ...] per layer and direction, (B, H) of the sorted sequences, or None
    dropout : (seed, epoch, numbers of the sorted sequences), or None
    """

    def __init__(self, network, params, X, packed, *, state=None, keep=False, dropout=None):
        self.network, self.packed = network, packed
        seed, epoch, sequence = dropout or (None, 0, None)
        self.steps = packed.filled(carried=int(state is not None), epoch=epoch, sequence=sequence)
        tape = network.backend.Tape(network.n_threads)
        self.rec = rec = network.record(tape, self.steps, params, dropout_seed=seed, keep=keep, carry=True)
        for given, own in zip(state or (), network.carried(rec)):
            for array, rows in zip(given, own):
                rows.array.reshape(-1, rows.row)[:] = 0
                rows.array.reshape(-1, rows.row)[: len(packed), : network.hidden_size] = array
        if network.pool is not None:
            network.pooled(rec).array[:] = network.new_pool(len(packed)).ravel()
        flat = network.backend.aligned(X.size, network.dtype)
        flat[:] = X.ravel()
        self.raw = network.forward(rec, {"X": Rows(flat, network.n_in)})
        self.states = network.hidden(rec)
        tape.run(flops=1e12)
        n_rows = packed.n_rows if network.return_sequences else len(packed)
        self.out = matrix(self.raw, self.steps, n_rows, network.n_out)

    def hidden(self):
        width = self.network.recurrent[-1].width
        return matrix(self.states, self.steps, self.packed.n_rows, width)

    def state(self):
        B, H = len(self.packed), self.network.hidden_size
        states = [[matrix(rows, self.steps, B, H) for rows in own] for own in self.network.carried(self.rec)]
        return [(own[0], own[1] if len(own) == 2 else None) for own in states]

    def backprop(self, dout, grads, d_input=False):
        """Writes `grads`; returns the gradients of the input and of the first states."""
        network, steps, B = self.network, self.steps, len(self.packed)
        self.rec.tape, self.rec.grads = network.backend.Tape(network.n_threads), grads
        d = self.rec.new_rows("d", row=self.raw.row, per=self.raw.per)
        d.array.reshape(-1, d.row)[:] = 0
        d.array.reshape(-1, d.row)[: len(dout), : network.n_out] = dout
        dX = network.backward(self.rec, d, d_input=d_input)
        self.rec.tape.run(flops=1e12)
        d_state = []
        for link in network.recurrent:
            for part, layer in link.layers.items():
                parts = layer.gradient_of_states(self.rec, part)
                shaped = [rows.array.reshape(-1, layer.width)[:B, : layer.n_hidden] for rows in parts]
                d_state.append((*shaped, None)[:2])
        return matrix(dX, steps, self.packed.n_rows, network.n_in) if d_input else None, d_state


def recording(tape, steps, work, parameters=None, **options):
    """On the CPU, of a single operation."""
    parameters = parameters or Parameters([], work.dtype)
    return Recording(backends.get("cpu"), tape, work, steps, parameters, **options)


def dense(n_in, n_out, dtype):
    """The CPU's linear map, and where its parameters lie: the part "head"."""
    link = Dense(backends.get("cpu"), dtype, "out", {"head": ("X", n_in)}, n_out)
    return link.maps["head"], Parameters([link], dtype)


def loss_of(loss, raw, y, w=None):
    """(sum of w l, sum of w, gradient of sum(w l) / sum(w) by `raw`) by the backend."""
    raw = np.ascontiguousarray(raw)
    dtype, (M, n_raw) = raw.dtype, raw.shape
    packed, backend = PackedSteps(np.ones(M, int)), backends.get("cpu")
    rec = recording(backend.Tape(), packed.filled(), backend.Workspace(dtype))
    statistics, d = np.zeros(3), Rows(np.full(M * (n_raw + 1), np.nan, dtype), n_raw + 1, SIZE_B)
    weighed = backend.objective(
        rec, loss, Rows(raw.ravel(), n_raw, SIZE_B), d, n_raw, Targets(np.ascontiguousarray(y, dtype)),
        None if w is None else np.asarray(w, dtype),
    )  # fmt: skip
    backend.add_losses(rec, weighed, statistics, np.zeros(1, np.intp))
    rec.tape.run()
    gradient = d.array.reshape(M, -1)
    np.testing.assert_array_equal(gradient[:, n_raw:], 0)
    return statistics[0], statistics[1], gradient[:, :n_raw]


def trained(links, weights, sequences, y, *, device="cpu", **options):
    """(mean loss, gradient by name) of one minibatch, read by the backend; options: see `training_step`."""
    with backends.turn(device):
        return training_step(links, sequences, y, device=device, **options)(weights)


def training_step(
    links,
    sequences,
    y,
    *,
    dtype=FLOAT,
    device="cpu",
    mates=None,
    loss=None,
    order=None,
    n_threads=1,
    w=None,
    dropout_seed=None,
):
    """A function from weights to (mean loss, gradient by name).

    `links`: from a backend to those of a network.
    """
    n_in, n, backend = sequences.n_features, len(sequences), backends.get(device)
    network = Network(n_in, links(backend), dtype=dtype, device=device, n_threads=n_threads)
    jobs = Jobs(sequences.lengths, n, None, None if mates is None else mates.lengths)
    tape, statistics = network.backend.Tape(n_threads), np.zeros(3)
    shapes = network.parameters.shapes()
    params, grads = (network.pack({k: np.full(v, np.nan) for k, v in shapes.items()}) for _ in range(2))
    rec = network.record(tape, jobs.room(), params, grads, keep=True, dropout_seed=dropout_seed)
    out = network.forward(rec, network.read(rec, sequences, jobs, mates))
    objective = Objective("out", network.n_out, loss or losses.squared_error, y, w, statistics, jobs.cursor)
    objective.forward(rec, out)
    network.backward(rec, *objective.backward(rec, need=(True,)))

    def step(weights):
        jobs.plan(np.arange(n) if order is None else order)
        params[:] = network.pack(weights)
        tape.run(flops=1e12)
        gradients = network.unpack(grads)
        for part, table in rec.tables.items():
            gradients[f"{part}.weight"] = whole_table(backend, table)
        return statistics[0] / statistics[1], gradients

    return step


def whole_table(backend, table):
    """The gradient of all rows (V, D) of a table, of which those that were touched are kept."""
    whole = np.zeros(((table.at.stop - table.at.start) // table.width, table.width), table.gradient.dtype)
    touched, n, gradient = map(backend.to_host, (table.touched, table.n_touched, table.gradient))
    whole[touched[: n[0]]] = gradient.reshape(-1, table.width)[: n[0]]
    return whole


def check_gradients(links, weights, sequences, y, **options):
    """Against central differences; returns them."""
    step = training_step(links, sequences, y, **options)
    _, gradients = step(weights)
    for name, array in weights.items():
        expected = reference.central_differences(lambda: step(weights)[0], array)
        np.testing.assert_allclose(gradients[name], expected, rtol=0, atol=1e-6, err_msg=name)
    return gradients


def random_weights(links, n_in=0, dtype=np.float64, seed=0):
    """Standard normal."""
    dtype = np.dtype(dtype)
    network, rng = Network(n_in, links(backends.get("cpu")), dtype=dtype), np.random.default_rng(seed)
    return {
        name: rng.standard_normal(shape).astype(dtype) for name, shape in network.parameters.shapes().items()
    }
