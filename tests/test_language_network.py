"""The network of language models: gradients, PyTorch's, the GPU's; and probabilities, by enumeration."""

from itertools import product

import gpu
import numpy as np
import pytest
from passes import check_gradients, random_weights, trained

from skrnn import inference
from skrnn.losses import multiclass_log_loss
from skrnn.recipe import language_network
from skrnn.sequences import Sequences, Targets

FLOAT, V = np.dtype(np.float64), 6
rng = np.random.default_rng(0)
LENGTHS = [3, 1, 5, 5, 2]
SEQUENCES = Sequences.from_tokens([rng.integers(0, V, n) for n in LENGTHS], FLOAT)
NEXT = Targets(rng.integers(0, V, (sum(LENGTHS), 1)).astype(np.int32))
OPTIONS = {
    "plain": {},
    "two layers": {"num_layers": 2, "cell": "gru", "reset_after": False},
    "tied": {"tie_weights": True, "embedding_size": 4},
    "tied, narrower": {"tie_weights": True, "embedding_size": 3, "cell": "rnn"},
    "dropout": {"tie_weights": True, "embedding_size": 3, "dropout": 0.4, "num_layers": 2},
    "of tokens": {"embedding_dropout": 0.4, "recurrent_dropout": 0.3},
}


def links_of(options, device="cpu"):
    given = {"cell": "lstm", "hidden_size": 4, "embedding_size": 3} | options

    def links(backend):
        return language_network(V, dtype=FLOAT, device=device, **given).links

    return links


@pytest.mark.parametrize("options", OPTIONS)
def test_gradients_are_central_differences(options):
    links = links_of(OPTIONS[options])
    check_gradients(links, random_weights(links), SEQUENCES, NEXT, loss=multiclass_log_loss, dropout_seed=5)


@pytest.mark.parametrize("options", ["plain", "two layers", "tied", "tied, narrower"])
def test_pytorch_has_the_same_loss_and_gradients(options):
    torch = pytest.importorskip("torch")
    given = {"cell": "lstm", "embedding_size": 3, "num_layers": 1} | OPTIONS[options] | {"reset_after": True}
    links = links_of(given)
    weights = random_weights(links)
    value, gradients = trained(links, weights, SEQUENCES, NEXT, loss=multiclass_log_loss)

    parameters = {
        name: torch.tensor(array, requires_grad=True, dtype=torch.float64) for name, array in weights.items()
    }
    size, kind = given["embedding_size"], {"rnn": "RNN", "lstm": "LSTM", "gru": "GRU"}[given["cell"]]
    layer = getattr(torch.nn, kind)(size, 4, given["num_layers"], batch_first=True, dtype=torch.float64)
    table = parameters.get("embedding.weight", parameters["head.weight"])
    texts = torch.tensor(SEQUENCES.tokens[:, 0], dtype=torch.long).split(LENGTHS)
    losses = []
    for text, after in zip(texts, torch.tensor(NEXT.values[:, 0], dtype=torch.long).split(LENGTHS)):
        own = {name: parameters[name] for name, _ in layer.named_parameters()}
        states = torch.func.functional_call(layer, own, (table[text][None],))[0][0]
        if "projection.weight" in parameters:
            states = states @ parameters["projection.weight"].T + parameters["projection.bias"]
        scores = states @ parameters["head.weight"].T + parameters["head.bias"]
        losses.append(torch.nn.functional.cross_entropy(scores, after, reduction="none"))
    loss = torch.cat(losses).mean()
    loss.backward()
    np.testing.assert_allclose(value, loss.item(), rtol=1e-12)
    assert weights.keys() == gradients.keys()
    for name, parameter in parameters.items():
        np.testing.assert_allclose(gradients[name], parameter.grad, rtol=0, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("device", [pytest.param("cuda", marks=gpu.needs_gpu)])
@pytest.mark.parametrize("options", OPTIONS)
def test_a_gpu_has_the_same(options, device):
    weights = random_weights(links_of(OPTIONS[options]))
    here, there = (
        trained(links_of(OPTIONS[options], where), weights, SEQUENCES, NEXT, device=where, dropout_seed=5,
                loss=multiclass_log_loss)
        for where in ("cpu", device)
    )  # fmt: skip
    np.testing.assert_allclose(there[0], here[0], rtol=1e-10)
    for name, gradient in here[1].items():
        np.testing.assert_allclose(there[1][name], gradient, rtol=0, atol=1e-10, err_msg=name)


@pytest.mark.parametrize("options", ["plain", "tied"])
def test_threads_do_not_change_bits(options):
    weights = random_weights(links_of(OPTIONS[options]))
    (one, alone), (two, shared) = (
        trained(links_of(OPTIONS[options]), weights, SEQUENCES, NEXT, loss=multiclass_log_loss, n_threads=n)
        for n in (1, 2)
    )
    assert one == two
    for name, gradient in alone.items():
        np.testing.assert_array_equal(shared[name], gradient, err_msg=name)


@pytest.mark.parametrize("options", ["plain", "two layers", "tied, narrower"])
def test_texts_have_the_probability_one_together(options):
    """All of three tokens; and their mean log-likelihood is minus the entropy that enumeration finds."""
    given = {"cell": "lstm", "hidden_size": 4, "embedding_size": 3} | OPTIONS[options]
    network = language_network(V, dtype=FLOAT, **given)
    params = network.pack(random_weights(links_of(OPTIONS[options])))
    texts = np.array(list(product(range(V), repeat=3)))
    read = np.concatenate([np.zeros((len(texts), 1), int), texts[:, :-1]], axis=1)
    found, _ = inference.run(
        network, params, Sequences.from_tokens(list(read), FLOAT),
        log_prob=Targets(texts.reshape(-1, 1).astype(np.int32)),
    )  # fmt: skip
    of_each = found.reshape(len(texts), 3).sum(axis=1)
    np.testing.assert_allclose(np.exp(of_each).sum(), 1, rtol=1e-12)
    scores, _ = inference.run(network, params, Sequences.from_tokens([np.array([0, 2, 5])], FLOAT))
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    k = texts.tolist().index([2, 5, 1])
    np.testing.assert_allclose(np.exp(of_each[k]), p[0, 2] * p[1, 5] * p[2, 1], rtol=1e-12)
