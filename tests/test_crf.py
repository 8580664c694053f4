"""The linear-chain CRF: against all label sequences one by one, central differences, PyTorch, and itself."""

from itertools import product

import gpu
import numpy as np
import pytest
import reference
from passes import check_gradients, random_weights, trained

from skrnn import backends, inference, losses
from skrnn.backends.cpu import lattice
from skrnn.batches import Jobs
from skrnn.layout import Parameters
from skrnn.links import CRF, Dense, Recurrent
from skrnn.network import Network
from skrnn.recording import Recording
from skrnn.sequences import Sequences, Targets

FLOAT, LOSS = np.dtype(np.float64), losses.multiclass_log_loss
ON_GPU = pytest.param("cuda", marks=gpu.needs_gpu)
LENGTHS = [4, 1, 5, 3, 5, 2]
NAMES = "crf.transitions", "crf.start_transitions", "crf.end_transitions"


class Problem:
    """Scores (n_steps, K) of ragged sequences, arrays of a CRF, labels, and weights by which some steps, and
    a whole sequence, are unlabelled."""

    def __init__(self, K, lengths=LENGTHS, seed=0, dtype=FLOAT, size=1.0):
        rng, n = np.random.default_rng(seed), sum(lengths)
        self.K, self.dtype = K, np.dtype(dtype)
        self.s = rng.normal(0, size, (n, K)).astype(dtype)
        shapes = dict(zip(NAMES, ((K, K), (K,), (K,)), strict=True))
        self.arrays = {name: rng.normal(0, size, shape).astype(dtype) for name, shape in shapes.items()}
        self.y, self.lengths = rng.integers(0, K, (n, 1)), np.array(lengths)
        each = rng.choice([0.5, 1.0, 3.0], len(lengths))
        each[-1] = 0.0
        step = np.concatenate([np.arange(n) for n in lengths])
        sequence = np.repeat(np.arange(len(lengths)), lengths)
        labelled = (sequence == 0) | ((step + sequence) % 3 != 2)
        self.w = np.where(labelled, each[sequence], 0).astype(dtype)

    @property
    def ends(self):
        return np.cumsum(self.lengths)

    def split(self, rows):
        return np.split(rows, self.ends[:-1])

    def known(self):
        """Labels of the sequences, -1 where there is none."""
        return self.split(np.where(self.w > 0, self.y[:, 0], -1))

    def run(self, *, w=None, device="cpu", n_threads=1, order=None, batch=None, limit=None):
        """Everything that the backend makes of it."""
        with backends.turn(device):
            backend, n, K = backends.get(device), len(self.lengths), self.K
            link, sequences = CRF("crf", "X", K), Sequences.consecutive(self.s, self.lengths)
            if batch is not None:
                sequences = sequences.take(batch)
            n, total = len(sequences), sequences.n_steps
            jobs, parameters = Jobs(sequences.lengths, n, None), Parameters([link], self.dtype)
            params = backend.to_device(parameters.pack(self.arrays))
            grads = backend.to_device(np.full(parameters.size, np.nan, self.dtype))
            work, tape = backend.Workspace(self.dtype), backend.Tape(n_threads)
            rec = Recording(backend, tape, work, jobs.room(), parameters, params, grads)
            chain = link.forward(rec, rec.read(sequences, jobs)["X"])
            y = Targets(self.y.astype(np.int32))
            marginals, labels = chain.marginals(rec), chain.labels(rec)
            found = {"marginals": (marginals, K, FLOAT), "labels": (labels, 1, np.dtype(np.int32))}
            results = {name: np.empty((total, width), dtype) for name, (_, width, dtype) in found.items()}
            for name, (rows, width, _) in found.items():
                backend.scatter(rec, rows, sequences.offsets[1:], width, results[name])
            weighed, d = chain.objective(rec, y, w, learns=True)
            results |= {"d": np.empty((total, K), self.dtype), "losses": np.zeros((n, 1))}
            backend.scatter(rec, d, sequences.offsets[1:], K, results["d"])
            backend.scatter(rec, weighed.values, sequences.offsets[1:], 1, results["losses"])
            statistics = np.zeros(3)
            backend.add_losses(rec, weighed, statistics, jobs.cursor)
            jobs.plan(np.arange(n) if order is None else order)
            tape.run(flops=1e12) if device == "cpu" else tape.run()
            results["statistics"] = statistics
            return results | parameters.unpack(backend.to_host(grads))


