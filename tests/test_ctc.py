"""Connectionist temporal classification: against all paths one by one, PyTorch, differences, and itself."""

from itertools import pairwise, product

import gpu
import numpy as np
import pytest
from kernel_calls import AtOnce
from passes import PackedSteps, recording

from skrnn import backends
from skrnn.backends.cpu import ctc
from skrnn.batches import Jobs
from skrnn.layout import Parameters
from skrnn.links import CTC
from skrnn.recording import Recording, Rows
from skrnn.sequences import TOKEN, Sequences, Targets

FLOAT = np.dtype(np.float64)
ON_GPU = pytest.param("cuda", marks=gpu.needs_gpu)
PADDING = 3  # columns of scores that nobody reads
# The simulator's numbers are NumPy's, which warn of inf - inf.
not_finite = pytest.mark.filterwarnings("ignore:.*invalid value encountered:RuntimeWarning")


def needed(labels):
    """Steps."""
    return max(1, len(labels) + sum(a == b for a, b in zip(labels[1:], labels)))


class Problem:
    """Label sequences, and scores (n_steps, K); `spare`: steps beyond those that are needed."""

    def __init__(self, K, labels, spare, *, seed=0, size=1.0, dtype=FLOAT):
        rng = np.random.default_rng(seed)
        self.K, self.labels, self.dtype = K, [np.array(own, TOKEN) for own in labels], np.dtype(dtype)
        self.lengths = np.array([needed(own) + more for own, more in zip(self.labels, spare, strict=True)])
        self.s = rng.normal(0, size, (self.lengths.sum(), K)).astype(dtype)

    def split(self, rows):
        return np.split(rows, np.cumsum(self.lengths)[:-1])

    def parts(self):
        return zip(self.split(self.s), self.labels, strict=True)

    def run(self, *, w=None, device="cpu", n_threads=1, order=None, batch=None):
        """Losses, gradients of the scores, sums, and on the CPU the doubt, in the order of the sequences."""
        with backends.turn(device):
            backend, K = backends.get(device), self.K
            link, y = CTC("ctc", "X", K), Targets.of_tokens(self.labels)
            padded = np.pad(self.s, ((0, 0), (0, PADDING)), constant_values=np.nan)
            sequences = Sequences.consecutive(padded, self.lengths)
            if batch is not None:
                sequences, y = sequences.take(batch), y.take(batch)
            n, jobs = len(sequences), Jobs(sequences.lengths, len(sequences), None)
            work, tape, steps = backend.Workspace(self.dtype), backend.Tape(n_threads), jobs.room()
            rec = Recording(backend, tape, work, steps, Parameters([link], self.dtype))
            labelling = link.forward(rec, rec.read(sequences, jobs)["X"])
            weighed, d = labelling.objective(rec, y, w, learns=True)
            d.array[:] = np.nan
            results = {"d": np.empty((sequences.n_steps, d.row), self.dtype), "losses": np.zeros((n, 1))}
            backend.scatter(rec, d, sequences.offsets[1:], d.row, results["d"])
            backend.scatter(rec, weighed.values, sequences.offsets[1:], 1, results["losses"])
            results["statistics"] = np.zeros(3)
            backend.add_losses(rec, weighed, results["statistics"], jobs.cursor)
            jobs.plan(np.arange(n) if order is None else order)
            tape.run(flops=1e12) if device == "cpu" else tape.run()
            results["d"], results["padding"] = np.split(results["d"], [K], axis=1)
            if device == "cpu":
                results["doubt"] = np.empty(n)
                results["doubt"][steps.sequence[:n]] = rec.buffer("paths", "doubt", size=n, dtype=FLOAT)[:n]
            return results


RAGGED = [[1, 2, 2, 3], [], [4], [3, 3, 3, 3, 3], [1, 2], [], [4, 1, 4, 1, 4, 1]]
SPARE = [3, 0, 0, 0, 9, 5, 1]
WEIGHTS = np.array([1.0, 0.5, 3.0, 0.0, 1.0, 2.0, 0.0])


def ragged(**options):
    return Problem(5, RAGGED, SPARE, **options)


@pytest.fixture(params=["scaled", "logarithms", ON_GPU])
def device(request, monkeypatch):
    """The CPU's two ways through the steps, and a GPU's."""
    if request.param == "logarithms":
        monkeypatch.setattr(ctc, "DOUBT", -1.0)
    return request.param if request.param == "cuda" else "cpu"


