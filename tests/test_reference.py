"""The oracle itself: known answers, PyTorch (where installed), and every mutant is told apart."""

from __future__ import annotations

import itertools
from math import exp, log, tanh

import numpy as np
import pytest
import reference as ref

LENGTHS = [7, 3, 1, 5]
LAYOUTS = list(itertools.product([1, 2], [False, True]))  # num_layers, bidirectional


def sig(a):
    return 1.0 / (1.0 + exp(-a))


def problem(cell, num_layers=1, bidirectional=False, hidden_size=4, seed=0):
    rng = np.random.default_rng(seed)
    shape = dict(num_layers=num_layers, bidirectional=bidirectional)
    weights = ref.random_weights(rng, cell=cell, n_features=3, hidden_size=hidden_size, n_outputs=2, **shape)
    X = ref.random_sequences(rng, LENGTHS, 3)
    state = ref.random_state(rng, cell=cell, n=len(X), hidden_size=hidden_size, **shape)
    return weights, X, state


# --- known answers, computed with scalars --------------------------------------------------------


def scalar_weights(w_ih, w_hh, b_ih, b_hh):
    """One hidden unit, one feature, a head that passes h on."""
    return {
        "weight_ih_l0": np.array(w_ih)[:, None],
        "weight_hh_l0": np.array(w_hh)[:, None],
        "bias_ih_l0": np.array(b_ih),
        "bias_hh_l0": np.array(b_hh),
        "head.weight": np.ones((1, 1)),
        "head.bias": np.zeros(1),
    }


@pytest.mark.parametrize(
    ("activation", "act"), [("tanh", tanh), ("sigmoid", sig), ("relu", lambda a: max(a, 0.0))]
)
def test_rnn_known_answer(activation, act):
    weights = scalar_weights([0.5], [-0.7], [0.1], [0.2])
    h1 = act(0.5 * 1.5 + 0.1 + 0.2)
    h2 = act(0.5 * -2.0 + 0.1 - 0.7 * h1 + 0.2)
    result = ref.forward(weights, [np.array([[1.5], [-2.0]])], cell="rnn", activation=activation)
    np.testing.assert_allclose(result.hidden[0][:, 0], [h1, h2], rtol=1e-14)
    np.testing.assert_allclose(result.output, [[h2]], rtol=1e-14)
    assert result.state.shape == (1, 1, 1)


def test_lstm_known_answer():
    weights = scalar_weights(
        [0.5, -0.3, 0.8, 0.2], [0.4, 0.6, -0.5, 0.9], [0.1, 1.0, -0.2, 0.3], [0.2, -0.1, 0.4, 0.5]
    )
    h = c = 0.0
    for x in (1.5, -2.0):
        i = sig(0.5 * x + 0.1 + 0.4 * h + 0.2)
        f = sig(-0.3 * x + 1.0 + 0.6 * h - 0.1)
        g = tanh(0.8 * x - 0.2 - 0.5 * h + 0.4)
        o = sig(0.2 * x + 0.3 + 0.9 * h + 0.5)
        c = f * c + i * g
        h = o * tanh(c)
    result = ref.forward(weights, [np.array([[1.5], [-2.0]])], cell="lstm")
    np.testing.assert_allclose(result.output, [[h]], rtol=1e-14)
    np.testing.assert_allclose(result.state, [[[[h]]], [[[c]]]], rtol=1e-14)