def enumerated(s, arrays, known):
    """(loss, marginals, expected numbers of neighbours, best path) from the scores of all label sequences."""
    s = s.astype("f8")
    A, first, last = (arrays[name].astype("f8") for name in NAMES)
    T, K = s.shape
    paths = np.array(list(product(range(K), repeat=T)))
    scores = first[paths[:, 0]] + s[np.arange(T), paths].sum(axis=1) + last[paths[:, -1]]
    for t in range(1, T):
        scores += A[paths[:, t - 1], paths[:, t]]
    agrees = ((paths == known) | (known < 0)).all(axis=1)
    log_z = np.logaddexp.reduce(scores)
    p = np.exp(scores - log_z)
    marginals = np.stack([[p[paths[:, t] == k].sum() for k in range(K)] for t in range(T)])
    return log_z - np.logaddexp.reduce(scores[agrees]), marginals, paths[scores.argmax()]


@pytest.fixture(params=["linear", "logarithms", ON_GPU])
def device(request, monkeypatch):
    """The CPU's two ways through the lattice, and a GPU's."""
    if request.param == "logarithms":
        monkeypatch.setattr(lattice, "DOUBT", -1.0)
    return request.param if request.param == "cuda" else "cpu"


# --- against the definition -------------------------------------------------------------------------
@pytest.mark.parametrize("K", [1, 2, 3, 4])
def test_all_label_sequences(K, device):
    problem, n_known = Problem(K, size=2.0), 0
    found, all_known = problem.run(w=problem.w, device=device), problem.run(device=device)
    sums = np.zeros(2)
    parts = zip(*map(problem.split, (problem.s, problem.y[:, 0], found["marginals"], found["labels"][:, 0])))
    for i, (s, y, marginals, labels) in enumerate(parts):
        known = problem.known()[i]
        loss, expected, path = enumerated(s, problem.arrays, known)
        np.testing.assert_allclose(marginals, expected, rtol=0, atol=1e-13)
        np.testing.assert_array_equal(labels, path)
        np.testing.assert_allclose(all_known["losses"][i], enumerated(s, problem.arrays, y)[0], atol=1e-12)
        w = problem.split(problem.w)[i]
        if w.any():
            np.testing.assert_allclose(found["losses"][i], loss, rtol=0, atol=1e-12)
            n_known += 0 < (known >= 0).sum() < len(known)
        sums += w.max() * loss, w.sum()
    assert n_known == 3
    np.testing.assert_allclose(found["statistics"][:2], sums, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(all_known["statistics"][1], len(problem.s))


@pytest.mark.parametrize("weighed", [False, True])
def test_gradients_are_central_differences(weighed, device):
    """Of the scores and all three arrays."""
    problem = Problem(3)
    w = problem.w if weighed else None
    found = problem.run(w=w, device=device)

    def loss():
        total, weights, _ = problem.run(w=w)["statistics"]
        return total / weights

    assert np.abs(found["d"]).max() > 0.01
    for name, array in ("d", problem.s), *problem.arrays.items():
        expected = reference.central_differences(loss, array)
        np.testing.assert_allclose(found[name], expected, rtol=0, atol=2e-9, err_msg=name)


def tagger(K, dtype=FLOAT, cell="gru"):
    """From a backend to links."""

    def links(backend):
        return [
            Recurrent(backend, dtype, "states", "X", "_l0", cell, 3, 4, directions=2),
            Dense(backend, dtype, "out", {"head": ("states", 8)}, K),
            CRF("crf", "out", K),
        ]

    return links


def test_gradients_of_a_network():
    problem, links = Problem(3, seed=1), tagger(3)
    sequences = Sequences.consecutive(np.random.default_rng(0).standard_normal((20, 3)), problem.lengths)
    check_gradients(links, random_weights(links, 3), sequences, Targets(problem.y.astype("f8")), loss=LOSS,
                    w=problem.w)  # fmt: skip


@pytest.mark.parametrize("cell", ["lstm"])
def test_a_network_of_pytorch(cell):
    """The loss and every gradient, by pytorch-crf's algorithm and autograd."""
    torch = pytest.importorskip("torch")
    K, lengths, links = 5, [7, 2, 1, 6], tagger(5, cell=cell)
    rng, weights = np.random.default_rng(0), random_weights(links, 3)
    X, y = rng.standard_normal((sum(lengths), 3)), rng.integers(0, K, (sum(lengths), 1))
    sequences = Sequences.consecutive(X, np.array(lengths))
    value, gradients = trained(links, weights, sequences, Targets(y.astype("f8")), loss=LOSS)

    lstm = torch.nn.LSTM(3, 4, batch_first=True, bidirectional=True, dtype=torch.float64)
    there = {name: torch.tensor(w, requires_grad=True) for name, w in weights.items()}
    own = {name: there[name] for name, _ in lstm.named_parameters()}
    A, first, last = (there[name] for name in NAMES)
    total = 0
    for x, labels in zip(sequences.split(X), sequences.split(y[:, 0]), strict=True):
        states = torch.func.functional_call(lstm, own, (torch.tensor(x)[None],))[0][0]
        s = states @ there["head.weight"].T + there["head.bias"]
        alpha, score = first + s[0], first[labels[0]] + s[0, labels[0]] + last[labels[-1]]
        for t in range(1, len(s)):
            score = score + A[labels[t - 1], labels[t]] + s[t, labels[t]]
            alpha = torch.logsumexp(alpha[:, None] + A, dim=0) + s[t]
        total = total + torch.logsumexp(alpha + last, dim=0) - score
    loss = total / len(X)
    loss.backward()
    np.testing.assert_allclose(value, loss.item(), rtol=1e-13)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(gradient, there[name].grad.numpy(), rtol=0, atol=1e-12, err_msg=name)


# --- at the limits ----------------------------------------------------------------------------------
def in_logarithms(problem, monkeypatch, **options):
    with monkeypatch.context() as patch:
        patch.setattr(lattice, "DOUBT", -1.0)
        return problem.run(**options)


def assert_same(found, expected, tolerance=1e-11):
    for name, array in expected.items():
        assert np.isfinite(array).all(), name
        np.testing.assert_allclose(
            found[name], array, rtol=tolerance, atol=tolerance * max(1.0, np.abs(array).max()), err_msg=name
        )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("K", "lengths"), [(2, [1]), (7, [9, 1, 30]), (33, [3, 4]), (200, [5, 2])])
