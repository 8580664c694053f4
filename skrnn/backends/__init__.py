"""Where the arithmetic happens: the contract between the network and a device.

A backend is a module with the names of `NAMES`; of that of a GPU, `estimators.devices` also uses `arrays`,
for input that lies there. Its functions do not
compute: they record kernel calls on a tape, which is then replayed for every
minibatch. What differs from one minibatch to the next, the kernels read from the arrays of
`skrnn.batches.Steps` and `Jobs`.

Sizes: `B` sequences of a minibatch, sorted by falling length; `R` their steps together, in packed
time-major order (`Steps`); `F` features per step, `H` hidden units, `D` = H times directions, `M` rows
of either kind. "Flat" is a one-dimensional device array; `skrnn.recording.Rows` is a matrix inside of one.
`rec` is the `Recording` that says where something is recorded and with which parameters. What a function
returns lies in its workspace: recording the same thing under the same `name` again uses the same memory.

======================================== ==================================================================
``Tape(n_threads)``                      ``run(times, flops, most_flops)`` replays; ``only_if(condition)``
                                         guards what is recorded inside; ``stop`` ends a replay;
                                         ``player()`` replays once.
``aligned(size, dtype)``                 New flat array of arbitrary contents.
``to_device(flat)``, ``to_host(flat)``   A flat array there, and back here.
``Workspace(dtype)``                     Buffers of one fit or one prediction. ``get(*name, size, dtype)``.
``read(rec, sequences, jobs)``           The next job's sequences: fills the steps, returns X, rows (R, F), as
                                         (value - shift) * scale of its sequence.
``next_step(rec, x, finite)``            Instead of `read`, for sequences read one step at a time, from an
                                         array x (B, F) of the host.
``watch(rec, X)``                        Rows as an array of the host, which a replay leaves up to date.
``start_from(rec, given, carried)``      Sequences begin in the states `given` (n, .), or in what was pooled.
``unfold(rec, X, F, name)``              All steps of each sequence in one row (B, T F), for equal lengths.
``scatter(rec, X, ends, n, out)``        Results back to their sequences, whose steps end before ``ends[i]``
                                         in `out`.
``RecurrentLayer(cell, n_in, n_hidden,   One layer in one direction. ``places(suffix)``: how it keeps arrays in
dtype, *, activation, reset_after,       PyTorch's layout (`skrnn.parameters.Place`). ``n_in``, ``n_hidden``;
bf16)``                                  ``flops(n_rows)`` of a forward pass.
``.forward(rec, X, mask, name)``         Returns a trace, of which ``states(trace)`` are the hidden states,
                                         rows (R, H). First states are those of `carried` or zero.
``.keep_last(rec, trace, name)``         Copies the last states to ``carried(rec, name)``.
``.backward(rec, trace, dY, need_dX,     dY: rows (R, H) or None. The gradient of the last states is taken
name)``                                  from ``gradient_of_states(rec, name)``, where that of the first is
                                         left. Writes all of its gradients; returns dX, rows (R, F), or None.
``Dense(n_in, n_out, dtype)``            A linear map, likewise: ``places(weight, bias)``, ``forward(rec, X,
                                         name, onto)``, ``backward(rec, X, d, need_dX, name)``. Without a bias
                                         it adds to the outputs of another.
``add(rec, target, source)``             One gradient of a value to another.
``objective(rec, loss, raw, d, n_raw,    The loss of raw outputs and its gradient. A row of `statistics`: sum
y, w, statistics, number)``              of weighted losses, sum of weights; then the optimiser's norm.
``Optimizer(solver, ranges, size,        ``update(tape, w, g, rates, statistics, number)`` clips and updates;
dtype, *, ...)``                         ``m``, ``v``, ``n_steps`` are its state.
``reverse``, ``join``, ``split``,        Directions: read backwards; side by side, in forward order; a joined
``add_reversed``, ``last_states``,       gradient apart again; the gradient of a reversed input; the last
``begin_backward``                       states side by side; their gradient, or zero, to each direction.
                                         `join` and `last_states` take ``[(layer, trace), ...]``.
``pool``, ``pool_backward``,             Mean or maximum over time; where a chunk takes over what has been
``pooled``                               pooled before, as rows (B, .).
``supports_bfloat16()``                  Whether layers may be made with ``bf16=True``.
``sequence_mask``, ``drop_steps``        Dropout masks from counters (seed, epoch, stream, sequence, step,
                                         unit): the same numbers on every device.
======================================== ==================================================================
"""

from __future__ import annotations

import re
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from types import ModuleType

from ..interrupts import deferring

NAMES = {
    "Dense",
    "Optimizer",
    "RecurrentLayer",
    "Tape",
    "Workspace",
    "add",
    "add_reversed",
    "aligned",
    "begin_backward",
    "drop_steps",
    "join",
    "last_states",
    "next_step",
    "objective",
    "pool",
    "pool_backward",
    "pooled",
    "read",
    "reverse",
    "scatter",
    "sequence_mask",
    "split",
    "start_from",
    "supports_bfloat16",
    "to_device",
    "to_host",
    "unfold",
    "watch",
}


class Unavailable(RuntimeError):
    """A device that cannot be used here; the message says why."""


GPU = re.compile(r"cuda(?::(\d+))?")  # the name of a device, with its number or without


def get(device: str) -> ModuleType:
    """The backend for a device, "cpu", "cuda" or "cuda:1"; imported when first asked for."""
    if device == "cpu":
        return _cpu()
    if GPU.fullmatch(str(device)) is None:
        raise ValueError(f"device={device!r} is none of 'cpu', 'cuda', 'cuda:' with a number, and 'auto'")
    try:
        return _cuda()
    except ImportError as error:  # of a Numba whose CUDA part is gone
        raise Unavailable(
            f"Numba's CUDA part cannot be imported ({error}): pip install 'skrnn[cuda]'"
        ) from error


# Numba cannot be imported once more where an interrupt has ended the first time.
@cache
@deferring
def _cpu() -> ModuleType:
    from . import cpu

    return cpu


@cache
@deferring
def _cuda() -> ModuleType:
    from . import cuda

    return cuda


def turn(device: str, allow_tf32: bool = False) -> AbstractContextManager[None]:
    """Inside of it, networks of this device are made and used, by one thread of a GPU at a time.

    Raises
    ------
    ValueError
        If there is no device of that name.
    Unavailable
        If the device cannot be used.
    """
    backend = get(device)
    if device == "cpu":
        return nullcontext()
    return backend.devices.turn(int(GPU.fullmatch(device)[1] or 0), allow_tf32)