@pytest.mark.parametrize("reset_after", [True, False])
def test_gru_known_answer(reset_after):
    weights = scalar_weights([0.5, -0.3, 0.8], [0.4, 0.6, -0.5], [0.1, 1.0, -0.2], [0.2, -0.1, 0.4])
    h = 0.3
    for x in (1.5, -2.0):
        r = sig(0.5 * x + 0.1 + 0.4 * h + 0.2)
        z = sig(-0.3 * x + 1.0 + 0.6 * h - 0.1)
        if reset_after:
            n = tanh(0.8 * x - 0.2 + r * (-0.5 * h + 0.4))
            h = (1 - z) * n + z * h
        else:
            n = tanh(0.8 * x - 0.5 * (r * h) - 0.2 + 0.4)
            h = (1 - z) * h + z * n
    result = ref.forward(
        weights,
        [np.array([[1.5], [-2.0]])],
        cell="gru",
        reset_after=reset_after,
        initial_state=np.full((1, 1, 1), 0.3),
    )
    np.testing.assert_allclose(result.output, [[h]], rtol=1e-14)


def test_bidirectional_poolings_are_aligned_to_time():
    """The reverse direction equals a forward run over the reversed sequence, turned round."""
    weights, X, _ = problem("gru", bidirectional=True)
    kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    alone = {f"{kind}_l0": weights[f"{kind}_l0_reverse"] for kind in kinds}
    alone |= {"head.weight": np.eye(4), "head.bias": np.zeros(4)}
    both = weights | {"head.weight": np.eye(8), "head.bias": np.zeros(8)}
    run = {
        pooling: ref.forward(both, X, cell="gru", bidirectional=True, pooling=pooling)
        for pooling in ("last", "mean", "max")
    }
    for s, x in enumerate(X):
        turned = ref.forward(alone, [x[::-1]], cell="gru").hidden[0][::-1]
        states = run["last"].hidden[s]
        np.testing.assert_array_equal(states[:, 4:], turned)
        ends = np.concatenate([states[-1, :4], states[0, 4:]])
        np.testing.assert_allclose(run["last"].output[s], ends, rtol=1e-14)
        np.testing.assert_allclose(run["mean"].output[s], states.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(run["max"].output[s], states.max(axis=0), rtol=1e-14)


def test_masks():
    """A recurrent mask acts as weight_hh with scaled columns, a layer mask as a scaled input."""
    weights, X, state = problem("lstm", num_layers=2)
    rng = np.random.default_rng(1)
    unit = rng.integers(0, 2, 4) * 2.0
    n, H = len(X), 4
    masked = ref.forward(
        weights,
        X,
        cell="lstm",
        num_layers=2,
        initial_state=state,
        recurrent_mask=np.stack([np.tile(unit, (n, 1)), np.ones((n, H))]),
        layer_mask=np.tile(unit[::-1], (1, n, 1)),
    )
    scaled = dict(weights)
    scaled["weight_hh_l0"] = weights["weight_hh_l0"] * unit
    scaled["weight_ih_l1"] = weights["weight_ih_l1"] * unit[::-1]
    expected = ref.forward(scaled, X, cell="lstm", num_layers=2, initial_state=state)
    np.testing.assert_allclose(masked.output, expected.output, rtol=1e-12)


def test_losses_known_answers():
    z, y, w = np.array([[1.0, -2.0], [0.5, 3.0]]), np.array([[0.0, 1.0], [1.0, 0.0]]), [1.0, 3.0]
    rows = {
        "squared_error": [(1 + 9) / 2, (0.25 + 9) / 2],
        "absolute_error": [(1 + 3) / 2, (0.5 + 3) / 2],
        "huber": [(0.5 + 2.5) / 2, (0.125 + 2.5) / 2],
        "poisson": [(exp(1) + exp(-2) + 2) / 2, (exp(0.5) - 0.5 + exp(3)) / 2],
        "log_loss_multilabel": [
            -(log(1 - sig(1)) + log(sig(-2))) / 2,
            -(log(sig(0.5)) + log(1 - sig(3))) / 2,
        ],
    }
    for name, (a, b) in rows.items():
        assert ref.losses(name, z, y, w) == pytest.approx((a + 3 * b) / 4, rel=1e-12), name
    binary = -(log(sig(1)) + 3 * log(1 - sig(-2))) / 4
    assert ref.losses("log_loss_binary", [1.0, -2.0], [1, 0], w) == pytest.approx(binary)
    probability = exp(-2) / (exp(1) + exp(-2)), exp(0.5) / (exp(0.5) + exp(3))
    multiclass = -(log(probability[0]) + 3 * log(probability[1])) / 4
    assert ref.losses("log_loss_multiclass", z, [1, 0], w) == pytest.approx(multiclass)


def test_loss_leaves_out_steps_of_weight_zero():
    z, y = [np.ones((2, 1)), np.zeros((1, 1))], [np.array([3.0, np.nan]), np.array([1.0])]
    w = [np.array([1.0, 0.0]), np.array([3.0])]
    assert ref.losses("squared_error", z, y, w) == pytest.approx((4 + 3 * 1) / 4)


# --- mutants -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "reset_after"), [("rnn", True), ("lstm", True), ("gru", True), ("gru", False)]
)
@pytest.mark.parametrize(("num_layers", "bidirectional"), LAYOUTS)
@pytest.mark.parametrize("head", ["last", "mean", "max", "steps"])
def test_mutants_change_the_output(cell, reset_after, num_layers, bidirectional, head):
    weights, X, state = problem(cell, num_layers, bidirectional)
    h = state[0] if cell == "lstm" else state
    options = dict(
        cell=cell,
        reset_after=reset_after,
        num_layers=num_layers,
        bidirectional=bidirectional,
        return_sequences=head == "steps",
        pooling="last" if head == "steps" else head,
        initial_state=state,
        recurrent_mask=np.random.default_rng(2).integers(0, 2, h.shape) * 2.0,
    )

    def run(mutant=None):
        output = ref.forward(weights, X, **options, mutant=mutant).output
        return np.concatenate([np.atleast_2d(row) for row in output])

    right = run()
    for mutant, applies in ref.MUTANTS.items():
        difference = np.max(np.abs(run(mutant) - right))
        if applies(options):
            assert difference > 1e-3, mutant
        elif mutant != "reverse_not_aligned":  # whose other cases only sum in another order
            assert difference == 0.0, mutant
        else:
            assert difference < 1e-12, mutant