def test_both_ways_agree(K, lengths, dtype, monkeypatch):
    problem = Problem(K, [*lengths, 1], dtype=dtype, size=3.0)
    tolerance = 1e-11 if dtype == np.float64 else 1e-6
    for w in None, problem.w:
        assert_same(problem.run(w=w), in_logarithms(problem, monkeypatch, w=w), tolerance)


@pytest.mark.parametrize(
    "case",
    [
        "forbidden",
        "only forbidden",
        "known and forbidden",
        "known beginning",
        "known end",
        "far apart",
        "against",
    ],
)
def test_scores_that_are_far_apart(case, device):
    """Marginals, losses and gradients are those of all label sequences, whichever way they take."""
    problem, K = Problem(3, size=1.0), 3
    A, first, last = (problem.arrays[name] for name in NAMES)
    if case == "forbidden":  # 1 may not follow on 0, nor 2 begin
        A[0, 1] = first[2] = -1e4
        problem.y[:], problem.w[:] = 0, 1.0
    elif case == "only forbidden":
        A[:2] = A[2, 1] = first[:2] = last[2] = -1e4
        problem.w[:] = 1.0
    elif case == "known and forbidden":  # all sequences that agree with what is known
        A[:, 1] = -1e4
        problem.w[:4], problem.y[:4], problem.w[1] = 1.0, 1, 0.0
    elif case in ("known beginning", "known end"):
        (first if case == "known beginning" else last)[1] = -1e4
        problem.w[:4], problem.y[:4], problem.w[2] = 1.0, 1, 0.0
    elif case == "far apart":
        problem.s *= 700
    else:  # scores and transitions, of which neither gives way
        problem.s[:] = [0, -900, 0]
        A[:], first[:], last[:] = -700, -2000, -1000
        A[:, 1], first[1], last[1] = 300, 5, 0
    found = problem.run(w=problem.w, device=device)
    parts = zip(problem.split(problem.s), problem.known(), problem.split(found["marginals"]), found["losses"])
    total = problem.w.sum()
    d, dA = [], np.zeros((K, K))
    for i, (s, known, marginals, value) in enumerate(parts):
        loss, expected, _ = enumerated(s, problem.arrays, known)
        np.testing.assert_allclose(marginals, expected, rtol=0, atol=1e-9)
        w = problem.split(problem.w)[i].max()
        if w:
            np.testing.assert_allclose(value, loss, rtol=1e-12, atol=1e-9)
        share = w / total
        d.append(share * (expected - of_those_that_agree(s, problem.arrays, known)[0]))
        dA += share * (of_those_that_agree(s, problem.arrays, known * 0 - 1)[1]
                       - of_those_that_agree(s, problem.arrays, known)[1])  # fmt: skip
    np.testing.assert_allclose(found["d"], np.concatenate(d), rtol=0, atol=1e-9)
    np.testing.assert_allclose(found[NAMES[0]], dA, rtol=0, atol=1e-9)


