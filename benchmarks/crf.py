"""A linear-chain CRF on given scores: the loss with all of its gradients, and best paths.

    python -m benchmarks.crf
    python -m benchmarks.crf --threads 2 --short

Beside it, if PyTorch is installed, the algorithm of pytorch-crf: the forward pass of a minibatch in
logarithms with the gradients of autograd, and Viterbi's algorithm with back pointers. The sequences are
equally long, so that PyTorch needs no masks. Both in float32, in turn; what they compute is compared first.
"forbidden" is this package where a transition is forbidden by a score of -10,000.
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks import timing
from benchmarks.work import Work, work
from skrnn import backends
from skrnn.batches import Jobs
from skrnn.layout import Parameters
from skrnn.links import CRF
from skrnn.recording import Recording, Rows
from skrnn.sequences import Sequences, Targets

try:
    import torch
except ImportError:
    torch = None  # type: ignore[assignment]

FLOAT = np.dtype(np.float32)


class Shape(NamedTuple):
    """Sequences, steps, labels."""

    B: int
    T: int
    K: int


SHAPES = [Shape(32, 50, 20), Shape(32, 50, 9), Shape(32, 20, 50), Shape(1, 50, 20), Shape(16, 30, 200)]


class Problem:
    """Scores, labels and the arrays of a CRF, at random."""

    def __init__(self, shape: Shape, forbidden: float | None = None) -> None:
        rng, (B, T, K) = np.random.default_rng(0), shape
        self.shape = shape
        self.scores = rng.standard_normal((B, T, K)).astype(FLOAT)
        self.labels = rng.integers(0, K, (B, T))
        self.arrays = {
            name: rng.uniform(-0.5, 0.5, size).astype(FLOAT)
            for name, size in (
                ("crf.transitions", (K, K)),
                ("crf.start_transitions", K),
                ("crf.end_transitions", K),
            )
        }
        if forbidden is not None:
            self.arrays["crf.transitions"][0, 1] = forbidden


def ours(problem: Problem, threads: int, kind: str) -> Work:
    backend, link, (B, T, K) = backends.get("cpu"), CRF("crf", "X", problem.shape.K), problem.shape
    sequences = Sequences.from_dense(problem.scores)
    jobs, parameters, tape = (
        Jobs(sequences.lengths, B, None),
        Parameters([link], FLOAT),
        backend.Tape(threads),
    )
    params, grads = parameters.pack(problem.arrays), backend.aligned(parameters.size, FLOAT)
    rec = Recording(backend, tape, backend.Workspace(FLOAT), jobs.room(), parameters, params, grads)
    jobs.plan(np.arange(B))
    reading = backend.Tape()
    rec.tape = reading  # which is done once: the rows are there when the clock starts
    X = rec.read(sequences, jobs)["X"]
    reading.run()
    rec.tape, flops = tape, 1e12  # as many threads as are asked for
    chain = link.forward(rec, Rows(X.array, K))
    if kind == "loss":
        labels = Targets(problem.labels.reshape(-1, 1).astype(np.int32))
        losses, d = chain.objective(rec, labels, learns=True)
        values = losses.values.array, *(grads,), d.array
        return work(lambda: tape.run(1, flops), lambda: np.append(values[0][:B].sum() / (B * T), grads))
    found = chain.labels(rec)
    return work(lambda: tape.run(1, flops), lambda: found.array[: B * T].reshape(T, B).T.ravel())


def theirs(problem: Problem, kind: str) -> Work:
    """pytorch-crf's, without masks."""
    B, T, K = problem.shape
    scores = torch.from_numpy(problem.scores.transpose(1, 0, 2).copy()).requires_grad_()
    labels = torch.from_numpy(problem.labels.T.copy())
    A, start, end = own = [torch.from_numpy(a.copy()).requires_grad_() for a in problem.arrays.values()]

    def loss():
        each = torch.arange(B)
        score = start[labels[0]] + scores[0, each, labels[0]]
        for t in range(1, T):
            score = score + A[labels[t - 1], labels[t]] + scores[t, each, labels[t]]
        score = score + end[labels[-1]]
        alpha = start + scores[0]
        for t in range(1, T):
            alpha = torch.logsumexp(alpha[:, :, None] + A + scores[t][:, None, :], dim=1)
        return (torch.logsumexp(alpha + end, dim=1) - score).sum() / (B * T)

    def learn():
        for array in (scores, *own):
            array.grad = None
        value = loss()
        value.backward()
        return value

    @torch.inference_mode()
    def decode():
        best, came_from = start + scores[0], []
        for t in range(1, T):
            best, where = (best[:, :, None] + A + scores[t][:, None, :]).max(dim=1)
            came_from.append(where)
        label = (best + end).argmax(dim=1)
        path = [label]
        for where in reversed(came_from):
            label = where.gather(1, label[:, None])[:, 0]
            path.append(label)
        return torch.stack(path[::-1], dim=1)

    if kind == "loss":
        return work(
            learn, lambda: np.append(learn().item(), np.concatenate([a.grad.ravel().numpy() for a in own]))
        )
    return work(decode, lambda: decode().numpy().ravel())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--short", action="store_true")
    options = parser.parse_args()
    if torch is not None:
        torch.set_num_threads(options.threads)
    print("B, T, K        kind      skrnn ms  forbidden   PyTorch ms    ratio  (quartiles)")
    with threadpool_limits(options.threads):
        for shape in SHAPES[: 1 if options.short else None]:
            for kind in "loss", "path":
                works = {"skrnn": ours(Problem(shape), options.threads, kind)}
                if kind == "loss":
                    works["forbidden"] = ours(Problem(shape, -1e4), options.threads, kind)
                if torch is not None:
                    works["pytorch"] = theirs(Problem(shape), kind)
                for each in works.values():
                    each.sample(1)
                if torch is not None:
                    np.testing.assert_allclose(
                        works["skrnn"].result(), works["pytorch"].result(), rtol=0, atol=2e-6
                    )
                rounds = timing.interleave(works, timing.plan(options.short), options.threads)
                ms = {name: 1e3 * float(np.median(seconds)) for name, seconds in rounds.items()}
                line = f"{', '.join(map(str, shape)):14} {kind:6} {ms['skrnn']:11.3f} "
                line += f"{ms['forbidden']:10.3f}" if "forbidden" in ms else " " * 10
                if "pytorch" in ms:
                    found = timing.ratio(rounds["pytorch"], rounds["skrnn"])
                    line += f" {ms['pytorch']:12.2f} {found['ratio']:8.1f}"
                    line += f"  ({found['q1']:.1f} - {found['q3']:.1f})"
                print(line, flush=True)


if __name__ == "__main__":
    main()
