"""A network: links that read one another's values, recorded forwards and backwards.

A pass is recorded once on a backend's tape and then replayed for every minibatch; all arrays are packed
time-major (see `skrnn.batches.Steps`). Parameters are one flat vector (see `skrnn.parameters`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property
from typing import Any

import numpy as np

from . import backends
from .batches import SIZE_R, Jobs, Steps
from .cells import STATES
from .layout import Parameters
from .links import CRF, CTC, Attention, CrossAttention, Embedding, Link, Pool, Recurrent, Unfold
from .recording import INPUT, INPUTS, Recording, Rows
from .sequences import Sequences

SIDES = {name: side for side, names in enumerate(INPUTS) for name in names}


class Network:
    """Links, each of which reads what those before it have made; holds no parameters, and nothing changes it.

    The last link makes the outputs. At least one is recurrent; those are of one cell and size, and at most
    one pools over time, as states and streams keep no more. Of pairs, this holds for the side that makes the
    outputs; links of the other one are free.

    Attributes
    ----------
    n_out : int
        Outputs in a row.
    return_sequences : bool
        Whether there is a target for each step.
    rows_per_step : bool
        Whether there is a row of outputs for each step: also of a network that ends in a `CTC`.
    whole : bool
        Whether sequences cannot be read in chunks.
    chain : CRF or None
        The last link, if it is one.
    n_steps : int or None
        Steps that every sequence has to have.
    n_columns : int
        Columns of tokens that its tables read.
    n_states : int
        Layers times directions.
    n_numbers : int
        About what a step leaves in buffers: the states and gates of all layers.
    """

    def __init__(
        self, n_in: int, links: Sequence[Link], *, dtype: np.dtype, device: str = "cpu", n_threads: int = 1
    ) -> None:
        self.backend, self.links, self.n_in, self.dtype = backends.get(device), links, n_in, dtype
        self.n_threads = n_threads
        self._side = check(links)
        for link in links:
            if isinstance(link, Embedding):
                link.folded = self.backend.folding is not None and one_layer_reads(link.name, links)
        self.parameters = Parameters(links, dtype)
        self.size = self.parameters.size
        self.n_out, self.whole = links[-1].width, any(link.whole for link in links)
        per = dict.fromkeys(SIDES, SIZE_R)
        for link in links:
            per[link.name] = per[link.reads[0]] if link.per is None else link.per
        self.return_sequences = per[links[-1].name] == SIZE_R
        self.rows_per_step = self.return_sequences or isinstance(links[-1], CTC)
        own = [link for link in links if self._side[link.name] == 0]
        self.recurrent = [link for link in own if isinstance(link, Recurrent)]
        self.hidden_size, self.has_c = self.recurrent[0].n_hidden, STATES[self.recurrent[0].cell] == "hc"
        self.n_states = sum(len(link.layers) for link in self.recurrent)
        self.n_numbers = 4 * self.n_states * self.hidden_size
        self.pool = next((link for link in own if isinstance(link, Pool)), None)
        self.pooling = None if self.pool is None else self.pool.kind
        self.attention = next((link for link in own if isinstance(link, Attention)), None)
        columns = [1 + link.column for link in own if isinstance(link, Embedding)]
        self.n_columns = max(columns, default=0)
        self.chain = links[-1] if isinstance(links[-1], CRF) else None
        self.n_steps = next((link.n_steps for link in links if isinstance(link, Unfold)), None)

    def pack(self, weights: Mapping[str, np.ndarray]) -> Any:
        """Flat parameters on the device, from arrays with PyTorch's names."""
        return self.backend.to_device(self.parameters.pack(weights))

    def unpack(self, flat: Any) -> dict[str, np.ndarray]:
        """Arrays with PyTorch's names, copied out of the flat parameters."""
        return self.parameters.unpack(self.backend.to_host(flat))

    # --- passes ------------------------------------------------------------------------------------
    def record(
        self, tape: Any, steps: Steps, params: Any = None, grads: Any = None, **options: Any
    ) -> Recording:
        """A recording on a tape, with buffers of its own; see `Recording` for the options."""
        work = self.backend.Workspace(self.dtype)
        return Recording(self.backend, tape, work, steps, self.parameters, params, grads, **options)

    def read(
        self, rec: Recording, sequences: Sequences, jobs: Jobs, mates: Sequences | None = None
    ) -> dict[str, Rows]:
        """Record the reading of the next of `jobs`; with `mates`, also of the other side's.

        Raises
        ------
        ValueError
            If a token has no row in the table that it is looked up in.
        """
        self.check_tokens(sequences, INPUTS[rec.side].tokens)
        values = rec.read(sequences, jobs)
        if mates is not None:
            values |= self.read(rec.pair(jobs.mates.room()), mates, jobs.mates)
        return values

    def check_tokens(self, sequences: Sequences, name: str) -> None:
        """Raise a ValueError if a kernel would look up what a table lacks."""
        for link in self.links:
            if isinstance(link, Embedding) and link.reads == (name,):
                link.check(sequences)

    def forward(self, rec: Recording, inputs: Mapping[str, Rows], begins: np.ndarray | None = None) -> Any:
        """Record a pass from the inputs to the outputs: rows (R, n_out), or (B, n_out) per sequence.

        With `begins`, links of the other side of pairs take part in replays with ``begins[0]`` not 0 only.
        """
        rec.values.update(inputs)
        for link in self.links:
            side = self._side[link.name]
            often = begins is None or side == 0
            with nullcontext() if often else rec.tape.only_if(begins):
                own = rec.of(side)
                rec.values[link.name] = link.forward(own, *[rec.values[name] for name in link.reads])
        return rec.values[self.links[-1].name]

    def backward(self, rec: Recording, d: Rows, *, d_input: bool = False) -> Rows | None:
        """Record back-propagation of the outputs' gradient into ``rec.grads``, all of whose dense part is
        written, and into ``rec.tables``.

        With `d_input`, returns the gradient of the input. Those of first states are left in the layers'
        `gradient_of_states`.
        """
        needed = dict.fromkeys(SIDES, False) | {INPUT: d_input}
        for link in self.links:
            learns = any(self.parameters.learns(part) for part, _ in link.places())
            needed[link.name] = learns or any(needed[name] for name in link.reads)
        gradients: dict[str, list[Rows]] = {name: [] for name in needed}
        gradients[self.links[-1].name].append(d)
        for link in reversed(self.links):
            if needed[link.name]:
                need, own = tuple(needed[name] for name in link.reads), rec.of(self._side[link.name])
                found = link.backward(own, *own.sums(gradients[link.name]), need=need)
                rec.add_shared()
                for name, dX in zip(link.reads, found, strict=True):
                    if dX is not None:
                        gradients[name].append(dX)
        return rec.sums(gradients[INPUT])[0] if d_input else None

    def hidden(self, rec: Recording) -> Rows:
        """After `forward`: the top layer's states, rows (R, width)."""
        return rec.values[self.recurrent[-1].name].rows(rec)

    def attention_weights(self, rec: Recording) -> Rows:
        """After `forward`: of every step, rows (R, 1) in float64."""
        return self.attention.weights(rec)

    def alignment(self, rec: Recording) -> Rows:
        """Record, after `forward`, the weights of the steps of each step's mate: rows (R, of the longest)."""
        (link,) = [link for link in self.links if isinstance(link, CrossAttention)]
        return link.weights(rec)

    # --- from chunk to chunk -----------------------------------------------------------------------
    def carried(self, rec: Recording) -> list[list[Rows]]:
        """For every layer and direction, where h (and c) are carried over, as rows (B, hidden_size)."""
        return [own for link in self.recurrent for own in link.carried(rec)]

    def pooled(self, rec: Recording) -> Rows | None:
        """Where what has been pooled over time is carried over, as rows (B, .); None without pooling."""
        return None if self.pool is None else self.pool.pooled(rec)

    def new_pool(self, n: int) -> np.ndarray | None:
        """What `pooled` is to hold of n sequences that begin."""
        return None if self.pool is None else self.pool.begin(n, self.dtype)

    def flops(self, n_rows: float, training: bool = False) -> float:
        """Of a forward pass over so many steps; a backward pass takes twice as many."""
        return (3 if training else 1) * n_rows * self._flops_of_a_row

    @cached_property
    def _flops_of_a_row(self) -> float:
        return sum(link.flops(1) for link in self.links)


