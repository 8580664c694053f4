"""Two sides of different lengths in one minibatch, and first states that links make."""

import gpu
import numpy as np
import pytest
from passes import check_gradients, random_weights, trained

from skrnn import backends, inference
from skrnn.batches import Jobs
from skrnn.history import Progress
from skrnn.links import Dense, Embedding, Last, Mate, Pool, Recurrent, Softmax
from skrnn.losses import multiclass_log_loss as LOSS
from skrnn.network import Network
from skrnn.optimizers import SetUp
from skrnn.recording import INPUT, MATE_INPUT, MATE_TOKENS
from skrnn.sequences import Sequences, Targets
from skrnn.training import Data, Settings, Trainer

FLOAT = np.dtype(np.float64)
N_IN, N_MATE, H, V = 2, 3, 3, 7
rng = np.random.default_rng(0)
MINE = [rng.standard_normal((n, N_IN)) for n in (2, 5, 1, 5, 3)]
THEIRS = [rng.standard_normal((n, N_MATE)) for n in (4, 1, 6, 3, 4)]
Y = rng.standard_normal((5, 2))
ON_GPU = pytest.param("cuda", marks=gpu.needs_gpu)


def encoder_decoder(cell, directions=1, only_h=False, pool=False):
    """From a backend to links: the encoder's last states, through linear maps, begin the decoder."""
    states = ["h", "c"] if cell == "lstm" and not only_h else ["h"]

    def links(backend):
        D = H * directions
        made = [
            Recurrent(
                backend, FLOAT, "encoder", MATE_INPUT, "_encoder", cell, N_MATE, H + 1, directions=directions
            )
        ]
        width = (H + 1) * directions
        for state in states:
            made += [
                Last(f"encoder's {state}", "encoder", width, cell=state == "c"),
                Dense(
                    backend, FLOAT, f"bridged {state}", {f"bridge_{state}": (f"encoder's {state}", width)}, D
                ),
                Mate(f"mate's {state}", f"bridged {state}", D),
            ]
        first = [f"mate's {state}" for state in states]
        made += [
            Recurrent(
                backend,
                FLOAT,
                "decoder",
                INPUT,
                "_decoder",
                cell,
                N_IN,
                H,
                directions=directions,
                first=first,
            ),
            Pool("pooled", "decoder", D, "mean") if pool else Last("pooled", "decoder", D),
            Dense(backend, FLOAT, "out", {"head": ("pooled", D)}, 2),
        ]
        return made

    return links


KINDS = [
    ("rnn", 1, False, False),
    ("gru", 2, False, True),
    ("lstm", 1, False, False),
    ("lstm", 2, False, True),
    ("lstm", 1, True, False),
]


def pairs(of=slice(None)):
    return Sequences.from_arrays(MINE[of]), Sequences.from_arrays(THEIRS[of])


@pytest.mark.parametrize(("cell", "directions", "only_h", "pool"), KINDS)
def test_gradients_reach_the_other_side(cell, directions, only_h, pool):
    links = encoder_decoder(cell, directions, only_h, pool)
    mine, theirs = pairs()
    gradients = check_gradients(links, random_weights(links, N_IN), mine, Targets(Y), mates=theirs)
    assert all(np.abs(gradient).max() > 0 for gradient in gradients.values())


@pytest.mark.parametrize("device", [ON_GPU])
@pytest.mark.parametrize(("cell", "directions", "only_h", "pool"), KINDS)
def test_both_backends_agree(cell, directions, only_h, pool, device):
    links = encoder_decoder(cell, directions, only_h, pool)
    weights, (mine, theirs) = random_weights(links, N_IN), pairs()
    value, gradients = trained(links, weights, mine, Targets(Y), mates=theirs)
    other, others = trained(links, weights, mine, Targets(Y), mates=theirs, device=device)
    np.testing.assert_allclose(other, value, rtol=1e-10)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(others[name], gradient, rtol=0, atol=1e-10, err_msg=name)