# --- PyTorch -------------------------------------------------------------------------------------


def torch_forward(torch, weights, X, state, *, cell, num_layers, bidirectional, activation="tanh"):
    """Packed, unsorted, float64. -> head inputs (packed states, last states), h, c, module."""
    H, F = weights["weight_hh_l0"].shape[1], X[0].shape[1]
    shape = dict(num_layers=num_layers, bidirectional=bidirectional, batch_first=True)
    if cell == "rnn":
        module = torch.nn.RNN(F, H, nonlinearity=activation, **shape)
    else:
        module = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell](F, H, **shape)
    module.double()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(torch.from_numpy(weights[name]))
    packed = torch.nn.utils.rnn.pack_sequence([torch.from_numpy(x) for x in X], enforce_sorted=False)
    start = tuple(map(torch.from_numpy, state)) if cell == "lstm" else torch.from_numpy(state)
    states, end = module(packed, start)
    states = torch.nn.utils.rnn.unpack_sequence(states)
    return module, states, end


@pytest.mark.parametrize(
    ("cell", "activation"), [("rnn", "tanh"), ("rnn", "relu"), ("lstm", "tanh"), ("gru", "tanh")]
)
@pytest.mark.parametrize(("num_layers", "bidirectional"), LAYOUTS)
@pytest.mark.parametrize("head", ["last", "mean", "max", "steps"])
def test_against_pytorch(cell, activation, num_layers, bidirectional, head):
    """Outputs, states, and the gradients of the oracle by central differences."""
    torch = pytest.importorskip("torch")
    weights, X, state = problem(cell, num_layers, bidirectional, hidden_size=3, seed=3)
    y = [np.ones((T, 2)) for T in LENGTHS] if head == "steps" else np.ones((len(X), 2))
    w = [1.0, 2.0, 0.5, 3.0]
    if head == "steps":
        w = [np.full(T, weight) for T, weight in zip(LENGTHS, w, strict=True)]
    shape = dict(cell=cell, num_layers=num_layers, bidirectional=bidirectional)
    options = dict(
        shape,
        activation=activation,
        pooling="last" if head == "steps" else head,
        return_sequences=head == "steps",
        initial_state=state,
    )

    module, states, end = torch_forward(torch, weights, X, state, activation=activation, **shape)
    h = end[0] if cell == "lstm" else end
    if head == "steps":
        pooled = torch.cat(states)
    elif head == "last":
        pooled = torch.cat([h[-2], h[-1]], dim=1) if bidirectional else h[-1]
    else:
        reduce = (lambda s: s.mean(0)) if head == "mean" else (lambda s: s.max(0).values)
        pooled = torch.stack([reduce(s) for s in states])
    output = pooled @ torch.from_numpy(weights["head.weight"]).T
    output = output + torch.from_numpy(weights["head.bias"])

    result = ref.forward(weights, X, **options)
    expected = output.detach().numpy()
    flat = np.concatenate(result.output) if head == "steps" else result.output
    np.testing.assert_allclose(flat, expected, rtol=0, atol=1e-13)
    np.testing.assert_allclose(np.concatenate(result.hidden), torch.cat(states).detach(), rtol=0, atol=1e-13)
    ends = result.state if cell == "lstm" else [result.state]
    for ours, theirs in zip(ends, end if cell == "lstm" else [end], strict=True):
        np.testing.assert_allclose(ours, theirs.detach(), rtol=0, atol=1e-13)

    steps = torch.from_numpy(np.concatenate(w) if head == "steps" else np.array(w))
    loss = (steps * ((output - 1.0) ** 2).mean(dim=1)).sum() / steps.sum()
    loss.backward()
    assert ref.losses("squared_error", result.output, y, w) == pytest.approx(loss.item())
    suffix = f"l{num_layers - 1}" + ("_reverse" if bidirectional else "")
    for name in ("weight_ih_l0", f"weight_hh_{suffix}", f"bias_hh_{suffix}"):
        numeric = ref.central_differences(
            lambda: ref.losses("squared_error", ref.forward(weights, X, **options).output, y, w),
            weights[name],
        )
        exact = module.get_parameter(name).grad.numpy()
        atol = 1e-8 * max(1.0, np.max(np.abs(exact)))
        np.testing.assert_allclose(numeric, exact, rtol=0, atol=atol, err_msg=name)