def one_layer_reads(name: str, links: Sequence[Link]) -> bool:
    """Whether one recurrent layer, and nothing else, reads a value; in bfloat16 it needs each step's own."""
    readers = [link for link in links if name in link.reads]
    return (
        len(readers) == 1
        and isinstance(readers[0], Recurrent)
        and name not in readers[0].reads[1:]
        and not readers[0].bf16
    )


def check(links: Sequence[Link]) -> dict[str, int]:
    """The side of pairs that each value belongs to, 0 without them.

    Raises
    ------
    ValueError
        Where values or buffers would be mixed up, or gradients left unwritten.
    """
    names = {*SIDES, "loss"}  # training records that one behind the outputs
    for link in links:
        own = {link.name, *(part for part, _ in link.places())}
        if names & own:
            raise ValueError(f"several links or parts are called {min(names & own)!r}")
        names |= own
    read = {links[-1].name, *(name for link in links for name in link.reads)}
    for link in links:
        if link.name not in read:
            raise ValueError(f"nothing reads what {link.name!r} makes")
    side = SIDES.copy()
    for link in links:
        sides = tuple(side[name] for name in link.reads)
        if len(set(sides)) > 1 if link.crosses is None else sides != link.crosses:
            raise ValueError(
                f"{link.name!r} mixes up the sides of pairs: a Mate or a CrossAttention leads from the other "
                "one to this"
            )
        side[link.name] = side[link.reads[0]] if link.side is None else link.side
    recurrent = [link for link in links if isinstance(link, Recurrent) and side[link.name] == 0]
    if len({(link.cell, link.n_hidden) for link in recurrent}) != 1:
        raise ValueError("a network has recurrent links, all of one cell and size")
    return side