@pytest.mark.parametrize(("cell", "directions", "only_h", "pool"), KINDS)
def test_a_pair_is_answered_the_same_alone_or_among_others(cell, directions, only_h, pool):
    from skrnn import backends

    links = encoder_decoder(cell, directions, only_h, pool)
    network = Network(N_IN, links(backends.get("cpu")), dtype=FLOAT)
    params, (mine, theirs) = network.pack(random_weights(links, N_IN)), pairs()
    together, _ = inference.run(network, params, mine, mates=theirs)
    for i in range(len(mine)):
        alone, _ = inference.run(network, params, mine.take([i]), mates=theirs.take([i]))
        np.testing.assert_array_equal(alone[0], together[i])
    # and not that of another mate
    swapped, _ = inference.run(network, params, mine, mates=theirs.take([1, 0, 2, 3, 4]))
    assert (swapped[:2] != together[:2]).all()
    np.testing.assert_array_equal(swapped[2:], together[2:])


def test_the_oracle_begins_where_the_encoder_ends():
    """A bridge that copies: the decoder goes on from the encoder's last state."""
    import reference

    links = encoder_decoder("gru")
    weights = random_weights(links, N_IN)
    from skrnn import backends

    network = Network(N_IN, links(backends.get("cpu")), dtype=FLOAT)
    mine, theirs = pairs()
    out, _ = inference.run(network, network.pack(weights), mine, mates=theirs)
    for i in range(len(mine)):
        encoded = states(reference, "_encoder", weights, THEIRS[i], np.zeros(H + 1))
        first = weights["bridge_h.weight"] @ encoded + weights["bridge_h.bias"]
        last = states(reference, "_decoder", weights, MINE[i], first)
        np.testing.assert_allclose(out[i], weights["head.weight"] @ last + weights["head.bias"], atol=1e-12)


