"""The textbook equations in float64 NumPy: an oracle that shares no code with skrnn.

One sequence, one layer, one direction and one step at a time, in plain loops. Slow on purpose:
what matters is that a reader can check every line against the equations.

Weights are a dict with PyTorch's names and layout (``weight_ih_l0``, ``weight_hh_l0_reverse``, ...;
gates stacked i, f, g, o for the LSTM and r, z, n for the GRU) plus ``head.weight`` (O, D) and
``head.bias`` (O,). ``forward(..., mutant=name)`` computes one deliberately wrong network of
``MUTANTS``: a test that cannot tell it from the right one has no teeth.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

GATES = {"rnn": 1, "lstm": 4, "gru": 3}


def sigmoid(a):
    return 0.5 * (1.0 + np.tanh(0.5 * a))  # does not overflow


ACTIVATIONS = {"tanh": np.tanh, "relu": lambda a: np.maximum(a, 0.0), "sigmoid": sigmoid}


# --- the cells: one step of one sequence. x (F,), h and c (H,), m (H,) the recurrent mask ---------


def rnn_step(x, h, W_ih, W_hh, b_ih, b_hh, m, act):
    return act(W_ih @ x + b_ih + W_hh @ (m * h) + b_hh)


def lstm_step(x, h, c, W_ih, W_hh, b_ih, b_hh, m, mutant=None):
    i, f, g, o = np.split(W_ih @ x + b_ih + W_hh @ (m * h) + b_hh, 4)
    i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
    c_new = f * c + i * g
    if mutant == "lstm_reads_old_c":
        return o * np.tanh(c), c_new
    if mutant == "lstm_no_tanh_on_c":
        return o * c_new, c_new
    return o * np.tanh(c_new), c_new


def gru_step(x, h, W_ih, W_hh, b_ih, b_hh, m, reset_after, mutant=None):
    (W_ir, W_iz, W_in), (W_hr, W_hz, W_hn) = np.split(W_ih, 3), np.split(W_hh, 3)
    (b_ir, b_iz, b_in), (b_hr, b_hz, b_hn) = np.split(b_ih, 3), np.split(b_hh, 3)
    if mutant == "gru_other_reset_variant":
        reset_after = not reset_after
    if mutant == "gru_update_gate_inverted":
        W_iz, W_hz, b_iz, b_hz = -W_iz, -W_hz, -b_iz, -b_hz
    r = sigmoid(W_ir @ x + b_ir + W_hr @ (m * h) + b_hr)
    z = sigmoid(W_iz @ x + b_iz + W_hz @ (m * h) + b_hz)
    if reset_after:  # PyTorch, cuDNN
        n = np.tanh(W_in @ x + b_in + r * (W_hn @ (m * h) + b_hn))
        return (1.0 - z) * n + z * h
    n = np.tanh(W_in @ x + W_hn @ (r * (m * h)) + b_in + b_hn)  # Cho et al. 2014; Keras
    return (1.0 - z) * h + z * n


# --- one layer in one direction over one sequence ------------------------------------------------


def run_layer(x, h, c, parameters, m, cell, activation, reset_after, mutant):
    """x (T, F) in the order it is read -> states (T, H) in that order, last h, last c."""
    h_first, states = h, []
    for t in range(len(x)):
        h_read = h_first if mutant == "state_not_carried" else h
        if cell == "rnn":
            h = rnn_step(x[t], h_read, *parameters, m, ACTIVATIONS[activation])
        elif cell == "lstm":
            h, c = lstm_step(x[t], h_read, c, *parameters, m, mutant)
        else:
            h = gru_step(x[t], h_read, *parameters, m, reset_after, mutant)
        states.append(h)
    return np.array(states), h, c


def attention(weights, states):
    """The weights of the steps (T,) for states (T, D): Yang et al. 2016, (5) and (6), without a bias."""
    scores = np.tanh(states @ weights["attention.weight"].T) @ weights["attention.query"]
    return np.exp(scores) / np.exp(scores).sum()


# --- the network ---------------------------------------------------------------------------------


def forward(
    weights,
    X,
    *,
    cell="rnn",
    activation="tanh",
    reset_after=True,
    num_layers=1,
    bidirectional=False,
    pooling="last",
    return_sequences=False,
    initial_state=None,
    recurrent_mask=None,
    layer_mask=None,
    mutant=None,
):
    """Run the network over a list of (T_i, F) sequences.

    ``initial_state``: h0, or (h0, c0) for the LSTM, each (num_layers * dirs, n, H); None: zeros.
    ``recurrent_mask`` (num_layers * dirs, n, H) multiplies h wherever it meets a recurrent matrix
    (but not the z * h of a GRU); ``layer_mask`` (num_layers - 1, n, dirs * H) multiplies what
    a layer hands to the next. Both already hold the factor 1 / (1 - p).

    Returns a namespace: ``output`` (n, O), or a list of (T_i, O) with ``return_sequences``, before
    any link function; ``hidden``, a list of (T_i, dirs * H), the top layer's states, both
    directions aligned to time; ``state``, h or (h, c), each (num_layers * dirs, n, H).
    """
    weights = {name: np.asarray(w, dtype=np.float64) for name, w in weights.items()}
    if mutant in WEIGHT_MUTANTS:
        weights = {name: WEIGHT_MUTANTS[mutant](name, w, cell) for name, w in weights.items()}
    dirs = 2 if bidirectional else 1
    n, H = len(X), weights["weight_hh_l0"].shape[1]
    zeros = np.zeros((num_layers * dirs, n, H))
    if initial_state is None or mutant == "initial_state_ignored":
        initial_state = (zeros, zeros) if cell == "lstm" else zeros
    h0, c0 = initial_state if cell == "lstm" else (initial_state, zeros)
    if recurrent_mask is None or mutant == "recurrent_mask_ignored":
        recurrent_mask = np.ones_like(zeros)
    h_end, c_end, outputs, hidden = zeros.copy(), zeros.copy(), [], []

    for s in range(n):
        layer_input = np.asarray(X[s], dtype=np.float64)
        T = len(layer_input)
        if mutant == "padding_leaks":
            padding = np.zeros((max(map(len, X)) - T, layer_input.shape[1]))
            layer_input = np.concatenate([layer_input, padding])
        for layer in range(num_layers):
            by_direction = []
            for d in range(dirs):
                suffix = f"l{layer}" + ("_reverse" if d else "")
                parameters = [
                    weights[f"{kind}_{suffix}"] for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
                ]
                row = layer * dirs + d
                backwards = d == 1 and mutant != "reverse_reads_forwards"
                x = layer_input[::-1] if backwards else layer_input
                states, h_end[row, s], c_end[row, s] = run_layer(
                    x,
                    h0[row, s],
                    c0[row, s],
                    parameters,
                    recurrent_mask[row, s],
                    cell,
                    activation,
                    reset_after,
                    mutant,
                )
                if backwards and mutant != "reverse_not_aligned":
                    states = states[::-1]
                by_direction.append(states)
            if mutant == "directions_swapped":
                by_direction.reverse()
            layer_input = np.concatenate(by_direction, axis=1)
            if layer_mask is not None and layer < num_layers - 1:
                layer_input = layer_input * layer_mask[layer, s]
        top = layer_input  # (T, dirs * H)
        hidden.append(top[:T])

        W, b = weights["head.weight"], weights["head.bias"]
        if return_sequences:
            outputs.append(np.array([W @ h_t + b for h_t in top[:T]]))
            continue
        if pooling == "mean":
            pooled = top.sum(axis=0) / len(top)
        elif pooling == "max":
            pooled = top.max(axis=0)
        elif pooling == "attention":
            pooled = attention(weights, top) @ top
        elif mutant == "reverse_pooled_at_last_step":
            pooled = top[-1]
        else:  # each direction after it has read the whole sequence, as PyTorch's h_n
            ends = [h_end[(num_layers - 1) * dirs + d, s] for d in range(dirs)]
            pooled = np.concatenate(ends[::-1] if mutant == "directions_swapped" else ends)
        outputs.append(W @ pooled + b)

    return SimpleNamespace(
        output=outputs if return_sequences else np.array(outputs),
        hidden=hidden,
        state=(h_end, c_end) if cell == "lstm" else h_end,
    )


# --- mutants -------------------------------------------------------------------------------------


def _swap_gates(a, b):
    def mutate(name, w, cell):
        if not name.startswith(("weight_", "bias_")) or GATES[cell] <= max(a, b):
            return w
        blocks = np.split(w, GATES[cell])
        blocks[a], blocks[b] = blocks[b], blocks[a]
        return np.concatenate(blocks)

    return mutate


def _transpose_recurrent(name, w, cell):
    if not name.startswith("weight_hh"):
        return w
    return np.concatenate([block.T for block in np.split(w, GATES[cell])])


def _drop(prefix):
    return lambda name, w, cell: np.zeros_like(w) if name.startswith(prefix) else w


WEIGHT_MUTANTS = {
    "gates_0_1_swapped": _swap_gates(0, 1),
    "gates_1_2_swapped": _swap_gates(1, 2),
    "gates_2_3_swapped": _swap_gates(2, 3),
    "gates_0_3_swapped": _swap_gates(0, 3),
    "recurrent_transposed": _transpose_recurrent,
    "bias_hh_dropped": _drop("bias_hh"),
    "bias_ih_dropped": _drop("bias_ih"),
    "head_bias_dropped": _drop("head.bias"),
    "attention_transposed": lambda name, w, cell: w.T if name == "attention.weight" else w,
    "query_dropped": _drop("attention.query"),
}


def _bidirectional(options):
    return options.get("bidirectional", False)


def _pooling(options):
    return None if options.get("return_sequences") else options.get("pooling", "last")


# Mutant -> does it change ``output`` under these keyword arguments of ``forward``? (Given random
# weights, T >= 5 and unequal lengths.) Where it does not, ``hidden`` or ``state`` may still differ.
MUTANTS = {
    "gates_0_1_swapped": lambda o: GATES[o["cell"]] > 1,
    "gates_1_2_swapped": lambda o: GATES[o["cell"]] > 2,
    "gates_2_3_swapped": lambda o: GATES[o["cell"]] > 3,
    "gates_0_3_swapped": lambda o: GATES[o["cell"]] > 3,
    "recurrent_transposed": lambda o: True,
    "bias_hh_dropped": lambda o: True,
    "bias_ih_dropped": lambda o: True,
    "head_bias_dropped": lambda o: True,
    "attention_transposed": lambda o: _pooling(o) == "attention",
    "query_dropped": lambda o: _pooling(o) == "attention",
    "lstm_reads_old_c": lambda o: o["cell"] == "lstm",
    "lstm_no_tanh_on_c": lambda o: o["cell"] == "lstm",
    "gru_other_reset_variant": lambda o: o["cell"] == "gru",
    "gru_update_gate_inverted": lambda o: o["cell"] == "gru",
    "state_not_carried": lambda o: True,
    "initial_state_ignored": lambda o: o.get("initial_state") is not None,
    "recurrent_mask_ignored": lambda o: o.get("recurrent_mask") is not None,
    # Without a reverse direction no earlier step can see the padding.
    "padding_leaks": lambda o: _pooling(o) is not None or _bidirectional(o),
    "reverse_reads_forwards": _bidirectional,
    # Mean and max over time, and the end states, do not see the order of one layer's states.
    "reverse_not_aligned": lambda o: (
        _bidirectional(o) and (_pooling(o) in (None, "attention") or o.get("num_layers", 1) > 1)
    ),
    "reverse_pooled_at_last_step": lambda o: _bidirectional(o) and _pooling(o) == "last",
    "directions_swapped": _bidirectional,
}


# --- losses and gradients ------------------------------------------------------------------------


def _flat(a):
    """A list of per-step arrays as one array of steps; anything else as an array."""
    ragged = isinstance(a, list) and any(np.ndim(v) > 0 for v in a)
    return np.asarray(np.concatenate(a) if ragged else a, dtype=np.float64)


def losses(name, output, y, w=None, *, delta=1.0):
    """The loss of raw head outputs: sum(w l) / sum(w), l of a row the mean over its outputs.

    ``output`` (n, O), or a list of (T_i, O); ``y`` and ``w`` alike (lists for per-step losses).
    Rows of weight 0 are left out, whatever their target. Names: squared_error (no half),
    absolute_error, huber (``delta``), poisson (log link, without the constant log y!), and
    log_loss_binary (y in {0, 1}, one score), log_loss_multiclass (y a class number, one score per
    class), log_loss_multilabel (y (n, O) of 0 and 1).
    """
    output, y = _flat(output), _flat(y)
    w = np.ones(len(y)) if w is None else _flat(w)
    output = output.reshape(len(output), -1)
    total = 0.0
    for z, target, weight in zip(output, y.reshape(len(y), -1), w, strict=True):
        if weight != 0:
            total += weight * _row_loss(name, z, target, delta)
    return total / w.sum()


def _row_loss(name, z, y, delta):
    """z (O,) raw outputs, y (O,) targets (multiclass: (1,) the class number)."""
    if name == "log_loss_multiclass":
        top = z.max()
        return top + np.log(np.sum(np.exp(z - top))) - z[int(y[0])]
    assert z.shape == y.shape
    e = z - y
    if name == "squared_error":
        return np.mean(e**2)
    if name == "absolute_error":
        return np.mean(np.abs(e))
    if name == "huber":
        return np.mean(np.where(np.abs(e) <= delta, 0.5 * e**2, delta * (np.abs(e) - 0.5 * delta)))
    if name == "poisson":
        return np.mean(np.exp(z) - y * z)
    if name in ("log_loss_binary", "log_loss_multilabel"):
        return np.mean(np.logaddexp(0.0, z) - y * z)
    raise ValueError(f"unknown loss {name!r}")


def central_differences(f, array, step=1e-6):
    """Gradient of the scalar ``f()`` by ``array`` (float64, moved in place and put back)."""
    gradient = np.zeros_like(array)
    for index in np.ndindex(array.shape):
        value = array[index]
        array[index] = value + step
        above = f()
        array[index] = value - step
        below = f()
        array[index] = value
        gradient[index] = (above - below) / (2.0 * step)
    return gradient


# --- random problems for tests -------------------------------------------------------------------


def random_weights(
    rng,
    *,
    cell,
    n_features,
    hidden_size,
    n_outputs,
    num_layers=1,
    bidirectional=False,
    pooling=None,
    scale=0.6,
):
    """Every array random (biases too), so that no mistake hides behind a zero or a constant."""
    dirs, rows = 2 if bidirectional else 1, GATES[cell] * hidden_size
    weights = {}
    for layer in range(num_layers):
        fan_in = n_features if layer == 0 else dirs * hidden_size
        for suffix in [f"l{layer}", f"l{layer}_reverse"][:dirs]:
            weights[f"weight_ih_{suffix}"] = scale * rng.standard_normal((rows, fan_in))
            weights[f"weight_hh_{suffix}"] = scale * rng.standard_normal((rows, hidden_size))
            weights[f"bias_ih_{suffix}"] = scale * rng.standard_normal(rows)
            weights[f"bias_hh_{suffix}"] = scale * rng.standard_normal(rows)
    if pooling == "attention":
        weights["attention.weight"] = scale * rng.standard_normal((dirs * hidden_size, dirs * hidden_size))
        weights["attention.query"] = scale * rng.standard_normal(dirs * hidden_size)
    weights["head.weight"] = scale * rng.standard_normal((n_outputs, dirs * hidden_size))
    weights["head.bias"] = scale * rng.standard_normal(n_outputs)
    return weights


def random_sequences(rng, lengths, n_features):
    return [rng.standard_normal((T, n_features)) for T in lengths]


def random_state(rng, *, cell, n, hidden_size, num_layers=1, bidirectional=False):
    """Initial states in PyTorch's layout: h, or (h, c) for the LSTM."""
    shape = (num_layers * (2 if bidirectional else 1), n, hidden_size)
    h, c = 0.5 * rng.standard_normal(shape), 0.5 * rng.standard_normal(shape)
    return (h, c) if cell == "lstm" else h
