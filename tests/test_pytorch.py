"""PyTorch as a second oracle: from the same weights the same outputs, gradients, losses, fits."""

import numpy as np
import pytest
from passes import Forward, PackedSteps, loss_of

from skrnn import (
    GRUClassifier,
    GRURegressor,
    LSTMClassifier,
    LSTMRegressor,
    RNNClassifier,
    RNNRegressor,
    losses,
)
from skrnn.recipe import recurrent_network

torch = pytest.importorskip("torch")
from torch.nn import functional as F  # noqa: E402
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence  # noqa: E402

torch.set_num_threads(1)

LENGTHS = [7, 3, 12, 1, 5, 12, 9, 2, 4, 11, 6]  # unsorted, with ties, more rows than one tile
N_IN, N_OUT = 5, 3
CELLS = {
    "rnn-tanh": {"cell": "rnn", "activation": "tanh"},
    "rnn-relu": {"cell": "rnn", "activation": "relu"},
    "lstm": {"cell": "lstm"},
    "gru": {"cell": "gru"},
}
SHAPES = {
    "plain": {},
    "two-layers": {"num_layers": 2},
    "bidirectional": {"bidirectional": True},
    "two-bidirectional": {"num_layers": 2, "bidirectional": True},
}
TOLERANCE = {np.float32: 1e-6, np.float64: 1e-12}
LAYERS = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}


def torch_model(cell, hidden_size, *, activation=None, n_in=N_IN, n_out=N_OUT, seed=0, **shape):
    """PyTorch's layer with a dense head; its state_dict has the very names of `weights_`."""

    class Model(LAYERS[cell]):
        def __init__(self):
            extra = {} if activation is None else {"nonlinearity": activation}
            super().__init__(n_in, hidden_size, batch_first=True, dtype=torch.float64, **shape, **extra)
            width = hidden_size * (2 if self.bidirectional else 1)
            self.head = torch.nn.Linear(width, n_out, dtype=torch.float64)

        def run(self, X, state=None):
            """List of (T_i, F) -> list of states per step (T_i, D), last h, last c (LSTM)."""
            # The layer returns unsorted sequences in the caller's order.
            out, last = self(pack_sequence(X, enforce_sorted=False), state)
            out, lengths = pad_packed_sequence(out, batch_first=True)
            states = [row[:n] for row, n in zip(out, lengths, strict=True)]
            return states, *(last if cell == "lstm" else (last,))

        def features(self, X, pooling, state=None):
            states, h, *_ = self.run(X, state)
            if pooling == "mean":
                return torch.stack([s.mean(0) for s in states])
            if pooling == "max":
                return torch.stack([s.amax(0) for s in states])
            # Both directions after they have read the whole sequence.
            return torch.cat(list(h[-(2 if self.bidirectional else 1) :]), dim=1)

    torch.manual_seed(seed)
    return Model()


def arrays(model, dtype=np.float64):
    return {name: value.numpy().astype(dtype) for name, value in model.state_dict().items()}


