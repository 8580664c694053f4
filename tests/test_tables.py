"""Tables of vectors of which a minibatch updates the rows that it reads, or nothing."""

from types import SimpleNamespace

import gpu
import numpy as np
import pytest
from passes import check_gradients, random_weights, trained

from skrnn import backends, losses
from skrnn.backends.cpu import tape as cpu_tape
from skrnn.layout import Parameters
from skrnn.links import Dense, Embedding, Last, Mate, Recurrent, Softmax
from skrnn.network import Network
from skrnn.optimizers import SetUp
from skrnn.recording import MATE_TOKENS
from skrnn.sequences import Sequences, Targets
from skrnn.training import Data, Settings, Trainer

FLOAT, V, D, H, BATCH = np.dtype(np.float64), 40, 3, 4, 3
rng = np.random.default_rng(0)
LENGTHS = [4, 1, 6, 3, 2, 5, 4, 2, 3]
# Two columns; the tokens of the last minibatch are others than those of the first.
TEXTS = [rng.integers(0, V, (n, 2)) // 2 + V // 2 * (k >= 6) for k, n in enumerate(LENGTHS)]
SEQUENCES = Sequences.from_tokens(TEXTS)
Y = Targets(rng.standard_normal((len(TEXTS), 2)))
HYPER = {
    "alpha": 0.0, "momentum": 0.9, "nesterov": True, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3,
    "max_norm": None,
}  # fmt: skip
ON_GPU = pytest.param("cuda", marks=gpu.needs_gpu)


def network_of(updates="lazy", dtype=FLOAT, n_tokens=V, width=D, **options):
    """From a backend to links: the table is updated like that."""

    def links(backend):
        return [
            Embedding(backend, dtype, "table", n_tokens, width, updates=updates, **options),
            Recurrent(backend, dtype, "states", "table", "_l0", "lstm", width, H),
            Last("last", "states", H),
            Dense(backend, dtype, "out", {"head": ("last", H)}, 2),
        ]

    return links


def three_tables(backend, updates=("lazy", "dense", "lazy")):
    """Of two columns, one of them read twice."""
    columns, n = (0, 1, 0), range(3)
    return [
        *(Embedding(backend, FLOAT, f"table {k}", V, D, column=columns[k], updates=updates[k]) for k in n),
        *(Recurrent(backend, FLOAT, f"states {k}", f"table {k}", f"_{k}", "gru", D, H) for k in n),
        *(Last(f"last {k}", f"states {k}", H) for k in n),
        Dense(backend, FLOAT, "out", {f"of {k}": (f"last {k}", H) for k in n}, 2),
    ]


def trainer(
    links, weights, sequences=SEQUENCES, y=Y, *, solver="adam", device="cpu", dtype=FLOAT, n_threads=1,
    batch_size=BATCH, dropout_seed=7, **hyper,
):  # fmt: skip
    backend = backends.get(device)
    network = Network(0, links(backend), dtype=dtype, device=device, n_threads=n_threads)
    optimizer = backend.Optimizer(
        SetUp(solver, network.parameters.decay_ranges, network.size, dtype, **HYPER | hyper)
    )
    settings = Settings(batch_size, "constant", 0.1, 0, None, None, 1, False, 0.0, 1, False)
    return Trainer(
        network, network.pack(weights), optimizer, losses.squared_error, settings, np.random.RandomState(0),
        dropout_seed, Data(sequences, y, None),
    )  # fmt: skip


def after_epochs(links, weights, *args, epochs=1, **options):
    """Weights, moments and norms."""
    with backends.turn(options.get("device", "cpu")):
        t = trainer(links, weights, *args, **options)
        for k in range(epochs):
            t.epoch(k, lambda done: 0.1)
        unpack = t.network.unpack
        return SimpleNamespace(
            weights=unpack(t.params), m=unpack(t.optimizer.m), v=unpack(t.optimizer.v),
            norms=t.statistics[:, 2].copy(),
        )  # fmt: skip


def first(n, start=0):
    """That many sequences with their targets."""
    return Sequences.from_tokens(TEXTS[start : start + n]), Targets(Y.values[start : start + n].copy())


# --- gradients --------------------------------------------------------------------------------------
@pytest.mark.parametrize("device", ["cpu", ON_GPU])
@pytest.mark.parametrize("wide", [False, True])
def test_gradients_are_those_of_the_whole_table(device, wide, monkeypatch):
    dtype = np.dtype(np.float32 if wide else np.float64)
    if wide:  # sums that float64 makes
        monkeypatch.setattr("skrnn.backends.cpu.sums.SPAN", 0)
        if device == "cuda":
            monkeypatch.setattr("skrnn.backends.cuda.embedding.FEW", 0)
    weights = random_weights(network_of(dtype=dtype), dtype=dtype)
    y = Targets(Y.values.astype(dtype))
    found = [
        trained(network_of(updates, dtype), weights, SEQUENCES, y, device=device, dtype=dtype)[1][
            "table.weight"
        ]
        for updates in ("dense", "lazy")
    ]
    np.testing.assert_array_equal(*found)
    assert np.count_nonzero(found[0].any(axis=1)) == len(np.unique(SEQUENCES.tokens[:, 0])) < V


def test_gradients_are_central_differences():
    check_gradients(network_of(), random_weights(network_of()), SEQUENCES, Y)
    check_gradients(three_tables, random_weights(three_tables), SEQUENCES, Y)


def test_gradients_of_pairs():
    """A table on either side, whose minibatches have numbers of rows of their own."""

    def links(backend):
        return [
            Embedding(backend, FLOAT, "source", V, D, read=MATE_TOKENS, updates="lazy"),
            Recurrent(backend, FLOAT, "encoder", "source", "_e", "gru", D, H),
            Last("theirs", "encoder", H),
            Mate("first", "theirs", H),
            Embedding(backend, FLOAT, "target", V, D, column=1, updates="lazy"),
            Recurrent(backend, FLOAT, "decoder", "target", "_d", "gru", D, H, first=["first"]),
            Last("last", "decoder", H),
            Dense(backend, FLOAT, "out", {"head": ("last", H)}, 2),
        ]

    mates = Sequences.from_tokens(TEXTS[::-1])
    gradients = check_gradients(links, random_weights(links), SEQUENCES, Y, mates=mates)
    for name, column in ("source.weight", 0), ("target.weight", 1):
        read = np.flatnonzero(gradients[name].any(axis=1))
        np.testing.assert_array_equal(read, np.unique(SEQUENCES.tokens[:, column]))


# --- updates ----------------------------------------------------------------------------------------
def textbook(solver, weights, *, lazy, alpha, momentum, nesterov, max_norm, rate=0.1):
    """An epoch of plain NumPy updates; of tables in `lazy`, of the rows of that column's tokens."""
    weights = {name: a.copy() for name, a in weights.items()}
    m, v = ({name: np.zeros_like(a) for name, a in weights.items()} for _ in range(2))
    norms = []
    for t in range(1, 1 + len(TEXTS) // BATCH):
        sequences, y = first(BATCH, BATCH * (t - 1))
        _, gradients = trained(lambda backend: three_tables(backend, ("dense",) * 3), weights, sequences, y)
        norms.append(np.sqrt(sum((g**2).sum() for g in gradients.values())))
        for name, a in weights.items():
            rows = np.unique(sequences.tokens[:, lazy[name]]) if name in lazy else slice(None)
            g, decay = gradients[name][rows], 0.0 if "bias" in name else alpha
            if max_norm is not None and norms[-1] > max_norm:
                g = g * max_norm / norms[-1]
            if solver == "adamw":
                a[rows] *= 1 - rate * decay
            else:
                g = g + decay * a[rows]
            if solver == "sgd":
                m[name][rows] = momentum * m[name][rows] - rate * g
                ahead = momentum * m[name][rows] - rate * g
                a[rows] += ahead if nesterov else m[name][rows]
                continue
            v[name][rows] = 0.95 * v[name][rows] + 0.05 * g**2
            if solver == "rmsprop":
                a[rows] -= rate * g / (np.sqrt(v[name][rows]) + 1e-3)
            else:
                m[name][rows] = 0.8 * m[name][rows] + 0.2 * g
                root = np.sqrt(v[name][rows] / (1 - 0.95**t))
                a[rows] -= rate * m[name][rows] / (1 - 0.8**t) / (root + 1e-3)
    return SimpleNamespace(weights=weights, m=m, v=v, norms=np.array(norms))


@pytest.mark.parametrize("max_norm", [None, 2.0])
@pytest.mark.parametrize(
    ("solver", "nesterov"),
    [("adam", True), ("adamw", True), ("rmsprop", True), ("sgd", True), ("sgd", False)],
)
def test_solvers_are_the_textbooks(solver, nesterov, max_norm):
    weights = random_weights(three_tables)
    how = {"alpha": 0.3, "momentum": 0.7, "nesterov": nesterov, "max_norm": max_norm}
    found = after_epochs(three_tables, weights, solver=solver, **how)
    lazy = {"table 0.weight": 0, "table 2.weight": 0}
    expected = textbook(solver, weights, lazy=lazy, **how)
    assert max_norm is None or (expected.norms > max_norm).any()
    np.testing.assert_allclose(found.norms, expected.norms, rtol=1e-12)
    for what in "weights", "m", "v":
        for name, array in getattr(expected, what).items():
            np.testing.assert_allclose(
                getattr(found, what)[name], array, rtol=0, atol=1e-11, err_msg=f"{what} of {name}"
            )


@pytest.mark.parametrize("solver", ["adam", "adamw", "rmsprop", "sgd"])
def test_rows_that_are_not_read_stay_as_they_are(solver):
    """To the bit, weights and moments: never read, and read by the minibatches before."""
    weights, tokens = random_weights(network_of()), [text[:, 0] for text in TEXTS]
    before = after_epochs(network_of(), weights, *first(2 * BATCH), solver=solver, alpha=0.3)
    after = after_epochs(network_of(), weights, solver=solver, alpha=0.3)
    never = np.setdiff1d(np.arange(V), np.concatenate(tokens))
    not_again = np.setdiff1d(np.concatenate(tokens[: 2 * BATCH]), np.concatenate(tokens[2 * BATCH :]))
    assert len(never)
    assert len(not_again)
    for what in "weights", "m", "v":
        one, other = (getattr(state, what)["table.weight"] for state in (before, after))
        np.testing.assert_array_equal(one[not_again], other[not_again])
        np.testing.assert_array_equal(other[never], weights["table.weight"][never] * (what == "weights"))
    moved = (after.weights["table.weight"] != weights["table.weight"]).all(axis=1)
    np.testing.assert_array_equal(np.flatnonzero(moved), np.unique(np.concatenate(tokens)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_plain_gradient_descent_knows_no_difference(dtype):
    dtype = np.dtype(dtype)
    weights = random_weights(network_of(dtype=dtype), dtype=dtype)
    y = Targets(Y.values.astype(dtype))
    dense, lazy = (
        after_epochs(
            network_of(updates, dtype),
            weights,
            SEQUENCES,
            y,
            solver="sgd",
            momentum=0.0,
            dtype=dtype,
            epochs=3,
        )
        for updates in ("dense", "lazy")
    )
    for name, array in dense.weights.items():
        np.testing.assert_array_equal(lazy.weights[name], array, err_msg=name)


@pytest.mark.parametrize("max_norm", [None, 2.1])
def test_adam_is_pytorchs_sparse_one(max_norm):
    """Beside a dense one for all other weights."""
    torch = pytest.importorskip("torch")
    weights = random_weights(network_of())
    table = torch.nn.Embedding(V, D, sparse=True).double()
    lstm, head = torch.nn.LSTM(D, H).double(), torch.nn.Linear(H, 2).double()
    parts = {"table.": table, "head.": head, "": lstm}
    for prefix, part in parts.items():
        part.load_state_dict({name: torch.tensor(weights[prefix + name]) for name in part.state_dict()})
    others, tiny = [*lstm.parameters(), *head.parameters()], 1e-30  # PyTorch's sparse one corrects epsilon
    betas = HYPER["beta_1"], HYPER["beta_2"]
    sparse = torch.optim.SparseAdam(table.parameters(), lr=0.1, betas=betas, eps=tiny)
    dense = torch.optim.Adam(others, lr=0.1, betas=betas, eps=tiny)
    norms = []
    for _ in range(2):
        for start in range(0, len(TEXTS), BATCH):
            sparse.zero_grad(), dense.zero_grad()
            last = [lstm(table(torch.tensor(text[:, 0])))[0][-1] for text in TEXTS[start : start + BATCH]]
            target = torch.tensor(Y.values[start : start + BATCH])
            torch.nn.functional.mse_loss(head(torch.stack(last)), target).backward()
            table.weight.grad = table.weight.grad.coalesce()
            gradients = [table.weight.grad.values(), *(p.grad for p in others)]
            norms.append(torch.sqrt(sum((g**2).sum() for g in gradients)).item())
            if max_norm is not None and norms[-1] > max_norm:
                for p in table.weight, *others:
                    p.grad *= max_norm / norms[-1]
            sparse.step(), dense.step()
    assert max_norm is None or min(norms) < max_norm < max(norms)
    found = after_epochs(network_of(), weights, epochs=2, epsilon=tiny, max_norm=max_norm)
    np.testing.assert_allclose(found.norms, norms[-len(found.norms) :], rtol=1e-10)
    for prefix, part in parts.items():
        for name, value in part.state_dict().items():
            np.testing.assert_allclose(found.weights[prefix + name], value, rtol=0, atol=1e-10, err_msg=name)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_any_number_of_threads(dtype, monkeypatch):
    dtype, n_tokens, width = np.dtype(dtype), 500, 37
    monkeypatch.setattr(cpu_tape, "THREAD_FLOPS", 1.0)
    monkeypatch.setattr("skrnn.backends.cpu.sums.SPAN", 30)
    texts = [rng.integers(0, n_tokens, n) for n in rng.integers(20, 60, 24)]
    y = Targets(rng.standard_normal((24, 2)).astype(dtype))
    links = network_of("lazy", dtype, n_tokens, width, dropout=0.2)
    weights, data = random_weights(links, dtype=dtype), (Sequences.from_tokens(texts), y)
    one, two = (
        after_epochs(links, weights, *data, n_threads=n, dtype=dtype, batch_size=12, max_norm=0.1, epochs=2)
        for n in (1, 2)
    )
    np.testing.assert_array_equal(one.norms, two.norms)
    for name, array in one.weights.items():
        np.testing.assert_array_equal(two.weights[name], array, err_msg=name)


@pytest.mark.parametrize("device", [ON_GPU])
@pytest.mark.parametrize("solver", ["adam", "adamw", "rmsprop", "sgd"])
def test_both_backends_agree(solver, device):
    weights = random_weights(three_tables)
    links = lambda backend: three_tables(backend, ("lazy", None, "lazy"))  # noqa: E731
    how = {"solver": solver, "alpha": 0.3, "max_norm": 1.0, "epochs": 2}
    expected, found = (after_epochs(links, weights, device=where, **how) for where in ("cpu", device))
    np.testing.assert_allclose(found.norms, expected.norms, rtol=1e-10)
    for what in "weights", "m", "v":
        for name, array in getattr(expected, what).items():
            np.testing.assert_allclose(getattr(found, what)[name], array, rtol=0, atol=1e-10, err_msg=name)


# --- frozen tables ----------------------------------------------------------------------------------
@pytest.mark.parametrize("solver", ["adam", "adamw", "sgd"])
def test_frozen_tables(solver):
    """Stay as they are, whatever decays; what is above learns as if they did."""
    weights = random_weights(network_of())
    frozen = after_epochs(network_of(None), weights, solver=solver, alpha=0.3)
    np.testing.assert_array_equal(frozen.weights["table.weight"], weights["table.weight"])
    assert not frozen.m["table.weight"].any()
    assert not frozen.v["table.weight"].any()
    _, expected = trained(network_of(), weights, SEQUENCES, Y)
    _, found = trained(network_of(None), weights, SEQUENCES, Y)
    for name, gradient in expected.items():
        if name != "table.weight":
            np.testing.assert_array_equal(found[name], gradient, err_msg=name)


def test_of_a_frozen_table_there_is_no_gradient():
    """Nor of what reads it: the layer above goes back to its weights only."""
    weights = random_weights(network_of())
    counts = {}
    for updates in "dense", "lazy", None:
        names = [call.kernel.__name__ for call in trainer(network_of(updates), weights).tape.calls]
        kernels = "look_up_backward", "add_touched", "update_touched", "input_gradient"
        counts[updates] = [names.count(name) for name in kernels]
    assert counts == {"dense": [1, 0, 0, 2], "lazy": [0, 0, 1, 2], None: [0, 0, 0, 1]}


# --- layout and refusals ----------------------------------------------------------------------------
def test_where_tables_lie():
    links = three_tables(backends.get("cpu"), (None, "lazy", "dense"))
    parameters = Parameters(links, FLOAT)
    frozen, lazy, dense = (parameters.where(f"table {k}", "table") for k in range(3))
    assert (dense.start, frozen.stop) == (0, parameters.size)
    assert (lazy.start, lazy.stop) == (parameters.n_dense, frozen.start)
    assert parameters.decay_ranges[-1][1] == parameters.n_dense
    weights = parameters.initial(np.random.RandomState(0))
    for name, array in parameters.unpack(parameters.pack(weights)).items():
        np.testing.assert_array_equal(array, weights[name], err_msg=name)
    assert list(weights)[:3] == ["table 0.weight", "table 1.weight", "table 2.weight"]


def test_what_is_refused():
    backend = backends.get("cpu")
    with pytest.raises(ValueError, match=r"updates='sparse' of 'table' is none of 'dense', 'lazy' and None"):
        Embedding(backend, FLOAT, "table", V, D, updates="sparse")
    top = Softmax(backend, FLOAT, "decoder", "states", D, V)
    for updates in "lazy", None:
        with pytest.raises(ValueError, match=f"updates={updates!r} of 'table', whose table is tied"):
            Embedding(backend, FLOAT, "table", V, D, tied=top, updates=updates)
    links = three_tables(backend)
    links[2].place = links[0].place
    with pytest.raises(ValueError, match=r"'table 2' and 'table 0' share table 0\.weight, .* lazy"):
        Parameters(links, FLOAT)
    links[1].place = links[0].place._replace(updates="dense")
    with pytest.raises(ValueError, match=r"'table 0' and 'table 1' would keep table 0\.weight in different"):
        Parameters([*links[:2], *links[3:]], FLOAT)