def in_logarithms(problem, monkeypatch, **options):
    with monkeypatch.context() as patch:
        patch.setattr(ctc, "DOUBT", -1.0)
        return problem.run(**options)


# --- against the definition -------------------------------------------------------------------------
def said_by(path):
    return [k for t, k in enumerate(path) if k != 0 and (t == 0 or k != path[t - 1])]


def enumerated(s, labels):
    """The loss, and the probabilities of labels at each step, of all paths, less those that say `labels`."""
    T, K = s.shape
    paths = np.array(list(product(range(K), repeat=T)))
    scores = s[np.arange(T), paths].sum(axis=1)
    ours = np.array([said_by(path) == list(labels) for path in paths])
    log_z, log_p = np.logaddexp.reduce(scores), np.logaddexp.reduce(scores[ours])
    share = np.exp(scores - log_z) - ours * np.exp(scores - log_p)
    d = [[share[paths[:, t] == k].sum() for k in range(K)] for t in range(T)]
    return log_z - log_p, np.array(d)


@pytest.mark.parametrize("size", [0.5, 8.0])
@pytest.mark.parametrize(
    ("K", "labels", "spare"),
    [
        (1, [[], []], [0, 2]),
        (2, [[], [1], [1, 1], [1, 1], [1]], [1, 0, 0, 2, 3]),
        (3, [[1, 2], [2, 2, 1], [2], [1, 2, 1], [2, 1, 1]], [2, 1, 4, 0, 0]),
        (4, [[1, 2, 3], [3, 3], [2, 1, 2]], [2, 1, 1]),
    ],
)
def test_all_paths(K, labels, spare, size, device):
    problem = Problem(K, labels, spare, size=size)
    found = problem.run(device=device)
    for (s, own), value, d in zip(problem.parts(), found["losses"][:, 0], problem.split(found["d"])):
        loss, expected = enumerated(s, own)
        np.testing.assert_allclose(value, loss, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(d * len(labels), expected, rtol=0, atol=1e-12)


def in_pytorch(problem, w=None):
    """Losses, and gradients of the scores of their weighted mean."""
    torch = pytest.importorskip("torch")
    w, values, ds = np.ones(len(problem.labels)) if w is None else w, [], []
    for (s, own), weight in zip(problem.parts(), w):
        s = torch.tensor(s.astype("f8"), requires_grad=True)
        log_p, y = torch.log_softmax(s, -1)[:, None], torch.tensor(own.astype("i8"))[None]
        loss = torch.nn.functional.ctc_loss(log_p, y, [len(s)], [len(own)], reduction="sum")
        loss.backward()
        values.append(loss.item())
        ds.append(weight / w.sum() * s.grad.numpy())
    return np.array(values), np.concatenate(ds)


def assert_same(found, values, d, tolerance=1e-10):
    np.testing.assert_allclose(found["losses"][:, 0], values, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(found["d"], d, rtol=0, atol=tolerance)


@pytest.mark.parametrize("size", [1.0, 10.0, 100.0])
@pytest.mark.parametrize("w", [None, WEIGHTS], ids=["all", "some"])
def test_pytorch_has_the_same_loss_and_gradients(w, size, device):
    problem = ragged(size=size)
    found, (values, d) = problem.run(w=w, device=device), in_pytorch(problem, w)
    w = np.ones(7) if w is None else w
    assert_same(found, np.where(w > 0, values, 0), d)
    np.testing.assert_allclose(found["statistics"][:2], [w @ values, w.sum()], rtol=1e-12)
    assert not found["d"][np.repeat(w == 0, problem.lengths)].any()
    np.testing.assert_array_equal(found["padding"], np.zeros((len(problem.s), PADDING)))


@pytest.mark.parametrize("seed", range(20))
def test_pytorch_has_the_same_of_any_sizes(seed):
    rng = np.random.default_rng(seed)
    K, n = int(rng.integers(2, 40)), int(rng.integers(1, 5))
    labels = [rng.integers(1, K, rng.integers(0, 40)) for _ in range(n)]
    problem = Problem(K, labels, rng.choice([0, 1, 3, 20, 60], n), seed=seed, size=rng.choice([1, 5]))
    assert_same(problem.run(), *in_pytorch(problem))


def test_float32(device):
    """Everything between scores and gradients is float64."""
    small, rng = ragged(dtype=np.float32, size=3.0), np.random.default_rng(0)
    large = ragged()
    large.s = small.s.astype("f8")
    w = rng.random(7)
    found, expected = (problem.run(w=problem.dtype.type(w), device=device) for problem in (small, large))
    assert found["d"].dtype == np.float32
    np.testing.assert_allclose(found["losses"], expected["losses"], rtol=1e-12)
    np.testing.assert_allclose(found["d"], expected["d"], rtol=0, atol=1e-7)


# --- two ways ---------------------------------------------------------------------------------------
def drawn(K, S, seed=0):
    return np.random.default_rng(seed).integers(1, K, S)


EASY = {  # problems that the scaled way can do
    "twice the steps": lambda: Problem(30, [drawn(30, 60)], [60]),
    "as needed": lambda: Problem(4, [drawn(4, 600), [1] * 300], [0, 0]),
    "a few more": lambda: Problem(4, [drawn(4, 600), [1] * 300], [3, 5]),
    "as a network begins": lambda: Problem(30, [drawn(30, 40), []], [1500, 1500], size=0.1),
    "likely": lambda: likely(Problem(30, [drawn(30, 200)], [600]), 15.0),
    "certain": lambda: likely(Problem(30, [drawn(30, 200)], [600]), 100.0),
    "too early": lambda: shifted(Problem(5, [[1, 2, 3, 4] * 5, [1] * 10], [0, 0]), 1),
    "too late": lambda: shifted(Problem(5, [[1, 2, 3, 4] * 5, [1] * 10], [0, 0]), -1),
    "no time for blanks": lambda: blanks(Problem(5, [[1, 2, 3, 4] * 5], [0]), 250.0),
    "few but blanks": lambda: blanks(Problem(30, [drawn(30, 60)], [940], size=2.0), 25.0),
    "blanks": lambda: blanks(Problem(30, [drawn(30, 60)], [140]), 6.0),
}
HARD = {  # and those that it leaves to logarithms
    "nothing but blanks": lambda: blanks(Problem(30, [drawn(30, 60), [3], [1] * 60], [140, 5, 140]), 1000.0),
    "another label": lambda: blanks(Problem(30, [np.ones(60)], [140]), 1000.0, label=2),
    "unlikely, as needed": lambda: Problem(30, [drawn(30, 400)], [3], size=300.0),
    "far apart": lambda: Problem(8, [drawn(8, 20), [], [1]], [30, 30, 300], size=1e3),
    "far away": lambda: blanks(Problem(8, [drawn(8, 20), [2, 2]], [30, 0], size=300.0), -1e5, slice(None)),
    "by a blank": lambda: by_a_blank(Problem(2, [[1]], [8])),
    "one step": lambda: blanks(Problem(3, [[1], [2]], [0, 3]), 900.0),
}


def blanks(problem, more, label=0):
    problem.s[:, label] += more
    return problem


def shifted(problem, by):
    """Where there is one path, what is likely is what it says some steps later."""
    for s, labels in problem.parts():
        path = [k for a, b in pairwise([0, *labels]) for k in ([0, b] if a == b else [b])]
        for t in range(max(0, -by), len(s) - max(0, by)):
            s[t, path[t + by]] += 250.0
    return problem


def by_a_blank(problem):
    """What goes from the blanks before to the label at last, of which no other state is too unlikely, would
    seem to be as likely as e^-6, and is e^-146."""
    problem.s[:] = [[-200, 0]] * 3 + [[0, -227]] * 2 + [[-200, 0]] * 4
    return problem


def shorten(problem):
    """For the simulator, which is slow."""
    problem.lengths = np.minimum(problem.lengths, 12)
    problem.labels = [own[:5] for own in problem.labels]
    problem.s = problem.s[: problem.lengths.sum()]


def likely(problem, more):
    """As a network says it that has learned: each label for about as many steps."""
    for s, labels in problem.parts():
        at = np.arange(len(s)) * len(labels) // len(s)
        first = np.append(True, np.diff(at) > 0)
        s[np.arange(len(s)), np.where(first, labels[at], 0)] += more
    return problem


@pytest.mark.parametrize("case", EASY)
def test_what_is_easy_is_not_done_twice(case, monkeypatch):
    problem = EASY[case]()
    found, expected = problem.run(), in_logarithms(problem, monkeypatch)
    assert found["doubt"].max() <= ctc.DOUBT
    assert_same(found, expected["losses"][:, 0], expected["d"])
    assert not np.array_equal(found["d"], expected["d"])  # they are two
    np.testing.assert_array_equal(found["padding"], np.zeros((len(problem.s), PADDING)))


def test_long_sums_keep_their_digits(monkeypatch):
    """Of 1700 steps, in which all that is asked for has a probability of e^-270."""
    problem = blanks(Problem(6, [drawn(5, 200)], [1500], size=0.3), 270.0, label=5)
    found, expected = problem.run(), in_logarithms(problem, monkeypatch)
    assert found["doubt"].max() <= ctc.DOUBT
    np.testing.assert_allclose(found["losses"], expected["losses"], rtol=1e-13)
    np.testing.assert_allclose(found["d"], expected["d"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", HARD)
def test_what_is_hard_is_left_to_logarithms(case, monkeypatch):
    problem = HARD[case]()
    found, expected = problem.run(), in_logarithms(problem, monkeypatch)
    assert found["doubt"].max() > ctc.DOUBT
    assert np.isfinite(found["losses"]).all()
    assert np.isfinite(found["d"]).all()
    np.testing.assert_array_equal(found["padding"], np.zeros((len(problem.s), PADDING)))
    hard = found["doubt"] > ctc.DOUBT
    for name, rows in ("losses", hard), ("d", np.repeat(hard, problem.lengths)):
        np.testing.assert_array_equal(found[name][rows], expected[name][rows])
    assert_same(found, expected["losses"][:, 0], expected["d"])


@pytest.mark.parametrize("case", HARD)
def test_what_is_hard_is_that_of_pytorch(case, device):
    problem = HARD[case]()
    if device == "cuda":
        shorten(problem)
    found, (values, d) = problem.run(device=device), in_pytorch(problem)
    np.testing.assert_allclose(found["losses"][:, 0], values, rtol=1e-10)
    # its gradients lose digits, as sums of logarithms grow
    np.testing.assert_allclose(found["d"], d, rtol=0, atol=1e-12 * max(100, values.max()))


@pytest.mark.parametrize("device", [ON_GPU])
@pytest.mark.parametrize("case", ["ragged", *HARD])
def test_both_backends_agree(case, device):
    problem = ragged(size=2.0) if case == "ragged" else HARD[case]()
    shorten(problem)
    w = WEIGHTS[: len(problem.labels)]
    here, there = problem.run(w=w), problem.run(w=w, device=device)
    np.testing.assert_allclose(there["losses"], here["losses"], rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(there["d"], here["d"], rtol=0, atol=1e-12 * max(100, here["losses"].max()))


@pytest.mark.parametrize("seed", range(40))
def test_the_doubt_bounds_the_error(seed, monkeypatch):
    """Of probabilities, of which none is too small, and of gradients."""
    rng, n = np.random.default_rng(seed), 4
    labels = [rng.integers(1, 6, rng.integers(1, 30)) for _ in range(n)]
    problem = Problem(6, labels, rng.integers(0, 60, n), seed=seed, size=rng.choice([1.0, 10.0, 60.0]))
    blanks(problem, rng.choice([0.0, 20.0, 100.0, 300.0, 400.0]))
    expected = in_logarithms(problem, monkeypatch)
    monkeypatch.setattr(ctc, "DOUBT", np.inf)
    found = problem.run()
    doubt, rounding = found["doubt"], 1e-9
    tried = np.isfinite(doubt)
    too_likely = 1 - np.exp(found["losses"] - expected["losses"])[tried, 0]
    assert too_likely.min(initial=0) > -rounding
    assert (too_likely < doubt[tried] + rounding).all()
    wrong = np.array([np.abs(d).max() for d in problem.split(n * (found["d"] - expected["d"]))])
    assert (wrong <= 2 * doubt + rounding)[tried].all()


@pytest.mark.parametrize("seed", range(60))
def test_what_is_likely_only_later(seed, monkeypatch):
    """Paths that seemed to be out of the question for some steps."""
    rng, n = np.random.default_rng(seed), 20
    labels = [rng.integers(1, 3, rng.integers(0, 4)) for _ in range(n)]
    problem = Problem(3, labels, rng.integers(0, 16, n))
    problem.s -= np.repeat(rng.choice([0, 100, 200, 290], (len(problem.s), 3)), 3, axis=0)[: len(problem.s)]
    found, expected = problem.run(), in_logarithms(problem, monkeypatch)
    assert_same(found, expected["losses"][:, 0], expected["d"])


def test_no_more_doubt_than_float64_has():
    assert 0 < ctc.DOUBT < np.finfo(float).eps / 100


@not_finite
@pytest.mark.parametrize("more", [1, 3])
def test_too_few_steps(more, device):
    """No path: an infinite loss, unless nobody asks."""
    problem = Problem(4, [[1, 2], [1, 1, 2, 3], [2]], [1, 2, 1])
    problem.lengths[1] -= 2 + more  # of five that are needed
    problem.s = problem.s[: problem.lengths.sum()]
    found = problem.run(device=device)
    np.testing.assert_array_equal(np.isposinf(found["losses"][:, 0]), [False, True, False])
    assert not np.isfinite(found["statistics"][0])
    found = problem.run(device=device, w=np.array([1.0, 0.0, 2.0]))
    assert np.isfinite(found["d"]).all()
    assert np.isfinite(found["statistics"]).all()


@not_finite
def test_labels_without_any_probability(device):
    """-inf where no path has to go changes nothing, and else it is an infinite loss."""
    problem = Problem(3, [[1, 2], [2], [1, 1]], [2, 1, 0], size=2.0)
    starts = np.cumsum(problem.lengths) - problem.lengths
    problem.s[starts[0], 2] = problem.s[starts[0] + 2, 1] = problem.s[starts[1], 1] = -np.inf
    found = problem.run(device=device)
    for (s, own), value, d in zip(problem.parts(), found["losses"][:, 0], problem.split(found["d"])):
        loss, expected = enumerated(s, own)
        np.testing.assert_allclose(value, loss, rtol=1e-12)
        np.testing.assert_allclose(d * 3, expected, rtol=0, atol=1e-12)
    problem.s[starts[2], 1] = -np.inf
    values = problem.run(device=device)["losses"][:, 0]
    np.testing.assert_array_equal(np.isposinf(values), [False, False, True])


@not_finite
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("label", range(5))
def test_what_is_not_finite_shows(label, value, device):
    """In the loss, by which training stops."""
    problem = ragged()
    problem.s[2, label] = value
    assert not np.isfinite(problem.run(device=device)["statistics"][0])


# --- the same bits ----------------------------------------------------------------------------------
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("doubt", [ctc.DOUBT, -1.0])
def test_the_same_bits(dtype, doubt, pool, monkeypatch):
    """For any number of threads; of a sequence, in any order and beside any other."""
    monkeypatch.setattr(ctc, "DOUBT", doubt)
    labels = [*RAGGED, drawn(5, 50)]
    problem = Problem(5, labels, [*SPARE, 40], dtype=dtype, size=3.0)
    problem.split(problem.s)[4][:, 0] += 1000.0  # one that is left to logarithms
    everywhere = problem.run()
    assert (everywhere["doubt"] > ctc.DOUBT).any()
    for n_threads in 2, 3:
        for name, array in problem.run(n_threads=n_threads).items():
            np.testing.assert_array_equal(array, everywhere[name], err_msg=name)
    turned = problem.run(order=np.array([6, 3, 1, 0, 7, 2, 5, 4]))
    for name in "losses", "d":
        np.testing.assert_array_equal(turned[name], everywhere[name], err_msg=name)
    for i, d in enumerate(problem.split(everywhere["d"])):
        alone = problem.run(batch=[i])
        np.testing.assert_array_equal(alone["losses"][0], everywhere["losses"][i])
        np.testing.assert_array_equal(alone["d"] / 8, d)


@pytest.mark.parametrize("doubt", [ctc.DOUBT, -1.0])
def test_each_thread_writes_to_places_of_its_own(doubt, monkeypatch):
    monkeypatch.setattr(ctc, "DOUBT", doubt)
    problem, packed = ragged(), PackedSteps(ragged().lengths)
    starts, texts = np.cumsum(problem.lengths) - problem.lengths, [problem.labels[i] for i in packed.order]
    rec = recording(AtOnce(3), packed.filled(), backends.get("cpu").Workspace(FLOAT))
    scores, d = Rows(problem.s[packed.rows_of(starts)].ravel(), 5), Rows(np.empty(problem.s.size), 5)
    found = ctc.path_objective(rec, scores, 5, Targets.of_tokens(texts), None, d, True)
    expected = problem.run()["losses"][packed.order, 0]
    np.testing.assert_array_equal(found.values.array[: len(expected)], expected)
