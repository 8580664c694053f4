"""The network of translators: gradients, PyTorch's, the GPU's, and a pair alone or among others."""

import gpu
import numpy as np
import pytest
from passes import check_gradients, random_weights, trained

from skrnn import backends, inference
from skrnn.losses import multiclass_log_loss, smoothed_log_loss
from skrnn.network import Network
from skrnn.recipe import translation_network
from skrnn.sequences import Sequences, Targets

FLOAT, V_SOURCE, V, H = np.dtype(np.float64), 5, 6, 4
rng = np.random.default_rng(0)
SOURCES = [rng.integers(0, V_SOURCE, n) for n in (4, 1, 6, 3, 4)]
TARGETS = [rng.integers(0, V, n) for n in (2, 5, 1, 5, 3)]
AFTER = rng.integers(0, V, 16)
Y, READ = Targets(AFTER.astype(np.int32)[:, None]), Sequences.from_tokens(TARGETS, FLOAT)
MATES = Sequences.from_tokens(SOURCES, FLOAT)
OPTIONS = {
    "general": {"attention": "general"},
    "dot": {"attention": "dot", "cell": "gru", "num_layers": 2},
    "none": {"attention": None, "cell": "rnn"},
    "one direction": {"bidirectional": False, "cell": "gru", "reset_after": False},
    "tied": {"tie_weights": True, "embedding_size": 4},
    "tied, narrower": {"tie_weights": True},
    "tied, narrower, none": {"tie_weights": True, "attention": None, "cell": "gru"},
    "dropout": {"dropout": 0.4, "num_layers": 2, "attention": "general", "cell": "gru"},
    "of tokens": {"embedding_dropout": 0.4, "recurrent_dropout": 0.3},
}


def links_of(options, device="cpu"):
    given = {"cell": "lstm", "hidden_size": H, "embedding_size": 3} | options

    def links(backend):
        return translation_network(V_SOURCE, V, dtype=FLOAT, device=device, **given).links

    return links


def minibatch(options, weights, device="cpu", **more):
    given = {"loss": multiclass_log_loss, "mates": MATES, "dropout_seed": 5} | more
    return trained(links_of(OPTIONS[options], device), weights, READ, Y, device=device, **given)


@pytest.mark.parametrize("options", OPTIONS)
def test_gradients_are_central_differences(options):
    links = links_of(OPTIONS[options])
    gradients = check_gradients(
        links, random_weights(links), READ, Y, mates=MATES, loss=smoothed_log_loss(0.2), dropout_seed=5
    )
    assert all(np.abs(gradient).max() > 0 for gradient in gradients.values())


