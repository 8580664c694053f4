"""The networks of estimators that read tokens: gradients, PyTorch's network, and the GPU's."""

import gpu
import numpy as np
import pytest
from passes import check_gradients, random_weights, trained

from skrnn import backends
from skrnn.batches import SIZE_R, Jobs
from skrnn.links import Dense, Embedding, Recurrent, Softmax
from skrnn.losses import multiclass_log_loss
from skrnn.network import Network
from skrnn.recipe import recurrent_network
from skrnn.sequences import Sequences, Targets

FLOAT = np.dtype(np.float64)
rng = np.random.default_rng(0)
LENGTHS = np.array([3, 1, 5, 5, 2])
STARTS, N_STEPS, N_TOKENS = np.cumsum(LENGTHS) - LENGTHS, LENGTHS.sum(), (7, 3)
TOKENS = np.stack([rng.integers(0, n, N_STEPS) for n in N_TOKENS], axis=1).astype(np.int32)
NUMBERS = rng.standard_normal((N_STEPS, 2))
# What is read: numbers beside tokens, columns, sizes of their vectors.
FORMS = {"tokens": (0, [3]), "two columns": (0, [3, 2]), "beside numbers": (2, [2, 4])}
OPTIONS = {
    "last": {},
    "both directions": {"bidirectional": True, "num_layers": 2, "pooling": "mean"},
    "attention": {"pooling": "attention", "cell": "gru"},
    "per step": {"return_sequences": True, "cell": "rnn"},
    "skip": {"skip_steps": 3},
}


def problem(form, options, device="cpu"):
    """Links, sequences, targets."""
    n_in, sizes = FORMS[form]
    tables = tuple(zip(N_TOKENS, sizes, strict=False))

    def links(backend):
        given = {"cell": "lstm", "hidden_size": 3, "dtype": FLOAT, "device": device} | options
        return recurrent_network(n_in, 2, tables=tables, **given).links

    lengths = np.full(4, 3) if "skip_steps" in options else LENGTHS
    starts = np.cumsum(lengths) - lengths
    n = lengths.sum()
    sequences = Sequences(
        np.ascontiguousarray(NUMBERS[:n, :n_in]),
        starts,
        lengths,
        tokens=np.ascontiguousarray(TOKENS[:n, : len(sizes)]),
    )
    n_targets = n if options.get("return_sequences") else len(lengths)
    return links, sequences, Targets(np.random.default_rng(1).standard_normal((n_targets, 2)))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("options", OPTIONS)
def test_gradients_are_central_differences(form, options):
    links, sequences, y = problem(form, OPTIONS[options])
    check_gradients(links, random_weights(links, sequences.n_features), sequences, y)