def test_losses_against_pytorch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(4)
    z, y = rng.standard_normal((6, 3)), rng.standard_normal((6, 3))
    labels, classes, counts = rng.integers(0, 2, (6, 3)), rng.integers(0, 3, 6), rng.poisson(2, 6)
    F, t = torch.nn.functional, torch.from_numpy
    pairs = [
        ("squared_error", y, F.mse_loss(t(z), t(y)), {}),
        ("absolute_error", y, F.l1_loss(t(z), t(y)), {}),
        ("huber", y, F.huber_loss(t(z), t(y), delta=0.4), {"delta": 0.4}),
        ("log_loss_multiclass", classes, F.cross_entropy(t(z), t(classes)), {}),
        (
            "log_loss_multilabel",
            labels,
            F.binary_cross_entropy_with_logits(t(z), t(labels).double()),
            {},
        ),
    ]
    for name, target, expected, options in pairs:
        assert ref.losses(name, z, target, **options) == pytest.approx(expected.item()), name
    expected = F.poisson_nll_loss(t(z[:, 0]), t(counts).double(), log_input=True)
    assert ref.losses("poisson", z[:, :1], counts) == pytest.approx(expected.item())
    expected = F.binary_cross_entropy_with_logits(t(z[:, 0]), t(labels[:, 0]).double())
    assert ref.losses("log_loss_binary", z[:, 0], labels[:, 0]) == pytest.approx(expected.item())
