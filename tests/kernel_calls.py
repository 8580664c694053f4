"""Single kernels called: threads one after the other, rows of a few sequences, minibatches by definition."""

import numpy as np
import pytest
from passes import PackedSteps, matrix, recording

from skrnn.backends.cpu.recurrent import RecurrentLayer
from skrnn.backends.cpu.workspace import Workspace
from skrnn.batches import SIZE_R

DTYPES = [np.dtype(np.float32), np.dtype(np.float64)]
EPS = {dtype: float(np.finfo(dtype).eps) for dtype in DTYPES}
RAGGED = [[7, 3, 1, 5], [4, 4, 4], [1], [1, 1, 6], [2, 9, 9, 3, 1, 2, 5, 9, 1, 1, 4]]
THREADS = [1, 2, 3, 7]
CELLS = [
    *(("rnn", "tanh", True, units) for units in (1, 2, 3, 4)),
    ("lstm", "tanh", True, 1), ("gru", "tanh", True, 1), ("gru", "tanh", False, 1),
]  # fmt: skip


class AtOnce:
    """A tape that makes each call when it is recorded, a shared one by one thread after the other.

    Each thread finds the arrays as they were before all: none may need what another writes, nor write
    to the same place.
    """

    def __init__(self, n_threads=1):
        self.n_threads = n_threads

    def call(self, function, *args):
        function(*args)

    def share(self, function, *args):
        arrays = [a for a in args if isinstance(a, np.ndarray) and a.flags.writeable]
        before = [a.tobytes() for a in arrays]
        after = [np.frombuffer(b, np.uint8).copy() for b in before]
        written = [np.zeros(len(b), bool) for b in before]
        for thread in range(self.n_threads):
            function(thread, self.n_threads, *args)
            for array, old, new, taken in zip(arrays, before, after, written):
                now = array.view(np.uint8).copy()
                changed = now != np.frombuffer(old, np.uint8)
                assert not (changed & taken).any()
                new[changed], taken[changed] = now[changed], True
                array.view(np.uint8)[:] = np.frombuffer(old, np.uint8)
        for array, new in zip(arrays, after):
            array.view(np.uint8)[:] = new


def by_each_thread(n_threads, kernel, args, outputs):
    """The outputs of a shared call, of which every element must come from exactly one thread."""
    together, writers = [np.full(out.shape, np.nan, out.dtype) for out in outputs], 0
    for thread in range(n_threads):
        own = [np.full_like(out, np.nan) for out in together]
        kernel(thread, n_threads, *args, *own)
        for out, part in zip(together, own):
            written = ~np.isnan(part)
            assert np.isnan(out[written]).all()
            out[written] = part[written]
        writers += any(not np.isnan(part).all() for part in own)
    assert not any(np.isnan(out).any() for out in together)
    return together, writers


def minibatches(order, lengths, batch_size, size):
    """(first step, sequences that have it, where the minibatch begins) of every job, by the definition."""
    for start in range(0, len(order), batch_size):
        batch = sorted(order[start : start + batch_size].tolist(), key=lambda i: -lengths[i])  # keeps ties
        for first in range(0, lengths[batch[0]], size or max(lengths)):
            yield first, np.array([i for i in batch if lengths[i] > first]), start


def chunks_of(lengths, size):
    """(first step, packed order, `Steps`) of sequences sorted by falling length, numbered backwards."""
    lengths = np.sort(lengths)[::-1]
    for first, running, _ in minibatches(np.arange(len(lengths)), lengths, len(lengths), size):
        packed = PackedSteps(np.minimum(lengths[running] - first, size or lengths[0]))
        numbers = len(lengths) - 1 - np.arange(len(running))
        yield first, packed, packed.filled(
            whole=lengths[running], first=first, carried=int(first > 0), sequence=numbers, room=2
        )  # fmt: skip


class Packed:
    """Rows of some sequences, of small whole numbers: their sums are exact in any order."""

    def __init__(self, lengths, dtype, width=5, seed=0):
        self.rng = np.random.default_rng(seed)
        self.lengths, self.width, self.dtype = lengths, width, dtype
        self.order, self.work = PackedSteps(lengths), Workspace(dtype)
        self.n, self.n_rows = len(lengths), self.order.n_rows
        self.steps = self.order.filled(room=2)

    def recording(self, n_threads=1, steps=None, **options):
        return recording(AtOnce(n_threads), steps or self.steps, self.work, **options)

    def whole(self, *shape):
        return self.rng.integers(-99, 100, shape).astype(self.dtype)

    def normal(self, *shape):
        return self.rng.standard_normal(shape).astype(self.dtype)

    def sequences(self, X):
        """Rows of each sorted sequence, in time order."""
        return [X[self.order.row_at[:n] + i] for i, n in enumerate(self.order.lengths)]

    def matrix(self, rows):
        return matrix(rows, self.steps, self.n_rows if rows.per == SIZE_R else self.n, rows.row)


packed_cases = pytest.mark.parametrize(
    "packed", [Packed(n, d) for n in RAGGED for d in DTYPES], ids=lambda p: f"{p.lengths}-{p.dtype}"
)


def layer_of(n_hidden, width, dtype=DTYPES[1]):
    """A layer, as far as its states are concerned."""
    layer = RecurrentLayer.__new__(RecurrentLayer)
    layer.n_hidden, layer.width, layer.dtype = n_hidden, width, dtype
    return layer