def in_pytorch(torch, options, weights, smoothing):
    """Mean loss and gradients, pair by pair."""
    given = {"cell": "lstm", "num_layers": 1, "bidirectional": True, "attention": "dot"} | options
    directions, n = 1 + given["bidirectional"], given["num_layers"]
    W = {name: torch.tensor(array, requires_grad=True) for name, array in weights.items()}
    kind = getattr(torch.nn, given["cell"].upper())
    table = W.get("decoder.embedding.weight", W["head.weight"])
    size = table.shape[1]
    encoder = kind(
        size, H // directions, n, batch_first=True, bidirectional=directions == 2, dtype=torch.float64
    )
    decoder = kind(size, H, n, batch_first=True, dtype=torch.float64)

    def run(layers, name, *inputs):
        own = {key: W[f"{name}.{key}"] for key, _ in layers.named_parameters()}
        return torch.func.functional_call(layers, own, inputs)

    def joined(state):  # of directions, side by side
        return state.reshape(n, directions, 1, -1).permute(0, 2, 1, 3).reshape(n, 1, -1).contiguous()

    losses = []
    for source, target, after in zip(SOURCES, TARGETS, np.split(AFTER, np.cumsum([*map(len, TARGETS)])[:-1])):
        memory, last = run(encoder, "encoder", W["encoder.embedding.weight"][source][None])
        first = tuple(map(joined, last)) if given["cell"] == "lstm" else joined(last)
        states, memory = run(decoder, "decoder", table[target][None], first)[0][0], memory[0]
        if given["attention"] is not None:
            keys = memory @ W["attention.keys.weight"].T if given["attention"] == "general" else memory
            context = torch.softmax(states @ keys.T, dim=1) @ memory
            both = torch.cat([context, states], dim=1)
            states = torch.tanh(both @ W["attention.weight"].T + W["attention.bias"])
        elif "projection.weight" in W:
            states = states @ W["projection.weight"].T + W["projection.bias"]
        scores = states @ W["head.weight"].T + W["head.bias"]
        losses.append(
            torch.nn.functional.cross_entropy(
                scores, torch.tensor(after), reduction="none", label_smoothing=smoothing
            )
        )
    loss = torch.cat(losses).mean()
    loss.backward()
    return loss.item(), {name: parameter.grad.numpy() for name, parameter in W.items()}


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(
    "options", ["general", "dot", "none", "tied", "tied, narrower", "tied, narrower, none"]
)
def test_pytorch_has_the_same_loss_and_gradients(options, smoothing):
    torch = pytest.importorskip("torch")
    weights = random_weights(links_of(OPTIONS[options]))
    value, gradients = minibatch(options, weights, loss=smoothed_log_loss(smoothing), dropout_seed=None)
    expected, others = in_pytorch(torch, OPTIONS[options], weights, smoothing)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    assert gradients.keys() == others.keys()
    for name, gradient in others.items():
        np.testing.assert_allclose(gradients[name], gradient, rtol=0, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("device", [pytest.param("cuda", marks=gpu.needs_gpu)])
@pytest.mark.parametrize("options", OPTIONS)
def test_a_gpu_has_the_same(options, device):
    weights = random_weights(links_of(OPTIONS[options]))
    here, there = (
        minibatch(options, weights, where, loss=smoothed_log_loss(0.1)) for where in ("cpu", device)
    )
    np.testing.assert_allclose(there[0], here[0], rtol=1e-10)
    for name, gradient in here[1].items():
        np.testing.assert_allclose(there[1][name], gradient, rtol=0, atol=1e-10, err_msg=name)


@pytest.mark.parametrize("options", ["general", "dot", "dropout"])
def test_threads_do_not_change_bits(options):
    weights = random_weights(links_of(OPTIONS[options]))
    (one, alone), (two, shared) = (minibatch(options, weights, n_threads=n) for n in (1, 2))
    assert one == two
    for name, gradient in alone.items():
        np.testing.assert_array_equal(shared[name], gradient, err_msg=name)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_key", [1, 7, 16, 33])
def test_a_pair_is_answered_the_same_alone_or_among_others(n_key, dtype):
    """Outputs and weights, to the bit, of any width; and weights are those of the textbook."""
    network = translation_network(
        V_SOURCE, V, cell="gru", hidden_size=n_key, bidirectional=False, attention="general", dtype=dtype
    )
    draw = np.random.default_rng(2)
    weights = {
        name: draw.standard_normal(shape).astype(dtype) for name, shape in network.parameters.shapes().items()
    }
    params = network.pack(weights)
    read, mates = Sequences.from_tokens(TARGETS, dtype), Sequences.from_tokens(SOURCES, dtype)
    found = {}
    for wanted in "outputs", "alignment", "states":
        found[wanted], _ = inference.run(network, params, read, mates=mates, wanted=wanted)
    memories = memories_of(weights, n_key, dtype)
    for i, of in enumerate(np.split(np.arange(16), read.offsets[1:-1])):
        for wanted in "outputs", "alignment":
            alone, _ = inference.run(network, params, read.take([i]), mates=mates.take([i]), wanted=wanted)
            np.testing.assert_array_equal(alone, found[wanted][of][:, : alone.shape[1]])
            assert not found["alignment"][of][:, len(SOURCES[i]) :].any()
        keys = memories[i] @ weights["attention.keys.weight"].T
        scores = found["states"][of].astype(np.float64) @ keys.T
        expected = np.exp(scores - scores.max(axis=1, keepdims=True))
        expected /= expected.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(
            found["alignment"][of][:, : len(SOURCES[i])],
            expected,
            atol=2e-5 if dtype == np.float32 else 1e-12,
        )


def memories_of(weights, H, dtype):
    """The encoder's states of each source, by PyTorch's equations of the GRU, in float64."""
    W, U, b, c = (
        weights[f"encoder.{name}_l0"].astype(np.float64)
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    found = []
    for source in SOURCES:
        h, states = np.zeros(H), []
        for x in weights["encoder.embedding.weight"][source].astype(np.float64):
            (r_x, z_x, n_x), (r_h, z_h, n_h) = np.split(W @ x + b, 3), np.split(U @ h + c, 3)
            r, z = 1 / (1 + np.exp(-r_x - r_h)), 1 / (1 + np.exp(-z_x - z_h))
            h = (1 - z) * np.tanh(n_x + r * n_h) + z * h
            states.append(h)
        found.append(np.array(states))
    return found


def test_sides_are_not_mixed_up():
    links = list(links_of(OPTIONS["dot"])(backends.get("cpu")))
    attention = next(link for link in links if link.name == "context")
    attention.reads = (attention.reads[1], *attention.reads[1:])
    with pytest.raises(ValueError, match="'context' mixes up the sides of pairs"):
        Network(0, links, dtype=FLOAT)