@pytest.mark.parametrize("option", ["dropout", "head_dropout", "recurrent_dropout", "embedding_dropout"])
def test_gradients_with_masks(option):
    links, sequences, y = problem("beside numbers", {option: 0.4, "num_layers": 2})
    weights = random_weights(links, 2)
    check_gradients(links, weights, sequences, y, dropout_seed=3)
    dropped, kept = (trained(links, weights, sequences, y, dropout_seed=seed)[0] for seed in (3, None))
    assert dropped != kept


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_pytorch_has_the_same_loss_and_gradients(form, cell):
    torch = pytest.importorskip("torch")
    links, sequences, y = problem(form, {"cell": cell, "bidirectional": True})
    weights = random_weights(links, sequences.n_features)
    value, gradients = trained(links, weights, sequences, y)

    n_in, sizes = FORMS[form]
    layer = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell](
        sum(sizes) + n_in, 3, bidirectional=True, batch_first=True, dtype=torch.float64
    )
    tables = [torch.nn.Embedding(*shape, dtype=torch.float64) for shape in zip(N_TOKENS, sizes, strict=False)]
    head = torch.nn.Linear(6, 2, dtype=torch.float64)
    names = ["embedding"] if len(tables) == 1 else [f"embedding_{k}" for k in range(len(tables))]
    parameters = {f"{name}.weight": table.weight for name, table in zip(names, tables, strict=True)}
    parameters |= dict(layer.named_parameters()) | {"head.weight": head.weight, "head.bias": head.bias}
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(torch.tensor(weights[name]))
    steps = torch.cat(
        [table(torch.tensor(TOKENS[:, k], dtype=torch.long)) for k, table in enumerate(tables)]
        + [torch.tensor(NUMBERS[:, :n_in])],
        dim=1,
    )
    packed = torch.nn.utils.rnn.pack_sequence(steps.split(LENGTHS.tolist()), enforce_sorted=False)
    last = layer(packed)[1]
    h = last[0] if cell == "lstm" else last
    loss = torch.nn.functional.mse_loss(head(torch.cat([h[0], h[1]], dim=1)), torch.tensor(y.values))
    loss.backward()
    np.testing.assert_allclose(value, loss.item(), rtol=1e-12)
    for name, parameter in parameters.items():
        np.testing.assert_allclose(gradients[name], parameter.grad, rtol=0, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("device", [pytest.param("cuda", marks=gpu.needs_gpu)])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("options", ["both directions", "per step", "skip"])
def test_a_gpu_has_the_same(form, options, device):
    options = OPTIONS[options] | {"head_dropout": 0.3, "embedding_dropout": 0.3}
    links, sequences, y = problem(form, options)
    weights = random_weights(links, sequences.n_features)
    there, _, _ = problem(form, options, device)
    value, gradients = trained(links, weights, sequences, y, dropout_seed=1)
    found, others = trained(there, weights, sequences, y, dropout_seed=1, device=device)
    np.testing.assert_allclose(found, value, rtol=1e-10)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(others[name], gradient, rtol=0, atol=1e-10, err_msg=name)


# --- folded tables ----------------------------------------------------------------------------------
def reading_words(cell, dtype=FLOAT, updates="dense", n_tokens=30, width=5, tied=False, hidden=20, **options):
    """From a backend to links: both directions over one table, and an output for each step."""

    def links(backend):
        top = Softmax(backend, dtype, "decoder", "top", width, n_tokens)
        return [
            Embedding(backend, dtype, "table", n_tokens, width, updates=updates,
                      tied=top if tied else None),
            Recurrent(backend, dtype, "states", "table", "_l0", cell, width, hidden, directions=2,
                      **options),
            Dense(backend, dtype, "top", {"to": ("states", 2 * hidden)}, width),
            *([top] if tied else []),
        ]  # fmt: skip

    return links


def words(lengths, n_tokens=30):
    rng = np.random.default_rng(0)
    return Sequences.from_tokens([rng.integers(0, n_tokens, n) for n in lengths])


CELLS = {
    "rnn": ("rnn", {}),
    "lstm": ("lstm", {}),
    "gru": ("gru", {}),
    "gru before": ("gru", {"reset_after": False}),
}
READ = {  # lengths, and how many tokens there are
    "short": ([3, 1, 5, 5, 2], 30),
    "few tokens": ([1200, 7, 90], 30),  # more of some than float32 may add up
    "many tokens": ([310] * 9, 9000),  # and more distinct ones
}


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("updates", ["dense", "lazy", None])
@pytest.mark.parametrize("read", READ)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.sampled(7)
def test_folded_tables(cell, updates, read, dtype, monkeypatch):
    """Each token's vector is multiplied once: the same losses to the bit, the same gradients; and with two
    threads the same bits."""
    (lengths, n_tokens), (cell, options) = READ[read], CELLS[cell]
    options = options | {"n_tokens": n_tokens}
    dtype, sequences = np.dtype(dtype), words(lengths, n_tokens)
    y = Targets(np.random.default_rng(1).standard_normal((sum(lengths), 5)).astype(dtype))
    weights = random_weights(reading_words(cell, dtype, updates, **options), dtype=dtype)

    def learnt(n_threads=1):
        links = reading_words(cell, dtype, updates, **options)
        return trained(links, weights, sequences, y, dtype=dtype, n_threads=n_threads)

    (folded, found), (shared, again) = learnt(), learnt(2)
    monkeypatch.setattr(backends.get("cpu"), "folding", None)
    value, expected = learnt()
    assert value == folded == shared
    for name, gradient in expected.items():
        np.testing.assert_array_equal(found[name], again[name], err_msg=name)
        scale = np.abs(gradient).max(initial=0)
        np.testing.assert_allclose(
            found[name], gradient, rtol=0, atol=100 * np.finfo(dtype).eps * scale, err_msg=name
        )


def test_a_folded_tied_table(monkeypatch):
    """Which lies as the softmax wants it."""
    sequences, y = words(LENGTHS), Targets(words(LENGTHS).tokens)
    links = reading_words("lstm", tied=True)
    weights = random_weights(links)
    folded, found = trained(links, weights, sequences, y, loss=multiclass_log_loss)
    monkeypatch.setattr(backends.get("cpu"), "folding", None)
    value, expected = trained(links, weights, sequences, y, loss=multiclass_log_loss)
    assert value == folded
    for name, gradient in expected.items():
        np.testing.assert_allclose(found[name], gradient, rtol=0, atol=1e-14, err_msg=name)


def test_what_folding_saves():
    """Products with the input are made of 3 rows, not of 50; where tokens are dropped, of all."""
    links = recurrent_network(0, 2, cell="lstm", tables=[(7, 4)], embedding_dropout=0.5).links
    names = []
    for seed in None, 0:
        network, jobs = Network(0, links, dtype=np.dtype(np.float32)), Jobs(np.full(5, 10), 5, None)
        rec = network.record(network.backend.Tape(), jobs.room(), network.pack(network.parameters.initial(
            np.random.RandomState(0))), keep=True, dropout_seed=seed)  # fmt: skip
        sequences = Sequences.from_tokens([np.arange(10) % 3] * 5, np.dtype(np.float32))
        network.forward(rec, network.read(rec, sequences, jobs))
        jobs.plan(np.arange(5))
        rec.tape.run()
        names.append([call.kernel.__name__ for call in rec.tape.calls])
        if seed is None:
            assert rec.kept["embedding"].steps.sizes[SIZE_R] == 3
    assert "project" in names[0]
    assert "project" not in names[1]


def test_what_is_folded():
    """A table that one recurrent layer reads, and nothing else; bfloat16 is rounded step by step."""

    def folds(*more, layers=1, bf16=False):
        backend, dtype = backends.get("cpu"), np.dtype(np.float32)
        table, states, top = reading_words("rnn", dtype)(backend)
        maps = {"to": ("states", 40)} | dict(more)
        also = [Recurrent(backend, dtype, "also", "table", "_also", "rnn", 5, 20)] * (layers - 1)
        states.bf16 = bf16  # as where the processor has it
        Network(0, [table, states, *also, Dense(backend, dtype, "top", maps, 5)], dtype=dtype)
        return table.folded

    assert folds()
    assert not folds(("of", ("table", 5)))
    assert not folds(("of", ("also", 20)), layers=2)
    assert not folds(bf16=True)


def test_threads_do_not_change_bits():
    links, sequences, y = problem("beside numbers", {"bidirectional": True, "head_dropout": 0.2})
    weights = random_weights(links, 2)
    one, alone = trained(links, weights, sequences, y, dropout_seed=2)
    two, shared = trained(links, weights, sequences, y, dropout_seed=2, n_threads=2)
    assert one == two
    for name, gradient in alone.items():
        np.testing.assert_array_equal(shared[name], gradient, err_msg=name)
