"""The network of an encoder-decoder of forecasts: gradients, PyTorch's, the GPU's, and step by step."""

import gpu
import numpy as np
import pytest
from passes import check_gradients, random_weights, trained

from skrnn import backends, inference
from skrnn.inference import PairStepper
from skrnn.losses import quantile
from skrnn.recipe import forecast_network
from skrnn.sequences import Sequences, Targets

FLOAT, N_HISTORY, N_IN, N_OUT, H, STEPS = np.dtype(np.float64), 3, 2, 3, 4, 5
rng = np.random.default_rng(0)
HISTORIES = [rng.standard_normal((n, N_HISTORY)) for n in (4, 1, 6, 3)]
AHEAD = [rng.standard_normal((STEPS, N_IN)) for _ in HISTORIES]
Y = rng.standard_normal((len(AHEAD), STEPS * N_OUT))
WINDOWS = [rng.standard_normal((4, N_HISTORY)) for _ in HISTORIES]
READ = Sequences.from_arrays(AHEAD)
OPTIONS = {
    "rnn": {"attention": False},
    "lstm": {"cell": "lstm", "linear_skip": True},
    "gru": {"cell": "gru", "num_layers": 2},
    "window": {"cell": "lstm", "linear_skip": True, "window": 4, "attention": False},
    "both ways": {"cell": "lstm", "bidirectional": True, "num_layers": 2},
    "dropout": {
        "cell": "gru", "reset_after": False, "num_layers": 2, "dropout": 0.4, "recurrent_dropout": 0.3,
        "head_dropout": 0.2,
    },
}  # fmt: skip


def network_of(options, n_steps=STEPS, **more):
    given = {"hidden_size": H, "dtype": FLOAT} | OPTIONS[options] | more
    return forecast_network(N_HISTORY, N_IN, N_OUT, n_steps, **given)


def links_of(options, device="cpu"):
    return lambda backend: network_of(options, device=device).links


def histories_of(options):
    return WINDOWS if "window" in OPTIONS[options] else HISTORIES


def mates_of(options):
    return Sequences.from_arrays(histories_of(options))


def minibatch(options, weights, device="cpu", **more):
    own = {"mates": mates_of(options), "device": device, "dropout_seed": 5} | more
    return trained(links_of(options, device), weights, READ, Targets(Y), **own)


@pytest.mark.parametrize("options", OPTIONS)
def test_gradients_are_central_differences(options):
    links, of_quantiles = links_of(options), options == "gru"
    y = Targets(np.ascontiguousarray(Y[:, :STEPS])) if of_quantiles else Targets(Y)
    loss = quantile([0.1, 0.5, 0.9]) if of_quantiles else None  # which are the three outputs of a step
    weights = random_weights(links, N_IN)
    gradients = check_gradients(links, weights, READ, y, mates=mates_of(options), loss=loss, dropout_seed=5)
    assert all(np.abs(gradient).max() > 0 for gradient in gradients.values())


@pytest.mark.parametrize("options", ["rnn", "lstm", "gru", "window", "both ways"])
def test_pytorch_has_the_same_loss_and_gradients(options):
    torch = pytest.importorskip("torch")
    given = {"cell": "rnn", "num_layers": 1, "bidirectional": False, "attention": True} | OPTIONS[options]
    weights = random_weights(links_of(options), N_IN)
    value, gradients = minibatch(options, weights, dropout_seed=None)
    W = {name: torch.tensor(array, requires_grad=True) for name, array in weights.items()}
    kind, n, directions = getattr(torch.nn, given["cell"].upper()), given["num_layers"], 1
    if given["bidirectional"]:
        directions = 2
    sizes = {"num_layers": n, "batch_first": True, "dtype": torch.float64}
    encoder = kind(N_HISTORY, H // directions, bidirectional=directions == 2, **sizes)
    decoder = kind(N_IN, H, **sizes)

    def run(layers, name, X, *first):
        own = {key: W[f"{name}.{key}"] for key, _ in layers.named_parameters()}
        return torch.func.functional_call(layers, own, (torch.tensor(X)[None], *first))

    def joined(state):  # of directions, side by side
        return state.reshape(n, directions, 1, -1).permute(0, 2, 1, 3).reshape(n, 1, -1).contiguous()

    losses = []
    for history, ahead, y in zip(histories_of(options), AHEAD, Y):
        memory, last = run(encoder, "encoder", history)
        first = tuple(map(joined, last)) if given["cell"] == "lstm" else joined(last)
        states, memory = run(decoder, "decoder", ahead, first)[0][0], memory[0]
        if given["attention"]:
            context = torch.softmax(states @ memory.T, dim=1) @ memory
            both = torch.cat([context, states], dim=1)
            states = torch.tanh(both @ W["attention.weight"].T + W["attention.bias"])
        out = states @ W["head.weight"].T + W["head.bias"]
        if "skip.weight" in W:
            out = out + torch.tensor(ahead) @ W["skip.weight"].T
        out = out.reshape(-1)
        if "direct.weight" in W:
            out = out + W["direct.weight"] @ torch.tensor(history.reshape(-1))
        losses.append(((out - torch.tensor(y)) ** 2).mean())
    loss = torch.stack(losses).mean()
    loss.backward()
    np.testing.assert_allclose(value, loss.item(), rtol=1e-12)
    assert gradients.keys() == W.keys()
    for name, parameter in W.items():
        np.testing.assert_allclose(gradients[name], parameter.grad, rtol=0, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("device", [pytest.param("cuda", marks=gpu.needs_gpu)])
@pytest.mark.parametrize("options", OPTIONS)
def test_a_gpu_has_the_same(options, device):
    weights = random_weights(links_of(options), N_IN)
    here, there = (minibatch(options, weights, where) for where in ("cpu", device))
    np.testing.assert_allclose(there[0], here[0], rtol=1e-10)
    for name, gradient in here[1].items():
        np.testing.assert_allclose(there[1][name], gradient, rtol=0, atol=1e-10, err_msg=name)


@pytest.mark.parametrize("options", ["lstm", "dropout"])
def test_threads_do_not_change_bits(options):
    weights = random_weights(links_of(options), N_IN)
    (one, alone), (two, shared) = (minibatch(options, weights, n_threads=n) for n in (1, 2))
    assert one == two
    for name, gradient in alone.items():
        np.testing.assert_array_equal(shared[name], gradient, err_msg=name)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=gpu.needs_gpu)])
@pytest.mark.parametrize("options", [name for name in OPTIONS if name != "window"])
def test_step_by_step_as_all_at_once(options, device):
    """With the same weights, to the bit on the CPU; also of one pair among others, in another order."""
    weights = random_weights(links_of(options), N_IN)
    network, mates = network_of(options), mates_of(options)
    whole, _ = inference.run(network, network.pack(weights), READ, mates=mates)
    whole = whole.reshape(-1, STEPS, N_OUT)
    with backends.turn(device):
        stepwise = network_of(options, 1, device=device)
        params = stepwise.pack(weights)
        for pairs in [0, 1, 2, 3], [2], [3, 1]:
            stepper = PairStepper(stepwise, params, mates.take(pairs))
            for k in range(STEPS):
                stepper.x[:] = [AHEAD[i][k] for i in pairs]
                stepper.advance()
                if device == "cpu":
                    np.testing.assert_array_equal(stepper.out, whole[pairs, k])
                else:
                    np.testing.assert_allclose(stepper.out, whole[pairs, k], rtol=0, atol=1e-12)