class Problem:
    """One random problem for both sides; PyTorch's side is always float64.

    What float32 is then compared with is the truth, not another rounding.
    """

    def __init__(self, options, hidden_size, dtype, lengths=LENGTHS):
        rng = np.random.default_rng(hidden_size)
        shape = {k: v for k, v in options.items() if k in ("num_layers", "bidirectional")}
        self.options, self.dtype, self.hidden_size = options, dtype, hidden_size
        self.model = torch_model(options["cell"], hidden_size, activation=options.get("activation"), **shape)
        # Everything that both sides start from can be represented in float32.
        with torch.no_grad():
            for p in self.model.parameters():
                p.copy_(p.float())

        def normal(*size):
            return rng.standard_normal(size, dtype=np.float32).astype(np.float64)

        self.X = [normal(T, N_IN) for T in lengths]
        places = shape.get("num_layers", 1) * (2 if shape.get("bidirectional") else 1)
        parts = 2 if options["cell"] == "lstm" else 1
        self.places = range(places)
        self.state = [normal(places, len(lengths), hidden_size) / 2 for _ in range(parts)]
        self.steps = PackedSteps(np.array(lengths))
        self.starts = np.cumsum(lengths) - np.array(lengths)
        self.rows = self.steps.rows_of(self.starts)
        self.network = recurrent_network(
            N_IN, N_OUT, hidden_size=hidden_size, dtype=dtype, **options
        )  # fmt: skip
        per_step = options.get("return_sequences", False)
        self.dout = normal(sum(lengths) if per_step else len(lengths), N_OUT)

    # --- ours ------------------------------------------------------------------------------------
    def ours(self):
        network, steps, dtype = self.network, self.steps, self.dtype
        places = [[part[k][steps.order].astype(dtype) for part in self.state] for k in self.places]
        state = [(*parts, None)[:2] for parts in places]
        X = np.concatenate(self.X)[self.rows].astype(dtype)
        params = network.pack(arrays(self.model, dtype))
        pass_ = Forward(network, params, X, steps, state=state, keep=True)
        per_step = self.options.get("return_sequences", False)
        order = self.rows if per_step else steps.order
        results = {"out": unsort(pass_.out, order), "hidden": unsort(pass_.hidden(), self.rows)}
        for k, last in enumerate(pass_.state()):
            for part, _ in enumerate(self.state):
                results["last", part, k] = unsort(last[part], steps.order)
        grads = np.empty(network.size, dtype)
        dX, d_state = pass_.backprop(self.dout[order].astype(dtype), grads, d_input=True)
        gradients = network.unpack(grads) | {"X": unsort(dX, self.rows)}
        for part, _ in enumerate(self.state):
            gradients["state", part] = np.stack([unsort(d[part], steps.order) for d in d_state])
        return results, gradients

    # --- theirs ----------------------------------------------------------------------------------
    def theirs(self):
        X = [torch.tensor(x, requires_grad=True) for x in self.X]
        state = [torch.tensor(part, requires_grad=True) for part in self.state]
        given = tuple(state) if len(state) == 2 else state[0]
        states, *last = self.model.run(X, given)
        if self.options.get("return_sequences"):
            out = self.model.head(torch.cat(states))
        else:
            pooling = self.options.get("pooling", "last")
            out = self.model.head(self.model.features(X, pooling, given))
        results = {"out": out, "hidden": torch.cat(states)}
        for part, value in enumerate(last):
            results |= {("last", part, k): v for k, v in enumerate(value)}
        self.model.zero_grad()
        out.backward(torch.tensor(self.dout))
        gradients = {name: p.grad for name, p in self.model.named_parameters()}
        gradients["X"] = torch.cat([x.grad for x in X])
        gradients |= {("state", part): s.grad for part, s in enumerate(state)}
        return [{k: v.detach().numpy() for k, v in d.items()} for d in (results, gradients)]


def unsort(values, order):
    result = np.empty_like(values)
    result[order] = values
    return result


def check(problem):
    """Outputs to the tolerance; gradients relative to the largest element of their array.

    In float32 not to less than a fifth of the largest gradient of all: where the terms of a small
    sum cancel, PyTorch's own float32 gradients are up to 7e-6 off by the first measure, ours 3e-5.
    """
    tolerance = TOLERANCE[problem.dtype]
    (results, gradients), (expected_results, expected_gradients) = problem.ours(), problem.theirs()
    assert results.keys() == expected_results.keys()
    for name, expected in expected_results.items():
        assert np.abs(results[name] - expected).max() <= tolerance, name
    assert gradients.keys() == expected_gradients.keys()
    largest = {name: np.abs(g).max() for name, g in expected_gradients.items()}
    floor = 0.2 * max(largest.values()) if problem.dtype == np.float32 else 0.0
    for name, expected in expected_gradients.items():
        error = np.abs(gradients[name] - expected).max()
        assert error <= tolerance * max(largest[name], floor), name


# --- layers ---------------------------------------------------------------------------------------
@pytest.mark.sampled(3)
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("hidden_size", [1, 7, 16, 33, 128])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("cell", CELLS)
def test_packed_ragged_batch(cell, shape, hidden_size, dtype):
    """Outputs, last states and all gradients, from given first states."""
    check(Problem({**CELLS[cell], **SHAPES[shape]}, hidden_size, dtype))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    "head", [{"pooling": "mean"}, {"pooling": "max"}, {"return_sequences": True}], ids=str
)
@pytest.mark.parametrize("cell", CELLS)
def test_heads(cell, head, dtype):
    check(Problem({**CELLS[cell], **SHAPES["two-bidirectional"], **head}, 33, dtype))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("cell", CELLS)
