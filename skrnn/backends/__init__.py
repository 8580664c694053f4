"""Where the arithmetic happens: the contract between the network and a device.

A backend is a module with the names in the table; of that of a GPU, `estimators.devices` also uses
`arrays`, for input that lies there. Its functions do not compute: they record kernel calls on a tape, which
is then replayed for every minibatch. What differs from one minibatch to the next, the kernels read from the
arrays of `skrnn.batches.Steps` and `Jobs`.

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
``next_minibatch(rec, sequences, jobs)`` The next job's sequences, or those that the other side of pairs has
                                         begun: fills the steps.
``gather(rec, table, out, shift,         Rows of a table, of numbers or tokens, in the packed order; as
scale)``                                 (value - shift) * scale of its sequence.
``next_step(rec, x, tokens, finite)``    Instead of both, for sequences read one step at a time, from arrays
                                         x (B, F) and tokens (B, n_columns) of the host.
``watch(rec, X)``                        Rows as an array of the host, which a replay leaves up to date.
``start_from(rec, given, carried)``      Sequences begin in the states `given` (n, .), or in what was pooled.
``first_states(rec, given, column, n,    Sequences begin in `n` columns of rows (B, .), unless states are
carried)``                               carried over already.
``take_mates(rec, source, target,        Rows (B, .) of the other side of pairs in the order of this one;
back)``                                  `back`: of this one, to the other.
``unfold(rec, X, F, out)``               All steps of each sequence in one row (B, T F), for equal lengths.
``fold(rec, d, dX)``                     Its adjoint.
``scatter(rec, X, ends, n, out)``        Results back to their sequences, whose steps end before ``ends[i]``
                                         in `out`.
``RecurrentLayer(cell, n_in, n_hidden,   One layer in one direction: see `skrnn.backends.layer`.
dtype, activation, reset_after, bf16)``
``.forward(rec, X, mask, name, begun)``  Returns a trace, of which ``states(trace)`` are the hidden states,
                                         rows (R, H). First states are those of `carried` or, unless all are
                                         `begun` there, zero.
``.last_states(rec, trace, target,       Of h, or of c where the target is of cells, to some columns of it.
column)``                                ``keep_last(rec, trace, name)``: of both, to `carried`.
``.backward(rec, trace, dY, need_dX,     dY: rows (R, H) or None. To it comes the gradient of the last states
name)``                                  in `gradient_of_states`, where that of the first is left. Writes all
                                         gradients; returns dX, rows (R, F), or None.
``Dense(n_in, n_out, dtype)``            A linear map, likewise: ``place(name, section, columns)``,
                                         ``forward(rec, X, name, onto)``, ``backward(rec, X, d, need_dX,
                                         name)``. Without a bias it adds to the outputs of another. Its own
                                         are rows of ``width`` elements.
``Softmax(n_in, n_out, dtype)``          A linear map to the scores of many tokens.
``.objective(rec, X, name, y, w,         The losses of all rows, `Weighed`, of whose scores a chunk is kept at
learns, smoothing)``                     a time; if it learns, also the gradients of their mean, of which that
                                         of X is returned.
``look_up(rec, tokens, column, table,    Rows (R, D): the tokens' vectors in a table, which is kept in panels
lanes, out)``                            of `lanes` tokens.
``look_up_backward(rec, tokens, column,  The gradient of the table, all of which is written.
d, width, lanes, table)``
``touched_gradient(rec, tokens, column,  Of a row-major table: numbers of the rows that are read, each once,
d, width, n_tokens, name)``              how many they are, and their gradient.
``folding``                              None, or a module with which recurrent layers read `Distinct` rows of
                                         tokens: ``distinct_tokens(rec, tokens, column, n_tokens, name)``, or
                                         ``every_token``, likewise, of texts that are written;
                                         ``mirror(rec, which, out)`` for mirrored steps; ``write_table(rec,
                                         distinct, d, width, lanes, table)``, the gradient of all of it.
``next_tokens(rec, choices)``            What is read while texts are written (`skrnn.decoding`): the inputs.
``choose(rec, scores, n_tokens,          Tokens by their scores; the rows of the next step, of texts that have
choices)``                               not ended.
``follow(rec, rows, choices)``           States (B, .) of the rows that those continue.
``objective(rec, loss, raw, d, n_raw,    The losses of all rows of raw outputs, `Weighed`, and the gradient of
y, w)``                                  their mean.
``add_losses(rec, losses, statistics,    A row of `statistics`: sum of weighted losses, sum of weights; then
number)``                                the optimiser's norm.
``Optimizer(set_up)``                    ``update(tape, w, g, rates, statistics, number, tables)`` clips and
                                         updates, of tables (`TableGradient`) the rows that were touched;
                                         ``m``, ``v``, ``n_steps`` are its state.
``copy_rows(rec, source, source0,        Some columns, also of the steps in reverse. ``pad``: columns after
target, target0, n, reverse, pad)``      them become zero.
``clear_rows(rec, rows)``                Zeros.
``add(rec, target, source)``             One gradient of a value to another.
``add_flat(rec, target, source)``        Flat arrays of one size.
``add_reversed(rec, target, source)``    The gradient of a reversed input to that of the input.
``pool_mean(rec, X, so_far, out)``       Over time, rows (B, width).
``pool_mean_backward(rec, dout, width,
dX)``
``pool_max(rec, X, largest, where)``     And the step where it was found.
``pool_max_backward(rec, dout, where,
dX)``
``attend(rec, H, U, v, a, out)``         The mean of H over time, rows (B, D), with the weights a (R, 1), in
                                         float64: softmax over time of v . tanh(U). U becomes tanh(U).
``attend_backward(rec, dout, H, U, v,    dH: of H itself; what comes through U is in dU.
a, dU, dv, dH)``
``attend_mates(rec, n_key, Q, K, V,      Of pairs: of each step the mean of V over the steps of its mate, rows
out, weights)``                          (R, .), with weights softmax(Q . K) of `n_key` columns; they are rows
                                         (R, steps of the longest mate), unless None.
``attend_mates_backward(rec, d, Q, K,    The gradients of Q, and of K and V, rows of the other side.
V, dQ, dK, dV)``
``tanh(rec, X, out)``                    Of rows as linear maps make them.
``tanh_backward(rec, Y, d)``             The gradient of Y = tanh(X) becomes that of X.
``chain_objective(rec, scores, crf, y,   Of rows of scores (R, K) of the labels of steps, and of what scores
w, d, into)``                            label sequences beside them, the arrays of a `skrnn.links.CRF`: the
                                         losses of all sequences, `Weighed`, d, the gradient of their mean per
                                         labelled step, and that of the arrays, unless `into` is None.
``chain_marginals(rec, scores, crf,      The probabilities of the labels at each step, rows (R, K) in float64.
out)``
``best_path(rec, scores, crf, out)``     The labels of the best paths, rows (R, 1) of int32.
``path_objective(rec, scores, K, y, w,   Of rows of scores (R, .) of K labels, of which 0 is the blank, for
d, learns)``                             sequences of labels y, `Targets` with lengths (see
                                         `skrnn.links.CTC`): the losses of all sequences, `Weighed`, and if it
                                         learns d, the gradient of their mean.
``sequence_mask(rec, stream, layer,      Dropout masks from counters (seed, epoch, stream, sequence, step,
rate, name)``                            unit): the same numbers on every device.
``drop_out(rec, X, stream, width,      Of single elements, in place; also its backward pass.
rate)``
``drop_tokens(rec, X, tokens, column,    Of whole rows X (R, width), by their tokens, likewise: from the seed,
stream, width, rate)``                   epoch, stream, sequence and token.
``mask_out(rec, X, stream, width,        Masks over rows X (R, width), in place, likewise; `steps` and
steps, features)``                       `features` are how many stretches, and of up to what share.
``supports_bfloat16()``                  Whether layers may be made with ``bf16=True``.
======================================== ==================================================================
"""

from __future__ import annotations

import re
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from types import ModuleType

from ..interrupts import deferring


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
    return backend.turns.turn(int(GPU.fullmatch(device)[1] or 0), allow_tf32)