def states(reference, suffix, weights, X, h):
    """PyTorch's GRU, in NumPy: the last state."""
    sigmoid = lambda z: 1 / (1 + np.exp(-z))  # noqa: E731
    W, U, b, c = (weights[f"{name}{suffix}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    for x in X:
        (r_x, z_x, n_x), (r_h, z_h, n_h) = np.split(W @ x + b, 3), np.split(U @ h + c, 3)
        r, z = sigmoid(r_x + r_h), sigmoid(z_x + z_h)
        n = np.tanh(n_x + r * n_h)
        h = (1 - z) * n + z * h
    return h


@pytest.mark.parametrize("batch_size", [1, 2, 3, 10])
def test_minibatches_of_pairs(batch_size):
    """Each side in falling order, the same sequences on both, and every mate where it is said to be."""
    mine, theirs = np.array([3, 9, 1, 7, 9, 2, 2]), np.array([5, 1, 1, 8, 3, 12, 2])
    jobs = Jobs(mine, batch_size, None, theirs)
    for order in np.arange(7), np.random.default_rng(1).permutation(7):
        table = jobs.plan(order)
        assert len(table) == -(-7 // batch_size)
        for start in range(0, 7, batch_size):
            here, there = (j.order[start : start + batch_size] for j in (jobs, jobs.mates))
            assert sorted(here) == sorted(there) == sorted(order[start : start + batch_size])
            assert (np.diff(mine[here]) <= 0).all()
            assert (np.diff(theirs[there]) <= 0).all()
            np.testing.assert_array_equal(there[jobs.mate[start : start + batch_size]], here)
    room = jobs.mates.room()
    assert room.max_steps == 12
    with pytest.raises(ValueError, match="7 sequences and 6 mates"):
        Jobs(mine, 2, None, theirs[:6])
    with pytest.raises(ValueError, match="pairs are read whole"):
        Jobs(mine, 2, 3, theirs)


@pytest.mark.parametrize(("cell", "tied"), [("gru", False), ("lstm", True)])
def test_training_on_pairs_of_tokens(cell, tied):
    """An epoch of a translator is a step down the gradients of its minibatch; the loss falls."""

    def links(backend):
        top = Softmax(backend, FLOAT, "out", "decoder", H, V)
        states = ["h", "c"] if cell == "lstm" else ["h"]
        made = [
            Embedding(backend, FLOAT, "source", V, 2, read=MATE_TOKENS),
            Recurrent(backend, FLOAT, "encoder", "source", "_encoder", cell, 2, H),
        ]
        for state in states:
            made += [
                Last(f"last {state}", "encoder", H, cell=state == "c"),
                Mate(f"first {state}", f"last {state}", H),
            ]
        first = [f"first {state}" for state in states]
        return [
            *made,
            Embedding(backend, FLOAT, "target", V, H, tied=top if tied else None),
            Recurrent(backend, FLOAT, "decoder", "target", "_decoder", cell, H, H, first=first),
            top,
        ]

    rng = np.random.default_rng(1)
    mine, theirs = (
        Sequences.from_tokens([rng.integers(0, V, n) for n in lengths])
        for lengths in ((2, 5, 1, 5, 3), (4, 1, 6, 3, 4))
    )
    y = Targets(rng.integers(0, V, (mine.n_steps, 1)).astype(np.int32))
    weights, rate = random_weights(links), 0.1
    value, gradients = trained(links, weights, mine, y, loss=LOSS, mates=theirs)
    network = Network(0, links(backends.get("cpu")), dtype=FLOAT)

    def trainer(batch_size, max_iter):
        set_up = SetUp(
            "sgd", network.parameters.decay_ranges, network.size, FLOAT, alpha=0, momentum=0, nesterov=False,
            beta_1=0.9, beta_2=0.999, epsilon=1e-8, max_norm=None,
        )  # fmt: skip
        settings = Settings(batch_size, "constant", rate, 0, None, None, max_iter, True, 0.0, 1000, False)
        data = Data(mine, y, None, theirs)
        order = np.random.RandomState(0)
        optimizer = network.backend.Optimizer(set_up)
        return Trainer(network, network.pack(weights), optimizer, LOSS, settings, order, 0, data)

    once, progress = trainer(5, 1), Progress()
    once.fit(progress)
    assert progress.columns["loss"] == [pytest.approx(value, rel=1e-13)]
    for name, array in network.unpack(once.params).items():
        expected = weights[name] - rate * gradients[name]
        np.testing.assert_allclose(array, expected, rtol=0, atol=1e-13, err_msg=name)
    progress = Progress()
    trainer(2, 300).fit(progress)
    losses = progress.columns["loss"]
    assert losses[-1] < 0.5 * losses[0]
    data = Data(mine, Targets(y.values[:3].copy()), None, theirs)
    with pytest.raises(ValueError, match="3 targets for 16 of the network's outputs"):
        Trainer(network, once.params, once.optimizer, LOSS, once.settings, once.rng, 0, data)


def test_pairs_are_asked_for():
    from skrnn import backends

    links = encoder_decoder("gru")
    network = Network(N_IN, links(backends.get("cpu")), dtype=FLOAT)
    params, (mine, theirs) = network.pack(random_weights(links, N_IN)), pairs()
    with pytest.raises(ValueError, match="the other side is missing"):
        inference.run(network, params, mine)
    with pytest.raises(ValueError, match="5 sequences and 4 mates"):
        inference.run(network, params, mine, mates=theirs.take(slice(4)))
    backend = backends.get("cpu")
    mixed = links(backend)
    mixed[4] = Recurrent(backend, FLOAT, "decoder", INPUT, "_decoder", "gru", N_IN, H, first=["bridged h"])
    with pytest.raises(ValueError, match="'decoder' mixes up the sides of pairs"):
        Network(N_IN, mixed[:3] + mixed[4:], dtype=FLOAT)
    cells = [
        Recurrent(backend, FLOAT, "states", INPUT, "_l0", "gru", N_IN, H),
        Last("cells", "states", H, cell=True),
        Dense(backend, FLOAT, "out", {"head": ("cells", H)}, 1),
    ]
    network = Network(N_IN, cells, dtype=FLOAT)
    with pytest.raises(ValueError, match="asks for memory cells, which 'states' lacks"):
        inference.run(network, network.pack(network.parameters.initial(np.random.RandomState(0))), mine)