def test_equal_lengths(cell, dtype):
    check(Problem({**CELLS[cell], **SHAPES["two-bidirectional"]}, 33, dtype, lengths=[9] * 13))


# --- losses ---------------------------------------------------------------------------------------
def pinball(raw, y, levels):
    """Quantiles by a free middle one and softplus steps, written out."""
    middle = int(np.argmin(np.abs(np.array(levels) - 0.5)))
    raw = raw.reshape(len(raw), -1, len(levels))
    q = [None] * len(levels)
    q[middle] = raw[..., middle]
    for k in range(middle + 1, len(levels)):
        q[k] = q[k - 1] + F.softplus(raw[..., k])
    for k in range(middle - 1, -1, -1):
        q[k] = q[k + 1] - F.softplus(raw[..., k])
    error = y[..., None] - torch.stack(q, dim=-1)
    level = torch.tensor(levels, dtype=raw.dtype)
    return torch.maximum(level * error, (level - 1) * error).mean(dim=(1, 2))


LEVELS = [0.05, 0.25, 0.5, 0.9]


def per_row(function, **options):
    """One of PyTorch's losses as the mean over each row's outputs."""
    return lambda r, y: function(r, y, reduction="none", **options).mean(1)


LOSSES = {
    "squared_error": (losses.squared_error, per_row(F.mse_loss)),
    "absolute_error": (losses.absolute_error, per_row(F.l1_loss)),
    "huber": (losses.huber(0.7), per_row(F.huber_loss, delta=0.7)),
    "poisson": (losses.poisson, per_row(F.poisson_nll_loss, log_input=True, full=False)),
    "quantile": (losses.quantile(LEVELS), lambda r, y: pinball(r, y, LEVELS)),
    "multiclass": (
        losses.multiclass_log_loss,
        lambda r, y: F.cross_entropy(r, y[:, 0].long(), reduction="none"),
    ),
    "multilabel": (losses.binary_log_loss, per_row(F.binary_cross_entropy_with_logits)),
}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_losses(name, weighted, dtype):
    """Value and gradient of sum(w l) / sum(w)."""
    ours, theirs = LOSSES[name]
    rng, M, n = np.random.default_rng(1), 50, 3
    raw = 2 * rng.standard_normal((M, n if name == "multiclass" else ours.n_raw(n)))
    y = {
        "poisson": rng.poisson(2.0, (M, n)),
        "multiclass": rng.integers(0, n, (M, 1)),
        "multilabel": rng.integers(0, 2, (M, n)),
    }.get(name, rng.standard_normal((M, n)))
    raw, y = raw.astype(np.float32), y.astype(np.float32)
    w = rng.uniform(0, 2, M).astype(np.float32) if weighted else None

    r = torch.tensor(raw, dtype=torch.float64, requires_grad=True)
    weights = torch.ones(M, dtype=torch.float64) if w is None else torch.tensor(w).double()
    expected = (weights * theirs(r, torch.tensor(y).double())).sum() / weights.sum()
    expected.backward()
    total, weight, gradient = loss_of(ours, raw.astype(dtype), y, w)
    assert gradient.dtype == dtype
    np.testing.assert_allclose(total / weight, expected.item(), rtol=TOLERANCE[dtype])
    scale = r.grad.abs().max().item()
    np.testing.assert_allclose(gradient, r.grad.numpy(), rtol=0, atol=TOLERANCE[dtype] * scale)


# --- whole fits -----------------------------------------------------------------------------------
ESTIMATORS = {
    ("rnn", False): RNNRegressor, ("lstm", False): LSTMRegressor, ("gru", False): GRURegressor,
    ("rnn", True): RNNClassifier, ("lstm", True): LSTMClassifier, ("gru", True): GRUClassifier,
}  # fmt: skip


def groups(model, decay):
    """Parameter groups; biases do not decay."""
    named = list(model.named_parameters())
    return [
        {"params": [p for n, p in named if "bias" not in n], "weight_decay": decay},
        {"params": [p for n, p in named if "bias" in n], "weight_decay": 0.0},
    ]