def of_those_that_agree(s, arrays, known):
    """Marginals of labels and expected numbers of neighbours among the label sequences that agree."""
    A, first, last = (arrays[name].astype("f8") for name in NAMES)
    T, K = s.shape
    paths = np.array(list(product(range(K), repeat=T)))
    paths = paths[((paths == known) | (known < 0)).all(axis=1)]
    scores = first[paths[:, 0]] + s[np.arange(T), paths].sum(axis=1) + last[paths[:, -1]]
    pairs = np.zeros((len(paths), K, K))
    for t in range(1, T):
        scores += A[paths[:, t - 1], paths[:, t]]
        np.add.at(pairs, (np.arange(len(paths)), paths[:, t - 1], paths[:, t]), 1)
    p = np.exp(scores - np.logaddexp.reduce(scores))
    marginals = np.stack([np.bincount(paths[:, t], p, minlength=K) for t in range(T)])
    return marginals, np.einsum("n,nij->ij", p, pairs)


@pytest.mark.parametrize("size", [0.3, 300.0])
def test_two_thousand_steps(size, monkeypatch):
    """Marginals of each step sum to one, and gradients of transitions to those of the steps."""
    problem = Problem(4, [2000, 1999, 3], size=size)
    for found in problem.run(w=problem.w), in_logarithms(problem, monkeypatch, w=problem.w):
        np.testing.assert_allclose(found["marginals"].sum(axis=1), 1, rtol=0, atol=1e-11)
        np.testing.assert_allclose(found[NAMES[0]].sum(), 0, atol=1e-10)
        starts = problem.ends - problem.lengths
        np.testing.assert_allclose(found[NAMES[1]], found["d"][starts].sum(axis=0), atol=1e-13)
        np.testing.assert_allclose(found[NAMES[2]], found["d"][problem.ends - 1].sum(axis=0), atol=1e-13)
        into = found["d"].sum(axis=0) - found["d"][starts].sum(axis=0)
        np.testing.assert_allclose(found[NAMES[0]].sum(axis=0), into, rtol=0, atol=1e-10)


def test_what_is_not_finite_shows():
    """In the loss, by which training stops."""
    for value in np.nan, np.inf:
        problem = Problem(3)
        problem.s[2, 1] = value
        for w in None, problem.w:
            assert not np.isfinite(problem.run(w=w)["statistics"][0])
    problem = Problem(3)
    problem.arrays[NAMES[0]][0, 1] = np.nan
    assert not np.isfinite(problem.run()["statistics"][0])


def test_of_equal_paths_the_lower_labels():
    problem = Problem(6)
    problem.s[:] = 0
    for array in problem.arrays.values():
        array[:] = 0
    assert (problem.run()["labels"] == 0).all()


