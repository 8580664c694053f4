"""Where the arithmetic happens: the contract between the network and a device.

A backend is a module with the names of `NAMES`. `Network`, `inference` and `training` use nothing
else of it. Sizes: `B` sequences of a minibatch, sorted by falling length; `R` their steps together, in
packed time-major order (`skrnn.batches.PackedSteps`, whose index arrays are NumPy's); `F` features per
step, `H` hidden units, `D` = H times directions, `M` rows of a head's input (B, or R per step).

"Device array" means flat, of the backend's own kind and float type. What a function returns is a view
of the workspace, valid until the same function is called again with the same `name`, unless it says
copy. Row lengths may be padded to the device's liking; whoever pads returns the row length beside the
array.

======================================== ==================================================================
``aligned(size, dtype)``                 New device array of arbitrary contents.
``Workspace(dtype, n_threads)``          Buffers of one fit or one prediction. ``get(*name, size, dtype)``.
``RecurrentLayer(cell, n_in, n_hidden,   One layer in one direction. ``size``: parameters it takes of a flat
dtype, *, activation, reset_after)``     vector, biases from ``bias_from`` on. ``width``: row length of its
                                         states; also ``n_in``, ``n_hidden``, ``cell.has_c``.
                                         ``pack(weights, flat)``, ``unpack(flat)``: from and to host
                                         arrays in PyTorch's layout.
``.forward(params, X, steps, state,      X (R, n_in); state (h, c) host arrays (B, H) or None; mask (B, width)
mask, keep, work, name)``                or None. Returns a trace: ``H`` (B + R, width) states, the first B
                                         rows the initial ones, and ``steps``; the rest is the layer's.
``.last_states(trace)``                  (h, c), host copies (B, H); c None without a memory cell.
``.backward(params, grads, trace, dY,    dY (R, width) or None; dH, dC (B, width): in, gradient of the last
dH, dC, need_dX, work, name)``           states, out, of the first. Writes all of `grads`. Returns dX
                                         (R, row) or None; consumes the trace.
``Dense(n_in, n_out, dtype)``            The head, likewise. ``forward(params, X, M, work)`` -> host view
                                         (M, n_out); ``backward(params, grads, X, dout, work)`` -> dX, row.
``gather(values, rows, steps, work, *,   X (R, F): host rows `values[rows]`, as (row - shift) * scale by
shift, scale)``                          sequence.
``join(parts, steps, work, name)``       Directions side by side, (R, D), in forward order.
``spread(dX, dX_row, column, row, n,     Columns of a joined gradient as one direction's dY (R, row).
reverse, steps, work, name)``
``reverse(X, steps, n, work, name)``     Every sequence from its own end. ``add_reversed(dX, dX_reverse, row,
                                         steps, work)`` adds such a gradient back.
``pool(kind, X, n, steps, lengths,       Mean or maximum over time: features (B, n), what the next chunk
carried, work)``                         carries on, and what ``pool_backward`` needs.
``sequence_mask``, ``drop_steps``        Dropout masks from counters (seed, epoch, stream, sequence, step,
                                         unit): the same numbers on every device.
``Optimizer(solver, ranges, size,        ``step(w, g, learning_rate)`` clips, updates `w`, returns the norm;
dtype, *, ...)``                         ``m``, ``v``, ``n_steps`` are its state.
======================================== ==================================================================
"""

from __future__ import annotations

from types import ModuleType

NAMES = {
    "Dense",
    "Optimizer",
    "RecurrentLayer",
    "Tape",
    "Workspace",
    "add_reversed",
    "aligned",
    "begin_backward",
    "drop_steps",
    "join",
    "last_states",
    "objective",
    "pool",
    "pool_backward",
    "read",
    "reverse",
    "scatter",
    "sequence_mask",
    "split",
    "start_from",
}


def get(device: str) -> ModuleType:
    """The backend for a device; imported when first asked for."""
    if device != "cpu":
        raise ValueError(f"device={device!r} is not available: this version computes on 'cpu'")
    from . import cpu

    return cpu