RATE, DECAY = 0.02, 0.01
SOLVERS = {
    "adam": (dict(solver="adam"), lambda g: torch.optim.Adam(g, lr=RATE)),
    "adamw": (dict(solver="adamw"), lambda g: torch.optim.AdamW(g, lr=RATE)),
    "nesterov": (
        dict(solver="sgd", momentum=0.8),
        lambda g: torch.optim.SGD(g, lr=RATE, momentum=0.8, nesterov=True),
    ),
    "momentum": (
        dict(solver="sgd", momentum=0.8, nesterovs_momentum=False),
        lambda g: torch.optim.SGD(g, lr=RATE, momentum=0.8),
    ),
    "rmsprop": (
        dict(solver="rmsprop", beta_2=0.98),
        lambda g: torch.optim.RMSprop(g, lr=RATE, alpha=0.98),
    ),
}


def clip(params, max_norm):
    """As `clip_grad_norm_`, which however adds 1e-6 to the norm."""
    norm = torch.sqrt(sum((p.grad**2).sum() for p in params))
    for p in params:
        p.grad *= min(1.0, max_norm / norm)
    return norm.item()


def fit_both(cell, classify, solver, max_norm, *, epochs=3, n=22, batch=8, **shape):
    """Fit estimator and model from the same weights; returns both, and the gradient norms."""
    rng = np.random.default_rng(5)
    X = [rng.standard_normal((T, N_IN)) for T in rng.integers(1, 13, n)]
    y = rng.integers(0, N_OUT, n) if classify else 2 * rng.standard_normal((n, N_OUT))
    w = rng.uniform(0.2, 2, n)
    options, make = SOLVERS[solver]
    estimator = ESTIMATORS[cell, classify](
        9, dtype="float64", shuffle=False, batch_size=batch, max_iter=epochs, tol=0.0,
        n_iter_no_change=epochs, alpha=DECAY, learning_rate_init=RATE, max_grad_norm=max_norm,
        warm_start=True, random_state=0, **options, **shape,
    )  # fmt: skip
    model = torch_model(cell, 9, **shape, seed=3)
    estimator.fit(X, y, w).set_weights(arrays(model)).fit(X, y, w)

    params, optimizer = list(model.parameters()), make(groups(model, DECAY))
    tX, tw = [torch.tensor(x) for x in X], torch.tensor(w)
    ty, curve, norms = torch.tensor(y), [], []
    for _ in range(epochs):
        total = 0.0
        for k in range(0, n, batch):
            part = slice(k, k + batch)
            out = model.head(model.features(tX[part], "last"))
            if classify:
                rows = F.cross_entropy(out, ty[part], reduction="none")
            else:
                rows = ((out - ty[part]) ** 2).mean(1)
            value = (tw[part] * rows).sum()
            optimizer.zero_grad()
            (value / tw[part].sum()).backward()
            norms.append(clip(params, np.inf if max_norm is None else max_norm))
            optimizer.step()
            total += value.item()
        curve.append(total / w.sum())
    return estimator, model, np.array(curve), np.array(norms), X


# A gradient norm that some updates are above and others below: regressor, classifier.
CLIP = {"rnn": (1.5, 0.6), "lstm": (1.0, 0.3), "gru": (1.5, 0.5)}