# --- the same bits ----------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("doubt", [lattice.DOUBT, -1.0])
def test_the_same_bits(dtype, doubt, pool, monkeypatch):
    """For any number of threads; of a sequence, in any order and beside any other."""
    monkeypatch.setattr(lattice, "DOUBT", doubt)
    problem = Problem(11, [9, 30, 2, 1, 17, 9, 12], dtype=dtype)
    everywhere = problem.run(w=problem.w)
    for n_threads in 2, 3:
        for name, array in problem.run(w=problem.w, n_threads=n_threads).items():
            np.testing.assert_array_equal(array, everywhere[name], err_msg=name)
    turned = problem.run(w=problem.w, order=np.array([6, 3, 1, 0, 2, 5, 4]))
    for i in range(7):
        alone = problem.run(w=problem.w, batch=[i])
        rows = slice(problem.ends[i] - problem.lengths[i], problem.ends[i])
        for name in "marginals", "labels":
            np.testing.assert_array_equal(alone[name], everywhere[name][rows])
            np.testing.assert_array_equal(turned[name], everywhere[name])
        np.testing.assert_array_equal(alone["losses"][0], everywhere["losses"][i])
    np.testing.assert_array_equal(turned["losses"], everywhere["losses"])
    np.testing.assert_array_equal(turned["d"], everywhere["d"])


# --- links ------------------------------------------------------------------------------------------
def test_what_a_network_answers():
    links, problem = tagger(4), Problem(4)
    network = Network(3, links(backends.get("cpu")), dtype=FLOAT)
    weights = random_weights(links, 3)
    params = network.pack(weights)
    sequences = Sequences.consecutive(np.random.default_rng(0).standard_normal((20, 3)), problem.lengths)
    problem.s[:], _ = inference.run(network, params, sequences)
    problem.arrays = {name: weights[name] for name in NAMES}
    expected = problem.run()
    for wanted in "marginals", "labels":
        found, _ = inference.run(network, params, sequences, wanted=wanted)
        np.testing.assert_array_equal(found, expected[wanted])
    log_p, _ = inference.run(network, params, sequences, log_prob=Targets(problem.y.astype("f8")))
    np.testing.assert_array_equal(log_p, -expected["losses"])
    assert network.whole
    sections = network.parameters.sections
    assert not any(sections[name].decays for name in NAMES)
    initial = network.parameters.initial(np.random.RandomState(0))
    assert all(0.03 < np.abs(initial[name]).max() <= 0.1 for name in NAMES)
    for name, array in network.unpack(params).items():
        np.testing.assert_array_equal(array, weights[name])


def test_refused_before_anything_runs():
    links, problem = tagger(3), Problem(3)
    weights = random_weights(links, 3)
    sequences = Sequences.consecutive(np.zeros((20, 3)), problem.lengths)
    for label in -1, 3, np.nan:
        y = problem.y.astype("f8")
        y[4] = label
        with pytest.raises(ValueError, match=r"the targets of a CRF are labels 0 to 2, got"):
            trained(links, weights, sequences, Targets(y), loss=LOSS)
    with pytest.raises(ValueError, match="the loss of a CRF is the log loss, got squared_error"):
        trained(links, weights, sequences, Targets(problem.y.astype("f8")))


@pytest.mark.parametrize("device", [ON_GPU])
def test_both_backends_agree(device):
    for dtype, tolerance in (np.float64, 1e-10), (np.float32, 1e-5):
        problem = Problem(5, [6, 2, 3, 1], dtype=dtype, size=2.0)
        for w in None, problem.w:
            assert_same(problem.run(w=w, device=device), problem.run(w=w), tolerance)
    links, problem = tagger(3), Problem(3, [3, 1, 2])
    sequences = Sequences.consecutive(np.random.default_rng(0).standard_normal((6, 3)), problem.lengths)
    weights, y = random_weights(links, 3), Targets(problem.y.astype("f8"))
    value, gradients = trained(links, weights, sequences, y, loss=LOSS, w=problem.w)
    other, others = trained(links, weights, sequences, y, loss=LOSS, w=problem.w, device=device)
    np.testing.assert_allclose(other, value, rtol=1e-10)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(others[name], gradient, rtol=0, atol=1e-10, err_msg=name)