@pytest.mark.parametrize("classify", [False, True], ids=["regressor", "classifier"])
@pytest.mark.parametrize("cell", LAYERS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_whole_fit(cell, classify, solver):
    """Three epochs of weighted, ragged minibatches, some of them clipped."""
    max_norm = CLIP[cell][classify]
    estimator, model, curve, norms, _ = fit_both(cell, classify, solver, max_norm)
    assert norms.min() < max_norm < norms.max()  # both branches
    np.testing.assert_allclose(estimator.loss_curve_[-len(curve) :], curve, rtol=1e-11)
    np.testing.assert_allclose(
        estimator.history_["gradient_norm"][-len(curve) :],
        norms.reshape(len(curve), -1).mean(axis=1),
        rtol=1e-9,
    )
    for name, value in arrays(model).items():
        np.testing.assert_allclose(estimator.weights_[name], value, rtol=0, atol=1e-9)


def test_whole_fit_of_a_deep_network_without_clipping():
    shape = dict(num_layers=2, bidirectional=True)
    estimator, model, curve, _, X = fit_both("gru", False, "adamw", None, **shape)
    np.testing.assert_allclose(estimator.loss_curve_[-len(curve) :], curve, rtol=1e-11)
    with torch.no_grad():
        expected = model.head(model.features([torch.tensor(x) for x in X], "last"))
    np.testing.assert_allclose(estimator.predict(X), expected.numpy(), rtol=0, atol=1e-8)


@pytest.mark.parametrize("warmup", [0, 5])
def test_cosine_schedule_is_pytorchs(warmup):
    """Cosine annealing over all updates, here of plain gradient descent without clipping."""
    rng, n, epochs = np.random.default_rng(2), 12, 4
    X, y = rng.standard_normal((n, 4, N_IN)), rng.standard_normal((n, N_OUT))
    estimator = LSTMRegressor(
        3, dtype="float64", solver="sgd", momentum=0.0, alpha=0.0, max_grad_norm=None,
        shuffle=False, learning_rate="cosine", learning_rate_init=0.1, warmup_steps=warmup,
        batch_size=4,        max_iter=epochs, n_iter_no_change=epochs, random_state=0,
    )  # fmt: skip
    estimator.fit(X, y)
    updates = epochs * 3
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, updates)
    rates = []
    for k in range(1, updates + 1):
        rates.append(optimizer.param_groups[0]["lr"] * min(1.0, k / max(warmup, 1)))
        optimizer.step()
        schedule.step()
    np.testing.assert_allclose(estimator.history_["learning_rate"], rates[2::3], rtol=1e-12)


# --- weights both ways ----------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("cell", LAYERS)
def test_weights_move_both_ways(cell, shape, dtype):
    rng, shape = np.random.default_rng(7), SHAPES[shape]
    X = [rng.standard_normal((T, N_IN)).astype(dtype) for T in LENGTHS]
    y = rng.standard_normal((len(X), N_OUT))
    estimator = ESTIMATORS[cell, False](
        9, **shape, max_iter=2, dtype=np.dtype(dtype).name, random_state=0
    ).fit(X, y)

    def predictions(model):
        with torch.no_grad():
            features = model.features([torch.tensor(x).double() for x in X], "last")
            return model.head(features).numpy()

    model = torch_model(cell, 9, **shape)
    state_dict = {name: torch.tensor(value) for name, value in estimator.weights_.items()}
    model.load_state_dict(state_dict, strict=True)
    assert list(state_dict) == list(model.state_dict())
    atol = TOLERANCE[dtype]
    np.testing.assert_allclose(estimator.predict(X), predictions(model), rtol=0, atol=atol)

    other = torch_model(cell, 9, **shape, seed=11)
    estimator.set_weights(other.state_dict())
    np.testing.assert_allclose(estimator.predict(X), predictions(other), rtol=0, atol=atol)


@pytest.mark.parametrize("cell", LAYERS)
def test_predict_with_state_speaks_pytorchs_layout(cell):
    rng = np.random.default_rng(8)
    X = rng.standard_normal((6, 10, N_IN))
    estimator = ESTIMATORS[cell, False](9, num_layers=2, max_iter=1, dtype="float64")
    estimator.fit(X, rng.standard_normal((6, N_OUT)))
    model = torch_model(cell, 9, num_layers=2)
    estimator.set_weights(arrays(model))
    given = [rng.standard_normal((2, 6, 9)) for _ in range(2 if cell == "lstm" else 1)]
    as_pair = tuple if cell == "lstm" else lambda parts: next(iter(parts))
    _, state = estimator.predict_with_state(X, as_pair(given))
    with torch.no_grad():
        states, expected = model(torch.tensor(X), as_pair([torch.tensor(part) for part in given]))
    for ours, theirs in zip(*[s if cell == "lstm" else (s,) for s in (state, expected)], strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=0, atol=1e-12)
    with torch.no_grad():
        states, _ = model(torch.tensor(X))
    np.testing.assert_allclose(estimator.hidden_states(X), states.numpy(), rtol=0, atol=1e-12)
